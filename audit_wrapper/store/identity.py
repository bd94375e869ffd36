"""Which orders the records of a batch speak of: by every name that an order goes by, kept in the database."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from audit_wrapper import routing
from audit_wrapper.projection import Event
from audit_wrapper.reading import Reading
from audit_wrapper.store import positions
from audit_wrapper.store.arrival import Arrival, Pure
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.sending import NotNew, by_column, copy_new
from audit_wrapper.unhurried import unhurried


async def route(
    con: Connection, sql: Queries, arrivals: Sequence[Arrival], *, all_new: bool = False
) -> tuple[set[UUID], dict[UUID, Sequence[Event]]]:
    """Decide which orders the records speak of, and write that down.

    Returns these orders; and, if `all_new` (see `deliver`), of those that were never heard of before the events, which are
    all they have.
    """
    known = await known_aliases(con, sql, {alias for a in arrivals for m in a.mentions for alias in m.aliases})
    index = routing.Index(known)
    routed: list[tuple[UUID, Arrival, str]] = []
    for arrival in unhurried(arrivals):
        with Pure("find the orders of record {} of stream {}", arrival.seq, arrival.stream):
            routed += [(r.order_key, arrival, r.part) for r in index.route(arrival.record, arrival.mentions)]
    sharing: set[UUID] = set()
    if index.merged:
        sharing = {row["order_key"] for row in await con.fetch(sql["orders_sharing_fills"], list(index.merged))}
        await _merge(con, sql, {loser: index.current(loser) for loser in index.merged})
    # An alias that is learned was not there under any key, and a record that is new has no place yet; who else writes of these
    # orders waits for the lock
    learned = [(*alias, index.current(key)) for alias, key in index.learned.items()]
    if learned and all_new:
        await copy_new(con, "order_aliases", None, learned)
    elif learned:
        await con.execute(sql["learn_aliases"], *by_column(learned, 6))
    told: dict[UUID, dict[tuple[UUID, int, str], Reading]] = defaultdict(dict)
    for key, arrival, part in routed:
        told[index.current(key)][arrival.stream, arrival.seq, part] = arrival.said
    fresh: dict[UUID, Sequence[Event]] = {}
    placed = [(key, *place) for key, places in told.items() for place in places]
    if placed and all_new:
        await copy_new(con, "order_events", None, placed)
        before = {index.current(key) for key in known.values()} | sharing
        fresh = {
            key: [Event(stream, seq, said.record, part, said) for (stream, seq, part), said in places.items()]
            for key, places in told.items()
            if key not in before
        }
        await _check_fresh(con, sql, fresh)
    elif placed:
        await con.execute(sql["add_order_events"], *by_column(placed, 4))
    return {index.current(key) for key in told.keys() | sharing}, fresh


async def _check_fresh(con: Connection, sql: Queries, fresh: Mapping[UUID, Sequence[Event]]) -> None:
    """Raises NotNew if there is more of one of these orders than its events."""
    if not fresh:
        return
    found = await con.fetchval(sql["count_of_orders"], list(fresh))
    if found != sum(map(len, fresh.values())):
        raise NotNew("audit.order_events or audit.fills has rows of orders that were not heard of yet")


async def known_aliases(con: Connection, sql: Queries, aliases: set[routing.Alias]) -> dict[routing.Alias, UUID]:
    """The order that goes by each of these names; without those of which no order was heard yet."""
    if not aliases:
        return {}
    names = {(a.exchange, a.account, a.kind, a.value) for a in aliases}
    found = await con.fetch(sql["find_aliases"], *by_column(names, 4))
    return {
        routing.Alias(row["exchange"], row["account"], row["symbol"], row["kind"], row["value"]): row["order_key"]
        for row in found
    }


async def _merge(con: Connection, sql: Queries, merged: Mapping[UUID, UUID]) -> None:
    losers, winners = list(merged), list(merged.values())
    left = await positions.of_orders(con, sql, losers)
    for step in ("merge_events", "merge_aliases", "merge_order_rows", "merge_trade_rows"):
        await con.execute(sql[step], losers, winners)
    if any(key.version != 3 for key in losers):  # no row is replaced by an order that was first met by its id
        await con.execute(sql["merge_replaced_by"], losers, winners)
    for step in ("forget_events", "forget_states", "forget_order_rows", "forget_trade_rows", "forget_fills"):
        await con.execute(sql[step], losers)
    await positions.keep(con, sql, (), left)
