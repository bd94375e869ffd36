"""What is read for people: filters and pages, plans that go by an index, exact numbers in every kind of file, the newest records."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from conftest import EXCHANGE_SPELLING, UNIFIED, FakeJournal

from audit_wrapper.errors import NothingFound
from audit_wrapper.records import Operation, PositionLink
from audit_wrapper.settings import Settings
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.tables import Reader, writing
from audit_wrapper.tables.events import Tail
from audit_wrapper.tables.export import stream
from audit_wrapper.tables.finding import find
from audit_wrapper.tables.orders import TABLES, Wanted, asked, newest
from audit_wrapper.tables.story import story


@pytest.fixture
async def reader(audit_dsn: str) -> AsyncIterator[Reader]:
    async with Reader(Settings(dsn=audit_dsn)) as opened:
        yield opened


def linked(number: int, account: str = "default") -> PositionLink:
    return PositionLink(position_id=str(number), signal_id=number, how="scope", symbol=EXCHANGE_SPELLING)


async def ids(reader: Reader, table: Any = "orders", **wanted: Any) -> list[str]:
    async with reader.snapshot() as con:
        page = await newest(con, reader.queries("orders.sql"), table, Wanted(**wanted), limit=1000)
    return sorted(row["order_id"] for row in page.rows)


# -- which rows


async def test_a_symbol_in_every_spelling_and_two_markets_of_one_name(
    store: PostgresStore, journal: FakeJournal, reader: Reader
) -> None:
    for order_id, symbol in (("1", UNIFIED), ("2", "MNT/USDT"), ("3", "BTC/USDT:USDT")):
        journal.order(order_id, symbol)
    await journal.deliver(store)
    for table in ("orders", "trades"):
        assert await ids(reader, table, symbol="MNTUSDT") == ["1", "2"], "the bot's spelling does not tell them apart"
        assert await ids(reader, table, symbol=UNIFIED) == ["1"]
        assert await ids(reader, table, symbol="MNT/USDT") == ["2"]
        assert await ids(reader, table, symbol="btcusdt") == ["3"]
    with pytest.raises(NothingFound, match=r"symbol 'ETHUSDT'; there are: BTCUSDT, MNTUSDT$"):
        await ids(reader, symbol="ETHUSDT")


async def test_a_bot_that_spells_symbols_as_ccxt_does(
    store: PostgresStore, reader: Reader, connection: asyncpg.Connection, journal: FakeJournal
) -> None:
    journal.order("1")
    await journal.deliver(store)
    await connection.execute("UPDATE monitoring.orders SET symbol = $1", UNIFIED)
    assert await ids(reader, symbol="MNTUSDT") == await ids(reader, symbol=UNIFIED) == ["1"]


async def test_rows_of_the_bot_itself_are_not_the_trails(
    store: PostgresStore, journal: FakeJournal, reader: Reader, connection: asyncpg.Connection
) -> None:
    journal.order("1")
    await journal.deliver(store)
    await connection.execute("INSERT INTO monitoring.orders (order_id, symbol) VALUES ('2', 'MNTUSDT')")
    await connection.execute("INSERT INTO monitoring.trades (order_id, symbol) VALUES ('2', 'MNTUSDT')")
    assert await ids(reader) == await ids(reader, "trades") == ["1"]


async def test_time_counts_from_and_not_to(
    store: PostgresStore, journal: FakeJournal, reader: Reader, connection: asyncpg.Connection
) -> None:
    for number in (1, 2, 3):
        journal.order(str(number))
    await journal.deliver(store)
    times = await connection.fetch("SELECT created_at FROM monitoring.orders ORDER BY created_at")
    first, second, third = (row["created_at"].replace(tzinfo=UTC) for row in times)
    assert await ids(reader, since=second) == ["2", "3"]
    assert await ids(reader, since=first, until=third) == ["1", "2"]
    assert await ids(reader, until=first) == []


async def test_pages_of_rows_of_one_moment(
    store: PostgresStore, reader: Reader, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO monitoring.orders (exchange, symbol, status, order_key, created_at) "
        "SELECT 'x', 'A', 'NEW', gen_random_uuid(), '2026-01-01' FROM generate_series(1, 10)"
    )
    seen: list[int] = []
    async with reader.snapshot() as con:
        sql, before, more = reader.queries("orders.sql"), None, True
        while more:
            rows, more = await newest(con, sql, "orders", Wanted(), limit=3, before=before)
            before = rows[-1]["id"]
            seen += [row["id"] for row in rows]
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == 10


# -- plans


async def fill(connection: asyncpg.Connection) -> None:
    """So many rows that a scan of all does not pay."""
    await connection.execute(
        """INSERT INTO monitoring.orders
               (position_id, exchange, symbol, client_order_id, status, order_key, created_at, account, purpose)
           SELECT (i / 3)::text, 'binance', 'SYM' || CASE i % 4 WHEN 0 THEN i % 50 ELSE 7 END || 'USDT', 'c' || i, CASE i % 1000 WHEN 0 THEN 'UNKNOWN' ELSE 'FILLED' END,
                  md5(i::text)::uuid, '2026-01-01'::timestamp + i * interval '1 minute', 'default', 'entry'
           FROM generate_series(1, 20000) i"""
    )
    await connection.execute(
        """INSERT INTO monitoring.trades (position_id, exchange, symbol, status, order_key, executed_at, account, purpose)
           SELECT position_id, exchange, symbol, status, order_key, created_at, account, purpose FROM monitoring.orders"""
    )
    await connection.execute(
        """INSERT INTO audit.events (stream, seq, record_id, kind, action, account, correlation_id, scope, hash, body)
           SELECT '00000000-0000-7000-8000-0000000000a1', i, md5('r' || i)::uuid, 'intent', 'place', 'default',
                  md5('c' || i / 3)::uuid, CASE WHEN i % 7 = 0 THEN 'x' END, '', '{}' FROM generate_series(1, 20000) i"""
    )
    await connection.execute(
        """INSERT INTO audit.order_events
           SELECT order_key, '00000000-0000-7000-8000-0000000000a1', row_number() OVER (), 'order' FROM monitoring.orders"""
    )
    await connection.execute("INSERT INTO audit.orders SELECT order_key, 'x', false FROM monitoring.orders")
    await connection.execute(
        "INSERT INTO audit.order_aliases SELECT 'binance', 'default', '', 'order', id::text, order_key FROM monitoring.orders"
    )
    await connection.execute(
        """INSERT INTO audit.fills (order_key, account, exchange_trade_id)
           SELECT order_key, 'default', id::text FROM monitoring.orders"""
    )
    await connection.execute("ANALYZE")


@pytest.fixture(scope="module")
def many(postgres_server: Any, audit_template: str) -> Iterator[str]:
    with postgres_server.filled(audit_template, fill) as dsn:
        yield dsn


@pytest.fixture
async def among_many(many: str) -> AsyncIterator[Reader]:
    async with Reader(Settings(dsn=many)) as opened:
        yield opened


async def plan(con: Any, question: str, *arguments: Any) -> str:
    (row,) = await con.fetch(f"EXPLAIN (FORMAT JSON, COSTS OFF) {question}", *arguments)
    return str(row[0])


@pytest.mark.parametrize("table", ["orders", "trades"])
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"since": datetime(2026, 1, 2, tzinfo=UTC)},
        {"position": "1"},
        {"symbol": "SYM7USDT"},
        {"symbol": "SYM7USDT", "exchange": "binance", "purpose": "entry"},
        {"exchange": "binance", "account": "default", "status": ("FILLED",)},
    ],
)
async def test_the_newest_are_found_by_an_index(among_many: Reader, table: Any, wanted: dict[str, Any]) -> None:
    async with among_many.snapshot() as con:
        question = await asked(con, among_many.queries("orders.sql"), table, Wanted(**wanted), newest_first=True)
        found = await plan(con, f"{question.text} LIMIT 51", *question.arguments)
        assert "Seq Scan" not in found
        if "position" not in wanted:  # of one there are few, and sorting these is quicker
            assert re.search("audit_(orders_created|trades_executed|orders_symbol|trades_symbol)", found), found
            assert '"Sort"' not in found, "at the most, what has one time is sorted"


async def test_one_story_among_many_goes_by_indexes_alone(among_many: Reader) -> None:
    stream_id, key = UUID("00000000-0000-7000-8000-0000000000a1"), UUID(bytes=md5(b"9000").digest())
    arguments: dict[str, tuple[Any, ...]] = {
        "positions_named": ("3000",),
        "keys_named": ("9000",),
        "keys_between": (key, UUID(int=key.int | 0xFFFFFFFF)),
        "orders_of_keys": ([key],),
        "orders_of_position": ("3000", "default", "binance"),
        "fills_of_keys": ([key],),
        "records_of_keys": ([key], 5000),
        "records_of_calls": ([uuid4()], 5000),
        "scopes_of_keys": ([key],),
        "records_of_scope": (stream_id, "x", 19_000, 200),
    }
    sql = among_many.queries("story.sql")
    views = {"figures_of_position", "stops_of_position", "slippage_of_order"}
    assert set(arguments) == set(sql) - views
    async with among_many.snapshot() as con:
        for name, given in arguments.items():
            found = await plan(con, sql[name], *given)
            assert "Seq Scan" not in found, (name, found)
        found = await plan(
            con, among_many.queries("orders.sql")["markets_of_symbols"], ["SYM7USDT", "SYM4USDT"], ["binance"]
        )
        assert "Seq Scan" not in found, found
        assert found.count("audit_orders_symbol") == 2, found


async def test_the_newest_records_are_read_without_reading_all(among_many: Reader) -> None:
    async with among_many.snapshot() as con:
        found = await plan(con, among_many.queries("events.sql")["events_behind"], 19_990, [], None, None)
        assert "events_stored_no" in found, found
        assert [row["stored_no"] for row in await Tail(among_many.queries("events.sql")).begin(con, 3)] == [
            19998,
            19999,
            20000,
        ]


# -- the newest records


async def test_every_record_comes_once_also_one_that_was_committed_late(
    store: PostgresStore, journal: FakeJournal, reader: Reader, audit_dsn: str
) -> None:
    late = FakeJournal()
    for number in range(5):
        journal.order(str(number))
        late.order(f"late-{number}")
    await journal.deliver(store, journal.entries[:4])
    tail = Tail(reader.queries("events.sql"))
    async with reader.snapshot() as con:
        first = await tail.begin(con, 3)
    assert [row["stored_no"] for row in first] == [2, 3, 4]
    slow = await asyncpg.connect(audit_dsn)
    transaction = slow.transaction()
    await transaction.start()
    insert = """INSERT INTO audit.events (stream, seq, record_id, kind, action, account, hash, body)
                VALUES ($1, 1, $2, 'gap', 'other', 'default', '', '{}') RETURNING stored_no"""
    number = await slow.fetchval(insert, uuid4(), uuid4())
    await journal.deliver(store, journal.entries[4:])
    async with reader.snapshot() as con:
        second = await tail.new(con)
    await transaction.commit()
    await slow.close()
    async with reader.snapshot() as con:
        third, fourth = await tail.new(con), await tail.new(con)
    assert len(second) == len(journal.entries) - 4
    assert all(row["stored_no"] > number for row in second)
    assert [row["stored_no"] for row in third] == [number]
    assert fourth == []


async def test_a_role_that_may_not_read_the_sequence(
    store: PostgresStore, journal: FakeJournal, audit_dsn: str, postgres_server: Any
) -> None:
    journal.order("1")
    await journal.deliver(store)
    role = f"onlooker_{uuid4().hex[:8]}"
    database = audit_dsn.partition("?")[0].rpartition("/")[2]
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    owner = await asyncpg.connect(audit_dsn)
    try:
        await owner.execute(
            f"GRANT USAGE ON SCHEMA audit TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA audit TO {role}"
        )
        onlooker = Reader(Settings(dsn=postgres_server.address_of(database, role)))
        async with onlooker as reader, reader.snapshot() as con:
            assert len(await Tail(reader.queries("events.sql")).begin(con, 10)) == 2
    finally:
        await owner.execute(f"DROP OWNED BY {role}")
        await owner.close()
        postgres_server.execute(f"DROP ROLE {role}")


# -- what is meant


async def test_a_position_and_an_order_of_one_name(
    store: PostgresStore, journal: FakeJournal, reader: Reader, operation: Operation
) -> None:
    intent = journal.intent(position=linked(55))
    journal.acknowledge(intent, "1", position=linked(55))
    journal.order("55")
    other = FakeJournal(account="second")
    other.acknowledge(other.intent(position=linked(55)), "77", position=linked(55))
    await journal.deliver(store)
    await other.deliver(store)
    sql = reader.queries("story.sql")
    async with reader.snapshot() as con:
        found = await find(con, sql, "55")
        assert [(one.name.partition(":")[0], one.account) for one in found[:2]] == [
            ("position", "default"),
            ("position", "second"),
        ]
        assert found[2].order_key is not None
        (one,) = await find(con, sql, "position:55", account="second")
        assert [row["order_id"] for row in (await story(con, sql, one)).orders] == ["77"]
        (one,) = await find(con, sql, "order:55")
        assert [row["order_id"] for row in (await story(con, sql, one)).orders] == ["55"]
        with pytest.raises(
            NothingFound, match="it is known of: kraken MNTUSDT, account default, kraken MNTUSDT, account second"
        ):
            await find(con, sql, "position:55", exchange="binance")


async def test_two_positions_of_one_call_have_a_story_each(
    store: PostgresStore, journal: FakeJournal, reader: Reader, operation: Operation
) -> None:
    """A bot that opens everything within one call of its own: what it did for the other position is not told."""
    for number, symbol in ((1, UNIFIED), (2, "BTC/USDT:USDT")):
        link = PositionLink(position_id=str(number), how="scope")
        intent = journal.intent(symbol, operation=operation, position=link)
        journal.acknowledge(intent, str(number), position=link)
    await journal.deliver(store)
    sql = reader.queries("story.sql")
    async with reader.snapshot() as con:
        (one,) = await find(con, sql, "position:1")
        told = await story(con, sql, one)
    assert [row["order_id"] for row in told.orders] == ["1"]
    assert [step.what for step in told.steps if step.what != "opened"] == ["sent", "answered"]


async def test_without_the_views_the_story_is_told_and_says_what_is_missing(
    store: PostgresStore, journal: FakeJournal, reader: Reader, connection: asyncpg.Connection
) -> None:
    intent = journal.intent(position=linked(1))
    journal.acknowledge(intent, "1", position=linked(1))
    await journal.deliver(store)
    for view in ("v_positions", "v_position_stops", "v_slippage"):
        await connection.execute(f"DROP VIEW IF EXISTS audit.{view} CASCADE")
    sql = reader.queries("story.sql")
    for name in ("position:1", "order:1"):
        async with reader.snapshot() as con:
            (one,) = await find(con, sql, name)
            told = await story(con, sql, one)
        assert (told.result.row, told.stops) == (None, None)
        assert told.result.why_not is not None
        assert "audit-wrapper upgrade" in told.result.why_not
        assert [step.what for step in told.steps] == ["sent", "answered"]


# -- files


VALUES = {
    "whole": ["1", "20"],
    "money": ["0.050", "-1234567.123456789", None],
    "tiny": ["0.000000000000000000000000000000000001", "1"],
    "wide": ["123456789012345678901234567890.123456789012345678901234567890", "-1"],
    "too wide": ["1" * 70 + ".1234567", "0"],
    "no number": ["NaN", "1.5"],
    "nothing": [None, None],
}


@pytest.mark.parametrize("kind", list(VALUES))
async def test_parquet_holds_every_value_or_says_that_it_is_text(
    store: PostgresStore, reader: Reader, connection: asyncpg.Connection, kind: str
) -> None:
    values = [None if value is None else Decimal(value) for value in VALUES[kind]]
    for place, value in enumerate(values):
        await connection.execute(
            "INSERT INTO monitoring.orders (symbol, status, order_key, created_at, price) VALUES ('A', 'NEW', $1, $2, $3)",
            uuid4(),
            datetime(2026, 1, 1) + timedelta(seconds=place),
            value,
        )
    async with reader.snapshot(at_leisure=True) as con:
        rows = await stream(con, reader, "orders", Wanted())
        scales = await rows.scales()
        file = BytesIO()
        writer = writing.Parquet(file, rows.fields, scales)
        async for batch in rows:
            writer.rows(batch)
        writer.end()
    read = pyarrow.parquet.read_table(BytesIO(file.getvalue()))
    column = read.column("price")
    if kind in ("too wide", "no number"):
        assert scales["price"] is None
        assert column.type == pyarrow.string()
        assert column.to_pylist() == VALUES[kind]
    else:
        digits = 256 if kind == "wide" else 128
        assert getattr(pyarrow.types, f"is_decimal{digits}")(column.type)
        assert column.to_pylist() == values
        scale = {"whole": 0, "money": 9, "tiny": 36, "wide": 30, "nothing": 0}[kind]
        assert column.type.scale == scale
    assert read.schema.field("created_at").type == pyarrow.timestamp("us", tz="UTC")


async def test_csv_tells_nothing_from_an_empty_text_and_keeps_what_is_in_it(
    store: PostgresStore, reader: Reader, connection: asyncpg.Connection
) -> None:
    texts = [None, "", "a,b", 'say "no"', "two\nlines", " wide "]
    for place, text in enumerate(texts):
        await connection.execute(
            "INSERT INTO monitoring.orders (symbol, status, order_key, created_at, reason) VALUES ('A', 'NEW', $1, $2, $3)",
            uuid4(),
            datetime(2026, 1, 1) + timedelta(seconds=place),
            text,
        )
    async with reader.snapshot(at_leisure=True) as con:
        rows = await stream(con, reader, "orders", Wanted())
        names = [field.name for field in rows.fields]
        files = [BytesIO(), BytesIO()]
        writers = [writing.Csv(files[0], rows.fields), writing.JsonLines(files[1], rows.fields)]
        async for batch in rows:
            for writer in writers:
                writer.rows(batch)
    lines = [json.loads(line) for line in files[1].getvalue().decode().splitlines()]
    assert [line["reason"] for line in lines] == texts
    read = pyarrow.csv.read_csv(
        BytesIO(files[0].getvalue()),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"reason": pyarrow.string()}, strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    assert read.column_names == names
    assert read.column("reason").to_pylist() == texts


async def test_parquet_has_row_groups_of_a_good_size(
    store: PostgresStore, reader: Reader, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO monitoring.orders (symbol, status, order_key, created_at, price) "
        "SELECT 'A', 'NEW', gen_random_uuid(), '2026-01-01', i FROM generate_series(1, 27000) i"
    )
    async with reader.snapshot(at_leisure=True) as con:
        rows = await stream(con, reader, "orders", Wanted())
        file = BytesIO()
        writer = writing.Parquet(file, rows.fields, await rows.scales())
        async for batch in rows:
            writer.rows(batch)
        writer.end()
    stored = pyarrow.parquet.ParquetFile(BytesIO(file.getvalue()))
    assert [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)] == [20000, 7000]
    assert stored.read().column("price").to_pylist() == [Decimal(i) for i in range(1, 27001)]


async def test_who_follows_one_exchange_does_not_read_all_others_again_and_again(
    store: PostgresStore, journal: FakeJournal, reader: Reader
) -> None:
    journal.order("1")
    await journal.deliver(store)
    tail = Tail(reader.queries("events.sql"), exchange="bybit")
    async with reader.snapshot() as con:
        assert await tail.begin(con, 5) == []
    other = FakeJournal(exchange="bybit")
    other.order("2")
    await other.deliver(store)
    journal.order("3")
    await journal.deliver(store, journal.entries[2:])
    async with reader.snapshot() as con:
        assert [row["exchange"] for row in await tail.new(con)] == ["bybit", "bybit"]
        assert await tail.new(con) == []
        assert tail._behind == await con.fetchval("SELECT max(stored_no) FROM audit.events")


async def test_a_stream_comes_in_batches(store: PostgresStore, reader: Reader, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO monitoring.orders (symbol, status, order_key, created_at) "
        "SELECT 'A', 'NEW', gen_random_uuid(), '2026-01-01' FROM generate_series(1, 12000)"
    )
    async with reader.snapshot(at_leisure=True) as con:
        rows = await stream(con, reader, "orders", Wanted())
        sizes = [len(batch) async for batch in rows]
    assert sizes == [5000, 5000, 2000]


@pytest.mark.parametrize("table", TABLES)
async def test_every_table_can_be_asked_with_every_filter_it_has(
    store: PostgresStore, journal: FakeJournal, reader: Reader, connection: asyncpg.Connection, table: Any
) -> None:
    journal.acknowledge(journal.intent(position=linked(1)), "1", position=linked(1))
    await journal.deliver(store)
    if table == "positions" and await connection.fetchval("SELECT to_regclass('audit.v_positions')") is None:
        pytest.skip("the views are not there")
    now = datetime.now(UTC)
    wanted = Wanted(
        position="1",
        symbol=UNIFIED,
        exchange="kraken",
        account="default",
        since=now - timedelta(days=1)
        if table != "positions"
        else None,  # nothing was executed: when it began is not known
        until=now + timedelta(days=1) if table != "positions" else None,
        status=("FILLED",) if table in ("orders", "trades") else (),
    )
    async with reader.snapshot(at_leisure=True) as con:
        rows = await stream(con, reader, table, wanted)
        found = [row async for batch in rows for row in batch]
    if table == "fills":
        assert found == [], "nobody told of executions"
    else:
        assert found
