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
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from audit_wrapper.asking import families, paging
from audit_wrapper.asking.facts import Kind, facts_for, kind_of
from audit_wrapper.asking.families import Listing, Source, Wanted
from audit_wrapper.asking.heard import Part, Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import cursor_of, executed_as
from audit_wrapper.exchanges.numbers import items, plain, text_of

_FEW = 2  # symbols to ask for one by one rather than a whole category at once
_TYPES: dict[Kind, dict[str, str]] = {
    "spot": {"type": "spot"},
    "linear": {"type": "swap", "subType": "linear"},
    "inverse": {"type": "swap", "subType": "inverse"},
    "option": {"type": "option"},
}
_NO_FILLS = frozenset({"Funding", "SessionSettlePnL", "MovePosition"})


class Bybit:
    """The Bybit family: unified accounts, and classic ones as far as they answer the same requests."""

    needs_symbols = False

    async def order(self, requests: Requests, wanted: Wanted, now: datetime) -> None:
        """One order, open or not, and its executions."""
        order = await self._one(requests, wanted)
        if order is None:
            return
        requests.orders.append(order)
        order_id = executed_as(requests.adapter, order)
        if order_id is None or requests.adapter.order_state(order).filled_quantity == 0:
            return

        def keep(part: Part, row: Row) -> None:
            if part == "trades" and requests.adapter.fill(row).exchange_order_id == order_id:
                requests.trades.append(row)

        scope = _Scope(kind_of(wanted.symbol, requests.market(wanted.symbol)), wanted.symbol)
        with contextlib.suppress(Unheard, NotThere):
            await _executions(requests, f"executions of {wanted}", scope, {"orderId": order_id}, keep)

    async def _one(self, requests: Requests, wanted: Wanted) -> Row | None:
        named = {"orderId": wanted.order_id} if wanted.order_id else {"orderLinkId": wanted.client_order_id}
        noted, again = len(requests.unasked), requests.again
        for names in (families.FETCH_OPEN_ORDERS, families.FETCH_ENDED_ORDERS):
            try:
                rows = await requests.rows(str(wanted), names, wanted.symbol, None, None, dict(named))
            except (Unheard, NotThere):
                continue
            for row in rows:
                state = requests.adapter.order_state(row)
                if (wanted.order_id or wanted.client_order_id) in (state.exchange_order_id, state.client_order_id):
                    requests.forget(noted, again)
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
        requests.forget(noted, again)
        return row

    # -- what is open

    async def open_orders(self, requests: Requests, symbols: tuple[str, ...]) -> None:
        """All open orders: conditional ones and the stops of positions are among them."""
        for scope in _scopes(requests, symbols):
            coins: tuple[dict[str, Any], ...] = ({},)
            if scope.symbol is None and scope.kind == "linear":
                coins = tuple({"settleCoin": coin} for coin in _settled_in(symbols))
            for coin in coins:
                with contextlib.suppress(Unheard, NotThere):
                    await _all(
                        requests, f"open orders {scope}", _OPEN, scope, coin, lambda row: requests.orders.append(row)
                    )

    # -- what happened

    def listings(self, requests: Requests, symbols: tuple[str, ...]) -> Iterator[Listing]:
        """Orders, and executions and funding payments together; of whole categories where there are many symbols."""
        for scope in _scopes(requests, symbols):
            facts = facts_for("bybit", scope.kind)
            orders = Source(f"orders {scope}", "orders", facts.orders, _orders_of(scope))
            executions = Source(f"executions {scope}", "trades", facts.trades, _executions_of(scope))
            covered = tuple(s for s in symbols if kind_of(s, requests.market(s)) == scope.kind) or None
            parts: tuple[Part, ...] = ("orders", "trades", "funding")
            yield Listing((scope.symbol,) if scope.symbol else covered, parts, facts.unfilled_for, (orders, executions))

    async def symbols(self, requests: Requests, since: datetime, until: datetime, now: datetime) -> set[str]:
        """None: its histories can be asked for without a symbol."""
        return set()


class _Scope(NamedTuple):
    """One symbol, or all of a category."""

    kind: Kind
    symbol: str | None

    def __str__(self) -> str:
        return f"of {self.symbol}" if self.symbol else f"of {self.kind} markets"


class _Lists(NamedTuple):
    """One list of Bybit: the implicit method, ccxt's unified one, rows of a page, and names in its payload."""

    implicit: tuple[str, ...]
    unified: tuple[str, ...]
    limit: int
    id_name: str
    time_name: str


_OPEN = _Lists(
    ("private_get_v5_order_realtime", "privateGetV5OrderRealtime"),
    families.FETCH_OPEN_ORDERS,
    50,
    "orderId",
    "createdTime",
)
_ENDED = _Lists(
    ("private_get_v5_order_history", "privateGetV5OrderHistory"),
    families.FETCH_ENDED_ORDERS,
    50,
    "orderId",
    "createdTime",
)
_EXECUTIONS = _Lists(
    ("private_get_v5_execution_list", "privateGetV5ExecutionList"),
    families.FETCH_MY_TRADES,
    100,
    "execId",
    "execTime",
)


