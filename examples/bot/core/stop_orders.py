"""The stop, trailing and take-profit orders of an exchange manager."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.async_support as ccxt

from core.order_result import OrderResult, utc_now
from core.symbols import closing_side_of, order_side_of, plain_symbol

logger = logging.getLogger(__name__)


class StopOrders:
    """The half of `ExchangeManager` that protects positions."""

    name: str
    exchange: Any
    markets: dict[str, Any]
    config: dict[str, Any]
    rate_limiter: Any
    sees_triggers: bool
    _unified: Callable[[str], Awaitable[str]]  # these two are methods of the other half
    _rounded: Callable[[str, Any], float]

    def _text(self, unified: str, price: Any) -> str:
        return str(self.exchange.price_to_precision(unified, float(price)))

    def _price(self, unified: str, price: Any) -> float:
        return float(self._text(unified, price))

    async def create_stop_loss_order(
        self, symbol: str, side: str, amount: Any, stop_price: Any, reduce_only: bool = True
    ) -> OrderResult:
        """Place a stop; `side` is the order's. On Bybit the stop belongs to the position and has no id."""
        unified = await self._unified(symbol)
        side = order_side_of(side)
        size = self._rounded(unified, amount)
        price = self._price(unified, stop_price)
        if self.name == "bybit":
            response = await self._trading_stop(unified, stopLoss=self._text(unified, price), slTriggerBy="LastPrice")
            return self._attached("sl", unified, side, "stop_loss", size, price, response)
        order = await self.rate_limiter.execute_request(
            self.exchange.create_order,
            unified,
            "STOP_MARKET",
            side,
            size,
            None,
            {"stopPrice": price, "reduceOnly": reduce_only},
        )
        return OrderResult.from_ccxt(order, unified, side, "stop_market", size)

    async def create_stop_loss_order_split(
        self, symbol: str, side: str, amount: Any, stop_price: Any, reduce_only: bool = True
    ) -> OrderResult | list[OrderResult]:
        """Like `create_stop_loss_order`, in as many orders as the largest allowed size asks for."""
        unified = await self._unified(symbol)
        limit = self.config.get("max_stop_amount")
        if limit is None:
            limit = self.markets[unified].get("limits", {}).get("amount", {}).get("max")
        if self.name == "bybit" or not limit or float(amount) <= float(limit):
            return await self.create_stop_loss_order(symbol, side, amount, stop_price, reduce_only)
        results: list[OrderResult] = []
        rest = float(amount)
        while rest > 0:
            part = self._rounded(unified, min(rest, float(limit)))
            results.append(await self.create_stop_loss_order(symbol, side, part, stop_price, reduce_only))
            rest = round(rest - part, 12)
        return results

    async def create_trailing_stop_order(
        self, symbol: str, side: str, amount: Any, activation_price: Any, callback_rate: Any
    ) -> OrderResult:
        """Place a stop that follows the price; `callback_rate` in percent."""
        unified = await self._unified(symbol)
        side = order_side_of(side)
        size = self._rounded(unified, amount)
        activation = self._price(unified, activation_price)
        params: dict[str, Any]
        if self.name == "bybit":
            order_type = "market"
            distance = self._price(unified, activation * float(callback_rate) / 100)
            params = {"trailingAmount": distance, "trailingTriggerPrice": activation, "reduceOnly": True}
        else:
            order_type = "TRAILING_STOP_MARKET"
            params = {"activationPrice": activation, "callbackRate": float(callback_rate), "reduceOnly": True}
        order = await self.rate_limiter.execute_request(
            self.exchange.create_order, unified, order_type, side, size, None, params
        )
        return OrderResult.from_ccxt(order, unified, side, "trailing_stop_market", size)

    async def create_take_profit_order(
        self, symbol: str, side: str, amount: Any, price: Any, reduce_only: bool = True
    ) -> OrderResult:
        """Place a take-profit; `side` is the side of the order. On Bybit it belongs to the position."""
        unified = await self._unified(symbol)
        side = order_side_of(side)
        size = self._rounded(unified, amount)
        target = self._price(unified, price)
        if self.name == "bybit":
            response = await self._trading_stop(
                unified, takeProfit=self._text(unified, target), tpTriggerBy="LastPrice"
            )
            return self._attached("tp", unified, side, "take_profit", size, target, response)
        order = await self.rate_limiter.execute_request(
            self.exchange.create_order,
            unified,
            "TAKE_PROFIT_MARKET",
            side,
            size,
            None,
            {"stopPrice": target, "reduceOnly": reduce_only},
        )
        return OrderResult.from_ccxt(order, unified, side, "take_profit_market", size)

    async def _trading_stop(self, unified: str, **fields: Any) -> dict[str, Any]:
        params = {
            "category": "linear",
            "symbol": plain_symbol(unified),
            "positionIdx": 0,
            "tpslMode": "Full",
            **fields,
        }
        response: dict[str, Any] = await self.rate_limiter.execute_request(
            self.exchange.private_post_v5_position_trading_stop, params
        )
        return response

    @staticmethod
    def _attached(
        kind: str,
        unified: str,
        side: str,
        order_type: str,
        size: float,
        price: float,
        response: dict[str, Any],
    ) -> OrderResult:
        """A result for an order that the exchange keeps on the position: it has no id, so one is made up."""
        return OrderResult(
            id=f"{kind}_position_{plain_symbol(unified)}",
            symbol=unified,
            side=side,
            type=order_type,
            amount=size,
            price=price,
            filled=0,
            remaining=size,
            status="open",
            timestamp=utc_now(),
            info=response,
        )

    async def update_stop_loss_atomic(
        self, symbol: str, new_sl_price: Any, position_side: str = "long"
    ) -> dict[str, Any]:
        """Move the stop of a position. Never raises: the answer tells `success`, `error` and the method."""
        started = time.monotonic()
        result: dict[str, Any] = {
            "success": False,
            "method": None,
            "execution_time_ms": 0.0,
            "error": None,
            "old_sl_price": None,
            "new_sl_price": float(new_sl_price),
            "unprotected_window_ms": 0.0,
        }
        try:
            unified = await self._unified(symbol)
            price = self._price(unified, new_sl_price)
            result["new_sl_price"] = price
            if self.name == "bybit":
                result["method"] = "bybit_trading_stop_atomic"
                await self._trading_stop(unified, stopLoss=self._text(unified, price), slTriggerBy="LastPrice")
            else:
                result["method"] = f"{self.name}_cancel_create"
                await self._replace_stop(unified, price, closing_side_of(position_side), result)
            result["success"] = True
            logger.info("%s: stop of %s moved to %s", self.name, symbol, price)
        except Exception as error:
            result["error"] = str(error)
            logger.error("%s: could not move the stop of %s: %s", self.name, symbol, error)
        result["execution_time_ms"] = (time.monotonic() - started) * 1000
        return result

    async def _replace_stop(self, unified: str, price: float, side: str, result: dict[str, Any]) -> None:
        """Cancel the old stops and place the new one; between the two the position is unprotected."""
        positions = await self.exchange.fetch_positions([unified])
        size = next((abs(float(p["contracts"])) for p in positions if float(p.get("contracts") or 0)), 0.0)
        if not size:
            raise ValueError(f"no position in {unified}")
        params = {"trigger": True} if self.sees_triggers else {}
        unprotected_since = None
        for order in await self.exchange.fetch_open_orders(unified, None, None, params):
            if not is_stop_loss(order, side):
                continue
            result["old_sl_price"] = order.get("stopPrice")
            unprotected_since = unprotected_since or time.monotonic()
            try:
                await self.exchange.cancel_order(order["id"], unified, params)
            except ccxt.OrderNotFound:
                logger.warning("%s: old stop %s is gone", self.name, order["id"])
        await self.exchange.create_order(
            unified, "STOP_MARKET", side, size, None, {"stopPrice": price, "reduceOnly": True}
        )
        if unprotected_since is not None:
            result["unprotected_window_ms"] = (time.monotonic() - unprotected_since) * 1000


def is_stop_loss(order: dict[str, Any], side: str) -> bool:
    """Is this open order a stop-loss of that side? The raw type counts: ccxt calls some of them `market`."""
    if order.get("side") != side:
        return False
    info = order.get("info") or {}
    kind = info.get("stopOrderType") or info.get("orderType") or info.get("type") or order.get("type") or ""
    return str(kind).upper() in ("STOP_MARKET", "STOP", "STOPLOSS")
