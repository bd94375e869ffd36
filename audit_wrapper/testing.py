"""For tests of a bot of your own: a trail in memory, no files and no database.

async def test_entry_is_recorded(mocker):
    manager = mocker.AsyncMock()
    manager.name = "binance"
    manager.create_market_order.return_value = {"id": "1", "symbol": "BTC/USDT", "status": "closed", ...}
    with memory_trail() as t:
        exchanges = t.wrap({"binance": manager})
        await my_bot.enter(exchanges)
    assert t.orders[0].status == "FILLED"
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from audit_wrapper import codec
from audit_wrapper.database import Database
from audit_wrapper.journal import MemoryJournal
from audit_wrapper.records import Record
from audit_wrapper.rows import FillRow, FundingRow, OrderRow, TradeRow
from audit_wrapper.settings import Settings
from audit_wrapper.status import FlushReport
from audit_wrapper.store.interface import Store
from audit_wrapper.store.memory import MemoryStore
from audit_wrapper.trail import AuditTrail

_T = TypeVar("_T")

__all__ = ["MemoryTrail", "memory_trail"]


class _InMemory(Database):
    def __init__(self, settings: Settings, store: MemoryStore) -> None:
        super().__init__(settings)
        self._store = store
        self.embedded_folder, self.address = None, "in memory"

    def store(self) -> Store:
        return self._store


class MemoryTrail(AuditTrail):
    """A trail whose tables are lists. They show everything recorded so far, at once, also after it was closed."""

    def __init__(self, settings: Settings) -> None:
        self._memory_journal = MemoryJournal()
        self._memory = MemoryStore()
        super().__init__(settings, self._memory_journal, _InMemory(settings, self._memory))
        self._entries_taken = 0
        self._records: list[Record] = []

    @property
    def records(self) -> list[Record]:
        """Every record, in order."""
        self._catch_up()
        return list(self._records)

    @property
    def orders(self) -> list[OrderRow]:
        """What monitoring.orders would hold, oldest first."""
        self._catch_up()
        return self._memory.orders

    @property
    def trades(self) -> list[TradeRow]:
        """What monitoring.trades would hold, oldest first."""
        self._catch_up()
        return self._memory.trades

    @property
    def fills(self) -> list[FillRow]:
        """What audit.fills would hold."""
        self._catch_up()
        return self._memory.fills

    @property
    def stream(self) -> UUID:
        """The identity of its journal."""
        return self._memory_journal.stream

    async def flush(self, timeout_s: float = 30.0) -> FlushReport:
        """Everything is there already."""
        self._catch_up()
        return FlushReport(complete=True)

    async def _read(self, work: Callable[[Store], Awaitable[_T]]) -> _T:
        self._catch_up()
        return await work(self._memory)

    @property
    def funding(self) -> list[FundingRow]:
        """What audit.funding would hold."""
        self._catch_up()
        return self._memory.funding

    def close(self) -> FlushReport:
        """Take everything off again; the tables stay readable."""
        if self._closed is None:
            self._catch_up()
            self._inquiry.close()
            self._recorder.active = False
            self._wrapping.undo_all()
            self._closed = FlushReport(complete=True)
        return self._closed

    def _catch_up(self) -> None:
        if self._closed is not None:
            return
        while entries := self._memory_journal.read(self._entries_taken, 1_000):
            records = [codec.decode(entry.payload) for entry in entries]
            self._memory.take(self.stream, entries, records)
            self._records += records
            self._entries_taken = entries[-1].seq


def memory_trail(**settings: Any) -> MemoryTrail:
    """A trail in memory, for `with` and `async with`. Settings as of `AuditTrail.open`; nothing is asked of exchanges
    unless `ask_exchange="auto"` says so."""
    quiet = {"delivery": "own", "ask_exchange": "off", "ask_per_minute": 6_000, "metrics": "off"}
    return MemoryTrail(Settings.load({**quiet, **settings}, environ={}))
