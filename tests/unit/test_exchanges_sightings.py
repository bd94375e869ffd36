"""Everything an exchange shows becomes sightings: REST rows, ccxt's orders and trades, messages of the user streams.

The raw messages are those of the documentation pages named beside them, field by field; where an example says something
else than the test needs (a status, an id), those fields alone are changed.
"""

from __future__ import annotations

import copy
import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt.pro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_wrapper.exchanges import ExchangeAdapter, adapter_for
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.records import Cause, Fee, FeeStatus, Fill, Liquidity, Market, OrderState, OrderStatus

BINANCE, BYBIT = adapter_for("binanceusdm"), adapter_for("bybit")
PAYLOADS = Path(__file__).parent.parent / "payloads"


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


def one(adapter: ExchangeAdapter, shown: Any, market: Market | None = None) -> Sighting:
    assert adapter.understands(shown)
    (sighting,) = adapter.sightings(shown, market)
    return sighting


# Binance, USD-M futures


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


FIRED = order_update(
    o="MARKET", ot="STOP_MARKET", x="TRADE", X="PARTIALLY_FILLED", q="0.003", z="0.002", ap="7100.50", R=True,
    l="0.001", L="7101.00", n="0.00284040", N="USDT", t=25, T=1568879466000, AP=None, cr=None,
)  # fmt: skip


def test_a_fired_stop_says_market_and_its_execution_has_the_fee_of_that_execution_alone() -> None:
    assert one(BINANCE, FIRED) == Sighting(
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


def test_a_fee_that_is_left_out_is_not_known_and_not_zero() -> None:
    message = order_update(x="TRADE", X="FILLED", z="0.001", l="0.001", L="7101", t=25, n=None, N=None, m=True)
    (fill,) = one(BINANCE, message).fills
    assert fill.fee == Fee(status=FeeStatus.MISSING)
    assert fill.liquidity is Liquidity.MAKER
    assert one(BINANCE, message).state.fees == ()


def test_an_order_filled_at_once_has_the_fee_of_its_one_execution() -> None:
    whole = order_update(x="TRADE", X="FILLED", z="0.001", l="0.001", L="7101", t=25, n="-0.0002", N="USDT")
    assert one(BINANCE, whole).state.fees == (
        Fee(amount=Decimal("-0.0002"), currency="USDT", status=FeeStatus.REPORTED),
    )
    later = order_update(x="TRADE", X="FILLED", z="0.003", q="0.003", l="0.001", L="7101", t=26, n="0.0002", N="USDT")
    assert one(BINANCE, later).state.fees == ()


@pytest.mark.parametrize("kind", ["NEW", "CANCELED", "EXPIRED", "AMENDMENT"])
def test_only_a_trade_is_an_execution(kind: str) -> None:
    """The last execution's numbers stay in later messages [?]; without a trade they report nothing."""
    assert one(BINANCE, order_update(x=kind, z="0.001", l="0.001", L="7101", t=25)).fills == ()


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("NEW", "0", OrderStatus.NEW),
        ("PARTIALLY_FILLED", "0.0004", OrderStatus.PARTIALLY_FILLED),
        ("FILLED", "0.001", OrderStatus.FILLED),
        ("CANCELED", "0.0004", OrderStatus.CANCELED),
        ("EXPIRED", "0", OrderStatus.EXPIRED),
        ("EXPIRED_IN_MATCH", "0.0004", OrderStatus.EXPIRED),
        ("REJECTED", "0", OrderStatus.REJECTED),
        ("NEW_INSURANCE", "0", None),
    ],
)
def test_status_words_of_the_futures_stream(word: str, filled: str, status: OrderStatus | None) -> None:
    state = one(BINANCE, order_update(X=word, z=filled)).state
    assert (state.order_status, state.exchange_status) == (status, word)


def test_a_stop_that_expired_because_it_fired_is_not_over() -> None:
    assert one(BINANCE, order_update(x="EXPIRED", X="EXPIRED", er="8")).state.order_status is None
    assert one(BINANCE, order_update(x="EXPIRED", X="EXPIRED", er="6")).state.order_status is OrderStatus.EXPIRED


CAUSES = [
    ("autoclose-1568879465651", Cause.LIQUIDATION),
    ("adl_autoclose", Cause.AUTO_DELEVERAGING),
    ("settlement_autoclose-1", Cause.SETTLEMENT),
    ("delivery_autoclose-1", Cause.SETTLEMENT),
    ("delivery-1", Cause.SETTLEMENT),
    ("my-autoclose-1", None),
    ("TEST", None),
]


@pytest.mark.parametrize(("client_id", "cause"), CAUSES)
def test_orders_of_the_exchange_itself(client_id: str, cause: Cause | None) -> None:
    pushed = one(BINANCE, order_update(c=client_id, x="TRADE", l="0.001", L="7101", z="0.001", t=5, X="FILLED"))
    assert (pushed.state.cause, pushed.fills[0].cause) == (cause, cause)
    row = {"orderId": 5, "symbol": "BTCUSDT", "clientOrderId": client_id, "status": "FILLED", "type": "LIMIT"}
    assert one(BINANCE, row).state.cause == cause


def test_a_liquidation_by_its_type_and_its_execution() -> None:
    seen = one(
        BINANCE,
        order_update(o="LIQUIDATION", ot="LIQUIDATION", x="CALCULATED", X="FILLED", l="0.001", L="7101", z="0.001"),
    )
    assert seen.state.cause is Cause.LIQUIDATION
    assert [(fill.exchange_trade_id, fill.cause) for fill in seen.fills] == [(None, Cause.LIQUIDATION)]


# /docs/derivatives/usds-margined-futures/user-data-streams/Event-Algo-Order-Update
ALGO_UPDATE: dict[str, Any] = {
    "e": "ALGO_UPDATE",
    "T": 1750515742297,
    "E": 1750515742303,
    "o": {
        "caid": "Q5xaq5EGKgXXa0fD7fs0Ip",
        "aid": 2148719,
        "at": "CONDITIONAL",
        "o": "TAKE_PROFIT",
        "s": "BNBUSDT",
        "S": "SELL",
        "ps": "BOTH",
        "f": "GTC",
        "q": "0.01",
        "X": "CANCELED",
        "ai": "",
        "ap": "0.00000",
        "aq": "0.00000",
        "act": "0",
        "tp": "750",
        "p": "750",
        "V": "EXPIRE_MAKER",
        "wt": "CONTRACT_PRICE",
        "pm": "NONE",
        "cp": False,
        "pP": False,
        "R": False,
        "tt": 0,
        "gtd": 0,
        "rm": "Reduce Only reject",
    },
}


