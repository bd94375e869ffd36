"""Every row of a list, once, however the exchange pages it.

By cursor: as long as there is one. By time: nothing is assumed about which end of a range a full page shows, nor that one
millisecond fits on a page. The rows of a page are taken to be neighbours: between the first and the last none is missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from audit_wrapper.asking.heard import Row
from audit_wrapper.asking.rows import key_of, moment_of, number_of

Between = Callable[[int, int], Awaitable[list[Row]]]
"""One page of the rows between two moments in ms, both included."""
FromNumber = Callable[[int], Awaitable[list[Row]]]
"""One page of the rows whose id is this number or larger, smallest first."""
AtCursor = Callable[[str | None], Awaitable[tuple[list[Row], str | None]]]
"""One page and the cursor of the next; None: the first page, there is no next."""
Keep = Callable[[Row], None]
"""Is given each row once, as soon as it is known: what was heard before a request fails is worth no less."""


async def by_cursor(page: AtCursor, keep: Keep) -> None:
    """All rows of a list with cursors."""
    found: set[object] = set()
    cursor: str | None = None
    used: set[str] = set()
    while True:
        rows, cursor = await page(cursor)
        for row in rows:
            if key_of(row) not in found:
                found.add(key_of(row))
                keep(row)
        if not rows or cursor is None or cursor in used:
            return
        used.add(cursor)


async def by_time(
    between: Between,
    since: int,
    until: int,
    limit: int | None,
    keep: Keep,
    *,
    from_number: FromNumber | None = None,
    missing: Callable[[int], None],
) -> None:
    """All rows between two moments in ms, both included.

    `limit`: a page with fewer rows is the last; None: not known, so one that shows nothing new is. `from_number`: where the
    exchange can also page by id. `missing` is told of a millisecond that has more rows than a page and no other way in.
    """
    await _Pages(between, since, until, limit, keep, from_number, missing).read()


class _Pages:
    def __init__(
        self,
        between: Between,
        since: int,
        until: int,
        limit: int | None,
        keep: Keep,
        from_number: FromNumber | None,
        missing: Callable[[int], None],
    ) -> None:
        self._between = between
        self._since, self._until = since, until
        self._limit = limit
        self._keep = keep
        self._from_number = from_number
        self._missing = missing
        self._crowded: set[int] = set()  # milliseconds with more rows than a page holds, dealt with
        self._found: dict[object, Row] = {}

    async def read(self) -> None:
        first = await self._between(self._since, self._until)
        self._add(first)
        if not self._is_full(first):
            return
        moments = self._moments(first, self._since, self._until)
        if not moments:
            self._missing(self._since)
            return
        await self._onwards(max(moments))
        await self._back(min(moments))

    async def _onwards(self, last: int) -> None:
        """From the end of the first page to the end of the range."""
        start = last
        while start <= self._until:
            page = await self._between(start, self._until)
            new = self._add(page)
            if not self._is_full(page):
                return
            inside = self._moments(page, start, self._until)
            if not inside:  # the exchange does not keep to the range
                self._missing(start)
                return
            if max(inside) > start:
                start = max(inside)
            elif self._limit is None and not new:
                return
            elif not new:  # a full page, all of it known and of one millisecond
                await self._crowd(start)
                start += 1

    async def _back(self, first: int) -> None:
        """From the beginning of the first page to the beginning of the range."""
        end = first
        while end >= self._since:
            page = await self._between(self._since, end)
            new = self._add(page)
            if not self._is_full(page):
                return
            inside = self._moments(page, self._since, end)
            if not inside:
                self._missing(end)
                return
            if min(inside) < end:
                end = min(inside)
            elif self._limit is None and not new:
                return
            elif not new:
                await self._crowd(end)
                end -= 1

    async def _crowd(self, moment: int) -> None:
        """The rows of a millisecond that has more of them than a page holds."""
        if moment in self._crowded:
            return
        self._crowded.add(moment)
        there = [number for row in self._found.values() if moment_of(row) == moment and (number := number_of(row))]
        if self._from_number is None or not there:
            self._missing(moment)
            return
        number, step = min(there), 1
        while number > 1:  # back to where an earlier moment begins
            number = max(number - step, 1)
            step *= 2
            page = await self._from_number(number)
            if not page or min(self._moments(page), default=moment) < moment:
                break
        while True:
            page = await self._from_number(number)
            self._add([row for row in page if self._since <= (moment_of(row) or 0) <= self._until])
            numbers = [known for known in map(number_of, page) if known is not None]
            if not self._is_full(page) or not numbers or max(self._moments(page), default=moment + 1) > moment:
                return
            number = max(numbers) + 1

    def _add(self, rows: list[Row]) -> bool:
        new = False
        for row in rows:
            if key_of(row) not in self._found:
                self._found[key_of(row)] = row
                self._keep(row)
                new = True
        return new

    def _is_full(self, rows: list[Row]) -> bool:
        return bool(rows) if self._limit is None else len(rows) >= self._limit

    @staticmethod
    def _moments(rows: list[Row], start: int = 0, end: int = 2**63) -> list[int]:
        """When the rows were, of those that were between `start` and `end`."""
        return [moment for moment in map(moment_of, rows) if moment is not None and start <= moment <= end]
