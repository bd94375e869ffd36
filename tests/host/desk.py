"""One stand-in bot on one simulated exchange, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.exchange_manager import ExchangeManager
from core.position_manager import PositionManager
from database.repository import MemoryRepository
from simulated_exchange import Order, SimulatedExchange, async_client

SYMBOL = "MNTUSDT"
UNIFIED = "MNT/USDT:USDT"


class Desk:
    """A bot, its manager, its rows and its exchange."""

    def __init__(self, sim: SimulatedExchange, manager: ExchangeManager) -> None:
        self.sim = sim
        self.manager = manager
        self.repository = MemoryRepository()
        self.bot = PositionManager({sim.kind: manager}, self.repository)

    def signal(self, **changes: Any) -> dict[str, Any]:
        """What a strategy sends: buy 10.75, of which the exchange takes 10."""
        signal = {
            "id": 7,
            "symbol": SYMBOL,
            "exchange": self.sim.kind,
            "side": "BUY",
            "quantity": "10.75",
            "entry_price": "1.2",
            "stop_loss_price": 1.1,
        }
        return {**signal, **changes}

    def row(self) -> dict[str, Any]:
        """The newest row of the bot's positions table."""
        return self.repository.positions[max(self.repository.positions)]

    def market_orders(self) -> list[Order]:
        """What the exchange took at the market, without the children of triggered stops."""
        ledger = self.sim.ledger
        children = {order.actual_order_id for order in ledger.orders}
        return [
            order
            for order in ledger.orders
            if order.kind == "order"
            and order.type.upper() == "MARKET"
            and order.status != "REJECTED"
            and order.exchange_order_id not in children
        ]

    def live_stops(self) -> list[Order]:
        """The orders that wait for their trigger price."""
        return [order for order in self.sim.ledger.orders if order.is_armed]


@asynccontextmanager
async def desk_on(sim: SimulatedExchange, **config: Any) -> AsyncIterator[Desk]:
    """A desk with its markets loaded; `config` goes to the `ExchangeManager`."""
    client = async_client(sim)
    try:
        manager = ExchangeManager(sim.kind, {"client": client, "retry_delay_seconds": 0.001, **config})
        await manager.initialize()
        yield Desk(sim, manager)
    finally:
        await client.close()
