"""From the records of one order to its row, its trade and its fills. Pure: no clock, no database, no memory.

The same records give the same rows, whatever order they arrive in and however often (`fold` sees to that). Here it is
decided what a row says: which status the quantities bear out, which average and which fee are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from audit_wrapper import routing
from audit_wrapper.exchanges.numbers import total as exact_sum
from audit_wrapper.fold import RESTING_TYPES, Event, Fold, Placing, places
from audit_wrapper.reading import compact, payments
from audit_wrapper.records import Fee, FeeStatus, OrderStatus, Origin, Purpose, Record, Source
from audit_wrapper.rows import FillRow, FundingRow, OrderRow, TradeRow

__all__ = ["Event", "Projected", "funding_of", "project"]

_STOP_PURPOSE = {
    "STOP_LOSS": Purpose.STOP_LOSS,
    "STOP_MARKET": Purpose.STOP_LOSS,
    "STOP_LIMIT": Purpose.STOP_LOSS,
    "TRAILING_STOP_MARKET": Purpose.STOP_LOSS,
    "TAKE_PROFIT": Purpose.TAKE_PROFIT,
}


_place = attrgetter("seq", "part")


class Projected(NamedTuple):
    """What the records of an order come to. `order` is None where nothing ever left for the exchange."""

    order: OrderRow | None
    trade: TradeRow | None
    fills: tuple[FillRow, ...]
    scope: str | None
    open: bool
    placing: Placing | None = None  # what placed it; None: nothing of this trail did
    # what `order.replaced_by` was placed by: should that be known as one with another order, it goes by that one's key
    replaced_by: Placing | None = None


def project(order_key: UUID, events: Sequence[Event], scope_events: Sequence[Event] = ()) -> Projected:
    """The rows of one order.

    events: every record that mentions the order. scope_events: acknowledged records that change all orders of the
    order's scope without naming them (see `routing.scope_of`); those from before the order are passed over.
    """
    fold = Fold(_children(events))
    if len(events) == 1 or all(event.stream is events[0].stream for event in events):
        events = sorted(events, key=_place)
    else:
        # the journal of the bot that placed it first: what was asked comes before what others heard of it
        placing = {event.stream for event in events if places(event.part)}
        events = sorted(events, key=lambda e: (e.stream not in placing, e.stream, e.seq, e.part))
    for event in events:
        fold.take(event)
    for event in sorted(scope_events, key=lambda e: (e.stream, e.seq)):
        fold.take_scope(event)
    return _Rows(fold).result(order_key)


def _children(events: Sequence[Event]) -> frozenset[str]:
    """Ids of the regular orders that a conditional order became, whichever record says so."""
    shown = (one for event in events if event.part.startswith(routing.SEEN) for one in event.said.sightings)
    return frozenset(one.child_order_id for one in shown if one.child_order_id is not None)


def funding_of(record: Record) -> tuple[FundingRow, ...]:
    """The funding payments that a record tells of, as far as the exchange gives them an id."""
    return tuple(
        FundingRow(
            exchange=record.exchange or "",
            account=record.account,
            symbol=compact(one.symbol) or "",  # however it was heard of
            payment_id=one.payment_id,
            amount=one.amount,
            currency=one.currency,
            rate=one.rate,
            exchange_at=one.exchange_at,
        )
        for one in payments(record)
        if one.payment_id is not None
    )


class _Rows:
    """What a fold comes to, as rows."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    def result(self, order_key: UUID) -> Projected:
        if self.fold.status is None or self.fold.first is None:
            return Projected(None, None, (), None, False)
        first = self.fold.first
        filled, average = self._executed()
        size = self.fold.known.quantity
        status = self._final_status(size, filled)
        remaining = size - filled if size is not None and filled is not None else None
        fee = self._fee(filled, size, status)
        unified = self.fold.market_symbol[0] or (
            self.fold.known.symbol if "/" in (self.fold.known.symbol or "") else None
        )
        exchange_symbol = self.fold.market_symbol[1]
        symbol = (
            (self.fold.link.symbol if self.fold.link else None)
            or exchange_symbol
            or compact(self.fold.known.symbol or unified)
        )
        purpose = self._purpose()
        began, changed = self._times()
        order = OrderRow(
            position_id=self.fold.link.position_id if self.fold.link else None,
            signal_id=self.fold.link.signal_id if self.fold.link else None,
            exchange=first.exchange,
            account=first.account,
            symbol=symbol,
            order_id=self.fold.known.exchange_order_id,
            client_order_id=self.fold.known.client_order_id,
            type=self.fold.known.type,
            side=self.fold.known.side,
            size=size,
            price=self._price(average),
            status=status.value,
            filled=filled,
            remaining=remaining,
            fee=fee.amount,
            fee_currency=fee.currency,
            fee_status=fee.status.value,
            created_at=began,
            updated_at=changed,
            order_key=order_key,
            purpose=purpose.value if purpose else None,
            average_price=average,
            limit_price=self.fold.known.limit_price,
            trigger_price=self.fold.known.trigger_price,
            reduce_only=self.fold.known.reduce_only,
            reason=self._reason(status),
            unified_symbol=unified,
            exchange_symbol=exchange_symbol,
            exchange_status=self.fold.known.exchange_status,
            link_how=self.fold.link.how if self.fold.link else None,
            replaced_by=routing.key_of_part(*self.fold.replaced_by) if self.fold.replaced_by else None,
            correlation_id=self.fold.operation.correlation_id if self.fold.operation else None,
            origin=self._origin().value,
            found_by=self.fold.found_by.value if self.fold.found_by else None,
        )
        scope = routing.scope(first, unified or self.fold.known.symbol or "")
        is_open = status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNKNOWN)
        return Projected(
            order, self._trade(order), self._fill_rows(order), scope, is_open, self.fold.placing, self.fold.replaced_by
        )

    def _is_absent(self) -> bool:
        # what is heard of an order later counts over not having found it
        return self.fold.absent is not None and self.fold.known.exchange_order_id is None and not self.fold.executions

    def _origin(self) -> Origin:
        if self.fold.placed is not None:
            return Origin.BOT
        if self.fold.cause is not None:
            return Origin(self.fold.cause.value)
        return Origin.BACKFILLED if self.fold.sighted_by == {Source.BACKFILLED} else Origin.EXTERNAL

    def _times(self) -> tuple[datetime, datetime]:
        """When it began, and when it changed last: by the bot's clock what the bot sent, else by the exchange's."""
        epoch = datetime.fromtimestamp(0, UTC)
        began, changed = self.fold.created_at or epoch, self.fold.updated_at or epoch
        if self.fold.placed is not None:
            return began, changed
        began = self.fold.known.created_at or min(self.fold.executions.times, default=began)
        by_exchange = [self.fold.known.exchange_at, *self.fold.executions.times]
        return began, max((moment for moment in by_exchange if moment is not None), default=changed)

    def _executed(self) -> tuple[Decimal | None, Decimal | None]:
        filled, average = self.fold.filled, self.fold.known.average_price
        if self._is_absent():
            return Decimal(0), None
        fills = self.fold.executions.whole
        total = exact_sum([quantity for _, quantity in fills])
        if total and filled == total:
            # the exchange's own average is rounded to its tick; the fills are exact
            with localcontext(prec=200):
                value = exact_sum([price * quantity for price, quantity in fills])
                average = _plain(value / total)
        if self.fold.inferred and not filled:
            return None, None  # what was filled before the cancel-all has not been said
        if filled is None and self._resting_untouched():
            filled = Decimal(0)
        return filled, average if filled else None

    def _resting_untouched(self) -> bool:
        # FIX: an order that is NEW because it rests, or was REJECTED, has executed nothing
        if self.fold.status is OrderStatus.REJECTED:
            return True
        if self.fold.status is OrderStatus.CANCELED:
            return self.fold.known.type in RESTING_TYPES - {"STOP_LIMIT"}  # a stop that fires is done at once
        return self.fold.known.type in RESTING_TYPES and self.fold.status in (OrderStatus.NEW, OrderStatus.MODIFIED)

    def _final_status(self, size: Decimal | None, filled: Decimal | None) -> OrderStatus:
        status = self.fold.status or OrderStatus.UNKNOWN
        if self._is_absent():
            if status is OrderStatus.MODIFIED:
                return status
            # a stop that was taken, and never made or gone without a trace, was not refused
            return OrderStatus.REJECTED if self.fold.taken is None else OrderStatus.CANCELED
        if filled and size is not None and filled >= size:
            return OrderStatus.FILLED
        if status is OrderStatus.FILLED and filled is not None and size is not None and filled < size:
            return OrderStatus.PARTIALLY_FILLED
        if status is OrderStatus.NEW and filled:
            return OrderStatus.PARTIALLY_FILLED
        return status

    def _reason(self, status: OrderStatus) -> str | None:
        if self._is_absent():
            return self.fold.absent
        return None if status is OrderStatus.FILLED else self.fold.reason

    def _fee(self, filled: Decimal | None, size: Decimal | None, status: OrderStatus) -> Fee:
        if filled is None:
            done_without = status in (OrderStatus.REJECTED,)
            return Fee(status=FeeStatus.NONE_DUE if done_without else FeeStatus.PENDING)
        if filled == 0:
            unsure = self.fold.crossing and not self._resting_untouched()
            return Fee(status=FeeStatus.PENDING if unsure else FeeStatus.NONE_DUE)
        fees = self._fees_of_fills(filled) or self.fold.fees
        if not fees:
            return Fee(status=FeeStatus.MISSING if self.fold.fee_asked and self.fold.executions else FeeStatus.PENDING)
        currencies = {fee.currency for fee in fees}
        if len(currencies) > 1:
            return Fee(status=FeeStatus.SEVERAL)
        amounts = [fee.amount for fee in fees]
        if any(amount is None for amount in amounts):
            return Fee(status=FeeStatus.PENDING)
        status_of_all = next((f.status for f in fees if f.status is not FeeStatus.REPORTED), FeeStatus.REPORTED)
        amount = exact_sum([a for a in amounts if a is not None])
        return Fee(amount=amount, currency=currencies.pop(), status=status_of_all)

    def _fees_of_fills(self, filled: Decimal) -> tuple[Fee, ...]:
        # a sum over some of the fills is not the order's fee
        total = exact_sum([f.quantity for f in self.fold.executions.fills.values() if f.quantity is not None])
        fees = tuple(f.fee for f in self.fold.executions.fills.values())
        return fees if fees and total >= filled and all(f.amount is not None for f in fees) else ()

    def _price(self, average: Decimal | None) -> Decimal | None:
        if self.fold.known.type == "MARKET":
            return average
        return self.fold.known.limit_price or self.fold.known.trigger_price or average

    def _purpose(self) -> Purpose | None:
        by_type = _STOP_PURPOSE.get(self.fold.known.type or "")
        record = self.fold.placed
        if record is None:
            return by_type
        meant = record.purpose or (record.operation.purpose if record.operation else None)
        if by_type is not None:
            return meant if meant in (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT) else by_type
        if meant in (Purpose.ENTRY, Purpose.EXIT):
            return meant
        if self.fold.known.reduce_only:
            return Purpose.EXIT
        opens = record.position.side if record.position is not None else None
        if opens is None or self.fold.known.side is None:
            return None
        return Purpose.ENTRY if opens == self.fold.known.side else Purpose.EXIT

    def _trade(self, order: OrderRow) -> TradeRow | None:
        if not order.filled:
            return None
        done = order.size is not None and order.filled >= order.size
        status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        return TradeRow(
            signal_id=order.signal_id,
            symbol=order.symbol,
            exchange=order.exchange,
            side=order.side,
            order_type=order.type,
            quantity=order.size,
            price=order.average_price,
            executed_qty=order.filled,
            average_price=order.average_price,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            status=status.value,
            fee=order.fee,
            fee_currency=order.fee_currency,
            executed_at=self.fold.executed_at or order.updated_at,
            updated_at=order.updated_at,
            order_key=order.order_key,
            account=order.account,
            position_id=order.position_id,
            purpose=order.purpose,
            fee_status=order.fee_status,
            origin=order.origin,
        )

    def _fill_rows(self, order: OrderRow) -> tuple[FillRow, ...]:
        return tuple(
            FillRow(
                order_key=order.order_key,
                exchange=order.exchange,
                account=order.account,
                symbol=order.symbol,
                exchange_trade_id=trade_id,
                exchange_order_id=fill.exchange_order_id or order.order_id,
                side=fill.side or order.side,
                price=fill.price,
                quantity=fill.quantity,
                fee=fill.fee.amount,
                fee_currency=fill.fee.currency,
                fee_rate=fill.fee.rate,
                fee_status=fill.fee.status.value,
                liquidity=fill.liquidity.value if fill.liquidity else None,
                exchange_at=fill.exchange_at,
                source=self.fold.executions.sources[trade_id].value,
                conflicts=trade_id in self.fold.executions.conflicts,
            )
            for trade_id, fill in sorted(self.fold.executions.fills.items())
        )


def _plain(value: Decimal) -> Decimal:
    """A quotient without the zeros that division leaves. One that does not end: 18 decimals, and 28 digits at least."""
    finest = min(-18, value.adjusted() - 27)
    exponent = value.as_tuple().exponent
    rounded = value.quantize(Decimal(1).scaleb(finest)) if isinstance(exponent, int) and exponent < finest else value
    whole = rounded.normalize()
    return whole.quantize(Decimal(1)) if whole == whole.to_integral() else whole
