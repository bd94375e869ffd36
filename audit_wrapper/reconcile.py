"""The trail held against the exchange: what it says of orders that are not complete, and of a range of time.

It asks through the bot's own client, looking away from itself, within the user's budget and beside no order call. What
is heard becomes a record only where it says something that the trail's rows do not; so asking again adds nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from audit_wrapper import matching
from audit_wrapper.asking import Asker, absence_counts, id_kind, indexed_by
from audit_wrapper.clients import ClientSubject
from audit_wrapper.completeness import compare
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.gathering import Gathered, Told
from audit_wrapper.pipeline import in_thread
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Call, FoundBy, Match, OrderState, OrderStatus, Origin, RecordKind, Seam
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import Books, Incomplete, OrderRow
from audit_wrapper.store.interface import Store

_T = TypeVar("_T")

RECONCILE = "reconcile"
LOOK_BACK = timedelta(days=7)  # stops that are over and never had an id are looked for that long
MARGIN = timedelta(minutes=1)  # histories are asked for a little more than is needed: clocks differ
_REMEMBERED = 100_000
_OVER = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED})
_LEAST_WAIT, _LONGEST_WAIT = timedelta(seconds=2), timedelta(hours=6)
_EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


class ReconcileReport(msgspec.Struct, frozen=True):
    """What a reconciliation did.

    asked, answered: orders that were asked about one by one. recorded: orders of which the exchange said something new.
    found: unanswered requests that are settled now, and stops whose id was found, a sentence each. unanswered: what could
    not be asked for or was not answered, and why. unsettled: requests that nobody can say of yet what came of them, and
    why; they are asked about again.
    """

    asked: int = 0
    answered: int = 0
    unanswered: tuple[str, ...] = ()
    recorded: int = 0
    found: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()

    def __add__(self, other: ReconcileReport) -> ReconcileReport:
        return ReconcileReport(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Reads(Protocol):
    """Does something with the store, once all that was recorded is in it."""

    async def __call__(self, work: Callable[[Store], Awaitable[_T]]) -> _T: ...


class Reconciler:
    """Reconciles one account with one exchange after the other."""

    def __init__(
        self,
        recorder: Recorder,
        account: str,
        read: Reads,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._recorder = recorder
        self._account = account
        self._read = read
        self._now = now
        self._written: set[int] = set()  # evidence that was recorded already, in case that it changed no row
        self._not_open: dict[UUID, datetime] = {}  # when a request was first found to have no order that stands
        self._not_before: dict[UUID, datetime] = {}  # orders that were asked for in vain: not again before

    async def incomplete(self) -> list[Incomplete]:
        """All orders of the account that the exchanges should be asked about."""
        since = self._now() - LOOK_BACK
        found = await self._read(lambda store: store.incomplete(self._account, since))
        keys = {one.row.order_key for one in found}
        for remembered in (self._not_open, self._not_before):
            for key in remembered.keys() - keys:
                remembered.pop(key, None)
        return found

    async def run(
        self,
        subject: ClientSubject,
        asker: Asker,
        incomplete: Iterable[Incomplete],
        span: tuple[datetime, datetime] | None = None,
        *,
        sparing: bool = False,
    ) -> ReconcileReport:
        """Ask one exchange about these orders, and about all that happened in `span`.

        sparing: what was asked for in vain is left out for a while, the longer the older it is.
        """
        mine = [one for one in incomplete if one.row.exchange == subject.exchange]
        if sparing:
            now = self._now()
            mine = [one for one in mine if self._not_before.get(one.row.order_key, now) <= now]
        run = _Run(subject, asker)
        symbols = run.symbols(mine)
        if span is not None:
            traded, unasked = await asker.symbols(*span)
            run.gathered.unasked += unasked
            symbols = symbols | traded if asker.needs_symbols else set()  # none named: the whole account
        if mine or span is not None:
            run.gathered.take(await asker.open_orders(sorted(symbols)))
        for one in mine:
            await run.ask_about(one)
        if span is not None:
            async for heard in asker.history(sorted(symbols), *span):
                run.gathered.take(heard)
        recorded = await self.record(subject, run.gathered)
        found, unsettled, more = await self._settle(subject, asker, mine, run) if mine else ((), (), 0)
        for row in run.in_vain:
            self._spare(row)
        return ReconcileReport(
            asked=run.asked,
            answered=run.asked - len(run.unanswered),
            unanswered=(*run.unanswered, *run.gathered.unasked),
            recorded=recorded + more,
            found=found,
            unsettled=unsettled,
        )

    # -- what is heard becomes records

    async def record(self, subject: ClientSubject, gathered: Gathered, method: str = RECONCILE) -> int:
        """Write down what the trail does not know. Returns of how many orders."""
        orders, news = list(gathered.orders()), list[_News]()
        exchange, account = subject.exchange or "", self._account
        if orders:
            ids = {value for told in orders for _, value in told.ids}
            books = await self._read(lambda store: store.orders_of(exchange, account, ids))
            said = await in_thread(
                "compare",
                lambda: compare(
                    exchange, account, *_EVER, gathered.sightings, books.orders, books.fills, algo_keys=books.algo_keys
                ),
            )
            news = [
                _News(finding.order_id, finding.symbol, f"{finding.field}: {finding.in_trail}")
                for finding in (*said.missing, *said.different)
            ]
            news += _beside(books, orders)
        by_id: dict[str | None, list[_News]] = {}
        for one in news:
            by_id.setdefault(one.order_id, []).append(one)
        recorded = 0
        for told in orders:
            of_it = [one for _, value in told.ids for one in by_id.get(value, ()) if _is_of(one, told)]
            recorded += bool(of_it) and self._write(subject, told, method, sorted(one.words for one in of_it))
        await self._record_payments(subject, gathered, method)
        return recorded

    def record_heard(self, subject: ClientSubject, gathered: Gathered) -> None:
        """Write down what was heard, without a look at what the trail knows."""
        for told in gathered.orders():
            self._write(subject, told, RECONCILE)

    async def ask_after(self, subject: ClientSubject, asker: Asker, books: Books, gathered: Gathered) -> None:
        """Ask one by one about those of these orders that were not shown yet."""
        for row in books.orders:
            symbol = _symbol(row)
            if row.order_id is None or symbol is None:
                continue
            kind = "algo" if row.order_key in books.algo_keys else "order"
            if gathered.find(row.order_id, kind, symbol) is None:
                gathered.take(await asker.order(symbol, row.order_id, id_kind=kind))

    def _write(self, subject: ClientSubject, told: Told, method: str, known: object = None) -> bool:
        """known: what the trail says otherwise. The same evidence against the same is not written twice."""
        kind, order_id = told.ids[0]
        market = subject.market(told.symbol, None)
        result = {"orders": list(told.orders), "trades": list(told.trades)}
        mark = hash((subject.exchange, told.ids, repr(result), repr(known)))
        if mark in self._written:
            return False
        if len(self._written) >= _REMEMBERED:
            self._written.clear()
        self._written.add(mark)
        arguments = {"id": order_id, "symbol": market.symbol if market is not None else told.symbol, "id_kind": kind}
        call = Call(seam=Seam.RECONCILE, target=subject.target, method=method, arguments=arguments)
        self._recorder.told(
            RecordKind.RECONCILED, subject.exchange, call, result, market=market, answered_at=self._now()
        )
        return True

    async def _record_payments(self, subject: ClientSubject, gathered: Gathered, method: str) -> None:
        adapter, exchange, account = adapter_for(subject.exchange or ""), subject.exchange or "", self._account
        told = {one.payment_id: row for row in gathered.payments for one in adapter.payments(row)}
        ids = [payment_id for payment_id in told if payment_id is not None]
        if not ids:
            return
        known = await self._read(lambda store: store.payments_known(exchange, account, ids))
        new = [told[payment_id] for payment_id in ids if payment_id not in known]
        if new:
            call = Call(seam=Seam.RECONCILE, target=subject.target, method=method)
            self._recorder.told(
                RecordKind.RECONCILED, subject.exchange, call, {"funding": new}, answered_at=self._now()
            )

    # -- requests without an answer

    async def _settle(
        self, subject: ClientSubject, asker: Asker, mine: Sequence[Incomplete], run: _Run
    ) -> tuple[tuple[str, ...], tuple[str, ...], int]:
        """What was found, what is open still, and of how many orders something was recorded on the way."""
        waiting, recorded = {one.row.order_key for one in mine if matching.is_unsettled(one)}, 0
        if not waiting:
            return (), (), 0
        ahead = subject.clock_ahead
        found, left = await self._match(subject, waiting, listed_at=None)
        for one, _ in left:
            if matching.never_came_to_be(one) and one.row.found_by is None:
                self._absent(
                    subject, one, "the order that it was sent with ended without an execution, so it was never made"
                )
        # those that are settled like this are looked for in what comes by itself, and not asked for
        left = [(one, why) for one, why in left if one.row.found_by is None and not matching.never_came_to_be(one)]
        if left:
            # what was open is not among the orders that stand now: it may be among those that are over
            symbols = sorted({symbol for one, _ in left if (symbol := _symbol(one.row)) is not None})
            since = min(matching.window(one, ahead)[0] for one, _ in left) - MARGIN
            asked_at = self._now()
            over = Gathered(subject)
            async for heard in asker.history(symbols, since, asked_at + MARGIN):
                over.take(heard)
            run.gathered.unasked += over.unasked
            recorded = await self.record(subject, over)
            listed = not (run.gathered.unread or over.unread)
            more, left = await self._match(
                subject, {one.row.order_key for one, _ in left}, listed_at=asked_at if listed else None
            )
            found += more
            # nothing is absent while part of the exchange's books could not be looked at
            gone = [one for one, why in left if listed and self._is_absent(one, why, asked_at)]
            reason = (
                f"the exchange has no such order: asked at {asked_at:%Y-%m-%d %H:%M:%S} UTC by its client "
                "id where it had one, among what is open and in the history"
            )
            for one in gone:
                self._absent(subject, one, reason)
            found += [f"{_words(one.row)}: there is no such order at the exchange" for one in gone]
            left = [(one, why) for one, why in left if one not in gone]
            for one, _ in left:
                self._spare(one.row)
        unsettled = [
            f"{_words(one.row)}: {why}"
            for one, why in left
            if why != matching.NOT_FOUND or not _waits(one) or one.row.status == OrderStatus.UNKNOWN
        ]
        return tuple(found), tuple(unsettled), recorded

    def _spare(self, row: OrderRow) -> None:
        now = self._now()
        self._not_before[row.order_key] = now + min(max(now - row.created_at, _LEAST_WAIT), _LONGEST_WAIT)

    async def _match(
        self, subject: ClientSubject, waiting: set[UUID], *, listed_at: datetime | None
    ) -> tuple[list[str], list[tuple[Incomplete, str]]]:
        """listed_at: when it was begun to read everything that the exchange lists; None: it was not read as a whole."""
        # also those that are under way just now: an order that is theirs must not be taken for another's
        unsettled = [
            one
            for one in await self.incomplete()
            if one.row.exchange == subject.exchange and matching.is_unsettled(one)
        ]
        if not any(one.row.order_key in waiting for one in unsettled):
            return [], []
        ahead = subject.clock_ahead
        since = min(matching.window(one, ahead)[0] for one in unsettled)
        until = max(matching.window(one, ahead)[1] for one in unsettled)
        exchange, account = subject.exchange or "", self._account
        named = [one.row.client_order_id for one in unsettled if one.row.client_order_id is not None]
        others = await self._read(lambda store: store.not_sent_by_us(exchange, account, since, until + MARGIN, named))
        matched = matching.match(unsettled, others.orders, ahead)
        found, left = [], [(one, why) for one, why in matched.open if one.row.order_key in waiting]
        for one in matched.found:
            if one.one.row.order_key not in waiting:
                continue
            if self._is_early(one, listed_at):
                left.append(
                    (one.one, "one order at the exchange fits; whether it is the only one shows when all are listed")
                )
                continue
            self._found(subject, one, is_algo=one.order.order_key in others.algo_keys)
            found.append(f"{_words(one.one.row)}: it is order {one.order.order_id} ({one.by.value})")
        return found, left

    def _is_early(self, found: matching.Found, listed_at: datetime | None) -> bool:
        """Whether another order that fits may not be listed yet."""
        row, symbol, until = found.one.row, _symbol(found.one.row) or "", found.listed_until
        if row.found_by == FoundBy.ABSENCE:
            listed_at = listed_at or self._now()  # all was read, twice, before it was taken for absent
        return until is not None and (listed_at is None or listed_at < indexed_by(row.exchange or "", symbol, until))

    def _found(self, subject: ClientSubject, found: matching.Found, *, is_algo: bool) -> None:
        symbol = _symbol(found.order) or ""
        match = Match(
            intent_id=found.one.intent_id,  # type: ignore[arg-type]  # is_unsettled has seen to it
            part=found.one.part or "",
            found_by=found.by,
            exchange_order_id=found.order.order_id,
            id_kind="algo" if is_algo else "order",
            symbol=symbol,
        )
        self._recorder.told(RecordKind.MATCHED, subject.exchange, None, match=match)

    def _is_absent(self, one: Incomplete, why: str, asked_at: datetime) -> bool:
        """Whether there is no such order. Two looks are needed: it was not open, and is not in the history read later; one that
        just ended may be in neither list."""
        symbol, exchange = _symbol(one.row), one.row.exchange or ""
        if why != matching.NOT_FOUND or symbol is None or _waits(one):
            return False
        if not absence_counts(exchange, symbol, matching.sent_until(one), asked_at):
            return False
        return indexed_by(exchange, symbol, self._not_open.setdefault(one.row.order_key, asked_at)) <= asked_at

    def _absent(self, subject: ClientSubject, one: Incomplete, reason: str) -> None:
        match = Match(intent_id=one.intent_id, part=one.part or "", found_by=FoundBy.ABSENCE)  # type: ignore[arg-type]
        self._recorder.told(RecordKind.MATCHED, subject.exchange, None, match=match, reason=reason)


class _News(NamedTuple):
    """Something that the exchange says of an order, and the trail does not."""

    order_id: str | None
    symbol: str | None
    words: str


def _is_of(news: _News, told: Told) -> bool:
    # the ids of Binance are numbered by symbol
    return same_symbol(news.symbol or "", told.symbol or "")


def _beside(books: Books, orders: Iterable[Told]) -> list[_News]:
    """What the exchange says that a comparison does not look at: when an order that others sent was made, and its own word
    for a stop that another one took the place of."""
    states: dict[str | None, list[OrderState]] = {}
    for told in orders:
        for sighting in told.sightings:
            if sighting.state.order_status is not None:
                states.setdefault(sighting.state.exchange_order_id, []).append(sighting.state)
    found = []
    for row in books.orders:
        symbol = _symbol(row) or ""
        seen = next(
            (one for one in reversed(states.get(row.order_id, [])) if same_symbol(one.symbol or "", symbol)), None
        )
        if row.order_id is None or seen is None:
            continue
        older = row.origin != Origin.BOT and seen.created_at not in (None, row.created_at)
        ended = row.status == OrderStatus.MODIFIED and seen.exchange_status not in (None, row.exchange_status)
        if older or ended:
            found.append(_News(row.order_id, symbol, f"{row.created_at} {row.exchange_status}"))
    return found


class _Run:
    """What one reconciliation of one exchange has asked so far."""

    def __init__(self, subject: ClientSubject, asker: Asker) -> None:
        self.subject, self.asker = subject, asker
        self.gathered = Gathered(subject)
        self.asked = 0
        self.unanswered: list[str] = []
        self.in_vain: list[OrderRow] = []  # what may stay as it is for long

    @staticmethod
    def symbols(rows: Iterable[Incomplete]) -> set[str]:
        return {symbol for one in rows if (symbol := _symbol(one.row)) is not None}

    async def ask_about(self, one: Incomplete) -> None:
        """Ask about one order, if what is open does not tell enough of it."""
        row, symbol = one.row, _symbol(one.row)
        if symbol is None or (
            row.order_id is None and (row.client_order_id is None or row.status != OrderStatus.UNKNOWN)
        ):
            return
        kind = "algo" if one.is_algo else "order"
        if row.order_id is None:
            kind = id_kind(row.exchange or "", symbol, row.type)
        if row.order_id is not None and self._stands(row, kind, symbol):
            return
        self.asked += 1
        heard = await self.asker.order(symbol, row.order_id, id_kind=kind, client_order_id=row.client_order_id)
        self.gathered.take(heard)
        if row.order_id is not None and not heard.orders and not heard.again:
            if heard.is_complete:
                self.unanswered.append(f"{_words(row)}: the exchange does not know it (yet)")
            self.in_vain.append(row)
        elif row.status in _OVER:
            self.in_vain.append(row)  # only its fee is not known

    def _stands(self, row: OrderRow, kind: str, symbol: str) -> bool:
        """Whether it is among the open orders, with nothing executed that the trail does not have."""
        seen = self.gathered.find(row.order_id or "", kind, symbol)
        if seen is None or seen.state.order_status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED):
            return False
        filled = seen.state.filled_quantity
        return not filled or (filled == row.filled and row.fee_status != "pending")


def _waits(one: Incomplete) -> bool:
    """Whether it is a stop that is made with the first execution of the order that it was sent with, which is still to come."""
    return one.entry is not None and not one.entry.filled


def _symbol(row: OrderRow) -> str | None:
    return row.unified_symbol or row.symbol


def _words(row: OrderRow) -> str:
    named = row.order_id or (f"client id {row.client_order_id}" if row.client_order_id else "without id")
    return f"{row.exchange} {_symbol(row)} {row.type or 'order'} {named}"
