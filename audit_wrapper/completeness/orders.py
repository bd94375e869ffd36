"""The orders: which row is which order of the exchange, and where the two differ."""

from __future__ import annotations

from collections.abc import Iterable

from audit_wrapper.completeness.books import Books
from audit_wrapper.completeness.differing import differences, fee_differences, same_market
from audit_wrapper.completeness.shown import ShownOrder
from audit_wrapper.completeness.words import order_text, utc
from audit_wrapper.fold import RESTING_TYPES
from audit_wrapper.records import FoundBy, OrderStatus


def match_orders(books: Books) -> None:
    """Each order of the exchange gets one row at the most, and each row is the row of one order at the most."""
    by_id: dict[str, list[int]] = {}
    for number, row in books.free_orders.items():
        if row.order_id is not None:
            by_id.setdefault(row.order_id, []).append(number)
    # a conditional order of Binance first: only a row of such a type can be its row, others may take what is left
    waiting = sorted(books.shown.orders, key=lambda o: (o.kind != "algo", o.order_id, o.symbol or ""))
    for order in waiting:
        _take_row(books, order, [n for n in by_id.get(order.order_id, []) if _is_of_kind(books, n, order.kind)])
    for order in waiting:  # the row may know a fired order by what it became alone
        if order.row is None and order.child_id is not None:
            _take_row(books, order, [n for n in by_id.get(order.child_id, []) if _is_of_kind(books, n, "order")])
    became: dict[str, list[int]] = {}
    resting = {row.order_key: number for number, row in enumerate(books.orders) if row.type in RESTING_TYPES}
    for fill in books.fills:
        if fill.order_key in resting and fill.exchange_order_id is not None:
            became.setdefault(fill.exchange_order_id, []).append(resting[fill.order_key])
    for order in waiting:  # or the exchange may have shown only what it became
        if order.row is None and order.kind == "order":
            _take_row(books, order, became.get(order.order_id, []))
            order.by_child = order.row is not None
    for order in waiting:
        _compare(books, order)


def _take_row(books: Books, order: ShownOrder, candidates: Iterable[int]) -> None:
    free = books.free_orders
    fitting = [n for n in dict.fromkeys(candidates) if n in free and same_market(free[n], order.symbol)]
    if len(fitting) > 1:
        # of several rows of one order the most faithful one is its row, and the others are too many
        fitting.sort(key=lambda n: len(list(differences(order, free[n]))))
    if fitting:
        order.row = free.pop(fitting[0])


def _is_of_kind(books: Books, number: int, kind: str) -> bool:
    row = books.orders[number]
    if books.algo_keys is not None:
        return (row.order_key in books.algo_keys) == (kind == "algo")
    return kind == "order" or row.type not in ("MARKET", "LIMIT")


def _compare(books: Books, order: ShownOrder) -> None:
    row, state = order.row, order.compared
    if row is None:
        if books.began_within(order, state):
            name = state.client_order_id
            namesakes = (
                r
                for r in books.orders
                if name is not None
                and r.order_id is None
                and r.client_order_id == name
                and same_market(r, order.symbol)
            )
            books.order_missing(order, order_text(state), next(namesakes, None))
        return
    for found in differences(order, row):
        books.order_differs(order, *found)
    if row.order_id != order.order_id and not order.by_child:
        books.order_differs(order, "order_id", order.order_id, row.order_id)
    for found in fee_differences(order, row):
        books.order_differs(order, *found)


def check_rows(books: Books) -> None:
    """The rows that the exchange did not show: too many, or an open question."""
    taken = [(order, order.row) for order in books.shown.orders if order.row is not None]
    for order, row in taken:
        if row.status == OrderStatus.UNKNOWN and order.state.order_status is None:
            books.ask(row, "UNKNOWN, and the exchange does not say how it stands")
    for row in books.free_orders.values():
        if row.order_id is not None and any(
            row.order_id in order.ids and same_market(row, order.symbol) for order, _ in taken
        ):
            books.order_extra(row, "one order, and another row is compared with it")
        elif utc(row.created_at) >= books.until:
            continue
        elif row.status == OrderStatus.UNKNOWN:
            books.ask(row, "UNKNOWN: nobody has said yet what became of it")
        elif row.order_id is None:
            # FIX: what was refused before it had an id was never on the exchange's books
            if row.status != OrderStatus.REJECTED and row.found_by != FoundBy.ABSENCE:
                books.ask(row, "without an id: it cannot be looked up at the exchange")
        elif utc(row.created_at) < books.since:
            books.ask(row, "from before the range, and the exchange did not show it")
        else:
            books.order_extra(row)
