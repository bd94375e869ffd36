"""What the records of one order come to, one record after the other.

The order of arrival does not matter, nor does repetition: quantities only grow, a status only moves forward (FIX: an
order that is done stays done), and every value comes from the last record that knew it, save that an answer which
shows the order as it was before (less filled, or less far) tells only what nobody has told yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from audit_wrapper import routing
from audit_wrapper.exchanges.asked import Asked, Stop
from audit_wrapper.executions import Executions
from audit_wrapper.reading import Reading
from audit_wrapper.records import (
    Action,
    Cause,
    Fee,
    FoundBy,
    Operation,
    OrderState,
    OrderStatus,
    PositionLink,
    Record,
    RecordKind,
    Source,
)

BACKFILL = "backfill"  # the method that a record of a backfill names
ATTACHED = {  # parts of records that place a stop attached to a position or to an order, and the types of these
    "stop_loss": "STOP_LOSS",
    "take_profit": "TAKE_PROFIT",
    "trailing": "TRAILING_STOP_MARKET",
}
RESTING_TYPES = frozenset({"STOP_MARKET", "STOP_LIMIT", "TRAILING_STOP_MARKET", "TAKE_PROFIT", *ATTACHED.values()})
# A status may only be replaced by one of a higher rank: what is done stays done, save that executions win over a
# cancel that crossed them.
_RANK = {
    OrderStatus.UNKNOWN: 0,
    OrderStatus.NEW: 1,
    OrderStatus.PARTIALLY_FILLED: 2,
    OrderStatus.REJECTED: 3,
    OrderStatus.MODIFIED: 3,
    OrderStatus.CANCELED: 3,
    OrderStatus.EXPIRED: 3,
    OrderStatus.FILLED: 4,
}
_DONE = 3
# how far the exchange's clock may be from the bot's: Binance and Bybit refuse a request that is stamped more than 1 s
# ahead of theirs, or (by default) 5 s behind
_CLOCKS = timedelta(seconds=5)
_LINK_RANK = {"scope": 3, "atomic": 2, "repository": 1}


class Placing(NamedTuple):
    """An order by what makes it: the intent, and which part of it."""

    intent_id: UUID
    part: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """One record as it concerns one order. `seq` orders the records of one stream; a clock never does.

    `reading`: the record's, where it is at hand.
    """

    stream: UUID
    seq: int
    record: Record
    part: str
    reading: Reading | None = None

    @property
    def said(self) -> Reading:
        """What the record says."""
        return self.reading if self.reading is not None else Reading(self.record)


@lru_cache(256)
def places(part: str) -> bool:
    """Whether this part of a record places the order; by all others it is heard of."""
    return part.startswith(routing.PLACED) or part in ATTACHED


class Known(msgspec.Struct, gc=False):
    """An `OrderState` that grows."""

    exchange_order_id: str | None = None
    client_order_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    type: str | None = None
    quantity: Decimal | None = None
    filled_quantity: Decimal | None = None
    remaining_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    average_price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool | None = None
    exchange_status: str | None = None
    created_at: datetime | None = None
    exchange_at: datetime | None = None


class Fold:
    """Everything learned about one order so far. The attributes are what is known; None: nobody has said."""

    def __init__(self, children: frozenset[str] = frozenset()) -> None:
        """children: ids of the regular orders that this one, a conditional order, became when it fired."""
        self._children = children
        self.known = Known()
        self.placed: Record | None = None  # the first record that placed it
        self.placing: Placing | None = None
        self.stop: Stop | None = None
        self.position_index: int | None = None
        self._waits = False  # it is made with the first execution of the order that it was sent with
        self.status: OrderStatus | None = None
        self.reason: str | None = None
        self.executions = Executions()
        self.sighted_by: set[Source] = set()
        self.cause: Cause | None = None
        self.found_by: FoundBy | None = None
        self.absent: str | None = None  # why there is no such order, as far as nothing else was heard
        self.fees: tuple[Fee, ...] = ()
        self.fee_asked = False
        self.link: PositionLink | None = None
        self.replaced_by: Placing | None = None
        self.first: Record | None = None
        self.operation: Operation | None = None
        self.created_at: datetime | None = None
        self.updated_at: datetime | None = None
        self.crossing = False  # a cancel was confirmed without a word of what had been filled before
        self.inferred = False  # that it is canceled follows from a cancel-all that did not name it
        self.taken: Event | None = None  # the answer that took it
        self.last_words: dict[UUID, int] = {}  # of each stream: the last answer that said how it stands
        self._said = -1  # the rank of the furthest status that an answer has said
        self._reported_at: tuple[bool, datetime | None] = (False, None)  # by the exchange's clock?, the last execution
        self.market_symbol: tuple[str | None, str | None] = (None, None)

    # -- what it comes to

    @property
    def filled(self) -> Decimal | None:
        """What was executed: as an answer said, or as the fills add up to where that is more."""
        said, shown = self.known.filled_quantity, self.executions.quantity
        return shown if shown and (said is None or shown >= said) else said

    @property
    def executed_at(self) -> datetime | None:
        """The last execution, by the exchange's clock where that is known."""
        shown = max(self.executions.times, default=None)
        by_exchange, reported = self._reported_at
        said = self.known.filled_quantity
        if shown is None or reported is None:
            return shown or reported
        if said is None or self.executions.quantity >= said:
            return shown  # an order is updated later than it was executed
        return max(shown, reported) if by_exchange else reported

    def _is_filled(self) -> bool:
        filled, size = self.filled, self.known.quantity
        return bool(filled) and filled is not None and size is not None and filled >= size

    def _is_done(self) -> bool:
        return (self.status is not None and _RANK[self.status] >= _DONE) or self._is_filled()

    # -- one record

    def take(self, event: Event) -> None:
        record, part = event.record, event.part
        if record.kind is not RecordKind.LINKED:
            self.first = self.first or record
            self.operation = self.operation or record.operation
            self._times(record)
        self._link_by(record)
        if places(part):
            self._placed(event)
        elif part.startswith(routing.TARGET):
            self._targeted(event, _position(part))
        elif part == routing.REPLACED:
            stops = self.known.type in RESTING_TYPES and event.said.asked[0].state.type in RESTING_TYPES
            if record.kind is RecordKind.ACKNOWLEDGED and stops:
                self.replaced_by = Placing(record.intent_id or record.record_id, routing.PLACED)
        elif part.startswith(routing.SEEN):
            self._seen(event, _position(part))
        elif part == routing.MATCHED and record.match is not None:
            if record.match.exchange_order_id is None:
                self.absent, self.found_by = record.reason, self.found_by or record.match.found_by
            else:
                self.found_by = record.match.found_by
                self.known.exchange_order_id = record.match.exchange_order_id

    def take_scope(self, event: Event) -> None:
        """A record that changes the orders of its scope without naming them: what it did to this one is inferred."""
        record = event.record
        if self.taken is None or event.stream != self.taken.stream or event.seq <= self.taken.seq:
            return
        if self.status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED) or self._is_filled():
            if self.status is OrderStatus.CANCELED and self.stop is not None and record.action is Action.SET_STOPS:
                self._taken_off_by(event.said)
            return
        if self.placed is not None and record.intent_id == (self.placed.intent_id or self.placed.record_id):
            return  # its own making
        if self.last_words.get(event.stream, 0) > event.seq:
            return  # the exchange has said since how it stands
        one = event.said.asked[0]
        if record.action is Action.CANCEL_ALL:
            if not self._crossed(record) and self._covered_by(one, event.said):
                self._move(OrderStatus.CANCELED, "canceled with all others of its symbol")
                self.inferred = True
                self._times(record)
        elif self.stop is not None and not (self._waits and self.known.exchange_order_id is None):
            self._superseded(record, one)

    def _crossed(self, cancel_all: Record) -> bool:
        # began before the exchange had taken this order: it may or may not have seen it
        taken_at = self.taken.record.answered_at if self.taken is not None else None
        return taken_at is not None and cancel_all.called_at is not None and cancel_all.called_at < taken_at

    def _placed(self, event: Event) -> None:
        record, part, said = event.record, event.part, event.said
        index = _position(part)
        orders = said.asked
        one = orders[index] if index < len(orders) else orders[0]
        if self.placed is None:
            self.placed, self.placing = record, Placing(record.intent_id or record.record_id, part)
            self._know(self._asked_state(one, record, part), gaps_only=self._said >= 0)
        match record.kind:
            case RecordKind.INTENT:
                self._move(OrderStatus.UNKNOWN, "sent, and no answer recorded yet")
            case RecordKind.ACKNOWLEDGED:
                self.taken = self.taken or event
                refused = said.refusal(index)
                if refused is not None:
                    self._move(OrderStatus.REJECTED, refused)
                    return
                state = said.answered(index if len(orders) > 1 else None)
                self.reason = None
                self._move(OrderStatus.NEW, None)
                if (state is not None and part not in ATTACHED) or (
                    state is not None and part == "stop_loss" and record.request is None
                ):
                    self._answered(state, event)
            case RecordKind.REJECTED if part in ATTACHED and one.action is not Action.SET_STOPS:
                self._never_existed()  # it was to be attached to an order that the exchange refused
            case RecordKind.REJECTED:
                self._move(OrderStatus.REJECTED, _words(record))
            case RecordKind.OUTCOME_UNKNOWN:
                self._move(OrderStatus.UNKNOWN, _words(record))
            case RecordKind.UNCHANGED | RecordKind.NOT_SENT:
                self._never_existed()
            case _:
                pass

    def _targeted(self, event: Event, index: int) -> None:
        record, said = event.record, event.said
        orders = said.asked
        one = orders[index] if index < len(orders) else orders[0]
        of_child = one.id_kind == "order" and one.state.exchange_order_id in self._children
        if not of_child:
            self._learn((("exchange_order_id", one.state.exchange_order_id), ("symbol", one.state.symbol)))
        if record.kind is not RecordKind.ACKNOWLEDGED:
            return
        if said.refusal(index) is not None:
            return
        state = said.answered(index if len(orders) > 1 else None)
        if of_child and state is not None:
            state = _as_its_parent(state)
        if record.action is Action.AMEND:
            if not of_child:
                self._learn(
                    [(name, getattr(one.state, name)) for name in ("quantity", "limit_price", "trigger_price")],
                    gaps_only=self._is_done(),
                )
            self._move(OrderStatus.NEW, None)
            if state is not None:
                self._answered(state, event)
            return
        if state is not None:
            self._answered(state, event)
        if state is None or state.order_status in (None, OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED):
            # the exchange confirmed the cancel and did not say more (Bybit answers with the id alone)
            self._move(OrderStatus.CANCELED, None)
            self.crossing = True

    def _seen(self, event: Event, index: int) -> None:
        one, source = event.said.sightings[index], source_of(event.record)
        self.sighted_by.add(source)
        causes = (one.state.cause, *(fill.cause for fill in one.fills))
        self.cause = next((cause for cause in causes if cause is not None), self.cause)
        of_child = one.id_kind == "order" and one.state.exchange_order_id in self._children
        state = _as_its_parent(one.state) if of_child else one.state
        if not of_child and state.order_status is None:
            # an execution alone, or a conditional order that fired: how it stands is said elsewhere
            self._know(state, gaps_only=self._said >= 0)
        if state.order_status is not None or state.filled_quantity is not None:
            self._answered(state, event)
        self._learn((("exchange_order_id", state.exchange_order_id), ("created_at", state.created_at)))
        for fill in one.fills:
            self.executions.take(fill, source)
            self.fee_asked = True
        if self.status is None:
            self._move(OrderStatus.PARTIALLY_FILLED if one.fills else OrderStatus.UNKNOWN, None)

    # -- what is learned

    def _asked_state(self, one: Asked, record: Record, part: str) -> OrderState:
        state = one.state
        if part not in ATTACHED:
            return state
        self.stop = next((s for s in one.stops if s.kind == part), None) or Stop(
            kind="stop_loss", trigger_price=state.trigger_price
        )
        self.position_index = one.position_index
        self._waits = one.action is not Action.SET_STOPS and state.type != "MARKET"
        side = state.side
        if one.action is not Action.SET_STOPS and side is not None:
            side = _opposite(side)  # attached to an entry: it leaves what the entry opens
        if side is None and record.position is not None and record.position.side is not None:
            side = _opposite(record.position.side)
        return OrderState(
            symbol=state.symbol,
            side=side,
            type=ATTACHED[part],
            # one that covers the whole position was sent without a size, whatever amount the bot had in mind
            quantity=self.stop.size if record.request is not None else state.quantity,
            trigger_price=self.stop.trigger_price,
            reduce_only=True,
            exchange_order_id=None,
        )

    def _answered(self, state: OrderState, event: Event) -> None:
        before, filled = self.known.filled_quantity, state.filled_quantity
        rank = _RANK[state.order_status] if state.order_status is not None else None
        less = filled is not None and before is not None and filled < before
        more = filled is not None and before is not None and filled > before
        earlier = state.exchange_at is not None and (self.known.exchange_at or state.exchange_at) > state.exchange_at
        older = less or (not more and (earlier or (rank is not None and rank < self._said)))
        self._know(state, gaps_only=older)
        for fill in state.fills:
            self.executions.take(fill, source_of(event.record))
        if rank is not None:
            self._said = max(self._said, rank)
            self.last_words[event.stream] = event.seq
            if rank >= _DONE:
                self.crossing = False
        was = self.status
        if state.order_status is not None:
            self._move(state.order_status, None)
        # the exchange's own word goes with the status; one that none of ours stands for is taken while it may change
        replaced = (
            self.status is OrderStatus.MODIFIED and state.order_status is OrderStatus.CANCELED
        )  # one thing, two words
        goes_with = replaced or (state.order_status is self.status and (not older or was is not self.status))
        if state.exchange_status is not None and (goes_with if rank is not None else self._said < _DONE and not older):
            self.known.exchange_status = state.exchange_status
        self._executed(state, event.record, before)

    def _executed(self, state: OrderState, record: Record, before: Decimal | None) -> None:
        """Average, fees and time of the executions go with the quantity that they are of."""
        filled = state.filled_quantity
        if filled is not None and before is not None and filled < before:
            return
        more = bool(filled) and filled != before
        if more:
            self._reported_at = (state.exchange_at is not None, state.exchange_at or record.answered_at)
        elif filled and state.exchange_at is not None and not self._reported_at[0]:
            self._reported_at = (True, state.exchange_at)
        if more or (state.average_price is not None and (filled is not None or self.known.average_price is None)):
            self.known.average_price = state.average_price
        if more or (state.fees and (filled is not None or not self.fees)):
            self.fees = state.fees

    def _know(self, state: OrderState, *, gaps_only: bool = False) -> None:
        self._learn(zip(_MERGED, _merged(state), strict=True), gaps_only=gaps_only)
        said, known = state.filled_quantity, self.known.filled_quantity
        if said is not None and (known is None or said > known):
            self.known.filled_quantity = said

    def _learn(self, told: Iterable[tuple[str, object]], *, gaps_only: bool = False) -> None:
        known = self.known
        for name, value in told:
            if value is None or ((gaps_only or name in _NEVER_CHANGE) and getattr(known, name) is not None):
                continue
            setattr(known, name, value)

    def _never_existed(self) -> None:
        """Nothing of this order ever was at the exchange, as far as the exchange itself has not said otherwise."""
        if self.taken is None and self._said < 0:
            self.status = None

    def _move(self, status: OrderStatus, reason: str | None) -> None:
        if self.status is None or _RANK[status] > _RANK[self.status] or (status is self.status and reason):
            self.status, self.reason = status, reason

    def _link_by(self, record: Record) -> None:
        link = record.position
        if link is None or (link.position_id is None and link.signal_id is None):
            return
        if self.link is None or _LINK_RANK.get(link.how, 0) > _LINK_RANK.get(self.link.how, 0):
            self.link = link

    def _times(self, record: Record) -> None:
        began, ended = record.called_at, record.answered_at or record.called_at
        if began is not None and (self.created_at is None or began < self.created_at):
            self.created_at = began
        if ended is not None and (self.updated_at is None or ended > self.updated_at):
            self.updated_at = ended
        if record.market is not None:
            unified, own = self.market_symbol
            said = record.market.symbol
            better = said is not None and (unified is None or "/" in said)
            self.market_symbol = (said if better else unified, record.market.exchange_symbol or own)

    def _covered_by(self, cancel_all: Asked, said: Reading) -> bool:
        # a market order does not rest, so it cannot be canceled: it was executed, and nobody has said so yet
        if self.known.type in (None, "MARKET"):
            return False
        named = said.canceled_ids
        if named and self.known.exchange_order_id is not None:
            return self.known.exchange_order_id in named  # Bybit lists what it canceled
        # Binance's allOpenOrders leaves conditional orders standing; Bybit's takes all kinds, attached stops too
        if cancel_all.conditional is None:
            return True
        return cancel_all.conditional == (self.known.type in RESTING_TYPES)

    def _taken_off_by(self, said: Reading) -> None:
        """The exchange has said that this stop is off: by a call that set another one, if it went off just then."""
        record = said.record
        ended, began = self.known.exchange_at, record.called_at
        if ended is None or began is None:
            return
        if began - _CLOCKS <= ended <= (record.answered_at or began) + _CLOCKS:
            self.status = OrderStatus.NEW
            self._superseded(record, said.asked[0])
            self.status = OrderStatus.CANCELED if self.status is OrderStatus.NEW else self.status

    def _superseded(self, record: Record, by: Asked) -> None:
        kind = self.stop.kind if self.stop is not None else None
        other = next((s for s in by.stops if s.kind == kind), None)
        if other is None or (by.position_index or 0) != (self.position_index or 0):
            return
        if other.size is not None or self.stop is None or self.stop.size is not None:
            return  # a stop for part of the position stands beside the others
        if other.removed:
            self._move(OrderStatus.CANCELED, "removed from the position")
        else:
            self._move(OrderStatus.MODIFIED, None)
            self.replaced_by = Placing(record.intent_id or record.record_id, other.kind)
        self._times(record)


