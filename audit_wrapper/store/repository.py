"""The repository methods that a bot may call itself: dicts in, checked, written once.

A row that the trail wrote follows the exchange: of what the bot says about it only the position and the signal are
taken, where nothing better is known. A row that the bot wrote here first becomes the trail's row when the order
arrives there, and keeps its id.
"""

import difflib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from audit_wrapper.errors import InvalidRow
from audit_wrapper.records import OrderStatus, Purpose
from audit_wrapper.store import positions
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.locks import lock
from audit_wrapper.store.queries import Queries

_Check = Callable[[Any], Any]


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or "\0" in str(value):
        raise ValueError("a text")
    return str(value)


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("a number (Decimal, int, float or text)")
    try:
        # repr gives the digits that a person would have written: 0.1, not 0.1000000000000000055
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ValueError("a number (Decimal, int, float or text)") from None
    if not number.is_finite():
        raise ValueError("a finite number")
    return number


def _quantity(value: Any) -> Decimal:
    number = _number(value)
    if number < 0:
        raise ValueError("a number that is not negative (the side says the direction)")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a whole number")
    try:
        number = int(value)
    except ValueError:
        raise ValueError("a whole number") from None
    if not -(2**31) <= number < 2**31:
        raise ValueError("a whole number of 32 bits")
    return number


def _time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError("a datetime (with a time zone, or without one in UTC)")
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _one_of(*words: str, upper: bool = False) -> _Check:
    def check(value: Any) -> str:
        word = str(value).upper() if upper else str(value).lower()
        if not isinstance(value, str) or word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return check


def _order_type(value: Any) -> str:
    return _text(value).upper()


_STATUS = _one_of(*(status.value for status in OrderStatus), upper=True)
_PURPOSE = _one_of(*(purpose.value for purpose in Purpose))
_SIDE = _one_of("buy", "sell")

_ORDER: Mapping[str, _Check] = {
    "position_id": _text,
    "exchange": _text,
    "symbol": _text,
    "order_id": _text,
    "client_order_id": _text,
    "type": _order_type,
    "side": _SIDE,
    "size": _quantity,
    "price": _number,
    "status": _STATUS,
    "filled": _quantity,
    "remaining": _quantity,
    "fee": _number,
    "fee_currency": _text,
    "created_at": _time,
    "updated_at": _time,
    "account": _text,
    "signal_id": _whole,
    "purpose": _PURPOSE,
    "average_price": _number,
    "limit_price": _number,
    "trigger_price": _number,
    "reduce_only": _flag,
    "reason": _text,
}
_TRADE: Mapping[str, _Check] = {
    "signal_id": _whole,
    "symbol": _text,
    "exchange": _text,
    "side": _SIDE,
    "order_type": _order_type,
    "quantity": _quantity,
    "price": _number,
    "executed_qty": _quantity,
    "average_price": _number,
    "order_id": _text,
    "client_order_id": _text,
    "status": _STATUS,
    "fee": _number,
    "fee_currency": _text,
    "executed_at": _time,
    "updated_at": _time,
    "account": _text,
    "position_id": _text,
    "purpose": _PURPOSE,
}
_ORDER_REQUIRED = ("exchange", "symbol", "side", "type", "size", "status")
_TRADE_REQUIRED = ("exchange", "symbol", "side", "order_type", "quantity", "status")
_ORDER_SYNONYMS = {"order_type": "type", "quantity": "size", "amount": "size", "clientOrderId": "client_order_id"}
_TRADE_SYNONYMS = {"type": "order_type", "size": "quantity", "amount": "quantity", "clientOrderId": "client_order_id"}


