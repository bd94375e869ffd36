"""However records arrive in PostgreSQL, and whatever breaks on the way, they come to the same rows; and so does a rebuild."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from days import recorded
from hypothesis import given
from hypothesis import strategies as st
from stories import Batch, Step, Story, arrivals, at_once, profile, stored, stories
from test_two_stores import plain
from trading import START

from audit_wrapper import codec
from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.journal import Entry
from audit_wrapper.rows import FillRow, OrderRow, TradeRow
from audit_wrapper.store.deliver import deliver
from audit_wrapper.store.postgres import PostgresStore

READ = {  # what people read, and what is decided once; `id` tells only when a row was made
    "monitoring.orders": "to_jsonb(t) - 'id'",
    "monitoring.trades": "to_jsonb(t) - 'id'",
    "audit.fills": "to_jsonb(t)",
    "audit.orders": "to_jsonb(t)",
    "audit.order_aliases": "to_jsonb(t)",
    "audit.order_events": "to_jsonb(t)",
    "audit.positions": "to_jsonb(t)",
}
OPEN = (
    "INSERT INTO monitoring.positions (id, signal_id, exchange, side, exchange_order_id, opened_at, closed_at, "
    "symbol, quantity, status) VALUES ($1, $2, $3, $4, $5, $6, $7, 'MNTUSDT', 10, 'active')"
)
EMPTY = (
    "TRUNCATE audit.events, audit.streams, audit.quarantine, audit.orders, audit.order_aliases, audit.order_events, "
    "audit.fills, audit.positions, monitoring.orders, monitoring.trades, monitoring.positions"
)


async def empty(store: PostgresStore, connection: asyncpg.Connection) -> None:
    await connection.execute(EMPTY)
    store._marks.clear()  # as one that connects anew; else it would take this for a standby that lacks something


def entries(batch: Batch) -> list[Entry]:
    made = []
    for line in batch:
        payload = codec.encode(line.record)
        made.append(Entry(line.seq, payload, hashlib.sha256(payload).digest()))
    return made


async def send(store: PostgresStore, batch: Batch) -> None:
    await store.deliver(batch[0].stream, entries(batch), [line.record for line in batch])


class Database:
    """One database, one store, one loop for all examples of a test."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.loop = asyncio.new_event_loop()
        self.run = self.loop.run_until_complete
        self.store = PostgresStore(dsn)
        self.run(self.store.open())
        self.connection: asyncpg.Connection = self.run(asyncpg.connect(dsn))

    def close(self) -> None:
        self.connection.terminate()
        self.run(self.store.close())
        self.loop.close()

    async def rows(self) -> dict[str, list[str]]:
        """Every row as text, every digit of it."""
        return {
            table: [r[0] for r in await self.connection.fetch(f"SELECT ({what})::text FROM {table} t ORDER BY 1")]
            for table, what in READ.items()
        }

    async def ids(self) -> list[tuple[Any, ...]]:
        found = []
        for table in ("monitoring.orders", "monitoring.trades"):
            found += [
                tuple(row) for row in await self.connection.fetch(f"SELECT order_key, id FROM {table} ORDER BY id")
            ]
        return found

    async def broken(self, batch: Batch, *, cut: bool) -> None:
        """A delivery of this batch that does not come to its end."""
        async with self.store._transaction("deliver") as con:
            records = [line.record for line in batch]
            await deliver(con, self.store._sql, batch[0].stream, entries(batch), records)
            if not cut:
                raise ZeroDivisionError
            pid = await con.fetchval("SELECT pg_backend_pid()")
            await self.connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)

    async def receive(
        self, batches: Sequence[Batch], chance: random.Random | None = None, positions: Sequence[tuple[Any, ...]] = ()
    ) -> dict[str, list[str]]:
        """The rows after all of these in a database that holds nothing but the bot's positions.

        With `chance` some deliveries crash, and are made again.
        """
        await empty(self.store, self.connection)
        for values in positions:
            await self.connection.execute(OPEN, *values)
        for number, batch in enumerate(batches):
            if chance is not None and chance.random() < 0.3:
                with pytest.raises((ZeroDivisionError, StoreUnavailable)):
                    await self.broken(batch, cut=chance.random() < 0.5)
                for again in batches[max(0, number - chance.randrange(3)) : number]:
                    await send(self.store, again)
            await send(self.store, batch)
        await self.store.relink()  # as delivery does when there is nothing more
        return await self.rows()


