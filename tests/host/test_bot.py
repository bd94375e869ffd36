"""The stand-in bot alone, over HTTP against the simulated exchanges: it trades, and has its known faults.

What counts is the exchange's ledger; where the bot believes something else, the test says so.
"""

from __future__ import annotations

from decimal import Decimal

import ccxt.async_support as ccxt
import pytest
from core.atomic_position_manager import AtomicPositionError, AtomicPositionManager
from core.exchange_manager import ExchangeManager
from core.stop_loss_manager import StopLossManager
from desk import SYMBOL, UNIFIED, desk_on
from simulated_exchange import LoseAnswer, Reject, SimulatedExchange

pytestmark = pytest.mark.asyncio

NO_MARGIN = {
    "binance": Reject(-2019, "Margin is insufficient."),
    "bybit": Reject(110007, "ab not enough for new order"),
}
NO_STOP = {
    "binance": Reject(-4045, "Reach max stop order limit."),
    "bybit": Reject(10016, "Internal server error."),
}


async def test_a_signal_becomes_a_protected_position(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        state = await desk.bot.open_position(desk.signal())

    assert state is not None
    assert state.side == "long"
    (entry,) = desk.market_orders()
    (stop,) = desk.live_stops()
    assert (entry.side, entry.quantity, entry.status) == ("buy", Decimal(10), "FILLED")
    assert entry.unified_symbol == UNIFIED
    assert (stop.side, stop.trigger_price) == ("sell", Decimal("1.1"))
    row = desk.row()
    assert row["status"] == "active"
    assert row["exchange_order_id"] == entry.exchange_order_id
    assert row["stop_loss_price"] == Decimal("1.1")


async def test_a_short_signal_sells_and_guards_above(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal(side="short", stop_loss_price=1.3))

    (entry,) = desk.market_orders()
    (stop,) = desk.live_stops()
    assert (entry.side, stop.side) == ("sell", "buy")
    assert stop.trigger_price == Decimal("1.3")
    assert desk.row()["side"] == "short"


async def test_the_row_holds_the_signals_price_where_the_answer_has_none(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())

    (entry,) = desk.market_orders()
    assert entry.average_price == Decimal("1.2001")
    believed = {"binance": Decimal("1.2001"), "bybit": Decimal("1.2")}
    assert desk.row()["current_price"] == believed[sim.kind]


async def test_reading_the_order_again_finds_the_price(sim: SimulatedExchange) -> None:
    async with desk_on(sim, fetch_after_create=True) as desk:
        result = await desk.manager.create_market_order(SYMBOL, "buy", 10)

    assert result.status == "closed"
    assert result.price == Decimal("1.2001")
    assert result.filled == Decimal(10)


async def test_the_stop_is_moved_twice_and_one_is_left(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        assert await desk.bot.move_stop(SYMBOL, 1.12)
        sim.set_price(UNIFIED, "1.25")
        assert await desk.bot.on_price(SYMBOL, 1.25, distance_percent=4)
        assert not await desk.bot.on_price(SYMBOL, 1.24, distance_percent=4)

    (stop,) = desk.live_stops()
    assert stop.trigger_price == Decimal("1.2")
    assert desk.row()["stop_loss_price"] == Decimal("1.2")


@pytest.mark.parametrize("sim", ["binance"], indirect=True)
async def test_a_bot_that_does_not_see_triggers_leaves_its_old_stops_behind(sim: SimulatedExchange) -> None:
    async with desk_on(sim, sees_triggers=False) as desk:
        await desk.bot.open_position(desk.signal())
        assert await desk.bot.move_stop(SYMBOL, 1.12)
        assert await desk.bot.move_stop(SYMBOL, 1.14)

    assert [stop.trigger_price for stop in desk.live_stops()] == [
        Decimal("1.1"),
        Decimal("1.12"),
        Decimal("1.14"),
    ]


async def test_moving_the_stop_never_raises(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        unknown = await desk.manager.update_stop_loss_atomic("NOSUCHUSDT", 1.0)
        flat = await desk.manager.update_stop_loss_atomic(SYMBOL, 1.0)

    keys = {
        "success",
        "method",
        "execution_time_ms",
        "error",
        "old_sl_price",
        "new_sl_price",
        "unprotected_window_ms",
    }
    for answer in (unknown, flat):
        assert set(answer) == keys
        assert answer["success"] is False
        assert answer["error"]


async def test_closing_leaves_nothing_open(sim: SimulatedExchange) -> None:
    async with desk_on(sim, fetch_after_create=True) as desk:
        await desk.bot.open_position(desk.signal())
        assert await desk.bot.close_position(SYMBOL, "age")

    entry, close = desk.market_orders()
    assert (close.side, close.quantity, close.status) == ("sell", entry.quantity, "FILLED")
    assert sim.ledger.positions == []
    assert desk.live_stops() == []
    assert (desk.row()["status"], desk.row()["exit_reason"]) == ("closed", "age")


@pytest.mark.parametrize("sim", ["bybit"], indirect=True)
async def test_a_close_that_filled_is_called_failed_when_the_answer_is_an_id(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        assert not await desk.bot.close_position(SYMBOL)
        assert sim.ledger.positions == []
        assert desk.row()["status"] == "active"
        assert await desk.bot.sync() == [SYMBOL]

    assert desk.row()["exit_reason"] == "closed on exchange"


async def test_a_stop_that_fires_ends_the_position_without_a_call(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        (stop,) = desk.live_stops()
        sim.set_price(UNIFIED, "1.09")
        assert await desk.bot.sync() == [SYMBOL]

    assert sum(fill.quantity for fill in sim.ledger.fills_of(stop)) == Decimal(10)
    assert sim.ledger.positions == []


async def test_a_refused_entry_opens_nothing(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        sim.next("create", NO_MARGIN[sim.kind])
        assert await desk.bot.open_position(desk.signal()) is None

    assert desk.market_orders() == []
    assert sim.ledger.positions == []
    assert desk.row()["status"] == "failed"
    assert desk.row()["exchange_order_id"] is None


async def test_a_refused_stop_is_rolled_back(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        sim.next("stop", NO_STOP[sim.kind], times=3)
        atomic = AtomicPositionManager(desk.repository, {sim.kind: desk.manager}, None)
        signal = desk.signal()
        signal["signal_id"] = signal.pop("id")
        with pytest.raises(AtomicPositionError) as caught:
            await atomic.open_position_atomic(**signal)

    entry, close = desk.market_orders()
    assert (entry.side, close.side) == ("buy", "sell")
    assert entry.quantity == close.quantity
    assert sim.ledger.positions == []
    assert desk.row()["status"] == "rolled_back"
    assert caught.value.position_id == desk.row()["id"]
    assert sim.faults.waiting() == 0


@pytest.mark.parametrize("sim", ["binance"], indirect=True)
async def test_a_stop_too_near_is_moved_away_until_it_is_taken(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.manager.create_market_order(SYMBOL, "buy", 10)
        stops = StopLossManager(desk.manager.exchange, sim.kind)
        answer = await stops.set_stop_loss(SYMBOL, "sell", 10, 1.203)

    refused = [order for order in sim.ledger.orders if order.status == "REJECTED"]
    (stop,) = desk.live_stops()
    assert [order.reject_code for order in refused] == [-2021]
    assert answer["orderId"] == stop.exchange_order_id
    assert Decimal(str(answer["stopPrice"])) == stop.trigger_price < Decimal("1.2")


async def test_a_stop_that_is_there_is_not_placed_again(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        stops = StopLossManager(desk.manager.exchange, sim.kind)
        answer = await stops.set_stop_loss(SYMBOL, "sell", 10, 1.1)
        has_stop, price = await stops.has_stop_loss(SYMBOL, "long")

    assert answer["status"] == "already_exists"
    assert has_stop
    assert Decimal(str(price)) == Decimal("1.1")
    assert len(desk.live_stops()) == 1


async def test_a_lost_stop_is_put_back(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        await desk.manager.cancel_all_orders(SYMBOL)
        assert desk.live_stops() == []
        assert await desk.bot.protect_all() == 0

    (stop,) = desk.live_stops()
    assert stop.trigger_price == Decimal("1.1")


async def test_an_entry_whose_answer_was_lost_is_placed_twice(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        sim.next("create", LoseAnswer())
        await desk.bot.open_position(desk.signal())

    first, second = desk.market_orders()
    assert first.status == second.status == "FILLED"
    assert desk.row()["exchange_order_id"] == second.exchange_order_id
    assert sim.ledger.positions[0].quantity == Decimal(20)
    assert desk.manager.rate_limiter.retry_count == 1


async def test_the_limiter_gives_up_after_five_retries(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        sim.next("create", LoseAnswer(), times=6)
        with pytest.raises(ccxt.NetworkError):
            await desk.manager.create_market_order(SYMBOL, "buy", 10)

    assert len(desk.market_orders()) == 6


async def test_an_unknown_symbol_sends_nothing(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        sim.requests.clear()
        with pytest.raises(ValueError, match="NOSUCHUSDT"):
            await desk.manager.create_market_order("NOSUCHUSDT", "buy", 1)

    assert len(sim.requests) == 0


async def test_limit_exit_goes_round_the_manager_and_can_be_cancelled(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.bot.open_position(desk.signal())
        order = await desk.bot.exit_with_limit(SYMBOL, 1.5)
        assert order is not None
        resting = sim.ledger.find_order(order["id"], UNIFIED)
        assert (resting.limit_price, resting.reduce_only, resting.status) == (Decimal("1.5"), True, "NEW")
        assert await desk.manager.cancel_order(order["id"], SYMBOL)
        assert not await desk.manager.cancel_order(order["id"], SYMBOL)

    assert resting.status == "CANCELED"


async def test_the_other_orders_of_the_manager(sim: SimulatedExchange) -> None:
    async with desk_on(sim, max_stop_amount=4) as desk:
        manager = desk.manager
        await manager.create_market_order(SYMBOL, "buy", 10)
        stop = await manager.create_stop_loss_order(SYMBOL, "sell", 10, 1.1)
        split = await manager.create_stop_loss_order_split(SYMBOL, "sell", 10, 1.05)
        trailing = await manager.create_trailing_stop_order(SYMBOL, "sell", 10, 1.3, 1)
        target = await manager.create_take_profit_order(SYMBOL, "sell", 10, 1.6)
        limit = await manager.create_limit_order(SYMBOL, "buy", 10, 1.15)
        raw = await manager.create_order(SYMBOL, "limit", "buy", 10, 1.14, {"postOnly": True})
        live = {order.exchange_order_id for order in sim.ledger.open_orders()}
        seen = {order["id"] for order in await manager.fetch_open_orders(SYMBOL)}
        fetched = await manager.fetch_order(raw["id"], SYMBOL)
        ticker = await manager.fetch_ticker(SYMBOL)
        balance = await manager.fetch_balance()

    assert {limit.id, raw["id"]} <= live
    assert seen == live
    assert fetched["price"] == 1.14
    assert ticker["last"] == 1.2
    assert balance["USDT"]["total"] > 0
    if sim.kind == "bybit":
        assert (stop.id, target.id) == ("sl_position_MNTUSDT", "tp_position_MNTUSDT")
        assert trailing.id is None
    else:
        assert {stop.id, target.id, trailing.id} <= live
        assert isinstance(split, list)
        assert [part.amount for part in split] == [4, 4, 2]


async def test_leftovers_are_cancelled_through_the_client(sim: SimulatedExchange) -> None:
    async with desk_on(sim) as desk:
        await desk.manager.create_market_order(SYMBOL, "buy", 10)
        await desk.manager.create_stop_loss_order(SYMBOL, "sell", 10, 1.1)
        await desk.manager.create_limit_order(SYMBOL, "buy", 10, 1.05)
        assert await desk.bot.cancel_leftovers(SYMBOL, sim.kind) == 2

    assert list(sim.ledger.open_orders()) == []


@pytest.mark.parametrize("sim", ["bybit"], indirect=True)
async def test_without_prefer_swap_the_spot_pair_is_bought(sim: SimulatedExchange) -> None:
    async with desk_on(sim, prefer_swap=False) as desk:
        await desk.manager.create_market_order(SYMBOL, "buy", 10)

    (order,) = sim.ledger.orders
    assert order.unified_symbol == "MNT/USDT"
    assert sim.ledger.positions == []


async def test_a_client_built_from_a_url_reaches_the_exchange(sim: SimulatedExchange) -> None:
    config = {"url": sim.url, "api_key": "simulated-key", "api_secret": "simulated-secret"}
    manager = ExchangeManager(sim.kind, {**config, "enable_rate_limit": False})
    try:
        result = await manager.create_market_order("1000000BABYDOGE/USDT:USDT", "buy", 10000)
    finally:
        await manager.close()

    assert result.id == sim.ledger.orders[-1].exchange_order_id
    assert sim.ledger.positions[0].symbol == "1000000BABYDOGEUSDT"
