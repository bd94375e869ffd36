"""The values, orders and fills of a statement in words."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from audit_wrapper.records import Fill, OrderState
from audit_wrapper.rows import FillRow, OrderRow


def utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def digits(number: Decimal) -> str:
    return format(number, "f")  # never 1E-9


def text_of(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return digits(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return utc(value).isoformat().replace("+00:00", "Z")
    return str(value)


def words(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def named(name: str, value: object) -> str | None:
    text = text_of(value)
    return f"{name} {text}" if text is not None else None


def order_text(state: OrderState) -> str:
    return words(
        state.side,
        state.type,
        text_of(state.quantity),
        state.order_status.value if state.order_status is not None else None,
        named("filled", state.filled_quantity),
        named("at", state.average_price),
        named("created", state.created_at),
    )


def row_text(row: OrderRow) -> str:
    return words(
        row.side,
        row.type,
        text_of(row.size),
        row.status,
        named("filled", row.filled),
        named("at", row.average_price),
        named("created", row.created_at),
        named("client order id", row.client_order_id),
    )


def fill_text(fill: Fill) -> str:
    fee = words(text_of(fill.fee.amount), fill.fee.currency) if fill.fee.amount is not None else None
    return words(
        fill.side, text_of(fill.quantity), named("at", fill.price), named("fee", fee), text_of(fill.exchange_at)
    )


def fill_row_text(row: FillRow) -> str:
    fee = words(text_of(row.fee), row.fee_currency) if row.fee is not None else None
    return words(row.side, text_of(row.quantity), named("at", row.price), named("fee", fee), text_of(row.exchange_at))


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(at: datetime) -> str:
    return at.isoformat(sep=" ").replace("+00:00", "")
