"""Binance USD-M futures: what can be asked about orders, fills and payments, page by page.

Sources: Binance's documentation "USDS-Margined Futures" (All Orders, Query All Algo Orders, Account Trade List, Get
Income History, User's Force Orders, Error Codes). A rule that it leaves open is marked [?].
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from . import binance_wire as wire
from .binance_account import BinanceAccount
from .binance_drafts import missing
from .engine import Refusal
from .history import page_size, window
from .instruments import Instrument
from .ledger import Fill, Order, fixed

ORDER_DAYS_MS = 90 * 86_400_000
FILL_DAYS_MS = 180 * 86_400_000

T = TypeVar("T")


class BinanceHistory(BinanceAccount):
    """The reads of one account."""

    forget_after_ms = 3 * 86_400_000
    forget_from = "created"

    def history_routes(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "GET /fapi/v1/order": self._query,
            "GET /fapi/v1/openOrder": self._query_open,
            "GET /fapi/v1/openOrders": self._open_orders,
            "GET /fapi/v1/allOrders": self._all_orders,
            "GET /fapi/v1/forceOrders": self._force_orders,
            "GET /fapi/v1/userTrades": self._fills,
            "GET /fapi/v1/algoOrder": self._query_algo,
            "GET /fapi/v1/openAlgoOrders": self._open_algos,
            "GET /fapi/v1/allAlgoOrders": self._all_algos,
            "GET /fapi/v1/income": self._income,
        }

    # --- one order ---

    def _query(self, params: dict[str, Any]) -> dict[str, Any]:
        return wire.order_json(self.find(params, _no_order(), shown=True))

    def _query_open(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self.find(params, _no_order(), shown=True)
        if order.is_final:
            raise _no_order()
        return wire.order_json(order)

    def _query_algo(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.algo_json(self.find_algo(params, _no_order(), shown=True))

    def find(self, params: dict[str, Any], otherwise: Refusal, shown: bool = False) -> Order:
        """By orderId, else by client id; the newest wins, since client ids may be used again.

        shown: only what reads show by now; a cancel or an amend reaches an order that they do not show yet.
        """
        order_id, client_id = params.get("orderId"), params.get("origClientOrderId")
        if not order_id and not client_id:
            raise missing("orderId")
        for order in reversed(self._accepted("order", self.instrument(params), shown)):
            if order.exchange_order_id == str(order_id) if order_id else order.client_order_id == client_id:
                return order
        raise otherwise

    def find_algo(self, params: dict[str, Any], otherwise: Refusal, shown: bool = False) -> Order:
        order_id, client_id = params.get("algoId"), params.get("clientAlgoId")
        if not order_id and not client_id:
            raise missing("algoId")
        for order in reversed(self._accepted("algo", None, shown)):
            if order.exchange_order_id == str(order_id) if order_id else order.client_order_id == client_id:
                return order
        raise otherwise

    def _accepted(self, kind: str, item: Instrument | None, shown: bool) -> list[Order]:
        return [
            order
            for order in self.ledger.orders
            if order.kind == kind
            and order.exchange_order_id
            and item in (None, order.instrument)
            and (not shown or self._kept(order))
        ]

    def _kept(self, order: Order) -> bool:
        """All orders go after ninety days, those that ended without a fill after three."""
        return self.visibility.shows(order) and order.created_time + ORDER_DAYS_MS >= self.now()

    def algo_json(self, order: Order) -> dict[str, Any]:
        child = self.ledger.executed(order) if order.actual_order_id else None
        return wire.algo_json(order, child)

    # --- lists ---

    def _one_or_all(self, params: dict[str, Any]) -> Instrument | None:
        return self.instrument(params) if params.get("symbol") else None

    def _open_orders(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        orders = self._accepted("order", self._one_or_all(params), shown=True)
        return [wire.order_json(order) for order in orders if not order.is_final]

    def _open_algos(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        orders = self._accepted("algo", self._one_or_all(params), shown=True)
        return [self.algo_json(order) for order in orders if order.is_armed]

    def _all_orders(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Without a symbol all are listed, as ccxt 4.5.90 has it since August 2026 [?]."""
        item = self._one_or_all(params)
        if item is None and params.get("orderId"):
            raise Refusal(-1128, "Combination of optional parameters invalid.")  # an id belongs to its symbol [?]
        rows = self._page(self._accepted("order", item, shown=True), params, _made_at, _order_number, "orderId")
        return [wire.order_json(order) for order in rows]

    def _all_algos(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        orders = self._accepted("algo", self.instrument(params), shown=True)
        rows = self._page(orders, params, _made_at, _order_number, "algoId")
        return [self.algo_json(order) for order in rows]

    def _force_orders(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        causes: tuple[str, ...] = {"LIQUIDATION": ("liquidation",), "ADL": ("auto_deleveraging",)}.get(
            str(params.get("autoCloseType")), ("liquidation", "auto_deleveraging")
        )
        orders = self._accepted("order", self._one_or_all(params), shown=True)
        forced = [order for order in orders if order.details.get("cause") in causes]
        rows = self._page(forced, params, _made_at, _order_number, "", 50, 100)
        return [wire.order_json(order) for order in rows]

    def _fills(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        item = self.instrument(params)
        if params.get("fromId") and (params.get("startTime") or params.get("endTime")):
            raise Refusal(-1128, "Combination of optional parameters invalid.")
        wanted = str(params["orderId"]) if params.get("orderId") else None
        fills = [
            fill
            for fill in self.ledger.fills
            if fill.instrument == item
            and wanted in (None, fill.exchange_order_id)
            and self.visibility.reached(fill.time)
            and fill.time + FILL_DAYS_MS >= self.now()
        ]
        if wanted is not None and not params.get("startTime") and not params.get("endTime"):
            params = {**params, "fromId": params.get("fromId") or 1}  # the fills of an order, however old [?]
        rows = self._page(fills, params, lambda fill: fill.time, _fill_number, "fromId")
        return [wire.fill_json(fill, self.fee_is_known(fill)) for fill in rows]

    def _page(
        self,
        rows: list[T],
        params: dict[str, Any],
        time: Callable[[T], int],
        number: Callable[[T], int],
        first_id: str,
        default: int = 500,
        largest: int = 1000,
    ) -> list[T]:
        """Oldest first. From a start (time or id) the oldest rows fill the page, else the newest.

        The time windows are documented; that an id goes without one is [?].
        """
        size = self._size(params, default, largest)
        first = int(params.get(first_id) or 0)
        timed = params.get("startTime") or params.get("endTime")
        if timed or not first:
            span = window(params, self.now())
            if span is None:
                raise Refusal(-4165, "Invalid time interval: Maximum time interval is 7 days")
            rows = [row for row in rows if span[0] <= time(row) <= span[1]]
        rows = [row for row in rows if number(row) >= first]
        # A slice from -0 would be everything.
        return rows[:size] if params.get("startTime") or first else rows[max(0, len(rows) - size) :]

    def _size(self, params: dict[str, Any], default: int, largest: int) -> int:
        if int(params.get("limit") or default) > largest:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        return page_size(params, default, largest, self.settings)

    # --- payments ---

    def _income(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Fees, profits and funding, oldest first; a week by default, and here no limit on the window [?]."""
        wanted, symbol = params.get("incomeType"), params.get("symbol")
        start, end = int(params.get("startTime") or 0), int(params.get("endTime") or self.now())
        if not params.get("startTime"):
            start = end - 7 * 86_400_000
        rows = [
            row
            for row in self._incomes()
            if start <= row["time"] <= end
            and wanted in (None, "", row["incomeType"])
            and symbol in (None, "", row["symbol"])
            and self.visibility.reached(row["time"])
        ]
        rows.sort(key=lambda row: row["time"])  # stable: what happened first stays first
        size = self._size(params, 100, 1000)
        begin = (int(params.get("page") or 1) - 1) * size
        return rows[begin : begin + size]

    def _incomes(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for number, fill in enumerate(self.ledger.fills, 1):
            if self.fee_is_known(fill):
                rows.append(_income(fill, "COMMISSION", -fill.fee_amount, fill.fee_currency, 2 * number))
            if fill.realized_pnl:
                rows.append(_income(fill, "REALIZED_PNL", fill.realized_pnl, "USDT", 2 * number + 1))
        for funding in self.ledger.fundings:
            rows.append(
                {
                    "symbol": funding.symbol,
                    "incomeType": "FUNDING_FEE",
                    "income": fixed(funding.amount, 8),
                    "asset": funding.currency,
                    "time": funding.time,
                    "info": "FUNDING_FEE",
                    "tranId": int(funding.exchange_funding_id),
                    "tradeId": "",
                }
            )
        return rows


def _income(fill: Fill, kind: str, amount: Decimal, asset: str, number: int) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "incomeType": kind,
        "income": fixed(amount, 8),
        "asset": asset,
        "time": fill.time,
        "info": fill.exchange_trade_id if kind == "REALIZED_PNL" else kind,
        "tranId": 9689322390 + number,
        "tradeId": fill.exchange_trade_id,
    }


def _no_order() -> Refusal:
    return Refusal(-2013, "Order does not exist.")


def _made_at(order: Order) -> int:
    return order.created_time


def _order_number(order: Order) -> int:
    return int(order.exchange_order_id or 0)


def _fill_number(fill: Fill) -> int:
    return int(fill.exchange_trade_id)
