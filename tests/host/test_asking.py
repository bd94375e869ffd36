"""Asking the simulated exchange through real ccxt clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from simulated_exchange import RateLimited, SimulatedExchange, async_client, sync_client

from audit_wrapper.asking import Asker, Pace, absence_counts
from audit_wrapper.exchanges import adapter_for

MNT, BTC = "MNT/USDT:USDT", "BTC/USDT:USDT"
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(sim: SimulatedExchange) -> AsyncIterator[Any]:
    opened = async_client(sim)
    await opened.load_markets()
    yield opened
    await opened.close()


def asker(client: Any, pace: Pace | None = None) -> Asker:
    return Asker(client, client.id, pace or Pace(10_000, lambda: False))


async def test_one_order_and_its_executions(sim: SimulatedExchange, client: Any) -> None:
    placed = await client.create_order(MNT, "market", "buy", 10, None, {})
    sim.requests.clear()
    heard = await asker(client).order(MNT, placed["id"])
    assert heard.is_complete
    assert [row["id"] for row in heard.orders] == [placed["id"]]
    [order] = sim.ledger.orders
    fills = [fill for fill in sim.ledger.fills if fill.exchange_order_id == order.exchange_order_id]
    assert len(heard.trades) == len(fills) > 0
    assert {row["symbol"] for row in heard.trades} == {MNT}
    assert len(sim.requests) == 2


async def test_by_client_id(sim: SimulatedExchange, client: Any) -> None:
    placed = await client.create_order(MNT, "market", "buy", 10, None, {"clientOrderId": "mine-1"})
    heard = await asker(client).order(MNT, client_order_id="mine-1")
    assert [row["id"] for row in heard.orders] == [placed["id"]]
    assert heard.trades


async def test_an_order_that_is_not_there(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    own = "999999999" if sim.kind == "binance" else "2ef5a4b1-0000-0000-0000-000000000000"
    for named in ({"order_id": own}, {"client_order_id": "never-sent"}):
        heard = await asker(client).order(MNT, **named)
        assert heard.orders == ()
        assert heard.unasked == ()


async def test_a_stop_that_fired(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    now = (await client.fetch_ticker(MNT))["last"]
    trigger = round(now * 0.9, 4)
    params = {"triggerPrice": trigger, "reduceOnly": True}
    if sim.kind == "bybit":
        params["triggerDirection"] = 2
    placed = await client.create_order(MNT, "market", "sell", 10, None, params)
    kind = "algo" if sim.kind == "binance" else "order"

    waiting = await asker(client).order(MNT, placed["id"], id_kind=kind)
    assert [row["id"] for row in waiting.orders] == [placed["id"]]
    assert waiting.trades == ()
    shown = await asker(client).open_orders([MNT])
    assert [row["id"] for row in shown.orders] == [placed["id"]]
    everything = await asker(client).open_orders()
    assert [str(row["id"]) for row in everything.orders] == [placed["id"]]
    assert {row["symbol"] for row in everything.orders} == {MNT}

    sim.set_price("MNTUSDT", str(round(now * 0.8, 4)))
    fired = await asker(client).order(MNT, placed["id"], id_kind=kind)
    assert len(fired.orders) == (2 if sim.kind == "binance" else 1)
    assert len(fired.trades) == 1
    assert fired.is_complete
    assert (await asker(client).open_orders([MNT])).orders == ()


async def test_history_is_the_ledger(sim: SimulatedExchange, client: Any) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    for _ in range(12):
        await client.create_order(MNT, "market", "buy", 10)
        await client.create_order(BTC, "market", "buy", 0.001)
    resting = await client.create_order(MNT, "limit", "buy", 100, 0.5)
    await client.cancel_order(resting["id"], MNT)
    listed = asker(client).history([MNT, BTC], since, datetime.now(UTC) + timedelta(seconds=2))
    heard = [one async for one in listed]
    orders = sorted(str(row["id"]) for one in heard for row in one.orders)
    assert orders == sorted(str(order.exchange_order_id) for order in sim.ledger.orders)
    trades = [row for one in heard for row in one.trades]
    assert len(trades) == len(sim.ledger.fills) == len({(row["symbol"], row["id"]) for row in trades})
    assert {row["symbol"] for row in trades} == {MNT, BTC}


async def test_a_rate_limit_ends_the_asking(sim: SimulatedExchange, client: Any) -> None:
    placed = await client.create_order(MNT, "market", "buy", 10)
    pace = Pace(10_000, lambda: False)
    sim.requests.clear()
    sim.next("any", RateLimited(), 5)
    heard = await asker(client, pace).order(MNT, placed["id"])
    assert len(sim.requests) == 1
    assert pace.is_quiet
    assert "rate limit" in heard.unasked[0]
    assert heard.again


async def test_a_client_that_blocks(sim: SimulatedExchange) -> None:
    client = await asyncio.to_thread(sync_client, sim)
    placed = await asyncio.to_thread(client.create_order, MNT, "market", "buy", 10)
    heard = await asker(client).order(MNT, placed["id"])
    assert [row["id"] for row in heard.orders] == [placed["id"]]
    assert heard.trades


async def test_the_implicit_methods_are_ccxts(client: Any) -> None:
    from audit_wrapper.asking import binance, bybit

    if client.id == "binance":
        names = [names for lists in binance._OPEN_AT_ONCE.values() for names, _ in lists]
        names += list(binance._INCOME.values())
    else:
        names = [lists.implicit for lists in (bybit._OPEN, bybit._ENDED, bybit._EXECUTIONS)]
    assert all(callable(getattr(client, name, None)) for pair in names for name in pair)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("page_limit", [1, 3])
async def test_small_pages_lose_and_double_nothing(
    sim: SimulatedExchange, client: Any, page_limit: int, at_once: bool
) -> None:
    sim.settings.split_fills = 7
    await client.create_order(BTC, "market", "buy", 0.01)
    if at_once:
        sim.stop_clock()  # all of it in one millisecond
    since = datetime.now(UTC) - timedelta(hours=1)
    for _ in range(4):
        placed = await client.create_order(MNT, "market", "buy", 70)
    sim.settings.page_limit = page_limit
    small = Asker(client, client.id, Pace(10_000, lambda: False), page_limit=page_limit)
    one = await small.order(MNT, placed["id"])
    assert len(one.trades) == 7
    heard = [part async for part in small.history([MNT], since, datetime.now(UTC) + timedelta(seconds=2))]
    assert len([row for part in heard for row in part.orders]) == 4
    trades = [row["id"] for part in heard for row in part.trades]
    assert len(trades) == len(set(trades)) == 28
    assert not any(part.unasked for part in heard)


async def test_an_order_that_bybit_forgot_in_its_first_list(sim: SimulatedExchange, client: Any) -> None:
    sim.settings.recent_orders = 0
    placed = await client.create_order(MNT, "market", "buy", 10)
    heard = await asker(client).order(MNT, placed["id"])
    assert [row["id"] for row in heard.orders] == [placed["id"]]
    assert len(heard.trades) == 1


async def test_symbols_that_were_traded(sim: SimulatedExchange, client: Any) -> None:
    await client.create_order(MNT, "market", "buy", 10)
    resting = await client.create_order(BTC, "limit", "buy", 0.01, 1000)
    await client.cancel_order(resting["id"], BTC)
    found, missing = await asker(client).symbols(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    assert found == ({MNT, BTC} if sim.kind == "binance" else set())
    assert missing == ()


async def test_the_adapters_read_every_row(sim: SimulatedExchange, client: Any) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    await client.create_order(MNT, "market", "buy", 10)
    await client.create_order(BTC, "limit", "buy", 0.01, 1000)
    rows: list[Any] = []
    symbols = [] if sim.kind == "bybit" else [MNT, BTC]
    async for one in asker(client).history(symbols, since, datetime.now(UTC)):
        rows += [*one.orders, *one.trades]
    rows += (await asker(client).open_orders()).orders
    adapter = adapter_for(client.id)
    assert adapter.understands(rows)
    seen = adapter.sightings(rows)
    assert {sighting.state.symbol for sighting in seen} == {MNT, BTC}
    assert {sighting.state.exchange_order_id for sighting in seen} == {
        order.exchange_order_id for order in sim.ledger.orders
    }
    fills = {fill.exchange_trade_id for sighting in seen for fill in sighting.fills}
    assert fills == {fill.exchange_trade_id for fill in sim.ledger.fills}


def clock_of(sim: SimulatedExchange) -> datetime:
    return datetime.fromtimestamp(sim.now() / 1000, UTC)


async def test_a_month_with_funding_and_what_the_exchange_did_itself(sim: SimulatedExchange, client: Any) -> None:
    since = clock_of(sim)
    day = 86_400_000
    forgotten = await client.create_order(MNT, "limit", "buy", 100, 0.5)
    await client.cancel_order(forgotten["id"], MNT)
    first = await client.create_order(MNT, "market", "buy", 100)
    for _ in range(4):
        sim.advance(6 * day + 3_600_000)
        await client.create_order(MNT, "market", "buy", 10)
        sim.fund("MNTUSDT", "0.0001")
    sim.deleverage("MNTUSDT", 20)
    sim.liquidate("MNTUSDT")
    sim.advance(60_000)
    own = Asker(client, client.id, Pace(10_000, lambda: False), now=lambda: clock_of(sim))

    heard = [one async for one in own.history([MNT], since, clock_of(sim))]
    assert len({one.since for one in heard}) > 3
    orders = [str(row["id"]) for one in heard for row in one.orders]
    assert sorted(orders) == sorted(
        str(order.exchange_order_id) for order in sim.ledger.orders if order.exchange_order_id != forgotten["id"]
    )
    trades = [str(row["id"]) for one in heard for row in one.trades]
    assert sorted(trades) == sorted(fill.exchange_trade_id for fill in sim.ledger.fills)
    funding = [row for one in heard for row in one.funding]
    assert len(funding) == len(adapter_for(client.id).payments(funding)) == 4
    assert any("ended without a fill" in sentence for one in heard for sentence in one.unasked)
    assert not any(one.again for one in heard)

    old = await own.order(MNT, first["id"])
    assert len(old.trades) == 1
    assert (await own.order(MNT, forgotten["id"])).orders == ()
    assert absence_counts(client.id, MNT, since, clock_of(sim)) is False


async def test_an_order_that_is_not_indexed_yet(sim: SimulatedExchange, client: Any) -> None:
    sim.settings.index_delay_ms = 30_000
    placed = await client.create_order(MNT, "market", "buy", 10)
    sent_at = clock_of(sim)
    heard = await asker(client).order(MNT, placed["id"])
    assert heard.orders == ()
    assert heard.unasked == ()
    assert absence_counts(client.id, MNT, sent_at, clock_of(sim)) is False  # so that proves nothing
    sim.advance(30_000)
    assert len((await asker(client).order(MNT, placed["id"])).orders) == 1
