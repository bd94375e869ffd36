"""Asking what is open, and which symbols were traded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from unittest.mock import AsyncMock

import pytest

from audit_wrapper.asking import Asker, Pace

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
FIVE = tuple(f"{coin}/USDT:USDT" for coin in ("BTC", "ETH", "MNT", "SOL", "XRP"))


def asker(client: Any, exchange: str) -> Asker:
    return Asker(client, exchange, Pace(10_000, lambda: False), patience_s=0, now=lambda: NOW)


class Binance:
    options: ClassVar[dict[str, Any]] = {"defaultType": "swap"}
    markets_by_id: ClassVar = {
        "BTCUSDT": [{"symbol": "BTC/USDT", "spot": True}, {"symbol": BTC, "linear": True}],
        "ETHUSDT": [{"symbol": ETH, "linear": True}],
        "SOLUSDT": [{"symbol": FIVE[3], "linear": True}],
    }
    income: ClassVar[list[dict[str, Any]]] = []

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def fetch_open_orders(self, symbol: str, since: Any, limit: Any, params: dict[str, Any]) -> Any:
        assert symbol is not None
        self.asked.append((symbol, params))
        number = len(self.asked)
        algo = {"algoId": number} if params.get("trigger") else {}
        return [{"id": str(number), "symbol": symbol, "info": algo}]

    async def fapiprivate_get_openorders(self, params: dict[str, Any]) -> Any:
        self.asked.append("open")
        return [{"orderId": 7, "symbol": "BTCUSDT", "time": 5}]

    async def fapiprivate_get_openalgoorders(self, params: dict[str, Any]) -> Any:
        self.asked.append("algo")
        return [{"algoId": 7, "symbol": "ETHUSDT", "createTime": 5}]

    async def fapiprivate_get_income(self, params: dict[str, Any]) -> Any:
        self.asked.append(params)
        return [r for r in self.income if params["startTime"] <= r["time"] <= params["endTime"]]

    async def fetch_positions(self) -> Any:
        return [{"symbol": "DOGE/USDT:USDT"}]


async def test_binance_few_symbols_one_by_one_regular_and_conditional() -> None:
    client = Binance()
    heard = await asker(client, "binance").open_orders([BTC, ETH, "BTC/USDT"])
    trigger = {"trigger": True}
    assert client.asked == [(BTC, {}), (BTC, trigger), (ETH, {}), (ETH, trigger), ("BTC/USDT", {})]
    assert len(heard.orders) == 5
    assert heard.is_complete
    assert heard.symbols == (BTC, ETH, "BTC/USDT")


@pytest.mark.parametrize("symbols", [FIVE, ()])
async def test_binance_many_symbols_at_once(symbols: tuple[str, ...]) -> None:
    client = Binance()
    heard = await asker(client, "binance").open_orders(symbols)
    assert client.asked == ["open", "algo"]
    assert [(row["id"], row["symbol"]) for row in heard.orders] == [("7", BTC), ("7", ETH)]
    assert heard.is_complete


@pytest.mark.parametrize("options", [{"portfolioMargin": True}, {"fetchOpenOrders": {"papi": True}}])
async def test_binance_portfolio_margin_is_asked_by_the_unified_methods_alone(options: dict[str, Any]) -> None:
    client = Binance()
    client.options = {"defaultType": "swap", **options}  # type: ignore[misc]
    await asker(client, "binance").open_orders(FIVE)
    assert len(client.asked) == 10
    heard = await asker(client, "binance").open_orders()
    assert "cannot ask without a symbol" in heard.unasked[0]


async def test_binance_symbols_from_income_positions_and_open_orders() -> None:
    client = Binance()
    at = int((NOW - timedelta(days=20)).timestamp() * 1000)
    client.income = [  # type: ignore[misc]
        {"symbol": "SOLUSDT", "incomeType": "COMMISSION", "tranId": 1, "time": at},
        {"symbol": "", "incomeType": "TRANSFER", "tranId": 1, "time": at},
        {"symbol": "GONEUSDT", "incomeType": "COMMISSION", "tranId": 2, "time": at},
    ]
    found, missing = await asker(client, "binance").symbols(NOW - timedelta(days=200), NOW)
    assert found == {BTC, ETH, FIVE[3], "DOGE/USDT:USDT"}
    assert len(missing) == 3
    assert "fetch_orders" in missing[2]
    assert "keeps income for 89 days" in missing[0]
    assert "GONEUSDT" in missing[1]
    assert "ended without a fill" in missing[2]
    starts = [params["startTime"] for params in client.asked if isinstance(params, dict)]
    assert min(starts) == int((NOW - timedelta(days=89)).timestamp() * 1000)


async def test_binance_spot_names_no_symbols() -> None:
    client = Binance()
    client.options = {}  # type: ignore[misc]
    found, missing = await asker(client, "binance").symbols(NOW - timedelta(days=2), NOW)
    assert found == set()
    assert "spot" in missing[0]
    assert client.asked == []


class Bybit:
    markets: ClassVar = {BTC: {"id": "BTCUSDT", "symbol": BTC, "linear": True}}
    markets_by_id: ClassVar = {"BTCUSDT": [{"symbol": "BTC/USDT", "spot": True}, {"symbol": BTC, "linear": True}]}

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def private_get_v5_order_realtime(self, params: dict[str, Any]) -> Any:
        self.asked.append(params)
        rows = [
            {"orderId": f"o{number}", "symbol": "BTCUSDT", "stopOrderType": "StopLoss", "createdTime": "5"}
            for number in range(120)
        ]
        start = int(params.get("cursor") or 0)
        end = start + params["limit"]
        return {"result": {"list": rows[start:end], "nextPageCursor": str(end) if end < len(rows) else ""}}


async def test_bybit_all_pages_of_open_orders() -> None:
    client = Bybit()
    heard = await asker(client, "bybit").open_orders([BTC])
    assert len(heard.orders) == 120
    assert [params["symbol"] for params in client.asked] == ["BTCUSDT"] * 3
    assert {row["symbol"] for row in heard.orders} == {BTC}


async def test_bybit_without_symbols_each_category_and_settlement() -> None:
    client = Bybit()
    heard = await asker(client, "bybit").open_orders()
    scopes = {(params["category"], params.get("settleCoin")) for params in client.asked}
    assert scopes == {("linear", "USDT"), ("linear", "USDC"), ("inverse", None), ("spot", None)}
    assert len(heard.orders) == 3 * 120  # contracts of either settlement were shown twice
    assert await asker(client, "bybit").symbols(NOW - timedelta(days=2), NOW) == (set(), ())


async def test_bybit_by_the_unified_method_where_there_is_no_other() -> None:
    client = AsyncMock(spec=["fetch_open_orders"])
    client.fetch_open_orders.return_value = [{"id": "1", "symbol": BTC, "info": {"orderId": "1"}}]
    heard = await asker(client, "bybit").open_orders([BTC])
    assert len(heard.orders) == 1
    client.fetch_open_orders.assert_called_once_with(BTC, None, 50, {})


async def test_another_exchange() -> None:
    client = AsyncMock(spec=["fetch_open_orders", "fetch_positions"])
    client.fetch_open_orders.return_value = [{"id": "1", "symbol": BTC, "info": {}}]
    client.fetch_positions.side_effect = OSError("away")
    heard = await asker(client, "kraken").open_orders([BTC, ETH])
    assert client.fetch_open_orders.call_count == 2
    assert "conditional" in heard.unasked[0]
    found, missing = await asker(client, "kraken").symbols(NOW - timedelta(days=2), NOW)
    assert found == {BTC}
    assert any("OSError" in sentence for sentence in missing)
