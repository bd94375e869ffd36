"""Binance: what a request asks, by endpoint.

Paths are the same for spot (`/api/v3`), USD-M (`/fapi/v1`), COIN-M (`/dapi/v1`), options (`/eapi/v1`), margin
(`/sapi/v1/margin`) and portfolio margin (`/papi/v1/um`, `/cm`, `/margin`), behind a prefix that is taken off.
An implicit call seen before it is signed has ccxt's bare path ("order").
"""

import re
from typing import NamedTuple

from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.endpoints import split_version
from audit_wrapper.exchanges.numbers import (
    Raw,
    decimal_of,
    first,
    id_of,
    items,
    params_of,
    parsed,
    plain,
    positive_of,
    text_of,
    truth_of,
)
from audit_wrapper.exchanges.words import MARKET_TYPES, side_of, type_of
from audit_wrapper.records import Action, OrderState, Request


class _Endpoint(NamedTuple):
    action: Action
    algo: bool = False
    conditional: bool | None = None
    batch: str | None = None  # the parameter that holds a list, as JSON


_ALGO = ("algoOrder", "algo/order", "conditional/order")
_ORDERS: dict[tuple[str, str], _Endpoint] = {
    ("POST", "order"): _Endpoint(Action.PLACE),
    ("PUT", "order"): _Endpoint(Action.AMEND),
    ("DELETE", "order"): _Endpoint(Action.CANCEL),
    ("PUT", "order/amend/keepPriority"): _Endpoint(Action.AMEND),
    ("POST", "order/cancelReplace"): _Endpoint(Action.AMEND),
    ("POST", "sor/order"): _Endpoint(Action.PLACE),
    ("POST", "order/oco"): _Endpoint(Action.PLACE),
    ("POST", "orderList/oco"): _Endpoint(Action.PLACE),
    ("POST", "orderList/oto"): _Endpoint(Action.PLACE),
    ("POST", "orderList/otoco"): _Endpoint(Action.PLACE),
    ("POST", "orderList/opo"): _Endpoint(Action.PLACE),
    ("POST", "orderList/opoco"): _Endpoint(Action.PLACE),
    ("DELETE", "orderList"): _Endpoint(Action.CANCEL),
    ("POST", "batchOrders"): _Endpoint(Action.PLACE, batch="batchOrders"),
    ("PUT", "batchOrders"): _Endpoint(Action.AMEND, batch="batchOrders"),
    ("DELETE", "batchOrders"): _Endpoint(Action.CANCEL, batch="ids"),
    # what these cover differs: regular futures orders only; on spot conditional orders are ordinary ones
    ("DELETE", "allOpenOrders"): _Endpoint(Action.CANCEL_ALL, conditional=False),
    ("DELETE", "openOrders"): _Endpoint(Action.CANCEL_ALL),
    ("DELETE", "allOpenOrdersByUnderlying"): _Endpoint(Action.CANCEL_ALL),
    ("DELETE", "algoOpenOrders"): _Endpoint(Action.CANCEL_ALL, algo=True, conditional=True),
    ("DELETE", "algo/allOpenOrders"): _Endpoint(Action.CANCEL_ALL, algo=True, conditional=True),
    ("DELETE", "conditional/allOpenOrders"): _Endpoint(Action.CANCEL_ALL, algo=True, conditional=True),
    **{("POST", path): _Endpoint(Action.PLACE, algo=True) for path in _ALGO},
    **{("DELETE", path): _Endpoint(Action.CANCEL, algo=True) for path in _ALGO},
}
_ACCOUNT = frozenset(
    {
        "countdownCancelAll",
        "countdownCancelAllHeartBeat",
        "feeBurn",
        "leverage",
        "marginType",
        "mmpReset",
        "mmpSet",
        "multiAssetsMargin",
        "positionMargin",
        "positionSide/dual",
    }
)
_MONEY = frozenset({"dci/product/auto_compound/edit", "giftcard/buyCode", "mining/hash-transfer/config/cancel"})
"""Sounds like an order, and is none."""
_NOTHING = frozenset({"order/test", "sor/order/test", "listenKey", "userDataStream", "userListenToken"})
"""Not a read, but nothing changes: an order is validated, a data stream is kept open."""

_BOOKS = ("um/", "cm/", "margin/")
_TYPES = {"STOP": "STOP_LIMIT", "STOP_LOSS": "STOP_MARKET", "STOP_LOSS_LIMIT": "STOP_LIMIT"}


def _tail(path: object) -> str:
    _, rest = split_version(path)
    return re.sub(r"^(um|cm|margin)/", "", rest) if rest.startswith(_BOOKS) else rest


