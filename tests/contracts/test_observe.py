"""One function observed: whatever it hands out to be awaited behaves as it did, and what it leaves behind is nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import inspect
import pickle
import sys
import traceback
import types
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from audit_wrapper.observe import observed
from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}
OURS = "audit_wrapper"


class Told:
    """Hooks that keep what they are told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        self.events.append(("begin", args, kwargs))
        return len(self.events)

    def leave(self, frame: Any) -> None:
        self.events.append(("leave",))

    def resume(self, frame: Any) -> None:
        self.events.append(("resume",))

    def returned(self, frame: Any, result: Any) -> None:
        self.events.append(("returned", result))

    def raised(self, frame: Any, problem: BaseException) -> None:
        self.events.append(("raised", problem))

    @property
    def names(self) -> list[str]:
        return [event[0] for event in self.events]


class Failing(Told):
    """Hooks that raise wherever they are called, which those of this library must not; nor must it matter."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def __getattribute__(self, name: str) -> Any:
        if name in ("begin", "leave", "resume", "returned", "raised") and name == object.__getattribute__(
            self, "where"
        ):

            def fails(*args: Any) -> Any:
                raise ZeroDivisionError("a bug of ours")

            return fails
        return object.__getattribute__(self, name)


async def answer(value: Any = ORDER) -> Any:
    await asyncio.sleep(0)
    return value


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


# -- coroutines that are never awaited, closed, thrown into


def warnings_of(act: Callable[[], Any]) -> list[str]:
    """The warnings that an act gives, to the moment that all it left is collected."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *rest, **more: said.append(str(message))
        act()
        gc.collect()
    return said


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "coroutine function": answer,
    "function that hands out a coroutine": lambda: answer(),
}
FUNCTIONS["function that hands out a coroutine"].__qualname__ = "answer"


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_never_awaited_warns_as_before(function: Callable[..., Any]) -> None:
    def drop(f: Callable[..., Any]) -> None:
        f()

    expected = warnings_of(lambda: drop(function))
    assert expected == ["coroutine 'answer' was never awaited"]
    assert warnings_of(lambda: drop(observed(function, Told()))) == expected


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_closed_before_it_ran_warns_of_nothing(function: Callable[..., Any]) -> None:
    def close(f: Callable[..., Any]) -> None:
        f().close()

    assert warnings_of(lambda: close(function)) == []
    assert warnings_of(lambda: close(observed(function, Told()))) == []


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_task_cancelled_before_its_first_step_warns_of_nothing(function: Callable[..., Any]) -> None:
    """`wait_for` and `gather` do this to what has not begun yet."""

    async def bot(f: Callable[..., Any]) -> None:
        task = asyncio.ensure_future(f())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert warnings_of(lambda: asyncio.run(bot(function))) == []
    assert warnings_of(lambda: asyncio.run(bot(observed(function, Told())))) == []


def test_closed_midway_the_inner_one_is_closed() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except GeneratorExit:
            seen.append("closed")
            raise
        finally:
            seen.append("finally")

    told = Told()

    async def bot() -> None:
        coroutine = observed(waits, told)()
        coroutine.send(None)
        coroutine.close()

    asyncio.run(bot())
    assert seen == ["closed", "finally"]
    assert told.names == ["begin", "raised"]
    assert isinstance(told.events[1][1], GeneratorExit)


def test_thrown_into_the_inner_one_gets_it() -> None:
    problem = KeyError("thrown")

    async def catches() -> Any:
        try:
            await asyncio.Event().wait()
        except KeyError as caught:
            return caught

    async def bot() -> Any:
        coroutine = observed(catches, Told())()
        coroutine.send(None)
        try:
            coroutine.throw(problem)
        except StopIteration as stop:
            return stop.value

    assert asyncio.run(bot()) is problem


