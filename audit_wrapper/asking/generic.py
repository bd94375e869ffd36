"""Asking any other exchange through what ccxt has in common for all of them, and saying what that leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from audit_wrapper.asking import families
from audit_wrapper.asking.families import Wanted
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import executed_as, key_of, moment_of


class Generic:
    """An exchange without a module of its own."""

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
