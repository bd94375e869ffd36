"""The journals this process has open, and what becomes of them in a forked child.

SQLite forbids a child even to close a connection it inherited: the close would work in, and delete, the log that the
parent is writing. So in the child the connections are never closed, not even at its exit; the journal there refuses
every use, and the child opens one of its own, in another folder.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class OpenJournal(Protocol):
    """What a fork needs of a journal."""

    @property
    def folder(self) -> Path: ...
    def hold_still(self) -> None: ...
    def go_on(self) -> None: ...
    def disown(self) -> None: ...


_open: "weakref.WeakSet[OpenJournal]" = weakref.WeakSet()
_still: list[OpenJournal] = []
_guard = threading.RLock()
_kept: list[sqlite3.Connection] = []


def opened(journal: OpenJournal) -> None:
    with _guard:
        _open.add(journal)


def closed(journal: OpenJournal) -> None:
    with _guard:
        _open.discard(journal)


def is_open_here(folder: Path) -> bool:
    with _guard:
        return any(_same(journal.folder, folder) for journal in _open)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def never_close(connections: Iterable[sqlite3.Connection]) -> None:
    """Keep connections from ever being closed, also by the interpreter when it ends and clears its modules."""
    for connection in connections:
        _kept.append(connection)
        try:
            import ctypes
        except ImportError:  # some builds lack it; then only an exit by os._exit, as multiprocessing does, is safe
            continue
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _before_fork() -> None:
    # No call into SQLite may be under way: its own mutexes would be locked for ever in the child.
    _guard.acquire()
    _still.extend(_open)
    for journal in _still:
        journal.hold_still()


def _after_fork_in_parent() -> None:
    for journal in _still:
        journal.go_on()
    _still.clear()
    _guard.release()


def _after_fork_in_child() -> None:
    for journal in _still:
        journal.disown()
    _still.clear()
    _open.clear()
    _guard.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
