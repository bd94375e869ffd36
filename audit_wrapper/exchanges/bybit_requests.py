"""Bybit v5: what a request asks, by endpoint. An order's attached stops are part of what was asked.

A stop attached to a position is set by `position/trading-stop` and has no id in the request; a price of 0
removes it.
"""

from typing import NamedTuple

from audit_wrapper.exchanges.asked import Asked, Stop
from audit_wrapper.exchanges.endpoints import split_version
from audit_wrapper.exchanges.numbers import (
    Raw,
    decimal_of,
    id_of,
    items,
    params_of,
    parsed,
    plain,
    positive_of,
    text_of,
    truth_of,
)
from audit_wrapper.exchanges.words import side_of, type_of
from audit_wrapper.records import Action, OrderState, Request


class _Endpoint(NamedTuple):
    action: Action
    batch: bool = False


_ORDERS = {
    "order/create": _Endpoint(Action.PLACE),
    "order/create-batch": _Endpoint(Action.PLACE, batch=True),
    "order/amend": _Endpoint(Action.AMEND),
    "order/amend-batch": _Endpoint(Action.AMEND, batch=True),
    "order/cancel": _Endpoint(Action.CANCEL),
    "order/cancel-batch": _Endpoint(Action.CANCEL, batch=True),
    "order/cancel-all": _Endpoint(Action.CANCEL_ALL),
    "spread/order/create": _Endpoint(Action.PLACE),
    "spread/order/amend": _Endpoint(Action.AMEND),
    "spread/order/cancel": _Endpoint(Action.CANCEL),
    "spread/order/cancel-all": _Endpoint(Action.CANCEL_ALL),
    "position/trading-stop": _Endpoint(Action.SET_STOPS),
}
_ACCOUNT = frozenset(
    {
        "account/mmp-modify",
        "account/mmp-reset",
        "account/set-collateral-switch",
        "account/set-collateral-switch-batch",
        "account/set-delta-mode",
        "account/set-hedging-mode",
        "account/set-limit-px-action",
        "account/set-margin-mode",
        "order/disconnected-cancel-all",
        "position/add-margin",
        "position/confirm-pending-mmr",
        "position/set-auto-add-margin",
        "position/set-leverage",
        "position/set-risk-limit",
        "position/set-tpsl-mode",
        "position/switch-isolated",
        "position/switch-mode",
        "spot-margin-trade/set-auto-repay-mode",
        "spot-margin-trade/set-leverage",
        "spot-margin-trade/switch-mode",
    }
)
_ACCOUNT_V3 = frozenset({"position/switch-mode", "position/switch-tpsl-mode", "position/tpsl/switch-mode"})
_MONEY = frozenset({"earn/place-order"})
"""Sounds like an order, and is none."""
_NOTHING = frozenset(
    {
        "alpha/prediction/order-estimate",  # [?] this and the next two: by their names alone
        "alpha/prediction/portfolio-summary",
        "alpha/prediction/token-price",
        "broker/award/distribution-record",
        "order/pre-check",
        "spot-x/launchpool/user/activity-log",  # [?]
    }
)
"""Reads by POST, and what changes nothing."""


def action_at(method: object, path: object) -> tuple[bool, Action | None]:
    """(is this endpoint in the table, its action). A read is (True, None) by its method: a v5 GET never writes."""
    version, tail = split_version(path)
    if (text_of(method) or "").upper() == "GET" or tail in _NOTHING:
        return True, None
    if version != "v5":
        _, old, rest = tail.partition("/v3/private/")
        return (True, Action.ACCOUNT) if old and rest in _ACCOUNT_V3 else (False, None)
    if tail in _MONEY:
        return True, Action.OTHER
    endpoint = _ORDERS.get(tail)
    if endpoint is not None:
        return True, endpoint.action
    return (True, Action.ACCOUNT) if tail in _ACCOUNT else (False, None)


def read(request: object) -> Asked | None:
    """What the request asks; None for an endpoint that is not in the table (all reads among them)."""
    if not isinstance(request, Request):
        return None
    known, action = action_at(request.method, request.path)
    if not known or action is None:
        return None
    params = params_of(request.params)
    endpoint = _ORDERS.get(split_version(request.path)[1])
    if endpoint is None:
        return Asked(action=action, state=OrderState(symbol=text_of(params.get("symbol"))))
    if endpoint.batch:
        category = params.get("category")
        orders = [plain(order) for order in items(parsed(params.get("request")))]
        parts = tuple(_asked(endpoint.action, {"category": category, **order}) for order in orders)
        return Asked(action=endpoint.action, parts=parts)
    return _asked(endpoint.action, params)


