"""The segments of a journal side by side, and reading across them."""

import errno
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal.cursor import Cursor, Place
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import SegmentDamaged

_GIVE_UP_S = 60.0  # how long a part of a file that the disk does not give is asked for, before it is gone around
_OPEN_FILES = 64  # of segments that were written by this run: their entries can be read though somebody deletes them


@dataclass(eq=False, slots=True)
class Held:
    """One segment. `reader`: open since it was written. `is_damaged`: retention leaves it to a person."""

    path: Path
    first_seq: int
    reader: FileIO | None = None
    is_damaged: bool = False
    failing_since: float | None = None


class Written(NamedTuple):
    """What there is to read at one moment: the segments, and where the last one ends."""

    held: tuple[Held, ...]
    durable_seq: int
    size: int


class Shelf:
    """`reading` is held by whoever reads or deletes; never by an append."""

    def __init__(self, journal: UUID, held: Iterable[Held], findings: Findings, deleted_through: int) -> None:
        self.reading = threading.RLock()
        self.deleted_through = deleted_through
        self._journal = journal
        self._findings = findings
        self._held = tuple(held)
        self._swap = threading.Lock()  # held for one assignment
        self._at: tuple[Held, Cursor] | None = None  # where the last read ended
        self._own: FileIO | None = None  # the file it reads, if nobody else holds that open
        self._begun: deque[tuple[Held, Place]] = deque(maxlen=4)  # where the last reads began: a batch may come again
        self.written: Callable[[], Written]  # set by the journal: all of it at one moment

    @property
    def held(self) -> tuple[Held, ...]:
        return self._held

    def add(self, held: Held) -> None:
        """Put `held` at the end. It takes the place of an empty segment of the same name."""
        with self._swap:
            self._held = (*(other for other in self._held if other.first_seq < held.first_seq), held)

    def close_old_files(self) -> None:
        """During a long outage there may be more segments than a process may have files."""
        for held in self._held[:-_OPEN_FILES]:
            if held.reader is not None:
                self._let_go(held)

    def drop(self, held: Held) -> None:
        self._let_go(held)
        with self._swap:
            self._held = tuple(other for other in self._held if other is not held)

    def ended(self) -> list[tuple[Held, int]]:
        """The segments that have a successor, each with the last number it can hold."""
        return [(held, following.first_seq - 1) for held, following in pairwise(self._held)]

    def close(self) -> None:
        self._leave()
        for held in self._held:
            self._let_go(held)

    def read(self, after_seq: int, limit: int, max_bytes: int) -> list[Entry]:
        """As `Journal.read`."""
        portion = _Portion(limit, max_bytes)
        with self.reading:
            written = self.written()
            start = max(bisect_right(written.held, after_seq + 1, key=lambda held: held.first_seq) - 1, 0)
            lasts = [following.first_seq - 1 for following in written.held[start + 1 :]]
            for held, last in zip(written.held[start:], [*lasts, written.durable_seq], strict=True):
                if portion.is_full:
                    break
                self._note_gap(held, after_seq + 1, held.first_seq - 1)
                is_last = held is written.held[-1]
                after_seq = max(after_seq, held.first_seq - 1)
                after_seq = self._read(held, after_seq, last, written.size if is_last else None, portion)
        return portion.taken

    def _read(self, held: Held, after_seq: int, last: int, size: int | None, portion: "_Portion") -> int:
        """Fill the portion from one segment. Returns the number it was read up to."""
        try:
            cursor = self._cursor(held, after_seq, last)
            end = os.fstat(cursor.file.fileno()).st_size if size is None else size
            _pass(cursor, after_seq, end, last)
            if not self._begun or self._begun[-1] != (held, cursor.place):
                self._begun.append((held, cursor.place))
            while not portion.is_full:
                before = cursor.place
                entry = cursor.next(end, last)
                if entry is None:
                    break
                if not portion.take(entry):
                    cursor.go_to(before)
            if not portion.is_full and size is None and (torn := cursor.rest(end)):
                sentence = f"{held.path} breaks off in the middle of a line ({torn} bytes): a write that was cut short"
                self._note(held, cursor.place.seq + 1, What.TORN_TAIL, sentence)
            return cursor.place.seq
        except FileNotFoundError:
            self._note(held, held.first_seq, What.DELETED, f"{held.path} is gone, and up to {last} what it held")
        except SegmentDamaged as problem:
            self._note(held, held.first_seq, problem.what, str(problem))
        except OSError as problem:
            self._leave()
            if problem.errno == errno.EIO and held.failing_since is None:
                held.failing_since = monotonic()
            raise JournalUnavailable(
                f"the journal segment {held.path} cannot be read now ({problem}): what it holds waits there"
            ) from problem
        return last

    def _cursor(self, held: Held, after_seq: int, last: int) -> Cursor:
        """One that stands behind `after_seq`, or before it."""
        hashes: tuple[bytes, ...] = ()
        if self._at is not None:
            at, cursor = self._at
            if at is held:
                places = [cursor.place, *(place for begun, place in self._begun if begun is held)]
                known = next((place for place in places if place.seq == after_seq), None)
                if known is not None:
                    cursor.go_to(known)
                    return cursor
            elif cursor.place.seq == held.first_seq - 1:
                hashes = cursor.place.hashes
        self._leave()
        file = held.reader
        if file is None:
            file = self._own = open(held.path, "rb", buffering=0)  # noqa: SIM115, it stays open

        def note(seq: int | None, what: What, sentence: str) -> None:
            self._note(held, seq, what, sentence)

        go_around = held.failing_since is not None and monotonic() - held.failing_since >= _GIVE_UP_S
        cursor = Cursor(held.path, file, self._journal, note, hashes, go_around=go_around)
        self._at = (held, cursor)
        return cursor

    def _leave(self) -> None:
        self._at = None
        self._begun.clear()
        if self._own is not None:
            self._own.close()
            self._own = None

    def _let_go(self, held: Held) -> None:
        with self.reading:
            if self._at is not None and self._at[0] is held:
                self._leave()
            if held.reader is not None:
                held.reader.close()
                held.reader = None

    def _note(self, held: Held, seq: int | None, what: What, sentence: str) -> None:
        held.is_damaged = held.is_damaged or what is not What.TORN_TAIL
        self._findings.add(Finding(held.path, seq, what, sentence))

    def _note_gap(self, held: Held, first: int, last: int) -> None:
        if max(first - 1, self.deleted_through) < last:
            sentence = f"there is no entry {first} to {last} in the journal; {held.path.name} goes on after them"
            self._findings.add(Finding(held.path, first, What.GAP, sentence))


class _Portion:
    """What one read hands out."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.taken: list[Entry] = []
        self._limit = limit
        self._room = max_bytes
        self.is_full = limit <= 0

    def take(self, entry: Entry) -> bool:
        """Put it in, if there is room for it or nothing else."""
        fits = not self.taken or len(entry.payload) <= self._room
        if fits:
            self.taken.append(entry)
            self._room -= len(entry.payload)
        self.is_full = not fits or len(self.taken) >= self._limit or self._room <= 0
        return fits


def _pass(cursor: Cursor, after_seq: int, end: int, last: int) -> None:
    """Go past everything up to `after_seq`."""
    while cursor.place.seq < after_seq:
        before = cursor.place
        entry = cursor.next(end, last)
        if entry is None:
            return
        if entry.seq > after_seq:
            cursor.go_to(before)
            return
