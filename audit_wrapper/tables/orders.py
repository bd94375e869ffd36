"""Orders, trades and what else has rows: which of them are wanted, and the newest first, page by page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import asyncpg
import msgspec

from audit_wrapper.errors import NothingFound
from audit_wrapper.records import OrderStatus, Purpose
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.symbols import Symbols, conditions, meant_by, none

Table = Literal["orders", "trades", "fills", "positions", "events"]
TABLES: tuple[Table, ...] = ("orders", "trades", "fills", "positions", "events")
FILTERS = "/* filters */"
_MOST_PARTS = 300

# of each table: the letter it has in orders.sql, the column of its time, whether that is without a zone
_TIME = {
    "orders": ("o", "created_at", True),
    "trades": ("t", "executed_at", True),
    "fills": ("f", "exchange_at", False),
    "positions": ("p", "opened_at", False),
    "events": ("e", "called_at", False),
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows. What is None or empty does not matter.

    symbol: in any spelling, as symbols.py has it; ccxt's (MNT/USDT:USDT) means that market alone.
    status: one of these. since, until: with a time zone; `until` itself is not in it.
    """

    position: str | None = None
    symbol: str | None = None
    exchange: str | None = None
    account: str | None = None
    status: tuple[str, ...] = ()
    purpose: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Page(NamedTuple):
    """Rows, the newest first. `more`: there are older ones; ask with `before` as the `id` of the last of these."""

    rows: list[asyncpg.Record]
    more: bool


class Question(NamedTuple):
    """A query and its arguments."""

    text: str
    arguments: list[Any]


async def newest(
    con: Connection,
    sql: Queries,
    table: Literal["orders", "trades"],
    wanted: Wanted,
    *,
    limit: int,
    before: int | None = None,
) -> Page:
    """At most `limit` rows, the newest first; `before`: older than the row with this `id`.

    Raises NothingFound, for a symbol or an exchange that is in no row, or a row `before` that is not there.
    """
    symbols = await _checked(con, sql, wanted)
    text, arguments = _question(sql, table, wanted, symbols, newest_first=True)
    if before is not None:
        place = await con.fetchrow(sql[f"{table.removesuffix('s')}_place"], before)
        if place is None:
            raise NothingFound(f"there is no row {before} in {table}")
        letter, column, _ = _TIME[table]
        condition = " AND ({letter}.{column}, {letter}.id) < ({0}, {1})".format(
            *_numbers(arguments, (place["at"], place["id"])), letter=letter, column=column
        )
        text = text.replace(FILTERS, f"{condition} {FILTERS}")
    (most,) = _numbers(arguments, [limit + 1])
    parts = await _parts(con, sql, wanted, symbols)
    if parts:
        # each part is in the order of an index, so that the newest of each are enough to find the newest of all
        numbered = [
            " AND ".join(
                f"{_TIME[table][0]}.{name} "
                + (f"= {_numbers(arguments, [value])[0]}" if value is not None else "IS NULL")
                for name, value in part.items()
            )
            for part in parts
        ]
        selects = " UNION ALL ".join(f"({text.replace(FILTERS, f' AND {one}')} LIMIT {most})" for one in numbered)
        text = f"SELECT * FROM ({selects}) x ORDER BY {_TIME[table][1]} DESC, id DESC"  # noqa: S608 (names of columns)
    rows = await con.fetch(f"{text} LIMIT {most}", *arguments)
    return Page(rows[:limit], len(rows) > limit)


