"""A record as it is delivered: its place, what it says by itself, and what becomes of one that cannot be read."""

from typing import NamedTuple, Protocol
from uuid import UUID

from audit_wrapper import routing
from audit_wrapper.errors import InvalidRow
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record


class Entry(Protocol):
    """What is read from the journal."""

    @property
    def seq(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def hash(self) -> bytes: ...


class Arrival(NamedTuple):
    """A record with its place and what it says by itself."""

    stream: UUID
    seq: int
    said: Reading
    mentions: tuple[routing.Mention, ...]
    scope: str | None

    @classmethod
    def of(cls, stream: UUID, seq: int, record: Record | Reading) -> "Arrival":
        """Read the record. Raises InvalidRow where that fails."""
        with Pure("read record {} of stream {}", seq, stream):
            said = Reading.of(record)
            return cls(stream, seq, said, routing.mentions(said), routing.scope_of(said))

    @property
    def record(self) -> Record:
        """What was journaled."""
        return self.said.record


class Pure:
    """What the reading of a record raises, the record would raise again: it belongs into quarantine, whatever it is.

    A class, and words that are put together only when they are needed: it is entered several times for each record.
    """

    __slots__ = ("_doing", "_of")

    def __init__(self, doing: str, *of: object) -> None:
        self._doing = doing
        self._of = of

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        # no memory says nothing of the record
        if isinstance(problem, Exception) and not isinstance(problem, MemoryError):
            doing = self._doing.format(*self._of)
            raise InvalidRow(f"cannot {doing}: {type(problem).__name__}: {problem}") from problem