def _asked(action: Action, params: Raw) -> Asked:
    stops = () if action in (Action.CANCEL, Action.CANCEL_ALL) else _stops(params)
    if action is Action.PLACE:
        stops = tuple(stop for stop in stops if not stop.removed)  # a new order has nothing to take away
    return Asked(
        action=action,
        state=_state(action, params),
        stops=stops,
        position_index=_index(params.get("positionIdx")),
        conditional=_covers(params) if action is Action.CANCEL_ALL else None,
    )


def _state(action: Action, params: Raw) -> OrderState:
    symbol = text_of(params.get("symbol"))
    if action in (Action.SET_STOPS, Action.CANCEL_ALL):
        return OrderState(symbol=symbol)
    kind = type_of(params.get("orderType"))
    trigger = positive_of(params.get("triggerPrice"))
    if trigger is not None:
        kind = conditional_type(kind, params)
    return OrderState(
        exchange_order_id=id_of(params.get("orderId")),
        client_order_id=text_of(params.get("orderLinkId")),
        symbol=symbol,
        side=side_of(params.get("side")),
        type=kind,
        quantity=None if _in_quote(params) else positive_of(params.get("qty")),
        limit_price=None if type_of(params.get("orderType")) == "MARKET" else positive_of(params.get("price")),
        trigger_price=trigger,
        reduce_only=True if truth_of(params.get("closeOnTrigger")) else truth_of(params.get("reduceOnly")),
    )


def conditional_type(plain_type: str | None, raw: Raw) -> str | None:
    """The type of an order with a trigger. One that leaves a position when the market moves in favour of it (a sell when it
    rises, triggerDirection 1; a buy when it falls, 2) is a take-profit."""
    leaves = truth_of(raw.get("reduceOnly")) or truth_of(raw.get("closeOnTrigger"))
    if leaves and (side_of(raw.get("side")), text_of(raw.get("triggerDirection"))) in (("sell", "1"), ("buy", "2")):
        return "TAKE_PROFIT"
    return {"MARKET": "STOP_MARKET", "LIMIT": "STOP_LIMIT"}.get(plain_type or "", plain_type)


def _in_quote(params: Raw) -> bool:
    """Is `qty` an amount of quote currency? On spot a market buy is, unless `marketUnit` says otherwise."""
    if text_of(params.get("category")) != "spot" or text_of(params.get("orderType")) != "Market":
        return False
    unit = text_of(params.get("marketUnit"))
    return unit == "quoteCoin" or (unit is None and side_of(params.get("side")) == "buy")


def _stops(params: Raw) -> tuple[Stop, ...]:
    partial = text_of(params.get("tpslMode")) == "Partial"
    stops: list[Stop] = []
    for name, short in (("stopLoss", "sl"), ("takeProfit", "tp")):
        price = decimal_of(params.get(name))
        if price is not None:
            stops.append(
                Stop(
                    kind="stop_loss" if short == "sl" else "take_profit",
                    trigger_price=price if price > 0 else None,
                    removed=price == 0,
                    size=positive_of(params.get(f"{short}Size")) if partial else None,
                    limit_price=positive_of(params.get(f"{short}LimitPrice")),
                )
            )
    distance = decimal_of(params.get("trailingStop"))
    if distance is not None:
        stops.append(
            Stop(
                kind="trailing",
                trigger_price=positive_of(params.get("activePrice")),
                removed=distance == 0,
                distance=distance if distance > 0 else None,
            )
        )
    return tuple(stops)


def _index(value: object) -> int | None:
    number = decimal_of(value)
    return int(number) if number in (0, 1, 2) and number is not None else None


def _covers(params: Raw) -> bool | None:
    """Which orders a cancel-all takes: on spot regular ones unless told, on contracts all unless told."""
    wanted = text_of(params.get("orderFilter"))
    if wanted is None:
        return False if text_of(params.get("category")) == "spot" else None
    if wanted == "Order":
        return False
    return True if wanted in ("StopOrder", "tpslOrder", "OcoOrder", "BidirectionalTpslOrder") else None
