"""The views are put in place without standing in anybody's way: the bot's, another bot's, or delivery's."""

import asyncio
import contextlib
import json
import logging
import re
import time
from pathlib import Path

import asyncpg
import pytest
from rig import Rig

from audit_wrapper.store import views
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.store.queries import load
from audit_wrapper.store.schema import schema_sql

MANY = Path(__file__).parent / "many.sql"
SQL = load("monitoring", "positions")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(views, "_said", set())


async def opened(dsn, **settings):
    async with PostgresStore(dsn, **settings):
        pass


async def names(connection):
    rows = await connection.fetch(SQL["views_installed"])
    return sorted(row["name"] for row in rows)


# -- the bot


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE monitoring.orders ALTER COLUMN size TYPE numeric(30, 10), ALTER COLUMN symbol TYPE varchar(99)",
        "ALTER TABLE monitoring.orders ALTER COLUMN position_id TYPE varchar(99), ALTER COLUMN created_at TYPE timestamp(3)",
        "ALTER TABLE monitoring.trades ALTER COLUMN quantity TYPE numeric(20, 8), DROP COLUMN price",
        "ALTER TABLE monitoring.orders ADD COLUMN strategy text",
        "ALTER TABLE monitoring.orders DROP COLUMN exchange_status",
    ],
)
async def test_the_bot_may_alter_its_tables(audit_dsn, connection, change):
    await connection.execute(change)
    await opened(audit_dsn)  # widens again what has to be wide
    for name in ("v_orders", "v_positions", "v_position_stops", "v_daily"):
        assert await connection.fetch(f"SELECT * FROM audit.{name}") == []


async def test_a_narrow_column_of_the_bot_is_read_as_well(connection):
    await connection.execute(
        "ALTER TABLE monitoring.orders ALTER COLUMN position_id TYPE varchar(99), ALTER COLUMN symbol TYPE varchar(20), "
        "ALTER COLUMN price TYPE numeric(20, 8)"
    )
    await connection.execute("INSERT INTO monitoring.orders (order_key, symbol) VALUES (gen_random_uuid(), 'MNTUSDT')")
    assert await connection.fetchval("SELECT symbol FROM audit.v_orders") == "MNTUSDT"


async def test_rows_that_the_bot_wrote_are_not_in_the_views(connection):
    await connection.execute("INSERT INTO monitoring.orders (symbol, position_id, status) VALUES ('X', '7', 'UNKNOWN')")
    for name in ("v_orders", "v_positions", "v_open_questions", "v_daily"):
        assert await connection.fetch(f"SELECT * FROM audit.{name}") == []


# -- quick over many positions


@pytest.fixture(scope="module")
def many(postgres_server, audit_template):
    """A database with 20 000 positions, the last of them begun in May 2020."""

    async def fill(connection):
        await connection.execute(MANY.read_text(encoding="utf-8").format(positions=20_000))

    with postgres_server.filled(audit_template, fill) as dsn:
        yield dsn


