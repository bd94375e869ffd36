"""The table of calls: which methods, on which kind of object, ask something of an exchange, and what they mean.

A row says what a method's arguments are called (so that a positional and a keyword call read alike), what it asks for
(`action`), what the bot means by it (`purpose`, where the name alone says so) and the order type that the name implies.
Adding a method is adding a row. Sources: HOST.md of this project for the managers, ccxt's unified API for clients.
"""

from typing import NamedTuple

from audit_wrapper.records import Action, Call, Purpose, Seam


class CallRow(NamedTuple):
    """One method. `parameters` in positional order; `type` and `side` as implied by the method's name."""

    method: str
    action: Action
    parameters: tuple[str, ...] = ()
    purpose: Purpose | None = None
    type: str | None = None
    side: str | None = None
    batch: bool = False  # the first argument is a list of orders (or of ids), the answer a list
    websocket: bool = False  # does not pass the client's `fetch`, so its intent is written when the call begins
    composite: bool = False  # does several things through other rows; its own result is no single order


_ORDER = ("symbol", "type", "side", "amount", "price", "params")


def _table(*rows: CallRow) -> dict[str, CallRow]:
    return {row.method: row for row in rows}


MANAGER = _table(
    CallRow("create_market_order", Action.PLACE, ("symbol", "side", "amount", "params"), type="MARKET"),
    CallRow("create_limit_order", Action.PLACE, ("symbol", "side", "amount", "price"), type="LIMIT"),
    CallRow("create_order", Action.PLACE, _ORDER),
    CallRow(
        "create_stop_loss_order",
        Action.PLACE,
        ("symbol", "side", "amount", "stop_price", "reduce_only"),
        Purpose.STOP_LOSS,
        "STOP_MARKET",
    ),
    CallRow(
        "create_stop_loss_order_split",
        Action.PLACE,
        ("symbol", "side", "amount", "stop_price", "reduce_only"),
        Purpose.STOP_LOSS,
        "STOP_MARKET",
        composite=True,
    ),
    CallRow(
        "create_take_profit_order",
        Action.PLACE,
        ("symbol", "side", "amount", "take_profit_price", "reduce_only"),
        Purpose.TAKE_PROFIT,
        "TAKE_PROFIT",
    ),
    CallRow(
        "create_trailing_stop_order",
        Action.PLACE,
        ("symbol", "side", "amount", "activation_price", "callback_rate"),
        Purpose.STOP_LOSS,
        "TRAILING_STOP_MARKET",
    ),
    CallRow(
        "update_stop_loss_atomic",
        Action.SET_STOPS,
        ("symbol", "new_sl_price", "position_side"),
        Purpose.STOP_LOSS,
        "STOP_LOSS",
        composite=True,
    ),
    CallRow("cancel_order", Action.CANCEL, ("order_id", "symbol"), Purpose.CANCEL),
    CallRow("cancel_all_orders", Action.CANCEL_ALL, ("symbol",), Purpose.CANCEL),
    CallRow("close_position", Action.CLOSE, ("symbol", "reason"), Purpose.EXIT, "MARKET", composite=True),
)

STOP_LOSS_MANAGER = _table(
    CallRow(
        "set_stop_loss",
        Action.SET_STOPS,
        ("symbol", "side", "amount", "stop_price"),
        Purpose.STOP_LOSS,
        "STOP_LOSS",
    ),
    CallRow(
        "verify_and_fix_missing_sl",
        Action.OTHER,
        ("position", "stop_price", "max_retries"),
        Purpose.STOP_LOSS,
        composite=True,
    ),
)

ATOMIC = _table(
    CallRow(
        "open_position_atomic",
        Action.OTHER,
        ("signal_id", "symbol", "exchange", "side", "quantity", "entry_price", "stop_loss_price"),
        composite=True,
    ),
)

REPOSITORY = _table(
    CallRow("create_position", Action.POSITION, ("position_data",)),
    CallRow("update_position", Action.POSITION, ("position_id", "updates")),
)

HOST = MANAGER | STOP_LOSS_MANAGER | ATOMIC

_SIDED = ("symbol", "amount", "params")
_PRICED = ("symbol", "amount", "price", "params")
_PRICED_EDIT = ("id", "symbol", "amount", "price", "params")
_TRIGGERED = ("symbol", "type", "side", "amount", "price", "triggerPrice", "params")

