"""Bybit v5: market data, account and position settings routes; the signature check.

Source: Bybit's v5 documentation (Market, Account, User, Position, "Integration Guidance").
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from . import bybit_wire as wire
from .credentials import API_KEY, SECRET
from .engine import Call, Engine, Refusal, rounded
from .instruments import Instrument
from .ledger import ZERO, Order, Position, plain

_NO_STOPS = {"stopLoss": "", "takeProfit": "", "trailingStop": "0"}


class BybitAccount(Engine):
    """Everything about a unified trading account that is not an order."""

    def account_routes(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "GET /v5/market/time": self._time,
            "GET /v5/market/instruments-info": self._instruments,
            "GET /v5/market/tickers": self._tickers,
            "GET /v5/market/orderbook": self._order_book,
            "GET /v5/position/list": self._positions,
            "POST /v5/position/set-leverage": self._set_leverage,
            "POST /v5/position/switch-mode": self._switch_mode,
            "GET /v5/account/wallet-balance": self._wallet,
            "GET /v5/account/info": lambda params: {"unifiedMarginStatus": 5, "marginMode": "REGULAR_MARGIN"},
            "GET /v5/user/query-api": lambda params: {
                "readOnly": 0,
                "unified": 0,
                "uta": 1,
                "permissions": {},
            },
        }

    def check_signature(self, call: Call) -> None:
        """Key, time window, then HMAC of timestamp + key + window + exact text ("Integration Guidance")."""
        if call.path.startswith("/v5/market/") or not self.settings.check_requests:
            return
        stamp = call.headers.get("x-bapi-timestamp", "0")
        window = call.headers.get("x-bapi-recv-window", "5000")
        if call.headers.get("x-bapi-api-key") != API_KEY:
            raise Refusal(10003, "API key is invalid.")
        # A client that set its clock by market/time is right as well, wherever a test has moved the exchange's.
        now = min(self.clock.wall(), self.now(), key=lambda moment: abs(moment - int(stamp)))
        if not now - int(window) <= int(stamp) < now + 1000:
            words = (
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{now}],recv_window[{window}]"
            )
            raise Refusal(10002, words)
        text = f"{stamp}{API_KEY}{window}{call.signed_text}"
        expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(call.headers.get("x-bapi-sign", ""), expected):
            raise Refusal(10004, "Error sign, please check your signature generation algorithm.")

    def instrument(self, params: dict[str, Any]) -> Instrument:
        category = str(params.get("category") or "")
        if category not in ("linear", "spot", "inverse", "option"):
            raise Refusal(10001, "params error: Category is invalid")
        found = self.ledger.find_instrument(str(params.get("symbol") or ""), category)
        if found is None or found.symbol != params.get("symbol"):
            raise Refusal(10001, "params error: symbol invalid " + str(params.get("symbol")))
        return found

    def selected(self, params: dict[str, Any]) -> list[Instrument]:
        """The instruments a listing is about: a category, and within it a symbol or all."""
        if params.get("symbol"):
            return [self.instrument(params)]
        return [item for item in self.ledger.instruments if item.category == params.get("category")]

    def stops_of(self, instrument: Instrument) -> list[Order]:
        """The attached stops of a position that are still armed."""
        return [order for order in self.ledger.open_orders(instrument) if order.kind == "attached" and order.is_armed]

    # --- market data ---

    def _time(self, params: dict[str, Any]) -> dict[str, Any]:
        now = self.now()
        return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}

    def _instruments(self, params: dict[str, Any]) -> dict[str, Any]:
        rows = [] if params.get("status") == "PreLaunch" else self.selected(params)
        return _listing(params, [wire.instrument_json(item) for item in rows])

    def _tickers(self, params: dict[str, Any]) -> dict[str, Any]:
        funding = (self.now() // 28_800_000 + 1) * 28_800_000
        rows = [wire.ticker_json(item, self.prices[item], funding) for item in self.selected(params)]
        return _listing(params, rows)

    def _order_book(self, params: dict[str, Any]) -> dict[str, Any]:
        item = self.instrument(params)
        price, quantity, now = self.prices[item], plain(item.step * 1000), self.now()
        return {
            "s": item.symbol,
            "b": [[plain(price - item.tick * level), quantity] for level in range(1, 6)],
            "a": [[plain(price + item.tick * level), quantity] for level in range(1, 6)],
            "ts": now,
            "u": now,
            "seq": now,
            "cts": now,
        }

    # --- the account ---

    def _positions(self, params: dict[str, Any]) -> dict[str, Any]:
        """A named symbol is listed also when flat; without one only open positions are."""
        if params.get("category") != "linear":
            return _listing(params, [])
        positions = [self.ledger.position(self.instrument(params))] if params.get("symbol") else self.ledger.positions
        return _listing(params, [self._position_json(item) for item in positions])

    def _position_json(self, position: Position) -> dict[str, Any]:
        stops = dict(_NO_STOPS)
        for order in self.stops_of(position.instrument):
            if order.details["tpslMode"] == "Full":
                value = order.callback if order.callback is not None else order.trigger_price
                stops[order.details["param"]] = plain(value or ZERO)
        return wire.position_json(position, self.prices[position.instrument], stops)

    def _set_leverage(self, params: dict[str, Any]) -> dict[str, Any]:
        position = self.ledger.position(self.instrument(params))
        leverage = Decimal(str(params.get("buyLeverage") or 0))
        if not 1 <= leverage <= 100:
            raise Refusal(110013, "cannot set leverage due to risk limit level")
        if leverage == position.leverage:
            raise Refusal(110043, "Set leverage not modified")
        position.leverage = leverage
        return {}

    def _switch_mode(self, params: dict[str, Any]) -> dict[str, Any]:
        if str(params.get("mode")) == "0":
            raise Refusal(110025, "Position mode is not modified")
        raise Refusal(10001, "Hedge mode is not simulated.")

    def _wallet(self, params: dict[str, Any]) -> dict[str, Any]:
        unrealized = sum((self.unrealized(item) for item in self.ledger.positions), ZERO)
        wanted = str(params.get("coin") or "").split(",")
        coins = []
        for coin, amount in self.ledger.balances.items():
            if wanted != [""] and coin not in wanted:
                continue
            profit = unrealized if coin == "USDT" else ZERO
            coins.append(
                {
                    "coin": coin,
                    "equity": _money(amount + profit),
                    "usdValue": _money(amount + profit),
                    "walletBalance": _money(amount),
                    "locked": "0",
                    "borrowAmount": "0",
                    "accruedInterest": "0",
                    "totalOrderIM": "0",
                    "totalPositionIM": _money(self.used_margin()) if coin == "USDT" else "0",
                    "totalPositionMM": "0",
                    "unrealisedPnl": _money(profit),
                    "cumRealisedPnl": "0",
                    "availableToWithdraw": "",
                    "marginCollateral": True,
                    "collateralSwitch": True,
                }
            )
        wallet = self.ledger.balances["USDT"]
        account = {
            "accountType": "UNIFIED",
            "totalEquity": _money(wallet + unrealized),
            "totalWalletBalance": _money(wallet),
            "totalMarginBalance": _money(wallet + unrealized),
            "totalAvailableBalance": _money(self.available_margin()),
            "totalPerpUPL": _money(unrealized),
            "totalInitialMargin": _money(self.used_margin()),
            "totalMaintenanceMargin": "0",
            "accountIMRate": "0",
            "accountMMRate": "0",
            "accountLTV": "0",
            "coin": coins,
        }
        return {"list": [account]}


def _listing(params: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"category": params.get("category", ""), "nextPageCursor": "", "list": rows}


def _money(amount: Decimal) -> str:
    """Amounts of coins to eighteen digits, as Bybit keeps them."""
    return plain(rounded(amount, 18))


def number(params: dict[str, Any], name: str, default: Any) -> Any:
    """A Decimal from the request's own digits, or the default when the parameter is absent."""
    if params.get(name) in (None, ""):
        return default
    try:
        return Decimal(str(params[name]))
    except InvalidOperation:
        raise Refusal(10001, f"params error: {name} invalid") from None
