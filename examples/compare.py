"""Compares the trail with the ledgers of the simulated exchanges: the truth, which no real exchange shows.

Every order that the bot placed is looked for in `monitoring.orders`, by the exchange's id where both sides have one,
else by what it is (side, size, trigger price). Executions are compared by id, price, quantity and fee.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import show
from simulated_exchange import Order, SimulatedExchange

Row = Mapping[str, Any]


class Result(NamedTuple):
    """How one exchange's books compare."""

    exchange: str
    ledger_orders: int
    trail_orders: int
    ledger_fills: int
    trail_fills: int
    differences: list[str]


def with_ledgers(simulated: Mapping[str, SimulatedExchange], orders: Iterable[Row], fills: Iterable[Row]) -> bool:
    """Print how they compare; True if nothing differs."""
    orders, fills = list(orders), list(fills)
    results = [
        _compared(
            name, exchange, [o for o in orders if o["exchange"] == name], [f for f in fills if f["exchange"] == name]
        )
        for name, exchange in simulated.items()
    ]
    show.comparison(results)
    return not any(result.differences for result in results)


def _compared(name: str, exchange: SimulatedExchange, rows: list[Row], fills: list[Row]) -> Result:
    ledger = exchange.ledger
    left = list(rows)
    # what the exchange makes of a stop that fired is an order of its own in Binance's books; the bot placed the stop
    children = {(order.symbol, order.actual_order_id) for order in ledger.orders}
    placed = [order for order in ledger.orders if (order.symbol, order.exchange_order_id or "") not in children]
    differences = []
    # ids first: what is found by its id must not be taken for another one that looks like it
    for order in sorted(placed, key=lambda o: not any(_same_id(o, row) for row in rows)):
        row = next((r for r in left if _same_id(order, r)), None) or next((r for r in left if _alike(order, r)), None)
        if row is None:
            differences.append(f"not in the trail: {order.symbol} {order.side} {order.type} {order.exchange_order_id}")
            continue
        left.remove(row)
        differences += _differing(order, ledger.executed(order), row)
    differences += [f"not at the exchange: {row['symbol']} {row['side']} {row['type']}" for row in left]

    known = {(f["symbol"], f["exchange_trade_id"]): (f["price"], f["quantity"], f["fee"]) for f in fills}
    true = {(f.symbol, f.exchange_trade_id): (f.price, f.quantity, f.fee_amount) for f in ledger.fills}
    differences += [f"execution {key}: {known.get(key)}" for key in true if known.get(key) != true[key]]
    differences += [f"no such execution: {key}" for key in known if key not in true]
    return Result(name, len(placed), len(rows), len(true), len(known), differences)


def _same_id(order: Order, row: Row) -> bool:
    return row["order_id"] is not None and (row["order_id"], row["symbol"]) == (order.exchange_order_id, order.symbol)


def _alike(order: Order, row: Row) -> bool:
    # a row without an exchange id: it was refused
    if row["order_id"] is not None or (row["symbol"], row["side"]) != (order.symbol, order.side):
        return False
    return row["trigger_price"] == order.trigger_price and row["size"] in (None, order.quantity)


def _differing(order: Order, executed: Order, row: Row) -> list[str]:
    replaced = row["status"] == "MODIFIED"  # our word for a stop that another one took the place of
    expected = {
        "status": "CANCELED" if replaced else order.status,
        "filled": executed.filled_quantity,
        "average_price": executed.average_price,
    }
    said = {**row, "status": "CANCELED" if replaced else row["status"]}
    return [
        f"{order.symbol} {order.exchange_order_id}: {name} is {said[name]}, at the exchange {value}"
        for name, value in expected.items()
        if said[name] != value
    ]