def test_a_coroutine_dropped_midway_does_not_disturb_the_one_that_runs(trail: MemoryTrail) -> None:
    """Garbage is collected inside whatever runs then; its call that is open must stay open."""

    class Manager:
        name = "binance"

        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            if symbol == "DROPPED":
                await asyncio.Event().wait()
            dropped.pop().close()  # another context's call ends here, in the midst of this one
            assert trail._recorder._frame.get() is not None, "the open call was forgotten"
            return ORDER

    dropped: list[Any] = []
    proxy = trail.wrap(Manager())

    async def bot() -> None:
        coroutine = proxy.create_market_order("DROPPED", "buy", 1)
        contextvars.copy_context().run(coroutine.send, None)
        dropped.append(coroutine)
        await proxy.create_market_order("MNTUSDT", "buy", 1)
        assert trail._recorder._frame.get() is None

    asyncio.run(bot())
    assert [r.kind for r in trail.records].count(RecordKind.INTENT) == 2
    assert trail.status().failures == {}


def test_the_names_of_coroutine_and_task_are_the_bots() -> None:
    async def bot() -> None:
        coroutine = observed(answer, Told())()
        assert coroutine.__qualname__ == answer.__qualname__
        assert inspect.iscoroutine(coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        assert inspect.isawaitable(coroutine)
        task = asyncio.ensure_future(coroutine)
        assert "answer" in repr(task)
        assert await task is ORDER

    asyncio.run(bot())


def test_awaited_twice_raises_as_before() -> None:
    async def bot(f: Callable[..., Any]) -> str:
        coroutine = f()
        await coroutine
        with pytest.raises(RuntimeError) as caught:
            await coroutine
        return str(caught.value)

    assert asyncio.run(bot(observed(answer, Told()))) == asyncio.run(bot(answer))


def test_a_return_value_that_looks_like_a_stop_passes() -> None:
    async def stops() -> Any:
        return StopIteration(5)

    result = asyncio.run(observed(stops, Told())())
    assert isinstance(result, StopIteration)


def test_a_stop_iteration_raised_inside_is_turned_as_before() -> None:
    async def stops() -> None:
        raise StopIteration(5)

    with pytest.raises(RuntimeError) as before:
        asyncio.run(stops())
    with pytest.raises(RuntimeError) as after:
        asyncio.run(observed(stops, Told())())
    assert str(after.value) == str(before.value)
    assert type(after.value.__cause__) is StopIteration


# -- other things to await


@types.coroutine
def by_generator(value: Any = ORDER) -> Generator[Any, Any, Any]:
    yield
    return value


class Awaitable:
    """Something with `__await__` only."""

    def __await__(self) -> Iterator[Any]:
        yield
        return ORDER


AWAITABLES: dict[str, Callable[[], Any]] = {
    "coroutine": answer,
    "generator": by_generator,
    "awaitable": Awaitable,
    "task": lambda: asyncio.ensure_future(answer()),
    "future": lambda: done_future(ORDER),
    "partial": functools.partial(answer, ORDER),
}


def done_future(value: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, value)
    return future


@pytest.mark.parametrize("make", AWAITABLES.values(), ids=AWAITABLES)
async def test_whatever_is_awaited_gives_the_same_object(make: Callable[[], Any]) -> None:
    told = Told()
    made = observed(lambda: make(), told)()
    assert await made is ORDER
    await asyncio.sleep(0)
    assert told.names[0] == "begin"
    assert told.names.count("returned") == 1
    assert told.names.count("raised") == 0


async def test_a_future_is_handed_out_as_it_is_and_judged_when_it_is_done() -> None:
    future = asyncio.get_running_loop().create_future()
    told = Told()
    assert observed(lambda: future, told)() is future
    assert told.names == ["begin", "leave"]
    future.set_result(ORDER)
    assert await future is ORDER
    await asyncio.sleep(0)
    assert told.events[-1] == ("returned", ORDER)


async def test_a_futures_outcome_is_told_before_the_bot_goes_on() -> None:
    """The outcome is written before the bot gets its answer, as far as the loop lets us."""
    future = asyncio.get_running_loop().create_future()
    told = Told()
    handed = observed(lambda: future, told)()
    asyncio.get_running_loop().call_soon(future.set_result, ORDER)
    await handed
    assert told.events[-1] == ("returned", ORDER)


async def test_a_future_that_is_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    told = Told()
    handed = observed(lambda: future, told)()
    handed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handed
    await asyncio.sleep(0)
    assert told.names[-1] == "raised"
    assert isinstance(told.events[-1][1], asyncio.CancelledError)


@pytest.mark.parametrize("kind", ["future", "task"])
def test_an_exception_that_nobody_fetches_is_complained_of_as_before(kind: str) -> None:
    async def fails() -> None:
        raise KeyError("nobody looks")

    def make() -> Any:
        if kind == "task":
            return asyncio.ensure_future(fails())
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KeyError("nobody looks"))
        return future

    def complaints(f: Callable[[], Any]) -> list[str]:
        said: list[str] = []

        async def bot() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["message"]))
            f()
            for _ in range(3):
                await asyncio.sleep(0)
            gc.collect()

        asyncio.run(bot())
        return said

    expected = complaints(make)
    assert len(expected) == 1
    assert complaints(observed(make, Told())) == expected


