"""What a store is to those who deliver into it and read from it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from audit_wrapper.journal import Entry
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record
from audit_wrapper.rows import Books, Incomplete


class Store(Protocol):
    """Where records are delivered to, and where what they come to is read. PostgreSQL, or memory."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""
        ...

    async def connect(self) -> None:
        """Connect where another store was opened before: nobody looks at the schema once more."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...

    async def delivered(self, stream: UUID) -> tuple[int, bytes]:
        """Number and hash of the last entry of the stream that the store holds; 0 and no bytes: none."""
        ...

    async def holds(self, stream: UUID, entries: Sequence[Entry]) -> int:
        """How many of these entries, counted from the first, the store holds under this stream and just as they are."""
        ...

    async def deliver(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record | Reading]) -> None:
        """Take a batch, wholly or not at all. Delivering it again changes nothing."""
        ...

    async def quarantine(self, stream: UUID, entry: Entry, reason: str) -> None:
        """Set one entry aside and go past it."""
        ...

    async def count_quarantined(self, stream: UUID) -> int:
        """How many entries of the stream are set aside and were not brought in since."""
        ...

    async def incomplete(self, account: str, since: datetime) -> list[Incomplete]:
        """Orders to ask the exchange about: not done yet, nobody knows, a fee still unknown. Of those made after `since` also:
        over without ever having had an id, taken for absent, a fee that the exchange has not named."""
        ...

    async def orders_of(self, exchange: str, account: str, ids: Iterable[str]) -> Books:
        """Orders by any of the exchange's ids."""
        ...

    async def orders_between(self, exchange: str, account: str, since: datetime, until: datetime) -> Books:
        """Orders made or executed in this time, or open since."""
        ...

    async def not_sent_by_us(
        self, exchange: str, account: str, since: datetime, until: datetime, client_ids: Sequence[str]
    ) -> Books:
        """Orders made in this time of which only the exchange knows who sent them; whenever made, those with one of these
        client ids."""
        ...

    async def covered(self, exchange: str, account: str) -> list[Record]:
        """Records of kind `covered`: what was read of the exchange's history to its end."""
        ...

    async def payments_known(self, exchange: str, account: str, ids: Sequence[str]) -> set[str]:
        """Those of these funding payments that are there."""
        ...

    async def at_leisure(self) -> None:
        """What may wait until delivery has begun, and may take long. Called beside everything else, and perhaps cancelled."""
        ...

    async def relink(self, since: datetime | None = None) -> int:
        """Link rows to positions that the bot has written since; how many were."""
        ...
