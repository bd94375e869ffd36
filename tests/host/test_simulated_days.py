"""Seeded random days on the simulated exchange: its reads, its stream and its ledger tell the same.

What the audit trail is later compared with has to agree with itself first.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from simulated_exchange import Order, Refusal, SimulatedExchange, async_client

MNT = "MNT/USDT:USDT"
HOUR = 3_600_000
DAY = 24 * HOUR
SEEDS = range(6)
pytestmark = pytest.mark.asyncio


def trade_a_week(sim: SimulatedExchange, seed: int) -> None:
    """All that can happen without a bot, in a random order, over about a week."""
    chance = random.Random(seed)
    sim.fee_currency = "mixed"
    for _ in range(80):
        if chance.random() < 0.5:
            sim.advance(chance.randrange(8 * HOUR))
        sim.split_fills = chance.randint(1, 3)
        action = chance.choice(["trade", "trade", "rest", "stop", "guard", "cancel", "price", "price", "fund", "force"])
        try:
            act(sim, chance, action)
        except (Refusal, ValueError):
            continue  # no position, a price on the wrong side: the exchange says no


def act(sim: SimulatedExchange, chance: random.Random, action: str) -> None:
    side, quantity = chance.choice(["buy", "sell"]), chance.randint(10, 200)
    price = sim.price(MNT)
    away = Decimal(chance.randint(-100, 100)) / 1000
    if action == "trade":
        if chance.random() < 0.3:
            sim.partial_fill("0.5", chance.choice(["rest", "expire"]))
        sim.trade_by_hand(MNT, side, quantity, reduce_only=chance.random() < 0.3)
    elif action == "rest":
        sim.trade_by_hand(MNT, side, quantity, type="limit", price=price + away)
    elif action == "stop":
        sim.trade_by_hand(MNT, side, quantity, trigger_price=price + away, reduce_only=chance.random() < 0.5)
    elif action == "guard":
        sim.stop_by_hand(MNT, stop_loss=price + away)
    elif action == "cancel":
        waiting = [order for order in sim.ledger.open_orders() if not order.triggered_time]
        if waiting:
            order = chance.choice(waiting)
            sim.cancel_by_hand(str(order.exchange_order_id), MNT)
    elif action == "price":
        sim.set_price(MNT, max(Decimal("0.5"), price + away))
    elif action == "fund":
        sim.fund(MNT, Decimal(chance.randint(-10, 10)) / 10000)
    else:
        sim.liquidate(MNT, chance.choice(["0.3", "1"]))


def check_the_books(sim: SimulatedExchange) -> None:
    """Position, balances and order totals follow from the fills."""
    held, paid = Decimal(0), {"USDT": Decimal(100_000), "BNB": Decimal(10), "MNT": Decimal(0)}
    for fill in sim.ledger.fills:
        held += fill.quantity if fill.side == "buy" else -fill.quantity
        paid["USDT"] += fill.realized_pnl
        paid[fill.fee_currency] -= fill.fee_amount
    for funding in sim.ledger.fundings:
        paid[funding.currency] += funding.amount
    assert sim.ledger.position(sim.instrument(MNT)).quantity == held
    assert {coin: amount for coin, amount in paid.items() if amount} == {
        coin: amount for coin, amount in sim.ledger.balances.items() if amount
    }
    for order in sim.ledger.orders:
        fills = sim.ledger.fills_of(order) if order.kind != "algo" else []
        assert order.filled_quantity == sum(fill.quantity for fill in fills)
        assert order.filled_value == sum(fill.value for fill in fills)
        assert all(sim.ledger.order_of(fill) is order for fill in fills)


async def read_all(client: Any, sim: SimulatedExchange, begin: int) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Every order and execution of the past, raw, by id; read in windows of three days and pages of seven rows."""
    orders: dict[Any, Any] = {}
    fills: dict[str, Any] = {}
    start = begin
    while start <= sim.now():
        times = {"startTime": start, "endTime": start + 3 * DAY}
        if sim.kind == "binance":
            for row in await binance_pages(client.fapiPrivateGetAllOrders, "orderId", times):
                orders["order", str(row["orderId"])] = row
            for row in await binance_pages(client.fapiPrivateGetAllAlgoOrders, "algoId", times):
                orders["algo", str(row["algoId"])] = row
        else:
            for row in await bybit_pages(client.privateGetV5OrderHistory, times):
                orders["order", row["orderId"]] = row
            for row in await bybit_pages(client.privateGetV5ExecutionList, times):
                fills[row["execId"]] = row
        start += 3 * DAY
    if sim.kind == "binance":
        for row in await binance_pages(client.fapiPrivateGetUserTrades, "fromId", {}):
            fills[str(row["id"])] = row
    else:
        for row in await bybit_pages(client.privateGetV5OrderRealtime, {}):
            orders["order", row["orderId"]] = row
    return orders, fills