@pytest.fixture
def database(audit_dsn: str) -> Iterator[Database]:
    opened = Database(audit_dsn)
    yield opened
    opened.close()


def two_positions(exchange: str) -> tuple[tuple[Any, ...], ...]:
    """One that names its entry but was closed before; and one that is open, of the other side, and names nothing."""
    day, before = timedelta(days=1), START.replace(tzinfo=None) - timedelta(days=3)
    return (3, 30, exchange, "long", "1", before, before + day), (4, 40, exchange, "short", None, before, None)


@profile(8)
@given(st.booleans().flatmap(lambda coherent: stories(coherent=coherent)), st.data())
def test_any_arrival_gives_the_same_rows(database: Database, story: Story, data: st.DataObject) -> None:
    lines = story.lines()
    batches = data.draw(arrivals(lines), label="arrival")
    chance = data.draw(st.randoms(use_true_random=False), label="crashes")
    # a link that was found stays; so orders must not change their id or their symbol meanwhile
    positions = two_positions(story.exchange) if story.coherent else ()

    async def compare() -> None:
        expected = await database.receive(at_once(lines), positions=positions)
        assert await database.receive(batches, chance, positions) == expected
        ids = await database.ids()
        await database.store.rebuild()
        assert await database.rows() == expected
        assert await database.ids() == ids

    database.run(compare())


@profile(4)
@given(stories(), st.data())
def test_the_store_in_memory_makes_the_same_rows(database: Database, story: Story, data: st.DataObject) -> None:
    lines = story.lines()
    expected = stored(at_once(lines))
    database.run(database.receive(data.draw(arrivals(lines), label="arrival")))
    for table, kind, made in (
        ("monitoring.orders", OrderRow, expected.orders),
        ("monitoring.trades", TradeRow, expected.trades),
        ("audit.fills", FillRow, expected.fills),
    ):
        rows = database.run(database.connection.fetch(f"SELECT * FROM {table}"))
        assert sorted(repr(plain(row, kind)) for row in rows) == sorted(repr(plain(row, kind)) for row in made), table


@pytest.mark.parametrize("kind", ["binance", "bybit"])
@profile(1)
@given(data=st.data())
def test_a_real_day_gives_the_same_rows_however_it_arrives(database: Database, kind: str, data: st.DataObject) -> None:
    lines = recorded(kind)
    batches = data.draw(arrivals(lines), label="arrival")
    chance = random.Random(data.draw(st.integers(0, 2**32), label="crashes"))

    async def compare() -> None:
        expected = await database.receive(at_once(lines))
        assert await database.receive(batches, chance) == expected

    database.run(compare())


# -- rebuild


@profile(4)
@given(stories(), st.data())
def test_the_events_alone_are_enough(database: Database, story: Story, data: st.DataObject) -> None:
    """A DBA emptied every other table."""
    batches = data.draw(arrivals(story.lines()), label="arrival")

    async def compare() -> None:
        expected = await database.receive(batches)
        await database.connection.execute(EMPTY.replace("audit.events, ", ""))
        await database.store.rebuild()
        assert await database.rows() == expected

    database.run(compare())


class Pause:
    """Holds a rebuild up before one of its statements."""

    def __init__(self, store: PostgresStore, connection: asyncpg.Connection) -> None:
        self.store = store
        self.connection = connection

    async def before(self, statement: str) -> asyncio.Task[int]:
        """Start a rebuild; returns when it waits there."""
        await self.connection.execute("SELECT pg_advisory_lock(4242)")
        sql = self.store._sql
        self.store._sql = {**sql, statement: f"SELECT pg_advisory_xact_lock(4242); {sql[statement]}"}
        rebuilding = asyncio.create_task(self.store.rebuild())
        async with asyncio.timeout(20):
            while not await self.waiting("SELECT pg_advisory_xact_lock(4242)%"):
                await asyncio.sleep(0.01)
        self.store._sql = sql
        return rebuilding

    async def end(self) -> None:
        await self.connection.execute("SELECT pg_advisory_unlock(4242)")

    async def waiting(self, query: str) -> int | None:
        """The process whose statement waits for a lock."""
        return await self.connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND query LIKE $1",
            query,
        )


@pytest.fixture
def pause(store: PostgresStore, connection: asyncpg.Connection) -> Pause:
    return Pause(store, connection)