async def _all(
    requests: Requests, what: str, lists: _Lists, scope: _Scope, narrowed: Mapping[str, Any], keep: paging.Keep
) -> bool:
    """All pages of a list. False: they came by ccxt's unified method, since the client has no implicit one."""
    asked: dict[str, Any] = {"category": scope.kind, "limit": lists.limit, **narrowed}
    own = text_of(requests.market(scope.symbol).get("id")) if scope.symbol else None
    if own is not None:
        asked["symbol"] = own
    unified = {**narrowed} if scope.symbol else {**narrowed, **_TYPES[scope.kind]}

    async def implicit_page(cursor: str | None) -> tuple[list[Row], str | None]:
        answer = await requests.ask(what, lists.implicit, {**asked, **({"cursor": cursor} if cursor else {})})
        result = plain(plain(answer).get("result"))
        if not isinstance(result.get("list"), list):
            raise _NoList
        rows = [
            requests.unified(row, lists.id_name, lists.time_name, (scope.kind,))
            for row in map(plain, items(result["list"]))
        ]
        return rows, text_of(result.get("nextPageCursor"))

    async def page(cursor: str | None) -> tuple[list[Row], str | None]:
        params = {**unified, **({"cursor": cursor} if cursor else {})}
        rows = await requests.rows(what, lists.unified, scope.symbol, None, lists.limit, params)
        return rows, cursor_of(rows)

    # one symbol without its id: the implicit method would not know which
    if requests.has(*lists.implicit) and (scope.symbol is None or own is not None or "orderId" in narrowed):
        with contextlib.suppress(_NoList):
            await paging.by_cursor(implicit_page, keep)
            return True
    await paging.by_cursor(page, keep)
    return False


async def _executions(
    requests: Requests, what: str, scope: _Scope, narrowed: Mapping[str, Any], keep: Callable[[Part, Row], None]
) -> bool:
    """Executions and funding payments, of all types where the client can ask for them: True."""

    def sorted_in(row: Row) -> None:
        of_type = text_of(plain(row.get("info")).get("execType"))
        if of_type == "Funding":
            keep("funding", row)
        elif of_type not in _NO_FILLS:
            keep("trades", row)

    return await _all(requests, what, _EXECUTIONS, scope, narrowed, sorted_in)


_Keep = Callable[[Part, Row], None]
_Fetch = Callable[[Requests, str, int, int, _Keep], Awaitable[None]]


def _orders_of(scope: _Scope) -> _Fetch:
    async def fetch(requests: Requests, what: str, since: int, until: int, keep: _Keep) -> None:
        times = {"startTime": since, "endTime": until}
        await _all(requests, what, _ENDED, scope, times, lambda row: keep("orders", row))

    return fetch


def _executions_of(scope: _Scope) -> _Fetch:
    async def fetch(requests: Requests, what: str, since: int, until: int, keep: _Keep) -> None:
        times = {"startTime": since, "endTime": until}
        if await _executions(requests, what, scope, times, keep) or scope.kind == "spot":
            return
        requests.note(f"{what}: liquidation and auto-deleveraging", f"the client has no {_EXECUTIONS.implicit[0]}")
        params = {**times, "limit": _EXECUTIONS.limit, **({} if scope.symbol else _TYPES[scope.kind])}

        async def page(cursor: str | None) -> tuple[list[Row], str | None]:
            more = {"cursor": cursor} if cursor else {}
            rows = await requests.rows(
                f"{what}: funding", families.FETCH_FUNDING, scope.symbol, None, _EXECUTIONS.limit, {**params, **more}
            )
            return rows, cursor_of(rows)

        await paging.by_cursor(page, lambda row: keep("funding", row))

    return fetch


def _scopes(requests: Requests, symbols: tuple[str, ...]) -> list[_Scope]:
    """A few symbols one by one; otherwise the categories they are of, or all that there are."""
    if 0 < len(symbols) <= _FEW:
        return [_Scope(kind_of(symbol, requests.market(symbol)), symbol) for symbol in symbols]
    kinds = {kind_of(symbol, requests.market(symbol)) for symbol in symbols}
    every: tuple[Kind, ...] = ("linear", "inverse", "spot", "option")
    return [_Scope(kind, None) for kind in every if kind in kinds or (not kinds and kind != "option")]


def _settled_in(symbols: tuple[str, ...]) -> list[str]:
    named = {symbol.partition(":")[2].partition("-")[0] for symbol in symbols if ":" in symbol}
    return sorted(coin for coin in named if coin in ("USDT", "USDC")) or ["USDC", "USDT"]


class _NoList(Exception):
    """The implicit method is a mock's."""
