"""How rows go into PostgreSQL: as columns for unnest(), as JSON, or by COPY where all of them are new."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import asyncpg
import msgspec

from audit_wrapper.errors import StoreError
from audit_wrapper.rows import FillRow, FundingRow, OrderRow, TradeRow
from audit_wrapper.store.connection import Connection
from audit_wrapper.unhurried import unhurried

Row = OrderRow | TradeRow | FillRow | FundingRow
_TIMES: Mapping[type, tuple[str, ...]] = {
    OrderRow: ("created_at", "updated_at"),
    TradeRow: ("executed_at", "updated_at"),
    FillRow: ("exchange_at",),
    FundingRow: ("exchange_at",),
}


class NotNew(StoreError):
    """Something of a batch that was taken for new is there: deliver it again, without taking that for granted."""


def by_column(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as one list per column, for unnest(). width: how many columns, also where there is no row."""
    table = list(rows)
    return [[row[column] for row in table] for column in range(width)]


def rows_as_json(rows: Iterable[Row]) -> str:
    """Rows as PostgreSQL's json_populate_recordset reads them: every digit as text, times in UTC."""
    text = msgspec.json.encode([_in_utc(row) for row in rows]).decode("utf-8")
    if "\\u0000" in text:  # PostgreSQL's text cannot hold NUL; the event's body has it
        text = msgspec.json.encode(_without_nul(msgspec.json.decode(text))).decode("utf-8")
    return text


def _in_utc(row: Row) -> Row:
    # PostgreSQL passes over the zone of a time that goes into a timestamp without one
    for name in _TIMES[type(row)]:
        value = getattr(row, name)
        if value is not None and value.tzinfo is not UTC and value.tzinfo is not None:
            row = msgspec.structs.replace(row, **{name: value.astimezone(UTC)})
    return row


def _without_nul(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_nul(one) for name, one in value.items()}
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


async def copy_new(con: Connection, table: str, columns: Sequence[str] | None, rows: Sequence[tuple[Any, ...]]) -> None:
    """New rows of a table of ours, in this order. Raises NotNew if one is there."""
    try:
        await con.copy_records_to_table(table, schema_name="audit", columns=columns, records=unhurried(rows))
    except asyncpg.UniqueViolationError as problem:
        raise NotNew(f"audit.{table} has rows already that were to be new: {problem.detail}") from problem
