"""The journal on disk: a folder of segments, written by one process."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Literal, Self

from audit_wrapper.errors import JournalError, JournalUnavailable
from audit_wrapper.journal import layout, process
from audit_wrapper.journal.finding import Finding, Findings
from audit_wrapper.journal.interface import READ_BYTES, Entry
from audit_wrapper.journal.lock import FolderLock
from audit_wrapper.journal.opening import open_end
from audit_wrapper.journal.shelf import Held, Shelf
from audit_wrapper.journal.state import boot_id
from audit_wrapper.journal.upkeep import Upkeep
from audit_wrapper.journal.writer import Writer

_SEGMENT_BYTES = 64 * 1024 * 1024
_KEEP_DELIVERED_S = 7 * 86_400.0
_FORK_WAIT_S = 1.0


class SqliteJournal:
    """A `Journal` in a folder of its own. Get one from `open`.

    After a fork the child's copy refuses every use: the journal stays the parent's. A child that trades opens its own
    journal in another folder.
    """

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        *,
        power: bool,
        segment_bytes: int,
        keep_delivered_s: float,
    ) -> None:
        self.folder = folder
        self._lock = lock
        self._findings = Findings()
        opened = open_end(folder, power=power, findings=self._findings)
        state = replace(opened.state, boot=boot_id(), clean=False, power=power)
        self._stream = state.stream
        older = (Held(path, layout.first_seq_of(path)) for path in opened.older)
        self._shelf = Shelf(state.stream, older, self._findings)
        self._writer = Writer(
            folder,
            opened,
            self._shelf,
            self._findings,
            power=power,
            segment_bytes=segment_bytes,
            renew_lock=lock.renew,
        )
        self._upkeep = Upkeep(folder, state, self._shelf, self._writer, self._findings, keep_delivered_s)
        try:
            self._upkeep.save()
        except BaseException:
            self._shelf.close()
            raise

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        durability: Literal["process", "power"] = "process",
        segment_bytes: int = _SEGMENT_BYTES,
        keep_delivered_s: float = _KEEP_DELIVERED_S,
    ) -> Self:
        """The journal in `folder`, made if there is none.

        durability: what an appended entry survives. segment_bytes: where a new file is begun. keep_delivered_s: how
        long a full file stays after it was sealed, once all of it is delivered.

        Raises JournalInUse if it is open already, here or in another process, and JournalUnavailable if the folder
        cannot be used. A damaged end is no reason to refuse: it stays as it is, and `damage` tells.
        """
        folder = folder.absolute()
        lock: FolderLock | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(folder)
            journal = cls(
                folder,
                lock,
                power=durability == "power",
                segment_bytes=segment_bytes,
                keep_delivered_s=keep_delivered_s,
            )
        except BaseException as problem:
            if lock is not None:
                lock.release()
            if isinstance(problem, (OSError, sqlite3.Error)) and not isinstance(problem, JournalError):
                raise JournalUnavailable(
                    f"the journal folder {folder} cannot be used ({problem}): make it writable for the user the bot "
                    "runs as, see that its disk has room, or choose another folder (setting `journal`)"
                ) from problem
            raise
        process.opened(journal)
        return journal

    @property
    def stream(self) -> uuid.UUID:
        return self._stream

    @property
    def durable_seq(self) -> int:
        return self._writer.seq

    @property
    def delivered_seq(self) -> int:
        return self._upkeep.delivered_seq

    @property
    def bytes_on_disk(self) -> int:
        return layout.total_size(self.folder)

    @property
    def damage(self) -> tuple[Finding, ...]:
        return self._findings.all()

    def append(self, payload: bytes) -> int:
        return self._writer.append(payload)

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        with self._usable():
            return self._shelf.read(after_seq, limit, max_bytes, self._writer.seq) if limit > 0 else []

    def delivered(self, seq: int) -> None:
        with self._usable():
            if seq > self._writer.seq:
                self._writer.skip_past(seq)
            self._upkeep.delivered_seq = max(self._upkeep.delivered_seq, seq)

    def tend(self) -> None:
        with self._usable():
            self._upkeep.tend()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        if self._writer.refusal:
            raise JournalUnavailable(self._writer.refusal)
        yield

    def close(self) -> None:
        if self._writer.refusal:
            return
        with self._shelf.reading:
            with self._writer.lock:
                if self._writer.refusal:
                    return
                self._writer.close(f"the journal in {self.folder} was closed")
            self._shelf.close()
            with suppress(OSError):  # if it cannot be written, the next start looks harder; nothing is lost
                self._upkeep.save(clean=True)
            self._lock.release()
        process.closed(self)

    def hold_still(self) -> None:
        """Before a fork: wait until no thread is inside SQLite. Not for ever: a fork must not hang on a sick disk."""
        locks = (self._shelf.reading, self._writer.lock)
        self._held_still = [lock for lock in locks if lock.acquire(timeout=_FORK_WAIT_S)]

    def go_on(self) -> None:
        """After a fork, in the parent."""
        while self._held_still:
            self._held_still.pop().release()

    def disown(self) -> None:
        """After a fork, in the child."""
        process.never_close((*self._shelf.connections(), *self._writer.prepared_connections()))
        # The old locks may be held by threads that are gone.
        self._writer.lock, self._shelf.reading = RLock(), RLock()
        self._writer.refusal = (
            f"the journal in {self.folder} belongs to the parent of this process: open one in another folder here"
        )
        self._lock.release()
