"""Requests whose answer was lost: each ends in the truth, once there is evidence, and only there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import ccxt.async_support as ccxt
import pytest
from simulated_exchange import (
    DropRequest,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    RateLimited,
    Reject,
)
from truth import MNT, Account

from audit_wrapper.rows import OrderRow

FORGOTTEN = timedelta(days=4)


async def lost(account: Account, amount: float = 10, **params: object) -> OrderRow:
    """An entry of which the bot hears nothing; its row says so."""
    with pytest.raises(ccxt.BaseError):
        await account.enter(amount, **params)
    row = account.row(size=Decimal(str(amount)))
    assert (row.status, row.order_id, row.found_by) == ("UNKNOWN", None, None)
    return row


# -- it was taken


@pytest.mark.parametrize("fault", [LoseAnswer(), LoseAnswer(headers_sent=True), HttpPage(502, taken=True)], ids=repr)
async def test_an_order_that_was_taken_is_found(account: Account, fault: object) -> None:
    account.sim.next("create", fault)
    key = (await lost(account)).order_key
    account.later()
    (sentence,) = (await account.reconciled()).found
    row = account.row(size=Decimal(10))
    assert row.order_key == key
    assert (row.status, row.reason) == ("FILLED", None)
    assert row.found_by == ("client_order_id" if account.is_binance else "unique_match")
    assert row.found_by in sentence
    assert row.origin == "bot"
    account.same_as_the_ledger()


async def test_an_answer_that_cannot_be_read(account: Account) -> None:
    account.sim.next("create", MalformedAnswer())
    with contextlib.suppress(ccxt.BaseError):  # ccxt makes an order without an id of it
        await account.enter()
    assert account.row().order_id is None
    account.later()
    await account.reconciled()
    assert account.row().status == "FILLED"
    account.same_as_the_ledger()


async def test_an_answer_to_a_stop_that_cannot_be_read(bybit: Account) -> None:
    """The answer to a stop names no order, and ccxt makes an order without an id of one that cannot be read, too."""
    await bybit.enter()
    await bybit.enter()
    bybit.sim.next("stop", MalformedAnswer(), 2)
    for price in ("1.1", "0"):  # of which the second is refused
        await bybit.client.create_order(MNT, "market", "sell", 10, None, {"trailingAmount": price, "reduceOnly": True})
        kinds = [record.kind for record in bybit.trail.records]
        assert kinds[-1] == "outcome_unknown", price


async def test_the_only_order_that_fits_is_not_taken_while_another_may_not_be_listed_yet(bybit: Account) -> None:
    """Another bot of the account did the same a moment before; ours is indexed later."""
    other = bybit.sim.trade_by_hand(MNT, "buy", 10)
    bybit.sim.index_delay_ms = -1
    bybit.sim.next("create", LoseAnswer())
    await lost(bybit)
    report = await bybit.trail.reconcile()
    assert bybit.row(origin="bot").status == "UNKNOWN"
    assert len(report.unsettled) == 1
    bybit.sim.index_now()
    bybit.later()
    await bybit.trail.reconcile()
    assert bybit.row(origin="bot").order_id is None, "two fit, and nobody can say which is ours"
    assert bybit.row(other.exchange_order_id).origin == "external"


async def test_what_else_may_fit_is_judged_by_when_the_exchange_was_asked(bybit: Account) -> None:
    """The history takes long to read: what was not listed when the reading began is not in it, however late it is compared."""
    bybit.sim.trade_by_hand(MNT, "buy", 10)
    bybit.sim.index_delay_ms = -1
    bybit.sim.next("create", LoseAnswer())
    await lost(bybit)
    hold = bybit.sim.hold("GET /v5/order/history")
    reconciling = asyncio.create_task(bybit.trail.reconcile())
    assert await asyncio.to_thread(hold.reached.wait, 5)
    bybit.later()  # by now everything is listed, and the answer that is under way does not have it
    hold.release()
    report = await reconciling
    row = bybit.row(origin="bot")
    assert (row.status, row.order_id, row.found_by) == ("UNKNOWN", None, None)
    (sentence,) = report.unsettled
    assert "whether it is the only one shows when all are listed" in sentence


async def test_the_only_order_that_fits_is_not_taken_while_part_of_the_books_cannot_be_read(bybit: Account) -> None:
    await bybit.enter(11)
    other = bybit.sim.trade_by_hand(MNT, "buy", 10, type="limit", price="1.1")
    bybit.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await bybit.limit(10, 1.1)
    ours = bybit.sim.ledger.orders[-1]
    bybit.sim.cancel_by_hand(str(ours.exchange_order_id), MNT)  # it is in the history alone
    bybit.later()
    bybit.sim.next("GET /v5/order/history", HttpPage(502), 5)
    await bybit.trail.reconcile()
    assert bybit.row(size=Decimal(10), origin="bot").order_id is None
    assert bybit.row(other.exchange_order_id).origin == "external"


async def test_a_resting_order_is_found_by_its_client_id(account: Account) -> None:
    account.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.limit(10, 1.1, clientOrderId="mine-1")
    await account.reconciled()
    row = account.row(client_order_id="mine-1")
    assert (row.status, row.found_by) == ("NEW", "client_order_id")
    account.same_as_the_ledger()


async def test_a_stop_whose_answer_was_lost_is_found(account: Account) -> None:
    await account.enter()
    account.sim.next("stop" if account.is_binance else "create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.stop()
    account.later()
    await account.reconciled()
    row = account.row(type="STOP_MARKET")
    assert (row.status, row.trigger_price) == ("NEW", Decimal("1.1"))
    assert row.found_by == ("client_order_id" if account.is_binance else "unique_match")
    account.sim.set_price(MNT, "1.09")
    await account.reconciled()
    account.same_as_the_ledger()


async def test_an_attached_stop_whose_answer_was_lost_is_found(bybit: Account) -> None:
    await bybit.enter()
    bybit.sim.next("stop", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await bybit.attach(stopLoss="1.1")
    bybit.later()
    await bybit.reconciled()
    row = bybit.row(type="STOP_LOSS")
    assert (row.status, row.found_by) == ("NEW", "unique_match")
    bybit.same_as_the_ledger()


async def test_a_task_that_was_cancelled_after_the_request_left(account: Account) -> None:
    hold = account.sim.hold("create")
    task = asyncio.create_task(account.enter())
    assert await asyncio.to_thread(hold.reached.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.release()
    assert account.row().status == "UNKNOWN"
    account.later()
    await account.reconciled()
    assert account.row().status == "FILLED"
    account.same_as_the_ledger()


async def test_an_order_that_is_not_indexed_yet_stays_unknown_until_it_is(account: Account) -> None:
    account.sim.index_delay_ms = -1
    account.sim.next("create", LoseAnswer())
    await lost(account)
    report = await account.trail.reconcile()
    assert len(report.unsettled) == 1
    assert account.row().status == "UNKNOWN"
    account.sim.index_now()
    account.later()
    await account.reconciled()
    assert account.row().status == "FILLED"
    account.same_as_the_ledger()


async def test_orders_alike_that_were_under_way_together_stay_unknown(bybit: Account) -> None:
    await bybit.enter(11)  # what the client asks for before its first order
    holds = [bybit.sim.hold("create") for _ in range(2)]
    sent = [asyncio.create_task(bybit.enter()) for _ in holds]
    for hold in holds:
        assert await asyncio.to_thread(hold.reached.wait, 5)
    for task in sent:
        task.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    for hold in holds:
        hold.release()
    bybit.later()
    report = await bybit.trail.reconcile()
    unknown = [row for row in bybit.trail.orders if row.status == "UNKNOWN"]
    assert len(unknown) == len(report.unsettled) == 2
    assert all("alike" in sentence for sentence in report.unsettled)
    assert len([row for row in bybit.trail.orders if row.origin == "external"]) == 2, (
        "the orders are there, as nobody's"
    )


async def test_orders_alike_one_after_the_other_are_told_apart_by_their_order(bybit: Account) -> None:
    bybit.sim.next("create", LoseAnswer(), 2)
    for _ in range(2):
        with pytest.raises(ccxt.NetworkError):
            await bybit.enter()
    bybit.later()
    report = await bybit.reconciled()
    assert report.unsettled == ()
    assert [row.order_id for row in bybit.trail.orders] == [o.exchange_order_id for o in bybit.sim.ledger.orders]
    bybit.same_as_the_ledger()


async def test_an_order_by_hand_is_not_taken_for_the_lost_one(bybit: Account) -> None:
    bybit.sim.next("create", DropRequest())
    await lost(bybit)
    hand = bybit.sim.trade_by_hand(MNT, "buy", 11)
    await bybit.reconciled(bybit.now() - timedelta(hours=1))
    assert bybit.row(size=Decimal(10)).status == "UNKNOWN"
    assert bybit.row(hand.exchange_order_id).origin == "external"


@pytest.mark.parametrize("path", ["order/realtime", "execution/list"])
async def test_an_attempt_that_is_under_way_is_not_taken_for_the_lost_one_before_it(bybit: Account, path: str) -> None:
    """The bot sends again while the exchange is being asked about the first attempt, which was never taken."""

    async def attempt() -> str:
        return await (bybit.limit() if path == "order/realtime" else bybit.enter())

    bybit.sim.next("create", DropRequest())
    with pytest.raises(ccxt.NetworkError):
        await attempt()
    (first,) = bybit.trail.orders
    asked = bybit.sim.hold(f"GET /v5/{path}", before=True)
    asking = asyncio.create_task(bybit.trail.reconcile())
    assert await asyncio.to_thread(asked.reached.wait, 5)
    answered = bybit.sim.hold("create")
    again = asyncio.create_task(attempt())
    assert await asyncio.to_thread(answered.reached.wait, 5)
    asked.release()
    await asyncio.sleep(0.1)  # what is asked for meanwhile waits for the order call, or is done
    answered.release()
    order_id = await again
    await asking
    await bybit.reconciled_twice()
    rows = {row.order_key: row for row in bybit.trail.orders}
    assert len(rows) == 2
    assert rows.pop(first.order_key).status == "REJECTED"
    (second,) = rows.values()
    assert (second.order_id, second.origin, second.found_by) == (order_id, "bot", None)
    bybit.same_as_the_ledger()


async def test_a_lost_one_that_was_taken_and_one_that_was_not_cannot_be_told_apart(bybit: Account) -> None:
    for fault in (LoseAnswer(), DropRequest()):
        bybit.sim.next("create", fault)
        with pytest.raises(ccxt.NetworkError):
            await bybit.enter()
    bybit.later()
    report = await bybit.trail.reconcile()
    assert len(report.unsettled) == 2
    assert [row.status for row in bybit.trail.orders if row.origin == "bot"] == ["UNKNOWN", "UNKNOWN"]


# -- it was not taken


@pytest.mark.parametrize("fault", [DropRequest(), HttpPage(502)], ids=repr)
async def test_an_order_that_was_not_taken_is_rejected_once_absence_proves_it(account: Account, fault: object) -> None:
    account.sim.next("create", fault)
    await lost(account)
    report = await account.trail.reconcile()
    assert len(report.unsettled) == 1
    assert account.row().status == "UNKNOWN", "it may not be indexed yet"
    account.later()
    await account.reconciled()
    assert account.row().status == "UNKNOWN", "it may have gone from one list to the other just then"
    report = await account.reconciled_twice()
    row = account.row()
    assert (row.status, row.found_by, row.filled, row.fee_status) == ("REJECTED", "absence", Decimal(0), "none_due")
    assert row.reason is not None
    assert "no such order" in row.reason
    assert len(report.found) == 1
    assert report.unsettled == ()
    assert account.trail.trades == []
    assert (await account.reconciled()).asked == 0, "it is settled"


async def test_absence_proves_nothing_once_the_exchange_forgets(account: Account) -> None:
    account.sim.next("create", DropRequest())
    await lost(account)
    account.later(FORGOTTEN)
    report = await account.trail.reconcile()
    assert account.row().status == "UNKNOWN"
    assert len(report.unsettled) == 1


async def test_a_truth_that_comes_after_all_counts_over_absence(account: Account) -> None:
    account.sim.index_delay_ms = -1
    account.sim.next("create", LoseAnswer())
    await lost(account)
    await account.reconciled_twice()  # the exchange takes longer than it ever should
    assert account.row().status == "REJECTED"
    account.sim.index_now()
    await account.reconciled(account.now() - timedelta(hours=1))
    row = account.row(size=Decimal(10))
    assert row.status == "FILLED"
    assert row.reason is None
    account.same_as_the_ledger()


@pytest.mark.parametrize("on", ["read", "history"])
async def test_nothing_is_absent_while_part_of_it_could_not_be_asked(account: Account, on: str) -> None:
    account.sim.next("create", DropRequest())
    await lost(account)
    account.later()
    await account.reconciled()
    account.later(timedelta(minutes=20))
    history = "GET /fapi/v1/allOrders" if account.is_binance else "GET /v5/order/history"
    account.sim.next("read" if on == "read" else history, HttpPage(502))
    report = await account.trail.reconcile()
    assert account.row().status == "UNKNOWN"
    assert report.unanswered
    await account.reconciled()
    assert account.row().status == "REJECTED"


async def test_nothing_is_absent_when_a_list_is_refused_for_good(bybit: Account) -> None:
    """Asking again would tell no more; what is in that list is not known for all that."""
    bybit.sim.next("create", LoseAnswer())
    await lost(bybit)
    bybit.sim.next("GET /v5/order/*", Reject(10001, "params error"), 500)
    for minutes in (10, 20, 30):
        bybit.later(timedelta(minutes=minutes))
        report = await bybit.trail.reconcile()
        assert report.unanswered
    assert bybit.row(origin="bot").status == "UNKNOWN"


async def test_nothing_is_absent_at_a_rate_limit(account: Account) -> None:
    account.sim.next("create", DropRequest())
    await lost(account)
    account.later()
    await account.reconciled()
    account.later(timedelta(minutes=20))
    account.sim.next("read", RateLimited(), 50)
    asking = asyncio.create_task(account.trail.reconcile())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asking, 2)
    assert account.row().status == "UNKNOWN"


async def test_an_order_that_the_exchange_refused_is_not_asked_for(account: Account) -> None:
    code = -2019 if account.is_binance else 110007
    account.sim.next("create", Reject(code, "no"))
    with pytest.raises(ccxt.InsufficientFunds):
        await account.enter()
    account.sim.requests.clear()
    await account.reconciled()
    assert list(account.sim.requests) == []
    assert (account.row().status, account.row().found_by) == ("REJECTED", None)


# -- many of them


async def test_it_is_never_rejected_while_anything_is_open(account: Account) -> None:
    """Lost, dropped and answered by turns, asked for in between: no state that the ledger would deny."""
    faults: list[Callable[[], object]] = [
        LoseAnswer,
        DropRequest,
        lambda: HttpPage(502, taken=True),
        lambda: HttpPage(502),
    ]
    for n in range(12):
        account.sim.next("create", faults[n % 4]())
        with pytest.raises(ccxt.BaseError):
            await account.enter(10 + n)
        if n % 3 == 0:
            await account.trail.reconcile()
            assert not [row for row in account.trail.orders if row.status == "REJECTED"]
    report = await account.reconciled_twice()
    assert report.unsettled == ()
    taken = {order.quantity for order in account.truth()}
    assert {row.size for row in account.trail.orders if row.status == "FILLED"} == taken
    assert {row.size for row in account.trail.orders if row.status == "REJECTED"} == {
        Decimal(10 + n) for n in range(12)
    } - taken
    account.same_as_the_ledger()
