"""However records arrive, they come to the same rows; and no late one moves an order back."""

from __future__ import annotations

import functools
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from days import recorded
from hypothesis import given
from hypothesis import strategies as st
from stories import STATES, STREAMS, Line, Step, Story, arrivals, at_once, profile, stored, stories, take

from audit_wrapper.records import RecordKind
from audit_wrapper.rows import OrderRow
from audit_wrapper.store.memory import MemoryStore


def read(store: MemoryStore) -> dict[str, list[str]]:
    """Everything a user reads, every digit of it."""
    return {name: [repr(row) for row in getattr(store, name)] for name in ("orders", "trades", "fills")}


@profile(150)
@given(stories(), st.data())
def test_any_arrival_gives_the_same_rows(story: Story, data: st.DataObject) -> None:
    lines = story.lines()
    batches = data.draw(arrivals(lines), label="arrival")
    assert read(stored(batches)) == read(stored(at_once(lines)))


def by_key(store: MemoryStore) -> dict[UUID, OrderRow]:
    return {row.order_key: row for row in store.orders}


def adds_up(row: OrderRow) -> bool:
    if row.size is None or row.filled is None:
        return row.remaining is None
    return row.remaining is not None and row.filled + row.remaining == row.size


@profile(150)
@given(stories(STATES, coherent=True), st.data())
def test_no_arrival_moves_an_order_back(story: Story, data: st.DataObject) -> None:
    store = MemoryStore()
    for batch in data.draw(arrivals(story.lines()), label="arrival"):
        before, executed = by_key(store), {row.order_key: row.executed_qty for row in store.trades}
        take(store, batch)
        after, trades = by_key(store), {row.order_key: row.executed_qty for row in store.trades}
        assert all(map(adds_up, after.values()))
        for key, was in before.items():
            now = after.get(store._index.current(key))
            if was.status == "FILLED":
                assert now is not None
                assert now.status == "FILLED", (was, now)
            if was.filled:
                assert now is not None
                assert now.filled is not None
                assert now.filled >= was.filled, (was, now)
                assert trades[now.order_key] >= executed[key]


@functools.cache
def in_order(kind: str) -> dict[str, list[str]]:
    return read(stored(at_once(recorded(kind))))


@pytest.mark.parametrize("kind", ["binance", "bybit"])
@profile(4)
@given(data=st.data())
def test_a_real_day_gives_the_same_rows_however_it_arrives(kind: str, data: st.DataObject) -> None:
    batches = data.draw(arrivals(recorded(kind)), label="arrival")
    assert read(stored(batches)) == in_order(kind)


@profile(80)
@given(stories(STATES, coherent=True), st.data())
def test_what_was_seen_before_and_is_told_once_more_changes_no_filled_order(story: Story, data: st.DataObject) -> None:
    """An answer from a cache, or one that another journal brings: it is older than what is known."""
    lines = story.lines()
    seen = [line for line in lines if line.record.kind is RecordKind.RECONCILED]
    if not seen:
        return
    store = stored(at_once(lines))
    before = store.orders, store.trades, store.fills
    stream = data.draw(st.sampled_from(STREAMS), label="stream")
    once_more = msgspec.structs.replace(data.draw(st.sampled_from(seen), label="seen").record, record_id=UUID(int=1))
    take(store, [Line(stream, 1 + sum(line.stream == stream for line in lines), once_more)])
    filled = {row.order_key for row in before[0] if row.status == "FILLED"}
    for was, now in zip(before, (store.orders, store.trades, store.fills), strict=True):
        assert [row for row in now if row.order_key in filled] == [row for row in was if row.order_key in filled]


# -- what was found by all this, one by one


def order(*steps: Step, exchange: str = "binance") -> OrderRow:
    (row,) = stored(at_once(Story(exchange, list(steps)).lines())).orders
    return row


PLACE, NEW = Step("place", variant=1, amount=10), Step("answer", variant=0)


def test_an_older_answer_in_another_journal_moves_nothing_back() -> None:
    whole = Step("seen", variant=2, amount=10)
    older = Step("seen", desk=1, variant=1, amount=4)
    expected, row = order(PLACE, NEW, whole), order(PLACE, NEW, whole, older)
    assert expected.average_price == Decimal("1.1")
    assert msgspec.structs.replace(row, updated_at=expected.updated_at) == expected


def test_a_fee_goes_with_the_quantity_it_was_charged_for() -> None:
    less, more = Step("seen", variant=1, amount=4), Step("seen", variant=2, amount=10)
    row = order(PLACE, NEW, less, more, exchange="bybit")
    assert (row.filled, row.fee, row.fee_status) == (Decimal(10), None, "pending"), "0.004 was the fee of 4"


def test_the_word_of_another_journal_does_not_hide_that_of_the_orders_own() -> None:
    """After the cancel-all the exchange said that the order stands; a later journal knows less."""
    stands = Step("seen", variant=0)
    steps = (PLACE, NEW, Step("cancel_all", variant=1), stands)
    assert order(*steps).status == order(*steps, Step("seen", desk=1, variant=0)).status == "NEW"


def test_a_cancel_all_after_an_order_was_filled_leaves_it_alone() -> None:
    """Its fills tell that it is filled, while its last status does not yet."""
    steps = (PLACE, NEW, Step("seen", variant=0, amount=10, back=1), Step("cancel_all", variant=1))
    *before, seen, cancel_all = Story("binance", list(steps)).lines()
    (expected,), (row,) = stored([[*before, seen, cancel_all]]).orders, stored([[*before, cancel_all], [seen]]).orders
    assert expected.status == "FILLED"
    assert row == expected


def test_what_the_exchange_took_was_sent() -> None:
    row = order(PLACE, Step("answer", variant=2, amount=10), Step("answer", variant=5, amount=2))
    assert row.status == "FILLED"


def test_a_cancel_that_crossed_is_not_settled_by_an_older_word() -> None:
    row = order(PLACE, NEW, Step("cancel", variant=1), Step("seen", desk=1, variant=0))
    assert (row.status, row.filled, row.fee_status) == ("CANCELED", Decimal(0), "pending")


def test_nothing_is_known_to_remain_of_what_a_cancel_all_ended() -> None:
    row = order(PLACE, NEW, Step("cancel_all", variant=1))
    assert (row.status, row.filled, row.remaining) == ("CANCELED", None, None)


def test_a_market_spelled_out_is_not_forgotten() -> None:
    row = order(PLACE, NEW, Step("glimpsed", desk=1, variant=1))
    assert (row.symbol, row.unified_symbol, row.exchange_symbol) == ("MNTUSDT", "MNT/USDT:USDT", "MNTUSDT")
