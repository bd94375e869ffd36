"""Rows as a stream, in batches, from one moment of the database: what exports and frames are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import asyncpg

from audit_wrapper.errors import NothingFound
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.orders import Question, Table, Wanted, asked

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
    """The rows of one question. `fields`: its columns. `async for rows in stream`: batches, the oldest rows first."""

    def __init__(self, con: Connection, question: Question, fields: Sequence[Field]) -> None:
        self._con = con
        self._question = question
        self.fields = tuple(fields)

    async def __aiter__(self) -> AsyncIterator[list[asyncpg.Record]]:
        # a cursor of the server's: what is not read yet is not in memory
        cursor = await self._con.cursor(self._question.text, *self._question.arguments)
        while rows := await cursor.fetch(BATCH):
            yield rows

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


async def stream(con: Connection, sql: Queries, table: Table, wanted: Wanted) -> Stream:
    """The rows that are wanted of a table. Raises NothingFound: a symbol or an exchange that is in no row, or there are no
    positions to be read in this database."""
    question = await asked(con, sql, table, wanted)
    try:
        prepared = await con.prepare(question.text)
    except asyncpg.UndefinedTableError:
        if table != "positions":
            raise
        raise NothingFound(
            "this database has no view audit.v_positions yet: `audit-wrapper upgrade` makes it"
        ) from None
    return Stream(con, question, [Field(one.name, one.type.name) for one in prepared.get_attributes()])
