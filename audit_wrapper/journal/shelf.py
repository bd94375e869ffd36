"""The segments of a journal side by side, and reading across them.

The list of segments is replaced as a whole, never changed: the order path puts a new one at its end without waiting
for a reader.
"""

import sqlite3
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import layout
from audit_wrapper.journal.contents import Hole, contents
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import (
    LEAST_ENTRY,
    LiveSegment,
    SegmentDamaged,
    connect_at_rest,
    is_damage,
    read_origin,
)


@dataclass(eq=False, slots=True)
class Held:
    """One segment. `live`: still open from writing. `keep`: damaged, so retention leaves it to a person."""

    path: Path
    first_seq: int
    live: LiveSegment | None = None
    sealed: bool = False
    keep: bool = False


class Shelf:
    """`reading` is held by whoever reads, seals or deletes; never by an append."""

    def __init__(self, stream: UUID, held: Iterable[Held], findings: Findings) -> None:
        self.reading = threading.RLock()
        self.deleted_through = 0
        self._stream = stream
        self._findings = findings
        self._held = tuple(held)
        self._swap = threading.Lock()  # held for one assignment
        self._reader: tuple[Held, sqlite3.Connection] | None = None  # the segment read last, if it is not live

    @property
    def held(self) -> tuple[Held, ...]:
        return self._held

    def add(self, held: Held) -> None:
        """Put `held` at the end. It takes the place of an empty segment of the same name that was deleted."""
        with self._swap:
            self._held = (*(other for other in self._held if other.first_seq < held.first_seq), held)

    def drop(self, held: Held) -> None:
        self.release(held)
        with self._swap:
            self._held = tuple(other for other in self._held if other is not held)

    def ended(self) -> list[tuple[Held, int]]:
        """The segments that have a successor, each with the last number it can hold."""
        return [(held, following.first_seq - 1) for held, following in pairwise(self._held)]

    def release(self, held: Held) -> None:
        """Close the connection reading has on `held`, before it is sealed or deleted."""
        if self._reader is not None and self._reader[0] is held:
            self._reader[1].close()
            self._reader = None

    def connections(self) -> list[sqlite3.Connection]:
        """Every connection there is, for a forked child that must never close them."""
        found = [self._reader[1]] if self._reader else []
        for held in self._held:
            found += [held.live.reader, held.live.writer] if held.live else []
        return found

    def close(self) -> None:
        for held in self._held:
            self.release(held)
            if held.live is not None:
                with suppress(sqlite3.Error):  # a disk that is gone cannot keep us from letting go
                    held.live.close()
                held.live = None

    def read(self, after_seq: int, limit: int, max_bytes: int, durable_seq: int) -> list[Entry]:
        """As `Journal.read`. What cannot be read is passed over, and stands in the findings."""
        taken: list[Entry] = []
        with self.reading:
            all_held = self._held  # if a later segment is in it by now, the earlier ones are complete
            start = max(bisect_right(all_held, after_seq + 1, key=lambda held: held.first_seq) - 1, 0)
            for index in range(start, len(all_held)):
                held = all_held[index]
                last = all_held[index + 1].first_seq - 1 if index + 1 < len(all_held) else durable_seq
                if held.first_seq > after_seq + 1:
                    self._note_gap(held.path, after_seq + 1, held.first_seq - 1)
                    after_seq = held.first_seq - 1
                for item in self._contents(held, after_seq, last, limit - len(taken), max_bytes):
                    if isinstance(item, Hole):
                        self._note(held, item.first, What.UNREADABLE, _hole_sentence(held.path, item))
                        after_seq = item.last
                        continue
                    if taken and len(item.payload) > max_bytes:
                        return taken
                    if item.seq != after_seq + 1:
                        self._note_gap(held.path, after_seq + 1, item.seq - 1)
                    taken.append(item)
                    after_seq = item.seq
                    max_bytes -= len(item.payload)
                    if len(taken) >= limit or max_bytes <= 0:
                        return taken
        return taken

    def _contents(self, held: Held, after: int, last: int, limit: int, max_bytes: int) -> Iterator[Entry | Hole]:
        try:
            connection = self._connection(held)
            room = layout.size(held.path) + layout.size(layout.wal_path(held.path))
            last = min(last, held.first_seq + room // LEAST_ENTRY)
            yield from contents(connection, after, last, ahead=limit, max_bytes=max_bytes)
        except SegmentDamaged as problem:
            self._note(held, held.first_seq, problem.what, str(problem))
        except sqlite3.Error as problem:
            if is_damage(problem):
                self._note(held, held.first_seq, What.UNREADABLE, f"{held.path} cannot be read: {problem}")
            elif held.path.exists():
                raise JournalUnavailable(
                    f"the journal segment {held.path} cannot be read now ({problem}): what it holds waits there"
                ) from problem
            else:
                self._note(held, held.first_seq, What.DELETED, f"{held.path} is gone, and up to {last} what it held")

    def _connection(self, held: Held) -> sqlite3.Connection:
        if held.live is not None:
            return held.live.reader
        if self._reader is not None and self._reader[0] is held:
            return self._reader[1]
        if self._reader is not None:
            self.release(self._reader[0])
        connection = connect_at_rest(held.path)
        try:
            read_origin(connection, held.path, self._stream)
        except BaseException:
            connection.close()
            raise
        self._reader = (held, connection)
        return connection

    def _note(self, held: Held, seq: int, what: What, sentence: str) -> None:
        held.keep = True
        self._findings.add(Finding(held.path, seq, what, sentence))

    def _note_gap(self, path: Path, first: int, last: int) -> None:
        if last > self.deleted_through:
            sentence = f"there is no entry {first} to {last} in the journal; {path.name} goes on after them"
            self._findings.add(Finding(path, first, What.GAP, sentence))


def _hole_sentence(path: Path, hole: Hole) -> str:
    return f"entries {hole.first} to {hole.last} of {path} cannot be read: {hole.why}"
