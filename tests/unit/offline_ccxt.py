"""Real ccxt clients with a few markets made by hand, whose requests go nowhere: each is written down and answered from memory."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import ccxt
import ccxt.pro
from ccxt.base.types import Entry

API_KEY = "the-api-key-of-the-bot"
SECRET = "the-secret-of-the-bot"
ISSUED_KEY = "a-key-that-an-answer-hands-out"

SPOT, LINEAR, INVERSE, OPTION = "BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC", "BTC/USDT:USDT-301227-100000-C"
SYMBOLS = (SPOT, LINEAR, INVERSE, OPTION)
_IDS = {SPOT: "BTCUSDT", LINEAR: "BTCUSDT", INVERSE: "BTCUSD", OPTION: "BTC-301227-100000-C"}
_ORDER_TYPES = [
    "LIMIT", "MARKET", "LIMIT_MAKER", "STOP", "STOP_MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET", "TAKE_PROFIT_LIMIT", "TRAILING_STOP_MARKET",
]  # fmt: skip

_ORDER = {
    "orderId": 12, "algoId": 13, "symbol": "BTCUSDT", "status": "NEW", "side": "BUY", "type": "LIMIT", "origQty": "10",
    "price": "1.10000000000000000001", "executedQty": "0", "avgPrice": "0.00", "clientOrderId": "x", "leverage": 3,
    "code": 200, "msg": "done",
}  # fmt: skip
_ANSWERS: dict[str, Any] = {
    "binance": _ORDER,
    "bybit": {"retCode": 0, "retMsg": "OK", "result": {"orderId": "o-1", "orderLinkId": "", "list": []}, "time": 1},
}


class Sent(NamedTuple):
    """One request as it reached the transport."""

    method: str
    path: str
    url: str
    headers: dict[str, str]
    body: str | None
    answer: str

    @property
    def signatures(self) -> list[str]:
        """What signs it."""
        text = f"{self.url}&{self.body or ''}"
        found = re.findall(r"(?:signature|sign)(?:=|\": ?\")([^&\"]+)", text)
        return [*found, *(value for name, value in self.headers.items() if name.lower() == "x-bapi-sign")]


def family(kind: str) -> str:
    return "bybit" if kind.startswith("bybit") else "binance"


def offline(kind: str, *, blocking: bool = False) -> tuple[Any, list[Sent]]:
    """A client of this kind (ccxt.pro's, or the blocking one), and the list of what it sends."""
    client = getattr(ccxt if blocking else ccxt.pro, kind)(
        {"apiKey": API_KEY, "secret": SECRET, "enableRateLimit": False}
    )
    # what bybit would ask first; and what lets binance convert between coins
    client.options |= {"enableUnifiedAccount": True, "enableUnifiedMargin": False, "unifiedMarginStatus": 6}
    client.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    client.set_markets(
        [_market(client, symbol) for symbol in SYMBOLS], {c: _currency(c) for c in ("BTC", "USDT", "USD")}
    )
    client.accounts = [{"id": "1", "type": "main", "code": None, "info": {}}]
    sent: list[Sent] = []

    def answer(url: str, method: str, headers: Any, body: Any) -> Any:
        path = urlsplit(url).path
        content = _ANSWERS[family(kind)]
        if "batch" in path.lower() and family(kind) == "binance":
            content = [content]
        elif not re.search("order|cancel|close|stop|prediction/(buy|sell)", path, re.IGNORECASE):
            content = {**content, "listenKey": ISSUED_KEY, "apiKey": ISSUED_KEY, "secretKey": ISSUED_KEY}
        text = json.dumps(content)
        sent.append(Sent(method, path, url, dict(headers or {}), body, text))
        client.on_rest_response(200, "OK", url, method, {}, text, headers, body)
        return json.loads(text)

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        await asyncio.sleep(0)
        return answer(url, method, headers, body)

    def fetch_now(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        return answer(url, method, headers, body)

    async def watch(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return {"id": "ws-1", "symbol": LINEAR, "status": "open", "info": {}}

    async def nothing(*args: Any, **kwargs: Any) -> None: ...

    client.fetch = fetch_now if blocking else fetch
    client.watch = client.watch_multiple = watch
    client.authenticate = nothing
    return client, sent


def endpoints(client: Any) -> dict[str, tuple[str, str, str]]:
    """Every implicit method in every spelling: name -> (api group, HTTP method, path)."""
    found: dict[str, tuple[str, str, str]] = {}
    for cls in type(client).__mro__:
        for name, entry in vars(cls).items():
            if isinstance(entry, Entry):
                api = entry.api if isinstance(entry.api, str) else "/".join(entry.api)
                found[name] = (api, entry.method, entry.path)
    return found


def described(client: Any) -> set[tuple[str, str, str]]:
    """The same from what the client says of itself."""
    found: set[tuple[str, str, str]] = set()

    def walk(api: Any, above: tuple[str, ...]) -> None:
        for name, inner in api.items():
            if name.upper() in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                found.update(("/".join(above), name.upper(), path) for path in inner)
            else:
                walk(inner, (*above, name))

    walk(client.describe()["api"], ())
    return found


def _currency(code: str) -> dict[str, Any]:
    return {"id": code, "code": code, "precision": 1e-8, "networks": {}, "limits": {}, "info": {}}


def _market(client: Any, symbol: str) -> dict[str, Any]:
    spot, linear, option = symbol == SPOT, symbol in (LINEAR, OPTION), symbol == OPTION
    settle = None if spot else "USDT" if linear else "BTC"
    kind = "spot" if spot else "option" if option else "swap"
    market = client.safe_market_structure(
        {
            "id": _IDS[symbol], "lowercaseId": _IDS[symbol].lower(), "symbol": symbol,
            "base": "BTC", "quote": "USD" if symbol == INVERSE else "USDT", "settle": settle,
            "baseId": "BTC", "quoteId": "USD" if symbol == INVERSE else "USDT", "settleId": settle,
            "type": kind, "spot": spot, "margin": spot, "swap": kind == "swap", "future": False, "option": option,
            "index": False, "active": True, "contract": not spot,
            "linear": None if spot else linear, "inverse": None if spot else not linear,
            "taker": 0.001, "maker": 0.001, "contractSize": None if spot else 1, "percentage": True, "tierBased": False,
            "expiry": 1924905600000 if option else None, "expiryDatetime": "2030-12-27T00:00:00Z" if option else None,
            "strike": 100000 if option else None, "optionType": "call" if option else None,
            "precision": {"amount": 0.001, "price": 0.1},
            "limits": {"amount": {"min": 0.001, "max": 1e6}, "price": {}, "cost": {}, "leverage": {}},
            "info": {"orderTypes": _ORDER_TYPES, "OrderType": _ORDER_TYPES, "permissions": ["SPOT"]},
        }
    )  # fmt: skip
    assert isinstance(market, dict)
    return market