def algo_update(**fields: Any) -> dict[str, Any]:
    return {**ALGO_UPDATE, "o": {**ALGO_UPDATE["o"], **fields}}


def test_a_conditional_order_of_the_algo_service() -> None:
    assert one(BINANCE, ALGO_UPDATE) == Sighting(
        state=OrderState(
            exchange_order_id="2148719",
            client_order_id="Q5xaq5EGKgXXa0fD7fs0Ip",
            symbol="BNBUSDT",
            side="sell",
            type="TAKE_PROFIT",
            order_status=OrderStatus.CANCELED,
            quantity=Decimal("0.01"),
            filled_quantity=Decimal(0),
            remaining_quantity=Decimal("0.01"),
            limit_price=Decimal(750),
            trigger_price=Decimal(750),
            reduce_only=False,
            exchange_status="CANCELED",
            exchange_at=at(1750515742297),
        ),
        id_kind="algo",
    )


@pytest.mark.parametrize(
    ("fields", "status", "filled", "child"),
    [
        ({"X": "NEW"}, OrderStatus.NEW, Decimal(0), None),
        ({"X": "TRIGGERING", "tt": 1750515742297}, None, None, None),
        ({"X": "TRIGGERED", "ai": "87"}, None, None, "87"),
        ({"X": "FINISHED", "ai": "87", "aq": "0.01", "ap": "749.5"}, None, Decimal("0.01"), "87"),
        ({"X": "REJECTED"}, OrderStatus.REJECTED, Decimal(0), None),
        ({"X": "EXPIRED"}, OrderStatus.EXPIRED, Decimal(0), None),
    ],
)
def test_what_a_fired_algo_order_became(
    fields: dict[str, Any], status: OrderStatus | None, filled: Decimal | None, child: str | None
) -> None:
    message = algo_update(**fields)
    seen = one(BINANCE, message)
    assert (seen.state.order_status, seen.state.filled_quantity, seen.child_order_id) == (status, filled, child)
    assert seen.state.exchange_status == fields["X"]
    assert (seen.id_kind, seen.fills) == ("algo", ())
    for shape in (message, message["o"], {"info": message["o"], "id": "2148719", "status": "closed"}):
        assert BINANCE.child_order_id(shape) == child
        assert BINANCE.order_id_kind(shape) == "algo"
        assert BINANCE.order_state(shape).order_status is status


def test_an_algo_order_as_rest_shows_it() -> None:
    row = json.loads((PAYLOADS / "binanceusdm" / "algo_stop_finished.json").read_text())["raw"]
    seen = one(BINANCE, row)
    assert (seen.id_kind, seen.state.exchange_order_id, seen.child_order_id) == (
        "algo",
        str(row["algoId"]),
        str(row["actualOrderId"]),
    )


# /docs/derivatives/usds-margined-futures/user-data-streams/Event-Trade-Lite
TRADE_LITE = {
    "e": "TRADE_LITE",
    "E": 1721895408092,
    "T": 1721895408214,
    "s": "BTCUSDT",
    "q": "0.001",
    "p": "0",
    "m": False,
    "c": "z8hcUoOsqEdKMeKPSABslD",
    "S": "BUY",
    "L": "64089.20",
    "l": "0.040",
    "t": 109100866,
    "i": 8886774,
}


def test_the_short_message_of_an_execution_says_nothing_of_the_status_and_nothing_of_the_fee() -> None:
    assert one(BINANCE, TRADE_LITE) == Sighting(
        state=OrderState(
            exchange_order_id="8886774",
            client_order_id="z8hcUoOsqEdKMeKPSABslD",
            symbol="BTCUSDT",
            side="buy",
            quantity=Decimal("0.001"),
            exchange_at=at(1721895408214),
        ),
        fills=(
            Fill(
                exchange_trade_id="109100866",
                exchange_order_id="8886774",
                symbol="BTCUSDT",
                side="buy",
                price=Decimal("64089.20"),
                quantity=Decimal("0.040"),
                liquidity=Liquidity.TAKER,
                exchange_at=at(1721895408214),
            ),
        ),
    )


def test_a_triggered_order_that_was_rejected() -> None:
    """/docs/derivatives/usds-margined-futures/user-data-streams/Event-Conditional-Order-Trigger-Reject"""
    message = {
        "e": "CONDITIONAL_ORDER_TRIGGER_REJECT",
        "E": 1685517224945,
        "T": 1685517224955,
        "or": {"s": "ETHUSDT", "i": 155618472834, "r": "Due to the order could not be filled immediately, ..."},
    }
    assert one(BINANCE, message) == Sighting(
        state=OrderState(
            exchange_order_id="155618472834",
            symbol="ETHUSDT",
            order_status=OrderStatus.REJECTED,
            exchange_status="REJECTED",
            exchange_at=at(1685517224955),
        )
    )


def test_a_conditional_order_of_portfolio_margin() -> None:
    """/docs/derivatives/portfolio-margin/user-data-streams/Event-Conditional-Order-Trade-Update"""
    message = {
        "e": "CONDITIONAL_ORDER_TRADE_UPDATE",
        "T": 1669262908216,
        "E": 1669262908218,
        "fs": "UM",
        "so": {
            "s": "BTCUSDT",
            "c": "TEST",
            "si": 176057039,
            "S": "SELL",
            "st": "TRAILING_STOP_MARKET",
            "f": "GTC",
            "q": "0.001",
            "p": "0",
            "sp": "7103.04",
            "os": "NEW",
            "T": 1568879465650,
            "ut": 1669262908216,
            "R": False,
            "wt": "MARK_PRICE",
            "ps": "LONG",
            "cp": False,
            "AP": "7476.89",
            "cr": "5.0",
            "i": 8886774,
            "V": "EXPIRE_TAKER",
            "gtd": 0,
        },
    }
    seen = one(BINANCE, message)
    assert seen == Sighting(
        state=OrderState(
            exchange_order_id="176057039",
            client_order_id="TEST",
            symbol="BTCUSDT",
            side="sell",
            type="TRAILING_STOP_MARKET",
            order_status=OrderStatus.NEW,
            quantity=Decimal("0.001"),
            filled_quantity=Decimal(0),
            remaining_quantity=Decimal("0.001"),
            trigger_price=Decimal("7476.89"),
            reduce_only=False,
            exchange_status="NEW",
            exchange_at=at(1669262908216),
        ),
        id_kind="algo",
    )
    fired = one(BINANCE, {**message, "so": {**message["so"], "os": "TRIGGERED"}})  # type: ignore[dict-item]
    assert (fired.child_order_id, fired.state.order_status) == ("8886774", None)


