"""What a family of exchanges must know to be asked, and which exchange is of which family."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
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


class Source(NamedTuple):
    """One list of an exchange over time. `fetch` gives each row between two moments (in ms, both included) to `keep`."""

    what: str
    part: Part
    reach: Reach
    fetch: Callable[[Requests, str, int, int, Callable[[Part, Row], None]], Awaitable[None]]


class Listing(NamedTuple):
    """Lists that are asked for together, window by window. `symbols` None: they are of all symbols."""

    symbols: tuple[str, ...] | None
    parts: tuple[Part, ...]
    unfilled_for: timedelta | None
    sources: tuple[Source, ...]

    @property
    def window(self) -> timedelta:
        """The longest range that all of them can be asked for at once."""
        return min(source.reach.window for source in self.sources)


class Family(Protocol):
    """How one family of exchanges is asked. What is heard goes into `requests`."""

    needs_symbols: bool
    """Whether its histories are by symbol; else they can be asked for the whole account."""

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order, what it became, and its executions."""

    async def open_orders(self, requests: Requests, symbols: tuple[str, ...]) -> None:
        """All open orders, conditional ones too."""

    def listings(self, requests: Requests, symbols: tuple[str, ...]) -> Iterable[Listing]:
        """The histories to ask for; says in `requests` which there are none of."""

    async def symbols(self, requests: Requests, since: datetime, until: datetime, now: datetime) -> set[str]:
        """Unified symbols that were traded, as far as it can be asked without naming one."""


FETCH_ORDER = ("fetch_order", "fetchOrder")
FETCH_OPEN_ORDERS = ("fetch_open_orders", "fetchOpenOrders")
FETCH_ORDERS = ("fetch_orders", "fetchOrders")
FETCH_ENDED_ORDERS = ("fetch_canceled_and_closed_orders", "fetchCanceledAndClosedOrders")
FETCH_CLOSED_ORDERS = ("fetch_closed_orders", "fetchClosedOrders")
FETCH_CANCELED_ORDERS = ("fetch_canceled_orders", "fetchCanceledOrders")
FETCH_MY_TRADES = ("fetch_my_trades", "fetchMyTrades")
FETCH_FUNDING = ("fetch_funding_history", "fetchFundingHistory")
FETCH_POSITIONS = ("fetch_positions", "fetchPositions")
