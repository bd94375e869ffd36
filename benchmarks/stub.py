"""A bot's manager and the client under it, which answers at once, out of memory.

The real ccxt client signs, waits and parses, which takes longer than all that is measured here. The stub makes the calls that
ccxt makes within one order (`create_order` > `request` > `fetch` > `on_rest_response`, then the text parsed), under the names by
which a ccxt client is recognised, so that every seam is instrumented.
"""

from __future__ import annotations

import json
from typing import Any

SYMBOL = "BTC/USDT:USDT"
_MARKET = {
    "symbol": SYMBOL, "id": "BTCUSDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "contract": True,
    "contractSize": 1.0,
}  # fmt: skip
_ANSWER = (
    '{{"orderId":{number},"symbol":"BTCUSDT","status":"FILLED","clientOrderId":"x-{number}","price":"0.00",'
    '"avgPrice":"60000.20","origQty":"0.050","executedQty":"0.050","cumQty":"0.050","cumQuote":"3000.01000",'
    '"timeInForce":"GTC","type":"MARKET","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH",'
    '"stopPrice":"0.00","workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"MARKET","priceMatch":"NONE",'
    '"selfTradePreventionMode":"NONE","goodTillDate":0,"updateTime":1790000000000}}'
)


class StubClient:
    """As much of an async ccxt client for Binance's futures as one order needs."""

    __module__ = "ccxt.async_support.stub"  # by the module a ccxt client is recognised

    id = "binance"

    def __init__(self) -> None:
        self.apiKey, self.secret = "benchmark-key-0123456789", "benchmark-secret-0123456789"
        self.markets = {SYMBOL: _MARKET}
        self.markets_by_id = {"BTCUSDT": [_MARKET]}
        self.options: dict[str, Any] = {}
        self._number = 4_000_000_000

    async def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: float,
        price: float | None = None,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        asked = {
            "symbol": "BTCUSDT",
            "side": side.upper(),
            "type": type.upper(),
            "quantity": str(amount),
            **(params or {}),
        }
        info = await self.request("order", "fapiPrivate", "POST", asked)
        return {
            "id": str(info["orderId"]), "clientOrderId": info["clientOrderId"], "symbol": symbol, "type": type, "side": side,
            "status": "closed", "amount": float(info["origQty"]), "filled": float(info["executedQty"]), "remaining": 0.0,
            "average": float(info["avgPrice"]), "cost": float(info["cumQuote"]), "fee": None, "trades": [], "info": info,
        }  # fmt: skip

    async def cancel_order(
        self, id: str, symbol: str | None = None, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        raise NotImplementedError

    async def request(
        self,
        path: str,
        api: str = "public",
        method: str = "GET",
        params: dict[str, Any] | None = None,
        headers: Any = None,
    ) -> dict[str, Any]:
        body = "&".join(f"{name}={value}" for name, value in (params or {}).items())
        return await self.fetch(f"https://fapi.example/fapi/v1/{path}", method, headers, body)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> dict[str, Any]:
        self._number += 1
        text = _ANSWER.format(number=self._number)
        self.on_rest_response(200, "OK", url, method, {}, text, headers, body)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, response_headers: Any, response_body: str, *sent: Any
    ) -> str:
        return response_body


class StubManager:
    """A bot's exchange manager, as far as entries go."""

    name = "binance"

    def __init__(self) -> None:
        self.exchange = StubClient()

    async def create_market_order(self, symbol: str, side: str, amount: float) -> dict[str, Any]:
        """What the bot calls; the benchmarks time this."""
        order = await self.exchange.create_order(symbol, "market", side, amount)
        return {name: order[name] for name in ("id", "symbol", "side", "type", "amount", "filled", "average", "status")}


async def enter(manager: Any) -> dict[str, Any]:
    """One call of the bot."""
    order: dict[str, Any] = await manager.create_market_order(SYMBOL, "buy", 0.05)
    return order


async def place(client: Any) -> dict[str, Any]:
    """The same order, by a bot without a manager."""
    order: dict[str, Any] = await client.create_order(SYMBOL, "market", "buy", 0.05)
    return order
