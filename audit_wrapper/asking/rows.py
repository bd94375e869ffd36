"""What rows of an answer say that paging needs to know: which one it is, and when it was."""

from collections.abc import Iterable, Mapping
from typing import Any

from audit_wrapper.asking.heard import Row
from audit_wrapper.exchanges import ExchangeAdapter
from audit_wrapper.exchanges.numbers import plain, text_of


def key_of(row: Row) -> tuple[str | None, ...]:
    """What makes this row the same as another: its id, symbol and number space; all of it where it has no id."""
    info = plain(row.get("info"))
    own = text_of(row.get("id"))
    kind = "algo" if "algoId" in info else text_of(info.get("incomeType"))
    return (own, text_of(row.get("symbol")), kind) if own is not None else (repr(info or dict(row)), None, None)


def same(one: Row, other: Row) -> bool:
    """Whether two rows say the same: their payloads, less the cursor that ccxt puts into one of a page."""
    payloads = (plain(row.get("info")) or dict(row) for row in (one, other))
    first, second = ({name: value for name, value in p.items() if name != "nextPageCursor"} for p in payloads)
    return first == second


def moment_of(row: Row) -> int | None:
    """The moment in ms that the exchange lists this row by: when an order was placed, a fill executed."""
    moment = row.get("timestamp")
    return moment if isinstance(moment, int) and not isinstance(moment, bool) else None


def number_of(row: Row) -> int | None:
    """Its id as a number, for exchanges that count."""
    own = text_of(row.get("id"))
    return int(own) if own is not None and own.isdecimal() else None


def cursor_of(rows: Iterable[Row]) -> str | None:
    """The cursor of the next page, which ccxt puts into the raw payload of one row of the page."""
    for row in rows:
        cursor = text_of(plain(row.get("info")).get("nextPageCursor"))
        if cursor is not None:
            return cursor
    return None


def executed_as(adapter: ExchangeAdapter, order: Mapping[str, Any]) -> str | None:
    """The order id that the fills of this order carry; None while it has none (a conditional order not fired yet)."""
    child = adapter.child_order_id(order)
    if child is not None or adapter.order_id_kind(order) == "algo":
        return child
    return adapter.order_state(order).exchange_order_id
