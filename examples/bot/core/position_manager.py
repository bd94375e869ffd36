"""Keeps the bot's open positions: opens them for signals, trails their stops, closes them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import ccxt.async_support as ccxt

from core.atomic_position_manager import AtomicPositionError, AtomicPositionManager
from core.stop_loss_manager import StopLossManager
from core.symbols import closing_side_of, find_symbol, plain_symbol

logger = logging.getLogger(__name__)


@dataclass
class PositionState:
    """An open position in memory."""

    id: int
    symbol: str
    exchange: str
    side: str
    quantity: Any
    entry_price: Any
    stop_loss_price: Any
    signal_id: int | None = None


class PositionManager:
    """The open positions of all exchanges, keyed by the symbol's plain spelling."""

    def __init__(
        self, exchange_managers: dict[str, Any], repository: Any, stop_loss_manager: Any | None = None
    ) -> None:
        self.exchanges = exchange_managers
        self.repository = repository
        self.atomic = AtomicPositionManager(repository, exchange_managers, stop_loss_manager)
        self.positions: dict[str, PositionState] = {}

    async def open_position(self, signal: dict[str, Any]) -> PositionState | None:
        """Open a position for a signal; None when that failed.

        The signal has symbol, exchange, side, quantity, entry_price, stop_loss_price and perhaps an id.
        """
        try:
            opened = await self.atomic.open_position_atomic(
                signal_id=signal.get("id"),
                symbol=signal["symbol"],
                exchange=signal["exchange"],
                side=signal["side"],
                quantity=signal["quantity"],
                entry_price=signal["entry_price"],
                stop_loss_price=signal["stop_loss_price"],
            )
        except AtomicPositionError as error:
            logger.error("Signal %s: %s", signal.get("id"), error)
            return None
        state = PositionState(
            id=opened["position_id"],
            symbol=opened["symbol"],
            exchange=opened["exchange"],
            side=opened["side"],
            quantity=opened["quantity"],
            entry_price=opened["entry_price"],
            stop_loss_price=opened["stop_loss_price"],
            signal_id=opened["signal_id"],
        )
        self.positions[plain_symbol(state.symbol)] = state
        return state

    async def close_position(self, symbol: str, reason: str = "manual") -> bool:
        """Close a position at the market; it stays in memory when its exchange manager says False."""
        position = self.positions.get(plain_symbol(symbol))
        if position is None:
            logger.warning("No position in %s", symbol)
            return False
        if not await self.exchanges[position.exchange].close_position(position.symbol):
            logger.error("Position %s: %s could not be closed", position.id, symbol)
            return False
        await self._forget(position, reason)
        return True

    async def move_stop(self, symbol: str, new_price: Any) -> bool:
        """Move the stop-loss of a position."""
        position = self.positions.get(plain_symbol(symbol))
        if position is None:
            return False
        result = await self.exchanges[position.exchange].update_stop_loss_atomic(
            position.symbol, new_price, position_side=position.side
        )
        if not result["success"]:
            logger.error("Position %s: stop not moved: %s", position.id, result["error"])
            return False
        position.stop_loss_price = result["new_sl_price"]
        await self.repository.update_position(position.id, stop_loss_price=position.stop_loss_price)
        return True

    async def on_price(self, symbol: str, price: float, distance_percent: float = 2.0) -> bool:
        """Trail the stop behind the price; True when it was moved."""
        position = self.positions.get(plain_symbol(symbol))
        if position is None:
            return False
        if position.side == "long":
            target = price * (1 - distance_percent / 100)
            better = target > float(position.stop_loss_price)
        else:
            target = price * (1 + distance_percent / 100)
            better = target < float(position.stop_loss_price)
        return await self.move_stop(symbol, target) if better else False

    async def exit_with_limit(self, symbol: str, price: Any) -> dict[str, Any] | None:
        """Leave a position with a reduce-only limit order; returns ccxt's dict, None when it was refused."""
        position = self.positions.get(plain_symbol(symbol))
        if position is None:
            return None
        manager = self.exchanges[position.exchange]
        exchange = manager.exchange
        unified = find_symbol(exchange.markets, position.symbol) or position.symbol
        try:
            order: dict[str, Any] = await manager.rate_limiter.execute_request(
                exchange.create_limit_order,
                unified,
                closing_side_of(position.side),
                float(exchange.amount_to_precision(unified, float(position.quantity))),
                float(exchange.price_to_precision(unified, float(price))),
                {"reduceOnly": True},
            )
        except ccxt.BaseError as error:
            logger.error("Position %s: limit exit at %s: %s", position.id, price, error)
            return None
        return order

    async def cancel_leftovers(self, symbol: str, exchange: str) -> int:
        """Cancel the orders that a closed position left behind; returns how many."""
        manager = self.exchanges[exchange]
        client = manager.exchange
        unified = find_symbol(client.markets, symbol) or symbol
        cancelled = 0
        for params in ({}, {"trigger": True}) if getattr(manager, "sees_triggers", True) else ({},):
            try:
                orders = await manager.rate_limiter.execute_request(
                    client.fetch_open_orders, unified, None, None, params
                )
            except ccxt.BaseError as error:
                logger.warning("%s: could not look for leftovers: %s", symbol, error)
                continue
            for order in orders:
                try:
                    await manager.rate_limiter.execute_request(client.cancel_order, order["id"], unified, params)
                    cancelled += 1
                except ccxt.BaseError as error:
                    logger.warning("%s: leftover %s: %s", symbol, order["id"], error)
        return cancelled

    async def protect_all(self) -> int:
        """Put a stop-loss on every position that lost its own; returns how many are unprotected still."""
        unprotected = 0
        for position in self.positions.values():
            manager = self.exchanges[position.exchange]
            stops = StopLossManager(
                manager.exchange, position.exchange, sees_triggers=getattr(manager, "sees_triggers", True)
            )
            protected, _ = await stops.verify_and_fix_missing_sl(position, position.stop_loss_price)
            unprotected += not protected
        return unprotected

    async def sync(self) -> list[str]:
        """Forget the positions that are gone from their exchange (a stop fired); returns their symbols."""
        gone: list[str] = []
        for position in list(self.positions.values()):
            try:
                found = await self.exchanges[position.exchange].fetch_positions([position.symbol])
            except ccxt.BaseError as error:
                logger.warning("%s: not synchronised: %s", position.symbol, error)
                continue
            if not found:
                await self._forget(position, "closed on exchange")
                gone.append(position.symbol)
        return gone

    async def _forget(self, position: PositionState, reason: str) -> None:
        self.positions.pop(plain_symbol(position.symbol), None)
        await self.repository.close_position(position.id, reason)
        logger.info("Position %s: %s closed (%s)", position.id, position.symbol, reason)
