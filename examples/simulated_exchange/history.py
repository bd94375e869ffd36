"""What reads show, and when: indexing delay, retention, time windows, pages.

An exchange accepts an order at once and shows it to readers a little later; and it forgets, after a time, orders
that ended without a fill. Which rows a request gets is decided here for both exchanges; the rows themselves are
made by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote

from .clock import Clock
from .ledger import Order
from .settings import Settings

WEEK_MS = 7 * 86_400_000
T = TypeVar("T")


class Visibility:
    """Which moments the exchange's readers can see by now."""

    def __init__(
        self, settings: Settings, clock: Clock, forget_after_ms: int, forget_from: Literal["created", "ended"]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._forget_after_ms = forget_after_ms
        self._forget_from = forget_from
        self._indexed_until: int | None = None

    def index_now(self) -> None:
        """All that has happened is shown from now on."""
        self._indexed_until = self._clock.now()
        # What happens next carries a later time, also when the clock is stopped or the test is quick.
        self._clock.advance(1)

    def set_delay(self, milliseconds: int) -> None:
        """With -1, what was shown before stays so."""
        if milliseconds < 0 <= self._settings.index_delay_ms:
            self.index_now()
        self._settings.index_delay_ms = milliseconds

    def reached(self, moment: int) -> bool:
        """True when what happened at `moment` (milliseconds) is shown."""
        if self._settings.index_delay_ms < 0:
            return self._indexed_until is not None and moment <= self._indexed_until
        return moment + self._settings.index_delay_ms <= self._clock.now()

    def shows(self, order: Order) -> bool:
        """By id and in lists of orders; an order once shown is shown as it stands."""
        return bool(order.exchange_order_id) and self.reached(order.created_time) and not self.forgets(order)

    def shows_end(self, order: Order) -> bool:
        """In histories, which hold only orders that have ended."""
        return order.is_final and self.shows(order) and self.reached(order.updated_time)

    def forgets(self, order: Order) -> bool:
        if not order.is_final or order.status == "FILLED" or order.filled_quantity or order.actual_order_id:
            return False
        kept = self._settings.forget_after_ms
        since = order.created_time if self._forget_from == "created" else order.updated_time
        return since + (self._forget_after_ms if kept is None else kept) < self._clock.now()


def window(params: dict[str, Any], now: int) -> tuple[int, int] | None:
    """startTime and endTime as both exchanges complete them: seven days; None when they span more."""
    start, end = params.get("startTime"), params.get("endTime")
    if start and end:
        return (int(start), int(end)) if int(end) - int(start) <= WEEK_MS else None
    if start:
        return int(start), int(start) + WEEK_MS
    if end:
        return int(end) - WEEK_MS, int(end)
    return now - WEEK_MS, now


def page_size(params: dict[str, Any], default: int, largest: int, settings: Settings) -> int:
    wanted = min(int(params.get("limit") or default), largest)
    return wanted if settings.page_limit is None else min(wanted, settings.page_limit)


def cursor_page(
    rows: Sequence[T], cursor: str, size: int, key: Callable[[T], tuple[str, int]]
) -> tuple[Sequence[T], str]:
    """The page after `cursor`, and the cursor of the next ("" at the end); rows are newest first.

    The cursor names rows (id and time of the first and the last of the page), not a number of rows: what comes in
    while a client pages moves nothing. A page that ends exactly at the last row still has a cursor, as has been seen
    on the live exchange [?]: the page after it is empty.
    """
    begin = 0
    if cursor:
        last_id, _, last_time = unquote(unquote(cursor)).split(",")[-1].partition(":")
        ids = [key(row)[0] for row in rows]
        # A row that was forgotten meanwhile is found by its time.
        later = sum(key(row)[1] >= int(last_time) for row in rows)
        begin = ids.index(last_id) + 1 if last_id in ids else later
    page = rows[begin : begin + size]
    if len(page) < size:
        return page, ""
    ends = (key(page[0]), key(page[-1]))
    return page, quote(",".join(f"{row_id}:{time}" for row_id, time in ends))
