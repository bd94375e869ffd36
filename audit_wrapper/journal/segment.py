"""One segment: a file of lines. The first says where it begins (see `Origin`), each other one is an entry (see `line`)."""

import json
import os
from binascii import crc32
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalDamaged
from audit_wrapper.journal import layout
from audit_wrapper.journal.finding import What

FORMAT = 1

_CHECK = b', "check": '  # before the last value of the first line: the checksum of all before it


class SegmentDamaged(JournalDamaged):
    """A segment that cannot be used, and in which way."""

    def __init__(self, what: What, sentence: str) -> None:
        super().__init__(sentence)
        self.what = what


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a segment begins, and of which journal and stream it is (see `Journal`).

    `note` says why its first number does not follow the last one of the segment before it, if it does not, or why it
    was begun before its time.
    """

    journal: UUID
    stream: UUID
    stream_after: int
    first_seq: int
    previous_hash: bytes
    note: str = ""

    def encode(self) -> bytes:
        """The first line, with its end."""
        values = {
            "audit_journal": FORMAT,
            "journal": str(self.journal),
            "stream": str(self.stream),
            "stream_after": self.stream_after,
            "first_seq": self.first_seq,
            "previous_hash": self.previous_hash.hex(),
            "note": self.note,
        }
        text = json.dumps(values).encode("ascii").removesuffix(b"}")
        return b"%b%b%d}\n" % (text, _CHECK, crc32(text))


def decode_origin(text: bytes, path: Path) -> Origin:
    """Raises SegmentDamaged if it is not the first line of a segment that this release can read."""
    try:
        values = json.loads(text)
        if values["check"] != crc32(text.rpartition(_CHECK)[0]):  # one flipped bit, and it would be of another journal
            raise ValueError("its checksum is wrong")
        version = values["audit_journal"]
        if isinstance(version, int) and version > FORMAT:
            raise SegmentDamaged(
                What.FROM_THE_FUTURE,
                f"{path} has format {version}, this release reads up to {FORMAT}: upgrade audit_wrapper to read it",
            )
        origin = Origin(
            UUID(values["journal"]),
            UUID(values["stream"]),
            int(values["stream_after"]),
            int(values["first_seq"]),
            bytes.fromhex(values["previous_hash"]),
            str(values["note"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise SegmentDamaged(What.UNREADABLE, f"{path} does not say where it begins ({problem!r})") from problem
    if origin.first_seq != layout.first_seq_of(path):
        raise SegmentDamaged(What.UNREADABLE, f"{path} says that it begins at {origin.first_seq}: was it renamed?")
    return origin


class Reader(FileIO):
    """A file open for reading. One that is still open at the interpreter's exit says nothing, as Python's own would: what
    exit handlers and daemon threads record has nobody to close it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")

    def __del__(self) -> None:
        self.close()


@dataclass(eq=False, slots=True)
class Held:
    """One segment of a journal.

    reader: open since this run wrote it, so that it can be read though somebody deletes the file. overlaps: it holds
    numbers that the one after it holds, too. is_damaged: retention leaves it to a person.
    """

    path: Path
    first_seq: int
    reader: FileIO | None = None
    overlaps: bool = False
    is_damaged: bool = False
    failing_since: float | None = None

    def close(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()


class LiveSegment:
    """A segment that is being written. `descriptor` is open as long as anybody has this object; -1 once closed."""

    descriptor = -1

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first_seq = layout.first_seq_of(path)
        self.descriptor = layout.open_to_append(path)
        self._identity = os.fstat(self.descriptor)
        self.held = Held(path, self.first_seq, Reader(path))

    @classmethod
    def create(cls, folder: Path, origin: Origin, *, lasting: bool) -> "LiveSegment":
        """Make a new one. It appears under its name whole, or not at all."""
        path = layout.segment_path(folder, origin.first_seq)
        layout.put(path, origin.encode(), lasting=lasting)
        return cls(path)

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def is_there(self, size: int) -> bool:
        """Whether the file we write to is still the one under its name, and as long as we left it."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(self._identity, found) and found.st_size == size

    def close(self) -> None:
        """End the writing; `held.reader` is closed by whoever reads."""
        descriptor, self.descriptor = self.descriptor, -1  # never is a number written to that others may have by now
        if descriptor != -1:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()
