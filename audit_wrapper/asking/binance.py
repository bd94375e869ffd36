"""Asking Binance: each symbol by itself, regular and conditional orders apart, pages by time and by id.

Facts, from ccxt 4.5.90 and Binance's documentation:
- Conditional contract orders are asked for with `trigger`, by `algoId` or `clientAlgoId`; fired, they name the regular
  order they became, which may have ended partly filled.
- A list asked for with a time range may give the oldest rows of it or, as some pages say, the most recent ones.
- `fromId` cannot go together with times. Without either, only the last 7 days of contract trades are given [D].
- Open orders without a symbol count 40-fold, and ccxt refuses that unless an option of the client allows it; the implicit
  methods need no option.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit_wrapper.asking import families
from audit_wrapper.asking.facts import Kind, kind_of
from audit_wrapper.asking.families import Wanted
from audit_wrapper.asking.heard import Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import executed_as, key_of, moment_of, number_of
from audit_wrapper.exchanges.numbers import plain, text_of, total

_WEEK_MS = 7 * 86_400_000
_LAST_ORDER_PAGES = 100  # of executions of one order: 100,000 of them


class Binance:
    """The Binance family: spot, USD-M, COIN-M."""

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order, the regular order that it became when it fired, and its executions."""
        order = await self._one(requests, wanted)
        if order is None:
            return
        traded_as = executed_as(requests.adapter, order)
        if traded_as is not None and requests.adapter.order_id_kind(order) == "algo":
            child = Wanted(symbol=wanted.symbol, order_id=traded_as)
            order = await self._one(requests, child, f"{child}, which {wanted} became")
            if order is None:
                return
        if traded_as is not None:
            await self._executions(requests, wanted, order, traded_as, now)

    async def _one(self, requests: Requests, wanted: Wanted, fired: str | None = None) -> Row | None:
        params: dict[str, Any] = {}
        if wanted.id_kind == "algo" and self._kind(requests, wanted.symbol) in ("linear", "inverse"):
            params["trigger"] = True
        if wanted.order_id is None:
            params["clientAlgoId" if params else "origClientOrderId"] = wanted.client_order_id
        own = wanted.order_id or wanted.client_order_id
        try:
            order = await requests.ask(fired or str(wanted), families.FETCH_ORDER, own, wanted.symbol, params)
        except NotThere:
            if fired is not None:
                requests.note(fired, "the exchange does not know it (yet, or any more)")
            return None
        except Unheard:
            return None
        if not isinstance(order, Mapping):
            requests.note(str(wanted), f"the client answered with {type(order).__name__}, not with an order")
            return None
        requests.orders.append(order)
        return order

    async def _executions(self, requests: Requests, wanted: Wanted, order: Row, order_id: str, now: datetime) -> None:
        filled = requests.adapter.order_state(order).filled_quantity
        if filled == 0:
            return
        created, found = moment_of(order), {}
        ranges: list[dict[str, Any]] = [{}]
        if created is not None and self._kind(requests, wanted.symbol) != "spot":
            ranges = _ranges(created, _last_change(order), int(now.timestamp() * 1000))
        for times in ranges:
            first: dict[str, Any] = times
            for _ in range(_LAST_ORDER_PAGES):
                try:
                    page = await requests.rows(
                        f"executions of {wanted}",
                        families.FETCH_MY_TRADES,
                        wanted.symbol,
                        None,
                        1000,
                        {"orderId": order_id, **first},
                    )
                except (Unheard, NotThere):
                    return
                for trade in page:
                    if requests.adapter.fill(trade).exchange_order_id == order_id and key_of(trade) not in found:
                        found[key_of(trade)] = trade
                        requests.trades.append(trade)
                numbers = [number for number in map(number_of, page) if number is not None]
                if len(page) < 1000 or not numbers or _is_all(requests, filled):
                    break
                first = {"fromId": max(numbers) + 1}

    def _kind(self, requests: Requests, symbol: str) -> Kind:
        return kind_of(symbol, requests.market(symbol))


def _is_all(requests: Requests, filled: Any) -> bool:
    quantities = [requests.adapter.fill(trade).quantity for trade in requests.trades]
    return filled is not None and total([q for q in quantities if q is not None]) >= filled


def _last_change(order: Row) -> int | None:
    changed = text_of(plain(order.get("info")).get("updateTime"))
    return int(changed) if changed is not None and changed.isdecimal() else None


def _ranges(created: int, changed: int | None, now: int) -> list[dict[str, Any]]:
    """Without times, trades of the last 7 days are given: an older order's are asked for from when it was placed."""
    if created > now - _WEEK_MS + 3_600_000:
        return [{}]
    last = min(now, (changed or now) + 5000)
    return [
        {"startTime": start, "endTime": min(start + _WEEK_MS - 1000, last)}
        for start in range(max(created - 1000, 0), last, _WEEK_MS - 1000)
    ]
