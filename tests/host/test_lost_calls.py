"""Calls other than one order whose answer was lost: cancels, amendments, batches; and what was sent again."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from decimal import Decimal

import ccxt.async_support as ccxt
import pytest
from simulated_exchange import DropRequest, HttpPage, LoseAnswer, SimulatedExchange
from truth import MNT, Account, account_on

# -- other calls than an order


@pytest.mark.parametrize("taken", [True, False])
async def test_a_cancel_whose_answer_was_lost(account: Account, taken: bool) -> None:
    order_id = await account.limit()
    account.sim.next("cancel", LoseAnswer(headers_sent=True) if taken else HttpPage(502))
    with pytest.raises(ccxt.BaseError):
        await account.client.cancel_order(order_id, MNT)
    assert account.row(order_id).status == "NEW"
    await account.reconciled()
    assert account.row(order_id).status == ("CANCELED" if taken else "NEW")
    account.same_as_the_ledger()


@pytest.mark.parametrize("taken", [True, False])
async def test_a_cancel_of_all_whose_answer_was_lost(account: Account, taken: bool) -> None:
    ids = [await account.limit(), await account.limit(20, 1.05)]
    account.sim.next("cancel_all", LoseAnswer(headers_sent=True) if taken else HttpPage(502))
    with pytest.raises(ccxt.BaseError):
        await account.client.cancel_all_orders(MNT)
    await account.reconciled()
    assert {account.row(order_id).status for order_id in ids} == {"CANCELED" if taken else "NEW"}
    account.same_as_the_ledger()


@pytest.mark.parametrize("taken", [True, False])
async def test_an_amendment_whose_answer_was_lost(account: Account, taken: bool) -> None:
    order_id = await account.limit(10, 1.1)
    account.sim.next("amend", LoseAnswer(headers_sent=True) if taken else HttpPage(502))
    with pytest.raises(ccxt.BaseError):
        await account.client.edit_order(order_id, MNT, "limit", "buy", 12, 1.15)
    await account.reconciled()
    row = account.row(order_id)
    assert (row.size, row.limit_price) == ((Decimal(12), Decimal("1.15")) if taken else (Decimal(10), Decimal("1.1")))
    account.same_as_the_ledger()


async def test_a_batch_whose_answer_was_lost(account: Account) -> None:
    account.sim.next("batch", LoseAnswer())
    orders = [
        {"symbol": MNT, "type": "limit", "side": "buy", "amount": 10.0, "price": 1.1},
        {"symbol": MNT, "type": "limit", "side": "buy", "amount": 20.0, "price": 1.05},
        {"symbol": MNT, "type": "market", "side": "buy", "amount": 30.0},
    ]
    with pytest.raises(ccxt.NetworkError):
        await account.client.create_orders(orders)
    account.later()
    report = await account.reconciled()
    assert len(report.found) == 3
    assert {row.found_by for row in account.trail.orders} == {
        "client_order_id" if account.is_binance else "unique_match"
    }
    account.same_as_the_ledger()


async def test_a_stop_that_was_moved_and_whose_answer_was_lost(bybit: Account) -> None:
    await bybit.enter()
    await bybit.attach(stopLoss="1.1")
    await bybit.reconciled()
    bybit.sim.next("stop", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await bybit.attach(stopLoss="1.15")
    bybit.later()
    await bybit.reconciled()
    old, new = (bybit.row(type="STOP_LOSS", trigger_price=Decimal(price)) for price in ("1.1", "1.15"))
    assert new.status == "NEW"
    assert old.status in ("MODIFIED", "CANCELED")
    bybit.same_as_the_ledger()


async def test_an_entry_with_stops_whose_answer_was_lost(bybit: Account) -> None:
    bybit.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await bybit.enter(stopLoss={"triggerPrice": 1.1}, takeProfit={"triggerPrice": 1.4})
    bybit.later()
    await bybit.reconciled()
    found = {row.type: (row.status, row.found_by) for row in bybit.trail.orders}
    assert found == {
        "MARKET": ("FILLED", "unique_match"),
        "STOP_LOSS": ("NEW", "unique_match"),
        "TAKE_PROFIT": ("NEW", "unique_match"),
    }
    bybit.same_as_the_ledger()


async def test_an_entry_with_stops_that_was_not_taken(bybit: Account) -> None:
    bybit.sim.next("create", DropRequest())
    with pytest.raises(ccxt.NetworkError):
        await bybit.enter(stopLoss={"triggerPrice": 1.1})
    await bybit.reconciled_twice()
    await bybit.reconciled()
    assert {(row.type, row.status, row.order_id) for row in bybit.trail.orders} <= {
        ("MARKET", "REJECTED", None),
        ("STOP_LOSS", "REJECTED", None),
    }
    assert (await bybit.reconciled()).unsettled == ()


# -- it was sent again


async def test_an_order_that_ccxt_sent_again_with_the_same_client_id(sim: SimulatedExchange) -> None:
    async with account_on(
        sim, client={"options": {"maxRetriesOnFailure": 2, "maxRetriesOnFailureDelay": 1}}
    ) as account:
        sim.next("create", LoseAnswer())
        with contextlib.suppress(ccxt.BaseError):  # the second one is refused for its id
            await account.limit(clientOrderId="mine-1")
        assert len(sim.requests.writes()) == 2
        await account.reconciled(account.now() - timedelta(hours=1))
        (order,) = account.truth()
        rows = [row for row in account.trail.orders if row.order_id == order.exchange_order_id]
        assert [row.status for row in rows] == ["NEW"]
        assert not [row for row in account.trail.orders if row.status == "UNKNOWN"]
        account.same_as_the_ledger()


async def test_two_orders_of_one_client_id(sim: SimulatedExchange) -> None:
    """Binance takes an id again once its order is over."""
    async with account_on(
        sim, client={"options": {"maxRetriesOnFailure": 2, "maxRetriesOnFailureDelay": 1}}
    ) as account:
        sim.next("create", LoseAnswer())
        with contextlib.suppress(ccxt.BaseError):
            await account.enter(clientOrderId="mine-1")
        await account.reconciled(account.now() - timedelta(hours=1))
        assert len(account.truth()) == (2 if account.is_binance else 1)
        assert {row.client_order_id for row in account.trail.orders} == {"mine-1"}
        account.same_as_the_ledger()


async def test_orders_that_ccxt_sent_again_under_no_name(bybit: Account) -> None:
    bybit.client.options.update(maxRetriesOnFailure=1, maxRetriesOnFailureDelay=1)
    bybit.sim.next("create", LoseAnswer())
    order_id = await bybit.enter()
    bybit.later()
    await bybit.reconciled()
    assert len(bybit.truth()) == 2
    assert len(bybit.trail.orders) == 2
    assert bybit.row(order_id).found_by is None
    bybit.same_as_the_ledger()