def test_lists_of_orders_and_replacements_in_one_answer() -> None:
    reports = [{"symbol": "LTCBTC", "orderId": number, "status": "NEW"} for number in (2, 3)]
    answer = {"orderListId": 0, "contingencyType": "OCO", "orders": [{"orderId": 2}], "orderReports": reports}
    assert [seen.state.exchange_order_id for seen in SPOT.sightings(answer)] == ["2", "3"]
    replaced = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE",
                "cancelResponse": {"symbol": "BTCUSDT", "orderId": 9, "status": "CANCELED"},
                "newOrderResponse": {"code": -2010, "msg": "Account has insufficient balance"}}  # fmt: skip
    assert one(SPOT, replaced).state.order_status is OrderStatus.CANCELED


def test_options_send_several_orders_with_several_executions() -> None:
    """The shape of Event-Order-Update of options, as ccxt 4.5.90 quotes it (handle_options_order_update)."""
    message = {
        "e": "ORDER_TRADE_UPDATE",
        "E": 1657613775883,
        "o": [
            {
                "T": 1657613342918,
                "t": 1657613342919,
                "s": "BTC-220930-18000-C",
                "c": "",
                "oid": "4611869636869226548",
                "p": "1993",
                "q": "-1",
                "stp": 0,
                "r": False,
                "po": True,
                "S": "PARTIALLY_FILLED",
                "e": "0.1",
                "ec": "199.3",
                "f": "2",
                "tif": "GTC",
                "oty": "LIMIT",
                "fi": [{"t": "20", "p": "1993", "q": "0.1", "T": 1657613774336, "m": "TAKER", "f": "0.0002"}],
            }
        ],
    }
    seen = one(BINANCE, message)
    assert (seen.state.exchange_order_id, seen.state.side, seen.state.quantity, seen.state.filled_quantity) == (
        "4611869636869226548",
        "sell",
        Decimal(1),
        Decimal("0.1"),
    )
    assert (seen.state.created_at, seen.state.exchange_at) == (at(1657613342918), at(1657613342919))
    (fill,) = seen.fills
    assert (fill.exchange_trade_id, fill.price, fill.quantity, fill.side, fill.liquidity, fill.fee.amount) == (
        "20",
        Decimal(1993),
        Decimal("0.1"),
        "sell",
        Liquidity.TAKER,
        Decimal("0.0002"),
    )


def test_a_charged_fee_of_options_is_negative_in_the_message_of_one_order() -> None:
    """/docs/derivatives/options-trading/user-data-streams/Event-Order-update: "negative means fee charge" """
    trade = {"x": "TRADE", "X": "FILLED", "l": "0.001", "z": "0.001", "L": "71", "t": 5, "n": "-0.5"}
    (fill,) = one(BINANCE, order_update(s="BTC-251123-126000-C", **trade)).fills
    assert fill.fee == Fee(amount=Decimal("0.5"), currency="USDT", status=FeeStatus.REPORTED)


def test_ccxt_pro_hands_out_the_executions_of_options_with_the_sign_they_have_in_the_list() -> None:
    exchange = client("binance")
    trades: list[Any] = []
    exchange.handle_order = lambda *_: None
    exchange.handle_my_trade = lambda _, trade: trades.append(exchange.parse_ws_trade(trade))
    fill = {"t": "20", "p": "1993", "q": "0.1", "T": 1657613774336, "m": "MAKER", "f": "0.0002"}
    order = {"s": "BTC-220930-18000-P", "oid": "46", "q": "1", "oty": "LIMIT", "S": "FILLED", "fi": [fill]}
    message = {"e": "ORDER_TRADE_UPDATE", "o": [order]}
    exchange.handle_options_order_update(Listener(), message)
    (direct,), (through,) = one(SPOT, message).fills, one(SPOT, trades).fills
    for seen in (direct, through):
        assert (seen.exchange_trade_id, seen.exchange_order_id, seen.side, seen.fee.amount, seen.liquidity) == (
            "20",
            "46",
            "buy",
            Decimal("0.0002"),
            Liquidity.MAKER,
        )


# Binance, spot: user-data-stream.md of binance-spot-api-docs
EXECUTION_REPORT: dict[str, Any] = {
    "e": "executionReport",
    "E": 1499405658658,
    "s": "ETHBTC",
    "c": "mUvoqJxFIILMdfAW5iGSOW",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTC",
    "q": "1.00000000",
    "p": "0.10264410",
    "P": "0.00000000",
    "F": "0.00000000",
    "g": -1,
    "C": "",
    "x": "NEW",
    "X": "NEW",
    "r": "NONE",
    "i": 4293153,
    "l": "0.00000000",
    "z": "0.00000000",
    "L": "0.00000000",
    "n": "0",
    "N": None,
    "T": 1499405658657,
    "t": -1,
    "v": 3,
    "I": 8641984,
    "w": True,
    "m": False,
    "M": False,
    "O": 1499405658650,
    "Z": "0.00000000",
    "Y": "0.00000000",
    "Q": "0.00000000",
    "W": 1499405658657,
    "V": "NONE",
}
SPOT = adapter_for("binance")


