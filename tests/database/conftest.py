"""A journal in memory, and the records of a small day of trading, for tests of the store."""

import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
import uuid_utils

from audit_wrapper import codec
from audit_wrapper.journal import chain
from audit_wrapper.records import (
    Action,
    Call,
    Failure,
    Market,
    Operation,
    PositionLink,
    Record,
    RecordKind,
    Seam,
)
from audit_wrapper.store.postgres import PostgresStore

if str(HERE := Path(__file__).resolve().parent) not in sys.path:
    sys.path.insert(0, str(HERE))

UNIFIED, EXCHANGE_SPELLING = "MNT/USDT:USDT", "MNTUSDT"


class Entry(NamedTuple):
    seq: int
    payload: bytes
    hash: bytes
    record: Record


class FakeJournal:
    """One stream. Methods append records and return their entries; `deliver` hands entries to a store."""

    def __init__(self, exchange: str = "kraken", account: str = "default") -> None:
        self.stream = uuid4()
        self.exchange = exchange
        self.account = account
        self.entries: list[Entry] = []
        self.now = datetime.now(UTC).replace(microsecond=123456)

    def append(self, kind: RecordKind, action: Action, **fields: Any) -> Entry:
        self.now += timedelta(milliseconds=1)
        fields.setdefault("exchange", self.exchange)
        fields.setdefault("account", self.account)
        fields.setdefault("called_at", self.now)
        fields.setdefault("record_id", UUID(bytes=uuid_utils.uuid7().bytes))
        record = Record(version=codec.VERSION, kind=kind, action=action, **fields)
        payload = codec.encode(record)
        seq = len(self.entries) + 1
        before = self.entries[-1].hash if self.entries else chain.genesis(self.stream)
        self.entries.append(Entry(seq, payload, chain.link(before, seq, payload), codec.decode(payload)))
        return self.entries[-1]

    def market(self, symbol: str) -> Market:
        return Market(symbol=symbol, exchange_symbol=symbol.partition(":")[0].replace("/", ""))

    def intent(self, symbol: str = UNIFIED, side: str = "buy", amount: str = "3", **fields: Any) -> Entry:
        arguments = {"symbol": symbol, "type": fields.pop("type", "market"), "side": side, "amount": amount}
        call = Call(seam=Seam.CLIENT, target=self.exchange, method="create_order", arguments=arguments)
        return self.append(RecordKind.INTENT, Action.PLACE, call=call, market=self.market(symbol), **fields)

    def acknowledge(self, intent: Entry, order_id: str, **order: Any) -> Entry:
        """The exchange's answer: filled, unless told otherwise."""
        record = intent.record
        assert record.call is not None
        asked = record.call.arguments
        position = order.pop("position", None)
        result = {
            "id": order_id,
            "clientOrderId": f"c{order_id}",
            "symbol": asked["symbol"],
            "side": asked["side"],
            "type": asked["type"],
            "amount": asked["amount"],
            "filled": asked["amount"],
            "remaining": "0",
            "average": "0.6543",
            "status": "closed",
            "fee": {"cost": "0.00117", "currency": "USDT"},
            **order,
        }
        return self.append(
            RecordKind.ACKNOWLEDGED,
            Action.PLACE,
            intent_id=record.record_id,
            call=record.call,
            market=record.market,
            result=result,
            answered_at=self.now + timedelta(milliseconds=1),
            operation=record.operation,
            position=position,
        )

    def order(self, order_id: str, symbol: str = UNIFIED, side: str = "buy", **order: Any) -> list[Entry]:
        """An intent and its answer."""
        intent = self.intent(symbol, side, type=order.pop("type", "market"), operation=order.pop("operation", None))
        return [intent, self.acknowledge(intent, order_id, **order)]

    def resting(self, order_id: str, symbol: str = UNIFIED, side: str = "buy") -> list[Entry]:
        """A limit order that stands in the book."""
        nothing = {"filled": "0", "remaining": "3", "average": None, "status": "open", "fee": None, "price": "0.5"}
        return self.order(order_id, symbol, side, type="limit", **nothing)

    def rejected(self) -> list[Entry]:
        intent = self.intent()
        failure = Failure(type="InsufficientFunds", message="Margin is insufficient.", code="-2019")
        refusal = self.append(
            RecordKind.REJECTED,
            Action.PLACE,
            intent_id=intent.record.record_id,
            call=intent.record.call,
            market=intent.record.market,
            failure=failure,
        )
        return [intent, refusal]

    def seen(self, order_id: str, symbol: str = UNIFIED, trades: tuple[Any, ...] = (), **order: Any) -> Entry:
        """What the exchange said of an order when it was asked."""
        shown = {
            "id": order_id,
            "symbol": symbol,
            "side": "buy",
            "type": "market",
            "amount": "3",
            "filled": "3",
            "remaining": "0",
            "average": "0.6543",
            "status": "closed",
            **order,
        }
        asked = {"id": order_id, "id_kind": "order", "symbol": symbol}
        return self.append(
            RecordKind.RECONCILED,
            Action.ASK,
            call=Call(seam=Seam.RECONCILE, target=self.exchange, method="fetch_order", arguments=asked),
            market=self.market(symbol),
            result={"orders": [shown], "trades": list(trades)},
            answered_at=self.now,
        )

    def cancel_all(self, symbol: str = UNIFIED) -> Entry:
        call = Call(seam=Seam.CLIENT, target=self.exchange, method="cancel_all_orders", arguments={"symbol": symbol})
        return self.append(RecordKind.ACKNOWLEDGED, Action.CANCEL_ALL, call=call, market=self.market(symbol), result=[])

    async def deliver(self, store: PostgresStore, entries: list[Entry] | None = None) -> None:
        chosen = self.entries if entries is None else entries
        await store.deliver(self.stream, chosen, [entry.record for entry in chosen])


@pytest.fixture
def new_journal() -> type[FakeJournal]:
    return FakeJournal


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
def operation() -> Operation:
    return Operation(correlation_id=uuid4())


@pytest.fixture
def position() -> PositionLink:
    return PositionLink(position_id="7", signal_id=42, how="scope")


@pytest.fixture
async def store(audit_dsn: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(audit_dsn) as opened:
        yield opened


@pytest.fixture
async def connection(audit_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(audit_dsn)
    yield opened
    opened.terminate()


Contents = dict[str, list[dict[str, Any]]]


async def contents_of(connection: asyncpg.Connection, *, ids: bool = True) -> Contents:
    """Everything that deliveries write, as plain values with every digit; what differs from run to run left out."""

    def value(given: Any) -> Any:
        return str(given) if isinstance(given, Decimal) else given

    tables = {
        "monitoring.orders": "order_key, id",
        "monitoring.trades": "order_key, id",
        "audit.fills": "order_key, exchange_trade_id",
        "audit.orders": "order_key",
        "audit.order_events": "order_key, stream, seq, part",
        "audit.order_aliases": "exchange, account, kind, value, symbol",
    }
    found = {}
    for table, order in tables.items():
        rows = await connection.fetch(f"SELECT * FROM {table} ORDER BY {order}")
        found[table] = [{k: value(v) for k, v in row.items() if ids or k != "id"} for row in rows]
    return found


@pytest.fixture
def contents(connection: asyncpg.Connection) -> Callable[..., Awaitable[Contents]]:
    """`contents_of` the database of the test."""
    return functools.partial(contents_of, connection)