async def plan(dsn, query):
    """Every step of the plan, and the rows that come of it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET jit = off")
        (told,) = await connection.fetchrow(f"EXPLAIN (FORMAT JSON) {query}")
        steps = []

        def collect(node):
            steps.append((node["Node Type"], node.get("Relation Name"), node.get("Index Name")))
            for below in node.get("Plans", ()):
                collect(below)

        collect(json.loads(told)[0]["Plan"])
        return steps, await connection.fetch(query)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("query", "index", "rows"),
    [
        ("SELECT * FROM audit.v_positions WHERE position_id = '77'", "audit_orders_position", 1),
        ("SELECT * FROM audit.v_position_figures WHERE position_id = '77'", "audit_orders_position", 1),
        ("SELECT * FROM audit.v_position_stops WHERE position_id = '77'", "audit_orders_position", 2),
        ("SELECT * FROM audit.v_slippage WHERE position_id = '77'", "audit_orders_position", 1),
        ("SELECT * FROM audit.v_orders WHERE position_id = '77'", "audit_orders_position", 3),
        # position n begins n times ten minutes into the year, and is closed 21 seconds later; the last ten are open: number
        # 19 980 begins at six in the evening of the 139th day, 19 990 is the last that is closed
        ("SELECT * FROM audit.v_positions WHERE closed_at >= '2020-05-18 18:00Z'", "positions_closed_at", 11),
        ("SELECT * FROM audit.v_positions WHERE is_open", "positions_open", 10),
        (
            "SELECT * FROM audit.v_orders WHERE created_at >= '2020-05-18 18:00'",
            "audit_orders_created audit_orders_symbol",
            53,
        ),
        ("SELECT * FROM audit.v_latency WHERE called_at >= '2020-05-18 21:00Z'", "events_called_at", 9),
        ("SELECT * FROM audit.v_open_questions WHERE kind IN ('gap', 'unattributed')", "events_unexplained", 0),
        ("SELECT * FROM audit.v_open_questions WHERE kind = 'without_id'", "audit_orders_without_id", 0),
        ("SELECT * FROM audit.v_rejections", "audit_orders_status", 0),
    ],
)
async def test_views_use_the_indexes(many, query, index, rows):
    steps, found = await plan(many, query)
    assert len(found) == rows
    assert {name for _, _, name in steps} & set(index.split()), "any of these: PostgreSQL 18 can skip leading columns"
    scanned = [step for step in steps if step[0] == "Seq Scan"]
    assert scanned == [], scanned


async def test_all_positions_are_there_once_whichever_way_they_are_found(many):
    connection = await asyncpg.connect(many)
    try:
        by_end = await connection.fetch(
            "SELECT position_id, closed_at, gross_result, fees FROM audit.v_positions WHERE closed_at < '2020-01-08' OR closed_at IS NULL"
        )
        at_once = await connection.fetch(
            "SELECT position_id, closed_at, gross_result, fees FROM audit.v_position_figures "
            "WHERE closed_at < '2020-01-08' OR closed_at IS NULL"
        )
    finally:
        await connection.close()
    assert len(by_end) == 7 * 144 - 1 + 10
    assert sorted(map(str, by_end)) == sorted(map(str, at_once))


# -- making them


async def test_a_script_for_a_dba_has_them(new_database):
    dsn = new_database()
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(schema_sql("my_bot"))
        made = await names(connection)
        assert "audit.v_positions" in made
        assert await views.problem(connection, SQL, "my_bot") is None
        oids = await connection.fetch("SELECT oid FROM pg_class WHERE relkind = 'v' ORDER BY 1")
        await opened(dsn, bot_schema="my_bot")
        assert await connection.fetch("SELECT oid FROM pg_class WHERE relkind = 'v' ORDER BY 1") == oids
    finally:
        await connection.close()


async def test_an_index_that_is_gone_or_was_never_finished(audit_dsn, connection):
    await connection.execute(
        "DROP INDEX audit.events_called_at;"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit.events_unexplained'::regclass"
    )
    assert await views.problem(connection, SQL, "monitoring") == (
        "their indexes on audit.events are missing, so some answer slowly: events_unexplained, events_called_at"
    )
    async with PostgresStore(audit_dsn) as store:
        assert await views.problem(connection, SQL, "monitoring") is not None, "opening does not wait for them"
        assert await store.index_views() is None
    assert await views.problem(connection, SQL, "monitoring") is None


@contextlib.asynccontextmanager
async def in_the_way(dsn):
    """A transaction of somebody's that is open: no index on its table can be finished beside it, and nothing else minds."""
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE audit.events IN ROW EXCLUSIVE MODE")
            yield
    finally:
        await other.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_delivery_does_not_wait_for_the_indexes_nor_does_closing(audit_dsn, connection, journal, tmp_path):
    await connection.execute("DROP INDEX audit.events_called_at, audit.events_unexplained")
    building = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
    async with in_the_way(audit_dsn):
        rig = Rig(audit_dsn, tmp_path)
        await until(lambda: connection.fetchrow(building))
        rig.record(journal.order("1"))
        await rig.arrived()
        began = time.monotonic()
        assert await rig.trail.aclose()
        assert time.monotonic() - began < 3
        assert rig.trail.status().failures == {}

    async def ended():
        return not await connection.fetchrow(building)

    await until(ended)
    assert await connection.fetchval("SELECT count(*) FROM audit.v_orders") == 1


async def test_a_bot_builds_the_indexes_once_it_has_delivered(audit_dsn, connection, journal, tmp_path):
    await connection.execute("DROP INDEX audit.events_called_at")
    await connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit.events_unexplained'::regclass"
    )

    async def all_there():
        return await views.problem(connection, SQL, "monitoring") is None

    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record(journal.order("1"))
        await until(all_there)
        await connection.execute("DROP INDEX audit.events_called_at")
        async with PostgresStore(audit_dsn) as store:
            await store.at_leisure()
        assert not await all_there(), "once in a process"


