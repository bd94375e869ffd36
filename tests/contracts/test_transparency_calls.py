"""Each row of the tables of calls: the same arguments in, the same object or exception out, once, and a record of it.

Parametrised over the tables themselves, so that a new row is tested without a word here.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from types import MethodType
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from audit_wrapper import calls
from audit_wrapper.calls import CallRow
from audit_wrapper.records import Action, RecordKind
from audit_wrapper.scopes import suppressed
from audit_wrapper.testing import MemoryTrail, memory_trail

SILENT = (Action.OTHER, Action.POSITION)
TABLES = {
    "manager": calls.MANAGER,
    "stop_loss_manager": calls.STOP_LOSS_MANAGER,
    "atomic": calls.ATOMIC,
    "repository": calls.REPOSITORY,
    "client": calls.CLIENT,
    "implicit": calls.IMPLICIT,
}


def both(rows: Iterable[str]) -> list[str]:
    """The methods in both of ccxt's spellings."""
    return [name for row in rows for name in dict.fromkeys((row, calls.camel(row)))]


CASES = [
    pytest.param(table, row, id=f"{table}.{row.method}") for table, rows in TABLES.items() for row in rows.values()
]
each_row = pytest.mark.parametrize(("table", "row"), CASES)


def spellings(table: str, row: CallRow) -> list[str]:
    """The names a row's method goes by."""
    return both([row.method]) if table in ("client", "implicit") else [row.method]


class Boom(Exception):
    """What a host raises."""


class Behaviour:
    """What every method of a host does, and what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.result: Any = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}
        self.fails = False
        self.raised: BaseException | None = None
        self.cause: BaseException | None = None
        self.waits = False
        self.started = asyncio.Event()
        self.cancelled_with: tuple[Any, ...] | None = None

    def act(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.seen.append((method, args, kwargs))
        if self.fails:
            try:
                raise KeyError("the host's own cause")
            except KeyError as cause:
                self.cause = cause
                self.raised = Boom("no")
                raise self.raised from cause
        return self.result

    async def act_later(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.waits:
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                self.cancelled_with = cancelled.args
                raise
        await asyncio.sleep(0)
        return self.act(method, args, kwargs)


class Host:
    """Base of the hosts made here: a manager, a repository or a client, by the methods it has."""

    name = "binance"

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour


def _async_method(name: str) -> Callable[..., Any]:
    async def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        return await self.behaviour.act_later(name, args, kwargs)

    method.__name__ = name
    return method


def _sync_method(name: str) -> Callable[..., Any]:
    def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        return self.behaviour.act(name, args, kwargs)

    method.__name__ = name
    return method


def _handing_out(name: str) -> Callable[..., Any]:
    # as ccxt's implicit methods: no coroutine function, and it returns a coroutine
    def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        return self.behaviour.act_later(name, args, kwargs)

    method.__name__ = name
    return method


def _future(name: str) -> Callable[..., Any]:
    def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        return asyncio.ensure_future(self.behaviour.act_later(name, args, kwargs))

    method.__name__ = name
    return method


MAKERS = {"async": _async_method, "sync": _sync_method, "handing_out": _handing_out, "future": _future}


def names_of(table: str, row: CallRow) -> list[str]:
    """The methods of a host of this kind: the row's own, and those a host of its kind is known by."""
    if table in ("client", "implicit"):
        return list(dict.fromkeys(["create_order", "cancel_order", *spellings(table, row)]))
    return list(TABLES[table])


def make_host(table: str, row: CallRow, kind: str, behaviour: Behaviour, **own: Any) -> Any:
    """A host with the methods of a table. `kind`: async, sync, handing_out, future, async_mock or mock. `own`: methods
    that replace those."""
    names = names_of(table, row)
    if kind in ("async_mock", "mock"):
        host = (AsyncMock if kind == "async_mock" else MagicMock)(spec=[*names, "name"])
        host.name = "binance"
        for name in names:
            effect = _async_method(name) if kind == "async_mock" else _sync_method(name)
            getattr(host, name).side_effect = MethodType(effect, Host(behaviour))
        return host
    return type("Host", (Host,), {name: MAKERS[kind](name) for name in names} | own)(behaviour)


