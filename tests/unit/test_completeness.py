"""The exchange's books against the trail's: equal books are complete, and every lie is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import profile
from trading import MARKET, Trading

from audit_wrapper.completeness import Completeness, Finding, Payment, compare
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.projection import _plain
from audit_wrapper.records import Fee, FeeStatus, Fill, Liquidity, OrderState, OrderStatus
from audit_wrapper.rows import FillRow, OrderRow

SINCE = datetime(2026, 11, 22, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
NOON = SINCE + timedelta(hours=12)
PERP = "BTC/USDT:USDT"
D = Decimal


def key(number: int) -> UUID:
    return UUID(int=number)


def execution(number: int = 1, price: str = "100", quantity: str = "2", **fields: Any) -> Fill:
    usual: dict[str, Any] = {
        "exchange_trade_id": f"t{number}",
        "exchange_order_id": "7",
        "symbol": PERP,
        "side": "buy",
        "price": D(price),
        "quantity": D(quantity),
        "fee": Fee(amount=D("0.04"), currency="USDT", status=FeeStatus.REPORTED),
        "liquidity": Liquidity.TAKER,
        "exchange_at": NOON,
    }
    return Fill(**{**usual, **fields})


def kept(number: int = 1, price: str = "100", quantity: str = "2", **fields: Any) -> FillRow:
    usual: dict[str, Any] = {
        "order_key": key(7),
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "exchange_trade_id": f"t{number}",
        "exchange_order_id": "7",
        "side": "buy",
        "price": D(price),
        "quantity": D(quantity),
        "fee": D("0.04"),
        "fee_currency": "USDT",
        "fee_status": "reported",
        "liquidity": "taker",
        "exchange_at": NOON,
    }
    return FillRow(**{**usual, **fields})


def state(**fields: Any) -> OrderState:
    usual: dict[str, Any] = {
        "exchange_order_id": "7",
        "client_order_id": "mine-7",
        "symbol": PERP,
        "side": "buy",
        "type": "MARKET",
        "order_status": OrderStatus.FILLED,
        "quantity": D(3),
        "filled_quantity": D(3),
        "average_price": D("100.33"),
        "reduce_only": False,
        "created_at": NOON,
        "exchange_at": NOON,
    }
    return OrderState(**{**usual, **fields})


THIRDS = D("100.3333333333333333333333333")  # 301 / 3, as projection rounds what does not end


def row(number: int = 7, **fields: Any) -> OrderRow:
    usual: dict[str, Any] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "unified_symbol": PERP,
        "exchange_symbol": "BTCUSDT",
        "order_id": "7",
        "client_order_id": "mine-7",
        "type": "MARKET",
        "side": "buy",
        "size": D(3),
        "status": "FILLED",
        "filled": D(3),
        "remaining": D(0),
        "average_price": THIRDS,
        "reduce_only": False,
        "fee": D("0.08"),
        "fee_currency": "USDT",
        "fee_status": "reported",
        "created_at": NOON - timedelta(milliseconds=80),
        "updated_at": NOON,
        "order_key": key(number),
    }
    return OrderRow(**{**usual, **fields})


SEEN = (Sighting(state=state(), fills=(execution(1), execution(2, "101", "1"))),)
ORDERS = (row(),)
FILLS = (kept(1), kept(2, "101", "1"))


def told(
    seen: tuple[Sighting, ...] = SEEN,
    orders: tuple[OrderRow, ...] = ORDERS,
    fills: tuple[FillRow, ...] = FILLS,
    **more: Any,
) -> Completeness:
    return compare("binance", "default", SINCE, UNTIL, seen, orders, fills, **more)


def stop(**fields: Any) -> OrderState:
    """A conditional order of Binance that fired."""
    usual: dict[str, Any] = {
        "exchange_order_id": "500",
        "client_order_id": "stop-500",
        "symbol": PERP,
        "side": "sell",
        "type": "STOP_MARKET",
        "quantity": D(3),
        "trigger_price": D(90),
        "reduce_only": True,
        "created_at": NOON,
        "exchange_at": NOON,
    }
    return OrderState(**{**usual, **fields})


def child(**fields: Any) -> OrderState:
    """What it became."""
    usual: dict[str, Any] = {
        "exchange_order_id": "900",
        "client_order_id": "made-by-the-exchange",
        "side": "sell",
        "average_price": D(89),
        "reduce_only": True,
    }
    return state(**{**usual, **fields})


CHILD_FILL = execution(9, "89", "3", exchange_order_id="900", side="sell")
FIRED = (
    Sighting(state=stop(), id_kind="algo", child_order_id="900"),
    Sighting(state=child()),
    Sighting(state=OrderState(exchange_order_id="900", symbol=PERP), fills=(CHILD_FILL,)),
)
STOP_ROW = row(
    500,
    order_id="500",
    client_order_id="stop-500",
    type="STOP_MARKET",
    side="sell",
    average_price=D(89),
    trigger_price=D(90),
    reduce_only=True,
    fee=D("0.04"),
)
STOP_FILL = kept(9, "89", "3", order_key=key(500), exchange_order_id="900", side="sell")


def fields(found: tuple[Finding, ...]) -> list[str | None]:
    return [one.field for one in found]


def test_equal_books_are_complete() -> None:
    statement = told()
    assert (statement.complete, statement.agrees) == (True, True), str(statement)
    assert (statement.counts.orders_same, statement.counts.fills_same) == (1, 2)
    assert [(f.currency, f.at_exchange, f.in_trail) for f in statement.fees] == [("USDT", D("0.08"), D("0.08"))]


def test_a_range_that_ends_before_it_begins_is_refused_and_not_complete() -> None:
    with pytest.raises(ValueError, match="ends"):
        compare("binance", "default", UNTIL, SINCE, (), (), ())
    with pytest.raises(ValueError, match="ends"):
        compare("binance", "default", SINCE, SINCE, (), (), ())


def test_times_without_a_zone_are_utc() -> None:
    naive = row(created_at=NOON.replace(tzinfo=None)), kept(exchange_at=NOON.replace(tzinfo=None))
    statement = compare(
        "binance", "a", SINCE.replace(tzinfo=None), UNTIL.replace(tzinfo=None), SEEN, naive[:1], (naive[1], FILLS[1])
    )
    assert statement.complete, str(statement)
    assert statement.since == SINCE


# -- lies about an order


ORDER_LIES = {
    "status": "CANCELED",
    "type": "LIMIT",
    "side": "sell",
    "size": D("3.000000000000000001"),
    "filled": D(2),
    "remaining": D("0.1"),
    "average_price": D("100.33"),  # the exchange's rounded word, where its executions tell exactly
    "reduce_only": True,
    "client_order_id": "another",
    "fee": D("0.0800000001"),
    "fee_currency": "BNB",
}


@pytest.mark.parametrize("column", ORDER_LIES)
def test_each_column_that_is_wrong_is_named_with_both_values(column: str) -> None:
    statement = told(orders=(msgspec.structs.replace(row(), **{column: ORDER_LIES[column]}),))
    assert fields(statement.different) == [column]
    (found,) = statement.different
    assert found.in_trail is not None
    assert found.at_exchange not in (None, found.in_trail)
    assert (found.what, found.symbol, found.order_id, found.order_key) == ("order", PERP, "7", str(key(7)))
    assert not statement.agrees
    assert (statement.counts.orders_same, statement.counts.orders_different) == (0, 1)


@pytest.mark.parametrize("column", [*sorted(set(ORDER_LIES) - {"status"}), "limit_price", "trigger_price"])
def test_what_the_exchange_knows_and_the_trail_does_not_is_a_difference(column: str) -> None:
    prices = {"limit_price": D(99), "trigger_price": D(98)}
    seen = (Sighting(state=state(**prices), fills=SEEN[0].fills),)
    whole = row(**prices)
    assert told(seen, (whole,)).complete
    statement = told(seen, (msgspec.structs.replace(whole, **{column: None}),))
    assert [(one.field, one.in_trail) for one in statement.different] == [(column, None)]
    assert "not known" in str(statement)


def test_what_the_exchange_does_not_say_is_not_compared() -> None:
    silent = state(client_order_id=None, reduce_only=None, type=None, average_price=None)
    assert told((Sighting(state=silent, fills=SEEN[0].fills),), (row(limit_price=D(99)),)).complete


def test_a_type_in_the_exchanges_own_words_is_not_compared() -> None:
    assert told((Sighting(state=state(type="TPSLORDER"), fills=SEEN[0].fills),)).complete


def test_an_order_that_another_stop_took_the_place_of_is_canceled_at_the_exchange() -> None:
    canceled = state(type="STOP_LOSS", order_status=OrderStatus.CANCELED, filled_quantity=D(0), average_price=None)
    old = row(type="STOP_LOSS", status="MODIFIED", filled=D(0), remaining=D(3), average_price=None, fee=None)
    assert told((Sighting(state=canceled, attached="stop_loss"),), (old,), ()).complete
    still = msgspec.structs.replace(canceled, order_status=OrderStatus.NEW)
    assert fields(told((Sighting(state=still),), (old,), ()).different) == ["status"]


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [("CANCELED", "3", "FILLED"), ("FILLED", "2", "PARTIALLY_FILLED"), ("NEW", "2", "PARTIALLY_FILLED")],
)
def test_status_is_what_the_quantities_bear_out_as_in_the_trail(word: str, filled: str, status: str) -> None:
    shown = state(order_status=OrderStatus(word), filled_quantity=D(filled), average_price=D(100))
    mine = row(status=status, filled=D(filled), remaining=3 - D(filled), average_price=D(100), fee=D("0.04"))
    one = execution(1, "100", filled)
    assert told((Sighting(state=shown, fills=(one,)),), (mine,), (kept(1, "100", filled),)).complete


def test_an_order_that_the_trail_does_not_have_is_missing() -> None:
    statement = told(orders=(), fills=())
    assert [(one.what, one.order_id, one.trade_id) for one in statement.missing] == [
        ("order", "7", None),
        ("fill", "7", "t1"),
        ("fill", "7", "t2"),
    ]
    assert (statement.counts.orders_missing, statement.counts.fills_missing) == (1, 2)


def test_an_order_that_the_exchange_does_not_have_is_extra() -> None:
    statement = told(seen=())
    assert [(one.what, one.order_id) for one in statement.extra] == [("order", "7"), ("fill", "7"), ("fill", "7")]
    assert (statement.counts.orders_extra, statement.counts.fills_extra) == (1, 2)


def test_a_second_row_of_one_order_is_one_too_many_even_outside_the_range() -> None:
    for created in (NOON, SINCE - timedelta(days=9), UNTIL + timedelta(days=9)):
        statement = told(orders=(row(), row(8, created_at=created)))
        (extra,) = statement.extra
        assert extra.order_key in (str(key(7)), str(key(8)))
        assert extra.at_exchange is not None
        assert "another row" in extra.at_exchange


def test_of_two_rows_the_faithful_one_is_compared() -> None:
    statement = told(orders=(row(1, status="NEW", side="sell"), row(7)))
    assert statement.different == ()
    assert [one.order_key for one in statement.extra] == [str(key(1))]


def test_ids_are_unique_per_symbol_only() -> None:
    eth = "ETH/USDT:USDT"
    other = Sighting(state=state(symbol=eth, client_order_id="e"), fills=(execution(1, "5", "3", symbol=eth),))
    eth_row = row(
        8,
        symbol="ETHUSDT",
        unified_symbol=eth,
        exchange_symbol="ETHUSDT",
        client_order_id="e",
        average_price=D(5),
        fee=D("0.04"),
    )
    eth_fill = kept(1, "5", "3", symbol="ETHUSDT", order_key=key(8))
    assert told((*SEEN, other), (*ORDERS, eth_row), (*FILLS, eth_fill)).complete
    statement = told((*SEEN, other))
    assert [(one.what, one.symbol) for one in statement.missing] == [("order", eth), ("fill", eth)]


def test_spot_and_swap_of_one_name_are_two_markets() -> None:
    spot = Sighting(state=state(symbol="BTC/USDT"), fills=(execution(1, symbol="BTC/USDT"),))
    statement = told((*SEEN, spot))
    assert [one.symbol for one in statement.missing] == ["BTC/USDT", "BTC/USDT"]
    assert statement.extra == ()


def test_the_exchanges_spelling_of_the_symbol_is_the_same_market() -> None:
    raw = Sighting(
        state=state(symbol="BTCUSDT"), fills=tuple(msgspec.structs.replace(f, symbol="BTCUSDT") for f in SEEN[0].fills)
    )
    assert told((raw,)).complete
    assert told((raw, *SEEN)).complete


def test_several_sightings_of_one_order_are_one_order_and_the_furthest_counts() -> None:
    early = state(
        order_status=OrderStatus.PARTIALLY_FILLED, filled_quantity=D(2), average_price=D(100), fees=(Fee(amount=D(9)),)
    )
    alone = Sighting(state=OrderState(exchange_order_id="7", symbol="BTCUSDT"), fills=(execution(2, "101", "1"),))
    seen = (*SEEN, Sighting(state=early, fills=(execution(1),)), alone, alone)
    assert told(seen).complete
    assert told(seen[::-1]).complete


# -- average price


def test_the_average_is_compared_digit_by_digit_with_what_projection_makes_of_the_fills() -> None:
    t = Trading()
    t.took(t.place(), status="FILLED", executed="10")
    t.seen("1", "10", "FILLED", (("1.1", "3"), ("1.3", "4"), ("1.7", "3")))
    store = t.store()
    (order,) = store.orders
    shown = OrderState(exchange_order_id="1", symbol=MARKET.symbol, order_status=OrderStatus.FILLED, quantity=D(10))
    shown = msgspec.structs.replace(shown, filled_quantity=D(10), average_price=D("1.36"), side="buy")
    fee = Fee(amount=D("0.01"), currency="USDT")
    fills = tuple(
        Fill(exchange_trade_id=f"t{n}", exchange_order_id="1", price=D(p), quantity=D(q), fee=fee)
        for n, (p, q) in enumerate((("1.1", "3"), ("1.3", "4"), ("1.7", "3")))
    )
    assert order.average_price == D("1.36")
    statement = told((Sighting(state=shown, fills=fills),), tuple(store.orders), tuple(store.fills))
    assert statement.complete, str(statement)


@pytest.mark.parametrize(
    "prices", [("100", "100", "101"), ("0.00000001", "0.00000002", "0.00000002"), ("9e9", "1", "1")]
)
def test_a_quotient_that_does_not_end_is_rounded_as_projection_does(prices: tuple[str, str, str]) -> None:
    t = Trading()
    t.took(t.place(quantity="3"), status="FILLED", executed="3")
    t.seen("1", "3", "FILLED", tuple((format(D(p), "f"), "1") for p in prices))
    (order,) = t.store().orders
    # the helper's answers speak of 10; here the order is of 3
    order = msgspec.structs.replace(order, size=D(3), remaining=D(0), status="FILLED")
    fills = tuple(
        Fill(exchange_trade_id=f"t{n}", exchange_order_id="1", price=D(p), quantity=D(1), fee=Fee(amount=D("0.01")))
        for n, p in enumerate(prices)
    )
    shown = OrderState(exchange_order_id="1", order_status=OrderStatus.FILLED, quantity=D(3), filled_quantity=D(3))
    seen = (Sighting(state=shown, fills=fills),)
    assert told(seen, (order,), tuple(t.store().fills)).complete
    assert order.average_price is not None
    wrong = msgspec.structs.replace(order, average_price=order.average_price + D("1e-18"))
    assert fields(told(seen, (wrong,), tuple(t.store().fills)).different) == ["average_price"]


@pytest.mark.parametrize(
    ("said", "average", "same"),
    [
        ("100.33", "100.3333333333333333333333333", True),  # half up
        ("100.34", "100.3333333333333333333333333", True),  # up
        ("100.33", "100.339", True),  # cut off
        ("100.33", "100.34", False),
        ("100.33", "100.3", False),  # less than the exchange knows
        ("100", "100.9", True),
        ("1E+2", "109", False),
        ("100.33", None, False),
    ],
)
def test_without_the_executions_the_exchanges_rounded_average_has_to_do(
    said: str, average: str | None, same: bool
) -> None:
    seen = (Sighting(state=state(average_price=D(said))),)
    mine = row(average_price=D(average) if average else None, fee=None)
    assert (fields(told(seen, (mine,), ()).different) == []) is same


# -- lies about a fill


FILL_LIES = {
    "side": "sell",
    "price": D("100.01"),
    "quantity": D("2.5"),
    "fee": D("0.040000000000001"),
    "fee_currency": "BNB",
    "liquidity": "maker",
    "exchange_at": NOON + timedelta(milliseconds=1),
    "exchange_order_id": "8",
}


@pytest.mark.parametrize("column", FILL_LIES)
def test_each_column_of_a_fill_that_is_wrong_is_named(column: str) -> None:
    statement = told(fills=(kept(1, **{column: FILL_LIES[column]}), FILLS[1]))
    assert [(one.what, one.trade_id, one.field) for one in statement.different] == [("fill", "t1", column)]
    assert (statement.counts.fills_same, statement.counts.fills_different) == (1, 1)
    assert statement.missing == statement.extra == ()


@pytest.mark.parametrize("column", ["side", "price", "quantity", "fee", "fee_currency", "liquidity"])
def test_what_the_trail_does_not_know_of_a_fill_is_a_difference(column: str) -> None:
    statement = told(fills=(msgspec.structs.replace(FILLS[0], **{column: None}), FILLS[1]))
    assert [(one.field, one.in_trail) for one in statement.different] == [(column, None)]


def test_a_fill_that_the_trail_lacks() -> None:
    statement = told(fills=FILLS[:1])
    assert [(one.what, one.trade_id) for one in statement.missing] == [("fill", "t2")]
    assert [(f.at_exchange, f.in_trail) for f in statement.fees] == [(D("0.08"), D("0.04"))]
    assert "not the same" in str(statement)


def test_a_fill_that_never_was() -> None:
    statement = told(fills=(*FILLS, kept(3)))
    assert [(one.what, one.trade_id) for one in statement.extra] == [("fill", "t3")]


def test_the_same_fill_on_two_rows() -> None:
    statement = told(fills=(*FILLS, kept(1)))
    assert [(one.what, one.trade_id) for one in statement.extra] == [("fill", "t1")]
    statement = told(
        orders=(*ORDERS, row(8, order_id="8", status="REJECTED")), fills=(*FILLS, kept(1, order_key=key(8)))
    )
    assert ("fill", "t1") in [(one.what, one.trade_id) for one in statement.extra]
    assert statement.different == ()


def test_a_fill_of_an_order_that_has_no_row() -> None:
    statement = told(fills=(kept(1, order_key=key(99)), FILLS[1]))
    assert [(one.trade_id, one.field, one.at_exchange) for one in statement.different] == [("t1", "order", "7")]
    statement = told(orders=())
    assert fields(statement.different) == ["order", "order"]
    assert [one.order_id for one in statement.missing] == ["7"]


def test_a_fill_on_the_row_of_another_order() -> None:
    other = row(8, order_id="8", client_order_id="c8")
    seen = (*SEEN, Sighting(state=state(exchange_order_id="8", client_order_id="c8", filled_quantity=None)))
    statement = told(seen, (*ORDERS, other), (kept(1, order_key=key(8)), FILLS[1]))
    assert [(one.trade_id, one.field, one.in_trail) for one in statement.different] == [
        ("t1", "order", "row of order 8")
    ]


def test_a_trade_with_oneself_is_two_fills_of_one_id() -> None:
    sold = Sighting(
        state=state(exchange_order_id="8", side="sell", client_order_id="c8", average_price=D(100), quantity=D(2)),
        fills=(execution(1, side="sell", exchange_order_id="8"),),
    )
    sold = msgspec.structs.replace(sold, state=msgspec.structs.replace(sold.state, filled_quantity=D(2)))
    mine = row(
        8,
        order_id="8",
        side="sell",
        client_order_id="c8",
        size=D(2),
        filled=D(2),
        average_price=D(100),
        fee=D("0.04"),
    )
    other = kept(1, order_key=key(8), exchange_order_id="8", side="sell")
    assert told((*SEEN, sold), (*ORDERS, mine), (*FILLS, other)).complete
    statement = told((*SEEN, sold), (*ORDERS, mine))
    assert [(one.what, one.trade_id, one.order_id) for one in statement.missing] == [("fill", "t1", "8")]
    assert statement.different == statement.extra == ()


def test_two_executions_of_one_id_that_are_not_the_same_are_not_taken_for_one() -> None:
    twice = Sighting(state=state(), fills=(*SEEN[0].fills, execution(1, "102")))
    statement = told((twice,))
    assert [(one.what, one.trade_id) for one in statement.missing] == [("fill", "t1")]
    assert "fills" in fields(statement.different), "and then they do not add up"


def test_a_fill_that_was_reported_in_two_ways_is_an_open_question() -> None:
    statement = told(fills=(kept(1, conflicts=True), FILLS[1]))
    assert [(q.what, q.trade_id) for q in statement.open_questions] == [("fill", "t1")]
    assert (statement.agrees, statement.complete) == (True, False)


def test_a_fee_that_is_told_late_counts_and_silence_does_not_undo_it() -> None:
    silent = tuple(msgspec.structs.replace(f, fee=Fee(), liquidity=None) for f in SEEN[0].fills)
    for seen in ((Sighting(state=state(), fills=silent), *SEEN), (*SEEN, Sighting(state=state(), fills=silent))):
        assert told(seen).complete
        assert told(seen).counts.without_fee_at_exchange == 0


def test_executions_that_do_not_add_up_to_the_exchanges_own_word() -> None:
    statement = told((Sighting(state=state(), fills=SEEN[0].fills[:1]),), fills=FILLS[:1])
    found = next(one for one in statement.different if one.field == "fills")
    assert (found.what, found.in_trail) == ("order", "2")
    assert found.at_exchange == "its executions add up to 2, and it says 3"


def test_executions_from_before_the_range_need_not_add_up() -> None:
    before = state(created_at=SINCE - timedelta(hours=1))
    statement = told((Sighting(state=before, fills=SEEN[0].fills[:1]),))
    assert "fills" not in fields(statement.different)
    more = (Sighting(state=before, fills=(*SEEN[0].fills, execution(3))),)
    assert "fills" in fields(told(more, fills=(*FILLS, kept(3))).different), "more than was filled is wrong at any time"


# -- what was not shown


def test_an_order_whose_executions_were_not_shown_is_not_called_complete() -> None:
    statement = told((Sighting(state=state()),))
    assert statement.agrees, "nothing contradicts the two fills of the trail"
    assert not statement.complete
    assert "2 fills of the trail could not be looked at" in statement.unshown[0]
    assert not told((Sighting(state=state()),), fills=()).complete


def test_fills_beyond_what_the_exchange_filled_are_extra_though_it_showed_none() -> None:
    statement = told((Sighting(state=state()),), fills=(*FILLS, kept(3)))
    assert len(statement.extra) == 3


def test_executions_alone_do_not_vouch_for_the_order() -> None:
    alone = Sighting(state=OrderState(exchange_order_id="7", symbol=PERP), fills=SEEN[0].fills)
    statement = told((alone,))
    assert (statement.agrees, statement.complete) == (True, False)
    assert "executions alone" in statement.unshown[0]


def test_an_execution_without_a_quantity_cannot_be_added_up() -> None:
    partly = Sighting(
        state=state(), fills=(execution(1, quantity="2"), msgspec.structs.replace(execution(2), quantity=None))
    )
    statement = told((partly,), fills=(FILLS[0], kept(2)))
    assert statement.different == ()
    assert "quantity of each execution" in statement.unshown[0]


def test_how_much_was_filled_must_have_been_said() -> None:
    statement = told((Sighting(state=state(filled_quantity=None)),), fills=())
    assert "the trail says 3" in statement.unshown[0]


@pytest.mark.parametrize(
    "sighting",
    [
        Sighting(state=state(exchange_order_id=None)),
        Sighting(state=OrderState(symbol=PERP), fills=(execution(3, exchange_order_id=None),)),
        Sighting(state=state(), fills=(execution(3, exchange_trade_id=None),)),
    ],
)
def test_what_has_no_id_cannot_be_compared_and_is_told(sighting: Sighting) -> None:
    statement = told((*SEEN, sighting))
    assert not statement.complete
    assert statement.unshown


def test_an_entry_of_a_history_that_is_no_execution_is_passed_over() -> None:
    """Bybit lists funding among the executions; its adapter makes an empty fill of that."""
    statement = told(
        (Sighting(state=state(), fills=(*SEEN[0].fills, Fill())), Sighting(state=OrderState(), fills=(Fill(),)))
    )
    assert statement.complete, str(statement)


def test_what_could_not_be_asked_keeps_it_from_being_complete() -> None:
    statement = told(unasked=["executions of ETHUSDT: rate limit"])
    assert (statement.agrees, statement.complete) == (True, False)
    assert "executions of ETHUSDT: rate limit" in str(statement)


# -- rows that nobody can vouch for


def test_unknown_is_an_open_question_and_not_extra() -> None:
    lost = row(8, status="UNKNOWN", order_id=None, client_order_id="lost")
    statement = told(orders=(*ORDERS, lost))
    assert (statement.agrees, statement.complete, statement.counts.orders_unknown) == (True, False, 1)
    assert [q.order_key for q in statement.open_questions] == [str(key(8))]


def test_unknown_that_the_exchange_knows_is_a_difference() -> None:
    statement = told(orders=(row(status="UNKNOWN"),))
    assert fields(statement.different) == ["status"]
    nameless = row(8, status="UNKNOWN", order_id=None)
    statement = told(orders=(nameless,), fills=())
    assert statement.missing[0].in_trail == "no row with this id; a row without one, UNKNOWN, has its client order id"
    assert statement.counts.orders_unknown == 1


def test_an_order_that_the_trail_calls_rejected_and_the_exchange_has() -> None:
    refused = row(8, status="REJECTED", order_id=None)
    assert told(orders=(*ORDERS, msgspec.structs.replace(refused, client_order_id="x"))).complete
    statement = told(orders=(refused,), fills=())
    assert statement.missing[0].in_trail is not None
    assert "REJECTED" in statement.missing[0].in_trail


@pytest.mark.parametrize("status", ["NEW", "CANCELED", "MODIFIED", "FILLED"])
def test_a_row_without_an_id_is_an_open_question(status: str) -> None:
    statement = told(orders=(*ORDERS, row(8, type="STOP_LOSS", status=status, order_id=None)))
    assert (statement.agrees, statement.complete, statement.counts.orders_without_id) == (True, False, 1)


# -- the range


@pytest.mark.parametrize("at", [SINCE - timedelta(microseconds=1), UNTIL])
def test_what_lies_outside_the_range_is_neither_missing_nor_extra(at: datetime) -> None:
    early = Sighting(
        state=state(created_at=at, exchange_at=at),
        fills=tuple(msgspec.structs.replace(f, exchange_at=at) for f in SEEN[0].fills),
    )
    statement = told((early,), (), ())
    assert statement.complete
    assert statement.fees == ()
    statement = told((), (), tuple(kept(n, exchange_at=at) for n in (1, 2)))
    assert statement.complete


@pytest.mark.parametrize("at", [SINCE, UNTIL - timedelta(microseconds=1)])
def test_its_first_and_last_moment_belong_to_it(at: datetime) -> None:
    assert told((Sighting(state=state(created_at=at, exchange_at=at)),), (), ()).missing
    assert told((), (row(created_at=at),), ()).extra
    assert told((), (), (kept(exchange_at=at),)).extra


def test_what_has_no_time_is_not_let_go_for_that() -> None:
    assert told((Sighting(state=state(created_at=None, exchange_at=None)),), (), ()).missing
    assert told((Sighting(state=state(), fills=(execution(1, exchange_at=None),)),), ORDERS, ()).missing
    assert told((), (), (kept(exchange_at=None),)).extra


def test_a_change_after_the_range_does_not_say_that_the_order_began_after_it() -> None:
    changed = Sighting(state=state(created_at=None, exchange_at=UNTIL + timedelta(hours=1)))
    assert told((changed,), (), ()).missing
    late = execution(1, exchange_at=UNTIL)
    alone = Sighting(state=OrderState(exchange_order_id="7", symbol=PERP), fills=(late,))
    assert told((alone,), (), ()).complete
    assert told((alone, Sighting(state=OrderState(exchange_order_id="7"), fills=(execution(2),))), (), ()).missing


def test_an_order_on_the_edge_is_compared_by_whatever_clock() -> None:
    late = state(created_at=SINCE, exchange_at=SINCE)
    statement = told(
        (Sighting(state=late, fills=SEEN[0].fills),), (row(created_at=SINCE - timedelta(seconds=1), side="sell"),)
    )
    assert fields(statement.different) == ["side"]


def test_a_row_from_before_the_range_that_the_exchange_did_not_show_is_an_open_question() -> None:
    old = row(8, order_id="8", status="NEW", created_at=SINCE - timedelta(days=3))
    statement = told(orders=(*ORDERS, old))
    assert (statement.agrees, statement.complete) == (True, False)
    assert told(orders=(*ORDERS, msgspec.structs.replace(old, created_at=UNTIL))).complete


def test_an_order_that_was_filled_after_the_range_is_compared_as_it_stands_now() -> None:
    later = UNTIL + timedelta(hours=2)
    shown = Sighting(state=state(exchange_at=later), fills=(execution(1), execution(2, "101", "1", exchange_at=later)))
    late = kept(2, "101", "1", exchange_at=later)
    statement = told((shown,), fills=(FILLS[0], late))
    assert statement.complete
    assert [(f.at_exchange, f.in_trail) for f in statement.fees] == [(D("0.04"), D("0.04"))], "fees of the range"
    assert fields(told((shown,), (row(status="NEW"),), (FILLS[0], late)).different) == ["status"]


# -- conditional orders of Binance


def test_a_fired_conditional_order_and_its_child_are_one_order() -> None:
    for seen in (FIRED, FIRED[::-1]):
        statement = told(seen, (STOP_ROW,), (STOP_FILL,))
        assert statement.complete, str(statement)
        assert (statement.counts.orders_same, statement.counts.fills_same) == (1, 1)


@pytest.mark.parametrize(
    ("column", "value"), [("status", "NEW"), ("filled", D(0)), ("client_order_id", "made-by-the-exchange")]
)
def test_a_fired_order_is_compared_as_its_child_was_executed(column: str, value: Any) -> None:
    statement = told(FIRED, (msgspec.structs.replace(STOP_ROW, **{column: value}),), (STOP_FILL,))
    assert fields(statement.different) == [column]
    assert statement.different[0].order_id == "500"


def test_a_row_of_its_own_for_the_child_is_one_too_many() -> None:
    double = row(900, order_id="900", side="sell", client_order_id="made-by-the-exchange", reduce_only=True)
    statement = told(FIRED, (STOP_ROW, double), (STOP_FILL,))
    assert [one.order_id for one in statement.extra] == ["900"]


def test_a_fired_order_that_the_trail_knows_by_its_child_alone() -> None:
    mine = msgspec.structs.replace(STOP_ROW, order_id="900")
    statement = told(FIRED, (mine,), (STOP_FILL,))
    assert [(one.field, one.at_exchange, one.in_trail) for one in statement.different] == [("order_id", "500", "900")]


def test_a_fired_order_whose_child_was_not_shown_is_not_called_complete() -> None:
    statement = told(FIRED[:1], (msgspec.structs.replace(STOP_ROW, status="NEW", filled=D(0)),), ())
    assert (statement.agrees, statement.complete) == (True, False)
    assert "order 900" in statement.unshown[0]


def test_a_child_that_was_shown_without_its_conditional_order() -> None:
    statement = told(FIRED[1:], (STOP_ROW,), (STOP_FILL,))
    assert (statement.agrees, statement.complete) == (True, False)
    assert "conditional order" in statement.unshown[0]
    statement = told(FIRED[1:], (msgspec.structs.replace(STOP_ROW, status="NEW"),), (STOP_FILL,))
    assert fields(statement.different) == ["status"]


def test_conditional_orders_are_numbered_by_themselves() -> None:
    resting = stop(exchange_order_id="7", order_status=OrderStatus.NEW, filled_quantity=D(0))
    algo = Sighting(state=resting, id_kind="algo")
    mine = msgspec.structs.replace(
        STOP_ROW, order_id="7", status="NEW", filled=D(0), remaining=D(3), average_price=None, fee=None
    )
    assert told((*SEEN, algo), (*ORDERS, mine)).complete
    statement = told((*SEEN, algo))
    assert [(one.what, one.in_trail) for one in statement.missing] == [("order", None)]
    assert statement.different == ()
    assert told((*SEEN, algo), (*ORDERS, mine), algo_keys={key(500)}).complete
    assert not told((*SEEN, algo), (*ORDERS, mine), algo_keys={key(7)}).agrees


# -- fees


def test_fees_of_different_currencies_are_never_added() -> None:
    bnb = Fee(amount=D("0.0001"), currency="BNB", status=FeeStatus.REPORTED)
    seen = (Sighting(state=state(), fills=(execution(1, fee=bnb), SEEN[0].fills[1])),)
    fills = (kept(1, fee=D("0.0001"), fee_currency="BNB"), FILLS[1])
    several = row(fee=None, fee_currency=None, fee_status="several_currencies")
    statement = told(seen, (several,), fills)
    assert statement.complete, str(statement)
    assert [(f.currency, f.at_exchange) for f in statement.fees] == [("BNB", D("0.0001")), ("USDT", D("0.04"))]
    assert fields(told(seen, (row(),), fills).different) == ["fee", "fee_status"]
    assert fields(told(seen, (msgspec.structs.replace(several, fee_status="pending"),), fills).different) == [
        "fee_status"
    ]


def test_fills_without_a_known_fee_are_counted_and_not_added_as_zero() -> None:
    silent = tuple(msgspec.structs.replace(f, fee=Fee()) for f in SEEN[0].fills)
    statement = told((Sighting(state=state(), fills=silent),), fills=(kept(1, fee=None), FILLS[1]))
    assert (statement.counts.without_fee_at_exchange, statement.counts.without_fee_in_trail) == (2, 1)
    assert "2 fills without a known fee at the exchange" in str(statement)
    assert "1 fill without a known fee in the trail" in str(statement)


def test_the_order_level_fee_counts_where_its_executions_do_not_tell() -> None:
    fee = (Fee(amount=D("0.5"), currency="USDT"),)
    seen = (Sighting(state=state(fees=fee)),)
    assert fields(told(seen, (row(average_price=D("100.33")),), ()).different) == ["fee"]
    assert told(seen, (row(average_price=D("100.33"), fee=D("0.50")),), ()).agrees


def test_payments_are_told_and_summed_by_kind_and_currency() -> None:
    payments = [
        Payment(kind="funding", currency="USDT", amount=D("-0.10"), exchange_at=NOON),
        Payment(kind="funding", currency="USDT", amount=D("0.03"), exchange_at=NOON),
        Payment(kind="funding", currency="USDT", amount=D("9"), exchange_at=UNTIL),
    ]
    statement = told(payments=payments)
    assert statement.payments == ("funding: -0.07 USDT (2 payments)",)
    assert statement.complete


# -- how it is told


def test_json_is_stable_exact_and_whole() -> None:
    tiny = Fee(amount=D("1E-9"), currency="USDT", status=FeeStatus.REPORTED)
    seen = (Sighting(state=state(), fills=(execution(1, fee=tiny), SEEN[0].fills[1])),)
    statement = told(seen, unasked=["x"])
    body = json.loads(statement.as_json())
    assert (body["complete"], body["agrees"]) == (False, False)
    assert body["since"] == "2026-11-22T00:00:00Z"
    assert body["fees"] == [{"currency": "USDT", "at_exchange": "0.040000001", "in_trail": "0.08"}]
    assert {"field": "fee", "at_exchange": "0.000000001", "in_trail": "0.04"}.items() <= body["different"][-1].items()
    assert body["unasked"] == ["x"]
    backwards = compare("binance", "default", SINCE, UNTIL, seen[::-1], ORDERS[::-1], FILLS[::-1], unasked=["x"])
    assert backwards.as_json() == statement.as_json()


def test_the_table_is_readable_in_a_narrow_terminal_and_cuts_no_value() -> None:
    rows = tuple(row(n, order_id=str(n), created_at=NOON, client_order_id="c" * 90) for n in range(100, 150))
    statement = told(orders=(*rows, row(side="sell")))
    text = statement.table(width=80, most=3)
    assert "EXTRA: in the trail, not at the exchange (50)" in text
    assert "and 47 more" in text
    assert "c" * 90 in text
    assert all(len(line) <= 80 or "c" * 90 in line for line in text.splitlines())
    different = text[text.index("DIFFERENT") :]
    assert "exchange: buy" in different
    assert "trail:    sell" in different


def test_the_table_says_at_once_whether_all_is_well() -> None:
    assert "COMPLETE: the trail has what the exchange has" in str(told())
    assert "NOT COMPLETE" not in str(told())
    assert "NOT COMPLETE, but nothing that could be compared differs: 1 not asked." in str(told(unasked=["x"]))
    assert "NOT COMPLETE: 3 missing." in str(told(orders=(), fills=()))


def test_text_from_outside_does_not_move_the_cursor() -> None:
    assert "\x1b" not in str(told(orders=(row(client_order_id="\x1b[2J\r"),)))


# -- any books


SYMBOLS = {"BTC/USDT:USDT": "BTCUSDT", "ETH/USDT:USDT": "ETHUSDT"}
amounts = st.decimals(min_value="0.000001", max_value="99999", places=6).filter(bool)


class Books:
    """The same orders in both books."""

    def __init__(self) -> None:
        self.seen: list[Sighting] = []
        self.orders: list[OrderRow] = []
        self.fills: list[FillRow] = []

    def statement(self) -> Completeness:
        return told(tuple(self.seen), tuple(self.orders), tuple(self.fills))


@st.composite
def books(draw: st.DrawFn) -> Books:
    both = Books()
    for number in range(draw(st.integers(1, 4))):
        _order(draw, both, number)
    both.seen = draw(st.permutations(both.seen))
    both.orders = draw(st.permutations(both.orders))
    both.fills = draw(st.permutations(both.fills))
    return both


def _order(draw: st.DrawFn, both: Books, number: int) -> None:
    symbol = draw(st.sampled_from(sorted(SYMBOLS)))
    order_id = str(100 + number)
    pieces = draw(st.lists(st.tuples(amounts, amounts), max_size=3))
    filled = sum((quantity for _, quantity in pieces), D(0))
    rest = draw(st.sampled_from([D(0), D("0.5")])) if pieces else D(1)
    status = OrderStatus.FILLED if not rest else draw(st.sampled_from([OrderStatus.CANCELED, OrderStatus.EXPIRED]))
    at = SINCE + timedelta(seconds=draw(st.integers(0, 86_399)))
    currency = draw(st.sampled_from(["USDT", "BNB"]))
    algo = draw(st.booleans())
    kind = "STOP_MARKET" if algo else draw(st.sampled_from(["MARKET", "LIMIT"]))
    executed_as = f"{order_id}9" if algo and pieces else order_id
    shown = OrderState(
        exchange_order_id=order_id,
        client_order_id=f"c{number}",
        symbol=symbol,
        side="buy",
        type=kind,
        quantity=filled + rest,
        limit_price=D(5) if kind == "LIMIT" else None,
        trigger_price=D(6) if algo else None,
        reduce_only=draw(st.booleans()),
        created_at=at,
    )
    outcome = {"order_status": status, "filled_quantity": filled, "exchange_at": at}
    executions = []
    for index, (price, quantity) in enumerate(pieces):
        fee = Fee(amount=draw(amounts), currency=currency, status=FeeStatus.REPORTED)
        executions.append(
            execution(
                fee=fee,
                exchange_trade_id=f"{number}-{index}",
                exchange_order_id=executed_as,
                symbol=symbol,
                price=price,
                quantity=quantity,
                exchange_at=at,
            )
        )
    if algo and pieces:
        became = OrderState(
            exchange_order_id=executed_as, symbol=symbol, side="buy", type="MARKET", quantity=filled + rest, **outcome
        )
        both.seen += [Sighting(state=shown, id_kind="algo", child_order_id=executed_as), Sighting(state=became)]
    else:
        done = msgspec.structs.replace(shown, **outcome)
        both.seen.append(Sighting(state=done, id_kind="algo" if algo else "order", fills=tuple(executions[:1])))
    for fill in executions:
        both.seen += [Sighting(state=OrderState(exchange_order_id=executed_as, symbol=symbol), fills=(fill,))]
    value = sum((price * quantity for price, quantity in pieces), D(0))
    fees = sum((fill.fee.amount or D(0) for fill in executions), D(0))
    mine = row(
        1000 + number,
        symbol=SYMBOLS[symbol],
        unified_symbol=symbol,
        exchange_symbol=SYMBOLS[symbol],
        order_id=order_id,
        client_order_id=f"c{number}",
        type=kind,
        size=filled + rest,
        status=status.value,
        filled=filled,
        remaining=rest,
        average_price=_rounded(value, filled) if pieces else None,
        limit_price=shown.limit_price,
        trigger_price=shown.trigger_price,
        reduce_only=shown.reduce_only,
        fee=fees if pieces else None,
        fee_currency=currency if pieces else None,
        created_at=at,
    )
    both.orders.append(mine)
    both.fills += [
        kept(
            order_key=mine.order_key,
            exchange_trade_id=fill.exchange_trade_id,
            exchange_order_id=executed_as,
            symbol=SYMBOLS[symbol],
            price=fill.price,
            quantity=fill.quantity,
            fee=fill.fee.amount,
            fee_currency=currency,
            exchange_at=at,
        )
        for fill in executions
    ]


def _rounded(value: Decimal, quantity: Decimal) -> Decimal:
    with localcontext(prec=200):
        return _plain(value / quantity)


@profile(40)
@given(books())
def test_equal_books_are_complete_however_they_are_shown(both: Books) -> None:
    statement = both.statement()
    assert statement.complete, str(statement)
    assert statement.counts.orders_same == len(both.orders)
    assert statement.counts.fills_same == len(both.fills)


ANOTHER: dict[str, Callable[[Any], Any]] = {
    "order_id": lambda value: f"{value}1",
    "client_order_id": lambda value: f"{value}1",
    "type": lambda value: "MARKET" if value != "MARKET" else "LIMIT",
    "side": lambda value: "sell",
    "size": lambda value: value + D("1e-20"),
    "status": lambda value: "NEW",
    "filled": lambda value: value + D("1e-20"),
    "remaining": lambda value: value + D("1e-20"),
    "average_price": lambda value: value + D("1e-10"),
    "limit_price": lambda value: value + D("1e-20"),
    "trigger_price": lambda value: value + D("1e-20"),
    "reduce_only": lambda value: not value,
    "fee": lambda value: value + D("1e-20"),
    "fee_currency": lambda value: "ETH",
    "unified_symbol": lambda value: "SOL/USDT:USDT",
    "exchange_trade_id": lambda value: f"{value}1",
    "exchange_order_id": lambda value: f"{value}1",
    "price": lambda value: value + D("1e-20"),
    "quantity": lambda value: value + D("1e-20"),
    "liquidity": lambda value: "maker",
    "exchange_at": lambda value: value + timedelta(microseconds=1),
    "symbol": lambda value: "SOLUSDT",
    "order_key": lambda value: key(5),
}
ORDER_COLUMNS = [
    "order_id",
    "client_order_id",
    "type",
    "side",
    "size",
    "status",
    "filled",
    "remaining",
    "average_price",
    "limit_price",
    "trigger_price",
    "reduce_only",
    "fee",
    "fee_currency",
    "unified_symbol",
]
FILL_COLUMNS = [
    "exchange_trade_id",
    "exchange_order_id",
    "side",
    "price",
    "quantity",
    "fee",
    "fee_currency",
    "liquidity",
    "exchange_at",
    "symbol",
    "order_key",
]


@profile(100)
@given(books(), st.data())
def test_any_single_change_is_found(both: Books, data: st.DataObject) -> None:
    table: list[Any] = data.draw(st.sampled_from([both.orders, both.fills] if both.fills else [both.orders]))
    index = data.draw(st.integers(0, len(table) - 1))
    columns = ORDER_COLUMNS if table is both.orders else FILL_COLUMNS
    change = data.draw(
        st.sampled_from(["drop", "double", *(c for c in columns if getattr(table[index], c) is not None)])
    )
    if change == "drop":
        del table[index]
    elif change == "double":
        table.append(
            msgspec.structs.replace(
                table[index], order_key=data.draw(st.sampled_from([key(5), table[index].order_key]))
            )
        )
    else:
        value = ANOTHER[change](getattr(table[index], change))
        table[index] = msgspec.structs.replace(table[index], **{change: value})
    statement = both.statement()
    assert not statement.complete, f"{change} of {table[index] if index < len(table) else ''}\n{statement}"
    assert not statement.agrees or statement.open_questions or statement.unshown


@profile(40)
@given(books(), st.data())
def test_whatever_the_exchange_has_and_the_trail_has_not_is_found(both: Books, data: st.DataObject) -> None:
    """Blank any one column of any one row: a value that the exchange knows may not be unknown to the trail."""
    index = data.draw(st.integers(0, len(both.orders) - 1))
    mine = both.orders[index]
    columns = [c for c in ORDER_COLUMNS if getattr(mine, c) is not None and c not in ("status", "unified_symbol")]
    column = data.draw(st.sampled_from(columns))
    both.orders[index] = msgspec.structs.replace(mine, **{column: None})
    assert not both.statement().complete, column
