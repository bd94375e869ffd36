"""Reading the trail. Rows come as asyncpg Records: by name (`row["status"]`), as a mapping (`dict(row)`)."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from audit_wrapper import codec
from audit_wrapper.records import Record
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries

Rows = list[asyncpg.Record]


class HistoryEvent(NamedTuple):
    """One record in the history of an order, and which part of it concerns the order."""

    order_key: UUID
    stream: UUID
    seq: int
    part: str
    record: Record
    stored_at: datetime


async def order_history(con: Connection, sql: Queries, order: str | UUID) -> list[HistoryEvent]:
    """See PostgresStore."""
    if isinstance(order, UUID):
        keys = [order]
    else:
        keys = [row["order_key"] for row in await con.fetch(sql["keys_of_order_id"], order)]
    return [
        HistoryEvent(
            row["order_key"],
            row["stream"],
            row["seq"],
            row["part"],
            codec.decode(row["body"].encode("utf-8")),
            row["stored_at"],
        )
        for row in await con.fetch(sql["order_history"], keys)
    ]