def test_a_new_spot_order() -> None:
    assert one(SPOT, EXECUTION_REPORT) == Sighting(
        state=OrderState(
            exchange_order_id="4293153",
            client_order_id="mUvoqJxFIILMdfAW5iGSOW",
            symbol="ETHBTC",
            side="buy",
            type="LIMIT",
            order_status=OrderStatus.NEW,
            quantity=Decimal(1),
            filled_quantity=Decimal(0),
            remaining_quantity=Decimal(1),
            limit_price=Decimal("0.1026441"),
            exchange_status="NEW",
            created_at=at(1499405658650),
            exchange_at=at(1499405658657),
        )
    )


def test_a_spot_execution_with_its_fee_in_a_third_currency() -> None:
    report = EXECUTION_REPORT | {
        "x": "TRADE", "X": "FILLED", "l": "0.6", "L": "0.1026", "z": "1.0", "Z": "0.10262", "n": "0.00033200",
        "N": "BNB", "t": 77517, "m": True,
    }  # fmt: skip
    seen = one(SPOT, report)
    assert (seen.state.order_status, seen.state.average_price) == (OrderStatus.FILLED, Decimal("0.10262"))
    assert seen.state.fees == ()  # of 0.6 alone
    (fill,) = seen.fills
    assert (fill.exchange_trade_id, fill.quantity, fill.price, fill.liquidity) == (
        "77517",
        Decimal("0.6"),
        Decimal("0.1026"),
        Liquidity.MAKER,
    )
    assert fill.fee == Fee(amount=Decimal("0.000332"), currency="BNB", status=FeeStatus.REPORTED)


def test_a_cancelled_spot_order_has_its_own_client_id_not_that_of_the_cancel() -> None:
    report = EXECUTION_REPORT | {"x": "CANCELED", "X": "CANCELED", "c": "ofTheCancel", "C": "ofTheOrder"}
    assert one(SPOT, report).state.client_order_id == "ofTheOrder"


@pytest.mark.parametrize(
    "message",
    [
        {"e": "listStatus", "E": 1564035303637, "s": "ETHBTC", "g": 2, "c": "OCO", "l": "EXEC_STARTED", "O": []},
        {"e": "outboundAccountPosition", "E": 1564034571105, "u": 1564034571073, "B": []},
        {"e": "balanceUpdate", "E": 1573200697110, "a": "BTC", "d": "100.00000000", "T": 1573200697068},
        {"e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938, "a": {"m": "ORDER", "B": [], "P": []}},
        {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1611646737479, "T": 1611646737476, "ac": {"s": "BTCUSDT", "l": 25}},
        {"e": "MARGIN_CALL", "E": 1587727187525, "cw": "3.16812045", "p": []},
        {"e": "listenKeyExpired", "E": 1736996475556, "listenKey": "x"},
        {"result": None, "id": 3},
        {"id": "a", "status": 400, "error": {"code": -1102, "msg": "Mandatory parameter"}},
        {"code": 200, "msg": "The operation of cancel all open order is done."},
        [],
    ],
)
def test_known_messages_of_binance_that_speak_of_no_order(message: Any) -> None:
    assert BINANCE.understands(message)
    assert BINANCE.sightings(message) == ()


@pytest.mark.parametrize(
    "shown",
    [
        None, 5, "pong", "{", b"\xff", {}, object(), {"e": "ORDER_SOMETHING_NEW", "o": {"i": 1}}, {"e": "orderReport"},
        {"symbol": "BTC/USDT", "last": 1.0, "info": {}}, {"topic": "spread.order", "data": [{"orderId": "1"}]},
        {"e": "ORDER_TRADE_UPDATE"}, {"id": "1"}, [[], None],
    ],
)  # fmt: skip
@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
def test_what_cannot_be_read_is_said_to_be_so(exchange: str, shown: Any) -> None:
    assert not adapter_for(exchange).understands(shown)
    assert adapter_for(exchange).sightings(shown) == ()


def test_one_part_that_cannot_be_read_does_not_take_the_others_away() -> None:
    assert len(BINANCE.sightings([FIRED, {"e": "NEWS"}, ALGO_UPDATE])) == 2
    assert not BINANCE.understands([FIRED, {"e": "NEWS"}, ALGO_UPDATE])


@pytest.mark.parametrize("message", [FIRED, ALGO_UPDATE, TRADE_LITE, EXECUTION_REPORT])
def test_envelopes_and_text_of_a_message_show_the_same(message: dict[str, Any]) -> None:
    plain = BINANCE.sightings(message)
    assert len(plain) == 1
    for shape in (
        {"stream": "listenKey", "data": message},
        {"subscriptionId": 0, "event": message},
        [message],
        (message,),
        json.dumps(message),
        json.dumps(message).encode(),
        {"stream": "x", "data": json.dumps(message)},
    ):
        assert BINANCE.sightings(shape) == plain
        assert BINANCE.understands(shape)


def test_text_is_read_digit_by_digit() -> None:
    text = json.dumps(order_update(q="@")).replace('"@"', "0.12345678901234567890123")
    assert one(BINANCE, text).state.quantity == Decimal("0.12345678901234567890123")


def test_the_answer_to_a_request_over_websocket() -> None:
    answer = {
        "id": "605a6d20-6588-4cb9-afa0-b0ab087507ba",
        "status": 200,
        "result": {"symbol": "BTCUSDT", "orderId": 12569099453, "clientOrderId": "4d", "status": "NEW", "side": "SELL"},
        "rateLimits": [],
    }
    state = one(SPOT, answer).state
    assert (state.exchange_order_id, state.order_status) == ("12569099453", OrderStatus.NEW)


def test_rows_of_user_trades_are_grouped_by_order_whatever_their_order() -> None:
    """/docs/derivatives/usds-margined-futures/trade/rest-api/Account-Trade-List"""
    row = {
        "buyer": False,
        "commission": "-0.07819010",
        "commissionAsset": "USDT",
        "id": 698759,
        "maker": True,
        "orderId": 25851813,
        "price": "7819.01",
        "qty": "0.002",
        "quoteQty": "15.63802",
        "realizedPnl": "-0.91539999",
        "side": "SELL",
        "positionSide": "SHORT",
        "symbol": "BTCUSDT",
        "time": 1569514978020,
    }
    rows = [row, row | {"id": 698760, "time": 1569514978021}, row | {"id": 7, "orderId": 2}, row]
    first, other = BINANCE.sightings(rows)
    assert first.state == OrderState(exchange_order_id="25851813", symbol="BTCUSDT", side="sell")
    assert [fill.exchange_trade_id for fill in first.fills] == ["698759", "698760"]
    assert first.fills[0].fee == Fee(amount=Decimal("-0.0781901"), currency="USDT", status=FeeStatus.REPORTED)
    assert (other.state.exchange_order_id, [fill.exchange_trade_id for fill in other.fills]) == ("2", ["7"])
    for shuffled in itertools.permutations(rows):
        assert set(BINANCE.sightings(list(shuffled))) == {first, other}


def test_the_fills_in_an_answer_are_executions_of_its_order() -> None:
    raw = json.loads((PAYLOADS / "binance" / "spot_full_mixed_fee.json").read_text())["raw"]
    seen = one(SPOT, raw)
    assert len(seen.fills) == len(raw["fills"]) > 1
    assert seen.state.fills == ()
    assert {fill.exchange_order_id for fill in seen.fills} == {str(raw["orderId"])}


# Bybit: bybit-exchange.github.io/docs/v5/websocket/private/order
ORDER_ROW: dict[str, Any] = {
    "symbol": "ETH-30DEC22-1400-C",
    "orderId": "5cf98598-39a7-459e-97bf-76ca765ee020",
    "side": "Sell",
    "orderType": "Market",
    "cancelType": "UNKNOWN",
    "price": "72.5",
    "qty": "1",
    "orderIv": "",
    "timeInForce": "IOC",
    "orderStatus": "Filled",
    "orderLinkId": "",
    "lastPriceOnCreated": "",
    "reduceOnly": False,
    "leavesQty": "",
    "leavesValue": "",
    "cumExecQty": "1",
    "cumExecValue": "75",
    "avgPrice": "75",
    "blockTradeId": "",
    "positionIdx": 0,
    "cumExecFee": "0.358635",
    "closedPnl": "0",
    "createdTime": "1672364262444",
    "updatedTime": "1672364262457",
    "rejectReason": "EC_NoError",
    "stopOrderType": "",
    "tpslMode": "",
    "triggerPrice": "",
    "takeProfit": "",
    "stopLoss": "",
    "tpTriggerBy": "",
    "slTriggerBy": "",
    "tpLimitPrice": "",
    "slLimitPrice": "",
    "triggerDirection": 0,
    "triggerBy": "",
    "closeOnTrigger": False,
    "category": "option",
    "placeType": "price",
    "smpType": "None",
    "smpGroup": 0,
    "smpOrderId": "",
    "feeCurrency": "",
    "cumFeeDetail": {"USDC": "0.358635"},
}
# bybit-exchange.github.io/docs/v5/websocket/private/execution, with `createType` of a linear contract
EXECUTION_ROW: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "closedSize": "0",
    "execFee": "0.0679239",
    "execId": "135dbae5-cbed-5275-9290-3956bb2ed907",
    "execPrice": "123498",
    "execQty": "0.001",
    "execType": "Trade",
    "execValue": "123.498",
    "feeRate": "0.00055",
    "tradeIv": "",
    "markIv": "",
    "blockTradeId": "",
    "markPrice": "122392",
    "indexPrice": "",
    "underlyingPrice": "",
    "leavesQty": "0",
    "orderId": "aee7453a-a100-465f-857a-3db780e9329a",
    "orderLinkId": "mine",
    "orderPrice": "123615.9",
    "orderQty": "0.001",
    "orderType": "Market",
    "stopOrderType": "UNKNOWN",
    "side": "Buy",
    "execTime": "1757837580469",
    "isLeverage": "0",
    "isMaker": False,
    "seq": 9517074055,
    "marketUnit": "",
    "execPnl": "0",
    "createType": "CreateByUser",
    "extraFees": [],
    "feeCoin": "USDT",
}
# bybit-exchange.github.io/docs/v5/websocket/private/fast-execution
FAST_ROW = {
    "category": "linear",
    "symbol": "ICPUSDT",
    "execId": "3510f361-0add-5c7b-a2e7-9679810944fc",
    "execPrice": "12.015",
    "execQty": "3000",
    "orderId": "443d63fa-b4c3-4297-b7b1-23bca88b04dc",
    "isMaker": False,
    "orderLinkId": "test-00001",
    "side": "Sell",
    "execTime": "1716800399334",
    "seq": 34771365464,
}


