"""Bybit v5 (and its regional entities): one set of field names for spot, linear, inverse and options.

Facts, checked against ccxt 4.5.90 and Bybit's own documentation:
- create, amend and cancel answer with `orderId` and `orderLinkId` alone; trading-stop answers with nothing.
  What a bot's OrderResult adds to that (filled, status, an id like `sl_position_MNTUSDT`) is the bot's, not
  Bybit's.
- `price` of a market order is its cap on slippage. '' and '0' in a price mean "not set".
- `qty` of a spot market buy is in quote currency unless `marketUnit` is baseCoin.
- `leavesQty` is 0 on a cancelled order. What is left is `qty - cumExecQty`.
- A stop attached to a position is an order of its own, Untriggered, `stopOrderType: StopLoss`, and keeps its
  `orderId` when it fires.
- Fees: `cumFeeDetail` names each coin; older answers have `cumExecFee` alone, whose currency follows by rule.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.base import ExchangeAdapter, Seen, liquidity_of, symbol_of
from audit_wrapper.exchanges.bybit_requests import action_at, read
from audit_wrapper.exchanges.fees import NOT_SAID, added, fee_of, settled_in
from audit_wrapper.exchanges.numbers import (
    Raw,
    decimal_of,
    first,
    id_of,
    items,
    plain,
    positive_of,
    text_of,
    time_of,
    truth_of,
    unsigned_of,
)
from audit_wrapper.exchanges.words import MARKET_TYPES, side_of, status_of, type_of
from audit_wrapper.records import Action, Fee, Fill, Market, OrderState, OrderStatus, Request

STATUSES = {"TRIGGERED": OrderStatus.NEW}  # a conditional order that became a regular one, under the same id
STOPS = {
    "StopLoss": "STOP_LOSS",
    "PartialStopLoss": "STOP_LOSS",
    "TakeProfit": "TAKE_PROFIT",
    "PartialTakeProfit": "TAKE_PROFIT",
    "TrailingStop": "TRAILING_STOP_MARKET",
}
_NO_FILLS = frozenset({"Funding", "Settle", "Delivery", "SessionSettlePnL", "MovePosition"})
"""Entries of the execution list that are no execution of an order."""


class Bybit(ExchangeAdapter):
    """The Bybit family."""

    def action_of(self, method: str, path: str) -> Action | None:
        """The action of a private request; paths not in Bybit's table go by the generic rule."""
        known, action = action_at(method, path)
        return action if known else super().action_of(method, path)

    def read_request(self, request: Request) -> Asked | None:
        """What was sent, by Bybit's own parameter names."""
        return read(request)

    def _seen(self, value: object) -> Seen:
        """Takes the order out of a whole HTTP answer (implicit calls, ccxt's `edit_order`)."""
        seen = super()._seen(value)
        raw = seen.raw
        if "retCode" not in raw:
            return seen
        result = plain(raw.get("result"))
        listed = items(result.get("list"))
        if len(listed) == 1:
            result = plain(listed[0])
        return Seen(seen.ccxt, {"retCode": raw.get("retCode"), **result}, result)

    def _read_order(self, seen: Seen, market: Market | None) -> OrderState:
        raw = seen.raw
        symbol = symbol_of(seen.ccxt, market)
        if not any(name in raw for name in ("orderId", "orderLinkId", "orderStatus", "retCode")):
            state = super()._read_order(seen, market)
            made_up = (state.exchange_order_id or "").startswith("sl_position_")
            return OrderState(symbol=symbol) if made_up else state
        if text_of(raw.get("code")) not in (None, "0"):  # one order of a batch that was refused
            return OrderState(
                exchange_order_id=id_of(raw.get("orderId")),
                client_order_id=text_of(raw.get("orderLinkId")),
                symbol=symbol or text_of(raw.get("symbol")),
                order_status=OrderStatus.REJECTED,
            )
        kind = _type(raw)
        side = side_of(raw.get("side"))
        filled = unsigned_of(raw.get("cumExecQty"))
        status = status_of(raw.get("orderStatus"), filled, None, own=STATUSES)
        quantity = None if _in_quote(raw, seen, market) else positive_of(raw.get("qty"))
        if quantity is None and status is OrderStatus.FILLED:
            quantity = filled
        return OrderState(
            exchange_order_id=id_of(raw.get("orderId")),
            client_order_id=text_of(raw.get("orderLinkId")),
            symbol=symbol or text_of(raw.get("symbol")),
            side=side,
            type=kind,
            order_status=status,
            quantity=quantity,
            filled_quantity=filled,
            limit_price=_limit_price(raw, kind),
            average_price=positive_of(raw.get("avgPrice")),
            trigger_price=positive_of(raw.get("triggerPrice")),
            reduce_only=True if truth_of(raw.get("closeOnTrigger")) else truth_of(raw.get("reduceOnly")),
            fees=_fees(raw, side, market),
            exchange_status=text_of(raw.get("orderStatus")),
            exchange_at=time_of(first(raw, ("updatedTime", "updatedAt", "createdTime", "createdAt"))),
        )

    def _read_fill(self, seen: Seen, market: Market | None) -> Fill:
        raw = seen.raw
        if "execId" not in raw and "execQty" not in raw:
            return super()._read_fill(seen, market)
        if raw.get("execType") in _NO_FILLS:
            return Fill()
        side = side_of(raw.get("side"))
        amount = decimal_of(raw.get("execFee"))
        currency = text_of(first(raw, ("feeCoin", "feeCurrency"))) or settled_in(market, side, amount)
        maker = truth_of(raw.get("isMaker"))
        return Fill(
            exchange_trade_id=text_of(first(raw, ("execId", "tradeId"))),
            exchange_order_id=id_of(raw.get("orderId")),
            symbol=symbol_of(seen.ccxt, market) or text_of(raw.get("symbol")),
            side=side,
            price=positive_of(raw.get("execPrice")),
            quantity=positive_of(raw.get("execQty")),
            fee=fee_of(amount, currency, raw.get("feeRate")) or NOT_SAID,
            liquidity=liquidity_of(None if maker is None else "maker" if maker else "taker"),
            exchange_at=time_of(first(raw, ("execTime", "tradeTime"))),
        )


