"""What the exchange manager hands back for an order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Number = Decimal | float | str | None


def utc_now() -> datetime:
    """The present moment in UTC, without a zone, as the database columns want it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass
class OrderResult:
    """One order as the bot sees it; `price` is 0 when the exchange has not told a price."""

    id: str | None
    symbol: str
    side: str
    type: str
    amount: Number
    price: Number
    filled: Number
    remaining: Number
    status: str | None
    timestamp: datetime
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_ccxt(cls, order: dict[str, Any], symbol: str, side: str, order_type: str, amount: float) -> OrderResult:
        """Build a result from ccxt's dict; what an id-only answer leaves out comes from the request."""
        timestamp = order.get("timestamp")
        filled = _decimal(order.get("filled"))
        size = _decimal(order.get("amount")) or _decimal(amount)
        remaining = order.get("remaining")
        return cls(
            id=order.get("id"),
            symbol=order.get("symbol") or symbol,
            side=order.get("side") or side,
            type=order.get("type") or order_type,
            amount=size,
            price=_decimal(order.get("average") or order.get("price")),
            filled=filled,
            remaining=size - filled if remaining is None else _decimal(remaining),
            status=order.get("status"),
            timestamp=datetime.fromtimestamp(timestamp / 1000, tz=UTC).replace(tzinfo=None) if timestamp else utc_now(),
            info=order.get("info") or {},
        )


def _decimal(value: Any) -> Decimal:
    """A number as a Decimal, 0 when there is none."""
    return Decimal(str(value)) if value else Decimal(0)
