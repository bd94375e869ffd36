"""Nothing of ours raises into a call: the bot's outcome is the same, the failure is counted and logged once."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from named import named
from pytest_mock import MockerFixture

from audit_wrapper import codec
from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}


class Manager:
    """A manager without a client."""

    name = "binance"

    def __init__(self, result: Any = ORDER, problem: BaseException | None = None) -> None:
        self.result, self.problem = result, problem
        self.calls: list[tuple[Any, ...]] = []

    async def create_market_order(self, symbol: Any, side: Any, amount: Any, params: Any = None) -> Any:
        self.calls.append((symbol, side, amount, params))
        if self.problem is not None:
            raise self.problem
        return self.result

    async def cancel_order(self, order_id: str, symbol: str) -> Any:
        self.calls.append((order_id, symbol))
        return self.result


class Repository:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def create_position(self, position_data: Any) -> int:
        self.calls.append(position_data)
        return 1

    async def update_position(self, position_id: Any, updates: Any = None, **fields: Any) -> bool:
        self.calls.append((position_id, updates, fields))
        return True


class Hostile:
    """Whatever is asked of it raises."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__reduce_ex__"):
            return object.__getattribute__(self, name)
        raise RuntimeError("do not look at me")

    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __format__ = __str__  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("no bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class HostileMapping(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no iter")

    def __len__(self) -> int:
        raise RuntimeError("no len")

    def __str__(self) -> str:
        raise RuntimeError("no str")


class HostileError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class HostileString(str):
    """A str whose methods raise."""

    def lower(self) -> str:
        raise RuntimeError("no lower")

    def strip(self, *args: Any) -> str:
        raise RuntimeError("no strip")


def cycle() -> dict[str, Any]:
    made: dict[str, Any] = {"id": "1"}
    made["self"] = made
    made["list"] = [made]
    return made


def deep() -> Any:
    made: Any = 1
    for _ in range(100_000):
        made = [made]
    return made


class Slotted:
    """An order-like object with slots, one of which raises."""

    __slots__ = ("id", "status")

    def __init__(self) -> None:
        self.id = "1"

    @property
    def symbol(self) -> str:
        raise RuntimeError("no symbol")


class Number:
    """As numpy's scalars are."""

    __module__ = "numpy"

    def item(self) -> float:
        raise RuntimeError("no item")


