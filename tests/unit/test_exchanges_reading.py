"""What the adapters take for a fact, and what they do not."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from audit_wrapper import exchanges
from audit_wrapper.exchanges import ExchangeAdapter, adapter_for
from audit_wrapper.records import Fee, FeeStatus, OrderState, OrderStatus


def read(exchange: str, **order: Any) -> OrderState:
    return adapter_for(exchange).order_state(order)


# a mocked client or manager: the unified dict is all there is


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
def test_without_a_payload_the_unified_numbers_are_the_evidence(exchange: str) -> None:
    state = read(
        exchange,
        id="1",
        symbol="BTC/USDT",
        side="buy",
        type="market",
        status="closed",
        filled=0.01,
        amount=0.01,
        average=50000,
        info={},
    )
    assert state == OrderState(
        exchange_order_id="1",
        symbol="BTC/USDT",
        side="buy",
        type="MARKET",
        order_status=OrderStatus.FILLED,
        quantity=Decimal("0.01"),
        filled_quantity=Decimal("0.01"),
        remaining_quantity=Decimal(0),
        average_price=Decimal(50000),
    )


def test_an_order_result_of_a_bot() -> None:
    state = read(
        "binance",
        id="entry_1",
        symbol="MNTUSDT",
        side="BUY",
        type="market",
        amount=Decimal("3"),
        price=0,
        filled="3",
        remaining=0.0,
        status="closed",
        timestamp=datetime(2025, 1, 1),
        info={},
    )
    assert (state.order_status, state.quantity, state.average_price, state.exchange_at) == (
        OrderStatus.FILLED,
        3,
        None,
        None,
    )
    assert (state.side, state.type, state.limit_price) == ("buy", "MARKET", None)


def test_the_price_of_a_market_order_result_is_its_average_and_of_a_limit_its_limit() -> None:
    bot = {
        "id": "1",
        "symbol": "X",
        "side": "buy",
        "amount": 2,
        "price": 1.5,
        "filled": 2,
        "remaining": 0,
        "status": "closed",
        "info": {},
    }
    market, limit = (adapter_for("kraken").order_state(bot | {"type": kind}) for kind in ("market", "limit"))
    assert (market.average_price, market.limit_price) == (Decimal("1.5"), None)
    assert (limit.average_price, limit.limit_price) == (None, Decimal("1.5"))


def test_what_a_bot_adds_to_an_id_only_answer_is_not_the_exchanges() -> None:
    claims = {
        "id": "b1",
        "symbol": "MNT/USDT:USDT",
        "side": "buy",
        "amount": 3,
        "filled": 3,
        "remaining": 0,
        "status": "closed",
        "price": 1,
    }
    state = read("bybit", **claims, info={"orderId": "b1", "orderLinkId": "l"})
    assert state == OrderState(exchange_order_id="b1", client_order_id="l", symbol="MNT/USDT:USDT")


@pytest.mark.parametrize("info", [{}, {"retCode": 0, "retMsg": "OK", "result": {}}, {"retCode": "0", "result": None}])
def test_the_made_up_id_of_a_bybit_position_stop_is_no_exchange_id(info: dict[str, Any]) -> None:
    state = read(
        "bybit",
        id="sl_position_MNTUSDT",
        symbol="MNT/USDT:USDT",
        side="sell",
        type="stop_loss",
        price=0.9,
        status="open",
        info=info,
    )
    assert state == OrderState(symbol="MNT/USDT:USDT")


def test_a_whole_bybit_answer_is_opened() -> None:
    assert read("bybit", retCode=0, result={"orderId": "x", "orderLinkId": "y"}) == OrderState(
        exchange_order_id="x", client_order_id="y"
    )
    listed = {"list": [{"orderId": "x", "orderStatus": "New", "qty": "2", "cumExecQty": "0"}]}
    assert read("bybit", retCode=0, result=listed).order_status is OrderStatus.NEW


def test_a_bare_binance_answer_is_read_like_its_ccxt_order() -> None:
    raw = {
        "orderId": 7,
        "status": "PARTIALLY_FILLED",
        "origQty": "5",
        "executedQty": "2",
        "avgPrice": "1.1",
        "side": "SELL",
        "symbol": "MNTUSDT",
    }
    bare, unified = adapter_for("binance").order_state(raw), read("binance", id="7", symbol="MNTUSDT", info=raw)
    assert bare == unified
    assert (bare.order_status, bare.remaining_quantity) == (OrderStatus.PARTIALLY_FILLED, 3)


# ccxt's inferences


CLOSED = {
    "id": "1",
    "status": "closed",
    "amount": 2.0,
    "filled": 2.0,
    "remaining": 0.0,
    "average": 10.0,
    "type": "limit",
    "price": 11.0,
}


def test_filled_that_only_ccxt_inferred_is_not_a_fill() -> None:
    state = read("somex", **CLOSED, info={"id": "1", "state": "done", "size": "2"})
    assert (state.order_status, state.quantity, state.filled_quantity) == (None, 2, None)
    assert (state.average_price, state.exchange_status, state.limit_price) == (None, "done", 11)


@pytest.mark.parametrize(
    "witness", [{"executed": "2"}, {"left": "0"}, {"status": "FULLY_FILLED"}, {"nested": [{"fill_size": 2}]}]
)
def test_a_payload_that_bears_it_out_makes_it_a_fill(witness: dict[str, Any]) -> None:
    state = read("somex", **CLOSED, info={"id": "1", "size": "2"} | witness)
    assert (state.order_status, state.filled_quantity, state.remaining_quantity) == (OrderStatus.FILLED, 2, 0)


def test_closed_but_not_all_filled_is_not_filled() -> None:
    state = read("somex", **(CLOSED | {"filled": 1.5, "remaining": 0.5}), info={"size": "2", "executed": "1.5"})
    assert (state.order_status, state.filled_quantity, state.remaining_quantity) == (
        None,
        Decimal("1.5"),
        Decimal("0.5"),
    )


STATUSES = [
    ("open", 0, OrderStatus.NEW),
    ("open", 1, OrderStatus.PARTIALLY_FILLED),
    ("closed", 2, OrderStatus.FILLED),
    ("closed", 0, None),
    ("canceled", 1, OrderStatus.CANCELED),
    ("cancelled", 0, OrderStatus.CANCELED),
    ("expired", 0, OrderStatus.EXPIRED),
    ("rejected", None, OrderStatus.REJECTED),
    ("NEW", 0, OrderStatus.NEW),
    ("FILLED", 2, OrderStatus.FILLED),
    ("Filled", None, OrderStatus.FILLED),
    ("FILLED", 0, None),
    ("Untriggered", 0, OrderStatus.NEW),
    ("Deactivated", 0, OrderStatus.CANCELED),
    ("QUEUED_FOR_CANCELLATION", 0, None),
    ("ok", 0, None),
    (None, 2, None),
]


@pytest.mark.parametrize(("word", "filled", "expected"), STATUSES)
def test_status_words(word: str | None, filled: int | None, expected: OrderStatus | None) -> None:
    assert read("somex", id="1", status=word, amount=2, filled=filled, info={}).order_status is expected


@pytest.mark.parametrize(
    ("word", "own"), [("PENDING_CANCEL", "NEW"), ("EXPIRED_IN_MATCH", "EXPIRED"), ("TRIGGERING", None), ("S", None)]
)
def test_binance_status_words(word: str, own: str | None) -> None:
    assert read("binance", orderId=1, status=word, origQty="1", executedQty="0").order_status == own


@pytest.mark.parametrize(
    ("word", "own"),
    [
        ("Created", "NEW"),
        ("Triggered", "NEW"),
        ("Active", "NEW"),
        ("PartiallyFilled", "PARTIALLY_FILLED"),
        ("Rejected", "REJECTED"),
    ],
)
def test_bybit_status_words(word: str, own: str) -> None:
    assert read("bybit", orderId="1", orderStatus=word, qty="2", cumExecQty="0").order_status == own


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        ({"type": "market", "triggerPrice": 9}, "STOP_MARKET"),
        ({"type": "limit", "triggerPrice": 9}, "STOP_LIMIT"),
        ({"type": "market", "triggerPrice": 9, "takeProfitPrice": 9}, "TAKE_PROFIT"),
        ({"type": "market", "stopLossPrice": 9}, "MARKET"),
        ({"type": "trailing_stop"}, "TRAILING_STOP_MARKET"),
        ({"type": "stop_market"}, "STOP_MARKET"),
        ({"type": "oco"}, "OCO"),
    ],
)
def test_type_words(order: dict[str, Any], kind: str) -> None:
    assert read("somex", **order, info={}).type == kind


@pytest.mark.parametrize(
    ("word", "expected"), [(True, True), ("true", True), ("YES", True), ("NO", False), (None, None), ("?", None)]
)
def test_reduce_only_as_it_is_spelled(word: object, expected: bool | None) -> None:
    assert read("somex", id="1", reduceOnly=word, info={}).reduce_only is expected


# fees


@pytest.mark.parametrize(
    ("order", "fees"),
    [
        ({"fee": {"cost": None, "currency": None}}, ()),
        (
            {"fee": {"cost": "0.10", "currency": "USDT"}, "fees": [{"cost": 0.1, "currency": "USDT"}]},
            (("0.10", "USDT"),),
        ),
        ({"fee": {"amount": 0.2, "currency": "USDT"}}, (("0.2", "USDT"),)),
        ({"fee": None, "fees": [{"cost": 1, "currency": "A"}, {"cost": 2, "currency": "B"}]}, (("1", "A"), ("2", "B"))),
        (
            {"fees": [{"cost": 0.1, "currency": "A", "rate": 1}, {"cost": 0.2, "currency": "A", "rate": 2}]},
            (("0.3", "A"),),
        ),
        ({"fee": {"cost": -0.1, "currency": "A"}}, (("-0.1", "A"),)),
        ({"fee": {"cost": 0, "currency": "A"}}, (("0", "A"),)),
    ],
)
def test_unified_fees(order: dict[str, Any], fees: tuple[tuple[str, str], ...]) -> None:
    state = read("somex", **order, id="1", amount=1, filled=1, status="closed", info={})
    assert tuple((fee.amount, fee.currency) for fee in state.fees) == tuple(
        (Decimal(cost), name) for cost, name in fees
    )
    assert all(fee.status is FeeStatus.REPORTED for fee in state.fees)


def test_a_zero_fee_of_an_order_without_a_fill_is_none() -> None:
    assert (
        read("somex", id="1", amount=1, filled=0, status="open", fee={"cost": 0, "currency": "A"}, info={}).fees == ()
    )


def test_fees_of_an_order_whose_fills_do_not_all_say() -> None:
    trades = [
        {"id": str(n), "price": 1, "amount": 1, "fee": fee, "info": {}}
        for n, fee in enumerate(({"cost": 1, "currency": "A"}, None))
    ]
    state = read("somex", id="1", amount=2, filled=2, status="closed", info={}, trades=trades)
    assert (len(state.fills), state.fees) == (2, ())
    assert {fill.exchange_order_id for fill in state.fills} == {"1"}


def test_binance_fee_without_currency_is_not_complete() -> None:
    fill = adapter_for("binance").fill({"id": 1, "price": "1", "qty": "2", "commission": "0.1"})
    assert fill.fee == Fee(amount=Decimal("0.1"), status=FeeStatus.MISSING)


# identity


def test_which_ids_are_algo_ids_and_which_order_they_became() -> None:
    adapter = adapter_for("binanceusdm")
    fired = {"id": "3", "info": {"algoId": 3, "algoStatus": "FINISHED", "actualOrderId": "8"}}
    waiting = {"id": "3", "info": {"algoId": 3, "algoStatus": "NEW", "actualOrderId": ""}}
    assert (adapter.order_id_kind(fired), adapter.child_order_id(fired)) == ("algo", "8")
    assert (adapter.order_id_kind(waiting), adapter.child_order_id(waiting)) == ("algo", None)
    assert (adapter.order_id_kind({"info": {"orderId": 8}}), adapter_for("okx").order_id_kind(fired)) == (
        "order",
        "order",
    )
    assert adapter_for("okx").child_order_id({"info": {"algoId": "1", "ordId": "2", "actualSz": "1"}}) == "2"


def test_adapters_are_cached_and_shared_by_a_family() -> None:
    assert adapter_for("binance") is adapter_for("binance")
    assert type(adapter_for("binance")) is type(adapter_for("binancecoinm")) is not ExchangeAdapter
    assert type(adapter_for("bybit")) is type(adapter_for("bybiteu")) is not ExchangeAdapter
    assert type(adapter_for("okx")) is ExchangeAdapter
    assert exchanges.__all__ == sorted(exchanges.__all__)