def topic(name: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"id": "592324803b2785", "topic": name, "creationTime": 1672364262474, "data": list(rows)}


@pytest.mark.parametrize("name", ["order", "order.option"])
def test_an_order_of_bybits_stream(name: str) -> None:
    expected = Sighting(
        state=OrderState(
            exchange_order_id="5cf98598-39a7-459e-97bf-76ca765ee020",
            symbol="ETH-30DEC22-1400-C",
            side="sell",
            type="MARKET",
            order_status=OrderStatus.FILLED,
            quantity=Decimal(1),
            filled_quantity=Decimal(1),
            remaining_quantity=Decimal(0),
            average_price=Decimal(75),
            reduce_only=False,
            fees=(Fee(amount=Decimal("0.358635"), currency="USDC", status=FeeStatus.REPORTED),),
            exchange_status="Filled",
            created_at=at(1672364262444),
            exchange_at=at(1672364262457),
        )
    )
    assert one(BYBIT, topic(name, ORDER_ROW)) == expected
    assert one(BYBIT, json.dumps(topic(name, ORDER_ROW))) == expected
    assert one(BYBIT, ORDER_ROW) == expected
    assert BYBIT.order_state(topic(name, ORDER_ROW)) == expected.state


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("New", "0", OrderStatus.NEW),
        ("Untriggered", "0", OrderStatus.NEW),
        ("Triggered", "0", OrderStatus.NEW),
        ("PartiallyFilled", "0.4", OrderStatus.PARTIALLY_FILLED),
        ("PartiallyFilledCanceled", "0.4", OrderStatus.CANCELED),
        ("Filled", "1", OrderStatus.FILLED),
        ("Cancelled", "0", OrderStatus.CANCELED),
        ("Deactivated", "0", OrderStatus.CANCELED),
        ("Rejected", "0", OrderStatus.REJECTED),
        ("SomethingNew", "0", None),
    ],
)
def test_status_words_of_bybit(word: str, filled: str, status: OrderStatus | None) -> None:
    state = one(BYBIT, topic("order", ORDER_ROW | {"orderStatus": word, "cumExecQty": filled})).state
    assert (state.order_status, state.exchange_status) == (status, word)


