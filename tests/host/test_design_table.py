"""DESIGN.md, "What each action must leave behind": every row of that table, on both exchanges.

The bot is the stand-in of HOST.md, its client is the real ccxt async client, the exchange keeps its own exact ledger,
and the tables are the bot's own in a real PostgreSQL. Each test is run twice: with the one line alone, and with the
bot's inner classes instrumented as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import ccxt.async_support as ccxt
import pytest
from audited import SYMBOL, UNIFIED, Audited, audited
from core.atomic_position_manager import AtomicPositionError
from core.stop_loss_manager import StopLossManager
from simulated_exchange import DropRequest, LoseAnswer, Reject, SimulatedExchange

NO_MARGIN = {
    "binance": Reject(-2019, "Margin is insufficient."),
    "bybit": Reject(110007, "ab not enough for new order"),
}
NO_STOP = {"binance": Reject(-4045, "Reach max stop order limit."), "bybit": Reject(110061, "Limit of stops reached")}


@pytest.fixture(params=["one line", "instrumented"])
async def desk(
    request: pytest.FixtureRequest, sim: SimulatedExchange, audit_dsn: str, tmp_path: Path
) -> AsyncIterator[Audited]:
    async with audited(sim, audit_dsn, tmp_path, instrumented=request.param == "instrumented") as opened:
        yield opened


async def test_market_entry_filled(desk: Audited) -> None:
    desk.sim.split_fills = 3
    await desk.open()

    await desk.same_as_the_exchange()
    await desk.compare_fills()
    (entry,) = await desk.rows(type="MARKET")
    position = await desk.position()
    assert (entry["status"], entry["size"], entry["purpose"]) == ("FILLED", Decimal(10), "entry")
    assert entry["order_id"] == position["exchange_order_id"]
    (trade,) = await desk.rows("trades")
    assert (trade["order_id"], trade["status"]) == (entry["order_id"], "FILLED")


async def test_one_call_that_the_rate_limiter_sent_twice(desk: Audited) -> None:
    desk.sim.next("create", LoseAnswer())
    await desk.open()

    taken = [o for o in desk.sim.ledger.orders if o.kind == "order"]
    assert len(taken) == 2, "the exchange took the order twice"
    await desk.trail.flush()
    first, second = await desk.rows(type="MARKET")
    assert (first["status"], first["order_id"], first["size"]) == ("UNKNOWN", None, Decimal(10))
    await desk.same_as_the_exchange()
    first, second = await desk.rows(type="MARKET")
    assert (first["status"], first["order_id"]) == ("FILLED", taken[0].exchange_order_id)
    assert (second["status"], second["order_id"]) == ("FILLED", taken[1].exchange_order_id)
    assert first["correlation_id"] == second["correlation_id"]
    assert len(await desk.rows("trades")) == 2
    # ccxt makes a client order id for Binance, and none for Bybit
    assert first["found_by"] == ("client_order_id" if desk.is_binance else "unique_match")


async def test_one_call_that_the_client_itself_sent_twice(sim: SimulatedExchange, bot_dsn: str, tmp_path: Path) -> None:
    options = {"options": {"maxRetriesOnFailure": 2, "maxRetriesOnFailureDelay": 1}}
    async with audited(sim, bot_dsn, tmp_path, client=options, max_retries=0) as desk:
        sim.next("create", DropRequest())
        await desk.manager.create_market_order(SYMBOL, "buy", 10)

        assert len(sim.ledger.orders) == 1
        await desk.trail.flush()
        assert (await desk.rows())[0]["status"] == "UNKNOWN"
        await desk.settled()
        lost, taken = await desk.rows()
        assert (lost["status"], lost["order_id"], lost["found_by"]) == ("REJECTED", None, "absence")
        assert (taken["status"], taken["order_id"]) == ("FILLED", sim.ledger.orders[0].exchange_order_id)


async def test_entry_partly_filled_and_later_completed(desk: Audited) -> None:
    desk.sim.partial_fill("0.4")
    await desk.open()

    await desk.trail.reconcile()
    await desk.trail.flush()
    (entry,) = await desk.rows(type="MARKET")
    assert (entry["status"], entry["filled"], entry["remaining"]) == ("PARTIALLY_FILLED", Decimal(4), Decimal(6))
    (trade,) = await desk.rows("trades")
    assert (trade["status"], trade["executed_qty"]) == ("PARTIALLY_FILLED", Decimal(4))

    desk.sim.complete(entry["order_id"])
    await desk.same_as_the_exchange()
    (entry,) = await desk.rows(type="MARKET")
    assert (entry["status"], entry["filled"], entry["remaining"]) == ("FILLED", Decimal(10), Decimal(0))
    (trade,) = await desk.rows("trades")
    assert (trade["status"], trade["executed_qty"]) == ("FILLED", Decimal(10))


async def test_entry_rejected(desk: Audited) -> None:
    refusal = NO_MARGIN[desk.sim.kind]
    desk.sim.next("create", refusal)
    with pytest.raises(AtomicPositionError):
        await desk.open()

    await desk.same_as_the_exchange()
    (row,) = await desk.rows()
    assert (row["status"], row["order_id"], row["type"], row["size"]) == ("REJECTED", None, "MARKET", Decimal(10))
    assert (row["filled"], row["remaining"]) == (Decimal(0), Decimal(10))
    assert row["reason"] == f"{refusal.code}: {refusal.words}"
    assert await desk.rows("trades") == []


async def test_answer_lost_to_a_dropped_connection(sim: SimulatedExchange, bot_dsn: str, tmp_path: Path) -> None:
    async with audited(sim, bot_dsn, tmp_path, max_retries=0) as desk:
        sim.next("create", LoseAnswer())
        with pytest.raises(ccxt.NetworkError):
            await desk.manager.create_market_order(SYMBOL, "buy", 10)

        await desk.trail.flush()
        (row,) = await desk.rows()
        assert (row["status"], row["order_id"], row["filled"], row["fee"]) == ("UNKNOWN", None, None, None)
        assert await desk.rows("trades") == []
        await desk.same_as_the_exchange(linked=False)
        (row,) = await desk.rows()
        assert (row["status"], row["order_id"]) == ("FILLED", sim.ledger.orders[0].exchange_order_id)
        assert len(await desk.rows("trades")) == 1


async def test_answer_lost_to_a_cancelled_task(desk: Audited) -> None:
    hold = desk.sim.hold("create")
    task = asyncio.create_task(desk.manager.create_market_order(SYMBOL, "buy", 10))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.release()

    await desk.trail.flush()
    (row,) = await desk.rows()
    assert (row["status"], row["order_id"], row["size"]) == ("UNKNOWN", None, Decimal(10))
    assert await desk.rows("trades") == []


async def test_answer_lost_to_a_timeout(sim: SimulatedExchange, bot_dsn: str, tmp_path: Path) -> None:
    async with audited(sim, bot_dsn, tmp_path, client={"timeout": 200}, max_retries=0) as desk:
        hold = sim.hold("create")
        with pytest.raises(ccxt.RequestTimeout):
            await desk.manager.create_market_order(SYMBOL, "buy", 10)
        hold.release()
        await desk.trail.flush()
        (row,) = await desk.rows()
        assert (row["status"], row["order_id"]) == ("UNKNOWN", None)


async def test_stop_loss_placed(desk: Audited) -> None:
    """Binance: an order of its own. Bybit: attached to the position; its id is learned when the exchange is asked."""
    await desk.open()

    await desk.same_as_the_exchange()
    (stop,) = await desk.rows(purpose="stop_loss")
    assert (stop["status"], stop["trigger_price"], stop["side"], stop["filled"]) == ("NEW", Decimal("1.1"), "sell", 0)
    assert stop["reduce_only"] is True
    if desk.is_binance:
        assert stop["type"] == "STOP_MARKET"
        assert stop["order_id"] == next(o for o in desk.sim.ledger.orders if o.kind == "algo").exchange_order_id
    else:
        attached = next(o for o in desk.sim.ledger.orders if o.kind == "attached")
        assert (stop["type"], stop["order_id"]) == ("STOP_LOSS", attached.exchange_order_id)
    assert len(await desk.rows("trades")) == 1, "only the entry has executed"


async def test_stop_loss_already_there(desk: Audited) -> None:
    await desk.open()
    before = await _after_flush(desk)
    client = desk.manager.exchange
    again = await StopLossManager(client, desk.sim.kind).set_stop_loss(
        symbol=SYMBOL, side="sell", amount=10, stop_price=1.1
    )

    assert again["status"] == "already_exists"
    assert await _after_flush(desk) == before, "no new row, and none changed"
    if not desk.is_binance or _is_instrumented(StopLossManager):
        kinds = [r["kind"] for r in await desk.connection.fetch("SELECT kind FROM audit.events ORDER BY seq")]
        assert "unchanged" in kinds, "an event says so"
    await desk.same_as_the_exchange()


async def test_the_exchange_says_the_stop_is_there_already(desk: Audited) -> None:
    """Bybit's 34040 (not modified); Binance has no such answer."""
    if desk.is_binance:
        pytest.skip("Binance has no such answer")
    await desk.open()
    before = await _after_flush(desk)
    with pytest.raises(ccxt.ExchangeError):
        await desk.manager.exchange.private_post_v5_position_trading_stop(
            {"category": "linear", "symbol": SYMBOL, "stopLoss": "1.1", "positionIdx": 0}
        )
    assert await _after_flush(desk) == before
    (event,) = await desk.connection.fetch("SELECT * FROM audit.events WHERE kind = 'unchanged'")
    assert "34040" in event["body"]


