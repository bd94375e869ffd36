"""Journal -> store: in order, in batches, for ever, on a thread of its own. The bot's event loop never waits for it.

The mark of what was delivered is advanced in the same transaction as the batch, so a batch is never half there and
never there twice. A record that the database refuses is set aside in quarantine; those behind it go on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import tenacity

from audit_wrapper import codec
from audit_wrapper.errors import AuditWrapperError, CodecError, JournalError, SchemaError, StoreUnavailable
from audit_wrapper.failures import Failures
from audit_wrapper.journal import Entry, Journal
from audit_wrapper.records import Record
from audit_wrapper.settings import Settings

logger = logging.getLogger("audit_wrapper")

_TEND_EVERY_S = 0.5
_COUNT_EVERY_S = 2.0


class Store(Protocol):
    """What delivery needs of a store."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...

    async def delivered_seq(self, stream: UUID) -> int:
        """The last seq of the stream that the store holds; 0: none."""
        ...

    async def deliver(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record]) -> None:
        """Take a batch, wholly or not at all. Delivering it again changes nothing."""
        ...

    async def quarantine(self, stream: UUID, entry: Entry, reason: str) -> None:
        """Set one entry aside and go past it."""
        ...

    async def count_quarantined(self, stream: UUID) -> int:
        """How many entries of the stream are set aside and were not brought in since."""
        ...

    async def relink(self) -> int:
        """Link rows to positions that the bot has written since; how many were."""
        ...


