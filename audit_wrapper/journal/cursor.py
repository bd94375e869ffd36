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
_UNREAD = b"\xff"  # stands for a byte that the disk does not give

Note = Callable[[int | None, What, str], None]  # the first entry concerned, in which way, a sentence


class Place(NamedTuple):
    """Between two entries. `hashes`: what the next one may be chained to; none where that is not known."""

    offset: int
    seq: int
    hashes: tuple[bytes, ...]


class Cursor:
    """Stands in a segment behind entry `seq`. Raises SegmentDamaged where nothing of the file may be read.

    end: how far the file may be read now. before: where the reading of the segment before it ended; what this one says
    of itself is not enough. go_around: what the disk does not give is taken for broken, instead of raising OSError.
    """

    def __init__(
        self,
        path: Path,
        file: FileIO,
        journal: UUID | None,
        note: Note,
        end: int,
        before: Place | None = None,
        *,
        go_around: bool = False,
    ) -> None:
        self.path = path
        self.origin: Origin | None = None
        self.file = file
        self.goes_around = go_around
        self._note = note
        self._before = before
        self._buffer = bytearray()
        self._base = 0  # where in the file the buffer begins
        self._offset = 0
        self._seq = layout.first_seq_of(path) - 1
        self._hashes: tuple[bytes, ...] = ()
        self._begin(journal, end)

    def _begin(self, journal: UUID | None, end: int) -> None:
        before = self._before
        if before is not None and before.seq == self._seq:
            self._hashes, self._before = before.hashes, None
        first_line = self._line(end)
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
        self._hashes = (origin.previous_hash, *self._hashes)

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
        """The next entry before byte `end` of the file, which is to hold none above `last`. None: no more.

        What cannot be read is passed over, and noted.
        """
        start, is_broken = self._offset, False
        while True:
            line_start = self._offset
            text = self._line(end)
            if text is None:
                break
            entry = self._judged(text, end, last)
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
            if last > self._seq:
                self._seq, self._hashes = last, ()
        return None

    def note_tail(self, end: int) -> int:
        """Note what there is before `end` that is no whole line; to be asked when `next` has returned None.

        Returns how many entries may be lost with it at the most: none, if it is a write that was cut short.
        """
        tail = bytes(self._buffer[self._offset - self._base : end - self._base])
        if not tail:
            return 0
        where = f"bytes {self._offset} to {self._offset + len(tail)} of {self.path}"
        written, begin = tail.rstrip(b"\0"), b"%d " % (self._seq + 1)  # zeros: what a file system puts for lost blocks
        whole = line.decode(tail[:-1])
        if whole is not None and self._follows(whole):
            self._note(self._seq + 1, What.UNREADABLE, f"{where} are broken: the line feed at the end")
            return 1
        if written.startswith(begin) or begin.startswith(written):
            self._note(self._seq + 1, What.TORN_TAIL, f"{where} are no whole line: a write that was cut short")
            return 0
        self._note(self._seq + 1, What.UNREADABLE, f"{where} are broken")
        return max(1, len(tail) // line.LEAST)

    def _judged(self, text: bytes, end: int, last: int) -> Entry | None:
        entry = line.decode(text)
        if entry is None:
            return None
        expected = self._seq + 1
        if self._follows(entry):
            number = expected
        else:
            number = expected if entry.seq == expected else self._number(entry, end, last)
            if number < expected:
                return None
            if number == expected and self._hashes:
                sentence = f"{self.path}: entry {expected} is not what was written, or the one before it is not"
                self._note(expected, What.HASH_MISMATCH, sentence)
                return entry._replace(seq=expected, damage=sentence)
            # Where the one before it is lost, what this one could be checked against is lost with it.
        if entry.seq != number:
            sentence = f"{self.path}: entry {number} is numbered {entry.seq}; the hashes tell its place"
            self._note(number, What.HASH_MISMATCH, sentence)
        return entry._replace(seq=number)

    def _follows(self, entry: Entry) -> bool:
        """Whether this is what was written as the next entry, whatever number the line bears."""
        return any(chain.link(previous, self._seq + 1, entry.payload) == entry.hash for previous in self._hashes)

    def _number(self, entry: Entry, end: int, last: int) -> int:
        """The number of an entry that stands behind a gap, 0 if it cannot be told.

        A number that were taken for too high would make all the following look like old ones. So the next line has a
        say, which is chained to this one.
        """
        here = self.place
        text = self._line(end)
        self.go_to(here)
        following = None if text is None else line.decode(text)
        if following is not None:
            for number in (entry.seq, following.seq - 1):
                if chain.link(entry.hash, number + 1, following.payload) == following.hash:
                    return number
            if following.seq <= entry.seq:
                return 0
        return entry.seq if entry.seq <= last else 0

    def _pass(self, entry: Entry) -> None:
        if entry.damage:  # its payload may be right and its hash wrong, or the other way about
            again = tuple(chain.link(previous, entry.seq, entry.payload) for previous in self._hashes)
            self._hashes = (entry.hash, *again)
        else:
            self._hashes = (entry.hash,)
        self._seq = entry.seq
        before = self._before
        if before is not None and before.seq <= entry.seq:
            self._before = None
            if before.seq == entry.seq and before.hashes and not {*before.hashes} & {*self._hashes}:
                sentence = f"{self.path} and the segment before it have other entries under the same numbers"
                self._note(layout.first_seq_of(self.path), What.OVERLAP, sentence)

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
            if not self.goes_around:
                raise
        wanted = min(wanted, _BLOCK - offset % _BLOCK)
        try:
            self.file.seek(offset)
            return self.file.read(wanted)
        except OSError:
            return _UNREAD * wanted