_MERGED = (
    "exchange_order_id",
    "client_order_id",
    "symbol",
    "side",
    "type",
    "quantity",
    "remaining_quantity",
    "limit_price",
    "trigger_price",
    "reduce_only",
    "created_at",
    "exchange_at",
)
# the answer to a stop may call itself "market" and leave out what was asked (ccxt on Binance's algo orders); the first
# that knew is right
_NEVER_CHANGE = ("type", "side", "symbol")
_merged = attrgetter(*_MERGED)


def _with(state: OrderState, changes: dict[str, object]) -> OrderState:
    return msgspec.structs.replace(state, **changes)


@lru_cache(256)
def _position(part: str) -> int:
    _, _, number = part.partition(".")
    return int(number) if number.isdigit() else 0


def source_of(record: Record) -> Source:
    """Where what a record tells of an order is known from."""
    if record.kind is RecordKind.OBSERVED:
        return Source.OBSERVED
    if record.kind is not RecordKind.RECONCILED:
        return Source.ANSWER
    backfilled = record.call is not None and record.call.method == BACKFILL
    return Source.BACKFILLED if backfilled else Source.RECONCILED


def _as_its_parent(child: OrderState) -> OrderState:
    """What a conditional order's child says of the conditional order: what was executed, and how it ended."""
    return _with(
        child,
        dict.fromkeys(
            (
                "exchange_order_id",
                "client_order_id",
                "type",
                "limit_price",
                "trigger_price",
                "reduce_only",
                "created_at",
            )
        ),
    )


def _opposite(side: str) -> str:
    return "sell" if side == "buy" else "buy"


def _words(record: Record) -> str | None:
    failure = record.failure
    if record.reason is not None:
        return record.reason
    if failure is None:
        return None
    return f"{failure.code}: {failure.message}" if failure.code else f"{failure.type}: {failure.message}"
