"""What stands in the place of the delivery in a bot that leaves it to a sidecar (setting `delivery`): it waits for the
sidecar's mark, and tends the journal. It knows no database."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from datetime import datetime

from audit_wrapper.errors import AuditWrapperError, JournalError, StoreUnavailable
from audit_wrapper.failures import Failures
from audit_wrapper.journal import FileJournal, Journal
from audit_wrapper.mark import STALE_S, Mark, read_mark
from audit_wrapper.waiters import Waiters

_TEND_EVERY_S = 0.5
_BEAT_EVERY_S = 2.0
GIVE_UP_S = 1.0
LOOK_EVERY_S = 0.05  # for the mark, while somebody waits for it; else as often as it tends
_NONE = "no sidecar delivers this journal: start one with `audit-wrapper deliver --follow`"
_EARLIER = "the sidecar still goes by an earlier run of this bot: look at its log"
_LATER = "this process is a fork: the sidecar delivers what it recorded once it has ended"


class Handed:
    """Has the face of a `Delivery`. `damaged` is called with what the sidecar found damaged in the journal. opened_at: of this run of
    the bot, as its sign of life has it: what a mark says to another run counts for nothing."""

    database: str | None = None  # as in the mark, where the settings do not say it

    def __init__(
        self,
        journal: Journal,
        failures: Failures,
        tend: Callable[[], None],
        beat: Callable[[], None] | None,
        damaged: Callable[[str], None],
        opened_at: datetime | None,
    ) -> None:
        self._journal = journal
        self._failures = failures
        self._tend_now = tend
        self._beat = beat
        self._damaged = damaged
        self._opened_at = opened_at
        self._told: set[str] = set()
        self._waiters = Waiters()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._has_ended = False
        self._began = time.monotonic()
        self._is_away = False
        self.delivered_seq = journal.delivered_seq
        self.quarantined = 0
        self.state = "waiting for the sidecar"
        self.problem: AuditWrapperError | None = None
        self.damage: tuple[str, ...] = ()
        self.looked_at: float | None = None  # when the thread last went round, by time.monotonic

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="audit_wrapper-delivery", daemon=True)
        self._thread.start()

    def disown(self) -> None:
        """In a forked child: there is nothing to let go of."""

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread is not None and not self._has_ended

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller is its thread."""
        return threading.current_thread() is self._thread

    def reached(self, seq: int) -> concurrent.futures.Future[None]:
        """Done once the sidecar says that everything up to `seq` is in the store, or when this has ended."""
        waiter = self._waiters.add(seq)
        if not self.runs:
            self._waiters.release()
        return waiter

    def stop(self, timeout_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the sidecar has everything, for `timeout_s` at the most, and for one that is there only."""
        try:
            until = time.monotonic() + timeout_s
            while self.runs and not self.is_this_thread and not self._has_all():
                if self.problem is not None or unless() or time.monotonic() >= until:
                    break
                time.sleep(LOOK_EVERY_S)
        finally:
            self._stopping = True
        self._await_end()
        return self._has_all()

    def _await_end(self) -> None:
        until = time.monotonic() + GIVE_UP_S
        while self.runs and not self.is_this_thread and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)

    @property
    def _settled_seq(self) -> int:
        return self.delivered_seq

    def _has_all(self) -> bool:
        return self.delivered_seq >= self._journal.durable_seq

    # -- on the thread

    def _run(self) -> None:
        tend_at = beat_at = 0.0
        try:
            while not self._stopping:
                now = self.looked_at = time.monotonic()
                tends = now >= tend_at
                if tends:
                    tend_at = now + _TEND_EVERY_S
                self._step(tends)
                if self._beat is not None and now >= beat_at:
                    beat_at = now + _BEAT_EVERY_S
                    self._beat()
                self._wait(LOOK_EVERY_S)
            self._step(tends=False)  # the last word
        finally:
            self._has_ended = True
            self._waiters.release()

    def _wait(self, seconds: float) -> None:
        """Until there may be something to look at; `seconds` at the most."""
        time.sleep(seconds)

    def _step(self, tends: bool) -> None:
        try:
            if tends or self._has_news():
                self._look()
                self._waiters.release(self._settled_seq)
            if tends:
                self._tend_now()
        except JournalError as problem:  # the disk refuses; the next time may work
            self._failures.note("tending the journal", problem)
        except Exception as problem:  # whatever it is: without this thread nobody tends the journal
            self._failures.note("following the sidecar", problem)

    def _has_news(self) -> bool:
        return bool(self._waiters) or not self._has_all()

    def _look(self) -> None:
        if not isinstance(self._journal, FileJournal):
            self._say(StoreUnavailable(_LATER))
            return
        mark = read_mark(self._journal.folder)
        late = time.monotonic() - self._began >= STALE_S
        if mark is None or not mark.is_fresh:
            if late or mark is not None:
                self._say(StoreUnavailable(_NONE), away=late)
        elif mark.opened_at == self._opened_at:
            self._is_away = False
            self._say(StoreUnavailable(mark.problem) if mark.problem else None, state=mark.store)
        elif late:
            self._say(StoreUnavailable(_EARLIER), away=True)
        if mark is not None and mark.opened_at == self._opened_at and mark.stream == self._journal.stream:
            self._take(mark)

    def _take(self, mark: Mark) -> None:
        journal = self._journal
        if mark.branch_after is not None:
            self._failures.note(
                "journal and database differ",
                f"the database has other records than this journal after {mark.branch_after}: an older copy was put back?",
            )
            journal.branch(mark.branch_after)
            self.delivered_seq = journal.delivered_seq
            return
        if mark.delivered_seq <= journal.durable_seq:
            self.delivered_seq = mark.delivered_seq
            journal.delivered(mark.delivered_seq)
        self.quarantined = mark.quarantined
        for sentence in mark.damage:
            if mark.is_due and sentence not in self._told:
                self._told.add(sentence)
                self.damage += (sentence,)
                self._damaged(sentence)

    def _say(self, problem: StoreUnavailable | None, *, state: str = "", away: bool = False) -> None:
        if away and not self._is_away:
            self._is_away = True
            self._note_away(str(problem))
        self.problem = problem
        self.state = state or str(problem)

    def _note_away(self, problem: str) -> None:
        self._failures.note("sidecar away", problem)
