"""The whole story of one position or one order, out of the records themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from audit_wrapper import codec
from audit_wrapper.errors import CodecError
from audit_wrapper.reading import compact
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables import telling
from audit_wrapper.tables.finding import Meant
from audit_wrapper.tables.steps import Step, Told, steps
from audit_wrapper.tables.values import utc

_MOST = 5_000  # records of one story; a person reads fewer
_MOST_OF_SCOPE = 200  # of those that name no order
_VIEW_TIMEOUT = "5s"  # the figures are worth waiting for, but not without end
_NOTHING = "nothing was executed, or no price was meant"
_NO_VIEWS = "this database has no audit.v_* views yet: `audit-wrapper upgrade` makes them"
_OUTCOMES = (
    RecordKind.INTENT,
    RecordKind.ACKNOWLEDGED,
    RecordKind.UNCHANGED,
    RecordKind.REJECTED,
    RecordKind.NOT_SENT,
    RecordKind.OUTCOME_UNKNOWN,
)

Row = dict[str, Any]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What it came to. `row`: of the view; None: not known, and `why_not` says why. In a row too, NULL is not known."""

    row: Row | None = None
    why_not: str | None = None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One position, or one order.

    orders, fills: rows of `monitoring.orders` and `audit.fills`, the oldest first. result: of a position, its row of
    `audit.v_positions`; of an order, its row of `audit.v_slippage`. stops: the rows of `audit.v_position_stops`; None: not
    known. incomplete: what could not be told, in words.
    """

    meant: Meant
    orders: tuple[Row, ...]
    fills: tuple[Row, ...]
    result: Figures
    stops: tuple[Row, ...] | None
    steps: tuple[Step, ...]
    incomplete: tuple[str, ...] = ()


async def story(con: Connection, sql: Queries, meant: Meant) -> Story:
    """Tell it. `con` is in a transaction: everything is as of one moment."""
    if meant.position_id is not None:
        orders = await con.fetch(sql["orders_of_position"], meant.position_id, meant.account, meant.exchange)
    else:
        orders = await con.fetch(sql["orders_of_keys"], [meant.order_key])
    keys = [row["order_key"] for row in orders]
    fills = await con.fetch(sql["fills_of_keys"], keys)
    gathered = _Gathered(meant, orders)
    await gathered.gather(con, sql, keys)
    if meant.position_id is None:
        (result,), stops = await _figures(con, sql, ("slippage_of_order", keys[0])), None
    else:
        place = (meant.account, meant.exchange, meant.position_id)
        (result,) = await _figures(con, sql, ("figures_of_position", *place))
        stops = await _rows(con, sql["stops_of_position"], *place)
    told = steps(gathered.told(), orders, fills, _of_views(result, stops if isinstance(stops, list) else []))
    return Story(
        meant=meant,
        orders=tuple(map(dict, orders)),
        fills=tuple(map(dict, fills)),
        result=result,
        stops=tuple(stops) if isinstance(stops, list) else None,
        steps=told,
        incomplete=tuple(gathered.incomplete),
    )


class _Gathered:
    """Records that belong to a story, each once."""

    def __init__(self, meant: Meant, orders: Iterable[Any]) -> None:
        self._meant = meant
        self._orders = list(orders)
        self._symbols = {compact(row["symbol"]) for row in self._orders}
        self._symbols |= {compact(row["unified_symbol"]) for row in self._orders}
        self._last = max((utc(row["updated_at"]) for row in self._orders), default=None)
        self._records: dict[tuple[UUID, int], Record] = {}
        self._parts: dict[tuple[UUID, int], dict[UUID, tuple[str, ...]]] = {}
        self._of_scope: set[UUID] = set()
        self.incomplete: list[str] = []

    async def gather(self, con: Connection, sql: Queries, keys: list[UUID]) -> None:
        """The records of the orders; those of the bot's calls that these came from; those that hit their symbol."""
        for row in self._within(await con.fetch(sql["records_of_keys"], keys, _MOST + 1), _MOST):
            self._take(row)
            parts = self._parts.setdefault((row["stream"], row["seq"]), {})
            parts[row["order_key"]] = (*parts.get(row["order_key"], ()), row["part"])
        calls = {r.operation.correlation_id for r in self._records.values() if r.operation is not None}
        calls |= {row["correlation_id"] for row in self._orders if row["correlation_id"] is not None}
        for row in self._within(await con.fetch(sql["records_of_calls"], list(calls), _MOST + 1), _MOST):
            self._take(row)
        for scope in await con.fetch(sql["scopes_of_keys"], keys):
            for row in await con.fetch(
                sql["records_of_scope"], scope["stream"], scope["scope"], scope["seq"], _MOST_OF_SCOPE
            ):
                self._take(row, in_time=True)

    def told(self) -> list[Told]:
        """What was gathered, journal by journal."""
        return [
            Told(stream, seq, record, self._parts.get((stream, seq), {}))
            for (stream, seq), record in sorted(self._records.items())
            if (stream, seq) in self._parts or self._belongs(record)
        ]

    def _within(self, rows: list[asyncpg.Record], most: int) -> list[asyncpg.Record]:
        if len(rows) > most:
            self.incomplete.append(f"only the first {most:,} records are told here")
        return rows[:most]

    def _take(self, row: Any, *, in_time: bool = False) -> None:
        place = (row["stream"], row["seq"])
        if place in self._records:
            return
        try:
            record = codec.decode(row["body"].encode("utf-8"))
        except CodecError as problem:
            self.incomplete.append(str(problem))
            return
        late = self._last is not None and record.called_at is not None and record.called_at > self._last
        if not (in_time and late):
            self._records[place] = record
        if in_time:
            self._of_scope.add(record.record_id)

    def _belongs(self, record: Record) -> bool:
        """Of records that come with a call: not what it did to other positions and other symbols."""
        link = record.position
        mine = self._meant.position_id or self._orders[0]["position_id"]
        if link is not None and None not in (link.position_id, mine) and link.position_id != mine:
            return False
        if record.exchange is not None and record.exchange != self._meant.exchange:
            return False
        symbol = telling.symbol(record)
        if symbol is not None and compact(symbol) not in self._symbols:
            return False
        # of one order: what was sent for others is not its story
        return self._meant.position_id is not None or record.kind not in _OUTCOMES or record.record_id in self._of_scope


