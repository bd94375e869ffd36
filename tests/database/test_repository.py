"""The methods of the report that a bot may call itself."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from audit_wrapper.errors import InvalidRow
from audit_wrapper.records import PositionLink

# as the report writes them
ENTRY = {
    "position_id": "55", "exchange": "kraken", "symbol": "MNTUSDT", "order_id": "ee505a33", "client_order_id": "c1",
    "type": "MARKET", "side": "buy", "size": Decimal("3"), "price": Decimal("0.6543"), "status": "FILLED",
    "filled": Decimal("3"), "remaining": 0, "fee": 0, "fee_currency": "USDT",
}  # fmt: skip
TRADE = {
    "signal_id": 9, "symbol": "MNTUSDT", "exchange": "kraken", "side": "buy", "order_type": "MARKET",
    "quantity": Decimal("3"), "price": Decimal("0.6543"), "executed_qty": Decimal("3"),
    "average_price": Decimal("0.6543"), "order_id": "ee505a33", "client_order_id": "c1", "status": "FILLED",
    "fee": 0, "fee_currency": "USDT",
}  # fmt: skip


async def one(connection, table, number):
    return dict(await connection.fetchrow(f"SELECT * FROM monitoring.{table} WHERE id = $1", number))


async def count(connection, table="orders"):
    return await connection.fetchval(f"SELECT count(*) FROM monitoring.{table}")


async def test_an_order_is_written_with_every_field(store, connection):
    number = await store.create_order(ENTRY)
    row = await one(connection, "orders", number)
    assert {name: row[name] for name in ENTRY} == ENTRY
    assert abs(row["created_at"] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(seconds=10)
    assert [r["id"] for r in await store.orders_of_position("55")] == [number]


async def test_a_trade_is_written_with_every_field(store, connection):
    row = await one(connection, "trades", await store.create_trade(TRADE))
    assert {name: row[name] for name in TRADE} == TRADE


async def test_the_same_order_again_updates_the_row(store, connection):
    first = await store.create_order({**ENTRY, "status": "NEW", "filled": 0})
    again = await store.create_order({k: v for k, v in ENTRY.items() if k != "client_order_id"})
    assert again == first
    assert await count(connection) == 1
    row = await one(connection, "orders", first)
    assert (row["status"], row["filled"]) == ("FILLED", Decimal(3))
    assert row["client_order_id"] == "c1"  # not given the second time, so not touched
    assert row["updated_at"] > row["created_at"]
    assert await store.create_trade(TRADE) == await store.create_trade(TRADE)


async def test_ten_calls_at_once_make_one_row(store, connection):
    numbers = await asyncio.gather(*(store.create_order(ENTRY) for _ in range(10)))
    assert len(set(numbers)) == 1
    trades = await asyncio.gather(*(store.create_trade(TRADE) for _ in range(10)))
    assert len(set(trades)) == 1
    assert (await count(connection), await count(connection, "trades")) == (1, 1)


async def test_without_an_order_id_each_call_is_a_row(store, connection):
    entry = {**ENTRY, "order_id": None}
    assert await store.create_order(entry) != await store.create_order(entry)


async def test_other_exchanges_symbols_and_accounts_are_other_orders(store, connection):
    for change in ({}, {"exchange": "bybit"}, {"symbol": "BTCUSDT"}, {"account": "second"}):
        await store.create_order({**ENTRY, **change})
    assert await count(connection) == 4


async def test_a_row_that_the_bot_inserted_is_found(store, connection):
    number = await connection.fetchval(
        "INSERT INTO monitoring.orders (exchange, symbol, order_id, status) "
        "VALUES ('kraken', 'MNTUSDT', 'ee505a33', 'NEW') RETURNING id"
    )
    assert await store.create_order(ENTRY) == number


async def test_update_order(store, connection):
    number = await store.create_order({**ENTRY, "status": "NEW", "filled": 0})
    assert await store.update_order(number, {"status": "canceled", "filled": 1.5, "remaining": "1.5"}) is True
    row = await one(connection, "orders", number)
    assert (row["status"], row["filled"], row["remaining"]) == ("CANCELED", Decimal("1.5"), Decimal("1.5"))
    assert row["size"] == Decimal(3)
    assert await store.update_order(number, {"client_order_id": None}) is True
    assert (await one(connection, "orders", number))["client_order_id"] is None
    assert await store.update_order(number + 1, {"status": "FILLED"}) is False


@pytest.mark.parametrize("given", [0.1, "0.1", Decimal("0.1"), 1e-9, 0.30000000000000004, 5])
async def test_numbers_are_exact(store, connection, given):
    row = await one(connection, "orders", await store.create_order({**ENTRY, "price": given, "fee": -0.001}))
    assert row["price"] == Decimal(str(given))
    assert row["fee"] == Decimal("-0.001")  # a rebate


async def test_times_are_utc(store, connection):
    east = datetime(2025, 10, 16, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5)))
    naive = datetime(2025, 10, 16, 7, 0)
    row = await one(connection, "orders", await store.create_order({**ENTRY, "created_at": east, "updated_at": naive}))
    assert row["created_at"] == datetime(2025, 10, 16, 7, 0, 0, 1)
    assert row["updated_at"] == naive


async def test_synonyms_and_spellings(store, connection):
    entry = {"exchange": "kraken", "symbol": "MNTUSDT", "side": "SELL", "order_type": "market", "quantity": 3}
    row = await one(connection, "orders", await store.create_order({**entry, "status": "filled", "position_id": 55}))
    assert (row["side"], row["type"], row["size"], row["status"]) == ("sell", "MARKET", Decimal(3), "FILLED")
    assert row["position_id"] == "55"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": None}, "side is missing"),
        ({"side": "long"}, "side: expected one of buy, sell, got 'long'"),
        ({"status": "closed"}, "status: expected one of NEW, PARTIALLY_FILLED, FILLED"),
        ({"status": None, "size": None}, "size is missing .*; status is missing"),
        ({"size": float("nan")}, "size: expected a finite number, got nan"),
        ({"price": float("inf")}, "price: expected a finite number"),
        ({"price": Decimal("NaN")}, "price: expected a finite number"),
        ({"size": -1}, "size: expected a number that is not negative"),
        ({"size": "three"}, "size: expected a number .* got 'three'"),
        ({"size": True}, "size: expected a number"),
        ({"statsu": "NEW"}, r"unknown field 'statsu' \(did you mean 'status'\?\)"),
        ({"id": 5}, "unknown field 'id'"),
        ({"quantity": 4}, "size is given twice, as 'quantity' too"),
        ({"created_at": "yesterday"}, "created_at: expected a datetime"),
        ({"signal_id": "x"}, "signal_id: expected a whole number"),
        ({"signal_id": 2**40}, "signal_id: expected a whole number of 32 bits"),
        ({"symbol": ""}, "symbol: expected a text"),
        ({"symbol": "a\0b"}, "symbol: expected a text"),
        ({"reduce_only": "yes"}, "reduce_only: expected True or False"),
        ({"purpose": "fun"}, "purpose: expected one of entry, exit"),
    ],
)
async def test_what_is_wrong_is_named(store, connection, change, words):
    with pytest.raises(InvalidRow, match=words):
        await store.create_order({**ENTRY, **change})
    assert await count(connection) == 0


@pytest.mark.parametrize("nonsense", [None, [], "order", 5])
async def test_what_is_no_dict(store, nonsense):
    with pytest.raises(InvalidRow, match="create_order: expected a dict"):
        await store.create_order(nonsense)


async def test_a_trade_that_lacks_something(store):
    with pytest.raises(InvalidRow, match=r"create_trade: .*order_type is missing \(or type\).*quantity is missing"):
        await store.create_trade({"exchange": "kraken", "symbol": "X", "side": "buy", "status": "FILLED"})


@pytest.mark.parametrize(
    ("number", "updates", "words"),
    [
        (1, {}, "no fields given"),
        (1, {"symbol": None}, "symbol cannot be emptied"),
        (1, {"status": "done"}, "status: expected one of"),
        (1, {"order_key": None}, "unknown field 'order_key'"),
        ("1", {"status": "NEW"}, "expected the number that create_order returned, got '1'"),
    ],
)
async def test_an_update_that_is_wrong(store, number, updates, words):
    with pytest.raises(InvalidRow, match=words):
        await store.update_order(number, updates)


# -- the bot writes an order that the trail writes too


async def test_the_trail_comes_first(store, journal, connection):
    journal.order("ee505a33")
    await journal.deliver(store)
    number = await store.create_order({**ENTRY, "filled": 1, "price": 99, "status": "PARTIALLY_FILLED"})
    assert await count(connection) == 1
    row = await one(connection, "orders", number)
    assert (row["status"], row["price"]) == ("FILLED", Decimal("0.6543"))  # the exchange's word counts
    assert (row["position_id"], row["link_how"]) == ("55", "repository")  # what only the bot knows
    assert await store.update_order(number, {"status": "CANCELED"}) is True
    assert (await one(connection, "orders", number))["status"] == "FILLED"
    trade = await store.create_trade(TRADE)
    assert await count(connection, "trades") == 1
    assert (await one(connection, "trades", trade))["signal_id"] == 9
    await store.rebuild()
    assert (await one(connection, "orders", number))["position_id"] == "55"


async def test_the_bot_comes_first(store, journal, connection):
    number = await store.create_order({**ENTRY, "status": "NEW", "filled": 0, "price": None})
    trade = await store.create_trade(TRADE)
    journal.order("ee505a33")
    await journal.deliver(store)
    assert (await count(connection), await count(connection, "trades")) == (1, 1)
    row = await one(connection, "orders", number)
    assert (row["status"], row["price"], row["position_id"]) == ("FILLED", Decimal("0.6543"), "55")
    assert (await one(connection, "trades", trade))["order_key"] == row["order_key"]


async def test_both_at_once(store, journal, connection):
    journal.order("ee505a33")
    await asyncio.gather(
        journal.deliver(store), *(store.create_order(ENTRY) for _ in range(5)), store.create_trade(TRADE)
    )
    assert (await count(connection), await count(connection, "trades")) == (1, 1)


async def test_a_link_of_the_trail_is_stronger(store, journal, connection):
    journal.order("ee505a33", position=PositionLink(position_id="7", signal_id=1))
    await journal.deliver(store)
    number = await store.create_order(ENTRY)
    assert (await one(connection, "orders", number))["position_id"] == "7"
