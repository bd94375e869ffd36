"""What a trail says of itself."""

from __future__ import annotations

import msgspec


class FlushReport(msgspec.Struct, frozen=True):
    """What `flush` or `close` achieved. True in a condition when everything recorded is in the store.

    undelivered: records that are safe in the journal and not in the store. unwritten: records that the journal does not
    take; they are in memory only, and gone with the process. problem: why, in words.
    """

    complete: bool
    undelivered: int = 0
    unwritten: int = 0
    problem: str | None = None

    def __bool__(self) -> bool:
        return self.complete


class Status(msgspec.Struct, frozen=True):
    """How the trail is doing, now.

    recorded: records made since it was opened. durable_seq, delivered_seq: numbers of the last record in the journal and
    in the store; lag is their difference. waiting: records held in memory because the journal cannot be written.
    quarantined: records the store refused (kept in audit.quarantine). failures: our own, by kind. damage: what was found
    damaged or missing in the journal since it was opened, in words. disk_free_bytes: what the journal's disk has left;
    outage_hours_left: how long that lasts at the rate of the last hour if the database is away; None: not known yet, or
    nothing was recorded. store: what delivery is doing, in words. journal: its folder. database: its address, without the password; None while the embedded one is
    being started. embedded: the folder of the embedded PostgreSQL; None where the user has one.
    """

    recorded: int
    durable_seq: int
    delivered_seq: int
    lag: int
    waiting: int
    quarantined: int
    failures: dict[str, int]
    last_error: str | None
    damage: tuple[str, ...]
    disk_free_bytes: int | None
    outage_hours_left: float | None
    store: str
    journal: str
    database: str | None
    embedded: str | None
