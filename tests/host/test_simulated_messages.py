"""The user-data stream of the simulated exchange, read by ccxt's own pro client, against the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest
import pytest_asyncio
from simulated_exchange import Order, SimulatedExchange, async_client

MNT = "MNT/USDT:USDT"
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(sim: SimulatedExchange) -> AsyncIterator[Any]:
    opened = async_client(sim)
    await opened.load_markets()
    yield opened
    await opened.close()


def reader(client: Any) -> Any:
    """A pro client that knows the markets; it opens no connection."""
    pro = getattr(ccxt.pro, client.id)(
        {"options": {"defaultType": "swap"}, "markets": client.markets, "enableRateLimit": False}
    )
    pro.set_markets(client.markets)
    return pro


def raw(sim: SimulatedExchange, since: int = 0) -> list[dict[str, Any]]:
    return [row["message"] for row in sim.messages(since)]


def orders_of(sim: SimulatedExchange, pro: Any) -> list[dict[str, Any]]:
    """Every order message as ccxt parses it, in order."""
    if sim.kind == "binance":
        return [
            pro.parse_ws_order(item["o"]) for item in raw(sim) if item["e"] in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE")
        ]
    return [pro.parse_order(row) for item in raw(sim) if item["topic"] == "order" for row in item["data"]]


def fills_of(sim: SimulatedExchange, pro: Any) -> list[dict[str, Any]]:
    if sim.kind == "binance":
        orders = [item["o"] for item in raw(sim) if item["e"] == "ORDER_TRADE_UPDATE"]
        return [pro.parse_ws_trade(order) for order in orders if order["x"] in ("TRADE", "CALCULATED")]
    return [pro.parse_trade(row) for item in raw(sim) if item["topic"] == "execution" for row in item["data"]]


async def a_day(sim: SimulatedExchange, client: Any) -> None:
    """Something of everything."""
    sim.split_fills = 2
    await client.create_order(MNT, "market", "buy", 30)
    resting = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    await client.edit_order(resting["id"], MNT, "limit", "buy", 12, 1.15)
    sim.set_price(MNT, "1.15")
    canceled = await client.create_order(MNT, "limit", "buy", 10, 1.0)
    await client.cancel_order(canceled["id"], MNT)
    params: dict[str, Any] = {"reduceOnly": True}
    if sim.kind == "binance":
        params["stopPrice"] = 1.1
    else:
        params.update(triggerPrice=1.1, triggerDirection="descending")
    await client.create_order(MNT, "market", "sell", 10, None, params)
    sim.set_price(MNT, "1.09")
    sim.partial_fill("0.5", "expire")
    await client.create_order(MNT, "market", "buy", 10)
    sim.trade_by_hand(MNT, "buy", 10)
    sim.deleverage(MNT, 5)
    sim.liquidate(MNT)


async def test_the_last_message_of_each_order_is_how_it_stands(sim: SimulatedExchange, client: Any) -> None:
    await a_day(sim, client)
    pro = reader(client)
    last = {(order["id"], order["info"].get("aid")): order for order in orders_of(sim, pro)}
    assert len(last) == len(sim.ledger.orders) == (9 if sim.kind == "binance" else 8)
    words = {"FILLED": "closed", "CANCELED": "canceled", "EXPIRED": "expired"}
    for truth in sim.ledger.orders:
        is_algo = truth.kind == "algo"
        order = last[truth.exchange_order_id, int(truth.exchange_order_id or 0) if is_algo else None]
        assert order["status"] == words[truth.status], truth
        assert order["symbol"] == MNT
        assert (order["side"], order["amount"]) == (truth.side, float(truth.quantity))
        if not is_algo:
            assert order["filled"] == float(truth.filled_quantity)
        assert (order["clientOrderId"] or "") == truth.client_order_id


async def test_each_fill_is_pushed_once_with_all_that_is_known_of_it(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "binance":
        sim.fee_currency = "mixed"
    await a_day(sim, client)
    pushed = fills_of(sim, reader(client))
    assert [fill["id"] for fill in pushed] == [fill.exchange_trade_id for fill in sim.ledger.fills]
    for fill, truth in zip(pushed, sim.ledger.fills, strict=True):
        info = fill["info"]
        assert str(info["i" if sim.kind == "binance" else "orderId"]) == truth.exchange_order_id
        # ccxt 4.5.90 takes a fill that is CALCULATED for a public trade: no order, and the side turned round
        if info.get("x") != "CALCULATED":
            assert fill["order"] == truth.exchange_order_id
            assert (fill["side"], fill["takerOrMaker"], fill["timestamp"]) == (truth.side, truth.liquidity, truth.time)
        names = ("L", "l", "n", "N") if sim.kind == "binance" else ("execPrice", "execQty", "execFee", "feeCurrency")
        price, quantity, fee, currency = (info[name] for name in names)
        assert (Decimal(price), Decimal(quantity)) == (truth.price, truth.quantity)
        assert (Decimal(fee), currency) == (truth.fee_amount, truth.fee_currency)


async def test_the_messages_of_one_order_in_their_order(sim: SimulatedExchange, client: Any) -> None:
    sim.split_fills = 2
    await client.create_order(MNT, "market", "buy", 10)
    if sim.kind == "binance":
        steps = [(item["o"]["x"], item["o"]["X"], item["o"]["z"]) for item in raw(sim)]
        assert steps == [("NEW", "NEW", "0"), ("TRADE", "PARTIALLY_FILLED", "5"), ("TRADE", "FILLED", "10")]
    else:
        steps = [(item["topic"], item["data"][0].get("orderStatus"), item["data"][0]["leavesQty"]) for item in raw(sim)]
        assert steps == [
            ("order", "New", "10"),
            ("execution", None, "5"),
            ("order", "PartiallyFilled", "5"),
            ("execution", None, "0"),
            ("order", "Filled", "0"),
        ]
    numbered = sim.messages(since=1)
    assert [row["number"] for row in numbered] == list(range(2, len(steps) + 1))


async def test_a_stop_from_armed_to_done(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    before = len(sim.messages())
    stop = sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.1", reduce_only=True)
    sim.set_price(MNT, "1.1")
    messages = raw(sim, before)
    if sim.kind == "binance":
        steps = [(item["e"], item["o"]["X"], item["o"].get("ai")) for item in messages]
        child = stop.actual_order_id
        assert steps == [
            ("ALGO_UPDATE", "NEW", ""),
            ("ALGO_UPDATE", "TRIGGERING", ""),
            ("ORDER_TRADE_UPDATE", "NEW", None),
            ("ALGO_UPDATE", "TRIGGERED", child),
            ("ORDER_TRADE_UPDATE", "FILLED", None),
            ("ALGO_UPDATE", "FINISHED", child),
        ]
        done = messages[-1]["o"]
        assert (done["aq"], done["ap"], done["act"]) == ("10", "1.09990000", "MARKET")
    else:
        rows = [item["data"][0] for item in messages if item["topic"] == "order"]
        assert [row["orderStatus"] for row in rows] == ["Untriggered", "Triggered", "Filled"]
        assert {row["orderId"] for row in rows} == {stop.exchange_order_id}


async def test_a_stop_that_cannot_fire_says_why(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "bybit":
        pytest.skip("a reduce-only order there ends with its position")
    sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.1", reduce_only=True)
    sim.set_price(MNT, "1.1")
    last = raw(sim)[-1]["o"]
    assert (last["X"], last["rm"]) == ("REJECTED", "Reduce Only reject")


async def test_what_the_exchange_closes_is_named(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    before = len(sim.messages())
    forced: list[Order] = [sim.deleverage(MNT, 4), sim.liquidate(MNT)]
    messages = raw(sim, before)
    if sim.kind == "binance":
        named = [(item["o"]["c"], item["o"]["x"], item["o"]["o"]) for item in messages]
        adl, liquidated = (order.client_order_id for order in forced)
        assert named == [
            (adl, "NEW", "LIMIT"),
            (adl, "CALCULATED", "LIMIT"),
            (liquidated, "NEW", "LIQUIDATION"),
            (liquidated, "CALCULATED", "LIQUIDATION"),
        ]
    else:
        rows = [item["data"][0] for item in messages]
        assert [row["execType"] for row in rows if "execType" in row] == ["AdlTrade", "BustTrade"]
        assert {row["createType"] for row in rows} == {"CreateByAdl_PassThrough", "CreateByTakeOver_PassThrough"}


async def test_funding_is_pushed(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    paid = sim.fund(MNT, "0.0001")
    message = raw(sim)[-1]
    if sim.kind == "binance":
        assert (message["e"], message["a"]["m"]) == ("ACCOUNT_UPDATE", "FUNDING_FEE")
        (change,) = message["a"]["B"]
        assert (change["a"], Decimal(change["bc"])) == ("USDT", paid.amount)
    else:
        (row,) = message["data"]
        assert (message["topic"], row["execType"]) == ("execution", "Funding")
        assert Decimal(row["execFee"]) == -paid.amount


async def test_messages_are_not_late_and_carry_no_fee_that_is_not_known(sim: SimulatedExchange, client: Any) -> None:
    sim.index_delay_ms, sim.fee_delay = -1, True
    await client.create_order(MNT, "market", "buy", 10)
    assert await client.fetch_my_trades(MNT) == []
    (fill,) = fills_of(sim, reader(client))
    name = "n" if sim.kind == "binance" else "execFee"
    assert (fill["amount"], name in fill["info"]) == (10.0, False)
