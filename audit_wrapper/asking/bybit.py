"""Asking Bybit: whole categories at once, pages by cursor, executions of every type.

Facts, from ccxt 4.5.90 and Bybit's documentation:
- `order/realtime` has what is open and, when asked by id, some of the latest 500 that ended; after a restart of the
  exchange those are in `order/history` alone. So an order that the first does not show is asked for in the second.
- ccxt's `fetch_order` makes two more requests the first time, and knows no client id: the lists are asked instead.
- An id goes before every other parameter: executions by `orderId` need no range of time.
- ccxt asks for executions of type Trade only. Liquidation and auto-deleveraging are other types (BustTrade, AdlTrade), and
  so are funding payments; the implicit method gives them all.
- Without a symbol, contracts settled in the quote currency must be asked for by the coin they settle in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit_wrapper.asking import families, paging
from audit_wrapper.asking.facts import Kind, kind_of
from audit_wrapper.asking.families import Wanted
from audit_wrapper.asking.heard import Part, Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import cursor_of, executed_as
from audit_wrapper.exchanges.numbers import items, plain, text_of

_EXECUTIONS = ("private_get_v5_execution_list", "privateGetV5ExecutionList")
_EXECUTIONS_LIMIT = 100
_NO_FILLS = frozenset({"Funding", "Settle", "Delivery", "SessionSettlePnL", "MovePosition"})


class Bybit:
    """The Bybit family: unified accounts, and classic ones as far as they answer the same requests."""

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order, open or not, and its executions."""
        order = await self._one(requests, wanted)
        if order is None:
            return
        requests.orders.append(order)
        order_id = executed_as(requests.adapter, order)
        if order_id is None or requests.adapter.order_state(order).filled_quantity == 0:
            return
        rows = await self._executions(requests, f"executions of {wanted}", wanted.symbol, {"orderId": order_id})
        fills = [trade for trade in rows["trades"] if requests.adapter.fill(trade).exchange_order_id == order_id]
        requests.trades.extend(fills)

    async def _one(self, requests: Requests, wanted: Wanted) -> Row | None:
        named = {"orderId": wanted.order_id} if wanted.order_id else {"orderLinkId": wanted.client_order_id}
        noted = len(requests.unasked)
        for names in (families.FETCH_OPEN_ORDERS, families.FETCH_ENDED_ORDERS):
            try:
                rows = await requests.rows(str(wanted), names, wanted.symbol, None, None, dict(named))
            except (Unheard, NotThere):
                continue
            for row in rows:
                state = requests.adapter.order_state(row)
                if (wanted.order_id or wanted.client_order_id) in (state.exchange_order_id, state.client_order_id):
                    del requests.unasked[noted:]
                    return row
        if len(requests.unasked) == noted or requests.ended or not wanted.order_id:
            return None
        try:  # a client that has not those lists, as a mocked one
            row = await requests.ask(
                str(wanted), families.FETCH_ORDER, wanted.order_id, wanted.symbol, {"acknowledged": True}
            )
        except (Unheard, NotThere):
            return None
        if not isinstance(row, Mapping):
            return None
        del requests.unasked[noted:]
        return row

    # -- executions

    async def _executions(
        self, requests: Requests, what: str, symbol: str | None, narrowed: Mapping[str, Any], kind: Kind | None = None
    ) -> dict[Part, list[Row]]:
        """Executions and funding payments: all types of them where the client can ask for them."""
        kind = kind or (_kind(requests, symbol) if symbol else "linear")
        asked: dict[str, Any] = {"category": kind, "limit": _EXECUTIONS_LIMIT, **narrowed}
        own = text_of(requests.market(symbol).get("id")) if symbol else None
        if own is not None:
            asked["symbol"] = own
        found: dict[Part, list[Row]] = {"trades": [], "funding": []}

        async def page(cursor: str | None) -> tuple[list[Row], str | None]:
            answer = await requests.ask(what, _EXECUTIONS, {**asked, **({"cursor": cursor} if cursor else {})})
            result = plain(plain(answer).get("result"))
            if not isinstance(result.get("list"), list):
                raise _NoList
            rows = [requests.unified(row, "execId", "execTime", (kind,)) for row in map(plain, items(result["list"]))]
            return rows, text_of(result.get("nextPageCursor"))

        def keep(row: Row) -> None:
            kind_of_execution = text_of(plain(row["info"]).get("execType"))
            if kind_of_execution == "Funding":
                found["funding"].append(row)
            elif kind_of_execution not in _NO_FILLS:
                found["trades"].append(row)

        with contextlib.suppress(Unheard, NotThere):  # said in `unasked`
            if requests.has(*_EXECUTIONS):
                with contextlib.suppress(_NoList):
                    await paging.by_cursor(page, keep)
                    return found
            await self._trades(requests, what, symbol, narrowed, found["trades"].append)
        return found

    async def _trades(
        self, requests: Requests, what: str, symbol: str | None, narrowed: Mapping[str, Any], keep: paging.Keep
    ) -> None:
        async def page(cursor: str | None) -> tuple[list[Row], str | None]:
            params = {**narrowed, **({"cursor": cursor} if cursor else {})}
            rows = await requests.rows(what, families.FETCH_MY_TRADES, symbol, None, _EXECUTIONS_LIMIT, params)
            return rows, cursor_of(rows)

        await paging.by_cursor(page, keep)


class _NoList(Exception):
    """The client has no implicit method for this, or it is a mock's."""


def _kind(requests: Requests, symbol: str) -> Kind:
    return kind_of(symbol, requests.market(symbol))
