"""What it all comes to: how many of each, fees by currency, payments by kind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from audit_wrapper.completeness.books import Books
from audit_wrapper.completeness.statement import Counts, FeeSum, Payment
from audit_wrapper.completeness.words import count, digits, utc
from audit_wrapper.exchanges.numbers import total

_Charge = tuple[str | None, Decimal | None]


def counts(books: Books) -> Counts:
    """How many of each."""
    orders = [order for order in books.shown.orders if order.row is not None]
    fills = [one for one in books.shown.executions if one.row is not None]
    asked = [question.why for question in books.questions if question.what == "order"]
    missing = [one.what for one in books.missing]
    extra = [one.what for one in books.extra]
    at_exchange, in_trail = _charges(books)
    return Counts(
        orders_same=sum(not order.differs for order in orders),
        orders_different=sum(order.differs for order in orders),
        orders_missing=missing.count("order"),
        orders_extra=extra.count("order"),
        orders_unknown=sum(why.startswith("UNKNOWN") for why in asked),
        orders_without_id=sum(why.startswith("without") for why in asked),
        fills_same=sum(not one.differs for one in fills),
        fills_different=sum(one.differs for one in fills),
        fills_missing=missing.count("fill"),
        fills_extra=extra.count("fill"),
        without_fee_at_exchange=sum(amount is None for _, amount in at_exchange),
        without_fee_in_trail=sum(amount is None for _, amount in in_trail),
    )


def fee_sums(books: Books) -> tuple[FeeSum, ...]:
    """The fees of the range, currency by currency."""
    at_exchange, in_trail = _charges(books)
    currencies = {currency for currency, amount in (*at_exchange, *in_trail) if amount is not None}
    return tuple(
        FeeSum(currency=name, at_exchange=_sum_in(name, at_exchange), in_trail=_sum_in(name, in_trail))
        for name in sorted(currencies, key=lambda name: (name is None, name or ""))
    )


def payment_sums(payments: Iterable[Payment], since: datetime, until: datetime) -> tuple[str, ...]:
    """The payments of the range, by kind and currency, in words."""
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for one in payments:
        if one.exchange_at is None or since <= utc(one.exchange_at) < until:
            sums.setdefault((one.kind, one.currency), []).append(one.amount)
    return tuple(
        f"{kind}: {digits(total(amounts))} {currency} ({count(len(amounts), 'payment')})"
        for (kind, currency), amounts in sorted(sums.items())
    )


def _charges(books: Books) -> tuple[list[_Charge], list[_Charge]]:
    """What was charged in the range: at the exchange, in the trail."""
    at_exchange: list[_Charge] = []
    in_trail: list[_Charge] = [
        (r.fee_currency, r.fee) for r in books.free_fills.values() if books.within(r.exchange_at)
    ]
    for one in books.shown.executions:
        at = one.fill.exchange_at or (one.row.exchange_at if one.row is not None else None)
        if not books.within(at):
            continue  # both sides of one execution are in the range, or neither
        at_exchange.append((one.fill.fee.currency, one.fill.fee.amount))
        if one.row is not None:
            in_trail.append((one.row.fee_currency, one.row.fee))
    return at_exchange, in_trail


def _sum_in(currency: str | None, charges: Iterable[_Charge]) -> Decimal:
    return total([amount for name, amount in charges if name == currency and amount is not None])
