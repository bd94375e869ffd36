"""One batch of the journal into the database: events, identity, rows, mark; all of it or nothing.

Whatever arrives twice changes nothing the second time. Orders of one account are written by one deliverer at a time
(an advisory lock per exchange and account, taken in a fixed order), so that two of them neither wait for each other in
a circle nor overwrite each other's rows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import asyncpg
import msgspec

from audit_wrapper import codec, routing
from audit_wrapper.errors import InvalidRow, StoreError, StreamConflict
from audit_wrapper.fold import ATTACHED
from audit_wrapper.projection import Event, Projected, funding_of, project
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record
from audit_wrapper.rows import FillRow, FundingRow, OrderRow, TradeRow
from audit_wrapper.store import positions
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.unhurried import unhurried

Place = tuple[UUID, int]  # stream and seq
Group = tuple[str, str]  # exchange and account
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
Row = OrderRow | TradeRow | FillRow | FundingRow
_TIMES: Mapping[type, tuple[str, ...]] = {
    OrderRow: ("created_at", "updated_at"),
    TradeRow: ("executed_at", "updated_at"),
    FillRow: ("exchange_at",),
    FundingRow: ("exchange_at",),
}


class Entry(Protocol):
    """What is read from the journal."""

    @property
    def seq(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def hash(self) -> bytes: ...


class Arrival(NamedTuple):
    """A record with its place and what it says by itself."""

    stream: UUID
    seq: int
    said: Reading
    mentions: tuple[routing.Mention, ...]
    scope: str | None

    @classmethod
    def of(cls, stream: UUID, seq: int, record: Record | Reading) -> "Arrival":
        """Read the record. Raises InvalidRow where that fails."""
        with _Pure("read record {} of stream {}", seq, stream):
            said = Reading.of(record)
            return cls(stream, seq, said, routing.mentions(said), routing.scope_of(said))

    @property
    def record(self) -> Record:
        """What was journaled."""
        return self.said.record


class NotNew(StoreError):
    """Something of a batch that was taken for new is there: deliver it again, without taking that for granted."""


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
        await _copy(con, "events", _EVENT, sorted(_event_rows(entries, arrivals), key=lambda row: row[1]))
        touched = await _apply(con, sql, arrivals, all_new=True)
    else:
        new = await _insert_events(con, sql, stream, entries, arrivals)
        touched = await _apply(con, sql, [arrival for arrival in arrivals if arrival.seq in new])
    last = max(entries, key=lambda e: e.seq)
    await con.execute(sql["advance_stream"], stream, last.seq, last.hash)
    return touched, groups


def groups_of(arrivals: Iterable[Arrival]) -> set[Group]:
    """Every group of orders that these records may touch."""
    return {(a.record.exchange or "", a.record.account) for a in arrivals} | {
        alias[:2] for a in arrivals for mention in a.mentions for alias in mention.aliases
    }


async def lock(con: Connection, sql: Queries, groups: Iterable[Group], stream: UUID | None = None) -> None:
    """Wait for the sole right to write these groups of orders, until the end of the transaction."""
    numbers = {_lock_number("orders", *group) for group in groups}
    if stream is not None:
        numbers.add(_lock_number("stream", str(stream)))
    await con.fetch(sql["take_locks"], sorted(numbers))


def _lock_number(*names: str) -> int:
    digest = hashlib.blake2b("\0".join(("audit_wrapper", *names)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)


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
    columns = _columns(_event_rows(entries, arrivals), len(_EVENT))
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


async def _copy(con: Connection, table: str, columns: Sequence[str] | None, rows: Sequence[tuple[Any, ...]]) -> None:
    """New rows of a table of ours, in this order. Raises NotNew if one is there."""
    try:
        await con.copy_records_to_table(table, schema_name="audit", columns=columns, records=unhurried(rows))
    except asyncpg.UniqueViolationError as problem:
        raise NotNew(f"audit.{table} has rows already that were to be new: {problem.detail}") from problem


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
    late = await con.fetch(sql["late_scopes"], *_columns([(a.stream, a.seq, a.scope) for a in scoped], 3))
    if late:
        rows += await con.fetch(sql["orders_in_scopes"], [row["scope"] for row in late])
    return {row["order_key"] for row in rows}


async def refresh(
    con: Connection,
    sql: Queries,
    keys: Sequence[UUID],
    decoded: dict[Place, Reading],
    fresh: Mapping[UUID, Sequence[Event]] | None = None,
) -> None:
    """Project these orders from all their records and write their rows. `decoded`: records that are at hand. `fresh`: orders
    that were never heard of before, and all their events."""
    fresh = fresh or {}
    if known := [key for key in keys if key not in fresh]:
        # a fill that two orders claim is flagged in both: what becomes of one says something of the other
        sharing = await con.fetch(sql["orders_sharing_fills"], known)
        keys = list(dict.fromkeys([*keys, *(row["order_key"] for row in sharing)]))
    if keys:
        await _write(con, sql, await _project(con, sql, keys, decoded, fresh), fresh.keys())


async def add_funding(con: Connection, sql: Queries, arrivals: Sequence[Arrival]) -> None:
    """Write down the funding payments that these records tell of."""
    rows: dict[tuple[str, ...], FundingRow] = {}
    for arrival in arrivals:
        with _Pure("read the payments of record {} of stream {}", arrival.seq, arrival.stream):
            for row in funding_of(arrival.record):
                rows.setdefault(row.key, row)  # as the table does: the first that told of it
    if rows:
        await con.execute(sql["add_funding"], _json(rows.values()))


async def route(
    con: Connection, sql: Queries, arrivals: Sequence[Arrival], *, all_new: bool = False
) -> tuple[set[UUID], dict[UUID, Sequence[Event]]]:
    """Decide which orders the records speak of, and write that down.

    Returns these orders; and, if `all_new` (see `deliver`), of those that were never heard of before the events, which are
    all they have.
    """
    known = await _known_aliases(con, sql, {alias for a in arrivals for m in a.mentions for alias in m.aliases})
    index = routing.Index(known)
    routed: list[tuple[UUID, Arrival, str]] = []
    for arrival in unhurried(arrivals):
        with _Pure("find the orders of record {} of stream {}", arrival.seq, arrival.stream):
            routed += [(r.order_key, arrival, r.part) for r in index.route(arrival.record, arrival.mentions)]
    sharing: set[UUID] = set()
    if index.merged:
        sharing = {row["order_key"] for row in await con.fetch(sql["orders_sharing_fills"], list(index.merged))}
        await _merge(con, sql, {loser: index.current(loser) for loser in index.merged})
    # An alias that is learned was not there under any key, and a record that is new has no place yet; who else writes of these
    # orders waits for the lock
    learned = [(*alias, index.current(key)) for alias, key in index.learned.items()]
    if learned and all_new:
        await _copy(con, "order_aliases", None, learned)
    elif learned:
        await con.execute(sql["learn_aliases"], *_columns(learned, 6))
    told: dict[UUID, dict[tuple[UUID, int, str], Reading]] = defaultdict(dict)
    for key, arrival, part in routed:
        told[index.current(key)][arrival.stream, arrival.seq, part] = arrival.said
    fresh: dict[UUID, Sequence[Event]] = {}
    placed = [(key, *place) for key, places in told.items() for place in places]
    if placed and all_new:
        await _copy(con, "order_events", None, placed)
        before = {index.current(key) for key in known.values()} | sharing
        fresh = {
            key: [Event(stream, seq, said.record, part, said) for (stream, seq, part), said in places.items()]
            for key, places in told.items()
            if key not in before
        }
        await _check_fresh(con, sql, fresh)
    elif placed:
        await con.execute(sql["add_order_events"], *_columns(placed, 4))
    return {index.current(key) for key in told.keys() | sharing}, fresh


async def _check_fresh(con: Connection, sql: Queries, fresh: Mapping[UUID, Sequence[Event]]) -> None:
    """Raises NotNew if there is more of one of these orders than its events."""
    if not fresh:
        return
    found = await con.fetchval(sql["count_of_orders"], list(fresh))
    if found != sum(map(len, fresh.values())):
        raise NotNew("audit.order_events or audit.fills has rows of orders that were not heard of yet")


async def _known_aliases(con: Connection, sql: Queries, aliases: set[routing.Alias]) -> dict[routing.Alias, UUID]:
    if not aliases:
        return {}
    names = {(a.exchange, a.account, a.kind, a.value) for a in aliases}
    found = await con.fetch(sql["find_aliases"], *_columns(names, 4))
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


async def _project(
    con: Connection,
    sql: Queries,
    keys: Sequence[UUID],
    decoded: dict[Place, Reading],
    fresh: Mapping[UUID, Sequence[Event]],
) -> dict[UUID, Projected]:
    events: dict[UUID, Sequence[Event]] = {key: fresh.get(key, ()) for key in keys}
    if known := [key for key in keys if key not in fresh]:
        rows = await con.fetch(sql["events_of_orders"], known)
        await _decode(con, sql, {(row["stream"], row["seq"]) for row in rows}, decoded)
        for row in rows:
            said = decoded[row["stream"], row["seq"]]
            event = Event(row["stream"], row["seq"], said.record, row["part"], said)
            events[row["order_key"]] = (*events[row["order_key"]], event)
    projected: dict[UUID, Projected] = {}
    for key in unhurried(keys):
        with _Pure("project order {}", key):
            projected[key] = project(key, events[key])
    # only now the scope of a new order is known; few orders were hit by a record that does not name them
    for key, scope_events in (await _scope_events(con, sql, projected, events, decoded)).items():
        with _Pure("project order {}", key):
            projected[key] = project(key, events[key], scope_events)
    return await _pointing(con, sql, projected)


async def _pointing(con: Connection, sql: Queries, projected: dict[UUID, Projected]) -> dict[UUID, Projected]:
    """The same, with every `replaced_by` as the key which that order goes by now."""
    names = {
        key: routing.intent_alias(one.order.exchange or "", one.order.account, *one.replaced_by)
        for key, one in projected.items()
        if one.order is not None and one.replaced_by is not None
    }
    known = await _known_aliases(con, sql, set(names.values()))
    for key, name in names.items():
        one = projected[key]
        if one.order is not None and name in known:
            row = msgspec.structs.replace(one.order, replaced_by=known[name])
            projected[key] = one._replace(order=row)
    return projected


async def _scope_events(
    con: Connection,
    sql: Queries,
    projected: Mapping[UUID, Projected],
    events: Mapping[UUID, Sequence[Event]],
    decoded: dict[Place, Reading],
) -> dict[UUID, list[Event]]:
    # by stream, scope, and whether they are attached to a position: the orders, and the first seq of each in that stream
    asked: dict[tuple[UUID, str, bool], list[tuple[int, UUID]]] = defaultdict(list)
    for key, one in projected.items():
        if one.scope is None:
            continue
        first: dict[UUID, int] = {}
        for event in events[key]:
            first[event.stream] = min(event.seq, first.get(event.stream, event.seq))
        attached = any(event.part in ATTACHED for event in events[key])
        for stream, seq in first.items():
            asked[stream, one.scope, attached].append((seq, key))
    if not asked:
        return {}
    places = [(*group, min(seq for seq, _ in orders)) for group, orders in asked.items()]
    rows = await con.fetch(sql["scope_events"], list(range(len(places))), *_columns(places, 4))
    await _decode(con, sql, {(row["stream"], row["seq"]) for row in rows}, decoded)
    groups = list(asked.items())
    found: dict[UUID, list[Event]] = defaultdict(list)
    for row in rows:
        (stream, scope, _), orders = groups[row["place"]]
        said = decoded[stream, row["seq"]]
        event = Event(stream, row["seq"], said.record, scope, said)
        for seq, key in orders:
            if seq < event.seq:
                found[key].append(event)
    return found


async def _decode(con: Connection, sql: Queries, places: set[Place], decoded: dict[Place, Reading]) -> None:
    missing = places - decoded.keys()
    if not missing:
        return
    for row in await con.fetch(sql["bodies"], *_columns(missing, 2)):
        with _Pure("read record {} of stream {}", row["seq"], row["stream"]):
            decoded[row["stream"], row["seq"]] = Reading(codec.decode(row["body"].encode("utf-8")))


async def _write(con: Connection, sql: Queries, projected: Mapping[UUID, Projected], fresh: Set[UUID]) -> None:
    keys = list(projected)
    known = [key for key in keys if key not in fresh]
    left = await positions.of_orders(con, sql, known) if known else ()
    orders = {key: one.order for key, one in projected.items() if one.order is not None}
    await _adopt(con, sql, [order for order in orders.values() if order.order_id is not None], fresh)
    there = {"orders": await con.fetch(sql["order_rows"], list(orders))}
    for row in there["orders"]:
        if row["position_id"] is not None:
            orders[row["order_key"]] = _linked(orders[row["order_key"]], row)
    trades = {
        key: _following(one.trade, orders[key])
        for key, one in projected.items()
        if one.trade is not None and key in orders
    }
    if gone := [key for key in keys if key not in orders]:
        await con.execute(sql["forget_order_rows"], gone)
    if gone := [key for key in keys if key not in trades]:
        await con.execute(sql["forget_trade_rows"], gone)
    if known:
        await con.execute(sql["forget_fills"], known)
    there["trades"] = await con.fetch(sql["trade_rows"], list(trades))
    for table, rows in (("orders", orders), ("trades", trades)):
        present = {row["order_key"] for row in there[table]}
        for step, wanted in (("update", present), ("insert", rows.keys() - present)):
            if wanted:
                chosen = [row for key, row in rows.items() if key in wanted]
                await con.execute(sql[f"{step}_{table}"], _json(chosen))
    if fills := [fill for one in projected.values() for fill in one.fills]:
        await con.execute(sql["insert_fills"], _json(fills))
        await con.execute(sql["flag_conflicting_fills"], keys)
    states = {key: (key, one.scope, one.open, *(one.placing or (None, None))) for key, one in projected.items()}
    if new_states := [state for key, state in states.items() if key in fresh]:
        await _copy(con, "orders", None, new_states)
    if known:
        await con.execute(sql["save_states"], *_columns([states[key] for key in known], 5))
    await positions.keep(con, sql, filter(None, map(positions.Position.of, orders.values())), left)


async def _adopt(con: Connection, sql: Queries, orders: Sequence[OrderRow], fresh: Set[UUID]) -> None:
    names = [
        (o.order_key, o.exchange, o.account, o.order_id, o.symbol, o.unified_symbol, o.exchange_symbol) for o in orders
    ]
    if not names or not await con.fetchval(sql["has_rows_of_the_bot"], [order.order_id for order in orders]):
        return
    if known := [name for name in names if name[0] not in fresh]:
        await con.execute(sql["give_way_orders"], *_columns(known, 7))
    for table in ("orders", "trades"):
        await con.execute(sql[f"adopt_{table}"], *_columns(names, 7))


def _linked(row: OrderRow, link: asyncpg.Record) -> OrderRow:
    """The row with the position that was found for it in the bot's own table, where its records name none."""
    if row.position_id is not None:
        return row
    return msgspec.structs.replace(
        row,
        position_id=link["position_id"],
        signal_id=link["signal_id"] if row.signal_id is None else row.signal_id,
        symbol=link["symbol"],
        side=link["side"] if row.side is None else row.side,
        purpose=link["purpose"] if row.purpose is None else row.purpose,
        link_how=link["link_how"],
    )


