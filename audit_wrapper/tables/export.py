"""Rows as a stream, in batches, from one moment of the database: what exports and frames are made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from audit_wrapper.errors import NothingFound
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.orders import FILTERS, Question, Table, Wanted, asked
from audit_wrapper.tables.positions import columns, of_range
from audit_wrapper.tables.reader import Reader

BATCH = 5_000
_DIGITS_128, _DIGITS_256 = 38, 76  # what decimal128 and decimal256 hold


class Field(NamedTuple):
    """A column: its name, and PostgreSQL's name of its type (numeric, timestamp, uuid, ...)."""

    name: str
    type: str


class Scale(NamedTuple):
    """What holds every value of a numeric column: digits in all, and of these behind the point."""

    precision: int
    scale: int


class Stream:
    """The rows of one question. `fields`: its columns. `async for rows in stream`: batches, the oldest rows first.

    Amounts by currency (jsonb) are an object of texts, since a number in JSON is a float to whoever reads it."""

    def __init__(self, con: Connection, question: Question, fields: Sequence[Field]) -> None:
        self._con = con
        self._question = question
        self.fields = tuple(fields)
        self._amounts = tuple(field.name for field in fields if field.type == "jsonb")

    async def __aiter__(self) -> AsyncIterator[Sequence[Any]]:
        # a cursor of the server's: what is not read yet is not in memory
        cursor = await self._con.cursor(self._question.text, *self._question.arguments)
        while rows := await cursor.fetch(BATCH):
            yield [self._exact(row) for row in rows] if self._amounts else list(rows)

    def _exact(self, row: Any) -> Mapping[str, Any]:
        return {**row, **{name: _texts(row[name]) for name in self._amounts}}

    async def scales(self) -> dict[str, Scale | None]:
        """For each numeric column how many digits its values need; None where no decimal of 76 digits holds them all, or one
        is no number (NaN, Infinity)."""
        names = [field.name for field in self.fields if field.type == "numeric"]
        if not names:
            return {}
        parts = [
            f"max(scale({q})), max(length(trunc(abs({q}))::text)), coalesce(bool_or({q}::text !~ '^[-0-9.]+$'), false)"
            for q in (f'x."{name}"' for name in names)
        ]
        found = await self._con.fetchrow(
            f"SELECT {', '.join(parts)} FROM ({self._question.text}) x",  # noqa: S608 (names of columns)
            *self._question.arguments,
        )
        assert found is not None  # an aggregate has a row
        needed: dict[str, Scale | None] = {}
        for place, name in enumerate(names):
            scale, whole, strange = found[3 * place], found[3 * place + 1], found[3 * place + 2]
            digits = (scale or 0) + (whole or 1)
            needed[name] = None if strange or digits > _DIGITS_256 else Scale(max(digits, _DIGITS_128), scale or 0)
        return needed


async def stream(con: Connection, reader: Reader, table: Table, wanted: Wanted) -> Stream:
    """The rows that are wanted of a table. Of positions: those that were closed in the range, or still open at its end.

    Raises NothingFound: a symbol or an exchange that is in no row, or there are no positions to be read in this database."""
    sql = reader.queries("orders.sql")
    try:
        if table == "positions":
            question = await _of_positions(con, sql, reader.queries("positions.sql"), wanted)
        else:
            question = await asked(con, sql, table, wanted)
        prepared = await con.prepare(question.text)
    except asyncpg.UndefinedTableError:
        if table != "positions":
            raise
        raise NothingFound(
            "this database has no view audit.v_positions yet: `audit-wrapper upgrade` makes it"
        ) from None
    return Stream(con, question, [Field(one.name, one.type.name) for one in prepared.get_attributes()])


async def _of_positions(con: Connection, sql: Queries, of_positions: Queries, wanted: Wanted) -> Question:
    question = await asked(con, sql, "positions", msgspec.structs.replace(wanted, since=None, until=None))
    if wanted.since is None and wanted.until is None:
        return question
    found = await of_range(
        con,
        of_positions,
        wanted.since,
        wanted.until,
        exchange=wanted.exchange,
        account=wanted.account,
        position=wanted.position,
    )
    keys = columns(found, ("account", "exchange", "position_id"))
    place = len(question.arguments)
    condition = f" AND {of_positions['among'].strip()} ".format(*(f"${place + number}" for number in (1, 2, 3)))
    return Question(question.text.replace(FILTERS, f"{condition} {FILTERS}"), [*question.arguments, *keys])


def _texts(amounts: str | None) -> str | None:
    return None if amounts is None else json.dumps(json.loads(amounts, parse_float=str, parse_int=str))