async def test_stop_loss_moved(desk: Audited) -> None:
    """Binance: canceled and created. Bybit: the attached stop is modified."""
    await desk.open()
    assert await desk.manager.update_stop_loss_atomic(SYMBOL, 1.12, "long")
    assert await desk.manager.update_stop_loss_atomic(SYMBOL, 1.13, "long")

    await desk.same_as_the_exchange()
    first, second, third = await desk.rows(purpose="stop_loss")
    gone = "CANCELED" if desk.is_binance else "MODIFIED"
    assert [row["status"] for row in (first, second, third)] == [gone, gone, "NEW"]
    assert [row["trigger_price"] for row in (first, second, third)] == [
        Decimal("1.1"),
        Decimal("1.12"),
        Decimal("1.13"),
    ]
    assert first["replaced_by"] == second["order_key"], "the old one names the new one"
    assert second["replaced_by"] == third["order_key"]
    assert third["replaced_by"] is None
    assert len(await desk.rows("trades")) == 1


async def test_a_bot_that_does_not_see_its_old_stops_leaves_them_and_the_trail_shows_it(
    sim: SimulatedExchange, bot_dsn: str, tmp_path: Path
) -> None:
    if sim.kind == "bybit":
        pytest.skip("Bybit's attached stop replaces the one before")
    async with audited(sim, bot_dsn, tmp_path, sees_triggers=False) as desk:
        await desk.open()
        await desk.manager.update_stop_loss_atomic(SYMBOL, 1.12, "long")
        await desk.manager.update_stop_loss_atomic(SYMBOL, 1.13, "long")
        await desk.same_as_the_exchange()
        assert [row["status"] for row in await desk.rows(type="STOP_MARKET")] == ["NEW", "NEW", "NEW"]