def _type(raw: Raw) -> str | None:
    stop, plain_type = text_of(raw.get("stopOrderType")), type_of(raw.get("orderType"))
    if stop in STOPS:
        return STOPS[stop]
    if stop is not None and stop not in ("UNKNOWN", "Stop"):
        return type_of(stop)  # tpslOrder, OcoOrder: take-profit or stop-loss, and nothing says which
    if stop == "Stop" or positive_of(raw.get("triggerPrice")) is not None:
        return {"MARKET": "STOP_MARKET", "LIMIT": "STOP_LIMIT"}.get(plain_type or "", plain_type)
    return plain_type


def _limit_price(raw: Raw, kind: str | None) -> Decimal | None:
    if kind in MARKET_TYPES or text_of(raw.get("orderType")) == "Market":
        return None
    return positive_of(raw.get("price"))


def _in_quote(raw: Raw, seen: Seen, market: Market | None) -> bool:
    """Is `qty` an amount of quote currency? Where nothing tells spot from contract, the quantities decide."""
    if text_of(raw.get("orderType")) != "Market" or text_of(raw.get("marketUnit")) == "baseCoin":
        return False
    if text_of(raw.get("marketUnit")) == "quoteCoin":
        return True
    if side_of(raw.get("side")) != "buy":
        return False
    category, symbol = text_of(raw.get("category")), text_of(seen.ccxt.get("symbol"))
    if market is not None and market.type is not None:
        return market.type == "spot"
    if category is not None:
        return category == "spot"
    if symbol is not None and "/" in symbol:
        return ":" not in symbol
    executed, left = decimal_of(raw.get("cumExecQty")), decimal_of(raw.get("leavesQty"))
    return executed is None or left is None or executed + left != decimal_of(raw.get("qty"))


def _fees(raw: Raw, side: str | None, market: Market | None) -> tuple[Fee, ...]:
    detail: Mapping[str, Any] = plain(raw.get("cumFeeDetail"))
    named = added(fee_of(decimal_of(amount), coin) for coin, amount in detail.items())
    if named:
        return named
    amount = decimal_of(raw.get("cumExecFee"))
    return added([fee_of(amount, settled_in(market, side, amount))]) if amount else ()
