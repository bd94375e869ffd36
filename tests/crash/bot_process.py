"""A bot that trades until it is killed. Run as a process of its own: `bot_process.py KIND URL DSN JOURNAL`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "bot")]

from core.exchange_manager import ExchangeManager  # noqa: E402
from simulated_exchange import async_client_for  # noqa: E402

from audit_wrapper import AuditTrail  # noqa: E402


async def main(kind: str, url: str, dsn: str, journal: str) -> None:
    trail = AuditTrail.open(dsn, journal=journal, ask_exchange="off")
    manager = ExchangeManager(kind, {"client": async_client_for(kind, url)})
    await manager.initialize()
    manager = trail.wrap({kind: manager})[kind]
    print("trading", flush=True)
    for side in iter(lambda: "buy", None):
        result = await manager.create_market_order("MNTUSDT", side, 10)
        print(result.id, flush=True)  # the bot knows its answer; by now the trail must, too


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