async def test_stop_fires_on_the_exchange(desk: Audited) -> None:
    """No call of the bot says so: Binance's conditional order is asked for by its id, Bybit's attached stop is found."""
    await desk.open()
    await desk.trail.flush()
    desk.sim.set_price(UNIFIED, "1.05")

    await desk.same_as_the_exchange()
    (stop,) = await desk.rows(purpose="stop_loss")
    assert stop["status"] == "FILLED"
    assert len(await desk.rows("trades")) == 2


async def test_take_profit_placed(desk: Audited) -> None:
    await desk.open()
    await desk.manager.create_take_profit_order(SYMBOL, "sell", 10, 1.4)

    await desk.same_as_the_exchange()
    (row,) = await desk.rows(purpose="take_profit")
    assert (row["type"], row["status"], row["trigger_price"]) == ("TAKE_PROFIT", "NEW", Decimal("1.4"))
    assert len(await desk.rows("trades")) == 1


async def test_close(desk: Audited) -> None:
    await desk.open()
    await desk.manager.close_position(SYMBOL)

    await desk.same_as_the_exchange()
    entry, close = await desk.rows(type="MARKET")
    assert (close["status"], close["side"], close["purpose"]) == ("FILLED", "sell", "exit")
    assert entry["position_id"] == close["position_id"]
    assert [t["side"] for t in await desk.rows("trades")] == ["buy", "sell"]


async def test_rollback(desk: Audited) -> None:
    desk.sim.next("stop", NO_STOP[desk.sim.kind], times=20)
    with pytest.raises(AtomicPositionError):
        await desk.open()

    await desk.same_as_the_exchange()
    position = await desk.position()
    assert position["status"] == "rolled_back"
    rows = await desk.rows()
    entry, *stops, close = rows
    assert (entry["status"], entry["purpose"]) == ("FILLED", "entry")
    assert entry["order_id"] == position["exchange_order_id"]
    refused = [o for o in desk.sim.ledger.orders if o.status == "REJECTED"]
    assert [row["status"] for row in stops] == ["REJECTED"] * len(refused)
    assert len(refused) >= 3
    assert (close["status"], close["side"]) == ("FILLED", "sell")
    assert len(await desk.rows("trades")) == 2
    assert close["purpose"] == "exit"
    if _is_instrumented(StopLossManager):
        assert {row["correlation_id"] for row in rows} == {entry["correlation_id"]}, "all one story"


async def test_cancel_of_a_resting_order(desk: Audited) -> None:
    await desk.open()
    order = await desk.manager.create_limit_order(SYMBOL, "sell", 10, 1.5)
    assert await desk.manager.cancel_order(order.id, SYMBOL)

    await desk.same_as_the_exchange()
    (row,) = await desk.rows(type="LIMIT")
    assert (row["status"], row["filled"], row["order_id"]) == ("CANCELED", Decimal(0), order.id)
    assert len(await desk.rows("trades")) == 1


