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

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from audit_wrapper.asking import families, paging
from audit_wrapper.asking.facts import Kind, Reach, facts_for, kind_of
from audit_wrapper.asking.families import Listing, Source, Wanted
from audit_wrapper.asking.heard import Part, Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import executed_as, key_of, moment_of, number_of
from audit_wrapper.exchanges.numbers import plain, text_of, total

_WEEK_MS = 7 * 86_400_000
_FEW = (
    3  # symbols to ask for one by one; without a symbol a request counts 40-fold, and so do 20 symbols, two lists each
)
_OPEN_AT_ONCE: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "spot": ((("private_get_openorders", "privateGetOpenOrders"), "orderId"),),
    "linear": (
        (("fapiprivate_get_openorders", "fapiPrivateGetOpenOrders"), "orderId"),
        (("fapiprivate_get_openalgoorders", "fapiPrivateGetOpenAlgoOrders"), "algoId"),
    ),
    "inverse": (
        (("dapiprivate_get_openorders", "dapiPrivateGetOpenOrders"), "orderId"),
        (("dapiprivate_get_openalgoorders", "dapiPrivateGetOpenAlgoOrders"), "algoId"),
    ),
}
_INCOME: dict[str, tuple[str, ...]] = {
    "linear": ("fapiprivate_get_income", "fapiPrivateGetIncome"),
    "inverse": ("dapiprivate_get_income", "dapiPrivateGetIncome"),
}
_ORDERS_KEPT = timedelta(days=90)
_LAST_ORDER_PAGES = 100  # of executions of one order: 100,000 of them


class Binance:
    """The Binance family: spot, USD-M, COIN-M."""

    needs_symbols = True

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
        limit = requests.rows_of_a_page(1000) or 1000
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
                        limit,
                        {"orderId": order_id, **first},
                    )
                except (Unheard, NotThere):
                    return
                for trade in page:
                    if requests.adapter.fill(trade).exchange_order_id == order_id and key_of(trade) not in found:
                        found[key_of(trade)] = trade
                        requests.trades.append(trade)
                numbers = [number for number in map(number_of, page) if number is not None]
                if len(page) < limit or not numbers or _is_all(requests, filled):
                    break
                first = {"fromId": max(numbers) + 1}

    # -- what is open

    async def open_orders(self, requests: Requests, symbols: tuple[str, ...]) -> None:
        """All open orders, conditional ones too; of whole kinds of markets where that is fewer requests."""
        kinds = sorted({self._kind(requests, symbol) for symbol in symbols}) or [_own_kind(requests)]
        for kind in kinds:
            of_kind = [symbol for symbol in symbols if self._kind(requests, symbol) == kind]
            few = 0 < len(of_kind) <= _FEW
            if few or not await self._open_at_once(requests, kind):
                await self._open_of(requests, of_kind, kind)
                if not of_kind:
                    requests.note(f"open orders of {kind} markets", "the client cannot ask without a symbol")

    async def _open_of(self, requests: Requests, symbols: list[str], kind: Kind) -> None:
        for symbol in symbols:
            for what, params in _regular_and_conditional(kind):
                with contextlib.suppress(Unheard, NotThere):
                    requests.orders += await requests.rows(
                        f"open {what}orders of {symbol}", families.FETCH_OPEN_ORDERS, symbol, None, None, params
                    )

    async def _open_at_once(self, requests: Requests, kind: Kind) -> bool:
        """Without a symbol, by the implicit methods. False: the client has them not, or has no plain account."""
        lists = _OPEN_AT_ONCE.get(kind, ())
        if not lists or requests.is_portfolio_margin() or not all(requests.has(*names) for names, _ in lists):
            return False
        for names, id_name in lists:
            with contextlib.suppress(Unheard, NotThere):
                rows = await requests.rows(f"all open orders of {kind} markets ({id_name})", names, {})
                requests.orders += [requests.unified(row, id_name, "time", (kind,)) for row in rows]
        return True

    # -- what happened

    def listings(self, requests: Requests, symbols: tuple[str, ...]) -> Iterator[Listing]:
        """Orders and executions symbol by symbol, funding payments of all symbols at once."""
        if not symbols:
            requests.note("orders and executions", "Binance can be asked for them by symbol only, and none was named")
        for symbol in symbols:
            kind = self._kind(requests, symbol)
            facts = facts_for("binance", kind)
            sources = [
                Source(
                    f"{what}orders of {symbol}",
                    "orders",
                    facts.orders,
                    _by_time(
                        families.FETCH_ORDERS, symbol, params, "algoId" if params else "orderId", "orders", facts.orders
                    ),
                )
                for what, params in _regular_and_conditional(kind)
            ]
            trades = _by_time(families.FETCH_MY_TRADES, symbol, {}, "fromId", "trades", facts.trades)
            sources.append(Source(f"executions of {symbol}", "trades", facts.trades, trades))
            yield Listing((symbol,), ("orders", "trades"), facts.unfilled_for, tuple(sources))
        for kind in sorted({self._kind(requests, symbol) for symbol in symbols} or {_own_kind(requests)}):
            reach = facts_for("binance", kind).funding
            if reach is not None:
                fetch = _by_time(families.FETCH_FUNDING, None, {"subType": kind}, None, "funding", reach)
                source = Source(f"funding payments of {kind} markets", "funding", reach, fetch)
                yield Listing(None, ("funding",), None, (source,))

    # -- which symbols

    async def symbols(self, requests: Requests, since: datetime, until: datetime, now: datetime) -> set[str]:
        """From what was earned and paid, from positions and from open orders."""
        kind, found = _own_kind(requests), set[str]()
        if kind == "spot":
            requests.note("symbols of spot markets", "Binance names none that were traded; name them")
            return found
        if requests.is_portfolio_margin():
            requests.note(
                "symbols of a portfolio margin account", "how its income is asked for is not known here; name them"
            )
            return found
        reach = facts_for("binance", kind).funding or Reach(timedelta(days=7), 1000, None)
        start = since
        if reach.back is not None and since < now - reach.back:
            start = now - reach.back
            requests.note(
                f"symbols traded before {start:%Y-%m-%d %H:%M}", f"Binance keeps income for {reach.back.days} days"
            )
        fetch = _by_time(_INCOME[kind], None, {}, None, "funding", reach)
        what = f"symbols traded in {kind} markets"

        def keep(_: Part, row: Row) -> None:
            own = text_of(plain(row.get("info")).get("symbol"))  # a transfer has none
            if row.get("symbol"):
                found.add(str(row["symbol"]))
            elif own is not None:
                requests.note(f"what was traded in {own}", "the client does not know this market (any more)")

        while start < until and requests.ended is None:
            end = min(start + reach.window, until)
            with contextlib.suppress(Unheard, NotThere):
                await fetch(requests, f"{what} (income)", _ms(start), _ms(end), keep)
            start = end
        for row in await self._positions(requests, what):
            if row.get("symbol"):
                found.add(str(row["symbol"]))
        await self._open_at_once(requests, kind)
        found |= {str(order["symbol"]) for order in requests.orders if order.get("symbol")}
        await self._placed_in(requests, kind, max(since, now - _ORDERS_KEPT), until, keep)
        return found

    async def _placed_in(
        self, requests: Requests, kind: Kind, since: datetime, until: datetime, keep: Callable[[Part, Row], None]
    ) -> None:
        """Symbols of orders, filled or not: ccxt 4.5.90 can ask for USD-M orders without a symbol [?]."""
        what = "symbols of orders that ended without a fill"
        if kind != "linear":
            requests.note(what, "Binance names them nowhere")
            return
        reach = facts_for("binance", kind).orders
        fetch = _by_time(families.FETCH_ORDERS, None, {"type": "swap", "subType": "linear"}, None, "orders", reach)
        start = since
        while start < until:
            end = min(start + reach.window, until)
            try:
                await fetch(requests, what, _ms(start), _ms(end), keep)
            except (Unheard, NotThere):
                return
            start = end

    async def _positions(self, requests: Requests, what: str) -> list[Row]:
        with contextlib.suppress(Unheard, NotThere):
            return await requests.rows(f"{what} (positions)", families.FETCH_POSITIONS)
        return []

    def _kind(self, requests: Requests, symbol: str) -> Kind:
        return kind_of(symbol, requests.market(symbol))


