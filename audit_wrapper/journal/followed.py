"""A journal that another process writes, read behind its back: without its lock, and without changing a byte of it.

Only whole lines are read. A file may be replaced or cut by its writer; whatever looks wrong is looked at anew a few times
before it is believed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable, StreamConflict
from audit_wrapper.journal import layout
from audit_wrapper.journal.finding import Finding, Findings
from audit_wrapper.journal.glance import end_of
from audit_wrapper.journal.interface import READ_BYTES, Entry, Room
from audit_wrapper.journal.segment import Held
from audit_wrapper.journal.shelf import Shelf, Written
from audit_wrapper.journal.state import State, read_state

_LOOKS, _LOOK_S = 4, 0.02
_T = TypeVar("_T")


class _Asked(JournalUnavailable, StreamConflict):
    """To begin a new stream, which the writer will do, and say."""


class FollowedJournal:
    """A `Journal` for those who deliver: `append` is refused, and `branch` calls `asks_to_branch`, since only the writer can.

    Raises JournalUnavailable when there is no journal in `folder`, or none that can be read, now.
    """

    def __init__(self, folder: Path, asks_to_branch: Callable[[UUID, int], None]) -> None:
        self.folder = folder
        self._asks_to_branch = asks_to_branch
        self._lock = threading.RLock()
        self._state = self._read_state()
        self._delivered_seq = self._state.delivered_seq
        self._findings = Findings()
        self._known: dict[tuple[int, int], Held] = {}  # by first number and identity of the file
        self._shelf = self._new_shelf()
        self._closed = False

    @property
    def stream(self) -> UUID:
        return self._refreshed().stream

    @property
    def stream_after(self) -> int:
        return self._refreshed().stream_after

    @property
    def durable_seq(self) -> int:
        with self._lock:
            return self._unless_gone(lambda: self._written().durable_seq)

    @property
    def delivered_seq(self) -> int:
        return max(self._delivered_seq, self._state.delivered_seq)

    @property
    def bytes_on_disk(self) -> int:
        return layout.total_size(self.folder)

    @property
    def room(self) -> Room | None:
        return None

    @property
    def damage(self) -> tuple[Finding, ...]:
        return self._findings.all()

    @property
    def is_forced(self) -> bool:
        return True

    def append(self, payload: bytes, *, force: bool = True) -> int:
        raise JournalUnavailable(f"the journal in {self.folder} is only read here")

    def force(self) -> None:
        """Its writer does."""

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        with self._lock:
            for _ in range(_LOOKS):
                known = self._findings.all()
                entries = self._unless_gone(lambda: self._shelf.read(after_seq, limit, max_bytes))
                if len(self._findings.all()) == len(known) and not any(entry.damage for entry in entries):
                    return entries
                self._forget(known)
                time.sleep(_LOOK_S)
            return self._unless_gone(lambda: self._shelf.read(after_seq, limit, max_bytes))

    def delivered(self, seq: int) -> None:
        self._delivered_seq = max(self._delivered_seq, seq)

    def branch(self, after_seq: int) -> None:
        """Ask the writer to, and raise JournalUnavailable: its stream will be another one when it has."""
        self._asks_to_branch(self.stream, after_seq)
        raise _Asked(
            f"the database has other entries than {self.folder} after number {after_seq}: the bot begins a new stream when it "
            "runs; without the bot, `audit-wrapper deliver` does"
        )

    def tend(self) -> None:
        """Its writer does."""

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._shelf.close()

    # -- inside

    def _read_state(self) -> State:
        try:
            state = read_state(self.folder)
        except (OSError, ValueError) as problem:
            raise JournalUnavailable(f"the journal in {self.folder} cannot be read now ({problem})") from problem
        if state is None:
            raise JournalUnavailable(f"there is no journal in {self.folder} (yet): the bot makes it when it starts")
        return state

    def _refreshed(self) -> State:
        with self._lock:
            state = self._read_state()
            if state.journal != self._state.journal:
                raise JournalUnavailable(f"{self.folder} holds another journal than it did: start the sidecar again")
            if state.stream != self._state.stream:
                self._delivered_seq = state.stream_after  # of the new stream nothing else is delivered yet
            self._state = state
            self._shelf.deleted_through = max(self._shelf.deleted_through, state.deleted_through)
            return state

    def _new_shelf(self) -> Shelf:
        shelf = Shelf(self._state.journal, (), self._findings, self._state.deleted_through)
        shelf.written = self._written
        return shelf

    def _forget(self, findings: Iterable[Finding]) -> None:
        """Begin to read anew, knowing no more than these findings."""
        self._shelf.close()
        self._known.clear()
        self._findings = Findings()
        for finding in findings:
            self._findings.add(finding)
        self._shelf = self._new_shelf()

    def _written(self) -> Written:
        if self._closed:
            raise JournalUnavailable(f"the journal in {self.folder} was closed")
        paths = layout.segment_paths(self.folder)
        if not paths:
            raise FileNotFoundError(f"there is no file of the journal in {self.folder}")
        known = {}
        for path in paths:
            first = layout.first_seq_of(path)
            key = (first, os.stat(path).st_ino)
            known[key] = self._known.get(key) or Held(path, first)
        for key, held in self._known.items():
            if key not in known:
                self._shelf.drop(held)
        self._known = known
        end = end_of(paths[-1])
        self._refreshed()  # after the names: what is not there any more is said to be deleted by now
        return Written(tuple(known.values()), end.seq, end.size)

    def _unless_gone(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except FileNotFoundError as problem:  # retention was faster, or somebody took the folder away
            raise JournalUnavailable(f"the journal in {self.folder} cannot be read now ({problem})") from problem
