"""Everything an exchange shows, as sightings: an answer, a listing, a message of its stream, ccxt's reading of one.

What was handed in is opened step by step (JSON text, lists, the envelope around a message) until each part is one
order, one execution, or something that speaks of neither. The steps that differ by exchange are hooks. Pure and
total: nonsense in, () out. Executions of one order that were handed in together become one sighting, in an order of
their own, so that it does not matter in which order, or how often, they were handed in.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from audit_wrapper import codec
from audit_wrapper.exchanges.funding import FundingPayment
from audit_wrapper.exchanges.numbers import Raw, items, plain, text_of
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.records import Fill, Market, OrderState

IdKind = Literal["order", "algo"]
Attached = Literal["stop_loss", "take_profit", "trailing"]
Part = Literal["order", "fill", "nothing"]

_DEEP = 8  # envelopes within envelopes; a real message has three
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One order or trade as handed in: ccxt's dict (or a bot's OrderResult as a dict) and the raw payload."""

    ccxt: Raw
    raw: Raw
    info: Any


class _Heard:
    """What was found so far. `understood` is False once a part could not be read."""

    def __init__(self) -> None:
        self.orders: list[Sighting] = []
        self.executions: list[Sighting] = []
        self.payments: list[FundingPayment] = []
        self.understood = True

    def sightings(self) -> tuple[Sighting, ...]:
        orders = self.orders if len(self.orders) < 2 else dict.fromkeys(self.orders)
        return (*orders, *_by_order(self.executions))


class ReadsSightings(ABC):
    """The part of an adapter that takes apart whatever it is handed."""

    def sightings(self, shown: object, market: Market | None = None) -> tuple[Sighting, ...]:
        """Every order that `shown` speaks of; () where it speaks of none, or cannot be read (see `understands`).

        `shown`: a ccxt order or trade (REST or ccxt.pro), a raw REST payload or a whole answer, a raw message of the
        user stream with or without its envelope, as a mapping, as JSON text or bytes (parsed with every digit), or a
        list of any of these. `market` is used for the parts that are of its symbol.
        """
        return self._hear(shown, market).sightings()

    def payments(self, shown: object, market: Market | None = None) -> tuple[FundingPayment, ...]:
        """Every funding payment in `shown`, which is anything that `sightings` takes."""
        return tuple(dict.fromkeys(self._hear(shown, market).payments))

    def understands(self, shown: object) -> bool:
        """Could every part of `shown` be read? True as well for a known message that speaks of no order."""
        return self._hear(shown, None).understood

    # hooks

    @abstractmethod
    def _state(self, seen: Seen, market: Market | None) -> OrderState: ...

    @abstractmethod
    def _read_fill(self, seen: Seen, market: Market | None) -> Fill: ...

    @abstractmethod
    def _id_kind(self, seen: Seen) -> IdKind: ...

    @abstractmethod
    def _child_id(self, seen: Seen) -> str | None: ...

    @abstractmethod
    def funding(self, entry: object, market: Market | None = None) -> FundingPayment | None: ...

    @abstractmethod
    def _seen(self, value: object) -> Seen: ...

    def _opened(self, raw: Raw) -> list[Any] | None:
        """What an envelope or a whole answer holds ([]: it speaks of no order); None: `raw` is none."""
        return None

    def _part(self, seen: Seen) -> Part | None:
        """What one mapping shows; None: it cannot be read."""
        ccxt = seen.ccxt
        if ("takerOrMaker" in ccxt or "order" in ccxt) and not ("filled" in ccxt or "remaining" in ccxt):
            return "fill"
        return "order" if any(name in ccxt for name in ("id", "clientOrderId")) and _order_like(ccxt) else None

    def _order_of(self, seen: Seen, fill: Fill, market: Market | None) -> OrderState:
        """What an execution says of its order: which it is, and what it can be sure of beyond that."""
        return OrderState(
            exchange_order_id=fill.exchange_order_id, symbol=fill.symbol, side=fill.side, cause=fill.cause
        )

    def _attached(self, seen: Seen) -> Attached | None:
        """Which stop of a position this order is."""
        return None

    # the taking apart

    def _hear(self, shown: object, market: Market | None) -> _Heard:
        heard = _Heard()
        self._take(shown, market, heard, 0)
        return heard

    def _take(self, value: object, market: Market | None, heard: _Heard, depth: int) -> None:
        value = readable(value)
        if isinstance(value, list) and depth < _DEEP:
            for part in value:
                self._take(part, market, heard, depth + 1)
            return
        opened = self._opened(value) if isinstance(value, dict) and "info" not in value else None
        if opened is not None and depth < _DEEP:
            for part in opened:
                self._take(part, market, heard, depth + 1)
        elif not (isinstance(value, dict) and depth < _DEEP and self._read(value, market, heard)):
            heard.understood = False

    def _read(self, value: Raw, market: Market | None, heard: _Heard) -> bool:
        """One order or execution; False: it could not be read."""
        seen = self._seen(value)
        part = self._part(seen)
        if part is None:
            return False
        market = market if _is_of(market, seen) else None
        if part == "nothing":
            payment = self.funding(value, market)
            heard.payments += [payment] if payment is not None else []
            return True
        if part == "order":
            state = self._state(seen, market)
            if state.exchange_order_id is None and state.client_order_id is None:
                return False
            heard.orders.append(
                Sighting(
                    state=msgspec.structs.replace(state, fills=()) if state.fills else state,
                    id_kind=self._id_kind(seen),
                    child_order_id=self._child_id(seen),
                    attached=self._attached(seen),
                    fills=state.fills,
                )
            )
            return True
        fill = self._read_fill(seen, market)
        if fill.price is None or fill.quantity is None:
            return False
        order = self._order_of(seen, fill, market)
        heard.executions.append(Sighting(state=order, attached=self._attached(seen), fills=(fill,)))
        return True


