"""Which order of the exchange an order without an id is: one whose answer was lost, or a stop that got none. Pure.

The client's id decides where the bot sent one. Else an order is found only if nothing else can be meant: one that is of
the same symbol, side, type, quantity and prices, and was made in the time in which the request was sent, and no other
request asked for the like. What is not certain stays open, and a sentence says why.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from audit_wrapper.fold import ATTACHED
from audit_wrapper.records import FoundBy, OrderStatus
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import Incomplete, OrderRow

# Binance and Bybit refuse a request whose timestamp is more than 1 s ahead of their clock, or more than recvWindow behind
# it (ccxt: 10 s at Binance, 5 s at Bybit), so an order is made within that of the time it was sent.
_AHEAD, _BEHIND, _BEHIND_AT_BINANCE = timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=10)
_LONGEST_CALL = timedelta(minutes=1)
NOT_FOUND = "not found at the exchange (yet)"
AMENDED = "an order of that side was made at the time, and may be this one, amended since"
_ATTACHED_TYPES = frozenset(ATTACHED.values())


class Found(NamedTuple):
    """An order without an id, and the order of the exchange that it is.

    listed_until: it counts only once the exchange lists all that was made until then: what is not listed yet may fit as
    well. None: nothing else can fit.
    """

    one: Incomplete
    order: OrderRow
    by: FoundBy
    listed_until: datetime | None = None


class Matched(NamedTuple):
    """What came of matching. `open`: those that stay without an id, and why."""

    found: list[Found]
    open: list[tuple[Incomplete, str]]


def is_unsettled(one: Incomplete) -> bool:
    """Whether its id is still to be found: nobody knows whether it exists, it does and got no id, or it was taken for absent."""
    row = one.row
    if row.order_id is not None or one.intent_id is None:
        return False
    if row.found_by == FoundBy.ABSENCE:
        return True
    return row.status in (OrderStatus.UNKNOWN, OrderStatus.NEW) or row.type in _ATTACHED_TYPES


def match(unsettled: Sequence[Incomplete], others: Iterable[OrderRow], ahead: timedelta = timedelta(0)) -> Matched:
    """Find these orders among those of the same exchange and account that nobody is known to have sent.

    ahead: how far the bot's clock is ahead of the exchange's, as far as its client has measured that.
    """
    left = sorted(unsettled, key=lambda one: (one.row.created_at, one.row.order_key))
    free = sorted((row for row in others if row.order_id is not None), key=lambda row: (row.created_at, row.order_key))
    found: list[Found] = []
    for in_time in (True, False):  # a client id that was used twice: each order to the request of its time, first
        for order in list(free):
            named = [one for one in left if _same_client_id(one.row, order)]
            one = next((one for one in named if not in_time or _in_time(one, order, ahead)), None)
            if one is not None:
                found.append(Found(one, order, FoundBy.CLIENT_ORDER_ID))
                left.remove(one)
                free.remove(order)
    still_open: list[tuple[Incomplete, str]] = []
    for asked, shown in _groups(left, free, ahead):
        answered = [one for one in asked if one.row.status != OrderStatus.UNKNOWN and one.row.found_by is None]
        # a position has one stop of a kind and price at a time: where all were answered, no other can fit
        until = max(sent_until(one) for one in asked) if len(answered) < len(asked) else None
        if len(answered) == len(shown):
            # what the exchange said that it took is there; so these are theirs, and the others were not taken
            still_open += [(one, NOT_FOUND) for one in asked if one not in answered]
            asked = answered
        pairs = list(zip(asked, shown, strict=False))
        fitting = len(asked) == len(shown) and all(_alike(one, order, ahead) for one, order in pairs)
        if fitting and _one_after_the_other(asked):
            found += [Found(one, order, FoundBy.UNIQUE_MATCH, until) for one, order in pairs]
        elif shown:
            why = f"{len(shown)} orders at the exchange and {len(asked)} requests are alike; which is which nobody can say"
            still_open += [(one, why) for one in asked]
        else:
            still_open += [(one, NOT_FOUND) for one in asked]
    taken = {match.order.order_key for match in found}
    rest = [order for order in free if order.order_key not in taken]
    return Matched(found, [(one, _why(one, why, rest, ahead)) for one, why in still_open])


def _why(one: Incomplete, why: str, rest: Iterable[OrderRow], ahead: timedelta) -> str:
    row = one.row
    amended = why == NOT_FOUND and any(
        # none of these can be amended, nor can a market order; and one that was, changed after it was made
        row.type != "MARKET"
        and order.updated_at > order.created_at
        and row.client_order_id in (None, order.client_order_id)
        and row.side in (None, order.side)
        and row.type in (None, order.type)
        and _same_symbol(row, order)
        and _in_time(one, order, ahead)
        for order in rest
    )
    return AMENDED if amended else why


def never_came_to_be(one: Incomplete) -> bool:
    """Whether it is a stop that was sent with an order of which nothing was executed: then it was never made."""
    entry = one.entry
    if one.row.order_id is not None or entry is None or entry.filled != 0:
        return False
    return entry.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)


def sent_until(one: Incomplete) -> datetime:
    """The last moment at which the request can have been under way; of a stop that travelled with an order, the last one at
    which that can have been executed, which makes it."""
    row = one.row
    if one.entry is not None and one.entry.type != "MARKET":
        return max(row.created_at + _LONGEST_CALL, one.entry.updated_at)
    changed_since = row.type in _ATTACHED_TYPES or row.found_by == FoundBy.ABSENCE
    return min(row.updated_at, row.created_at + _LONGEST_CALL) if changed_since else row.updated_at


def window(one: Incomplete, ahead: timedelta = timedelta(0)) -> tuple[datetime, datetime]:
    """Between which moments of the exchange's clock the order was made, if it was."""
    behind = _BEHIND_AT_BINANCE if (one.row.exchange or "").startswith("binance") else _BEHIND
    return one.row.created_at - _AHEAD - ahead, sent_until(one) + behind - ahead


