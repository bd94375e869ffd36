"""The generic reader: an order, a fill, a request, as ccxt shows them for any exchange.

ccxt's unified numbers are what all exchanges have in common, and they are partly inferred: so a number is
taken only where the raw payload in `info` bears it out (`evidence.py`), or where there is no raw payload at
all, as in a mocked client, and the unified dict is the only evidence. An exchange whose raw fields are known
by name has a module of its own and is read from those alone. Everything here is pure and total: nonsense in,
None out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from audit_wrapper.exchanges import endpoints, exact
from audit_wrapper.exchanges.asked import Asked, Stop
from audit_wrapper.exchanges.evidence import Evidence
from audit_wrapper.exchanges.facts import Facts, facts_of
from audit_wrapper.exchanges.fees import NOT_SAID, derived_fee, fees_of_fills, one_fee, unified_fees, unified_rate
from audit_wrapper.exchanges.funding import FundingPayment
from audit_wrapper.exchanges.numbers import (
    Raw,
    id_of,
    items,
    plain,
    positive_of,
    text_of,
    time_of,
    total,
    truth_of,
    unsigned_of,
)
from audit_wrapper.exchanges.sightings import Attached, IdKind, Part, ReadsSightings, Seen
from audit_wrapper.exchanges.words import MARKET_TYPES, side_of, status_of, type_of
from audit_wrapper.records import (
    Action,
    Fill,
    Liquidity,
    Market,
    OrderState,
    OrderStatus,
    Request,
)

__all__ = ["Asked", "Attached", "ExchangeAdapter", "IdKind", "Part", "Seen", "Stop"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN_NAMES = ("orderId", "algoId", "ordId", "orderLinkId", "execId", "qty", "origQty", "retCode", "order_id")
"""Fields that ccxt's dicts never have: a mapping with one of them, and without `info`, is an exchange's own payload."""


class ExchangeAdapter(ReadsSightings):
    """Reads one exchange. Stateless; `adapter_for` hands out one per exchange id."""

    def __init__(self, exchange_id: str) -> None:
        self.exchange_id = exchange_id
        self.facts: Facts = facts_of(exchange_id)

    # what an answer shows

    def order_state(self, ccxt_order: Mapping[str, Any], market: Market | None = None) -> OrderState:
        """The order as this answer shows it: a ccxt order, a bot's OrderResult as a dict, or a bare raw payload."""
        return self._state(self._seen(ccxt_order), market)

    def fill(self, ccxt_trade: Mapping[str, Any], market: Market | None = None) -> Fill:
        """One execution, from a ccxt trade or a bare raw payload."""
        return self._read_fill(self._seen(ccxt_trade), market)

    def order_id_kind(self, ccxt_order: Mapping[str, Any]) -> IdKind:
        """Which number space the id of this order is of."""
        return self._id_kind(self._seen(ccxt_order))

    def child_order_id(self, ccxt_order: Mapping[str, Any]) -> str | None:
        """The id of the regular order that a triggered conditional order became; its fills carry that id."""
        return self._child_id(self._seen(ccxt_order))

    def funding(self, entry: object, market: Market | None = None) -> FundingPayment | None:
        """A funding payment, from ccxt's funding history, a raw payload or a message; None for anything else.

        None as well for an exchange without a module of its own: which sign means "paid" differs, and ccxt passes it on.
        """
        return None

    # what a request asks

    def read_request(self, request: Request) -> Asked | None:
        """What `request` asks; None where the endpoint is not known to this adapter."""
        return None

    def action_of(self, method: str, path: str) -> Action | None:
        """The action of a private request by method and path (with or without host prefix); None for a read."""
        return endpoints.generic_action(self.exchange_id, text_of(method) or "", (text_of(path) or "").split("?")[0])

    def is_write(self, api: object, method: str, path: str) -> bool:
        """Can this private request change something? Certain reads by POST are not writes, nor are order tests."""
        return not endpoints.is_public(api) and self.action_of(method, path) is not None

    # exact numbers

    @staticmethod
    def exact_info(info: Any, text: str | None) -> Any:
        """`info` with the digits of the answer's text; `info` itself where it is not found there."""
        return exact.exact_info(info, text)

    # the generic reading

    def _state(self, seen: Seen, market: Market | None) -> OrderState:
        return self._complete(self._read_order(seen, market), seen, market)

    def _id_kind(self, seen: Seen) -> IdKind:
        return "order"

    def _child_id(self, seen: Seen) -> str | None:
        return self._correct(self.facts, seen).child_id

    def _seen(self, value: object) -> Seen:
        ccxt = plain(value)
        info = ccxt.get("info")
        raw = plain(info)
        if "info" in ccxt or not any(name in ccxt for name in _OWN_NAMES):
            return Seen(ccxt, raw, info)
        return Seen({}, ccxt, ccxt)  # a bare raw payload

    def _correct(self, facts: Facts, seen: Seen) -> Facts:
        return facts.of_payload(seen.raw) if facts.of_payload is not None and seen.raw else facts

    def _read_order(self, seen: Seen, market: Market | None) -> OrderState:
        facts = self._correct(self.facts, seen)
        ccxt = {**seen.ccxt, **facts.instead}
        evidence = Evidence(seen.info)
        quantity, filled, remaining = _quantities(ccxt, evidence, bool(seen.raw) or bool(items(seen.info)))
        word = ccxt.get("status")
        status = status_of(word, filled, quantity)
        if status is None and _is(word, "closed") and _is_filled_word(evidence, filled, quantity):
            status = OrderStatus.FILLED
        if status is OrderStatus.FILLED and quantity is None:
            quantity = filled  # an order that is filled was as large as what was filled
        plain_kind, kind = type_of(ccxt.get("type")), _unified_type(ccxt)
        price = positive_of(evidence.digits(ccxt.get("price")))
        average = positive_of(evidence.digits(ccxt.get("average")))
        if average is None and "average" not in ccxt and not seen.info and kind == "MARKET" and filled:
            average = price  # an OrderResult: ccxt's price of a market order is its average, and no payload differs
        if filled is None and average is not None and not evidence.of_filled(average, None):
            average = None  # ccxt divided the cost by an amount that it had inferred
        return OrderState(
            exchange_order_id=id_of(ccxt.get("id")),
            client_order_id=id_of(ccxt.get("clientOrderId")),
            symbol=text_of(ccxt.get("symbol")),
            side=side_of(ccxt.get("side")),
            type=kind,
            order_status=status,
            quantity=quantity,
            filled_quantity=filled,
            remaining_quantity=remaining,
            limit_price=None if kind is None or not MARKET_TYPES.isdisjoint((kind, plain_kind)) else price,
            average_price=average,
            trigger_price=positive_of(evidence.digits(_trigger(ccxt, kind))),
            reduce_only=truth_of(ccxt.get("reduceOnly")),
            fees=unified_fees(ccxt, evidence) if facts.fees is None else facts.fees,
            fills=tuple(self.fill(trade, market) for trade in items(ccxt.get("trades"))),
            exchange_status=_own_word(seen.raw),
            created_at=_created(ccxt, evidence),
            exchange_at=_latest(ccxt),
        )

    def _read_fill(self, seen: Seen, market: Market | None) -> Fill:
        facts, ccxt = self._correct(self.facts, seen), seen.ccxt
        evidence = Evidence(seen.info)
        price = positive_of(evidence.digits(ccxt.get("price")))
        quantity = positive_of(evidence.digits(ccxt.get("amount")))
        fee = one_fee(unified_fees(ccxt, evidence) if facts.fees is None else facts.fees)
        if fee == NOT_SAID and facts.fees is None:
            fee = derived_fee(price, quantity, *unified_rate(ccxt, evidence, market), market) or fee
        return Fill(
            exchange_trade_id=text_of(ccxt.get("id")),
            exchange_order_id=id_of(ccxt.get("order")),
            symbol=symbol_of(ccxt, market),
            side=side_of(ccxt.get("side")),
            price=price,
            quantity=quantity,
            fee=fee,
            liquidity=liquidity_of(ccxt.get("takerOrMaker")),
            exchange_at=time_of(ccxt.get("timestamp")) or time_of(ccxt.get("datetime")),
        )

    def _complete(self, state: OrderState, seen: Seen, market: Market | None) -> OrderState:
        """What follows from the rest for every exchange: what is left, whose fills these are, which fees are real."""
        quantity, filled = state.quantity, state.filled_quantity
        remaining = state.remaining_quantity
        if quantity is not None and filled is not None:
            remaining = total([quantity, filled.copy_negate()]) if filled <= quantity else None
        symbol = symbol_of(seen.ccxt, market) or state.symbol
        fills = state.fills and tuple(
            msgspec.structs.replace(
                fill,
                exchange_order_id=fill.exchange_order_id or state.exchange_order_id,
                symbol=symbol or fill.symbol,
                side=fill.side or state.side,
                exchange_at=fill.exchange_at or state.exchange_at,
                cause=fill.cause or state.cause,
            )
            for fill in state.fills
            if fill.price is not None and fill.quantity is not None  # Kraken lists the bare ids of its trades
        )
        fills = fills and tuple(
            dict.fromkeys(fills)
        )  # ccxt.pro keeps the execution of a message in the order's trades too
        fees = state.fees or (fees_of_fills(fills) if fills and _are_all(fills, filled) else ())
        if fees and not filled and not any(fee.amount for fee in fees):
            fees = ()  # a zero where nothing was filled is a field without a value, not a fee
        return msgspec.structs.replace(state, symbol=symbol, remaining_quantity=remaining, fills=fills, fees=fees)


