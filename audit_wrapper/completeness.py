"""The exchange's books against the trail's: what is the same, what is missing, what is more, what differs. Pure.

Written as an auditor reads: what nobody showed is not taken for agreement. So a row that could not be looked at is an
open question, an order whose executions the exchange kept to itself is named, and each row and each execution is used
for one match only: a second row of one order is one too many.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Literal
from uuid import UUID

import msgspec

from audit_wrapper.exchanges.numbers import total
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.fold import RESTING_TYPES
from audit_wrapper.records import Fee, FeeStatus, Fill, OrderState, OrderStatus
from audit_wrapper.routing import same_symbol
from audit_wrapper.rows import FillRow, OrderRow

# -- the statement


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved without an execution: funding and the like. `amount` is received > 0, paid < 0."""

    kind: str
    currency: str
    amount: Decimal
    symbol: str | None = None
    exchange_at: datetime | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same. Values are text with every digit.

    what: "order" or "fill". field: the column that differs; None where the whole of it is missing or too much.
    at_exchange, in_trail: both values; None: it is not there, or not known there. order_key: the row in the trail.
    """

    what: Literal["order", "fill"]
    symbol: str | None
    order_id: str | None
    trade_id: str | None = None
    field: str | None = None
    at_exchange: str | None = None
    in_trail: str | None = None
    order_key: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the trail that could neither be found at the exchange nor be called wrong, and why. `in_trail`: the row
    in words."""

    what: Literal["order", "fill"]
    symbol: str | None
    order_id: str | None
    order_key: str
    why: str
    in_trail: str
    trade_id: str | None = None


