"""One function observed: called once, with the same arguments, and nothing of its outcome changed.

The observed function stays what it was to anyone who looks (wrapt's FunctionWrapper): signature, coroutine-ness, a mock's
assertions. Around the call stand two hooks, which cannot raise.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import wrapt


class Hooks(Protocol):
    """What is told about a call. None of these raises. What `begin` returns comes back in the others as `frame`."""

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


class Observed(wrapt.FunctionWrapper[Any, Any]):
    """An observed function. A deep copy is of the function alone: a copied client must not speak for the first."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


def observed(function: Callable[..., Any], hooks: Hooks) -> Any:
    """The function, observed."""
    is_coroutine_function = inspect.iscoroutinefunction(function) or asyncio.iscoroutinefunction(function)

    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_coroutine_function:
            # made here, so that a wrong argument raises at the call, as it did before
            return _named(_drive(wrapped(*args, **kwargs), hooks, instance, args, kwargs), wrapped)
        frame = hooks.begin(instance, args, kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as problem:
            hooks.raised(frame, problem)
            raise
        if inspect.iscoroutine(result):
            hooks.leave(frame)
            return _named(_finish(result, hooks, frame), wrapped)
        if isinstance(result, asyncio.Future):
            hooks.leave(frame)
            result.add_done_callback(lambda done: _settle(done, hooks, frame))
            return result
        hooks.returned(frame, result)
        return result

    return Observed(function, call)


async def _drive(
    inner: Coroutine[Any, Any, Any], hooks: Hooks, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    frame = hooks.begin(instance, args, kwargs)
    try:
        result = await inner
    except BaseException as problem:
        hooks.raised(frame, problem)
        raise
    hooks.returned(frame, result)
    return result


async def _finish(inner: Coroutine[Any, Any, Any], hooks: Hooks, frame: Any) -> Any:
    hooks.resume(frame)
    try:
        result = await inner
    except BaseException as problem:
        hooks.raised(frame, problem)
        raise
    hooks.returned(frame, result)
    return result


def _settle(done: asyncio.Future[Any], hooks: Hooks, frame: Any) -> None:
    if done.cancelled():
        hooks.raised(frame, asyncio.CancelledError())
    elif (problem := done.exception()) is not None:
        hooks.raised(frame, problem)
    else:
        hooks.returned(frame, done.result())


def _named(coroutine: Coroutine[Any, Any, Any], wrapped: Any) -> Coroutine[Any, Any, Any]:
    # a task's repr and "was never awaited" name the bot's method, not ours
    name = getattr(wrapped, "__qualname__", None)
    if isinstance(name, str):
        coroutine.__qualname__ = name  # type: ignore[attr-defined]  # typeshed's Coroutine has it not; coroutines do
    return coroutine
