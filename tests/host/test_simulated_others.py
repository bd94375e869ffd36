"""What happens on the simulated account without the bot: others' orders, forced closes, funding, late fees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest
import pytest_asyncio
from simulated_exchange import Order, Refusal, SimulatedExchange, async_client

MNT = "MNT/USDT:USDT"
HOUR = 3_600_000
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(sim: SimulatedExchange) -> AsyncIterator[Any]:
    opened = async_client(sim)
    await opened.load_markets()
    yield opened
    await opened.close()


async def by_id(client: Any, order: Order, **params: Any) -> dict[str, Any]:
    extra = {"acknowledged": True} if client.id == "bybit" else {}
    read: dict[str, Any] = await client.fetch_order(order.exchange_order_id, order.unified_symbol, {**extra, **params})
    return read


async def attach_stop(client: Any, price: str) -> None:
    """A stop that hangs on the position: a closePosition order on Binance, a trading-stop on Bybit."""
    if client.id == "binance":
        await client.create_order(MNT, "market", "sell", 10, None, {"stopPrice": price, "closePosition": True})
    else:
        await client.private_post_v5_position_trading_stop(
            {"category": "linear", "symbol": "MNTUSDT", "stopLoss": price, "positionIdx": 0}
        )


# --- orders by hand ---


async def test_an_order_by_hand_is_read_like_any_other(sim: SimulatedExchange, client: Any) -> None:
    market = sim.trade_by_hand(MNT, "buy", 10)
    limit = sim.trade_by_hand("MNTUSDT", "buy", "10", type="limit", price="1.1")
    assert [order.details["by"] for order in sim.ledger.orders] == ["hand", "hand"]
    assert (market.status, limit.status) == ("FILLED", "NEW")
    read = await by_id(client, market)
    assert (read["status"], read["filled"], read["type"]) == ("closed", 10.0, "market")
    client_id = read["info"]["clientOrderId" if sim.kind == "binance" else "orderLinkId"]
    assert client_id.startswith("web_") if sim.kind == "binance" else client_id == ""
    assert [trade["order"] for trade in await client.fetch_my_trades(MNT)] == [market.exchange_order_id]
    assert [order["id"] for order in await client.fetch_open_orders(MNT)] == [limit.exchange_order_id]
    sim.cancel_by_hand(str(limit.exchange_order_id), MNT)
    assert (await by_id(client, limit))["status"] == "canceled"
    phone = sim.trade_by_hand(MNT, "sell", 10, client_order_id="ios_1", reduce_only=True)
    assert (phone.client_order_id, sim.ledger.positions) == ("ios_1", [])
    if sim.kind == "bybit":
        assert (await by_id(client, phone))["info"]["createType"] == "CreateByClosing"


@pytest.mark.parametrize(
    ("side", "trigger", "word"),
    [("sell", "1.1", "STOP_MARKET"), ("sell", "1.3", "TAKE_PROFIT_MARKET"), ("buy", "1.3", "STOP_MARKET")],
)
async def test_a_stop_by_hand_fires(sim: SimulatedExchange, client: Any, side: str, trigger: str, word: str) -> None:
    stop = sim.trade_by_hand(MNT, side, 10, trigger_price=trigger)
    assert (await by_id(client, stop, trigger=True))["triggerPrice"] == float(trigger)
    assert stop.kind == ("algo" if sim.kind == "binance" else "conditional")
    if sim.kind == "binance":
        assert stop.type == word
    sim.set_price(MNT, trigger)
    assert sim.ledger.executed(stop).filled_quantity == 10
    assert sim.ledger.executed(stop).details["by"] == "hand"
    assert sim.requests.writes() == []


async def test_a_position_guarded_by_hand(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    made = sim.stop_by_hand(MNT, stop_loss="1.1", take_profit="1.5")
    assert [order.kind for order in made] == (["algo", "algo"] if sim.kind == "binance" else ["attached", "attached"])
    assert [order.details["by"] for order in made] == ["hand", "hand"]
    listed = await client.fetch_open_orders(MNT, params={"trigger": True})
    assert {order["id"] for order in listed} == {order.exchange_order_id for order in made}
    sim.set_price(MNT, "1.5")
    fired = sim.ledger.executed(made[1])
    assert (fired.status, fired.filled_quantity, fired.details["by"]) == ("FILLED", 10, "hand")
    assert (made[0].status, sim.ledger.positions) == ("EXPIRED" if sim.kind == "binance" else "CANCELED", [])


# --- closed by the exchange ---


async def test_a_liquidation(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 15)
    await attach_stop(client, "1.1")
    sim.set_price(MNT, "1.15")
    sim.split_fills = 2
    part = sim.liquidate(MNT, "0.34")
    (stop,) = [order for order in sim.ledger.orders if order.kind != "order"]
    assert (part.filled_quantity, part.side, stop.is_final) == (5, "sell", False)
    rest = sim.liquidate("MNTUSDT")
    assert (rest.filled_quantity, sim.ledger.positions) == (10, [])
    assert [order.details.get("cause") for order in (part, rest, stop)] == ["liquidation", "liquidation", None]
    assert len(sim.ledger.fills_of(rest)) == 2
    assert [sim.ledger.order_of(fill).details.get("cause") for fill in sim.ledger.fills[-2:]] == ["liquidation"] * 2

    read = await by_id(client, rest)
    assert (read["status"], read["filled"], read["side"]) == ("closed", 10.0, "sell")
    trades = await client.fetch_my_trades(MNT, params={} if sim.kind == "binance" else {"execType": "BustTrade"})
    assert [trade["amount"] for trade in trades if trade["order"] == rest.exchange_order_id] == [5.0, 5.0]
    if sim.kind == "binance":
        assert read["clientOrderId"].startswith("autoclose-")
        assert part.client_order_id != rest.client_order_id
        assert (read["info"]["type"], read["info"]["timeInForce"]) == ("LIMIT", "IOC")
        assert stop.exchange_status == "EXPIRED"
        forced = await client.fapiPrivateGetForceOrders({"autoCloseType": "LIQUIDATION"})
        assert [row["clientOrderId"] for row in forced] == [part.client_order_id, rest.client_order_id]
    else:
        assert read["info"]["createType"] == "CreateByTakeOver_PassThrough"
        assert (await by_id(client, part))["info"]["createType"] == "CreateByLiq"
        assert (stop.exchange_status, stop.details["cancelType"]) == ("Deactivated", "CancelByTpSlTsClear")
        # ccxt asks for execType Trade unless told otherwise: it does not see these
        assert len(await client.fetch_my_trades(MNT)) == 1
        rows = (await client.privateGetV5ExecutionList({"category": "linear"}))["result"]["list"]
        assert [row["execType"] for row in rows] == ["BustTrade"] * 4 + ["Trade"]
    with pytest.raises(ValueError, match="cannot close"):
        sim.liquidate(MNT)


async def test_a_settlement(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "sell", 10)
    order = sim.settle(MNT)
    assert (order.details["cause"], order.side, sim.ledger.positions) == ("settlement", "buy", [])
    read = await by_id(client, order)
    if sim.kind == "binance":
        assert read["clientOrderId"].startswith("settlement_autoclose-")
    else:
        assert read["info"]["createType"] == "CreateBySettle"
        (row,) = (await client.privateGetV5ExecutionList({"category": "linear", "execType": "Settle"}))["result"][
            "list"
        ]
        assert row["orderId"] == order.exchange_order_id


async def test_auto_deleveraging(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "sell", 10)
    order = sim.deleverage(MNT, 4)
    assert (order.side, order.status, order.details["cause"]) == ("buy", "FILLED", "auto_deleveraging")
    assert [position.quantity for position in sim.ledger.positions] == [-6]
    read = await by_id(client, order)
    if sim.kind == "binance":
        assert (read["clientOrderId"], read["info"]["type"]) == ("adl_autoclose", "LIMIT")
        sim.deleverage(MNT, 1)  # the id is not unique, as on the real exchange
        (row, _) = await client.fapiPrivateGetForceOrders({"autoCloseType": "ADL", "symbol": "MNTUSDT"})
        assert str(row["orderId"]) == order.exchange_order_id
    else:
        assert read["info"]["createType"] == "CreateByAdl_PassThrough"
        (row,) = (await client.privateGetV5ExecutionList({"category": "linear", "execType": "AdlTrade"}))["result"][
            "list"
        ]
        assert (row["orderId"], row["createType"]) == (order.exchange_order_id, "CreateByAdl_PassThrough")
    with pytest.raises(ValueError, match="cannot close 100"):
        sim.deleverage(MNT, 100)


# --- payments ---


async def test_funding_is_paid_by_the_long_and_received_by_the_short(sim: SimulatedExchange, client: Any) -> None:
    with pytest.raises(ValueError, match="no position"):
        sim.fund(MNT, "0.0001")
    await client.create_order(MNT, "market", "buy", 10)
    before = sim.ledger.balances["USDT"]
    paid = sim.fund(MNT, "0.0001")
    await client.create_order(MNT, "market", "sell", 25)
    received = sim.fund(MNT, Decimal("0.0002"))
    assert (paid.amount, received.amount) == (Decimal("-0.0012"), Decimal("0.0036"))
    fees = sum(fill.fee_amount for fill in sim.ledger.fills[1:])
    pnl = sum(fill.realized_pnl for fill in sim.ledger.fills[1:])
    assert sim.ledger.balances["USDT"] == before + paid.amount + received.amount - fees + pnl

    rows = await client.fetch_funding_history(MNT)
    assert [row["amount"] for row in rows] == ([-0.0012, 0.0036] if sim.kind == "binance" else [0.0012, -0.0036])
    assert [row["id"] for row in rows] == [paid.exchange_funding_id, received.exchange_funding_id]
    assert [row["timestamp"] for row in rows] == [paid.time, received.time]
    # ccxt's own trades do not contain them; the raw list does
    assert len(await client.fetch_my_trades(MNT)) == 2
    if sim.kind == "bybit":
        rows = (await client.privateGetV5ExecutionList({"category": "linear"}))["result"]["list"]
        assert sorted(row["execType"] for row in rows) == ["Funding", "Funding", "Trade", "Trade"]
        (funding, _) = [row for row in rows if row["execType"] == "Funding"]
        assert Decimal(funding["execFee"]) == Decimal(funding["execValue"]) * Decimal(funding["feeRate"])
        assert funding["orderId"] not in {order.exchange_order_id for order in sim.ledger.orders}


async def test_income_holds_every_payment(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "bybit":
        pytest.skip("Binance alone has an income history")
    sim.split_fills, sim.fee_currency = 2, "mixed"
    await client.create_order(MNT, "market", "buy", 10)
    sim.fund(MNT, "0.0001")
    await client.create_order(MNT, "market", "sell", 10)
    await client.create_order("BTC/USDT:USDT", "market", "sell", 0.001)
    everything = await client.fapiPrivateGetIncome({"limit": 1000})
    sums: dict[str, Decimal] = {}
    for row in everything:
        sums[row["asset"]] = sums.get(row["asset"], Decimal(0)) + Decimal(row["income"])
    assert sums == {
        "USDT": sim.ledger.balances["USDT"] - 100_000,
        "BNB": sim.ledger.balances["BNB"] - 10,
    }
    kinds = [row["incomeType"] for row in everything]
    assert (kinds.count("COMMISSION"), kinds.count("REALIZED_PNL"), kinds.count("FUNDING_FEE")) == (5, 2, 1)
    assert len({(row["incomeType"], row["tranId"]) for row in everything}) == len(everything)
    sim.page_limit = 3
    pages = [await client.fapiPrivateGetIncome({"page": number}) for number in (1, 2, 3, 4)]
    assert [row for page in pages for row in page] == everything
    sim.page_limit = None
    fees = await client.fapiPrivateGetIncome({"incomeType": "COMMISSION", "symbol": "BTCUSDT"})
    assert [row["tradeId"] for row in fees] == [sim.ledger.fills[-1].exchange_trade_id]
    later = sim.now() + 1
    assert await client.fapiPrivateGetIncome({"startTime": later}) == []


# --- fees ---


async def test_fees_that_come_late(sim: SimulatedExchange, client: Any) -> None:
    sim.fee_delay = True
    await client.create_order(MNT, "market", "buy", 10)
    (fill,) = sim.ledger.fills
    (trade,) = await client.fetch_my_trades(MNT)
    assert trade["fee"] == {"cost": None, "currency": None}
    if sim.kind == "bybit":
        order = await by_id(client, sim.ledger.orders[0])
        assert "cumExecFee" not in order["info"]
        assert "cumFeeDetail" not in order["info"]
    sim.settle_fees()
    (trade,) = await client.fetch_my_trades(MNT)
    assert Decimal(str(trade["fee"]["cost"])) == fill.fee_amount


async def test_a_fee_that_is_corrected(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    (fill,) = sim.ledger.fills
    before = sim.ledger.balances["USDT"]
    sim.correct_fee(fill.exchange_trade_id, MNT, "0.001", "USDT")
    (corrected,) = sim.ledger.fills
    assert (corrected.fee_amount, corrected.price) == (Decimal("0.001"), fill.price)
    assert sim.ledger.balances["USDT"] == before + fill.fee_amount - Decimal("0.001")
    (trade,) = await client.fetch_my_trades(MNT)
    assert trade["fee"]["cost"] == 0.001
    if sim.kind == "bybit":
        order = await by_id(client, sim.ledger.orders[0])
        assert order["info"]["cumFeeDetail"] == {"USDT": "0.001"}
    with pytest.raises(KeyError, match="no fill"):
        sim.correct_fee("1", MNT, "0.001")


async def test_fees_in_two_coins_on_bybit(sim: SimulatedExchange, client: Any) -> None:
    if sim.kind == "binance":
        pytest.skip("Binance's mixed fees have a test of their own")
    sim.fee_currency, sim.split_fills = "mixed", 2
    await client.create_order(MNT, "market", "buy", 10)
    first, second = sim.ledger.fills
    assert (first.fee_currency, second.fee_currency) == ("USDT", "MNT")
    order = await by_id(client, sim.ledger.orders[0])
    detail = {coin: Decimal(amount) for coin, amount in order["info"]["cumFeeDetail"].items()}
    assert detail == {"USDT": first.fee_amount, "MNT": second.fee_amount}
    trades = await client.fetch_my_trades(MNT)
    assert {trade["info"]["feeCurrency"] for trade in trades} == {"USDT", "MNT"}
    # ccxt 4.5.90 names the settle coin for every perpetual's fee, whatever the row says.
    assert {trade["fee"]["currency"] for trade in trades} == {"USDT"}


async def test_what_the_exchange_refuses_by_hand_too(sim: SimulatedExchange, client: Any) -> None:
    with pytest.raises(Refusal, match=r"-4164|110094"):
        sim.trade_by_hand(MNT, "buy", 1)
    with pytest.raises(ValueError, match="price"):
        sim.trade_by_hand(MNT, "buy", 10, type="limit")
    with pytest.raises(ccxt.InvalidOrder):
        await client.create_order(MNT, "market", "buy", 1)
