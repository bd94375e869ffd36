"""The segments of a journal side by side, and reading across them."""

import errno
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from io import FileIO
from itertools import pairwise
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import chain
from audit_wrapper.journal.cursor import Cursor, Place
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import Held, Reader, SegmentDamaged

_GIVE_UP_S = 60.0  # how long what the disk does not give is asked for, before it is gone around
_OPEN_FILES = 64  # of segments that were written by this run: their entries can be read though somebody deletes them


class Written(NamedTuple):
    """What there is to read at one moment: the segments, and where the last one ends."""

    held: tuple[Held, ...]
    durable_seq: int
    size: int


class Shelf:
    """`reading` is held by whoever reads or deletes. Never by an append; nor does its holder ever wait for one.

    written: set by the journal, what there is to read now.
    """

    written: Callable[[], Written]

    def __init__(self, journal: UUID, held: Iterable[Held], findings: Findings, deleted_through: int) -> None:
        self.reading = threading.RLock()
        self.deleted_through = deleted_through
        self._journal = journal
        self._start = Place(0, 0, (chain.genesis(journal),))
        self._findings = findings
        self._held = {one.first_seq: one for one in held}  # in order; changed by single operations only
        self._at: tuple[Held, Cursor] | None = None  # where the last read ended
        self._own: FileIO | None = None  # the file it reads, if nobody else holds that open
        self._begun: deque[tuple[Held, Place]] = deque(maxlen=4)  # where the last reads began: a batch may come again

    @property
    def held(self) -> tuple[Held, ...]:
        return tuple(self._held.copy().values())

    def add(self, held: Held) -> None:
        """Put `held` at the end, if it is not there. It takes the place of an empty segment of the same name."""
        self._held[held.first_seq] = held

    def close_old_files(self) -> None:
        """During a long outage there may be more segments than a process may have files."""
        for held in self.held[:-_OPEN_FILES]:
            self._let_go(held)

    def drop(self, held: Held) -> None:
        self._let_go(held)
        self._held.pop(held.first_seq, None)

    def ended(self) -> list[tuple[Held, int]]:
        """The segments that have a successor, each with the last number that the successor leaves to it."""
        return [(held, following.first_seq - 1) for held, following in pairwise(self.held)]

    def close(self) -> None:
        self._leave()
        for held in self.held:
            self._let_go(held)

    def read(self, after_seq: int, limit: int, max_bytes: int) -> list[Entry]:
        """As `Journal.read`."""
        portion = _Portion(limit, max_bytes)
        with self.reading:
            held, durable_seq, size = self.written()
            start = max(bisect_right(held, after_seq + 1, key=lambda one: one.first_seq) - 1, 0)
            while start > 0 and held[start - 1].overlaps:
                start -= 1
            for one, following in pairwise(held[start:]):
                if portion.is_full:
                    break
                after_seq = self._read(one, after_seq, following.first_seq - 1, None, portion)
            if not portion.is_full:
                self._read(held[-1], after_seq, durable_seq, size, portion)
        return portion.taken

    def _read(self, held: Held, after_seq: int, last: int, size: int | None, portion: "_Portion") -> int:
        """Fill the portion from one segment, `size` of which is written. Returns the number it was read up to."""
        self._note_gap(held, after_seq + 1, held.first_seq - 1)
        after_seq = max(after_seq, held.first_seq - 1)
        try:
            cursor, end = self._cursor(held, after_seq, size)
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
            if not portion.is_full and size is None:
                cursor.note_tail(end)
            if not cursor.goes_around:
                held.failing_since = None
            return max(after_seq, cursor.place.seq)
        except SegmentDamaged as problem:
            self._note(held, held.first_seq, problem.what, str(problem))
        except OSError as problem:
            self._leave()
            if problem.errno in (errno.EIO, errno.ENOENT):
                held.failing_since = held.failing_since or monotonic()
            if portion.taken:
                portion.is_full = True  # of this later, if it still is so
            elif isinstance(problem, FileNotFoundError) and _is_given_up(held):
                self._note(held, held.first_seq, What.DELETED, f"{held.path} is gone, and up to {last} what it held")
            else:
                raise JournalUnavailable(
                    f"the journal segment {held.path} cannot be read now ({problem}): what it holds waits there"
                ) from problem
        return max(after_seq, last)

    def _cursor(self, held: Held, after_seq: int, size: int | None) -> tuple[Cursor, int]:
        """One that stands behind `after_seq`, or before it; and how far it may go."""
        before = self._start
        if self._at is not None:
            at, cursor = self._at
            before = cursor.place
            if at is held:
                places = [before, *(place for begun, place in self._begun if begun is held)]
                known = next((place for place in places if place.seq == after_seq), None)
                if known is not None:
                    cursor.go_to(known)
                    return cursor, _size(cursor.file) if size is None else size
                before = self._start
        self._leave()
        file = held.reader
        if file is None:
            file = self._own = Reader(held.path)
        end = _size(file) if size is None else size

        def note(seq: int | None, what: What, sentence: str) -> None:
            self._note(held, seq, what, sentence)

        cursor = Cursor(held.path, file, self._journal, note, end, before, go_around=_is_given_up(held))
        self._at = (held, cursor)
        return cursor, end

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
            held.close()

    def _note(self, held: Held, seq: int | None, what: What, sentence: str) -> None:
        held.is_damaged = held.is_damaged or what is not What.TORN_TAIL
        self._findings.add(Finding(held.path, seq, what, sentence))

    def _note_gap(self, held: Held, first: int, last: int) -> None:
        if max(first - 1, self.deleted_through) < last:
            sentence = f"there is no entry {first} to {last} in the journal; {held.path.name} goes on after them"
            self._findings.add(Finding(held.path, first, What.GAP, sentence))


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _is_given_up(held: Held) -> bool:
    return held.failing_since is not None and monotonic() - held.failing_since >= _GIVE_UP_S


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
