"""A wrapped stand-in bot with a real PostgreSQL behind it, and the comparison of its tables with the exchange's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from core.atomic_position_manager import AtomicPositionManager
from core.exchange_manager import ExchangeManager
from core.position_manager import PositionManager
from database.repository import Repository
from simulated_exchange import Order, SimulatedExchange, async_client

from audit_wrapper import AuditTrail

SYMBOL = "MNTUSDT"
UNIFIED = "MNT/USDT:USDT"
CLASSES = (
    "core.stop_loss_manager:StopLossManager",
    "core.atomic_position_manager:AtomicPositionManager",
)


class Audited:
    """A bot, its exchange, its database and its trail."""

    def __init__(
        self,
        sim: SimulatedExchange,
        trail: AuditTrail,
        managers: dict[str, ExchangeManager],
        repository: Repository,
        connection: asyncpg.Connection,
    ) -> None:
        self.sim = sim
        self.trail = trail
        self.manager = managers[sim.kind]
        self.repository = repository
        self.bot = PositionManager(managers, repository)
        self.atomic = AtomicPositionManager(repository, managers)
        self.connection = connection

    @property
    def is_binance(self) -> bool:
        return self.sim.kind == "binance"

    async def open(self, **changes: Any) -> dict[str, Any]:
        """One position through the atomic flow."""
        signal = {
            "signal_id": 7,
            "symbol": SYMBOL,
            "exchange": self.sim.kind,
            "side": "buy",
            "quantity": "10.75",  # of which the exchange takes 10
            "entry_price": "1.2",
            "stop_loss_price": "1.1",
        }
        result: dict[str, Any] = await self.atomic.open_position_atomic(**{**signal, **changes})
        return result

    async def settled(self) -> None:
        """Ask the exchange what its answers left open, twenty minutes later, and have it all in the tables."""
        for minutes in (10, 20):  # that an order is absent takes two looks
            self.trail._inquiry._reconciler._now = lambda ahead=minutes: datetime.now(UTC) + timedelta(minutes=ahead)
            report = await self.trail.reconcile()
        assert not report.unanswered, report
        flushed = await self.trail.flush(timeout_s=20)
        assert flushed, flushed
        assert self.trail.status().failures == {}

    async def rows(self, table: str = "orders", **where: Any) -> list[asyncpg.Record]:
        """Rows of one of the two tables, oldest first."""
        time = "created_at" if table == "orders" else "executed_at"
        found = await self.connection.fetch(f"SELECT * FROM monitoring.{table} ORDER BY {time}, id")
        return [row for row in found if all(row[name] == value for name, value in where.items())]

    async def position(self) -> asyncpg.Record:
        """The newest row of the bot's own positions."""
        return await self.connection.fetchrow("SELECT * FROM monitoring.positions ORDER BY id DESC LIMIT 1")

    async def same_as_the_exchange(self, *, linked: bool = True) -> None:
        """The tables hold what the ledger holds, field by field, and nothing else."""
        await self.settled()
        orders, trades = await self.rows(), await self.rows("trades")
        ledger = [o for o in self.sim.ledger.orders if not o.details.get("parent")]
        children = {o.actual_order_id for o in ledger if o.actual_order_id}
        ledger = [o for o in ledger if o.exchange_order_id not in children]
        by_id = Counter((row["symbol"], row["order_id"]) for row in orders if row["order_id"] is not None)
        assert all(count == 1 for count in by_id.values()), f"an order is there twice: {by_id}"
        left = list(orders)
        for order in ledger:
            row = self._row_of(order, left)
            assert row is not None, f"not in the table: {order}; left are {left}"
            left.remove(row)
            self._compare_order(order, row)
            self._compare_trade(order, [t for t in trades if t["order_key"] == row["order_key"]])
        assert not left, f"rows of which the exchange knows nothing: {left}"
        assert {t["order_key"] for t in trades} <= {o["order_key"] for o in orders}
        if linked:
            position = await self.position()
            assert {row["position_id"] for row in orders} == {str(position["id"])}
            assert {row["signal_id"] for row in orders} == {position["signal_id"]}
            assert {row["position_id"] for row in trades} <= {str(position["id"])}

    def _row_of(self, order: Order, rows: list[asyncpg.Record]) -> asyncpg.Record | None:
        if order.exchange_order_id is None:
            same = [r for r in rows if r["order_id"] is None and r["status"] == "REJECTED" and r["side"] == order.side]
        else:
            same = [r for r in rows if (r["symbol"], r["order_id"]) == (order.symbol, order.exchange_order_id)]
        return same[0] if same else None

    def _compare_order(self, order: Order, row: asyncpg.Record) -> None:
        attached = order.kind == "attached"
        executed = self.sim.ledger.executed(order)
        filled = executed.filled_quantity
        status = {"MODIFIED": "CANCELED"}.get(row["status"], row["status"]) if attached else row["status"]
        assert status == order.status, (row, order)
        assert row["exchange"] == self.sim.kind
        assert row["symbol"] == order.symbol
        assert row["unified_symbol"] == order.unified_symbol
        assert row["side"] == order.side
        assert row["size"] == order.quantity or (attached and row["size"] is None)
        if order.client_order_id and not attached:
            assert row["client_order_id"] == order.client_order_id
        if filled or order.status != "CANCELED":
            assert row["filled"] == filled, (row, order)
        if row["size"] is not None and row["filled"] is not None:
            assert row["filled"] + row["remaining"] == row["size"]
        assert row["trigger_price"] == order.trigger_price or order.type == "TRAILING_STOP_MARKET"
        if order.type.upper() == "LIMIT":
            assert row["limit_price"] == row["price"] == order.limit_price
        if order.reject_words:
            assert order.reject_words in row["reason"]
            assert str(order.reject_code) in row["reason"]
        self._compare_money(order, row, row["average_price"])

    def _compare_money(self, order: Order, row: asyncpg.Record, average: Decimal | None) -> None:
        fills = self.sim.ledger.fills_of(order)
        if not fills:
            assert average is None
            assert row["fee"] is None
            return
        executed = self.sim.ledger.executed(order).average_price
        assert executed is not None
        assert average is not None
        # an average that does not end in decimal is kept to 18 places
        assert average == executed or abs(average - executed) <= Decimal("0.5e-18"), (average, executed)
        currencies = {fill.fee_currency for fill in fills}
        if len(currencies) > 1:
            assert (row["fee"], row["fee_currency"], row["fee_status"]) == (None, None, "several_currencies")
        else:
            assert row["fee"] == sum(fill.fee_amount for fill in fills), (row, fills)
            assert row["fee_currency"] == currencies.pop()
            assert row["fee_status"] == "reported"

    def _compare_trade(self, order: Order, trades: list[asyncpg.Record]) -> None:
        executed = self.sim.ledger.executed(order)
        if not executed.filled_quantity:
            assert trades == []
            return
        (trade,) = trades
        assert trade["symbol"] == order.symbol
        assert trade["side"] == order.side
        assert trade["order_id"] == order.exchange_order_id
        assert trade["executed_qty"] == executed.filled_quantity
        assert trade["quantity"] == order.quantity
        assert trade["price"] == trade["average_price"]
        self._compare_money(order, trade, trade["average_price"])

    async def compare_fills(self) -> None:
        """audit.fills and the ledger's fills are the same set."""
        rows = await self.connection.fetch("SELECT * FROM audit.fills")
        assert {
            (r["symbol"], r["exchange_trade_id"], r["price"], r["quantity"], r["fee"], r["fee_currency"]) for r in rows
        } == {
            (f.symbol, f.exchange_trade_id, f.price, f.quantity, f.fee_amount, f.fee_currency)
            for f in self.sim.ledger.fills
        }


@asynccontextmanager
async def audited(
    sim: SimulatedExchange,
    dsn: str,
    journal: Path,
    *,
    instrumented: bool = False,
    settings: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Audited]:
    """A bot that trades on `sim`, wrapped in one line; `instrumented`: with its inner classes observed as well."""
    real = async_client(sim, **(client or {}))
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        connection = await asyncpg.connect(dsn)
        trail = AuditTrail.open(
            dsn, journal=journal, **{"ask_exchange": "off", "ask_per_minute": 6_000, **(settings or {})}
        )
        try:
            manager = ExchangeManager(sim.kind, {"client": real, "retry_delay_seconds": 0.001, **config})
            await manager.initialize()
            exchanges = trail.wrap({sim.kind: manager})
            repository = Repository(pool)
            if instrumented:
                for name in CLASSES:
                    trail.instrument(name)
            yield Audited(sim, trail, exchanges, repository, connection)
        finally:
            await trail.aclose()
            await connection.close()
            await real.close()
