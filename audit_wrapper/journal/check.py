"""The check of one segment, entry by entry: numbers, hashes, SQLite's own structure."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from audit_wrapper.journal import chain, layout
from audit_wrapper.journal.contents import Hole, contents
from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.segment import LEAST_ENTRY, Origin, SegmentDamaged, is_damage, read_origin

_TORN_ROWS = 20  # how many of SQLite's own complaints are passed on per file


@dataclass(slots=True)
class SegmentCheck:
    """Iterate `findings` to its end; then `origin` (None: unusable) and `last_seq`, `last_hash` say where it ended.

    `last_hash` is None where that entry cannot be read.
    """

    connection: sqlite3.Connection
    path: Path
    stream: UUID | None
    origin: Origin | None = None
    last_seq: int = 0
    last_hash: bytes | None = None

    def findings(self) -> Iterator[Finding]:
        try:
            yield from self._findings()
        except SegmentDamaged as problem:
            yield Finding(self.path, layout.first_seq_of(self.path), problem.what, str(problem))
        except sqlite3.Error as problem:
            if not is_damage(problem):
                raise
            sentence = f"{self.path} cannot be read: {problem}"
            yield Finding(self.path, layout.first_seq_of(self.path), What.UNREADABLE, sentence)

    def _findings(self) -> Iterator[Finding]:
        self.origin = read_origin(self.connection, self.path, self.stream)
        self.last_seq = self.origin.first_seq - 1
        self.last_hash = self.origin.previous_hash
        yield from self._torn()
        room = layout.size(self.path) + layout.size(layout.wal_path(self.path))
        for item in contents(self.connection, self.last_seq, self.origin.first_seq + room // LEAST_ENTRY):
            first = item.first if isinstance(item, Hole) else item.seq
            if first != self.last_seq + 1:
                sentence = f"{self.path}: there is no entry {self.last_seq + 1} to {first - 1}"
                yield Finding(self.path, self.last_seq + 1, What.GAP, sentence)
                self.last_hash = None
            if isinstance(item, Hole):
                sentence = f"{self.path}: entries {item.first} to {item.last} cannot be read: {item.why}"
                yield Finding(self.path, item.first, What.UNREADABLE, sentence)
                self.last_seq, self.last_hash = item.last, None
                continue
            # After something missing the link cannot be computed; the gap itself has been reported.
            if self.last_hash is not None and not chain.holds(
                self.last_hash, self.origin.stream, item.seq, item.payload, item.hash
            ):
                sentence = f"{self.path}: entry {item.seq} is not what was written, or the one before it is not"
                yield Finding(self.path, item.seq, What.HASH_MISMATCH, sentence)
            self.last_seq, self.last_hash = item.seq, item.hash

    def _torn(self) -> Iterator[Finding]:
        try:
            rows = self.connection.execute(f"PRAGMA quick_check({_TORN_ROWS})").fetchall()
        except sqlite3.DatabaseError as problem:
            if not is_damage(problem):
                raise
            rows = [(str(problem),)]
        for (row,) in rows:
            if row != "ok":
                yield Finding(self.path, None, What.TORN_PAGE, f"{self.path}: {row}")
