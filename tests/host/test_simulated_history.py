"""What the simulated exchange shows of the past: pages, windows, indexing delay, retention, its clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt
import pytest
import pytest_asyncio
from simulated_exchange import HttpPage, RateLimited, RemoteExchange, SimulatedExchange, async_client

MNT = "MNT/USDT:USDT"
BTC = "BTC/USDT:USDT"
HOUR = 3_600_000
DAY = 24 * HOUR
READS = {
    "binance": ["order", "openOrders", "allOrders", "userTrades", "openAlgoOrders", "allAlgoOrders", "income"],
    "bybit": ["order/realtime", "order/history", "execution/list"],
}
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(sim: SimulatedExchange) -> AsyncIterator[Any]:
    opened = async_client(sim, options={"warnOnFetchOpenOrdersWithoutSymbol": False})
    await opened.load_markets()
    sim.requests.clear()
    yield opened
    await opened.close()


async def by_id(client: Any, order_id: str, **params: Any) -> dict[str, Any]:
    extra = {"acknowledged": True} if client.id == "bybit" else {}
    order: dict[str, Any] = await client.fetch_order(order_id, MNT, {**extra, **params})
    return order


async def ended(client: Any, symbol: str | None = MNT, since: int | None = None, **params: Any) -> list[dict[str, Any]]:
    """Orders that have ended, as ccxt reads them: a page."""
    if client.id == "binance":
        # fetch_canceled_and_closed_orders would leave out those that expired.
        listed = await client.fetch_orders(symbol, since, None, params)
        return [order for order in listed if order["status"] != "open"]
    rows: list[dict[str, Any]] = await client.fetch_canceled_and_closed_orders(symbol, since, None, params)
    return rows


async def all_pages(client: Any, binance_path: str, bybit_path: str, key: str, **params: Any) -> list[dict[str, Any]]:
    """Every row of a listing, page by page as each exchange wants it; raw rows."""
    rows: list[dict[str, Any]] = []
    if client.id == "binance":
        name, first = ("fromId", "id") if key == "id" else (key, key)
        following = 1
        while True:
            page = await getattr(client, binance_path)({"symbol": "MNTUSDT", name: following, **params})
            rows += page
            if not page:
                return rows
            following = int(page[-1][first]) + 1
    cursor = ""
    while True:
        asked = {"category": "linear", "symbol": "MNTUSDT", **params, **({"cursor": cursor} if cursor else {})}
        result = (await getattr(client, bybit_path)(asked))["result"]
        rows += result["list"]
        cursor = result["nextPageCursor"]
        if not cursor:
            return rows


# --- pages and windows ---


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_pages_hold_every_order_and_fill_once_though_all_happened_in_one_millisecond(
    sim: SimulatedExchange, client: Any, size: int
) -> None:
    sim.page_limit, sim.split_fills = size, 2
    sim.stop_clock()
    for _ in range(5):
        await client.create_order(MNT, "market", "buy", 10)
    assert len({fill.time for fill in sim.ledger.fills}) == 1
    orders = await all_pages(client, "fapiPrivateGetAllOrders", "privateGetV5OrderHistory", "orderId")
    fills = await all_pages(client, "fapiPrivateGetUserTrades", "privateGetV5ExecutionList", "id")
    ids = [order.exchange_order_id for order in sim.ledger.orders]
    trade_ids = [fill.exchange_trade_id for fill in sim.ledger.fills]
    key = "id" if sim.kind == "binance" else "execId"
    if sim.kind == "bybit":  # newest first
        ids.reverse()
        trade_ids.reverse()
    assert [str(row["orderId"]) for row in orders] == ids
    assert [str(row[key]) for row in fills] == trade_ids


async def test_a_cursor_stays_where_it_is_while_orders_come_in(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "binance":
        pytest.skip("Binance pages by id")
    for _ in range(4):
        await client.create_order(MNT, "market", "buy", 10)
    ids = [order.exchange_order_id for order in reversed(sim.ledger.orders)]
    asked = {"category": "linear", "symbol": "MNTUSDT", "limit": 2}
    first = (await client.privateGetV5OrderHistory(asked))["result"]
    await client.create_order(MNT, "market", "buy", 10)
    second = (await client.privateGetV5OrderHistory({**asked, "cursor": first["nextPageCursor"]}))["result"]
    assert [row["orderId"] for row in first["list"] + second["list"]] == ids
    with pytest.raises(ccxt.BadRequest, match="cursor"):
        await client.privateGetV5OrderHistory({**asked, "cursor": "nonsense"})


async def test_ccxt_pages_by_itself(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "binance":
        pytest.skip("ccxt has no cursor there")
    sim.page_limit = 2
    for _ in range(5):
        await client.create_order(MNT, "market", "buy", 10)
    orders = await ended(client, paginate=True)
    fills = await client.fetch_my_trades(MNT, params={"paginate": True})
    assert {order["id"] for order in orders} == {order.exchange_order_id for order in sim.ledger.orders}
    assert len(fills) == 5


async def test_a_window_is_seven_days_at_most(sim: SimulatedExchange, client: Any) -> None:
    begin = sim.now()
    first = await client.create_order(MNT, "market", "buy", 10)
    sim.advance(8 * DAY)
    second = await client.create_order(MNT, "market", "buy", 10)
    # without times, the last seven days
    assert [order["id"] for order in await ended(client)] == [second["id"]]
    assert [trade["order"] for trade in await client.fetch_my_trades(MNT)] == [second["id"]]
    # from a start, seven days
    assert [order["id"] for order in await ended(client, since=begin)] == [first["id"]]
    (old,) = await client.fetch_my_trades(MNT, begin, None, {"until": begin + 7 * DAY})
    assert old["order"] == first["id"]
    # up to an end, seven days
    (row,) = await ended(client, until=begin + HOUR)
    assert row["id"] == first["id"]
    with pytest.raises(ccxt.BadRequest, match="7 days"):
        await ended(client, since=begin, until=begin + 7 * DAY + 1)
    with pytest.raises(ccxt.BadRequest, match="7 days"):
        await client.fetch_my_trades(MNT, begin, None, {"until": begin + 7 * DAY + 1})


async def test_the_times_of_a_window_are_in_it(sim: SimulatedExchange, client: Any) -> None:
    sim.stop_clock()
    await client.create_order(MNT, "market", "buy", 10)
    at = sim.now()
    sim.advance(1)
    await client.create_order(MNT, "market", "buy", 10)
    assert len(await ended(client, since=at, until=at)) == 1
    assert len(await ended(client, since=at, until=at + 1)) == 2
    assert len(await client.fetch_my_trades(MNT, at, None, {"until": at})) == 1


async def test_limits_of_pages(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "bybit":
        for _ in range(51):
            await client.create_order(MNT, "limit", "buy", 10, 1.1)
        assert len(await client.fetch_open_orders(MNT)) == 20
        assert len(await client.fetch_open_orders(MNT, None, 1000)) == 50
        assert len(await client.fetch_open_orders(MNT, params={"paginate": True})) == 51
        return
    with pytest.raises(ccxt.BadRequest, match="-1130"):
        await client.fetch_orders(MNT, None, 1001)
    sim.page_limit = 2
    for _ in range(3):
        await client.create_order(MNT, "market", "buy", 10)
    ids = [order.exchange_order_id for order in sim.ledger.orders]
    # the newest without a start, the oldest from one
    assert [order["id"] for order in await client.fetch_orders(MNT)] == ids[1:]
    assert [order["id"] for order in await client.fetch_orders(MNT, sim.now() - HOUR)] == ids[:2]
    with pytest.raises(ccxt.BadRequest, match="-1128"):
        await client.fetch_my_trades(MNT, sim.now() - HOUR, None, {"fromId": 1})


async def test_lists_without_a_symbol(sim: SimulatedExchange, client: Any) -> None:
    for symbol, price in ((MNT, 1.1), (BTC, 50_000)):
        await client.create_order(symbol, "limit", "buy", 10 if symbol == MNT else 0.01, price)
        await client.create_order(symbol, "market", "buy", 10 if symbol == MNT else 0.01)
    # ccxt 4.5.90 asks Binance's spot side unless it is told both.
    params = {"settleCoin": "USDT"} if sim.kind == "bybit" else {"type": "swap", "subType": "linear"}
    assert {order["symbol"] for order in await client.fetch_open_orders(params=params)} == {MNT, BTC}
    assert {order["symbol"] for order in await ended(client, None, **params)} == {MNT, BTC}
    if sim.kind == "bybit":
        (row,) = await client.fetch_open_orders(params={"baseCoin": "BTC"})
        assert row["symbol"] == BTC
        with pytest.raises(ccxt.ExchangeError, match="settleCoin"):
            await client.privateGetV5OrderRealtime({"category": "linear"})
    else:
        await client.create_order(MNT, "market", "sell", 10, None, {"stopPrice": 1.1, "reduceOnly": True})
        assert len(await client.fetch_open_orders(params={**params, "trigger": True})) == 1
        assert len(await client.fetch_orders(MNT, params={"trigger": True})) == 1


async def test_the_exchange_may_begin_in_the_past(sim: SimulatedExchange) -> None:
    begin = sim.now() - 40 * DAY
    with SimulatedExchange(sim.kind, start_time_ms=begin) as past:
        client = async_client(past)
        try:
            await client.create_order(MNT, "market", "buy", 10)
            past.advance(3 * DAY)
            await client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
            times = [order.created_time - begin for order in past.ledger.orders]
            assert times[0] < HOUR
            assert 3 * DAY <= times[1] < 3 * DAY + HOUR
            rows = await ended(client, since=begin)
            assert [order["timestamp"] for order in rows] == [order.created_time for order in past.ledger.orders]
            with pytest.raises(ValueError, match="forward only"):
                past.advance(-1)
        finally:
            await client.close()


# --- late to be seen, and forgotten ---


async def test_what_just_happened_is_not_shown_until_it_is_indexed(sim: SimulatedExchange, client: Any) -> None:
    before = await client.create_order(MNT, "market", "buy", 10)
    sim.index_delay_ms = -1
    order = await client.create_order(MNT, "market", "buy", 10, None, {"clientOrderId": "mine"})
    resting = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    for asked in (order["id"], resting["id"]):
        with pytest.raises(ccxt.OrderNotFound):
            await by_id(client, asked)
    assert [row["id"] for row in await ended(client)] == [before["id"]]
    assert [row["order"] for row in await client.fetch_my_trades(MNT)] == [before["id"]]
    assert await client.fetch_open_orders(MNT) == []
    # the position and the books themselves are not late, and a cancel reaches the order
    (position,) = await client.fetch_positions([MNT])
    assert position["contracts"] == 20
    await client.cancel_order(resting["id"], MNT)

    sim.index_now()
    assert (await by_id(client, order["id"]))["status"] == "closed"
    assert {row["id"] for row in await ended(client)} == {before["id"], order["id"], resting["id"]}
    assert len(await client.fetch_my_trades(MNT)) == 2
    later = await client.create_order(MNT, "market", "buy", 10)
    with pytest.raises(ccxt.OrderNotFound):
        await by_id(client, later["id"])


async def test_indexing_takes_its_time(sim: SimulatedExchange, client: Any) -> None:
    sim.index_delay_ms = 5_000
    sim.stop_clock()
    order = await client.create_order(MNT, "market", "buy", 10)
    sim.advance(4_999)
    with pytest.raises(ccxt.OrderNotFound):
        await by_id(client, order["id"])
    sim.advance(1)
    assert (await by_id(client, order["id"]))["filled"] == 10
    assert len(await client.fetch_my_trades(MNT)) == 1


async def test_orders_without_fills_are_forgotten(sim: SimulatedExchange, client: Any) -> None:
    canceled = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    await client.cancel_order(canceled["id"], MNT)
    sim.partial_fill("0.5", "expire")
    partly = await client.create_order(MNT, "market", "buy", 10)
    resting = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    sim.advance((3 * DAY if sim.kind == "binance" else DAY) - HOUR)
    assert (await by_id(client, canceled["id"]))["status"] == "canceled"
    sim.advance(2 * HOUR)
    with pytest.raises(ccxt.OrderNotFound):
        await by_id(client, canceled["id"])
    assert {row["id"] for row in await ended(client)} == {partly["id"]}
    assert (await by_id(client, partly["id"]))["filled"] == 5
    assert (await by_id(client, resting["id"]))["status"] == "open"
    sim.forget_after_ms = 9 * DAY
    assert (await by_id(client, canceled["id"]))["status"] == "canceled"


async def test_conditional_orders_are_forgotten_too(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    stop = sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.1", reduce_only=True)
    expired = sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.05", reduce_only=True)
    sim.expire(str(expired.exchange_order_id), MNT)
    fired = sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.15", reduce_only=True)
    sim.set_price(MNT, "1.15")
    if not stop.is_final:  # on Bybit it ended with its position
        sim.cancel_by_hand(str(stop.exchange_order_id), MNT)
    words = [(await by_id(client, str(order.exchange_order_id), trigger=True))["status"] for order in (stop, expired)]
    assert words == (["canceled", "expired"] if sim.kind == "binance" else ["canceled", "canceled"])
    sim.advance(4 * DAY)
    assert (await by_id(client, str(fired.exchange_order_id), trigger=True))["status"] == "closed"
    for order in (stop, expired):
        with pytest.raises(ccxt.OrderNotFound):
            await by_id(client, str(order.exchange_order_id), trigger=True)


async def test_binance_keeps_no_order_beyond_ninety_days_but_its_fills(sim: SimulatedExchange, client: Any) -> None:
    begin = sim.now()
    order = await client.create_order(MNT, "market", "buy", 10)
    sim.advance(91 * DAY)
    until = begin + DAY
    trades = await client.fetch_my_trades(MNT, begin, None, {"until": until})
    assert [trade["order"] for trade in trades] == [order["id"]]
    if sim.kind == "binance":
        with pytest.raises(ccxt.OrderNotFound):
            await by_id(client, order["id"])
        assert await ended(client, since=begin, until=until) == []
    else:
        assert [row["id"] for row in await ended(client, since=begin, until=until)] == [order["id"]]


async def test_bybit_after_a_restart_knows_ended_orders_from_their_history_alone(
    sim: SimulatedExchange, client: Any
) -> None:
    if sim.kind == "binance":
        pytest.skip("Binance has one place for both")
    order = await client.create_order(MNT, "market", "buy", 10)
    resting = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    asked = {"category": "linear", "orderId": order["id"]}
    assert len((await client.privateGetV5OrderRealtime(asked))["result"]["list"]) == 1
    sim.recent_orders = 0
    assert (await client.privateGetV5OrderRealtime(asked))["result"]["list"] == []
    assert [row["id"] for row in await ended(client, orderId=order["id"])] == [order["id"]]
    assert (await by_id(client, resting["id"]))["status"] == "open"


async def test_each_read_can_be_refused_for_its_rate(sim: SimulatedExchange, client: Any) -> None:
    order = await client.create_order(MNT, "limit", "buy", 10, 1.1)
    prefix, api, folder = ("/fapi/v1/", "fapiPrivate", "") if sim.kind == "binance" else ("/v5/", "private", "v5/")
    for name in READS[sim.kind]:
        sim.next(f"GET {prefix}{name}", RateLimited())
        with pytest.raises((ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
            await client.request(folder + name, [api], "GET", {"symbol": "MNTUSDT", "category": "linear"})
        assert (sim.faults.waiting(), sim.requests[-1].path) == (0, prefix + name)
    sim.next("read", HttpPage(502))
    await client.cancel_order(order["id"], MNT)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await client.fetch_my_trades(MNT)


async def test_the_controls_from_another_process(sim: SimulatedExchange) -> None:
    begin = sim.now() - 30 * DAY
    with RemoteExchange.spawn(sim.kind, begin) as remote:
        remote.settings(page_limit=3, index_delay_ms=-1, fee_delay=True)
        placed = remote.trade_by_hand(MNT, "buy", 20)
        remote.settings(page_limit=None)
        remote.stop_clock()
        remote.advance(DAY)
        remote.start_clock()
        remote.index_now()
        remote.settle_fees()
        paid = remote.fund(MNT, "0.0001")
        resting = remote.trade_by_hand(MNT, "buy", 20, type="limit", price="1.1")
        remote.cancel_by_hand(resting["order_id"], MNT)
        (stop,) = remote.stop_by_hand(MNT, stop_loss="1.1")
        deleveraged = remote.deleverage(MNT, 5)
        liquidated = remote.liquidate(MNT, "0.5")
        settled = remote.settle(MNT)
        ledger = remote.ledger()
        remote.correct_fee(ledger["fills"][0]["exchange_trade_id"], MNT, "0.5")
        with pytest.raises(ValueError, match="cannot close"):
            remote.liquidate(MNT)
        with pytest.raises(ValueError, match="Refusal"):
            remote.trade_by_hand(MNT, "buy", 1)
        assert [order["exchange_order_id"] for order in ledger["orders"]] == [
            ids["order_id"] for ids in (placed, resting, stop, deleveraged, liquidated, settled)
        ]
        assert [order["by"] for order in ledger["orders"]] == ["hand", "hand", "hand", None, None, None]
        causes = [None, None, None, "auto_deleveraging", "liquidation", "settlement"]
        assert [order["cause"] for order in ledger["orders"]] == causes
        assert remote.now() >= ledger["orders"][-1]["created_time"]
        assert ledger["orders"][0]["created_time"] - begin < HOUR
        assert ledger["orders"][1]["created_time"] - begin > DAY
        assert [funding["amount"] for funding in ledger["fundings"]] == ["-0.0024"]
        assert paid["amount"] == "-0.00240000"
        assert remote.ledger()["fills"][0]["fee_amount"] == "0.5"
        messages = remote.messages()
        assert [row["number"] for row in messages] == list(range(1, len(messages) + 1))
        assert remote.messages(len(messages) - 1) == messages[-1:]
