"""What a journal is to those who use it: the recorder appends, the delivery reads and says how far it got."""

from typing import NamedTuple, Protocol
from uuid import UUID

from audit_wrapper.journal.finding import Finding

READ_BYTES = 8 * 1024 * 1024  # what one read holds in memory unless it is told otherwise


class Entry(NamedTuple):
    """One line of the journal. `hash` ties it to every entry before it (see `chain`).

    `damage`: empty, or why this is not what was written, in words. Such an entry is evidence of a broken disk or of
    tampering, not of what the bot did.
    """

    seq: int
    payload: bytes
    hash: bytes
    damage: str = ""


class Room(NamedTuple):
    """How long the disk lasts while nothing is delivered.

    free_bytes: what the journal's disk has left. bytes_per_hour: what was appended lately. hours: one through the
    other; None while nothing was appended.
    """

    free_bytes: int
    bytes_per_hour: float
    hours: float | None


class Journal(Protocol):
    """A sequence of byte strings, numbered 1, 2, 3 ..., that can only grow at its end.

    Where entries were lost (a file was damaged or deleted) there is a gap in the numbers: a reader goes by
    `read(after_seq)` and must not count on the next number being one more.
    """

    @property
    def stream(self) -> UUID:
        """Under which name the store knows the entries after `stream_after`; the same after every restart."""

    @property
    def stream_after(self) -> int:
        """The last entry that does not belong to `stream`, because `branch` began it there; else 0."""

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
    def room(self) -> Room | None:
        """How long the disk lasts; None where that is not known (yet)."""

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What was found damaged or lost since the journal was opened. `verify` looks at everything."""

    @property
    def is_forced(self) -> bool:
        """Whether all that was appended is on the disk itself; True where nobody asked for that (durability "process")."""

    def append(self, payload: bytes, *, force: bool = True) -> int:
        """Write `payload` and return its number; once returned, it survives kill -9. Safe from any thread.

        force: with durability "power", also wait until the disk itself has it. Without, `force()` does.

        The payload is one line: ValueError if there is a line feed in it. Raises JournalUnavailable when it cannot be
        written: then it is not there, and the next call tries on whatever is there then. Raises JournalNotForced when
        it is written but the disk refuses to force it (durability "power"): it survives the process, and maybe not the
        power.
        """

    def force(self) -> None:
        """Wait until the disk has all that was appended so far; whoever waits at the same time shares the wait.

        Nothing to do with durability "process". Raises JournalNotForced where the disk refuses.
        """

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        """The entries after `after_seq`, in order: at most `limit`, and no more than `max_bytes` of payload.

        One entry larger than `max_bytes` comes alone. An empty list: there is nothing after `after_seq` yet. The hash of
        each is checked (see `Entry.damage`); what cannot be read at all is passed over and stands in `damage`.
        """

    def delivered(self, seq: int) -> None:
        """Everything up to `seq` is in the store, so the files that hold it may go. Cheap; never goes back."""

    def branch(self, after_seq: int) -> None:
        """Entries after `after_seq` get a stream of their own: the store has others under their numbers."""

    def tend(self) -> None:
        """Housekeeping that the order path does not wait for. Call it often, from the thread that delivers.

        Raises JournalUnavailable when the disk refuses; nothing is lost by that, call it again.
        """

    def close(self) -> None:
        """Close it. Calling it again does nothing; every other use afterwards raises JournalUnavailable."""