class FeeSum(msgspec.Struct, frozen=True, kw_only=True):
    """The fees of the range in one currency, charged > 0; currency None: an amount whose currency was not said."""

    currency: str | None
    at_exchange: Decimal
    in_trail: Decimal


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many. `same` and `different` are on both sides; an order counts once, however much of it differs.

    without_fee_at_exchange, without_fee_in_trail: fills whose fee is not known there, and so is in no sum.
    orders_unknown: rows UNKNOWN; orders_without_id: other rows that have no id to be looked up by (stops of positions).
    """

    orders_same: int = 0
    orders_missing: int = 0
    orders_extra: int = 0
    orders_different: int = 0
    orders_unknown: int = 0
    orders_without_id: int = 0
    fills_same: int = 0
    fills_missing: int = 0
    fills_extra: int = 0
    fills_different: int = 0
    without_fee_at_exchange: int = 0
    without_fee_in_trail: int = 0


class Completeness(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing. `str()` of it is the readable table; times are UTC.

    missing: at the exchange, not in the trail. extra: in the trail, not at the exchange. different: in both, not alike.
    open_questions: rows of which nobody can say. unasked: what could not be asked for, and why, as the caller said.
    unshown: what the exchange did not show of orders that it did show. payments: sums by kind, in text; the trail has
    no rows for these, so they are told and not compared.
    """

    exchange: str
    account: str
    since: datetime
    until: datetime
    counts: Counts
    missing: tuple[Finding, ...] = ()
    extra: tuple[Finding, ...] = ()
    different: tuple[Finding, ...] = ()
    fees: tuple[FeeSum, ...] = ()
    payments: tuple[str, ...] = ()
    open_questions: tuple[Question, ...] = ()
    unasked: tuple[str, ...] = ()
    unshown: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Nothing is missing, nothing is too much, nothing differs in what could be compared."""
        return not (self.missing or self.extra or self.different)

    @property
    def complete(self) -> bool:
        """It agrees, and everything could be compared."""
        return self.agrees and not (self.open_questions or self.unasked or self.unshown)

    def as_json(self) -> str:
        """The statement as JSON, the same bytes for the same books. Decimals are text, times ISO 8601 in UTC."""
        body = msgspec.to_builtins(self)
        body["fees"] = [
            {"currency": fee.currency, "at_exchange": _digits(fee.at_exchange), "in_trail": _digits(fee.in_trail)}
            for fee in self.fees
        ]
        head = {"complete": self.complete, "agrees": self.agrees}
        return msgspec.json.format(msgspec.json.encode({**head, **body}), indent=2).decode()

    def table(self, *, width: int = 100, most: int = 10) -> str:
        """The statement as plain text. width: columns of the terminal. most: how many of each kind are written out."""
        return "\n".join(_lines(self, max(width, 60), most))

    def __str__(self) -> str:
        return self.table()


# -- comparing


def compare(
    exchange: str,
    account: str,
    since: datetime,
    until: datetime,
    seen: Iterable[Sighting],
    orders: Iterable[OrderRow],
    fills: Iterable[FillRow],
    *,
    payments: Iterable[Payment] = (),
    unasked: Iterable[str] = (),
    algo_keys: Collection[UUID] | None = None,
) -> Completeness:
    """What the exchange showed of [since, until) against the rows of the trail. Times without a zone are UTC.

    seen: everything the exchange showed, any number of times. Where two answers about one order do not say the same, the
    one that is further (done, more filled, changed later) counts; of one execution the later in `seen`.
    orders, fills: the trail's rows of this exchange and account: what was created, filled or open in the range, and all
    fills of these orders. algo_keys: order keys of rows whose `order_id` is that of a conditional order of Binance, which
    are numbered by themselves (audit.order_aliases knows); None: the type of a row has to tell.

    The range is by the exchange's clock: created_at of an order, exchange_at of a fill; what lies outside is not missing
    and not extra. A row that the exchange did not show goes by the bot's clock; so show a little more than the range on
    either side, and an order on its edge is found. The statement is about now: an order of the range that was filled or
    canceled after `until` is compared as it stands today.

    Compared: of an order status, side, type, size, filled, remaining, average, limit and trigger price, reduce_only,
    client order id, fee; of a fill its order, side, price, quantity, fee, fee currency, liquidity, time. Not compared:
    what the exchange does not know (position, purpose, reason), and `price`, which repeats another column.

    Raises ValueError for a range that ends before it begins: it would be complete whatever the books say.
    """
    since, until = _utc(since), _utc(until)
    if until <= since:
        raise ValueError(f"the range ends ({until.isoformat()}) before it begins ({since.isoformat()})")
    shown = _Shown(seen)
    books = _Books(since, until, shown, list(orders), list(fills), algo_keys)
    books.match_orders()
    books.match_fills()
    books.check_rows()
    books.check_executions()
    return Completeness(
        exchange=exchange,
        account=account,
        since=since,
        until=until,
        counts=books.counts(),
        missing=_sorted(books.missing),
        extra=_sorted(books.extra),
        different=_sorted(books.different),
        fees=books.fees(),
        payments=_payment_sums(payments, since, until),
        open_questions=tuple(sorted(books.questions, key=lambda q: (q.what, q.symbol or "", q.why, q.order_key))),
        unasked=tuple(unasked),
        unshown=tuple(sorted({*shown.nameless, *books.unshown})),
    )


class _Order:
    """One order at the exchange, from every sighting of it."""

    def __init__(self, kind: str, order_id: str, symbol: str | None) -> None:
        self.kind, self.order_id, self.symbol = kind, order_id, symbol
        self.child_id: str | None = None
        self.child: _Order | None = None
        self.parent: _Order | None = None
        self.states: list[OrderState] = []
        self.row: OrderRow | None = None
        self.by_child = False  # only what it became was shown, and the trail knows whose execution that is

    @property
    def root(self) -> _Order:
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


class _Execution:
    """One execution at the exchange, from every sighting of it."""

    def __init__(self, fill: Fill, order: _Order) -> None:
        self.fill, self.order = fill, order
        self.row: FillRow | None = None

    def take(self, fill: Fill, order: _Order) -> bool:
        """Whether `fill` is this execution, seen again; then what it says is taken over."""
        mine = self.fill
        same = (
            order.root is self.order.root
            and same_symbol(fill.symbol or "", mine.symbol or "")
            and all(_alike(getattr(mine, name), getattr(fill, name)) for name in ("side", "price", "quantity"))
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


class _Shown:
    """What the exchange showed, put together: one entry for one order, one for one execution."""

    def __init__(self, seen: Iterable[Sighting]) -> None:
        self.nameless: list[str] = []
        self._by_id: dict[tuple[str, str], list[_Order]] = {}
        self._executions: dict[str, list[_Execution]] = {}
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

    def _order(self, kind: str, order_id: str, symbol: str | None) -> _Order:
        found = self._by_id.setdefault((kind, order_id), [])
        for order in found:
            # conditional orders of Binance are numbered over all symbols
            if kind == "algo" or same_symbol(order.symbol or "", symbol or ""):
                order.symbol = order.symbol or symbol
                return order
        found.append(_Order(kind, order_id, symbol))
        return found[-1]

    def _take_order(self, sighting: Sighting) -> None:
        state = sighting.state
        if state.exchange_order_id is None:
            if not sighting.fills:
                self.nameless.append(
                    f"the id of an order it showed: {_order_text(state)} {state.symbol or ''}".rstrip()
                )
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
            order = _Order("order", "", symbol)
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
            known.append(_Execution(fill, order))


class _Books:
    """Both books side by side."""

    def __init__(
        self,
        since: datetime,
        until: datetime,
        shown: _Shown,
        orders: list[OrderRow],
        fills: list[FillRow],
        algo_keys: Collection[UUID] | None,
    ) -> None:
        self.since, self.until, self.shown = since, until, shown
        self.orders = sorted(orders, key=lambda row: row.order_key)
        self.fills = sorted(fills, key=lambda row: (row.exchange_trade_id, row.order_key))
        self.algo_keys = algo_keys
        self.missing: list[Finding] = []
        self.extra: list[Finding] = []
        self.different: list[Finding] = []
        self.questions: list[Question] = []
        self.unshown: list[str] = []
        self._of: dict[int, list[_Execution]] = {}
        for execution in shown.executions:
            self._of.setdefault(id(execution.order.root), []).append(execution)
        self._kept: dict[UUID, list[Decimal]] = {}
        for fill in self.fills:
            self._kept.setdefault(fill.order_key, []).append(fill.quantity or Decimal(0))
        self._row_of_key: dict[UUID, OrderRow] = {row.order_key: row for row in self.orders}
        self._unchecked: dict[int, list[FillRow]] = {}  # by order: fills that the exchange neither shows nor rules out
        self._free = dict(enumerate(self.orders))
        self._free_fills = dict(enumerate(self.fills))
        self._changed_orders: set[int] = set()
        self._changed_fills: set[int] = set()

    # -- orders

    def match_orders(self) -> None:
        """Each order of the exchange gets one row at the most, and each row is the row of one order at the most."""
        by_id: dict[str, list[int]] = {}
        for number, row in self._free.items():
            if row.order_id is not None:
                by_id.setdefault(row.order_id, []).append(number)
        # a conditional order of Binance first: only a row of such a type can be its row, others may take what is left
        waiting = sorted(self.shown.orders, key=lambda o: (o.kind != "algo", o.order_id, o.symbol or ""))
        for order in waiting:
            self._take_row(order, [n for n in by_id.get(order.order_id, []) if self._is_of_kind(n, order.kind)])
        for order in waiting:  # the row may know a fired order by what it became alone
            if order.row is None and order.child_id is not None:
                self._take_row(order, [n for n in by_id.get(order.child_id, []) if self._is_of_kind(n, "order")])
        became: dict[str, list[int]] = {}
        resting = {row.order_key: number for number, row in enumerate(self.orders) if row.type in RESTING_TYPES}
        for fill in self.fills:
            if fill.order_key in resting and fill.exchange_order_id is not None:
                became.setdefault(fill.exchange_order_id, []).append(resting[fill.order_key])
        for order in waiting:  # or the exchange may have shown only what it became
            if order.row is None and order.kind == "order":
                self._take_row(order, became.get(order.order_id, []))
                order.by_child = order.row is not None
        for order in waiting:
            self._compare_order(order)

    def _take_row(self, order: _Order, candidates: Iterable[int]) -> None:
        fitting = [
            n for n in dict.fromkeys(candidates) if n in self._free and _same_market(self._free[n], order.symbol)
        ]
        if len(fitting) > 1:
            # of several rows of one order the most faithful one is its row, and the others are too many
            state = self._state(order)
            average = self._average(order, state)
            fitting.sort(key=lambda n: len(list(_differences(state, self._free[n], average))))
        if fitting:
            order.row = self._free.pop(fitting[0])

    def _is_of_kind(self, number: int, kind: str) -> bool:
        row = self.orders[number]
        if self.algo_keys is not None:
            return (row.order_key in self.algo_keys) == (kind == "algo")
        return kind == "order" or row.type not in ("MARKET", "LIMIT")

    def _state(self, order: _Order) -> OrderState:
        state = order.state
        if not order.by_child:
            return state
        # how it was placed is the conditional order's to say
        return msgspec.structs.replace(
            state, type=None, client_order_id=None, limit_price=None, trigger_price=None, reduce_only=None
        )

    def _compare_order(self, order: _Order) -> None:
        row, state = order.row, self._state(order)
        if row is None:
            if self._began_within(order, state):
                hint = next((r for r in self.orders if r.order_id is None and _same_client_id(r, state, order)), None)
                same = (
                    f"no row with this id; a row without one, {hint.status}, has its client order id" if hint else None
                )
                key = str(hint.order_key) if hint else None
                self.missing.append(self._order_finding(order, None, _order_text(state), same, key))
            return
        for field, at_exchange, in_trail in _differences(state, row, self._average(order, state)):
            self._differs(order, field, at_exchange, in_trail)
        if row.order_id != order.order_id and not order.by_child:
            self._differs(order, "order_id", order.order_id, row.order_id)
        for field, at_exchange, in_trail in self._fee_differences(order, state, row):
            self._differs(order, field, at_exchange, in_trail)

    def _differs(self, order: _Order, field: str, at_exchange: str | None, in_trail: str | None) -> None:
        self._changed_orders.add(id(order))
        key = str(order.row.order_key) if order.row is not None else None
        self.different.append(self._order_finding(order, field, at_exchange, in_trail, key))

    def _order_finding(
        self, order: _Order, field: str | None, at_exchange: str | None, in_trail: str | None, key: str | None
    ) -> Finding:
        return Finding(
            what="order",
            symbol=order.symbol,
            order_id=order.order_id,
            field=field,
            at_exchange=at_exchange,
            in_trail=in_trail,
            order_key=key,
        )

    def _whole(self, order: _Order, state: OrderState) -> list[Fill] | None:
        """The order's executions at the exchange, if all were shown."""
        fills = [one.fill for one in self._of.get(id(order), [])]
        if not fills or not state.filled_quantity or any(f.price is None or f.quantity is None for f in fills):
            return None
        return fills if _quantity(fills) == state.filled_quantity else None

    def _average(self, order: _Order, state: OrderState) -> _Average | None:
        fills = self._whole(order, state)
        if fills:
            return _Average(fills=fills)
        return _Average(said=state.average_price) if state.average_price is not None else None

    def _fee_differences(self, order: _Order, state: OrderState, row: OrderRow) -> Iterator[_Difference]:
        fills = self._whole(order, state)
        fees = [fill.fee for fill in fills] if fills else []
        if not fees or any(fee.amount is None for fee in fees):
            fees = [fee for fee in state.fees if fee.amount is not None and state.filled_quantity]
        currencies = {fee.currency for fee in fees}
        if len(currencies) > 1:
            if row.fee is not None:
                several = " + ".join(
                    f"{_digits(fee.amount or Decimal(0))} {fee.currency}" for fee in _by_currency(fees)
                )
                yield "fee", several, _digits(row.fee)
            if row.fee_status != FeeStatus.SEVERAL:
                yield "fee_status", FeeStatus.SEVERAL.value, row.fee_status
        elif fees:
            amount = total([fee.amount for fee in fees if fee.amount is not None])
            if row.fee != amount:
                yield "fee", _digits(amount), _text(row.fee)
            (currency,) = currencies
            if currency is not None and row.fee_currency != currency:
                yield "fee_currency", currency, row.fee_currency

    def check_rows(self) -> None:
        """The rows that the exchange did not show: too many, or an open question."""
        taken = [order for order in self.shown.orders if order.row is not None]
        for order in taken:
            if order.row is not None and order.row.status == OrderStatus.UNKNOWN and order.state.order_status is None:
                self._ask(order.row, "UNKNOWN, and the exchange does not say how it stands")
        for row in self._free.values():
            if row.order_id is not None and any(
                row.order_id in order.ids and _same_market(row, order.symbol) for order in taken
            ):
                self._too_many(row, "one order, and another row is compared with it")
            elif _utc(row.created_at) >= self.until:
                continue
            elif row.status == OrderStatus.UNKNOWN:
                self._ask(row, "UNKNOWN: nobody has said yet what became of it")
            elif row.order_id is None:
                # FIX: what was refused before it had an id was never on the exchange's books
                if row.status != OrderStatus.REJECTED:
                    self._ask(row, "without an id: it cannot be looked up at the exchange")
            elif _utc(row.created_at) < self.since:
                self._ask(row, "from before the range, and the exchange did not show it")
            else:
                self._too_many(row, None)

    def _too_many(self, row: OrderRow, at_exchange: str | None) -> None:
        self.extra.append(
            Finding(
                what="order",
                symbol=row.unified_symbol or row.symbol,
                order_id=row.order_id,
                at_exchange=at_exchange,
                in_trail=_row_text(row),
                order_key=str(row.order_key),
            )
        )

    def _ask(self, row: OrderRow, why: str) -> None:
        self.questions.append(
            Question(
                what="order",
                symbol=row.unified_symbol or row.symbol,
                order_id=row.order_id,
                order_key=str(row.order_key),
                why=why,
                in_trail=_row_text(row),
            )
        )

    def _began_within(self, order: _Order, state: OrderState) -> bool:
        if state.created_at is not None:
            return self._within(state.created_at)
        times = [one.fill.exchange_at for one in self._of.get(id(order), [])] + [state.exchange_at]
        known = [_utc(at) for at in times if at is not None]
        if not known:
            return True
        # a change after the range does not say that it began after it; but what began inside would have been shown
        # with more than its executions
        alone = state.order_status is None and state.quantity is None
        return max(known) >= self.since and (not alone or min(known) < self.until)

    def _within(self, at: datetime | None) -> bool:
        # what has no time is not let go for that
        return at is None or self.since <= _utc(at) < self.until

    # -- fills

    def match_fills(self) -> None:
        """Each execution gets one row at the most: of its own order and side first, then of another, then of the other side."""
        by_id: dict[str, list[int]] = {}
        for number, fill in self._free_fills.items():
            by_id.setdefault(fill.exchange_trade_id, []).append(number)
        for owned, sided in ((True, True), (False, True), (True, False)):
            for one in self.shown.executions:
                if one.row is not None:
                    continue
                for number in by_id.get(one.fill.exchange_trade_id or "", []):
                    row = self._free_fills.get(number)
                    if row is None or not self._same_fill_market(row, one):
                        continue
                    if (not owned or self._owns(one, row)) and (not sided or _alike(row.side, one.fill.side)):
                        one.row = self._free_fills.pop(number)
                        break
        for one in self.shown.executions:
            self._compare_fill(one)
        found = {order.row.order_key: order for order in self.shown.orders if order.row is not None}
        for left in self._free_fills.values():
            order = found.get(left.order_key)
            if order is not None and id(order) not in self._of and self._may_have(order, left):
                self._unchecked.setdefault(id(order), []).append(left)
            elif self._within(left.exchange_at):
                self.extra.append(self._fill_finding(left.symbol, left, None, None, in_trail=_fill_row_text(left)))

    def _may_have(self, order: _Order, row: FillRow) -> bool:
        """Whether the exchange, which showed no execution of this order, leaves room for the trail's."""
        filled = order.state.filled_quantity
        return filled is None or total(self._kept[row.order_key]) <= filled

    def _same_fill_market(self, row: FillRow, one: _Execution) -> bool:
        owner = self._row_of_key.get(row.order_key)
        if owner is not None and same_symbol(row.symbol or "", owner.symbol or ""):
            return _same_market(owner, one.fill.symbol)
        return same_symbol(row.symbol or "", one.fill.symbol or "")

    def _owns(self, one: _Execution, row: FillRow) -> bool:
        root = one.order.root
        return row.exchange_order_id in root.ids or (root.row is not None and row.order_key == root.row.order_key)

    def _compare_fill(self, one: _Execution) -> None:
        fill, row, root = one.fill, one.row, one.order.root
        if row is None:
            if self._within(fill.exchange_at):
                self.missing.append(self._fill_finding(fill.symbol, None, one, None, at_exchange=_fill_text(fill)))
            return
        pairs: list[_Difference] = []
        if row.exchange_order_id is not None and root.order_id and row.exchange_order_id not in root.ids:
            pairs.append(("exchange_order_id", fill.exchange_order_id or root.order_id, row.exchange_order_id))
        owner = self._row_of_key.get(row.order_key)
        if owner is None:
            pairs.append(("order", root.order_id, "no row of its order"))
        elif root.order_id and owner.order_id not in root.ids and not _is_row_of(owner, root):
            pairs.append(("order", root.order_id, f"row of order {owner.order_id or '(without an id)'}"))
        for field, at_exchange, in_trail in (
            ("side", fill.side, row.side),
            ("price", fill.price, row.price),
            ("quantity", fill.quantity, row.quantity),
            ("fee", fill.fee.amount, row.fee),
            ("fee_currency", fill.fee.currency if fill.fee.amount is not None else None, row.fee_currency),
            ("liquidity", fill.liquidity.value if fill.liquidity is not None else None, row.liquidity),
        ):
            if at_exchange is not None and at_exchange != in_trail:
                pairs.append((field, _text(at_exchange), _text(in_trail)))
        if (
            fill.exchange_at is not None
            and row.exchange_at is not None
            and _utc(row.exchange_at) != _utc(fill.exchange_at)
        ):
            pairs.append(("exchange_at", _text(fill.exchange_at), _text(row.exchange_at)))
        for field, told, kept in pairs:
            self._changed_fills.add(id(one))
            self.different.append(self._fill_finding(fill.symbol, row, one, field, at_exchange=told, in_trail=kept))

    def _fill_finding(
        self,
        symbol: str | None,
        row: FillRow | None,
        one: _Execution | None,
        field: str | None,
        *,
        at_exchange: str | None = None,
        in_trail: str | None = None,
    ) -> Finding:
        trade_id = one.fill.exchange_trade_id if one is not None else row.exchange_trade_id if row is not None else None
        root_id = one.order.root.order_id if one is not None else None
        owner = self._row_of_key.get(row.order_key) if row is not None else None
        order_id = root_id or (
            owner.order_id if owner is not None else row.exchange_order_id if row is not None else None
        )
        return Finding(
            what="fill",
            symbol=symbol,
            order_id=order_id,
            trade_id=trade_id,
            field=field,
            at_exchange=at_exchange,
            in_trail=in_trail,
            order_key=str(row.order_key) if row is not None else None,
        )

    # -- what the exchange's own words leave open

    def check_executions(self) -> None:
        """Whether the exchange's executions add up to its own word, and what it did not show."""
        for order in self.shown.orders:
            state, fills = order.state, [one.fill for one in self._of.get(id(order), [])]
            if order.row is None and not self._began_within(order, state):
                continue
            filled, shown = state.filled_quantity, _quantity(fills)
            overlaps = self._overlaps_edge(order, state)
            whole = all(fill.quantity is not None for fill in fills)
            less = filled is not None and shown < filled and whole and not overlaps
            if fills and filled is not None and (shown > filled or less):
                in_trail = _digits(total(self._kept.get(order.row.order_key, []))) if order.row is not None else None
                told = f"its executions add up to {_digits(shown)}, and it says {_digits(filled)}"
                self._differs(order, "fills", told, in_trail)
            if order.row is None:
                continue  # it is missing, and more need not be known
            name = f"order {order.order_id} {order.symbol or ''}".rstrip()
            if order.by_child:
                self.unshown.append(f"the conditional order that became {name}")
            elif order.child_id is not None and (order.child is None or not _tells(order.child)):
                self.unshown.append(f"order {order.child_id}, which {name} became when it fired")
            elif state.order_status is None:
                self.unshown.append(f"how {name} stands" + (": its executions alone" if fills else ""))
            elif filled is None and order.row.filled:
                self.unshown.append(f"how much of {name} was filled; the trail says {_digits(order.row.filled)}")
            if not whole:
                self.unshown.append(f"the quantity of each execution of {name}")
            rows = self._unchecked.get(id(order), [])
            if not fills and ((filled and not overlaps) or rows):
                kept_too = f"; {_count(len(rows), 'fill')} of the trail could not be looked at" if rows else ""
                self.unshown.append(f"the executions of {name}, filled {_text(filled) or 'not known'}{kept_too}")
        for row in self.fills:
            if row.conflicts:
                self.questions.append(
                    Question(
                        what="fill",
                        symbol=row.symbol,
                        order_id=row.exchange_order_id,
                        trade_id=row.exchange_trade_id,
                        order_key=str(row.order_key),
                        why="another, different execution was reported under this id",
                        in_trail=_fill_row_text(row),
                    )
                )

    def _overlaps_edge(self, order: _Order, state: OrderState) -> bool:
        # executions outside the range were not asked for, so the sum of those inside says nothing
        created = state.created_at or (order.row.created_at if order.row is not None else None)
        ended = state.exchange_at
        return (created is not None and _utc(created) < self.since) or (ended is not None and _utc(ended) >= self.until)

    # -- sums

    def counts(self) -> Counts:
        """How many of each."""
        found = [order for order in self.shown.orders if order.row is not None]
        matched = [one for one in self.shown.executions if one.row is not None]
        unknown = sum(1 for q in self.questions if q.what == "order" and q.why.startswith("UNKNOWN"))
        without_id = sum(1 for q in self.questions if q.what == "order" and q.why.startswith("without"))
        at_exchange, in_trail = self._fees_of_range()
        return Counts(
            orders_same=sum(1 for order in found if id(order) not in self._changed_orders),
            orders_different=sum(1 for order in found if id(order) in self._changed_orders),
            orders_missing=sum(1 for one in self.missing if one.what == "order"),
            orders_extra=sum(1 for one in self.extra if one.what == "order"),
            orders_unknown=unknown,
            orders_without_id=without_id,
            fills_same=sum(1 for one in matched if id(one) not in self._changed_fills),
            fills_different=sum(1 for one in matched if id(one) in self._changed_fills),
            fills_missing=sum(1 for one in self.missing if one.what == "fill"),
            fills_extra=sum(1 for one in self.extra if one.what == "fill"),
            without_fee_at_exchange=sum(1 for _, amount in at_exchange if amount is None),
            without_fee_in_trail=sum(1 for _, amount in in_trail if amount is None),
        )

    def fees(self) -> tuple[FeeSum, ...]:
        """The fees of the range, currency by currency."""
        at_exchange, in_trail = self._fees_of_range()
        currencies = {currency for currency, amount in (*at_exchange, *in_trail) if amount is not None}
        return tuple(
            FeeSum(currency=name, at_exchange=_sum_in(name, at_exchange), in_trail=_sum_in(name, in_trail))
            for name in sorted(currencies, key=lambda name: (name is None, name or ""))
        )

    def _fees_of_range(self) -> tuple[list[_Charge], list[_Charge]]:
        at_exchange: list[_Charge] = []
        in_trail: list[_Charge] = [
            (r.fee_currency, r.fee) for r in self._free_fills.values() if self._within(r.exchange_at)
        ]
        for one in self.shown.executions:
            at = one.fill.exchange_at or (one.row.exchange_at if one.row is not None else None)
            if not self._within(at):
                continue  # both sides of one execution are in the range, or neither
            at_exchange.append((one.fill.fee.currency, one.fill.fee.amount))
            if one.row is not None:
                in_trail.append((one.row.fee_currency, one.row.fee))
        return at_exchange, in_trail