def action_at(method: object, path: object) -> tuple[bool, Action | None]:
    """(is this endpoint in the table, its action). A read is (True, None) by its method: a GET never writes here."""
    verb, tail = (text_of(method) or "").upper(), _tail(path)
    if verb == "GET" or tail in _NOTHING:
        return True, None
    endpoint = _ORDERS.get((verb, tail))
    if endpoint is not None:
        return True, endpoint.action
    if tail in _MONEY:
        return True, Action.OTHER
    return (True, Action.ACCOUNT) if tail in _ACCOUNT else (False, None)


def read(request: object) -> Asked | None:
    """What the request asks; None for an endpoint that is not in the table (all reads among them)."""
    if not isinstance(request, Request):
        return None
    verb, tail = (text_of(request.method) or "").upper(), _tail(request.path)
    params = params_of(request.params)
    if verb != "GET" and tail in _ACCOUNT:
        return Asked(action=Action.ACCOUNT, state=OrderState(symbol=text_of(params.get("symbol"))))
    endpoint = _ORDERS.get((verb, tail))
    if endpoint is None:
        return None
    if tail == "order/cancelReplace":
        return _cancel_replace(params)
    if endpoint.batch == "ids":
        parts = _batch_of_cancels(params)
    elif endpoint.batch is not None:
        orders = items(parsed(params.get(endpoint.batch)))
        parts = tuple(_asked(endpoint, plain(parsed(order))) for order in orders)
    else:
        return _asked(endpoint, params, margin="/margin/" in f"/{request.path}")
    return Asked(action=endpoint.action, state=OrderState(symbol=text_of(params.get("symbol"))), parts=parts)


def _asked(endpoint: _Endpoint, params: Raw, *, margin: bool = False) -> Asked:
    if endpoint.action is Action.CANCEL_ALL:
        state = OrderState(symbol=text_of(params.get("symbol")))
    elif endpoint.action is Action.PLACE:
        state = _placed(params)
    else:
        state = _targeted(params)
    return Asked(
        action=endpoint.action,
        state=state,
        id_kind="algo" if endpoint.algo else "order",
        conditional=None if margin else endpoint.conditional,
    )


def _placed(params: Raw) -> OrderState:
    kind = type_of(first(params, ("type", "strategyType", "orderType")), own=_TYPES)
    return OrderState(
        client_order_id=text_of(
            first(params, ("newClientOrderId", "clientAlgoId", "newClientStrategyId", "clientOrderId"))
        ),
        symbol=text_of(params.get("symbol")),
        side=side_of(params.get("side")),
        type=kind,
        quantity=positive_of(params.get("quantity")),
        limit_price=None if kind in MARKET_TYPES else positive_of(params.get("price")),
        trigger_price=positive_of(first(params, ("triggerPrice", "stopPrice", "activatePrice", "activationPrice"))),
        reduce_only=True if truth_of(params.get("closePosition")) else truth_of(params.get("reduceOnly")),
    )


def _targeted(params: Raw) -> OrderState:
    """The order a cancel or an amendment is about, and what it shall become."""
    return OrderState(
        exchange_order_id=id_of(first(params, ("orderId", "algoId", "strategyId"))),
        client_order_id=text_of(
            first(params, ("origClientOrderId", "clientAlgoId", "newClientStrategyId", "clientOrderId"))
        ),
        symbol=text_of(params.get("symbol")),
        side=side_of(params.get("side")),
        quantity=positive_of(first(params, ("quantity", "newQty"))),
        limit_price=positive_of(params.get("price")),
    )


def _cancel_replace(params: Raw) -> Asked:
    """Spot: cancels one order and places another, with an id of its own, in one request."""
    cancel = OrderState(
        exchange_order_id=id_of(params.get("cancelOrderId")),
        client_order_id=text_of(params.get("cancelOrigClientOrderId")),
        symbol=text_of(params.get("symbol")),
    )
    place = _placed(params)
    parts = (Asked(action=Action.CANCEL, state=cancel), Asked(action=Action.PLACE, state=place))
    return Asked(action=Action.AMEND, state=OrderState(symbol=place.symbol), parts=parts)


def _batch_of_cancels(params: Raw) -> tuple[Asked, ...]:
    symbol = text_of(params.get("symbol"))
    states = [
        OrderState(exchange_order_id=id_of(value), symbol=symbol)
        for value in items(parsed(first(params, ("orderIdList", "orderidlist", "orderIds"))))
        if decimal_of(value) is not None
    ] or [
        OrderState(client_order_id=text_of(value), symbol=symbol)
        for value in items(parsed(first(params, ("origClientOrderIdList", "origclientorderidlist", "clientOrderIds"))))
    ]
    return tuple(Asked(action=Action.CANCEL, state=state) for state in states)