async def _figures(con: Connection, sql: Queries, *questions: tuple[Any, ...]) -> list[Figures]:
    found = []
    for name, *arguments in questions:
        rows = await _rows(con, sql[name], *arguments)
        if isinstance(rows, str):
            found.append(Figures(why_not=rows))
        elif not rows:
            found.append(Figures(why_not=_NOTHING))
        else:
            found.append(Figures(row=rows[0], why_not=rows[0].get("why_not")))
    return found


async def _rows(con: Connection, query: str, *arguments: Any) -> list[Row] | str:
    """Rows of a view; a sentence where it cannot be read. What fails is undone, so that the rest can still be read."""
    try:
        async with con.transaction():
            await con.execute(f"SET LOCAL statement_timeout = '{_VIEW_TIMEOUT}'")
            return [dict(row) for row in await con.fetch(query, *arguments)]
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return _NO_VIEWS
    except asyncpg.InsufficientPrivilegeError:
        return "this role may not read the views audit.v_*"
    except asyncpg.QueryCanceledError:
        return f"the view did not answer within {_VIEW_TIMEOUT}"


def _of_views(result: Figures, stops: Iterable[Row]) -> list[Step]:
    """What the views know of the time: when the position began and ended, and when it stood without a stop."""
    found = []
    row = result.row or {}
    if row.get("closed_at") is not None:
        found.append(Step(at=utc(row["closed_at"]), what="closed", words="nothing of the position is left"))
    is_known = row.get("seconds_without_stop") is not None
    for interval in stops:
        if interval["has_stop"] is False:
            found.append(Step(at=utc(interval["from_at"]), what="no stop", words=_lasting(interval, is_known)))
    return found


def _lasting(interval: Row, is_known: bool) -> str:
    """How long a position stood without a stop; not where nobody knows how long it stood at all, or whether a stop did. An interval of
    one that is open ends at the moment of the question."""
    lasted = f" for {telling.span(interval['until_at'] - interval['from_at'])}" if is_known else ""
    return f"the position stands without a stop{lasted}"