def _own_kind(requests: Requests) -> Kind:
    """The kind of market that the client is for, where no symbol says it."""
    word = str(requests.option("defaultType") or "spot").lower()
    if requests.exchange_id == "binanceusdm" or word in ("future", "swap", "linear"):
        return "inverse" if requests.option("defaultSubType") == "inverse" else "linear"
    return "inverse" if requests.exchange_id == "binancecoinm" or word in ("delivery", "inverse") else "spot"


def _regular_and_conditional(kind: Kind) -> tuple[tuple[str, dict[str, Any]], ...]:
    regular: tuple[str, dict[str, Any]] = ("", {})
    return (regular, ("conditional ", {"trigger": True})) if kind in ("linear", "inverse") else (regular,)


def _by_time(
    names: tuple[str, ...], symbol: str | None, params: dict[str, Any], number: str | None, part: Part, reach: Reach
) -> Callable[[Requests, str, int, int, Callable[[Part, Row], None]], Awaitable[None]]:
    """How one list is read. Times go in as the exchange calls them: ccxt would drop rows by its own idea of their time."""

    async def fetch(requests: Requests, what: str, since: int, until: int, keep: Callable[[Part, Row], None]) -> None:
        limit = requests.rows_of_a_page(reach.limit)

        async def page(**narrowed: int) -> list[Row]:
            if names in _INCOME.values():
                rows = await requests.rows(what, names, {"limit": limit, **params, **narrowed})
                kinds = ("linear", "inverse")
                return [requests.unified(row, "tranId", "time", kinds) for row in rows]
            rows = await requests.rows(what, names, symbol, None, limit, {**params, **narrowed})
            if "trigger" in params and rows and requests.adapter.order_id_kind(rows[0]) != "algo":
                requests.note(what, "the client asks for regular orders when told to ask for these")
                return []
            return rows

        async def between(start: int, end: int) -> list[Row]:
            return await page(startTime=start, endTime=end)

        async def from_number(first: int) -> list[Row]:
            times = {} if number == "fromId" else {"startTime": since, "endTime": until}
            return await page(**{str(number): first}, **times)

        await paging.by_time(
            between,
            since,
            until,
            limit,
            lambda row: keep(part, row),
            from_number=from_number if number is not None else None,
            missing=lambda moment: requests.note(what, f"more than {limit} in the millisecond {moment}"),
        )

    return fetch


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


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
