"""A bot of twenty lines on a plain ccxt client, and the one line that makes it keep an audit trail.

    python examples/plain_ccxt_bot.py

There is no manager, no repository and no positions table: the ccxt client itself is wrapped, in place. The bot says
which position its orders belong to with `trail.position(...)`. The exchange is simulated on this machine, the
database is the embedded PostgreSQL in a temporary folder; with an account of your own, `client` is
`ccxt.async_support.binance({...})` and `dsn` the address of your database.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from simulated_exchange import SimulatedExchange, async_client

from audit_wrapper import AuditTrail
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.store.postgres import PostgresStore

SYMBOL = "ETH/USDT:USDT"


async def bot(client: Any) -> None:
    """Buy, protect, try to sell higher, change one's mind, sell. Nothing here knows of the trail."""
    await client.load_markets()
    entry = await client.create_order(SYMBOL, "market", "buy", 0.5)
    print(f"bot: bought {entry['filled']} at {entry['average']}")
    stop = {"stopLossPrice": 2900, "reduceOnly": True}
    await client.create_order(SYMBOL, "market", "sell", 0.5, None, stop)
    target = await client.create_limit_order(SYMBOL, "sell", 0.5, 3300, {"reduceOnly": True})
    ticker = await client.fetch_ticker(SYMBOL)
    if ticker["last"] < 3300:
        await client.cancel_order(target["id"], SYMBOL)
        await client.cancel_all_orders(SYMBOL, {"trigger": True})
        await client.create_market_sell_order(SYMBOL, 0.5, {"reduceOnly": True})
    print("bot: done")


async def main() -> None:
    """Run the bot with its client wrapped, then look at what was kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, SimulatedExchange("binance") as exchange:
        database = EmbeddedPostgres(Path(folder, "postgres"))
        dsn = await asyncio.to_thread(database.start)
        client = async_client(exchange)
        try:
            async with AuditTrail.open(dsn, journal=Path(folder, "journal"), ask_per_minute=6_000) as trail:
                client = trail.wrap(client)  # the one line
                with trail.position(id="eth-1", side="buy"):
                    await bot(client)
                await trail.reconcile()  # fees: Binance does not tell them in its answer to an order
                async with PostgresStore(dsn) as store:
                    rows = await store.orders_of_position("eth-1")
        finally:
            await client.close()
            database.stop()

    print(f"\nmonitoring.orders holds {len(rows)} orders, the exchange's ledger {len(exchange.ledger.orders)}:")
    for row in rows:
        fee = f"fee {row['fee']:f} {row['fee_currency']}" if row["fee"] is not None else ""
        price = "" if row["price"] is None else f"{row['price']:f}"
        print(f"  {row['purpose']:9} {row['type']:11} {row['side']:4} {row['size']} {price:>9} {row['status']:8} {fee}")


if __name__ == "__main__":
    asyncio.run(main())
