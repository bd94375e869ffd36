"""Journal -> store: in order, in batches, for ever, on a thread of its own. The bot's event loop never waits for it.

The mark of what was delivered is advanced in the same transaction as the batch, so a batch is never half there and
never there twice. A record that the database refuses is set aside in quarantine; those behind it go on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
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
_GIVE_UP_S = 1.0
# Not an Event, nor Thread.join, which a Ctrl-C at the wrong moment leaves locked, or takes for done (Python 3.11)
_LOOK_EVERY_S = 0.01


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
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None
        self._lock = threading.Lock()
        self._waiters: list[tuple[int, concurrent.futures.Future[None]]] = []
        self._stopping = False
        self._stop_at = 0  # the last number that stopping waits for
        self._give_up = False
        self._relink_asked = False
        self._tend_at = 0.0
        self.delivered_seq = 0
        self.quarantined = 0
        self.state = "starting"
        self.problem: AuditWrapperError | None = None
        self._has_ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run_thread, name="audit_wrapper-delivery", daemon=True)
        self._thread.start()

    def drain(self) -> bool:
        """Deliver what is there on this thread, however long it takes; False: `stop` ended it before."""
        self._stopping, self._stop_at = True, self._journal.durable_seq
        self._thread = threading.current_thread()
        self._run_thread()
        return self._delivered_all()

    def disown(self) -> None:
        """In a forked child: let go of the parent's connection, without a word to the server.

        While the child held it too, the server would not notice that the parent is gone, and keep its locks.
        """
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            with contextlib.suppress(OSError, AttributeError):
                os.close(transport._sock.detach())  # not `close`: the selector, too, is shared with the parent

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread is not None and not self._has_ended

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller is the delivery itself (a logging handler, say), which cannot wait for its own end."""
        return threading.current_thread() is self._thread

    def reached(self, seq: int) -> concurrent.futures.Future[None]:
        """Done once everything up to `seq` is in the store and linked as far as it can be, or delivery has ended."""
        waiter: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            self._waiters.append((seq, waiter))
        self._hurry()
        if not self.runs:  # nobody else would
            self._release(all_of_them=True)
        return waiter

    def stop(self, timeout_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Deliver what is there, for `timeout_s` at the most, and no longer than until `unless`; True if all of it was."""
        try:
            self._stopping, self._stop_at = True, self._journal.durable_seq
            self._hurry()
            until = time.monotonic() + timeout_s
            while self.runs and not self.is_this_thread and not unless() and time.monotonic() < until:
                time.sleep(_LOOK_EVERY_S)
        finally:  # also when a second Ctrl-C ends the waiting
            self._abandon()
        return self.delivered_seq >= self._journal.durable_seq

    # -- on the thread

    def _abandon(self) -> None:
        """End it, whatever it waits for. One that is stuck in the system (a name that is looked up) stays behind."""
        self._give_up = True
        if self._thread is None or self.is_this_thread:
            return
        until = time.monotonic() + _GIVE_UP_S
        while self.runs and time.monotonic() < until:
            if self._task is not None:
                self._call(self._task.cancel)  # again and again: what cleans up after the first may hang as well
            time.sleep(_LOOK_EVERY_S)
        if not self.runs:
            self._thread.join(_GIVE_UP_S)

    def _hurry(self) -> None:
        if self._wake is not None:
            self._call(self._wake.set)

    def _call(self, work: Callable[[], object]) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop has ended meanwhile
            return

    def _run_thread(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._run())
        except asyncio.CancelledError:
            self.state = "stopped"
        except Exception as problem:  # the thread's last word; what was recorded stays in the journal
            self.state = f"stopped: {problem}"
            if not self._give_up:
                self._failures.note("delivery stopped", problem)
        finally:
            self._has_ended = True
            self._release(all_of_them=True)

    async def _run(self) -> None:
        self._task, self._wake = asyncio.current_task(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
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
        entries = self._journal.read(self.delivered_seq, self._settings.delivery_batch)
        if entries:
            await self._deliver(store, entries)
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
        self._release()
        self._tend()
        return bool(entries)

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
        except (StoreUnavailable, SchemaError, OSError, TimeoutError):
            raise
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
        self._failures.note("record in quarantine", f"seq {entry.seq}: {reason}")
        self._advance(entry.seq)

    def _advance(self, seq: int) -> None:
        self.delivered_seq = seq
        self._journal.delivered(seq)

    def _release(self, *, all_of_them: bool = False) -> None:
        with self._lock:
            done = [waiter for seq, waiter in self._waiters if all_of_them or seq <= self.delivered_seq]
            self._waiters = [pair for pair in self._waiters if pair[1] not in done]
        for waiter in done:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(None)

    def _delivered_all(self) -> bool:
        return self.state == "connected" and self.delivered_seq >= self._stop_at

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


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up without a thread pool: at the interpreter's exit, when the last is delivered, there is none."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return socket.getaddrinfo(*args, **kwargs)


async def _closed(store: Store) -> None:
    try:
        await asyncio.wait_for(store.close(), 5)
    except Exception as problem:  # closing a broken connection may fail; there is nothing left to lose on it
        logger.debug("audit trail: closing the store: %s", problem)