_Difference = tuple[str, str | None, str | None]
_Charge = tuple[str | None, Decimal | None]


class _Average(msgspec.Struct, frozen=True):
    """What an order's average price is by the exchange: from its executions where all were shown, else as it says."""

    fills: Sequence[Fill] = ()
    said: Decimal | None = None

    def difference(self, kept: Decimal | None) -> str | None:
        """The exchange's value if `kept` is another one.

        The trail's average is the quotient of its fills (`projection`), and where that does not end, the quotient
        rounded to 18 decimals and 28 digits at least. The same is done here, anew, from the exchange's fills. Where
        these are not all known there is the exchange's own word, rounded to its tick: then the trail's is right if it
        comes to the same digits, whichever way the exchange rounds (Bybit cuts off, others round half up).
        """
        if self.said is not None:
            exponent = self.said.as_tuple().exponent
            with localcontext(prec=200):
                step = Decimal(1).scaleb(min(exponent, 0)) if isinstance(exponent, int) else Decimal(0)
                near = kept is not None and (kept == self.said or abs(kept - self.said) < step)
            return None if near else _digits(self.said)
        with localcontext(prec=200):
            value = total([(f.price or Decimal(0)) * (f.quantity or Decimal(0)) for f in self.fills])
            quotient = value / _quantity(self.fills)
            finest = Decimal(1).scaleb(min(-18, quotient.adjusted() - 27))
            rounded = quotient.quantize(finest)
        return None if kept == rounded else _digits(rounded.normalize())


