"""Several days of the stand-in bot on both simulated exchanges, in a real database: what a report is made of.

    python tests/host/several_days.py postgresql://... [days]     # into an empty database, to look at

The bot trades for real over HTTP; the clocks of both exchanges, of the trail and of the bot's own table are one, which
begins some days ago and is moved forward by hours. Prices walk at random from a seed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    for _folder in ("", "examples", "examples/bot", "tests/host"):
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / _folder))

import asyncpg
from core.exchange_manager import ExchangeManager
from core.position_manager import PositionManager
from database.repository import Repository
from simulated_exchange import Delay, LoseAnswer, Reject, SimulatedExchange, async_client

from audit_wrapper import AuditTrail, callframe, scribe

NO_MARGIN = {
    "binance": Reject(-2019, "Margin is insufficient."),
    "bybit": Reject(110007, "ab not enough for new order <script>alert('hostile')</script>"),
}
HOSTILE = "</script><script>document.title='hostile'</script><img src=x onerror=alert(1)>"
NO_STOP = Reject(-4045, "Reach max stop order limit.")
SIZES = {"BTCUSDT": "0.05", "ETHUSDT": "1.2", "MNTUSDT": "2500"}


class _Rows(Repository):
    """The bot's own rows, dated by the clock of the exchanges."""

    now: Any = None

    async def create_position(self, position_data: dict[str, Any]) -> int:
        number = await super().create_position(position_data)
        await self.pool.execute("UPDATE monitoring.positions SET opened_at = $1 WHERE id = $2", self._at(), number)
        return number

    async def close_position(self, position_id: int, exit_reason: str) -> Any:
        done = await super().close_position(position_id, exit_reason)
        await self.pool.execute("UPDATE monitoring.positions SET closed_at = $1 WHERE id = $2", self._at(), position_id)
        return done

    def _at(self) -> datetime:
        return self.now().replace(tzinfo=None)


@dataclass
class Market:
    """Two exchanges, one clock, one bot."""

    sims: dict[str, SimulatedExchange]
    bot: PositionManager
    trail: AuditTrail
    pool: asyncpg.Pool

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.sims["binance"].engine.now() / 1000, UTC)

    def later(self, hours: float) -> None:
        for sim in self.sims.values():
            sim.advance(int(hours * 3_600_000))

    async def open(self, exchange: str, symbol: str, side: str, price: str, stop: str, size: str, signal: int) -> Any:
        """One position through the atomic flow; None where it failed."""
        names = ("id", "exchange", "symbol", "side", "quantity", "entry_price", "stop_loss_price")
        return await self.bot.open_position(
            dict(zip(names, (signal, exchange, symbol, side, size, price, stop), strict=True))
        )

    async def close(self, position: Any, limit: str | None = None) -> None:
        """At the market, or at a limit that it reaches."""
        with self.trail.position(id=str(position.id), signal_id=position.signal_id):
            if limit is None:
                await self.bot.close_position(position.symbol, "target reached")
            else:
                await self.bot.exit_with_limit(position.symbol, limit)
                await self.bot.cancel_leftovers(position.symbol, position.exchange)
        await self.bot.sync()

    async def settled(self) -> None:
        """What the answers left open is asked for, and all of it is in the tables."""
        await self.trail.reconcile()
        assert await self.trail.flush(timeout_s=30)


@contextmanager
def _one_clock(market: Market) -> Iterator[None]:
    inquiry: Any = market.trail._inquiry
    inquiry._reconciler._now = market.now
    asker = inquiry.inquirer.asker

    def asker_of(*args: Any, **kwargs: Any) -> Any:
        made = asker(*args, **kwargs)
        made._now = market.now
        return made

    inquiry.inquirer.asker = asker_of
    before = scribe.now
    scribe.now = callframe.now = market.now
    try:
        yield
    finally:
        scribe.now = callframe.now = before


