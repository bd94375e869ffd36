"""Binance: spot, USD-M and COIN-M futures, options, portfolio margin; one family of field names.

Facts, checked against ccxt 4.5.90 and Binance's own documentation:
- Conditional futures orders live at `/algoOrder` with ids of their own (`algoId`). Fired, they become a
  regular order (`actualOrderId`) and say TRIGGERED, then FINISHED, which ccxt calls `closed` with `filled` 0:
  neither is a fill.
- A zero in `price`, `stopPrice`, `triggerPrice`, `avgPrice` means "not set". `executedQty` zero is a real
  zero, but ccxt writes `filled: 0` also where the answer has no such field (algo orders, acknowledgements).
- A futures order that was triggered says `type: MARKET`; what was placed is in `origType`.
- Spot has no average price: it is `cummulativeQuoteQty / executedQty`. A cancel's `clientOrderId` is the
  cancel's own; the order's is `origClientOrderId`.
- The exchange's own orders are known by their client ids: "autoclose-", "adl_autoclose", "settlement_autoclose-",
  "delivery_autoclose-" and (COIN-M) "delivery-".
- `commission` is positive when charged, negative for a maker's rebate; it can be in BNB, and differ by fill.
"""

from decimal import Decimal
from typing import Any

from audit_wrapper.exchanges import binance_stream as stream
from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.base import ExchangeAdapter, IdKind, Part, Seen, liquidity_of, symbol_of
from audit_wrapper.exchanges.binance_requests import action_at, read
from audit_wrapper.exchanges.fees import NOT_SAID, fee_of
from audit_wrapper.exchanges.funding import FundingPayment
from audit_wrapper.exchanges.numbers import (
    Raw,
    decimal_of,
    first,
    id_of,
    items,
    plain,
    positive_of,
    quotient,
    text_of,
    time_of,
    truth_of,
    unsigned_of,
)
from audit_wrapper.exchanges.sightings import only, readable
from audit_wrapper.exchanges.words import MARKET_TYPES, side_of, status_of, type_of
from audit_wrapper.records import Action, Cause, Fill, Market, OrderState, OrderStatus, Request

TYPES = {
    "STOP": "STOP_LIMIT",
    "STOP_LOSS": "STOP_MARKET",  # spot
    "STOP_LOSS_LIMIT": "STOP_LIMIT",  # spot
}
_ID = ("orderId", "algoId", "strategyId")
_STATUS = ("status", "algoStatus", "strategyStatus")
_ORDER = (*_ID, *_STATUS, "executedQty")
_EXECUTION = ("qty", "quantity", "commission")
_ORDERS_OWN = ("origQty", "executedQty", "clientOrderId", "clientAlgoId", *_STATUS)
_CAUSES = {
    "autoclose-": Cause.LIQUIDATION,
    "adl_autoclose": Cause.AUTO_DELEVERAGING,
    "settlement_autoclose-": Cause.SETTLEMENT,
    "delivery_autoclose-": Cause.SETTLEMENT,
    "delivery-": Cause.SETTLEMENT,
}
_OF_THE_EXCHANGE = tuple(_CAUSES)
_FUNDING = frozenset({"FUNDING_FEE", "SPECIAL_FUNDING_FEE"})
_NOT_TRIGGERED = frozenset({"NEW", "CANCELED", "CANCELLED", "EXPIRED", "REJECTED"})