_EXACT_TYPES = frozenset({"MARKET", "LIMIT", *RESTING_TYPES})


def _differences(state: OrderState, row: OrderRow, average: _Average | None) -> Iterator[_Difference]:
    """What the exchange knows of an order and the trail does not say."""
    status = _status(state)
    # what another stop took the place of is canceled at the exchange
    kept = OrderStatus.CANCELED.value if row.status == OrderStatus.MODIFIED else row.status
    if status is not None and status.value != kept:
        yield "status", status.value, row.status
    if state.type in _EXACT_TYPES and (row.type in _EXACT_TYPES or row.type is None) and state.type != row.type:
        yield "type", state.type, row.type  # other words are the exchange's own and name no one type
    remaining = (
        state.quantity - state.filled_quantity
        if state.quantity is not None and state.filled_quantity is not None
        else None
    )
    for field, at_exchange, in_trail in (
        ("side", state.side, row.side),
        ("size", state.quantity, row.size),
        ("filled", state.filled_quantity, row.filled),
        ("remaining", remaining, row.remaining),
        ("limit_price", state.limit_price, row.limit_price),
        ("trigger_price", state.trigger_price, row.trigger_price),
        ("reduce_only", state.reduce_only, row.reduce_only),
        ("client_order_id", state.client_order_id, row.client_order_id),
    ):
        if at_exchange is not None and at_exchange != in_trail:
            yield field, _text(at_exchange), _text(in_trail)
    other = average.difference(row.average_price) if average is not None else None
    if other is not None:
        yield "average_price", other, _text(row.average_price)


