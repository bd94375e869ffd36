"""The journal's folder is away while a real bot trades: trading goes on, and the trail is whole when it is back.

The folder is really taken away: it is deleted, and a file stands in its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from audited import SYMBOL, UNIFIED, Audited, audited
from core.atomic_position_manager import AtomicPositionError
from core.exchange_manager import OrderResult
from simulated_exchange import SimulatedExchange, async_client

from audit_wrapper import AuditTrail
from audit_wrapper.errors import EntryRefused, JournalUnavailable
from audit_wrapper.testing import memory_trail

REFUSE = {"entries_without_journal": "refuse"}


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take_away(self, trail: AuditTrail) -> None:
        shutil.rmtree(self.folder)
        self.folder.write_text("in the way")
        with pytest.raises(JournalUnavailable):  # it has been noticed; an append looks every ten milliseconds only
            trail._pipeline.journal.tend()

    def bring_back(self) -> None:
        self.folder.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "journal")
    yield made
    if made.folder.is_file():
        made.bring_back()


async def whole(desk: Audited, disk: Disk) -> None:
    """Bring the disk back, and hold the tables against the exchange's books."""
    assert desk.trail.status().waiting > 0
    disk.bring_back()
    flushed = await desk.trail.flush(timeout_s=20)
    status = desk.trail.status()
    assert flushed, flushed
    assert status.waiting == 0
    assert {"writing the journal", "tending the journal", "journal damaged"} >= set(status.failures)
    assert status.failures["writing the journal"] > 0
    assert "records lost" not in status.failures


async def test_trading_goes_on_and_the_trail_is_whole_when_it_is_back(
    sim: SimulatedExchange, audit_dsn: str, disk: Disk
) -> None:
    async with audited(sim, audit_dsn, disk.folder, instrumented=True) as desk:
        await desk.open()
        disk.take_away(desk.trail)
        assert await desk.manager.update_stop_loss_atomic(SYMBOL, 1.12, "long")
        await desk.manager.close_position(SYMBOL)
        await desk.open(signal_id=8)

        await whole(desk, disk)
        report = await desk.trail.reconcile()
        assert not report.unanswered
        desk.trail.status().failures.clear()
        desk.trail._failures._counts.clear()  # they are told above; what follows demands that there are no others
        await desk.same_as_the_exchange(linked=False)


async def test_entries_are_refused_if_asked_for_and_nothing_else_is(
    sim: SimulatedExchange, audit_dsn: str, disk: Disk
) -> None:
    async with audited(sim, audit_dsn, disk.folder, settings=REFUSE) as desk:
        await desk.open()
        resting = await desk.manager.exchange.create_order(UNIFIED, "limit", "buy", 10, 0.9)
        sent = len(sim.ledger.orders)
        disk.take_away(desk.trail)

        with pytest.raises(EntryRefused, match="stops and cancels still go through"):
            await desk.manager.exchange.create_order(UNIFIED, "limit", "buy", 10, 0.9)
        with pytest.raises(EntryRefused):
            await desk.manager.exchange.createMarketOrder(symbol=UNIFIED, side="buy", amount=10)
        raw = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "10"}
        place = desk.manager.exchange.fapiPrivatePostOrder if desk.is_binance else None
        if place is None:
            raw = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Market", "qty": "10"}
            place = desk.manager.exchange.private_post_v5_order_create
        with pytest.raises(EntryRefused):
            await place(raw)
        with pytest.raises(AtomicPositionError):  # the bot takes it for an order that failed
            await desk.open(signal_id=8)
        assert len(sim.ledger.orders) == sent, "nothing left"

        assert await desk.manager.update_stop_loss_atomic(SYMBOL, 1.12, "long")
        await desk.manager.exchange.cancel_order(resting["id"], UNIFIED)
        await desk.manager.exchange.create_order(UNIFIED, "market", "sell", 1, None, {"reduceOnly": True})
        await desk.manager.close_position(SYMBOL)
        assert len(sim.ledger.orders) > sent

        await whole(desk, disk)
        refused = await desk.connection.fetchval(
            "SELECT count(*) FROM audit.events WHERE kind = 'not_sent' AND body->>'reason' LIKE 'refused:%'"
        )
        assert refused >= 4
        assert (await desk.manager.exchange.create_order(UNIFIED, "limit", "buy", 10, 0.9))["id"], "it works again"
        assert await desk.trail.flush(20)
        rows = await desk.rows()
        placed = [order for order in sim.ledger.orders if order.kind != "attached" and not order.details.get("parent")]
        assert {row["order_id"] for row in rows if row["order_id"]} >= {o.exchange_order_id for o in placed}
        assert all(row["order_id"] for row in rows if row["type"] in ("MARKET", "LIMIT")), "a refused entry is no row"


async def test_the_refusal_reaches_a_bot_whose_exchange_layer_is_mocked() -> None:
    class Manager:
        calls = 0

        async def create_market_order(self, symbol: str, side: str, amount: float) -> OrderResult:
            self.calls += 1
            raise AssertionError("it was called")

        async def cancel_order(self, order_id: str, symbol: str) -> bool:
            return True

    with memory_trail(**REFUSE) as trail:
        manager = trail.wrap(Manager())
        trail._pipeline.journal.fail("the disk is gone")  # type: ignore[attr-defined]
        with pytest.raises(EntryRefused):
            await manager.create_market_order("MNTUSDT", "buy", 10)
        assert manager.calls == 0
        assert await manager.cancel_order("1", "MNTUSDT")
        trail._pipeline.journal.fail(None)  # type: ignore[attr-defined]
        assert await manager.cancel_order("2", "MNTUSDT")
        assert trail.status().waiting == 0


def test_an_unwritable_folder_is_a_clear_error_at_startup(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="make it writable for the user the bot runs as"):
        AuditTrail.open("postgresql://127.0.0.1:1/x", journal=tmp_path / "file" / "journal")


async def test_what_is_missing_is_a_record_and_shown(sim: SimulatedExchange, audit_dsn: str, tmp_path: Path) -> None:
    client = async_client(sim)
    try:
        await client.load_markets()
        nowhere = AuditTrail.open(
            "postgresql://127.0.0.1:1/x", journal=tmp_path, ask_exchange="off", close_timeout_s=0.1
        )
        nowhere.wrap(client)
        for _ in range(3):
            await client.create_market_order(UNIFIED, "buy", 10)
        await nowhere.aclose()
        (segment,) = tmp_path.glob("segment-*.journal")
        lines = segment.read_bytes().splitlines(keepends=True)
        lines[2] = b"\xff" * 100 + b"\n"
        segment.write_bytes(b"".join(lines))

        async with audited(sim, audit_dsn, tmp_path) as desk:
            assert await desk.trail.flush(20)
            while not (
                gap := await desk.connection.fetchval("SELECT body->>'reason' FROM audit.events WHERE kind = 'gap'")
            ):  # it is recorded when the journal is tended, about twice a second
                assert await desk.trail.flush(20)
            status = desk.trail.status()
            assert status.damage == (gap,)
            assert "entries 2 to 2 cannot be read" in gap
            assert status.failures == {"journal damaged": 1}
            orders = await desk.rows()
            assert len(orders) == 3, "the other records are there"
    finally:
        await client.close()
