"""From the journal to the database: the parts that carry what was recorded, begun, tended, ended, and made anew in a fork."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from audit_wrapper.database import Database
from audit_wrapper.delivery import Delivery
from audit_wrapper.errors import SettingsError
from audit_wrapper.failures import Failures, words_of
from audit_wrapper.forks import Adoption, SideJournal
from audit_wrapper.handed import Handed
from audit_wrapper.heartbeat import Heartbeat
from audit_wrapper.journal import FileJournal, Journal, What
from audit_wrapper.logs import Log
from audit_wrapper.metrics import TrailMetrics
from audit_wrapper.recorder import Recorder
from audit_wrapper.settings import Settings
from audit_wrapper.status import FlushReport, Status

_T = TypeVar("_T")

logger = Log("audit_wrapper")

_NOTHING_MISSING = (What.DELETED, What.DIVERGED)  # what was deleted is still open, what diverged is delivered apart


class Pipeline:
    """The journal of one trail in one process, its delivery, and the delivery of what forked children left."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        database: Database,
        recorder: Recorder,
        failures: Failures,
        metrics: TrailMetrics | None = None,
        *,
        beats: bool = True,
    ) -> None:
        """beats: whether it gives signs of life; a process that only delivers leaves the bot's last word as it is."""
        self.journal = journal
        self.database = database
        self._settings = settings
        self._recorder = recorder
        self._failures = failures
        self._metrics = metrics
        self._adoption: Adoption | None = None
        self._damage_told = 0
        self._heartbeat: Heartbeat | None = None
        if beats and isinstance(journal, FileJournal):
            self._heartbeat = Heartbeat(
                journal.folder, self.status, failures, account=settings.account, delivery=settings.delivery
            )
        beat = self._heartbeat.beat if self._heartbeat is not None else None
        opened_at = self._heartbeat.opened_at if self._heartbeat is not None else None
        self.delivery: Delivery | Handed
        if settings.delivery == "own":
            self.delivery = self._delivery_of(journal, self._tend, beat)
        elif settings.delivery == "process":
            from audit_wrapper.attendant import Attended

            counted = metrics.counted if metrics is not None else None
            self.delivery = Attended(settings, journal, failures, self._tend, beat, self._damaged, opened_at, counted)
        elif settings.dsn is None:
            raise SettingsError(
                'delivery="sidecar" needs a dsn: the embedded PostgreSQL belongs to the process that opens the trail'
            )
        else:
            self.delivery = Handed(journal, failures, self._tend, beat, self._damaged, opened_at)

    @classmethod
    def in_child(
        cls,
        settings: Settings,
        recorder: Recorder,
        failures: Failures,
        begun: Callable[[], None],
        metrics: TrailMetrics | None = None,
    ) -> Self:
        """For a forked child: it begins with the first record, and then `begun` is called."""
        journal = SideJournal(settings.journal, "fork", lambda folder: open_journal(settings, folder), begun)
        recorder.begin_anew(journal)
        if metrics is not None:
            metrics.in_child()
        if settings.delivery == "process":  # that one is of the parent's journal
            settings = msgspec.structs.replace(settings, delivery="own")
        return cls(settings, journal, Database(settings), recorder, failures, metrics)

    def start(self) -> None:
        """Deliver, and deliver what forked children left that are gone."""
        self.delivery.start()
        if isinstance(self.delivery, Handed):
            return
        try:
            adoption = Adoption(self._settings.journal, self._open_beside, self._delivery_of, self._failures)
            adoption.start()
            self._adoption = adoption
        except Exception as problem:  # it stays for the next run
            self._failures.note("delivering what a forked process left", problem)

    @property
    def adoption(self) -> Adoption | None:
        """The delivery of what forked children left; None: it was not begun."""
        return self._adoption

    def status(self) -> Status:
        """As `AuditTrail.status`."""
        journal, delivery = self.journal, self.delivery
        durable, delivered = journal.durable_seq, delivery.delivered_seq
        problem, room = delivery.problem, journal.room
        damage = tuple(found.sentence for found in journal.damage if found.what is not What.TORN_TAIL)
        return Status(
            recorded=self._recorder.recorded,
            durable_seq=durable,
            delivered_seq=delivered,
            lag=max(0, durable - delivered),
            waiting=self._recorder.waiting,
            quarantined=delivery.quarantined,
            failures=self._failures.counts,
            damage=damage + (delivery.damage if isinstance(delivery, Handed) else ()),
            disk_free_bytes=room.free_bytes if room is not None else None,
            outage_hours_left=room.hours if room is not None else None,
            last_error=words_of(problem) if problem is not None else self._failures.last,
            store=delivery.state,
            journal=str(self._settings.journal),
            database=self.database.address or (delivery.database if isinstance(delivery, Handed) else None),
            embedded=self.database.embedded_folder,
        )

    async def flush(self, timeout_s: float) -> FlushReport:
        """As `AuditTrail.flush`."""
        self._recorder.retry()
        waiting = self._recorder.waiting
        reached = await finished(self.delivery.reached(self.journal.durable_seq), timeout_s)
        return FlushReport(complete=True) if reached and not waiting else self.left_over()

    def left_over(self) -> FlushReport:
        """What is not in the database at this moment."""
        left = max(0, self.journal.durable_seq - self.delivery.delivered_seq)
        waiting = self._recorder.waiting
        if left == waiting == 0:
            return FlushReport(complete=True)
        failed = self.delivery.problem
        problem = self._failures.last if not left else words_of(failed) if failed is not None else None
        return FlushReport(False, left, waiting, problem=problem or self.delivery.state)

    def stop(self, timeout_s: float, unless: Callable[[], bool]) -> None:
        """Deliver what is there, for `timeout_s` at the most, and no longer than until `unless`."""
        until = time.monotonic() + timeout_s
        self._recorder.retry()
        self.delivery.stop(timeout_s, unless)
        if self._adoption is not None:
            self._adoption.stop(max(0.0, until - time.monotonic()))

    def disown(self) -> None:
        """In a forked child, where this is the parent's."""
        self.delivery.disown()
        if self._adoption is not None:
            self._adoption.disown()

    def close(self) -> FlushReport:
        """Say what is left, and let go of everything. What is recorded later goes into a journal beside this one."""
        # An answer that comes only now is kept as well.
        self._recorder.use_journal(SideJournal(self._settings.journal, "late", self._open_beside))
        left = self.left_over()
        if left.unwritten:
            logger.error(
                "audit trail: %d records are LOST: the journal in %s could not be written (%s)",
                left.unwritten,
                self._settings.journal,
                self._failures.last,
                event="records_lost",
                count=left.unwritten,
                account=self._settings.account,
                journal=str(self._settings.journal),
            )
        if left.undelivered:
            logger.warning(
                "audit trail: %d records are not in the database yet (%s); they are safe in %s and go there next time",
                left.undelivered,
                left.problem,
                self._settings.journal,
                event="records_left",
                count=left.undelivered,
                account=self._settings.account,
                journal=str(self._settings.journal),
            )
        if left and isinstance(self.journal, SideJournal):
            self.journal.discard()
        if self._heartbeat is not None:  # while the journal is still ours
            self._heartbeat.beat(closed=True)
        self.journal.close()
        self.database.stop()
        return left

    def _tend(self) -> None:
        """On the delivery's thread, about twice a second."""
        if self._metrics is not None:
            self._metrics.tend(self.journal)
        self._recorder.retry()
        found = self.journal.damage
        for finding in found[self._damage_told :]:
            self._damage_told += 1
            if finding.what is What.TORN_TAIL:
                continue  # no call had been told that it was written
            if finding.what in _NOTHING_MISSING:
                self._failures.note("journal damaged", finding.sentence)
            else:
                self._damaged(finding.sentence)
        self.journal.tend()

    def _damaged(self, sentence: str) -> None:
        self._failures.note("journal damaged", sentence)
        self._recorder.missing(sentence)

    def _delivery_of(
        self, journal: Journal, tend: Callable[[], None] | None = None, beat: Callable[[], None] | None = None
    ) -> Delivery:
        told = self._metrics.delivered if self._metrics is not None else None
        return Delivery(journal, self.database.store, self._settings, self._failures, tend, beat, told)

    def _open_beside(self, folder: Path) -> Journal:
        return open_journal(self._settings, folder)


