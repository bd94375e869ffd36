"""One thing that is wrong with a journal, and where."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class What(StrEnum):
    """The ways a journal can be wrong."""

    GAP = "gap"  # numbers are missing
    OVERLAP = "overlap"  # two files hold the same numbers: a copy of one was put back
    HASH_MISMATCH = "hash_mismatch"  # an entry is not what was written, or not where it was written
    UNREADABLE = "unreadable"  # lines, or a whole file, cannot be read
    TORN_TAIL = "torn_tail"  # a file breaks off in the middle of a line: the write that a kill or a full disk cut short
    FOREIGN = "foreign"  # the file belongs to another journal
    FROM_THE_FUTURE = "from_the_future"  # written by a newer release
    DELETED = "deleted"  # files were taken away while they were in use
    POWER_LOST = "power_lost"  # the machine went down while this was written, and its last entries may be gone
    DIVERGED = (
        "diverged"  # the database has other entries under the same numbers: an older copy was put back, or copied
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """`seq` is the first entry concerned, None where it cannot be told; `sentence` is for people."""

    path: Path
    seq: int | None
    what: What
    sentence: str


class Findings:
    """What one open journal has come across: each thing once, and never more than memory can bear.

    Without a lock: a signal handler may ask in the middle of an `add`.
    """

    _LIMIT = 1000

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int | None, What], Finding] = {}

    def add(self, finding: Finding) -> None:
        if len(self._known) < self._LIMIT:
            self._known.setdefault((finding.path, finding.seq, finding.what), finding)

    def all(self) -> tuple[Finding, ...]:
        return tuple(self._known.copy().values())
