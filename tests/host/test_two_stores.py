"""PostgreSQL and the store in memory make the same rows of the same records, however these are cut into batches."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import ccxt.async_support as ccxt
import pytest
from audited import UNIFIED
from simulated_exchange import LoseAnswer, SimulatedExchange, async_client

from audit_wrapper import codec
from audit_wrapper.rows import FillRow, OrderRow, TradeRow
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.testing import MemoryTrail, memory_trail

BTC = "BTC/USDT:USDT"


async def a_day(sim: SimulatedExchange, client: Any, chance: random.Random) -> None:
    """Twenty calls drawn by `chance`; what the exchange refuses is part of the day."""
    made: list[tuple[str, str]] = []

    async def place(symbol: str, kind: str, side: str, amount: float, price: float | None = None) -> None:
        order = await client.create_order(symbol, kind, side, amount, price)
        made.append((order["id"], symbol))

    for _ in range(20):
        symbol, amount = chance.choice([(UNIFIED, 10.0), (BTC, 0.01)])
        side = chance.choice(["buy", "sell"])
        price = float(sim.price(symbol)) * (0.95 if side == "buy" else 1.05)
        sim.split_fills = chance.choice([1, 3])
        try:
            match chance.randrange(7):
                case 0 | 1:
                    await place(symbol, "market", side, amount)
                case 2:
                    await place(symbol, "limit", side, amount, float(client.price_to_precision(symbol, price)))
                case 3 if made:
                    await client.cancel_order(*chance.choice(made))
                case 4:
                    await client.cancel_all_orders(symbol)
                case 5:
                    sim.next("create", LoseAnswer())
                    await place(symbol, "market", side, amount)
                case _:
                    orders = [{"symbol": symbol, "type": "market", "side": side, "amount": a} for a in (amount, 1e12)]
                    await client.create_orders(orders)
        except ccxt.BaseError:
            continue


def plain(row: Any, kind: type) -> dict[str, Any]:
    values = {name: row[name] for name in kind.__struct_fields__}
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        elif isinstance(value, Decimal):
            values[name] = value.normalize()
        elif name in ("order_key", "replaced_by", "correlation_id") and value is not None:
            values[name] = str(value)
    return values


async def the_same(trail: MemoryTrail, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for table, kind, rows in (
            ("monitoring.orders", OrderRow, trail.orders),
            ("monitoring.trades", TradeRow, trail.trades),
            ("audit.fills", FillRow, trail.fills),
        ):
            stored = [plain(row, kind) for row in await connection.fetch(f"SELECT * FROM {table}")]
            expected = [plain(row, kind) for row in rows]
            assert sorted(stored, key=repr) == sorted(expected, key=repr), table
    finally:
        await connection.close()


@pytest.mark.parametrize("run", range(3))
async def test_the_same_rows(sim: SimulatedExchange, audit_dsn: str, run: int) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    client = async_client(sim)
    try:
        await client.load_markets()
        with memory_trail() as trail:
            await a_day(sim, trail.wrap(client), chance)
            await trail.reconcile()
            entries = trail._memory_journal.read(0, 10_000)
            assert trail.status().failures == {}
    finally:
        await client.close()
    records = [codec.decode(entry.payload) for entry in entries]
    async with PostgresStore(audit_dsn) as store:
        at = 0
        while at < len(entries):
            end = at + chance.randint(1, 15)
            for _ in range(chance.choice([1, 1, 2])):  # some batches are delivered twice
                await store.deliver(trail.stream, entries[at:end], records[at:end])
            at = end
        try:
            await the_same(trail, audit_dsn)
            await store.deliver(trail.stream, entries, records)
            await store.rebuild()
            await the_same(trail, audit_dsn)
        except AssertionError as different:
            raise AssertionError(f"seed {seed}: {different}") from different
