"""The steps of a story: from the records of some orders, and their fills, to what happened one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from audit_wrapper.reading import sightings
from audit_wrapper.records import Action, Record, RecordKind
from audit_wrapper.tables import telling
from audit_wrapper.tables.values import utc

_ROLES = {"entry": "entry", "exit": "exit", "stop_loss": "stop", "take_profit": "take-profit"}
_STOPS = ("STOP", "STOP_MARKET", "STOP_LIMIT", "STOP_LOSS", "TRAILING_STOP_MARKET")
_CALLED, _MEANT, _SENT, _FILLED, _ANSWERED, _LEARNED = range(6)  # the order of what has one time
_CLOCKS_APART = timedelta(
    seconds=1
)  # so far may the exchange's clock be behind: requests that are further off are refused
_ANSWERS = {
    RecordKind.REJECTED: "refused",
    RecordKind.NOT_SENT: "not sent",
    RecordKind.OUTCOME_UNKNOWN: "no answer",
    RecordKind.UNCHANGED: "unchanged",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    at: UTC; of a fill, by the exchange's clock. since_us: after the step before it; None for the first. what: signal, call, meant,
    sent, answered, placed, moved, amended, canceled, unchanged, refused, not sent, no answer, raised, fired, filled, found,
    position, unexplained, no stop, opened, closed. role: which order of the story (entry, exit, stop, take-profit); None: none of
    them. took_us: how long the HTTP attempt took, where the wire was seen. price, quantity, fee: of a fill.
    """

    at: datetime
    since_us: int | None = None
    what: str
    role: str | None = None
    words: str
    order_key: UUID | None = None
    order_id: str | None = None
    attempt: int | None = None
    took_us: int | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    liquidity: str | None = None


class Told(NamedTuple):
    """A record, where it stands in its journal, and of which orders of the story it speaks, as what."""

    stream: UUID
    seq: int
    record: Record
    parts: Mapping[UUID, tuple[str, ...]] = {}


class _Line(NamedTuple):
    at: datetime  # what it is sorted by
    rank: int
    seq: int
    step: Step