def _in_time(one: Incomplete, order: OrderRow, ahead: timedelta) -> bool:
    first, last = window(one, ahead)
    return first <= order.created_at <= last


def _same_client_id(row: OrderRow, order: OrderRow) -> bool:
    return row.client_order_id is not None and row.client_order_id == order.client_order_id and _same_symbol(row, order)


def _alike(one: Incomplete, order: OrderRow, ahead: timedelta) -> bool:
    row = one.row
    if row.client_order_id is not None and row.client_order_id != order.client_order_id:
        return False  # it would show the id that was sent
    trails = row.type == "TRAILING_STOP_MARKET"
    return (
        _same_symbol(row, order)
        and row.side in (None, order.side)
        and row.type in (None, order.type)
        and _same_size(row, order)
        and row.limit_price in (None, order.limit_price)
        and (trails or row.trigger_price in (None, order.trigger_price))
        and (row.reduce_only is None or order.reduce_only is None or row.reduce_only == order.reduce_only)
        and _in_time(one, order, ahead)
    )


def _same_size(row: OrderRow, order: OrderRow) -> bool:
    if row.size is None:
        return row.type in _ATTACHED_TYPES  # one for the whole position is sent without
    # one that only reduces is cut by the exchange to what there is to reduce
    return order.size == row.size or (row.reduce_only is True and order.size is not None and order.size < row.size)


def _same_symbol(row: OrderRow, order: OrderRow) -> bool:
    return same_symbol(row.unified_symbol or row.symbol or "", order.unified_symbol or order.symbol or "")


def _groups(
    left: Sequence[Incomplete], free: Sequence[OrderRow], ahead: timedelta
) -> Iterator[tuple[list[Incomplete], list[OrderRow]]]:
    """Requests and orders that may be each other's, as small as can be, each in the order of time."""
    like = {one.row.order_key: [order for order in free if _alike(one, order, ahead)] for one in left}
    rest = list(left)
    while rest:
        asked, shown = [rest.pop(0)], list[OrderRow]()
        grown = True
        while grown:
            shown = [order for order in free if any(order in like[one.row.order_key] for one in asked)]
            more = [one for one in rest if any(order in shown for order in like[one.row.order_key])]
            rest = [one for one in rest if one not in more]
            asked, grown = asked + more, bool(more)
        yield sorted(asked, key=lambda one: one.row.created_at), shown


def _one_after_the_other(asked: Sequence[Incomplete]) -> bool:
    """Whether none of these requests was under way beside another: then the exchange made their orders in their order."""
    return all(sent_until(one) <= after.row.created_at for one, after in itertools.pairwise(asked)) or (
        len({one.row.type for one in asked} & _ATTACHED_TYPES) == 1
        and len({one.row.created_at for one in asked}) == len(asked)
    )