async def test_cancel_keeps_what_was_filled_before(desk: Audited) -> None:
    await desk.open()
    order = await desk.manager.create_limit_order(SYMBOL, "sell", 10, 1.5)
    desk.sim.complete(order.id, UNIFIED, "4")
    assert await desk.manager.cancel_order(order.id, SYMBOL)

    await desk.same_as_the_exchange()
    (row,) = await desk.rows(type="LIMIT")
    assert (row["status"], row["filled"], row["remaining"]) == ("CANCELED", Decimal(4), Decimal(6))
    (trade,) = await desk.rows("trades", order_type="LIMIT")
    assert (trade["executed_qty"], trade["status"]) == (Decimal(4), "PARTIALLY_FILLED")


async def test_cancel_all(desk: Audited) -> None:
    await desk.open()
    await desk.manager.create_limit_order(SYMBOL, "sell", 10, 1.5)
    await desk.manager.create_limit_order(SYMBOL, "sell", 10, 1.6)
    await desk.manager.cancel_all_orders(SYMBOL)

    await desk.same_as_the_exchange()
    assert [row["status"] for row in await desk.rows(type="LIMIT")] == ["CANCELED", "CANCELED"]


async def test_the_same_thing_reported_twice_or_late_changes_nothing(desk: Audited) -> None:
    await desk.open()
    await desk.manager.create_limit_order(SYMBOL, "sell", 10, 1.5)
    await desk.manager.close_position(SYMBOL)
    await desk.same_as_the_exchange()
    before = await _tables(desk)

    # the bot reads its orders again, cancels what is gone, and the exchange is asked about each once more
    client = desk.manager.exchange
    for order in [o for o in desk.sim.ledger.orders if o.kind == "order"]:
        with contextlib.suppress(ccxt.BaseError):
            await client.cancel_order(order.exchange_order_id, UNIFIED)
    await desk.trail.reconcile()
    await desk.trail.flush()
    assert [_without_times(row) for row in await _tables(desk)] == [_without_times(row) for row in before]


async def test_symbols_prices_and_fee_currencies_arrive_uncut(desk: Audited) -> None:
    await desk.manager.create_market_order("1000000BABYDOGE/USDT:USDT", "buy", 20_000)
    await desk.manager.create_market_order("PEPEX/USDT:USDT", "buy", 2_000_000_000)

    await desk.same_as_the_exchange(linked=False)
    rows = await desk.rows()
    assert [row["unified_symbol"] for row in rows] == ["1000000BABYDOGE/USDT:USDT", "PEPEX/USDT:USDT"]
    assert rows[1]["average_price"] < Decimal("1e-8")


async def test_a_fee_in_several_currencies_is_never_added(desk: Audited) -> None:
    if not desk.is_binance:
        pytest.skip("Binance alone charges in BNB")
    desk.sim.fee_currency = "mixed"
    desk.sim.split_fills = 2
    await desk.open()
    await desk.same_as_the_exchange()
    (entry,) = await desk.rows(type="MARKET")
    assert (entry["fee"], entry["fee_status"]) == (None, "several_currencies")
    await desk.compare_fills()


async def test_what_never_left_leaves_an_event_and_no_row(desk: Audited) -> None:
    with pytest.raises(ValueError, match="unknown symbol"):
        await desk.manager.create_market_order("NOSUCHUSDT", "buy", 1)
    await desk.trail.flush()
    assert await desk.rows() == []
    events = await desk.connection.fetch("SELECT kind FROM audit.events")
    assert [event["kind"] for event in events] == ["not_sent"]


async def test_asking_by_itself_completes_the_rows(sim: SimulatedExchange, bot_dsn: str, tmp_path: Path) -> None:
    settings = {"ask_exchange": "auto", "ask_after_s": 0.05}
    async with audited(sim, bot_dsn, tmp_path, settings=settings) as desk:
        await desk.open()
        async with asyncio.timeout(10):
            while not [r for r in await desk.rows(type="MARKET") if r["fee_status"] == "reported"]:
                await asyncio.sleep(0.02)
        (entry,) = await desk.rows(type="MARKET")
        assert entry["status"] == "FILLED"


def _is_instrumented(cls: type) -> bool:
    return type(cls.__dict__["set_stop_loss"]).__name__ == "Observed"


async def _after_flush(desk: Audited) -> list[dict[str, object]]:
    await desk.trail.flush()
    return [dict(row) for row in await desk.rows()]


async def _tables(desk: Audited) -> list[dict[str, object]]:
    return [dict(row) for table in ("orders", "trades") for row in await desk.rows(table)]


def _without_times(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "updated_at"}
