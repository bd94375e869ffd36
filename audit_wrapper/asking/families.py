"""What a family of exchanges must know to be asked, and which exchange is of which family."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from audit_wrapper.asking.facts import Reach
from audit_wrapper.asking.heard import Part, Row
from audit_wrapper.asking.requests import Requests


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One order, by the exchange's id or by the client's."""

    symbol: str
    order_id: str | None = None
    id_kind: str = "order"
    client_order_id: str | None = None

    def __str__(self) -> str:
        named = self.order_id or f"with client id {self.client_order_id}"
        return f"{'conditional order' if self.id_kind == 'algo' else 'order'} {named} of {self.symbol}"


class Listing(NamedTuple):
    """One history that can be asked for over a range of time, window by window.

    `symbols` None: of all symbols. `fetch` gives all rows of one window (both ends, in ms, are included) by part.
    """

    what: str
    parts: tuple[Part, ...]
    symbols: tuple[str, ...] | None
    reach: Reach
    fetch: Callable[[Requests, str, int, int], Awaitable[dict[Part, list[Row]]]]


class Family(Protocol):
    """How one family of exchanges is asked. What is heard goes into `requests`."""

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order, what it became, and its executions."""


FETCH_ORDER = ("fetch_order", "fetchOrder")
FETCH_OPEN_ORDERS = ("fetch_open_orders", "fetchOpenOrders")
FETCH_ORDERS = ("fetch_orders", "fetchOrders")
FETCH_ENDED_ORDERS = ("fetch_canceled_and_closed_orders", "fetchCanceledAndClosedOrders")
FETCH_CLOSED_ORDERS = ("fetch_closed_orders", "fetchClosedOrders")
FETCH_CANCELED_ORDERS = ("fetch_canceled_orders", "fetchCanceledOrders")
FETCH_MY_TRADES = ("fetch_my_trades", "fetchMyTrades")
FETCH_FUNDING = ("fetch_funding_history", "fetchFundingHistory")
FETCH_POSITIONS = ("fetch_positions", "fetchPositions")
