"""Which order of the exchange an order without an id is: what fits, what does not, and what nobody can say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_wrapper import matching
from audit_wrapper.matching import AMENDED, NOT_FOUND, Matched, is_unsettled, match, never_came_to_be, window
from audit_wrapper.records import FoundBy
from audit_wrapper.rows import Incomplete, OrderRow

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)
UNIFIED, OWN = "MNT/USDT:USDT", "MNTUSDT"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def key(number: int) -> UUID:
    return UUID(int=number)


def order(number: int = 100, **changes: Any) -> OrderRow:
    """An order at the exchange that nobody is known to have sent."""
    values: dict[str, Any] = {
        "exchange": "bybit",
        "symbol": OWN,
        "unified_symbol": UNIFIED,
        "order_id": f"id-{number}",
        "type": "MARKET",
        "side": "buy",
        "size": Decimal(10),
        "status": "FILLED",
        "created_at": at(0.5),
        "updated_at": at(0.5),
        "order_key": key(number),
        "origin": "external",
    }
    return OrderRow(**{**values, **changes})


def request(number: int = 1, *, entry: OrderRow | None = None, **changes: Any) -> Incomplete:
    """A request that was under way from 0 s to 1 s and was not answered."""
    values = {"order_id": None, "status": "UNKNOWN", "origin": "bot", "created_at": at(0), "updated_at": at(1)}
    return Incomplete(order(number, **{**values, **changes}), key(number), "order", entry)


def pairs(found: Matched) -> set[tuple[int, int, str]]:
    return {(one.one.row.order_key.int, one.order.order_key.int, one.by.value) for one in found.found}


# -- one request, one order


def test_the_only_order_that_fits() -> None:
    assert pairs(match([request()], [order()])) == {(1, 100, "unique_match")}


@pytest.mark.parametrize(
    "difference",
    [
        {"symbol": "BTCUSDT", "unified_symbol": "BTC/USDT:USDT"},
        {"symbol": OWN, "unified_symbol": "MNT/USDT"},
        {"side": "sell"},
        {"client_order_id": "another", "of_request": {"client_order_id": "mine"}},
        {"client_order_id": None, "of_request": {"client_order_id": "mine"}},
        {"created_at": at(-1.001)},
        {"created_at": at(6.001)},
        {"order_id": None},
    ],
    ids=repr,
)
def test_an_order_that_differs_is_another(difference: dict[str, Any]) -> None:
    changes = dict(difference)
    asked = request(**changes.pop("of_request", {}))
    result = match([asked], [order(**changes)])
    assert (result.found, result.open) == ([], [(asked, NOT_FOUND)])


@pytest.mark.parametrize(
    "difference",
    [
        {"type": "LIMIT"},
        {"size": Decimal(11)},
        {"size": None},
        {"limit_price": Decimal("1.2"), "of_request": {"limit_price": Decimal("1.1")}},
        {"trigger_price": Decimal("1.2"), "of_request": {"trigger_price": Decimal("1.1")}},
        {"reduce_only": True, "of_request": {"reduce_only": False}},
    ],
    ids=repr,
)
def test_an_order_that_differs_in_what_may_have_changed_is_not_taken(difference: dict[str, Any]) -> None:
    changes = dict(difference)
    asked = request(**changes.pop("of_request", {}))
    result = match([asked], [order(**changes)])
    assert result.found == []
    assert [one for one, _ in result.open] == [asked]


@pytest.mark.parametrize(
    ("of_request", "of_order", "why"),
    [
        ({}, {"updated_at": at(9)}, AMENDED),
        ({"client_order_id": "mine"}, {"updated_at": at(9)}, NOT_FOUND),
        ({}, {}, NOT_FOUND),
        ({}, {"updated_at": at(9), "type": "STOP_LIMIT"}, NOT_FOUND),
        ({}, {"updated_at": at(9), "side": "sell"}, NOT_FOUND),
        ({"type": "MARKET"}, {"updated_at": at(9), "type": "MARKET"}, NOT_FOUND),
    ],
    ids=repr,
)
def test_an_order_that_may_have_been_amended_keeps_a_request_from_being_absent(
    of_request: dict[str, Any], of_order: dict[str, Any], why: str
) -> None:
    """It has another size now; one that nobody changed since it was made always had that."""
    asked = request(**{"type": "LIMIT", **of_request})
    assert match([asked], [order(**{"type": "LIMIT", "size": Decimal(12), **of_order})]).open == [(asked, why)]


@pytest.mark.parametrize(
    ("of_request", "of_order"),
    [
        ({}, {"created_at": at(-1)}),
        ({}, {"created_at": at(6)}),
        ({}, {"symbol": OWN, "unified_symbol": None}),
        ({"unified_symbol": None}, {}),
        ({"side": None, "type": None}, {}),
        ({"reduce_only": None}, {"reduce_only": True}),
        ({"reduce_only": True}, {"reduce_only": None}),
        ({"limit_price": None}, {"limit_price": Decimal("1.1")}),
        ({"limit_price": Decimal("1.1")}, {"limit_price": Decimal("1.1000")}),
        ({"size": Decimal("10.0")}, {}),
        ({}, {"client_order_id": "made by the exchange"}),
        ({"type": "STOP_LOSS", "size": None}, {"type": "STOP_LOSS", "size": Decimal(0)}),
        (
            {"type": "TRAILING_STOP_MARKET", "trigger_price": Decimal("0.05")},
            {"type": "TRAILING_STOP_MARKET", "trigger_price": Decimal("1.15")},
        ),
    ],
    ids=repr,
)
def test_an_order_that_may_be_it_is_it(of_request: dict[str, Any], of_order: dict[str, Any]) -> None:
    assert pairs(match([request(**of_request)], [order(**of_order)])) == {(1, 100, "unique_match")}


def test_a_clock_that_is_ahead() -> None:
    """The bot's clock shows a minute more than the exchange's."""
    listed = order(created_at=at(-60))
    assert match([request()], [listed]).found == []
    assert pairs(match([request()], [listed], timedelta(minutes=1))) == {(1, 100, "unique_match")}


# -- client ids


def test_the_clients_id_decides() -> None:
    """Whatever else the order looks like, it is the one of that name."""
    named = order(client_order_id="mine", size=Decimal(3), type="LIMIT", side="sell")
    assert pairs(match([request(client_order_id="mine")], [named, order(101)])) == {(1, 100, "client_order_id")}


def test_the_clients_id_is_of_one_symbol() -> None:
    named = order(client_order_id="mine", symbol="BTCUSDT", unified_symbol="BTC/USDT:USDT")
    assert match([request(client_order_id="mine")], [named]).found == []


def test_a_clients_id_that_was_used_twice() -> None:
    """Each order goes to the request of its time."""
    asked = [
        request(1, client_order_id="mine"),
        request(2, client_order_id="mine", created_at=at(60), updated_at=at(61)),
    ]
    shown = [order(101, client_order_id="mine", created_at=at(60.5)), order(102, client_order_id="mine")]
    assert pairs(match(asked, shown)) == {(1, 102, "client_order_id"), (2, 101, "client_order_id")}


# -- several alike


@pytest.mark.parametrize(("requests", "orders"), [(1, 2), (2, 1), (3, 2), (2, 3)])
def test_what_cannot_be_told_apart_stays_open(requests: int, orders: int) -> None:
    asked = [request(n, created_at=at(n), updated_at=at(n + 0.5)) for n in range(requests)]
    result = match(asked, [order(100 + n, created_at=at(n + 0.2)) for n in range(orders)])
    assert result.found == []
    assert [one for one, _ in result.open] == asked
    for _, why in result.open:
        assert f"{orders} orders" in why
        assert f"{requests} requests" in why


def test_one_after_the_other() -> None:
    asked = [request(n, created_at=at(n), updated_at=at(n + 0.9)) for n in range(3)]
    shown = [order(100 + n, created_at=at(n + 0.5)) for n in range(3)]
    assert pairs(match(asked[::-1], shown[::-1])) == {(n, 100 + n, "unique_match") for n in range(3)}


def test_side_by_side() -> None:
    asked = [request(n, created_at=at(n), updated_at=at(n + 1.1)) for n in range(2)]
    shown = [order(100 + n, created_at=at(n + 0.5)) for n in range(2)]
    assert match(asked, shown).found == []


def test_those_of_another_hour_do_not_disturb() -> None:
    asked = [request(n, created_at=at(3600 * n), updated_at=at(3600 * n + 1)) for n in range(3)]
    shown = [order(101, created_at=at(3600.5))]
    result = match(asked, shown)
    assert pairs(result) == {(1, 101, "unique_match")}
    assert {why for _, why in result.open} == {NOT_FOUND}


def test_a_named_order_is_not_taken_for_an_unnamed_request() -> None:
    asked = [request(1, client_order_id="mine"), request(2)]
    shown = [order(101, client_order_id="mine"), order(102)]
    assert pairs(match(asked, shown)) == {(1, 101, "client_order_id"), (2, 102, "unique_match")}


def test_the_less_is_known_of_a_request_the_less_is_certain() -> None:
    """One of two requests fits both orders, the other one only the first: so the first goes to the other."""
    asked = [
        request(1, created_at=at(0), updated_at=at(0.4), reduce_only=None),
        request(2, created_at=at(0.5), updated_at=at(1), reduce_only=True),
    ]
    shown = [order(101, created_at=at(0.2), reduce_only=True), order(102, created_at=at(0.8), reduce_only=False)]
    assert (2, 102, "unique_match") not in pairs(match(asked, shown))


# -- which are looked for, and when they were sent


@pytest.mark.parametrize(
    ("changes", "looked_for"),
    [
        ({}, True),
        ({"order_id": "7"}, False),
        ({"status": "NEW"}, True),
        ({"status": "REJECTED"}, False),
        ({"status": "REJECTED", "found_by": "absence"}, True),
        ({"status": "NEW", "type": "STOP_LOSS"}, True),
        ({"status": "MODIFIED", "type": "STOP_LOSS"}, True),
        ({"status": "CANCELED", "type": "TAKE_PROFIT"}, True),
        ({"status": "NEW", "type": "STOP_MARKET"}, True),
    ],
    ids=repr,
)
def test_which_are_looked_for(changes: dict[str, Any], looked_for: bool) -> None:
    one = request(**changes)
    assert is_unsettled(one) is looked_for
    assert is_unsettled(msgspec.structs.replace(one, intent_id=None)) is False


def test_a_stop_may_have_changed_long_after_it_was_sent() -> None:
    stop = request(type="STOP_LOSS", status="MODIFIED", updated_at=at(9999))
    assert window(stop)[1] == at(65)
    assert window(request(updated_at=at(9999)))[1] == at(10004)


def test_a_stop_that_travelled_with_an_order_is_made_when_that_is_executed() -> None:
    entry = order(50, type="LIMIT", updated_at=at(7200), filled=Decimal(10))
    stop = request(type="STOP_LOSS", size=None, status="NEW", entry=entry)
    made = order(101, type="STOP_LOSS", created_at=at(7200))
    assert pairs(match([stop], [made])) == {(1, 101, "unique_match")}


@pytest.mark.parametrize(
    ("status", "filled", "never"),
    [
        ("CANCELED", Decimal(0), True),
        ("EXPIRED", Decimal(0), True),
        ("REJECTED", Decimal(0), True),
        ("CANCELED", Decimal(1), False),
        ("CANCELED", None, False),
        ("NEW", Decimal(0), False),
        ("UNKNOWN", None, False),
    ],
)
def test_a_stop_of_an_entry_that_never_was(status: str, filled: Decimal | None, never: bool) -> None:
    entry = order(50, status=status, filled=filled)
    assert never_came_to_be(request(type="STOP_LOSS", entry=entry)) is never
    assert never_came_to_be(request(type="STOP_LOSS")) is False


# -- whatever there is

_SECONDS = st.integers(0, 40).map(lambda n: n / 4)
_MAYBE_ID = st.sampled_from([None, None, None, "a", "b"])
_LIKE = {
    "side": st.sampled_from(["buy", "sell"]),
    "size": st.sampled_from([Decimal(10), Decimal(20)]),
    "type": st.sampled_from(["MARKET", "MARKET", "LIMIT", "STOP_LOSS"]),
    "client_order_id": _MAYBE_ID,
    "reduce_only": st.sampled_from([None, True, False]),
}
_UNSURE = {"side": st.sampled_from(["buy", "sell", None]), "size": st.sampled_from([Decimal(10), Decimal(20), None])}


@st.composite
def _requests(draw: st.DrawFn) -> list[Incomplete]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        began, took = draw(_SECONDS), draw(_SECONDS)
        changes = draw(st.fixed_dictionaries({**_LIKE, **_UNSURE}))
        found.append(request(number, created_at=at(began), updated_at=at(began + took), **changes))
    return found


@st.composite
def _orders(draw: st.DrawFn) -> list[OrderRow]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        changes = draw(st.fixed_dictionaries(_LIKE))
        found.append(order(100 + number, created_at=at(draw(_SECONDS)), **changes))
    return found


def _sizes_fit(row: OrderRow, shown: OrderRow) -> bool:
    if row.size is None or shown.size is None:
        return row.size == shown.size or row.type == "STOP_LOSS"
    return row.size == shown.size or (row.reduce_only is True and shown.size < row.size)  # the exchange cuts those


def _fits(one: Incomplete, shown: OrderRow) -> bool:
    row = one.row
    first, last = window(one)
    return (
        row.side in (None, shown.side)
        and row.type == shown.type
        and _sizes_fit(row, shown)
        and (row.client_order_id is None or row.client_order_id == shown.client_order_id)
        and (None in (row.reduce_only, shown.reduce_only) or row.reduce_only == shown.reduce_only)
        and first <= shown.created_at <= last
    )


@given(_requests(), _orders())
def test_never_two_of_one(asked: list[Incomplete], shown: list[OrderRow]) -> None:
    result = match(asked, shown)
    of_requests = [one.one.row.order_key for one in result.found]
    of_orders = [one.order.order_key for one in result.found]
    assert len(set(of_requests)) == len(of_requests)
    assert len(set(of_orders)) == len(of_orders)
    both = sorted(of_requests + [one.row.order_key for one, _ in result.open])
    assert both == sorted(one.row.order_key for one in asked), "each is found or open, and once"


@given(_requests(), _orders())
def test_what_is_found_fits(asked: list[Incomplete], shown: list[OrderRow]) -> None:
    for found in match(asked, shown).found:
        if found.by is FoundBy.CLIENT_ORDER_ID:
            assert found.one.row.client_order_id == found.order.client_order_id is not None
        else:
            assert _fits(found.one, found.order)


@given(_requests(), _orders(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_says_nothing(asked: list[Incomplete], shown: list[OrderRow], chance: Any) -> None:
    first = match(asked, shown)
    chance.shuffle(asked)
    chance.shuffle(shown)
    again = match(asked, shown)
    assert pairs(again) == pairs(first)
    assert {(one.row.order_key, why) for one, why in again.open} == {
        (one.row.order_key, why) for one, why in first.open
    }


@given(st.lists(st.tuples(_SECONDS, _SECONDS, st.floats(0, 1)), max_size=8), st.randoms(use_true_random=False))
def test_with_distinct_amounts_everything_is_found(times: list[tuple[float, float, float]], chance: Any) -> None:
    asked, shown = [], []
    for number, (began, took, share) in enumerate(times):
        size = Decimal(10 + number)
        asked.append(request(number, size=size, created_at=at(began), updated_at=at(began + took)))
        shown.append(order(100 + number, size=size, created_at=at(began + took * share)))
    chance.shuffle(shown)
    result = match(asked, shown)
    assert pairs(result) == {(n, 100 + n, "unique_match") for n in range(len(times))}
    assert result.open == []


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.booleans()), max_size=6))
def test_what_is_alike_is_never_mixed_up(plan: list[tuple[int, int, int, bool]]) -> None:
    """Requests of one kind, some taken while they were under way, some not, and no orders of others: no wrong pair."""
    asked, shown, now = [], [], 0.0
    for number, (pause, took, when, taken) in enumerate(plan):
        now += pause / 4
        asked.append(request(number, created_at=at(now), updated_at=at(now + took / 4)))
        if taken:
            shown.append(order(100 + number, created_at=at(now + min(when, took) / 4)))
    for one in match(asked, shown).found:
        assert one.order.order_key.int == 100 + one.one.row.order_key.int


def test_hopeless_numbers_take_no_time() -> None:
    asked = [request(n, created_at=at(n / 100), updated_at=at(n / 100 + 1)) for n in range(150)]
    shown = [order(1000 + n, created_at=at(n / 100)) for n in range(150)]
    assert len(matching.match(asked, shown).open) == 150


def test_one_that_was_taken_for_absent_does_not_count_as_answered() -> None:
    """Two requests alike, one order: that the first was once called absent does not make the order its own."""
    absent = request(1, status="REJECTED", found_by="absence")
    result = match([absent, request(2, created_at=at(0.1))], [order()])
    assert result.found == []
    assert len(result.open) == 2


def test_what_the_exchange_said_that_it_took_has_its_order_first() -> None:
    taken = request(1, status="NEW", type="STOP_LOSS", size=None)
    lost = request(2, type="STOP_LOSS", size=None, created_at=at(0.1))
    result = match([taken, lost], [order(type="STOP_LOSS")])
    assert pairs(result) == {(1, 100, "unique_match")}
    assert result.open == [(lost, NOT_FOUND)]


def test_of_what_was_answered_and_what_was_not_only_the_whole_list_tells() -> None:
    """A trailing stop's price is not shown: its order may be another request's while that one's is not listed yet."""
    stop = {"type": "TRAILING_STOP_MARKET", "side": None, "size": None}
    lost, taken = request(1, **stop), request(2, status="NEW", created_at=at(1), updated_at=at(2), **stop)
    shown = [order(type="TRAILING_STOP_MARKET", side="sell")]
    (found,) = match([lost, taken], shown).found
    assert found.listed_until == at(2)
    (found,) = match([taken], shown).found
    assert found.listed_until is None, "nothing else can be meant"
    (found,) = match([lost], shown).found
    assert found.listed_until == at(1)
