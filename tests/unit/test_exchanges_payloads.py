"""Real-shaped payloads, through ccxt's own parsers and then through the adapter, against values worked out by hand.

Each file of tests/payloads holds one raw payload and everything that may be read from it: a field that is not listed
must be unknown. It is read twice: as ccxt hands it out, and as it comes back from the journal.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import ccxt
import msgspec
import pytest

from audit_wrapper import codec
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.records import Fill, Market, OrderState

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*/*.json"))


@cache
def client(exchange: str) -> Any:
    return getattr(ccxt, exchange)()


def market_in(exchange: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A ccxt market made by hand, known to the client by symbol and id."""
    kind = facts["type"]
    market = client(exchange).safe_market_structure(
        {
            **facts,
            "spot": kind == "spot",
            "swap": kind == "swap",
            "contract": kind == "swap",
            "linear": kind == "swap" and facts.get("settle") == facts["quote"],
            "inverse": kind == "swap" and facts.get("settle") == facts["base"],
            "taker": 0.0005,
            "maker": 0.0002,
            "precision": {"amount": 1e-8, "price": 1e-8},
            "info": {},
        }
    )
    client(exchange).markets = {market["symbol"]: market}
    client(exchange).markets_by_id = {market["id"]: [market]}
    return market  # type: ignore[no-any-return]


def seen_market(facts: dict[str, Any]) -> Market:
    names = ("symbol", "base", "quote", "settle", "type")
    return Market(exchange_symbol=facts["id"], **{name: facts.get(name) for name in names})


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_is_read_from_a_payload(path: Path) -> None:
    case, exchange = json.loads(path.read_text()), path.parent.name
    market = market_in(exchange, case["market"])
    adapter, known = adapter_for(exchange), seen_market(case["market"])
    parse = client(exchange).parse_trade if case["parse"] == "trade" else client(exchange).parse_order
    parsed = parse(json.loads(path.read_text())["raw"], market)
    journaled = codec.exact_json(msgspec.json.encode(parsed).decode())

    assert set(case["expect"]) <= set((Fill if case["parse"] == "trade" else OrderState).__struct_fields__)
    if case["parse"] == "trade":
        expected_fill = msgspec.convert(case["expect"], Fill, strict=False)
        assert adapter.fill(parsed, known) == expected_fill
        assert adapter.fill(journaled, known) == expected_fill
    else:
        expected = msgspec.convert(case["expect"], OrderState, strict=False)
        assert adapter.order_state(parsed, known) == expected
        assert adapter.order_state(journaled, known) == expected


def test_there_are_payloads_of_several_exchanges() -> None:
    assert {path.parent.name for path in PAYLOADS} >= {"binance", "binanceusdm", "bybit", "okx", "gate", "kraken"}
