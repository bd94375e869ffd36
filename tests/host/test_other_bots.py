"""Bots of another shape: a synchronous ccxt client, a list of clients, a database that is away while they trade."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import asyncpg
import ccxt
import pytest
from audited import SYMBOL, UNIFIED, audited
from simulated_exchange import Reject, SimulatedExchange, async_client, sync_client

from audit_wrapper import AuditTrail
from audit_wrapper.testing import memory_trail


def test_a_synchronous_client(sim: SimulatedExchange) -> None:
    client = sync_client(sim)
    client.load_markets()
    with memory_trail() as trail:
        assert trail.wrap(client) is client
        order = client.create_market_order(UNIFIED, "buy", 10)
        resting = client.create_limit_order(UNIFIED, "sell", 10, 1.5)
        client.cancel_order(resting["id"], UNIFIED)
        sim.next("create", Reject(-2019, "Margin is insufficient.") if sim.kind == "binance" else Reject(110007, "no"))
        with pytest.raises(ccxt.InsufficientFunds):
            client.createOrder(UNIFIED, "market", "buy", 10)  # the other spelling

        report = asyncio.run(trail.reconcile())
        assert not report.unanswered
        market, limit, refused = trail.orders
        assert (market.order_id, market.status, market.symbol) == (order["id"], "FILLED", SYMBOL)
        assert market.fee == sum(f.fee_amount for f in sim.ledger.fills)
        assert (limit.order_id, limit.status) == (resting["id"], "CANCELED")
        assert (refused.order_id, refused.status) == (None, "REJECTED")
        assert trail.status().failures == {}


async def test_a_plain_ccxt_bot(sim: SimulatedExchange, audit_dsn: str, tmp_path: Path) -> None:
    client = async_client(sim)
    try:
        await client.load_markets()
        async with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off", ask_per_minute=6_000) as trail:
            (client,) = trail.wrap([client])
            with trail.position(id=12, signal_id=3, side="long"):
                await client.create_order(UNIFIED, "market", "buy", 10)
                await client.create_order(UNIFIED, "market", "sell", 10, None, {"reduceOnly": True})
            await trail.reconcile()
            assert await trail.flush()
        connection = await asyncpg.connect(audit_dsn)
        rows = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY id")
        await connection.close()
        assert [(r["position_id"], r["signal_id"], r["status"], r["purpose"], r["link_how"]) for r in rows] == [
            ("12", 3, "FILLED", "entry", "scope"),
            ("12", 3, "FILLED", "exit", "scope"),
        ]
    finally:
        await client.close()


async def test_the_bot_trades_on_while_the_database_is_away(
    sim: SimulatedExchange, bot_dsn: str, tmp_path: Path
) -> None:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    client = async_client(sim)
    try:
        await client.load_markets()
        began = time.perf_counter()
        trail = AuditTrail.open(nowhere, journal=tmp_path, ask_exchange="off", close_timeout_s=0.2)
        assert time.perf_counter() - began < 2, "open does not wait for the database"
        trail.wrap(client)
        orders = [await client.create_market_order(UNIFIED, "buy", 10) for _ in range(5)]
        left = await trail.flush(timeout_s=0.2)
        assert not left
        assert (left.undelivered, trail.status().lag) == (10, 10)
        assert "database away" in trail.status().failures
        left = await trail.aclose()
        assert left.undelivered == 10
        assert left.problem, "says why"

        async with audited(sim, bot_dsn, tmp_path) as desk:  # the next start, with the database back
            await desk.settled()
            rows = await desk.rows()
            assert [row["order_id"] for row in rows] == [order["id"] for order in orders]
            assert {(row["status"], row["filled"]) for row in rows} == {("FILLED", Decimal(10))}
    finally:
        await client.close()


async def test_the_embedded_database(sim: SimulatedExchange, tmp_path: Path) -> None:
    client = async_client(sim)
    try:
        await client.load_markets()
        async with AuditTrail.open(journal=tmp_path / "journal", ask_exchange="off", ask_per_minute=6_000) as trail:
            trail.wrap(client)
            await client.create_market_order(UNIFIED, "buy", 10)
            assert await trail.flush(timeout_s=60)
            status = trail.status()
            assert status.embedded == str(tmp_path / "journal" / "postgres")
            assert status.database is not None
            connection = await asyncpg.connect(status.database)
            assert await connection.fetchval("SELECT count(*) FROM monitoring.orders") == 1
            await connection.close()
    finally:
        await client.close()
