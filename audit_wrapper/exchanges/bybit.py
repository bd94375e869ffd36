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
- A position that is liquidated, deleveraged or settled leaves executions whose `execType` says so, and orders whose
  `createType` does; a settlement has no order at all [D]. Funding is in the list of executions and is none.
- The private stream has the same rows as REST, in `data` of `{topic, data}`; `execution.fast` leaves most fields out.
- Fees: `cumFeeDetail` names each coin; older answers have `cumExecFee` alone, whose currency follows by rule.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.base import Attached, ExchangeAdapter, Part, Seen, liquidity_of, symbol_of
from audit_wrapper.exchanges.bybit_requests import action_at, conditional_type, read
from audit_wrapper.exchanges.fees import NOT_SAID, added, derived_fee, fee_of, settled_in
from audit_wrapper.exchanges.funding import FundingPayment, settled_by_symbol
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
from audit_wrapper.exchanges.sightings import only, readable
from audit_wrapper.exchanges.words import MARKET_TYPES, side_of, status_of, type_of
from audit_wrapper.records import Action, Cause, Fee, Fill, Market, OrderState, OrderStatus, Request

STATUSES = {"TRIGGERED": OrderStatus.NEW}  # a conditional order that became a regular one, under the same id
STOPS = {
    "StopLoss": "STOP_LOSS",
    "PartialStopLoss": "STOP_LOSS",
    "TakeProfit": "TAKE_PROFIT",
    "PartialTakeProfit": "TAKE_PROFIT",
    "TrailingStop": "TRAILING_STOP_MARKET",
}
ATTACHED: dict[str, Attached] = {
    "StopLoss": "stop_loss",
    "PartialStopLoss": "stop_loss",
    "TakeProfit": "take_profit",
    "PartialTakeProfit": "take_profit",
    "TrailingStop": "trailing",
    "TrailingProfit": "trailing",
}
_CREATED = "CreateBy"  # the word of `stopOrderType` follows; a conditional order is CreateByUser or CreateByStopOrder
_NO_FILLS = frozenset(
    {
        "Funding",
        "SessionSettlePnL",
        "MovePosition",
        "Dividend",
        "CorporateAction",
        "ForwardSplitSettle",
        "ReverseSplitSettle",
    }
)
"""Entries of the execution list that are no execution of an order."""
_CAUSES = {
    "CreateByLiq": Cause.LIQUIDATION,
    "CreateByTakeOver_PassThrough": Cause.LIQUIDATION,
    "CreateByAdl_PassThrough": Cause.AUTO_DELEVERAGING,
    "CreateBySettle": Cause.SETTLEMENT,
    "BustTrade": Cause.LIQUIDATION,
    "AdlTrade": Cause.AUTO_DELEVERAGING,
    "Settle": Cause.SETTLEMENT,
    "Delivery": Cause.SETTLEMENT,
}
_ORDERS = frozenset({"order", "stopOrder", "execution"})
_NO_ORDERS = frozenset(
    {"position", "wallet", "greeks", "dcp", "adlAlert", "orderbook", "publicTrade", "tickers", "kline", "liquidation"}
    | {"allLiquidation", "insurance", "priceLimit"}
)
"""First words of topics."""


