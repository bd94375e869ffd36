"""How to ask an exchange about one order, through ccxt's unified methods: the parameters that differ.

Binance: a conditional order is asked for with `trigger`, trades can be asked for by order. Bybit: ccxt refuses to ask
`order/realtime` for one order unless told that its limits are understood (`acknowledged`); executions go by `orderId`.
"""

from collections.abc import Mapping
from typing import Any

from audit_wrapper.exchanges import adapter_for


def order_params(exchange_id: str, id_kind: str) -> dict[str, Any]:
    """`params` for `fetch_order`."""
    if exchange_id.startswith("binance") and id_kind == "algo":
        return {"trigger": True}
    return {"acknowledged": True} if exchange_id.startswith("bybit") else {}


def trades_params(exchange_id: str, order_id: str) -> dict[str, Any]:
    """`params` for `fetch_my_trades`, narrowing it to one order where the exchange can."""
    return {"orderId": order_id} if exchange_id.startswith(("binance", "bybit")) else {}


def trades_limit(exchange_id: str) -> int | None:
    """The most trades that one request gives (Binance 1000, Bybit 100); None: the exchange's own default."""
    return 1000 if exchange_id.startswith("binance") else 100 if exchange_id.startswith("bybit") else None


def executed_as(exchange_id: str, ccxt_order: Mapping[str, Any]) -> str | None:
    """The order id that the fills of this order carry; None while it has none (a conditional order not fired yet)."""
    adapter = adapter_for(exchange_id)
    child = adapter.child_order_id(ccxt_order)
    if child is not None or adapter.order_id_kind(ccxt_order) == "algo":
        return child
    return adapter.order_state(ccxt_order).exchange_order_id


def id_kind(exchange_id: str, unified_symbol: str, order_type: str | None) -> str:
    """Which number space the id of such an order is of: Binance's conditional contract orders have their own."""
    conditional = order_type is not None and order_type.startswith(("STOP", "TAKE_PROFIT", "TRAILING"))
    return "algo" if exchange_id.startswith("binance") and ":" in unified_symbol and conditional else "order"
