"""The rows people read, as the projection makes them: one order, one trade, one fill.

Field names are the column names of `monitoring.orders`, `monitoring.trades` and `audit.fills`. None is SQL NULL and
means: not known. A row can be read like a mapping (`row["status"]`, `dict(row)`) or by attribute.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec


class _Row(msgspec.Struct, frozen=True, gc=False):
    def keys(self) -> tuple[str, ...]:
        """The column names."""
        return self.__struct_fields__

    def __getitem__(self, column: str) -> Any:
        if column not in self.__struct_fields__:
            raise KeyError(column)
        return getattr(self, column)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__struct_fields__)


class OrderRow(_Row, frozen=True, kw_only=True):
    """One order. `size`, `filled`, `remaining` are in contracts for contracts, in base currency for spot.

    `price`: what was paid for a filled market order, the limit of a limit order, the trigger of a stop.
    `fee`: the total where it was charged in one currency; else NULL, and `fee_status` says why.
    """

    # the columns of the bot's table
    position_id: str | None = None
    exchange: str | None = None
    symbol: str | None = None
    order_id: str | None = None
    client_order_id: str | None = None
    type: str | None = None
    side: str | None = None
    size: Decimal | None = None
    price: Decimal | None = None
    status: str
    filled: Decimal | None = None
    remaining: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    created_at: datetime
    updated_at: datetime
    # ours, added beside them
    order_key: UUID
    account: str = "default"
    signal_id: int | None = None
    purpose: str | None = None
    average_price: Decimal | None = None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool | None = None
    fee_status: str | None = None
    reason: str | None = None
    unified_symbol: str | None = None
    exchange_symbol: str | None = None
    exchange_status: str | None = None
    link_how: str | None = None
    replaced_by: UUID | None = None
    correlation_id: UUID | None = None
    origin: str | None = None
    found_by: str | None = None


class TradeRow(_Row, frozen=True, kw_only=True):
    """One order of which something was executed. There is none before the first fill."""

    signal_id: int | None = None
    symbol: str | None = None
    exchange: str | None = None
    side: str | None = None
    order_type: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    executed_qty: Decimal | None = None
    average_price: Decimal | None = None
    order_id: str | None = None
    client_order_id: str | None = None
    status: str
    fee: Decimal | None = None
    fee_currency: str | None = None
    executed_at: datetime | None = None
    updated_at: datetime
    order_key: UUID
    account: str = "default"
    position_id: str | None = None
    purpose: str | None = None
    fee_status: str | None = None
    origin: str | None = None


class FundingRow(_Row, frozen=True, kw_only=True):
    """One funding payment. `amount` is received > 0, paid < 0."""

    exchange: str
    account: str
    symbol: str
    payment_id: str
    amount: Decimal
    currency: str | None = None
    rate: Decimal | None = None
    exchange_at: datetime | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What it is known by."""
        return self.exchange, self.account, self.payment_id


class FillRow(_Row, frozen=True, kw_only=True):
    """One execution. Unique by (exchange, account, symbol, exchange_trade_id)."""

    order_key: UUID
    exchange: str | None = None
    account: str = "default"
    symbol: str | None = None
    exchange_trade_id: str
    exchange_order_id: str | None = None
    side: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    fee_rate: Decimal | None = None
    fee_status: str | None = None
    liquidity: str | None = None
    exchange_at: datetime | None = None
    source: str | None = None
    conflicts: bool = False  # another, different fill was reported under the same id; both are in audit.events


class Incomplete(msgspec.Struct, frozen=True):
    """An order that is not over, or of which something is not known. `intent_id`, `part`: what placed it, None where
    nothing of this trail did. `entry`: the order that it travelled with, if it is a stop that was sent with one.
    `is_algo`: its id is that of a conditional order of Binance."""

    row: OrderRow
    intent_id: UUID | None
    part: str | None
    entry: OrderRow | None = None
    is_algo: bool = False


class Books(msgspec.Struct, frozen=True):
    """Orders, and all fills of these orders. `algo_keys`: the orders whose id is that of a conditional order of Binance."""

    orders: tuple[OrderRow, ...] = ()
    fills: tuple[FillRow, ...] = ()
    algo_keys: frozenset[UUID] = frozenset()
