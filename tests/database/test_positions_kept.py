"""audit.positions says of every position what its orders and executions say, whatever became of these, at every moment."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from positions import Fill, Positions
from stories import STREAMS, Batch, Line, Story, arrivals, profile, stories
from test_disorder import OPEN, Database, empty, send, two_positions

from audit_wrapper import codec
from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.store.postgres import PostgresStore

KEPT = "SELECT account, exchange, position_id, begun_at, closed_at, is_open, executed FROM audit.positions ORDER BY 1, 2, 3"
BY_THE_VIEW = """
SELECT p.account, coalesce(p.exchange, ''), p.position_id, least(b.created_at, b.exchange_at), p.closed_at, p.is_open, p.executed > 0
FROM audit.v_position_figures p
JOIN (SELECT o.account, o.exchange, o.position_id, min(o.created_at AT TIME ZONE 'utc') AS created_at,
             min(f.exchange_at) AS exchange_at
      FROM audit.v_orders o LEFT JOIN audit.fills f ON f.order_key = o.order_key GROUP BY 1, 2, 3) AS b
  ON b.account = p.account AND b.exchange IS NOT DISTINCT FROM p.exchange AND b.position_id = p.position_id
ORDER BY 1, 2, 3
"""


async def compare(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """What is kept, which is what the view has."""
    kept = [tuple(row) for row in await connection.fetch(KEPT)]
    assert kept == [tuple(row) for row in await connection.fetch(BY_THE_VIEW)]
    return kept


@pytest.fixture
def database(audit_dsn: str) -> Iterator[Database]:
    opened = Database(audit_dsn)
    yield opened
    opened.close()


async def happen(database: Database, batches: Sequence[Batch], exchange: str, chance: random.Random) -> None:
    """These batches arrive; between them deliveries break off, the bot opens positions and names orders, somebody rebuilds."""
    store, connection = database.store, database.connection
    await empty(store, connection)
    later = list(two_positions(exchange))
    for batch in batches:
        if chance.random() < 0.2:
            with pytest.raises((ZeroDivisionError, StoreUnavailable)):
                await database.broken(batch, cut=chance.random() < 0.5)
        await send(store, batch)
        await compare(connection)
        if later and chance.random() < 0.3:
            await connection.execute(OPEN, *later.pop(chance.randrange(len(later))))
            await store.relink()
            await compare(connection)
        if chance.random() < 0.2:
            order = {
                "exchange": exchange,
                "symbol": "MNTUSDT",
                "side": "buy",
                "type": "MARKET",
                "size": 3,
                "status": "NEW",
            }
            number = await store.create_order(
                {**order, "order_id": chance.choice("123"), "position_id": chance.choice("79")}
            )
            await store.update_order(number, {"position_id": chance.choice("68")})
            await compare(connection)
        if chance.random() < 0.1:
            await store.rebuild()
            await compare(connection)
    await store.relink()
    kept = await compare(connection)
    await store.rebuild()
    assert await compare(connection) == kept


def with_exits(lines: Sequence[Line]) -> list[Line]:
    """The same, but the order of number 2 sells."""
    turned = []
    for line in lines:
        text = codec.encode(line.record)
        if re.search(rb'"2"|\bc2\b|orderId=2\b', text):
            text = text.replace(b"BUY", b"SELL").replace(b"Buy", b"Sell")
        turned.append(line._replace(record=codec.decode(text)))
    return turned


@profile(6)
@given(stories(most=20), st.data())
def test_whatever_happens_to_orders(database: Database, story: Story, data: st.DataObject) -> None:
    batches = data.draw(arrivals(with_exits(story.lines())), label="arrival")
    chance = data.draw(st.randoms(use_true_random=False), label="what happens between them")
    database.run(happen(database, batches, story.exchange, chance))


ORDERS = st.tuples(
    st.sampled_from(("7", "8", "9", None)),  # position
    st.sampled_from(("buy", "sell")),
    st.sampled_from(("1", "1", "2")),  # quantity
    st.sampled_from(("told", "told", "told", "in part", "untimed", "not told", "rests", "unanswered")),
)


def day(orders: Sequence[tuple[str | None, str, str, str]]) -> list[Line]:
    """Positions with an end, and with gaps; in one journal, and some in another, which numbers its orders just so."""
    desks = [Positions("kraken"), Positions("kraken")]
    lines = []
    for number, (position, side, quantity, how) in enumerate(orders):
        which = number % 5 // 4
        desk, stream, second = desks[which], STREAMS[which], 10 * number
        before = len(desk.journal.entries)
        fills = [Fill(second, "1.5", "1"), Fill(second + 1, "1.6", "1")][: int(quantity)]
        shown = {"in part": fills[:1], "told": fills, "untimed": fills}.get(how, [])
        filled = "0" if how == "rests" else quantity
        desk.order(second, side, quantity, *shown, position=position, answered=how != "unanswered", filled=filled)
        for entry in desk.journal.entries[before:]:
            text = codec.encode(entry.record)
            if how == "untimed":
                text = re.sub(rb'"timestamp":\d+', b'"timestamp":null', text)
            lines.append(Line(stream, entry.seq, codec.decode(text)))
    return lines


@profile(6)
@given(st.lists(ORDERS, min_size=2, max_size=8), st.data())
def test_positions_with_an_end_and_with_gaps(database: Database, orders: Any, data: st.DataObject) -> None:
    batches = data.draw(arrivals(day(orders)), label="arrival")
    chance = data.draw(st.randoms(use_true_random=False), label="what happens between them")
    database.run(happen(database, batches, "kraken", chance))


async def test_two_deliverers_at_once(audit_dsn, connection):
    """What they deliver are orders of the same positions, each from a journal of its own."""
    entries, exits = Positions("kraken"), Positions("kraken")
    exits._ids = map(str, itertools.count(100))
    for number in range(12):
        entries.order(number, "buy", "1", Fill(number, "1.5", "1"), position=str(number % 3))
        exits.order(100 + number, "sell", "1", Fill(100 + number, "1.6", "1"), position=str(number % 3))

    async def deliver(desk: Positions) -> None:
        async with PostgresStore(audit_dsn) as store:
            for at in range(0, len(desk.journal.entries), 3):
                await desk.journal.deliver(store, desk.journal.entries[at : at + 3])

    await asyncio.gather(deliver(entries), deliver(exits))
    assert [is_open for *_, is_open, _ in await compare(connection)] == [False] * 3


AS_BEFORE = "DROP TABLE audit.positions, audit.bot_schemas CASCADE; DELETE FROM audit.migrations WHERE version = 2"


async def test_a_database_of_the_release_before(audit_dsn, connection):
    """The positions that are there are reckoned once, whoever comes first; the orders stay where they are."""
    lines = day(
        [
            ("7", "buy", "1", "told"),
            ("7", "sell", "1", "told"),
            ("8", "buy", "2", "in part"),
            (None, "buy", "1", "told"),
        ]
    )
    async with PostgresStore(audit_dsn) as store:
        await send(store, lines)
    before = await compare(connection)
    assert [(row[2], row[5]) for row in before] == [("7", False), ("8", True)]
    file = "SELECT pg_relation_filenode('monitoring.orders'), (SELECT array_agg(ctid::text ORDER BY id) FROM monitoring.orders)"
    orders = await connection.fetchrow(file)
    await connection.execute(AS_BEFORE)

    async def opened() -> None:
        async with PostgresStore(audit_dsn):
            pass

    await asyncio.gather(*(opened() for _ in range(4)))
    assert await compare(connection) == before
    assert await connection.fetchrow(file) == orders
    # and not again at the next start
    await connection.execute("DELETE FROM audit.positions")
    await opened()
    assert await connection.fetch(KEPT) == []


async def test_each_bots_schema_has_its_own(fresh_dsn):
    """The same position in two of them: of one database, one account and one exchange."""
    for schema, orders in (
        ("one", [("7", "buy", "1", "told")]),
        ("other", [("7", "buy", "1", "told"), ("7", "sell", "1", "told")]),
    ):
        async with PostgresStore(fresh_dsn, bot_schema=schema) as store:
            stream = uuid4()
            await send(store, [line._replace(stream=stream) for line in day(orders)])
    connection = await asyncpg.connect(fresh_dsn)
    try:
        kept = await connection.fetch("SELECT bot_schema, position_id, is_open FROM audit.positions ORDER BY 1")
    finally:
        await connection.close()
    assert [tuple(row) for row in kept] == [('"one"', "7", True), ('"other"', "7", False)]


async def test_an_order_that_a_rebuild_drops(store, connection):
    """Its records are gone, so its row goes, and what is left of the position is open."""
    await send(store, day([("7", "buy", "1", "told"), ("7", "sell", "1", "told")]))
    assert [row[5] for row in await compare(connection)] == [False]
    await connection.execute(
        "DELETE FROM audit.events e USING audit.order_events oe, monitoring.orders o "
        "WHERE (oe.stream, oe.seq) = (e.stream, e.seq) AND o.order_key = oe.order_key AND o.side = 'sell'"
    )
    assert await store.rebuild() == 1
    assert [row[5] for row in await compare(connection)] == [True]
