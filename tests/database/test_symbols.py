"""A symbol in any spelling means the same market to every command, and never two of them where ccxt's spelling says which."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from conftest import FakeJournal
from positions import Fill, Positions

from audit_wrapper.errors import NothingFound
from audit_wrapper.records import Market
from audit_wrapper.settings import Settings
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.tables import Reader
from audit_wrapper.tables.events import Tail
from audit_wrapper.tables.export import stream
from audit_wrapper.tables.figures import Range, read_figures
from audit_wrapper.tables.finding import find
from audit_wrapper.tables.orders import TABLES, Wanted, newest
from audit_wrapper.tables.symbols import meant_by

# exchange, ccxt's spelling, the exchange's own: one position with one order of each, whose number is its place here
MARKETS = (
    ("okx", "BTC/USDT:USDT", "BTC-USDT-SWAP"),
    ("okx", "BTC/USDT", "BTC-USDT"),
    ("bybit", "BTC/USDT:USDT", "BTCUSDT"),
    ("bybit", "BTC/USDT", "BTCUSDT"),
    ("bybit", "BTC/USDC:USDC", "BTCPERP"),
    ("gate", "BTC/USDT", "BTC_USDT"),
    ("gate", "BTC/USDT:USDT", "BTC_USDT"),
    ("htx", "BTC/USDT", "btcusdt"),
    ("hyperliquid", "kPEPE/USDC:USDC", "kPEPE"),
)
MEANT = {
    "BTC/USDT:USDT": {0, 2, 6},
    "btc/usdt:usdt": {0, 2, 6},
    "BTC/USDT": {1, 3, 5, 7},
    "BTCUSDT": {0, 1, 2, 3, 5, 6, 7},
    "btcusdt": {0, 1, 2, 3, 5, 6, 7},
    "BTC-USDT-SWAP": {0},
    "btc-usdt": {1},
    "BTC/USDC:USDC": {4},
    "BTCUSDC": {4},
    "btcperp": {4},
    "BTC_USDT": {5, 6},
    "KPEPE/USDC:USDC": {8},
    "kPEPEUSDC": {8},
}


@pytest.fixture
async def reader(store: PostgresStore, audit_dsn: str) -> Any:
    for place, (exchange, unified, own) in enumerate(MARKETS):
        pair, _, settle = unified.partition(":")
        base, _, quote = pair.partition("/")
        market = Market(
            symbol=unified, exchange_symbol=own, base=base, quote=quote, settle=settle or None,
            type="swap" if settle else "spot",
        )  # fmt: skip
        of = Positions(exchange, market=market)
        of.order(0, "buy", "1", Fill(1, "100", "1"), position=str(place))
        await of.deliver(store)
    async with Reader(Settings(dsn=audit_dsn)) as opened:
        yield opened


@pytest.mark.parametrize("text", MEANT)
async def test_every_spelling_means_the_same_everywhere(reader: Reader, text: str) -> None:
    numbers = {str(number) for number in MEANT[text]}
    sql = reader.queries("orders.sql")
    async with reader.snapshot() as con:
        for table in ("orders", "trades"):
            page = await newest(con, sql, table, Wanted(symbol=text), limit=100)
            assert {row["position_id"] for row in page.rows} == numbers, table
        found: dict[str, list[Any]] = {}
        for name in TABLES:
            rows = await stream(con, reader, name, Wanted(symbol=text))
            found[name] = [row async for batch in rows for row in batch]
        for name in ("orders", "trades", "positions"):
            assert {row["position_id"] for row in found[name]} == numbers, name
        assert len(found["fills"]) == len(numbers)
        linked = (json.loads(row["body"]).get("position") for row in found["events"])
        assert {link["position_id"] for link in linked if link} == numbers
        symbols = await meant_by(con, sql, text)
        tail = Tail({**sql, **reader.queries("events.sql")}, symbols=symbols)
        newest_records = await tail.begin(con, 1000)
        assert [row["body"] for row in newest_records] == [row["body"] for row in sorted(found["events"], key=lambda row: row["stored_no"])]  # fmt: skip
        assert await tail.new(con) == []
        for number in range(len(MARKETS)):
            meant = find(con, reader.queries("story.sql"), f"position:{number}", symbol=text)
            if str(number) in numbers:
                assert [one.position_id for one in await meant] == [str(number)]
            else:
                with pytest.raises(NothingFound):
                    await meant
    figures = await read_figures(reader, Range(symbol=text), rows=100, gaps=1)
    assert {row["position_id"] for row in figures.positions} == numbers
    assert {row["position_id"] for row in figures.orders} == numbers
    assert {row["position_id"] for row in figures.fills} == numbers
    exchanges = {MARKETS[int(number)][0] for number in numbers}
    assert {row["exchange"] for row in figures.accounts} == exchanges
    assert sum(row["n"] for row in figures.latency if row["action"] is None) == len(numbers)


async def test_a_symbol_that_no_order_has(reader: Reader) -> None:
    for text in ("ETH/USDT", "BTC/USD:BTC", "BTCUSDT-SWAP"):
        with pytest.raises(NothingFound, match=f"no order of symbol '{text}'; there are: BTC-USDT, BTC-USDT-SWAP, "):
            await read_figures(reader, Range(symbol=text), rows=1, gaps=1)


async def test_an_order_whose_market_nobody_named_goes_by_its_letters(
    store: PostgresStore, journal: FakeJournal, audit_dsn: str, connection: Any
) -> None:
    journal.order("1")
    await journal.deliver(store)
    await connection.execute("UPDATE monitoring.orders SET unified_symbol = NULL, exchange_symbol = NULL")
    async with Reader(Settings(dsn=audit_dsn)) as reader, reader.snapshot() as con:
        for text in ("MNT/USDT", "MNT/USDT:USDT", "MNTUSDT"):
            page = await newest(con, reader.queries("orders.sql"), "orders", Wanted(symbol=text), limit=9)
            assert [row["order_id"] for row in page.rows] == ["1"]


async def test_pages_of_several_spellings(reader: Reader) -> None:
    seen: list[int] = []
    async with reader.snapshot() as con:
        sql, before, more = reader.queries("orders.sql"), None, True
        while more:
            rows, more = await newest(con, sql, "orders", Wanted(symbol="BTCUSDT"), limit=2, before=before)
            before = rows[-1]["id"]
            seen += [int(row["position_id"]) for row in rows]
    assert sorted(seen) == sorted(MEANT["BTCUSDT"])


async def test_open_questions_and_funding_of_a_market(
    store: PostgresStore, audit_dsn: str, connection: asyncpg.Connection
) -> None:
    for settle in ("USDT", None):
        market = Market(
            symbol="BTC/USDT:USDT" if settle else "BTC/USDT", exchange_symbol="BTCUSDT", base="BTC", quote="USDT",
            settle=settle, type="swap" if settle else "spot",
        )  # fmt: skip
        of = Positions("bybit", market=market)
        of.order(0, "buy", "1", answered=False, position="1" if settle else "2")
        await of.deliver(store)
    await connection.execute(
        "INSERT INTO audit.funding (exchange, account, symbol, payment_id, amount, currency, exchange_at) "
        "VALUES ('bybit', 'default', 'BTCUSDT', '1', 3, 'USDT', now())"
    )
    async with Reader(Settings(dsn=audit_dsn)) as reader:
        for text, positions, payments in (
            ("BTC/USDT:USDT", {"1"}, 1),
            ("BTC/USDT", {"2"}, 0),
            ("BTCUSDT", {"1", "2"}, 1),
        ):
            figures = await read_figures(reader, Range(symbol=text), rows=9, gaps=1)
            keys = {row["order_key"] for row in figures.questions if row["kind"] == "unknown"}
            rows = await connection.fetch("SELECT position_id FROM monitoring.orders WHERE order_key = ANY($1)", keys)
            assert {row["position_id"] for row in rows} == positions
            assert {row["n"] for row in figures.question_kinds if row["kind"] == "unknown"} == {len(positions)}
            assert sum(row["payments"] for row in figures.funding) == payments