def readable(value: object) -> object:
    """Text and bytes parsed exactly; lists (ccxt.pro's caches are lists too) and mappings as plain ones."""
    if type(value) is dict:
        return value or None
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = codec.exact_json(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
    if isinstance(value, (list, tuple)):
        try:
            return list(value)
        except Exception:  # a foreign list may raise anything, and there is nothing to read then
            return None
    return plain(value) if isinstance(value, Mapping) and plain(value) else None


def _order_like(ccxt: Raw) -> bool:
    return any(name in ccxt for name in ("filled", "remaining", "status", "clientOrderId"))


def _is_of(market: Market | None, seen: Seen) -> bool:
    """Is this of `market`? Where nothing names another one, it is."""
    if market is None:
        return False
    unified, own = text_of(seen.ccxt.get("symbol")), text_of(seen.raw.get("symbol")) or text_of(seen.raw.get("s"))
    if unified is not None and "/" in unified and market.symbol is not None:
        return unified == market.symbol
    return own is None or market.exchange_symbol is None or own in (market.exchange_symbol, market.symbol)


def _by_order(executions: list[Sighting]) -> list[Sighting]:
    """One sighting for each order; what is said of the order itself is from its last execution."""
    if len(executions) < 2:
        return executions
    groups: dict[tuple[object, ...], list[Sighting]] = {}
    for one in executions:
        state = one.state
        known = state.exchange_order_id or state.client_order_id
        groups.setdefault((known, state.symbol) if known is not None else (one,), []).append(one)
    found = []
    for group in groups.values():
        if len(group) > 1:
            group.sort(key=_moment)
        fills = tuple(dict.fromkeys(fill for one in group for fill in one.fills))
        found.append(msgspec.structs.replace(group[-1], fills=fills))
    return found


def _moment(one: Sighting) -> tuple[datetime, str, str]:
    fill = one.fills[0]
    return fill.exchange_at or _EARLIEST, fill.exchange_trade_id or "", repr(one)


def only(parts: list[Any] | None) -> Raw:
    """The one mapping in an envelope; {} where there is none, or several."""
    return plain(parts[0]) if parts is not None and len(items(parts)) == 1 else {}
