"""One function observed: called once, with the same arguments, and nothing of its outcome changed.

The observed function stays what it was to anyone who looks (wrapt's FunctionWrapper): signature, coroutine-ness, a mock's
assertions. Around the call stand two hooks, which cannot raise.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import types
from collections.abc import Callable
from typing import Any, Protocol

import wrapt

from audit_wrapper.errors import EntryRefused
from audit_wrapper.failures import trace_of
from audit_wrapper.logs import Log

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_Call = tuple[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]]  # what is called, on what, with what
_Rewrite = Callable[[Any, tuple[Any, ...], dict[str, Any]], _Arguments | None]

logger = Log("audit_wrapper")


class Hooks(Protocol):
    """What is told about a call. None of these raises. What `begin` returns comes back in the others as `frame`.

    More is looked for: `durable`; `left(frame)`, told when that has been waited for and the call is made; and
    `rewritten(frame, args, kwargs)`, the arguments that the call is made with instead (None: its own), which only a setting
    puts there.
    """

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call begins."""
        ...

    def leave(self, frame: Any) -> None:
        """The call handed out something to await; until that runs the context is not the call's."""
        ...

    def resume(self, frame: Any) -> None:
        """It runs now."""
        ...

    def returned(self, frame: Any, result: Any) -> None:
        """The call's result."""
        ...

    def raised(self, frame: Any, problem: BaseException) -> None:
        """The call's exception; a cancellation is one."""
        ...


class Durable(Protocol):
    """Sees to it that what the hooks have written is kept, whatever that takes. None of these raises."""

    def now(self) -> None:
        """Wait for it."""
        ...

    async def soon(self) -> None:
        """Wait for it without holding up the loop."""
        ...

    def behind(self) -> None:
        """Do not wait for it."""
        ...


class _ObservedMethod(wrapt.BoundFunctionWrapper[Any, Any]):
    """An observed method of an instance, where its class is observed. Copies and pickles are of the method alone."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


class Observed(wrapt.FunctionWrapper[Any, Any]):
    """An observed function. A deep copy is of the function alone: a copied client must not speak for the first."""

    __bound_function_wrapper__ = _ObservedMethod

    def __init__(self, function: Callable[..., Any], hooks: Hooks, replaced: Any = None) -> None:
        super().__init__(function, _caller(function, hooks, switch := [True]))
        self._self_switch = switch
        self._self_replaced = replaced

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if isinstance(self.__wrapped__, types.FunctionType):
            return self.__wrapped__.__qualname__  # as functions are pickled: by their name
        return self.__wrapped__.__reduce_ex__(protocol)

    def let_go(self) -> None:
        """Only call through from now on, wherever someone still holds it."""
        self._self_switch[0] = False

    @property
    def _self_is_live(self) -> bool:
        return bool(self._self_switch[0])


def replaced_by(candidate: Any) -> Any:
    """What stood in the place of an observed function that was let go; of anything else, itself."""
    while type(candidate) is Observed and not candidate._self_is_live:
        candidate = candidate._self_replaced
    return candidate


def observed(function: Callable[..., Any], hooks: Hooks, replaced: Any = None) -> Observed:
    """The function, observed. replaced: what is to stand in its place again once it is let go."""
    return Observed(function, hooks, replaced)


def _caller(function: Callable[..., Any], hooks: Hooks, switch: list[bool]) -> Callable[..., Any]:
    # All that is the same at every call is looked up here, once.
    durable: Durable | None = getattr(hooks, "durable", None)
    left: Callable[[Any], None] | None = getattr(hooks, "left", None) if durable is not None else None
    rewritten: _Rewrite | None = getattr(hooks, "rewritten", None)
    is_coroutine_function = inspect.iscoroutinefunction(function) or asyncio.iscoroutinefunction(function)
    begin, leave, resume, returned, raised = hooks.begin, hooks.leave, hooks.resume, hooks.returned, hooks.raised

    async def watch(inner: _Inner, call: _Call | None, frame: Any) -> Any:
        """call: one that begins only now; None: it has begun already, with `frame`."""
        if call is None:
            _told(resume, frame)
        else:
            try:
                frame = begin(call[1], call[2], call[3])
            except EntryRefused:  # asked for by a setting: the call is not to be made
                inner.abandon()
                raise
            except Exception as problem:
                _not_observed(problem)
        if durable is not None:
            try:
                await durable.soon()
            except BaseException:  # canceled before anything was sent
                inner.abandon()
                _told(raised, frame, NeverRan("it was canceled before it was sent"))
                raise
            if left is not None:
                _told(left, frame)
        try:
            if rewritten is not None and call is not None:
                inner = _remade(inner, call[0], _instead(rewritten, frame, call[2], call[3]))
            coroutine = inner[0]
            inner.clear()
            result = await coroutine
        except BaseException as problem:
            _told(raised, frame, problem)
            raise
        else:
            try:
                returned(frame, result)
            except Exception as problem:
                _not_told(problem)
            return result
        finally:
            if durable is not None:
                durable.behind()

    # a task's repr and "was never awaited" name the bot's method, not ours
    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        watch.__qualname__ = name

    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not switch[0]:
            return wrapped(*args, **kwargs)
        if is_coroutine_function:
            # made here, so that a wrong argument raises at the call, as it did before
            return watch(_Inner((wrapped(*args, **kwargs),)), (wrapped, instance, args, kwargs), None)
        frame = None
        try:
            frame = begin(instance, args, kwargs)
        except EntryRefused:  # as in watch
            raise
        except Exception as problem:
            _not_observed(problem)
        if durable is not None:
            durable.now()
            if left is not None:
                _told(left, frame)
        try:
            if rewritten is not None:
                args, kwargs = _instead(rewritten, frame, args, kwargs) or (args, kwargs)
            result = wrapped(*args, **kwargs)
        except BaseException as problem:
            _told(raised, frame, problem)
            if durable is not None:
                durable.now()
            raise
        if isinstance(result, types.CoroutineType):
            _told(leave, frame)
            never_ran = lambda: _told(raised, frame, NeverRan("its coroutine was never awaited"))  # noqa: E731
            return watch(_Inner((result, never_ran)), None, frame)
        if isinstance(result, asyncio.Future):
            _told(leave, frame)
            if result.done():
                _settle(result, hooks, frame)
            else:
                result.add_done_callback(lambda done: _settle(done, hooks, frame))
            return result
        try:
            returned(frame, result)
        except Exception as problem:
            _not_told(problem)
        if durable is not None:
            durable.now()
        return result

    return call


class NeverRan(Exception):
    """What hooks are told of a call that came to nothing before the bot's own function ran; nobody else sees it."""