SAMPLES: dict[str, Callable[[], Any]] = {
    "symbol": lambda: "".join(["MNT/", "USDT:USDT"]),
    "side": lambda: "".join(["bu", "y"]),
    "type": lambda: "".join(["lim", "it"]),
    "position_side": lambda: "".join(["lo", "ng"]),
    "exchange": lambda: "".join(["bin", "ance"]),
    "params": lambda: {"symbol": "MNTUSDT", "category": "linear", "nested": {"a": [1]}},
    "orders": lambda: [{"symbol": "MNT/USDT:USDT", "type": "limit", "side": "buy", "amount": 1000.5, "price": 1.25}],
    "ids": lambda: ["a1", "a2"],
    "clientOrderIds": lambda: ["c1", "c2"],
    "order": lambda: {"id": "1", "symbol": "MNT/USDT:USDT"},
    "position": lambda: {"symbol": "MNTUSDT", "side": "long"},
    "position_data": lambda: {"symbol": "MNTUSDT", "exchange": "binance", "side": "long", "signal_id": 7},
    "position_id": lambda: int("100001"),
    "updates": lambda: {"exchange_order_id": "77", "status": "entry_placed"},
    "reduce_only": lambda: True,
    "hedged": lambda: False,
}


def sample(row: CallRow) -> dict[str, Any]:
    """An argument for each parameter: objects of their own, so that identity can be told."""
    return {name: SAMPLES.get(name, lambda: float("1000.25"))() for name in row.parameters}


def due(table: str, row: CallRow, ending: RecordKind = RecordKind.ACKNOWLEDGED) -> list[RecordKind]:
    """The kinds of record that a call must leave where there is no transport to be seen."""
    if table == "repository":
        return [RecordKind.LINKED] if ending is RecordKind.ACKNOWLEDGED else []
    if row.action in SILENT:
        return [RecordKind.REPORTED] if row.composite else []
    return [RecordKind.INTENT, ending]


class Watched:
    """A trail, and the records it got since the last look."""

    def __init__(self, trail: MemoryTrail) -> None:
        self.trail = trail
        self._looked_at = 0

    def check(self, table: str, row: CallRow, given: dict[str, Any], ending: RecordKind) -> None:
        """What was left is what is due, it tells the arguments by name, and no call is still open."""
        records = self.trail.records[self._looked_at :]
        self._looked_at += len(records)
        assert [r.kind for r in records] == due(table, row, ending)
        assert self.trail.status().failures == {}
        assert self.trail._recorder._frame.get() is None
        assert self.trail._recorder.under_way == 0
        for record in records if table != "repository" else ():
            assert record.call is not None
            assert record.call.method == row.method
            assert record.call.arguments.keys() == given.keys()
        if len(records) == 2:
            intent, outcome = records
            assert outcome.intent_id == intent.record_id
            assert intent.action is row.action
            assert outcome.answered_at is not None


@pytest.fixture
def watched() -> Iterator[Watched]:
    with memory_trail() as trail:
        yield Watched(trail)


def behaviour_for(table: str) -> Behaviour:
    """One whose result has the shape that the methods of the table have."""
    behaviour = Behaviour()
    if table == "repository":
        behaviour.result = int("100001")
    return behaviour


def same_objects(given: dict[str, Any], got: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(given.values(), got, strict=True))


@contextmanager
def told_of(*case: str) -> Iterator[None]:
    """A failure inside says in which of a test's cases it happened."""
    try:
        yield
    except BaseException as problem:
        problem.add_note(f"in the case {', '.join(case)}")
        raise


async def finished(outcome: Any) -> Any:
    return await outcome if inspect.isawaitable(outcome) else outcome


KINDS = ("async", "sync", "handing_out", "future", "async_mock", "mock")


@each_row
async def test_it_is_called_once_with_the_same_objects_and_returns_the_same_object(
    table: str, row: CallRow, watched: Watched
) -> None:
    for kind, name, passing in product(KINDS, spellings(table, row), ("positional", "keyword")):
        with told_of(kind, name, passing):
            behaviour = behaviour_for(table)
            host = make_host(table, row, kind, behaviour)
            given = sample(row)
            method = getattr(watched.trail.wrap(host), name)
            outcome = method(*given.values()) if passing == "positional" else method(**given)
            assert inspect.isawaitable(outcome) == (kind not in ("sync", "mock"))
            assert await finished(outcome) is behaviour.result

            ((called, args, kwargs),) = behaviour.seen
            assert called == name
            if passing == "positional":
                assert kwargs == {}
                assert same_objects(given, args)
            else:
                assert args == ()
                assert list(kwargs) == list(given)
                assert same_objects(given, kwargs.values())
            watched.check(table, row, given, RecordKind.ACKNOWLEDGED)
            if kind in ("async_mock", "mock"):
                getattr(host, name).assert_called_once_with(*args, **kwargs)
                method.assert_called_once_with(*args, **kwargs)


