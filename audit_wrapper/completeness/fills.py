"""The executions: which fill row is which execution of the exchange, and where the two differ."""

from __future__ import annotations

from collections.abc import Iterator

from audit_wrapper.completeness.books import Books
from audit_wrapper.completeness.differing import Difference, same_market
from audit_wrapper.completeness.shown import ShownExecution, ShownOrder, alike
from audit_wrapper.completeness.words import fill_row_text, fill_text, text_of, utc
from audit_wrapper.records import FeeStatus
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import FillRow, OrderRow


def match_fills(books: Books) -> None:
    """Each execution gets one row at the most: of its own order and side first, then of another, then of the other side."""
    by_id: dict[str, list[int]] = {}
    for number, fill in books.free_fills.items():
        by_id.setdefault(fill.exchange_trade_id, []).append(number)
    for owned, sided in ((True, True), (False, True), (True, False)):
        for one in books.shown.executions:
            if one.row is not None:
                continue
            for number in by_id.get(one.fill.exchange_trade_id or "", []):
                row = books.free_fills.get(number)
                if row is None or not _same_market(books, row, one):
                    continue
                if (not owned or _owns(one, row)) and (not sided or alike(row.side, one.fill.side)):
                    one.row = books.free_fills.pop(number)
                    break
    for one in books.shown.executions:
        _compare(books, one)
    _check_rows(books)


def _same_market(books: Books, row: FillRow, one: ShownExecution) -> bool:
    owner = books.row_of_key.get(row.order_key)
    if owner is not None and same_symbol(row.symbol or "", owner.symbol or ""):
        return same_market(owner, one.fill.symbol)
    return same_symbol(row.symbol or "", one.fill.symbol or "")


def _owns(one: ShownExecution, row: FillRow) -> bool:
    root = one.order.root
    return row.exchange_order_id in root.ids or (root.row is not None and row.order_key == root.row.order_key)


def _compare(books: Books, one: ShownExecution) -> None:
    fill, row = one.fill, one.row
    if row is None:
        if books.within(fill.exchange_at):
            books.missing.append(books.fill_finding(fill.symbol, None, one, at_exchange=fill_text(fill)))
        return
    for field, told, kept in _differences(one, row, books.row_of_key.get(row.order_key)):
        one.differs = True
        books.different.append(books.fill_finding(fill.symbol, row, one, field, at_exchange=told, in_trail=kept))


def _differences(one: ShownExecution, row: FillRow, owner: OrderRow | None) -> Iterator[Difference]:
    fill, root = one.fill, one.order.root
    if row.exchange_order_id is not None and root.order_id and row.exchange_order_id not in root.ids:
        yield "exchange_order_id", fill.exchange_order_id or root.order_id, row.exchange_order_id
    if owner is None:
        yield "order", root.order_id, "no row of its order"
    elif root.order_id and owner.order_id not in root.ids and not _is_row_of(owner, root):
        yield "order", root.order_id, f"row of order {owner.order_id or '(without an id)'}"
    for field, at_exchange, in_trail in (
        ("side", fill.side, row.side),
        ("price", fill.price, row.price),
        ("quantity", fill.quantity, row.quantity),
        ("fee", fill.fee.amount, row.fee),
        ("fee_currency", fill.fee.currency if fill.fee.amount is not None else None, row.fee_currency),
        # a fee that was derived, and is said now, is known better, even if it is the same
        ("fee_status", fill.fee.status if fill.fee.status is FeeStatus.REPORTED else None, row.fee_status),
        ("liquidity", fill.liquidity.value if fill.liquidity is not None else None, row.liquidity),
    ):
        if at_exchange is not None and at_exchange != in_trail:
            yield field, text_of(at_exchange), text_of(in_trail)
    told, kept = fill.exchange_at, row.exchange_at
    if told is not None and kept is not None and utc(told) != utc(kept):
        yield "exchange_at", text_of(told), text_of(kept)


def _is_row_of(row: OrderRow, order: ShownOrder) -> bool:
    return order.row is not None and order.row.order_key == row.order_key


def _check_rows(books: Books) -> None:
    """The rows that are no execution that the exchange showed: too many, or not looked at."""
    found = {order.row.order_key: order for order in books.shown.orders if order.row is not None}
    for row in books.free_fills.values():
        order = found.get(row.order_key)
        if order is not None and order.row is not None and not order.executions:
            filled = order.state.filled_quantity
            if filled is None or books.kept(order.row) <= filled:  # there is room for what the trail has
                books.unchecked.setdefault(row.order_key, []).append(row)
                continue
        if books.within(row.exchange_at):
            books.extra.append(books.fill_finding(row.symbol, row, None, in_trail=fill_row_text(row)))
