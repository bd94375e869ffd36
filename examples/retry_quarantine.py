"""What the database refused: see it, mend the cause, bring it in.

    python examples/retry_quarantine.py                       # shows it on a database of its own
    python examples/retry_quarantine.py postgresql://...      # does it on yours

A record that the database refuses (a rule of a table, a trigger, a number too large) blocks nothing: it is set aside in
`audit.quarantine`, as it is and with the reason, and `trail.status().quarantined` counts it. Once the cause is mended, a
retry puts it where it belongs, as if it had come in time. Retrying once too often does no harm, nor does it while the bot
runs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import asyncpg
from simulated_exchange import SimulatedExchange, async_client

from audit_wrapper import AuditTrail
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.store.postgres import PostgresStore

SYMBOL = "ETH/USDT:USDT"


async def retry(dsn: str) -> None:
    """The whole command: what is in quarantine, another try, what is left."""
    async with PostgresStore(dsn) as store:
        for entry in await store.quarantined():
            print(f"  entry {entry.seq}, tried {entry.retries + 1} times: {entry.reason.splitlines()[0]}")
        print(f"{await store.retry_quarantined()} brought in, {len(await store.quarantined())} left in quarantine")


async def shown_on(dsn: str, journal: Path) -> None:
    """A rule that the bot breaks; and what becomes of its records when the rule goes."""
    database = await asyncpg.connect(dsn)
    with SimulatedExchange("binance") as exchange:
        client = async_client(exchange)
        try:
            async with AuditTrail.open(dsn, journal=journal, ask_exchange="off") as trail:
                await trail.flush()
                await database.execute("ALTER TABLE monitoring.orders ADD CONSTRAINT small CHECK (size < 1)")
                client = trail.wrap(client)
                for amount in (0.5, 2.0, 0.25):
                    await client.create_order(SYMBOL, "market", "buy", amount)
                await trail.flush()
                status = trail.status()
                print(f"delivered {status.delivered_seq} of {status.durable_seq}, {status.quarantined} in quarantine:")
                await retry(dsn)
                await database.execute("ALTER TABLE monitoring.orders DROP CONSTRAINT small")
                print("the rule is gone:")
                await retry(dsn)
        finally:
            await client.close()
    for row in await database.fetch("SELECT size, status FROM monitoring.orders ORDER BY created_at"):
        print(f"  {row['size']} {row['status']}")
    await database.close()


async def main() -> None:
    """On the database that is named, or on one of its own."""
    if len(sys.argv) > 1:
        await retry(sys.argv[1])
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        database = EmbeddedPostgres(Path(folder, "postgres"))
        try:
            await shown_on(await asyncio.to_thread(database.start), Path(folder, "journal"))
        finally:
            database.stop()


if __name__ == "__main__":
    asyncio.run(main())
