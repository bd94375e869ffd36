"""Orders that no record links to a position, linked from the bot's own positions table.

The bot writes its row after its order, so an order is looked at with its batch, again for some minutes with the
batches that follow, and whenever `relink` is called.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from audit_wrapper.errors import AuditWrapperError
from audit_wrapper.failures import words_of
from audit_wrapper.logs import Log
from audit_wrapper.store import positions
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.locks import Group, lock
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.refresh import refresh

_log = Log("audit_wrapper.store")

_BY_ORDER_ID = {"id", "exchange", "symbol", "exchange_order_id"}
_BY_OPEN_INTERVAL = {"id", "exchange", "symbol", "opened_at"}
_OPTIONAL = {"side": "text", "signal_id": "text", "status": "text", "closed_at": "timestamp", "updated_at": "timestamp"}

_AFTER_A_BATCH = timedelta(minutes=10)  # how long after its order the bot's row is waited for, batch by batch
_WHEN_ASKED = timedelta(days=2)
_MOST = 5_000  # orders looked at in one go, the latest first
_SLOW_S = 0.05  # a look that takes longer (years of positions, no index on them) is not taken after every batch
_SHARE = 20  # ... but so that it costs a twentieth of the time


class Linker:
    """Links for one store. `transaction` opens one; `positions_table` None: nothing is ever linked."""

    def __init__(
        self,
        sql: Queries,
        transaction: Callable[[str], AbstractAsyncContextManager[Connection]],
        bot_schema: str,
        positions_table: str | None,
    ) -> None:
        self._sql = sql
        self._transaction = transaction
        self._bot_schema = bot_schema
        self._positions_table = positions_table
        self._ways: tuple[str, ...] = ()
        self._waiting: set[UUID] = set()  # orders of batches that were not looked at yet
        self._not_before = 0.0
        self._failed = False

    async def after_batch(self, orders: Iterable[UUID], groups: Iterable[Group]) -> None:
        """Link the orders of a batch that is stored, and recent ones. A failure is logged once, and made up later."""
        self._waiting.update(orders)
        began = time.monotonic()
        if began < self._not_before and len(self._waiting) < _MOST:
            return
        try:
            await self._link(_AFTER_A_BATCH, groups)
        except AuditWrapperError as problem:
            if not self._failed:
                _log.warning(
                    "orders could not be linked to the table %s: %s",
                    self._positions_table,
                    words_of(problem),
                    event="linking_failed",
                    table=self._positions_table,
                )
            self._failed = True
            self._waiting.clear()  # `relink` looks further back
        took = time.monotonic() - began
        self._not_before = began + _SHARE * took if took > _SLOW_S else 0.0

    async def relink(self, since: datetime | None = None) -> int:
        """Link every order since then (None: of the last two days) that has no position yet. Returns how many were linked."""
        return await self._link(_WHEN_ASKED if since is None else datetime.now(UTC) - since, None)

    async def _link(self, back: timedelta, groups: Iterable[Group] | None) -> int:
        if self._positions_table is None:
            self._waiting.clear()
            return 0
        since = datetime.now(UTC).replace(tzinfo=None) - back
        waiting = list(self._waiting)
        async with self._transaction("link orders to positions") as con:
            self._ways = self._ways or await self._ways_to_link(con, self._positions_table)
            linked: list[UUID] = []
            if self._ways:
                if groups is None or len(waiting) > 0:
                    unlinked = await con.fetch(self._sql["unlinked_groups"], since, waiting)
                    groups = {(row["exchange"], row["account"]) for row in unlinked} | set(groups or ())
                linked = await self._look(con, list(groups), since, waiting)
        self._waiting.difference_update(waiting)
        return len(linked)

    async def _look(
        self, con: Connection, groups: Sequence[Group], since: datetime, waiting: Sequence[UUID]
    ) -> list[UUID]:
        await lock(con, self._sql, groups)
        exchanges, accounts = [exchange for exchange, _ in groups], [account for _, account in groups]
        linked: list[UUID] = []
        joined: set[positions.Position] = set()
        left: set[positions.Position] = set()
        moved: list[UUID] = []
        for way in self._ways:
            rows = await con.fetch(way, exchanges, accounts, since, waiting, _MOST + len(waiting))
            linked += [row["order_key"] for row in rows]
            joined |= {positions.Position(row["account"], row["exchange"], row["position_id"]) for row in rows}
            left |= {positions.Position(row["account"], row["exchange"], row["left"]) for row in rows if row["left"]}
            moved += [row["order_key"] for row in rows if row["left"]]
        if linked:
            await con.execute(self._sql["trades_follow"], linked)
            await positions.keep(con, self._sql, joined, left)
        if moved:
            await refresh(con, self._sql, moved, {})
        return linked

    async def _ways_to_link(self, con: Connection, table: str) -> tuple[str, ...]:
        """The queries that the bot's table can answer, the surest first. () where there is no such table (yet)."""
        columns = {row["name"] for row in await con.fetch(self._sql["positions_columns"], self._bot_schema, table)}
        ways = (("link_by_order_id", _BY_ORDER_ID), ("link_by_open_interval", _BY_OPEN_INTERVAL))
        queries = [self._sql[way] for way, needed in ways if needed <= columns]
        for name, type_ in _OPTIONAL.items():
            if name not in columns:
                queries = [query.replace(f"p.{name}", f"NULL::{type_}") for query in queries]
        return tuple(queries)
