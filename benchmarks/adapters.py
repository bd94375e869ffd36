"""6. Reading an order through its adapter: microseconds per order and per fill, per exchange.

The payloads are those of the tests (tests/payloads): the exchange's own JSON, parsed by ccxt, as it comes back from the journal.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import ccxt
import msgspec

from audit_wrapper import codec
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.records import Market
from benchmarks.place import Place
from benchmarks.result import Result, Table, spread

_PAYLOADS = Path(__file__).parent.parent / "tests" / "payloads"


def run(place: Place) -> Result:
    """In turns, so that a slow moment of the machine meets all of them."""
    loops = place.effort.loops
    readings = [_reading(path) for path in sorted(_PAYLOADS.glob("*/*.json"))]
    taken: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(place.effort.repeats + 1):  # the first one fills caches, and is left out
        for exchange, kind, name, read in readings:
            taken[exchange, kind][name].append(_seconds(read, loops) / loops * 1e6)
    figures: dict[str, Any] = {}
    table = Table(
        "Reading through the adapter, microseconds of the processor: median (least-most) of the payloads",
        ("", "per order", "orders", "per fill", "fills"),
        notes=(f"of each payload the median of {place.effort.repeats} times {loops} readings",),
    )
    for exchange in sorted({exchange for exchange, _, _, _ in readings}):
        row = [exchange]
        for kind in ("order", "trade"):
            by_payload = {name: round(statistics.median(us[1:]), 2) for name, us in taken[exchange, kind].items()}
            figures.setdefault(exchange, {})["order_us" if kind == "order" else "fill_us"] = by_payload
            row += [spread(list(by_payload.values())) if by_payload else "-", str(len(by_payload))]
        table.rows.append(tuple(row))
    return Result([table], figures)


@cache
def _client(exchange: str) -> Any:
    return getattr(ccxt, exchange)()


def _reading(path: Path) -> tuple[str, str, str, Callable[[], Any]]:
    case, exchange = json.loads(path.read_text(encoding="utf-8")), path.parent.name
    client, facts = _client(exchange), case["market"]
    swap = facts["type"] == "swap"
    market = client.safe_market_structure(
        {
            **facts, "spot": facts["type"] == "spot", "swap": swap, "contract": swap, "taker": 0.0005, "maker": 0.0002,
            "linear": swap and facts.get("settle") == facts["quote"], "inverse": swap and facts.get("settle") == facts["base"],
            "precision": {"amount": 1e-8, "price": 1e-8}, "info": {},
        }
    )  # fmt: skip
    client.markets, client.markets_by_id = {market["symbol"]: market}, {market["id"]: [market]}
    parse = client.parse_trade if case["parse"] == "trade" else client.parse_order
    parsed: Any = codec.exact_json(msgspec.json.encode(parse(case["raw"], market)).decode())
    known = Market(
        exchange_symbol=facts["id"], **{name: facts.get(name) for name in ("symbol", "base", "quote", "settle", "type")}
    )
    adapter = adapter_for(exchange)
    read = adapter.fill if case["parse"] == "trade" else adapter.order_state
    return exchange, case["parse"], path.stem, lambda: read(parsed, known)


def _seconds(read: Callable[[], Any], loops: int) -> float:
    began = time.thread_time()  # the processor's: nothing is waited for here
    for _ in range(loops):
        read()
    return time.thread_time() - began
