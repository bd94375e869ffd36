"""What is asked for decides how many rows are read, not how much has happened: counted in the plans, as PostgreSQL ran them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from audit_wrapper.settings import Settings
from audit_wrapper.store.positions import Position, keep, of_orders
from audit_wrapper.store.queries import load
from audit_wrapper.tables import Reader
from audit_wrapper.tables.export import stream
from audit_wrapper.tables.figures import Range, read_figures
from audit_wrapper.tables.finding import find
from audit_wrapper.tables.orders import Wanted, newest
from audit_wrapper.tables.story import story

MANY = (Path(__file__).parent / "many.sql").read_text(encoding="utf-8")
POSITIONS = 4_000  # with 12,000 orders, 8,000 executions and 24,000 records; 144 a day, the last on the 28th of January
ORDERS = 3 * POSITIONS
DAY = Range(since=datetime.fromisoformat("2020-01-20T00:00Z"), until=datetime.fromisoformat("2020-01-21T00:00Z"))
A_DAY = 144
STILL_OPEN = 1  # at the end of that day: number 100, of the first one


class Counted:
    """A connection that counts, for each query, the rows that its steps handed on or left out."""

    def __init__(self, con: Any, touched: dict[str, int]) -> None:
        self._con = con
        self._touched = touched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        await self._count(query, arguments)
        return await self._con.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        await self._count(query, arguments)
        return await self._con.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        await self._count(query, arguments)
        return await self._con.fetchval(query, *arguments)

    async def cursor(self, query: str, *arguments: Any) -> Any:
        await self._count(query, arguments)
        return await self._con.cursor(query, *arguments)

    async def _count(self, query: str, arguments: tuple[Any, ...]) -> None:
        told = await self._con.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
        rows = 0.0
        for step in _steps(json.loads(told)[0]["Plan"]):
            left_out = sum(count for name, count in step.items() if name.startswith("Rows Removed by"))
            rows += (step["Actual Rows"] + left_out) * step["Actual Loops"]
        self._touched[query] = self._touched.get(query, 0) + round(rows)


def _steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _steps(below)


class CountedReader(Reader):
    """`touched`: rows by query."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.touched: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def snapshot(self, doing: str = "", *, at_leisure: bool = False) -> AsyncIterator[Any]:
        async with super().snapshot(doing, at_leisure=at_leisure) as con:
            yield Counted(con, self.touched)

    @property
    def total(self) -> int:
        return sum(self.touched.values())


@pytest.fixture(scope="module")
def many(postgres_server: Any, audit_template: str) -> Iterator[str]:
    async def fill(connection: asyncpg.Connection) -> None:
        await connection.execute(MANY.format(positions=POSITIONS))
        await connection.execute(
            "UPDATE monitoring.orders SET symbol = 'S' || position_id::int % 40;"
            "INSERT INTO monitoring.trades (position_id, exchange, symbol, order_id, side, quantity, price, status, executed_at, "
            "order_key, account, purpose) SELECT position_id, exchange, symbol, order_id, side, filled, average_price, status, "
            "created_at, order_key, account, purpose FROM monitoring.orders WHERE filled = 10"
        )
        await connection.execute(
            "DELETE FROM audit.fills WHERE order_key = md5('k100-2')::uuid;"
            "DELETE FROM monitoring.orders WHERE order_key = md5('k100-2')::uuid"
        )
        await keep(connection, load("monitoring", "positions"), (), [Position("default", "binanceusdm", "100")])
        await connection.execute(
            "VACUUM ANALYZE monitoring.orders, monitoring.trades, audit.fills, audit.events, audit.positions"
        )
        # as where all is in memory: tables as small as these would be read whole otherwise, which large ones are not
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET random_page_cost = 1')

    with postgres_server.filled(audit_template, fill) as dsn:
        yield dsn


@pytest.fixture
async def reader(many: str) -> AsyncIterator[CountedReader]:
    async with CountedReader(Settings(dsn=many)) as opened:
        yield opened


