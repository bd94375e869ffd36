"""From the journal into the tables: whole, once, in whatever batches it comes."""

import asyncio
import random
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from audit_wrapper import codec
from audit_wrapper.errors import InvalidRow, StoreError, StoreUnavailable, StreamConflict
from audit_wrapper.records import PositionLink
from audit_wrapper.store.postgres import PostgresStore

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def a_day(journal):
    """Fills, a partial fill, a rejection, a cancel-all, a fill told of later."""
    journal.order("1")
    resting = journal.resting("2")
    journal.rejected()
    journal.resting("3", "BTC/USDT:USDT")
    journal.cancel_all()
    journal.order("4", side="sell", position=PositionLink(position_id="7", signal_id=42))
    trade = {
        "id": "t1",
        "order": "5",
        "symbol": "MNT/USDT:USDT",
        "side": "buy",
        "price": "0.65",
        "amount": "3",
        "fee": {"cost": "-0.0000001", "currency": "BNB"},
        "takerOrMaker": "maker",
    }
    journal.order("5", fee=None)
    journal.seen("5", trades=(trade,))
    journal.seen("77")  # an order that nobody here placed
    return resting


async def rows(connection, table="orders", order="id"):
    return await connection.fetch(f"SELECT * FROM monitoring.{table} WHERE order_key IS NOT NULL ORDER BY {order}")


async def test_an_order_becomes_a_row_and_a_trade(store, journal, connection, position):
    journal.order("123", position=position)
    await journal.deliver(store)
    (order,) = await rows(connection)
    (trade,) = await rows(connection, "trades")
    expected = {
        "exchange": "kraken", "symbol": "MNTUSDT", "order_id": "123", "client_order_id": "c123", "type": "MARKET",
        "side": "buy", "size": Decimal(3), "price": Decimal("0.6543"), "status": "FILLED", "filled": Decimal(3),
        "remaining": Decimal(0), "fee": Decimal("0.00117"), "fee_currency": "USDT", "position_id": "7",
        "signal_id": 42, "account": "default", "unified_symbol": "MNT/USDT:USDT",
    }  # fmt: skip
    assert {name: order[name] for name in expected} == expected
    expected = {
        "exchange": "kraken", "symbol": "MNTUSDT", "order_id": "123", "order_type": "MARKET", "side": "buy",
        "quantity": Decimal(3), "executed_qty": Decimal(3), "average_price": Decimal("0.6543"), "status": "FILLED",
        "fee": Decimal("0.00117"), "fee_currency": "USDT", "signal_id": 42, "position_id": "7",
    }  # fmt: skip
    assert {name: trade[name] for name in expected} == expected
    called = journal.entries[0].record.called_at
    assert order["created_at"] == called.replace(tzinfo=None)  # UTC, without a zone, to the microsecond
    assert await store.delivered_seq(journal.stream) == 2


async def test_events_are_kept_byte_for_byte(store, journal, connection):
    a_day(journal)
    await journal.deliver(store)
    stored = await connection.fetch("SELECT seq, body::text AS body, hash FROM audit.events ORDER BY seq")
    assert [(r["seq"], r["body"].encode(), r["hash"]) for r in stored] == [
        (e.seq, e.payload, e.hash) for e in journal.entries
    ]
    # the chain can be checked without us, in the database
    broken = await connection.fetchval(
        "SELECT count(*) FROM (SELECT hash, sha256(lag(hash, 1, sha256(uuid_send(stream))) OVER (ORDER BY seq) "
        "|| int8send(seq) || convert_to(body::text, 'UTF8')) AS made FROM audit.events) AS chain WHERE hash <> made"
    )
    assert broken == 0
    columns = await connection.fetchrow("SELECT * FROM audit.events WHERE seq = 2")
    record = journal.entries[1].record
    assert columns["kind"] == "acknowledged"
    assert columns["intent_id"] == record.intent_id
    assert columns["answered_at"] == record.answered_at