class Binance(ExchangeAdapter):
    """The Binance family."""

    def funding(self, entry: object, market: Market | None = None) -> FundingPayment | None:
        """Income of the type FUNDING_FEE, as ccxt or Binance lists it; an ACCOUNT_UPDATE for that reason."""
        shown = plain(readable(entry))
        income = shown if "incomeType" in shown else plain(shown.get("info"))
        if not income and "amount" in shown and "code" in shown:  # no payload: a mocked client
            income = {
                "incomeType": "FUNDING_FEE",
                "income": shown["amount"],
                "asset": shown["code"],
                "time": shown.get("timestamp"),
                "tranId": shown.get("id"),
            }
        if "incomeType" not in income:
            return _funding_pushed(shown)
        amount = decimal_of(income.get("income"))
        if amount is None or text_of(income["incomeType"]) not in _FUNDING:
            return None
        return FundingPayment(
            payment_id=id_of(income.get("tranId")),
            symbol=symbol_of(shown, market) or text_of(income.get("symbol")),
            amount=amount,
            currency=text_of(income.get("asset")),
            exchange_at=time_of(income.get("time")),
        )

    def action_of(self, method: str, path: str) -> Action | None:
        """The action of a private request; paths not in Binance's table go by the generic rule."""
        known, action = action_at(method, path)
        return action if known else super().action_of(method, path)

    def read_request(self, request: Request) -> Asked | None:
        """What was sent, by Binance's own parameter names."""
        return read(request)

    def _seen(self, value: object) -> Seen:
        """Takes the one order out of a message of a stream."""
        whole = plain(value)
        raw = whole if "info" not in whole else plain(whole["info"])
        inner = only(stream.opened(raw)) or raw
        if not stream.is_order(inner):
            return super()._seen(value)
        return Seen(whole if "info" in whole else {}, inner, inner)

    def _opened(self, raw: Raw) -> list[Any] | None:
        if "orderListId" in raw and "orders" in raw:  # an order list of spot
            return items(raw.get("orderReports")) or items(raw.get("orders"))
        if "cancelResult" in raw and "newOrderResult" in raw:  # cancelReplace
            return [raw[name] for name in ("cancelResponse", "newOrderResponse") if plain(raw.get(name))]
        return stream.opened(raw)

    def _id_kind(self, seen: Seen) -> IdKind:
        """ "algo" for a conditional futures order: its id is of another number space."""
        return "algo" if _is_algo(stream.order(seen.raw)) else "order"

    def _child_id(self, seen: Seen) -> str | None:
        """`actualOrderId` of a fired conditional order."""
        raw = stream.order(seen.raw)
        return id_of(raw.get("actualOrderId")) or (id_of(raw.get("orderId")) if "strategyId" in raw else None)

    def _part(self, seen: Seen) -> Part | None:
        raw = seen.raw
        if "incomeType" in raw or "incomeType" in seen.ccxt or stream.is_aside(seen.ccxt):
            return "nothing"
        if {"code", "msg"} <= (raw or seen.ccxt).keys() and not any(name in raw for name in _ID):
            return "nothing"  # a refusal, or a success without an order
        if stream.is_order(raw):
            return "order"
        if "isBuyerMaker" in raw:  # somebody's trade
            return None
        if _is_execution(raw):
            return "fill"
        return "order" if _is_named(raw, _ID) else super()._part(seen)

    def _read_order(self, seen: Seen, market: Market | None) -> OrderState:
        raw = stream.order(seen.raw)
        if raw.keys().isdisjoint(_ORDER):
            return super()._read_order(seen, market)
        quantity, filled, average = _numbers(raw)
        word = first(raw, _STATUS)
        kind = type_of(first(raw, ("origType", "orderType", "strategyType", "type")), own=TYPES)
        if kind == "LIQUIDATION":
            kind = None  # the stream's word for why it came to be, which is in `cause`; the lists name the order's type
        price = positive_of(first(raw, ("price", "limitPrice")))
        closes = truth_of(raw.get("closePosition"))
        return OrderState(
            exchange_order_id=_order_id(raw),
            client_order_id=text_of(
                first(raw, ("origClientOrderId", "clientOrderId", "clientAlgoId", "newClientStrategyId"))
            ),
            symbol=symbol_of(seen.ccxt, market) or text_of(raw.get("symbol")),
            side=side_of(raw.get("side")),
            type=kind,
            order_status=status_of(word, filled, quantity),
            quantity=quantity,
            filled_quantity=filled,
            limit_price=None if kind in MARKET_TYPES else price,
            average_price=average,
            trigger_price=positive_of(raw.get("stopPrice"))
            or positive_of(raw.get("triggerPrice"))
            or positive_of(first(raw, ("activatePrice", "activationPrice"))),
            reduce_only=True if closes else truth_of(raw.get("reduceOnly")),
            fills=tuple(self.fill(trade, market) for trade in _fills(seen)),
            exchange_status=text_of(word),
            created_at=time_of(first(raw, ("time", "createTime", "createdAt", "createDate"))),
            exchange_at=time_of(
                first(raw, ("updateTime", "transactTime", "updatedAt", "time", "createTime", "createdAt"))
            ),
            cause=_cause(raw),
        )

    def _read_fill(self, seen: Seen, market: Market | None) -> Fill:
        raw = seen.raw
        if stream.is_order(raw):
            raw = only(list(stream.executions(raw)))
            if not raw:
                return Fill()
        if raw.keys().isdisjoint(_EXECUTION):
            return super()._read_fill(seen, market)
        buyer = truth_of(first(raw, ("isBuyer", "buyer")))
        side = side_of(raw.get("side")) or (None if buyer is None else "buy" if buyer else "sell")
        maker = truth_of(first(raw, ("isMaker", "maker")))
        flag = None if maker is None else "maker" if maker else "taker"
        size = decimal_of(first(raw, ("qty", "quantity")))
        fee = fee_of(decimal_of(raw.get("commission")), raw.get("commissionAsset"))
        if fee is None and "optionSide" in raw:
            fee = fee_of(decimal_of(raw.get("fee")), raw.get("quoteAsset"))
        return Fill(
            exchange_trade_id=text_of(first(raw, ("tradeId", "id"))),
            exchange_order_id=id_of(raw.get("orderId")),
            symbol=symbol_of(seen.ccxt, market) or text_of(raw.get("symbol")),
            side=side,
            price=positive_of(raw.get("price")),
            quantity=positive_of(size.copy_abs()) if size is not None else None,  # options write a sale as negative
            fee=fee or NOT_SAID,
            liquidity=liquidity_of(flag or raw.get("liquidity")),
            exchange_at=time_of(raw.get("time")),
        )


