"""A trading bot runs for a day on two simulated exchanges, and the audit trail shows what became of every order.

    make demo            or:  python examples/quickstart.py

Nothing is needed and nothing is left behind: a PostgreSQL of its own is started in a temporary folder, Binance and
Bybit are simulated on this machine, and the bot trades on them with real ccxt clients over HTTP. The bot is the
stand-in of `examples/bot`; it knows nothing of the audit trail. What is added to it is in `main`, at "THE ONE LINE".

The exit code is 0 if the trail agrees with the exchanges' own ledgers.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent / "bot"))

import asyncpg
import compare
import show
from core.exchange_manager import ExchangeManager
from core.position_manager import PositionManager
from database.repository import Repository
from simulated_exchange import LoseAnswer, Reject, SimulatedExchange, async_client

from audit_wrapper import AuditTrail
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.store.postgres import PostgresStore

ORDERS = "SELECT * FROM monitoring.orders ORDER BY created_at, id"
TRADES = "SELECT * FROM monitoring.trades ORDER BY executed_at, id"
FILLS = "SELECT * FROM audit.fills ORDER BY exchange_at, exchange_trade_id"


class Stage(NamedTuple):
    """What a bot has before there is an audit trail: a database, exchanges, managers. And the exchanges' own side."""

    dsn: str
    pool: Any
    folder: Path
    managers: dict[str, ExchangeManager]
    simulated: dict[str, SimulatedExchange]


async def main() -> int:
    """Set the stage, trade, show. Returns the exit code."""
    logging.getLogger("core").setLevel(logging.CRITICAL + 1)  # the bot's own log would hide what is shown here
    async with stage() as (dsn, pool, folder, managers, simulated):
        bots_tables = Repository(pool)
        await bots_tables.create_schema()  # positions, orders and trades, as the bot's author made them

        async with AuditTrail.open(dsn, journal=folder / "journal", ask_per_minute=6_000) as trail:
            exchanges = trail.wrap(managers)  # <- THE ONE LINE: everything below is the bot as it was
            # and two for what this bot builds deep inside itself, where nobody can hand in a wrapped object
            trail.instrument("core.stop_loss_manager:StopLossManager")
            trail.instrument("core.atomic_position_manager:AtomicPositionManager")

            day = Day(PositionManager(exchanges, bots_tables), simulated, trail, pool)
            await day.trade()

            with show.waiting("asking the exchanges what their answers left open"):
                asked = await trail.reconcile()
                await trail.flush()
                well = trail.status()
                this_morning = datetime.now(UTC) - timedelta(hours=12)
                statements = [await trail.completeness(this_morning, exchange=name) for name in exchanges]
            orders, trades, fills = [await pool.fetch(query) for query in (ORDERS, TRADES, FILLS)]
            show.orders(orders)
            show.trades(trades)
            async with PostgresStore(dsn) as store:
                await show.story(store, "1", [fill for fill in fills if fill["symbol"] == "BTCUSDT"])
            show.status(well, asked)
            show.completeness(statements)
            agrees = compare.with_ledgers(simulated, orders, fills)
    return 0 if agrees else 1


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Everything that is not the trail; all of it is gone afterwards."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="audit-demo-", ignore_cleanup_errors=True))
        with show.waiting("starting PostgreSQL, two simulated exchanges and a bot"):
            postgres = EmbeddedPostgres(Path(folder, "postgres"))
            dsn = await asyncio.to_thread(postgres.start)
            stack.callback(postgres.stop)
            pool = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=3))
            managers, simulated = {}, {}
            for name in ("binance", "bybit"):
                exchange = simulated[name] = stack.enter_context(SimulatedExchange(name))
                client = async_client(exchange)
                stack.push_async_callback(client.close)
                managers[name] = ExchangeManager(name, {"client": client, "retry_delay_seconds": 0.01})
                await managers[name].initialize()
        show.title()
        yield Stage(dsn, pool, Path(folder), managers, simulated)