async def test_a_day(store, journal, connection):
    a_day(journal)
    await journal.deliver(store)
    orders = {row["order_id"]: row for row in await rows(connection)}
    assert {order_id: row["status"] for order_id, row in orders.items()} == {
        "1": "FILLED",
        "2": "CANCELED",
        None: "REJECTED",
        "3": "NEW",  # another symbol: the cancel-all did not mean it
        "4": "FILLED",
        "5": "FILLED",
        "77": "FILLED",
    }
    assert orders[None]["reason"] == "-2019: Margin is insufficient."
    assert (orders["5"]["fee"], orders["5"]["fee_currency"]) == (Decimal("-0.0000001"), "BNB")
    (fill,) = await connection.fetch("SELECT * FROM audit.fills")
    assert (fill["exchange_trade_id"], fill["fee"], fill["conflicts"]) == ("t1", Decimal("-0.0000001"), False)
    assert {row["order_id"] for row in await rows(connection, "trades")} == {"1", "4", "5", "77"}


@pytest.mark.parametrize("seed", range(6))
async def test_any_batches_give_the_same_rows(new_database, audit_template, new_journal, seed):
    """Split anywhere, repeated wholly or in part: the same as at once."""
    journal = new_journal()
    a_day(journal)
    results = []
    for chopped in (False, True):
        async with PostgresStore(new_database(audit_template)) as store:
            if chopped:
                chance = random.Random(seed)
                at = 0
                while at < len(journal.entries):
                    batch = journal.entries[max(0, at - chance.randrange(3)) : at + chance.randrange(1, 4)]
                    for _ in range(chance.randrange(1, 3)):
                        await journal.deliver(store, batch)
                    at = batch[-1].seq
            else:
                await journal.deliver(store)
            other = await asyncpg.connect(store._connections.dsn)
            columns = (
                "order_key, order_id, status, size, filled, remaining, price, fee, fee_currency, updated_at, reason"
            )
            results.append(await other.fetch(f"SELECT {columns} FROM monitoring.orders ORDER BY order_key"))
            results[-1] += await other.fetch("SELECT * FROM audit.fills ORDER BY order_key")
            results[-1] += await other.fetch("SELECT * FROM audit.orders ORDER BY order_key")
            results[-1] += await other.fetch("SELECT * FROM audit.order_events ORDER BY order_key, seq, part")
            other.terminate()
    assert results[0] == results[1]


async def test_a_batch_delivered_again_changes_nothing(store, journal, contents):
    a_day(journal)
    await journal.deliver(store)
    before = await contents()
    await journal.deliver(store)
    await journal.deliver(store, journal.entries[3:7])
    assert await contents() == before
    assert await store.delivered_seq(journal.stream) == len(journal.entries)


async def test_nothing_to_deliver(store, journal):
    await journal.deliver(store, [])
    assert await store.delivered_seq(journal.stream) == 0


async def test_a_cancel_all_in_a_later_batch_finds_the_open_orders(store, journal, connection):
    journal.resting("1")
    journal.resting("2")
    await journal.deliver(store)
    cancel = journal.cancel_all()
    await journal.deliver(store, [cancel])
    later = journal.resting("3")  # placed after it: not meant
    await journal.deliver(store, later)
    assert [row["status"] for row in await rows(connection)] == ["CANCELED", "CANCELED", "NEW"]
    assert await connection.fetchval("SELECT count(*) FROM audit.orders WHERE open") == 1


async def test_two_names_of_one_order_become_one_row(store, new_journal, connection):
    """Another bot (or the reconciliation) saw the order by its id before this bot's own records arrived."""
    watcher, bot = new_journal(), new_journal()
    watcher.seen("500", status="open", filled="1", remaining="2")
    await watcher.deliver(store)
    (before,) = await rows(connection)
    assert before["status"] == "PARTIALLY_FILLED"
    intent = bot.intent()
    await bot.deliver(store)  # two rows as yet: nobody knows that they are one
    assert len(await rows(connection)) == 2
    answer = bot.acknowledge(intent, "500")
    await bot.deliver(store, [answer])
    (order,) = await rows(connection)
    (trade,) = await rows(connection, "trades")
    assert order["status"] == "FILLED"
    assert order["order_key"] == trade["order_key"] == intent.record.record_id
    for table in ("order_events", "order_aliases", "orders"):
        keys = await connection.fetch(f"SELECT DISTINCT order_key FROM audit.{table}")
        assert [row["order_key"] for row in keys] == [intent.record.record_id]
    assert await connection.fetchval("SELECT count(*) FROM audit.order_events") == 3


