"""A trail whose way to PostgreSQL leads through a proxy, fed with records; and what its database has to hold then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from audit_wrapper import AuditTrail, codec
from audit_wrapper.records import Record
from audit_wrapper.store.postgres import PostgresStore


class Payload(NamedTuple):
    """What is journaled: an entry of a FakeJournal is one."""

    payload: bytes


class Rig:
    """A trail with a real journal and a real delivery."""

    def __init__(self, dsn: str, journal: Path, **settings: Any) -> None:
        quick = {"delivery_pause_s": 0.01, "ask_exchange": "off", "ask_per_minute": 6_000, "close_timeout_s": 5.0}
        self.trail = AuditTrail.open(dsn, journal=journal, **{**quick, **settings})

    async def __aenter__(self) -> Rig:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.trail.aclose()

    def record(self, entries: Iterable[Any]) -> None:
        """Append what these entries hold, as the recorder would."""
        for entry in entries:
            self.trail._pipeline.journal.append(entry.payload)

    async def arrived(self, timeout_s: float = 20.0) -> None:
        """Wait until all that was recorded is in the database, hurrying delivery along."""
        deadline = time.monotonic() + timeout_s
        while not await self.trail.flush(timeout_s=0.02):  # each call ends a pause of delivery
            assert time.monotonic() < deadline, self.trail.status()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for something that the trail does by itself."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.trail.status()
            await asyncio.sleep(0.005)

    async def delivered_undisturbed(self, dsn: str) -> None:
        """Deliver the whole journal into another database, in one batch."""
        entries = self.trail._pipeline.journal.read(0, 1_000_000, 1 << 40)
        records: list[Record] = [codec.decode(entry.payload) for entry in entries]
        async with PostgresStore(dsn) as store:
            await store.deliver(self.trail._pipeline.journal.stream, entries, records)

    async def all_there_once(self, connection: asyncpg.Connection) -> None:
        """Every entry of the journal is in audit.events, in order, once; nothing is in quarantine."""
        entries = self.trail._pipeline.journal.read(0, 1_000_000, 1 << 40)
        rows = await connection.fetch(
            "SELECT seq, hash, body::text AS body FROM audit.events WHERE stream = $1 ORDER BY stored_no",
            self.trail._pipeline.journal.stream,
        )
        stored = [(row["seq"], row["hash"], row["body"].encode()) for row in rows]
        assert stored == [(entry.seq, entry.hash, entry.payload) for entry in entries]
        assert await connection.fetchval("SELECT count(*) FROM audit.quarantine") == 0
        assert self.trail.status().quarantined == 0
