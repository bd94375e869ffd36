"""Auditing a bot that takes nothing from outside: its classes are observed instead of its objects.

    python examples/instrument_classes.py

The bot below builds its exchange managers, its stop-loss managers and its repository somewhere inside itself; there is no
place where a wrapped object could be handed in. So the classes are named, before the bot is even imported. Every
instance that the bot makes from then on is observed, with its ccxt client; `uninstrument`, or closing the trail, takes it
all off again. Exchange and database are of the same kind as in the quickstart.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "bot"))

import asyncpg
from simulated_exchange import SimulatedExchange

from audit_wrapper import AuditTrail
from audit_wrapper.embedded import EmbeddedPostgres

CLASSES = (
    "core.exchange_manager:ExchangeManager",
    "core.stop_loss_manager:StopLossManager",
    "core.atomic_position_manager:AtomicPositionManager",
    "database.repository:Repository",
)


async def run_the_bot(dsn: str, url: str) -> None:
    """The bot's own main function: everything is made in here, from settings alone."""
    from core.exchange_manager import ExchangeManager
    from core.position_manager import PositionManager
    from database.repository import Repository

    keys = {"api_key": "simulated-key", "api_secret": "simulated-secret", "url": url}
    manager = ExchangeManager("bybit", {**keys, "enable_rate_limit": False, "fetch_after_create": True})
    async with asyncpg.create_pool(dsn, min_size=1) as pool:
        repository = Repository(pool)
        await repository.create_schema()
        bot = PositionManager({"bybit": manager}, repository)
        signal = {"id": 7, "symbol": "MNTUSDT", "exchange": "bybit", "side": "BUY", "quantity": "40.75"}
        await bot.open_position({**signal, "entry_price": "1.2", "stop_loss_price": "1.15"})
        await bot.move_stop("MNTUSDT", "1.18")
        await bot.close_position("MNTUSDT", "end of the day")
        await asyncio.sleep(2)  # the bot goes on; meanwhile the trail asks Bybit for what its answers left open
        await manager.close()


async def main() -> None:
    """Name the classes, run the bot, look at its tables."""
    logging.getLogger("core").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, SimulatedExchange("bybit") as exchange:
        database = EmbeddedPostgres(Path(folder, "postgres"))
        dsn = await asyncio.to_thread(database.start)
        try:
            async with AuditTrail.open(
                dsn, journal=Path(folder, "journal"), ask_after_s=0.2, ask_per_minute=6_000
            ) as trail:
                for name in CLASSES:
                    trail.instrument(name)
                print("imported before they were instrumented:", [n for n in CLASSES if n.split(":")[0] in sys.modules])
                await run_the_bot(dsn, exchange.url)
                print("delivered:", bool(await trail.flush()))
            connection = await asyncpg.connect(dsn)
            rows = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY created_at, id")
            await connection.close()
        finally:
            database.stop()

    print(f"monitoring.orders holds {len(rows)} orders, the exchange's ledger {len(exchange.ledger.orders)}:")
    for row in rows:
        link = f"position {row['position_id']} of signal {row['signal_id']}, known by {row['link_how']}"
        print(
            f"  {row['purpose']:9} {row['type']:9} {row['side']:4} at {row['price'] or '?':<7} {row['status']:8} {link}"
        )


if __name__ == "__main__":
    asyncio.run(main())
