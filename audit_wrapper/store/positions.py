"""Where each position stands, kept with its orders: whoever changes order rows says so here, within the same transaction.

A position that is touched is reckoned anew from its orders, so nothing has to be known of what became of these: rows
that were merged, that gave way, or that went to another position.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.rows import OrderRow
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.sending import by_column


class Position(NamedTuple):
    """Which one. exchange: empty where nobody said."""

    account: str
    exchange: str
    position_id: str

    @classmethod
    def of(cls, order: OrderRow) -> "Position | None":
        """What the order belongs to, as the table will say it: its text cannot hold NUL. None: to nothing that is known."""
        if order.position_id is None:
            return None
        names = (order.account, order.exchange or "", order.position_id)
        return cls(*(name.replace("\0", "\u2400") for name in names))


async def of_orders(con: Connection, sql: Queries, orders: Sequence[UUID]) -> set[Position]:
    """The positions that these orders belong to now. To be asked before their rows change, for `keep`."""
    return {Position(*row) for row in await con.fetch(sql["positions_of_orders"], orders)}


async def keep(con: Connection, sql: Queries, now: Iterable[Position], left: Iterable[Position] = ()) -> None:
    """Bring up to date what orders belong to, whose rows have changed. left: what they belonged to before."""
    here, before = set(now), set(left)
    if touched := sorted(here | before):
        await con.execute(_reckoning(sql, "keep_positions"), *by_column(touched, 3))
    if gone := sorted(before - here):
        await con.execute(sql["forget_positions"], *by_column(gone, 3))


async def keep_from_now_on(con: Connection, sql: Queries, *, timeout_s: float) -> None:
    """Inside the caller's transaction: all that are there already, once. Deliveries wait meanwhile."""
    await con.execute(sql["hold_deliveries"])
    if not await con.fetchval(sql["positions_are_kept"]):
        await con.execute(_reckoning(sql, "reckon_every_position"), timeout=timeout_s)
        await con.execute(sql["keep_from_now_on"])


def _reckoning(sql: Queries, name: str) -> str:
    return sql[name].replace("/* reckoned */", sql["reckoned"])