def _status(state: OrderState) -> OrderStatus | None:
    """The exchange's status in the trail's sense: FILLED is what the quantities say (an order canceled when nothing was
    left of it has been filled)."""
    status, size, filled = state.order_status, state.quantity, state.filled_quantity
    if status is None or not filled:
        return status
    if size is not None and filled >= size:
        return OrderStatus.FILLED
    if status is OrderStatus.NEW or (status is OrderStatus.FILLED and size is not None):
        return OrderStatus.PARTIALLY_FILLED
    return status


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
    return rank, state.filled_quantity or Decimal(0), _utc(state.exchange_at) if state.exchange_at else _LONG_AGO


def _tells(order: _Order) -> bool:
    return any(state.order_status is not None for state in order.states)


def _fills_of(sighting: Sighting) -> Iterator[Fill]:
    for fill in (*sighting.state.fills, *sighting.fills):
        if (
            fill.exchange_trade_id is not None or fill.quantity is not None
        ):  # an entry of a history that is no execution
            yield fill


def _same_market(row: OrderRow, symbol: str | None) -> bool:
    """Whether the row is of this market, as far as both tell. BTCUSDT may be a spot market and a swap; BTC/USDT is not."""
    if symbol is None:
        return True
    if row.unified_symbol is not None:
        return same_symbol(row.unified_symbol, symbol) or ("/" not in symbol and symbol == row.exchange_symbol)
    known = [name for name in (row.exchange_symbol, row.symbol) if name]
    return not known or any(same_symbol(name, symbol) for name in known)


