"""Values of rows as text that says the same: every digit of a number, times with their zone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def text_of(value: Any) -> Any:
    """A value as JSON can hold it without loss: numbers and times as text; what is text, true or whole stays."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def utc(moment: datetime) -> datetime:
    """With its zone. The bot's tables hold UTC without one."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def data_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for `json.dumps`."""
    return {name: text_of(value) for name, value in row.items()}


def amounts(fees: Any) -> dict[str, Decimal]:
    """Fees by their currency, as the views have them: JSON, as text or taken apart. NULL: none."""
    given = json.loads(fees, parse_float=Decimal, parse_int=Decimal) if isinstance(fees, str) else fees
    return {coin: Decimal(str(amount)) for coin, amount in sorted((given or {}).items())}