def steps(
    told: Sequence[Told],
    orders: Sequence[Any],
    fills: Iterable[Any],
    more: Iterable[Step] = (),
) -> tuple[Step, ...]:
    """The steps in the order of their time. `more`: steps that somebody else knows of."""
    teller = _Teller(told, orders)
    lines = [line for one in told for line in teller.of(one)]
    lines += teller.of_fills(fills)
    lines += [_Line(step.at, _LEARNED, 0, step) for step in more]
    if not lines:
        return ()
    lines.sort(key=lambda line: (line.at, line.rank, line.seq))
    since = [None, *((line.at - before.at) // timedelta(microseconds=1) for before, line in pairwise(lines))]
    return tuple(msgspec.structs.replace(line.step, since_us=us) for line, us in zip(lines, since, strict=True))


class _Teller:
    def __init__(self, told: Sequence[Told], orders: Sequence[Any]) -> None:
        self._orders = {row["order_key"]: row for row in orders}
        self._replaced = {row["replaced_by"]: row for row in orders if row["replaced_by"] is not None}
        self._left = {one.record.intent_id: _left(one.record) for one in told if one.record.intent_id is not None}
        self._reported = [one.record for one in told if one.record.kind is RecordKind.REPORTED]
        self._sent_at = {
            key: self._left.get(one.record.record_id) or one.record.called_at
            for one in told
            if one.record.kind is RecordKind.INTENT and one.record.called_at is not None
            for key, parts in one.parts.items()
            if not {"target", "replaced"} & set(parts)
        }
        self._taken_at = {
            key: one.record.answered_at
            for one in told
            if one.record.kind is RecordKind.ACKNOWLEDGED
            for key, parts in one.parts.items()
            if one.record.answered_at is not None and not {"target", "replaced"} & set(parts)
        }
        self._meant: set[str] = set()
        self._linked = False
        self._seen: dict[str, str] = {}

    def of(self, one: Told) -> Iterator[_Line]:
        """What a record says."""
        record = one.record
        match record.kind:
            case RecordKind.INTENT:
                yield from self._sent(one)
            case RecordKind.REPORTED:
                yield from self._call(one)
            case RecordKind.RECONCILED | RecordKind.OBSERVED:
                yield from self._found(one)
            case RecordKind.MATCHED:
                key, row = self._order(one)
                yield self._line(one, record.called_at, _LEARNED, "found", telling.matched(record), key, row)
            case RecordKind.LINKED:
                if not self._linked:  # the bot's table is written to more than once; the first time opens the position
                    self._linked = True
                    yield self._line(one, record.called_at, _MEANT, "position", telling.position(record), None, None)
            case RecordKind.UNATTRIBUTED:
                yield self._line(one, record.called_at, _SENT, "unexplained", telling.sent(record), None, None)
            case RecordKind.COVERED | RecordKind.GAP:
                return
            case _:
                yield from self._answered(one)

    def of_fills(self, fills: Iterable[Any]) -> Iterator[_Line]:
        """Executions; before the first one of a stop, that it fired."""
        fired: set[UUID] = set()
        for place, fill in enumerate(fills):
            key = fill["order_key"]
            row = self._orders[key]
            if fill["exchange_at"] is None:
                continue
            at, role = fill["exchange_at"], _role(row)
            when = max(at, self._sent_at.get(key, utc(row["created_at"])))  # the exchange's clock is another one
            rank = _FILLED
            taken = self._taken_at.get(key) if role in ("stop", "take-profit") else None
            if taken is not None and timedelta(0) <= taken - at <= _CLOCKS_APART:
                when, rank = max(when, taken), _LEARNED  # what stands already is what fires
            if role in ("stop", "take-profit") and key not in fired:
                fired.add(key)
                trigger = row["trigger_price"]
                words = f"its price {trigger:f} was reached" if trigger is not None else ""
                if fill["exchange_order_id"] not in (None, row["order_id"]):
                    words = f"{words}: order {fill['exchange_order_id']}".removeprefix(": ")
                step = Step(at=at, what="fired", role=role, words=words, order_key=key, order_id=row["order_id"])
                yield _Line(when, rank, 2 * place, step)
            step = Step(
                at=at,
                what="filled",
                role=role,
                words=telling.executed(fill),
                order_key=key,
                order_id=row["order_id"],
                price=fill["price"],
                quantity=fill["quantity"],
                fee=fill["fee"],
                fee_currency=fill["fee_currency"],
                liquidity=fill["liquidity"],
            )
            yield _Line(when, rank, 2 * place + 1, step)

    def _line(
        self,
        one: Told,
        at: datetime | None,
        rank: int,
        what: str,
        words: str,
        key: UUID | None,
        row: Mapping[str, Any] | None,
        **more: Any,
    ) -> _Line:
        moment = at or one.record.called_at or one.record.answered_at
        assert moment is not None, "a record has a time"
        role = more.pop("role", _role(row) if row is not None else None)
        order_id = row["order_id"] if row is not None else None
        step = Step(at=moment, what=what, role=role, words=words, order_key=key, order_id=order_id, **more)
        return _Line(moment, rank, one.seq, step)

    def _order(self, one: Told) -> tuple[UUID | None, Mapping[str, Any] | None]:
        """The order that the record is mostly about: the one it makes, else the one it names."""
        weight = {"replaced": 2, "target": 1, "link": 3}
        ranked = sorted(one.parts.items(), key=lambda part: min(weight.get(name, 0) for name in part[1]))
        if not ranked:
            return None, None
        return ranked[0][0], self._orders.get(ranked[0][0])

    def _call(self, one: Told) -> Iterator[_Line]:
        """The bot's own call: when it began, and, where it did not end well, its end."""
        record = one.record
        call = record.call
        if call is None:
            return
        outermost = record.operation is not None and call.method == record.operation.method
        signal = call.arguments.get("signal_id")
        what = "signal" if outermost and signal is not None else "call" if outermost else "meant"
        words = telling.called(call)
        yield self._line(one, record.called_at, _CALLED if outermost else _MEANT, what, words, None, None)
        end = telling.returned(record)
        if record.answered_at is not None and (
            record.failure is not None or (end.startswith("returned ") and end != "returned True")
        ):
            yield self._line(
                one,
                record.answered_at,
                _LEARNED,
                "raised" if record.failure else "returned",
                f"{call.method} {end}",
                None,
                None,
            )

    def _sent(self, one: Told) -> Iterator[_Line]:
        record = one.record
        key, row = self._order(one)
        left = self._left.get(record.record_id) or record.called_at
        meant = record.meant
        if meant is not None and not any(_covers(reported, record) for reported in self._reported):
            # the process ended before its method did: what it meant stands in the intent alone
            words = telling.called(meant)
            if words not in self._meant:
                self._meant.add(words)
                yield self._line(one, record.called_at, _MEANT, "meant", words, None, None)
        what = {Action.CANCEL: "cancel sent", Action.CANCEL_ALL: "cancel sent", Action.AMEND: "change sent"}.get(
            record.action, "sent"
        )
        words = telling.sent(record)
        if record.attempt > 1:
            words = f"attempt {record.attempt}: {words}"
        yield self._line(one, left, _SENT, what, words, key, row, attempt=record.attempt or None)

    def _answered(self, one: Told) -> Iterator[_Line]:
        record = one.record
        key, row = self._order(one)
        what, words = _ANSWERS.get(record.kind, "answered"), telling.words(record)
        if record.kind is RecordKind.ACKNOWLEDGED:
            what, words = self._taken(record, key, row, words)
        yield self._line(
            one,
            record.answered_at,
            _ANSWERED,
            what,
            words,
            key,
            row,
            attempt=record.attempt or None,
            took_us=record.duration_us,
        )

    def _taken(self, record: Record, key: UUID | None, row: Mapping[str, Any] | None, words: str) -> tuple[str, str]:
        if record.action in (Action.CANCEL, Action.CANCEL_ALL):
            return "canceled", words
        if record.action is Action.AMEND:
            return "amended", words
        role = _role(row) if row is not None else None
        if role not in ("stop", "take-profit") or row is None:
            return "answered", words
        before = self._replaced.get(key)
        price = row["trigger_price"]
        if before is not None and price is not None and before["trigger_price"] is not None:
            return "moved", f"from {before['trigger_price']:f} to {price:f}, {words}"
        words = f"at {price:f}, {words}" if price is not None else words
        return ("moved" if before is not None or record.replaces else "placed"), words

    def _found(self, one: Told) -> Iterator[_Line]:
        """What the exchange showed of the orders of the story; the same is told once."""
        names = {str(row["order_id"]): key for key, row in self._orders.items() if row["order_id"] is not None}
        for sighting in sightings(one.record):
            key = names.get(sighting.state.exchange_order_id or "")
            if key is None:
                continue
            words = telling.state(sighting.state)
            if sighting.state.order_status is None or self._seen.get(str(key)) == words:
                continue
            self._seen[str(key)] = words
            yield self._line(
                one,
                one.record.answered_at or one.record.called_at,
                _LEARNED,
                "found" if one.record.kind is RecordKind.RECONCILED else "observed",
                words,
                key,
                self._orders[key],
            )


def _role(row: Mapping[str, Any]) -> str:
    role = _ROLES.get(row["purpose"])
    return role or ("stop" if row["type"] in _STOPS else "take-profit" if row["type"] == "TAKE_PROFIT" else "order")


def _left(record: Record) -> datetime | None:
    """When the attempt left: a rate limiter may have let its call wait."""
    if record.answered_at is None or record.duration_us is None:
        return None
    return record.answered_at - timedelta(microseconds=record.duration_us)


def _covers(reported: Record, record: Record) -> bool:
    """Whether this is the call that the intent came from, seen to its end."""
    call, meant = reported.call, record.meant
    if call is None or meant is None or (call.target, call.method) != (meant.target, meant.method):
        return False
    began, ended, at = reported.called_at, reported.answered_at, record.called_at
    return began is None or ended is None or at is None or began <= at <= ended
