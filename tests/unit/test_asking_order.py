"""Asking about one order, with clients that are not ccxt's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from audit_wrapper.asking import Asker, Pace, absence_counts

BTC = "BTC/USDT:USDT"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
DAY_MS = 86_400_000


class OrderNotFound(Exception):
    pass


class RateLimitExceeded(Exception):
    pass


class PermissionDenied(Exception):
    pass


def asker(client: Any, exchange: str, per_minute: int = 10_000) -> Asker:
    return Asker(client, exchange, Pace(per_minute, lambda: False), patience_s=0, now=lambda: NOW)


def order(number: int, filled: str = "1", status: str = "FILLED", at: int = NOW_MS, **more: Any) -> dict[str, Any]:
    info = {"orderId": number, "symbol": "BTCUSDT", "status": status, "executedQty": filled, "origQty": "1", **more}
    return {"id": str(number), "symbol": BTC, "timestamp": at, "info": {"side": "BUY", "type": "MARKET", **info}}


def trade(number: int, order_id: int = 7, quantity: str = "0.001", at: int = NOW_MS) -> dict[str, Any]:
    info = {"id": number, "orderId": order_id, "qty": quantity, "price": "1", "commission": "0", "time": at}
    return {"id": str(number), "order": str(order_id), "symbol": BTC, "timestamp": at, "info": info}


class Binance:
    """Executions by order, oldest first, a page at a time; the last week only unless asked by time."""

    def __init__(self, orders: list[Any], trades: list[Any]) -> None:
        self.orders = {row["id"]: row for row in orders}
        self.trades = trades
        self.asked: list[tuple[Any, ...]] = []

    def fetch_order(self, id: str, symbol: str, params: dict[str, Any]) -> Any:
        self.asked.append(("order", id, params))
        if id not in self.orders:
            raise OrderNotFound("binance Order does not exist.")
        return self.orders[id]

    def fetch_my_trades(self, symbol: str, since: Any, limit: int, params: dict[str, Any]) -> Any:
        self.asked.append(("trades", params))
        assert not ("fromId" in params and "startTime" in params)
        start = params.get("startTime", 0 if "fromId" in params else NOW_MS - 7 * DAY_MS)
        end = params.get("endTime", NOW_MS)
        assert "startTime" not in params or end - start < 7 * DAY_MS
        rows = [t for t in self.trades if t["order"] == params["orderId"] and start <= t["timestamp"] <= end]
        return [t for t in rows if int(t["id"]) >= params.get("fromId", 0)][:limit]


async def test_all_pages_of_the_executions_of_one_order() -> None:
    trades = [trade(number) for number in range(1, 2501)]
    client = Binance([order(7, "2.5")], [*trades, trade(5000, order_id=8)])
    heard = await asker(client, "binance").order(BTC, "7")
    assert [row["id"] for row in heard.orders] == ["7"]
    assert list(heard.trades) == trades
    assert heard.is_complete
    assert len(client.asked) == 4


async def test_executions_of_an_order_older_than_a_week() -> None:
    placed = NOW_MS - 40 * DAY_MS
    trades = [trade(1, at=placed + 5), trade(2, at=placed + 20 * DAY_MS), trade(3, at=placed + 29 * DAY_MS)]
    client = Binance([order(7, "0.003", at=placed, updateTime=placed + 29 * DAY_MS)], trades)
    heard = await asker(client, "binance").order(BTC, "7")
    assert list(heard.trades) == trades
    assert len(client.asked) == 1 + 5


async def test_nothing_filled_needs_no_second_request() -> None:
    client = Binance([order(7, "0", "CANCELED")], [])
    heard = await asker(client, "binance").order(BTC, "7")
    assert len(heard.orders) == 1
    assert len(client.asked) == 1


async def test_a_fired_conditional_order_the_order_it_became_and_its_executions() -> None:
    fired = order(3, algoId=3, algoStatus="FINISHED", actualOrderId="7")
    child = order(7, "0.002", "EXPIRED")
    client = Binance([fired, child], [trade(1), trade(2), trade(3, order_id=3)])
    heard = await asker(client, "binance").order(BTC, "3", id_kind="algo")
    assert heard.orders == (fired, child)
    assert [row["id"] for row in heard.trades] == ["1", "2"]
    assert client.asked[0] == ("order", "3", {"trigger": True})
    assert client.asked[1] == ("order", "7", {})


async def test_a_conditional_order_whose_child_cannot_be_found() -> None:
    fired = order(3, algoId=3, algoStatus="TRIGGERED", actualOrderId="7")
    heard = await asker(Binance([fired], []), "binance").order(BTC, "3", id_kind="algo")
    assert heard.orders == (fired,)
    assert "order 7 of BTC/USDT:USDT, which conditional order 3 of BTC/USDT:USDT became" in heard.unasked[0]


async def test_by_client_id() -> None:
    client = Binance([order(7, "0", "NEW") | {"id": "mine"}], [])
    heard = await asker(client, "binance").order(BTC, client_order_id="mine")
    assert len(heard.orders) == 1
    await asker(client, "binanceusdm").order(BTC, client_order_id="mine", id_kind="algo")
    assert [params for _, _, params in client.asked] == [
        {"origClientOrderId": "mine"},
        {"trigger": True, "clientAlgoId": "mine"},
    ]


async def test_an_order_that_is_not_there_leaves_no_sentence() -> None:
    heard = await asker(Binance([], []), "binance").order(BTC, "7")
    assert heard.orders == ()
    assert heard.unasked == ()


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_rate_limit_is_a_sentence_and_quiet(exchange: str) -> None:
    client = MagicMock(spec=["fetch_order", "fetch_open_orders", "fetch_canceled_and_closed_orders"])
    for name in client._mock_methods:
        getattr(client, name).side_effect = RateLimitExceeded("429 https://x.com/a?signature=abc")
    pace = Pace(100, lambda: False)
    heard = await Asker(client, exchange, pace, patience_s=0).order(BTC, "7")
    assert heard.orders == ()
    assert len(heard.unasked) == 1
    assert "rate limit" in heard.unasked[0]
    assert "signature" not in heard.unasked[0]
    assert pace.is_quiet
    assert sum(getattr(client, name).call_count for name in client._mock_methods) == 1
    again = await Asker(client, exchange, pace, patience_s=0).order(BTC, "7")
    assert "rate limit lately" in again.unasked[0]
    assert sum(getattr(client, name).call_count for name in client._mock_methods) == 1


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
@pytest.mark.parametrize("problem", [PermissionDenied("no"), KeyError("x"), OSError("cut"), TypeError("odd")])
async def test_what_the_client_raises_becomes_a_sentence(exchange: str, problem: Exception) -> None:
    client = AsyncMock()
    client.markets = {}
    for name in ("fetch_order", "fetch_open_orders", "fetch_canceled_and_closed_orders"):
        getattr(client, name).side_effect = problem
    heard = await asker(client, exchange).order(BTC, "7")
    assert heard.orders == ()
    assert type(problem).__name__ in heard.unasked[0]


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_cancelled_task_is_cancelled(exchange: str) -> None:
    client = AsyncMock()
    client.markets = {}
    for name in ("fetch_order", "fetch_open_orders"):
        getattr(client, name).side_effect = asyncio.CancelledError
    with pytest.raises(asyncio.CancelledError):
        await asker(client, exchange).order(BTC, "7")


@pytest.mark.parametrize("mock", [MagicMock, AsyncMock])
@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_mock_with_the_two_unified_methods_is_enough(exchange: str, mock: Any) -> None:
    client = mock()
    client.markets = {}
    client.fetch_order = mock(return_value=order(7) if exchange != "bybit" else bybit_order("7"))
    client.fetch_my_trades = mock(return_value=[trade(1)] if exchange != "bybit" else [bybit_trade("e1", "7")])
    heard = await asker(client, exchange).order(BTC, "7")
    assert len(heard.orders) == 1
    assert len(heard.trades) == 1
    assert heard.unasked == ()


@pytest.mark.parametrize("mock", [MagicMock, AsyncMock])
@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_mock_that_knows_nothing_is_a_sentence(exchange: str, mock: Any) -> None:
    heard = await asker(mock(), exchange).order(BTC, "7")
    assert heard.orders == ()
    assert heard.unasked


@pytest.mark.parametrize("exchange", ["binance", "bybit", "kraken"])
async def test_a_client_without_methods_is_a_sentence(exchange: str) -> None:
    heard = await asker(object(), exchange).order(BTC, "7")
    assert heard.orders == ()
    assert "the client has no" in heard.unasked[0]


async def test_every_request_takes_a_turn() -> None:
    client = Binance([order(7, "2.5")], [trade(number) for number in range(1, 2501)])
    heard = await asker(client, "binance", per_minute=2).order(BTC, "7")
    assert len(client.asked) == 2
    assert len(heard.trades) == 1000
    assert "2 requests a minute are allowed" in heard.unasked[0]


async def test_markets_are_loaded_within_the_budget() -> None:
    client = AsyncMock()
    client.markets = None
    client.fetch_order.return_value = order(7, "0", "NEW")
    pace = Pace(20, lambda: False)
    await Asker(client, "binance", pace, patience_s=0).order(BTC, "7")
    client.load_markets.assert_awaited_once()
    assert len(pace._taken) == 7


async def test_the_client_is_used_while_looking_away() -> None:
    seen = []

    class Away:
        def __enter__(self) -> None:
            seen.append("away")

        def __exit__(self, *problem: object) -> None:
            seen.append("back")

    client = AsyncMock()
    client.markets = {}
    client.fetch_order.side_effect = lambda *_: seen.append("asked")
    await Asker(client, "binance", Pace(9, lambda: False), look_away=Away).order(BTC, "7")
    assert seen == ["away", "asked", "back"]


# -- Bybit


def bybit_order(own: str, filled: str = "1", link: str = "") -> dict[str, Any]:
    info = {"orderId": own, "orderLinkId": link, "orderStatus": "Filled", "cumExecQty": filled, "qty": "1"}
    return {"id": own, "clientOrderId": link, "symbol": BTC, "timestamp": NOW_MS, "info": info}


def bybit_trade(own: str, order_id: str, kind: str = "Trade", at: int = NOW_MS) -> dict[str, Any]:
    return {"info": bybit_execution(own, order_id, kind, at), "id": own, "order": order_id, "symbol": BTC}


def bybit_execution(own: str, order_id: str, kind: str = "Trade", at: int = NOW_MS) -> dict[str, Any]:
    numbers = {"execQty": "0.001", "execPrice": "1", "execFee": "0", "execTime": str(at)}
    return {"execId": own, "orderId": order_id, "symbol": "BTCUSDT", "execType": kind, **numbers}


class Bybit:
    def __init__(self, realtime: list[Any], history: list[Any], executions: list[Any]) -> None:
        self.realtime, self.history, self.executions = realtime, history, executions
        self.asked: list[str] = []
        self.markets = {BTC: {"id": "BTCUSDT", "symbol": BTC, "linear": True, "swap": True}}
        self.markets_by_id = {
            "BTCUSDT": [{"symbol": "BTC/USDT", "spot": True}, {"symbol": BTC, "linear": True, "swap": True}]
        }

    async def fetch_open_orders(self, symbol: str, since: Any, limit: Any, params: dict[str, Any]) -> Any:
        self.asked.append("realtime")
        return self._found(self.realtime, params)

    async def fetch_canceled_and_closed_orders(self, symbol: str, since: Any, limit: Any, params: Any) -> Any:
        self.asked.append("history")
        return self._found(self.history, params)

    def _found(self, rows: list[Any], params: dict[str, Any]) -> list[Any]:
        names = [("id", params.get("orderId")), ("clientOrderId", params.get("orderLinkId"))]
        return [row for row in rows if any(value and row[name] == value for name, value in names)]

    async def private_get_v5_execution_list(self, params: dict[str, Any]) -> Any:
        self.asked.append("executions")
        assert params["category"] == "linear"
        assert params["symbol"] == "BTCUSDT"
        assert "execType" not in params
        start = int(params.get("cursor") or 0)
        rows = [row for row in self.executions if row["orderId"] == params["orderId"]]
        end = start + params["limit"]
        return {"result": {"list": rows[start:end], "nextPageCursor": str(end) if end < len(rows) else ""}}


async def test_bybit_all_pages_of_executions_with_the_unified_symbol() -> None:
    executions = [bybit_execution(f"e{number}", "7") for number in range(250)]
    client = Bybit([bybit_order("7", "0.25")], [], [*executions, bybit_execution("f", "7", "Funding")])
    heard = await asker(client, "bybit").order(BTC, "7")
    assert [row["info"] for row in heard.trades] == executions
    assert {row["symbol"] for row in heard.trades} == {BTC}
    assert client.asked == ["realtime", "executions", "executions", "executions"]


async def test_bybit_an_order_that_only_the_history_has() -> None:
    client = Bybit([], [bybit_order("7", "0.001", link="mine")], [bybit_execution("e1", "7")])
    for named in ({"order_id": "7"}, {"client_order_id": "mine"}):
        heard = await asker(client, "bybit").order(BTC, **named)
        assert [row["id"] for row in heard.orders] == ["7"]
        assert len(heard.trades) == 1
        assert heard.is_complete
    assert client.asked == ["realtime", "history", "executions"] * 2


async def test_bybit_not_there_means_both_were_asked() -> None:
    client = Bybit([], [], [])
    heard = await asker(client, "bybit").order(BTC, "7")
    assert heard.orders == ()
    assert heard.unasked == ()
    assert client.asked == ["realtime", "history"]
    del Bybit.fetch_canceled_and_closed_orders
    try:
        heard = await asker(client, "bybit").order(BTC, "7")
    finally:
        Bybit.fetch_canceled_and_closed_orders = fetch_ended  # type: ignore[method-assign]
    assert heard.orders == ()
    assert "fetch_canceled_and_closed_orders" in heard.unasked[0]


fetch_ended = Bybit.fetch_canceled_and_closed_orders


# -- when silence proves something


@pytest.mark.parametrize(
    ("exchange", "symbol", "days", "hours", "minutes", "counts"),
    [
        ("binance", BTC, 0, 0, 1, False),
        ("binance", BTC, 0, 0, 2, True),
        ("binance", BTC, 2, 22, 0, True),
        ("binance", BTC, 3, 0, 0, False),  # forgotten, had it been canceled
        ("binance", "BTC/USDT", 30, 0, 0, True),
        ("binance", "BTC/USDT", 90, 0, 0, False),
        ("bybit", BTC, 0, 22, 0, True),
        ("bybit", BTC, 1, 0, 0, False),
        ("kraken", "BTC/USD", 0, 5, 0, False),
        ("binance", BTC, 0, -1, 0, False),  # asked before it was sent
    ],
)
def test_absence(exchange: str, symbol: str, days: int, hours: int, minutes: int, counts: bool) -> None:
    asked_at = NOW + timedelta(days=days, hours=hours, minutes=minutes)
    assert absence_counts(exchange, symbol, NOW, asked_at) is counts