async def test_why_the_indexes_cannot_be_built(audit_dsn, connection, monkeypatch, caplog):
    monkeypatch.setattr(views, "_INDEX_LOCK_TIMEOUT", "50ms")
    await connection.execute("DROP INDEX audit.events_called_at")
    async with PostgresStore(audit_dsn) as store, in_the_way(audit_dsn):
        assert "lock timeout" in await store.index_views()
        with caplog.at_level(logging.WARNING):
            await store.at_leisure()
        assert "their indexes on audit.events are missing, so some answer slowly: cannot build" in caplog.text
        monkeypatch.setattr(views, "_INDEX_LOCK_TIMEOUT", "0")
        monkeypatch.setattr(views, "_INDEX_TIMEOUT_S", 0.2)
        # what was begun is to be dropped first, which has to wait as well
        assert "no answer from the database in time" in await store.index_views()
    async with PostgresStore(audit_dsn) as store:
        assert await store.index_views() is None


async def test_a_view_that_is_gone_is_made_again(audit_dsn, connection):
    before = await names(connection)
    await connection.execute("DROP VIEW audit.v_performance")
    assert "some are missing" in await views.problem(connection, SQL, "monitoring")
    await opened(audit_dsn)
    assert await names(connection) == before
    assert await views.problem(connection, SQL, "monitoring") is None


async def test_those_of_an_earlier_release_give_way_and_readers_keep_their_rights(
    audit_dsn, connection, monkeypatch, reader
):
    await connection.execute(f"GRANT SELECT ON audit.v_equity TO {reader}; GRANT SELECT ON audit.v_daily TO PUBLIC")
    for kind, name in views._objects():
        await connection.execute(f"COMMENT ON {kind} {name} IS 'audit_wrapper views 1 0123 on schema \"monitoring\"'")
    await connection.execute("CREATE VIEW audit.v_old AS SELECT * FROM audit.v_equity")
    await connection.execute("COMMENT ON VIEW audit.v_old IS 'audit_wrapper views 1 0123 on schema \"monitoring\"'")
    await opened(audit_dsn)
    assert await views.problem(connection, SQL, "monitoring") is None
    assert "audit.v_old" not in await names(connection)
    rights = "SELECT has_table_privilege($1, $2, 'SELECT')"
    assert await connection.fetchval(rights, reader, "audit.v_equity")
    assert await connection.fetchval(rights, reader, "audit.v_daily")
    assert not await connection.fetchval(rights, reader, "audit.v_positions")


async def test_a_search_path_of_the_users(audit_dsn, connection):
    name = audit_dsn.partition("?")[0].rpartition("/")[2]
    await connection.execute(f'ALTER DATABASE "{name}" SET search_path = audit, monitoring')
    other = await asyncpg.connect(audit_dsn)
    try:
        await other.execute("DROP VIEW v_latency")
        await opened(audit_dsn)
        assert await views.problem(other, SQL, "monitoring") is None
        assert await other.fetch("SELECT * FROM v_latency") == []
    finally:
        await other.close()


async def test_those_of_a_newer_release_stay(audit_dsn, connection, caplog):
    mark = 'audit_wrapper views 99 0123 on schema "monitoring"'
    for kind, name in views._objects():
        await connection.execute(f"COMMENT ON {kind} {name} IS '{mark}'")
    with caplog.at_level(logging.WARNING):
        await opened(audit_dsn)
    assert await connection.fetchval("SELECT obj_description('audit.v_orders'::regclass)") == mark
    assert "a newer release of audit_wrapper has made them" in caplog.text


