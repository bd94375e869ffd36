"""The figures of a range of time, as the views audit.v_* have them. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from audit_wrapper.errors import SchemaError
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.positions import columns, of_range
from audit_wrapper.tables.reader import Reader
from audit_wrapper.tables.symbols import meant_by

Row = Mapping[str, Any]

_POINTS = 3_000  # of a curve; a screen shows no more
_OF_RANGE = (  # what the queries of positions begin with, in this order
    "account",
    "exchange",
    "position_id",
    "symbol",
    "currency",
    "is_open",
    "opened_at",
    "closed_at",
    "fees",
    "fees_other",
    "entry_slippage",
    "exit_slippage",
    "gross_result",
)


@dataclass(frozen=True, kw_only=True)
class Range:
    """What figures are restricted to; None: not restricted. since, until: with a zone; until itself is not in it."""

    since: datetime | None = None
    until: datetime | None = None
    exchange: str | None = None
    account: str | None = None
    symbol: str | None = None  # any spelling: MNTUSDT, MNT/USDT:USDT
    position: str | None = None
    names: Sequence[str | None] | None = None  # of the symbol, as symbols.py finds them

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the queries want them."""
        return self.since, *self.other_than_since

    @property
    def other_than_since(self) -> tuple[Any, ...]:
        return self.until, self.exchange, self.account, self.names, self.position


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Rows of the queries of figures.sql, of one moment.

    positions: newest first; `of_so_many` in each row says how many there are. The same with orders, fills, questions, and with
    equity, which is thinned out. gaps: the intervals of those of `positions` that were longest without a stop. first_at, last_at: of which time the trail has anything, whatever the range; None: of none.
    """

    database: Row
    accounts: Sequence[Row]
    performance: Sequence[Row]
    funding: Sequence[Row]
    equity: Sequence[Row]
    positions: Sequence[Row]
    gaps: Sequence[Row]
    rejections: Sequence[Row]
    latency: Sequence[Row]
    latency_bins: Sequence[Row]
    questions: Sequence[Row]
    question_kinds: Sequence[Row]
    orders: Sequence[Row]
    fills: Sequence[Row]
    first_at: datetime | None
    last_at: datetime | None

    @property
    def is_empty(self) -> bool:
        """Nothing happened in the range."""
        return not (self.positions or self.orders or self.fills or self.latency or self.funding)


def of_so_many(rows: Sequence[Row]) -> int:
    """How many there are, of which these are shown."""
    return int(rows[0]["of_so_many"]) if rows else 0


async def read_figures(reader: Reader, within: Range, *, rows: int, gaps: int) -> Figures:
    """All figures of a range. rows: so many of each long table; gaps: of so many positions the intervals without a stop.

    Raises SchemaError (the database has no views: it is of an older release), NothingFound (a symbol that no order has),
    StoreUnavailable.
    """
    queries = {**reader.queries("figures.sql"), **reader.queries("positions.sql")}
    async with reader.snapshot("read the figures of a report") as con:
        if not await con.fetchval(queries["has_views"]):
            raise SchemaError(
                "this database has no views of the trail (audit.v_positions and others): it is of an older release; "
                "upgrade its schema, or let the bot start once with this release"
            )
        if within.symbol is not None:
            symbols = await meant_by(con, reader.queries("orders.sql"), within.symbol, within.exchange)
            within = replace(within, names=symbols.argument)
        return await _read(con, queries, within, rows, gaps)


async def _read(con: Connection, queries: Queries, within: Range, rows: int, gaps: int) -> Figures:
    async def read(
        name: str, *limit: int, after: str | None = None, arguments: Sequence[Any] = within.arguments
    ) -> Any:
        text = queries[name] if after is None else f"{queries[after]}\n{queries[name]}"
        return await con.fetch(text, *arguments, *limit)

    _, until, exchange, account, symbol, position = within.arguments
    reckoned = await of_range(
        con, queries, within.since, until, exchange=exchange, account=account, position=position, symbol=symbol
    )
    in_range = (*columns(reckoned, _OF_RANGE), until)
    positions = await read("positions", rows, after="in_range", arguments=in_range)
    stops: Any = await con.fetch(queries["stops"], *_longest_without(positions, gaps))
    extent = await con.fetchrow(queries["extent"], *within.arguments[2:])
    database = await con.fetchrow(queries["database"])
    assert extent is not None, "one row, always"
    assert database is not None, "one row, always"
    return Figures(
        database=dict(database),
        accounts=await read("accounts"),
        performance=await read("performance", after="in_range", arguments=in_range),
        funding=await read("funding"),
        equity=await read("equity", _POINTS, after="in_range", arguments=in_range),
        positions=positions,
        gaps=stops,
        rejections=await read("rejections", rows),
        latency=await read("latency", after="answers"),
        latency_bins=await read("latency_bins", after="answers"),
        questions=await read("questions", rows, arguments=within.other_than_since),
        question_kinds=await read("question_kinds", arguments=within.other_than_since),
        orders=await read("orders", rows),
        fills=await read("fills", rows),
        first_at=extent["first_at"],
        last_at=extent["last_at"],
    )


def _longest_without(positions: Sequence[Row], count: int) -> list[list[Any]]:
    """Which of them were without a stop for longest: accounts, exchanges, ids, when they were opened."""
    bare = [row for row in positions if row["seconds_without_stop"]]
    bare.sort(key=lambda row: row["seconds_without_stop"], reverse=True)
    return [[row[name] for row in bare[:count]] for name in ("account", "exchange", "position_id", "opened_at")]
