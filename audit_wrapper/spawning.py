"""Programs that the library starts, and forks of the bot's in the middle of that.

A process forked meanwhile would inherit the pipe on which Popen waits for its program to begin, and the pipes to the
program itself, and keep them open: so a fork waits until the program runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_FORK_WAIT_S = 1.0
_lock = threading.Lock()
_forking = False


@contextlib.contextmanager
def unforked() -> Iterator[None]:
    """While a program is started; not on the order path."""
    with _lock:
        yield


def _before_fork() -> None:
    global _forking
    _forking = _lock.acquire(timeout=_FORK_WAIT_S)


def _after_fork_in_parent() -> None:
    if _forking:
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # the old one may be held by a thread that is gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
