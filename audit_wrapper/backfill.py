"""The tables filled from the exchange's history, for the time in which there was no trail yet.

Part by part, six days each; one that was read to its end is written down, so that a run that was broken off goes on where it was, and a
second one has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from audit_wrapper.asking import Asker
from audit_wrapper.clients import ClientSubject
from audit_wrapper.fold import BACKFILL
from audit_wrapper.gathering import Gathered
from audit_wrapper.reconcile import MARGIN, Reads, Reconciler
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Call, Record, RecordKind, Seam

_PART = timedelta(days=6)  # with a margin on both sides one request reaches that far
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_YET = timedelta(minutes=15)  # what is younger may still change, or not be listed yet: it is read again


class BackfillProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a backfill is. `until`: everything before it is read. recorded: orders written down so far."""

    exchange: str
    since: datetime
    until: datetime
    parts_done: int
    parts: int
    recorded: int


class BackfillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill did. recorded: orders of which something new was learned. skipped: parts that an earlier run has
    read. linked: orders that were linked to a position of the bot. unasked: what could not be read, and why; a run later
    tries it again."""

    exchange: str
    since: datetime
    until: datetime
    symbols: tuple[str, ...]
    recorded: int
    parts: int
    skipped: int
    linked: int = 0
    unasked: tuple[str, ...] = ()


class Backfill:
    """Backfills one exchange."""

    def __init__(self, recorder: Recorder, account: str, reconciler: Reconciler, read: Reads) -> None:
        self._recorder = recorder
        self._account = account
        self._reconciler = reconciler
        self._read = read

    async def run(
        self,
        subject: ClientSubject,
        asker: Asker,
        since: datetime,
        until: datetime,
        symbols: Iterable[str],
        progress: Callable[[BackfillProgress], None] | None,
    ) -> BackfillReport:
        """Read what is not read yet. `symbols`: beside those that the exchange names."""
        exchange, account = subject.exchange or "", self._account
        now = datetime.now(UTC)
        named, unasked = await asker.symbols(since, until)
        wanted = tuple(sorted({*named, *symbols})) if asker.needs_symbols else ()
        done = _covered(await self._read(lambda store: store.covered(exchange, account)))
        parts = list(_parts(since, until))
        recorded = skipped = 0
        problems = list(unasked)
        for number, (first, last) in enumerate(parts, 1):
            left = tuple(symbol for symbol in wanted or (_ALL,) if not _is_in(done.get(symbol, ()), first, last))
            if not left:
                skipped += 1
            else:
                gathered = Gathered(subject)
                named_ones = [symbol for symbol in left if symbol != _ALL]
                async for heard in asker.history(named_ones, first - MARGIN, last + MARGIN):
                    gathered.take(heard)
                if last + _NOT_YET >= now:  # some list in their histories only what is over
                    gathered.take(await asker.open_orders(named_ones))
                recorded += await self._reconciler.record(subject, gathered, BACKFILL)
                problems += [why for why in gathered.unasked if why not in problems]
                if not gathered.again and last + _NOT_YET < now:
                    self._cover(subject, left, first, last)
            if progress is not None:
                progress(
                    BackfillProgress(
                        exchange=exchange,
                        since=since,
                        until=last,
                        parts_done=number,
                        parts=len(parts),
                        recorded=recorded,
                    )
                )
        linked = await self._read(lambda store: store.relink(since))
        return BackfillReport(
            exchange=exchange,
            since=since,
            until=until,
            symbols=wanted,
            recorded=recorded,
            parts=len(parts),
            skipped=skipped,
            linked=linked,
            unasked=tuple(problems),
        )

    def _cover(self, subject: ClientSubject, symbols: tuple[str, ...], first: datetime, last: datetime) -> None:
        arguments = {"symbols": list(symbols), "since": first.isoformat(), "until": last.isoformat()}
        call = Call(seam=Seam.RECONCILE, target=subject.target, method=BACKFILL, arguments=arguments)
        self._recorder.told(RecordKind.COVERED, subject.exchange, call)


_ALL = "*"  # every symbol, at an exchange that lists them together


_Range = tuple[datetime, datetime]


def _covered(records: Iterable[Record]) -> dict[str, list[_Range]]:
    """By symbol: the ranges of time that were read to their end."""
    found: dict[str, list[_Range]] = {}
    for record in records:
        given = record.call.arguments if record.call is not None else {}
        for symbol in given["symbols"]:
            span = datetime.fromisoformat(given["since"]), datetime.fromisoformat(given["until"])
            found.setdefault(symbol, []).append(span)
    return found


def _is_in(spans: Iterable[_Range], first: datetime, last: datetime) -> bool:
    return any(began <= first and last <= ended for began, ended in spans)


def _parts(since: datetime, until: datetime) -> Iterator[_Range]:
    """The range cut at moments that do not depend on where it begins, so that another run meets the same ones."""
    first = _EPOCH + (since - _EPOCH) // _PART * _PART
    while first < until:
        yield max(first, since), min(first + _PART, until)
        first += _PART
