"""What happened in a range of time: every row once, however the exchange pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar
from unittest.mock import AsyncMock, patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_wrapper.asking import Asker, Heard, Pace, facts, paging
from audit_wrapper.asking.families import Listing, Source

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
DAY_MS = 86_400_000


class RateLimitExceeded(Exception):
    pass


class PermissionDenied(Exception):
    pass


def row(number: int, moment: int, symbol: str = BTC, **info: Any) -> dict[str, Any]:
    return {"id": str(number), "symbol": symbol, "timestamp": moment, "info": {"n": number, **info}}


def rows_at(moments: list[int], symbol: str = BTC, **info: Any) -> list[dict[str, Any]]:
    """Ids rise with time, as an exchange counts them, with holes in between."""
    return [row(7 * number + 3, moment, symbol, **info) for number, moment in enumerate(sorted(moments))]


# times of which many fall together
MOMENTS = st.lists(st.integers(0, 40) | st.integers(0, 1_000_000), max_size=60)


class Listed:
    """A list of an exchange: the oldest rows of a range first, or the newest."""

    def __init__(self, rows: list[dict[str, Any]], limit: int, newest: bool = False) -> None:
        self.rows, self.limit, self.newest, self.asked = rows, limit, newest, 0

    async def between(self, start: int, end: int) -> list[dict[str, Any]]:
        self.asked += 1
        found = [r for r in self.rows if start <= r["timestamp"] <= end]
        return found[-self.limit :] if self.newest else found[: self.limit]

    async def from_number(self, first: int) -> list[dict[str, Any]]:
        self.asked += 1
        return [r for r in self.rows if int(r["id"]) >= first][: self.limit]


@given(MOMENTS, st.integers(1, 7), st.booleans(), st.integers(0, 30), st.integers(31, 1_000_000))
async def test_by_time_every_row_once(moments: list[int], limit: int, newest: bool, since: int, until: int) -> None:
    listed = Listed(rows_at(moments), limit, newest)
    kept: list[Any] = []
    missing: list[int] = []
    await paging.by_time(
        listed.between, since, until, limit, kept.append, from_number=listed.from_number, missing=missing.append
    )
    expected = [r["id"] for r in listed.rows if since <= r["timestamp"] <= until]
    assert sorted(int(r["id"]) for r in kept) == [int(own) for own in expected]
    assert missing == []
    crowds = sum(count >= limit for count in Counter(moments).values())
    assert listed.asked <= 3 + 2 * len(expected) / limit + 25 * crowds


@given(MOMENTS, st.integers(1, 7), st.booleans())
async def test_by_time_without_ids_what_may_be_missing_is_said(moments: list[int], limit: int, newest: bool) -> None:
    listed = Listed(rows_at(moments), limit, newest)
    kept: list[Any] = []
    missing: list[int] = []
    await paging.by_time(listed.between, 0, 1_000_000, limit, kept.append, missing=missing.append)
    got = {r["id"] for r in kept}
    assert len(got) == len(kept)
    assert {r["timestamp"] for r in listed.rows if r["id"] not in got} <= set(missing)
    assert all(Counter(moments)[moment] >= limit for moment in missing)


@given(MOMENTS, st.integers(1, 7), st.booleans())
async def test_by_time_with_pages_of_unknown_size(moments: list[int], limit: int, newest: bool) -> None:
    apart = sorted({moment * 3 for moment in moments})
    listed = Listed(rows_at(apart), max(limit, 2), newest)
    kept: list[Any] = []
    await paging.by_time(listed.between, 0, 3_000_000, None, kept.append, missing=lambda _: None)
    assert sorted(r["timestamp"] for r in kept) == apart


@given(MOMENTS, st.integers(1, 7))
async def test_by_cursor_every_row_once(moments: list[int], limit: int) -> None:
    rows = rows_at(moments)[::-1]

    async def page(cursor: str | None) -> tuple[list[Any], str | None]:
        start = max(int(cursor or 0) - 1, 0)  # a page repeats the last row of the one before
        return rows[start : start + limit + 1], str(start + limit + 1) if start + limit + 1 < len(rows) else None

    kept: list[Any] = []
    await paging.by_cursor(page, kept.append)
    assert kept == rows


async def test_a_cursor_that_comes_again_is_the_end() -> None:
    async def page(cursor: str | None) -> tuple[list[Any], str | None]:
        return rows_at([1, 2]), "same"

    kept: list[Any] = []
    await paging.by_cursor(page, kept.append)
    assert len(kept) == 2


# -- Binance


class Binance:
    """The unified methods of a client of USD-M futures."""

    def __init__(self, newest: bool = False, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.newest = newest
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []

    def _answer(self, name: str, symbol: Any, limit: int, params: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append((name, symbol, params))
        start, end = params.get("startTime", 0), params.get("endTime", NOW_MS)
        assert end - start < 7 * DAY_MS or "fromId" in params
        assert not ("fromId" in params and "startTime" in params)
        rows = [r for r in self.lists.get(name, []) if symbol in (None, r["symbol"])]
        rows = [r for r in rows if start <= r["timestamp"] <= end]
        first = next((params[key] for key in ("fromId", "orderId", "algoId") if key in params), None)
        if first is not None:
            return [r for r in rows if int(r["id"]) >= first][:limit]
        return rows[-limit:] if self.newest else rows[:limit]

    async def fetch_orders(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
        return self._answer("algos" if params.get("trigger") else "orders", symbol, limit, params)

    async def fetch_my_trades(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
        return self._answer("trades", symbol, limit, params)

    async def fetch_funding_history(self, symbol: Any, since: Any, limit: int, params: dict[str, Any]) -> Any:
        assert symbol is None
        return self._answer("funding", symbol, limit, params)


@contextmanager
def pages_of(limit: int) -> Iterator[None]:
    linear = facts._BINANCE_LINEAR
    funding = linear.funding
    assert funding is not None
    small = linear._replace(
        orders=linear.orders._replace(limit=limit),
        trades=linear.trades._replace(limit=limit),
        funding=funding._replace(limit=limit),
    )
    with patch.dict(facts._BINANCE, {"linear": small}):
        yield


def asker(client: Any, exchange: str = "binance", per_minute: int = 1_000_000) -> Asker:
    return Asker(client, exchange, Pace(per_minute, lambda: False), patience_s=0, now=lambda: NOW)


async def read(
    client: Any, days: float, symbols: tuple[str, ...] = (BTC,), exchange: str = "binance", per_minute: int = 1_000_000
) -> list[Heard]:
    since = NOW - timedelta(days=days)
    return [heard async for heard in asker(client, exchange, per_minute).history(symbols, since, NOW)]


def ids(heard: list[Heard], part: str) -> list[tuple[str, str]]:
    return sorted((r["symbol"], r["id"]) for one in heard for r in getattr(one, part))


AGES = st.lists(st.integers(0, 30 * DAY_MS) | st.integers(0, 3), max_size=25)


@given(AGES, AGES, AGES, AGES, st.integers(1, 5), st.booleans())
async def test_binance_everything_once(
    orders: list[int], algos: list[int], trades: list[int], funding: list[int], limit: int, newest: bool
) -> None:
    def lists(ages: list[int], **info: Any) -> list[dict[str, Any]]:
        moments = [NOW_MS - age for age in ages]
        return rows_at(moments[::2], BTC, **info) + rows_at(moments[1::2], ETH, **info)

    client = Binance(
        newest,
        orders=lists(orders),
        algos=lists(algos, algoId=1),
        trades=lists(trades),
        # payments have no way in by id; that many in one millisecond do not happen
        funding=rows_at(sorted({NOW_MS - age * 7 for age in funding if age * 7 <= 30 * DAY_MS}), BTC)[:limit],
    )
    with pages_of(limit):
        heard = await read(client, 30, (BTC, ETH))
    for part, names in {"orders": ("orders", "algos"), "trades": ("trades",), "funding": ("funding",)}.items():
        assert ids(heard, part) == sorted((r["symbol"], r["id"]) for name in names for r in client.lists[name])
    assert not any(one.again for one in heard)
    rows = sum(map(len, client.lists.values()))
    assert len(client.asked) <= 5 * 7 * 3 + 60 * rows


async def test_what_each_heard_covers_leaves_no_hole() -> None:
    heard = await read(Binance(), 30, (BTC, ETH))
    for symbols, parts in (((BTC,), ("orders", "trades")), ((ETH,), ("orders", "trades")), (None, ("funding",))):
        ranges = [(one.since, one.until) for one in heard if one.symbols == symbols and one.parts == parts]
        assert ranges[0][0] == NOW - timedelta(days=30)
        assert ranges[-1][1] == NOW
        assert all(before[1] == after[0] for before, after in pairwise(ranges))


async def test_requests_of_a_quiet_month_are_few() -> None:
    client = Binance()
    await read(client, 28)
    assert len(client.asked) == 5 * 4  # windows of a little under a week: orders, conditional, executions, funding


async def test_windows_overlap_and_a_row_that_changed_comes_again() -> None:
    starts = []

    class Changing(Binance):
        async def fetch_orders(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
            if params.get("trigger"):
                return []
            starts.append((params["startTime"], params["endTime"]))
            end = starts[0][1]
            return [row(1, end - 1000, state=len(starts)), row(2, end - 1000, state="same")]

    heard = await read(Changing(), 10)
    assert starts[1][0] == starts[0][1] - 5000
    assert [r["info"]["state"] for one in heard for r in one.orders] == [1, "same", 2]


async def test_a_row_that_only_got_another_cursor_did_not_change() -> None:
    class Cursors(Binance):
        async def fetch_my_trades(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
            return [row(1, params["startTime"] + 1000, nextPageCursor=str(params["startTime"]))]

    assert len(ids(await read(Cursors(), 10), "trades")) == 1


async def test_what_the_exchange_has_forgotten_is_said_and_not_asked() -> None:
    client = Binance()
    heard = await read(client, 300)
    horizon = NOW_MS - 180 * DAY_MS
    assert all(params["startTime"] >= horizon for _, _, params in client.asked)
    orders = [params for name, _, params in client.asked if name == "orders"]
    assert min(params["startTime"] for params in orders) == NOW_MS - 90 * DAY_MS
    said = "\n".join(sentence for one in heard for sentence in one.unasked)
    assert "keeps them for 90 days" in said
    assert "keeps them for 180 days" in said
    assert "ended without a fill: the exchange forgets them after 3 days" in said
    assert not any(one.again for one in heard)
    assert heard[-1].is_complete  # the last one is of funding


async def test_a_rate_limit_ends_it_and_the_rest_is_named() -> None:
    class Limited(Binance):
        async def fetch_my_trades(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
            if len(self.asked) > 6:
                raise RateLimitExceeded("too many")
            return await super().fetch_my_trades(symbol, since, limit, params)

    client = Limited()
    heard = await read(client, 30, (BTC, ETH))
    assert len(client.asked) < 15
    assert heard[-1].again
    assert heard[-1].until == NOW
    assert "everything from" in heard[-1].unasked[0]
    assert "rate limit" in heard[-1].unasked[0]
    covered = [one for one in heard if one.is_complete or not one.again]
    assert covered
    assert all(one.until <= heard[-1].until for one in covered if one.until and heard[-1].until)


async def test_no_turn_ends_it_and_the_rest_is_named() -> None:
    client = Binance(orders=rows_at([NOW_MS - 20 * DAY_MS]))
    heard = await read(client, 30, per_minute=5)
    assert len(client.asked) == 5
    assert "5 requests a minute are allowed" in heard[-1].unasked[0]
    assert heard[-1].again


async def test_what_is_denied_is_not_asked_for_again_and_the_rest_is() -> None:
    class Denied(Binance):
        denied = 0

        async def fetch_my_trades(self, *_: Any) -> Any:
            self.denied += 1
            raise PermissionDenied("not for this key")

    client = Denied(orders=rows_at([NOW_MS - 5, NOW_MS - 20 * DAY_MS]))
    heard = await read(client, 30)
    assert client.denied == 1
    assert len(ids(heard, "orders")) == 2
    assert sum("the exchange denies it" in sentence for one in heard for sentence in one.unasked) == 5


async def test_a_client_that_ignores_trigger_is_found_out() -> None:
    class Old(Binance):
        async def fetch_orders(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
            return self._answer("orders", symbol, limit, params)

    heard = await read(Old(orders=rows_at([NOW_MS - 5])), 1)
    assert len(ids(heard, "orders")) == 1
    assert any("regular orders when told" in sentence for one in heard for sentence in one.unasked)


async def test_rows_heard_before_a_request_failed_are_kept() -> None:
    class Breaking(Binance):
        async def fetch_orders(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
            if len(self.asked) > 2:
                raise OSError("cut")
            return await super().fetch_orders(symbol, since, limit, params)

    with pages_of(2):
        heard = await read(Breaking(orders=rows_at([NOW_MS - n for n in range(1, 20)])), 1)
    assert 2 < len(ids(heard, "orders")) < 19
    assert any("OSError: cut" in sentence for one in heard for sentence in one.unasked)
    assert any(one.again for one in heard)


# -- Bybit


class Bybit:
    """The implicit lists, newest first, by cursor."""

    def __init__(self, orders: list[dict[str, Any]], executions: list[dict[str, Any]]) -> None:
        self.orders, self.executions = orders, executions
        self.asked: list[dict[str, Any]] = []
        self.markets = {BTC: {"id": "BTCUSDT", "symbol": BTC, "linear": True}}
        self.markets_by_id = {"BTCUSDT": [{"symbol": "BTC/USDT", "spot": True}, self.markets[BTC]]}

    async def private_get_v5_order_history(self, params: dict[str, Any]) -> Any:
        assert params["limit"] <= 50
        return self._page(self.orders, "createdTime", params)

    async def private_get_v5_execution_list(self, params: dict[str, Any]) -> Any:
        assert params["limit"] <= 100
        return self._page(self.executions, "execTime", params)

    def _page(self, rows: list[dict[str, Any]], time: str, params: dict[str, Any]) -> Any:
        self.asked.append(params)
        assert params["endTime"] - params["startTime"] < 7 * DAY_MS
        found = [r for r in rows if params["startTime"] <= int(r[time]) <= params["endTime"]]
        found = [r for r in found if r["category"] == params["category"]]
        found.sort(key=lambda r: int(r[time]), reverse=True)
        start, size = int(params.get("cursor") or 0), min(params["limit"], 3)
        return {"result": {"list": found[start : start + size], "nextPageCursor": str(start + size) if found else ""}}


@given(AGES, AGES)
async def test_bybit_everything_once_of_every_kind(orders: list[int], executions: list[int]) -> None:
    categories, types = ("linear", "spot", "inverse"), ("Trade", "Funding", "BustTrade", "AdlTrade", "Settle")
    client = Bybit(
        [
            {"orderId": f"o{n}", "symbol": "BTCUSDT", "createdTime": str(NOW_MS - age), "category": categories[n % 3]}
            for n, age in enumerate(orders)
        ],
        [
            {
                "execId": f"e{n}",
                "symbol": "BTCUSDT",
                "execTime": str(NOW_MS - age),
                "execType": types[n % 5],
                "category": categories[n % 3],
            }
            for n, age in enumerate(executions)
        ],
    )
    heard = await read(client, 30, (), "bybit")
    assert sorted(r["id"] for one in heard for r in one.orders) == sorted(r["orderId"] for r in client.orders)
    for part, wanted in (("trades", ("Trade", "BustTrade", "AdlTrade", "Settle")), ("funding", ("Funding",))):
        got = sorted(r["id"] for one in heard for r in getattr(one, part))
        assert got == sorted(r["execId"] for r in client.executions if r["execType"] in wanted)
    symbols = {r["symbol"] for one in heard for r in one.orders if r["info"]["category"] != "inverse"}
    assert symbols <= {BTC, "BTC/USDT"}
    assert {one.symbols for one in heard} == {None}
    assert len(client.asked) <= 5 * 3 * 2 + len(orders) + len(executions) + 60


async def test_bybit_a_few_symbols_are_asked_one_by_one_and_many_by_category() -> None:
    client = Bybit([], [])
    await read(client, 1, (BTC,), "bybit")
    assert [params.get("symbol") for params in client.asked] == ["BTCUSDT", "BTCUSDT"]
    client.asked.clear()
    heard = await read(client, 1, (BTC, ETH, "MNT/USDT:USDT", "BTC/USDT"), "bybit")
    assert [(p["category"], p.get("symbol")) for p in client.asked] == [("linear", None)] * 2 + [("spot", None)] * 2
    assert heard[0].symbols == (BTC, ETH, "MNT/USDT:USDT")


async def test_bybit_a_client_without_implicit_methods() -> None:
    client = AsyncMock(spec=["fetch_canceled_and_closed_orders", "fetch_my_trades", "fetch_funding_history"])
    client.fetch_canceled_and_closed_orders.return_value = rows_at([NOW_MS - 5])
    client.fetch_my_trades.return_value = rows_at([NOW_MS - 4, NOW_MS - 3], execType="Trade")
    client.fetch_funding_history.return_value = rows_at([NOW_MS - 2])
    heard = await read(client, 1, (BTC,), "bybit")
    assert [len(ids(heard, part)) for part in ("orders", "trades", "funding")] == [1, 2, 1]
    assert any("liquidation and auto-deleveraging" in sentence for one in heard for sentence in one.unasked)


# -- any other


async def test_another_exchange_by_what_its_client_has() -> None:
    class Other:
        has: ClassVar = {
            "fetchClosedOrders": True,
            "fetchOrders": False,
            "fetchMyTrades": True,
            "fetchCanceledOrders": False,
        }

        async def fetch_orders(self, *_: Any) -> Any:
            raise AssertionError

        async def fetch_canceled_orders(self, *_: Any) -> Any:
            raise AssertionError

        async def fetch_closed_orders(self, symbol: str, since: int, limit: Any, params: dict[str, Any]) -> Any:
            return [r for r in orders if since <= r["timestamp"]][:3]

        async def fetch_my_trades(self, symbol: str, since: int, limit: Any, params: dict[str, Any]) -> Any:
            return [r for r in trades if since <= r["timestamp"] <= params["until"]][-3:]

    orders = rows_at([NOW_MS - n * 9_000_000 for n in range(1, 25)])
    trades = rows_at([NOW_MS - n * 4_000_000 for n in range(1, 50)])
    heard = await read(Other(), 3, (BTC,), "kraken")
    assert len(ids(heard, "orders")) == 24
    assert len(ids(heard, "trades")) == 49
    said = "\n".join(sentence for one in heard for sentence in one.unasked)
    assert "cannot fetch_canceled_orders" in said
    assert "cannot fetch_funding_history" in said
    assert "is not known" in heard[0].unasked[0]


async def test_another_exchange_that_knows_no_ranges() -> None:
    client = AsyncMock(spec=["fetch_orders"])
    client.fetch_orders.return_value = rows_at([NOW_MS - 5])
    heard = await read(client, 2, (BTC,), "kraken")
    assert len(ids(heard, "orders")) == 1
    assert any("with other times only" in sentence for sentence in heard[1].unasked)


def test_lists_asked_together_go_by_the_shortest_window() -> None:
    async def fetch(*_: Any) -> None: ...

    reaches = [facts.Reach(timedelta(days=days), None, None) for days in (7, 1)]
    sources = tuple(Source("orders", "orders", reach, fetch) for reach in reaches)
    assert Listing((BTC,), ("orders",), None, sources).window == timedelta(days=1)


@pytest.mark.parametrize("exchange", ["binance", "kraken"])
async def test_without_symbols_those_that_need_them_say_so(exchange: str) -> None:
    heard = await read(Binance(), 1, (), exchange)
    assert "none was named" in heard[0].unasked[0]


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_client_that_fails_at_everything(exchange: str) -> None:
    client = AsyncMock()
    client.markets = {}
    for name in ("fetch_orders", "fetch_my_trades", "fetch_funding_history", "fetch_canceled_and_closed_orders"):
        getattr(client, name).side_effect = OSError("away")
    client.private_get_v5_order_history.side_effect = OSError("away")
    client.private_get_v5_execution_list.side_effect = OSError("away")
    heard = await read(client, 30, (BTC,), exchange)
    assert all(one.orders == () for one in heard)
    assert "3 requests in a row failed" in heard[-1].unasked[0]
    calls = [call for call in client.mock_calls if call[0].startswith(("fetch_", "private_"))]
    assert len(calls) == 3


@pytest.mark.parametrize(("named", "again"), [("BadSymbol", False), ("OperationRejected", True)])
async def test_an_exchange_that_says_no_is_not_away(named: str, again: bool) -> None:
    problem = type(named, (type("ExchangeError", (Exception,), {}),), {})
    client = AsyncMock()
    client.markets = {}
    client.fetch_orders.side_effect = problem("binance does not have market symbol GONE/USDT:USDT")
    client.fetch_my_trades.side_effect = problem("neither")
    client.fetch_funding_history.return_value = rows_at([NOW_MS - 5])
    heard = await read(client, 2, ("GONE/USDT:USDT", "LOST/USDT:USDT"))
    assert len(ids(heard, "funding")) == 1
    assert [one.again for one in heard] == [again, again, False]
    assert heard[0].unasked[0].endswith(f"{named}: binance does not have market symbol GONE/USDT:USDT")
