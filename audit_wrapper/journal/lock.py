"""One writing process per folder: a lock of the operating system, gone when its holder is, however it died."""

import os
import sys
from pathlib import Path

from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import layout

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # A byte far behind the text, since Windows denies others to read what is locked.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: a second open in the same process must be refused too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """Holds `folder` from construction to `release`. Raises JournalInUse if it is held already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / layout.LOCK
        self._descriptor: int | None = None
        self._renewing = False
        self._take()

    def _take(self) -> None:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            unused: int | None = descriptor
            try:
                _lock(descriptor)
                if self._is_at_path(descriptor):  # else the file was deleted between open and lock: take the new one
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
                    self._descriptor, unused = descriptor, self._descriptor
                    return
            except (BlockingIOError, PermissionError):
                holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
                raise JournalInUse(
                    f"the journal in {self._folder} is being written by process {holder or '(unknown)'}: give each bot "
                    "process a folder of its own (setting `journal`), or stop that process first"
                ) from None
            finally:
                if unused is not None:
                    os.close(unused)

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def renew(self) -> None:
        """Hold the folder also after it was deleted and made again."""
        if self._renewing:
            return  # a signal handler, in the middle of just this
        self._renewing = True
        try:
            if self._descriptor is not None and not self._is_at_path(self._descriptor):
                self._take()
        finally:
            self._renewing = False

    def release(self) -> None:
        """Closing the descriptor releases the lock; in a forked child it does not, since the parent has it open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