@each_row
async def test_it_raises_the_same_exception(table: str, row: CallRow, watched: Watched) -> None:
    for kind, name in product(KINDS, spellings(table, row)):
        with told_of(kind, name):
            behaviour = Behaviour()
            behaviour.fails = True
            given = sample(row)
            method = getattr(watched.trail.wrap(make_host(table, row, kind, behaviour)), name)

            async def call(method: Any = method, given: dict[str, Any] = given) -> Any:
                return await finished(method(*given.values()))

            with pytest.raises(Boom) as caught:
                await call()

            problem = caught.value
            assert problem is behaviour.raised
            assert problem.__cause__ is problem.__context__ is behaviour.cause
            assert behaviour.cause is not None
            assert behaviour.cause.__context__ is None
            assert problem.args == ("no",)
            assert not hasattr(problem, "__notes__")
            innermost = traceback.extract_tb(problem.__traceback__)[-1]
            assert (innermost.name, innermost.filename) == ("act", __file__)
            assert len(behaviour.seen) == 1
            watched.check(table, row, given, RecordKind.OUTCOME_UNKNOWN)


@each_row
async def test_it_is_cancelled_when_it_was_to_be_cancelled(table: str, row: CallRow, watched: Watched) -> None:
    for kind, name in product(("async", "handing_out", "future", "async_mock"), spellings(table, row)):
        with told_of(kind, name):
            behaviour = Behaviour()
            behaviour.waits = True
            method = getattr(watched.trail.wrap(make_host(table, row, kind, behaviour)), name)
            given = sample(row)

            async def bot(method: Any = method, given: dict[str, Any] = given) -> Any:
                return await method(**given)

            task = asyncio.create_task(bot())
            await behaviour.started.wait()
            task.cancel("the bot stops")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert behaviour.cancelled_with == ("the bot stops",)
            watched.check(table, row, given, RecordKind.OUTCOME_UNKNOWN)


@each_row
async def test_a_swallowed_cancellation_stays_swallowed(table: str, row: CallRow, watched: Watched) -> None:
    for name in spellings(table, row):
        behaviour = behaviour_for(table)
        started = asyncio.Event()

        async def stubborn(self: Any, *args: Any, _s: asyncio.Event = started, **kwargs: Any) -> Any:
            _s.set()
            try:
                return await asyncio.Event().wait()
            except asyncio.CancelledError:
                return self.behaviour.result

        given = sample(row)
        host = make_host(table, row, "async", behaviour, **{name: stubborn})
        task = asyncio.create_task(getattr(watched.trail.wrap(host), name)(**given))
        await started.wait()
        task.cancel()
        assert await task is behaviour.result
        watched.check(table, row, given, RecordKind.ACKNOWLEDGED)


@each_row
def test_what_stops_a_program_is_not_held_up(table: str, row: CallRow, watched: Watched) -> None:
    for problem in (KeyboardInterrupt("now"), SystemExit(3), GeneratorExit(), StopIteration("done")):

        def stops(self: Any, *args: Any, _problem: BaseException = problem, **kwargs: Any) -> Any:
            raise _problem

        given = sample(row)
        host = make_host(table, row, "sync", Behaviour(), **{row.method: stops})
        with pytest.raises(type(problem)) as caught:
            getattr(watched.trail.wrap(host), row.method)(**given)
        assert caught.value is problem
        watched.check(table, row, given, RecordKind.OUTCOME_UNKNOWN)


@each_row
def test_a_wrong_call_raises_the_same_type_error_at_the_same_moment(table: str, row: CallRow, watched: Watched) -> None:
    async def later(self: Any, only: Any) -> Any:
        return only

    def now(self: Any, only: Any) -> Any:
        return only

    for method in (later, now):
        host = make_host(table, row, "sync", Behaviour(), **{row.method: method})
        with pytest.raises(TypeError) as before:
            getattr(host, row.method)(1, 2, nonsense=3)
        proxy = watched.trail.wrap(host)
        with pytest.raises(TypeError) as after:
            getattr(proxy, row.method)(1, 2, nonsense=3)
        assert str(after.value) == str(before.value)
        assert watched.trail.status().failures == {}


@each_row
async def test_inside_suppressed_it_is_as_if_not_wrapped(table: str, row: CallRow, watched: Watched) -> None:
    behaviour = behaviour_for(table)
    proxy = watched.trail.wrap(make_host(table, row, "async", behaviour))
    with suppressed():
        assert await getattr(proxy, row.method)(**sample(row)) is behaviour.result
    assert watched.trail.records == []