@pytest.mark.parametrize(
    ("stop", "created", "attached", "kind"),
    [
        ("StopLoss", "CreateByStopLoss", "stop_loss", "STOP_LOSS"),
        ("PartialStopLoss", "CreateByPartialStopLoss", "stop_loss", "STOP_LOSS"),
        ("TakeProfit", "CreateByTakeProfit", "take_profit", "TAKE_PROFIT"),
        ("PartialTakeProfit", "CreateByPartialTakeProfit", "take_profit", "TAKE_PROFIT"),
        ("TrailingStop", "CreateByTrailingStop", "trailing", "TRAILING_STOP_MARKET"),
        ("UNKNOWN", "CreateByStopLoss", "stop_loss", "STOP_LOSS"),  # fired: the word may be gone [?]
        ("Stop", "CreateByUser", None, "STOP_MARKET"),
        ("Stop", "CreateByStopOrder", None, "STOP_MARKET"),
        ("", "CreateByUser", None, "MARKET"),
        ("tpslOrder", None, None, "TPSLORDER"),
        ("StopLoss", None, "stop_loss", "STOP_LOSS"),
    ],
)
def test_stops_of_a_position_are_told_from_conditional_orders(
    stop: str, created: str | None, attached: str | None, kind: str
) -> None:
    fields = {"stopOrderType": stop} | ({"createType": created} if created is not None else {})
    order = one(BYBIT, topic("order", ORDER_ROW | {"category": "linear"} | fields))
    assert (order.attached, order.state.type) == (attached, kind)
    without = {name: value for name, value in EXECUTION_ROW.items() if name != "createType"}
    execution = one(BYBIT, topic("execution", without | fields))
    # an execution does not say in which direction it was triggered, so it may be a take-profit
    assert (execution.attached, execution.state.type) == (attached, None if kind == "STOP_MARKET" else kind)


def test_a_whole_execution_row_repeats_its_order() -> None:
    expected = Sighting(
        state=OrderState(
            exchange_order_id="aee7453a-a100-465f-857a-3db780e9329a",
            client_order_id="mine",
            symbol="BTCUSDT",
            side="buy",
            type="MARKET",
            quantity=Decimal("0.001"),
            exchange_at=at(1757837580469),
        ),
        fills=(
            Fill(
                exchange_trade_id="135dbae5-cbed-5275-9290-3956bb2ed907",
                exchange_order_id="aee7453a-a100-465f-857a-3db780e9329a",
                symbol="BTCUSDT",
                side="buy",
                price=Decimal(123498),
                quantity=Decimal("0.001"),
                fee=Fee(
                    amount=Decimal("0.0679239"), currency="USDT", rate=Decimal("0.00055"), status=FeeStatus.REPORTED
                ),
                liquidity=Liquidity.TAKER,
                exchange_at=at(1757837580469),
            ),
        ),
    )
    assert one(BYBIT, topic("execution", EXECUTION_ROW)) == expected
    listed = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [EXECUTION_ROW]}, "time": 1}
    assert one(BYBIT, listed) == expected


def test_the_quantity_of_a_spot_market_buy_is_no_base_quantity() -> None:
    row = EXECUTION_ROW | {"category": "spot", "orderQty": "50"}
    assert one(BYBIT, row).state.quantity is None
    limit = one(BYBIT, row | {"orderType": "Limit", "orderQty": "0.001"}).state
    assert (limit.quantity, limit.limit_price) == (Decimal("0.001"), Decimal("123615.9"))


@pytest.mark.parametrize(("category", "quantity"), [("spot", None), ("linear", Decimal("0.001"))])
def test_a_listing_says_the_category_once_for_all_rows(category: str, quantity: Decimal | None) -> None:
    row = {name: value for name, value in EXECUTION_ROW.items() if name != "category"}
    listed = {"retCode": 0, "retMsg": "OK", "result": {"category": category, "list": [row]}, "time": 1}
    assert one(BYBIT, listed).state.quantity == quantity


def test_the_fast_execution_has_the_ids_and_no_fee() -> None:
    seen = one(BYBIT, topic("execution.fast", FAST_ROW))
    assert seen.state == OrderState(
        exchange_order_id="443d63fa-b4c3-4297-b7b1-23bca88b04dc",
        client_order_id="test-00001",
        symbol="ICPUSDT",
        side="sell",
    )
    assert seen.fills[0].fee == Fee(status=FeeStatus.MISSING)
    assert (seen.fills[0].quantity, seen.fills[0].liquidity) == (Decimal(3000), Liquidity.TAKER)


@pytest.mark.parametrize(
    ("kind", "created", "cause"),
    [
        ("Trade", "CreateByUser", None),
        ("BlockTrade", "CreateByBlock_PassThrough", None),
        ("Trade", "CreateByLiq", Cause.LIQUIDATION),
        ("BustTrade", "CreateByTakeOver_PassThrough", Cause.LIQUIDATION),
        ("BustTrade", "", Cause.LIQUIDATION),
        ("AdlTrade", "CreateByAdl_PassThrough", Cause.AUTO_DELEVERAGING),
        ("Settle", "CreateBySettle", Cause.SETTLEMENT),
        ("Delivery", "", Cause.SETTLEMENT),
    ],
)
def test_executions_that_nobody_asked_for(kind: str, created: str, cause: Cause | None) -> None:
    """bybit-exchange.github.io/docs/v5/enum: exectype, createtype"""
    seen = one(BYBIT, EXECUTION_ROW | {"execType": kind, "createType": created})
    assert (seen.state.cause, seen.fills[0].cause) == (cause, cause)
    order = one(BYBIT, ORDER_ROW | {"createType": created}).state
    assert order.cause == (cause if created else None)


@pytest.mark.parametrize("kind", ["Funding", "SessionSettlePnL", "MovePosition"])
def test_entries_of_the_list_that_are_no_executions(kind: str) -> None:
    row = EXECUTION_ROW | {"execType": kind}
    assert BYBIT.understands(row)
    assert BYBIT.sightings([row, topic("execution", row)]) == ()


