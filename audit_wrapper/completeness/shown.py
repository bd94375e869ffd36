"""The exchange's side put together: one entry for one order, one for one execution, from everything it showed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from audit_wrapper.completeness.words import order_text, utc
from audit_wrapper.exchanges.numbers import total
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.records import Fill, OrderState, OrderStatus
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import FillRow, OrderRow


class ShownOrder:
    """One order at the exchange, from every sighting of it."""

    def __init__(self, kind: str, order_id: str, symbol: str | None) -> None:
        self.kind, self.order_id, self.symbol = kind, order_id, symbol
        self.child_id: str | None = None
        self.child: ShownOrder | None = None
        self.parent: ShownOrder | None = None
        self.states: list[OrderState] = []
        self.row: OrderRow | None = None
        self.executions: list[ShownExecution] = []  # its child's are its own
        self.differs = False
        self.by_child = False  # only what it became was shown, and the trail knows whose execution that is

    @property
    def root(self) -> ShownOrder:
        return self.parent or self

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.order_id,) if self.child_id is None else (self.order_id, self.child_id)

    @functools.cached_property
    def state(self) -> OrderState:
        """As the exchange shows it, once all sightings are in. A conditional order that fired has been executed as its child."""
        own = _latest(self.states)
        if self.child_id is None:
            return own
        became = _latest(self.child.states) if self.child is not None else OrderState()
        changes: dict[str, Any] = {
            name: value for name in _OF_THE_CHILD if (value := getattr(became, name)) not in (None, ())
        }
        if own.reduce_only is None:
            changes["reduce_only"] = became.reduce_only
        # the child may be of less than was asked (a close-all order has no size until it fires)
        changes["side"] = own.side or became.side
        return msgspec.structs.replace(own, **changes)

    @property
    def compared(self) -> OrderState:
        """What is compared with the row: how it was placed is the conditional order's to say, not its child's."""
        if not self.by_child:
            return self.state
        return msgspec.structs.replace(
            self.state, type=None, client_order_id=None, limit_price=None, trigger_price=None, reduce_only=None
        )

    @property
    def fills(self) -> list[Fill]:
        return [one.fill for one in self.executions]

    @property
    def whole_fills(self) -> list[Fill]:
        """Its fills if all were shown, else none."""
        fills, filled = self.fills, self.state.filled_quantity
        if not filled or any(fill.price is None or fill.quantity is None for fill in fills):
            return []
        return fills if quantity_of(fills) == filled else []

    @property
    def tells(self) -> bool:
        """Whether anything said how it stands."""
        return any(state.order_status is not None for state in self.states)

    @property
    def name(self) -> str:
        return f"order {self.order_id} {self.symbol or ''}".rstrip()


_OF_THE_CHILD = (
    "order_status",
    "quantity",
    "filled_quantity",
    "remaining_quantity",
    "average_price",
    "fees",
    "exchange_status",
    "exchange_at",
    "cause",
)


class ShownExecution:
    """One execution at the exchange, from every sighting of it."""

    def __init__(self, fill: Fill, order: ShownOrder) -> None:
        self.fill, self.order = fill, order
        self.row: FillRow | None = None
        self.differs = False

    def take(self, fill: Fill, order: ShownOrder) -> bool:
        """Whether `fill` is this execution, seen again; then what it says is taken over."""
        mine = self.fill
        same = (
            order.root is self.order.root
            and same_symbol(fill.symbol or "", mine.symbol or "")
            and all(alike(getattr(mine, name), getattr(fill, name)) for name in ("side", "price", "quantity"))
        )
        if same:
            said = {name: value for name in _FILL_FIELDS if (value := getattr(fill, name)) is not None}
            if fill.fee.amount is None:
                said.pop("fee")
            if "/" in (mine.symbol or ""):
                said.pop("symbol", None)  # ccxt's spelling says more than the exchange's
            self.fill = msgspec.structs.replace(mine, **said)
        return same


_FILL_FIELDS = Fill.__struct_fields__


class Shown:
    """What the exchange showed, put together: one entry for one order, one for one execution."""

    def __init__(self, seen: Iterable[Sighting]) -> None:
        self.nameless: list[str] = []
        self._by_id: dict[tuple[str, str], list[ShownOrder]] = {}
        self._executions: dict[str, list[ShownExecution]] = {}
        given = list(seen)
        # ccxt's spelling of a symbol first, since it says more: one that fits two markets must not found a third
        by_spelling = sorted(given, key=lambda s: ("/" not in (s.state.symbol or ""), s.state.symbol is None))
        for sighting in by_spelling:
            self._take_order(sighting)
        for sighting in by_spelling:
            for fill in _fills_of(sighting):
                if fill.exchange_order_id is not None and fill.exchange_order_id != sighting.state.exchange_order_id:
                    self._order("order", fill.exchange_order_id, fill.symbol or sighting.state.symbol)
        self._tie_children()
        for sighting in given:
            for fill in _fills_of(sighting):
                self._take_fill(sighting, fill)
        self.orders = [order for found in self._by_id.values() for order in found if order.parent is None]
        self.executions = [one for found in self._executions.values() for one in found]
        for one in self.executions:
            one.order.root.executions.append(one)

    def _order(self, kind: str, order_id: str, symbol: str | None) -> ShownOrder:
        found = self._by_id.setdefault((kind, order_id), [])
        for order in found:
            # conditional orders of Binance are numbered over all symbols
            if kind == "algo" or same_symbol(order.symbol or "", symbol or ""):
                order.symbol = order.symbol or symbol
                return order
        found.append(ShownOrder(kind, order_id, symbol))
        return found[-1]

    def _take_order(self, sighting: Sighting) -> None:
        state = sighting.state
        if state.exchange_order_id is None:
            if not sighting.fills:
                self.nameless.append(f"the id of an order it showed: {order_text(state)} {state.symbol or ''}".rstrip())
            return
        order = self._order(sighting.id_kind, state.exchange_order_id, state.symbol)
        order.states.append(state)
        order.child_id = sighting.child_order_id or order.child_id

    def _tie_children(self) -> None:
        for order in [order for found in self._by_id.values() for order in found if order.child_id is not None]:
            for child in self._by_id.get(("order", order.child_id or ""), []):
                if child is not order and child.parent is None and same_symbol(child.symbol or "", order.symbol or ""):
                    order.child, child.parent = child, order
                    break

    def _take_fill(self, sighting: Sighting, fill: Fill) -> None:
        symbol = fill.symbol or sighting.state.symbol
        named, own = fill.exchange_order_id, sighting.state.exchange_order_id
        if named is None and own is None:
            self.nameless.append(
                f"the order of execution {fill.exchange_trade_id or '(no id)'} {symbol or ''}".rstrip()
            )
            order = ShownOrder("order", "", symbol)
        elif named is None or named == own:
            order = self._order(sighting.id_kind, own or "", symbol)
        else:
            order = self._order("order", named, symbol)
        if fill.exchange_trade_id is None:
            self.nameless.append(f"the id of an execution of order {order.order_id} {symbol or ''}".rstrip())
            return
        known = self._executions.setdefault(fill.exchange_trade_id, [])
        fill = msgspec.structs.replace(fill, symbol=symbol)
        if not any(one.take(fill, order) for one in known):
            known.append(ShownExecution(fill, order))


_RANK = {OrderStatus.NEW: 1, OrderStatus.PARTIALLY_FILLED: 2, OrderStatus.FILLED: 4}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _latest(states: Sequence[OrderState]) -> OrderState:
    """What several answers about an order come to: the furthest one, and of the others what it does not say."""
    values: dict[str, Any] = {}
    filled = max((s.filled_quantity for s in states if s.filled_quantity is not None), default=None)
    for state in sorted(states, key=_progress):
        for name in OrderState.__struct_fields__:
            value = getattr(state, name)
            # average and fees go with the quantity that they are of
            of_less = name in ("average_price", "fees") and state.filled_quantity not in (None, filled)
            if value not in (None, ()) and not of_less:
                values[name] = value
    return OrderState(**values)


def _progress(state: OrderState) -> tuple[int, Decimal, datetime]:
    rank = _RANK.get(state.order_status, 3) if state.order_status is not None else 0
    return rank, state.filled_quantity or Decimal(0), utc(state.exchange_at) if state.exchange_at else _LONG_AGO


def alike(one: object, other: object) -> bool:
    """Whether two values may be the same: what is not known may be anything."""
    return one is None or other is None or one == other


def quantity_of(fills: Iterable[Fill]) -> Decimal:
    """What these come to; of what has no quantity nothing."""
    return total([fill.quantity for fill in fills if fill.quantity is not None])


def _fills_of(sighting: Sighting) -> Iterator[Fill]:
    for fill in (*sighting.state.fills, *sighting.fills):
        if (
            fill.exchange_trade_id is not None or fill.quantity is not None
        ):  # an entry of a history that is no execution
            yield fill