def open_journal(settings: Settings, folder: Path) -> Journal:
    """The journal in `folder`, as the settings want it."""
    return FileJournal.open(
        folder,
        durability=settings.durability,
        keep_delivered_s=settings.keep_delivered_days * 86_400,
        keep_delivered_bytes=settings.keep_delivered_mb * 1_000_000,
    )


async def in_thread(name: str, work: Callable[[], _T]) -> _T:
    """Do this on a thread of its own, and wait without holding up the loop.

    Not on the loop's own pool: that may be busy with the bot's work, or shut down already.
    """
    result: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def run() -> None:
        result.set_running_or_notify_cancel()
        try:
            result.set_result(work())
        except BaseException as problem:
            result.set_exception(problem)

    threading.Thread(target=run, name=f"audit_wrapper-{name}", daemon=True).start()
    await finished(result, None)
    return result.result()


async def finished(future: concurrent.futures.Future[Any], timeout_s: float | None) -> bool:
    """Wait for what a thread does; True if it has done it.

    asyncio's own ways leave a word behind when the loop is closed before the thread ends: `wrap_future` a trace,
    `wait_for` (before Python 3.12) a task that was destroyed.
    """
    loop = asyncio.get_running_loop()
    waiting = loop.create_future()

    def end() -> None:
        if not waiting.done():
            waiting.set_result(None)

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(end)

    timer = loop.call_later(timeout_s, end) if timeout_s is not None else None
    try:
        future.add_done_callback(wake)
        await waiting
    finally:
        if timer is not None:
            timer.cancel()
    return future.done()
