"""Journals inside the journal's folder, each in a folder of its own: of a forked child, and of what came after `close()`.

    <journal>/fork-4711      what process 4711 recorded, forked from the one that opened the trail
    <journal>/late-4711      what process 4711 recorded after its trail was closed: answers that were still under way

Each is a stream of its own. Whoever opens the trail next delivers what is left in those that nobody writes any more,
and removes them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from audit_wrapper.errors import JournalError, JournalInUse
from audit_wrapper.failures import Failures
from audit_wrapper.journal import Entry, Finding, Journal, Room
from audit_wrapper.journal.interface import READ_BYTES
from audit_wrapper.journal.lock import FolderLock

if TYPE_CHECKING:
    from audit_wrapper.delivery import Delivery

OpenJournal = Callable[[Path], Journal]

_NAME = re.compile(r"(fork|late)-\d+(\.\d+)?")
_NAMES = 100
_LOOK_EVERY_S = 0.01


class SideJournal:
    """A `Journal` that begins to exist with its first entry: most children and most closed trails never write one."""

    def __init__(
        self,
        beside: Path,
        kind: Literal["fork", "late"],
        open_journal: OpenJournal,
        begun: Callable[[], None] | None = None,
    ) -> None:
        self._beside = beside
        self._kind = kind
        self._open_journal = open_journal
        self._begun = begun
        self._journal: Journal | None = None
        self._folder: Path | None = None
        self._lock = threading.RLock()

    @property
    def stream(self) -> UUID:
        return self._real().stream

    @property
    def stream_after(self) -> int:
        return self._real().stream_after

    @property
    def durable_seq(self) -> int:
        return self._journal.durable_seq if self._journal is not None else 0

    @property
    def delivered_seq(self) -> int:
        return self._journal.delivered_seq if self._journal is not None else 0

    @property
    def bytes_on_disk(self) -> int:
        return self._journal.bytes_on_disk if self._journal is not None else 0

    @property
    def room(self) -> Room | None:
        return self._journal.room if self._journal is not None else None

    @property
    def damage(self) -> tuple[Finding, ...]:
        return self._journal.damage if self._journal is not None else ()

    @property
    def is_forced(self) -> bool:
        return self._journal.is_forced if self._journal is not None else True

    def append(self, payload: bytes, *, force: bool = True) -> int:
        return self._real().append(payload, force=force)

    def force(self) -> None:
        if self._journal is not None:
            self._journal.force()

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        return self._journal.read(after_seq, limit, max_bytes) if self._journal is not None else []

    def delivered(self, seq: int) -> None:
        if self._journal is not None:
            self._journal.delivered(seq)

    def branch(self, after_seq: int) -> None:
        self._real().branch(after_seq)

    def tend(self) -> None:
        if self._journal is not None:
            self._journal.tend()

    def close(self) -> None:
        with self._lock:
            if self._journal is not None:
                self._journal.close()

    def discard(self) -> None:
        """Close it and take its folder away: everything in it is delivered."""
        self.close()
        if self._folder is not None:
            with contextlib.suppress(JournalError, OSError):  # then the next run does
                _remove(self._folder)

    def _real(self) -> Journal:
        if self._journal is None:
            with self._lock:
                if self._journal is None:
                    folder, opened = self._opened()
                    if self._journal is None:  # else a signal handler was here in the meantime
                        self._journal, self._folder = opened, folder
                        if self._begun is not None:
                            self._begun()
        return self._journal

    def _opened(self) -> tuple[Path, Journal]:
        problem: Exception | None = None
        for number in itertools.islice(itertools.count(), _NAMES):
            folder = self._beside / f"{self._kind}-{os.getpid()}{f'.{number}' if number else ''}"
            try:
                folder.mkdir(parents=True)  # never one that is there: it may be delivered and removed at this moment
                return folder, self._open_journal(folder)
            except (FileExistsError, JournalError) as taken:
                problem = taken
        assert problem is not None
        raise problem


class Adoption:
    """Delivers what is left in the folders beside a journal, one after the other, on a thread of its own."""

    def __init__(
        self,
        beside: Path,
        open_journal: OpenJournal,
        make_delivery: Callable[[Journal], Delivery],
        failures: Failures,
    ) -> None:
        self._beside = beside
        self._open_journal = open_journal
        self._make_delivery = make_delivery
        self._failures = failures
        self._delivery: Delivery | None = None
        self._stopping = False
        self._runs = False

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._runs

    @property
    def delivered_seq(self) -> int:
        """Of the journal that it delivers now; 0: of none."""
        delivery = self._delivery
        return delivery.delivered_seq if delivery is not None else 0

    def start(self) -> None:
        """Begin, if there is anything."""
        left = side_folders(self._beside)
        if left and not self._runs:
            self._runs = True
            threading.Thread(target=self._run, args=(left,), name="audit_wrapper-forks", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Go on for `timeout_s` at the most; what is not delivered by then stays for the next run."""
        try:
            until = time.monotonic() + timeout_s
            while self._runs and time.monotonic() < until:
                time.sleep(_LOOK_EVERY_S)
        finally:
            self._stopping = True
            delivery = self._delivery
            if delivery is not None and self._runs:
                delivery.stop(0)

    def disown(self) -> None:
        """In a forked child: see `Delivery.disown`."""
        if self._delivery is not None:
            self._delivery.disown()

    def _run(self, folders: list[Path]) -> None:
        try:
            for folder in folders:
                if not self._stopping:
                    self._adopt(folder)
        finally:
            self._runs = False

    def _adopt(self, folder: Path) -> None:
        try:
            if self._delivered(folder):
                _remove(folder)
        except JournalInUse:
            return  # its process lives, and delivers it
        except Exception as problem:  # a thread of ours has nobody to tell; the folder stays for the next run
            self._failures.note("delivering what a forked process left", problem)

    def _delivered(self, folder: Path) -> bool:
        journal = self._open_journal(folder)
        try:
            if journal.durable_seq == 0:
                return True
            self._delivery = self._make_delivery(journal)
            return not self._stopping and self._delivery.drain()
        finally:
            self._delivery = None
            journal.close()


def side_folders(beside: Path) -> list[Path]:
    """The folders of such journals in `beside`, the journal's."""
    return sorted(path for path in beside.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def _remove(folder: Path) -> None:
    lock = FolderLock(folder)  # nobody may begin to write here while it goes
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()