async def binance_pages(read: Any, key: str, params: dict[str, Any]) -> list[Any]:
    rows: list[Any] = []
    following = 1
    while page := await read({"symbol": "MNTUSDT", "limit": 7, key: following, **params}):
        rows += page
        following = int(page[-1]["id" if key == "fromId" else key]) + 1
    return rows


async def bybit_pages(read: Any, params: dict[str, Any]) -> list[Any]:
    rows: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        result = (await read({"category": "linear", "symbol": "MNTUSDT", "limit": 7, **params, **cursor}))["result"]
        rows += result["list"]
        if not result["nextPageCursor"]:
            return rows
        cursor = {"cursor": result["nextPageCursor"]}


def filled_in(row: dict[str, Any]) -> Decimal:
    return Decimal(row["executedQty"] if "executedQty" in row else row.get("cumExecQty", "0"))


def pushed(sim: SimulatedExchange) -> dict[Any, tuple[str, Decimal]]:
    """Last word and quantity of each order in the stream."""
    last: dict[Any, tuple[str, Decimal]] = {}
    for item in sim.messages():
        message = item["message"]
        if message.get("e") == "ALGO_UPDATE":
            last["algo", str(message["o"]["aid"])] = (message["o"]["X"], Decimal(0))
        elif message.get("e") == "ORDER_TRADE_UPDATE":
            last["order", str(message["o"]["i"])] = (message["o"]["X"], Decimal(message["o"]["z"]))
        elif message.get("topic") == "order":
            for row in message["data"]:
                last["order", row["orderId"]] = (row["orderStatus"], Decimal(row["cumExecQty"]))
    return last


def key_of(sim: SimulatedExchange, order: Order) -> tuple[str, str]:
    return "algo" if sim.kind == "binance" and order.kind == "algo" else "order", str(order.exchange_order_id)


@pytest.mark.parametrize("seed", SEEDS)
async def test_reads_stream_and_ledger_agree(sim: SimulatedExchange, seed: int) -> None:
    begin = sim.now()
    trade_a_week(sim, seed)
    check_the_books(sim)
    sim.forget_after_ms = 30 * DAY
    client = async_client(sim)
    try:
        orders, fills = await read_all(client, sim, begin)
    finally:
        await client.close()
    accepted = [order for order in sim.ledger.orders if order.exchange_order_id]
    if sim.kind == "bybit":  # older ones are in no list without a fill, whatever is remembered
        limit = sim.now() - 7 * DAY
        accepted = [order for order in accepted if order.filled_quantity or order.updated_time >= limit]
    assert {key_of(sim, order) for order in accepted} == set(orders)
    stream = pushed(sim)
    for order in accepted:
        row = orders[key_of(sim, order)]
        word = row.get("status") or row.get("algoStatus") or row.get("orderStatus")
        assert stream[key_of(sim, order)] == (word, order.filled_quantity)
        assert filled_in(row) == order.filled_quantity
        if sim.kind == "binance" and order.kind != "algo":
            assert word == order.status
    expected = {fill.exchange_trade_id for fill in sim.ledger.fills}
    if sim.kind == "bybit":
        expected |= {funding.exchange_funding_id for funding in sim.ledger.fundings}
    assert set(fills) == expected
    for fill in sim.ledger.fills:
        row = fills[fill.exchange_trade_id]
        names = ("commission", "qty", "price") if sim.kind == "binance" else ("execFee", "execQty", "execPrice")
        assert [Decimal(row[name]) for name in names] == [fill.fee_amount, fill.quantity, fill.price]
