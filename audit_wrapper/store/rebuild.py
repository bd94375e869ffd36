"""Everything derived, made anew from audit.events: after a mistake in reading was mended, or a row was lost."""

from collections.abc import Callable

from audit_wrapper import codec
from audit_wrapper.store import positions
from audit_wrapper.store.arrival import Arrival
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.deliver import add_funding
from audit_wrapper.store.identity import route
from audit_wrapper.store.locks import lock
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.refresh import refresh

_CHUNK = 1000


async def rebuild(con: Connection, sql: Queries, progress: Callable[[str, int, int], None] | None = None) -> int:
    """Inside the caller's transaction: identity, rows, fills. Returns the number of orders.

    Serial ids stay, and so do positions that were found in the bot's own table. Rows that the bot wrote are not touched.
    Who delivers meanwhile waits.
    """
    await lock(con, sql, [(row["exchange"], row["account"]) for row in await con.fetch(sql["every_group"])])
    await con.execute(sql["hold_deliveries"])
    last = await con.fetchval(sql["last_stored_no"])
    await con.execute(sql["forget_everything_derived"])
    # first whose record is whose, in the order in which it was decided; then every order once
    for after in range(0, last, _CHUNK):
        rows = await con.fetch(sql["events_in_order_of_arrival"], after, _CHUNK)
        arrivals = [Arrival.of(row["stream"], row["seq"], codec.decode(row["body"].encode("utf-8"))) for row in rows]
        await con.execute(
            sql["mend_scopes"], [a.stream for a in arrivals], [a.seq for a in arrivals], [a.scope for a in arrivals]
        )
        await route(con, sql, arrivals, all_new=True)  # every order is made anew below
        await add_funding(con, sql, arrivals)
        if progress is not None:
            progress("records", min(after + _CHUNK, last), last)
    total = await con.fetchval(sql["count_orders"])
    done, after_key = 0, None
    while keys := [row["order_key"] for row in await con.fetch(sql["next_orders"], after_key, _CHUNK)]:
        await refresh(con, sql, keys, {})
        done, after_key = done + len(keys), keys[-1]
        if progress is not None:
            progress("orders", done, total)
    gone = [row["order_key"] for row in await con.fetch(sql["rows_without_events"])]
    left = await positions.of_orders(con, sql, gone)
    await con.execute(sql["drop_rows_without_events"])
    await positions.keep(con, sql, (), left)
    return done