def _is_row_of(row: OrderRow, order: _Order) -> bool:
    return order.row is not None and order.row.order_key == row.order_key


def _same_client_id(row: OrderRow, state: OrderState, order: _Order) -> bool:
    named = state.client_order_id is not None and row.client_order_id == state.client_order_id
    return named and _same_market(row, order.symbol)


def _alike(one: object, other: object) -> bool:
    return one is None or other is None or one == other


def _quantity(fills: Iterable[Fill]) -> Decimal:
    return total([fill.quantity for fill in fills if fill.quantity is not None])


def _by_currency(fees: Sequence[Fee]) -> list[Fee]:
    names = sorted({fee.currency or "" for fee in fees})
    return [
        Fee(
            amount=total([f.amount for f in fees if (f.currency or "") == name and f.amount is not None]),
            currency=name or None,
            status=FeeStatus.REPORTED,
        )
        for name in names
    ]


def _sum_in(currency: str | None, charges: Iterable[_Charge]) -> Decimal:
    return total([amount for name, amount in charges if name == currency and amount is not None])


def _payment_sums(payments: Iterable[Payment], since: datetime, until: datetime) -> tuple[str, ...]:
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for one in payments:
        if one.exchange_at is None or since <= _utc(one.exchange_at) < until:
            sums.setdefault((one.kind, one.currency), []).append(one.amount)
    return tuple(
        f"{kind}: {_digits(total(amounts))} {currency} ({_count(len(amounts), 'payment')})"
        for (kind, currency), amounts in sorted(sums.items())
    )


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    def place(one: Finding) -> tuple[str, ...]:
        return (
            "0" if one.what == "order" else "1",
            *(text or "" for text in (one.symbol, one.order_id, one.trade_id, one.field, one.order_key)),
            *(text or "" for text in (one.at_exchange, one.in_trail)),
        )

    return tuple(sorted(findings, key=place))