class _Inner(list[Any]):
    """The bot's own coroutine, until it is taken out to be run; behind it, what is to be told if it never is.

    Dropped before it ran it is closed, so that only the outer one "was never awaited". A list, since that is made, and
    emptied, without a call of Python's, and every call of the bot's makes five.
    """

    __slots__ = ()

    def abandon(self) -> None:
        """It is not to run, and whoever asked for that tells it himself."""
        coroutine = self[0]
        self.clear()
        coroutine.close()

    def __del__(self) -> None:
        if self:
            self[0].close()
            for dropped in self[1:]:
                dropped()


def _instead(rewritten: _Rewrite, frame: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments | None:
    if frame is None:
        return None
    try:
        return rewritten(frame, args, kwargs)
    except Exception as problem:  # as in _not_observed
        logger.error(
            "audit trail: the arguments of a call could not be rewritten; it goes on with its own",
            trace=trace_of(problem),
            event="arguments_not_rewritten",
        )
        return None


def _remade(inner: _Inner, wrapped: Callable[..., Any], instead: _Arguments | None) -> _Inner:
    if instead is None:
        return inner
    args, kwargs = instead
    other = _Inner((wrapped(*args, **kwargs),))
    inner.abandon()
    return other


def _settle(done: asyncio.Future[Any], hooks: Hooks, frame: Any) -> None:
    if done.cancelled():
        _told(hooks.raised, frame, asyncio.CancelledError())
    elif (problem := getattr(done, "_exception", None)) is not None:
        # not `exception()`: asking counts as having taken note of it, and the bot has not
        _told(hooks.raised, frame, problem)
    else:
        _told(hooks.returned, frame, done.result())


# The last line of defence, inside a trade: hooks count their failures themselves, and do not raise.


def _not_observed(problem: Exception) -> None:
    logger.error(
        "audit trail: a call could not be observed; it goes on",
        trace=trace_of(problem),
        event="call_not_observed",
    )


def _told(hook: Callable[..., None], *news: Any) -> None:
    try:
        hook(*news)
    except Exception as problem:
        _not_told(problem)


def _not_told(problem: Exception) -> None:
    logger.error(
        "audit trail: the outcome of a call could not be observed; the call goes on",
        trace=trace_of(problem),
        event="outcome_not_observed",
    )