async def test_two_bots_in_one_database(audit_dsn, connection, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await opened(audit_dsn, bot_schema="other_bot")
    (said,) = [record.message for record in caplog.records if "views" in record.message]
    assert 'they show the orders of schema "monitoring", and stay so; those of "other_bot" are not in them' in said
    assert await views.problem(connection, SQL, "monitoring") is None
    assert await views.problem(connection, SQL, "other_bot") is not None
    await connection.execute("INSERT INTO other_bot.orders (order_key) VALUES (gen_random_uuid())")
    assert await connection.fetch("SELECT * FROM audit.v_orders") == []
    # what the words say to do
    await connection.execute("DROP FUNCTION audit.bot_orders() CASCADE")
    await opened(audit_dsn, bot_schema="other_bot")
    assert await views.problem(connection, SQL, "other_bot") is None
    assert len(await connection.fetch("SELECT * FROM audit.v_orders")) == 1


async def test_a_view_of_the_users_on_ours(audit_dsn, connection, caplog):
    await connection.execute("CREATE VIEW public.mine AS SELECT * FROM audit.v_equity; DROP VIEW audit.v_latency")
    with caplog.at_level(logging.WARNING):
        await opened(audit_dsn)
    assert "something stands on them" in caplog.text
    assert "public.mine" not in await names(connection)
    assert await connection.fetch("SELECT * FROM public.mine") == []
    await connection.execute("DROP VIEW public.mine")
    await opened(audit_dsn)
    assert await views.problem(connection, SQL, "monitoring") is None


async def test_somebody_reads_them_for_long(audit_dsn, connection, caplog, monkeypatch):
    monkeypatch.setattr(views, "_LOCK_TIMEOUT", "50ms")
    await connection.execute("DROP VIEW audit.v_latency")
    other = await asyncpg.connect(audit_dsn)
    try:
        async with other.transaction():
            await other.fetch("SELECT * FROM audit.v_equity")
            with caplog.at_level(logging.WARNING):
                await opened(audit_dsn)
            assert "somebody was reading them" in caplog.text
        await opened(audit_dsn)
    finally:
        await other.close()
    assert await views.problem(connection, SQL, "monitoring") is None


# -- rights


@pytest.fixture
def reader(postgres_server):
    """A role that may log in and nothing else."""
    role = f"reader_{postgres_server._prefix}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    yield role
    for (database,) in postgres_server.run(
        postgres_server._connection.fetch("SELECT datname FROM pg_database WHERE datallowconn")
    ):
        postgres_server.run(_disown(postgres_server.address_of(database), role))
    postgres_server.execute(f"DROP ROLE {role}")


async def _disown(dsn, role):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"DROP OWNED BY {role}")
    finally:
        await connection.close()


async def test_delivery_goes_on_where_the_views_cannot_be_made(
    audit_dsn, connection, reader, postgres_server, caplog, journal
):
    await connection.execute(
        f"GRANT USAGE ON SCHEMA audit, monitoring TO {reader};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA audit, monitoring TO {reader};"
        f"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA audit, monitoring TO {reader};"
    )
    await connection.execute("DROP VIEW audit.v_latency")
    as_reader = postgres_server.address_of(audit_dsn.partition("?")[0].rpartition("/")[2], reader)
    journal.order("1")
    with caplog.at_level(logging.WARNING):
        async with PostgresStore(as_reader) as store:
            await journal.deliver(store)
    assert f"role {reader} may not make them: must be owner of " in caplog.text
    assert await connection.fetchval("SELECT count(*) FROM audit.v_orders") == 1
    assert "some are missing" in await views.problem(connection, SQL, "monitoring")


async def test_what_a_reader_needs(audit_dsn, connection, reader, postgres_server):
    figures = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- sql: rights -->\n```sql\n(.*?)```", figures, re.DOTALL)
    await connection.execute(block.replace("dashboard", reader))
    as_reader = await asyncpg.connect(
        postgres_server.address_of(audit_dsn.partition("?")[0].rpartition("/")[2], reader)
    )
    try:
        for name in await names(connection):
            if "(" not in name:
                assert await as_reader.fetch(f"SELECT * FROM {name}") == []
    finally:
        await as_reader.close()


async def test_every_view_and_column_is_in_the_documents(connection):
    text = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
    told = {}
    for section in text.split("\n## ")[1:]:
        heading, _, rest = section.partition("\n")
        cells = [line.split("|")[1] for line in rest.splitlines() if line.startswith("|")][2:]
        told[heading] = [name.strip().strip("`") for cell in cells for name in cell.split(",")]
    rows = await connection.fetch(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) AS columns "
        "FROM information_schema.columns WHERE table_schema = 'audit' AND table_name LIKE 'v\\_%' GROUP BY 1"
    )
    found = {row["table_name"]: row["columns"] for row in rows}
    assert set(found) <= set(told)
    orders = found.pop("v_orders")
    meant = [name for name in found.pop("v_orders_meant") if name not in orders]
    assert set(told["v_orders_meant"][1:]) == set(meant)
    for name, columns in found.items():
        assert told[name] == columns, name
