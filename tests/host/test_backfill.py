"""The tables of a bot that traded for weeks without a trail, filled from the exchange's history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from simulated_exchange import HttpPage, SimulatedExchange, async_client
from truth import BTC, MNT, SYMBOL, Account, account_on

from audit_wrapper import AuditTrail
from audit_wrapper.backfill import BackfillProgress, BackfillReport
from audit_wrapper.errors import NotWrapped, SettingsError
from audit_wrapper.testing import memory_trail

WEEKS = 4
_DAY_MS = 86_400_000


@pytest.fixture(params=["binance", "bybit"])
def old(request: pytest.FixtureRequest) -> Iterator[SimulatedExchange]:
    """An exchange whose clock is some weeks behind."""
    start = time.time_ns() // 1_000_000 - (WEEKS * 7 + 1) * _DAY_MS
    with SimulatedExchange(request.param, start_time_ms=start) as exchange:
        yield exchange


@pytest.fixture
async def account(old: SimulatedExchange) -> AsyncIterator[Account]:
    """A trail that begins after weeks of trading."""
    async with account_on(old) as bot:
        await weeks_of_trading(bot)
    async with account_on(old) as opened:
        yield opened


async def weeks_of_trading(bot: Account) -> None:
    for week in range(WEEKS):
        await bot.enter(20 + week)
        stop_id = await bot.stop()
        bot.sim.set_price(MNT, "1.09")
        bot.sim.set_price(MNT, "1.2")
        assert bot.sim.ledger.find_order(stop_id, MNT).is_final
        bot.sim.fund(MNT, "0.0001")
        bot.sim.advance(3 * _DAY_MS)
        await bot.client.create_order(BTC, "market", "buy", 0.01)
        bot.sim.trade_by_hand(MNT, "sell", 5)
        bot.sim.advance(4 * _DAY_MS)
    bot.sim.advance(20 * 3_600_000)
    await bot.limit()


def begin() -> datetime:
    return datetime.now(UTC) - timedelta(days=WEEKS * 7 + 2)


def unasked(report: BackfillReport) -> list[str]:
    """What could not be read, but for orders without a fill, which both exchanges forget."""
    return [sentence for sentence in report.unasked if "ended without a fill" not in sentence]


async def test_the_tables_are_the_ledger(account: Account) -> None:
    steps: list[BackfillProgress] = []
    report = await account.trail.backfill(begin(), progress=steps.append)
    account.same_as_the_ledger()
    assert unasked(report) == []
    assert report.recorded == len(account.trail.orders)
    assert {row.origin for row in (*account.trail.orders, *account.trail.trades)} == {"backfilled"}
    assert {fill.source for fill in account.trail.fills} == {"backfilled"}
    assert {row.link_how for row in account.trail.orders} == {None}
    assert len(account.trail.funding) == len(account.sim.ledger.fundings) == WEEKS
    assert account.trail.status().failures == {}

    assert [step.parts_done for step in steps] == list(range(1, report.parts + 1))
    assert [step.until for step in steps] == sorted(step.until for step in steps)
    assert steps[-1].until == report.until
    assert steps[-1].recorded == report.recorded


async def test_a_second_run_adds_nothing(account: Account) -> None:
    since = begin()
    await account.trail.backfill(since)
    records, rows = len(account.trail.records), account.trail.orders
    account.sim.requests.clear()
    report = await account.trail.backfill(since + timedelta(days=1))
    assert (report.recorded, account.trail.orders) == (0, rows)
    assert report.skipped >= WEEKS - 1
    assert len(account.trail.records) <= records + 1, "but that the youngest part was read again"
    assert len([r for r in account.trail.records[records:] if r.kind != "covered"]) == 0


async def test_broken_off_by_its_own_progress(account: Account) -> None:
    def stop(step: BackfillProgress) -> None:
        if step.parts_done == 2:
            raise RuntimeError("enough for today")

    with pytest.raises(RuntimeError):
        await account.trail.backfill(begin(), progress=stop)
    assert 0 < len(account.trail.orders) < len(account.truth())
    before = {row.order_key for row in account.trail.orders}
    report = await account.trail.backfill(begin())
    assert report.skipped >= 1
    account.same_as_the_ledger()
    assert before <= {row.order_key for row in account.trail.orders}


async def test_broken_off_in_the_middle_of_a_part(account: Account) -> None:
    paths = ("GET /fapi/v1/userTrades", "GET /v5/execution/list")
    answered: list[int] = []

    def step(_: BackfillProgress) -> None:
        answered.append(1)
        if len(answered) == 2:
            hold.append(account.sim.hold(paths[not account.is_binance]))

    hold: list[Any] = []
    task = asyncio.create_task(account.trail.backfill(begin(), progress=step))
    while not hold and not task.done():
        await asyncio.sleep(0.002)
    assert await asyncio.to_thread(hold[0].reached.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold[0].release()
    report = await account.trail.backfill(begin())
    assert report.skipped >= 1
    account.same_as_the_ledger()
    assert len(account.trail.funding) == WEEKS


async def test_a_part_that_could_not_be_read_is_read_again(account: Account) -> None:
    trades = "GET /fapi/v1/userTrades" if account.is_binance else "GET /v5/execution/list"
    account.sim.next(trades, HttpPage(502))
    report = await account.trail.backfill(begin())
    assert any("502" in sentence for sentence in report.unasked)
    report = await account.trail.backfill(begin())
    assert unasked(report) == []
    account.same_as_the_ledger()


async def test_what_the_exchange_forgot_is_told_and_blocks_nothing(account: Account) -> None:
    since = datetime.now(UTC) - timedelta(days=200 if account.is_binance else 740)
    canceled = account.sim.trade_by_hand(MNT, "buy", 10, type="limit", price="1.0")
    account.sim.cancel_by_hand(str(canceled.exchange_order_id), MNT)
    report = await account.trail.backfill(since)
    assert unasked(report) != []
    account.same_as_the_ledger()
    again = await account.trail.backfill(since)
    assert again.recorded == 0
    assert again.skipped >= again.parts - 2


async def test_small_pages(account: Account) -> None:
    account.sim.page_limit = 4
    account.ask_for_pages_of(4)
    await account.trail.backfill(begin())
    account.same_as_the_ledger()


async def test_what_the_trail_saw_itself_stays_the_bots(account: Account) -> None:
    own = await account.enter(33)
    await account.reconciled()
    await account.trail.backfill(begin())
    account.same_as_the_ledger()
    assert account.row(own, symbol=SYMBOL).origin == "bot"
    assert {fill.source for fill in account.fills(account.row(own, symbol=SYMBOL))} == {"reconciled"}
    others = [row for row in account.trail.orders if row.order_id != own and row.status != "NEW"]
    assert {row.origin for row in others} == {"backfilled"}


async def test_what_was_backfilled_is_followed_afterwards(account: Account) -> None:
    await account.trail.backfill(begin())
    (resting,) = [row for row in account.trail.orders if row.status == "NEW"]
    account.sim.set_price(MNT, "1.1")
    await account.reconciled()
    row = next(row for row in account.trail.orders if row.order_key == resting.order_key)
    assert (row.status, row.fee_status) == ("FILLED", "reported")
    account.same_as_the_ledger()


async def test_linked_by_the_bots_own_table_and_not_by_guess(
    old: SimulatedExchange, audit_dsn: str, tmp_path: Path
) -> None:
    async with account_on(old) as bot:
        await weeks_of_trading(bot)
        truth = bot.truth()
    entries = [order for order in truth if order.type.upper() == "MARKET" and order.symbol == SYMBOL][:2]
    client = async_client(old)
    connection = await asyncpg.connect(audit_dsn)
    try:
        opened = begin().replace(tzinfo=None)
        for number, order in enumerate(entries):
            await connection.execute(
                "INSERT INTO monitoring.positions (signal_id, symbol, exchange, side, quantity, entry_price, status,"
                " exchange_order_id, opened_at) VALUES ($1, $2, $3, 'long', 10, 1.2, 'active', $4, $5)",
                70 + number,
                SYMBOL,
                old.kind,
                order.exchange_order_id,
                opened,
            )
        await client.load_markets()
        settings = {"ask_exchange": "off", "ask_per_minute": 6_000, "delivery_pause_s": 0.01}
        for _ in range(2):
            async with AuditTrail.open(audit_dsn, journal=tmp_path, **settings) as trail:
                trail.wrap(client)
                report = await trail.backfill(begin())
                assert trail.status().failures == {}
        assert report.recorded == 0
        rows = await connection.fetch("SELECT * FROM monitoring.orders")
        assert {(row["symbol"], row["order_id"]) for row in rows} == {(o.symbol, o.exchange_order_id) for o in truth}
        assert len(rows) == len(truth)
        linked = {row["order_id"]: (row["signal_id"], row["link_how"]) for row in rows if row["position_id"]}
        expected = {
            order.exchange_order_id: (70 + number, "positions_table:order_id") for number, order in enumerate(entries)
        }
        assert linked == expected
        assert await connection.fetchval("SELECT count(*) FROM audit.funding") == WEEKS
        assert await connection.fetchval("SELECT sum(quantity) FROM audit.fills") == sum(
            (fill.quantity for fill in old.ledger.fills), Decimal(0)
        )
    finally:
        await connection.close()
        await client.close()


async def test_what_cannot_be(sim: SimulatedExchange) -> None:
    with memory_trail() as trail, pytest.raises(NotWrapped):
        await trail.backfill(begin())
    async with account_on(sim) as account:
        with pytest.raises(SettingsError):
            await account.trail.backfill(datetime(2026, 1, 1))
        with pytest.raises(SettingsError):
            await account.trail.backfill(begin(), begin() - timedelta(days=1))
        with pytest.raises(NotWrapped):
            await account.trail.backfill(begin(), exchange="elsewhere")
