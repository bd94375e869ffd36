"""Binance USD-M futures: market data, account and settings routes; the signature check.

Sources: Binance's documentation "USDS-Margined Futures" (Market Data, Account, User Data Streams, General
Info).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from . import binance_wire as wire
from .credentials import API_KEY, SECRET
from .engine import Call, Engine, Refusal, rounded
from .instruments import Instrument
from .ledger import ZERO, Position

_PUBLIC = ("time", "ping", "exchangeInfo", "ticker/", "premiumIndex", "depth")


class BinanceAccount(Engine):
    """Everything about the account that is not an order."""

    def account_routes(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "GET /fapi/v1/ping": lambda params: {},
            "GET /fapi/v1/time": lambda params: {"serverTime": self.now()},
            "GET /fapi/v1/exchangeInfo": self._exchange_info,
            "GET /fapi/v1/ticker/24hr": lambda params: self._for_symbols(params, self._day_ticker),
            "GET /fapi/v1/ticker/bookTicker": lambda params: self._for_symbols(params, self._book_ticker),
            "GET /fapi/v1/ticker/price": lambda params: self._for_symbols(params, self._price_ticker),
            "GET /fapi/v2/ticker/price": lambda params: self._for_symbols(params, self._price_ticker),
            "GET /fapi/v1/premiumIndex": lambda params: self._for_symbols(params, self._premium),
            "GET /fapi/v1/depth": self._depth,
            "POST /fapi/v1/leverage": self._set_leverage,
            "POST /fapi/v1/marginType": self._set_margin_type,
            "GET /fapi/v1/positionSide/dual": lambda params: {"dualSidePosition": False},
            "POST /fapi/v1/positionSide/dual": self._set_position_mode,
            "GET /fapi/v1/leverageBracket": self._brackets,
            "GET /fapi/v2/positionRisk": self._position_risk_v2,
            "GET /fapi/v3/positionRisk": self._position_risk_v3,
            "GET /fapi/v2/account": self._account,
            "GET /fapi/v3/account": self._account,
            "GET /fapi/v2/balance": self._balance,
            "GET /fapi/v3/balance": self._balance,
            "POST /fapi/v1/listenKey": lambda params: {"listenKey": "simulated" * 7},
            "PUT /fapi/v1/listenKey": lambda params: {"listenKey": "simulated" * 7},
            "DELETE /fapi/v1/listenKey": lambda params: {},
        }

    def check_signature(self, call: Call) -> None:
        """Key, HMAC of the exact text, and the time window, in that order ("Endpoint Security Type")."""
        endpoint = call.path.split("/", 3)[-1]
        if endpoint.startswith(_PUBLIC) or not self.settings.check_requests:
            return
        if call.headers.get("x-mbx-apikey") != API_KEY:
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.")
        if endpoint == "listenKey":
            return
        text, _, signature = call.signed_text.rpartition("&signature=")
        expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            raise Refusal(-1022, "Signature for this request is not valid.")
        stamp = int(call.params["timestamp"])
        # A client that set its clock by /time is right as well, wherever a test has moved the exchange's.
        age = min(self.clock.wall() - stamp, self.now() - stamp, key=abs)
        if age > int(call.params.get("recvWindow") or 5000):
            raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
        if age < -1000:
            raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")

    def instrument(self, params: dict[str, Any]) -> Instrument:
        found = self.ledger.find_instrument(str(params.get("symbol") or ""), "linear")
        if found is None or found.symbol != params.get("symbol"):
            raise Refusal(-1121, "Invalid symbol.")
        return found

    # --- market data ---

    def _for_symbols(self, params: dict[str, Any], one: Callable[[Instrument], dict[str, Any]]) -> Any:
        """One object when a symbol is named, else a list of all."""
        if params.get("symbol"):
            return one(self.instrument(params))
        return [one(item) for item in self.ledger.instruments]

    def _exchange_info(self, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.now(),
            "rateLimits": [],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [wire.instrument_json(item) for item in self.ledger.instruments],
        }

    def _spread(self, item: Instrument) -> tuple[str, str, str]:
        """Bid, last, ask: one tick apart."""
        price = self.prices[item]
        bid, ask = price - item.tick, price + item.tick
        return wire.price_text(item, bid), wire.price_text(item, price), wire.price_text(item, ask)

    def _day_ticker(self, item: Instrument) -> dict[str, Any]:
        _, last, _ = self._spread(item)
        now = self.now()
        return {
            "symbol": item.symbol,
            "priceChange": "0",
            "priceChangePercent": "0.000",
            "weightedAvgPrice": last,
            "lastPrice": last,
            "lastQty": wire.quantity_text(item, item.step),
            "openPrice": last,
            "highPrice": last,
            "lowPrice": last,
            "volume": "1000000",
            "quoteVolume": "50000000",
            "openTime": now - 86_400_000,
            "closeTime": now,
            "firstId": 1,
            "lastId": 1000,
            "count": 1000,
        }

    def _book_ticker(self, item: Instrument) -> dict[str, Any]:
        bid, _, ask = self._spread(item)
        quantity = wire.quantity_text(item, item.step * 1000)
        return {
            "symbol": item.symbol,
            "bidPrice": bid,
            "bidQty": quantity,
            "askPrice": ask,
            "askQty": quantity,
            "time": self.now(),
        }

    def _price_ticker(self, item: Instrument) -> dict[str, Any]:
        return {"symbol": item.symbol, "price": self._spread(item)[1], "time": self.now()}

    def _premium(self, item: Instrument) -> dict[str, Any]:
        price = self._spread(item)[1]
        return {
            "symbol": item.symbol,
            "markPrice": price,
            "indexPrice": price,
            "estimatedSettlePrice": price,
            "lastFundingRate": "0.00010000",
            "interestRate": "0.00010000",
            "nextFundingTime": (self.now() // 28_800_000 + 1) * 28_800_000,
            "time": self.now(),
        }

    def _depth(self, params: dict[str, Any]) -> dict[str, Any]:
        item = self.instrument(params)
        price, quantity = self.prices[item], wire.quantity_text(item, item.step * 1000)
        levels = range(1, 6)
        now = self.now()
        return {
            "lastUpdateId": now,
            "E": now,
            "T": now,
            "bids": [[wire.price_text(item, price - item.tick * level), quantity] for level in levels],
            "asks": [[wire.price_text(item, price + item.tick * level), quantity] for level in levels],
        }

    # --- settings of the account ---

    def _set_leverage(self, params: dict[str, Any]) -> dict[str, Any]:
        leverage = int(params.get("leverage") or 0)
        if not 1 <= leverage <= 125:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        self.ledger.position(self.instrument(params)).leverage = Decimal(leverage)
        return {"leverage": leverage, "maxNotionalValue": "1000000", "symbol": params["symbol"]}

    def _set_margin_type(self, params: dict[str, Any]) -> dict[str, Any]:
        position = self.ledger.position(self.instrument(params))
        wanted = "cross" if params.get("marginType") == "CROSSED" else "isolated"
        if position.margin_type == wanted:
            raise Refusal(-4046, "No need to change margin type.")
        if position.quantity:
            raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
        position.margin_type = wanted
        return {"code": 200, "msg": "success"}

    def _set_position_mode(self, params: dict[str, Any]) -> dict[str, Any]:
        if str(params.get("dualSidePosition", "")).lower() == "true":
            raise Refusal(-1000, "Hedge mode is not simulated.")
        raise Refusal(-4059, "No need to change position side.")

    def _brackets(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        bracket = {
            "bracket": 1,
            "initialLeverage": 125,
            "notionalCap": 10_000_000,
            "notionalFloor": 0,
            "maintMarginRatio": 0.004,
            "cum": 0.0,
        }
        return [{"symbol": item.symbol, "brackets": [bracket]} for item in self.ledger.instruments]

    # --- positions and balances ---

    def _risk(self, position: Position) -> dict[str, Any]:
        item = position.instrument
        mark = self.prices[item]
        entry = f"{rounded(position.entry_price, item.price_decimals + 8):f}"
        return {
            "symbol": item.symbol,
            "positionSide": "BOTH",
            "positionAmt": wire.quantity_text(item, position.quantity),
            "entryPrice": entry,
            "breakEvenPrice": entry,
            "markPrice": wire.price_text(item, mark),
            "unRealizedProfit": _money(self.unrealized(position)),
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": _money(position.quantity * mark),
            "marginAsset": "USDT",
            "isolatedWallet": "0",
            "updateTime": position.updated_time,
        }

    def _position_risk_v3(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Only symbols with a position (or open orders)."""
        rows = []
        for position in self.ledger.positions:
            margin = _money(abs(position.quantity) * self.prices[position.instrument] / position.leverage)
            zero = _money(ZERO)
            rows.append(
                {
                    **self._risk(position),
                    "initialMargin": margin,
                    "maintMargin": zero,
                    "positionInitialMargin": margin,
                    "openOrderInitialMargin": zero,
                    "adl": 2,
                    "bidNotional": "0",
                    "askNotional": "0",
                }
            )
        return self._one_symbol(rows, params)

    def _position_risk_v2(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """All symbols, with leverage and margin type."""
        rows = [
            {
                **self._risk(position),
                "leverage": str(position.leverage),
                "maxNotionalValue": "1000000",
                "marginType": position.margin_type,
                "isAutoAddMargin": "false",
                "isolated": position.margin_type == "isolated",
                "adlQuantile": 2,
            }
            for position in self.ledger.all_positions()
        ]
        return self._one_symbol(rows, params)

    def _one_symbol(self, rows: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
        return [row for row in rows if params.get("symbol") in (None, "", row["symbol"])]

    def _assets(self) -> list[dict[str, Any]]:
        unrealized = sum((self.unrealized(item) for item in self.ledger.positions), ZERO)
        rows = []
        for coin, wallet in self.ledger.balances.items():
            is_margin = coin == "USDT"
            profit = unrealized if is_margin else ZERO
            used = self.used_margin() if is_margin else ZERO
            rows.append(
                {
                    "asset": coin,
                    "walletBalance": _money(wallet),
                    "unrealizedProfit": _money(profit),
                    "marginBalance": _money(wallet + profit),
                    "maintMargin": _money(ZERO),
                    "initialMargin": _money(used),
                    "positionInitialMargin": _money(used),
                    "openOrderInitialMargin": _money(ZERO),
                    "crossWalletBalance": _money(wallet),
                    "crossUnPnl": _money(profit),
                    "availableBalance": _money(wallet + profit - used),
                    "maxWithdrawAmount": _money(wallet - used),
                    "updateTime": self.now(),
                }
            )
        return rows

    def _account(self, params: dict[str, Any]) -> dict[str, Any]:
        assets = self._assets()
        margin = next(row for row in assets if row["asset"] == "USDT")
        rows = []
        for position in self.ledger.positions:
            row = self._risk(position)
            row["unrealizedProfit"] = row.pop("unRealizedProfit")
            rows.append({**row, "leverage": str(position.leverage), "isolated": position.margin_type == "isolated"})
        return {
            "canTrade": True,
            "totalInitialMargin": margin["initialMargin"],
            "totalMaintMargin": margin["maintMargin"],
            "totalWalletBalance": margin["walletBalance"],
            "totalUnrealizedProfit": margin["unrealizedProfit"],
            "totalMarginBalance": margin["marginBalance"],
            "availableBalance": margin["availableBalance"],
            "maxWithdrawAmount": margin["maxWithdrawAmount"],
            "assets": assets,
            "positions": rows,
        }

    def _balance(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"accountAlias": "SgsR", "balance": row["walletBalance"], "marginAvailable": True, **row}
            for row in self._assets()
        ]


def _money(amount: Decimal) -> str:
    """Balances and margins have eight digits."""
    return f"{rounded(amount, 8):f}"
