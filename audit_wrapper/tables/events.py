"""The newest records, and those that come in from now on."""

from __future__ import annotations

import asyncpg

from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.orders import FILTERS
from audit_wrapper.tables.symbols import Symbols, conditions

# A transaction that began earlier may end later, so that lower numbers appear behind higher ones: so many are looked at again.
_LOOKED_AT_AGAIN = 5_000
FURTHEST = 50_000  # so many of the newest are looked at for those of a symbol: each has to be taken apart
_FIRST = 4  # numbers are left out where a batch was tried again, so more of them are read than records are wanted


class Tail:
    """Reads what is new, each record once, as far back as its number is not more than 5,000 behind the newest."""

    def __init__(
        self,
        sql: Queries,
        *,
        exchange: str | None = None,
        account: str | None = None,
        symbols: Symbols | None = None,
    ) -> None:
        """sql: the queries of events.sql, and, for `symbols`, of orders.sql."""
        self._behind_text = sql["events_behind"]
        self._last_number = sql["last_number"]
        self._filters: tuple[object, ...] = (exchange, account)
        self._furthest = None if symbols is None else FURTHEST
        if symbols is not None:
            for condition, values in conditions(sql, "events", "e", symbols):
                places = (f"${3 + len(self._filters) + place}" for place in range(len(values)))
                self._behind_text = self._behind_text.replace(FILTERS, f" AND {condition.format(*places)} {FILTERS}")
                self._filters += tuple(values)
        self._seen: list[int] = []
        self._behind = 0

    async def begin(self, con: Connection, count: int) -> list[asyncpg.Record]:
        """The newest `count` records, the oldest of them first; what comes later is for `new`. Of a symbol: those among the newest
        50,000 records."""
        last: int = await con.fetchval(self._last_number) or 0
        reach = max(count * _FIRST, 1)
        reach = min(reach, self._furthest or reach)
        while True:
            rows = await con.fetch(self._behind_text, last - reach, [], *self._filters)
            if len(rows) >= count or reach >= last or reach == self._furthest:
                break
            reach = min(reach * 8, self._furthest or reach * 8)
        self._behind = last
        self._remember(rows)
        if last - reach > last - _LOOKED_AT_AGAIN:  # all that is looked at again counts as seen
            again = await con.fetch(self._behind_text, last - _LOOKED_AT_AGAIN, [], *self._filters)
            self._remember(again)
        return rows[-count:] if count else []

    async def new(self, con: Connection) -> list[asyncpg.Record]:
        """What came since, in the order of its numbers."""
        last: int = await con.fetchval(self._last_number) or 0
        rows = await con.fetch(self._behind_text, self._behind - _LOOKED_AT_AGAIN, self._seen, *self._filters)
        self._behind = max(self._behind, last)  # also where the filters let nothing through
        self._remember(rows)
        return rows

    def _remember(self, rows: list[asyncpg.Record]) -> None:
        numbers = {*self._seen, *(row["stored_no"] for row in rows)}
        self._behind = max([self._behind, *numbers])
        self._seen = sorted(number for number in numbers if number > self._behind - _LOOKED_AT_AGAIN)