# -- words


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _digits(number: Decimal) -> str:
    return format(number, "f")  # never 1E-9


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _utc(value).isoformat().replace("+00:00", "Z")
    return str(value)


def _words(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _named(name: str, value: object) -> str | None:
    text = _text(value)
    return f"{name} {text}" if text is not None else None


def _order_text(state: OrderState) -> str:
    return _words(
        state.side,
        state.type,
        _text(state.quantity),
        state.order_status.value if state.order_status is not None else None,
        _named("filled", state.filled_quantity),
        _named("at", state.average_price),
        _named("created", state.created_at),
    )


def _row_text(row: OrderRow) -> str:
    return _words(
        row.side,
        row.type,
        _text(row.size),
        row.status,
        _named("filled", row.filled),
        _named("at", row.average_price),
        _named("created", row.created_at),
        _named("client order id", row.client_order_id),
    )


def _fill_text(fill: Fill) -> str:
    fee = _words(_text(fill.fee.amount), fill.fee.currency) if fill.fee.amount is not None else None
    return _words(
        fill.side, _text(fill.quantity), _named("at", fill.price), _named("fee", fee), _text(fill.exchange_at)
    )


def _fill_row_text(row: FillRow) -> str:
    fee = _words(_text(row.fee), row.fee_currency) if row.fee is not None else None
    return _words(row.side, _text(row.quantity), _named("at", row.price), _named("fee", fee), _text(row.exchange_at))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lines(of: Completeness, width: int, most: int) -> Iterator[str]:
    counts = of.counts
    yield f"{of.exchange}, account {of.account}"
    yield f"from {_moment(of.since)} up to {_moment(of.until)} UTC, as it stands now"
    yield ""
    yield from _wrapped(_verdict(of), width, "")
    yield ""
    yield f"{'':10}{'same':>10}{'missing':>10}{'extra':>10}{'different':>11}"
    for name in ("orders", "fills"):
        cells = [getattr(counts, f"{name}_{what}") for what in ("same", "missing", "extra", "different")]
        yield f"{name:10}{cells[0]:>10}{cells[1]:>10}{cells[2]:>10}{cells[3]:>11}"
    yield ""
    yield from _fee_lines(of)
    for payment in of.payments:
        yield from _wrapped(payment, width, "")
    for title, findings in (
        ("MISSING: at the exchange, not in the trail", of.missing),
        ("EXTRA: in the trail, not at the exchange", of.extra),
        ("DIFFERENT", of.different),
    ):
        yield from _section(title, [_finding_lines(one, width) for one in findings], most)
    questions = [_wrapped(f"{_name(q)}: {q.why} ({q.in_trail})", width, "  ") for q in of.open_questions]
    yield from _section("OPEN QUESTIONS", questions, most)
    yield from _section("NOT SHOWN by the exchange", [_wrapped(text, width, "  ") for text in of.unshown], most)
    yield from _section("NOT ASKED", [_wrapped(text, width, "  ") for text in of.unasked], most)


def _verdict(of: Completeness) -> str:
    if of.complete:
        return "COMPLETE: the trail has what the exchange has, in every field that both know."
    parts = [
        (len(of.missing), "missing"),
        (len(of.extra), "extra"),
        (len(of.different), "different"),
        (len(of.open_questions), "open questions"),
        (len(of.unshown), "not shown"),
        (len(of.unasked), "not asked"),
    ]
    said = ", ".join(f"{number} {what}" for number, what in parts if number)
    return (
        f"NOT COMPLETE, but nothing that could be compared differs: {said}." if of.agrees else f"NOT COMPLETE: {said}."
    )


def _fee_lines(of: Completeness) -> Iterator[str]:
    cells = [(fee.currency or "(not said)", _digits(fee.at_exchange), _digits(fee.in_trail)) for fee in of.fees]
    if cells:
        heads = ("fees", "at the exchange", "in the trail")
        wide = [max(len(row[column]) for row in (heads, *cells)) for column in range(3)]
        yield f"{heads[0]:{wide[0]}}  {heads[1]:>{wide[1]}}  {heads[2]:>{wide[2]}}"
        for fee, (name, one, other) in zip(of.fees, cells, strict=True):
            mark = "" if fee.at_exchange == fee.in_trail else "  not the same"
            yield f"{name:{wide[0]}}  {one:>{wide[1]}}  {other:>{wide[2]}}{mark}"
    for number, where in (
        (of.counts.without_fee_at_exchange, "at the exchange"),
        (of.counts.without_fee_in_trail, "in the trail"),
    ):
        if number:
            yield f"{_count(number, 'fill')} without a known fee {where}"


def _section(title: str, entries: Sequence[Iterable[str]], most: int) -> Iterator[str]:
    if not entries:
        return
    yield ""
    yield f"{title} ({len(entries)})"
    for entry in entries[:most]:
        yield from entry
    if len(entries) > most:
        yield f"  and {len(entries) - most} more"


def _finding_lines(one: Finding, width: int) -> Iterator[str]:
    yield from _wrapped(_words(_name(one), f"| {one.field}" if one.field else None), width, "  ")
    for where, text in (("exchange:", one.at_exchange), ("trail:", one.in_trail)):
        if one.field is not None or text is not None:
            yield from _wrapped(f"{where:10}{text if text is not None else 'not known'}", width, "      ")


def _name(one: Finding | Question) -> str:
    order = f"order {one.order_id}" if one.order_id else f"order without an id (key {one.order_key})"
    named = f"fill {one.trade_id} of {order}" if one.what == "fill" else order
    return _words(one.symbol or "(symbol not said)", named)


def _wrapped(text: str, width: int, indent: str) -> Iterator[str]:
    # what comes from outside must not move the cursor of whoever reads it
    clean = "".join(char if char.isprintable() else "?" for char in text)
    yield from textwrap.wrap(
        clean,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _moment(at: datetime) -> str:
    return at.isoformat(sep=" ").replace("+00:00", "")