HOSTILE: dict[str, Any] = {
    "hostile": Hostile,
    "hostile mapping": HostileMapping,
    "hostile in a dict": lambda: {"a": Hostile(), "b": [Hostile()]},
    "hostile key": lambda: {(1, 2): 3, None: 4, 5: 6, b"x": 7},
    "cycle": cycle,
    "deep": deep,
    "10 MB": lambda: "x" * 10_000_000,
    "lone surrogate": lambda: "MNT\ud800/USDT",
    "lone surrogate inside": lambda: {"\udfff": "\ud800", "id": "\udc00"},
    "nan": lambda: float("nan"),
    "infinite": lambda: {"a": float("inf"), "d": Decimal("NaN"), "s": Decimal("sNaN")},
    "huge": lambda: 10**5000,
    "negative huge": lambda: -(2**70),
    "numpy-like": Number,
    "slots": Slotted,
    "bytes": lambda: b"\xff\x00",
    "set": lambda: {1, "a", (2,)},
    "generator": lambda: (x for x in [1]),
    "mock": MagicMock,
    "module": lambda: logging,
    "type": lambda: int,
    "lock": threading.Lock,
    "namespace": lambda: SimpleNamespace(id=Hostile(), status="open"),
    "exception": HostileError,
    "string of a bad class": lambda: HostileString("buy"),
}
hostile = pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What this library logged as an error."""
    return [r.getMessage() for r in caplog.records if r.name == "audit_wrapper" and r.levelno >= logging.ERROR]


# -- the journal


@pytest.mark.parametrize(
    "problem", [JournalUnavailable("disk full"), OSError("disk full"), RuntimeError("a bug"), MemoryError()]
)
async def test_a_journal_that_cannot_be_written_holds_up_nothing(
    trail: MemoryTrail, mocker: MockerFixture, caplog: pytest.LogCaptureFixture, problem: Exception
) -> None:
    append = mocker.patch.object(trail._memory_journal, "append", side_effect=problem)
    manager = Manager()
    proxy = trail.wrap(manager)
    for n in range(3):
        assert await proxy.create_market_order("MNTUSDT", "buy", n) is ORDER
    assert len(manager.calls) == 3
    assert append.called
    failures = trail.status().failures
    assert sum(failures.values()) >= 3
    assert len(ours(caplog)) == len(failures)
    assert type(problem).__name__ in (trail.status().last_error or "")
    assert trail._recorder._frame.get() is None, "a call that could not be recorded is still open"
    assert trail._recorder.under_way == 0

    mocker.stopall()
    assert await proxy.create_market_order("MNTUSDT", "buy", 4) is ORDER
    assert trail.status().waiting == 0
    kinds = [r.kind for r in trail.records]
    assert kinds == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED] * 4, "records were lost"
    assert len({r.operation.correlation_id for r in trail.records if r.operation is not None}) == 4


@pytest.mark.parametrize("problem", [JournalUnavailable("disk full"), RuntimeError("a bug")])
async def test_the_bots_own_exception_wins_over_a_failing_journal(
    trail: MemoryTrail, mocker: MockerFixture, problem: Exception
) -> None:
    mocker.patch.object(trail._memory_journal, "append", side_effect=problem)
    raised = ValueError("the bot's own")
    with pytest.raises(ValueError, match="the bot's own") as caught:
        await trail.wrap(Manager(problem=raised)).create_market_order("MNTUSDT", "buy", 1)
    assert caught.value is raised
    assert raised.__context__ is None
    assert raised.__cause__ is None


def test_records_that_waited_are_written_once_and_in_order_by_many_threads(trail: MemoryTrail) -> None:
    """Two threads that find the journal well again must not both write the first record and drop the second."""
    journal = trail._memory_journal
    journal.fail("disk full")
    manager = SyncManager()
    proxy = trail.wrap(manager)
    for n in range(4):
        proxy.create_market_order(f"A{n}USDT", "buy", 1)
    assert trail.status().waiting == 8
    journal.fail(None)

    append, both = journal.append, threading.Barrier(2)

    def slow(payload: bytes, **how: bool) -> int:
        seq = append(payload, **how)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.2)  # the other thread is in here as well, if nothing keeps it out
        return seq

    journal.append = slow  # type: ignore[method-assign]
    threads = [threading.Thread(target=proxy.create_market_order, args=(f"B{n}USDT", "buy", 1)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [r.record_id for r in trail.records]
    assert len(written) == len(set(written)), "a record was written twice"
    assert len(written) == 12, "a record was lost"
    old = [r.call.arguments["symbol"] for r in trail.records[:8] if r.call is not None]
    assert old == [f"A{n}USDT" for n in range(4) for _ in range(2)]


class SyncManager:
    name = "binance"

    def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
        return ORDER


# -- our own parts


# names that the parts which run inside a call use, wherever they are imported
OWN_PARTS = [
    "snapshot", "named", "judge", "failure_of", "uuid7", "adapter_for", "asked", "verdict", "decimal_of", "now", "compact",
    "Record", "Call", "PositionLink", "Frame", "Story", "codec.encode", "calls.arguments", "scopes.position_for",
    "scopes.is_suppressed", "HostSubject.market", "PositionsSeen.remember", "Recorder._enter", "Recorder._intent",
    "Recorder._outcome",
]  # fmt: skip
_INSIDE = (
    "recorder",
    "scribe",
    "outbox",
    "callframe",
    "proxies",
    "clients",
    "scopes",
    "snapshot",
    "observe",
    "verdict",
)


def break_part(mocker: MockerFixture, part: str) -> None:
    """Make a part of ours raise wherever it is used inside a call."""
    head, _, tail = part.partition(".")
    found = False
    for name in _INSIDE:
        if importlib.util.find_spec(f"audit_wrapper.{name}") is None:
            continue
        module = importlib.import_module(f"audit_wrapper.{name}")
        if hasattr(module, head) and (not tail or hasattr(getattr(module, head), tail)):
            found = True
            mocker.patch(f"audit_wrapper.{name}.{part}", side_effect=ZeroDivisionError("a bug of ours"))
            if tail:
                break
    assert found, f"nothing of this name any more: {part}; name what took its place"


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("part", OWN_PARTS)
async def test_a_bug_in_a_part_of_ours_holds_up_nothing(
    trail: MemoryTrail, mocker: MockerFixture, caplog: pytest.LogCaptureFixture, part: str, fails: bool
) -> None:
    raised = ValueError("the bot's own")
    manager, repository = Manager(problem=raised if fails else None), Repository()
    proxy, rows = trail.wrap(manager), trail.wrap(repository)
    break_part(mocker, part)
    for _ in range(2):
        if fails:
            with pytest.raises(ValueError, match="the bot's own") as caught:
                await proxy.create_market_order("MNTUSDT", "buy", 1)
            assert caught.value is raised
            assert raised.__context__ is None
        else:
            assert await proxy.create_market_order("MNTUSDT", "buy", 1) is ORDER
            assert await proxy.cancel_order("1", "MNTUSDT") is ORDER
        assert await rows.create_position({"symbol": "MNTUSDT", "entry_price": 1}) == 1
        assert await rows.update_position(1, exchange_order_id="5", status="closed") is True
    mocker.stopall()
    failures = trail.status().failures
    assert len(ours(caplog)) == len(failures)
    assert trail._recorder._frame.get() is None, "a call that could not be recorded is still open"
    assert trail._recorder.under_way == 0, "a call that could not be recorded is still under way"

    # it recovers: the next call is a story of its own
    manager.problem = None
    looked_at = len(trail.records)
    await proxy.create_market_order("MNTUSDT", "buy", 1)
    assert [r.kind for r in trail.records[looked_at:]] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]


async def test_a_bug_in_a_part_of_ours_is_counted(
    trail: MemoryTrail, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = trail.wrap(Manager())
    mocker.patch("audit_wrapper.recorder.named", side_effect=ZeroDivisionError("a bug of ours"))
    for _ in range(5):
        await proxy.create_market_order("MNTUSDT", "buy", 1)
    assert trail.status().failures == {"recording a call": 5}
    (said,) = ours(caplog)
    assert "a bug of ours" in said
    assert "trading goes on" in said


class Raising:
    """An instance of it cannot be looked into."""

    name = "binance"

    @property
    def exchange(self) -> Any:
        raise RuntimeError("not connected yet")

    async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
        return ORDER


class SlottedClient:
    __slots__ = ()
    id = "binance"

    async def create_order(self, *args: Any) -> Any:
        return ORDER

    async def cancel_order(self, *args: Any) -> Any:
        return ORDER


class WithSlottedClient:
    name = "binance"

    def __init__(self) -> None:
        self.exchange = SlottedClient()

    async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
        return await self.exchange.create_order(symbol)


class HostileManagers:
    """Its dict of managers cannot be walked."""

    exchange_manager = property(lambda self: 1 / 0)

    async def open_position_atomic(self, **given: Any) -> Any:
        return ORDER


@pytest.mark.parametrize("cls", [Raising, WithSlottedClient])
async def test_an_instance_that_cannot_be_looked_into_trades_on(
    trail: MemoryTrail, caplog: pytest.LogCaptureFixture, cls: type
) -> None:
    """Classes are instrumented before anyone knows their instances: what is wrong with one shows inside a trade."""
    trail.instrument(cls)
    for _ in range(2):
        assert await cls().create_market_order("MNTUSDT", "buy", 1) is ORDER
    assert trail.status().failures
    assert len(ours(caplog)) == len(trail.status().failures)
    assert RecordKind.ACKNOWLEDGED in [r.kind for r in trail.records]


async def test_an_atomic_manager_that_cannot_be_looked_into_trades_on(trail: MemoryTrail) -> None:
    trail.instrument(HostileManagers)
    assert await HostileManagers().open_position_atomic(symbol="MNTUSDT") is ORDER


# -- what the bot hands around


@hostile
async def test_hostile_arguments_pass_and_the_order_is_recorded(trail: MemoryTrail, make: Any) -> None:
    thing = make()
    manager = Manager()
    assert await trail.wrap(manager).create_market_order("MNTUSDT", "buy", 1, thing) is ORDER
    assert manager.calls[0][3] is thing
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    assert trail.status().failures == {}
    assert [o.order_id for o in trail.orders] == ["1"]
    assert max(len(codec.encode(r)) for r in trail.records) < 1_000_000


@hostile
@pytest.mark.parametrize("where", [0, 1, 2], ids=["symbol", "side", "amount"])
async def test_hostile_arguments_in_any_place(trail: MemoryTrail, make: Any, where: int) -> None:
    given: list[Any] = ["MNTUSDT", "buy", 1]
    given[where] = make()
    manager = Manager()
    assert await trail.wrap(manager).create_market_order(*given) is ORDER
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    assert trail.status().failures == {}
    assert len(trail.orders) == 1


@hostile
async def test_hostile_results_are_handed_on(trail: MemoryTrail, make: Any) -> None:
    thing = make()
    assert await trail.wrap(Manager(thing)).create_market_order("MNTUSDT", "buy", 1) is thing
    assert [r.kind for r in trail.records][:1] == [RecordKind.INTENT]
    assert len(trail.records) == 2
    assert trail.status().failures == {}
    assert len(trail.orders) == 1
    assert trail.orders[0].filled is None
    assert max(len(codec.encode(r)) for r in trail.records) < 1_000_000


@pytest.mark.parametrize(
    "problem",
    [
        HostileError(),
        ValueError("\ud800 lone"),
        ValueError("x" * 10_000_000),
        ValueError(Hostile()),
        KeyError(),
        OSError(5, "io"),
    ],
    ids=["no words", "lone surrogate", "10 MB", "hostile argument", "empty", "os"],
)
async def test_hostile_exceptions_are_handed_on(trail: MemoryTrail, problem: Exception) -> None:
    with pytest.raises(type(problem)) as caught:
        await trail.wrap(Manager(problem=problem)).create_market_order("MNTUSDT", "buy", 1)
    assert caught.value is problem
    assert problem.__context__ is None
    assert len(trail.records) == 2
    assert trail.status().failures == {}
    assert max(len(codec.encode(r)) for r in trail.records) < 1_000_000


@hostile
async def test_hostile_rows_are_handed_on(trail: MemoryTrail, make: Any) -> None:
    repository = Repository()
    proxy = trail.wrap(repository)
    thing = make()
    assert await proxy.create_position(thing) == 1
    assert repository.calls[-1] is thing
    for field in ("symbol", "side", "exchange", "signal_id", "entry_price", "stop_loss_price"):
        assert await proxy.create_position({"symbol": "MNTUSDT", field: thing}) == 1
    for field in ("exchange_order_id", "status"):
        assert await proxy.update_position(1, {field: thing}) is True
        assert await proxy.update_position(1, **{field: thing}) is True
    assert await proxy.update_position(thing, {"status": "closed"}) is True
    trail.orders  # noqa: B018 - what was recorded can be read


# -- results that are no orders


@pytest.mark.parametrize(
    "result",
    [
        None,
        5,
        0,
        3.5,
        "",
        "ok",
        True,
        False,
        [],
        [None, 5, "junk"],
        [{}, {"id": None}],
        {},
        {"nonsense": 1},
        (),
        object(),
        b"x",
    ],
    ids=named,
)
async def test_a_nonsense_result_invents_no_numbers(trail: MemoryTrail, result: Any) -> None:
    assert await trail.wrap(Manager(result)).create_market_order("MNTUSDT", "buy", 12.5) is result
    (row,) = trail.orders
    check_nothing_invented(row)
    assert trail.trades == []
    assert trail.fills == []


@pytest.mark.parametrize(
    "result", [None, 5, 0, 3.5, "", "ok", False, object(), (), [], [None, 5, "junk"], {}, {"nonsense": 1}], ids=named
)
async def test_a_nonsense_result_leaves_the_outcome_unknown(trail: MemoryTrail, result: Any) -> None:
    await trail.wrap(Manager(result)).create_market_order("MNTUSDT", "buy", 12.5)
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN]
    assert trail.orders[0].status == "UNKNOWN"
    assert trail.records[1].reason


def check_nothing_invented(row: Any) -> None:
    assert row.size == Decimal("12.5")  # as it was asked for
    assert row.symbol == "MNTUSDT"
    for name in (
        "order_id",
        "client_order_id",
        "price",
        "filled",
        "fee",
        "fee_currency",
        "average_price",
        "limit_price",
    ):
        assert row[name] is None, name
    assert row.remaining in (None, Decimal("12.5"))


@pytest.mark.parametrize("kind", ["MagicMock", "AsyncMock"])
async def test_an_unconfigured_mock_as_manager(trail: MemoryTrail, mocker: MockerFixture, kind: str) -> None:
    manager = getattr(mocker, kind)()
    manager.name = "binance"
    proxy = trail.wrap({"binance": manager})["binance"]
    result = proxy.create_market_order("MNTUSDT", "buy", 12.5)
    if kind == "AsyncMock":
        result = await result
    assert result is manager.create_market_order.return_value
    manager.create_market_order.assert_called_once_with("MNTUSDT", "buy", 12.5)
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN]
    check_nothing_invented(trail.orders[0])


async def test_a_mock_as_order(trail: MemoryTrail) -> None:
    result = MagicMock(id="77", status=MagicMock(), filled=MagicMock(), amount=MagicMock(), price=MagicMock())
    assert await trail.wrap(Manager(result)).create_market_order("MNTUSDT", "buy", 12.5) is result
    (row,) = trail.orders
    assert row.order_id == "77"
    assert (row.filled, row.price, row.fee) == (None, None, None)


async def test_ten_stand_in_calls_at_once_are_ten_stories(trail: MemoryTrail) -> None:
    proxy = trail.wrap(Manager())
    await asyncio.gather(*(proxy.create_market_order(f"S{n}USDT", "buy", 1) for n in range(10)))
    stories = {r.operation.correlation_id for r in trail.records if r.operation is not None}
    assert len(stories) == 10
    assert len(trail.records) == 20