async def test_a_future_of_a_thread_is_handed_out_as_it_is() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: ORDER)
        assert observed(lambda: future, Told())() is future
        assert future.result() is ORDER


async def test_generators_are_handed_out_as_they_are() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    def numbers() -> Iterator[int]:
        yield 1

    told = Told()
    assert [n async for n in observed(stream, told)()] == [1, 2]
    assert inspect.isasyncgenfunction(observed(stream, told))
    assert list(observed(numbers, told)()) == [1]
    assert inspect.isgeneratorfunction(observed(numbers, told))


# -- what a function looks like, and how it is called


def test_arguments_named_as_our_own_pass() -> None:
    """A method may call its parameters what it likes."""

    def takes(self: Any = 0, wrapped: Any = 1, instance: Any = 2, args: Any = 3, kwargs: Any = 4) -> Any:
        return self, wrapped, instance, args, kwargs

    made = observed(takes, Told())
    assert made(wrapped="w", instance="i", args="a", kwargs="k") == (0, "w", "i", "a", "k")
    assert made(1, 2, 3, 4, 5) == (1, 2, 3, 4, 5)


def test_static_and_class_methods_of_an_instrumented_class() -> None:
    class Host:
        @staticmethod
        def alone(x: int) -> int:
            return x

        @classmethod
        def of_class(cls, x: int) -> Any:
            return cls, x

        def plain(self, x: int) -> Any:
            return self, x

    told = Told()
    for name in ("alone", "of_class", "plain"):
        setattr(Host, name, observed(vars(Host)[name], told))

    class Child(Host):
        def plain(self, x: int) -> Any:
            return super().plain(x)

    host, child = Host(), Child()
    assert Host.alone(1) == host.alone(1) == 1
    assert host.of_class(2) == (Host, 2)
    assert child.of_class(2) == (Child, 2)
    assert host.plain(3) == (host, 3)
    assert Host.plain(host, 3) == (host, 3)
    assert child.plain(4) == (child, 4)
    assert len(told.names) == 14


def module_function(x: int) -> int:
    return x


original_module_function = module_function


def test_a_decorated_function_of_a_module_pickles_by_its_name(
    trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As process pools want it."""
    decorated = trail.audited(purpose="exit")(original_module_function)
    module = types.ModuleType("a_bots_own_module")
    monkeypatch.setattr(original_module_function, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.module_function = decorated  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(decorated)) is decorated


def test_recursion_is_as_deep_as_needed(trail: MemoryTrail) -> None:
    def down(n: int) -> int:
        return 0 if n == 0 else made(n - 1) + 1

    made = observed(down, Told())
    assert made(50) == 50


@pytest.mark.parametrize("where", ["begin", "leave", "resume", "returned", "raised"])
@pytest.mark.parametrize("kind", ["coroutine function", "handing out", "future", "sync"])
async def test_hooks_that_fail_change_nothing(where: str, kind: str) -> None:
    """The last line of defence: whatever a hook of ours does, the call's outcome is its own."""
    problem = KeyError("the bot's own")

    async def works(fail: bool) -> Any:
        if fail:
            raise problem
        return ORDER

    def sync(fail: bool) -> Any:
        if fail:
            raise problem
        return ORDER

    functions = {
        "coroutine function": works,
        "handing out": lambda fail: works(fail),
        "future": lambda fail: asyncio.ensure_future(works(fail)),
        "sync": sync,
    }

    async def call(fail: bool) -> Any:
        outcome = observed(functions[kind], Failing(where))(fail)
        return await outcome if inspect.isawaitable(outcome) else outcome

    assert await call(False) is ORDER
    with pytest.raises(KeyError) as caught:
        await call(True)
    assert caught.value is problem
    assert problem.__context__ is None


async def test_a_traceback_shows_the_bots_frames() -> None:
    async def breaks() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError) as caught:
        await observed(breaks, Told())()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "breaks"
    assert frames[0].name == "test_a_traceback_shows_the_bots_frames"


