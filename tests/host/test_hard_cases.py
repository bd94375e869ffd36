"""Cases that are easily got wrong, each found by trying to break the trail; on both exchanges, against their ledgers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import ccxt.async_support as ccxt
import pytest
from audited import UNIFIED
from simulated_exchange import LoseAnswer, Order, SimulatedExchange, async_client

from audit_wrapper.rows import OrderRow
from audit_wrapper.testing import MemoryTrail, memory_trail

BTC = "BTC/USDT:USDT"


class Desk:
    def __init__(self, sim: SimulatedExchange, client: Any, trail: MemoryTrail) -> None:
        self.sim, self.client, self.trail = sim, client, trail
        self.is_binance = sim.kind == "binance"

    def row(self, order_id: str | None) -> OrderRow:
        (found,) = [row for row in self.trail.orders if row.order_id == order_id]
        return found

    async def settled(self) -> None:
        report = await self.trail.reconcile()
        assert not report.unanswered
        assert self.trail.status().failures == {}
        self.same_as_the_exchange()

    def same_as_the_exchange(self) -> None:
        """Every order of the ledger that has an id, and every row that has one: the same orders, in the same state."""
        children = {order.actual_order_id for order in self.sim.ledger.orders}
        ledger = {
            (o.symbol, o.exchange_order_id): o
            for o in self.sim.ledger.orders
            if o.exchange_order_id and o.kind != "attached" and o.exchange_order_id not in children
        }
        rows = {(row.symbol, row.order_id): row for row in self.trail.orders if row.order_id is not None}
        assert len(rows) == len([row for row in self.trail.orders if row.order_id is not None]), "two rows of one order"
        assert rows.keys() == ledger.keys()
        for key, order in ledger.items():
            self._same(order, rows[key])

    def _same(self, order: Order, row: OrderRow) -> None:
        executed = self.sim.ledger.executed(order)
        fills = self.sim.ledger.fills_of(order)
        assert (row.status, row.filled) == (order.status, executed.filled_quantity), (row, order)
        assert (row.side, row.size, row.limit_price) == (order.side, order.quantity, order.limit_price), (row, order)
        assert row.fee == (sum(fill.fee_amount for fill in fills) if fills else None)
        trades = [trade for trade in self.trail.trades if trade.order_key == row.order_key]
        assert [trade.executed_qty for trade in trades] == ([executed.filled_quantity] if fills else [])


@pytest.fixture
async def desk(sim: SimulatedExchange) -> AsyncIterator[Desk]:
    client = async_client(sim)
    try:
        await client.load_markets()
        with memory_trail() as trail:
            yield Desk(sim, trail.wrap(client), trail)
    finally:
        await client.close()


async def limit(desk: Desk, amount: float = 10, price: float = 1.1, symbol: str = UNIFIED) -> str:
    order = await desk.client.create_order(symbol, "limit", "buy", amount, price)
    return str(order["id"])


async def test_a_cancel_all_after_the_order_had_filled(desk: Desk) -> None:
    order_id = await limit(desk)
    desk.sim.complete(order_id, UNIFIED)
    await desk.client.cancel_all_orders(UNIFIED)
    await desk.settled()
    assert desk.row(order_id).status == "FILLED"


async def test_a_cancel_all_after_part_of_it_had_filled(desk: Desk) -> None:
    order_id = await limit(desk)
    desk.sim.complete(order_id, UNIFIED, "4")
    await desk.client.cancel_all_orders(UNIFIED)
    assert desk.row(order_id).filled != 10
    await desk.settled()
    row = desk.row(order_id)
    assert (row.status, row.filled, row.remaining) == ("CANCELED", Decimal(4), Decimal(6))


async def test_a_cancel_all_after_the_stop_had_fired(desk: Desk) -> None:
    await desk.client.create_order(UNIFIED, "market", "buy", 10)
    params = {"triggerPrice": 1.15, "reduceOnly": True}
    if not desk.is_binance:
        params["triggerDirection"] = "descending"
    stop = await desk.client.create_order(UNIFIED, "market", "sell", 10, None, params)
    desk.sim.set_price(UNIFIED, "1.14")
    await desk.client.cancel_all_orders(UNIFIED, {"trigger": True} if desk.is_binance else {})
    await desk.settled()
    row = desk.row(stop["id"])
    assert (row.status, row.filled, row.reason) == ("FILLED", Decimal(10), None)


async def test_a_cancel_all_that_crosses_a_create_leaves_the_order_open(desk: Desk) -> None:
    hold = desk.sim.hold("create", before=True)
    creating = asyncio.create_task(limit(desk))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    await desk.client.cancel_all_orders(UNIFIED)
    hold.release()
    order_id = await creating
    assert desk.row(order_id).status == "NEW"
    await desk.settled()


async def test_a_batch_of_which_one_order_is_refused(desk: Desk) -> None:
    orders = [
        {"symbol": UNIFIED, "type": "limit", "side": "buy", "amount": 10.0, "price": 1.1},
        {"symbol": UNIFIED, "type": "market", "side": "sell", "amount": 10.0**12},
        {"symbol": UNIFIED, "type": "limit", "side": "buy", "amount": 20.0, "price": 1.05},
    ]
    await desk.client.create_orders(orders)
    await desk.settled()
    third, first, refused = sorted(desk.trail.orders, key=lambda row: row.limit_price or Decimal("inf"))
    assert (first.size, first.status, first.type) == (Decimal(10), "NEW", "LIMIT")
    assert (third.size, third.status, third.limit_price) == (Decimal(20), "NEW", Decimal("1.05"))
    assert (refused.status, refused.order_id, refused.side) == ("REJECTED", None, "sell")
    assert refused.reason is not None
    assert ("-2019" if desk.is_binance else "110007") in refused.reason


async def test_a_batch_of_cancels_of_which_one_is_too_late(desk: Desk) -> None:
    filled, resting = await limit(desk), await limit(desk, 20, 1.05)
    desk.sim.complete(filled, UNIFIED)
    await desk.client.cancel_orders([filled, resting], UNIFIED)
    await desk.settled()
    assert (desk.row(filled).status, desk.row(resting).status) == ("FILLED", "CANCELED")


async def test_a_batch_of_one_cancel_that_is_too_late(desk: Desk) -> None:
    order_id = await limit(desk)
    desk.sim.complete(order_id, UNIFIED)
    with contextlib.suppress(ccxt.OrderNotFound):  # ccxt raises where all of a batch is refused
        await desk.client.cancel_orders([order_id], UNIFIED)
    await desk.settled()
    assert desk.row(order_id).status == "FILLED"


async def test_a_batch_whose_answer_is_lost_shows_what_was_sent(desk: Desk) -> None:
    desk.sim.next("batch", LoseAnswer())
    order = {"symbol": UNIFIED, "type": "limit", "side": "buy", "amount": 10.75, "price": 1.1}
    with pytest.raises(ccxt.NetworkError):
        await desk.client.create_orders([order, order])
    assert [(row.status, row.size) for row in desk.trail.orders] == [("UNKNOWN", Decimal(10))] * 2


async def test_an_implicit_batch(desk: Desk) -> None:
    if desk.is_binance:
        one = {
            "symbol": "MNTUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "10",
            "price": "1.1",
        }
        await desk.client.fapiPrivatePostBatchOrders({"batchOrders": [one]})
    else:
        one = {"symbol": "MNTUSDT", "side": "Buy", "orderType": "Limit", "qty": "10", "price": "1.1"}
        await desk.client.privatePostV5OrderCreateBatch({"category": "linear", "request": [one]})
    await desk.settled()
    (row,) = desk.trail.orders
    assert (row.symbol, row.status, row.size) == ("MNTUSDT", "NEW", Decimal(10))


async def test_an_order_is_not_replaced_by_one_of_another_symbol(desk: Desk) -> None:
    @desk.trail.audited(purpose="exit")
    async def switch() -> None:
        order_id = await limit(desk, 0.01, 50_000, BTC)
        await desk.client.cancel_order(order_id, BTC)
        await desk.client.create_order(UNIFIED, "market", "buy", 10)

    await switch()
    await desk.settled()
    assert {row.replaced_by for row in desk.trail.orders} == {None}


async def test_stops_for_parts_of_a_position_stand_side_by_side(desk: Desk) -> None:
    if desk.is_binance:
        pytest.skip("Bybit's tpslMode")
    await desk.client.create_order(UNIFIED, "market", "buy", 20)
    for price in ("1.1", "1.05"):
        part = {"category": "linear", "symbol": "MNTUSDT", "tpslMode": "Partial", "stopLoss": price, "slSize": "10"}
        await desk.client.private_post_v5_position_trading_stop(part)
    stops = [row for row in desk.trail.orders if row.type == "STOP_LOSS"]
    assert [(row.status, row.size) for row in stops] == [("NEW", Decimal(10))] * 2


async def test_an_entry_that_is_refused_leaves_no_row_of_its_stop(desk: Desk) -> None:
    if desk.is_binance:
        pytest.skip("Bybit attaches stops to an entry")
    with pytest.raises(ccxt.BadRequest):
        await desk.client.create_order(UNIFIED, "market", "buy", 10, None, {"stopLoss": {"triggerPrice": 9.0}})
    (row,) = desk.trail.orders
    assert (row.type, row.status) == ("MARKET", "REJECTED")


@pytest.mark.parametrize("how", ["fetch", "fetch2"])
async def test_a_request_made_past_the_clients_methods_is_seen(desk: Desk, how: str) -> None:
    client = desk.client
    if desk.is_binance:
        path, api = "order", "fapiPrivate"
        params = {"symbol": "MNTUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
    else:
        path, api = "v5/order/create", "private"
        params = {"category": "linear", "symbol": "MNTUSDT", "side": "Buy", "orderType": "Market", "qty": "10"}
    if how == "fetch2":
        await client.fetch2(path, [api], "POST", params)
    else:
        signed = client.sign(path, [api], "POST", params)
        await client.fetch(signed["url"], signed["method"], signed["headers"], signed["body"])
    await desk.client.fetch_open_orders(UNIFIED)
    assert len(desk.trail.records) == 2, "the order; and not the read"
    await desk.settled()
    (row,) = desk.trail.orders
    assert (row.status, row.filled) == ("FILLED", Decimal(10))
    assert desk.trail._recorder.under_way == 0


async def test_a_read_within_a_call_is_not_taken_for_its_answer(desk: Desk) -> None:
    kind = type(desk.client)

    class Careful(kind):  # type: ignore[misc,valid-type]
        async def create_order(self, *args: Any, **kwargs: Any) -> Any:
            order = await super().create_order(*args, **kwargs)
            return await self.fetch_order(order["id"], args[0], {"acknowledged": True})

    desk.trail.unwrap(desk.client)
    desk.client.__class__ = Careful
    desk.trail.wrap(desk.client)
    await limit(desk)
    answered = desk.trail.records[-1]
    assert answered.request is not None
    assert answered.request.method == "POST"
    assert answered.response is not None
    shown = json.loads(answered.response.text or "")
    assert "list" not in shown.get("result", {}), "the answer to the POST, not to the GET after it"


async def test_the_same_day_in_any_account_of_calls(desk: Desk) -> None:
    """A little of everything, one after the other: at the end of the day trail and ledger are equal."""
    client = desk.client
    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.create_order(UNIFIED, "market", "buy", 10),
        lambda: client.create_order(BTC, "limit", "buy", 0.01, 59_000),
        lambda: client.create_order(UNIFIED, "limit", "sell", 10, 1.4),
        lambda: client.edit_order(desk.trail.orders[-1].order_id, UNIFIED, "limit", "sell", 20, 1.45),
        lambda: client.cancel_order(desk.trail.orders[-1].order_id, UNIFIED),
        lambda: client.create_order(BTC, "market", "sell", 0.02),
        lambda: client.cancel_all_orders(BTC),
        lambda: client.create_order(BTC, "market", "buy", 0.02, None, {"reduceOnly": True}),
    ]
    for step in steps:
        await step()
    await desk.settled()