@asynccontextmanager
async def market(dsn: str, journal: Path, began: datetime, account: str = "default") -> AsyncIterator[Market]:
    """A bot that trades from `began` on. dsn: a database, with or without the bot's tables."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=3))
        repository = _Rows(pool)
        await repository.create_schema()
        sims, managers = {}, {}
        for name in ("binance", "bybit"):
            sim = SimulatedExchange(name, start_time_ms=int(began.timestamp() * 1000))  # type: ignore[arg-type]
            sims[name] = stack.enter_context(sim)
            client = async_client(sim)
            stack.push_async_callback(client.close)
            managers[name] = ExchangeManager(
                name, {"client": client, "retry_delay_seconds": 0.01, "fetch_after_create": True}
            )
            await managers[name].initialize()
        settings: dict[str, Any] = {"ask_exchange": "off", "ask_per_minute": 6_000, "account": account}
        trail = AuditTrail.open(dsn, journal=journal, **settings)
        stack.push_async_callback(trail.aclose)
        exchanges = trail.wrap(managers)
        for name in ("core.stop_loss_manager:StopLossManager", "core.atomic_position_manager:AtomicPositionManager"):
            trail.instrument(name)
            stack.callback(trail.uninstrument, name)
        made = Market(sims, PositionManager(exchanges, repository), trail, pool)
        repository.now = made.now
        stack.enter_context(_one_clock(made))
        yield made


async def several_days(dsn: str, journal: Path, days: int = 5, seed: int = 7) -> None:
    """Trade for `days` days until now: wins, losses, fired stops, refusals, lost answers, stops that came late."""
    logging.getLogger("core").setLevel(logging.CRITICAL + 1)
    chance = random.Random(seed)
    prices = {"BTCUSDT": Decimal(60000), "ETHUSDT": Decimal(3000), "MNTUSDT": Decimal("1.2")}
    async with market(dsn, journal, datetime.now(UTC) - timedelta(days=days)) as on:
        end, signal = on.now() + timedelta(days=days, hours=-8), 100
        while on.now() < end:
            signal += 1
            name = chance.choice(["binance", "binance", "bybit"])
            sim, symbol = on.sims[name], chance.choice(list(prices))
            await _one_position(on, sim, name, symbol, signal, chance, prices)
            on.later(chance.uniform(0.3, 2.5))
        await _evening(on, prices, signal)
        await on.settled()
    await second_account(dsn, journal / "second", datetime.now(UTC) - timedelta(days=days / 2))


class Dollars:
    """A manager that trades for dollars at the price it is told. No wire, no exchange: its answers are all there is."""

    name = "kraken"

    def __init__(self, began: datetime) -> None:
        self.at, self.count = began, 0

    async def create_limit_order(self, symbol: str, side: str, amount: str, price: str) -> dict[str, Any]:
        self.count += 1
        self.at += timedelta(hours=3)
        number, at = str(self.count), int(self.at.timestamp() * 1000)
        shared = {"symbol": symbol, "side": side, "price": price, "amount": amount, "timestamp": at}
        shared["fee"] = {"cost": "0.02", "currency": "USD"}
        trades = [{**shared, "id": f"t{number}", "order": number}]
        whole = {"filled": amount, "remaining": "0", "average": price, "status": "closed", "info": {}, "trades": trades}
        return {**shared, **whole, "id": number, "type": "limit"}


async def second_account(dsn: str, journal: Path, began: datetime) -> None:
    """Three positions in dollars: +4.96, -2.04, +0.96; the ids of the last is as hostile as an id can be."""
    trail = AuditTrail.open(dsn, journal=journal, account="second", ask_exchange="off")
    try:
        manager = trail.wrap({"kraken": Dollars(began)})["kraken"]
        for position, leave in (("s1", "3.0"), ("s2", "2.3"), (HOSTILE, "2.6")):
            with trail.position(id=position, signal_id=3, side="buy"):
                await manager.create_limit_order("MNT/USD", "buy", "10", "2.5")
                await manager.create_limit_order("MNT/USD", "sell", "10", leave)
        assert await trail.flush(timeout_s=20)
    finally:
        await trail.aclose()


async def _one_position(
    on: Market,
    sim: SimulatedExchange,
    name: str,
    symbol: str,
    signal: int,
    chance: random.Random,
    prices: dict[str, Decimal],
) -> None:
    side, price = chance.choice(["BUY", "SELL"]), _in_steps(prices[symbol])
    away = Decimal("-0.02") if side == "BUY" else Decimal("0.02")
    stop = str(_in_steps(price * (1 + away)))
    sim.split_fills, sim.slippage_ticks = chance.choice([1, 1, 2, 3]), chance.choice([0, 1, 1, 4])
    sim.fee_currency = "BNB" if name == "binance" and chance.random() < 0.15 else "USDT"
    sim.next("create", Delay(chance.lognormvariate(-4.2, 0.8)))
    what = chance.random()
    if what < 0.10:
        sim.faults.clear()
        sim.next("create", NO_MARGIN[name])
    elif what < 0.18 and name == "binance":
        sim.next("stop", NO_STOP, times=2)  # the stop stands at the third try
    elif what < 0.22 and name == "binance":
        sim.next("stop", NO_STOP, times=3)  # and here the position is closed again
    position = await on.open(name, symbol, side, str(price), stop, SIZES[symbol], signal)
    if position is None:
        sim.faults.clear()
        return
    is_stop_taken = chance.random() < 0.12 and name == "binance"
    if is_stop_taken:
        await _stop_canceled_by_hand(on, sim, position, chance)
    drift = Decimal(str(round(chance.gauss(0.0015, 0.011), 5))) * (1 if side == "BUY" else -1)
    on.later(chance.uniform(0.2, 6))
    prices[symbol] = _in_steps(price * (1 + drift))
    for one in on.sims.values():
        one.set_price(symbol, str(prices[symbol]))
    await on.bot.sync()  # the stop may have fired
    if symbol in on.bot.positions:
        if chance.random() < 0.4:
            with on.trail.position(id=str(position.id), signal_id=signal):
                await on.bot.on_price(symbol, float(prices[symbol]))
            on.later(chance.uniform(0.1, 1))
        worse = Decimal("0.9998") if side == "BUY" else Decimal("1.0002")
        await on.close(position, str(_in_steps(prices[symbol] * worse)) if chance.random() < 0.4 else None)
    if chance.random() < 0.3:
        await on.settled()


async def _stop_canceled_by_hand(on: Market, sim: SimulatedExchange, position: Any, chance: random.Random) -> None:
    """Somebody takes the stop off on the website; an hour later the bot sees it and places another one."""
    stop = next(o for o in reversed(sim.ledger.orders) if o.symbol == position.symbol and o.kind == "algo")
    on.later(chance.uniform(0.1, 3))
    sim.cancel_by_hand(stop.exchange_order_id, position.symbol)
    await on.settled()
    on.later(chance.uniform(0.2, 1.5))
    with on.trail.position(id=str(position.id), signal_id=position.signal_id):
        await on.bot.protect_all()


async def _evening(on: Market, prices: dict[str, Decimal], signal: int) -> None:
    """What is left open: a position, an order whose answer was lost, one that belongs to no position."""
    price = _in_steps(prices["ETHUSDT"])
    await on.open("bybit", "ETHUSDT", "SELL", str(price), str(_in_steps(price * Decimal("1.02"))), "0.5", signal + 1)
    await on.settled()
    on.sims["bybit"].next("create", NO_MARGIN["bybit"])
    await on.open("bybit", "BTCUSDT", "BUY", str(_in_steps(prices["BTCUSDT"])), "1", "0.5", signal + 2)
    manager = on.bot.exchanges["bybit"]
    await manager.create_market_order("MNTUSDT", "buy", "40")  # of no position
    on.sims["binance"].next("create", LoseAnswer(), times=9)
    on.sims["binance"].next("read", LoseAnswer(), times=99)
    try:
        await on.bot.exchanges["binance"].create_market_order("BTCUSDT", "buy", "0.01")
    except Exception:  # whatever the client makes of it
        logging.getLogger(__name__).debug("the answer was lost, as it was to be")
    on.later(0.2)


def _in_steps(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.1") if price > 10_000 else Decimal("0.01") if price > 100 else Decimal("0.0001"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="audit-days-") as _journal:
        asyncio.run(several_days(sys.argv[1], Path(_journal), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
