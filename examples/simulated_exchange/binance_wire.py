"""The JSON that Binance USD-M futures sends, made from ledger records.

Field names, their order and which numbers are text follow the examples in Binance's documentation
("USDS-Margined Futures", Trade / Account / Market Data) and what ccxt 4.5.90 reads from them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .engine import rounded
from .instruments import Instrument
from .ledger import ZERO, Fill, Order, fixed, plain

ORDER_TYPES = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]


def average_on_wire(order: Order) -> Decimal:
    """avgPrice has five digits where prices have one, and so on in step; 0 before the first fill."""
    average = order.average_price
    return rounded(average if average is not None else ZERO, order.instrument.price_decimals + 4)


def price_text(instrument: Instrument, price: Decimal | None) -> str:
    return fixed(price if price is not None else ZERO, instrument.price_decimals)


def quantity_text(instrument: Instrument, quantity: Decimal) -> str:
    return fixed(quantity, instrument.quantity_decimals)


def order_json(order: Order, with_time: bool = True) -> dict[str, Any]:
    """A plain order (Query Order). The answer to New Order has no `time`."""
    item = order.instrument
    filled = quantity_text(item, order.filled_quantity)
    payload: dict[str, Any] = {
        "orderId": int(order.exchange_order_id or 0),
        "symbol": item.symbol,
        "status": order.status,
        "clientOrderId": order.client_order_id,
        "price": price_text(item, order.limit_price),
        "avgPrice": f"{average_on_wire(order):f}",
        "origQty": quantity_text(item, order.quantity),
        "executedQty": filled,
        "cumQty": filled,
        "cumQuote": plain(order.filled_value),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side.upper(),
        "positionSide": "BOTH",
        "stopPrice": price_text(item, None),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "updateTime": order.updated_time,
    }
    if with_time:
        payload["time"] = order.created_time
    return payload


def acknowledgement_json(order: Order) -> dict[str, Any]:
    """newOrderRespType ACK, the exchange's default: the state before matching, whatever came of it."""
    payload = order_json(order, with_time=False)
    zero = quantity_text(order.instrument, ZERO)
    payload.update(status="NEW", executedQty=zero, cumQty=zero, cumQuote="0")
    payload["avgPrice"] = f"{rounded(ZERO, order.instrument.price_decimals + 4):f}"
    return payload


def algo_json(order: Order, child: Order | None) -> dict[str, Any]:
    """A conditional order (Query Algo Order). What it filled is not in it: `actualOrderId` knows."""
    item = order.instrument
    child_average = average_on_wire(child) if child is not None else ZERO
    payload: dict[str, Any] = {
        "algoId": int(order.exchange_order_id or 0),
        "clientAlgoId": order.client_order_id,
        "algoType": "CONDITIONAL",
        "orderType": order.type,
        "symbol": item.symbol,
        "side": order.side.upper(),
        "positionSide": "BOTH",
        "timeInForce": order.time_in_force,
        "quantity": quantity_text(item, order.quantity),
        "algoStatus": order.exchange_status,
        "actualOrderId": order.actual_order_id or "",
        "actualPrice": fixed(child_average, item.price_decimals + 4),
        "triggerPrice": price_text(item, order.trigger_price),
        "price": price_text(item, order.limit_price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": "CONTRACT_PRICE",
        "priceMatch": "NONE",
        "closePosition": order.close_position,
        "priceProtect": False,
        "reduceOnly": order.reduce_only,
        "createTime": order.created_time,
        "updateTime": order.updated_time,
        "triggerTime": order.triggered_time,
        "goodTillDate": 0,
    }
    if order.callback is not None:
        payload["callbackRate"] = plain(order.callback)
        payload["activatePrice"] = price_text(item, order.activation_price)
    return payload


def fill_json(fill: Fill, fee_is_known: bool = True) -> dict[str, Any]:
    """One row of userTrades. commission has eight digits; negative is a rebate.

    A row without its commission exists in this simulation only (`Settings.fee_delay`).
    """
    fee = {"commission": fixed(fill.fee_amount, 8), "commissionAsset": fill.fee_currency} if fee_is_known else {}
    return {
        "symbol": fill.symbol,
        "id": int(fill.exchange_trade_id),
        "orderId": int(fill.exchange_order_id),
        "side": fill.side.upper(),
        "price": price_text(fill.instrument, fill.price),
        "qty": quantity_text(fill.instrument, fill.quantity),
        "realizedPnl": plain(fill.realized_pnl),
        "quoteQty": plain(fill.value),
        **fee,
        "time": fill.time,
        "positionSide": "BOTH",
        "maker": fill.liquidity == "maker",
        "buyer": fill.side == "buy",
    }


def instrument_json(item: Instrument) -> dict[str, Any]:
    """One symbol of exchangeInfo."""
    tick, step, largest = plain(item.tick), plain(item.step), plain(item.max_quantity)
    return {
        "symbol": item.symbol,
        "pair": item.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": item.base,
        "quoteAsset": item.quote,
        "marginAsset": item.quote,
        "pricePrecision": item.price_decimals,
        "quantityPrecision": item.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": largest, "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": largest, "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": plain(item.min_notional)},
        ],
        "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
