"""Reading one segment, entry by entry: the chain is checked, and what is broken is gone around and noted with its place.

A disk may flip a byte, lose a block, cut a file short. Since entries are lines, the next whole one is found again; the
hash chain tells which lines are what was written, even where only the number of one was hit.
"""

from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.finding import What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import Origin, SegmentDamaged, decode_origin

_CHUNK = 256 * 1024
_BLOCK = 4096  # what a disk loses at once

Note = Callable[[int | None, What, str], None]  # the first entry concerned, in which way, a sentence


class Place(NamedTuple):
    """Between two entries. `hashes`: what the next one may be chained to; none where that is not known."""

    offset: int
    seq: int
    hashes: tuple[bytes, ...]


class Cursor:
    """Stands in a segment behind entry `seq`. Raises SegmentDamaged where nothing of the file may be read.

    hashes: those of the entry before the segment, as far as they are known; the segment's own word is not enough.
    go_around: blocks that the disk does not give are taken for broken, instead of raising OSError.
    """

    def __init__(
        self,
        path: Path,
        file: FileIO,
        journal: UUID | None,
        note: Note,
        hashes: tuple[bytes, ...],
        *,
        go_around: bool = False,
    ) -> None:
        self.path = path
        self.origin: Origin | None = None
        self.file = file
        self._note = note
        self._go_around = go_around
        self._buffer = bytearray()
        self._base = 0  # where in the file the buffer begins
        self._offset = 0
        self._seq = layout.first_seq_of(path) - 1
        self._hashes = hashes
        self._begin(journal)

    def _begin(self, journal: UUID | None) -> None:
        first_line = self._line(1 << 62)
        try:
            if first_line is None:
                raise SegmentDamaged(What.UNREADABLE, f"{self.path} does not even say where it begins")
            origin = decode_origin(first_line, self.path)
        except SegmentDamaged as problem:
            if problem.what is not What.UNREADABLE:
                raise
            self._note(self._seq + 1, What.UNREADABLE, str(problem))
            if first_line is not None and line.decode(first_line) is not None:
                self._offset = 0  # the file lost its first line
            return
        if journal is not None and origin.journal != journal:
            sentence = f"{self.path} belongs to journal {origin.journal}, not to {journal}: was it copied here?"
            raise SegmentDamaged(What.FOREIGN, sentence)
        if self._hashes and origin.previous_hash not in self._hashes:
            sentence = f"{self.path} does not continue the chain of the segment before it"
            self._note(self._seq + 1, What.HASH_MISMATCH, sentence)
        self.origin = origin
        self._hashes = (origin.previous_hash,)

    @property
    def place(self) -> Place:
        return Place(self._offset, self._seq, self._hashes)

    def go_to(self, place: Place) -> None:
        """Back to where it stood before."""
        self._offset, self._seq, self._hashes = place
        if not self._base <= place.offset <= self._base + len(self._buffer):
            self._buffer.clear()
            self._base = place.offset

    def next(self, end: int, last: int) -> Entry | None:
        """The next entry before byte `end` of the file, which can hold none above `last`. None: no more.

        What cannot be read is passed over, and noted.
        """
        start, is_broken = self._offset, False
        while True:
            line_start = self._offset
            text = self._line(end)
            if text is None:
                break
            entry = self._judged(text, last)
            if entry is None:
                is_broken = True
                continue
            if is_broken or entry.seq > self._seq + 1:
                self._note_hole(start, line_start, entry.seq - 1)
            self._pass(entry)
            return entry
        if is_broken:
            last = min(last, self._seq + max(1, (self._offset - start) // line.LEAST))
            self._note_hole(start, self._offset, last)
            self._seq, self._hashes = max(self._seq, last), ()
        return None

    def rest(self, end: int) -> int:
        """Bytes before `end` that are no whole line; to be asked when `next` has returned None."""
        return end - self._offset

    def _judged(self, text: bytes, last: int) -> Entry | None:
        entry = line.decode(text)
        if entry is None:
            return None
        expected = self._seq + 1
        if any(chain.link(previous, expected, entry.payload) == entry.hash for previous in self._hashes):
            if entry.seq != expected:
                sentence = f"{self.path}: entry {expected} is numbered {entry.seq}; its hash tells its place"
                self._note(expected, What.HASH_MISMATCH, sentence)
            return entry._replace(seq=expected)
        if entry.seq == expected:
            if not self._hashes:
                return entry  # the one before it is lost, and with it what this one could be checked against
            sentence = f"{self.path}: entry {expected} is not what was written, or the one before it is not"
            self._note(expected, What.HASH_MISMATCH, sentence)
            return entry._replace(damage=sentence)
        return entry if expected < entry.seq <= last else None

    def _pass(self, entry: Entry) -> None:
        if entry.damage:  # its payload may be right and its hash wrong, or the other way about
            again = tuple(chain.link(previous, entry.seq, entry.payload) for previous in self._hashes)
            self._hashes = (entry.hash, *again)
        else:
            self._hashes = (entry.hash,)
        self._seq = entry.seq

    def _note_hole(self, start: int, end: int, last: int) -> None:
        first, where = self._seq + 1, f"bytes {start} to {end} of {self.path}"
        if end == start:
            self._note(first, What.GAP, f"{self.path}: there is no entry {first} to {last}")
        elif last >= first:
            self._note(first, What.UNREADABLE, f"entries {first} to {last} cannot be read: {where} are broken")
        else:
            self._note(first, What.UNREADABLE, f"{where} are no entry; none is missing")

    def _line(self, end: int) -> bytes | None:
        """The next whole line before `end`, without its line feed."""
        searched = self._offset - self._base
        while True:
            found = self._buffer.find(line.END, searched)
            if found >= 0:
                text = bytes(self._buffer[self._offset - self._base : found])
                self._offset = self._base + found + 1
                return text
            searched = len(self._buffer)
            ahead = self._base + searched
            # more at once where a line is long, so that the buffer is not copied over and over
            wanted = min(max(_CHUNK, searched), end - ahead)
            if wanted <= 0:
                return None
            part = self._read(ahead, wanted)
            if not part:
                return None
            used = self._offset - self._base
            del self._buffer[:used]
            self._base += used
            searched -= used
            self._buffer += part

    def _read(self, offset: int, wanted: int) -> bytes:
        try:
            self.file.seek(offset)
            return self.file.read(wanted)
        except OSError:
            if not self._go_around:
                raise
        try:
            self.file.seek(offset)
            return self.file.read(min(wanted, _BLOCK - offset % _BLOCK))
        except OSError:
            return bytes(min(wanted, _BLOCK - offset % _BLOCK))
