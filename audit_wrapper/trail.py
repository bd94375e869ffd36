"""`AuditTrail`: the one object users hold. Opening it starts recording and delivery; closing it says what is left."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

# `embedded` before our exit handler is registered, since they run backwards: the server ends after us
from audit_wrapper import embedded
from audit_wrapper.errors import StoreUnavailable, TrailClosed
from audit_wrapper.logs import Log

# What a trail is made of is imported when one is opened, all of it, before `open` returns: naming the class is cheap, no order
# of the bot waits for an import, and no thread of ours is in the middle of one when the bot forks.
if TYPE_CHECKING:
    from audit_wrapper.backfill import BackfillProgress, BackfillReport
    from audit_wrapper.clients import ClientSubject
    from audit_wrapper.completeness import Completeness
    from audit_wrapper.database import Database
    from audit_wrapper.journal import Journal
    from audit_wrapper.metrics import Seen
    from audit_wrapper.reconcile import ReconcileReport
    from audit_wrapper.records import Purpose
    from audit_wrapper.scopes import PositionScope
    from audit_wrapper.settings import Settings
    from audit_wrapper.status import FlushReport, Status
    from audit_wrapper.store.interface import Store

logger = Log("audit_wrapper")

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


class AuditTrail:
    """Records what a bot sends to its exchanges, and delivers it to PostgreSQL.

        with AuditTrail.open("postgresql://...", journal="audit-journal") as trail:
            exchanges = trail.wrap(exchanges)
            ...

    Make one per bot process with `AuditTrail.open`.
    """

    def __init__(self, settings: Settings, journal: Journal, database: Database, *, beats: bool = True) -> None:
        from audit_wrapper import audited, metrics  # noqa: F401  # `audited` is for later
        from audit_wrapper.failures import Failures
        from audit_wrapper.pipeline import Pipeline
        from audit_wrapper.recorder import Recorder
        from audit_wrapper.wrapping import Wrapping

        self._settings = settings
        self._failures = Failures({"account": settings.account, "journal": str(settings.journal)})
        self._metrics = metrics.of_trail(settings, self._failures)
        self._recorder = Recorder(
            journal,
            account=settings.account,
            failures=self._failures,
            refuse_entries=settings.entries_without_journal == "refuse",
            power=settings.durability == "power",
            stamping=settings.stamp_client_order_id,
            append_times=self._metrics.append_times if self._metrics is not None else None,
        )
        self._wrapping = Wrapping(self._recorder, self._failures)
        self._pipeline = Pipeline(
            settings, journal, database, self._recorder, self._failures, self._metrics, beats=beats
        )
        self._closed: FlushReport | None = None
        self._closing = threading.RLock()
        self._is_closing = False
        self._start_asking()

    @classmethod
    def open(
        cls,
        dsn: str | None = None,
        *,
        journal: str | os.PathLike[str] | None = None,
        account: str | None = None,
        **settings: Any,
    ) -> Self:
        """Open a trail; returns at once, also when the database is down.

        dsn: PostgreSQL, as asyncpg reads it. None (and none in AUDIT_WRAPPER_DSN): an embedded one in
        `<journal>/postgres`, started in the background. journal: the folder of the local journal, made if missing; one
        process, one folder (none, and none in AUDIT_WRAPPER_JOURNAL: `audit-journal`). account: names the account at the
        exchange. settings: the others of `audit_wrapper.Settings`; each may come from the environment instead.

        Raises SettingsError (an unknown setting, a value or DSN that cannot be right), JournalUnavailable (the folder
        cannot be written) or JournalInUse (another process writes there). A database that is away is no error: the
        journal keeps the records, `status()` says so, and delivery goes on trying.
        """
        from audit_wrapper.settings import Settings

        named = {"dsn": dsn, "journal": journal, "account": account}
        return cls._open(Settings.load({**settings, **{name: one for name, one in named.items() if one is not None}}))

    @classmethod
    def _open(cls, loaded: Settings, *, beats: bool = True) -> Self:
        from audit_wrapper.database import Database
        from audit_wrapper.pipeline import open_journal
        from audit_wrapper.store.postgres import PostgresStore

        _follow_forks()
        if loaded.dsn is not None:
            PostgresStore.check_dsn(loaded.dsn)
        else:
            embedded.imported()  # here, and not on the delivery thread: a child forked then would have half of it
        opened = open_journal(loaded, loaded.journal)
        try:
            trail = cls(loaded, opened, Database(loaded), beats=beats)
            trail._pipeline.start()
        except BaseException:
            opened.close()
            raise
        _open_trails.add(trail)
        if trail._metrics is not None:
            trail._metrics.start(trail._seen)
        logger.info(
            "audit trail: open, account %s, journal %s",
            loaded.account,
            loaded.journal,
            event="trail_opened",
            account=loaded.account,
            journal=str(loaded.journal),
        )
        return trail

    # -- observing

    def wrap(self, thing: _T) -> _T:
        """The same kind of thing, observed: a manager, a stop-loss manager, a ccxt client, a repository, or a dict or
        list of these. Wrapping twice is harmless. Raises CannotWrap, which says what was looked for."""
        self._check_open()
        return cast("_T", self._wrapping.wrap(thing))

    def unwrap(self, thing: _T) -> _T:
        """What was handed to `wrap`, with its client as it was before."""
        return cast("_T", self._wrapping.unwrap(thing))

    def instrument(self, what: str | type) -> None:
        """Observe a class that the bot makes deep inside itself: "core.stop_loss_manager:StopLossManager".

        It may be imported already or later. Raises CannotWrap when there is no such class, or nothing to observe in it.
        """
        self._check_open()
        self._wrapping.instrument(what)

    def uninstrument(self, what: str | type) -> None:
        """Undo `instrument`; of a class that is not instrumented, nothing."""
        self._wrapping.uninstrument(what)

    def position(
        self,
        id: int | str | None = None,
        *,
        signal_id: int | None = None,
        exchange: str | None = None,
        symbol: str | None = None,
        side: str | None = None,
    ) -> PositionScope:
        """A scope, for `with` and `async with`: orders inside belong to this position of the bot.

        exchange, symbol: link only orders of these, where given. side ("buy" or "long", "sell" or "short"): the side
        that opens it, so that entries and exits can be told apart.
        """
        from audit_wrapper.callframe import opening_side
        from audit_wrapper.records import PositionLink
        from audit_wrapper.scopes import PositionScope

        link = PositionLink(
            position_id=None if id is None else str(id),
            signal_id=signal_id,
            exchange=exchange,
            symbol=symbol,
            side=opening_side(side),
            how="scope",
        )
        return PositionScope(link)

    def audited(self, *, purpose: Purpose | str | None = None) -> Callable[[_F], _F]:
        """Decorates a function of the bot's own: what it sends belongs to one operation with this purpose.

        purpose: entry, exit, stop_loss, take_profit or cancel; anything else raises SettingsError.
        """
        from audit_wrapper.audited import audited

        return audited(self._recorder, self, purpose)

    # -- delivering

    async def flush(self, timeout_s: float = 30.0) -> FlushReport:
        """Wait until all that is recorded by now is in the store, `timeout_s` at the most. Says what is not."""
        return await self._pipeline.flush(timeout_s)

    # -- the exchange's side

    async def reconcile(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        exchange: str | None = None,
        timeout_s: float = 30.0,
    ) -> ReconcileReport:
        """Ask the exchanges about every order that is not complete in the store, and write down what they say.

        since, until: also about everything that happened in that range, with a time zone; until None: up to now. So come
        in orders that others sent, and funding. exchange: only this one. It asks through the bot's own clients on the caller's loop, at the pace of
        `ask_per_minute` and never beside an order call, so it may take its time. What the store knows already is not
        written again. Raises StoreUnavailable when the store, which knows what is open, has not got all records within half
        a minute; SettingsError for a range that cannot be; NotWrapped. timeout_s: how long it waits in the end until the store
        has what was heard.
        """
        self._check_open()
        report = await self._inquiry.reconcile(exchange, since, until)
        await self.flush(timeout_s)
        return report

    def observe(self, exchange: str, message: Any) -> bool:
        """Take in what the exchange said by itself; it counts as if it had been asked.

        message: what ccxt.pro's `watch_orders` or `watch_my_trades` returned, or a raw message of the user stream (Binance:
        ORDER_TRADE_UPDATE, ALGO_UPDATE, executionReport; Bybit: order, execution), as a dict, as text, or a list of these;
        any number of times, in any order. exchange: its name, as the wrapped manager or client has it. Returns at once;
        False if part of it could not be read: it is kept, counted in `status().failures` and logged; also when the trail is
        closed.
        """
        return self._closed is None and self._inquiry.observe(exchange, message)

    async def completeness(
        self, since: datetime, until: datetime | None = None, *, exchange: str | None = None
    ) -> Completeness:
        """Hold the trail against the exchange's own books: orders and fills of [since, until), with a time zone.

        exchange: its name; None if only one is wrapped. `str()` of the statement is a table, `as_json()` for programs.
        Nothing is written. Asks at the pace of `ask_per_minute`. Raises NotWrapped, SettingsError, StoreUnavailable.
        """
        self._check_open()
        return await self._inquiry.completeness(exchange, since, until)

    async def backfill(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        exchange: str | None = None,
        symbols: Iterable[str] = (),
        progress: Callable[[BackfillProgress], None] | None = None,
    ) -> BackfillReport:
        """Fill the tables from the exchange's history: for a bot that ran without a trail.

        Orders, fills and funding of [since, until), as far back as the exchange tells, marked as backfilled; linked to a
        position of the bot where its table names the order. symbols (unified): beside those that the exchange names
        itself; Binance names none that was last traded more than three months ago. progress is called after every part of six days.
        May be broken off and called again: it goes on where it was, and what is there is not written twice. Asks at the
        pace of `ask_per_minute`. Raises NotWrapped, SettingsError, StoreUnavailable.
        """
        self._check_open()
        return await self._inquiry.backfill(exchange, since, until, symbols, progress)

    def status(self) -> Status:
        """How it is doing. Cheap; touches neither disk nor network."""
        return self._pipeline.status()

    def close(self) -> FlushReport:
        """Deliver what can be delivered within `close_timeout_s`, take everything off again, and say what is left.

        What is left stays in the journal and is delivered by the next run. Closing twice is harmless.
        """
        return self._close(self._settings.close_timeout_s)

    async def aclose(self) -> FlushReport:
        """`close()` without holding up the event loop."""
        from audit_wrapper.pipeline import in_thread

        if self._closed is not None:
            return self._closed
        return await in_thread("close", self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- inside

    def _close(self, timeout_s: float, *, at_exit: bool = False) -> FlushReport:
        # Another thread's close is waited for; not by the delivery, for which that one waits.
        if not self._closing.acquire(blocking=not self._pipeline.delivery.is_this_thread):
            return self._pipeline.left_over()
        try:
            if self._closed is None and not self._is_closing:  # a signal handler may come in the middle
                self._is_closing = True
                self._closed = self._shut(timeout_s, at_exit=at_exit)
            return self._closed if self._closed is not None else self._pipeline.left_over()
        finally:
            self._closing.release()

    def _shut(self, timeout_s: float, *, at_exit: bool) -> FlushReport:
        try:
            self._inquiry.close()
            recorded = self._recorder.recorded
            # a bot that trades on while it exits is not kept alive for it: the next run delivers
            self._pipeline.stop(timeout_s, unless=lambda: at_exit and self._recorder.recorded != recorded)
        except BaseException:  # a second Ctrl-C, say; what follows is quick
            self._finish(at_exit)
            raise
        return self._finish(at_exit)

    def _finish(self, at_exit: bool) -> FlushReport:
        if not at_exit:  # else other exit handlers, and daemon threads, may still trade
            self._recorder.active = False
            self._wrapping.undo_all()
        self._closed = self._pipeline.close()
        _open_trails.discard(self)
        if self._metrics is not None:
            self._metrics.stop()
        logger.info(
            "audit trail: closed, account %s, journal %s, %d records",
            self._settings.account,
            self._settings.journal,
            self._recorder.recorded,
            event="trail_closed",
            account=self._settings.account,
            journal=str(self._settings.journal),
            count=self._recorder.recorded,
        )
        return self._closed

    def _start_asking(self) -> None:
        from audit_wrapper.inquiry import Inquiry

        self._inquiry = Inquiry(self._recorder, self._settings, self._failures, self._clients, self._read)

    def _clients(self) -> dict[str, ClientSubject]:
        found: dict[str, ClientSubject] = {}
        for client in self._wrapping.clients():
            if client.subject.exchange is not None:
                found.setdefault(client.subject.exchange, client.subject)
        return found

    async def _read(self, work: Callable[[Store], Awaitable[_T]]) -> _T:
        """Do this with the store, once everything recorded by now is in it; on a thread, so that no loop of the bot waits."""
        import asyncio

        from audit_wrapper.pipeline import in_thread

        flushed = await self.flush()
        if not flushed:
            raise StoreUnavailable(f"{flushed.undelivered} records are not in the database yet: {flushed.problem}")

        async def read() -> _T:
            store = self._pipeline.database.store()  # may have to start the embedded server
            await store.connect()  # what was flushed went through one that was opened
            try:
                return await work(store)
            finally:
                await store.close()

        return await in_thread("read", lambda: asyncio.run(read()))

    def _after_fork(self) -> None:
        """In the forked child: from here on a trail of its own, which begins with its first record.

        What was the parent's is neither used nor closed nor collected: what the system knows of it is shared.
        """
        from audit_wrapper.pipeline import Pipeline

        _parents.append((self._pipeline, self._inquiry))
        self._pipeline.disown()
        self._inquiry.inquirer.closed = True
        self._failures.reset()
        self._pipeline = Pipeline.in_child(
            self._settings, self._recorder, self._failures, self._begin_in_child, self._metrics
        )
        self._closing = threading.RLock()
        self._start_asking()

    def _begin_in_child(self) -> None:
        try:
            self._pipeline.start()
            processes = sys.modules.get("multiprocessing.util")
            if processes is not None:  # its children end without atexit
                processes.Finalize(None, _close_all, exitpriority=0)
        except Exception as problem:  # inside a trade; the next run delivers
            self._failures.note("delivering in a forked process", problem)

    def _seen(self) -> Seen:
        from audit_wrapper.metrics import Seen

        delivery = self._pipeline.delivery
        return Seen(
            status=self.status(),
            connected=delivery.state == "connected",
            heartbeat_age_s=None if delivery.looked_at is None else time.monotonic() - delivery.looked_at,
            requests=self._inquiry.inquirer.requests,
            unknown=self._inquiry.unknown,
        )

    def _check_open(self) -> None:
        if self._closed is not None:
            raise TrailClosed("this audit trail is closed; open a new one with AuditTrail.open(...)")


_open_trails: set[AuditTrail] = set()  # not weak: what was wrapped goes on recording when the trail itself is dropped
_parents: list[object] = []


@atexit.register
def _close_all() -> None:
    """At the interpreter's exit. Recording goes on: exit handlers and daemon threads may trade until the very end."""
    if not _open_trails:
        return
    from audit_wrapper.failures import words_of

    began = time.monotonic()
    for trail in list(_open_trails):
        try:
            timeout_s = trail._settings.close_timeout_s - (time.monotonic() - began)
            trail._close(max(0.0, timeout_s), at_exit=True)
        except KeyboardInterrupt:  # one more Ctrl-C: what is left is delivered by the next run
            continue
        except Exception as problem:
            logger.error(
                "audit trail: closing at exit: %s",
                words_of(problem),
                event="close_failed",
                journal=str(trail._settings.journal),
            )


def _after_fork_in_child() -> None:
    for trail in _open_trails:
        trail._after_fork()


@cache
def _follow_forks() -> None:
    """When all of ours is imported: these handlers run in order, and the journal's and the server's come before a trail's."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)
