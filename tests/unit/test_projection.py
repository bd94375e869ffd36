"""From records to rows: statuses move forward only, quantities only grow, and order of arrival does not matter."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading import Trading

from audit_wrapper.records import Action, Failure, RecordKind
from audit_wrapper.rows import OrderRow


def only(t: Trading) -> OrderRow:
    (row,) = t.store().orders
    return row


def test_an_intent_alone_is_unknown() -> None:
    t = Trading()
    t.place()
    row = only(t)
    assert (row.status, row.order_id, row.filled, row.fee, row.size) == ("UNKNOWN", None, None, None, Decimal(10))
    assert t.store().trades == []


def test_what_really_left_counts_and_not_what_was_asked() -> None:
    t = Trading()
    t.place(quantity="3")
    assert only(t).size == Decimal(3)


def test_filled_goes_with_size_and_average() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    row = only(t)
    assert (row.status, row.filled, row.remaining, row.average_price) == (
        "FILLED",
        Decimal(10),
        Decimal(0),
        Decimal("1.2"),
    )
    assert (row.fee, row.fee_status) == (None, "pending"), "a futures answer names no fee"


def test_the_exchanges_word_filled_is_not_believed_over_its_quantities() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="4")
    assert only(t).status == "PARTIALLY_FILLED"


def test_fills_tell_the_exact_average_and_the_fee() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    t.seen("1", "10", "FILLED", (("1.1", "3"), ("1.3", "7")))
    row = only(t)
    assert row.average_price == Decimal("1.24"), "not the rounded 1.2 that the exchange shows"
    assert (row.fee, row.fee_currency, row.fee_status) == (Decimal("0.02"), "USDT", "reported")


def test_an_average_that_does_not_end_keeps_its_digits_however_small_the_price() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    t.seen("1", "10", "FILLED", (("0.000000000001", "3"), ("0.000000000002", "4"), ("0.000000000003", "3")))
    assert only(t).average_price == Decimal("2E-12")
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    t.seen("1", "9", "FILLED", (("0.000000000001", "3"), ("0.000000000002", "4"), ("0.000000000004", "3")))
    assert only(t).average_price == Decimal("2.3E-12")
    t = Trading()
    t.took(t.place(), status="FILLED", executed="3")
    t.seen("1", "3", "FILLED", (("0.000000000001", "1"), ("0.000000000002", "2")))
    assert only(t).average_price == Decimal("1.666666666666666666666666667E-12")


def test_the_fee_of_some_of_the_fills_is_not_the_fee_of_the_order() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    t.seen("1", "10", "FILLED", (("1.1", "3"),))
    assert (only(t).fee, only(t).fee_status) == (None, "missing")


def test_rejected_names_code_and_words() -> None:
    t = Trading()
    failure = Failure(type="InsufficientFunds", message="Margin is insufficient.", code="-2019")
    t.answer(t.place(), RecordKind.REJECTED, failure=failure)
    row = only(t)
    assert (row.status, row.order_id, row.reason) == ("REJECTED", None, "-2019: Margin is insufficient.")
    assert (row.filled, row.remaining) == (Decimal(0), Decimal(10))


def test_an_unknown_outcome_stays_unknown_and_says_why() -> None:
    t = Trading()
    t.answer(t.place(), RecordKind.OUTCOME_UNKNOWN, failure=Failure(type="RequestTimeout", message="binance POST"))
    row = only(t)
    assert (row.status, row.reason) == ("UNKNOWN", "RequestTimeout: binance POST")


@pytest.mark.parametrize("kind", [RecordKind.NOT_SENT, RecordKind.UNCHANGED])
def test_what_never_existed_at_the_exchange_leaves_no_row(kind: RecordKind) -> None:
    t = Trading()
    t.answer(t.place(), kind)
    assert t.store().orders == []


def test_a_canceled_order_keeps_what_was_filled() -> None:
    t = Trading()
    t.took(t.place(type="LIMIT"), status="PARTIALLY_FILLED", executed="4")
    t.answer(t.cancel(), result={"id": "1", "info": {"orderId": "1", "status": "CANCELED", "executedQty": "4"}})
    row = only(t)
    assert (row.status, row.filled, row.remaining) == ("CANCELED", Decimal(4), Decimal(6))
    (trade,) = t.store().trades
    assert (trade.executed_qty, trade.status) == (Decimal(4), "PARTIALLY_FILLED")


def test_a_cancel_that_crossed_a_fill_leaves_it_filled() -> None:
    t = Trading()
    t.took(t.place(type="LIMIT"))
    t.answer(t.cancel(), result={"id": "1", "info": {"orderId": "1"}})
    t.seen("1", "10", "FILLED", (("1.2", "10"),))
    assert only(t).status == "FILLED"


def test_a_cancel_that_was_refused_changes_nothing() -> None:
    t = Trading()
    t.took(t.place(type="LIMIT"))
    t.answer(t.cancel(), RecordKind.REJECTED, failure=Failure(type="OrderNotFound", message="Unknown order sent."))
    assert only(t).status == "NEW"


def test_an_order_that_others_placed_is_known_by_its_cancel() -> None:
    t = Trading()
    t.answer(t.cancel("77"), result={"id": "77", "info": {"orderId": "77", "status": "CANCELED", "executedQty": "0"}})
    row = only(t)
    assert (row.order_id, row.status, row.size) == ("77", "CANCELED", None)


def test_a_market_order_is_never_canceled_by_cancel_all() -> None:
    t = Trading()
    market = t.answer(t.place(), result={"id": "1", "info": {"orderId": "1", "symbol": "MNTUSDT"}})
    limit = t.place(type="LIMIT", price="1")
    t.took(limit, order_id="2")
    t.add(RecordKind.ACKNOWLEDGED, Action.CANCEL_ALL, call=market.call, result=[])
    first, second = t.store().orders
    assert (first.type, first.status) == ("MARKET", "NEW")
    assert (second.type, second.status) == ("LIMIT", "CANCELED")


def test_a_cancel_all_from_before_the_order_does_not_touch_it() -> None:
    t = Trading()
    t.add(RecordKind.ACKNOWLEDGED, Action.CANCEL_ALL, result=[])
    t.took(t.place(type="LIMIT", price="1"))
    assert only(t).status == "NEW"


def a_day() -> Trading:
    t = Trading()
    filled, limit, lost = t.place(), t.place(type="LIMIT", price="1"), t.place()
    t.took(filled, "1", "FILLED", "10")
    t.took(limit, "2", "PARTIALLY_FILLED", "4")
    t.answer(lost, RecordKind.OUTCOME_UNKNOWN, failure=Failure(type="RequestTimeout"))
    t.answer(t.cancel("2"), result={"id": "2", "info": {"orderId": "2", "status": "CANCELED", "executedQty": "4"}})
    t.seen("1", "10", "FILLED", (("1.1", "3"), ("1.3", "7")))
    t.seen("2", "4", "CANCELED", (("1", "4"),))
    return t


DAY = a_day()
IN_ORDER = DAY.store()


@given(st.lists(st.integers(0, len(DAY.records) - 1), max_size=12), st.permutations(range(len(DAY.records))))
def test_any_order_and_any_repetition_give_the_same_rows(repeated: list[int], order: list[int]) -> None:
    store = DAY.store([*order, *repeated])
    assert store.orders == IN_ORDER.orders
    assert store.trades == IN_ORDER.trades
    assert store.fills == IN_ORDER.fills