def test_a_settlement_without_an_order_keeps_its_execution() -> None:
    rows = [EXECUTION_ROW | {"execType": "Settle", "orderId": "", "orderLinkId": "", "execId": name} for name in "ab"]
    assert [seen.fills[0].exchange_trade_id for seen in BYBIT.sightings(rows)] == ["a", "b"]


@pytest.mark.parametrize(
    "message",
    [
        topic("position", {"symbol": "BTCUSDT", "size": "1", "side": "Buy"}),
        topic("wallet", {"accountType": "UNIFIED"}),
        topic("order"),
        {"success": True, "ret_msg": "", "op": "auth", "conn_id": "x"},
        {"req_id": "2", "op": "pong", "args": ["1757405570352"], "conn_id": "x"},
        {"success": True, "ret_msg": "pong", "conn_id": "x"},
        {"op": "subscribe", "success": True, "ret_msg": "", "req_id": "1"},
        {"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1},
        {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [], "nextPageCursor": ""}},
        {"reqId": "1", "retCode": 110007, "op": "order.create", "data": {}},
    ],
)
def test_known_messages_of_bybit_that_speak_of_no_order(message: Any) -> None:
    assert BYBIT.understands(message)
    assert BYBIT.sightings(message) == ()


def test_an_order_placed_over_websocket_and_a_batch_with_one_refused() -> None:
    placed = {"reqId": "1", "retCode": 0, "op": "order.create", "data": {"orderId": "9", "orderLinkId": "l"}}
    assert one(BYBIT, placed).state == OrderState(exchange_order_id="9", client_order_id="l")
    batch = {
        "retCode": 0,
        "result": {
            "list": [
                {"category": "linear", "symbol": "BTCUSDT", "orderId": "", "orderLinkId": "a", "createAt": ""},
                {"category": "linear", "symbol": "BTCUSDT", "orderId": "9", "orderLinkId": "b", "createAt": "1"},
            ]
        },
        "retExtInfo": {"list": [{"code": 10001, "msg": "too large"}, {"code": 0, "msg": "OK"}]},
    }
    assert [(seen.state.client_order_id, seen.state.order_status) for seen in BYBIT.sightings(batch)] == [
        ("a", OrderStatus.REJECTED),
        ("b", None),
    ]


# through the installed ccxt

MARKET = Market(
    symbol="BTC/USDT:USDT",
    exchange_symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    settle="USDT",
    type="swap",
    contract_size=Decimal(1),
)


def client(name: str) -> Any:
    """ccxt.pro with one market made by hand; nothing is sent."""
    exchange = getattr(ccxt.pro, name)({"newUpdates": False})
    market = exchange.safe_market_structure(
        {
            "id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT",
            "baseId": "BTC", "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False, "swap": True,
            "contract": True, "linear": True, "inverse": False, "contractSize": 1, "taker": 0.0006, "maker": 0.0002,
            "precision": {"amount": 0.001, "price": 0.1}, "info": {},
        }
    )  # fmt: skip
    exchange.markets, exchange.markets_by_id = {market["symbol"]: market}, {market["id"]: [market]}
    exchange.currencies = {"USDT": {"id": "USDT", "code": "USDT", "precision": 1e-8}}
    return exchange


def renamed(sightings: tuple[Sighting, ...]) -> set[Sighting]:
    """With ccxt's symbol in the place of the exchange's own."""
    return {
        msgspec.structs.replace(
            seen,
            state=msgspec.structs.replace(seen.state, symbol="BTC/USDT:USDT"),
            fills=tuple(msgspec.structs.replace(fill, symbol="BTC/USDT:USDT") for fill in seen.fills),
        )
        for seen in sightings
    }


@pytest.mark.parametrize("message", [order_update(), FIRED, algo_update(s="BTCUSDT", T=1750515742297, ai="7")])
def test_an_order_of_ccxt_pro_shows_what_the_message_shows(message: dict[str, Any]) -> None:
    order = client("binanceusdm").parse_ws_order(message["o"])
    assert set(BINANCE.sightings([order])) == renamed(BINANCE.sightings(message))
    assert BINANCE.understands([order])
    assert BINANCE.sightings(order, MARKET) == BINANCE.sightings(message, MARKET)


def test_a_trade_of_ccxt_pro_is_read_from_its_message() -> None:
    trade = client("binanceusdm").parse_ws_trade(FIRED["o"])
    assert trade["takerOrMaker"] == "taker"
    assert set(BINANCE.sightings([trade, trade])) == renamed(BINANCE.sightings(FIRED))
    assert BINANCE.fill(trade, MARKET) == BINANCE.sightings(FIRED, MARKET)[0].fills[0]


def test_the_executions_that_ccxt_pro_collects_in_an_order_are_its_fills_once_each() -> None:
    exchange = client("binanceusdm")
    listener = Listener()
    messages = [
        order_update(),
        order_update(x="TRADE", X="PARTIALLY_FILLED", l="0.0004", z="0.0004", L="7101", t=25, n="0.1", T=1568879466000),
        order_update(x="TRADE", X="FILLED", l="0.0006", z="0.001", L="7102", t=26, n="0.2", T=1568879467000),
    ]
    for message in messages:
        exchange.handle_order_update(listener, copy.deepcopy(message))
    (seen,) = {seen.state.order_status: seen for seen in BINANCE.sightings(exchange.orders)}.values()
    assert seen.state.order_status is OrderStatus.FILLED
    assert sorted(fill.exchange_trade_id or "" for fill in seen.fills) == ["25", "26"]
    assert seen.state.fees == (
        Fee(amount=Decimal("0.3"), currency="USDT", status=FeeStatus.REPORTED),
    )  # both executions are there, so their sum is the order's
    trades = BINANCE.sightings(exchange.myTrades)
    assert [fill.exchange_trade_id for seen in trades for fill in seen.fills] == ["25", "26"]


