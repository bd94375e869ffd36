"""Opens a position with its stop-loss, or not at all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from core.stop_loss_manager import StopLossManager
from core.symbols import closing_side_of, order_side_of, position_side_of

logger = logging.getLogger(__name__)


class AtomicPositionError(Exception):
    """The position was not opened; whatever had been opened is closed again as far as possible."""

    def __init__(self, message: str, position_id: int | None = None) -> None:
        super().__init__(message)
        self.position_id = position_id


class AtomicPositionManager:
    """Entry, stop-loss and the position's row as one step."""

    max_stop_tries = 3
    stop_retry_delay_seconds = 0.05

    def __init__(self, repository: Any, exchange_manager: dict[str, Any], stop_loss_manager: Any | None = None) -> None:
        self.repository = repository
        self.exchange_manager = exchange_manager
        self.stop_loss_manager = stop_loss_manager

    async def open_position_atomic(
        self,
        signal_id: int | None,
        symbol: str,
        exchange: str,
        side: str,
        quantity: Any,
        entry_price: Any,
        stop_loss_price: Any,
    ) -> dict[str, Any]:
        """Open a position and protect it.

        Returns the position as a dict with `position_id`, `entry_order` and `stop_loss`. Raises
        AtomicPositionError when the entry or the stop-loss failed; then the row says failed or rolled_back.
        """
        manager = self.exchange_manager.get(exchange)
        if manager is None:
            raise AtomicPositionError(f"Exchange {exchange} is not available")
        entry_side = order_side_of(side)
        position_id = await self.repository.create_position(
            {
                "signal_id": signal_id,
                "symbol": symbol,
                "exchange": exchange,
                "side": position_side_of(side),
                "quantity": quantity,
                "entry_price": entry_price,
                "status": "pending_entry",
            }
        )
        entry_order = None
        try:
            logger.info("Position %s: %s %s %s on %s", position_id, entry_side, quantity, symbol, exchange)
            entry_order = await manager.create_market_order(symbol, entry_side, quantity)
            dead = entry_order.status in ("rejected", "canceled", "expired")
            if dead and not float(entry_order.filled or 0):
                status, entry_order = entry_order.status, None
                raise AtomicPositionError(f"Entry order is {status}", position_id)
            # Exchanges that answer with an id alone tell no price: the signal's has to do
            execution_price = entry_order.price or entry_price
            await self.repository.update_position(
                position_id,
                exchange_order_id=entry_order.id,
                current_price=execution_price,
                status="entry_placed",
            )
            logger.info("Position %s: entry order placed: %s", position_id, entry_order.id)

            stop = await self._place_stop(manager, symbol, exchange, entry_side, quantity, stop_loss_price)
            stop_price = stop.get("stopPrice") or stop_loss_price
            await self.repository.update_position(position_id, stop_loss_price=stop_price, status="active")
            logger.info("Position %s: active, stop-loss at %s", position_id, stop_price)
        except Exception as error:
            logger.error("Position %s: %s", position_id, error)
            await self._roll_back(manager, position_id, entry_order, symbol, entry_side, quantity, error)
            raise AtomicPositionError(f"Position {position_id} not opened: {error}", position_id) from error
        return {
            "position_id": position_id,
            "signal_id": signal_id,
            "symbol": symbol,
            "exchange": exchange,
            "side": position_side_of(side),
            "quantity": quantity,
            "entry_price": execution_price,
            "stop_loss_price": stop_price,
            "entry_order": entry_order,
            "stop_loss": stop,
        }

    async def _place_stop(
        self, manager: Any, symbol: str, exchange: str, entry_side: str, quantity: Any, stop_loss_price: Any
    ) -> dict[str, Any]:
        stop_loss_manager = self.stop_loss_manager or StopLossManager(
            manager.exchange, exchange, sees_triggers=getattr(manager, "sees_triggers", True)
        )
        for attempt in range(1, self.max_stop_tries + 1):
            try:
                return await stop_loss_manager.set_stop_loss(
                    symbol=symbol,
                    side=closing_side_of(entry_side),
                    amount=quantity,
                    stop_price=stop_loss_price,
                )
            except Exception as error:
                logger.warning("Stop-loss of %s, try %d/%d: %s", symbol, attempt, self.max_stop_tries, error)
                if attempt == self.max_stop_tries:
                    raise
                await asyncio.sleep(self.stop_retry_delay_seconds * attempt)
        raise AtomicPositionError(f"No stop-loss for {symbol}")

    async def _roll_back(
        self,
        manager: Any,
        position_id: int,
        entry_order: Any,
        symbol: str,
        entry_side: str,
        quantity: Any,
        error: Exception,
    ) -> None:
        """Close what was opened and say so in the position's row; its own failures are only logged."""
        status, reason = "failed", f"entry failed: {error}"
        if entry_order is not None:
            status, reason = "rolled_back", f"rollback: {error}"
            logger.critical("Position %s without stop-loss, closing it", position_id)
            try:
                size = entry_order.filled or quantity
                close_order = await manager.create_market_order(symbol, closing_side_of(entry_side), size)
                logger.info("Position %s: emergency close %s", position_id, close_order.id)
            except Exception as close_error:
                logger.critical("Position %s: EMERGENCY CLOSE FAILED: %s", position_id, close_error)
                reason = f"emergency close failed: {close_error}"
        try:
            await self.repository.update_position(position_id, status=status, exit_reason=reason)
        except Exception as update_error:
            logger.error("Position %s: row not updated: %s", position_id, update_error)
