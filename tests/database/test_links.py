"""Orders find their position in the bot's own table."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from audit_wrapper.records import PositionLink, Purpose
from audit_wrapper.store import links
from audit_wrapper.store.postgres import PostgresStore


@pytest.fixture
def open_position(connection):
    async def make(
        order_id=None,
        symbol="MNTUSDT",
        exchange="kraken",
        opened=-60,
        closed=None,
        signal_id=42,
        status="active",
        updated=0,
    ):
        now = datetime.now(UTC).replace(tzinfo=None)
        return await connection.fetchval(
            "INSERT INTO monitoring.positions (signal_id, symbol, exchange, side, quantity, exchange_order_id, status, "
            "opened_at, closed_at, updated_at) VALUES ($1, $2, $3, 'long', 3, $4, $5, $6, $7, $8) RETURNING id::text",
            signal_id,
            symbol,
            exchange,
            order_id,
            status,
            now + timedelta(seconds=opened),
            None if closed is None else now + timedelta(seconds=closed),
            now + timedelta(seconds=updated),
        )

    return make


@pytest.fixture
def order_row(connection):
    async def read(order_id="1", table="orders"):
        return await connection.fetchrow(f"SELECT * FROM monitoring.{table} WHERE order_id = $1", order_id)

    return read


async def test_by_the_order_id_and_the_trade_follows(store, journal, open_position, order_row):
    await open_position()
    position = await open_position("1", signal_id=7)
    journal.order("1")
    await journal.deliver(store)
    order, trade = await order_row(), await order_row(table="trades")
    assert (order["position_id"], order["signal_id"], order["link_how"]) == (position, 7, "positions_table:order_id")
    assert (trade["position_id"], trade["signal_id"]) == (position, 7)


async def test_the_bot_writes_its_row_later(store, journal, open_position, order_row, connection):
    await open_position()
    await open_position()
    journal.order("1")
    await journal.deliver(store)
    assert (await order_row())["position_id"] is None  # two are open: nothing is guessed
    await connection.execute("UPDATE monitoring.positions SET exchange_order_id = '1' WHERE id = 2")
    assert await store.relink() == 1
    assert (await order_row())["position_id"] == "2"
    assert await store.relink() == 0


async def test_a_later_batch_of_the_same_account_links_too(store, journal, open_position, order_row, monkeypatch):
    monkeypatch.setattr(links, "_SLOW_S", 60.0)  # on a busy machine the first look may seem slow
    journal.order("1")
    await journal.deliver(store)
    position = await open_position("1")
    await journal.deliver(store, journal.order("2"))
    assert (await order_row())["position_id"] == position


async def test_by_the_time_the_position_was_open(store, journal, open_position, order_row):
    await open_position(opened=-500, closed=-100)
    position = await open_position(opened=-50)
    await open_position(symbol="BTCUSDT")
    await open_position(exchange="bybit")
    await open_position(opened=100)
    journal.order("1", side="sell")
    await journal.deliver(store)
    order = await order_row()
    assert (order["position_id"], order["link_how"]) == (position, "positions_table:open_interval")


@pytest.mark.parametrize(
    ("opened", "closed", "linked"), [(1, None, True), (5, None, False), (-9, -1, True), (-9, -5, False)]
)
async def test_two_seconds_around_it(store, journal, open_position, order_row, opened, closed, linked):
    await open_position(opened=opened, closed=closed)
    journal.order("1")
    await journal.deliver(store)
    assert ((await order_row())["position_id"] is not None) == linked


async def test_a_position_that_came_to_nothing_is_not_open_for_ever(store, journal, open_position, order_row):
    await open_position(status="rolled_back", opened=-500, updated=-400)
    position = await open_position(opened=-50)
    journal.order("1")
    await journal.deliver(store)
    assert (await order_row())["position_id"] == position


@pytest.mark.parametrize("spelling", ["MNTUSDT", "MNT/USDT:USDT"])
async def test_the_symbol_is_spelled_as_the_bot_does(store, journal, open_position, order_row, spelling):
    await open_position("1", symbol=spelling)
    journal.order("1")
    await journal.deliver(store)
    for table in ("orders", "trades"):
        assert (await order_row(table=table))["symbol"] == spelling
    journal.seen("1")
    await journal.deliver(store)
    assert (await order_row())["symbol"] == spelling  # a later record does not undo it
    await store.rebuild()
    assert (await order_row())["symbol"] == spelling


async def test_the_exchange_under_its_short_name(audit_dsn, new_journal, open_position, order_row):
    position = await open_position("1", exchange="binance")
    journal = new_journal(exchange="binanceusdm")
    journal.order("1", info={"orderId": 1})
    async with PostgresStore(audit_dsn) as store:
        await journal.deliver(store)
    assert (await order_row())["position_id"] == position


async def test_what_a_record_said_is_not_overruled(store, journal, open_position, order_row):
    await open_position("1")
    journal.order("1", position=PositionLink(position_id="99", how="scope"))
    await journal.deliver(store)
    assert (await order_row())["position_id"] == "99"


async def test_a_record_that_comes_later_overrules_what_was_found(store, journal, open_position, order_row):
    await open_position("1")
    intent = journal.intent()
    journal.acknowledge(intent, "1")
    await journal.deliver(store)
    assert (await order_row())["position_id"] == "1"
    journal.acknowledge(intent, "1", position=PositionLink(position_id="99", how="scope"))
    await journal.deliver(store)
    assert ((await order_row())["position_id"], (await order_row())["link_how"]) == ("99", "scope")


async def test_old_orders_are_left_alone(store, journal, open_position, order_row):
    journal.now -= timedelta(days=30)
    journal.order("1")
    await journal.deliver(store)
    await open_position("1", opened=-86_400 * 40)
    assert await store.relink() == 0


async def test_the_bots_table_is_not_written_to(store, journal, open_position, connection):
    await open_position("1")
    before = await connection.fetch("SELECT xmin, * FROM monitoring.positions")
    journal.order("1")
    await journal.deliver(store)
    assert await connection.fetch("SELECT xmin, * FROM monitoring.positions") == before


async def test_no_positions_table(fresh_dsn, journal):
    journal.order("1")
    async with PostgresStore(fresh_dsn) as store:
        await journal.deliver(store)
        assert await store.relink() == 0


async def test_a_positions_table_of_another_name_that_is_made_later(audit_dsn, journal, connection):
    journal.order("1")
    async with PostgresStore(audit_dsn, positions_table="holdings") as store:
        await journal.deliver(store)
        # the least a table must have
        await connection.execute(
            "CREATE TABLE monitoring.holdings (id uuid DEFAULT gen_random_uuid(), exchange text, symbol text, "
            "exchange_order_id text); INSERT INTO monitoring.holdings (exchange, symbol, exchange_order_id) "
            "VALUES ('kraken', 'MNTUSDT', '1')"
        )
        assert await store.relink() == 1


async def test_links_that_are_not_wanted(audit_dsn, journal, open_position, order_row):
    await open_position("1")
    journal.order("1")
    async with PostgresStore(audit_dsn, positions_table=None) as store:
        await journal.deliver(store)
    assert (await order_row())["position_id"] is None


async def test_a_positions_table_that_is_odd_does_not_stop_deliveries(audit_dsn, journal, connection, caplog):
    await connection.execute(
        "ALTER TABLE monitoring.positions ALTER COLUMN opened_at DROP DEFAULT, "
        "ALTER COLUMN opened_at TYPE boolean USING true, DROP COLUMN signal_id"
    )
    async with PostgresStore(audit_dsn) as store:
        journal.order("1")
        await journal.deliver(store)
        journal.order("2")
        await journal.deliver(store)
        assert await connection.fetchval("SELECT count(*) FROM monitoring.trades") == 2
        assert len([r for r in caplog.records if "could not be linked" in r.message]) == 1


async def test_a_positions_table_that_may_not_be_read(
    audit_dsn, journal, postgres_server, connection: asyncpg.Connection
):
    role = f"blind_{postgres_server._prefix}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        await connection.execute(
            f"GRANT USAGE ON SCHEMA audit, monitoring TO {role};"
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA audit TO {role};"
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON monitoring.orders, monitoring.trades TO {role};"
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA monitoring TO {role};"
        )
        database = await connection.fetchval("SELECT current_database()")
        async with PostgresStore(postgres_server.address_of(database, role)) as store:
            journal.order("1")
            await journal.deliver(store)
            assert await store.relink() == 0
        await connection.execute(f"DROP OWNED BY {role}")
    finally:
        postgres_server.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(("said", "purpose"), [(Purpose.EXIT, "exit"), (None, "entry")])
async def test_what_the_records_say_outlasts_a_better_link(
    store, journal, open_position, order_row, connection, said, purpose
):
    """Linked by its time while its id is not known; then by its id, which is that of the position's entry."""
    by_time = await open_position()
    intent = journal.intent(purpose=said)
    await journal.deliver(store)
    (before,) = await connection.fetch("SELECT * FROM monitoring.orders")
    assert (before["position_id"], before["link_how"]) == (by_time, "positions_table:open_interval")
    by_id = await open_position("1", opened=-7_200, closed=-3_600)
    journal.acknowledge(intent, "1")
    await journal.deliver(store)
    order, trade = await order_row(), await order_row(table="trades")
    assert (order["position_id"], order["link_how"]) == (by_id, "positions_table:order_id")
    assert (order["purpose"], trade["purpose"]) == (purpose, purpose)
    rows = await connection.fetch("SELECT * FROM monitoring.orders")
    await store.rebuild()
    assert await connection.fetch("SELECT * FROM monitoring.orders") == rows


async def test_a_side_that_a_link_by_time_gave_goes_with_it(store, journal, open_position, order_row, connection):
    """A stop without a side leaves the position that is open; nobody knows which way it went when that was not its position."""
    await open_position()
    intent = journal.intent(side=None, type="trailing_stop_market")
    await journal.deliver(store)
    (before,) = await connection.fetch("SELECT * FROM monitoring.orders")
    assert (before["side"], before["link_how"]) == ("sell", "positions_table:open_interval")
    by_id = await open_position("1", opened=-7_200, closed=-3_600)
    journal.acknowledge(intent, "1")
    await journal.deliver(store)
    order = await order_row()
    assert (order["position_id"], order["link_how"], order["side"]) == (by_id, "positions_table:order_id", None)