def _are_all(fills: tuple[Fill, ...], filled: Decimal | None) -> bool:
    """Are these all executions of the order? A message of a stream has one, ccxt.pro those since it listens."""
    return filled is None or total([fill.quantity for fill in fills if fill.quantity is not None]) == filled


def _quantities(ccxt: Raw, evidence: Evidence, has_raw: bool) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Quantity, filled and remaining, less what ccxt inferred for a closed order."""
    quantity = positive_of(evidence.digits(ccxt.get("amount")))
    filled = unsigned_of(evidence.digits(ccxt.get("filled")))
    remaining = unsigned_of(evidence.digits(ccxt.get("remaining")))
    closed = _is(ccxt.get("status"), "closed")
    if has_raw and closed and filled is not None and filled > 0 and filled == quantity:
        said_quantity, said_filled = evidence.of_quantity(filled), evidence.of_filled(filled, quantity)
        if not said_filled and items(ccxt.get("trades")):
            said_filled = True  # ccxt adds the trades up before it infers anything
        if not said_filled:
            return (quantity if said_quantity else None), None, None
        if not said_quantity:
            return None, filled, None
    if quantity is None and filled is not None and remaining is not None and not has_raw:
        quantity = positive_of(total([filled, remaining]))
    return quantity, filled, (remaining if not has_raw or not closed else None)


def _is(word: object, expected: str) -> bool:
    return (text_of(word) or "").lower() == expected


def _is_filled_word(evidence: Evidence, filled: Decimal | None, quantity: Decimal | None) -> bool:
    contradicted = filled is not None and quantity is not None and filled < quantity
    return not contradicted and filled != 0 and evidence.filled_word()


def _unified_type(ccxt: Raw) -> str | None:
    """A plain type with a trigger is a stop; ccxt keeps only the plain half ('market') of many of them.

    `stopLossPrice` and `takeProfitPrice` alone say nothing: on an entry they are what is attached to it.
    """
    kind = type_of(ccxt.get("type"))
    trigger = positive_of(ccxt.get("triggerPrice"))
    if kind not in ("MARKET", "LIMIT") or trigger is None:
        return kind
    if trigger == positive_of(ccxt.get("takeProfitPrice")):
        return "TAKE_PROFIT"
    return "STOP_MARKET" if kind == "MARKET" else "STOP_LIMIT"


def _trigger(ccxt: Raw, kind: str | None) -> object:
    for name in ("triggerPrice", "stopPrice"):
        if positive_of(ccxt.get(name)) is not None:
            return ccxt.get(name)
    if kind in ("STOP_MARKET", "STOP_LIMIT", "STOP_LOSS", "STOP"):
        return ccxt.get("stopLossPrice")
    return ccxt.get("takeProfitPrice") if kind == "TAKE_PROFIT" else None


def _own_word(raw: Raw) -> str | None:
    for name in ("status", "state", "orderStatus", "order_status", "ordStatus", "order_state", "finish_as"):
        if isinstance(raw.get(name), str) and raw[name]:
            return str(raw[name])
    return None


def _latest(ccxt: Raw) -> Any:
    names = ("lastUpdateTimestamp", "lastTradeTimestamp", "timestamp", "datetime")
    return next((moment for moment in (time_of(ccxt.get(name)) for name in names) if moment is not None), None)


def _created(ccxt: Raw, evidence: Evidence) -> datetime | None:
    """ccxt's `timestamp` of an order is its creation; taken where the payload names that moment, to the millisecond."""
    moment = time_of(ccxt.get("timestamp"))
    if moment is None or not any(_milliseconds(leaf.text) == _milliseconds(moment) for leaf in evidence.leaves):
        return None
    return moment


def _milliseconds(value: object) -> int | None:
    moment = time_of(value)
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


def symbol_of(ccxt: Raw, market: Market | None) -> str | None:
    """The unified symbol; the market's where ccxt could not resolve the exchange's spelling (Kraken's XBTUSD)."""
    symbol = text_of(ccxt.get("symbol"))
    if symbol is not None and "/" in symbol:
        return symbol
    return (market.symbol if market is not None else None) or symbol


def liquidity_of(word: object) -> Liquidity | None:
    """Maker or taker, from the word or from an `isMaker` flag; None otherwise (Bybit leaks a `False` here)."""
    text = text_of(word)
    return {"maker": Liquidity.MAKER, "taker": Liquidity.TAKER}.get(text.lower()) if text is not None else None
