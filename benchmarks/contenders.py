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
from audit_wrapper.testing import memory_trail
from benchmarks.stub import StubManager, enter

Call = Callable[[], Awaitable[object]]

INSERT_ORDER = (
    "INSERT INTO monitoring.orders (position_id, exchange, symbol, order_id, client_order_id, type, side, size, price, status, "
    "filled, remaining) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id"
)
INSERT_TRADE = (
    "INSERT INTO monitoring.trades (signal_id, symbol, exchange, side, order_type, quantity, price, executed_qty, average_price, "
    "order_id, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id"
)


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


async def records_of_one_call() -> list[bytes]:
    """What we write for one call: the floors write the same bytes."""
    with memory_trail() as trail:
        await enter(trail.wrap(StubManager()))
        return [codec.encode(record) for record in trail.records]


def bare() -> Contender:
    manager = StubManager()
    return Contender("bare bot", "the manager and the client stub alone", lambda: enter(manager))


@asynccontextmanager
async def ours(name: str, how: str, folder: Path, *, slow: bool = False, **settings: Any) -> AsyncIterator[Contender]:
    """The manager wrapped; asking is off, since the stub has no past to ask for."""
    trail = AuditTrail.open(journal=folder, ask_exchange="off", close_timeout_s=0.1, **settings)
    try:
        manager = trail.wrap(StubManager())
        delivers = settings.get("delivery", "own") == "own"

        async def settle() -> None:
            if delivers:
                while not await trail.flush(timeout_s=60):
                    assert trail.status().store == "connected", trail.status().store
            failures = trail.status().failures.keys() - {"sidecar away"}  # which is meant
            assert not failures, failures

        yield Contender(name, how, lambda: enter(manager), settle, slow)
    finally:
        await trail.aclose()


@asynccontextmanager
async def inline(name: str, how: str, dsn: str, commit: str) -> AsyncIterator[Contender]:
    """`await pool.fetchval(INSERT ...)` for the order, and for the trade, before the bot goes on."""
    settings = {"synchronous_commit": commit}
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4, server_settings=settings) as pool:
        manager = StubManager()

        async def call() -> None:
            order = await enter(manager)
            await pool.fetchval(INSERT_ORDER, *order_row(order))
            await pool.fetchval(INSERT_TRADE, *trade_row(order))

        yield Contender(name, how, call, slow=True)


def order_row(order: dict[str, Any]) -> tuple[Any, ...]:
    """As the bot's author would fill it: from ccxt's floats."""
    return (
        "1", "binance", "BTCUSDT", order["id"], None, "MARKET", order["side"], order["amount"], order["average"], "FILLED",
        order["filled"], order["amount"] - order["filled"],
    )  # fmt: skip


def trade_row(order: dict[str, Any]) -> tuple[Any, ...]:
    return (
        1, "BTCUSDT", "binance", order["side"], "MARKET", order["amount"], order["average"], order["filled"],
        order["average"], order["id"], "FILLED",
    )  # fmt: skip


@asynccontextmanager
async def sqlite_commits(folder: Path) -> AsyncIterator[Contender]:
    """What stands under a synchronous `session.commit()` of a bot on SQLite, without the mapper above it."""
    manager, connection = StubManager(), sqlite3.connect(folder / "bot.sqlite")
    connection.execute(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, {', '.join(f'o{n}' for n in range(12))})")
    connection.execute(f"CREATE TABLE trades (id INTEGER PRIMARY KEY, {', '.join(f't{n}' for n in range(11))})")

    async def call() -> None:
        order = await enter(manager)
        connection.execute(f"INSERT INTO orders VALUES (NULL{', ?' * 12})", order_row(order))
        connection.commit()
        connection.execute(f"INSERT INTO trades VALUES (NULL{', ?' * 11})", trade_row(order))
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
async def sqlite_floor(folder: Path, payloads: list[bytes], *, synchronous: str) -> AsyncIterator[Contender]:
    """Nothing but our bytes into a table."""
    manager = StubManager()
    connection = sqlite3.connect(folder / f"floor-{synchronous}.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)")

    async def call() -> None:
        await enter(manager)
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
async def write_floor(folder: Path, payloads: list[bytes], *, force: bool) -> AsyncIterator[Contender]:
    """The least that an append-only file costs."""
    manager = StubManager()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptor = os.open(folder / ("floor-forced" if force else "floor"), flags, 0o600)
    lines = [payload + b"\n" for payload in payloads]

    async def call() -> None:
        await enter(manager)
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
