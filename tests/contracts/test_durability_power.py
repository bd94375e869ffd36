"""Durability "power": the intent is on the disk itself before the request leaves, and the bot's loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_wrapper import AuditTrail, codec
from audit_wrapper.journal import FileJournal, layout
from audit_wrapper.records import RecordKind


class Disk:
    """Counts how often it is made to keep what it has, and can be slow at it, or refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forced = 0
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.problem: OSError | None = None
        self.journal: FileJournal | None = None
        self.kept = 0  # the last entry that was written when a forcing began that has ended
        self._really = layout.force
        monkeypatch.setattr(layout, "force", self._force)

    def _force(self, descriptor: int) -> None:
        written = self.journal.durable_seq if self.journal is not None else 0
        self.reached.set()
        assert self.gate.wait(20)
        if self.problem is not None:
            raise self.problem
        self._really(descriptor)
        self.forced += 1
        self.kept = max(self.kept, written)


class Exchange:
    """A manager that notes, whenever something leaves, whether the disk has its intent, of which `amount` says the number."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.sent: list[bool] = []
        self.answer: asyncio.Event | None = None

    async def create_market_order(self, symbol: str, side: str, amount: float) -> dict[str, str]:
        self.sent.append(self.disk.kept >= amount)
        if self.answer is not None:
            await self.answer.wait()
        return {"id": str(len(self.sent)), "symbol": symbol, "status": "closed"}

    def cancel_order(self, order_id: str, symbol: str) -> bool:
        self.sent.append(self.disk.kept >= int(order_id))
        return True


class Desk:
    def __init__(self, folder: Path, disk: Disk) -> None:
        self.trail = AuditTrail.open(
            "postgresql://127.0.0.1:1/nowhere",
            journal=folder,
            durability="power",
            ask_exchange="off",
            close_timeout_s=0.1,
        )
        self.exchange = Exchange(disk)
        self.manager = self.trail.wrap(self.exchange)
        journal = self.trail._pipeline.journal
        assert isinstance(journal, FileJournal)
        self.journal = disk.journal = journal

    def kinds(self) -> list[RecordKind]:
        return [codec.decode(entry.payload).kind for entry in self.journal.read(0, 1_000)]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def desk(tmp_path: Path, disk: Disk) -> Iterator[Desk]:
    made = Desk(tmp_path, disk)
    made.trail._pipeline.delivery._tend_now = lambda: (
        None
    )  # it forces too, twice a second; here it is to be known who does
    yield made
    disk.gate.set()
    made.trail.close()


async def test_nothing_leaves_before_the_disk_has_its_intent(desk: Desk, disk: Disk) -> None:
    await asyncio.gather(*(desk.manager.create_market_order("MNTUSDT", "buy", n) for n in range(1, 21)))
    assert desk.manager.cancel_order("41", "MNTUSDT")
    assert desk.exchange.sent == [True] * 21
    assert desk.journal.is_forced, "a synchronous call waits for its outcome too"


async def test_coroutines_that_come_together_share_one_wait_and_hold_nobody_up(desk: Desk, disk: Disk) -> None:
    before = disk.forced
    disk.reached.clear()
    disk.gate.clear()
    orders = [asyncio.ensure_future(desk.manager.create_market_order("MNTUSDT", "buy", 1)) for _ in range(50)]
    while not disk.reached.is_set():
        await asyncio.sleep(0)  # the loop turns, though the disk does not answer
    assert desk.journal.durable_seq == 50, "all of them are written"
    assert desk.exchange.sent == []
    desk.exchange.answer = asyncio.Event()
    disk.gate.set()
    while len(desk.exchange.sent) < 50:
        await asyncio.sleep(0)
    assert disk.forced - before <= 2, "the first one's, and one for all that came after it"
    desk.exchange.answer.set()
    await asyncio.gather(*orders)


async def test_an_order_canceled_while_the_disk_is_waited_for_was_never_sent(desk: Desk, disk: Disk) -> None:
    disk.reached.clear()
    disk.gate.clear()
    order = asyncio.ensure_future(desk.manager.create_market_order("MNTUSDT", "buy", 1))
    while not disk.reached.is_set():
        await asyncio.sleep(0)
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    disk.gate.set()
    assert desk.exchange.sent == []
    assert desk.kinds() == [RecordKind.INTENT, RecordKind.NOT_SENT]


async def test_a_disk_that_refuses_stops_no_trade(desk: Desk, disk: Disk) -> None:
    disk.problem = OSError(5, "Input/output error")
    assert (await desk.manager.create_market_order("MNTUSDT", "buy", 1))["id"] == "1"
    assert desk.manager.cancel_order("1", "MNTUSDT")
    assert desk.trail.status().failures["forcing the journal to disk"] >= 2
    assert desk.kinds()[:2] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    disk.problem = None
    await desk.manager.create_market_order("MNTUSDT", "buy", 5)
    assert desk.exchange.sent[-1], "it is well again"


async def test_durability_process_never_waits_for_the_disk(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditTrail.open("postgresql://127.0.0.1:1/nowhere", journal=tmp_path / "other", close_timeout_s=0.1) as trail:
        trail._pipeline.delivery._tend_now = lambda: None
        exchange = Exchange(disk)
        manager = trail.wrap(exchange)
        forced = disk.forced
        await manager.create_market_order("MNTUSDT", "buy", 1)
        manager.cancel_order("1", "MNTUSDT")
        assert disk.forced == forced
