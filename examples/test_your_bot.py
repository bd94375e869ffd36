"""Unit tests of a bot whose exchange is a mock, with an audit trail in memory: no files, no database, no network.

    pytest examples/test_your_bot.py

`memory_trail()` wraps as the real trail does; `t.orders`, `t.trades` and `t.records` show at once what the tables would
hold. The mock stays a mock: return values, side effects and assertions work as before. Needs pytest-mock, and
pytest-asyncio with `asyncio_mode = "auto"`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import pytest

from audit_wrapper.testing import memory_trail


async def enter(exchanges: dict[str, Any], symbol: str, amount: str) -> bool:
    """The bot's code under test: buy and protect; without money do nothing."""
    manager = exchanges["binance"]
    try:
        entry = await manager.create_market_order(symbol, "buy", amount)
    except ccxt.InsufficientFunds:
        return False
    await manager.create_stop_loss_order(symbol, "sell", amount, entry["average"] * 0.98)
    return True


@pytest.fixture
def manager(mocker: Any) -> Any:
    """An exchange manager that is nothing but a mock, with the answers a test wants."""
    manager = mocker.AsyncMock()
    manager.name = "binance"
    order = {"id": "1001", "symbol": "BTC/USDT:USDT", "type": "market", "side": "buy", "status": "closed"}
    manager.create_market_order.return_value = {
        **order,
        "amount": 0.5,
        "filled": 0.5,
        "remaining": 0,
        "average": 60000.5,
    }
    manager.create_stop_loss_order.return_value = {
        **order,
        "id": "1002",
        "type": "stop_market",
        "status": "open",
        "filled": 0,
    }
    return manager


async def test_an_entry_and_its_stop_are_in_the_tables(manager: Any) -> None:
    with memory_trail() as t:
        assert await enter(t.wrap({"binance": manager}), "BTCUSDT", "0.5")

    entry, stop = t.orders
    assert (entry.order_id, entry.type, entry.status) == ("1001", "MARKET", "FILLED")
    assert (entry.filled, entry.average_price) == (Decimal("0.5"), Decimal("60000.5"))
    assert (stop.order_id, stop.type, stop.status, stop.side) == ("1002", "STOP_MARKET", "NEW", "sell")
    assert stop.trigger_price == Decimal("58800.49")
    assert [trade.order_id for trade in t.trades] == ["1001"]
    manager.create_market_order.assert_awaited_once_with("BTCUSDT", "buy", "0.5")


async def test_a_refusal_is_kept_with_the_exchanges_words(manager: Any) -> None:
    manager.create_market_order.side_effect = ccxt.InsufficientFunds("binance Account has insufficient balance")
    with memory_trail() as t:
        assert not await enter(t.wrap({"binance": manager}), "BTCUSDT", "0.5")

    (order,) = t.orders
    assert order.status == "REJECTED"
    assert "insufficient balance" in order.reason
    assert t.trades == []


async def test_a_lost_answer_is_unknown_and_no_guess(manager: Any) -> None:
    manager.create_market_order.side_effect = ccxt.RequestTimeout("binance POST /fapi/v1/order")
    with memory_trail() as t, pytest.raises(ccxt.RequestTimeout):
        await enter(t.wrap({"binance": manager}), "BTCUSDT", "0.5")

    (order,) = t.orders
    assert (order.status, order.filled) == ("UNKNOWN", None)
