"""What a journal is to those who use it: the recorder appends, the delivery reads and says how far it got."""

from typing import NamedTuple, Protocol
from uuid import UUID

from audit_wrapper.journal.finding import Finding

READ_BYTES = 8 * 1024 * 1024  # what one read holds in memory unless it is told otherwise


class Entry(NamedTuple):
    """One line of the journal. `hash` ties it to every entry before it (see `chain`)."""

    seq: int
    payload: bytes
    hash: bytes


class Journal(Protocol):
    """A sequence of byte strings, numbered 1, 2, 3 ..., that can only grow at its end.

    Numbers are never used twice. Where entries were lost (power failed, a file was damaged) numbering goes on
    further up: a reader goes by `read(after_seq)` and must not count on the next number being one more.
    """

    @property
    def stream(self) -> UUID:
        """Who this journal is: made once, the same after every restart. (stream, seq) names an entry for good."""

    @property
    def durable_seq(self) -> int:
        """Number of the last entry appended; 0 before the first."""

    @property
    def delivered_seq(self) -> int:
        """The highest number `delivered` was told; 0 if never. A hint: the database knows better."""

    @property
    def bytes_on_disk(self) -> int:
        """What the journal occupies, in bytes."""

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What was found damaged or lost since the journal was opened. `verify` looks at everything."""

    def append(self, payload: bytes) -> int:
        """Write `payload` and return its number; once returned, it survives kill -9. Safe from any thread.

        Raises JournalUnavailable when it cannot be written. The next call tries again, on whatever is there then.
        """

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        """The entries after `after_seq`, in order: at most `limit`, and no more than `max_bytes` of payload.

        One entry larger than `max_bytes` comes alone. An empty list: there is nothing after `after_seq` yet.
        """

    def delivered(self, seq: int) -> None:
        """Everything up to `seq` is in the store, so the files that hold it may go. Cheap; never goes back."""

    def tend(self) -> None:
        """Housekeeping that the order path does not wait for. Call it often, from the thread that delivers.

        Raises JournalUnavailable when the disk refuses; nothing is lost by that, call it again.
        """

    def close(self) -> None:
        """Close it. Calling it again does nothing; every other use afterwards raises JournalUnavailable."""
