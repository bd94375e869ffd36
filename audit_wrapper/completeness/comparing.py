"""The comparison, step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from audit_wrapper.completeness.books import Books
from audit_wrapper.completeness.fills import match_fills
from audit_wrapper.completeness.orders import check_rows, match_orders
from audit_wrapper.completeness.shown import Shown
from audit_wrapper.completeness.statement import Completeness, Finding, Payment
from audit_wrapper.completeness.sums import counts, fee_sums, payment_sums
from audit_wrapper.completeness.unshown import check_executions
from audit_wrapper.completeness.words import utc
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.rows import FillRow, OrderRow


def compare(
    exchange: str,
    account: str,
    since: datetime,
    until: datetime,
    seen: Iterable[Sighting],
    orders: Iterable[OrderRow],
    fills: Iterable[FillRow],
    *,
    payments: Iterable[Payment] = (),
    unasked: Iterable[str] = (),
    algo_keys: Collection[UUID] | None = None,
) -> Completeness:
    """What the exchange showed of [since, until) against the rows of the trail. Times without a zone are UTC.

    seen: everything the exchange showed, any number of times. Where two answers about one order do not say the same, the
    one that is further (done, more filled, changed later) counts; of one execution the later in `seen`.
    orders, fills: the trail's rows of this exchange and account: what was created, filled or open in the range, and all
    fills of these orders. algo_keys: order keys of rows whose `order_id` is that of a conditional order of Binance, which
    are numbered by themselves (audit.order_aliases knows); None: the type of a row has to tell.

    The range is by the exchange's clock: created_at of an order, exchange_at of a fill; what lies outside is not missing
    and not extra. A row that the exchange did not show goes by the bot's clock; so show a little more than the range on
    either side, and an order on its edge is found. The statement is about now: an order of the range that was filled or
    canceled after `until` is compared as it stands today.

    Compared: of an order status, side, type, size, filled, remaining, average, limit and trigger price, reduce_only,
    client order id, fee; of a fill its order, side, price, quantity, fee, fee currency, liquidity, time. Not compared:
    what the exchange does not know (position, purpose, reason), and `price`, which repeats another column.

    Raises ValueError for a range that ends before it begins: it would be complete whatever the books say.
    """
    since, until = utc(since), utc(until)
    if until <= since:
        raise ValueError(f"the range ends ({until.isoformat()}) before it begins ({since.isoformat()})")
    shown = Shown(seen)
    books = Books(since, until, shown, list(orders), list(fills), algo_keys)
    match_orders(books)
    match_fills(books)
    check_rows(books)
    check_executions(books)
    return Completeness(
        exchange=exchange,
        account=account,
        since=since,
        until=until,
        counts=counts(books),
        missing=_sorted(books.missing),
        extra=_sorted(books.extra),
        different=_sorted(books.different),
        fees=fee_sums(books),
        payments=payment_sums(payments, since, until),
        open_questions=tuple(sorted(books.questions, key=lambda q: (q.what, q.symbol or "", q.why, q.order_key))),
        unasked=tuple(unasked),
        unshown=tuple(sorted({*shown.nameless, *books.unshown})),
    )


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    def place(one: Finding) -> tuple[str, ...]:
        return (
            "0" if one.what == "order" else "1",
            *(text or "" for text in (one.symbol, one.order_id, one.trade_id, one.field, one.order_key)),
            *(text or "" for text in (one.at_exchange, one.in_trail)),
        )

    return tuple(sorted(findings, key=place))
