"""A process beside the bot that delivers the bot's journal, for bots opened with `delivery="sidecar"`, or "process".

It reads the folder without the journal's lock, and tells the bot by a file how far it is (`mark`), so that the bot's
retention works. It may be killed and started again at any moment: how far delivery is, the database knows. What forked
processes left is delivered once they have ended.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from audit_wrapper import metrics
from audit_wrapper.database import Database
from audit_wrapper.delivery import Delivery
from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.failures import Failures, words_of
from audit_wrapper.forks import Adoption, side_folders
from audit_wrapper.heartbeat import Beat, last_beat
from audit_wrapper.journal import Journal, What, layout
from audit_wrapper.journal.followed import FollowedJournal
from audit_wrapper.journal.lock import FolderLock, holder
from audit_wrapper.mark import Mark, read_mark, write_mark
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.settings import Settings

_MARK_EVERY_S = 2.0
_SOON_S = 0.1  # how far behind the mark may be
_LOOK_EVERY_S = 2.0
_SETTLED_S = 5.0  # a folder younger than this is perhaps still being made
_ADOPT_EVERY_S = 10.0


class Sidecar:
    """Delivers the journal in `settings.journal`, from `start` to `stop`. `step` is to be called about ten times a second.

    `step` raises JournalInUse when another process delivers this journal, the bot itself among them, and JournalUnavailable
    where the folder cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        failures: Failures | None = None,
        told: Callable[[Sequence[Record], float], None] | None = None,
        marked: Callable[[Mark], None] | None = None,
    ) -> None:
        """The others are for one that its bot has started. failures, told: as in `Delivery`. marked: called with each new mark."""
        self.failures = failures or Failures({"account": settings.account, "journal": str(settings.journal)})
        self._told_of = told
        self._marked = marked
        if told is None and (made := metrics.of_trail(settings, self.failures)) is not None:
            self._told_of = made.delivered  # of the delivery alone; the bot reports the rest
        self.delivery: Delivery | None = None
        self._settings = settings
        self._folder = settings.journal
        self._database = Database(settings)
        self._journal: FollowedJournal | None = None
        self._branch: tuple[UUID, int] | None = None
        self._written: Mark | None = None
        self._write_at = 0.0
        self._adopt_at = 0.0
        self._has_adopted = False
        self._look_at = 0.0
        self._opened_at: datetime | None = None  # when the bot opened the journal that is delivered
        self._due_from = 0  # what the bot had written before that goes up to here
        self._found: dict[str, None] = {}  # damage, in words, that no run of the bot is known to have written down
        self._told: set[str] = set()  # and what one has
        self._adoption = Adoption(self._folder, self._open_beside, self._delivery_of, self.failures)
        self._lock: FolderLock | None = None

    @property
    def state(self) -> str:
        """What it is doing, in words."""
        return self.delivery.state if self.delivery is not None else f"waiting for the bot to make {self._folder}"

    def step(self) -> None:
        """Begin when the journal is there, tell the bot how far delivery is, and deliver what forked processes left."""
        if self._lock is None and not self._locked():
            return
        self._follow_the_bot()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._look()
        if self.delivery is None and not self._begun():
            return
        self._write_mark()
        if now >= self._adopt_at and not self._adoption.runs:
            self._adopt_at = now + _ADOPT_EVERY_S
            self._adopt()

    @property
    def delivered_seq(self) -> int:
        """Up to where the journal is in the store; 0: delivery has not begun."""
        return self.delivery.delivered_seq if self.delivery is not None else 0

    @property
    def has_broken_down(self) -> bool:
        """Whether delivery has ended by itself, which it should never do."""
        return self.delivery is not None and not self.delivery.runs

    def disown(self) -> None:
        """In a forked child: see `Delivery.disown`."""
        if self.delivery is not None:
            self.delivery.disown()
        self._adoption.disown()

    def reached(self, seq: int) -> concurrent.futures.Future[None] | None:
        """As `Delivery.reached`; None: delivery has not begun."""
        return self.delivery.reached(seq) if self.delivery is not None else None

    def mark_now(self) -> None:
        """Tell the bot how far delivery is, at once."""
        self._write_at = 0.0
        if self.delivery is not None:
            self._write_mark()

    def stop(self, timeout_s: float) -> bool:
        """Deliver what is there, for `timeout_s` at the most; True if all of it was. The next run goes on from there."""
        done, until = True, time.monotonic() + timeout_s
        try:
            if self.delivery is not None and self._journal is not None:
                wanted = self._journal.durable_seq  # a bot that trades on is not waited for
                self.delivery.stop(timeout_s)
                done = self.delivery.delivered_seq >= wanted
                self._write_mark(ended=True)
                self._adoption.stop(max(0.0, until - time.monotonic()))
                self._journal.close()
        finally:
            self._database.stop()
            if self._lock is not None:
                self._lock.release()
        return done

    # -- inside

    def _locked(self) -> bool:
        if not self._folder.is_dir():
            return False
        beat, pid = last_beat(self._folder), holder(self._folder)
        if pid is not None and beat is not None and self._delivers_itself(beat):
            raise JournalInUse(
                f"process {pid or beat.pid} writes the journal in {self._folder} and delivers it itself: open its trail with "
                'delivery="sidecar" (AUDIT_WRAPPER_DELIVERY=sidecar) to leave that to a sidecar'
            )
        try:
            self._lock = FolderLock(
                self._folder, layout.SIDECAR_LOCK, layout.ATTENDED if self._marked is not None else ""
            )
        except OSError as problem:
            raise JournalUnavailable(
                f"the journal folder {self._folder} cannot be used ({problem}): a sidecar writes a small file there, so "
                "run it as the bot's user"
            ) from problem
        before = read_mark(self._folder)
        if before is not None:
            self._found.update(dict.fromkeys(before.damage))
        return True

    def _begun(self) -> bool:
        try:
            journal = FollowedJournal(self._folder, self._ask_to_branch)
            self._due_from = journal.durable_seq
        except JournalUnavailable:
            return False
        self._journal = journal

        def taken(records: Sequence[Record], seconds: float) -> None:
            self._told.update(one.reason for one in records if one.kind is RecordKind.GAP and one.reason is not None)
            if self._told_of is not None:
                self._told_of(records, seconds)

        self.delivery = self._delivery_of(journal, taken)
        self.delivery.start()
        return True

    def _follow_the_bot(self) -> None:
        """Whenever the bot has opened its journal anew, the store is asked anew: an older copy may have been put back."""
        beat = last_beat(self._folder)
        if beat is not None and beat.opened_at != self._opened_at:
            self._opened_at, self._look_at = beat.opened_at, 0.0
            if self.delivery is not None and self._journal is not None:
                self.delivery.stop(0)
                self._untold(self._journal)
                self._journal.close()
            self.delivery = self._journal = None

    def _look(self) -> None:
        assert self._lock is not None
        with contextlib.suppress(FileNotFoundError):  # the folder was taken away: its writer makes it anew
            self._lock.renew(patiently=True)
        beat = last_beat(self._folder)
        if beat is not None and self._delivers_itself(beat) and holder(self._folder) is not None:
            self.failures.note(
                "the bot delivers too",
                f'process {beat.pid} delivers its journal itself: open its trail with delivery="sidecar", or end this sidecar',
            )

    def _delivers_itself(self, beat: Beat) -> bool:
        return self._marked is None and beat.delivery != "sidecar" and not beat.closed

    def _ask_to_branch(self, stream: UUID, after_seq: int) -> None:
        self._branch = (stream, after_seq)

    def _write_mark(self, *, ended: bool = False) -> None:
        assert self.delivery is not None
        assert self._journal is not None
        now = time.monotonic()
        if now < self._write_at and not ended:
            return
        self._write_at = now + _SOON_S
        try:
            mark = self._mark(self._journal, self.delivery)
            old = self._written
            is_new = old is None or msgspec.structs.replace(old, written_at=mark.written_at) != mark
            if old is not None and 0 <= old.age_s < _MARK_EVERY_S and not is_new and not ended:
                return
            self._written = mark
            if self._marked is not None:
                self._marked(mark)
            if ended:
                mark = msgspec.structs.replace(mark, store="the sidecar has ended", problem="the sidecar has ended")
            write_mark(self._folder, mark)
        except OSError as problem:  # JournalUnavailable is one
            self.failures.note("writing delivered.json", problem)

    def _mark(self, journal: FollowedJournal, delivery: Delivery) -> Mark:
        stream = journal.stream
        wanted = self._branch[1] if self._branch is not None and self._branch[0] == stream else None
        return Mark(
            stream=stream,
            # until the store was asked, what is known is no more than what the journal knows itself
            delivered_seq=journal.delivered_seq if delivery.state != "connected" else delivery.delivered_seq,
            quarantined=delivery.quarantined,
            store=delivery.state,
            problem=words_of(delivery.problem) if delivery.problem is not None else None,
            branch_after=wanted,
            opened_at=self._opened_at,
            damage=self._untold(journal),
            is_due=delivery.state == "connected" and delivery.delivered_seq >= self._due_from,
            database=self._database.address,
            pid=os.getpid(),
            written_at=datetime.now(UTC),
        )

    def _untold(self, journal: FollowedJournal) -> tuple[str, ...]:
        """What is damaged, as far as no run of the bot has written it down."""
        self._found.update({one.sentence: None for one in journal.damage if one.what is not What.TORN_TAIL})
        if self._found:
            beat = last_beat(self._folder)
            self._told.update(beat.status.damage if beat is not None else ())
            self._found = {sentence: None for sentence in self._found if sentence not in self._told}
        return tuple(self._found)

    def _adopt(self) -> None:
        try:
            now = time.time()
            # in time to come only: what is there when this begins is nearly always of an earlier run
            settled_s = _SETTLED_S if self._has_adopted else 0.0
            self._has_adopted = True
            if any(now - path.stat().st_mtime >= settled_s for path in side_folders(self._folder)):
                self._adoption.start()
        except FileNotFoundError:
            return  # it went just now: its process had all of it delivered
        except OSError as problem:
            self.failures.note("delivering what a forked process left", problem)

    def _delivery_of(self, journal: Journal, told: Callable[[Sequence[Record], float], None] | None = None) -> Delivery:
        return Delivery(journal, self._database.store, self._settings, self.failures, told=told or self._told_of)

    def _open_beside(self, folder: Path) -> Journal:
        from audit_wrapper.pipeline import open_journal  # much of what it knows is not needed here

        return open_journal(self._settings, folder)