# those that ccxt has a `*_ws` twin of
_OVER_SOCKET = frozenset(
    {
        "create_order",
        "create_orders",
        "create_market_order",
        "create_limit_order",
        "create_market_buy_order",
        "create_market_sell_order",
        "create_limit_buy_order",
        "create_limit_sell_order",
        "create_market_order_with_cost",
        "create_trigger_order",
        "create_stop_order",
        "create_stop_limit_order",
        "create_stop_market_order",
        "create_stop_loss_order",
        "create_take_profit_order",
        "create_order_with_take_profit_and_stop_loss",
        "create_trailing_amount_order",
        "create_trailing_percent_order",
        "create_post_only_order",
        "create_reduce_only_order",
        "edit_order",
        "cancel_order",
        "cancel_orders",
        "cancel_all_orders",
    }
)


def _unified() -> dict[str, CallRow]:
    place, cancel, amend, cancel_all = Action.PLACE, Action.CANCEL, Action.AMEND, Action.CANCEL_ALL
    edit = ("id", "symbol", "type", "side", "amount", "price", "params")
    rows = [
        CallRow("create_order", place, _ORDER),
        CallRow("create_orders", place, ("orders", "params"), batch=True),
        CallRow("create_spot_order", place, _ORDER),
        CallRow("create_spot_orders", place, ("orders", "params"), batch=True),
        CallRow("create_contract_order", place, _ORDER),
        CallRow("create_contract_orders", place, ("orders", "params"), batch=True),
        CallRow("create_swap_order", place, _ORDER),
        CallRow("create_uta_order", place, _ORDER),
        CallRow("create_uta_orders", place, ("orders", "params"), batch=True),
        CallRow("create_market_order", place, ("symbol", "side", "amount", "price", "params"), type="MARKET"),
        CallRow("create_limit_order", place, ("symbol", "side", "amount", "price", "params"), type="LIMIT"),
        CallRow("create_market_buy_order", place, _SIDED, type="MARKET", side="buy"),
        CallRow("create_market_sell_order", place, _SIDED, type="MARKET", side="sell"),
        CallRow("create_limit_buy_order", place, _PRICED, type="LIMIT", side="buy"),
        CallRow("create_limit_sell_order", place, _PRICED, type="LIMIT", side="sell"),
        CallRow("create_market_order_with_cost", place, ("symbol", "side", "cost", "params"), type="MARKET"),
        CallRow("create_market_buy_order_with_cost", place, ("symbol", "cost", "params"), type="MARKET", side="buy"),
        CallRow("create_market_sell_order_with_cost", place, ("symbol", "cost", "params"), type="MARKET", side="sell"),
        CallRow("create_trigger_order", place, _TRIGGERED),
        CallRow("create_stop_order", place, _TRIGGERED),
        CallRow(
            "create_stop_limit_order",
            place,
            ("symbol", "side", "amount", "price", "triggerPrice", "params"),
            type="STOP_LIMIT",
        ),
        CallRow(
            "create_stop_market_order",
            place,
            ("symbol", "side", "amount", "triggerPrice", "params"),
            type="STOP_MARKET",
        ),
        CallRow(
            "create_stop_loss_order",
            place,
            ("symbol", "type", "side", "amount", "price", "stopLossPrice", "params"),
            Purpose.STOP_LOSS,
        ),
        CallRow(
            "create_take_profit_order",
            place,
            ("symbol", "type", "side", "amount", "price", "takeProfitPrice", "params"),
            Purpose.TAKE_PROFIT,
        ),
        CallRow(
            "create_order_with_take_profit_and_stop_loss",
            place,
            ("symbol", "type", "side", "amount", "price", "takeProfit", "stopLoss", "params"),
        ),
        CallRow(
            "create_trailing_amount_order",
            place,
            ("symbol", "type", "side", "amount", "price", "trailingAmount", "trailingTriggerPrice", "params"),
            type="TRAILING_STOP_MARKET",
        ),
        CallRow(
            "create_trailing_percent_order",
            place,
            ("symbol", "type", "side", "amount", "price", "trailingPercent", "trailingTriggerPrice", "params"),
            type="TRAILING_STOP_MARKET",
        ),
        CallRow("create_post_only_order", place, _ORDER),
        CallRow("create_reduce_only_order", place, _ORDER),
        CallRow("create_twap_order", place, ("symbol", "side", "amount", "duration", "params"), type="TWAP"),
        CallRow("create_convert_trade", Action.ACCOUNT, ("id", "fromCode", "toCode", "amount", "params")),
        CallRow("edit_order", amend, edit),
        CallRow("edit_orders", amend, ("orders", "params"), batch=True),
        CallRow("edit_spot_order", amend, edit),
        CallRow("edit_contract_order", amend, edit),
        CallRow("edit_limit_order", amend, ("id", "symbol", "side", "amount", "price", "params")),
        CallRow("edit_limit_buy_order", amend, _PRICED_EDIT, side="buy"),
        CallRow("edit_limit_sell_order", amend, _PRICED_EDIT, side="sell"),
        CallRow(
            "edit_order_with_client_order_id",
            amend,
            ("clientOrderId", "symbol", "type", "side", "amount", "price", "params"),
        ),
        CallRow("cancel_order", cancel, ("id", "symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_orders", cancel, ("ids", "symbol", "params"), Purpose.CANCEL, batch=True),
        CallRow("cancel_unified_order", cancel, ("order", "params"), Purpose.CANCEL),
        CallRow("cancel_spot_order", cancel, ("id", "symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_contract_order", cancel, ("id", "symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_twap_order", cancel, ("id", "symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_order_with_client_order_id", cancel, ("clientOrderId", "symbol", "params"), Purpose.CANCEL),
        CallRow(
            "cancel_orders_with_client_order_ids",
            cancel,
            ("clientOrderIds", "symbol", "params"),
            Purpose.CANCEL,
            batch=True,
        ),
        CallRow("cancel_orders_for_symbols", cancel, ("orders", "params"), Purpose.CANCEL, batch=True),
        CallRow("cancel_all_orders", cancel_all, ("symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_all_spot_orders", cancel_all, ("symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_all_contract_orders", cancel_all, ("symbol", "params"), Purpose.CANCEL),
        CallRow("cancel_all_orders_after", Action.ACCOUNT, ("timeout", "params"), Purpose.CANCEL),
        CallRow("close_position", Action.CLOSE, ("symbol", "side", "params"), Purpose.EXIT),
        CallRow("close_all_positions", Action.CLOSE, ("params",), Purpose.EXIT, batch=True),
        CallRow("set_leverage", Action.ACCOUNT, ("leverage", "symbol", "params")),
        CallRow("set_margin_mode", Action.ACCOUNT, ("marginMode", "symbol", "params")),
        CallRow("set_position_mode", Action.ACCOUNT, ("hedged", "symbol", "params")),
        CallRow("add_margin", Action.ACCOUNT, ("symbol", "amount", "params")),
        CallRow("reduce_margin", Action.ACCOUNT, ("symbol", "amount", "params")),
    ]
    rows += [row._replace(method=f"{row.method}_ws", websocket=True) for row in rows if row.method in _OVER_SOCKET]
    return _table(*rows)


# The table for clients, by ccxt's snake_case names. `camel` gives the other spelling, which ccxt sets beside each.
CLIENT = _unified()

# Implicit endpoints that bots of this shape call on stubs and mocks, where there is no `request` to see them by.
IMPLICIT = _table(
    CallRow("private_post_v5_position_trading_stop", Action.SET_STOPS, ("params",)),
    CallRow("private_post_v5_order_create", Action.PLACE, ("params",)),
    CallRow("private_post_v5_order_cancel", Action.CANCEL, ("params",)),
    CallRow("private_post_v5_order_amend", Action.AMEND, ("params",)),
)

# The implicit rows' HTTP form, so that a mocked call is read by the same adapter as a real request.
IMPLICIT_REQUESTS: dict[str, tuple[str, str]] = {
    "private_post_v5_position_trading_stop": ("POST", "/v5/position/trading-stop"),
    "private_post_v5_order_create": ("POST", "/v5/order/create"),
    "private_post_v5_order_cancel": ("POST", "/v5/order/cancel"),
    "private_post_v5_order_amend": ("POST", "/v5/order/amend"),
}


def camel(method: str) -> str:
    """ccxt's other spelling of a unified method: create_order -> createOrder."""
    head, *tail = method.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def arguments(row: CallRow, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
    """The call's arguments by name, whichever way they were passed. Surplus positional ones are kept as arg5, arg6..."""
    names = row.parameters
    named: dict[str, object] = dict(zip(names, args))  # noqa: B905 - naming the argument doubles the time
    if len(args) > len(names):
        for position in range(len(names), len(args)):
            named[f"arg{position}"] = args[position]
    if kwargs:
        named.update(kwargs)
    return named


def row(call: Call) -> CallRow | None:
    """The row a recorded call was made by, or None where it was seen below the tables (at the transport)."""
    if call.seam is Seam.MANAGER:
        return HOST.get(call.method)
    return CLIENT.get(call.method) or IMPLICIT.get(call.method)
