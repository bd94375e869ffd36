"""Which order a record speaks of: identity, decided once and in one place.

An order is (exchange, account, symbol, exchange order id): Binance order ids are unique only per symbol, and its algo
ids are a number space of their own. Before there is an id the order is its intent. Every name an order is known by is
an *alias* of one `order_key`; when two keys turn out to name the same order they are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID, uuid3, uuid5

import msgspec

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.reading import Reading, compact
from audit_wrapper.records import Action, OrderState, Record, RecordKind

_EXTERNAL = UUID("6f1d1c1e-6a5b-5d0c-9f43-9c2f8a7d7a11")  # namespace of orders first met by an id that others made

PLACED = "order"  # the order this record places (order.1, order.2, ... in a batch)
TARGET = "target"  # the order this record cancels or amends
REPLACED = "replaced"  # a stop that was canceled so that this record's stop could take its place
SEEN = "seen"  # an order the exchange showed, asked or by itself (seen.1, seen.2, ... where it showed several)
MATCHED = "matched"  # an order that was found at the exchange after its answer was lost, or found not to be there
LINK = "link"  # the order that a position's row names as its entry


class Alias(NamedTuple):
    """One name of an order. `kind`: "order" (exchange order id), "algo" (conditional order id) or "intent".

    `symbol` is the unified one where known, else as the exchange spells it; "" where nobody said, and for intents and
    conditional orders, whose ids are unique by themselves.
    """

    exchange: str
    account: str
    symbol: str
    kind: str
    value: str


class Mention(msgspec.Struct, frozen=True, gc=False):
    """One order that a record speaks of: every alias it shows, and which part of the record concerns it."""

    aliases: tuple[Alias, ...]
    part: str


class Route(msgspec.Struct, frozen=True, gc=False):
    """The order a part of a record belongs to."""

    order_key: UUID
    part: str


def mentions(said: Record | Reading) -> tuple[Mention, ...]:
    """Every order the record speaks of. A record that speaks of none (an account change, a report) gives ()."""
    said = Reading.of(said)
    if said.mentions is None:
        said.mentions = _mentions(said)
    return said.mentions


def _mentions(said: Reading) -> tuple[Mention, ...]:
    record = said.record
    if record.kind in (RecordKind.RECONCILED, RecordKind.OBSERVED):
        return _seen(said)
    if record.kind is RecordKind.MATCHED:
        return _matched(record)
    if record.kind is RecordKind.LINKED:
        return _linked(record)
    if record.kind in (RecordKind.REPORTED, RecordKind.UNATTRIBUTED):
        return ()
    if record.action in (Action.PLACE, Action.SET_STOPS, Action.CLOSE, Action.CANCEL, Action.AMEND):
        return _spoken_of(said)
    return ()


def scope_of(said: Record | Reading) -> str | None:
    """Where a record changes orders it does not name (a cancel-all, a stop set on a position): their common scope."""
    said = Reading.of(said)
    record = said.record
    if record.kind is not RecordKind.ACKNOWLEDGED or record.action not in (Action.CANCEL_ALL, Action.SET_STOPS):
        return None
    return scope(record, _symbol(record, said.asked[0].state))


def scope(record: Record, symbol: str) -> str:
    """The scope that an order of this symbol belongs to."""
    return f"{record.exchange or ''}|{record.account}|{symbol}"


def same_symbol(one: str, other: str) -> bool:
    """Whether two spellings name the same market, as far as they tell: MNT/USDT:USDT and MNTUSDT do."""
    if not one or not other or one == other:
        return True
    return ("/" in one) != ("/" in other) and compact(one) == compact(other)


class Index:
    """The aliases known so far, and what this batch adds to them.

    known: every alias found for the batch's records, with its order. Aliases that differ in the spelling of the symbol
    only may be given too; which of them is meant is decided here.
    """

    def __init__(self, known: Mapping[Alias, UUID] | None = None) -> None:
        self._keys: dict[tuple[str, str, str, str], list[tuple[str, UUID]]] = {}
        self.learned: dict[Alias, UUID] = {}
        self.merged: dict[UUID, UUID] = {}
        for alias, key in (known or {}).items():
            self._keys.setdefault(_name(alias), []).append((alias.symbol, key))

    def route(self, record: Record, spoken_of: Iterable[Mention] | None = None) -> tuple[Route, ...]:
        """The orders the record belongs to; learns its aliases and merges what they prove to be one.

        spoken_of: `mentions(record)`, where they are at hand.
        """
        found = mentions(record) if spoken_of is None else spoken_of
        return tuple(Route(self._key_of(mention, record), mention.part) for mention in found)

    def keys_of(self, exchange: str, account: str, ids: Iterable[str]) -> set[UUID]:
        """The orders known by these ids of the exchange."""
        names = [(exchange, account, kind, value) for value in set(ids) for kind in ("order", "algo")]
        return {self.current(key) for name in names for _, key in self._keys.get(name, [])}

    @property
    def conditional(self) -> set[UUID]:
        """Orders known by the id of a conditional order."""
        return {self.current(key) for name, places in self._keys.items() if name[2] == "algo" for _, key in places}

    def current(self, key: UUID) -> UUID:
        """The key an order goes by now, after merges."""
        while self.merged and key in self.merged:
            key = self.merged[key]
        return key

    def _key_of(self, mention: Mention, record: Record) -> UUID:
        places = [(alias, self._keys.setdefault(_name(alias), [])) for alias in mention.aliases]
        found = {
            self.current(key) for alias, known in places for symbol, key in known if same_symbol(symbol, alias.symbol)
        }
        intent = _intent_key(mention, record)
        if intent is None and any(key.version != 3 for key in found):
            key = min(found, key=_seniority) if len(found) > 1 else next(iter(found))
        else:
            # its own key counts too: the order's intent may arrive after records that know it by its id alone
            own = self.current(intent or _key_of_id(mention))
            key = min(found | {own}, key=_seniority) if found else own
            # others may name it by the intent that made it before it was heard of; nobody knows a key made from an id
            if own.version != 3:
                found.add(own)
        for loser in found - {key}:
            self.merged[loser] = key
        for alias, known in places:
            if (alias.symbol, key) not in [(symbol, self.current(k)) for symbol, k in known]:
                known.append((alias.symbol, key))
                self.learned[alias] = key
        return key


def _name(alias: Alias) -> tuple[str, str, str, str]:
    """An alias without the symbol, whose spelling may differ."""
    exchange, account, _, kind, value = alias
    return exchange, account, kind, value


def _seniority(key: UUID) -> tuple[bool, UUID]:
    # an order known by the intent that made it (a version 7 or 5 key) outranks one first met by an id (version 3);
    # then the older one wins
    return (key.version == 3, key)


def _intent_key(mention: Mention, record: Record) -> UUID | None:
    """The key of an order by the intent that makes it; None: the mention does not know that."""
    if record.kind is RecordKind.MATCHED and record.match is not None:
        return key_of_part(record.match.intent_id, record.match.part)
    if mention.part == TARGET or "intent" not in [alias.kind for alias in mention.aliases]:
        return None
    return key_of_part(record.intent_id or record.record_id, mention.part)


def _key_of_id(mention: Mention) -> UUID:
    """The key of an order that is known by an id of the exchange alone."""
    named = next((alias for alias in mention.aliases if alias.kind != "intent"), mention.aliases[0])
    return uuid3(_EXTERNAL, "|".join(named))


def intent_alias(exchange: str, account: str, intent_id: UUID, part: str) -> Alias:
    """The name of an order by what makes it."""
    return Alias(exchange, account, "", "intent", f"{intent_id}/{part}")


def key_of_part(intent_id: UUID, part: str) -> UUID:
    """The key of an order that an intent makes, before anything else is known of it."""
    return intent_id if part == PLACED else uuid5(intent_id, part)


def _spoken_of(said: Reading) -> tuple[Mention, ...]:
    found: list[Mention] = []
    record, orders = said.record, said.asked
    for index, one in enumerate(orders):
        suffix = f".{index}" if index else ""
        position = index if len(orders) > 1 else None
        if one.action in (Action.CANCEL, Action.AMEND):
            found += _target(said, one, TARGET + suffix, position)
            continue
        if one.action is not Action.SET_STOPS and not _is_empty(record, one):
            found.append(Mention((_intent(record, PLACED + suffix), *_ids(said, one, position)), PLACED + suffix))
        found += [Mention((_intent(record, s.kind),), s.kind) for s in one.stops if not s.removed]
        if one.action is Action.SET_STOPS and not one.stops:
            # a manager whose requests cannot be seen: its own call is the stop
            found.append(Mention((_intent(record, "stop_loss"), *_ids(said, one, None)), "stop_loss"))
    for old in record.replaces:
        kind, value, symbol = old.split(":", 2)
        if same_symbol(symbol, _symbol(record, orders[0].state)):
            found.append(Mention((_named(record, symbol, kind, value),), REPLACED))
    return tuple(found)


def name_of(record: Record, one: Asked) -> str:
    """The canceled order that a stop may take the place of, as `Record.replaces` names it: kind:id:symbol."""
    return f"{one.id_kind}:{one.state.exchange_order_id}:{_symbol(record, one.state)}"


def _is_empty(record: Record, one: Asked) -> bool:
    """Whether the request, which was seen, holds no order at all (a batch of none)."""
    state = one.state
    return record.request is not None and state.side is None and state.type is None and state.quantity is None


def _target(said: Reading, one: Asked, part: str, position: int | None) -> tuple[Mention, ...]:
    record, value = said.record, one.state.exchange_order_id
    if value is None:
        # named by its client order id: the answer says which one that was
        return tuple(Mention((alias,), part) for alias in _ids(said, one, position))
    return (Mention((_named(record, _symbol(record, one.state), one.id_kind, value),), part),)


def _seen(said: Reading) -> tuple[Mention, ...]:
    record, found = said.record, []
    for index, one in enumerate(said.sightings):
        symbol = _symbol(record, one.state)
        aliases = [_named(record, symbol, one.id_kind, one.state.exchange_order_id or "")]
        if one.child_order_id is not None:
            aliases.append(_named(record, symbol, "order", one.child_order_id))
        found.append(Mention(tuple(aliases), f"{SEEN}.{index}" if index else SEEN))
    return tuple(found)


def _matched(record: Record) -> tuple[Mention, ...]:
    match = record.match
    if match is None:
        return ()
    aliases = [intent_alias(record.exchange or "", record.account, match.intent_id, match.part)]
    if match.exchange_order_id is not None:
        aliases.append(_named(record, match.symbol or "", match.id_kind, match.exchange_order_id))
    return (Mention(tuple(aliases), MATCHED),)


def _linked(record: Record) -> tuple[Mention, ...]:
    link = record.position
    if link is None or link.exchange_order_id is None:
        return ()
    exchange = link.exchange or record.exchange or ""
    alias = Alias(exchange, record.account, link.symbol or "", "order", link.exchange_order_id)
    return (Mention((alias,), LINK),)


def _ids(said: Reading, one: Asked, position: int | None) -> tuple[Alias, ...]:
    # an id is proof of the order only in an answer that took it; an error may quote another order's
    record = said.record
    shown = said.answer(position) if record.kind is RecordKind.ACKNOWLEDGED else None
    state = said.answered(position) if shown is not None else None
    if shown is None or state is None or state.exchange_order_id is None:
        return ()
    kind = adapter_for(record.exchange or "").order_id_kind(shown)
    return (_named(record, _symbol(record, one.state) or (state.symbol or ""), kind, state.exchange_order_id),)


def _named(record: Record, symbol: str, kind: str, value: str) -> Alias:
    # Binance numbers its conditional orders over all symbols, and takes them back whatever symbol is named
    return Alias(record.exchange or "", record.account, "" if kind == "algo" else symbol, kind, value)


def _intent(record: Record, part: str) -> Alias:
    return intent_alias(record.exchange or "", record.account, record.intent_id or record.record_id, part)


def _symbol(record: Record, state: OrderState) -> str:
    if record.market is not None and record.market.symbol:
        return record.market.symbol
    return state.symbol or ""
