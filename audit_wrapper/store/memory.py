"""A store in memory: the same routing and the same projection as PostgreSQL, for tests and for a user's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from audit_wrapper.fold import ATTACHED, Placing
from audit_wrapper.journal import Entry
from audit_wrapper.projection import Event, Projected, funding_of, project
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.routing import PLACED, Index, mentions, scope_of
from audit_wrapper.rows import Books, FillRow, FundingRow, Incomplete, OrderRow, TradeRow


class MemoryStore:
    """Takes batches as `PostgresStore` does; keeps everything for as long as it lives."""

    def __init__(self) -> None:
        self._index = Index()
        self._marks: dict[UUID, tuple[int, bytes]] = defaultdict(lambda: (0, b""))
        self._events: dict[UUID, list[Event]] = defaultdict(list)
        self._scoped: dict[str, list[Event]] = defaultdict(list)
        self._projected: dict[UUID, Projected] = {}
        self._taken: dict[tuple[UUID, int], bytes] = {}
        self._covered: list[Record] = []
        self._funding: dict[tuple[str, ...], FundingRow] = {}
        self.quarantined: list[tuple[Entry, str]] = []

    async def open(self) -> None:
        """Nothing to open."""

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    async def at_leisure(self) -> None:
        """Nothing to do."""

    async def delivered(self, stream: UUID) -> tuple[int, bytes]:
        """Number and hash of the last entry of the stream that was taken."""
        return self._marks[stream]

    async def holds(self, stream: UUID, entries: Sequence[Entry]) -> int:
        """How many of these entries, counted from the first, were taken just as they are."""
        known = (self._taken.get((stream, entry.seq)) == entry.hash for entry in entries)
        return next((n for n, is_known in enumerate(known) if not is_known), len(entries))

    async def deliver(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record | Reading]) -> None:
        """Take a batch. Taking it again changes nothing."""
        self.take(stream, entries, records)

    async def quarantine(self, stream: UUID, entry: Entry, reason: str) -> None:
        """Set one entry aside."""
        self.quarantined.append((entry, reason))
        self._taken[stream, entry.seq] = entry.hash
        self._marks[stream] = max(self._marks[stream], (entry.seq, entry.hash))

    async def count_quarantined(self, stream: UUID) -> int:
        """How many entries were set aside."""
        return len(self.quarantined)

    async def relink(self, since: datetime | None = None) -> int:
        """There is no positions table here."""
        return 0

    def take(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record | Reading]) -> None:
        """`deliver`, without a loop."""
        touched: set[UUID] = set()
        for entry, one in zip(entries, records, strict=True):
            said = Reading.of(one)
            record = said.record
            if (stream, entry.seq) in self._taken:
                continue
            self._taken[stream, entry.seq] = entry.hash
            if record.kind is RecordKind.COVERED:
                self._covered.append(record)
            for payment in funding_of(record):
                self._funding.setdefault(payment.key, payment)
            merged = set(self._index.merged)
            for route in self._index.route(record, mentions(said)):
                self._events[route.order_key].append(Event(stream, entry.seq, record, route.part, said))
                touched.add(route.order_key)
            for loser in set(self._index.merged) - merged:
                winner = self._index.current(loser)
                self._events[winner] += self._events.pop(loser, [])
                self._projected.pop(loser, None)
                touched.discard(loser)
                touched.add(winner)
            scope = scope_of(said)
            if scope is not None:
                late = any(event.stream == stream and event.seq > entry.seq for event in self._scoped[scope])
                self._scoped[scope].append(Event(stream, entry.seq, record, "", said))
                # one that comes late may have closed what a later one is said to have closed
                touched |= {key for key, p in self._projected.items() if p.scope == scope and (p.open or late)}
            self._project(touched)
            touched.clear()
            self._marks[stream] = max(self._marks[stream], (entry.seq, entry.hash))

    @property
    def orders(self) -> list[OrderRow]:
        """The rows of monitoring.orders, oldest first."""
        rows = [p.order for p in self._projected.values() if p.order is not None]
        return sorted(map(self._pointing, rows), key=lambda row: (row.created_at, row.order_key))

    @property
    def trades(self) -> list[TradeRow]:
        """The rows of monitoring.trades, oldest first."""
        rows = [p.trade for p in self._projected.values() if p.trade is not None]
        return sorted(rows, key=lambda row: (row.executed_at or row.updated_at, row.order_key))

    @property
    def funding(self) -> list[FundingRow]:
        """The rows of audit.funding, by their key."""
        return [self._funding[key] for key in sorted(self._funding)]

    @property
    def fills(self) -> list[FillRow]:
        """The rows of audit.fills."""
        rows = [fill for p in self._projected.values() for fill in p.fills]
        orders: dict[tuple[str | None, ...], set[UUID]] = defaultdict(set)
        for row in rows:
            orders[_same_fill(row)].add(row.order_key)
        flagged = [msgspec.structs.replace(r, conflicts=r.conflicts or len(orders[_same_fill(r)]) > 1) for r in rows]
        return sorted(flagged, key=lambda row: (row.order_key, row.exchange_trade_id))

    async def incomplete(self, account: str, since: datetime) -> list[Incomplete]:
        """As of PostgresStore."""
        rows = self.orders
        algo = self._index.conditional
        placed = {self._projected[row.order_key].placing: row for row in rows}

        def incomplete(row: OrderRow) -> Incomplete:
            intent_id, part = self._projected[row.order_key].placing or (None, None)
            entry = placed.get(Placing(intent_id, PLACED)) if intent_id is not None and part in ATTACHED else None
            return Incomplete(row, intent_id, part, entry, row.order_key in algo)

        return [
            incomplete(row)
            for row in rows
            if row.account == account
            and (
                row.status in _OPEN
                or row.fee_status == "pending"
                or (
                    row.created_at > since
                    and (
                        (row.order_id is None and row.status in ("MODIFIED", "CANCELED"))
                        or row.fee_status in ("missing", "derived")
                        or (row.order_id is None and row.found_by == "absence")
                    )
                )
            )
        ]

    async def orders_of(self, exchange: str, account: str, ids: Iterable[str]) -> Books:
        """As of PostgresStore."""
        keys = self._index.keys_of(exchange, account, ids)
        return self._with_fills(row for row in self.orders if row.order_key in keys)

    async def orders_between(self, exchange: str, account: str, since: datetime, until: datetime) -> Books:
        """As of PostgresStore."""
        executed = {fill.order_key for fill in self.fills if fill.exchange_at and since <= fill.exchange_at < until}
        return self._with_fills(
            row
            for row in self.orders
            if (row.exchange, row.account) == (exchange, account)
            and row.created_at < until
            and (row.created_at >= since or row.status in _OPEN or row.order_key in executed)
        )

    async def not_sent_by_us(
        self, exchange: str, account: str, since: datetime, until: datetime, client_ids: Sequence[str]
    ) -> Books:
        """As of PostgresStore."""
        return self._with_fills(
            row
            for row in self.orders
            if (row.exchange, row.account) == (exchange, account)
            and row.origin in ("external", "backfilled")
            and (since <= row.created_at < until or row.client_order_id in client_ids)
        )

    async def covered(self, exchange: str, account: str) -> list[Record]:
        """As of PostgresStore."""
        return [record for record in self._covered if (record.exchange, record.account) == (exchange, account)]

    async def payments_known(self, exchange: str, account: str, ids: Sequence[str]) -> set[str]:
        """As of PostgresStore."""
        known = {(row.exchange, row.account, row.payment_id) for row in self._funding.values()}
        return {one for one in ids if (exchange, account, one) in known}

    def _with_fills(self, rows: Iterable[OrderRow]) -> Books:
        orders = tuple(rows)
        keys = {row.order_key for row in orders}
        algo = frozenset(key for key in keys if key in self._index.conditional)
        return Books(orders, tuple(fill for fill in self.fills if fill.order_key in keys), algo)

    def _pointing(self, row: OrderRow) -> OrderRow:
        # what took its place may have become known as one with another order
        replaced_by = self._index.current(row.replaced_by) if row.replaced_by is not None else None
        return row if replaced_by == row.replaced_by else msgspec.structs.replace(row, replaced_by=replaced_by)

    def _project(self, keys: set[UUID]) -> None:
        for key in keys:
            events = self._events[key]
            first = project(key, events)
            scoped = self._scoped.get(first.scope, []) if first.scope is not None else []
            self._projected[key] = project(key, events, scoped) if scoped else first


_OPEN = ("NEW", "PARTIALLY_FILLED", "UNKNOWN")


def _same_fill(row: FillRow) -> tuple[str | None, ...]:
    # two orders cannot share an execution, save on two sides: a trade of the account with itself
    return (row.exchange, row.account, row.symbol, row.exchange_trade_id, row.side)
