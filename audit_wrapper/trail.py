"""`AuditTrail`: the one object users hold. Opening it starts recording and delivery; closing it says what is left."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import inspect
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec

from audit_wrapper import calls, embedded
from audit_wrapper.clients import ClientSubject
from audit_wrapper.delivery import Delivery, Store
from audit_wrapper.errors import CannotWrap, SettingsError, StoreUnavailable, TrailClosed
from audit_wrapper.exchanges import asking
from audit_wrapper.failures import Failures
from audit_wrapper.forks import Adoption, SideJournal
from audit_wrapper.frames import Frame, opening_side
from audit_wrapper.journal import Journal, SqliteJournal
from audit_wrapper.observe import observed
from audit_wrapper.proxies import HostSubject
from audit_wrapper.reconcile import Inquirer, Question, ReconcileReport
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Action, PositionLink, Purpose, Seam
from audit_wrapper.scopes import PositionScope
from audit_wrapper.settings import Settings
from audit_wrapper.wrapping import Wrapping

logger = logging.getLogger("audit_wrapper")

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


class FlushReport(msgspec.Struct, frozen=True):
    """What `flush` or `close` achieved. True in a condition when everything recorded is in the store.

    undelivered: records that are safe in the journal and not in the store. problem: why, in words.
    """

    complete: bool
    undelivered: int = 0
    problem: str | None = None

    def __bool__(self) -> bool:
        return self.complete


class Status(msgspec.Struct, frozen=True):
    """How the trail is doing, now.

    recorded: records made since it was opened. durable_seq, delivered_seq: numbers of the last record in the journal and
    in the store; lag is their difference. waiting: records held in memory because the journal cannot be written.
    quarantined: records the store refused (kept in audit.quarantine). failures: our own, by kind. store: what delivery
    is doing, in words. journal: its folder. database: its address, without the password; None while the embedded one is
    being started. embedded: the folder of the embedded PostgreSQL; None where the user has one.
    """

    recorded: int
    durable_seq: int
    delivered_seq: int
    lag: int
    waiting: int
    quarantined: int
    failures: dict[str, int]
    last_error: str | None
    store: str
    journal: str
    database: str | None
    embedded: str | None


class AuditTrail:
    """Records what a bot sends to its exchanges, and delivers it to PostgreSQL.

        with AuditTrail.open("postgresql://...", journal="audit-journal") as trail:
            exchanges = trail.wrap(exchanges)
            ...

    Make one per bot process with `AuditTrail.open`.
    """

    def __init__(self, settings: Settings, journal: Journal, database: Database) -> None:
        self._settings = settings
        self._journal = journal
        self._database = database
        self._failures = Failures()
        self._recorder = Recorder(journal, account=settings.account, failures=self._failures)
        self._wrapping = Wrapping(self._recorder, self._failures)
        self._delivery = Delivery(journal, database.store, settings, self._failures)
        self._adoption: Adoption | None = None
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
        from audit_wrapper.store.postgres import PostgresStore

        named = {"dsn": dsn, "journal": journal, "account": account}
        loaded = Settings.load({**settings, **{name: value for name, value in named.items() if value is not None}})
        if loaded.dsn is not None:
            PostgresStore.check_dsn(loaded.dsn)
        else:
            embedded.imported()  # here, and not on the delivery thread: a child forked then would have half of it
        opened = _open_journal(loaded, loaded.journal)
        try:
            trail = cls(loaded, opened, Database(loaded))
            trail._delivery.start()
        except BaseException:
            opened.close()
            raise
        trail._adopt()
        _open_trails.add(trail)
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
        try:
            meant = Purpose(purpose) if purpose is not None else None
        except ValueError:
            raise SettingsError(f"there is no purpose {purpose!r}; the purposes are: {', '.join(Purpose)}") from None

        def decorate(function: _F) -> _F:
            if not callable(function):
                raise CannotWrap(f"audited() decorates functions, and this is a {type(function).__name__}")
            names = tuple(inspect.signature(function).parameters)
            if names[:1] in (("self",), ("cls",)):
                names = names[1:]  # bound by the time that it is called
            row = calls.CallRow(function.__qualname__, Action.OTHER, names, meant, composite=True)
            subject = HostSubject(function.__module__ or "?", None, self)
            return cast("_F", observed(function, _AuditedHooks(self._recorder, row, subject)))

        return decorate

    # -- delivering

    async def flush(self, timeout_s: float = 30.0) -> FlushReport:
        """Wait until all that is recorded by now is in the store, `timeout_s` at the most. Says what is not."""
        await _done(self._delivery.reached(self._journal.durable_seq), timeout_s)
        return self._left_over()

    async def reconcile(self, timeout_s: float = 30.0) -> ReconcileReport:
        """Ask the exchanges, through the bot's own clients, about every order that is not complete in the store.

        Runs on the caller's loop. Orders whose client is not wrapped are reported as unanswered. Raises StoreUnavailable
        when the database, which knows what is open, has not got all records within `timeout_s`.
        """
        self._check_open()
        flushed = await self.flush(timeout_s)
        if not flushed:
            raise StoreUnavailable(f"{flushed.undelivered} records are not in the database yet: {flushed.problem}")
        store = await asyncio.to_thread(self._database.store)  # may have to start the embedded server
        await store.open()
        try:
            rows = await store.incomplete_orders(self._settings.account)  # type: ignore[attr-defined]
        finally:
            await store.close()
        report = await self._inquirer.ask_all(_questions(rows))
        await self.flush()
        return report

    def status(self) -> Status:
        """How it is doing. Cheap; touches neither disk nor network."""
        durable, delivered = self._journal.durable_seq, self._delivery.delivered_seq
        problem = self._delivery.problem
        return Status(
            recorded=self._recorder.recorded,
            durable_seq=durable,
            delivered_seq=delivered,
            lag=max(0, durable - delivered),
            waiting=self._recorder.waiting,
            quarantined=self._delivery.quarantined,
            failures=self._failures.counts,
            last_error=str(problem) if problem is not None else self._failures.last,
            store=self._delivery.state,
            journal=str(self._settings.journal),
            database=self._database.address,
            embedded=self._database.embedded_folder,
        )

    def close(self) -> FlushReport:
        """Deliver what can be delivered within `close_timeout_s`, take everything off again, and say what is left.

        What is left stays in the journal and is delivered by the next run. Closing twice is harmless.
        """
        return self._close(self._settings.close_timeout_s)

    async def aclose(self) -> FlushReport:
        """`close()` without holding up the event loop."""
        if self._closed is not None:
            return self._closed
        report: concurrent.futures.Future[FlushReport] = concurrent.futures.Future()

        def close() -> None:
            report.set_running_or_notify_cancel()
            try:
                report.set_result(self.close())
            except BaseException as problem:
                report.set_exception(problem)

        # not on the loop's own pool: that may be busy with the bot's work, or shut down already
        threading.Thread(target=close, name="audit_wrapper-close", daemon=True).start()
        await _done(report, None)
        return report.result()

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
        if not self._closing.acquire(blocking=not self._delivery.is_this_thread):
            return self._left_over()
        try:
            if self._closed is None and not self._is_closing:  # a signal handler may come in the middle
                self._is_closing = True
                self._closed = self._shut(timeout_s, at_exit=at_exit)
            return self._closed if self._closed is not None else self._left_over()
        finally:
            self._closing.release()

    def _shut(self, timeout_s: float, *, at_exit: bool) -> FlushReport:
        try:
            self._inquirer.close()
            until, recorded = time.monotonic() + timeout_s, self._recorder.recorded
            # a bot that trades on while it exits is not kept alive for it: the next run delivers
            self._delivery.stop(timeout_s, unless=lambda: at_exit and self._recorder.recorded != recorded)
            if self._adoption is not None:
                self._adoption.stop(max(0.0, until - time.monotonic()))
        except BaseException:  # a second Ctrl-C, say; what follows is quick
            self._finish(at_exit)
            raise
        return self._finish(at_exit)

    def _finish(self, at_exit: bool) -> FlushReport:
        if not at_exit:  # else other exit handlers, and daemon threads, may still trade
            self._recorder.active = False
            self._wrapping.undo_all()
        # An answer that comes only now is kept as well.
        late = SideJournal(self._settings.journal, "late", self._open_beside)
        self._recorder.use_journal(late)
        self._closed = left = self._left_over()
        if not left:
            logger.warning(
                "audit trail: %d records are not in the database yet (%s); they are safe in %s and go there next time",
                left.undelivered,
                left.problem,
                self._settings.journal,
            )
        if left and isinstance(self._journal, SideJournal):
            self._journal.discard()
        self._journal.close()
        self._database.stop()
        _open_trails.discard(self)
        return left

    def _start_asking(self) -> None:
        self._inquirer = Inquirer(self._recorder, self._settings, self._failures, self._client_for)
        if self._settings.ask_exchange == "auto":
            self._recorder.after_call = self._inquirer.after_call

    def _delivery_of(self, journal: Journal) -> Delivery:
        return Delivery(journal, self._database.store, self._settings, self._failures)

    def _open_beside(self, folder: Path) -> Journal:
        return _open_journal(self._settings, folder)

    def _adopt(self) -> None:
        """Deliver what forked children left that are gone."""
        try:
            adoption = Adoption(self._settings.journal, self._open_beside, self._delivery_of, self._failures)
            adoption.start()
            self._adoption = adoption
        except Exception as problem:  # it stays for the next run
            self._failures.note("delivering what a forked process left", problem)

    def _after_fork(self) -> None:
        """In the forked child: from here on a trail of its own, which begins with its first record.

        What was the parent's is neither used nor closed nor collected: what the system knows of it is shared.
        """
        _parents.append((self._delivery, self._adoption, self._database, self._journal, self._inquirer))
        self._delivery.disown()
        if self._adoption is not None:
            self._adoption.disown()
        self._inquirer.closed = True
        self._failures.reset()
        self._journal = SideJournal(self._settings.journal, "fork", self._open_beside, self._begin_in_child)
        self._recorder.begin_anew(self._journal)
        self._database = Database(self._settings)
        self._delivery = self._delivery_of(self._journal)
        self._adoption = None
        self._closing = threading.RLock()
        self._start_asking()

    def _begin_in_child(self) -> None:
        try:
            self._delivery.start()
            processes = sys.modules.get("multiprocessing.util")
            if processes is not None:  # its children end without atexit
                processes.Finalize(None, _close_all, exitpriority=0)
        except Exception as problem:  # inside a trade; the next run delivers
            self._failures.note("delivering in a forked process", problem)
        self._adopt()

    def _left_over(self) -> FlushReport:
        left = max(0, self._journal.durable_seq - self._delivery.delivered_seq) + self._recorder.waiting
        if left == 0:
            return FlushReport(complete=True)
        problem = self._delivery.problem
        return FlushReport(complete=False, undelivered=left, problem=str(problem) if problem else self._delivery.state)

    def _client_for(self, exchange: str) -> ClientSubject | None:
        return next((c.subject for c in self._wrapping.clients() if c.subject.exchange == exchange), None)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise TrailClosed("this audit trail is closed; open a new one with AuditTrail.open(...)")


class Database:
    """Where the records go, and how to get there: the user's PostgreSQL, or one of our own in the journal's folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.embedded_folder = None if settings.dsn else str(settings.journal / "postgres")
        self._embedded = None if self.embedded_folder is None else embedded.EmbeddedPostgres(self.embedded_folder)
        self._stopped = False
        self.address = _without_password(settings.dsn) if settings.dsn else None

    def store(self) -> Store:
        """A new connection. On the delivery thread, where starting the embedded server holds up nobody."""
        from audit_wrapper.store.postgres import PostgresStore

        dsn = self._settings.dsn
        if self._embedded is not None:
            if self._stopped:
                raise StoreUnavailable("the trail is closed, and with it the embedded PostgreSQL")
            dsn = self.address = self._embedded.start()  # also when it was killed meanwhile
        assert dsn is not None
        return PostgresStore(
            dsn,
            bot_schema=self._settings.bot_schema,
            positions_table=self._settings.positions_table,
            statement_timeout_s=self._settings.statement_timeout_s,
        )

    def stop(self) -> None:
        """Stop the embedded server, if it is ours."""
        self._stopped = True
        if self._embedded is not None:
            self._embedded.stop()


