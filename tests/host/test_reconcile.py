"""What an order came to, learned by asking: fills and fees, over a range of time, of others; on both exchanges."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import ccxt.async_support as ccxt
import pytest
from audited import audited
from simulated_exchange import LoseAnswer, RateLimited, SimulatedExchange
from truth import BTC, MNT, SYMBOL, Account, account_on

from audit_wrapper.records import RecordKind

# -- fills and fees


async def test_fees_in_several_currencies_are_never_added(account: Account) -> None:
    account.sim.fee_currency, account.sim.split_fills = "mixed", 4
    row_id = await account.enter(40)
    await account.reconciled()
    row = account.row(row_id)
    for one in (row, account.trade(row)):
        assert (one.fee, one.fee_currency, one.fee_status) == (None, None, "several_currencies")
    fills = account.fills(row)
    assert len({fill.fee_currency for fill in fills}) == 2
    assert all(fill.fee is not None and fill.fee_status == "reported" for fill in fills)
    account.same_as_the_ledger()


async def test_a_rebate_is_negative(account: Account) -> None:
    account.sim.maker_rate = Decimal("-0.0001")
    row_id = await account.limit(100, 1.1)
    account.sim.complete(row_id, MNT)
    await account.reconciled()
    row = account.row(row_id)
    (fill,) = account.fills(row)
    assert row.fee == account.trade(row).fee == fill.fee == Decimal("-0.011")
    assert (fill.liquidity, row.fee_status) == ("maker", "reported")
    account.same_as_the_ledger()


async def test_a_fee_is_pending_until_it_is_known(account: Account) -> None:
    account.sim.fee_delay = True
    row_id = await account.enter()
    assert (account.row(row_id).fee, account.row(row_id).fee_status) == (None, "pending")
    await account.trail.reconcile()
    row = account.row(row_id)
    assert (row.status, row.filled) == ("FILLED", Decimal(10))
    assert row.fee_status == ("missing" if account.is_binance else "derived"), "Bybit names a rate"
    account.sim.settle_fees()
    await account.reconciled()
    account.same_as_the_ledger()


async def test_a_fee_corrected_later_is_one_more_record(account: Account) -> None:
    row_id = await account.enter()
    await account.reconciled()
    before = len(account.trail.records)
    account.sim.correct_fee(account.fill_of().exchange_trade_id, MNT, "0.0042", "USDT")
    report = await account.reconciled(account.now() - timedelta(hours=1))
    assert report.recorded == 1
    assert len(account.trail.records) == before + 1
    assert account.row(row_id).fee == Decimal("0.0042")
    account.same_as_the_ledger()
    await account.reconciled(account.now() - timedelta(hours=1))
    assert len(account.trail.records) == before + 1, "what is known is not written again"


async def test_a_fill_says_where_it_is_known_from(account: Account) -> None:
    asked = await account.enter()
    await account.reconciled()
    account.sim.split_fills = 1
    pushed = await account.limit(10, 1.1)
    since = len(account.sim.messages())
    account.sim.complete(pushed, MNT)
    for message in account.sim.messages(since):
        assert account.trail.observe(account.sim.kind, message["message"])
    sources = {row_id: {fill.source for fill in account.fills(account.row(row_id))} for row_id in (asked, pushed)}
    assert sources == {asked: {"reconciled"}, pushed: {"observed"}}
    await account.reconciled()
    assert {fill.source for fill in account.fills(account.row(pushed))} == {"observed"}, "where it was known from first"
    account.same_as_the_ledger()


# -- on demand


async def test_it_says_what_it_found(account: Account) -> None:
    row_id = await account.enter()
    account.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.enter(20)
    account.later()
    report = await account.reconciled()
    assert report.asked == report.answered > 0
    assert report.recorded >= 2
    (sentence,) = report.found
    assert str(account.row(size=Decimal(20)).order_id) in sentence
    assert report.unsettled == ()
    assert account.row(row_id).status == "FILLED"
    account.same_as_the_ledger()


async def test_asking_again_adds_nothing(account: Account) -> None:
    await account.enter()
    await account.stop()
    await account.limit()
    since = account.now() - timedelta(hours=1)
    await account.reconciled(since)
    before = len(account.trail.records)
    for _ in range(2):
        report = await account.reconciled(since)
        assert (report.recorded, report.found) == (0, ())
    assert len(account.trail.records) == before


async def test_two_orders_of_one_id(account: Account) -> None:
    """Binance numbers the orders of each symbol by themselves."""
    resting = await account.limit(0.01, 50_000, BTC)
    filled = await account.limit(10, 1.1)
    assert (resting == filled) is account.is_binance
    account.sim.complete(filled, MNT)
    await account.reconciled()
    assert account.row(filled, symbol=SYMBOL).status == "FILLED"
    account.same_as_the_ledger()


async def test_a_range_of_time_in_small_pages(account: Account) -> None:
    sim = account.sim
    since = account.now()
    sim.page_limit, sim.split_fills = 4, 3
    account.ask_for_pages_of(4)
    for _ in range(4):
        await account.enter(30)
        sim.advance(1)
        await account.client.create_order(BTC, "market", "buy", 0.01)
        sim.advance(86_400_000 * 2)
    canceled = await account.limit()
    await account.client.cancel_order(canceled, MNT)
    report = await account.trail.reconcile(since, account.now() + timedelta(minutes=1))
    assert [sentence for sentence in report.unanswered if "ended without a fill" not in sentence] == []
    account.same_as_the_ledger()


async def test_orders_that_are_not_indexed_yet(account: Account) -> None:
    account.sim.index_delay_ms = -1
    row_id = await account.enter()
    report = await account.trail.reconcile(account.now() - timedelta(hours=1))
    assert [("does not know it (yet)" in sentence) for sentence in report.unanswered] == [True]
    assert account.row(row_id).status in ("NEW", "FILLED")
    account.sim.index_now()
    await account.reconciled()
    account.same_as_the_ledger()


async def test_it_stops_at_a_rate_limit_and_says_so(account: Account) -> None:
    ids = [await account.enter() for _ in range(3)]
    account.sim.requests.clear()
    account.sim.next("read", RateLimited())
    report = await account.trail.reconcile()
    assert len(account.sim.requests) == 1
    assert report.unanswered
    assert all("rate limit" in sentence for sentence in report.unanswered if "know" not in sentence)
    assert not any("does not know it" in sentence for sentence in report.unanswered), "it was not asked"
    assert {account.row(row_id).fee_status for row_id in ids} == {"pending"}


async def test_it_does_not_audit_itself(account: Account) -> None:
    await account.enter()
    await account.stop()
    before = len(account.trail.records)
    await account.reconciled(account.now() - timedelta(hours=1))
    assert {record.kind for record in account.trail.records[before:]} == {RecordKind.RECONCILED}


async def test_markets_that_are_spelled_alike() -> None:
    """MNTUSDT is a contract and a spot market of Bybit; and there are prices of twelve decimals."""
    with SimulatedExchange("bybit") as sim:
        async with account_on(sim) as account:
            await account.enter(10)
            await account.client.create_order("MNT/USDT", "limit", "buy", 12, 1.5)
            await account.client.create_order("PEPEX/USDT:USDT", "market", "buy", 5_000_000_000)
            resting = sim.trade_by_hand("MNT/USDT", "buy", 10, type="limit", price="1.1")
            await account.reconciled(account.now() - timedelta(hours=1))
            account.same_as_the_ledger()
            spelled = {(row.symbol, row.unified_symbol) for row in account.trail.orders}
            assert {(SYMBOL, MNT), (SYMBOL, "MNT/USDT"), ("PEPEXUSDT", "PEPEX/USDT:USDT")} == spelled
            assert account.row(resting.exchange_order_id).unified_symbol == "MNT/USDT"
            async with account_on(sim) as other:
                for message in sim.messages():
                    assert other.trail.observe("bybit", message["message"])
                other.same_as_the_ledger()
                assert {(row.symbol, row.unified_symbol) for row in other.trail.orders} == spelled


async def test_two_exchanges_of_one_bot() -> None:
    with SimulatedExchange("binance") as one, SimulatedExchange("bybit") as two:
        async with account_on(one) as first, account_on(two) as second:
            second.trail.unwrap(second.client)
            first.trail.wrap(second.client)
            ids = {"binance": await first.enter(10), "bybit": await second.enter(20)}
            two.next("create", LoseAnswer())
            with pytest.raises(ccxt.NetworkError):
                await second.enter(30)
            by_hand = one.trade_by_hand(MNT, "buy", 10)
            first.later()
            await first.reconciled(first.now() - timedelta(hours=1))
            rows = [(row.exchange, row.order_id, row.size, row.origin) for row in first.trail.orders]
            assert sorted(rows, key=repr) == sorted(
                [
                    ("binance", ids["binance"], Decimal(10), "bot"),
                    ("binance", by_hand.exchange_order_id, Decimal(10), "external"),
                    ("bybit", ids["bybit"], Decimal(20), "bot"),
                    ("bybit", two.ledger.orders[-1].exchange_order_id, Decimal(30), "bot"),
                ],
                key=repr,
            )


async def test_several_at_once(account: Account) -> None:
    for _ in range(3):
        await account.enter()
    await account.stop()
    account.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.enter(20)
    account.later()
    since = account.now() - timedelta(hours=1)
    await asyncio.gather(*(account.trail.reconcile(since) for _ in range(3)))
    assert account.trail.status().failures == {}
    account.same_as_the_ledger()


# -- orders of others, and what the exchange pays


async def test_orders_of_others_are_external_and_linked_to_nothing(account: Account) -> None:
    with account.trail.position(id=12, signal_id=3, side="long"):
        own = await account.enter()
        by_hand = account.sim.trade_by_hand(MNT, "buy", 10)
        other_bot = account.sim.trade_by_hand(
            BTC, "buy", "0.01", type="limit", price="50000", client_order_id="x-other"
        )
        stop = account.sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.1", reduce_only=True)
        await account.reconciled(account.now() - timedelta(hours=1))
    account.same_as_the_ledger()
    for order in (by_hand, other_bot, stop):
        row = account.row(order.exchange_order_id, symbol=order.symbol)
        assert (row.origin, row.position_id, row.signal_id, row.link_how) == ("external", None, None, None)
        assert row.client_order_id == (order.client_order_id or None)
    assert account.row(own, symbol=SYMBOL).position_id == "12"
    assert account.row(own, symbol=SYMBOL).origin == account.trade(account.row(own, symbol=SYMBOL)).origin == "bot"
    assert account.trade(account.row(by_hand.exchange_order_id)).origin == "external"


async def test_nothing_of_others_is_linked_to_the_bots_open_position(
    sim: SimulatedExchange, bot_dsn: str, tmp_path: Path
) -> None:
    async with audited(sim, bot_dsn, tmp_path) as desk:
        await desk.open()
        position = await desk.position()
        assert position["status"] == "active"
        others = [sim.trade_by_hand(MNT, "buy", 5), sim.deleverage(MNT, 2), sim.liquidate(MNT, "0.2")]
        for _ in range(2):
            await desk.trail.reconcile(datetime.now(UTC) - timedelta(hours=1))
        rows = {row["order_id"]: row for row in await desk.rows()}
        origins = []
        for order in others:
            row = rows.pop(order.exchange_order_id)
            origins.append(row["origin"])
            assert (row["position_id"], row["signal_id"], row["link_how"]) == (None, None, None)
        assert origins == ["external", "auto_deleveraging", "liquidation"]
        assert {row["position_id"] for row in rows.values()} == {str(position["id"])}
        trades = await desk.rows("trades", origin="external")
        assert [trade["position_id"] for trade in trades] == [None]
        assert desk.trail.status().failures == {}


async def test_what_others_do_afterwards_is_followed(account: Account) -> None:
    resting = account.sim.trade_by_hand(MNT, "buy", 10, type="limit", price="1.1")
    stop = account.sim.trade_by_hand(MNT, "sell", 10, trigger_price="1.05")
    if account.is_binance:
        await account.enter(symbol=MNT)  # Binance has to be told which symbols
    await account.reconciled(account.now() - timedelta(hours=1))
    account.sim.set_price(MNT, "1.04")
    await account.reconciled()
    assert account.row(resting.exchange_order_id).status == "FILLED"
    assert account.row(stop.exchange_order_id).status == "FILLED"
    account.same_as_the_ledger()


async def test_funding_is_there_once(account: Account) -> None:
    await account.enter(100)
    paid = [account.sim.fund(MNT, rate) for rate in ("0.0001", "-0.0002")]
    for _ in range(2):
        await account.reconciled(account.now() - timedelta(hours=1))
    rows = sorted(account.trail.funding, key=lambda row: row.amount)
    expected = sorted(paid, key=lambda payment: payment.amount)
    assert [(r.payment_id, r.amount, r.currency) for r in rows] == [
        (p.exchange_funding_id, p.amount, p.currency) for p in expected
    ]
    assert {(row.exchange, row.account) for row in rows} == {(account.sim.kind, "default")}
    account.same_as_the_ledger()


# -- the bot's own requests


async def test_it_changes_nothing_of_what_the_bot_sends(sim: SimulatedExchange) -> None:
    async def day(asking: bool) -> list[object]:
        with SimulatedExchange(sim.kind) as exchange:
            async with account_on(
                exchange, ask_exchange="auto" if asking else "off", ask_after_s=0.005, ask_every_s=0.01
            ) as a:
                await a.enter(clientOrderId="one")
                await a.limit(10, 1.1, clientOrderId="two")
                if asking:
                    await a.trail.reconcile(a.now() - timedelta(hours=1))
                exchange.set_price(MNT, "1.1")
                exchange.next("create", LoseAnswer())
                with pytest.raises(ccxt.NetworkError):
                    await a.enter(20, clientOrderId="three")
                await asyncio.gather(*(a.enter(30 + n, clientOrderId=f"four-{n}") for n in range(3)))
                if asking:
                    await a.trail.reconcile()
                await a.client.cancel_all_orders(MNT)
            return [request.without() for request in exchange.requests.writes()]

    with_it, without = await day(True), await day(False)
    assert sorted(map(repr, with_it)) == sorted(map(repr, without))
    assert with_it[:3] == without[:3]
