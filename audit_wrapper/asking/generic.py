"""Asking any other exchange through what ccxt has in common for all of them, and saying what that leaves open."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from audit_wrapper.asking import families, paging
from audit_wrapper.asking.facts import Reach, facts_for, kind_of
from audit_wrapper.asking.families import Listing, Source, Wanted
from audit_wrapper.asking.heard import Part, Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import executed_as, key_of, moment_of


class Generic:
    """An exchange without a module of its own."""

    needs_symbols = True

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order by the exchange's id, and those of its executions that a client can ask for."""
        if wanted.order_id is None:
            requests.note(str(wanted), f"how {requests.exchange_id} is asked by client id is not known")
            return
        try:
            order = await requests.ask(str(wanted), families.FETCH_ORDER, wanted.order_id, wanted.symbol)
        except (Unheard, NotThere):
            return
        if not isinstance(order, Mapping):
            requests.note(str(wanted), f"the client answered with {type(order).__name__}, not with an order")
            return
        requests.orders.append(order)
        traded_as = executed_as(requests.adapter, order)
        if traded_as is None or requests.adapter.order_state(order).filled_quantity == 0:
            return
        what = f"executions of {wanted}"
        try:
            trades = await requests.rows(what, families.FETCH_MY_TRADES, wanted.symbol, moment_of(order))
        except (Unheard, NotThere):
            return
        found = {key_of(trade): trade for trade in trades if str(trade.get("order")) == traded_as}
        requests.trades.extend(found.values())

    async def open_orders(self, requests: Requests, symbols: tuple[str, ...]) -> None:
        """Open orders as `fetch_open_orders` gives them."""
        for symbol in symbols or (None,):
            what = f"open orders of {symbol or 'all symbols'}"
            with contextlib.suppress(Unheard, NotThere):
                requests.orders += await requests.rows(what, families.FETCH_OPEN_ORDERS, symbol)
        requests.note(
            "open conditional orders", f"whether {requests.exchange_id} shows them with the others is not known"
        )

    def listings(self, requests: Requests, symbols: tuple[str, ...]) -> Iterator[Listing]:
        """Whatever the client has of orders, executions and funding payments, symbol by symbol."""
        reach = facts_for(requests.exchange_id, "linear")
        orders = [families.FETCH_ORDERS]
        if not requests.can(*families.FETCH_ORDERS):
            orders = [families.FETCH_ENDED_ORDERS]
        if not requests.can(*orders[0]):
            orders = [families.FETCH_CLOSED_ORDERS, families.FETCH_CANCELED_ORDERS]
        if symbols:
            requests.note(
                "what happened longer ago",
                f"how far back {requests.exchange_id} can be asked is not known; what it has forgotten looks as if it never was",
            )
        else:
            requests.note("orders and executions", f"{requests.exchange_id} is asked by symbol, and none was named")
        for symbol in symbols:
            sources = [_source("orders", symbol, names, reach.orders) for names in orders]
            sources.append(_source("trades", symbol, families.FETCH_MY_TRADES, reach.trades))
            if kind_of(symbol, requests.market(symbol)) != "spot":
                sources.append(_source("funding", symbol, families.FETCH_FUNDING, reach.orders))
            yield Listing((symbol,), ("orders", "trades", "funding"), None, tuple(sources))

    async def symbols(self, requests: Requests, since: datetime, until: datetime, now: datetime) -> set[str]:
        """From positions and open orders; what was traded and closed before cannot be learned."""
        found: set[str] = set()
        for names in (families.FETCH_POSITIONS, families.FETCH_OPEN_ORDERS):
            with contextlib.suppress(Unheard, NotThere):
                rows = await requests.rows(f"symbols ({names[0]})", names)
                found |= {str(row["symbol"]) for row in rows if row.get("symbol")}
        requests.note("symbols of what is closed", f"whether {requests.exchange_id} names them is not known; name them")
        return found


def _source(part: Part, symbol: str, names: tuple[str, ...], reach: Reach) -> Source:
    async def fetch(requests: Requests, what: str, since: int, until: int, keep: Callable[[Part, Row], None]) -> None:
        if not requests.can(*names):
            requests.note(what, f"the client says that it cannot {names[0]}")
            return

        async def between(start: int, end: int) -> list[Row]:
            rows = await requests.rows(what, names, symbol, start, None, {"until": end})
            kept = [row for row in rows if start <= (moment_of(row) or start) <= end]
            if rows and not kept:
                requests.note(what, "the exchange answered with other times only; it may not know ranges")
            return kept

        await paging.by_time(
            between, since, until, reach.limit, lambda row: keep(part, row), missing=lambda moment: None
        )

    return Source(f"{part} of {symbol} ({names[0]})", part, reach, fetch)
