"""Named points at which a bot's process dies. Installed inside the process that is to die; the product knows nothing of it.

Each point is a place in the way of a record. `arm(name, nth)` makes the process kill itself, as by SIGKILL, when it comes
to that place for the nth time.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.transaction import Transaction

from audit_wrapper import delivery, outbox
from audit_wrapper.journal import opening, state, upkeep, writer
from audit_wrapper.journal.segment import LiveSegment
from audit_wrapper.records import Record, RecordKind

_POINTS: dict[str, Callable[[Callable[[], None]], None]] = {}


def names() -> list[str]:
    """All of them."""
    return list(_POINTS)


def arm(name: str, nth: int) -> None:
    """Die when `name` is come to for the `nth` time (1: the first)."""
    countdown = itertools.count(nth, -1)

    def passed() -> None:
        if next(countdown) <= 1:
            os.kill(os.getpid(), signal.SIGKILL)

    _POINTS[name](passed)


def _point(name: str) -> Callable[[Callable[[Callable[[], None]], None]], None]:
    def register(install: Callable[[Callable[[], None]], None]) -> None:
        _POINTS[name] = install

    return register


def _around(
    owner: Any, name: str, *, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None
) -> None:
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        result = original(*args, **kwargs)
        if after is not None:
            after(*args)
        return result

    setattr(owner, name, wrapper)


def _puts(passed: Callable[[], None], *, intent: bool, after: bool) -> None:
    def look(_: Any, record: Record) -> None:
        if (record.kind is RecordKind.INTENT) is intent:
            passed()

    _around(outbox.Outbox, "put", **{"after" if after else "before": look})


_point("before the intent is written")(lambda passed: _puts(passed, intent=True, after=False))
_point("after the intent is written")(lambda passed: _puts(passed, intent=True, after=True))
_point("before the outcome is written")(lambda passed: _puts(passed, intent=False, after=False))
_point("after the outcome is written")(lambda passed: _puts(passed, intent=False, after=True))


class _HalfWriting:
    """Stands in for the module `os` in the writer: the nth line is written in part."""

    def __init__(self, passed: Callable[[], None], share: float) -> None:
        self._passed, self._share = passed, share

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, text: bytes) -> int:
        size = os.fstat(descriptor).st_size
        os.write(descriptor, text[: int(len(text) * self._share)])
        self._passed()
        os.ftruncate(descriptor, size)
        return os.write(descriptor, text)


for share in (0.0, 0.01, 0.5, 0.999):
    _point(f"with {share:.1%} of a line written")(
        lambda passed, share=share: setattr(writer, "os", _HalfWriting(passed, share))  # type: ignore[misc]
    )


@_point("before a new segment is begun")
def _(passed: Callable[[], None]) -> None:
    _around(LiveSegment, "create", before=lambda *_: passed())


@_point("after a new segment was begun")
def _(passed: Callable[[], None]) -> None:
    _around(LiveSegment, "create", after=lambda *_: passed())


def _renames(passed: Callable[[], None], ending: str, *, after: bool) -> None:
    def look(path: Path, *_: Any) -> None:
        if path.name.endswith(ending):
            passed()

    _around(Path, "replace", **{"after" if after else "before": look})


_point("before a segment gets its name")(lambda passed: _renames(passed, ".journal.new", after=False))
_point("after a segment got its name")(lambda passed: _renames(passed, ".journal.new", after=True))
_point("before the side file gets its name")(lambda passed: _renames(passed, ".json.new", after=False))
_point("after the side file got its name")(lambda passed: _renames(passed, ".json.new", after=True))


@_point("before a delivered segment is deleted")
def _(passed: Callable[[], None]) -> None:
    _around(upkeep.Upkeep, "_say_deleted", before=lambda *_: passed())


@_point("when a delivered segment is said to be deleted")
def _(passed: Callable[[], None]) -> None:
    _around(upkeep.Upkeep, "_say_deleted", after=lambda *_: passed())


@_point("when a delivered segment was deleted")
def _(passed: Callable[[], None]) -> None:
    def look(path: Path, *_: Any) -> None:
        if path.name.endswith(".journal"):
            passed()

    _around(Path, "unlink", after=look)


@_point("while the journal is opened, its end not yet known")
def _(passed: Callable[[], None]) -> None:
    _around(opening, "_end", before=lambda *_: passed())


@_point("while the journal is opened, its end known")
def _(passed: Callable[[], None]) -> None:
    _around(opening, "_end", after=lambda *_: passed())


@_point("in the middle of the side file")
def _(passed: Callable[[], None]) -> None:
    _around(state.layout, "force", before=lambda *_: passed())


def _statements(passed: Callable[[], None], *, after: bool) -> None:
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        original = getattr(asyncpg.Connection, name)

        async def wrapper(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            if not after:
                passed()
            result = await _original(*args, **kwargs)
            if after:
                passed()
            return result

        setattr(asyncpg.Connection, name, wrapper)


_point("before a statement")(lambda passed: _statements(passed, after=False))
_point("after a statement")(lambda passed: _statements(passed, after=True))


def _commits(passed: Callable[[], None], *, after: bool) -> None:
    original = Transaction.__aexit__

    async def wrapper(self: Any, kind: Any, problem: Any, trace: Any) -> Any:
        if not after:
            passed()
        result = await original(self, kind, problem, trace)
        if after:
            passed()
        return result

    Transaction.__aexit__ = wrapper


_point("before a commit")(lambda passed: _commits(passed, after=False))
_point("after a commit")(lambda passed: _commits(passed, after=True))


@_point("after a batch was delivered, before that is noted")
def _(passed: Callable[[], None]) -> None:
    _around(delivery.Delivery, "_advance", before=lambda *_: passed())


@_point("after the delivery of a batch was noted")
def _(passed: Callable[[], None]) -> None:
    _around(delivery.Delivery, "_advance", after=lambda *_: passed())
