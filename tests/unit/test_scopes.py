"""Scopes: which position, which operation, and when we look away."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from audit_wrapper import scopes
from audit_wrapper.records import PositionLink, Purpose, RecordKind
from audit_wrapper.scopes import suppressed
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}


class Manager:
    name = "binance"

    async def create_market_order(self, symbol: str, side: str, amount: float, params: Any = None) -> Any:
        await asyncio.sleep(0)
        return ORDER

    async def cancel_order(self, order_id: str, symbol: str) -> bool:
        return True


class SyncManager:
    name = "binance"

    def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
        return ORDER


class Repository:
    def __init__(self) -> None:
        self.last = 0

    async def create_position(self, position_data: dict[str, Any]) -> int:
        self.last += 1
        return self.last

    async def update_position(self, position_id: int, updates: Any = None, **fields: Any) -> bool:
        return True


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


def linked(trail: MemoryTrail) -> list[Any]:
    """The position of each intent."""
    return [r.position.position_id if r.position else None for r in trail.records if r.kind is RecordKind.INTENT]


async def place(manager: Any, symbol: str = "MNTUSDT") -> None:
    await manager.create_market_order(symbol, "buy", 1)


async def test_a_position_scope_links_what_is_inside(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    await place(manager)
    with trail.position(id=5, signal_id=7) as scope:
        assert scope is not None
        await place(manager)
        async with trail.position(id="six"):
            await place(manager)
        await place(manager)
    await place(manager)
    assert linked(trail) == [None, "5", "six", "5", None]
    (link,) = {r.position for r in trail.records if r.position is not None and r.position.position_id == "5"}
    assert (link.signal_id, link.how) == (7, "scope")


async def test_a_scope_ends_when_its_block_raises(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    problem = KeyError("inside")
    with pytest.raises(KeyError) as caught, trail.position(id=5):
        raise problem
    assert caught.value is problem

    async def block() -> None:
        async with trail.position(id=6):
            raise problem

    with pytest.raises(KeyError):
        await block()
    await place(manager)
    assert linked(trail) == [None]


async def test_one_scope_object_can_be_entered_again(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    scope = trail.position(id=5)
    for _ in range(2):
        with scope:
            with scope:
                await place(manager)
            await place(manager)
    await place(manager)
    assert linked(trail) == ["5"] * 4 + [None]


async def test_one_scope_object_in_several_tasks_at_once(trail: MemoryTrail) -> None:
    """Kept on a position object, and entered by the tasks that work on it, which overlap."""
    manager = trail.wrap(Manager())
    shared = trail.position(id="shared")
    inside, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with trail.position(id="first"), shared:
            inside.set()
            await leave.wait()
            await place(manager)
        await place(manager)

    async def second() -> None:
        await inside.wait()
        with trail.position(id="second"):
            with shared:
                leave.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await place(manager, "AUSDT")

    await asyncio.gather(first(), second())
    by_symbol = {
        r.call.arguments["symbol"]: r.position.position_id if r.position else None
        for r in trail.records
        if r.kind is RecordKind.INTENT and r.call is not None
    }
    assert by_symbol["AUSDT"] == "second", "the scope of another task was put back here"
    assert linked(trail).count("second") == 1


async def test_scopes_do_not_leak_between_tasks(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    inside, go = asyncio.Event(), asyncio.Event()

    async def scoped() -> None:
        async with trail.position(id=5):
            inside.set()
            await go.wait()
            await place(manager)

    task = asyncio.create_task(scoped())
    await inside.wait()
    await place(manager)
    go.set()
    await task
    await place(manager)
    assert linked(trail) == [None, "5", None]


async def test_a_task_started_in_a_scope_keeps_it(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    with trail.position(id=5):
        task = asyncio.create_task(place(manager))
    await task
    assert linked(trail) == ["5"]


def test_threads_have_scopes_of_their_own(trail: MemoryTrail) -> None:
    manager = trail.wrap(SyncManager())
    with trail.position(id=5):
        thread = threading.Thread(target=manager.create_market_order, args=("MNTUSDT", "buy", 1))
        thread.start()
        thread.join()
        manager.create_market_order("MNTUSDT", "buy", 1)
    assert linked(trail) == [None, "5"]


@pytest.mark.parametrize(
    ("given", "linked_to"),
    [
        ({}, "5"),
        ({"symbol": "MNTUSDT"}, "5"),
        ({"symbol": "MNT/USDT:USDT"}, "5"),
        ({"symbol": "BTCUSDT"}, None),
        ({"exchange": "BINANCE"}, "5"),
        ({"exchange": "bybit"}, None),
        ({"exchange": "bybit", "symbol": "MNTUSDT"}, None),
    ],
)
async def test_a_scope_links_only_what_it_names(trail: MemoryTrail, given: dict[str, str], linked_to: Any) -> None:
    with trail.position(id=5, **given):
        await place(trail.wrap(Manager()))
    assert linked(trail) == [linked_to]


@pytest.mark.parametrize(
    ("side", "told"), [("buy", "buy"), ("LONG", "buy"), ("short", "sell"), ("Sell", "sell"), ("x", None), (None, None)]
)
async def test_the_side_of_a_scope(trail: MemoryTrail, side: Any, told: Any) -> None:
    with trail.position(id=5, side=side):
        await place(trail.wrap(Manager()))
    assert trail.records[0].position is not None
    assert trail.records[0].position.side == told


# -- a row that was seen to be made


async def test_a_row_that_was_made_links_what_follows_in_its_task(trail: MemoryTrail) -> None:
    manager, rows = trail.wrap(Manager()), trail.wrap(Repository())

    async def opens(symbol: str) -> None:
        position = await rows.create_position({"symbol": symbol, "exchange": "binance", "side": "long"})
        await place(manager, symbol)
        await place(manager, "OTHERUSDT")
        await rows.update_position(position, status="closed")
        await place(manager, symbol)

    await asyncio.gather(*(opens(f"S{n}USDT") for n in range(3)))
    await place(manager, "S0USDT")
    found = [
        (r.call.arguments["symbol"], r.position.position_id if r.position else None)
        for r in trail.records
        if r.kind is RecordKind.INTENT and r.call is not None
    ]
    for n in range(3):
        own = [position for symbol, position in found if symbol == f"S{n}USDT"]
        assert own == [str(n + 1), None] + [None] * (n == 0)
    assert [position for symbol, position in found if symbol == "OTHERUSDT"] == [None] * 3


async def test_an_explicit_scope_counts_over_a_row(trail: MemoryTrail) -> None:
    manager, rows = trail.wrap(Manager()), trail.wrap(Repository())
    await rows.create_position({"symbol": "MNTUSDT", "exchange": "binance", "side": "long"})
    with trail.position(id="explicit"):
        await place(manager)
    await place(manager)
    assert linked(trail) == ["explicit", "1"]


def test_closing_another_row_leaves_the_link() -> None:
    def check() -> None:
        scopes.position_created(PositionLink(position_id="5", symbol="MNTUSDT"))
        scopes.position_closed("6")
        assert scopes.position_for(None, None, "MNTUSDT") is not None
        scopes.position_closed("5")
        assert scopes.position_for(None, None, "MNTUSDT") is None

    contextvars.copy_context().run(check)


# -- looking away


async def test_suppressed(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    with suppressed():
        await place(manager)
        with suppressed():
            await place(manager)
        assert scopes.is_suppressed()
        await place(manager)
    assert not scopes.is_suppressed()
    assert trail.records == []
    await place(manager)
    assert len(trail.records) == 2


async def test_suppressed_ends_when_its_block_raises_and_is_the_tasks_own(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())
    with pytest.raises(KeyError), suppressed():
        raise KeyError
    inside, go = asyncio.Event(), asyncio.Event()

    async def quiet() -> None:
        with suppressed():
            inside.set()
            await go.wait()
            await place(manager)

    task = asyncio.create_task(quiet())
    await inside.wait()
    await place(manager)
    go.set()
    await task
    assert len(trail.records) == 2


# -- functions of the bot's own


async def test_an_audited_function_is_one_operation(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())

    @trail.audited(purpose="exit")
    async def leave_all(symbol: str, *, hard: bool = False) -> str:
        """Leaves."""
        await manager.cancel_order("9", symbol)
        await place(manager, symbol)
        return "left"

    assert await leave_all("MNTUSDT", hard=True) == "left"
    assert leave_all.__name__ == "leave_all"
    assert leave_all.__doc__ == "Leaves."
    assert asyncio.iscoroutinefunction(leave_all)
    assert len({r.operation.correlation_id for r in trail.records if r.operation is not None}) == 1
    placed = [r for r in trail.records if r.kind is RecordKind.INTENT and r.call and "create" in r.call.method]
    assert [r.purpose for r in placed] == [Purpose.EXIT]
    assert trail.orders[-1].purpose == "exit"
    report = trail.records[-1]
    assert report.kind is RecordKind.REPORTED
    assert report.call is not None
    assert report.call.arguments == {"symbol": "MNTUSDT", "hard": True}


def test_an_audited_blocking_function(trail: MemoryTrail) -> None:
    manager = trail.wrap(SyncManager())

    @trail.audited(purpose=Purpose.ENTRY)
    def enter(symbol: str) -> Any:
        return manager.create_market_order(symbol, "buy", 1)

    assert enter("MNTUSDT") is ORDER
    assert enter(symbol="MNTUSDT") is ORDER
    assert {r.purpose for r in trail.records} == {Purpose.ENTRY}
    assert len({r.operation.correlation_id for r in trail.records if r.operation is not None}) == 2


async def test_an_audited_method_names_its_arguments_rightly(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager())

    class Strategy:
        @trail.audited(purpose="entry")
        async def enter(self, symbol: str, amount: float) -> Any:
            return await manager.create_market_order(symbol, "buy", amount)

        @staticmethod
        @trail.audited()
        def alone(symbol: str) -> str:
            return symbol

        @classmethod
        @trail.audited()
        def of_class(cls, symbol: str) -> Any:
            return cls, symbol

    strategy = Strategy()
    assert await strategy.enter("MNTUSDT", amount=2) is ORDER
    assert await Strategy.enter(strategy, "MNTUSDT", 2) is ORDER
    assert strategy.alone("A") == "A"
    assert Strategy.of_class("B") == (Strategy, "B")
    told = [r.call.arguments for r in trail.records if r.kind is RecordKind.REPORTED and r.call is not None]
    assert told == [{"symbol": "MNTUSDT", "amount": 2}] * 2 + [{"symbol": "A"}, {"symbol": "B"}]


async def test_an_audited_function_that_fails(trail: MemoryTrail) -> None:
    problem = KeyError("own")

    @trail.audited(purpose="exit")
    async def fails() -> None:
        raise problem

    with pytest.raises(KeyError) as caught:
        await fails()
    assert caught.value is problem
    assert trail.records[-1].failure is not None


def test_a_purpose_that_is_none_is_refused_at_once(trail: MemoryTrail) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        trail.audited(purpose="nonsense")
