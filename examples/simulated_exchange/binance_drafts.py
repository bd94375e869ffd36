"""Binance USD-M futures: from a request's parameters to an order, and the checks it must pass.

Source: Binance's documentation "USDS-Margined Futures" (New Order, New Algo Order, Error Codes).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from .engine import Refusal
from .instruments import Instrument
from .ledger import Ledger, Order


def plain_order(item: Instrument, params: dict[str, Any]) -> Order:
    """As New Order takes it. stopPrice belongs to the types that it no longer takes."""
    return Order(
        instrument=item,
        side=side_of(params),
        type=text(params, "type"),
        quantity=number(params, "quantity", Decimal(0)),
        client_order_id=str(params.get("newClientOrderId") or ""),
        limit_price=number(params, "price", None) if params.get("type") == "LIMIT" else None,
        trigger_price=number(params, "stopPrice", None),
        reduce_only=flag(params, "reduceOnly"),
        time_in_force=str(params.get("timeInForce") or "GTC"),
    )


def algo_order(item: Instrument, params: dict[str, Any]) -> Order:
    """A conditional order, as New Algo Order takes it."""
    kind = text(params, "type")
    trailing = kind == "TRAILING_STOP_MARKET"
    side = side_of(params)
    # A stop follows the market away from the position's profit, a take-profit is its mirror image.
    rises = (side == "buy") != kind.startswith("TAKE_PROFIT")
    return Order(
        kind="algo",
        exchange_status="NEW",
        instrument=item,
        side=side,
        type=kind,
        quantity=number(params, "quantity", Decimal(0)),
        client_order_id=str(params.get("clientAlgoId") or ""),
        limit_price=number(params, "price", None) if kind in ("STOP", "TAKE_PROFIT") else None,
        trigger_price=number(params, "triggerPrice", None),
        trigger_direction=1 if rises else 2,
        reduce_only=flag(params, "reduceOnly"),
        close_position=flag(params, "closePosition"),
        time_in_force=str(params.get("timeInForce") or "GTC"),
        callback=number(params, "callbackRate", None) if trailing else None,
        activation_price=number(params, "activatePrice", None) if trailing else None,
    )


def check(order: Order, ledger: Ledger) -> None:
    """What both kinds of orders must satisfy."""
    item = order.instrument
    if len(order.client_order_id) > 36:
        raise Refusal(-4015, "Client order id is not valid.", order)
    if order.quantity <= 0 and not order.close_position:
        raise Refusal(-4003, "Quantity less than or equal to zero.", order)
    if _decimals(order.quantity) > item.quantity_decimals:
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.", order)
    if order.quantity % item.step:
        raise Refusal(-4023, "Qty not increased by step size.", order)
    if order.quantity > item.max_quantity:
        raise Refusal(-4005, "Quantity greater than max quantity.", order)
    for price in (order.limit_price, order.trigger_price):
        if price is not None and price <= 0:
            raise Refusal(-4001, "Price less than 0.", order)
        if price is not None and _decimals(price) > item.price_decimals:
            raise Refusal(-1111, "Precision is over the maximum defined for this asset.", order)
        if price is not None and price % item.tick:
            raise Refusal(-4014, "Price not increased by tick size.", order)
    for other in ledger.open_orders():
        # "A unique id among open orders": a client id may be used again once its order has ended.
        same_kind = (other.kind == "algo") == (order.kind == "algo")
        if same_kind and order.client_order_id and other.client_order_id == order.client_order_id:
            raise Refusal(-4116, "ClientOrderId is duplicated.", order)


def missing(name: str, order: Order | None = None) -> Refusal:
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", order)


def text(params: dict[str, Any], name: str) -> str:
    if not params.get(name):
        raise missing(name)
    return str(params[name])


def side_of(params: dict[str, Any]) -> str:
    side = text(params, "side").lower()
    if side not in ("buy", "sell"):
        raise Refusal(-1117, "Invalid side.")
    return side


def number(params: dict[str, Any], name: str, default: Any) -> Any:
    """A Decimal from the request's own digits, or the default when the parameter is absent."""
    if params.get(name) in (None, ""):
        return default
    try:
        return Decimal(str(params[name]))
    except InvalidOperation:
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.") from None


def flag(params: dict[str, Any], name: str) -> bool:
    return str(params.get(name, "")).lower() == "true"


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