class Listener:
    """What ccxt.pro tells of new data."""

    def resolve(self, *told: object) -> None: ...


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (ORDER_ROW | {"symbol": "BTCUSDT", "category": "linear", "tpslMode": ""}, "order"),
        (EXECUTION_ROW, "trade"),
        (FAST_ROW | {"symbol": "BTCUSDT"}, "trade"),
        (EXECUTION_ROW | {"execType": "BustTrade", "createType": "CreateByTakeOver_PassThrough"}, "trade"),
    ],
)
def test_what_ccxt_makes_of_a_row_of_bybit(row: dict[str, Any], kind: str) -> None:
    parsed = getattr(client("bybit"), f"parse_{kind}")(copy.deepcopy(row))
    assert set(BYBIT.sightings([parsed])) == renamed(BYBIT.sightings(row))
    assert BYBIT.understands(parsed)


def test_what_ccxt_makes_of_rows_of_binance() -> None:
    exchange = client("binanceusdm")
    trade = {"id": 7, "orderId": 2, "symbol": "BTCUSDT", "side": "SELL", "price": "7819.01", "qty": "0.002",
             "commission": "0.0781", "commissionAsset": "USDT", "maker": False, "buyer": False, "time": 1569514978020,
             "quoteQty": "15.6", "realizedPnl": "0"}  # fmt: skip
    order = {"orderId": 2, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": "c", "price": "0", "side": "SELL",
             "avgPrice": "7819.01", "origQty": "0.002", "executedQty": "0.002", "type": "MARKET",
             "origType": "STOP_MARKET", "stopPrice": "7800", "reduceOnly": True, "closePosition": False,
             "time": 1569514978000, "updateTime": 1569514978020}  # fmt: skip
    assert set(BINANCE.sightings([exchange.parse_trade(trade)])) == renamed(BINANCE.sightings(trade))
    assert set(BINANCE.sightings([exchange.parse_order(order)])) == renamed(BINANCE.sightings(order))
    (seen,) = BINANCE.sightings(order)
    assert (seen.state.type, seen.state.created_at) == ("STOP_MARKET", at(1569514978000))


def test_a_market_is_used_for_its_own_symbol_alone() -> None:
    assert one(BINANCE, FIRED, MARKET).state.symbol == "BTC/USDT:USDT"
    assert one(BINANCE, ALGO_UPDATE, MARKET).state.symbol == "BNBUSDT"


def test_an_exchange_without_a_module_is_read_by_ccxts_words() -> None:
    kraken = adapter_for("kraken")
    trade = {"id": "T1", "order": "O1", "symbol": "BTC/USD", "side": "buy", "price": 5.0, "amount": 2.0, "info": {},
             "takerOrMaker": "maker", "fee": {"cost": 0.1, "currency": "USD"}, "timestamp": 1569514978020}  # fmt: skip
    seen = one(kraken, [trade])
    assert seen.state == OrderState(exchange_order_id="O1", symbol="BTC/USD", side="buy")
    order = {"id": "O1", "symbol": "BTC/USD", "status": "open", "filled": 0.0, "amount": 2.0, "info": {}}
    assert one(kraken, order).state.order_status is OrderStatus.NEW


def test_a_creation_that_the_payload_does_not_name_is_not_taken_from_ccxt() -> None:
    """ccxt's timestamp may be a bot's clock; with the payload's own digits, to the millisecond, it is the exchange's."""
    order = {"id": "O1", "symbol": "BTC/USD", "status": "open", "timestamp": 1705260547472, "info": {}}
    assert one(adapter_for("kraken"), order).state.created_at is None
    named = order | {"info": {"opentm": "1705260547.4728658"}}
    assert one(adapter_for("kraken"), named).state.created_at == at(1705260547472)
    assert one(adapter_for("kraken"), named | {"timestamp": 1705260547471}).state.created_at is None


# whatever the order, however often

MESSAGES: list[Any] = [
    order_update(),
    FIRED,
    order_update(x="TRADE", X="FILLED", z="0.001", l="0.001", L="7101", t=25, n="0.1"),
    ALGO_UPDATE,
    algo_update(X="TRIGGERED", ai="87"),
    TRADE_LITE,
    EXECUTION_REPORT,
]
ROWS: list[Any] = [
    topic("order", ORDER_ROW),
    topic("order", ORDER_ROW | {"orderStatus": "New", "cumExecQty": "0"}),
    topic("execution", EXECUTION_ROW, EXECUTION_ROW | {"execId": "2"}),
    topic("execution.fast", FAST_ROW),
    topic("execution", EXECUTION_ROW | {"execType": "Funding"}),
]


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([("binanceusdm", MESSAGES), ("bybit", ROWS)]))
def test_order_and_repetition_change_nothing(data: st.DataObject, case: tuple[str, list[Any]]) -> None:
    adapter, messages = adapter_for(case[0]), case[1]
    kept = copy.deepcopy(messages)
    heard = data.draw(st.lists(st.sampled_from(range(len(messages))), min_size=1, max_size=20))
    alone = {index: set(adapter.sightings(messages[index])) for index in range(len(messages))}
    for index in heard:
        assert set(adapter.sightings(messages[index])) == alone[index]
    together = adapter.sightings([messages[index] for index in heard])
    assert set(together) == set(adapter.sightings([messages[index] for index in reversed(heard)]))
    assert len(set(together)) == len(together)
    assert {fill for seen in together for fill in seen.fills} == {
        fill for index in heard for seen in alone[index] for fill in seen.fills
    }
    assert messages == kept


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.none() | st.text(max_size=3), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_message_never_fails(data: st.DataObject) -> None:
    exchange, messages = data.draw(st.sampled_from([("binanceusdm", MESSAGES), ("bybit", ROWS)]))
    message = copy.deepcopy(data.draw(st.sampled_from(messages)))
    inner = next((value for value in (message.get("o"), *(message.get("data") or [])) if type(value) is dict), message)
    for name in data.draw(st.lists(st.sampled_from(sorted(inner)), max_size=4)):
        inner[name] = data.draw(LEAVES)
    if data.draw(st.booleans()):
        message[data.draw(st.sampled_from(sorted(message)))] = data.draw(LEAVES)
    adapter = adapter_for(exchange)
    for seen in adapter.sightings(message):
        assert seen.state.exchange_order_id or seen.state.client_order_id or seen.fills
    adapter.understands(message)
    adapter.payments(message)
    adapter.order_state(message)
    adapter.fill(message)
    adapter.child_order_id(message)
    adapter.order_id_kind(message)
