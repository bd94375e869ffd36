"""Who is compared on the order path: the bot bare, ours, what people write instead, and the floors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from audit_wrapper import AuditTrail, codec
from audit_wrapper.journal import FileJournal
from audit_wrapper.testing import memory_trail
from benchmarks.stub import StubClient, StubManager, enter, place

Call = Callable[[], Awaitable[object]]

# as the bot's author would fill them
ORDER = (
    "position_id", "exchange", "symbol", "order_id", "client_order_id", "type", "side", "size", "price", "status", "filled",
    "remaining",
)  # fmt: skip
TRADE = (
    "signal_id", "symbol", "exchange", "side", "order_type", "quantity", "price", "executed_qty", "average_price", "order_id",
    "status",
)  # fmt: skip


async def _nothing() -> None: ...


@dataclass
class Contender:
    """call: one order of the bot and what is kept of it. settle: called, untimed, when its turn is over, so that nothing of it
    runs in the next one's. slow: it waits for a disk or a database, and is given fewer calls."""

    name: str
    how: str
    call: Call
    settle: Call = _nothing
    slow: bool = False


@dataclass(frozen=True)
class Bot:
    """Who trades, in every contender of one comparison: how it is made, and its order. seams: what of it is observed."""

    make: Callable[[], Any]
    order: Callable[[Any], Awaitable[dict[str, Any]]]
    how: str
    seams: str

    async def records(self) -> list[bytes]:
        """What we write for one order: the floors write the same bytes."""
        with memory_trail() as trail:
            await self.order(trail.wrap(self.make()))
            return [codec.encode(record) for record in trail.records]

    def bare(self) -> Contender:
        """The bot without us."""
        mine = self.make()
        return Contender("bare bot", self.how, lambda: self.order(mine))


WITH_MANAGER = Bot(StubManager, enter, "the manager and the client stub alone", "manager, client and transport")
WITHOUT_MANAGER = Bot(StubClient, place, "the client stub alone", "client and transport")


@asynccontextmanager
async def ours(
    bot: Bot, name: str, how: str, folder: Path, *, slow: bool = False, **settings: Any
) -> AsyncIterator[Contender]:
    """What trades is wrapped; asking is off, since the stub has no past to ask for."""
    trail = AuditTrail.open(journal=folder, ask_exchange="off", close_timeout_s=0.1, **settings)
    try:
        mine = trail.wrap(bot.make())
        delivers = settings.get("delivery") != "sidecar"

        async def settle() -> None:
            if delivers:
                while not await trail.flush(timeout_s=60):
                    assert trail.status().store == "connected", trail.status().store
            failures = trail.status().failures.keys() - {"sidecar away"}  # which is meant
            assert not failures, failures

        yield Contender(name, how, lambda: bot.order(mine), settle, slow)
    finally:
        await trail.aclose()


@asynccontextmanager
async def inline(bot: Bot, name: str, how: str, dsn: str, commit: str) -> AsyncIterator[Contender]:
    """`await pool.fetchval(INSERT ...)` for the order, and for the trade, before the bot goes on."""
    settings = {"synchronous_commit": commit}
    insert_order, insert_trade = _insert("orders", ORDER), _insert("trades", TRADE)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4, server_settings=settings) as pool:
        mine = bot.make()

        async def call() -> None:
            order = await bot.order(mine)
            await pool.fetchval(insert_order, *order_row(order))
            await pool.fetchval(insert_trade, *trade_row(order))

        yield Contender(name, how, call, slow=True)


def _insert(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO monitoring.{table} ({', '.join(columns)}) VALUES ({values}) RETURNING id"


def order_row(order: dict[str, Any]) -> tuple[Any, ...]:
    """The values of ORDER, from ccxt's floats."""
    return (
        "1", "binance", "BTCUSDT", order["id"], None, "MARKET", order["side"], order["amount"], order["average"], "FILLED",
        order["filled"], order["amount"] - order["filled"],
    )  # fmt: skip


def trade_row(order: dict[str, Any]) -> tuple[Any, ...]:
    """The values of TRADE."""
    return (
        1, "BTCUSDT", "binance", order["side"], "MARKET", order["amount"], order["average"], order["filled"],
        order["average"], order["id"], "FILLED",
    )  # fmt: skip


@asynccontextmanager
async def sqlite_commits(bot: Bot, folder: Path) -> AsyncIterator[Contender]:
    """What stands under a synchronous `session.commit()` of a bot on SQLite, without the mapper above it."""
    mine, connection = bot.make(), sqlite3.connect(folder / "bot.sqlite")
    connection.execute(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, {', '.join(ORDER)})")
    connection.execute(f"CREATE TABLE trades (id INTEGER PRIMARY KEY, {', '.join(TRADE)})")

    async def call() -> None:
        order = await bot.order(mine)
        connection.execute(f"INSERT INTO orders VALUES (NULL{', ?' * len(ORDER)})", order_row(order))
        connection.commit()
        connection.execute(f"INSERT INTO trades VALUES (NULL{', ?' * len(TRADE)})", trade_row(order))
        connection.commit()

    yield Contender(
        "synchronous commit, sqlite3",
        "INSERT and commit for the order and for the trade, on the bot's loop; sqlite3 as it comes (rollback journal, "
        "synchronous FULL), without a mapper",
        call,
        slow=True,
    )
    connection.close()


@asynccontextmanager
async def journal_floor(bot: Bot, folder: Path, *, force: bool) -> AsyncIterator[Contender]:
    """What our journal costs when somebody hands it bytes: no order is watched, no record made."""
    mine, payloads = bot.make(), await bot.records()
    journal = FileJournal.open(folder / "floor-journal", durability="power" if force else "process")

    async def call() -> None:
        await bot.order(mine)
        for payload in payloads:
            journal.append(payload, force=force)

    yield Contender(
        "floor: bare append to our journal",
        f"the bytes of our {len(payloads)} records appended to a journal as ours is{', forced each time' if force else ''}",
        call,
        slow=force,
    )
    journal.close()


@asynccontextmanager
async def sqlite_floor(bot: Bot, folder: Path, *, synchronous: str) -> AsyncIterator[Contender]:
    """Nothing but our bytes into a table."""
    mine, payloads = bot.make(), await bot.records()
    connection = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)")

    async def call() -> None:
        await bot.order(mine)
        for payload in payloads:
            connection.execute("INSERT INTO records VALUES (NULL, ?)", (payload,))

    yield Contender(
        "floor: one SQLite insert per record",
        f"the bytes of our {len(payloads)} records into one table; WAL, synchronous {synchronous}",
        call,
        slow=synchronous == "FULL",
    )
    connection.close()


@asynccontextmanager
async def write_floor(bot: Bot, folder: Path, *, force: bool) -> AsyncIterator[Contender]:
    """The least that an append-only file costs."""
    mine, payloads = bot.make(), await bot.records()
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines = [payload + b"\n" for payload in payloads]

    async def call() -> None:
        await bot.order(mine)
        for line in lines:
            os.write(descriptor, line)
            if force:
                os.fsync(descriptor)

    forced = " and one fsync" if force else ""
    yield Contender(
        f"floor: one write{forced} per record",
        f"the bytes of our {len(payloads)} records at the end of a file, os.write{' and os.fsync' if force else ''} for each",
        call,
        slow=force,
    )
    os.close(descriptor)
