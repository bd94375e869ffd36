"""What the exchange knows of an order and the trail does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext

import msgspec

from audit_wrapper.completeness.shown import ShownOrder, quantity_of
from audit_wrapper.completeness.words import digits, text_of
from audit_wrapper.exchanges.numbers import total
from audit_wrapper.fold import RESTING_TYPES
from audit_wrapper.records import Fee, FeeStatus, Fill, OrderState, OrderStatus
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import OrderRow

Difference = tuple[str, str | None, str | None]


class _Average(msgspec.Struct, frozen=True):
    """What an order's average price is by the exchange: from its executions where all were shown, else as it says."""

    fills: Sequence[Fill] = ()
    said: Decimal | None = None

    def difference(self, kept: Decimal | None) -> str | None:
        """The exchange's value if `kept` is another one.

        The trail's average is the quotient of its fills (`projection`), and where that does not end, the quotient
        rounded to 18 decimals and 28 digits at least. The same is done here, anew, from the exchange's fills. Where
        these are not all known there is the exchange's own word, rounded to its tick: then the trail's is right if it
        comes to the same digits, whichever way the exchange rounds (Bybit cuts off, others round half up).
        """
        if self.said is not None:
            exponent = self.said.as_tuple().exponent
            with localcontext(prec=200):
                step = Decimal(1).scaleb(min(exponent, 0)) if isinstance(exponent, int) else Decimal(0)
                near = kept is not None and (kept == self.said or abs(kept - self.said) < step)
            return None if near else digits(self.said)
        with localcontext(prec=200):
            value = total([(f.price or Decimal(0)) * (f.quantity or Decimal(0)) for f in self.fills])
            quotient = value / quantity_of(self.fills)
            finest = Decimal(1).scaleb(min(-18, quotient.adjusted() - 27))
            rounded = quotient.quantize(finest)
        return None if kept == rounded else digits(rounded.normalize())


_EXACT_TYPES = frozenset({"MARKET", "LIMIT", *RESTING_TYPES})


def differences(order: ShownOrder, row: OrderRow) -> Iterator[Difference]:
    """Field, the exchange's value, the row's value: of everything but fees."""
    state = order.compared
    status = _status(state)
    # what another stop took the place of is canceled at the exchange
    kept = OrderStatus.CANCELED.value if row.status == OrderStatus.MODIFIED else row.status
    if status is not None and status.value != kept:
        yield "status", status.value, row.status
    if state.type in _EXACT_TYPES and (row.type in _EXACT_TYPES or row.type is None) and state.type != row.type:
        yield "type", state.type, row.type  # other words are the exchange's own and name no one type
    remaining = (
        state.quantity - state.filled_quantity
        if state.quantity is not None and state.filled_quantity is not None
        else None
    )
    for field, at_exchange, in_trail in (
        ("side", state.side, row.side),
        ("size", state.quantity, row.size),
        ("filled", state.filled_quantity, row.filled),
        ("remaining", remaining, row.remaining),
        ("limit_price", state.limit_price, row.limit_price),
        ("trigger_price", state.trigger_price, row.trigger_price),
        ("reduce_only", state.reduce_only, row.reduce_only),
        ("client_order_id", state.client_order_id, row.client_order_id),
    ):
        if at_exchange is not None and at_exchange != in_trail:
            yield field, text_of(at_exchange), text_of(in_trail)
    fills = order.whole_fills
    if fills or state.average_price is not None:
        average = _Average(fills=fills) if fills else _Average(said=state.average_price)
        other = average.difference(row.average_price)
        if other is not None:
            yield "average_price", other, text_of(row.average_price)


def fee_differences(order: ShownOrder, row: OrderRow) -> Iterator[Difference]:
    """The same of an order's fees: from its executions where all were shown, else as the order itself says."""
    state = order.state
    fees = [fill.fee for fill in order.whole_fills]
    if not fees or any(fee.amount is None for fee in fees):
        fees = [fee for fee in state.fees if fee.amount is not None and state.filled_quantity]
    currencies = {fee.currency for fee in fees}
    if len(currencies) > 1:
        if row.fee is not None:
            several = " + ".join(f"{digits(fee.amount or Decimal(0))} {fee.currency}" for fee in _by_currency(fees))
            yield "fee", several, digits(row.fee)
        if row.fee_status != FeeStatus.SEVERAL:
            yield "fee_status", FeeStatus.SEVERAL.value, row.fee_status
    elif fees:
        amount = total([fee.amount for fee in fees if fee.amount is not None])
        if row.fee != amount:
            yield "fee", digits(amount), text_of(row.fee)
        (currency,) = currencies
        if currency is not None and row.fee_currency != currency:
            yield "fee_currency", currency, row.fee_currency


def _status(state: OrderState) -> OrderStatus | None:
    """The exchange's status in the trail's sense: FILLED is what the quantities say (an order canceled when nothing was
    left of it has been filled)."""
    status, size, filled = state.order_status, state.quantity, state.filled_quantity
    if status is None or not filled:
        return status
    if size is not None and filled >= size:
        return OrderStatus.FILLED
    if status is OrderStatus.NEW or (status is OrderStatus.FILLED and size is not None):
        return OrderStatus.PARTIALLY_FILLED
    return status


def same_market(row: OrderRow, symbol: str | None) -> bool:
    """Whether the row is of this market, as far as both tell. BTCUSDT may be a spot market and a swap; BTC/USDT is not."""
    if symbol is None:
        return True
    if row.unified_symbol is not None:
        return same_symbol(row.unified_symbol, symbol) or ("/" not in symbol and symbol == row.exchange_symbol)
    known = [name for name in (row.exchange_symbol, row.symbol) if name]
    return not known or any(same_symbol(name, symbol) for name in known)


def _by_currency(fees: Sequence[Fee]) -> list[Fee]:
    names = sorted({fee.currency or "" for fee in fees})
    return [
        Fee(
            amount=total([f.amount for f in fees if (f.currency or "") == name and f.amount is not None]),
            currency=name or None,
            status=FeeStatus.REPORTED,
        )
        for name in names
    ]