class Bybit(ExchangeAdapter):
    """The Bybit family."""

    def action_of(self, method: str, path: str) -> Action | None:
        """The action of a private request; paths not in Bybit's table go by the generic rule."""
        known, action = action_at(method, path)
        return action if known else super().action_of(method, path)

    def funding(self, entry: object, market: Market | None = None) -> FundingPayment | None:
        """An entry `Funding` of the execution list, as ccxt or Bybit shows it: its fee, charged when positive."""
        shown = plain(readable(entry))
        seen = self._seen(shown)
        raw = seen.raw
        if not raw and "amount" in shown and "code" in shown:  # no payload: a mocked client; ccxt keeps Bybit's sign
            raw = {
                "execType": "Funding",
                "execFee": shown["amount"],
                "feeCurrency": shown["code"],
                "feeRate": shown.get("rate"),
                "execTime": shown.get("timestamp"),
                "execId": shown.get("id"),
            }
        charged = decimal_of(raw.get("execFee"))
        if text_of(raw.get("execType")) != "Funding" or charged is None:
            return None
        return FundingPayment(
            payment_id=text_of(raw.get("execId")),
            symbol=symbol_of(seen.ccxt, market) or text_of(raw.get("symbol")),
            amount=charged.copy_negate() if charged else charged,
            currency=text_of(first(raw, ("feeCurrency", "feeCoin")))
            or settled_in(market, None, charged)
            or settled_by_symbol(seen.ccxt),
            rate=decimal_of(raw.get("feeRate")),
            exchange_at=time_of(raw.get("execTime")),
        )

    def read_request(self, request: Request) -> Asked | None:
        """What was sent, by Bybit's own parameter names."""
        return read(request)

    def _seen(self, value: object) -> Seen:
        """Takes the order out of a whole HTTP answer (implicit calls, ccxt's `edit_order`)."""
        seen = super()._seen(value)
        raw = seen.raw
        if "info" not in plain(value) and "topic" in plain(value):
            raw = only(self._opened(plain(value)))
            return Seen({}, raw, raw)
        if "retCode" not in raw:
            return seen
        result = plain(raw.get("result"))
        listed = items(result.get("list"))
        if len(listed) == 1:
            result = plain(listed[0])
        return Seen(seen.ccxt, {"retCode": raw.get("retCode"), **result}, result)

    def _opened(self, raw: Raw) -> list[Any] | None:
        if "topic" in raw:
            topic = (text_of(raw["topic"]) or "").split(".")[0]
            return items(raw.get("data")) if topic in _ORDERS else [] if topic in _NO_ORDERS else None
        if "op" in raw or raw.get("ret_msg") == "pong" or "pong" in raw:
            done = text_of(raw.get("retCode")) == "0" and (text_of(raw.get("op")) or "").startswith("order.")
            return _rows(plain(raw.get("data")), plain(raw.get("retExtInfo"))) if done else []
        if "retCode" in raw and "orderId" not in raw:
            return _rows(plain(raw.get("result")), plain(raw.get("retExtInfo")))
        return None

    def _part(self, seen: Seen) -> Part | None:
        raw = seen.raw
        if text_of(raw.get("execType")) in _NO_FILLS:
            return "nothing"
        if "execId" in raw or "execQty" in raw:
            return "fill"
        refused = text_of(raw.get("code")) not in (None, "0")
        if refused and not any(text_of(raw.get(name)) for name in ("orderId", "orderLinkId")):
            return "nothing"
        return "order" if any(text_of(raw.get(name)) for name in ("orderId", "orderLinkId")) else super()._part(seen)

    def _attached(self, seen: Seen) -> Attached | None:
        created, stop = text_of(seen.raw.get("createType")), text_of(seen.raw.get("stopOrderType"))
        return ATTACHED.get(stop or "" if created is None else created.removeprefix(_CREATED))

    def _order_of(self, seen: Seen, fill: Fill, market: Market | None) -> OrderState:
        """A whole execution row repeats what was ordered; `execution.fast` has the ids and the side."""
        raw = seen.raw
        order = {**raw, "qty": raw.get("orderQty"), "price": raw.get("orderPrice")}
        kind = _type(order)
        if kind in ("STOP_MARKET", "STOP_LIMIT"):
            kind = None  # an execution does not say in which direction it was triggered: it may be a take-profit
        quantity = None if _in_quote(order, seen, market) else positive_of(raw.get("orderQty"))
        return msgspec.structs.replace(
            super()._order_of(seen, fill, market),
            client_order_id=text_of(raw.get("orderLinkId")),
            type=kind,
            quantity=quantity,
            limit_price=_limit_price(order, kind) if kind is not None else None,
            exchange_at=fill.exchange_at if quantity is not None else None,
        )

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
            created_at=time_of(first(raw, ("createdTime", "createdAt"))),
            exchange_at=time_of(first(raw, ("updatedTime", "updatedAt", "createdTime", "createdAt"))),
            cause=_CAUSES.get(text_of(raw.get("createType")) or ""),
        )

    def _read_fill(self, seen: Seen, market: Market | None) -> Fill:
        raw = seen.raw
        if "execId" not in raw and "execQty" not in raw:
            return super()._read_fill(seen, market)
        if text_of(raw.get("execType")) in _NO_FILLS:
            return Fill()
        side = side_of(raw.get("side"))
        amount = decimal_of(raw.get("execFee"))
        rate = decimal_of(raw.get("feeRate"))
        currency = text_of(first(raw, ("feeCoin", "feeCurrency"))) or settled_in(
            market, side, rate if amount is None else amount
        )
        price, quantity = positive_of(raw.get("execPrice")), positive_of(raw.get("execQty"))
        fee = fee_of(amount, currency, rate) or derived_fee(price, quantity, rate, currency, market)
        maker = truth_of(raw.get("isMaker"))
        return Fill(
            exchange_trade_id=text_of(first(raw, ("execId", "tradeId"))),
            exchange_order_id=id_of(raw.get("orderId")),
            symbol=symbol_of(seen.ccxt, market) or text_of(raw.get("symbol")),
            side=side,
            price=price,
            quantity=quantity,
            fee=fee or NOT_SAID,
            liquidity=liquidity_of(None if maker is None else "maker" if maker else "taker"),
            exchange_at=time_of(first(raw, ("execTime", "tradeTime"))),
            cause=_CAUSES.get(text_of(raw.get("execType")) or "") or _CAUSES.get(text_of(raw.get("createType")) or ""),
        )


def _rows(result: Raw, extra: Raw) -> list[Any]:
    """The orders or executions of an answer. A batch says of each one, elsewhere, whether it was taken."""
    listed = items(result.get("list"))
    if not listed:
        return [result] if text_of(result.get("orderId")) or text_of(result.get("orderLinkId")) else []
    codes = [plain(entry) for entry in items(extra.get("list"))]
    codes = codes if len(codes) == len(listed) else [{}] * len(listed)
    category = {"category": result["category"]} if "category" in result else {}
    kept = [{"code": code["code"]} if "code" in code else {} for code in codes]
    return [{**category, **plain(row), **code} if plain(row) else row for row, code in zip(listed, kept, strict=True)]


def _type(raw: Raw) -> str | None:
    stop, plain_type = text_of(raw.get("stopOrderType")), type_of(raw.get("orderType"))
    if stop in (None, "UNKNOWN"):
        stop = (text_of(raw.get("createType")) or "").removeprefix(_CREATED)
        stop = stop if stop in STOPS else None
    if stop in STOPS:
        return STOPS[stop]
    if stop is not None and stop not in ("UNKNOWN", "Stop"):
        return type_of(stop)  # tpslOrder, OcoOrder: take-profit or stop-loss, and nothing says which
    if stop == "Stop" or positive_of(raw.get("triggerPrice")) is not None:
        return conditional_type(plain_type, raw)
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