def _following(trade: TradeRow, order: OrderRow) -> TradeRow:
    return msgspec.structs.replace(
        trade,
        position_id=order.position_id,
        signal_id=order.signal_id,
        symbol=order.symbol,
        side=order.side,
        purpose=order.purpose,
    )


def _json(rows: Iterable[Row]) -> str:
    """Rows as PostgreSQL's json_populate_recordset reads them: every digit as text, times in UTC."""
    text = msgspec.json.encode([_in_utc(row) for row in rows]).decode("utf-8")
    if "\\u0000" in text:  # PostgreSQL's text cannot hold NUL; the event's body has it
        text = msgspec.json.encode(_without_nul(msgspec.json.decode(text))).decode("utf-8")
    return text


def _in_utc(row: Row) -> Row:
    # PostgreSQL passes over the zone of a time that goes into a timestamp without one
    for name in _TIMES[type(row)]:
        value = getattr(row, name)
        if value is not None and value.tzinfo is not UTC and value.tzinfo is not None:
            row = msgspec.structs.replace(row, **{name: value.astimezone(UTC)})
    return row


def _without_nul(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_nul(one) for name, one in value.items()}
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as one list per column, for unnest()."""
    table = list(rows)
    return [[row[column] for row in table] for column in range(width)]


class _Pure:
    """What the reading of a record raises, the record would raise again: it belongs into quarantine, whatever it is.

    A class, and words that are put together only when they are needed: it is entered several times for each record.
    """

    __slots__ = ("_doing", "_of")

    def __init__(self, doing: str, *of: object) -> None:
        self._doing = doing
        self._of = of

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        # no memory says nothing of the record
        if isinstance(problem, Exception) and not isinstance(problem, MemoryError):
            doing = self._doing.format(*self._of)
            raise InvalidRow(f"cannot {doing}: {type(problem).__name__}: {problem}") from problem