def _funding_pushed(shown: Raw) -> FundingPayment | None:
    """The balance that changed, by how much; the position only where it is isolated."""
    opened = stream.opened(shown) if "stream" in shown else None
    message = only(opened) or shown
    update = plain(message.get("a"))
    balance, position = only(items(update.get("B"))), only(items(update.get("P")))
    amount = decimal_of(balance.get("bc"))
    if message.get("e") != "ACCOUNT_UPDATE" or update.get("m") != "FUNDING_FEE" or amount is None:
        return None
    return FundingPayment(
        symbol=text_of(position.get("s")),
        amount=amount,
        currency=text_of(balance.get("a")),
        exchange_at=time_of(message.get("T")) or time_of(message.get("E")),
    )


def _is_algo(raw: Raw) -> bool:
    return id_of(raw.get("algoId")) is not None or id_of(raw.get("strategyId")) is not None


def _order_id(raw: Raw) -> str | None:
    if _is_algo(raw):
        return id_of(first(raw, ("algoId", "strategyId")))
    return id_of(raw.get("orderId"))


def _fills(seen: Seen) -> list[Any]:
    return [*stream.executions(seen.raw), *(items(seen.ccxt.get("trades")) or items(seen.raw.get("fills")))]


def _is_execution(raw: Raw) -> bool:
    """A row of userTrades; an order has a status, a client id or a quantity of its own."""
    if not ("qty" in raw or "quantity" in raw) or "price" not in raw:
        return False
    return raw.keys().isdisjoint(_ORDERS_OWN) and _is_named(raw, ("id", "tradeId"))


def _is_named(raw: Raw, names: tuple[str, ...]) -> bool:
    return bool([name for name in names if name in raw and id_of(raw[name]) is not None])


def _cause(raw: Raw) -> Cause | None:
    client_id = text_of(first(raw, ("origClientOrderId", "clientOrderId"))) or ""
    by_id = None
    if client_id.startswith(_OF_THE_EXCHANGE):
        by_id = next(cause for prefix, cause in _CAUSES.items() if client_id.startswith(prefix))
    return by_id or (Cause.LIQUIDATION if "LIQUIDATION" in (raw.get("type"), raw.get("origType")) else None)


def _numbers(raw: Raw) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Quantity, filled, average price. A close-all order has no size of its own until it fires."""
    quantity = positive_of(first(raw, ("origQty", "quantity", "qty")))
    if _is_algo(raw):
        filled = positive_of(raw.get("actualQty"))
        fired = id_of(raw.get("actualOrderId")) is not None
        if filled is None and not fired and text_of(first(raw, _STATUS)) in _NOT_TRIGGERED:
            filled = Decimal(0)  # never fired, so nothing was executed; once fired its child order knows
        return quantity, filled, positive_of(raw.get("actualPrice")) if filled else None
    filled = unsigned_of(first(raw, ("executedQty", "filledQty")))
    average = positive_of(first(raw, ("avgPrice", "avgFilledPrice")))
    paid = positive_of(raw.get("cummulativeQuoteQty"))
    if average is None and paid is not None and filled is not None and filled > 0:
        average = quotient(paid, filled)
    if quantity is None and filled and text_of(raw.get("status")) == OrderStatus.FILLED:
        quantity = filled
    return quantity, filled, average
