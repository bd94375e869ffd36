"""What orders have come to, written over their rows: in our tables, in the bot's, and where their positions stand."""

from collections.abc import Mapping, Sequence, Set
from uuid import UUID

import asyncpg
import msgspec

from audit_wrapper.projection import Projected
from audit_wrapper.rows import OrderRow, TradeRow
from audit_wrapper.store import positions
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.store.sending import by_column, copy_new, rows_as_json


async def write(con: Connection, sql: Queries, projected: Mapping[UUID, Projected], fresh: Set[UUID]) -> None:
    """Whatever these orders come to now in place of what they came to before. fresh: those of which nothing is there yet."""
    keys = list(projected)
    known = [key for key in keys if key not in fresh]
    left = await positions.of_orders(con, sql, known) if known else ()
    orders = {key: one.order for key, one in projected.items() if one.order is not None}
    await _adopt(con, sql, [order for order in orders.values() if order.order_id is not None], fresh)
    there = {"orders": await con.fetch(sql["order_rows"], list(orders))}
    for row in there["orders"]:
        if row["position_id"] is not None:
            orders[row["order_key"]] = _linked(orders[row["order_key"]], row)
    trades = {
        key: _following(one.trade, orders[key])
        for key, one in projected.items()
        if one.trade is not None and key in orders
    }
    if gone := [key for key in keys if key not in orders]:
        await con.execute(sql["forget_order_rows"], gone)
    if gone := [key for key in keys if key not in trades]:
        await con.execute(sql["forget_trade_rows"], gone)
    if known:
        await con.execute(sql["forget_fills"], known)
    there["trades"] = await con.fetch(sql["trade_rows"], list(trades))
    for table, rows in (("orders", orders), ("trades", trades)):
        present = {row["order_key"] for row in there[table]}
        for step, wanted in (("update", present), ("insert", rows.keys() - present)):
            if wanted:
                chosen = [row for key, row in rows.items() if key in wanted]
                await con.execute(sql[f"{step}_{table}"], rows_as_json(chosen))
    if fills := [fill for one in projected.values() for fill in one.fills]:
        await con.execute(sql["insert_fills"], rows_as_json(fills))
        await con.execute(sql["flag_conflicting_fills"], keys)
    states = {key: (key, one.scope, one.open, *(one.placing or (None, None))) for key, one in projected.items()}
    if new_states := [state for key, state in states.items() if key in fresh]:
        await copy_new(con, "orders", None, new_states)
    if known:
        await con.execute(sql["save_states"], *by_column([states[key] for key in known], 5))
    await positions.keep(con, sql, filter(None, map(positions.Position.of, orders.values())), left)


async def _adopt(con: Connection, sql: Queries, orders: Sequence[OrderRow], fresh: Set[UUID]) -> None:
    names = [
        (o.order_key, o.exchange, o.account, o.order_id, o.symbol, o.unified_symbol, o.exchange_symbol) for o in orders
    ]
    if not names or not await con.fetchval(sql["has_rows_of_the_bot"], [order.order_id for order in orders]):
        return
    if known := [name for name in names if name[0] not in fresh]:
        await con.execute(sql["give_way_orders"], *by_column(known, 7))
    for table in ("orders", "trades"):
        await con.execute(sql[f"adopt_{table}"], *by_column(names, 7))


def _linked(row: OrderRow, link: asyncpg.Record) -> OrderRow:
    """The row with the position that was found for it in the bot's own table, where its records name none."""
    if row.position_id is not None:
        return row
    return msgspec.structs.replace(
        row,
        position_id=link["position_id"],
        signal_id=link["signal_id"] if row.signal_id is None else row.signal_id,
        symbol=link["symbol"],
        side=link["side"] if row.side is None else row.side,
        purpose=link["purpose"] if row.purpose is None else row.purpose,
        link_how=link["link_how"],
    )


def _following(trade: TradeRow, order: OrderRow) -> TradeRow:
    return msgspec.structs.replace(
        trade,
        position_id=order.position_id,
        signal_id=order.signal_id,
        symbol=order.symbol,
        side=order.side,
        purpose=order.purpose,
    )
