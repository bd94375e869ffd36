"""One segment: a file of lines. The first says where it begins (see `Origin`), each other one is an entry (see `line`)."""

import json
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalDamaged
from audit_wrapper.journal import layout, line
from audit_wrapper.journal.finding import What

FORMAT = 1

_WRITE = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


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
        return json.dumps(values).encode("ascii") + line.END


def decode_origin(text: bytes, path: Path) -> Origin:
    """Raises SegmentDamaged if it is not the first line of a segment that this release can read."""
    try:
        values = json.loads(text)
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise SegmentDamaged(What.UNREADABLE, f"{path} does not say where it begins ({problem!r})") from problem
    if origin.first_seq != layout.first_seq_of(path):
        raise SegmentDamaged(What.UNREADABLE, f"{path} says that it begins at {origin.first_seq}: was it renamed?")
    return origin


class LiveSegment:
    """A segment that is being written. `reader` stays usable when somebody deletes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first_seq = layout.first_seq_of(path)
        self.descriptor = os.open(path, _WRITE)
        try:
            self.reader: FileIO = open(path, "rb", buffering=0)  # noqa: SIM115, it stays open
            self._identity = os.fstat(self.descriptor)
        except BaseException:
            os.close(self.descriptor)
            raise

    @classmethod
    def create(cls, folder: Path, origin: Origin, *, force: bool) -> "LiveSegment":
        """Make a new one. It appears under its name whole, or not at all; with `force`, for good once this returns."""
        path = layout.segment_path(folder, origin.first_seq)
        unborn = path.with_name(path.name + layout.UNBORN)
        with open(unborn, "wb", buffering=0) as file:
            text = origin.encode()
            if file.write(text) != len(text):
                raise OSError(f"{unborn} could be written only in part")
            if force:
                layout.force(file.fileno())  # else the name may reach the disk before what it names
        unborn.replace(path)
        if force:
            layout.force_names(folder)
        return cls(path)

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def cut(self, size: int) -> None:
        """Take off what was written behind `size`."""
        os.ftruncate(self.descriptor, size)

    def is_there(self) -> bool:
        """Whether the file we write to is still the one under its name."""
        try:
            return os.path.samestat(self._identity, os.stat(self.path))
        except OSError:
            return False

    def close(self) -> None:
        """End the writing; `reader` is closed by whoever reads."""
        os.close(self.descriptor)