async def _parts(con: Connection, sql: Queries, wanted: Wanted, symbols: Symbols | None) -> list[dict[str, str | None]]:
    """What is wanted, in parts that an index has in the order of time: account, exchange and purpose in every combination that
    may be there; of a symbol, each of its spellings on each exchange. Without them the rows of an account that has long been still would be looked
    for among all. Empty where nothing is gained: none of these is asked for, or what is asked for is few rows anyway."""
    if wanted.position is not None:
        return []
    if wanted == Wanted(status=wanted.status, since=wanted.since, until=wanted.until):
        return []
    accounts, exchanges = [wanted.account], [wanted.exchange]
    if wanted.exchange is None:
        exchanges = [*(row["exchange"] for row in await con.fetch(sql["exchanges_of_orders"])), None]
    parts: list[dict[str, str | None]]
    if symbols is not None:
        parts = [
            {"symbol": symbol, "exchange": exchange}
            for symbol, exchange in itertools.product(symbols.spellings, exchanges)
        ]
        return parts if len(parts) <= _MOST_PARTS else []
    if wanted.account is None:
        accounts = [row["account"] for row in await con.fetch(sql["accounts_of_orders"])]
    purposes: list[str | None] = [wanted.purpose] if wanted.purpose is not None else [*map(str, Purpose), None]
    parts = [
        {"account": account, "exchange": exchange, "purpose": purpose}
        for account, exchange, purpose in itertools.product(accounts, exchanges, purposes)
    ]
    return parts if len(parts) <= _MOST_PARTS else []


async def asked(con: Connection, sql: Queries, table: Table, wanted: Wanted, *, newest_first: bool = False) -> Question:
    """The query for what is wanted of a table. Raises NothingFound, for a symbol or an exchange that is in no row."""
    return _question(sql, table, wanted, await _checked(con, sql, wanted), newest_first=newest_first)


async def _checked(con: Connection, sql: Queries, wanted: Wanted) -> Symbols | None:
    """What is meant by the symbol. Raises NothingFound, for a symbol or an exchange that is in no row."""
    if wanted.exchange:
        exchanges = [row["exchange"] for row in await con.fetch(sql["exchanges_of_orders"])]
        if wanted.exchange not in exchanges:
            raise NothingFound(none("exchange", wanted.exchange, exchanges))
    return await meant_by(con, sql, wanted.symbol, wanted.exchange) if wanted.symbol else None


def _question(sql: Queries, table: Table, wanted: Wanted, symbols: Symbols | None, *, newest_first: bool) -> Question:
    arguments: list[Any] = []
    filters = "".join(
        f" AND {condition.format(*_numbers(arguments, values))}"
        for condition, values in _conditions(sql, table, wanted, symbols)
    )
    text = sql[table if newest_first else f"{table}_ascending"]
    return Question(text.rstrip().rstrip(";").replace(FILTERS, f"{filters} {FILTERS}"), arguments)


def _numbers(arguments: list[Any], values: Sequence[Any]) -> list[str]:
    """Add the values to the arguments; their places, as $1, $2, ..."""
    arguments += values
    return [f"${len(arguments) - len(values) + place + 1}" for place in range(len(values))]


def _conditions(
    sql: Queries, table: Table, wanted: Wanted, symbols: Symbols | None
) -> Iterator[tuple[str, Sequence[Any]]]:
    letter, time, without_zone = _TIME[table]
    if wanted.position is not None:
        if table == "fills":
            yield f"f.order_key IN ({sql['keys_of_position']})", [wanted.position]
        elif table == "events":
            yield "e.body -> 'position' ->> 'position_id' = {}", [wanted.position]
        else:
            yield f"{letter}.position_id = {{}}", [wanted.position]
    if wanted.exchange is not None:
        yield f"{letter}.exchange = {{}}", [wanted.exchange]
    if wanted.account is not None:
        yield f"{letter}.account = {{}}", [wanted.account]
    if symbols is not None:
        yield from conditions(sql, table, letter, symbols)
    if wanted.status:
        yield f"{letter}.status = ANY({{}})", [list(wanted.status)]
        if table == "trades" and OrderStatus.FILLED not in wanted.status:
            yield "t.status <> 'FILLED'", []  # there are few, and an index of their own
    if wanted.purpose is not None:
        if table == "events":
            yield "e.body ->> 'purpose' = {}", [wanted.purpose]
        else:
            yield f"{letter}.purpose = {{}}", [wanted.purpose]
    for moment, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if moment is not None:
            yield f"{letter}.{time} {sign} {{}}", [_naive(moment) if without_zone else moment.astimezone(UTC)]


def _naive(moment: datetime) -> datetime:
    """As the bot's tables have it: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
