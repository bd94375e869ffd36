"""A wrapped client on a simulated exchange with a trail in memory, and the comparison of the trail with the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from simulated_exchange import Fill, Order, SimulatedExchange, async_client

from audit_wrapper.reconcile import ReconcileReport
from audit_wrapper.rows import FillRow, OrderRow, TradeRow
from audit_wrapper.testing import MemoryTrail, memory_trail

MNT, BTC = "MNT/USDT:USDT", "BTC/USDT:USDT"
SYMBOL = "MNTUSDT"


class Account:
    """`client` is wrapped; what it does is in `trail`, and what is true in `sim.ledger`."""

    def __init__(self, sim: SimulatedExchange, client: Any, trail: MemoryTrail) -> None:
        self.sim, self.client, self.trail = sim, client, trail
        self.is_binance = sim.kind == "binance"

    # -- what the bot does

    async def enter(self, amount: float = 10, symbol: str = MNT, **params: Any) -> str:
        """Buy at the market."""
        return str((await self.client.create_order(symbol, "market", "buy", amount, None, params))["id"])

    async def limit(self, amount: float = 10, price: float = 1.1, symbol: str = MNT, **params: Any) -> str:
        """A limit order to buy."""
        return str((await self.client.create_order(symbol, "limit", "buy", amount, price, params))["id"])

    async def stop(self, price: float = 1.1, amount: float = 10) -> str:
        """A stop-loss as an order."""
        params: dict[str, Any] = {"stopLossPrice": price, "reduceOnly": True}
        return str((await self.client.create_order(MNT, "market", "sell", amount, None, params))["id"])

    async def take_profit(self, price: float = 1.4, amount: float = 10) -> str:
        """A take-profit as an order."""
        params: dict[str, Any] = {"takeProfitPrice": price, "reduceOnly": True}
        return str((await self.client.create_order(MNT, "market", "sell", amount, None, params))["id"])

    async def attach(self, **prices: str) -> None:
        """Bybit: set stops of the position (stopLoss, takeProfit, trailingStop; "0" removes one)."""
        params = {"category": "linear", "symbol": SYMBOL, "positionIdx": 0, **prices}
        await self.client.private_post_v5_position_trading_stop(params)

    def ask_for_pages_of(self, rows: int) -> None:
        """Ask for so many rows at once, as the simulated exchange gives with this `page_limit`."""
        inquirer = self.trail._inquiry.inquirer
        ordinary = inquirer.asker

        def small(subject: Any, **how: Any) -> Any:
            asker = ordinary(subject, **how)
            asker._page_limit = rows
            return asker

        inquirer.asker = small  # type: ignore[method-assign]

    # -- what the trail says

    def row(self, order_id: str | None = None, **having: Any) -> OrderRow:
        """The one row with this id, and these values."""
        wanted = {**({"order_id": order_id} if order_id is not None else {}), **having}
        found = [row for row in self.trail.orders if all(row[name] == value for name, value in wanted.items())]
        assert len(found) == 1, (wanted, self.trail.orders)
        return found[0]

    def trade(self, row: OrderRow) -> TradeRow:
        """The one trade row of an order."""
        (found,) = [trade for trade in self.trail.trades if trade.order_key == row.order_key]
        return found

    def fills(self, row: OrderRow) -> list[FillRow]:
        """The fills of an order."""
        return [fill for fill in self.trail.fills if fill.order_key == row.order_key]

    async def reconciled(self, since: datetime | None = None) -> ReconcileReport:
        """Reconcile, all of it answered and nothing of ours failing. `since`: over that range too."""
        report = await self.trail.reconcile(since, None if since is None else self.now() + timedelta(minutes=1))
        assert report.unanswered == (), report
        assert self.trail.status().failures == {}
        return report

    def later(self, ahead: timedelta = timedelta(minutes=10)) -> None:
        """The trail believes that it is later: all is indexed by then, and nothing forgotten."""
        self.trail._inquiry._reconciler._now = lambda: datetime.now(UTC) + ahead

    async def reconciled_twice(self) -> ReconcileReport:
        """Two looks, far enough apart that what is in neither of them does not exist. Returns the second report."""
        self.later()
        await self.reconciled()
        self.later(timedelta(minutes=20))
        return await self.reconciled()

    def now(self) -> datetime:
        """The exchange's clock."""
        return _moment(self.sim.now())

    # -- trail and ledger

    def truth(self) -> list[Order]:
        """The orders that the exchange took; what a conditional order became goes with it."""
        ledger = self.sim.ledger.orders
        children = {(order.symbol, order.actual_order_id) for order in ledger if order.actual_order_id}
        return [
            order
            for order in ledger
            if order.exchange_order_id is not None
            and not (order.kind == "order" and (order.symbol, order.exchange_order_id) in children)
        ]

    def same_as_the_ledger(self) -> None:
        """Every order that the exchange took has one row, field by field as in its books, and no other row has an id."""
        truth = {(order.symbol, order.exchange_order_id): order for order in self.truth()}
        named = [row for row in self.trail.orders if row.order_id is not None]
        rows = {(row.symbol, row.order_id): row for row in named}
        assert len(rows) == len(named), f"an order has two rows: {named}"
        assert sorted(rows.keys() - truth.keys()) == [], "rows of which the exchange knows nothing"
        assert sorted(truth.keys() - rows.keys()) == [], "orders of which there is no row"
        for key, order in truth.items():
            self.same(order, rows[key])
        assert self.told_fills() == self.true_fills()
        assert {trade.order_key for trade in self.trail.trades} <= {row.order_key for row in named}

    def same(self, order: Order, row: OrderRow) -> None:
        """One row holds what the ledger holds of this order."""
        executed, fills = self.sim.ledger.executed(order), self.sim.ledger.fills_of(order)
        status = "CANCELED" if row.status == "MODIFIED" and order.kind == "attached" else row.status
        assert (status, row.filled) == (order.status, executed.filled_quantity), (row, order)
        assert (row.side, row.limit_price) == (order.side, order.limit_price), (row, order)
        if not order.close_position:  # such a stop has no size, until it is known what it closed
            assert row.size == order.quantity or (order.kind == "attached" and row.size is None), (row, order)
        assert row.client_order_id == (order.client_order_id or None), (row, order)
        assert row.reduce_only in (None, order.reduce_only or order.close_position), (row, order)
        trades = [trade for trade in self.trail.trades if trade.order_key == row.order_key]
        if not fills:
            assert (row.fee, row.fee_status, row.average_price, trades) == (None, "none_due", None, []), row
            return
        (trade,) = trades
        assert trade.executed_qty == executed.filled_quantity
        for one in (row, trade):
            average = executed.average_price
            assert one.average_price is not None
            assert average is not None
            assert abs(one.average_price - average) <= Decimal("0.5e-18"), (one, order)
            currencies = {fill.fee_currency for fill in fills}
            if len(currencies) > 1:
                assert (one.fee, one.fee_currency, one.fee_status) == (None, None, "several_currencies"), one
            else:
                total = sum(fill.fee_amount for fill in fills)
                assert (one.fee, one.fee_currency, one.fee_status) == (total, fills[0].fee_currency, "reported"), one

    def told_fills(self) -> list[tuple[Any, ...]]:
        """The fills of the trail, comparable."""
        names = ("symbol", "exchange_trade_id", "exchange_order_id", "side", "price", "quantity", "fee", "fee_currency")
        return sorted((*(f[name] for name in names), f.liquidity, f.exchange_at) for f in self.trail.fills)

    def true_fills(self) -> list[tuple[Any, ...]]:
        """The fills of the ledger, comparable."""
        names = ("symbol", "exchange_trade_id", "exchange_order_id", "side", "price", "quantity", "fee_amount")
        return sorted(
            (*(getattr(f, name) for name in names), f.fee_currency, f.liquidity, _moment(f.time))
            for f in self.sim.ledger.fills
        )

    def fill_of(self, number: int = -1) -> Fill:
        """A fill of the ledger, the last one unless told otherwise."""
        return self.sim.ledger.fills[number]


def _moment(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@asynccontextmanager
async def account_on(
    sim: SimulatedExchange, client: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Account]:
    """An account with its markets loaded. `client`: configuration of ccxt's client. `settings`: of the trail."""
    real = async_client(sim, **(client or {}))
    try:
        await real.load_markets()
        with memory_trail(**settings) as trail:
            yield Account(sim, trail.wrap(real), trail)
    finally:
        await real.close()