@pytest.mark.parametrize(
    "exchange", ["kraken", "okx"]
)  # one that is known already, and one that is met for the first time
async def test_a_delivery_waits_for_a_rebuild_and_then_goes_on(
    audit_dsn, store, pause, new_journal, contents, connection, exchange
):
    journal, other = new_journal(), new_journal(exchange=exchange)
    journal.order("1")
    journal.resting("2")
    await journal.deliver(store)
    other.order("7")
    other.resting("8")
    rebuilding = await pause.before("forget_everything_derived")
    async with PostgresStore(audit_dsn) as second:
        delivering = asyncio.create_task(other.deliver(second))
        behind = (
            {"%pg_advisory_xact_lock(k)%"} if exchange == "kraken" else {"%INSERT INTO audit.events%", "COPY%events%"}
        )
        async with asyncio.timeout(20):
            while not (delivering.done() or any([await pause.waiting(one) for one in behind])):
                await asyncio.sleep(0.01)
        assert not delivering.done()
        await pause.end()
        assert await rebuilding == 2
        await delivering
    assert [row["order_id"] for row in await connection.fetch("SELECT order_id FROM monitoring.orders ORDER BY 1")] == [
        "1", "2", "7", "8",
    ]  # fmt: skip
    before = await contents()
    assert await store.rebuild() == 4
    assert await contents() == before


async def test_a_rebuild_that_is_killed_changes_nothing(store, pause, journal, contents, connection):
    journal.order("1")
    journal.resting("2")
    await journal.deliver(store)
    await connection.execute("UPDATE monitoring.orders SET status = 'NEW'; DELETE FROM monitoring.trades")
    before = await contents()
    rebuilding = await pause.before("drop_rows_without_events")
    pid = await pause.waiting("SELECT pg_advisory_xact_lock(4242)%")
    assert await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    with pytest.raises(StoreUnavailable):
        await rebuilding
    assert await contents() == before
    await pause.end()
    assert await store.rebuild() == 2
    assert [row["status"] for row in await connection.fetch("SELECT status FROM monitoring.orders ORDER BY id")] == [
        "FILLED", "NEW",
    ]  # fmt: skip


async def test_a_rebuild_keeps_what_no_record_says(store, journal, contents, connection):
    """Serial ids, positions that were found in the bot's own table, rows that the bot made."""
    now = datetime.now(UTC).replace(tzinfo=None)
    await connection.execute(OPEN, 5, 50, "kraken", "long", "1", now, None)
    ours = {"exchange": "kraken", "symbol": "MNTUSDT", "side": "buy", "type": "MARKET", "size": 3, "status": "NEW"}
    adopted = await store.create_order({**ours, "order_id": "3", "position_id": 9})
    untouched = await store.create_order({**ours, "order_id": "77"})
    await connection.execute("INSERT INTO monitoring.orders (symbol, order_id) VALUES ('MNTUSDT', '1')")
    journal.order("1")
    journal.resting("2")
    journal.order("3")
    await journal.deliver(store)
    before = await contents()
    found = {row["order_id"]: row for row in before["monitoring.orders"] if row["order_key"] is not None}
    assert (found["1"]["position_id"], found["1"]["link_how"]) == ("5", "positions_table:order_id")
    assert (found["3"]["id"], found["3"]["position_id"]) == (adopted, "9")
    assert [row["id"] for row in before["monitoring.orders"] if row["order_id"] == "77"] == [untouched]
    await store.rebuild()
    assert await contents() == before


# -- what was found by all this, one by one


async def test_what_a_link_told_of_a_trade_stays_when_more_is_known_of_its_order(store, journal, contents, connection):
    await connection.execute(OPEN, 5, 50, "kraken", "long", "1", datetime.now(UTC).replace(tzinfo=None), None)
    journal.order("1")
    await journal.deliver(store)
    before = (await contents())["monitoring.trades"]
    assert before[0]["purpose"] == "entry"
    await journal.deliver(store, [journal.seen("1", fee={"cost": "0.00117", "currency": "USDT"})])
    assert [{**row, "updated_at": None} for row in (await contents())["monitoring.trades"]] == [
        {**row, "updated_at": None} for row in before
    ]