class Day:
    """What happens on it."""

    def __init__(self, bot: PositionManager, simulated: dict[str, SimulatedExchange], trail: AuditTrail, pool: Any):
        self.bot, self.trail, self.pool = bot, trail, pool
        self.binance, self.bybit = simulated["binance"], simulated["bybit"]
        self.signals = 100

    async def trade(self) -> None:
        """One position after the other; what differs is what goes wrong."""
        await self.a_good_trade()
        await self.a_partial_fill()
        await self.no_margin()
        await self.a_rollback()
        await self.a_lost_answer()
        await self.a_stop_fires()
        await self.stops_without_an_id()
        await self.left_open()

    async def signal(self, exchange: str, symbol: str, side: str, quantity: str, price: str, stop: str) -> Any:
        """A strategy's signal reaches the bot."""
        self.signals += 1
        names = ("id", "exchange", "symbol", "side", "quantity", "entry_price", "stop_loss_price")
        given = (self.signals, exchange, symbol, side, quantity, price, stop)
        return await self.bot.open_position(dict(zip(names, given, strict=True)))

    async def a_good_trade(self) -> None:
        with show.step("binance", "BTCUSDT", "long, filled in three parts; the stop follows the price twice; closed"):
            self.binance.split_fills = 3
            await self.signal("binance", "BTCUSDT", "BUY", "0.0504", "60000", "58800")
            self.binance.split_fills = 1
            for price in ("60900", "61800"):
                self.binance.set_price("BTCUSDT", price)
                await self.bot.on_price("BTCUSDT", float(price))
            await self.bot.close_position("BTCUSDT", "target reached")

    async def a_partial_fill(self) -> None:
        with show.step("binance", "ETHUSDT", "short, partly filled; a take-profit; a limit exit, canceled") as say:
            self.binance.partial_fill("0.4")
            await self.signal("binance", "ETHUSDT", "SELL", "1.5", "3000", "3060")
            entry = self.binance.ledger.orders[-2].exchange_order_id
            say(await self.table_says("ETHUSDT", entry))
            self.binance.complete(entry, "ETHUSDT")
            manager = self.bot.exchanges["binance"]
            await manager.create_take_profit_order("ETHUSDT", "buy", "1.5", "2850")
            limit = await self.bot.exit_with_limit("ETHUSDT", 2900)
            await manager.cancel_order(limit["id"], "ETHUSDT")
            await self.trail.reconcile()
            say(await self.table_says("ETHUSDT", entry))
            await self.bot.close_position("ETHUSDT")

    async def no_margin(self) -> None:
        with show.step("binance", "BTCUSDT", "far too large: the exchange refuses for lack of margin"):
            await self.signal("binance", "BTCUSDT", "BUY", "900", "61800", "60000")

    async def a_rollback(self) -> None:
        with show.step("binance", "1000000BABYDOGEUSDT", "filled, its stop refused three times: emergency close"):
            self.binance.next("stop", Reject(-4045, "Reach max stop order limit."), times=3)
            await self.signal("binance", "1000000BABYDOGEUSDT", "BUY", "25000", "0.001", "0.00098")

    async def a_lost_answer(self) -> None:
        with show.step("binance", "PEPEXUSDT", "the answer to the entry is lost; the bot tries again: bought twice"):
            self.binance.next("create", LoseAnswer())
            await self.signal("binance", "PEPEXUSDT", "BUY", "2000000000", "0.000000004321", "0.0000000042")
            await self.bot.close_position("PEPEXUSDT")

    async def a_stop_fires(self) -> None:
        with show.step("binance", "MNTUSDT", "the stop fires on the exchange, without a call of the bot; fees in BNB"):
            self.binance.fee_currency = "BNB"
            await self.signal("binance", "MNTUSDT", "BUY", "500", "1.2", "1.18")
            self.binance.set_price("MNTUSDT", "1.1795")
            await self.bot.sync()

    async def stops_without_an_id(self) -> None:
        with show.step("bybit", "MNTUSDT", "answers are an id alone, stops have none; moved twice; closed") as say:
            await self.signal("bybit", "MNTUSDT", "BUY", "40.75", "1.2", "1.17")
            await self.bot.move_stop("MNTUSDT", "1.18")
            await self.bot.move_stop("MNTUSDT", "1.19")
            if not await self.bot.close_position("MNTUSDT"):
                say("the bot believes that the close failed; the trail will know better")
            await self.bot.sync()

    async def left_open(self) -> None:
        with show.step("bybit", "ETHUSDT", "short with stop and take-profit, still open in the evening"):
            await self.signal("bybit", "ETHUSDT", "SELL", "0.5", "3000", "3060")
            await self.bot.exchanges["bybit"].create_take_profit_order("ETHUSDT", "buy", "0.5", "2850")

    async def table_says(self, symbol: str, order_id: str) -> str:
        """One row as anybody with a database client sees it at this moment."""
        await self.trail.flush()
        query = "SELECT * FROM monitoring.orders WHERE symbol = $1 AND order_id = $2"  # ids are unique per symbol only
        row = await self.pool.fetchrow(query, symbol, order_id)
        return f"the table says: {row['status']}, {row['filled']} filled, {row['remaining']} remaining"


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit("interrupted; everything is cleaned up")
