"""Puts stop-losses on positions, straight through the exchange client."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import ccxt.async_support as ccxt

from core.stop_orders import is_stop_loss
from core.symbols import closing_side_of, find_symbol, order_side_of, plain_symbol

logger = logging.getLogger(__name__)

BYBIT_NO_POSITION = "10001"
BYBIT_NOT_MODIFIED = "34040"


class StopLossError(Exception):
    """The stop-loss could not be placed."""


class StopLossManager:
    """Places, checks and repairs the stop-loss of a position."""

    max_tries = 3
    retry_offset_percent = 0.5
    same_price_tolerance_percent = 0.01

    def __init__(self, exchange_client: Any, exchange_name: str, sees_triggers: bool = True) -> None:
        self.exchange = exchange_client
        self.exchange_name = exchange_name.lower()
        self.sees_triggers = sees_triggers

    async def set_stop_loss(self, symbol: str, side: str, amount: Any, stop_price: Any) -> dict[str, Any]:
        """Protect a position; `side` is the side of the stop order (`sell` for a long).

        Returns a dict: status (created, already_exists), stopPrice, info and, where there are any,
        orderId and clientOrderId.
        Raises ccxt's errors, and StopLossError when the exchange says there is no position.
        """
        unified = await self._unified(symbol)
        side = order_side_of(side)
        price = self._price(unified, stop_price)
        logger.info("%s: stop-loss for %s at %s", self.exchange_name, symbol, price)
        if self.exchange_name == "bybit":
            return await self._set_on_position(unified, price)
        existing = await self._existing_stop(unified, side)
        if existing is not None:
            old_price = float(existing.get("stopPrice") or 0)
            if abs(old_price - price) <= price * self.same_price_tolerance_percent / 100:
                return self._answer("already_exists", old_price, existing)
            await self._cancel_old(existing, unified)
        return await self._place_stop_order(unified, side, amount, price)

    async def _place_stop_order(self, unified: str, side: str, amount: Any, price: float) -> dict[str, Any]:
        size = float(self.exchange.amount_to_precision(unified, float(amount)))
        for attempt in range(1, self.max_tries + 1):
            try:
                order = await self.exchange.create_order(
                    unified, "stop_market", side, size, None, {"stopPrice": price, "reduceOnly": True}
                )
                return self._answer("created", price, order)
            except ccxt.ExchangeError as error:
                if "-2021" not in str(error) or attempt == self.max_tries:
                    raise
                logger.warning("%s: stop at %s would trigger at once, moving it away", unified, price)
                factor = self.retry_offset_percent / 100 * (-1 if side == "sell" else 1)
                price = self._price(unified, price * (1 + factor))
        raise StopLossError(f"no stop-loss for {unified}")

    async def _set_on_position(self, unified: str, price: float) -> dict[str, Any]:
        """Bybit keeps the stop on the position: setting it replaces the one that was there."""
        has_stop, old_price = await self.has_stop_loss(unified)
        if has_stop:
            logger.info("%s: stop at %s will be replaced by %s", unified, old_price, price)
        params = {
            "category": "linear",
            "symbol": plain_symbol(unified),
            "stopLoss": self.exchange.price_to_precision(unified, price),
            "slTriggerBy": "LastPrice",
            "positionIdx": 0,
            "tpslMode": "Full",
        }
        try:
            response = await self.exchange.private_post_v5_position_trading_stop(params)
        except ccxt.ExchangeError as error:  # ccxt raises for every retCode other than 0
            body = _body_of(error)
            if body is None or str(body["retCode"]) not in (BYBIT_NOT_MODIFIED, BYBIT_NO_POSITION):
                raise
            response = body
        code = str(response.get("retCode"))
        if code == "0":
            return {"status": "created", "stopPrice": price, "info": response}
        if code == BYBIT_NOT_MODIFIED:
            return {"status": "already_exists", "stopPrice": price, "info": response}
        if code == BYBIT_NO_POSITION:
            raise StopLossError(f"no position in {unified}: {response.get('retMsg')}")
        raise StopLossError(f"{unified}: {code} {response.get('retMsg')}")

    async def has_stop_loss(self, symbol: str, position_side: str | None = None) -> tuple[bool, float | str | None]:
        """Is there a stop-loss, and at which price?"""
        unified = await self._unified(symbol)
        try:
            if self.exchange_name == "bybit":
                for position in await self.exchange.fetch_positions([unified]):
                    price = (position.get("info") or {}).get("stopLoss")
                    if price and float(price) > 0:
                        return True, price
                return False, None
            for side in ("sell", "buy") if position_side is None else (closing_side_of(position_side),):
                order = await self._existing_stop(unified, side)
                if order is not None:
                    return True, order.get("stopPrice")
        except ccxt.BaseError as error:
            logger.warning("%s: could not check the stop-loss of %s: %s", self.exchange_name, symbol, error)
        return False, None

    async def verify_and_fix_missing_sl(
        self, position: Any, stop_price: Any, max_retries: int = 3
    ) -> tuple[bool, str | None]:
        """Make sure a position (an object or a dict) has its stop-loss; returns (protected, order id)."""
        symbol, side = _read(position, "symbol"), _read(position, "side")
        for attempt in range(1, max_retries + 1):
            try:
                has_stop, _ = await self.has_stop_loss(symbol, side)
                if has_stop:
                    return True, None
                logger.warning("%s: stop-loss of %s is missing", self.exchange_name, symbol)
                answer = await self.set_stop_loss(
                    symbol, closing_side_of(side), _read(position, "quantity"), stop_price
                )
                return True, answer.get("orderId")
            except Exception as error:
                logger.error("%s: stop-loss of %s, try %d: %s", self.exchange_name, symbol, attempt, error)
                await asyncio.sleep(0.05 * attempt)
        return False, None

    async def _existing_stop(self, unified: str, side: str) -> dict[str, Any] | None:
        params = {"trigger": True} if self.sees_triggers else {}
        orders: list[dict[str, Any]] = await self.exchange.fetch_open_orders(unified, None, None, params)
        return next((order for order in orders if is_stop_loss(order, side)), None)

    async def _cancel_old(self, order: dict[str, Any], unified: str) -> None:
        params = {"trigger": True} if self.sees_triggers else {}
        try:
            await self.exchange.cancel_order(order["id"], unified, params)
            logger.info("%s: cancelled the old stop %s", unified, order["id"])
        except ccxt.BaseError as error:
            logger.warning("%s: could not cancel the old stop %s: %s", unified, order["id"], error)

    async def _unified(self, symbol: str) -> str:
        if not self.exchange.markets:
            await self.exchange.load_markets()
        return find_symbol(self.exchange.markets, symbol) or symbol

    def _price(self, unified: str, price: Any) -> float:
        return float(self.exchange.price_to_precision(unified, float(price)))

    @staticmethod
    def _answer(status: str, price: float, order: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": status,
            "stopPrice": price,
            "orderId": order.get("id"),
            "clientOrderId": order.get("clientOrderId"),
            "info": order.get("info"),
        }


def _body_of(error: Exception) -> dict[str, Any] | None:
    """The exchange's answer inside a ccxt error (`bybit {"retCode":34040,...}`), None when there is none."""
    text = str(error)
    try:
        body = json.loads(text[text.index("{") :])
    except ValueError:
        return None
    return body if isinstance(body, dict) and "retCode" in body else None


def _read(position: Any, name: str) -> Any:
    return position[name] if isinstance(position, dict) else getattr(position, name)