# -- contexts


async def test_a_context_variable_set_inside_is_seen_outside_as_before(trail: MemoryTrail) -> None:
    """The host's own context variables are not ours to keep apart."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("hosts", default=0)

    async def sets() -> None:
        variable.set(variable.get() + 1)

    await observed(sets, Told())()
    assert variable.get() == 1
    observed(lambda: variable.set(5), Told())()
    assert variable.get() == 5


class Manager:
    """A manager without a client that starts something in the background."""

    name = "binance"

    def __init__(self) -> None:
        self.proxy: Any = self
        self.background: list[asyncio.Task[Any]] = []
        self.go = asyncio.Event()

    async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
        self.background.append(asyncio.create_task(self.later(symbol)))
        return ORDER

    async def later(self, symbol: str) -> Any:
        await self.go.wait()
        return await self.proxy.create_limit_order(symbol, "sell", 1, 2)

    async def create_limit_order(self, symbol: str, side: str, amount: float, price: float) -> Any:
        return ORDER


async def test_what_a_call_started_in_the_background_is_recorded_after_it_ended(trail: MemoryTrail) -> None:
    manager = Manager()
    manager.proxy = trail.wrap(manager)
    await manager.proxy.create_market_order("MNTUSDT", "buy", 1)
    manager.go.set()
    await asyncio.gather(*manager.background)
    methods = [r.call.method for r in trail.records if r.call is not None]
    assert methods == ["create_market_order"] * 2 + ["create_limit_order"] * 2
    assert trail._recorder.under_way == 0


async def test_a_call_made_from_a_callback_of_the_loop(trail: MemoryTrail) -> None:
    """A client's callback (a stop that fired, a timer) places an order, without a task around it."""

    class Sync:
        name = "binance"

        def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return ORDER

    proxy = trail.wrap(Sync())
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: done.set_result(proxy.create_market_order("MNTUSDT", "buy", 1)))
    assert await done is ORDER
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    assert trail._recorder._frame.get() is None


async def test_a_coroutine_made_here_and_awaited_in_another_task(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    coroutines = [proxy.create_limit_order(f"S{n}USDT", "sell", 1, 2) for n in range(3)]
    assert trail.records == [], "nothing was sent yet"
    with trail.position(id=5):
        await asyncio.gather(*(asyncio.create_task(c) for c in coroutines))
    assert len(trail.records) == 6
    assert {o.position_id for o in trail.orders} == {"5"}
    assert len({o.correlation_id for o in trail.orders}) == 3


async def test_tasks_do_not_see_each_others_calls(trail: MemoryTrail) -> None:
    inside = asyncio.Event()
    go = asyncio.Event()

    class Slow:
        name = "binance"

        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            inside.set()
            await go.wait()
            return ORDER

        async def create_limit_order(self, symbol: str, side: str, amount: float, price: float) -> Any:
            return ORDER

    proxy = trail.wrap(Slow())
    slow = asyncio.create_task(proxy.create_market_order("MNTUSDT", "buy", 1))
    await inside.wait()
    assert trail._recorder._frame.get() is None
    await proxy.create_limit_order("MNTUSDT", "buy", 1, 1)
    go.set()
    await slow
    stories = [r.operation.correlation_id for r in trail.records if r.operation is not None]
    assert len(set(stories)) == 2
    assert [r.call.method for r in trail.records if r.call] == [
        "create_market_order", "create_limit_order", "create_limit_order", "create_market_order",
    ]  # fmt: skip


def test_a_coroutine_that_was_handed_out_and_dropped_is_not_under_way_for_ever(trail: MemoryTrail) -> None:
    """Nothing is asked of an exchange while a call is open; one that nobody awaits must not stop that for good."""

    class HandsOut:
        name = "binance"

        async def later(self) -> Any:
            return ORDER

        def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return self.later()

    trail.wrap(HandsOut()).create_market_order("MNTUSDT", "buy", 1).close()
    gc.collect()
    assert trail._recorder.under_way == 0
