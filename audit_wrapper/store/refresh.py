"""Orders projected anew from all their records, whoever of a batch touched them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from audit_wrapper import codec, routing
from audit_wrapper.fold import ATTACHED
from audit_wrapper.projection import Event, Projected, project
from audit_wrapper.reading import Reading
from audit_wrapper.store.arrival import Pure
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.identity import known_aliases
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.sending import by_column
from audit_wrapper.store.write import write
from audit_wrapper.unhurried import unhurried

Place = tuple[UUID, int]  # stream and seq


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
        await write(con, sql, await _project(con, sql, keys, decoded, fresh), fresh.keys())


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
        with Pure("project order {}", key):
            projected[key] = project(key, events[key])
    # only now the scope of a new order is known; few orders were hit by a record that does not name them
    for key, scope_events in (await _scope_events(con, sql, projected, events, decoded)).items():
        with Pure("project order {}", key):
            projected[key] = project(key, events[key], scope_events)
    return await _pointing(con, sql, projected)


async def _pointing(con: Connection, sql: Queries, projected: dict[UUID, Projected]) -> dict[UUID, Projected]:
    """The same, with every `replaced_by` as the key which that order goes by now."""
    names = {
        key: routing.intent_alias(one.order.exchange or "", one.order.account, *one.replaced_by)
        for key, one in projected.items()
        if one.order is not None and one.replaced_by is not None
    }
    known = await known_aliases(con, sql, set(names.values()))
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
    rows = await con.fetch(sql["scope_events"], list(range(len(places))), *by_column(places, 4))
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
    for row in await con.fetch(sql["bodies"], *by_column(missing, 2)):
        with Pure("read record {} of stream {}", row["seq"], row["stream"]):
            decoded[row["stream"], row["seq"]] = Reading(codec.decode(row["body"].encode("utf-8")))
