"""The JSON that Bybit v5 sends, made from ledger records.

Field names and spellings follow Bybit's v5 documentation (order/open-order, order/execution, position,
market) and what ccxt 4.5.90 reads from them. Almost every number is text; "" means "none".
"""

from __future__ import annotations

import uuid
from decimal import ROUND_DOWN, Decimal
from typing import Any

from .engine import rounded
from .instruments import Instrument
from .ledger import ZERO, Fill, Funding, Order, Position, plain

_STATUS = {
    "NEW": "New",
    "PARTIALLY_FILLED": "PartiallyFilled",
    "FILLED": "Filled",
    "CANCELED": "Cancelled",
    "REJECTED": "Rejected",
}


def average_on_wire(order: Order) -> Decimal:
    """avgPrice with four digits more than prices have [?]: the documentation gives no number."""
    average = order.average_price
    return rounded(average if average is not None else ZERO, order.instrument.price_decimals + 4)


def optional(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def status_word(order: Order) -> str:
    """orderStatus. A part-filled order that ended is PartiallyFilledCanceled on spot, else Cancelled."""
    if order.status == "CANCELED" and order.filled_quantity and order.instrument.category == "spot":
        return "PartiallyFilledCanceled"
    if order.exchange_status and order.status in ("NEW", "CANCELED"):
        return order.exchange_status
    return _STATUS[order.status]


def execution_type(order: Order) -> str:
    """execType. Documented for a takeover is BustTrade; that each step of the ladder is one too is [?]."""
    types = {"liquidation": "BustTrade", "auto_deleveraging": "AdlTrade", "settlement": "Settle"}
    return types.get(order.details.get("cause", ""), "Trade")


def order_json(order: Order, fees: dict[str, Decimal] | None, market_price: Decimal) -> dict[str, Any]:
    """One row of order/realtime and order/history.

    fees: None leaves them out, which exists in this simulation only (`Settings.fee_delay`).
    """
    item = order.instrument
    details = order.details
    leaves = ZERO if order.is_final else order.remaining_quantity
    price = order.limit_price
    if price is None and not order.is_armed:
        price = slippage_cap(order, market_price)
    # A market buy of spot may be asked for in quote coins; then qty is that amount.
    quantity = details.get("quote_quantity", order.quantity)
    payload: dict[str, Any] = {
        "symbol": item.symbol,
        "orderType": order.type,
        "orderLinkId": order.client_order_id,
        "slLimitPrice": "0",
        "orderId": order.exchange_order_id,
        "cancelType": details.get("cancelType", "UNKNOWN"),
        "avgPrice": plain(average_on_wire(order)) if order.filled_quantity else "",
        "stopOrderType": details.get("stopOrderType", ""),
        "lastPriceOnCreated": details.get("lastPriceOnCreated", ""),
        "orderStatus": status_word(order),
        "createType": details.get("createType", "CreateByUser"),
        "takeProfit": "",
        "cumExecValue": plain(order.filled_value),
        "tpslMode": details.get("tpslMode", ""),
        "smpType": "None",
        "triggerDirection": order.trigger_direction,
        "blockTradeId": "",
        "rejectReason": details.get("rejectReason", "EC_NoError"),
        "isLeverage": "0" if item.category == "spot" else "",
        "price": plain(price) if price is not None else "0",
        "orderIv": "",
        "createdTime": str(order.created_time),
        "tpTriggerBy": "",
        "positionIdx": 0,
        "timeInForce": order.time_in_force,
        "leavesValue": plain(leaves * (price or ZERO)),
        "updatedTime": str(order.updated_time),
        "side": order.side.capitalize(),
        "smpGroup": 0,
        "triggerPrice": optional(order.trigger_price),
        "tpLimitPrice": "0",
        "slTriggerBy": "",
        "leavesQty": plain(leaves),
        "closeOnTrigger": details.get("closeOnTrigger", False),
        "placeType": "",
        "cumExecQty": plain(order.filled_quantity),
        "reduceOnly": order.reduce_only,
        "activationPrice": optional(order.activation_price),
        "qty": plain(quantity),
        "stopLoss": "",
        "marketUnit": details.get("marketUnit", ""),
        "smpOrderId": "",
        "triggerBy": "LastPrice" if order.kind != "order" else "",
        "extraFees": "",
    }
    if fees is not None:
        payload["cumFeeDetail"] = {coin: plain(amount) for coin, amount in fees.items()}
        # The sum over all coins, as the exchange sends it; cumFeeDetail says which.
        payload["cumExecFee"] = plain(sum(fees.values(), ZERO))
    return payload


def slippage_cap(order: Order, market_price: Decimal) -> Decimal:
    """The `price` of a market order is not its price but the worst one it would have accepted, 5% away."""
    factor = Decimal("1.05") if order.side == "buy" else Decimal("0.95")
    tick = order.instrument.tick
    return (market_price * factor / tick).quantize(Decimal(1), ROUND_DOWN) * tick


def fill_json(fill: Fill, order: Order, sequence: int, remaining: Decimal, fee_is_known: bool = True) -> dict[str, Any]:
    """One row of execution/list. execFee: positive was charged, negative is a rebate.

    remaining: of the order after this fill. A row without its fee exists in this simulation only.
    """
    fee = {"execFee": plain(fill.fee_amount), "feeCurrency": fill.fee_currency} if fee_is_known else {}
    return {
        "symbol": fill.symbol,
        "orderType": order.type,
        "underlyingPrice": "",
        "orderLinkId": order.client_order_id,
        "orderId": fill.exchange_order_id,
        "stopOrderType": order.details.get("stopOrderType") or "UNKNOWN",
        "execTime": str(fill.time),
        "createType": order.details.get("createType", "CreateByUser"),
        "feeRate": plain(fill.fee_rate),
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": plain(fill.price),
        "execPrice": plain(fill.price),
        "markIv": "",
        "orderQty": plain(order.quantity),
        "orderPrice": optional(order.limit_price) or plain(slippage_cap(order, fill.price)),
        "execValue": plain(fill.value),
        "closedSize": plain(fill.quantity) if order.reduce_only else "0",
        "execType": execution_type(order),
        "seq": sequence,
        "side": fill.side.capitalize(),
        "indexPrice": "",
        "leavesQty": plain(remaining),
        "isMaker": fill.liquidity == "maker",
        **fee,
        "execId": fill.exchange_trade_id,
        "marketUnit": order.details.get("marketUnit", ""),
        "execQty": plain(fill.quantity),
        "extraFees": "",
    }


def funding_json(funding: Funding, sequence: int) -> dict[str, Any]:
    """A funding payment as a row of execution/list: execFee and feeRate are positive when it was paid.

    It has an order id that no order has, and no orderLinkId.
    """
    size = abs(funding.quantity)
    value = size * funding.mark_price
    return {
        "symbol": funding.symbol,
        "orderType": "UNKNOWN",
        "underlyingPrice": "",
        "orderLinkId": "",
        "orderId": str(uuid.uuid5(uuid.NAMESPACE_OID, funding.exchange_funding_id)),
        "stopOrderType": "UNKNOWN",
        "execTime": str(funding.time),
        "feeCurrency": funding.currency,
        "createType": "",
        "feeRate": plain(funding.rate if funding.quantity > 0 else -funding.rate),
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": plain(funding.mark_price),
        "execPrice": plain(funding.mark_price),
        "markIv": "",
        "orderQty": "0",
        "orderPrice": "0",
        "execValue": plain(value),
        "closedSize": "0",
        "execType": "Funding",
        "seq": sequence,
        "side": "Buy" if funding.quantity > 0 else "Sell",
        "indexPrice": "",
        "leavesQty": "0",
        "isMaker": False,
        "execFee": plain(-funding.amount),
        "execId": funding.exchange_funding_id,
        "marketUnit": "",
        "execQty": plain(size),
        "extraFees": "",
    }


def position_json(position: Position, mark: Decimal, stops: dict[str, str]) -> dict[str, Any]:
    """One row of position/list; side is "" when flat. `stops`: stopLoss, takeProfit, trailingStop."""
    item = position.instrument
    value = abs(position.quantity) * mark
    side = {"long": "Buy", "short": "Sell"}.get(position.side or "", "")
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": item.symbol,
        "side": side,
        "size": plain(abs(position.quantity)),
        "avgPrice": plain(rounded(position.entry_price, item.price_decimals + 8)),
        "positionValue": plain(rounded(value, 8)),
        "tradeMode": 0,
        "positionStatus": "Normal",
        "autoAddMargin": 0,
        "adlRankIndicator": 2,
        "leverage": plain(position.leverage),
        "positionBalance": "0",
        "markPrice": plain(mark),
        "liqPrice": "",
        "bustPrice": "",
        "positionMM": plain(rounded(value * Decimal("0.005"), 8)),
        "positionIM": plain(rounded(value / position.leverage, 8)),
        "tpslMode": "Full",
        **stops,
        "unrealisedPnl": plain(rounded((mark - position.entry_price) * position.quantity, 8)),
        "curRealisedPnl": plain(rounded(position.realized_pnl, 8)),
        "cumRealisedPnl": plain(rounded(position.realized_pnl, 8)),
        "seq": 1,
        "isReduceOnly": False,
        "createdTime": str(position.updated_time),
        "updatedTime": str(position.updated_time),
    }


