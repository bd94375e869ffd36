"""One batch of the journal into the database: events, identity, rows, mark; all of it or nothing.

Whatever arrives twice changes nothing the second time.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from audit_wrapper.errors import InvalidRow, StreamConflict
from audit_wrapper.projection import funding_of
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record
from audit_wrapper.rows import FundingRow
from audit_wrapper.store.arrival import Arrival, Entry, Pure
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.identity import route
from audit_wrapper.store.locks import Group, groups_of, lock
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.refresh import refresh
from audit_wrapper.store.sending import by_column, copy_new, rows_as_json
from audit_wrapper.unhurried import unhurried

_REFRESHED_AT_ONCE = 1_000  # orders whose records are held in memory
_EVENT = (
    "stream",
    "seq",
    "record_id",
    "kind",
    "action",
    "exchange",
    "account",
    "correlation_id",
    "intent_id",
    "called_at",
    "answered_at",
    "scope",
    "hash",
    "body",
)


async def deliver(
    con: Connection,
    sql: Queries,
    stream: UUID,
    entries: Sequence[Entry],
    records: Sequence[Record | Reading],
    *,
    all_new: bool = False,
) -> tuple[set[UUID], set[Group]]:
    """Store a batch inside the caller's transaction. Returns the orders it touched, and the groups they are of.

    all_new: none of the entries is there, nor anything of an order that they are the first to speak of, as it is with nearly
    every batch: that goes in by COPY, at a third of what ON CONFLICT costs. NotNew: it was there after all (a batch that is
    repeated, tables that were damaged or put back in part), and the transaction is of no use any more.
    """
    arrivals = [Arrival.of(stream, e.seq, r) for e, r in unhurried(zip(entries, records, strict=True))]
    groups = groups_of(arrivals)
    await lock(con, sql, groups, stream)
    if all_new:
        await copy_new(con, "events", _EVENT, sorted(_event_rows(entries, arrivals), key=lambda row: row[1]))
        touched = await _apply(con, sql, arrivals, all_new=True)
    else:
        new = await _insert_events(con, sql, stream, entries, arrivals)
        touched = await _apply(con, sql, [arrival for arrival in arrivals if arrival.seq in new])
    last = max(entries, key=lambda e: e.seq)
    await con.execute(sql["advance_stream"], stream, last.seq, last.hash)
    return touched, groups


def _event_rows(entries: Sequence[Entry], arrivals: Sequence[Arrival]) -> list[tuple[Any, ...]]:
    return [
        (
            a.stream,
            e.seq,
            r.record_id,
            r.kind,
            r.action,
            r.exchange,
            r.account,
            r.operation.correlation_id if r.operation else None,
            r.intent_id,
            r.called_at,
            r.answered_at,
            a.scope,
            e.hash,
            e.payload.decode("utf-8"),
        )
        for e, a in zip(entries, arrivals, strict=True)
        for r in (a.record,)
    ]


async def _insert_events(
    con: Connection, sql: Queries, stream: UUID, entries: Sequence[Entry], arrivals: Sequence[Arrival]
) -> set[int]:
    records = [a.record for a in arrivals]
    columns = by_column(_event_rows(entries, arrivals), len(_EVENT))
    new = {row["seq"] for row in await con.fetch(sql["insert_events"], stream, *columns[1:])}
    before = [(e, r) for e, r in zip(entries, records, strict=True) if e.seq not in new]
    if before:
        others = await con.fetch(
            sql["stored_otherwise"],
            stream,
            [e.seq for e, _ in before],
            [r.record_id for _, r in before],
            [e.hash for e, _ in before],
            [e.payload.decode("utf-8") for e, _ in before],
        )
        if others:
            other = others[0]
            sentence = (
                f"entry {other['seq']} of stream {stream} is not what is stored as entry {other['stored_seq']} of stream "
                f"{other['stream']} (record {other['record_id']})"
            )
            if other["same_place"]:
                raise StreamConflict(f"{sentence}: another copy of this journal was delivered")
            raise InvalidRow(f"{sentence}: two records have one id")
    return new


async def _apply(con: Connection, sql: Queries, arrivals: Sequence[Arrival], *, all_new: bool = False) -> set[UUID]:
    """Bring the rows up to date with records that were stored just now. Returns the orders whose rows changed."""
    if not arrivals:
        return set()
    touched, fresh = await route(con, sql, arrivals, all_new=all_new)
    await add_funding(con, sql, arrivals)
    touched |= await _orders_in_scopes(con, sql, [a for a in arrivals if a.scope is not None])
    keys, decoded = sorted(touched), {(a.stream, a.seq): a.said for a in arrivals}
    for at in range(0, len(keys), _REFRESHED_AT_ONCE):
        await refresh(con, sql, keys[at : at + _REFRESHED_AT_ONCE], dict(decoded), fresh)
    return touched


async def _orders_in_scopes(con: Connection, sql: Queries, scoped: Sequence[Arrival]) -> set[UUID]:
    """The orders that these records may change without naming them."""
    if not scoped:
        return set()
    rows = await con.fetch(sql["open_orders_in_scopes"], list({a.scope for a in scoped}))
    # one that comes late (from quarantine, say) may have closed what a later one is said to have closed
    late = await con.fetch(sql["late_scopes"], *by_column([(a.stream, a.seq, a.scope) for a in scoped], 3))
    if late:
        rows += await con.fetch(sql["orders_in_scopes"], [row["scope"] for row in late])
    return {row["order_key"] for row in rows}


async def add_funding(con: Connection, sql: Queries, arrivals: Sequence[Arrival]) -> None:
    """Write down the funding payments that these records tell of."""
    rows: dict[tuple[str, ...], FundingRow] = {}
    for arrival in arrivals:
        with Pure("read the payments of record {} of stream {}", arrival.seq, arrival.stream):
            for row in funding_of(arrival.record):
                rows.setdefault(row.key, row)  # as the table does: the first that told of it
    if rows:
        await con.execute(sql["add_funding"], rows_as_json(rows.values()))
