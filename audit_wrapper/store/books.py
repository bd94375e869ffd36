"""The trail's own books, as the reconciliation reads them: what is not known yet, and what is there."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from audit_wrapper import codec
from audit_wrapper.fold import ATTACHED
from audit_wrapper.records import Record
from audit_wrapper.rows import Books, FillRow, Incomplete, OrderRow
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries


async def incomplete(con: Connection, sql: Queries, account: str, since: datetime) -> list[Incomplete]:
    """See PostgresStore."""
    rows = await con.fetch(sql["incomplete_orders"], account, _naive(since))
    stops = {row["placed_by"] for row in rows if row["placed_as"] in ATTACHED}
    entries = (
        {row["placed_by"]: _order(row) for row in await con.fetch(sql["entries_of"], list(stops))} if stops else {}
    )
    algo = await _algo(con, sql, [row["order_key"] for row in rows])
    return [
        Incomplete(
            _order(row),
            row["placed_by"],
            row["placed_as"],
            entries.get(row["placed_by"]) if row["placed_as"] in ATTACHED else None,
            row["order_key"] in algo,
        )
        for row in rows
    ]


async def orders_of(con: Connection, sql: Queries, exchange: str, account: str, ids: Iterable[str]) -> Books:
    """See PostgresStore."""
    return await _with_fills(con, sql, await con.fetch(sql["orders_of_ids"], exchange, account, sorted(set(ids))))


async def orders_between(
    con: Connection, sql: Queries, exchange: str, account: str, since: datetime, until: datetime
) -> Books:
    """See PostgresStore."""
    rows = await con.fetch(sql["orders_between"], exchange, account, _naive(since), _naive(until))
    return await _with_fills(con, sql, rows)


async def not_sent_by_us(
    con: Connection,
    sql: Queries,
    exchange: str,
    account: str,
    since: datetime,
    until: datetime,
    client_ids: Sequence[str],
) -> Books:
    """See PostgresStore."""
    rows = await con.fetch(sql["not_sent_by_us"], exchange, account, _naive(since), _naive(until), list(client_ids))
    return await _with_fills(con, sql, rows)


async def covered(con: Connection, sql: Queries, exchange: str, account: str) -> list[Record]:
    """See PostgresStore."""
    rows = await con.fetch(sql["covered"], exchange, account)
    return [codec.decode(row["body"].encode("utf-8")) for row in rows]


async def _with_fills(con: Connection, sql: Queries, rows: Iterable[asyncpg.Record]) -> Books:
    orders = tuple(_order(row) for row in rows)
    keys: list[UUID] = [order.order_key for order in orders]
    fills = await con.fetch(sql["fills_of_orders"], keys)
    return Books(
        orders,
        tuple(FillRow(**{name: row[name] for name in FillRow.__struct_fields__}) for row in fills),
        await _algo(con, sql, keys),
    )


async def _algo(con: Connection, sql: Queries, keys: list[UUID]) -> frozenset[UUID]:
    return frozenset(row["order_key"] for row in await con.fetch(sql["conditional_keys"], keys))


def _order(row: asyncpg.Record) -> OrderRow:
    return OrderRow(**{name: _aware(row[name]) for name in OrderRow.__struct_fields__})


def _aware(value: Any) -> Any:
    # the bot's tables have times in UTC without saying so
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
