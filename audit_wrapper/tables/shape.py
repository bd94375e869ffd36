"""Of which shape the trail's tables are, and what differs between two looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries

_What = tuple[str, str]  # kind (schema, table, view, column, index) and name


class Part(NamedTuple):
    """One schema, table, view, column or index. how: what it is like. below: the table it is a part of; None: of none."""

    how: str
    below: str | None


class Shape(NamedTuple):
    """version: of the trail's own schema; None: there is none yet, or this role may not look at it."""

    version: int | None
    parts: dict[_What, Part]


async def shape_of(con: Connection, sql: Queries, bot_schema: str) -> Shape:
    """sql: the queries of shape.sql."""
    version = await con.fetchval(sql["version"]) if await con.fetchval(sql["may_read_version"]) else None
    rows = await con.fetch(sql["shape"], bot_schema)
    return Shape(version, {(row["kind"], row["name"]): Part(row["how"], row["below"]) for row in rows})


def changes(before: Shape, after: Shape) -> list[str]:
    """What was done between the two, one sentence each; of a table that is new, the table alone."""
    return sorted(_changes(before.parts, after.parts), key=_in_order)


def _changes(before: dict[_What, Part], after: dict[_What, Part]) -> Iterator[str]:
    for what, part in after.items():
        kind, name = what
        if part.below is not None and ("table", part.below) not in before:
            continue
        old = before.get(what)
        if old is None:
            yield f"{kind} {name} made" + (f" ({part.how})" if kind == "column" else "")
        elif old.how != part.how:
            yield f"{kind} {name} changed" + (f" from {old.how} to {part.how}" if kind == "column" else "")
    for what in before.keys() - after.keys():
        yield f"{what[0]} {what[1]} dropped"


def _in_order(sentence: str) -> tuple[int, str]:
    return ("schema", "table", "view", "column", "index").index(sentence.partition(" ")[0]), sentence
