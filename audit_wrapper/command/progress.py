"""How far long work is: a bar on a terminal, a plain line from time to time elsewhere; always on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from audit_wrapper.command.voice import Voice

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_SAY_EVERY_S = 10.0


class Progress:
    """`with Progress(voice, "checking", total) as progress`, then `progress.reach(done)` as it goes.

    total: in whatever unit `reach` counts; 0: not known yet, `reach` may name it.
    """

    def __init__(self, voice: Voice, doing: str, total: int = 0) -> None:
        self._voice, self._doing, self._total = voice, doing, total
        self._began = time.monotonic()
        self._done = 0
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(file=sys.stderr), transient=True)
            self._bar.start()
            self._bar.add_task(self._doing, total=self._total or None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reach(self, done: int, total: int | None = None, doing: str | None = None) -> None:
        """So much is done. Another `doing` begins the counting anew."""
        if total is not None:
            self._total = total
        if doing is not None and doing != self._doing:
            self._doing, self._began = doing, time.monotonic()
        self._done = done
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=self._doing, completed=done, total=self._total or None)
        elif time.monotonic() - self._voice.said_at >= _SAY_EVERY_S:
            self._voice.say(self._line)

    @contextlib.asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Say how far it is also while `reach` is not called: one statement of the database may take long."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(max(_SAY_EVERY_S - (time.monotonic() - self._voice.said_at), _SAY_EVERY_S / 10))
                if time.monotonic() - self._voice.said_at >= _SAY_EVERY_S:
                    self._voice.say(self._line)

        beating = asyncio.create_task(beat()) if self._bar is None else None
        try:
            yield
        finally:
            if beating is not None:
                beating.cancel()

    @property
    def _line(self) -> str:
        if not self._total or not self._done:
            return f"{self._doing}: {self._done}" if self._done else self._doing
        share = min(1.0, self._done / self._total)
        left = (time.monotonic() - self._began) * (1 - share) / share
        return f"{self._doing}: {share:.0%}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """So many seconds, roughly, as people say it."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