async def test_the_story_of_one_position(reader: CountedReader) -> None:
    queries = reader.queries("story.sql")
    async with reader.snapshot() as con:
        (meant,) = await find(con, queries, "position:1234")
        told = await story(con, queries, meant)
    assert len(told.orders) == 3
    assert told.result.row is not None
    assert told.stops
    assert reader.total < 500, reader.touched


async def test_the_orders_of_the_last_hour(reader: CountedReader) -> None:
    since = datetime.fromisoformat("2020-01-28T18:00Z")
    async with reader.snapshot() as con:
        page = await newest(con, reader.queries("orders.sql"), "orders", Wanted(since=since), limit=50)
    assert 9 <= len(page.rows) <= 21
    assert reader.total < 10 * len(page.rows), reader.touched


async def test_the_trades_of_one_symbol(reader: CountedReader) -> None:
    async with reader.snapshot() as con:
        page = await newest(con, reader.queries("orders.sql"), "trades", Wanted(symbol="S7"), limit=50)
    assert len(page.rows) == 50
    assert page.more
    *meant, rows = reader.touched.values()
    assert rows < 20 * len(page.rows), reader.touched
    # which market each of forty symbols is: a few rows of each, however many there are
    assert sum(meant) < 40 * 150, reader.touched


def of_a_day(touched: dict[str, int], looked_for: tuple[str, ...]) -> None:
    """Each query grew with the day. Those that look for what is to be shown touch little else: a pass over all orders, which
    are not that many here, would be seen."""
    for query, rows in touched.items():
        assert rows < 400 * A_DAY, (rows, query)
    for query in looked_for:
        assert touched[query] < 3 * A_DAY < ORDERS / 20, (touched[query], query)


async def test_the_report_of_one_day(reader: CountedReader) -> None:
    figures = await read_figures(reader, DAY, rows=5_000, gaps=20)
    assert figures.performance[0]["positions"] == len(figures.positions) - STILL_OPEN == A_DAY
    assert (len(figures.orders), len(figures.fills)) == (3 * A_DAY, 2 * A_DAY)
    queries = {**reader.queries("figures.sql"), **reader.queries("positions.sql")}
    of_a_day(reader.touched, tuple(queries[name] for name in ("candidates", "extent", "questions", "question_kinds")))


async def test_what_is_open_now(reader: CountedReader) -> None:
    async with reader.snapshot() as con:
        rows = await con.fetch("SELECT * FROM audit.v_positions WHERE is_open")
    assert len(rows) == STILL_OPEN + 10
    assert reader.total < 250 * len(rows), reader.touched


async def test_the_positions_of_one_day_exported(reader: CountedReader) -> None:
    async with reader.snapshot() as con:
        rows = await stream(con, reader, "positions", Wanted(since=DAY.since, until=DAY.until))
        found = [row async for batch in rows for row in batch]
    assert len(found) == A_DAY + STILL_OPEN
    assert [row["position_id"] for row in found if row["is_open"]] == ["100"]
    of_a_day(reader.touched, (reader.queries("positions.sql")["candidates"],))


async def test_what_a_batch_does_to_the_positions_of_its_orders(many: str) -> None:
    connection = await asyncpg.connect(many)
    touched: dict[str, int] = {}
    try:
        orders = await connection.fetch(
            "SELECT order_key FROM monitoring.orders WHERE position_id::int BETWEEN 2000 AND 2009"
        )
        assert len(orders) == 30
        counted: Any = Counted(connection, touched)
        counted.execute = counted.fetch
        transaction = connection.transaction()
        await transaction.start()
        sql, keys = load("monitoring", "positions"), [row["order_key"] for row in orders]
        await keep(counted, sql, await of_orders(counted, sql, keys))
        await transaction.rollback()
    finally:
        await connection.close()
    assert 30 < sum(touched.values()) < 20 * len(orders), touched
