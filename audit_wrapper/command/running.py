"""A command's coroutine, which SIGTERM ends as Ctrl-C does: the embedded server, if there is one, is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from audit_wrapper.command.ending import BrokenOff

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T], broken_off: str | None = None) -> _T:
    """Run it to its end. Raises what it raises.

    broken_off: the sentence for where it was not let finish, raised as BrokenOff then; None: the one of `ending.spoken`.
    """
    try:
        return asyncio.run(_ended_by_sigterm(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        if broken_off is None:
            raise
        raise BrokenOff(broken_off) from None


async def _ended_by_sigterm(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work
