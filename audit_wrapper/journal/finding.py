"""One thing that is wrong with a journal, and where."""

import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class What(StrEnum):
    """The ways a journal can be wrong."""

    GAP = "gap"  # numbers are missing
    OVERLAP = "overlap"  # two files hold the same number
    HASH_MISMATCH = "hash_mismatch"  # an entry is not what was written, or not where it was written
    UNREADABLE = "unreadable"  # entries or a whole file cannot be read
    TORN_PAGE = "torn_page"  # SQLite finds its own pages broken
    FOREIGN_STREAM = "foreign_stream"  # the file belongs to another journal
    FROM_THE_FUTURE = "from_the_future"  # written by a newer release
    DELETED = "deleted"  # files were taken away while they were in use


@dataclass(frozen=True, slots=True)
class Finding:
    """`seq` is the first entry concerned, None where it cannot be told; `sentence` is for people."""

    path: Path
    seq: int | None
    what: What
    sentence: str


class Findings:
    """What one open journal has come across: each thing once, and never more than memory can bear."""

    _LIMIT = 1000

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int | None, What], Finding] = {}
        self._lock = threading.Lock()

    def add(self, finding: Finding) -> None:
        with self._lock:
            if len(self._known) < self._LIMIT:
                self._known.setdefault((finding.path, finding.seq, finding.what), finding)

    def all(self) -> tuple[Finding, ...]:
        with self._lock:
            return tuple(self._known.values())
