"""One writing process per folder: a lock of the operating system, gone when its holder is, however it died."""

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import layout

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # A byte far behind the text, since Windows denies others to read what is locked.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

    _try_lock = _lock
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: a second open in the same process must be refused too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


_TRIES, _PAUSE_S = 5, 0.01  # `holder` has the lock for a moment


class Holder(NamedTuple):
    """Who holds a lock. pid: in its own container, if it has one; 0: it left none. note: what it said beside it."""

    pid: int
    note: str


def holder(folder: Path, name: str = layout.LOCK) -> int | None:
    """The process that holds `folder`, without disturbing it: None: nobody does; 0: one that left no number.

    Two processes in containers may have the same number. Raises OSError where the lock cannot be read.
    """
    held = held_by(folder, name)
    return held.pid if held is not None else None


def held_by(folder: Path, name: str = layout.LOCK) -> Holder | None:
    """As `holder`, with what it said beside its number."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return None
    try:
        _try_lock(descriptor)
        return None
    except (BlockingIOError, PermissionError):
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder:
    pid, _, note = os.read(descriptor, 64).decode("ascii", "replace").strip().partition(" ")
    return Holder(int(pid) if pid.isdigit() else 0, note)


class FolderLock:
    """Holds `folder` from construction to `release`. Raises JournalInUse if it is held already.

    name: of the file that is locked; a sidecar has one of its own. note: a word for others, beside the number of this process.
    """

    def __init__(self, folder: Path, name: str = layout.LOCK, note: str = "") -> None:
        self._folder = folder
        self._path = folder / name
        self._note = note
        self._descriptor: int | None = None
        self._renewing = False
        self._take_patiently()

    def _take_patiently(self) -> None:
        held: JournalInUse | None = None
        for _ in range(_TRIES):
            try:
                self._take()
                return
            except JournalInUse as problem:
                held = problem
                time.sleep(_PAUSE_S)
            except FileNotFoundError:
                if held is None:
                    raise
                break  # whoever held it has taken the folder away
        assert held is not None
        raise held

    def _take(self) -> None:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            unused: int | None = descriptor
            try:
                _lock(descriptor)
                if self._is_at_path(descriptor):  # else the file was deleted between open and lock: take the new one
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()} {self._note}".strip().encode("ascii") + b"\n")
                    self._descriptor, unused = descriptor, self._descriptor
                    return
            except (BlockingIOError, PermissionError):
                pid = _read(descriptor).pid or "(unknown)"
                if self._path.name == layout.SIDECAR_LOCK:
                    sentence = f"process {pid} delivers the journal in {self._folder} already: one of them is enough"
                else:
                    sentence = (
                        f"the journal in {self._folder} is being written by process {pid}: give each bot "
                        "process a folder of its own (setting `journal`), or stop that process first"
                    )
                raise JournalInUse(sentence) from None
            finally:
                if unused is not None:
                    os.close(unused)

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def renew(self, *, patiently: bool = False) -> None:
        """Hold the folder also after it was deleted and made again.

        Raises JournalInUse if somebody else holds it by now, or only looks at the lock just then (`holder`): patiently waits until
        nobody looks, which is not for the order path.
        """
        if self._renewing:
            return  # a signal handler, in the middle of just this
        self._renewing = True
        try:
            if self._descriptor is not None and not self._is_at_path(self._descriptor):
                if patiently:
                    self._take_patiently()
                else:
                    self._take()
        finally:
            self._renewing = False

    def release(self) -> None:
        """Closing the descriptor releases the lock; in a forked child it does not, since the parent has it open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