class _AuditedHooks:
    def __init__(self, recorder: Recorder, row: calls.CallRow, subject: HostSubject) -> None:
        self._recorder, self._row, self._subject = recorder, row, subject
        self.leave, self.resume = recorder.leave, recorder.resume
        self.returned, self.raised = recorder.returned, recorder.raised

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame | None:
        return self._recorder.begin(Seam.MANAGER, self._row, self._subject, args, kwargs)


def _questions(rows: Iterable[Any]) -> list[Question]:
    return [
        Question(
            row["exchange"],
            symbol,
            row["order_id"],
            asking.id_kind(row["exchange"], symbol, row["type"]),
        )
        for row in rows
        if row["order_id"] is not None and (symbol := row["unified_symbol"] or row["symbol"]) is not None
    ]


def _without_password(dsn: str) -> str:
    head, at, tail = dsn.rpartition("@")
    scheme, slashes, login = head.partition("://")
    return f"{scheme}{slashes}{login.partition(':')[0]}{at}{tail}" if at else dsn


async def _done(future: concurrent.futures.Future[Any], timeout_s: float | None) -> None:
    """Wait for what a thread does. asyncio's own ways leave a word behind when the loop is closed before the thread ends:
    `wrap_future` a trace, `wait_for` (before Python 3.12) a task that was destroyed."""
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


def _open_journal(settings: Settings, folder: Path) -> Journal:
    return SqliteJournal.open(folder, durability=settings.durability)


_open_trails: set[AuditTrail] = set()  # not weak: what was wrapped goes on recording when the trail itself is dropped
_parents: list[object] = []


@atexit.register
def _close_all() -> None:
    """At the interpreter's exit. Recording goes on: exit handlers and daemon threads may trade until the very end."""
    began = time.monotonic()
    for trail in list(_open_trails):
        try:
            timeout_s = trail._settings.close_timeout_s - (time.monotonic() - began)
            trail._close(max(0.0, timeout_s), at_exit=True)
        except KeyboardInterrupt:  # one more Ctrl-C: what is left is delivered by the next run
            continue
        except Exception as problem:
            logger.error("audit trail: closing at exit: %s", problem)


def _after_fork_in_child() -> None:
    for trail in _open_trails:
        trail._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