async def test_a_merged_order_keeps_its_serial_id_where_it_had_the_only_row(store, new_journal, connection):
    watcher, bot = new_journal(), new_journal()
    watcher.seen("500")
    await watcher.deliver(store)
    (before,) = await rows(connection)
    bot.order("500")
    await bot.deliver(store)
    (after,) = await rows(connection)
    assert after["id"] == before["id"]
    assert after["order_key"] != before["order_key"]


async def test_ids_of_two_symbols_are_two_orders(store, journal, connection):
    journal.order("1", "MNT/USDT:USDT")
    journal.order("1", "BTC/USDT:USDT")
    await journal.deliver(store)
    assert [row["symbol"] for row in await rows(connection)] == ["MNTUSDT", "BTCUSDT"]


async def test_accounts_do_not_mix(store, new_journal, connection):
    for account in ("one", "two"):
        journal = new_journal(account=account)
        journal.order("1")
        await journal.deliver(store)
    assert [row["account"] for row in await rows(connection)] == ["one", "two"]


async def test_long_names_and_tiny_prices_arrive_uncut(store, journal, connection):
    symbol = "1000000BABYDOGE/USDT:USDT"
    tiny = "0.000000000000001234567890123456789"
    journal.order(
        "x" * 300, symbol, average=tiny, fee={"cost": "0.000000000000000000000001", "currency": "VERYLONGCURRENCY"}
    )
    await journal.deliver(store)
    (order,) = await rows(connection)
    assert order["unified_symbol"] == symbol
    assert order["symbol"] == "1000000BABYDOGEUSDT"
    assert order["average_price"] == Decimal(tiny)
    assert order["fee"] == Decimal("0.000000000000000000000001")
    assert order["fee_currency"] == "VERYLONGCURRENCY"
    assert order["order_id"] == "x" * 300


async def test_a_nul_in_a_message_does_not_stop_it(store, journal, connection):
    intent = journal.intent()
    journal.acknowledge(intent, "1", clientOrderId="a\0b")
    await journal.deliver(store)
    (order,) = await rows(connection)
    assert order["client_order_id"] == "a\u2400b"
    assert "a\\u0000b" in await connection.fetchval("SELECT body::text FROM audit.events WHERE seq = 2")


async def test_the_bots_own_rows_stay_as_they_are(store, journal, connection):
    await connection.execute(
        "INSERT INTO monitoring.orders (exchange, symbol, order_id, status) VALUES ('kraken', 'MNTUSDT', '1', 'X')"
    )
    journal.order("1")
    await journal.deliver(store)
    await store.rebuild()
    assert [row["status"] for row in await connection.fetch("SELECT * FROM monitoring.orders ORDER BY id")] == [
        "X",
        "FILLED",
    ]


async def test_a_bot_that_numbers_its_rows_past_the_sequence(store, journal, connection):
    await connection.execute("INSERT INTO monitoring.orders (id, symbol) SELECT i, 'X' FROM generate_series(1, 5) i")
    await connection.execute("INSERT INTO monitoring.trades (id, symbol) SELECT i, 'X' FROM generate_series(1, 3) i")
    journal.order("1")
    await journal.deliver(store)
    assert [row["id"] for row in await rows(connection)] == [6]
    assert await store.create_order(
        {"exchange": "a", "symbol": "b", "side": "buy", "type": "MARKET", "size": 1, "status": "NEW"}
    )
    await connection.execute("INSERT INTO monitoring.orders (id, symbol) SELECT i, 'X' FROM generate_series(8, 9) i")
    assert (
        await store.create_order(
            {"exchange": "a", "symbol": "b", "side": "buy", "type": "MARKET", "size": 1, "status": "NEW"}
        )
        == 10
    )


# -- several at once


