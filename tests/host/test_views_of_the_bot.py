"""The views over what a bot has really sent, against the exchange's own books."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from audited import SYMBOL, UNIFIED, Audited, audited
from simulated_exchange import SimulatedExchange


@pytest.fixture(params=["one line", "instrumented"])
async def desk(
    request: pytest.FixtureRequest, sim: SimulatedExchange, bot_dsn: str, tmp_path: Path
) -> AsyncIterator[Audited]:
    async with audited(sim, bot_dsn, tmp_path, instrumented=request.param == "instrumented") as opened:
        opened.instrumented = request.param == "instrumented"  # type: ignore[attr-defined]
        yield opened


async def opened(desk: Audited, side: str = "BUY", stop: str = "1.1") -> None:
    state = await desk.bot.open_position(
        {
            "id": 7,
            "symbol": SYMBOL,
            "exchange": desk.sim.kind,
            "side": side,
            "quantity": "10",
            "entry_price": "1.2",
            "stop_loss_price": stop,
        }
    )
    assert state is not None


async def reckoned(desk: Audited) -> asyncpg.Record:
    """The one position, once its figures are those of the exchange's books."""
    await desk.settled()
    (row,) = await desk.connection.fetch("SELECT * FROM audit.v_positions")
    fills = desk.sim.ledger.fills
    money = {side: sum(f.price * f.quantity for f in fills if f.side == side) for side in ("buy", "sell")}
    assert row["gross_result"] == money["sell"] - money["buy"], row
    assert row["fees"] == sum(f.fee_amount for f in fills if f.fee_currency == "USDT")
    assert row["net_result"] == row["gross_result"] - row["fees"]
    assert row["fills"] == len(fills)
    assert (row["symbol"], row["signal_id"], row["currency"], row["is_open"]) == (SYMBOL, 7, "USDT", False)
    assert row["gross_result"] == sum(f.realized_pnl for f in fills), "as the exchange reckons it"
    times = sorted(f.time for f in fills)
    assert [round(row[name].timestamp() * 1000) for name in ("opened_at", "closed_at")] == [times[0], times[-1]]
    return row


async def test_a_long_position_whose_stop_is_moved_and_that_is_closed(desk: Audited) -> None:
    await opened(desk)
    desk.sim.set_price(UNIFIED, "1.25")
    assert await desk.bot.move_stop(SYMBOL, 1.15)
    desk.sim.set_price(UNIFIED, "1.3")
    desk.sim.split_fills = 3
    await desk.bot.close_position(SYMBOL)
    row = await reckoned(desk)
    assert (row["side"], row["entry_quantity"], row["exit_quantity"]) == ("long", Decimal(10), Decimal(10))
    assert row["gross_result"] > 0
    if desk.instrumented:  # type: ignore[attr-defined]
        assert row["intended_entry_price"] == Decimal("1.2")
        assert row["entry_slippage"] == (row["entry_price"] - Decimal("1.2")) * 10
    stops = await desk.connection.fetch("SELECT * FROM audit.v_position_stops ORDER BY from_at")
    assert stops[0]["from_at"] == row["opened_at"]
    assert stops[-1]["until_at"] == row["closed_at"]
    assert all(one["until_at"] == after["from_at"] for one, after in itertools.pairwise(stops))
    assert len({one["order_key"] for one in stops if one["has_stop"]}) == 2
    bare = sum((one["until_at"] - one["from_at"]).total_seconds() for one in stops if not one["has_stop"])
    assert float(row["seconds_without_stop"]) == pytest.approx(bare)
    assert 0 < row["seconds_without_stop"] < row["seconds_open"]


async def test_a_short_position_that_its_stop_closes(desk: Audited) -> None:
    await opened(desk, "SELL", "1.3")
    desk.sim.set_price(UNIFIED, "1.31")
    row = await reckoned(desk)
    assert (row["side"], row["intended_exit_price"]) == ("short", Decimal("1.3"))
    assert row["exit_slippage"] == (row["exit_price"] - Decimal("1.3")) * 10
    assert row["gross_result"] < 0


async def test_latency_shows_what_the_wire_showed(desk: Audited) -> None:
    await opened(desk)
    await desk.settled()
    rows = await desk.connection.fetch("SELECT * FROM audit.v_latency")
    assert {(row["kind"], row["http_status"]) for row in rows} == {("acknowledged", 200)}
    assert {row["action"] for row in rows} == ({"place"} if desk.is_binance else {"place", "set_stops"})
    assert all(0 < row["milliseconds"] < 60_000 for row in rows)
