"""Bybit v5: what can be asked about orders and executions, page by page.

Sources: Bybit's v5 documentation (Get Open & Closed Orders, Get Order History, Get Trade History). A rule that it
leaves open is marked [?].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from . import bybit_wire as wire
from .bybit_stops import BybitStops
from .engine import Refusal
from .history import cursor_page, page_size, window
from .instruments import Instrument
from .ledger import ZERO, Fill, Funding, Order

# Beyond this only orders with fills are listed.
ORDER_DAYS_MS = 7 * 86_400_000
FILL_DAYS_MS = 730 * 86_400_000
T = TypeVar("T")


@dataclass(frozen=True)
class _Execution:
    """A row of execution/list: a fill or a funding payment."""

    id: str
    time: int
    kind: str
    fill: Fill | None = None
    order: Order | None = None
    remaining: Decimal = ZERO
    funding: Funding | None = None
    number: int = 0


class BybitHistory(BybitStops):
    """The reads of one account."""

    forget_after_ms = 86_400_000
    forget_from = "ended"

    def history_routes(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "GET /v5/order/realtime": self._realtime,
            "GET /v5/order/history": self._history,
            "GET /v5/execution/list": self._executions,
        }

    # --- orders ---

    def listed(self, params: dict[str, Any]) -> list[Instrument]:
        """A category, and within it a symbol, or all of one base or settle coin."""
        coin, settle = params.get("baseCoin"), params.get("settleCoin")
        return [
            item for item in self.selected(params) if coin in (None, "", item.base) and settle in (None, "", item.quote)
        ]

    def matching(self, params: dict[str, Any]) -> list[Order]:
        """Accepted orders of the category and, where given, symbol, ids and orderFilter; newest first."""
        items = set(self.listed(params))
        number, link, wanted = params.get("orderId"), params.get("orderLinkId"), params.get("orderFilter")
        return [
            order
            for order in reversed(self.ledger.orders)
            if order.exchange_order_id
            and order.instrument in items
            and (not number or order.exchange_order_id == number)
            and (not link or order.client_order_id == link)
            and (not wanted or filter_word(order) == wanted)
        ]

    def _realtime(self, params: dict[str, Any]) -> dict[str, Any]:
        """Open orders; with an id also one that ended lately. openOnly=1 lists those that ended lately [D]."""
        named = params.get("orderId") or params.get("orderLinkId")
        narrowed = named or params.get("symbol") or params.get("baseCoin") or params.get("settleCoin")
        if params.get("category") == "linear" and not narrowed:
            raise Refusal(10001, "Missing some parameters that must be filled in, symbol or baseCoin or settleCoin")
        category = {"category": params.get("category")}
        recent = [order for order in self.matching(category) if order.is_final][: self.settings.recent_orders]
        ended = {order.exchange_order_id for order in recent} if named or str(params.get("openOnly")) == "1" else set()
        orders = [
            order
            for order in self.matching(params)
            if self.visibility.shows(order) and (not order.is_final or order.exchange_order_id in ended)
        ]
        return self._orders_page(params, orders)

    def _history(self, params: dict[str, Any]) -> dict[str, Any]:
        """Orders that have ended. An id goes before the times [D]."""
        orders = [order for order in self.matching(params) if self._in_history(order)]
        if not params.get("orderId") and not params.get("orderLinkId"):
            orders = self._between(params, orders, lambda order: order.created_time)
        return self._orders_page(params, orders)

    def _in_history(self, order: Order) -> bool:
        """Beyond seven days only with fills; the day of those without is `Visibility.forgets`."""
        return self.visibility.shows_end(order) and (
            bool(order.filled_quantity) or order.updated_time + ORDER_DAYS_MS >= self.now()
        )

    def _orders_page(self, params: dict[str, Any], orders: list[Order]) -> dict[str, Any]:
        orders.sort(key=lambda order: order.created_time, reverse=True)  # stable: the later of a millisecond first
        rows, cursor = self._cut(
            params, orders, 20, 50, lambda order: (str(order.exchange_order_id), order.created_time)
        )
        return _listing(params, [self.order_json(order) for order in rows], cursor)

    def order_json(self, order: Order) -> dict[str, Any]:
        fees: dict[str, Decimal] | None = {}
        for fill in self.ledger.fills_of(order):
            if not self.fee_is_known(fill):
                fees = None
                break
            assert fees is not None
            fees[fill.fee_currency] = fees.get(fill.fee_currency, ZERO) + fill.fee_amount
        return wire.order_json(order, fees, self.prices[order.instrument])

    # --- executions ---

    def _executions(self, params: dict[str, Any]) -> dict[str, Any]:
        """Fills and, unless an execType says otherwise, funding payments too."""
        items = set(self.listed(params))
        number, link, wanted = params.get("orderId"), params.get("orderLinkId"), params.get("execType")
        rows = [
            row
            for row in self._all_executions(items)
            if wanted in (None, "", row.kind)
            and (not number or (row.order is not None and row.order.exchange_order_id == number))
            and (not link or (row.order is not None and row.order.client_order_id == link))
            and self.visibility.reached(row.time)
            and row.time + FILL_DAYS_MS >= self.now()
        ]
        if not number and not link:
            rows = self._between(params, rows, lambda row: row.time)
        rows.reverse()
        rows.sort(key=lambda row: row.time, reverse=True)
        page, cursor = self._cut(params, rows, 50, 100, lambda row: (row.id, row.time))
        return _listing(params, [self._execution_json(row) for row in page], cursor)

    def _all_executions(self, items: set[Instrument]) -> Iterator[_Execution]:
        orders = {order.exchange_order_id: order for order in self.ledger.orders if order.exchange_order_id}
        filled: dict[str, Decimal] = {}
        for number, fill in enumerate(self.ledger.fills, 1):
            order = orders[fill.exchange_order_id]
            filled[fill.exchange_order_id] = filled.get(fill.exchange_order_id, ZERO) + fill.quantity
            if fill.instrument in items:
                yield _Execution(
                    id=fill.exchange_trade_id,
                    time=fill.time,
                    kind=wire.execution_type(order),
                    fill=fill,
                    order=order,
                    remaining=order.quantity - filled[fill.exchange_order_id],
                    number=number,
                )
        for number, funding in enumerate(self.ledger.fundings, 1):
            if funding.instrument in items:
                yield _Execution(
                    id=funding.exchange_funding_id, time=funding.time, kind="Funding", funding=funding, number=number
                )

    def _execution_json(self, row: _Execution) -> dict[str, Any]:
        if row.funding is not None:
            return wire.funding_json(row.funding, row.number)
        assert row.fill is not None
        assert row.order is not None
        return wire.fill_json(row.fill, row.order, row.number, row.remaining, self.fee_is_known(row.fill))

    # --- pages ---

    def _between(self, params: dict[str, Any], rows: list[T], time: Callable[[T], int]) -> list[T]:
        span = window(params, self.now())
        if span is None:
            raise Refusal(10001, "The interval between the startTime and endTime is more than 7 days.")
        return [row for row in rows if span[0] <= time(row) <= span[1]]

    def _cut(
        self, params: dict[str, Any], rows: list[T], default: int, largest: int, key: Callable[[T], tuple[str, int]]
    ) -> tuple[Sequence[T], str]:
        """A limit above the largest is taken as the largest [?]."""
        size = page_size(params, default, largest, self.settings)
        try:
            return cursor_page(rows, str(params.get("cursor") or ""), size, key)
        except ValueError:
            raise Refusal(10001, "params error: cursor invalid") from None


def filter_word(order: Order) -> str:
    """orderFilter: Order for what works in the book, StopOrder for what waits for a trigger."""
    return "Order" if order.kind == "order" else "StopOrder"


def _listing(params: dict[str, Any], rows: list[dict[str, Any]], cursor: str) -> dict[str, Any]:
    return {"category": params["category"], "nextPageCursor": cursor, "list": rows}