async def test_many_deliverers_of_the_same_orders_do_not_deadlock(audit_dsn, new_journal, connection):
    """Each journal speaks of the same orders of two accounts, in its own order."""
    journals = []
    for seed in range(4):
        chance = random.Random(seed)
        journal = new_journal()
        for order_id in chance.sample(range(1, 31), 30):
            journal.account = chance.choice(["one", "two"])
            journal.seen(str(order_id), filled=str(chance.randrange(1, 4)), status="open")
        journals.append(journal)
    stores = [PostgresStore(audit_dsn) for _ in journals]

    async def work(store, journal):
        async with store:
            for at in range(0, 30, 5):
                await journal.deliver(store, journal.entries[at : at + 5])

    await asyncio.wait_for(asyncio.gather(*map(work, stores, journals)), 30)
    shown = {(e.record.account, e.record.result["orders"][0]["id"]) for j in journals for e in j.entries}
    orders = await rows(connection)
    assert {(row["account"], row["order_id"]) for row in orders} == shown
    assert len(orders) == len(shown)
    most = {}
    for journal in journals:
        for entry in journal.entries:
            key = (entry.record.account, entry.record.result["orders"][0]["id"])
            most[key] = max(most.get(key, 0), int(entry.record.result["orders"][0]["filled"]))
    assert {(row["account"], row["order_id"]): int(row["filled"]) for row in orders} == most  # no update was lost


async def test_two_deliverers_of_one_stream(audit_dsn, journal, connection):
    a_day(journal)
    async with PostgresStore(audit_dsn) as one, PostgresStore(audit_dsn) as two:
        await asyncio.gather(*(journal.deliver(store) for store in (one, two, one, two)))
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == len(journal.entries)
    assert len(await rows(connection)) == 7


# -- what cannot be stored


async def test_two_journals_that_claim_one_stream_are_found_out(store, new_journal, connection):
    one, other = new_journal(), new_journal()
    other.stream = one.stream
    one.order("1")
    other.order("2")
    await one.deliver(store)
    with pytest.raises(StreamConflict, match="another copy of this journal"):
        await other.deliver(store)
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 2


async def test_a_record_that_is_in_another_stream_too_is_there_once(store, new_journal, connection):
    one, other = new_journal(), new_journal()
    entry = one.intent()
    await one.deliver(store)
    other.entries.append(entry)
    await other.deliver(store)
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 1
    assert await store.delivered_seq(other.stream) == 1


async def test_two_records_with_one_id(store, new_journal):
    one, other = new_journal(), new_journal()
    first = one.intent()
    await one.deliver(store)
    other.intent(side="sell", record_id=first.record.record_id)
    with pytest.raises(InvalidRow, match="two records have one id"):
        await other.deliver(store)


@pytest.mark.parametrize(
    "poison",
    [
        {"amount": "1000"},  # breaks a rule of the bot's own table
        {"order_id": "".join(map(str, random.Random(1).sample(range(10**9), 2000)))},  # longer than an index holds
    ],
)
async def test_poison_is_told_apart_and_isolated(store, journal, connection, poison):
    await connection.execute("ALTER TABLE monitoring.orders ADD CHECK (size < 100)")
    good = journal.order("1")
    bad = journal.order(**{"order_id": "2", **poison})
    behind = journal.order("3")
    with pytest.raises(InvalidRow):
        await journal.deliver(store)
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 0  # all or nothing
    await journal.deliver(store, good)
    await journal.deliver(store, bad[:1])
    with pytest.raises(InvalidRow) as caught:
        await journal.deliver(store, bad[1:])
    await store.quarantine(journal.stream, bad[1], str(caught.value))
    assert await store.delivered_seq(journal.stream) == bad[1].seq
    await journal.deliver(store, behind)
    assert [(row["order_id"], row["status"]) for row in await rows(connection)] == [
        ("1", "FILLED"),
        (None, "UNKNOWN"),
        ("3", "FILLED"),
    ]
    (kept,) = await store.quarantined()
    assert (kept.payload, kept.hash, kept.seq, kept.retries) == (bad[1].payload, bad[1].hash, bad[1].seq, 0)
    assert await store.retry_quarantined() == 0
    (kept,) = await store.quarantined()
    assert kept.retries == 1
    assert await store.delivered_seq(journal.stream) == behind[-1].seq


async def test_what_left_quarantine_takes_its_place(store, journal, connection):
    intent = journal.intent()
    answer = journal.acknowledge(intent, "1")
    await journal.deliver(store, [intent])
    await store.quarantine(journal.stream, answer, "a mistake of ours\0, mended since")
    journal.order("2")
    await journal.deliver(store, journal.entries[2:])
    assert await store.retry_quarantined() == 1
    assert await store.quarantined() == []
    assert [row["status"] for row in await rows(connection)] == ["FILLED", "FILLED"]
    assert await store.delivered_seq(journal.stream) == 4


