"""Everything a segment holds, in order, going around what cannot be read."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from audit_wrapper.journal.interface import READ_BYTES, Entry
from audit_wrapper.journal.segment import is_damage, read_entries

_CHUNK = 500


class Hole(NamedTuple):
    """Entries that may be there and cannot be read."""

    first: int
    last: int
    why: str


def contents(
    connection: sqlite3.Connection, after_seq: int, last: int, *, ahead: int = _CHUNK, max_bytes: int = READ_BYTES
) -> Iterator[Entry | Hole]:
    """Entries and holes after `after_seq`; holes end at `last`, the highest number the file can hold.

    `ahead` entries or `max_bytes` are held in memory, and no read transaction is left open in between. Where SQLite
    cannot walk its pages, each number is looked up by itself: a broken page takes its own entries with it and no
    others. Raises sqlite3.Error only for what is no damage, and may pass.
    """
    while True:
        try:
            entries = read_entries(connection, after_seq, min(ahead, _CHUNK), max_bytes)
        except sqlite3.Error as problem:
            if not is_damage(problem):
                raise
            upto = min(after_seq + _CHUNK, last)
            if upto <= after_seq:
                return
            yield from _one_by_one(connection, after_seq + 1, upto)
            after_seq = upto
            continue
        if not entries:
            return
        yield from entries
        after_seq = entries[-1].seq


def _one_by_one(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Entry | Hole]:
    hole: Hole | None = None
    for seq in range(first, last + 1):
        try:
            row = connection.execute("SELECT seq, payload, hash FROM entry WHERE seq = ?", (seq,)).fetchone()
            why = "not bytes" if row and not (isinstance(row[1], bytes) and isinstance(row[2], bytes)) else ""
        except sqlite3.Error as problem:
            if not is_damage(problem):
                raise
            row, why = None, str(problem)
        if why:
            hole = Hole(hole.first if hole else seq, seq, why)
            continue
        if hole:
            yield hole
            hole = None
        if row is not None:
            yield Entry(*row)
    if hole:
        yield hole
