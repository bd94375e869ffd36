"""What the exchange's own words leave open: executions that do not add up, and what it did not show."""

from __future__ import annotations

from collections.abc import Iterator

from audit_wrapper.completeness.books import Books
from audit_wrapper.completeness.shown import ShownOrder, quantity_of
from audit_wrapper.completeness.statement import Question
from audit_wrapper.completeness.words import count, digits, fill_row_text, text_of, utc
from audit_wrapper.rows import OrderRow


def check_executions(books: Books) -> None:
    """Whether the exchange's executions add up to its own word, and what it did not show."""
    for order in books.shown.orders:
        if order.row is None and not books.began_within(order, order.state):
            continue
        overlaps = _overlaps_edge(books, order)
        _add_up(books, order, overlaps)
        if order.row is not None:  # else it is missing, and more need not be known
            books.unshown += _not_shown(books, order, order.row, overlaps)
    for row in books.fills:
        if row.conflicts:
            books.questions.append(
                Question(
                    what="fill",
                    symbol=row.symbol,
                    order_id=row.exchange_order_id,
                    trade_id=row.exchange_trade_id,
                    order_key=str(row.order_key),
                    why="another, different execution was reported under this id",
                    in_trail=fill_row_text(row),
                )
            )


def _overlaps_edge(books: Books, order: ShownOrder) -> bool:
    # executions outside the range were not asked for, so the sum of those inside says nothing
    created = order.state.created_at or (order.row.created_at if order.row is not None else None)
    ended = order.state.exchange_at
    return (created is not None and utc(created) < books.since) or (ended is not None and utc(ended) >= books.until)


def _add_up(books: Books, order: ShownOrder, overlaps: bool) -> None:
    fills, filled = order.fills, order.state.filled_quantity
    if not fills or filled is None:
        return
    shown = quantity_of(fills)
    if shown > filled or (shown < filled and not overlaps and _have_quantities(order)):
        in_trail = digits(books.kept(order.row)) if order.row is not None else None
        told = f"its executions add up to {digits(shown)}, and it says {digits(filled)}"
        books.order_differs(order, "fills", told, in_trail)


def _not_shown(books: Books, order: ShownOrder, row: OrderRow, overlaps: bool) -> Iterator[str]:
    state, name, filled = order.state, order.name, order.state.filled_quantity
    if order.by_child:
        yield f"the conditional order that became {name}"
    elif order.child_id is not None and (order.child is None or not order.child.tells):
        yield f"order {order.child_id}, which {name} became when it fired"
    elif state.order_status is None:
        yield f"how {name} stands" + (": its executions alone" if order.executions else "")
    elif filled is None and row.filled:
        yield f"how much of {name} was filled; the trail says {digits(row.filled)}"
    if not _have_quantities(order):
        yield f"the quantity of each execution of {name}"
    rows = books.unchecked.get(row.order_key, [])
    if not order.executions and ((filled and not overlaps) or rows):
        kept_too = f"; {count(len(rows), 'fill')} of the trail could not be looked at" if rows else ""
        yield f"the executions of {name}, filled {text_of(filled) or 'not known'}{kept_too}"


def _have_quantities(order: ShownOrder) -> bool:
    return all(fill.quantity is not None for fill in order.fills)
