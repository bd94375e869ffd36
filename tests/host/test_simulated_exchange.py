"""The simulated exchange, asked by real ccxt clients over HTTP.

What other tests take for granted is shown here: the wire formats parse, the ledger agrees with what ccxt
reads, the rules of each exchange hold, and every fault does what its name says.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest
import pytest_asyncio
from simulated_exchange import (
    CLIENT_IDS,
    Delay,
    DropRequest,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    RateLimited,
    Reject,
    RemoteExchange,
    SimulatedExchange,
    async_client,
    async_client_for,
    sync_client,
)

MNT = "MNT/USDT:USDT"
BTC = "BTC/USDT:USDT"
PEPEX = "PEPEX/USDT:USDT"
BABYDOGE = "1000000BABYDOGE/USDT:USDT"

both = pytest.mark.parametrize("kind", ["binance", "bybit"])
binance = pytest.mark.parametrize("kind", ["binance"])
bybit = pytest.mark.parametrize("kind", ["bybit"])
pytestmark = pytest.mark.asyncio


@pytest.fixture
def sim(kind: Any) -> Iterator[SimulatedExchange]:
    with SimulatedExchange(kind) as running:
        yield running


@pytest_asyncio.fixture
async def client(sim: SimulatedExchange) -> AsyncIterator[Any]:
    opened = async_client(sim)
    await opened.load_markets()
    sim.requests.clear()
    yield opened
    await opened.close()


def stop_params(sim: SimulatedExchange, price: float) -> dict[str, Any]:
    """What a bot gives ccxt for a reduce-only stop order."""
    if sim.kind == "binance":
        return {"stopPrice": price, "reduceOnly": True}
    return {"triggerPrice": price, "triggerDirection": "descending", "reduceOnly": True}


async def fetch(client: Any, order_id: str, symbol: str = MNT, **params: Any) -> dict[str, Any]:
    extra = {"acknowledged": True} if client.id == "bybit" else {}
    order: dict[str, Any] = await client.fetch_order(order_id, symbol, {**extra, **params})
    return order


async def trading_stop(client: Any, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await client.private_post_v5_position_trading_stop(
        {"category": "linear", "symbol": "MNTUSDT", "positionIdx": 0, **params}
    )
    return answer


# --- orders, fills, positions: the ledger and ccxt agree ---


@both
async def test_market_order_fills_at_several_prices_and_ccxt_reads_what_the_ledger_holds(
    sim: SimulatedExchange, client: Any
) -> None:
    sim.split_fills = 3
    created = await client.create_order(MNT, "market", "buy", 11.75)
    order = await fetch(client, created["id"])
    truth = sim.ledger.find_order(created["id"], MNT)

    assert (truth.status, truth.filled_quantity) == ("FILLED", Decimal(11))
    assert [fill.price for fill in sim.ledger.fills] == [Decimal(p) for p in ("1.2001", "1.2002", "1.2003")]
    assert [fill.quantity for fill in sim.ledger.fills] == [3, 3, 5]
    assert truth.filled_value == sum(fill.value for fill in sim.ledger.fills) == Decimal("13.2024")
    assert str(truth.average_price).startswith("1.2002181818181818181818181818181818181818")
    assert (order["status"], order["filled"], order["average"]) == ("closed", 11.0, 1.20021818)
    assert Decimal(order["info"]["avgPrice"]) == sim.reported_average(truth) == Decimal("1.20021818")

    trades = await client.fetch_my_trades(MNT)
    assert {trade["id"] for trade in trades} == {fill.exchange_trade_id for fill in sim.ledger.fills}
    assert {trade["order"] for trade in trades} == {created["id"]}
    assert all(trade["takerOrMaker"] == "taker" for trade in trades)

    (position,) = await client.fetch_positions([MNT])
    assert (position["side"], position["contracts"]) == ("long", 11.0)
    assert [item.quantity for item in sim.ledger.positions] == [11]
    balance = await client.fetch_balance()
    assert balance["USDT"]["total"] < 100000
    assert (await client.fetch_ticker(MNT))["last"] == 1.2


@both
async def test_fees_are_exact(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(BABYDOGE, "market", "buy", 12345)
    (fill,) = sim.ledger.fills
    (trade,) = await client.fetch_my_trades(BABYDOGE)
    exact = fill.price * fill.quantity * fill.fee_rate
    if sim.kind == "binance":
        assert trade["info"]["commission"] == "0.00617312"
        assert fill.fee_amount == Decimal("0.00617312") == exact.quantize(Decimal("1e-8"))
    else:
        assert fill.fee_amount == exact == Decimal(trade["info"]["execFee"])
        assert trade["info"]["feeCurrency"] == "USDT"
        order = await fetch(client, fill.exchange_order_id, BABYDOGE)
        assert order["info"]["cumFeeDetail"] == {"USDT": trade["info"]["execFee"]}


@both
async def test_limit_order_rests_then_fills_as_maker_with_a_rebate(sim: SimulatedExchange, client: Any) -> None:
    sim.maker_rate = Decimal("-0.0001")
    created = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    assert [order["id"] for order in await client.fetch_open_orders(MNT)] == [created["id"]]
    sim.set_price(MNT, "1.0999")
    (trade,) = await client.fetch_my_trades(MNT)
    assert (trade["takerOrMaker"], trade["price"], trade["fee"]["cost"]) == ("maker", 1.1, -0.0011)
    assert sim.ledger.fills[0].fee_amount == Decimal("-0.0011")
    assert (await fetch(client, created["id"]))["status"] == "closed"


@both
async def test_prices_below_1e_8_keep_their_digits(sim: SimulatedExchange, client: Any) -> None:
    created = await client.create_order(PEPEX, "limit", "buy", 1_234_567_000_999, 0.000000004299)
    (order,) = sim.ledger.orders
    assert (order.limit_price, order.quantity) == (Decimal("0.000000004299"), Decimal(1_234_567_000_000))
    assert (await fetch(client, created["id"], PEPEX))["price"] == 4.299e-9


@both
async def test_cancel_amend_and_cancel_all(sim: SimulatedExchange, client: Any) -> None:
    first = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    await client.create_order(MNT, "limit", "buy", 10, 1.0)
    await client.edit_order(first["id"], MNT, "limit", "buy", 12, 1.15)
    assert sim.ledger.orders[0].quantity == 12
    await client.cancel_order(first["id"], MNT)
    assert (await fetch(client, first["id"]))["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(first["id"], MNT)
    await client.cancel_all_orders(MNT)
    assert [order.status for order in sim.ledger.orders] == ["CANCELED", "CANCELED"]
    assert await client.fetch_open_orders(MNT) == []


@both
async def test_refused_orders_raise_the_live_error_class_and_stay_in_the_ledger(
    sim: SimulatedExchange, client: Any
) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        await client.create_order(BTC, "market", "buy", 1000)
    with pytest.raises(ccxt.InvalidOrder):
        await client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
    with pytest.raises(ccxt.InvalidOrder):
        await client.create_order(MNT, "market", "buy", 1)
    await client.create_order(MNT, "limit", "buy", 10, 1.1, {"clientOrderId": "mine"})
    with pytest.raises(ccxt.InvalidOrder):
        await client.create_order(MNT, "limit", "buy", 10, 1.0, {"clientOrderId": "mine"})
    codes = [order.reject_code for order in sim.ledger.orders if order.status == "REJECTED"]
    assert codes == ([-2019, -2022, -4164, -4116] if sim.kind == "binance" else [110007, 110017, 110094, 110072])
    assert all(order.exchange_order_id is None for order in sim.ledger.orders if order.reject_code)


@both
async def test_wrong_precision_and_wrong_clock_are_refused(sim: SimulatedExchange, client: Any) -> None:
    client.amount_to_precision = lambda symbol, amount: str(amount)
    with pytest.raises((ccxt.BadRequest, ccxt.InvalidOrder)):
        await client.create_order(MNT, "market", "buy", 10.5)
    sim.clock_offset_ms = 60_000
    with pytest.raises(ccxt.InvalidNonce):
        await client.fetch_balance()
    sim.clock_offset_ms = 0
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        await client.fetch_balance()


@both
async def test_reduce_only_never_flips_a_position(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    await client.create_order(MNT, "market", "sell", 25, None, {"reduceOnly": True})
    assert sim.ledger.positions == []
    assert sim.ledger.orders[-1].filled_quantity == 10
    assert sim.ledger.orders[-1].is_final


@both
async def test_a_partial_fill_stays_open_until_it_is_completed(sim: SimulatedExchange, client: Any) -> None:
    sim.partial_fill("0.4")
    created = await client.create_order(MNT, "market", "buy", 10)
    order = await fetch(client, created["id"])
    assert (order["status"], order["filled"], order["remaining"]) == ("open", 4.0, 6.0)
    sim.complete(created["id"], quantity="2")
    assert sim.ledger.orders[0].status == "PARTIALLY_FILLED"
    sim.complete(created["id"])
    assert (await fetch(client, created["id"]))["status"] == "closed"
    assert [fill.quantity for fill in sim.ledger.fills] == [4, 2, 4]


@both
async def test_a_partial_fill_whose_remainder_ends(sim: SimulatedExchange, client: Any) -> None:
    sim.partial_fill("0.4", "expire")
    created = await client.create_order(MNT, "market", "buy", 10)
    order = await fetch(client, created["id"])
    assert (order["filled"], order["amount"]) == (4.0, 10.0)
    expected = {"binance": ("expired", "EXPIRED"), "bybit": ("canceled", "CANCELED")}[sim.kind]
    assert (order["status"], sim.ledger.orders[0].status) == expected


@both
async def test_batches_answer_each_order_for_itself(sim: SimulatedExchange, client: Any) -> None:
    wanted = {"symbol": MNT, "type": "limit", "side": "buy", "amount": 10, "price": 1.1}
    rows = await client.create_orders([wanted, {**wanted, "amount": 10_000_000}])
    # ccxt sorts the rows by time, and a refused one has none.
    assert {row["status"] for row in rows} == {"rejected", "open" if sim.kind == "binance" else None}
    (order,) = [item for item in sim.ledger.orders if item.status == "NEW"]
    assert [item.status for item in sim.ledger.orders].count("REJECTED") == 1
    await client.cancel_orders([order.exchange_order_id], MNT)
    assert order.status == "CANCELED"


@both
async def test_leverage(sim: SimulatedExchange, client: Any) -> None:
    await client.set_leverage(7, MNT)
    assert sim.ledger.position(sim.instrument(MNT)).leverage == 7
    assert sim.requests.writes() == []


# --- stops ---


@both
async def test_a_stop_fires_by_itself(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    stop = await client.create_order(MNT, "market", "sell", 10, None, stop_params(sim, 1.1))
    sim.set_price(MNT, "1.1001")
    assert sim.ledger.positions
    sim.set_price(MNT, "1.09")
    assert sim.ledger.positions == []
    truth = sim.ledger.find_order(stop["id"], MNT)
    executed = sim.ledger.executed(truth)
    assert (truth.status, executed.filled_quantity) == ("FILLED", Decimal(10))
    assert [fill.price for fill in sim.ledger.fills_of(truth)] == [Decimal("1.0899")]
    order = await fetch(client, stop["id"], trigger=True)
    assert order["status"] == "closed"
    if sim.kind == "binance":
        assert (order["filled"], order["info"]["algoStatus"]) == (0.0, "FINISHED")
        child = await fetch(client, order["info"]["actualOrderId"])
        assert (child["filled"], child["info"]["type"]) == (10.0, "MARKET")
        assert child["clientOrderId"] != order["clientOrderId"]
    else:
        assert (order["filled"], order["id"]) == (10.0, stop["id"])


@both
async def test_a_trailing_stop_follows_the_market(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    params = {"trailingPercent": 5} if sim.kind == "binance" else {"trailingAmount": 0.1}
    await client.create_order(MNT, "market", "sell", 10, None, params)
    for price in ("1.5000", "2.0000", "1.9100"):
        sim.set_price(MNT, price)
        assert sim.ledger.positions, price
    sim.set_price(MNT, "1.9000")
    assert sim.ledger.positions == []


@binance
async def test_conditional_orders_have_an_endpoint_of_their_own(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    stop = await client.create_order(MNT, "market", "sell", 10, None, stop_params(sim, 1.1))
    # The plain reads, cancels and cancel-alls do not see it.
    assert await client.fetch_open_orders(MNT) == []
    await client.cancel_all_orders(MNT)
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(stop["id"], MNT)
    assert [order["id"] for order in await client.fetch_open_orders(MNT, params={"trigger": True})] == [stop["id"]]
    assert (await client.cancel_order(stop["id"], MNT, {"trigger": True}))["id"] == stop["id"]
    assert (await fetch(client, stop["id"], trigger=True))["status"] == "canceled"

    with pytest.raises(ccxt.InvalidOrder, match="-4120"):
        await client.fapiPrivatePostOrder(
            {"symbol": "MNTUSDT", "side": "SELL", "type": "STOP_MARKET", "stopPrice": "1.1", "quantity": "10"}
        )
    with pytest.raises(ccxt.OrderImmediatelyFillable, match="-2021"):
        await client.create_order(MNT, "market", "sell", 10, None, stop_params(sim, 1.3))
    refused = [order for order in sim.ledger.orders if order.status == "REJECTED"]
    assert [order.reject_code for order in refused] == [-4120, -2021]


@binance
async def test_stops_outlive_their_position_but_close_position_stops_do_not(
    sim: SimulatedExchange, client: Any
) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    await client.create_order(MNT, "market", "sell", 10, None, stop_params(sim, 1.1))
    await client.create_order(MNT, "market", "sell", 10, None, {"stopPrice": 1.1, "closePosition": True})
    await client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
    statuses = {order.close_position: order.status for order in sim.ledger.orders if order.kind == "algo"}
    assert statuses == {False: "NEW", True: "EXPIRED"}
    sim.set_price(MNT, "1.0")
    (orphan,) = [order for order in sim.ledger.orders if order.kind == "algo" and not order.close_position]
    assert (orphan.status, orphan.actual_order_id, sim.ledger.positions) == ("REJECTED", None, [])


@binance
async def test_order_ids_are_unique_per_symbol_only(sim: SimulatedExchange, client: Any) -> None:
    one = await client.create_order(MNT, "market", "buy", 10)
    other = await client.create_order(BTC, "market", "buy", 0.001)
    assert one["id"] == other["id"]
    assert sim.ledger.fills[0].exchange_trade_id == sim.ledger.fills[1].exchange_trade_id
    assert sim.ledger.find_order(one["id"], MNT) is not sim.ledger.find_order(one["id"], BTC)


@binance
async def test_fees_in_bnb_and_in_both_coins_by_turns(sim: SimulatedExchange, client: Any) -> None:
    sim.fee_currency, sim.bnb_price = "BNB", Decimal("612.5")
    await client.create_order(BTC, "market", "buy", 0.01)
    (trade,) = await client.fetch_my_trades(BTC)
    assert trade["fee"] == {"currency": "BNB", "cost": 0.00048980}
    sim.fee_currency, sim.split_fills = "mixed", 4
    await client.create_order(BTC, "market", "buy", 0.01)
    assert sorted(fill.fee_currency for fill in sim.ledger.fills[1:]) == ["BNB", "BNB", "USDT", "USDT"]


@bybit
async def test_a_trading_stop_is_an_order_without_an_answer(sim: SimulatedExchange, client: Any) -> None:
    with pytest.raises(ccxt.BadRequest, match="10001"):
        await trading_stop(client, stopLoss="1.1")
    await client.create_order(MNT, "market", "buy", 10)
    assert (await trading_stop(client, stopLoss="1.1"))["result"] == {}
    (row,) = await client.fetch_open_orders(MNT)
    details = {name: row["info"][name] for name in ("orderStatus", "stopOrderType", "createType", "orderLinkId")}
    assert details == {
        "orderStatus": "Untriggered",
        "stopOrderType": "StopLoss",
        "createType": "CreateByStopLoss",
        "orderLinkId": "",
    }
    (position,) = await client.fetch_positions([MNT])
    assert position["stopLossPrice"] == 1.1

    with pytest.raises(ccxt.ExchangeError, match="34040"):
        await trading_stop(client, stopLoss="1.1")
    await trading_stop(client, stopLoss="1.15")
    (moved,) = await client.fetch_open_orders(MNT)
    assert moved["id"] != row["id"]
    assert (await fetch(client, row["id"]))["info"]["orderStatus"] == "Deactivated"
    await client.create_order(MNT, "market", "buy", 5)
    sim.set_price(MNT, "1.14")
    fired = await fetch(client, moved["id"])
    assert (fired["info"]["orderStatus"], fired["filled"], sim.ledger.positions) == ("Filled", 15.0, [])


@bybit
async def test_attached_stops_end_with_their_position_or_by_zero(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10, None, {"stopLoss": 1.1, "takeProfit": 1.5})
    stop, profit = sim.ledger.orders[1:]
    assert (stop.kind, profit.kind, profit.details["stopOrderType"]) == ("attached", "attached", "TakeProfit")
    await trading_stop(client, stopLoss="0")
    assert (stop.status, profit.status) == ("CANCELED", "NEW")
    await client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
    assert (profit.status, profit.exchange_status) == ("CANCELED", "Deactivated")
    closed = await client.fetch_canceled_and_closed_orders(MNT)
    assert {order["status"] for order in closed} == {"closed", "canceled"}


@bybit
async def test_the_same_exchange_symbol_on_two_markets(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order("MNT/USDT", "market", "buy", 100.55)
    (fill,) = sim.ledger.fills
    assert (fill.symbol, fill.unified_symbol) == ("MNTUSDT", "MNT/USDT")
    assert (fill.fee_currency, fill.fee_amount) == ("MNT", Decimal("100.55") * fill.fee_rate)
    assert sim.ledger.positions == []
    (trade,) = await client.fetch_my_trades("MNT/USDT")
    assert trade["fee"]["currency"] == "MNT"
    await client.create_order("1000000BABYDOGE/USDT", "market", "buy", 10000)
    assert sim.ledger.fills[-1].fee_currency == "1000000BABYDOGE"
    assert (await client.fetch_ticker("MNT/USDT"))["symbol"] == "MNT/USDT"


# --- faults ---


@both
async def test_a_scripted_rejection(sim: SimulatedExchange, client: Any) -> None:
    code = -2019 if sim.kind == "binance" else 110007
    sim.next("create", Reject(code, "no money today"))
    with pytest.raises(ccxt.InsufficientFunds, match="no money today"):
        await client.create_order(MNT, "market", "buy", 10)
    (order,) = sim.ledger.orders
    assert (order.status, order.reject_code, order.reject_words) == ("REJECTED", code, "no money today")
    await client.create_order(MNT, "market", "buy", 10)
    assert sim.ledger.orders[-1].status == "FILLED"


@both
@pytest.mark.parametrize(
    ("fault", "error", "taken"),
    [
        (LoseAnswer(), ccxt.NetworkError, True),
        (LoseAnswer(headers_sent=True), ccxt.ExchangeError, True),
        (DropRequest(), ccxt.NetworkError, False),
        (HttpPage(502), ccxt.ExchangeNotAvailable, False),
        (HttpPage(503, taken=True), ccxt.ExchangeNotAvailable, True),
        (RateLimited(), (ccxt.DDoSProtection, ccxt.RateLimitExceeded), False),
        (HttpPage(429), (ccxt.DDoSProtection, ccxt.RateLimitExceeded), False),
    ],
    ids=str,
)
async def test_answers_that_do_not_come(
    sim: SimulatedExchange, client: Any, fault: Any, error: Any, taken: bool
) -> None:
    sim.next("create", fault)
    with pytest.raises(error):
        await client.create_order(MNT, "market", "buy", 10)
    assert bool(sim.ledger.orders) is taken
    (request,) = sim.requests.writes()
    assert request.taken is taken
    assert sim.faults.waiting() == 0


@both
async def test_an_answer_that_is_no_json(sim: SimulatedExchange, client: Any) -> None:
    sim.next("create", MalformedAnswer())
    order = await client.create_order(MNT, "market", "buy", 10)
    # ccxt 4.5.90 raises nothing: it hands the bot an order in which everything is unknown.
    assert (order["id"], order["status"]) == (None, None)
    assert [order.status for order in sim.ledger.orders] == ["FILLED"]


@both
async def test_a_late_answer_times_out_though_the_order_was_taken(sim: SimulatedExchange, client: Any) -> None:
    client.timeout = 50
    sim.next("create", Delay(0.3))
    with pytest.raises(ccxt.RequestTimeout):
        await client.create_order(MNT, "market", "buy", 10)
    assert [order.status for order in sim.ledger.orders] == ["FILLED"]


@both
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_cancellation_in_mid_flight(sim: SimulatedExchange, client: Any, before: bool) -> None:
    hold = sim.hold("create", before=before)
    task = asyncio.create_task(client.create_order(MNT, "market", "buy", 10))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    assert len(sim.ledger.orders) == (0 if before else 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.release()
    for _ in range(100):
        if sim.requests.writes()[0].outcome != "open":
            break
        await asyncio.sleep(0.01)
    # What was on its way arrives, whether or not anyone still waits for the answer.
    assert [order.status for order in sim.ledger.orders] == ["FILLED"]


@both
async def test_faults_wait_for_the_request_they_name(sim: SimulatedExchange, client: Any) -> None:
    sim.next("cancel", HttpPage(502))
    sim.next("GET /*/v*/*ime", HttpPage(502))
    await client.create_order(MNT, "limit", "buy", 10, 1.1)
    with pytest.raises(ValueError, match="unknown action"):
        sim.next("creat", HttpPage())
    assert sim.faults.waiting() == 2


# --- the request log, the other clients, the other process ---


@both
async def test_the_request_log_compares_two_runs(sim: SimulatedExchange, client: Any) -> None:
    runs = []
    await client.cancel_all_orders(MNT)  # Bybit: ccxt asks once for the kind of account
    for _ in range(2):
        sim.requests.clear()
        await client.create_order(MNT, "limit", "buy", 10, 1.1)
        await client.fetch_open_orders(MNT)
        runs.append(sim.requests.comparable(CLIENT_IDS))
        assert len(sim.requests.writes()) == 1
        await client.cancel_all_orders(MNT)
    assert runs[0] == runs[1]
    assert runs[0][0][2]["symbol"] == "MNTUSDT"


@both
async def test_no_request_can_leave_for_the_real_exchange(sim: SimulatedExchange, client: Any) -> None:
    assert all(address.startswith(sim.url) for address in client.urls["api"].values())
    with pytest.raises(ccxt.ExchangeError):
        await client.fetch_status()


@both
async def test_the_exchange_stops_while_a_request_is_held(sim: SimulatedExchange, client: Any) -> None:
    hold = sim.hold("create")
    task = asyncio.create_task(client.create_order(MNT, "market", "buy", 10))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    sim.stop()
    with pytest.raises(ccxt.NetworkError):
        await task


@binance
async def test_a_lost_answer_to_a_cancel_is_repeated_below_ccxt(sim: SimulatedExchange, client: Any) -> None:
    created = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    sim.next("cancel", LoseAnswer())
    # aiohttp repeats a DELETE by itself; the second one finds the order gone.
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(created["id"], MNT)
    assert [request.outcome for request in sim.requests.writes()[1:]] == ["answer lost", "answered"]


@both
async def test_the_blocking_client(sim: SimulatedExchange) -> None:
    def trade() -> dict[str, Any]:
        blocking = sync_client(sim)
        order: dict[str, Any] = blocking.create_order(MNT, "market", "buy", 10)
        return order

    order = await asyncio.to_thread(trade)
    assert sim.ledger.orders[0].exchange_order_id == order["id"]


@both
async def test_a_process_of_its_own(kind: str) -> None:
    with RemoteExchange.spawn(kind) as remote:
        client = async_client_for(kind, remote.url)
        remote.settings(split_fills=2, maker_rate="-0.0001")
        created = await client.create_order(MNT, "market", "buy", 10)
        remote.set_price(MNT, "1.3")
        remote.next("create", "reject", code=-1, words="said the test")
        with pytest.raises(ccxt.ExchangeError, match="said the test"):
            await client.create_order(MNT, "market", "buy", 10)
        hold = remote.hold("create")
        task = asyncio.create_task(client.create_order(MNT, "limit", "buy", 10, 1.1))
        assert await asyncio.to_thread(remote.reached, hold)
        remote.release(hold)
        await task
        await client.close()
        with pytest.raises(ValueError, match="no 'NOPE'"):
            remote.set_price("NOPE", "1")

        ledger = remote.ledger()
        assert [order["status"] for order in ledger["orders"]] == ["FILLED", "REJECTED", "NEW"]
        assert ledger["orders"][0]["exchange_order_id"] == created["id"]
        assert ledger["orders"][0]["average_price"] == "1.20015"
        assert [fill["quantity"] for fill in ledger["fills"]] == ["5", "5"]
        assert sum(request["is_write"] for request in remote.requests()) == 3


async def test_the_process_ends_on_sigterm() -> None:
    remote = RemoteExchange.spawn("binance")
    assert remote.process is not None
    remote.process.send_signal(signal.SIGTERM)
    remote.process.communicate(timeout=10)
    assert remote.process.returncode == 0