async def test_a_row_the_bot_made_before_the_answer_was_delivered_is_the_orders_row(store, journal, connection):
    intent = journal.intent()
    await journal.deliver(store)
    made = await store.create_order(
        {"exchange": "kraken", "symbol": "MNTUSDT", "side": "buy", "type": "MARKET", "size": 3, "status": "NEW",
         "order_id": "1", "position_id": 9}
    )  # fmt: skip
    await journal.deliver(store, [journal.acknowledge(intent, "1")])
    (row,) = await connection.fetch("SELECT * FROM monitoring.orders")
    assert (row["id"], row["status"], row["position_id"]) == (made, "FILLED", "9")


async def test_a_cancel_all_that_comes_late_takes_its_place(store, journal, contents, new_journal):
    journal.resting("1")
    first, second = journal.cancel_all(), journal.cancel_all()
    await journal.deliver(store, [*journal.entries[:2], second])
    await journal.deliver(store, [first])  # it was in quarantine
    late = await contents()
    await store.rebuild()
    assert await contents() == late
    assert late["monitoring.orders"][0]["updated_at"] == first.record.called_at.replace(tzinfo=None)


async def test_the_sixty_first_cancel_all_counts_as_well(store, journal, connection):
    """The others were answered before the exchange said once more that the order stands."""
    journal.resting("1")
    for _ in range(60):
        journal.cancel_all()
    journal.seen("1", status="open", filled="0", remaining="3", type="limit", average=None)
    journal.cancel_all()
    await journal.deliver(store)
    assert await connection.fetchval("SELECT status FROM monitoring.orders") == "CANCELED"


async def test_what_replaced_a_stop_is_named_as_it_is_known_now(store, connection, contents):
    """Two intents turn out to be one order, before or after a row says that it was replaced by the second."""
    story = Story("binance", [
        Step("place", id="1", variant=2), Step("answer", id="1", variant=0),
        Step("place", id="2", variant=0, desk=1), Step("answer", id="2", variant=0, desk=1),
        Step("place", id="1", variant=2), Step("answer", id="2", variant=0),
    ])  # fmt: skip
    lines = story.lines()
    for order in (lines, lines[::-1]):
        await empty(store, connection)
        for line in order:
            await send(store, [line])
        rows = {row["order_id"]: row for row in (await contents())["monitoring.orders"]}
        assert rows["1"]["replaced_by"] == rows["2"]["order_key"]


async def test_a_flag_goes_with_the_conflict(store, new_journal, connection):
    """Two orders claim one execution until they turn out to be one; the third one's flag goes too."""
    trade = {"id": "t1", "order": "1", "side": "buy", "price": "0.65", "amount": "3", "symbol": "MNT/USDT:USDT"}
    bot, watcher = new_journal(), new_journal()
    intent = bot.intent()
    bot.order("2", trades=[trade])
    watcher.seen("1", trades=(trade,))
    await bot.deliver(store)
    await watcher.deliver(store)
    assert await connection.fetchval("SELECT count(*) FROM audit.fills WHERE conflicts") == 2
    await watcher.deliver(store, [watcher.seen("1", trades=({**trade, "side": "sell"},))])
    await bot.deliver(store, [bot.acknowledge(intent, "1")])
    before = [tuple(r) for r in await connection.fetch("SELECT * FROM audit.fills ORDER BY order_key")]
    await store.rebuild()
    assert [tuple(r) for r in await connection.fetch("SELECT * FROM audit.fills ORDER BY order_key")] == before


async def test_an_order_linked_by_its_time_is_linked_by_its_id_once_that_is_known(
    audit_dsn, journal, contents, connection
):
    """Also where the look after the batch was left out, and only a later one is made up for it."""
    exchange, now = journal.exchange, datetime.now(UTC).replace(tzinfo=None)
    await connection.execute(OPEN, 3, 30, exchange, "long", "1", now - timedelta(days=3), now - timedelta(days=2))
    await connection.execute(OPEN, 4, 40, exchange, "short", None, now - timedelta(days=3), None)
    async with PostgresStore(audit_dsn) as store:
        intent = journal.intent()
        await journal.deliver(store)
        assert [row["position_id"] for row in (await contents())["monitoring.orders"]] == ["4"]
        store._linker._not_before = float("inf")
        await journal.deliver(store, [journal.acknowledge(intent, "1")])
        await store.relink()
    (order,), (trade,) = (await contents())["monitoring.orders"], (await contents())["monitoring.trades"]
    assert (order["position_id"], order["signal_id"], order["purpose"]) == ("3", 30, "entry")
    assert (trade["position_id"], trade["signal_id"], trade["purpose"]) == ("3", 30, "entry")
