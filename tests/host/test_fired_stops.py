"""Stops that fire while the bot sleeps: as orders and attached to the position; and what the exchange closes itself."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from simulated_exchange import SimulatedExchange
from truth import MNT, Account, account_on

from audit_wrapper.rows import OrderRow


def fired(account: Account, row: OrderRow) -> None:
    """It is the one row of its stop, filled, with one trade and the position of the bot."""
    assert (row.status, row.filled, row.origin) == ("FILLED", Decimal(10), "bot")
    assert (row.position_id, row.signal_id) == ("12", 3)
    trade = account.trade(row)
    assert (trade.status, trade.executed_qty, trade.position_id, trade.side) == ("FILLED", Decimal(10), "12", "sell")
    assert {fill.source for fill in account.fills(row)} == {"reconciled"}


# -- stops that are orders


@pytest.mark.parametrize(("kind", "type_"), [("stop", "STOP_MARKET"), ("take_profit", "TAKE_PROFIT")])
async def test_a_stop_fires(account: Account, kind: str, type_: str) -> None:
    with account.trail.position(id=12, signal_id=3, side="long"):
        await account.enter()
        stop_id = await getattr(account, kind)()
    await account.reconciled()
    assert account.row(stop_id).status == "NEW"
    account.sim.split_fills = 2
    account.sim.set_price(MNT, "1.09" if kind == "stop" else "1.41")
    await account.reconciled()
    row = account.row(stop_id)
    fired(account, row)
    assert row.type == type_
    assert len(account.trail.orders) == 2, "what it became is no row of its own"
    account.same_as_the_ledger()


async def test_a_trailing_stop_fires(account: Account) -> None:
    params: dict[str, Any] = (
        {"trailingPercent": 5, "reduceOnly": True} if account.is_binance else {"trailingAmount": "0.05"}
    )
    with account.trail.position(id=12, signal_id=3, side="long"):
        await account.enter()
        await account.client.create_order(MNT, "market", "sell", 10, None, params)
    await account.reconciled()
    account.sim.set_price(MNT, "1.5")
    account.sim.set_price(MNT, "1.40")
    await account.reconciled()
    row = account.row(type="TRAILING_STOP_MARKET")
    fired(account, row)
    account.same_as_the_ledger()


async def test_a_fired_stop_of_which_part_was_not_filled(account: Account) -> None:
    await account.enter()
    stop_id = await account.stop()
    account.sim.partial_fill("0.4", "expire")
    account.sim.set_price(MNT, "1.09")
    await account.reconciled()
    row = account.row(stop_id)
    assert (row.filled, row.remaining) == (Decimal(4), Decimal(6))
    assert row.status in ("EXPIRED", "CANCELED"), "Bybit has no word for expired"
    account.same_as_the_ledger()
    report = await account.reconciled()
    assert (report.asked, report.recorded) == (0, 0), "it is over"


async def test_a_stop_limit_that_fires_and_rests(account: Account) -> None:
    with account.trail.position(id=12, signal_id=3, side="long"):
        await account.enter()
        params: dict[str, Any] = {"stopLossPrice": 1.1, "reduceOnly": True}
        stop_id = str((await account.client.create_order(MNT, "limit", "sell", 10, 1.08, params))["id"])
    account.sim.set_price(MNT, "1.05")
    await account.reconciled()
    row = account.row(stop_id)
    assert (row.type, row.status, row.filled, row.limit_price) == ("STOP_LIMIT", "NEW", Decimal(0), Decimal("1.08"))
    stop = account.sim.ledger.find_order(stop_id, MNT)
    working = account.sim.ledger.executed(stop).exchange_order_id
    account.sim.complete(str(working), MNT, "4")
    await account.reconciled()
    row = account.row(stop_id)
    assert (row.status, row.filled, account.trade(row).executed_qty) == ("PARTIALLY_FILLED", Decimal(4), Decimal(4))
    account.sim.cancel_by_hand(str(working), MNT)
    await account.reconciled()
    assert account.row(stop_id).status == "CANCELED"
    assert len(account.trail.orders) == 2
    account.same_as_the_ledger()


async def test_a_stop_that_closes_whatever_there_is() -> None:
    with SimulatedExchange("binance") as sim:
        async with account_on(sim) as account:
            await account.enter()
            params = {"stopPrice": 1.1, "closePosition": True}
            stop = await account.client.create_order(MNT, "STOP_MARKET", "sell", 10, None, params)
            await account.reconciled()
            sim.set_price(MNT, "1.09")
            await account.reconciled()
            row = account.row(stop["id"])
            assert (row.status, row.filled, row.type) == ("FILLED", Decimal(10), "STOP_MARKET")
            account.same_as_the_ledger()


async def test_a_stop_that_was_canceled_by_hand(account: Account) -> None:
    await account.enter()
    stop_id = await account.stop()
    account.sim.cancel_by_hand(stop_id, MNT)
    await account.reconciled()
    assert account.row(stop_id).status == "CANCELED"
    account.same_as_the_ledger()


# -- stops of a position (Bybit: they have no id until the exchange is asked)


@pytest.mark.parametrize(
    ("name", "price", "type_", "market"),
    [
        ("stopLoss", "1.1", "STOP_LOSS", ["1.09"]),
        ("takeProfit", "1.4", "TAKE_PROFIT", ["1.41"]),
        ("trailingStop", "0.05", "TRAILING_STOP_MARKET", ["1.5", "1.4"]),
    ],
)
@pytest.mark.parametrize("asked_before", [True, False])
async def test_an_attached_stop_fires(
    bybit: Account, name: str, price: str, type_: str, market: list[str], asked_before: bool
) -> None:
    with bybit.trail.position(id=12, signal_id=3, side="long"):
        await bybit.enter()
        await bybit.attach(**{name: price})
    if asked_before:
        await bybit.reconciled()
        row = bybit.row(type=type_)
        assert (row.status, row.found_by) == ("NEW", "unique_match")
        assert row.order_id is not None
    for moved in market:
        bybit.sim.set_price(MNT, moved)
    await bybit.reconciled()
    row = bybit.row(type=type_)
    assert row.found_by == "unique_match"
    fired(bybit, row)
    bybit.same_as_the_ledger()


async def test_stops_attached_to_an_entry(bybit: Account) -> None:
    with bybit.trail.position(id=12, signal_id=3, side="long"):
        await bybit.enter(stopLoss={"triggerPrice": 1.1}, takeProfit={"triggerPrice": 1.4})
    bybit.sim.set_price(MNT, "1.09")
    await bybit.reconciled()
    fired(bybit, bybit.row(type="STOP_LOSS"))
    assert bybit.row(type="TAKE_PROFIT").status == "CANCELED", "the position is closed"
    bybit.same_as_the_ledger()


async def test_stops_attached_to_an_entry_that_rests(bybit: Account) -> None:
    with bybit.trail.position(id=12, signal_id=3, side="long"):
        entry = await bybit.limit(stopLoss={"triggerPrice": 1.0}, takeProfit={"triggerPrice": 1.4})
    await bybit.reconciled()
    bybit.sim.set_price(MNT, "1.1")
    await bybit.reconciled()
    assert bybit.row(entry).status == "FILLED"
    for kind in ("STOP_LOSS", "TAKE_PROFIT"):
        row = bybit.row(type=kind)
        assert (row.status, row.found_by, row.position_id) == ("NEW", "unique_match", "12")
    bybit.sim.set_price(MNT, "0.99")
    await bybit.reconciled()
    assert bybit.row(type="STOP_LOSS").status == "FILLED"
    bybit.same_as_the_ledger()


async def test_stops_attached_to_an_entry_that_was_canceled_unfilled(bybit: Account) -> None:
    entry = await bybit.limit(stopLoss={"triggerPrice": 1.0})
    await bybit.client.cancel_order(entry, MNT)
    await bybit.reconciled()
    assert bybit.row(entry).status == "CANCELED"
    row = bybit.row(type="STOP_LOSS")
    assert (row.order_id, row.status, row.filled) == (None, "CANCELED", Decimal(0))
    assert row.reason is not None
    assert "never made" in row.reason
    report = await bybit.reconciled()
    assert report.asked == 0
    bybit.same_as_the_ledger()


async def test_stops_sent_with_an_entry_that_reduces_are_never_made(bybit: Account) -> None:
    """The position that is left is not the one that they were for. They are open questions until absence proves it."""
    await bybit.enter(20)
    await bybit.client.create_order(MNT, "market", "sell", 10, None, {"stopLoss": {"triggerPrice": 1.4}})
    assert len((await bybit.reconciled()).unsettled) == 1
    bybit.later()
    await bybit.reconciled_twice()
    row = bybit.row(type="STOP_LOSS")
    assert (row.order_id, row.status, row.found_by) == (None, "CANCELED", "absence")
    bybit.same_as_the_ledger()


async def test_a_moved_stop_stays_modified_after_the_exchange_was_asked(bybit: Account) -> None:
    await bybit.enter()
    await bybit.attach(stopLoss="1.1")
    await bybit.reconciled()
    await bybit.attach(stopLoss="1.15")
    await bybit.attach(stopLoss="1.16")
    await bybit.reconciled()
    await bybit.reconciled(bybit.now() - timedelta(hours=1))
    rows = [bybit.row(type="STOP_LOSS", trigger_price=Decimal(price)) for price in ("1.1", "1.15", "1.16")]
    assert [row.status for row in rows] == ["MODIFIED", "MODIFIED", "NEW"]
    assert [row.replaced_by for row in rows] == [rows[1].order_key, rows[2].order_key, None]
    assert rows[0].exchange_status == "Deactivated"
    bybit.same_as_the_ledger()


async def test_a_stop_that_was_moved_away_and_back(bybit: Account) -> None:
    """Two stops of one price, and none of them had an id before."""
    await bybit.enter()
    for price in ("1.1", "1.15", "1.1"):
        await bybit.attach(stopLoss=price)
    await bybit.reconciled()
    stops = [row for row in bybit.trail.orders if row.type == "STOP_LOSS"]
    assert [row.status for row in stops] == ["MODIFIED", "MODIFIED", "NEW"]
    assert [row.order_id for row in stops] == [order.exchange_order_id for order in bybit.sim.ledger.orders[1:]]
    bybit.same_as_the_ledger()


async def test_the_same_stop_of_one_position_after_the_other(bybit: Account) -> None:
    for _ in range(2):
        await bybit.enter()
        await bybit.attach(stopLoss="1.1")
        await bybit.client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
    await bybit.reconciled()
    stops = [row for row in bybit.trail.orders if row.type == "STOP_LOSS"]
    # within a second of each other nobody can say whether the second one took the place of the first
    assert stops[0].status in ("CANCELED", "MODIFIED")
    assert stops[1].status == "CANCELED"
    bybit.same_as_the_ledger()


async def test_a_position_closed_by_hand_takes_its_stops_along(bybit: Account) -> None:
    await bybit.enter()
    await bybit.attach(stopLoss="1.1")
    bybit.sim.trade_by_hand(MNT, "sell", 10, reduce_only=True)
    await bybit.reconciled(bybit.now() - timedelta(hours=1))
    assert bybit.row(type="STOP_LOSS").status == "CANCELED"
    bybit.same_as_the_ledger()


async def test_a_position_guarded_by_hand(bybit: Account) -> None:
    await bybit.enter()
    bybit.sim.stop_by_hand(MNT, stop_loss="1.1")
    await bybit.attach(takeProfit="1.4")
    bybit.sim.set_price(MNT, "1.09")
    await bybit.reconciled(bybit.now() - timedelta(hours=1))
    assert bybit.row(type="STOP_LOSS").origin == "external"
    assert bybit.row(type="TAKE_PROFIT").origin == "bot"
    bybit.same_as_the_ledger()


async def test_a_removed_stop_is_canceled(bybit: Account) -> None:
    await bybit.enter()
    await bybit.attach(stopLoss="1.1", takeProfit="1.5")
    await bybit.attach(stopLoss="0")
    await bybit.reconciled()
    assert [bybit.row(type=kind).status for kind in ("STOP_LOSS", "TAKE_PROFIT")] == ["CANCELED", "NEW"]
    bybit.same_as_the_ledger()


async def test_the_stops_of_a_closed_position_are_canceled(bybit: Account) -> None:
    await bybit.enter()
    await bybit.attach(stopLoss="1.1", takeProfit="1.5")
    await bybit.client.create_order(MNT, "market", "sell", 10, None, {"reduceOnly": True})
    await bybit.reconciled()
    for kind in ("STOP_LOSS", "TAKE_PROFIT"):
        row = bybit.row(type=kind)
        assert (row.status, row.filled, row.replaced_by) == ("CANCELED", Decimal(0), None)
    bybit.same_as_the_ledger()


async def test_a_stop_for_part_of_a_position_fires(bybit: Account) -> None:
    await bybit.enter(20)
    for price in ("1.1", "1.05"):
        await bybit.attach(tpslMode="Partial", stopLoss=price, slSize="10")
    bybit.sim.set_price(MNT, "1.09")
    await bybit.reconciled()
    rows = [bybit.row(type="STOP_LOSS", trigger_price=Decimal(price)) for price in ("1.1", "1.05")]
    assert [(row.status, row.size) for row in rows] == [("FILLED", Decimal(10)), ("NEW", Decimal(10))]
    bybit.same_as_the_ledger()


# -- closed by the exchange


@pytest.mark.parametrize("cause", ["liquidation", "auto_deleveraging", "settlement"])
async def test_what_the_exchange_closes_is_named_as_such(account: Account, cause: str) -> None:
    with account.trail.position(id=12, signal_id=3, side="long"):
        entry = await account.enter()
    account.sim.split_fills = 2
    forced = {
        "liquidation": lambda: account.sim.liquidate(MNT),
        "auto_deleveraging": lambda: account.sim.deleverage(MNT, 10),
        "settlement": lambda: account.sim.settle(MNT),
    }[cause]()
    for _ in range(2):
        await account.reconciled(account.now() - timedelta(hours=1))
    row = account.row(forced.exchange_order_id)
    assert (row.origin, row.status, row.side, row.filled) == (cause, "FILLED", "sell", Decimal(10))
    assert (row.position_id, row.link_how) == (None, None)
    assert account.trade(row).origin == cause
    assert account.row(entry).origin == "bot"
    account.same_as_the_ledger()
