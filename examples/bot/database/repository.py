"""The bot's rows: in PostgreSQL, or in memory for a run without a database."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

from core.order_result import utc_now

logger = logging.getLogger(__name__)

SCHEMA_FILE = Path(__file__).with_name("schema.sql")

POSITION_COLUMNS = (
    "signal_id",
    "symbol",
    "exchange",
    "side",
    "quantity",
    "entry_price",
    "current_price",
    "stop_loss_price",
    "exchange_order_id",
    "status",
    "exit_reason",
    "closed_at",
)
TRADE_COLUMNS = (
    "signal_id",
    "symbol",
    "exchange",
    "side",
    "order_type",
    "quantity",
    "price",
    "executed_qty",
    "average_price",
    "order_id",
    "client_order_id",
    "status",
    "fee",
    "fee_currency",
)
NUMERIC_COLUMNS = frozenset(
    {
        "quantity",
        "entry_price",
        "current_price",
        "stop_loss_price",
        "price",
        "executed_qty",
        "average_price",
        "fee",
    }
)


def _row(data: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """The known columns of `data`, numbers as Decimal."""
    row = {name: data[name] for name in columns if name in data}
    return {
        name: Decimal(str(value)) if name in NUMERIC_COLUMNS and value is not None else value
        for name, value in row.items()
    }


class Repository:
    """The bot's tables over an asyncpg pool."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def create_schema(self) -> None:
        """Create the tables that do not exist yet."""
        async with self.pool.acquire() as connection:
            await connection.execute(SCHEMA_FILE.read_text(encoding="utf-8"))

    async def create_position(self, position_data: dict[str, Any]) -> int:
        """Insert a position and return its id."""
        return await self._insert("monitoring.positions", _row(position_data, POSITION_COLUMNS))

    async def update_position(self, position_id: int, updates: dict[str, Any] | None = None, **fields: Any) -> bool:
        """Change columns of a position; False when there is no such row."""
        row = _row({**(updates or {}), **fields}, POSITION_COLUMNS)
        if not row:
            return False
        row["updated_at"] = utc_now()
        assignments = ", ".join(f"{name} = ${index}" for index, name in enumerate(row, start=2))
        query = f"UPDATE monitoring.positions SET {assignments} WHERE id = $1"
        async with self.pool.acquire() as connection:
            return bool(await connection.execute(query, position_id, *row.values()) == "UPDATE 1")

    async def close_position(self, position_id: int, exit_reason: str = "manual") -> bool:
        """Mark a position as closed."""
        return await self.update_position(position_id, status="closed", exit_reason=exit_reason, closed_at=utc_now())

    async def get_position(self, position_id: int) -> dict[str, Any] | None:
        """Read one position."""
        async with self.pool.acquire() as connection:
            row = await connection.fetchrow("SELECT * FROM monitoring.positions WHERE id = $1", position_id)
        return dict(row) if row is not None else None

    async def create_order(self, order_data: dict[str, Any]) -> bool:
        """Placeholder: orders are not stored."""
        return True

    async def create_trade(self, trade_data: dict[str, Any]) -> int:
        """Insert a trade and return its id."""
        return await self._insert("monitoring.trades", _row(trade_data, TRADE_COLUMNS))

    async def _insert(self, table: str, row: dict[str, Any]) -> int:
        places = ", ".join(f"${index}" for index in range(1, len(row) + 1))
        query = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) RETURNING id"
        async with self.pool.acquire() as connection:
            return int(await connection.fetchval(query, *row.values()))


class MemoryRepository:
    """The same rows in two dicts, keyed by id."""

    def __init__(self) -> None:
        self.positions: dict[int, dict[str, Any]] = {}
        self.trades: dict[int, dict[str, Any]] = {}

    async def create_position(self, position_data: dict[str, Any]) -> int:
        """Keep a position and return its id."""
        position_id = len(self.positions) + 1
        row: dict[str, Any] = dict.fromkeys(POSITION_COLUMNS)
        row.update(_row(position_data, POSITION_COLUMNS))
        self.positions[position_id] = {
            "id": position_id,
            **row,
            "opened_at": utc_now(),
            "updated_at": utc_now(),
        }
        return position_id

    async def update_position(self, position_id: int, updates: dict[str, Any] | None = None, **fields: Any) -> bool:
        """Change columns of a position; False when there is no such row."""
        row = _row({**(updates or {}), **fields}, POSITION_COLUMNS)
        if not row or position_id not in self.positions:
            return False
        self.positions[position_id].update(row, updated_at=utc_now())
        return True

    async def close_position(self, position_id: int, exit_reason: str = "manual") -> bool:
        """Mark a position as closed."""
        return await self.update_position(position_id, status="closed", exit_reason=exit_reason, closed_at=utc_now())

    async def get_position(self, position_id: int) -> dict[str, Any] | None:
        """Read one position."""
        row = self.positions.get(position_id)
        return dict(row) if row is not None else None

    async def create_order(self, order_data: dict[str, Any]) -> bool:
        """Placeholder: orders are not stored."""
        return True

    async def create_trade(self, trade_data: dict[str, Any]) -> int:
        """Keep a trade and return its id."""
        trade_id = len(self.trades) + 1
        self.trades[trade_id] = {"id": trade_id, **_row(trade_data, TRADE_COLUMNS)}
        return trade_id
