"""The positions of a range of time: one rule for the report, the export and the frames.

A range has the positions that were closed in it, and those that were still open at its end, or of which nobody knows whether
they were. Of those nothing was executed of, it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries

_KEY = ("account", "exchange", "position_id")


async def of_range(
    con: Connection,
    sql: Queries,
    since: datetime | None,
    until: datetime | None,
    *,
    exchange: str | None = None,
    account: str | None = None,
    position: str | None = None,
    symbol: Sequence[str | None] | None = None,
) -> list[asyncpg.Record]:
    """Their rows of `audit.v_position_figures`, as they stand now. sql: the queries of positions.sql. symbol: as
    `Symbols.argument`. `until` itself is not in the range; None: not restricted."""
    found = await con.fetch(sql["candidates"], since, until, exchange, account, position)
    keys = columns(found, (*_KEY, "begun_at"))
    return await con.fetch(sql["of_range"], since, until, symbol, *keys)


def columns(rows: Sequence[asyncpg.Record], names: Sequence[str]) -> list[list[object]]:
    """These columns of rows, each as an array for a query."""
    return [[row[name] for row in rows] for name in names]