def _checked(
    what: str, data: Any, fields: Mapping[str, _Check], synonyms: Mapping[str, str], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values as they will be stored. Raises InvalidRow that names every field that is wrong, not the first only."""
    if not isinstance(data, Mapping):
        raise InvalidRow(f"{what}: expected a dict of {', '.join(fields)}; got {type(data).__name__}")
    found: dict[str, Any] = {}
    refused: set[str] = set()
    problems: list[str] = []
    for given, value in data.items():
        name = given if given in fields else synonyms.get(given, given)
        if name not in fields:
            close = difflib.get_close_matches(str(given), [*fields, *synonyms], n=1)
            problems.append(f"unknown field {given!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        elif name in found and found[name] is not None:
            problems.append(f"{name} is given twice, as {given!r} too")
        elif value is None:
            found[name] = None
        else:
            try:
                found[name] = fields[name](value)
            except ValueError as problem:
                refused.add(name)
                problems.append(f"{given}: expected {problem}, got {value!r}")
    for name in required:
        if found.get(name) is None and name not in refused:
            others = [other for other, meant in synonyms.items() if meant == name]
            problems.append(f"{name} is missing" + (f" (or {', '.join(others)})" if others else ""))
    if problems:
        raise InvalidRow(f"{what}: {'; '.join(problems)}. Fields: {', '.join(fields)}; required: {', '.join(required)}")
    return found


def _json(values: Mapping[str, Any]) -> str:
    return msgspec.json.encode(values).decode("utf-8")


async def create_order(con: Connection, sql: Queries, order_data: Mapping[str, Any]) -> int:
    """See PostgresStore."""
    row = _checked("create_order", order_data, _ORDER, _ORDER_SYNONYMS, _ORDER_REQUIRED)
    return await _upsert(con, sql, "order", row)


async def create_trade(con: Connection, sql: Queries, trade_data: Mapping[str, Any]) -> int:
    """See PostgresStore."""
    row = _checked("create_trade", trade_data, _TRADE, _TRADE_SYNONYMS, _TRADE_REQUIRED)
    return await _upsert(con, sql, "trade", row)


async def _upsert(con: Connection, sql: Queries, table: str, row: dict[str, Any]) -> int:
    account = row["account"] = row.get("account") or "default"
    # the same lock as delivery takes, so that two calls, or a call and a delivery, make one row
    await lock(con, sql, [(row["exchange"], account)])
    if row.get("order_id") is not None:
        found = await con.fetchrow(sql[f"find_{table}"], row["exchange"], row["symbol"], row["order_id"], account)
        if found is not None:
            if found["order_key"] is None:
                row.setdefault("updated_at", datetime.now(UTC).replace(tzinfo=None))
            await con.execute(
                sql[f"{'update' if found['order_key'] is None else 'link'}_{table}"], found["id"], _json(row)
            )
            if found["order_key"] is not None and table == "order":
                await positions.keep(con, sql, await positions.of_orders(con, sql, [found["order_key"]]))
            return int(found["id"])
    return int(await con.fetchval(sql[f"create_{table}"], _json(row)))


async def update_order(con: Connection, sql: Queries, order_id: int, updates: Mapping[str, Any]) -> bool:
    """See PostgresStore."""
    if isinstance(order_id, bool) or not isinstance(order_id, int):
        raise InvalidRow(f"update_order: expected the number that create_order returned, got {order_id!r}")
    row = _checked("update_order", updates, _ORDER, _ORDER_SYNONYMS)
    emptied = [name for name in ("exchange", "symbol", "status", "account") if name in row and row[name] is None]
    if emptied or not row:
        raise InvalidRow(
            f"update_order: {', '.join(emptied)} cannot be emptied" if row else "update_order: no fields given"
        )
    before = await con.fetchrow(sql["order_of_id"], order_id)
    if before is None:
        return False
    await lock(con, sql, [(before["exchange"] or "", before["account"] or "default")])
    now = await con.fetchrow(sql["order_of_id"], order_id)  # it may have become the trail's row meanwhile
    if now is None:
        return False
    row.setdefault("updated_at", datetime.now(UTC).replace(tzinfo=None))
    await con.execute(sql["update_order" if now["order_key"] is None else "link_order"], order_id, _json(row))
    if now["order_key"] is not None:
        await positions.keep(con, sql, await positions.of_orders(con, sql, [now["order_key"]]))
    return True
