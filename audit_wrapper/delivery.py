"""Journal -> store: in order, in batches, for ever, on a thread of its own. The bot's event loop never waits for it.

The mark of what was delivered is advanced in the same transaction as the batch, so a batch is never half there and
never there twice. A record that the database refuses is set aside in quarantine; those behind it go on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import tenacity

from audit_wrapper import codec
from audit_wrapper.agreeing import agreed
from audit_wrapper.errors import (
    AuditWrapperError,
    CodecError,
    JournalError,
    SchemaError,
    StoreUnavailable,
    StreamConflict,
)
from audit_wrapper.failures import Failures, in_words, words_of
from audit_wrapper.journal import Entry, Journal
from audit_wrapper.logs import Log
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.routing import mentions
from audit_wrapper.settings import Settings
from audit_wrapper.store.interface import Store
from audit_wrapper.unhurried import unhurried
from audit_wrapper.waiters import Waiters

logger = Log("audit_wrapper")

_TEND_EVERY_S = 0.5
_BEAT_EVERY_S = 2.0
_GIVE_UP_S = 1.0
_COUNT_EVERY_S = 2.0
# Not an Event, nor Thread.join, which a Ctrl-C at the wrong moment leaves locked, or takes for done (Python 3.11)
_LOOK_EVERY_S = 0.01
_READ_AT_ONCE = 10  # records: about a millisecond, for which the database may have to wait


class _Ahead(NamedTuple):
    """Entries behind `after`, and what each says, or why it cannot be read."""

    after: int
    entries: Sequence[Entry]
    read: Sequence[Reading | CodecError]


_NOTHING = _Ahead(-1, (), ())


class Delivery:
    """Delivers one journal into one store."""

    def __init__(
        self,
        journal: Journal,
        make_store: Callable[[], Store],
        settings: Settings,
        failures: Failures,
        tend: Callable[[], None] | None = None,
        beat: Callable[[], None] | None = None,
        told: Callable[[Sequence[Record], float], None] | None = None,
    ) -> None:
        """tend: housekeeping to be done about twice a second; the journal's own if not given. beat: a sign of life, given
        every two seconds, also while the database is waited for. told: of each batch that the store took, and how many
        seconds that took. Neither may raise."""
        self._tend_now = tend or journal.tend
        self._beat = beat
        self._told = told
        self.looked_at: float | None = None  # when the thread last went round, by time.monotonic
        self._journal = journal
        self._make_store = make_store
        self._settings = settings
        self._failures = failures
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None
        self._waiters = Waiters()
        self._stopping = False
        self._stop_at = 0  # the last number that stopping waits for
        self._give_up = False
        self._relink_asked = False
        self._tend_at = 0.0
        self._count_at = 0.0
        self._batch = settings.delivery_batch
        self._ahead = _NOTHING
        self.delivered_seq = journal.delivered_seq  # a hint until the store has been asked
        self._refused = False  # the store has other entries under the numbers of some of these
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
        waiter = self._waiters.add(seq)
        self._hurry()
        if not self.runs:  # nobody else would
            self._waiters.release()
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
            self.state = f"stopped: {in_words(problem)}"
            if not self._give_up:
                self._failures.note("delivery stopped", problem)
        finally:
            self._has_ended = True
            self._waiters.release()

    async def _run(self) -> None:
        self._task, self._wake = asyncio.current_task(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        beating = asyncio.create_task(self._keep_beating(self._beat)) if self._beat is not None else None
        leisure: asyncio.Task[None] | None = None
        store: Store | None = None
        seen_to: Store | None = None
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
                    if store is not None and store is not seen_to and (leisure is None or leisure.done()):
                        seen_to, leisure = store, asyncio.create_task(self._at_leisure(store))
                    await self._sleep(self._settings.delivery_pause_s)
        finally:
            for task in (beating, leisure):
                if task is not None:
                    task.cancel()
            if store is not None:
                await _closed(store)

    async def _keep_beating(self, beat: Callable[[], None]) -> None:
        while True:
            beat()
            await asyncio.sleep(_BEAT_EVERY_S)

    async def _at_leisure(self, store: Store) -> None:
        try:
            await store.at_leisure()
        except Exception as problem:  # nothing that is delivered needs it
            self._failures.note("schema", problem)

    async def _connected(self) -> Store:
        store = self._make_store()
        try:
            await store.open()
            self.delivered_seq = await agreed(
                self._journal,
                store,
                self._failures,
                refused=self._refused,
                at_once=self._settings.delivery_batch,
            )
        except BaseException:
            await _closed(store)
            raise
        self._refused = False
        self._journal.delivered(self.delivered_seq)
        if self.problem is not None:  # of its failures only the first was said
            waiting = self._journal.durable_seq - self.delivered_seq
            logger.info(
                "audit trail: the database takes records again, %d wait for it",
                waiting,
                event="delivering_again",
                count=waiting,
                account=self._settings.account,
            )
        self.state, self.problem = "connected", None
        return store

    async def _step(self, store: Store) -> bool:
        """One batch, or the upkeep there is time for when there is none. True: there is more."""
        entries, read = await self._taken()
        if entries:
            following = min(self._settings.delivery_batch, self._batch * 2)
            ahead = asyncio.create_task(self._read(entries[-1].seq, following))
            try:
                await self._deliver(store, entries, read)
                self._ahead = await ahead
            except BaseException:
                ahead.cancel()
                raise
            self._batch = following
            self._relink_asked = True
        if self._waiters.any_at(self.delivered_seq) or (self._relink_asked and not entries):
            self._relink_asked = False
            try:
                await store.relink()
            except SchemaError as problem:  # the bot's own table cannot be read: a row without a link
                self._failures.note("linking to positions", problem)
        await self._count(store)
        self._waiters.release(self.delivered_seq)
        self._tend()
        return bool(entries)

    async def _count(self, store: Store) -> None:
        # at first, for what an earlier run left there; then as long as there is something that may be brought in
        now = time.monotonic()
        if now >= self._count_at:
            self.quarantined = await store.count_quarantined(self._journal.stream)
            self._count_at = now + _COUNT_EVERY_S if self.quarantined else math.inf

    def _tend(self) -> None:
        now = self.looked_at = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + _TEND_EVERY_S
            try:
                self._tend_now()
            except JournalError as problem:  # the disk refuses; nothing is lost by it, the next time may work
                self._failures.note("tending the journal", problem)

    async def _taken(self) -> tuple[Sequence[Entry], Sequence[Reading | CodecError]]:
        """What is next: as it was read ahead, if nothing came between."""
        (after, entries, read), self._ahead = self._ahead, _NOTHING
        if after != self.delivered_seq or not entries:
            _, entries, read = await self._read(self.delivered_seq, self._batch)
        return entries, read

    async def _read(self, after: int, most: int) -> _Ahead:
        """The next entries, and what they say; by and by, since the database works on those before them meanwhile."""
        entries, read = self._journal.read(after, most), list[Reading | CodecError]()
        intents: dict[UUID, Reading] = {}
        for entry in unhurried(entries):
            read.append(_said(entry, intents))
            if len(read) % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)
        return _Ahead(after, entries, read)

    async def _deliver(self, store: Store, entries: Sequence[Entry], read: Sequence[Reading | CodecError]) -> None:
        good: list[Entry] = []
        records: list[Reading] = []
        for entry, said in zip(entries, read, strict=True):
            if isinstance(said, CodecError):
                await self._deliver_read(store, good, records)
                good, records = [], []
                await self._set_aside(store, entry, str(said))
                continue
            good.append(entry)
            records.append(said)
        await self._deliver_read(store, good, records)

    async def _deliver_read(self, store: Store, entries: Sequence[Entry], records: Sequence[Reading]) -> None:
        if not entries:
            return
        began = time.monotonic()
        try:
            await store.deliver(self._journal.stream, entries, records)
        except StreamConflict:
            self._refused = True
            raise
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
        if self._told is not None:
            self._told([said.record for said in records], time.monotonic() - began)

    async def _set_aside(self, store: Store, entry: Entry, reason: str) -> None:
        await store.quarantine(self._journal.stream, entry, reason)
        self.quarantined += 1
        self._count_at = 0.0
        self._failures.note("record in quarantine", f"seq {entry.seq}: {reason}")
        self._advance(entry.seq)

    def _advance(self, seq: int) -> None:
        self.delivered_seq = seq
        self._journal.delivered(seq)

    def _delivered_all(self) -> bool:
        return self.state == "connected" and self.delivered_seq >= self._stop_at

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        self._tend()  # the journal grows while the database is away
        outcome = state.outcome
        problem = outcome.exception() if outcome is not None else None
        if problem is None:
            return
        words = in_words(problem)
        self.problem = problem if isinstance(problem, AuditWrapperError) else StoreUnavailable(words)
        self.state = f"trying again: {words}"
        if isinstance(problem, StreamConflict):
            return  # said when it is mended
        self._failures.note("schema" if isinstance(problem, SchemaError) else "database away", problem)

    async def _sleep(self, seconds: float) -> None:
        assert self._wake is not None
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()


def _said(entry: Entry, intents: dict[UUID, Reading]) -> Reading | CodecError:
    """What the entry says, or why it cannot be read. `intents`: by their ids, those before it."""
    try:
        if entry.damage:
            raise CodecError(entry.damage)
        said = Reading(codec.decode(entry.payload))
    except CodecError as problem:
        return problem
    record = said.record
    if record.kind is RecordKind.INTENT:
        intents[record.record_id] = said
    elif record.intent_id in intents:
        said.follows(intents[record.intent_id])
    with contextlib.suppress(Exception):  # the store says so when it gets there
        mentions(said)
    return said


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up without a thread pool: at the interpreter's exit, when the last is delivered, there is none."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return socket.getaddrinfo(*args, **kwargs)


async def _closed(store: Store) -> None:
    try:
        await asyncio.wait_for(store.close(), 5)
    except Exception as problem:  # closing a broken connection may fail; there is nothing left to lose on it
        logger.debug("audit trail: closing the store: %s", words_of(problem), event="store_not_closed")