def instrument_json(item: Instrument) -> dict[str, Any]:
    """One row of market/instruments-info."""
    tick, step, largest = plain(item.tick), plain(item.step), plain(item.max_quantity)
    common: dict[str, Any] = {
        "symbol": item.symbol,
        "status": "Trading",
        "baseCoin": item.base,
        "quoteCoin": item.quote,
    }
    if item.category == "spot":
        lot = {
            "basePrecision": step,
            "quotePrecision": "0.0000001",
            "minOrderQty": step,
            "maxOrderQty": largest,
            "minOrderAmt": plain(item.min_notional),
            "maxOrderAmt": "4000000",
        }
        return {**common, "marginTrading": "none", "lotSizeFilter": lot, "priceFilter": {"tickSize": tick}}
    return {
        **common,
        "contractType": "LinearPerpetual",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(item.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": largest,
            "maxMktOrderQty": largest,
            "minOrderQty": step,
            "qtyStep": step,
            "minNotionalValue": plain(item.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": item.quote,
    }


def ticker_json(item: Instrument, price: Decimal, next_funding: int) -> dict[str, Any]:
    """One row of market/tickers. Only contracts have open interest: that is how ccxt tells them from spot."""
    last = plain(price)
    row: dict[str, Any] = {
        "symbol": item.symbol,
        "lastPrice": last,
        "prevPrice24h": last,
        "price24hPcnt": "0",
        "highPrice24h": last,
        "lowPrice24h": last,
        "turnover24h": "50000000",
        "volume24h": "1000000",
        "bid1Price": plain(price - item.tick),
        "bid1Size": plain(item.step * 1000),
        "ask1Price": plain(price + item.tick),
        "ask1Size": plain(item.step * 1000),
    }
    if item.category == "linear":
        row.update(
            indexPrice=last,
            markPrice=last,
            openInterest="100000",
            openInterestValue="5000000",
            fundingRate="0.0001",
            nextFundingTime=str(next_funding),
        )
    return row