async def test_quarantine_keeps_bytes_that_are_no_record(store, journal):
    entry = journal.intent()._replace(payload=b"\xff\x00 no record")
    await store.quarantine(journal.stream, entry, "not a record")
    await store.quarantine(journal.stream, entry, "again")
    (kept,) = await store.quarantined()
    assert kept.payload == b"\xff\x00 no record"
    assert await store.retry_quarantined() == 0


async def test_a_mistake_in_the_projection_is_poison_and_not_a_crash(store, journal, monkeypatch):
    import audit_wrapper.store.refresh as module

    def broken(*_):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(module, "project", broken)
    journal.order("1")
    with pytest.raises(InvalidRow, match="ZeroDivisionError: a bug of ours"):
        await journal.deliver(store)


# -- what was taken for new and is not


_DERIVED = ("audit.order_aliases", "audit.order_events", "audit.orders", "audit.fills")


@pytest.mark.parametrize("left", [(), *((table,) for table in _DERIVED), _DERIVED[1:], _DERIVED[1:3], _DERIVED[2:]])
async def test_tables_that_were_put_back_in_part_are_filled_up(audit_dsn, store, journal, connection, contents, left):
    """Delivery begins anew, and finds some rows of the orders that it hears of for the first time, others not."""
    a_day(journal)
    await journal.deliver(store)
    before = await contents()
    assert all(before.values())
    gone = ["audit.events", "audit.streams", *(table for table in _DERIVED if table not in left)]
    await connection.execute(f"TRUNCATE {', '.join(gone)}")
    async with PostgresStore(audit_dsn) as anew:
        await journal.deliver(anew)
    assert await contents() == before


async def test_more_of_an_order_than_the_batch_has_is_not_lost(store, journal, connection):
    """Its names and its state are gone, the records that speak of it are not."""
    intent = journal.intent()
    await journal.deliver(store, [intent])
    answer = journal.acknowledge(intent, "1")
    await connection.execute("TRUNCATE audit.order_aliases, audit.orders")
    await journal.deliver(store, [answer])
    (order,) = await rows(connection)
    assert (order["status"], order["client_order_id"]) == ("FILLED", "c1")
    assert order["created_at"] == intent.record.called_at.replace(tzinfo=None)


async def test_a_fill_that_was_left_behind_goes(store, journal, connection, contents):
    """Of an order that is heard of for the first time there is a fill: it was not told by these records."""
    intent = journal.intent()
    await connection.execute(
        "INSERT INTO audit.fills (order_key, account, exchange_trade_id) VALUES ($1, 'default', 'left')",
        intent.record.record_id,
    )
    await journal.deliver(store, [intent, journal.acknowledge(intent, "1")])
    assert (await contents())["audit.fills"] == []


async def test_two_deliverers_of_one_journal_come_to_the_same(audit_dsn, store, journal, contents, connection):
    a_day(journal)
    records = [entry.record for entry in journal.entries]
    async with PostgresStore(audit_dsn) as second:
        for at in range(0, len(records), 3):
            part = journal.entries[at : at + 3], records[at : at + 3]
            await asyncio.gather(*(one.deliver(journal.stream, *part) for one in (store, second)))
    together = await contents(ids=False)
    assert len(together["audit.fills"]) == 1
    await store.rebuild()
    assert await contents(ids=False) == together
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == len(journal.entries)


# -- the connection


async def test_a_store_that_is_not_open():
    store = PostgresStore("postgresql://localhost/nowhere")
    with pytest.raises(StoreError, match="not open"):
        await store.delivered_seq(uuid4())


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:secret@127.0.0.1:1/x",
        "postgresql:///x?host=/nonexistent",
        "postgresql://u:secret@nosuch.invalid/x",
    ],
)
async def test_a_database_that_cannot_be_reached(address):
    store = PostgresStore(address)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert "secret" not in str(caught.value) + repr(store)
    with pytest.raises(StoreUnavailable):  # may be tried again
        await store.open()


async def test_a_database_that_does_not_exist(postgres_server):
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await PostgresStore(postgres_server.address_of("nowhere")).open()


