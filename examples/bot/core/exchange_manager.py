"""One exchange account: orders, positions and reads over a ccxt client."""

from __future__ import annotations

import logging
from typing import Any

import ccxt.async_support as ccxt

from core.exchange_client import build_client
from core.order_result import OrderResult
from core.rate_limiter import RateLimiter
from core.stop_orders import StopOrders
from core.symbols import closing_side_of, find_symbol, order_side_of, plain_symbol

logger = logging.getLogger(__name__)


class ExchangeManager(StopOrders):
    """Everything the bot does on one exchange.

    Configuration keys, all optional:

    - `client`: a ready ccxt client; else `api_key`, `api_secret`, `options`, `testnet`, `url` build one.
    - `max_retries` (5), `retry_delay_seconds` (0.5), `min_interval_seconds` (0): the rate limiter.
    - `sees_triggers` (True): ask Binance for its conditional orders as well. A bot written before they moved
      to an endpoint of their own does not, and leaves its old stops behind.
    - `fetch_after_create` (False): read an order again when the exchange answered with no more than an id.
    - `prefer_swap` (True): `MNTUSDT` is the perpetual, not the spot pair.
    - `max_stop_amount`: the size above which `create_stop_loss_order_split` makes several orders.
    """

    def __init__(self, exchange_name: str, config: dict[str, Any], repository: Any = None) -> None:
        self.name = exchange_name.lower()
        self.config = config
        self.repository = repository
        self.exchange: Any = build_client(self.name, config)
        self.markets: dict[str, Any] = {}
        self.positions: dict[str, dict[str, Any]] = {}
        self.rate_limiter = RateLimiter(
            max_retries=config.get("max_retries", 5),
            retry_delay_seconds=config.get("retry_delay_seconds", 0.5),
            min_interval_seconds=config.get("min_interval_seconds", 0.0),
        )
        self.sees_triggers: bool = config.get("sees_triggers", True)
        self.fetch_after_create: bool = config.get("fetch_after_create", False)
        self.prefer_swap: bool = config.get("prefer_swap", True)

    async def initialize(self) -> None:
        """Load the markets."""
        self.markets = await self.rate_limiter.execute_request(self.exchange.load_markets)
        logger.info("%s: %d markets", self.name, len(self.markets))

    async def close(self) -> None:
        """Close the client's connections."""
        await self.exchange.close()

    def find_exchange_symbol(self, symbol: str) -> str | None:
        """The client's spelling of a symbol, None when the exchange does not list it."""
        return find_symbol(self.markets, symbol, self.prefer_swap)

    async def _unified(self, symbol: str) -> str:
        if not self.markets:
            await self.initialize()
        unified = self.find_exchange_symbol(symbol)
        if unified is None:
            raise ValueError(f"{self.name}: unknown symbol {symbol}")
        return unified

    def _rounded(self, unified: str, amount: Any) -> float:
        return float(self.exchange.amount_to_precision(unified, float(amount)))

    async def create_market_order(
        self, symbol: str, side: str, amount: Any, params: dict[str, Any] | None = None
    ) -> OrderResult:
        """Buy or sell at the market.

        ValueError: the exchange does not list the symbol. ccxt's errors pass.
        """
        unified = await self._unified(symbol)
        side = order_side_of(side)
        size = self._rounded(unified, amount)
        order = await self.rate_limiter.execute_request(
            self.exchange.create_market_order, unified, side, size, params=dict(params or {})
        )
        if self.fetch_after_create and order.get("status") is None and order.get("id"):
            order = await self._read_again(order, unified)
        result = OrderResult.from_ccxt(order, unified, side, "market", size)
        logger.info("%s: market %s %s %s -> %s", self.name, side, size, unified, result.id)
        return result

    async def _read_again(self, order: dict[str, Any], unified: str) -> dict[str, Any]:
        try:
            return await self.fetch_order(order["id"], unified)
        except ccxt.BaseError as error:
            logger.warning("%s: could not read order %s: %s", self.name, order["id"], error)
            return order

    async def create_limit_order(self, symbol: str, side: str, amount: Any, price: Any) -> OrderResult:
        """Buy or sell at a price or better."""
        unified = await self._unified(symbol)
        side = order_side_of(side)
        size = self._rounded(unified, amount)
        limit = float(self.exchange.price_to_precision(unified, float(price)))
        order = await self.rate_limiter.execute_request(self.exchange.create_limit_order, unified, side, size, limit)
        return OrderResult.from_ccxt(order, unified, side, "limit", size)

    async def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: Any,
        price: Any = None,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Any order, in ccxt's words; returns ccxt's dict."""
        unified = await self._unified(symbol)
        order: dict[str, Any] = await self.rate_limiter.execute_request(
            self.exchange.create_order,
            unified,
            type,
            order_side_of(side),
            self._rounded(unified, amount),
            None if price is None else float(price),
            dict(params or {}),
        )
        return order

    async def cancel_order(self, order_id: str, symbol: str) -> bool:
        """Cancel one order; False when the exchange does not know it (any more)."""
        unified = await self._unified(symbol)
        tries: list[dict[str, Any]] = [{}]
        if self.name == "binance" and self.sees_triggers:
            tries.append({"trigger": True})
        for params in tries:
            try:
                await self.rate_limiter.execute_request(self.exchange.cancel_order, order_id, unified, params)
                return True
            except ccxt.OrderNotFound:
                continue
        logger.warning("%s: order %s of %s not found", self.name, order_id, symbol)
        return False

    async def cancel_all_orders(self, symbol: str | None = None) -> int:
        """Cancel all orders of a symbol, or of every symbol with a position; returns a count of answers."""
        per_symbol = symbol is None and self.name == "binance"
        symbols = list(self.positions) if per_symbol else [symbol]
        cancelled = 0
        for each in symbols:
            unified = None if each is None else await self._unified(each)
            tries: list[dict[str, Any]] = [{}]
            if self.name == "binance" and self.sees_triggers:
                tries.append({"trigger": True})
            for params in tries:
                try:
                    orders = await self.rate_limiter.execute_request(self.exchange.cancel_all_orders, unified, params)
                    cancelled += len(orders or [])
                except ccxt.BaseError as error:
                    logger.warning("%s: cancel all of %s: %s", self.name, unified, error)
        return cancelled

    async def close_position(self, symbol: str) -> bool:
        """Cancel the symbol's orders and close its position at the market; False when that did not work."""
        try:
            unified = await self._unified(symbol)
            for position in await self.fetch_positions([unified]):
                contracts = float(position.get("contracts") or 0)
                if contracts <= 0:
                    continue
                await self.cancel_all_orders(symbol)
                order = await self.create_market_order(symbol, closing_side_of(position["side"]), contracts)
                self.positions.pop(plain_symbol(unified), None)
                if order.status == "closed":
                    logger.info("%s: %s closed", self.name, symbol)
                    return True
                logger.error("%s: close of %s is %s", self.name, symbol, order.status)
                return False
            logger.warning("%s: no position in %s", self.name, symbol)
            return False
        except Exception as error:
            logger.error("%s: could not close %s: %s", self.name, symbol, error)
            return False

    async def fetch_order(self, order_id: str, symbol: str) -> dict[str, Any]:
        """Read one order."""
        unified = await self._unified(symbol)
        params = {"acknowledged": True} if self.name == "bybit" else {}
        order: dict[str, Any] = await self.rate_limiter.execute_request(
            self.exchange.fetch_order, order_id, unified, params
        )
        return order

    async def fetch_open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Read the open orders, conditional ones included where the bot knows how to ask."""
        unified = None if symbol is None else await self._unified(symbol)
        fetch = self.exchange.fetch_open_orders
        orders = list(await self.rate_limiter.execute_request(fetch, unified))
        if self.name == "binance" and self.sees_triggers:
            orders += await self.rate_limiter.execute_request(fetch, unified, params={"trigger": True})
        return orders

    async def fetch_positions(self, symbols: list[str] | None = None) -> list[dict[str, Any]]:
        """Read the open positions and remember them in `positions`."""
        unified = None if symbols is None else [await self._unified(symbol) for symbol in symbols]
        found = await self.rate_limiter.execute_request(self.exchange.fetch_positions, unified)
        positions = [position for position in found if float(position.get("contracts") or 0) > 0]
        for symbol in list(self.positions) if unified is None else map(plain_symbol, unified):
            self.positions.pop(symbol, None)
        for position in positions:
            self.positions[plain_symbol(position["symbol"])] = position
        return positions

    async def fetch_ticker(self, symbol: str) -> dict[str, Any]:
        """Read the last price."""
        unified = await self._unified(symbol)
        ticker: dict[str, Any] = await self.rate_limiter.execute_request(self.exchange.fetch_ticker, unified)
        return ticker

    async def fetch_balance(self) -> dict[str, Any]:
        """Read the account's balance."""
        balance: dict[str, Any] = await self.rate_limiter.execute_request(self.exchange.fetch_balance)
        return balance
