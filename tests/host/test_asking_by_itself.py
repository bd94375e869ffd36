"""The trail asks by itself: soon, from time to time and at the start; never in the bot's way."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import ccxt.async_support as ccxt
import pytest
from simulated_exchange import LoseAnswer, RateLimited, SimulatedExchange, async_client, sync_client
from truth import MNT, Account, account_on

from audit_wrapper import AuditTrail
from audit_wrapper.records import RecordKind
from audit_wrapper.testing import memory_trail

QUICK: dict[str, Any] = {"ask_exchange": "auto", "ask_after_s": 0.01, "ask_every_s": 0.03}


@pytest.fixture
async def account(sim: SimulatedExchange) -> AsyncIterator[Account]:
    async with account_on(sim, **QUICK) as opened:
        yield opened


@pytest.fixture
def bybit() -> Iterator[SimulatedExchange]:
    """For what has nothing to do with which exchange it is."""
    with SimulatedExchange("bybit") as exchange:
        yield exchange


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for what the trail does by itself."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.003)


def reads(sim: SimulatedExchange) -> int:
    return sum(request.method == "GET" for request in sim.requests)


# -- when


async def test_soon_after_an_answer_that_leaves_something_open(account: Account) -> None:
    order_id = await account.enter()
    await until(lambda: account.row(order_id).fee_status == "reported")
    account.same_as_the_ledger()


async def test_soon_after_an_answer_that_was_lost(account: Account) -> None:
    account.later()
    await account.enter()
    account.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.enter(20)
    await until(lambda: account.row(size=Decimal(20), origin="bot").status == "FILLED")


async def test_from_time_to_time_for_open_stops(account: Account) -> None:
    await account.enter()
    stop_id = await account.stop()
    await until(lambda: all(row.fee_status != "pending" for row in account.trail.orders))
    account.sim.set_price(MNT, "1.09")
    await until(lambda: account.row(stop_id).status == "FILLED")
    await until(lambda: account.row(stop_id).fee_status == "reported")
    account.same_as_the_ledger()


async def test_from_time_to_time_for_attached_stops() -> None:
    with SimulatedExchange("bybit") as sim:
        async with account_on(sim, **QUICK) as account:
            await account.enter()
            await account.attach(stopLoss="1.1")
            await until(lambda: account.row(type="STOP_LOSS", origin="bot").order_id is not None)
            sim.set_price(MNT, "1.09")
            await until(lambda: account.row(type="STOP_LOSS", origin="bot").fee_status == "reported")
            account.same_as_the_ledger()


async def test_at_the_start_for_what_an_earlier_run_left_open(
    sim: SimulatedExchange, audit_dsn: str, tmp_path: Path
) -> None:
    client = async_client(sim)
    connection = await asyncpg.connect(audit_dsn)
    try:
        await client.load_markets()
        async with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
            first = Account(sim, trail.wrap(client), trail)  # type: ignore[arg-type]
            await first.enter()
            stop_id = await first.stop()
            sim.next("create", LoseAnswer())
            with pytest.raises(ccxt.NetworkError):
                await first.enter(20)
        sim.set_price(MNT, "1.09")
        async with AuditTrail.open(audit_dsn, journal=tmp_path, delivery_pause_s=0.01, **QUICK) as trail:
            Account(sim, trail.wrap(client), trail).later()  # type: ignore[arg-type]
            await client.fetch_ticker(MNT)
            async with asyncio.timeout(15):
                while True:
                    rows = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY created_at")
                    if {row["fee_status"] for row in rows} == {"reported"}:
                        break
                    await asyncio.sleep(0.02)
            assert trail.status().failures == {}
        assert [(row["status"], row["filled"]) for row in rows] == [
            ("FILLED", Decimal(10)),
            ("FILLED", Decimal(10)),
            ("FILLED", Decimal(20)),
        ]
        assert rows[1]["order_id"] == stop_id
        assert await connection.fetchval("SELECT count(*) FROM monitoring.trades") == 3
    finally:
        await connection.close()
        await client.close()


async def test_until_the_exchange_has_indexed_it(account: Account) -> None:
    account.sim.index_delay_ms = -1
    order_id = await account.enter()
    asked = reads(account.sim)
    await until(lambda: reads(account.sim) >= asked + 3)
    assert account.row(order_id).fee_status == "pending"
    account.sim.index_now()
    await until(lambda: account.row(order_id).fee_status == "reported")
    account.same_as_the_ledger()


# -- never in the way


async def test_never_while_an_order_call_is_under_way(account: Account) -> None:
    await account.enter()
    await until(lambda: bool(account.trail._inquiry.inquirer._paces))
    pace = account.trail._inquiry.inquirer._paces[account.sim.kind]
    looked = 0
    is_busy = pace._is_busy

    def counted() -> bool:
        nonlocal looked
        looked += 1
        return is_busy()

    hold = account.sim.hold("create")
    placing = asyncio.create_task(account.enter(20))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    await asyncio.sleep(0.05)  # what was under way when the order call began is answered
    before = reads(account.sim)
    pace._is_busy = counted
    await until(lambda: looked >= 5)
    assert reads(account.sim) == before
    hold.release()
    order_id = await placing
    await until(lambda: account.row(order_id).fee_status == "reported")


async def test_not_more_often_than_the_user_allows(sim: SimulatedExchange) -> None:
    async with account_on(sim, **{**QUICK, "ask_per_minute": 4}) as account:
        for _ in range(6):
            await account.enter()
        loaded = reads(sim)
        await until(lambda: reads(sim) >= loaded + 1)
        pace = account.trail._inquiry.inquirer._paces[sim.kind]
        await until(lambda: len(pace._taken) == 4)
        await asyncio.sleep(0.2)  # nothing more comes, however much is open
        assert reads(sim) - loaded <= 4


async def test_not_after_a_rate_limit(account: Account) -> None:
    await account.enter()
    await until(lambda: account.row().fee_status == "reported")
    account.sim.next("GET *", RateLimited(), 20)
    order_id = await account.enter(20)
    pace = account.trail._inquiry.inquirer._paces[account.sim.kind]
    await until(lambda: pace.is_quiet)
    await asyncio.sleep(0.05)  # what was under way beside it is answered
    before = reads(account.sim)
    await account.enter(30)
    await asyncio.sleep(0.2)
    assert reads(account.sim) == before
    assert account.row(order_id).fee_status == "pending"


async def test_nothing_of_its_own_is_audited(account: Account) -> None:
    await account.enter()
    await account.stop()
    await until(lambda: all(row.fee_status != "pending" for row in account.trail.orders))
    kinds = [record.kind for record in account.trail.records]
    assert set(kinds) == {RecordKind.INTENT, RecordKind.ACKNOWLEDGED, RecordKind.RECONCILED}
    assert kinds.count(RecordKind.INTENT) == len(account.sim.requests.writes()) == 2


async def test_nothing_of_its_own_is_audited_after_a_cancel_that_failed(account: Account) -> None:
    """What is asked because of it is not within the call that failed."""
    order_id = await account.limit()
    account.sim.next("cancel", LoseAnswer(headers_sent=True))
    with pytest.raises(ccxt.BaseError):
        await account.client.cancel_order(order_id, MNT)
    await until(lambda: account.row(order_id).status == "CANCELED")
    sent = [record.request for record in account.trail.records if record.request is not None]
    assert {request.method for request in sent} <= {"POST", "DELETE"}
    assert account.trail.status().failures == {}


async def test_no_order_waits_in_the_clients_rate_limiter_for_what_is_asked(sim: SimulatedExchange) -> None:
    client = async_client(sim)
    try:
        await client.load_markets()
        client.enableRateLimit, costs = True, list[float]()

        async def counting(cost: float | None = None) -> None:
            costs.append(cost or 0)

        client.throttler = counting
        with memory_trail() as trail:
            trail.wrap(client)
            order = await client.create_order(MNT, "market", "buy", 10)
            before = len(costs)
            assert before > 0, "the bot's own calls are limited as they were"
            assert (await trail.reconcile()).asked == 1
            assert len(costs) == before
            await client.fetch_order(order["id"], MNT, {"acknowledged": True})
            assert len(costs) > before
            trail.unwrap(client)
        assert "throttle" not in vars(client)
    finally:
        await client.close()


async def test_a_synchronous_client_is_not_asked_on_the_loop_that_it_would_block(sim: SimulatedExchange) -> None:
    client = sync_client(sim)
    client.load_markets()
    with memory_trail(**QUICK) as trail:
        trail.wrap(client)
        client.create_order(MNT, "market", "buy", 10)
        asked = reads(sim)
        inquirer = trail._inquiry.inquirer
        assert (inquirer._tasks, inquirer._sweeping) == (set(), None)
        assert (await trail.reconcile()).answered == 1, "it is when somebody asks for that"
        assert reads(sim) > asked


async def test_it_begins_again_when_the_bot_has_cancelled_all_tasks(account: Account) -> None:
    await account.enter()
    await until(lambda: account.trail._inquiry.inquirer._sweeping is not None)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await until(lambda: account.trail._inquiry.inquirer._sweeping.done())  # type: ignore[union-attr]
    stop_id = await account.stop()
    account.sim.set_price(MNT, "1.09")
    await until(lambda: account.row(stop_id).status == "FILLED")


async def test_what_stays_as_it_is_is_written_once(account: Account) -> None:
    await account.enter()
    await account.stop()
    await account.limit()
    await until(lambda: [row.fee_status == "pending" for row in account.trail.orders] == [False] * 3)
    asked, written = reads(account.sim), len(account.trail.records)
    await until(lambda: reads(account.sim) >= asked + 6)
    assert len(account.trail.records) <= written + 2, "the stop and the limit order, once each"


async def test_a_database_that_is_away(
    bybit: SimulatedExchange, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = async_client(bybit)
    try:
        await client.load_markets()
        nowhere = "postgresql://127.0.0.1:1/nowhere"
        trail = AuditTrail.open(nowhere, journal=tmp_path, close_timeout_s=0.2, **QUICK)
        trail.wrap(client)
        longest, beats = 0.0, asyncio.get_running_loop().time

        async def beat() -> None:
            nonlocal longest
            while True:
                before = beats()
                await asyncio.sleep(0.005)
                longest = max(longest, beats() - before)

        beating = asyncio.create_task(beat())
        for _ in range(5):
            await client.create_order(MNT, "market", "buy", 10)
        await until(lambda: trail.status().recorded >= 15)  # intent, answer, and what was asked of each
        beating.cancel()
        assert longest < 0.5, "nobody holds up the bot's loop"
        began = time.monotonic()
        await trail.aclose()
        assert time.monotonic() - began < 5
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 4
    finally:
        await client.close()


def test_one_loop_after_the_other(bybit: SimulatedExchange) -> None:
    """A bot that calls `asyncio.run` again: what its first run left open is asked about in the second."""
    trail = memory_trail(**QUICK)

    async def first() -> None:
        client = async_client(bybit)
        await client.load_markets()
        trail.wrap(client)
        await client.create_order(MNT, "market", "buy", 10)
        trail.unwrap(client)
        await client.close()

    async def second() -> None:
        client = async_client(bybit)
        await client.load_markets()
        trail.wrap(client)
        await client.fetch_ticker(MNT)
        await until(lambda: trail.orders[0].fee_status == "reported")
        await client.close()

    with trail:
        asyncio.run(first())
        asyncio.run(second())
        assert trail.status().failures == {}


# -- the end


async def test_a_trail_that_is_closed_while_the_bot_waits_for_a_report(account: Account) -> None:
    trail = account.trail
    for _ in range(3):
        await account.enter()
    path = "GET /fapi/v1/allOrders" if account.is_binance else "GET /v5/order/history"
    hold = account.sim.hold(path)
    asking = asyncio.create_task(trail.reconcile(account.now() - timedelta(hours=1)))
    assert await asyncio.to_thread(hold.reached.wait, 5)
    trail.close()
    hold.release()
    async with asyncio.timeout(5):
        report = await asking
    assert any("ended" in sentence for sentence in report.unanswered)
    assert trail.status().failures == {}


async def test_a_trail_on_a_database_that_is_closed_while_it_asks(
    bybit: SimulatedExchange, audit_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = async_client(bybit)
    try:
        await client.load_markets()
        for number in range(4):
            trail = AuditTrail.open(audit_dsn, journal=tmp_path, delivery_pause_s=0.001, **QUICK)
            trail.wrap(client)
            await client.create_order(MNT, "market", "buy", 10 + number)
            await asyncio.sleep(0.02 * number)  # another moment each time
            left = await trail.aclose()
            assert left, left
            assert trail.status().failures == {}
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
        left_over = [task for task in asyncio.all_tasks() if task.get_name().startswith("audit_wrapper")]
        async with asyncio.timeout(5):
            await asyncio.gather(*left_over, return_exceptions=True)
    finally:
        await client.close()


def _bot_that_ends(sim: SimulatedExchange, end: str, asked: bool) -> None:
    trail = memory_trail(**{**QUICK, **({} if asked else {"ask_every_s": 60.0})})
    hold = sim.hold("GET /fapi/v*/order" if sim.kind == "binance" else "GET /v5/order/realtime") if asked else None

    async def bot() -> None:
        client = async_client(sim)
        await client.load_markets()
        trail.wrap(client)
        await client.create_order(MNT, "market", "buy", 10)
        if hold is not None:
            assert await asyncio.to_thread(hold.reached.wait, 5)
        else:
            await until(lambda: trail.orders[0].fee_status == "reported")
            await asyncio.sleep(0.05)
        if end == "trail":
            trail.close()
            await asyncio.sleep(0.05)
            left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("audit_wrapper")]
            assert left == []
        await client.close()
        if hold is not None:
            hold.release()

    loop = asyncio.new_event_loop()
    try:
        if end == "loop_without_a_word":
            loop.run_until_complete(bot())
            loop.run_until_complete(loop.shutdown_default_executor())
        else:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(bot())
    finally:
        loop.close()
    trail.close()
    assert trail.orders[0].order_id is not None
    assert trail.status().failures == {}


@pytest.mark.parametrize("end", ["trail", "loop", "loop_without_a_word"])
@pytest.mark.parametrize("asked", [True, False], ids=["while_it_asks", "while_it_waits"])
def test_an_end_in_the_middle(end: str, asked: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody complains: no warning, nothing that asyncio logs, not even when all of it is collected."""
    gc.collect()
    caplog.clear()
    kind = "bybit" if asked else "binance"
    with SimulatedExchange(kind) as sim, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _bot_that_ends(sim, end, asked)
        gc.collect()
    assert [str(warning.message) for warning in caught if "await" in str(warning.message)] == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