async def test_it_reconnects_by_itself(store, journal, connection):
    first = journal.order("1")
    await journal.deliver(store, first)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'audit_wrapper'"
    )
    second = journal.order("2")
    for _ in range(10):
        try:
            await journal.deliver(store, second)
            break
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    assert len(await rows(connection)) == 2


async def test_a_statement_that_takes_too_long(audit_dsn, journal, connection):
    journal.order("1")
    async with PostgresStore(audit_dsn, statement_timeout_s=0.2) as store:
        async with connection.transaction():
            await connection.execute("LOCK TABLE audit.events")
            with pytest.raises(StoreUnavailable, match="statement timeout"):
                await journal.deliver(store)
        await journal.deliver(store)


async def test_a_database_that_may_only_be_read(audit_dsn, journal, connection):
    journal.order("1")
    async with PostgresStore(audit_dsn) as store:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await store._connections._pool.expire_connections()
        with pytest.raises(StoreUnavailable, match="read-only"):
            await journal.deliver(store)
        await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await journal.deliver(store)


async def test_cancelled_in_the_middle(store, journal, connection):
    journal.order("1")
    async with connection.transaction():
        await connection.execute("LOCK TABLE audit.events")
        delivering = asyncio.create_task(journal.deliver(store))
        await asyncio.sleep(0.1)
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
    await journal.deliver(store)
    assert len(await rows(connection)) == 1


# -- rebuild


async def test_a_rebuild_equals_what_was_there(store, new_journal, contents, connection):
    for account in ("one", "two"):
        journal = new_journal(account=account)
        a_day(journal)
        watcher = new_journal(account=account)
        watcher.seen("2", status="canceled", filled="1")
        watcher.seen("1")
        await journal.deliver(store, journal.entries[:5])
        await watcher.deliver(store)
        await journal.deliver(store, journal.entries[5:])
    before = await contents()
    assert await store.rebuild() == 14
    assert await contents() == before


async def test_a_rebuild_mends_what_was_spoilt(store, journal, contents, connection):
    a_day(journal)
    await journal.deliver(store)
    before = await contents(ids=False)
    await connection.execute(
        "DELETE FROM monitoring.orders WHERE order_id = '1'; UPDATE monitoring.orders SET status = 'NEW', price = 1;"
        "DELETE FROM monitoring.trades; DELETE FROM audit.fills; DELETE FROM audit.order_aliases;"
        f"INSERT INTO monitoring.orders (order_key, status) VALUES ('{uuid4()}', 'FILLED');"
        "UPDATE audit.events SET scope = NULL"
    )
    await store.rebuild()
    assert await contents(ids=False) == before


async def test_a_rebuild_of_nothing(store):
    assert await store.rebuild() == 0


async def test_reading_it_back(store, journal, connection, operation):
    journal.order("1", operation=operation, position=PositionLink(position_id="7"))
    resting = journal.resting("2")
    stop = journal.intent(side="sell", type="stop_market")
    journal.acknowledge(stop, "3", status="open", filled="0", remaining="3", average=None, triggerPrice="0.5", fee=None)
    await journal.deliver(store)
    assert [row["order_id"] for row in await store.orders_of_position(7)] == ["1"]
    assert [row["order_id"] for row in await store.trades_of_position("7")] == ["1"]
    assert [row["order_id"] for row in await store.open_stops()] == ["3"]
    assert [row["order_id"] for row in await store.open_stops("kraken", "MNT/USDT:USDT")] == ["3"]
    assert await store.open_stops("binance") == []
    assert [one.row.order_id for one in await store.incomplete("default", LONG_AGO)] == ["2", "3"]
    assert await store.incomplete("another", LONG_AGO) == []
    by_id = await store.order_history("2")
    assert [event.record for event in by_id] == [entry.record for entry in resting]
    assert await store.order_history(by_id[0].order_key) == by_id
    assert await store.order_history("none such") == []
    page = await store.events(limit=2)
    assert [row["seq"] for row in page] == [1, 2]
    assert codec.decode(page[0]["body"].encode()) == journal.entries[0].record
    assert [row["seq"] for row in await store.events(after=page[-1]["stored_no"])] == [3, 4, 5, 6]
    assert [row["seq"] for row in await store.events(correlation_id=operation.correlation_id)] == [1, 2]
    assert isinstance(page[0]["record_id"], UUID)
