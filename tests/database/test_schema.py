"""The schema: made where nothing is, fitted to the bot's tables where they are, harmless when repeated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import audit_wrapper.store.schema as schema_module
from audit_wrapper.errors import SchemaError, SettingsError, StoreUnavailable
from audit_wrapper.store import queries
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.store.queries import named, read
from audit_wrapper.store.schema import columns_of, migrations, schema_sql

# the columns of the report, in its order
REPORT = {
    "orders": "id position_id exchange symbol order_id client_order_id type side size price status filled remaining fee "
    "fee_currency created_at updated_at",
    "trades": "id signal_id symbol exchange side order_type quantity price executed_qty average_price order_id "
    "client_order_id status fee fee_currency executed_at updated_at",
}

DESCRIBE = """
SELECT 'column ' || format('%I.%I.%I', n.nspname, c.relname, a.attname) AS what,
       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || ' '
       || a.attidentity::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' at ' || a.attnum AS how
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname IN ('audit', 'monitoring') AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'index ' || schemaname || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname IN ('audit', 'monitoring')
UNION ALL
SELECT 'constraint ' || conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace::regnamespace::text IN ('audit', 'monitoring')
ORDER BY 1
"""


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., object]]:
    opened: list[asyncpg.Connection] = []

    async def _connect(dsn: str) -> asyncpg.Connection:
        opened.append(await asyncpg.connect(dsn))
        return opened[-1]

    yield _connect
    for connection in opened:
        connection.terminate()


async def described(connection: asyncpg.Connection) -> dict[str, str]:
    return {row["what"]: row["how"] for row in await connection.fetch(DESCRIBE)}


async def opened(dsn: str, **settings: object) -> None:
    async with PostgresStore(dsn, **settings):  # type: ignore[arg-type]
        pass


# -- a database with nothing in it


async def test_schema_sql_equals_all_migrations(new_database, connect):
    migrated, scripted = new_database(), new_database()
    await opened(migrated)
    script = await connect(scripted)
    await script.execute(schema_sql())
    by_migrations = await described(await connect(migrated))
    assert by_migrations == await described(script)
    assert len(by_migrations) > 100
    versions = "SELECT version, name, checksum FROM audit.migrations"
    assert await script.fetch(versions) == await (await connect(migrated)).fetch(versions)
    await opened(scripted)  # and finds nothing to do
    assert await described(script) == by_migrations


def test_every_migration_file_is_known():
    folder = Path(queries.__file__).parent / "sql" / "migrations"
    assert [m.name for m in migrations()] == sorted(path.stem for path in folder.glob("*.sql"))
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


async def test_tables_made_by_us_have_the_columns_of_the_report_and_ours(fresh_dsn, connect):
    await opened(fresh_dsn)
    connection = await connect(fresh_dsn)
    for table, columns in REPORT.items():
        rows = await connection.fetch(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'monitoring' AND table_name = $1 ORDER BY ordinal_position",
            table,
        )
        names = [row["column_name"] for row in rows]
        assert names[: len(columns.split())] == columns.split()
        types = {"timestamp without time zone": "timestamp"}
        made = {(r["column_name"], types.get(r["data_type"], r["data_type"])) for r in rows if r["column_name"] != "id"}
        assert made == set(columns_of(table))  # the .sql file and the row struct say the same


async def test_body_is_json_and_not_jsonb(audit_dsn, connect):
    connection = await connect(audit_dsn)
    assert (await described(connection))["column audit.events.body"].startswith("json not null")


async def test_twice_is_harmless_and_the_second_time_takes_no_lock(audit_dsn, connect):
    connection = await connect(audit_dsn)
    before = await described(connection)
    async with connection.transaction():
        await connection.execute("LOCK TABLE monitoring.orders, monitoring.trades IN ROW EXCLUSIVE MODE")
        await asyncio.wait_for(opened(audit_dsn), 5)
    assert await described(connection) == before


async def test_many_at_once_are_harmless(fresh_dsn, bot_dsn, connect):
    for dsn in (fresh_dsn, bot_dsn):
        await asyncio.gather(*(opened(dsn) for _ in range(6)))
        connection = await connect(dsn)
        assert await connection.fetchval("SELECT count(*) FROM audit.migrations") == len(migrations())
        assert not await connection.fetch("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid")


async def test_a_schema_of_another_name(fresh_dsn, connect):
    await opened(fresh_dsn, bot_schema="My_Bot")
    await opened(fresh_dsn, bot_schema="other")
    connection = await connect(fresh_dsn)
    assert await connection.fetchval('SELECT count(*) FROM "My_Bot".orders') == 0
    assert await connection.fetchval("SELECT count(*) FROM other.trades") == 0
    assert await connection.fetchval("SELECT to_regnamespace('monitoring')") is None


@pytest.mark.parametrize("name", ['x"; DROP TABLE y; --', "", "a-b", "x" * 64])
def test_a_schema_name_that_is_none(name):
    with pytest.raises(SettingsError, match="bot_schema"):
        PostgresStore("postgresql://localhost/x", bot_schema=name)


async def test_a_database_that_is_too_new(audit_dsn, connect):
    connection = await connect(audit_dsn)
    await connection.execute("INSERT INTO audit.migrations VALUES (99, '0099_future', 'x')")
    with pytest.raises(SchemaError, match=r"has version 99, this release .* up to 2: upgrade audit_wrapper"):
        await opened(audit_dsn)


async def test_a_migration_that_was_changed(audit_dsn, connect):
    connection = await connect(audit_dsn)
    await connection.execute("UPDATE audit.migrations SET checksum = 'other' WHERE version = 1")
    with pytest.raises(SchemaError, match="0001_audit was applied to this database in another form"):
        await opened(audit_dsn)


async def test_a_migration_that_breaks_off_leaves_nothing(fresh_dsn, connect, monkeypatch):
    good = migrations()[0]
    broken = good._replace(text=good.text + "\nSELECT 1 / 0;")
    monkeypatch.setattr(schema_module, "migrations", lambda: (broken,))
    with pytest.raises(Exception, match="division by zero"):
        await opened(fresh_dsn)
    monkeypatch.undo()
    connection = await connect(fresh_dsn)
    assert await described(connection) == {}
    await opened(fresh_dsn)


async def test_a_database_of_another_encoding(postgres_server: Any, connect):
    name = f"latin_{postgres_server._prefix}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(SchemaError, match=r"encoded as LATIN1.*ENCODING 'UTF8'"):
            await opened(postgres_server.address_of(name))
    finally:
        postgres_server.drop(name)


# -- a database with the bot's tables in it

BOT_ROWS = """
INSERT INTO monitoring.orders (position_id, exchange, symbol, order_id, type, side, size, price, status, fee_currency)
SELECT '7', 'binance', 'MNTUSDT', (i / 2)::text, 'MARKET', 'buy', 1.50000000, 0.12345678, 'FILLED', 'USDT'
FROM generate_series(1, 2000) AS i;
INSERT INTO monitoring.orders (exchange) VALUES (NULL), (NULL);
INSERT INTO monitoring.trades (signal_id, symbol, exchange, side, quantity, status)
SELECT i, 'MNTUSDT', 'binance', 'buy', 1.5, 'FILLED' FROM generate_series(1, 2000) AS i;
"""


async def test_the_bots_tables_are_widened_without_a_rewrite_and_no_row_changes(bot_dsn, connect):
    connection = await connect(bot_dsn)
    await connection.execute(BOT_ROWS)
    columns = REPORT["orders"].replace(" ", ", ")
    rows = f"SELECT {columns} FROM monitoring.orders ORDER BY id"
    files = "SELECT pg_relation_filenode('monitoring.orders'), pg_relation_filenode('monitoring.trades')"
    before, file_before = await connection.fetch(rows), await connection.fetchrow(files)
    texts_before = await connection.fetch("SELECT o.size::text, o.price::text FROM monitoring.orders o ORDER BY id")
    await opened(bot_dsn)
    connection = await connect(bot_dsn)  # a new session: nothing cached
    assert await connection.fetch(rows) == before
    assert texts_before == await connection.fetch(
        "SELECT o.size::text, o.price::text FROM monitoring.orders o ORDER BY id"
    )
    assert await connection.fetchrow(files) == file_before
    made = await described(connection)
    for table in REPORT:
        for column, type_ in columns_of(table):
            how = made[f"column monitoring.{table}.{column}"]
            expected = "timestamp without time zone" if type_ == "timestamp" else type_
            assert how.startswith(expected + " "), (table, column, how)
            assert "not null" not in how
    assert not await connection.fetch("SELECT * FROM monitoring.orders WHERE order_key IS NOT NULL")


async def test_the_bots_inserts_go_on_working(bot_dsn, connect):
    await opened(bot_dsn)
    connection = await connect(bot_dsn)
    first = await connection.fetchval("INSERT INTO monitoring.orders (symbol) VALUES ('MNTUSDT') RETURNING id")
    await connection.execute("INSERT INTO monitoring.orders (id, symbol) VALUES ($1, 'MNTUSDT')", first + 1000)
    await connection.execute(
        "INSERT INTO monitoring.orders VALUES (DEFAULT, '7', 'binance', 'MNTUSDT', '1', NULL, 'MARKET', 'buy', 1, 2, "
        "'FILLED', 1, 0, 0, 'USDT')"
    )
    await connection.execute("INSERT INTO monitoring.trades (symbol, executed_at) VALUES ('MNTUSDT', now())")
    # the same order twice, as it could be before
    for _ in range(2):
        await connection.execute(
            "INSERT INTO monitoring.orders (exchange, symbol, order_id) VALUES ('binance', 'MNTUSDT', '5')"
        )
    assert await connection.fetchval("SELECT count(*) FROM monitoring.orders") == 5


async def test_not_null_is_dropped_where_we_may_have_nothing_to_say(bot_dsn, connect):
    connection = await connect(bot_dsn)
    for column in ("order_id", "price", "client_order_id", "fee"):
        await connection.execute(f"ALTER TABLE monitoring.orders ALTER COLUMN {column} SET NOT NULL")
    await opened(bot_dsn)
    await connection.execute("INSERT INTO monitoring.orders (symbol) VALUES ('MNTUSDT')")


async def test_a_table_that_numbers_nothing_itself(bot_dsn, connect):
    connection = await connect(bot_dsn)
    await connection.execute("ALTER TABLE monitoring.orders ALTER COLUMN id DROP DEFAULT")
    await connection.execute("INSERT INTO monitoring.orders (id, symbol) VALUES (500, 'MNTUSDT')")
    await opened(bot_dsn)
    number = await connection.fetchval("INSERT INTO monitoring.orders (symbol) VALUES ('MNTUSDT') RETURNING id")
    assert number > 500
    await connection.execute("INSERT INTO monitoring.orders (id, symbol) VALUES (900, 'MNTUSDT')")


async def test_only_one_of_the_tables_is_there(bot_dsn, connect):
    connection = await connect(bot_dsn)
    await connection.execute("DROP TABLE monitoring.trades")
    await opened(bot_dsn)
    assert await connection.fetchval("SELECT count(order_key) FROM monitoring.trades") == 0


async def test_a_view_in_the_way_is_named(bot_dsn, connect):
    connection = await connect(bot_dsn)
    await connection.execute("CREATE VIEW public.big_orders AS SELECT symbol, size FROM monitoring.orders")
    with pytest.raises(SchemaError) as caught:
        await opened(bot_dsn)
    message = str(caught.value)
    assert "public.big_orders" in message
    statement = message.rpartition("\n")[2].strip()
    assert statement.startswith("ALTER TABLE monitoring.orders ")
    # what the message says to do works
    await connection.execute("DROP VIEW public.big_orders")
    await connection.execute(statement)
    await connection.execute("CREATE VIEW public.big_orders AS SELECT symbol, size FROM monitoring.orders")
    await opened(bot_dsn)


async def test_a_busy_table_is_waited_for_in_short_tries(bot_dsn, connect, monkeypatch):
    monkeypatch.setattr(schema_module, "_LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(schema_module, "_PAUSE_S", 0.05)
    bot, other = await connect(bot_dsn), await connect(bot_dsn)
    transaction = bot.transaction()
    await transaction.start()
    await bot.execute("INSERT INTO monitoring.orders (symbol) VALUES ('MNTUSDT')")
    opening = asyncio.create_task(opened(bot_dsn))
    slowest = 0.0
    for _ in range(10):  # the bot's other statements are held up for no longer than one try
        began = asyncio.get_running_loop().time()
        await other.execute("INSERT INTO monitoring.orders (symbol) VALUES ('MNTUSDT')")
        slowest = max(slowest, asyncio.get_running_loop().time() - began)
        await asyncio.sleep(0.02)
    assert not opening.done()
    assert slowest < 1
    await transaction.commit()
    await opening
    assert await bot.fetchval("SELECT count(*) FROM monitoring.orders") == 11


async def test_a_table_that_stays_busy_is_no_defeat(bot_dsn, connect, monkeypatch):
    monkeypatch.setattr(schema_module, "_LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(schema_module, "_PAUSE_S", 0.01)
    bot = await connect(bot_dsn)
    store = PostgresStore(bot_dsn)
    async with bot.transaction():
        await bot.execute("LOCK TABLE monitoring.orders")
        with pytest.raises(StoreUnavailable, match="keeps them locked"):
            await store.open()
    await store.open()
    await store.close()


async def test_an_index_that_was_never_finished_is_made_anew(bot_dsn, connect):
    await opened(bot_dsn)
    connection = await connect(bot_dsn)
    await connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'monitoring.audit_orders_position'::regclass"
    )
    await opened(bot_dsn)
    assert await connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'monitoring.audit_orders_position'::regclass"
    )


@pytest.mark.parametrize(
    ("change", "problem", "solution"),
    [
        (
            "ALTER TABLE monitoring.orders ALTER COLUMN price TYPE double precision",
            "monitoring.orders.price is double precision, which cannot hold every numeric",
            "ALTER TABLE monitoring.orders ALTER COLUMN price TYPE numeric USING price::numeric;",
        ),
        (
            "ALTER TABLE monitoring.orders ADD COLUMN strategy text NOT NULL",
            "monitoring.orders.strategy must not be NULL",
            "ALTER TABLE monitoring.orders ALTER COLUMN strategy DROP NOT NULL;",
        ),
        (
            "ALTER TABLE monitoring.trades DROP COLUMN id",
            'monitoring.trades has no whole-number key "id"',
            "ALTER TABLE monitoring.trades ADD COLUMN id serial PRIMARY KEY;",
        ),
    ],
)
async def test_what_only_the_owner_of_the_bot_can_decide(bot_dsn, connect, change, problem, solution):
    connection = await connect(bot_dsn)
    await connection.execute(change)
    with pytest.raises(SchemaError) as caught:
        await opened(bot_dsn)
    assert problem in str(caught.value)
    assert str(caught.value).endswith(solution)
    assert await connection.fetchval("SELECT to_regnamespace('audit')") is None  # nothing was begun
    await connection.execute(solution)
    await opened(bot_dsn)


async def test_a_view_under_the_tables_name(fresh_dsn, connect):
    connection = await connect(fresh_dsn)
    await connection.execute("CREATE SCHEMA monitoring; CREATE VIEW monitoring.orders AS SELECT 1 AS id")
    with pytest.raises(SchemaError, match=r"monitoring\.orders is no table"):
        await opened(fresh_dsn)


# -- roles with few rights


@pytest.fixture
def powerless(postgres_server: Any):
    """A role that may log in and nothing else."""
    role = f"powerless_{postgres_server._prefix}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    yield role
    postgres_server.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def as_role(postgres_server: Any):
    def address(dsn: str, role: str) -> str:
        return postgres_server.address_of(dsn.partition("?")[0].rpartition("/")[2], role)

    return address


def statements_of(error: SchemaError) -> list[str]:
    return [line.strip() for line in str(error).splitlines()[1:]]


async def run_as_a_dba(dsn: str, statements: list[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_no_right_to_create_a_schema(fresh_dsn, powerless, as_role, new_database, postgres_server):
    with pytest.raises(SchemaError) as caught:
        await opened(as_role(fresh_dsn, powerless))
    assert statements_of(caught.value) == [
        f"CREATE SCHEMA audit AUTHORIZATION {powerless};",
        f"CREATE SCHEMA monitoring AUTHORIZATION {powerless};",
    ]
    await run_as_a_dba(fresh_dsn, statements_of(caught.value))
    await opened(as_role(fresh_dsn, powerless))
    postgres_server.drop(fresh_dsn.partition("?")[0].rpartition("/")[2])


async def test_the_script_for_a_dba_is_enough(fresh_dsn, powerless, as_role, postgres_server):
    await run_as_a_dba(fresh_dsn, [schema_sql(role=powerless)])
    async with PostgresStore(as_role(fresh_dsn, powerless)) as store:
        order = {
            "exchange": "binance",
            "symbol": "MNTUSDT",
            "side": "buy",
            "type": "MARKET",
            "size": 1,
            "status": "NEW",
        }
        assert await store.create_order(order) == 1
    postgres_server.drop(fresh_dsn.partition("?")[0].rpartition("/")[2])


async def test_the_bots_tables_belong_to_another_role(bot_dsn, powerless, as_role, postgres_server, connect):
    connection = await connect(bot_dsn)
    database = bot_dsn.partition("?")[0].rpartition("/")[2]
    await connection.execute(f'GRANT CREATE ON DATABASE "{database}" TO {powerless}')
    with pytest.raises(SchemaError) as caught:
        await opened(as_role(bot_dsn, powerless))
    message = str(caught.value)
    assert "monitoring.orders belongs to role postgres" in message
    for needed in (
        f"GRANT USAGE ON SCHEMA monitoring TO {powerless};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE monitoring.trades TO {powerless};",
        "ALTER TABLE monitoring.orders ALTER COLUMN position_id TYPE text, ",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS audit_orders_order_key",
    ):
        assert needed in message
    statements = [part.strip() for part in message.partition("\n")[2].split(";\n")]
    await run_as_a_dba(bot_dsn, statements)
    await opened(as_role(bot_dsn, powerless))
    await connection.close()
    postgres_server.drop(database)


async def test_an_upgrade_that_only_the_owner_may_make(audit_dsn, powerless, as_role, postgres_server, connect):
    """What the message says to run is all that it takes, for a role that was granted what the script for a DBA grants."""
    connection = await connect(audit_dsn)
    await connection.execute(
        named(read("grants.sql"), "monitoring").replace("the_role", powerless)
        + "DROP TABLE audit.positions, audit.bot_schemas CASCADE; DELETE FROM audit.migrations WHERE version = 2"
    )
    with pytest.raises(SchemaError) as caught:
        await opened(as_role(audit_dsn, powerless))
    await connection.execute(str(caught.value).partition("\n")[2])
    await opened(as_role(audit_dsn, powerless))
    versions = "SELECT version, checksum FROM audit.migrations ORDER BY version"
    assert [tuple(row) for row in await connection.fetch(versions)] == [(m.version, m.checksum) for m in migrations()]
    await connection.close()
    postgres_server.drop(audit_dsn.partition("?")[0].rpartition("/")[2])


# -- the queries


def test_every_named_query_is_there_once_and_is_used():
    folder = Path(queries.__file__).parent
    named = [
        name
        for path in sorted((folder / "sql").glob("*.sql"))
        for name in queries._NAME.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(named) == len(set(named))
    assert set(named) == set(queries.load("monitoring", "positions"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    dynamic = {f"{verb}_{what}" for verb in ("find", "create", "update", "link") for what in ("order", "trade")}
    dynamic |= {f"{verb}_{what}" for verb in ("adopt", "update", "insert") for what in ("orders", "trades")}
    dynamic |= {"resync_orders_id", "resync_trades_id"}
    assert [name for name in named if f'"{name}"' not in code and name not in dynamic] == []
