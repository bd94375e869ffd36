"""The trail's tables held against the exchange's books, in every field; each difference is a sentence."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from simulated_exchange import MalformedAnswer, Order, SimulatedExchange

from audit_wrapper.records import Record, RecordKind
from tests.days.truth import Sent, Truth, plain_params

_Row = Any  # an OrderRow, or a row of monitoring.orders with the same names
_BINANCE_TYPES = {
    "STOP": "STOP_LIMIT",
    "TAKE_PROFIT_MARKET": "TAKE_PROFIT",
}
_BROKEN_OFF = MalformedAnswer().text  # a refusal whose words did not arrive whole
_ATTACHED = {"StopLoss": "STOP_LOSS", "TakeProfit": "TAKE_PROFIT", "TrailingStop": "TRAILING_STOP_MARKET"}


@dataclass(frozen=True)
class Tables:
    """What the trail wrote. placing: of an order's key, the intent that made it and which of its orders this is."""

    orders: Sequence[_Row]
    trades: Sequence[_Row]
    fills: Sequence[_Row]
    funding: Sequence[_Row]
    records: Sequence[Record]
    placing: dict[UUID, Any]


class Checks:
    """One comparison. `wrong`: the sentences; `ambiguous`: rows that may stay open, since nobody can tell. `unsettled`: what
    the last reconciliation said of these."""

    def __init__(self, sim: SimulatedExchange, truth: Truth, tables: Tables, unsettled: Sequence[str] = ()) -> None:
        self.sim, self.truth, self.tables, self._unsettled = sim, truth, tables, unsettled
        self.wrong: list[str] = []
        self.ambiguous: list[_Row] = []
        self.unrecognised: list[_Row] = []  # orders of the bot that nobody can tell are its own
        self.taken_for_ours: list[
            _Row
        ] = []  # an order of another, alike in all and made in the same seconds as a lost request
        self.never_were: list[_Row] = []  # stops that travelled with an entry of which nothing was filled
        self._made_by = truth.orders_of_the_bot()
        self._ledger = sim.ledger
        children = {(o.actual_order_id, o.symbol) for o in self._ledger.orders if o.actual_order_id}
        self.orders = [
            order
            for order in self._ledger.orders
            if order.exchange_order_id
            and not (order.kind == "order" and (order.exchange_order_id, order.symbol) in children)
        ]
        self._rows: dict[tuple[Any, ...], list[_Row]] = defaultdict(list)
        for row in tables.orders:
            if row.order_id is not None:
                self._rows[self._place(row.order_id, row.unified_symbol or row.symbol, row.type)].append(row)

    def run(self) -> None:
        """Everything."""
        self._find_twins()
        self._compare_orders()
        self._check_rows_without_id()
        self._compare_fills()
        self._compare_funding()
        self._compare_requests()

    def say(self, *words: object) -> None:
        self.wrong.append(" ".join(str(word) for word in words))

    # -- orders

    def _place(self, order_id: str, symbol: str, kind: str | None) -> tuple[Any, ...]:
        # ids of Binance's conditional orders are a number space of their own, and far from the other
        return order_id, symbol

    def _compare_orders(self) -> None:
        left = dict(self._rows)
        trades: dict[UUID, list[_Row]] = defaultdict(list)
        for trade in self.tables.trades:
            trades[trade.order_key].append(trade)
        for order in self.orders:
            rows = left.pop(self._place(order.exchange_order_id or "", order.unified_symbol, order.type), [])
            if len(rows) != 1:
                self.say(f"{len(rows)} rows of", self._words(order), *map(_row_words, rows))
                continue
            (row,) = rows
            for field, expected in self._expected(order, row).items():
                found = getattr(row, field)
                if found != expected and field == "origin":
                    like = [r for r in self.tables.orders if r is not row and (r.side, r.size) == (row.side, row.size)]
                    self.say(
                        "origin", found, self._words(order), "|", _row_words(row), "beside it:", *map(_row_words, like)
                    )
                elif found != expected:
                    self.say(f"{field} is {found!s} and not {expected!s}:", self._words(order), "|", _row_words(row))
            self._compare_trade(order, row, trades.pop(row.order_key, []))
        for rows in left.values():
            for row in rows:
                self.say("no such order at the exchange:", _row_words(row))
        for found in trades.values():
            self.say("a trade without an order that was filled:", found)

    def _expected(self, order: Order, row: _Row) -> dict[str, Any]:
        executed = self._ledger.executed(order)
        filled = executed.filled_quantity
        attached = order.kind == "attached"
        expected: dict[str, Any] = {
            "exchange": self.sim.kind,
            "unified_symbol": order.unified_symbol,
            "side": order.side,
            "type": self._type(order, row),
            "status": order.status,
            "filled": filled,
            "limit_price": order.limit_price,
        }
        if row.status == "MODIFIED" and attached:
            expected["status"] = "MODIFIED" if order.status == "CANCELED" else order.status
        quantity: Decimal | None = order.quantity
        if executed is not order:
            quantity = executed.quantity  # of what it became, which the bot may have changed
            if row.limit_price == executed.limit_price:
                expected["limit_price"] = executed.limit_price
        elif order.close_position or (attached and not order.quantity):
            quantity = None
        expected["size"] = quantity
        expected["remaining"] = None if quantity is None else quantity - filled
        if "quote_quantity" in order.details:
            # a spot market buy is asked for in quote coins; how much that is in coins is known when it is over
            del expected["size"], expected["remaining"]
        if order.callback is None:
            expected["trigger_price"] = order.trigger_price
        if not attached:
            expected["client_order_id"] = order.client_order_id or None
        if row.reduce_only is not None and not order.details.get("cause"):
            expected["reduce_only"] = order.reduce_only or order.close_position
        fills = self._ledger.fills_of(order)
        expected |= self._money(order, row)
        origin, position = self._origin(order)
        # a market buy on spot is sent in quote currency: its size says nothing
        in_quote = (order.instrument.category, order.side, order.type.upper()) == ("spot", "buy", "MARKET")
        nobody_can_tell = self.truth.was_amended(order) or self._is_said_to_have_twins(order) or in_quote
        if origin == "bot" and row.origin == "external" and nobody_can_tell and not order.client_order_id:
            # its answer was lost, and it looks other than it was asked for, or as two requests do
            self.unrecognised.append(row)
            return expected
        if self._is_taken_for_ours(order, row):
            self.taken_for_ours.append(row)
            return expected
        expected |= {"origin": origin}
        if self._came_with_an_entry(order):
            return expected  # it came with an entry that was filled later: whatever that was for
        if position is not None or row.position_id not in self._scopes_that_touched(order):
            expected["position_id"] = position
        if not fills and row.average_price is not None:
            expected["average_price"] = None
        return expected

    def _money(self, order: Order, row: _Row) -> dict[str, Any]:
        fills = self._ledger.fills_of(order)
        if not fills:
            return {"average_price": None, "fee": None, "fee_currency": None}
        average = self._ledger.executed(order).average_price
        assert average is not None
        # an average that does not end is kept to 18 places
        near = row.average_price is not None and abs(row.average_price - average) <= Decimal("0.5e-18")
        money: dict[str, Any] = {"average_price": row.average_price if near else average}
        currencies = {fill.fee_currency for fill in fills}
        if len(currencies) > 1:
            return {**money, "fee": None, "fee_currency": None, "fee_status": "several_currencies"}
        fee = sum((fill.fee_amount for fill in fills), Decimal(0))
        return {**money, "fee": fee, "fee_currency": currencies.pop(), "fee_status": "reported"}

    def _type(self, order: Order, row: _Row) -> str:
        if row.type == "LIQUIDATION" and order.details.get("cause") == "liquidation":
            return "LIQUIDATION"  # as the stream of Binance calls what its REST calls LIMIT
        if order.kind == "attached":
            return _ATTACHED[order.details["stopOrderType"].removeprefix("Partial")]
        if order.kind == "conditional":
            if row.type == "TAKE_PROFIT" and row.origin == "bot":
                return "TAKE_PROFIT"  # as the bot meant it: Bybit's conditional orders are stops, all of them
            return "STOP_MARKET" if order.type == "Market" else "STOP_LIMIT"
        kind = order.type.upper()
        return _BINANCE_TYPES.get(kind, kind) if order.kind == "algo" else kind

    def _origin(self, order: Order) -> tuple[str, str | None]:
        if "cause" in order.details:
            return order.details["cause"], None
        if order.details.get("by") == "hand":
            return "external", None
        sent = self._made_by.get(id(order))
        if sent is None:
            # a stop that came with an entry which filled later
            return "bot", None
        return "bot", sent.position

    def _came_with_an_entry(self, order: Order) -> bool:
        """Whether it is a stop of an entry that was filled by the market, by an amendment, or at once."""
        sent = self._made_by.get(id(order))
        attached = order.kind == "attached" and "by" not in order.details
        return attached and (sent is None or not sent.logged.path.endswith("trading-stop"))

    def _is_taken_for_ours(self, order: Order, row: _Row) -> bool:
        """Whether another made an order just like one of the bot that never arrived (docs/truth.md, Limits)."""
        placing = self.tables.placing.get(row.order_key)
        sent = self._by_intent.get(placing.intent_id) if placing is not None else None
        by_another = "by" in order.details and row.origin == "bot" and row.found_by == "unique_match"
        return by_another and sent is not None and not sent.orders and sent.logged.outcome != "answered"

    def _is_said_to_have_twins(self, order: Order) -> bool:
        """Whether the trail says of a request like it that several are alike, and nobody can tell which is which."""
        return any(
            row.order_id is None
            and (row.unified_symbol or row.symbol) in (order.unified_symbol, order.instrument.symbol)
            and row.side in (None, order.side)
            and (row.trigger_price is None or row.trigger_price == order.trigger_price or order.callback is not None)
            and (row.size in (None, order.quantity) or (order.reduce_only and row.size > order.quantity))
            and self._is_said_to_be_open(row)
            for row in self.tables.orders
        )

    def _scopes_that_touched(self, order: Order) -> set[str | None]:
        """Positions for which the bot canceled or changed this order, whoever had placed it."""
        found: set[str | None] = {None}
        for sent in self.truth.sent():
            if sent.position is not None:
                text = str(sent.logged.params)
                named = any(one in text for one in (order.exchange_order_id, order.actual_order_id) if one) or (
                    order.client_order_id and order.client_order_id in text
                )
                whole = sent.logged.path.endswith(("OpenOrders", "cancel-all", "trading-stop"))
                if named or whole:
                    found.add(sent.position)
        return found

    def _compare_trade(self, order: Order, row: _Row, trades: list[_Row]) -> None:
        executed = self._ledger.executed(order)
        if len(trades) != (1 if executed.filled_quantity else 0):
            self.say(f"{len(trades)} trades of", self._words(order))
            return
        for trade in trades:
            fills = self._ledger.fills_of(order)
            wanted = {
                "symbol": row.symbol,
                "exchange": row.exchange,
                "side": order.side,
                "order_type": row.type,
                "quantity": row.size,
                "executed_qty": executed.filled_quantity,
                "order_id": order.exchange_order_id,
                "status": "FILLED" if order.status == "FILLED" else "PARTIALLY_FILLED",
                "executed_at": _moment(max(fill.time for fill in fills)),
                "price": trade.average_price,
                **self._money(order, trade),
            }
            for field, expected in wanted.items():
                found = getattr(trade, field)
                if isinstance(found, datetime) and found.tzinfo is None:
                    found = found.replace(tzinfo=UTC)
                if found != expected:
                    self.say(f"trade.{field} is {found!s} and not {expected!s}:", self._words(order))

    # -- requests and what became of them

    def _find_twins(self) -> None:
        """Rows UNKNOWN: their request must have been one of several that are alike."""
        self._by_intent = self._requests_of_intents()

    def _requests_of_intents(self) -> dict[UUID, Sent]:
        """Which request at the exchange each intent became. Equal ones came in the order in which they were meant."""
        sent: dict[str, list[Sent]] = defaultdict(list)
        for one in self.truth.sent():
            sent[_key(one.logged.method, one.logged.path, one.logged.params)].append(one)
        meant: dict[str, list[Record]] = defaultdict(list)
        for record in self.tables.records:
            if record.kind is RecordKind.INTENT and record.request is not None:
                request = record.request
                meant[_key(request.method, request.path, _parsed(request.params))].append(record)
        found = {}
        for key, records in meant.items():
            if len(records) == len(sent[key]):
                found.update({r.record_id: s for r, s in zip(records, sent[key], strict=True)})
        return found

    def _check_rows_without_id(self) -> None:
        for row in self.tables.orders:
            placing = self.tables.placing.get(row.order_key)
            sent = self._by_intent.get(placing.intent_id) if placing is not None else None
            if row.order_id is not None:
                if sent is not None and row.origin == "bot":
                    self._check_is_of(row, sent)
                continue
            made = [] if sent is None else [o for o in sent.orders if self._is_free(o)]
            if row.status == "REJECTED" or row.found_by == "absence":
                if row.found_by == "absence" and made:
                    self.say("absent, and yet it was made:", _row_words(row), *map(self._words, made))
                continue
            taken = row.status in ("CANCELED", "NEW") or (row.status == "UNKNOWN" and sent is not None and sent.orders)
            if taken and sent is not None and self._waits_for_its_entry(row, sent):
                self.never_were.append(row)
            elif (
                row.status == "UNKNOWN" and (self._has_twin(row) or self._may_be_an_amended_one(row))
            ) or self._is_said_to_be_open(row):
                self.ambiguous.append(row)
            elif row.status == "UNKNOWN":
                self.say("still UNKNOWN:", _row_words(row), "made:", *map(self._words, made))
            else:
                self.say("a row without an id:", _row_words(row), "made:", *map(self._words, made))

    def _is_said_to_be_open(self, row: _Row) -> bool:
        """Whether the trail itself says that it cannot be told which order this is, and why."""
        named = f"{row.exchange} {row.unified_symbol or row.symbol} {row.type or 'order'} without id: "
        said = [one for one in self._unsettled if one.startswith(named)]
        return any("alike" in one or "amended since" in one for one in said)

    def _may_be_an_amended_one(self, row: _Row) -> bool:
        if row.client_order_id is not None:
            return False
        sent = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
        return any(
            self.truth.was_amended(order)
            and not order.client_order_id.startswith("mine")
            and (order.unified_symbol, order.side) == (row.unified_symbol, row.side)
            and abs((_moment(order.created_time) - sent).total_seconds()) < 70
            for order in self.orders
        )

    def _waits_for_its_entry(self, row: _Row, sent: Sent) -> bool:
        """Whether it is a stop that travels with an entry of which nothing was filled, so that there is none yet."""
        stops = sent.logged.path.endswith(("/order/create", "/order/create-batch"))
        return row.type in _ATTACHED.values() and stops and not any(one.filled_quantity for one in sent.orders)

    def _is_free(self, order: Order) -> bool:
        """Whether no row has the order's id."""
        return not self._rows.get(self._place(order.exchange_order_id or "", order.unified_symbol, order.type))

    def _has_twin(self, row: _Row) -> bool:
        """Whether another request of the bot, or an order of another, is like this one: then nobody can tell."""

        def like(other: Any, size: Any) -> bool:
            known = row.side is not None and other.side is not None
            sized = row.size is not None and size is not None
            return (
                other.unified_symbol == row.unified_symbol
                and (not known or other.side == row.side)
                and (not sized or size == row.size)
                and (row.type in _ATTACHED.values()) == (other.type in _ATTACHED.values() or other in attached)
            )

        if row.client_order_id is not None:
            return False
        attached = [order for order in self.orders if order.kind == "attached"]
        requests = [r for r in self.tables.orders if r is not row and like(r, r.size) and r.origin == "bot"]
        others = [o for o in self.orders if like(o, o.quantity) and ("by" in o.details or "cause" in o.details)]
        return bool(requests or others)

    def _check_is_of(self, row: _Row, sent: Sent) -> None:
        """An order that is taken for a request's own was made by that request."""
        mine = {order.exchange_order_id for order in sent.orders}
        later = {order.exchange_order_id for order in self.orders if self._came_with_an_entry(order)}
        if row.order_id not in mine | later and row not in self.taken_for_ours:
            self.say("it is not what this request made:", _row_words(row), "made:", *map(self._words, sent.orders))

    def _compare_requests(self) -> None:
        for order in self._ledger.orders:
            if order.kind == "attached" and not (order.trigger_price or order.callback):
                continue  # it would have taken one off, and so it places nothing
            if order.exchange_order_id is None and order.reject_words:
                code = str(order.reject_code)
                told = [r for r in self.tables.orders if r.status == "REJECTED" and r.order_id is None]
                fits = [
                    r
                    for r in told
                    if r.side in (None, order.side)
                    and (code in (r.reason or "") or _BROKEN_OFF in (r.reason or "") or r.found_by == "absence")
                ]
                if not fits and not [r for r in self.ambiguous if r.side == order.side]:
                    self.say("refused, and no row says so:", self._words(order))

    # -- fills and funding

    def _compare_fills(self) -> None:
        expected = {
            (
                fill.unified_symbol,
                fill.exchange_trade_id,
                fill.exchange_order_id,
                fill.side,
                fill.price,
                fill.quantity,
                fill.fee_amount,
                fill.fee_currency,
                fill.liquidity,
                _moment(fill.time),
            )
            for fill in self._ledger.fills
        }
        keys = {row.order_key: row for row in self.tables.orders}
        found = {
            (
                keys[row.order_key].unified_symbol if row.order_key in keys else row.symbol,
                row.exchange_trade_id,
                row.exchange_order_id,
                row.side,
                row.price,
                row.quantity,
                row.fee,
                row.fee_currency,
                row.liquidity,
                row.exchange_at,
            )
            for row in self.tables.fills
        }
        if len(found) != len(self.tables.fills):
            self.say(f"{len(self.tables.fills)} rows of {len(found)} fills")
        for fill in sorted(expected - found, key=str):
            self.say("a fill that is not in the trail:", *fill)
        for fill in sorted(found - expected, key=str):
            self.say("a fill that is not at the exchange:", *fill)

    def _compare_funding(self) -> None:
        expected = {(f.exchange_funding_id, f.amount, f.currency, _moment(f.time)) for f in self._ledger.fundings}
        found = {(r.payment_id, r.amount, r.currency, r.exchange_at) for r in self.tables.funding}
        if len(found) != len(self.tables.funding) or found != expected:
            self.say("funding:", "missing", expected - found, "too much", found - expected)

    # -- words

    def _words(self, order: Order) -> str:
        filled = self._ledger.executed(order).filled_quantity if order.exchange_order_id else 0
        sent = self._made_by.get(id(order))
        by = order.details.get("by") or order.details.get("cause") or (sent.logged.outcome if sent else "nobody")
        return (
            f"[{order.kind} {order.type} {order.side} {order.quantity} {order.unified_symbol} {order.exchange_order_id} "
            f"{order.status} {order.exchange_status} filled {filled} trigger {order.trigger_price} "
            f"cid {order.client_order_id or None} by {by}]"
        )


def _row_words(row: _Row) -> str:
    names = "order_id client_order_id unified_symbol type side size status filled trigger_price limit_price origin"
    return "<" + " ".join(f"{getattr(row, name)}" for name in [*names.split(), "found_by", "reason", "order_key"]) + ">"


def _parsed(params: Any) -> Any:
    if isinstance(params, str):
        if params.startswith("{"):
            return json.loads(params, parse_float=Decimal)
        return dict(parse_qsl(params, keep_blank_values=True))
    return params or {}


def _key(method: str, path: str, params: Any) -> str:
    kept = {name: value for name, value in plain_params(params).items() if name != "signature"}
    return f"{method} {path} {json.dumps(kept, sort_keys=True)}"


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def differences(one: Iterable[Any], other: Iterable[Any]) -> Iterator[str]:
    """Where two lists of requests part."""
    for number, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            yield f"request {number}: {first} without a trail, {second} with one"
            return
