"""A journal of known content to damage, and how one is read to its end."""

import shutil
from contextlib import closing
from pathlib import Path

from audit_wrapper.journal import Entry, FileJournal, layout

ENTRIES = 30
EACH = 10  # entries in a file


def payload(seq: int) -> bytes:
    return b'{"entry": %d, "text": "%b"}' % (seq, b"%d " % seq * (1500 // len(b"%d " % seq)))


def make(folder: Path) -> Path:
    """A journal of three files with ten entries each, as a kill leaves it."""
    running = folder.with_name(folder.name + "-running")
    with closing(FileJournal.open(running, segment_bytes=15_000)) as journal:
        for seq in range(1, ENTRIES + 1):
            assert journal.append(payload(seq)) == seq
        shutil.copytree(running, folder)
    shutil.rmtree(running)
    assert [layout.first_seq_of(path) for path in layout.segment_paths(folder)] == [1, 11, 21]
    return folder


def read_all(journal: FileJournal, limit: int = 7) -> list[Entry]:
    """Every entry, in portions, as delivery reads them."""
    entries: list[Entry] = []
    while portion := journal.read(entries[-1].seq if entries else 0, limit):
        assert portion[0].seq > (entries[-1].seq if entries else 0)
        entries += portion
    return entries


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(path: Path) -> list[bytes]:
    """The first line at 0, the entries behind it; each with its line feed."""
    return path.read_bytes().splitlines(keepends=True)


class Damaged:
    """The files of a journal, by the numbers of their entries, to be damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = layout.segment_paths(folder)

    def file_of(self, seq: int) -> Path:
        return self.paths[(seq - 1) // EACH]

    def start(self, seq: int) -> int:
        """Where the line of an entry begins in its file; of the one behind the last: where the file ends."""
        return sum(map(len, lines(self.file_of(min(seq, ENTRIES)))[: (seq - 1) % EACH + 1 if seq <= ENTRIES else None]))

    def put(self, seq: int, offset: int, new: bytes) -> None:
        """Put other bytes into the line of an entry, `offset` behind its begin; negative: before its end."""
        path = self.file_of(seq)
        line = lines(path)[(seq - 1) % EACH + 1]
        place = self.start(seq) + (offset if offset >= 0 else len(line) + offset)
        content = bytearray(path.read_bytes())
        content[place : place + len(new)] = new
        path.write_bytes(content)

    def flip(self, seq: int, offset: int, bits: int = 1) -> None:
        """Flip bits of one byte in the line of an entry."""
        path = self.file_of(seq)
        line = lines(path)[(seq - 1) % EACH + 1]
        self.put(seq, offset, bytes([line[offset] ^ bits]))

    def other_hash(self, seq: int) -> None:
        """One digit of a hash, still a digit."""
        line = lines(self.file_of(seq))[(seq - 1) % EACH + 1]
        at = line.index(b" ") + 10
        self.put(seq, at, b"1" if line[at : at + 1] == b"0" else b"0")

    def entry_lines(self, first: int, new: list[int]) -> None:
        """Give the file that begins at `first` the lines of these entries, in this order."""
        path = self.file_of(first)
        old = lines(path)
        path.write_bytes(old[0] + b"".join(old[(seq - 1) % EACH + 1] for seq in new))

    def first_line(self, first: int, new: bytes) -> None:
        path = self.file_of(first)
        path.write_bytes(new + b"".join(lines(path)[1:]))

    def cut(self, path: Path, size: int) -> None:
        path.write_bytes(path.read_bytes()[:size])

    def block(self, path: Path, index: int, new: bytes) -> None:
        """Replace (the beginning of) a block of 4096 bytes."""
        content = bytearray(path.read_bytes())
        assert len(content) >= 4096 * index + len(new)
        content[4096 * index : 4096 * index + len(new)] = new
        path.write_bytes(content)
