"""Everything an exchange shows becomes sightings: REST rows, ccxt's orders and trades, messages of the user streams.

The raw messages are those of the documentation pages named beside them, field by field; where an example says something
else than the test needs (a status, an id), those fields alone are changed.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.records import Fee, FeeStatus, Fill, Liquidity, Market, OrderState, OrderStatus

BINANCE, BYBIT = adapter_for("binanceusdm"), adapter_for("bybit")
NO_FEE = Fee()


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)


# Binance, USD-M: /docs/derivatives/usds-margined-futures/user-data-streams/Event-Order-Update
ORDER_TRADE_UPDATE: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE",
    "E": 1568879465651,
    "T": 1568879465650,
    "o": {
        "s": "BTCUSDT",
        "c": "TEST",
        "S": "SELL",
        "o": "TRAILING_STOP_MARKET",
        "f": "GTC",
        "q": "0.001",
        "p": "0",
        "ap": "0",
        "sp": "7103.04",
        "x": "NEW",
        "X": "NEW",
        "i": 8886774,
        "l": "0",
        "z": "0",
        "L": "0",
        "N": "USDT",
        "n": "0",
        "T": 1568879465650,
        "t": 0,
        "b": "0",
        "a": "9.91",
        "m": False,
        "R": False,
        "wt": "CONTRACT_PRICE",
        "ot": "TRAILING_STOP_MARKET",
        "ps": "LONG",
        "cp": False,
        "AP": "7476.89",
        "cr": "5.0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": "0",
        "V": "EXPIRE_TAKER",
        "pm": "OPPONENT",
        "gtd": 0,
        "er": "0",
    },
}


def order_update(**fields: Any) -> dict[str, Any]:
    """The documented message with `fields` of its order changed; None takes a field away."""
    message = copy.deepcopy(ORDER_TRADE_UPDATE)
    message["o"].update(fields)
    message["o"] = {name: value for name, value in message["o"].items() if value is not None}
    return message


def one(adapter: Any, shown: Any, market: Market | None = None) -> Sighting:
    assert adapter.understands(shown)
    (sighting,) = adapter.sightings(shown, market)
    return sighting


def test_a_new_order_of_the_futures_stream() -> None:
    assert one(BINANCE, order_update()) == Sighting(
        state=OrderState(
            exchange_order_id="8886774",
            client_order_id="TEST",
            symbol="BTCUSDT",
            side="sell",
            type="TRAILING_STOP_MARKET",
            order_status=OrderStatus.NEW,
            quantity=Decimal("0.001"),
            filled_quantity=Decimal(0),
            remaining_quantity=Decimal("0.001"),
            trigger_price=Decimal("7476.89"),  # not `sp`: the documentation says to ignore it here
            reduce_only=False,
            exchange_status="NEW",
            exchange_at=at(1568879465650),
        )
    )


def test_a_fired_stop_says_market_and_its_execution_has_the_fee_of_that_execution_alone() -> None:
    message = order_update(
        o="MARKET", ot="STOP_MARKET", x="TRADE", X="PARTIALLY_FILLED", q="0.003", z="0.002", ap="7100.50", R=True,
        l="0.001", L="7101.00", n="0.00284040", N="USDT", t=25, T=1568879466000, AP=None, cr=None,
    )  # fmt: skip
    assert one(BINANCE, message) == Sighting(
        state=OrderState(
            exchange_order_id="8886774",
            client_order_id="TEST",
            symbol="BTCUSDT",
            side="sell",
            type="STOP_MARKET",
            order_status=OrderStatus.PARTIALLY_FILLED,
            quantity=Decimal("0.003"),
            filled_quantity=Decimal("0.002"),
            remaining_quantity=Decimal("0.001"),
            average_price=Decimal("7100.50"),
            trigger_price=Decimal("7103.04"),
            reduce_only=True,
            exchange_status="PARTIALLY_FILLED",
            exchange_at=at(1568879466000),
        ),
        fills=(
            Fill(
                exchange_trade_id="25",
                exchange_order_id="8886774",
                symbol="BTCUSDT",
                side="sell",
                price=Decimal("7101.00"),
                quantity=Decimal("0.001"),
                fee=Fee(amount=Decimal("0.00284040"), currency="USDT", status=FeeStatus.REPORTED),
                liquidity=Liquidity.TAKER,
                exchange_at=at(1568879466000),
            ),
        ),
    )