class Delivery:
    """Delivers one journal into one store."""

    def __init__(
        self,
        journal: Journal,
        make_store: Callable[[], Store],
        settings: Settings,
        failures: Failures,
    ) -> None:
        self._journal = journal
        self._make_store = make_store
        self._settings = settings
        self._failures = failures
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._lock = threading.Lock()
        self._waiters: list[tuple[int, concurrent.futures.Future[None]]] = []
        self._stopping = False
        self._give_up = False
        self._relink_asked = False
        self._tend_at = 0.0
        self._count_at = 0.0
        self._batch = settings.delivery_batch
        self._working: asyncio.Task[None] | None = None
        self.delivered_seq = journal.delivered_seq  # a hint until the store has been asked
        self.quarantined = 0
        self.state = "starting"
        self.problem: AuditWrapperError | None = None
        self._thread = threading.Thread(target=self._run_thread, name="audit_wrapper-delivery", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def reached(self, seq: int) -> concurrent.futures.Future[None]:
        """Done once everything up to `seq` is in the store and linked as far as it can be."""
        waiter: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            self._waiters.append((seq, waiter))
        self._hurry()
        return waiter

    def stop(self, timeout_s: float) -> bool:
        """Deliver what is there, for `timeout_s` at the most; True if all of it was."""
        self._stopping = True
        self._hurry()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._give_up = True
                self._drop_everything()
                self._thread.join(1.0)
        return self.delivered_seq >= self._journal.durable_seq

    # -- on the thread

    def _hurry(self) -> None:
        if self._wake is not None:
            self._call_soon(self._wake.set)

    def _drop_everything(self) -> None:
        # in the middle of a statement, maybe: what it came to, the store will say next time
        if self._working is not None:
            self._call_soon(self._working.cancel)

    def _call_soon(self, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(callback)

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            return
        except Exception as problem:  # the thread's last word; what was recorded stays in the journal
            self.state = f"stopped: {problem}"
            self._failures.note("delivery stopped", problem)

    async def _run(self) -> None:
        self._loop, self._wake, self._working = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
        store: Store | None = None
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda problem: isinstance(problem, Exception)),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=10),
            stop=lambda _: self._give_up or (self._stopping and self._delivered_all()),
            before_sleep=self._note_retry,
            sleep=self._sleep,
        )
        try:
            while not (self._give_up or (self._stopping and self._delivered_all())):
                try:
                    async for attempt in retrying:
                        with attempt:
                            if store is None:
                                store = await self._connected()
                            try:
                                busy = await self._step(store)
                            except Exception:
                                # what is too much for the store as it is now may pass in smaller pieces
                                self._batch = max(1, self._batch // 2)
                                await _closed(store)
                                store = None
                                raise
                except tenacity.RetryError:
                    break
                if not busy and not self._stopping:
                    await self._sleep(self._settings.delivery_pause_s)
        finally:
            if store is not None:
                await _closed(store)

    async def _connected(self) -> Store:
        store = self._make_store()
        try:
            await store.open()
            self.delivered_seq = await store.delivered_seq(self._journal.stream)
        except BaseException:
            await _closed(store)
            raise
        if self.delivered_seq > self._journal.durable_seq:
            self._failures.note(
                "journal behind the database",
                f"the database holds {self.delivered_seq} records of this journal, the journal only "
                f"{self._journal.durable_seq}: an older copy of the folder was put back",
            )
        self._journal.delivered(self.delivered_seq)
        self.state, self.problem = "connected", None
        return store

    async def _step(self, store: Store) -> bool:
        """One batch, or the upkeep there is time for when there is none. True: there is more."""
        entries = self._journal.read(self.delivered_seq, self._batch)
        if entries:
            await self._deliver(store, entries)
            self._batch = min(self._settings.delivery_batch, self._batch * 2)
            self._relink_asked = True
        with self._lock:
            due = any(seq <= self.delivered_seq for seq, _ in self._waiters)
        if due or (self._relink_asked and not entries):
            self._relink_asked = False
            try:
                await store.relink()
            except (
                SchemaError
            ) as problem:  # the bot's own table is of a shape that cannot be read: a row without a link
                self._failures.note("linking to positions", problem)
        await self._count(store)
        self._release()
        self._tend()
        return bool(entries)

    async def _count(self, store: Store) -> None:
        # at first, for what an earlier run left there; then as long as there is something that may be brought in
        now = time.monotonic()
        if now >= self._count_at:
            self.quarantined = await store.count_quarantined(self._journal.stream)
            self._count_at = now + _COUNT_EVERY_S if self.quarantined else math.inf

    def _tend(self) -> None:
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + _TEND_EVERY_S
            try:
                self._journal.tend()
            except JournalError as problem:  # the disk refuses; nothing is lost by it, the next time may work
                self._failures.note("tending the journal", problem)

    async def _deliver(self, store: Store, entries: Sequence[Entry]) -> None:
        good: list[Entry] = []
        records: list[Record] = []
        for entry in entries:
            try:
                record = codec.decode(entry.payload)
            except CodecError as problem:
                await self._deliver_read(store, good, records)
                good, records = [], []
                await self._set_aside(store, entry, str(problem))
                continue
            good.append(entry)
            records.append(record)
        await self._deliver_read(store, good, records)

    async def _deliver_read(self, store: Store, entries: Sequence[Entry], records: Sequence[Record]) -> None:
        if not entries:
            return
        try:
            await store.deliver(self._journal.stream, entries, records)
        except (StoreUnavailable, SchemaError, OSError, MemoryError):
            raise  # says nothing of the records
        except Exception as problem:  # one of these records is refused: find it, so that the others go on
            if len(entries) == 1:
                await self._set_aside(store, entries[0], f"{type(problem).__name__}: {problem}")
                return
            half = len(entries) // 2
            await self._deliver_read(store, entries[:half], records[:half])
            await self._deliver_read(store, entries[half:], records[half:])
            return
        self._advance(entries[-1].seq)

    async def _set_aside(self, store: Store, entry: Entry, reason: str) -> None:
        await store.quarantine(self._journal.stream, entry, reason)
        self.quarantined += 1
        self._count_at = 0.0
        self._failures.note("record in quarantine", f"seq {entry.seq}: {reason}")
        self._advance(entry.seq)

    def _advance(self, seq: int) -> None:
        self.delivered_seq = seq
        self._journal.delivered(seq)

    def _release(self) -> None:
        with self._lock:
            done = [waiter for seq, waiter in self._waiters if seq <= self.delivered_seq]
            self._waiters = [pair for pair in self._waiters if pair[0] > self.delivered_seq]
        for waiter in done:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(None)

    def _delivered_all(self) -> bool:
        return self.state == "connected" and self.delivered_seq >= self._journal.durable_seq

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        self._tend()  # the journal grows while the database is away
        outcome = state.outcome
        problem = outcome.exception() if outcome is not None else None
        if problem is None:
            return
        self.problem = problem if isinstance(problem, AuditWrapperError) else StoreUnavailable(str(problem))
        self.state = f"trying again: {problem}"
        kind = "schema" if isinstance(problem, SchemaError) else "database away"
        self._failures.note(kind, problem)

    async def _sleep(self, seconds: float) -> None:
        assert self._wake is not None
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()


async def _closed(store: Store) -> None:
    try:
        await asyncio.wait_for(store.close(), 5)
    except Exception as problem:  # closing a broken connection may fail; there is nothing left to lose on it
        logger.debug("audit trail: closing the store: %s", problem)
