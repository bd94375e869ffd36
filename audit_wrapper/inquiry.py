"""Everything a trail does with what the exchange itself has to say: asked, pushed, compared, filled in afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from audit_wrapper.backfill import Backfill, BackfillProgress, BackfillReport
from audit_wrapper.clients import ClientSubject
from audit_wrapper.completeness import Completeness, Payment, compare
from audit_wrapper.errors import NotWrapped, SettingsError
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.failures import Failures
from audit_wrapper.gathering import Gathered
from audit_wrapper.inquirer import Inquirer
from audit_wrapper.pipeline import in_thread
from audit_wrapper.pushed import Pushed
from audit_wrapper.reconcile import MARGIN, Reads, Reconciler, ReconcileReport
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import OrderStatus
from audit_wrapper.rows import Books, Incomplete
from audit_wrapper.settings import Settings


class Inquiry:
    """The exchange's side of one trail. `clients`: the clients that are wrapped, one of each exchange."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        failures: Failures,
        clients: Callable[[], dict[str, ClientSubject]],
        read: Reads,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._read = read
        self._pushed = Pushed(recorder, failures)
        # by exchange, when the orders were made that were UNKNOWN when the trail last looked; None: it has not looked yet
        self.unknown: dict[str, list[datetime]] | None = None
        self._reconciler = Reconciler(recorder, settings.account, read)
        self._backfill = Backfill(recorder, settings.account, self._reconciler, read)
        self.inquirer = Inquirer(recorder, settings, failures, self._reconciler.record_heard, self._sweep)
        if settings.ask_exchange == "auto":
            recorder.after_call = self.inquirer.after_call
            recorder.client_used = self.inquirer.client_used

    def observe(self, exchange: str, message: Any) -> bool:
        """See AuditTrail."""
        return self._pushed.take(exchange, message, self._clients().get(exchange))

    async def reconcile(
        self, exchange: str | None, since: datetime | None, until: datetime | None, *, sparing: bool = False
    ) -> ReconcileReport:
        """See AuditTrail."""
        span = _span(since, until) if since is not None or until is not None else None
        clients = self._clients() if exchange is None else {exchange: self._client(exchange)}
        if sparing:
            # by itself only on a client's own loop, and not before the bot has loaded its markets
            loop = asyncio.get_running_loop()
            clients = {
                name: one
                for name, one in clients.items()
                if one.loop is loop and getattr(one.client, "markets", None) is not None
            }
        incomplete = await self._reconciler.incomplete()
        self._note_unknown(incomplete)
        if exchange is not None:
            incomplete = [one for one in incomplete if one.row.exchange == exchange]
        report = ReconcileReport()
        for subject in clients.values():
            report += await self._reconciler.run(
                subject, self.inquirer.asker(subject), incomplete, span, sparing=sparing
            )
        away = sorted({one.row.exchange or "?" for one in incomplete} - clients.keys())
        waiting = {name: sum(one.row.exchange == name for one in incomplete) for name in away}
        return report + ReconcileReport(
            asked=sum(waiting.values()),
            unanswered=tuple(
                f"{name}: no client of this exchange is wrapped ({n} orders)" for name, n in waiting.items()
            ),
        )

    def _note_unknown(self, incomplete: Iterable[Incomplete]) -> None:
        unknown: dict[str, list[datetime]] = {exchange: [] for exchange in self.unknown or ()}
        for one in incomplete:
            if one.row.status == OrderStatus.UNKNOWN:
                unknown.setdefault(one.row.exchange or "", []).append(one.row.created_at)
        self.unknown = unknown

    async def completeness(self, exchange: str | None, since: datetime, until: datetime | None) -> Completeness:
        """See AuditTrail."""
        first, last = _span(since, until)
        subject = self._client(exchange)
        name, account = subject.exchange or "", self._settings.account
        asker = self.inquirer.asker(subject)
        gathered = Gathered(subject)
        symbols, unasked = await asker.symbols(first, last)
        books = await self._read(lambda store: store.orders_between(name, account, first - MARGIN, last + MARGIN))
        symbols |= {symbol for row in books.orders if (symbol := row.unified_symbol or row.symbol) is not None}
        named = sorted(symbols) if asker.needs_symbols else []
        async for heard in asker.history(named, first - MARGIN, last + MARGIN):
            gathered.take(heard)
        gathered.take(await asker.open_orders(named))
        await self._reconciler.ask_after(subject, asker, books, gathered)
        ids = {value for told in gathered.orders() for _, value in told.ids}
        more = await self._read(lambda store: store.orders_of(name, account, ids))
        whole, unheard = _together(books, more), list(gathered.unasked)
        if gathered.again:
            # what could not be looked at is neither there nor not there
            whole, left_out = _shown_only(whole, ids)
            unheard.append(f"{left_out} orders of the trail: part of the exchange's lists could not be heard")
        adapter = adapter_for(name)
        payments = [
            Payment(
                kind="funding",
                currency=paid.currency or "?",
                amount=paid.amount,
                symbol=paid.symbol,
                exchange_at=paid.exchange_at,
            )
            for row in gathered.payments
            for paid in adapter.payments(row)
        ]
        return await in_thread(
            "compare",
            lambda: compare(
                name,
                account,
                first,
                last,
                gathered.sightings,
                whole.orders,
                whole.fills,
                payments=payments,
                unasked=[*unasked, *unheard],
                algo_keys=whole.algo_keys,
            ),
        )

    async def backfill(
        self,
        exchange: str | None,
        since: datetime,
        until: datetime | None,
        symbols: Iterable[str],
        progress: Callable[[BackfillProgress], None] | None,
    ) -> BackfillReport:
        """See AuditTrail."""
        first, last = _span(since, until)
        subject = self._client(exchange)
        return await self._backfill.run(subject, self.inquirer.asker(subject), first, last, symbols, progress)

    def close(self) -> None:
        """Ask no more."""
        self.inquirer.close()

    async def _sweep(self) -> ReconcileReport:
        return await self.reconcile(None, None, None, sparing=True)

    def _client(self, exchange: str | None) -> ClientSubject:
        clients = self._clients()
        if exchange is None and len(clients) == 1:
            return next(iter(clients.values()))
        if exchange in clients:
            return clients[exchange]
        known = ", ".join(sorted(clients)) or "none"
        raise NotWrapped(
            f"{'which exchange?' if exchange is None else f'no client of {exchange!r} is wrapped'}; wrapped are: {known}. "
            "Wrap the bot's manager or client first: trail.wrap(...)"
        )


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    if since is None:
        raise SettingsError("a range of time begins somewhere: say since=datetime(..., tzinfo=UTC)")
    first, last = since, until if until is not None else datetime.now(UTC)
    for name, moment in (("since", first), ("until", last)):
        if moment.tzinfo is None:
            raise SettingsError(f"{name} has no time zone; say datetime(..., tzinfo=UTC)")
    if last <= first:
        raise SettingsError(f"the range ends ({last.isoformat()}) before it begins ({first.isoformat()})")
    return first.astimezone(UTC), last.astimezone(UTC)


def _shown_only(books: Books, ids: set[str]) -> tuple[Books, int]:
    """The orders that have one of these ids, or none; and how many were left out."""
    orders = tuple(row for row in books.orders if row.order_id is None or row.order_id in ids)
    keys = {row.order_key for row in orders}
    fills = tuple(fill for fill in books.fills if fill.order_key in keys)
    return Books(orders, fills, books.algo_keys & keys), len(books.orders) - len(orders)


def _together(one: Books, other: Books) -> Books:
    return Books(
        tuple({row.order_key: row for row in (*one.orders, *other.orders)}.values()),
        tuple({(row.order_key, row.exchange_trade_id): row for row in (*one.fills, *other.fills)}.values()),
        one.algo_keys | other.algo_keys,
    )
