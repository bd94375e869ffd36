"""PostgresStore: the trail in PostgreSQL. One object, bound to the event loop that it is opened on."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

import asyncpg

from audit_wrapper import codec
from audit_wrapper.errors import CodecError, InvalidRow, SettingsError, StoreError, StoreUnavailable
from audit_wrapper.reading import Reading
from audit_wrapper.records import Record
from audit_wrapper.rows import Books, Incomplete
from audit_wrapper.store import books, reads, rebuild, repository, schema, views
from audit_wrapper.store.arrival import Entry
from audit_wrapper.store.connection import Connection, Connections, check_dsn, shown
from audit_wrapper.store.deliver import deliver
from audit_wrapper.store.links import Linker
from audit_wrapper.store.locks import Group
from audit_wrapper.store.queries import load
from audit_wrapper.store.reads import HistoryEvent, Rows
from audit_wrapper.store.sending import NotNew

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_LEAST_IDLE_S = 10.0  # the pause between two statements of a transaction after which the server takes us for gone
_REASON = 10_000  # characters of a reason that are kept
_RETRIED_AT_ONCE = 100  # entries from quarantine held in memory
_AT_IT = "another process has been building them for a minute"
_T = TypeVar("_T")

_indexed: set[str] = set()  # databases of whose views this process has seen to the indexes


class Quarantined(NamedTuple):
    """An entry that could not be stored, as it stands in the journal, and why."""

    stream: UUID
    seq: int
    payload: bytes
    hash: bytes
    reason: str
    quarantined_at: datetime
    retries: int
    retried_at: datetime | None


class PostgresStore:
    """Where the trail is kept.

    dsn: postgresql://user:password@host:port/database. bot_schema: schema of the bot's tables orders, trades and
    positions. positions_table: read to link orders to positions, never written; None: not looked at.
    statement_timeout_s: how long one statement may take, in seconds.

    Errors: SettingsError (the arguments), StoreUnavailable (no connection, a timeout, a lock: try again), SchemaError
    (a person has to do something; the message says what), InvalidRow (what was handed in will never go in).
    """

    def __init__(
        self,
        dsn: str,
        *,
        bot_schema: str = "monitoring",
        positions_table: str | None = "positions",
        statement_timeout_s: float = 60.0,
    ) -> None:
        for setting, name in (("bot_schema", bot_schema), ("positions_table", positions_table)):
            if name is not None and not _IDENTIFIER.fullmatch(name):
                raise SettingsError(f"{setting} is {name!r}: expected a name of letters, digits and _, at most 63 long")
        if not statement_timeout_s > 0:
            raise SettingsError(f"statement_timeout_s is {statement_timeout_s!r}: expected a number of seconds above 0")
        self._connections = Connections(dsn, statement_timeout_s)
        self._bot_schema = bot_schema
        self._timeout = f"{max(1, round(statement_timeout_s * 1000))}ms"
        self._idle_timeout = f"{round(max(_LEAST_IDLE_S, statement_timeout_s) * 1000)}ms"
        self._sql = load(bot_schema, positions_table or "positions")
        self._marks: dict[UUID, int] = {}  # how far each stream was seen to be
        self._lacks_indexes = False
        self._linker = Linker(self._sql, self._transaction, bot_schema, positions_table)

    @staticmethod
    def check_dsn(dsn: object) -> str:
        """The DSN, if it has the form of one. Raises SettingsError without connecting; never shows the password."""
        return check_dsn(dsn)

    def __repr__(self) -> str:
        return f"PostgresStore({shown(self._connections.dsn)}, schema {self._bot_schema})"

    async def open(self) -> None:
        """Connect and bring the schema up to date. After a failure it may simply be called again."""
        await self._connections.open()
        try:
            async with self._connections.use("prepare the schema") as con:
                await schema.migrate(con, self._sql, self._bot_schema, pooled=self._connections.pooled)
                self._lacks_indexes = bool(await views.missing_indexes(con, self._sql))
        except BaseException:
            await self._connections.close()
            raise

    async def connect(self) -> None:
        """Connect where the schema is known to be up to date, as another store was opened there before."""
        await self._connections.open()

    async def close(self) -> None:
        """Close all connections, within seconds."""
        await self._connections.close()

    async def at_leisure(self) -> None:
        """Build the indexes of the views, once in a process; why that cannot be is logged, once as well."""
        if not self._lacks_indexes or self._connections.dsn in _indexed:
            return
        _indexed.add(self._connections.dsn)
        words = await self.index_views()
        if words not in (None, _AT_IT):
            views.say(f"their indexes on audit.events are missing, so some answer slowly: {words}")

    async def index_views(self) -> str | None:
        """Build the indexes that the views lack, beside the running bots, on a connection of its own, however long it takes.

        Returns why they could not be built, in words; None: they are all there. Call it when the store is open.
        """
        if not self._lacks_indexes:
            return None
        if self._connections.pooled:
            return (
                "they cannot be built through a pooler by transaction: do it once through a direct connection to PostgreSQL: "
                "audit-wrapper upgrade --dsn postgresql://..."
            )
        try:
            async with self._connections.use_at_leisure("build the indexes of the views") as con:
                if not await schema.index_for_views(con, self._sql):
                    return _AT_IT
        except StoreError as problem:
            return str(problem)
        self._lacks_indexes = False
        return None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    # -- delivery

    async def delivered(self, stream: UUID) -> tuple[int, bytes]:
        """Number and hash of the last entry of the stream that is here; 0 and no bytes: none yet."""
        async with self._connections.use("read how far delivery is") as con:
            row = await con.fetchrow(self._sql["delivered"], stream)
        seq, digest = (0, b"") if row is None else (row["delivered_seq"], row["delivered_hash"])
        self._marks[stream] = seq
        return seq, digest

    async def delivered_seq(self, stream: UUID) -> int:
        """Up to which entry the stream is here; 0: none yet."""
        return (await self.delivered(stream))[0]

    async def holds(self, stream: UUID, entries: Sequence[Entry]) -> int:
        """How many of these entries, counted from the first, are here just as they are."""
        async with self._connections.use("compare with the journal") as con:
            rows = await con.fetch(self._sql["held"], stream, [e.seq for e in entries], [e.hash for e in entries])
        held = {row["seq"] for row in rows}
        return next((n for n, entry in enumerate(entries) if entry.seq not in held), len(entries))

    async def deliver(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record | Reading]) -> None:
        """Store a batch in one transaction. Harmless when repeated, wholly or in part.

        entries: of the journal, in order. records: what they hold, decoded or read, one for each. InvalidRow: some entry of
        the batch cannot be stored; halve the batch to find it, then `quarantine` it. StoreUnavailable, among others: the
        database holds less of the stream than it did; ask `delivered_seq`, and go on from there.
        """
        if not entries:
            return
        doing = "deliver a batch"
        try:
            orders, groups = await self._write(
                doing, lambda con: self._deliver(con, stream, entries, records, all_new=True)
            )
        except NotNew:
            orders, groups = await self._write(doing, lambda con: self._deliver(con, stream, entries, records))
        self._marks[stream] = max(self._marks.get(stream, 0), entries[-1].seq)
        await self._linker.after_batch(orders, groups)

    async def quarantine(self, stream: UUID, entry: Entry, reason: str) -> None:
        """Keep an entry that cannot be stored, as it is, and let those behind it pass."""
        async with self._transaction("quarantine an entry") as con:
            await self._check_mark(con, stream)
            words = reason.replace("\0", "\u2400").encode("utf-8", "backslashreplace").decode("utf-8")
            await con.execute(self._sql["quarantine"], stream, entry.seq, entry.payload, entry.hash, words[:_REASON])
            await con.execute(self._sql["advance_stream"], stream, entry.seq, entry.hash)
        self._marks[stream] = max(self._marks.get(stream, 0), entry.seq)

    async def count_quarantined(self, stream: UUID) -> int:
        """How many entries of this journal are in quarantine and were not brought in since."""
        async with self._connections.use("count what is in quarantine") as con:
            return int(await con.fetchval(self._sql["count_quarantined"], stream))

    async def quarantined(self) -> list[Quarantined]:
        """What is in quarantine and was not brought in since, of all journals."""
        return [entry async for entry in self._in_quarantine()]

    async def retry_quarantined(
        self,
        stream: str | None = None,
        seq: int | None = None,
        tried: Callable[[Quarantined, str | None], None] | None = None,
    ) -> int:
        """Try once more to store what is in quarantine (after an upgrade, say). Returns how many went in.

        Call it while the trail runs, if you like, and as often as you like. What is refused again stays, with the new
        reason. stream: only of journals whose name begins so; seq: only of this number. tried: told of each entry, and why it
        was refused again; None: it went in.
        """
        done = 0
        async for entry in self._in_quarantine(stream, seq):
            try:
                records = [codec.decode(entry.payload)]
                orders, groups = await self._write(
                    "deliver from quarantine",
                    lambda con, entry=entry, records=records: self._bring_in(con, entry, records),  # type: ignore[misc]
                )
            except (InvalidRow, CodecError) as problem:
                await self.quarantine(entry.stream, entry, str(problem))
                if tried is not None:
                    tried(entry, str(problem))
                continue
            done += 1
            await self._linker.after_batch(orders, groups)
            if tried is not None:
                tried(entry, None)
        return done

    async def _in_quarantine(self, stream: str | None = None, seq: int | None = None) -> AsyncIterator[Quarantined]:
        after: tuple[UUID, int] = (UUID(int=0), 0)
        while True:
            async with self._connections.use("read the quarantine") as con:
                rows = await con.fetch(self._sql["quarantined"], *after, _RETRIED_AT_ONCE, stream, seq)
            for row in rows:
                entry = Quarantined(*row)
                after = (entry.stream, entry.seq)
                yield entry
            if len(rows) < _RETRIED_AT_ONCE:
                return

    async def _deliver(
        self,
        con: Connection,
        stream: UUID,
        entries: Sequence[Entry],
        records: Sequence[Record | Reading],
        *,
        all_new: bool = False,
    ) -> tuple[set[UUID], set[Group]]:
        await self._check_mark(con, stream)
        return await deliver(con, self._sql, stream, entries, records, all_new=all_new)

    async def _check_mark(self, con: Connection, stream: UUID) -> None:
        # A pool connects anew without a word, and who answers then may be a standby that had not received everything, or an
        # older copy of the database. To go on from where we were would leave a gap.
        seen = self._marks.get(stream)
        if seen:
            mark = await con.fetchval(self._sql["delivered"], stream) or 0
            if mark < seen:
                raise StoreUnavailable(
                    f"the database holds entries of stream {stream} up to {mark} and held them up to {seen} before: a "
                    "failover or a restored copy; delivery goes back to what it lacks"
                )

    async def _bring_in(
        self, con: Connection, entry: Quarantined, records: Sequence[Record]
    ) -> tuple[set[UUID], set[Group]]:
        touched = await deliver(con, self._sql, entry.stream, [entry], records)
        await con.execute(self._sql["resolve_quarantine"], entry.stream, entry.seq)
        return touched

    async def relink(self, since: datetime | None = None) -> int:
        """Look in the bot's positions table for the position of every order since then (None: two days) that has none yet.

        Runs after each batch; call it again when the bot has written its row later. Returns how many were linked.
        """
        return await self._linker.relink(since)

    async def rebuild(self, progress: Callable[[str, int, int], None] | None = None) -> int:
        """Make orders, trades and fills anew from audit.events. Returns the number of orders.

        One transaction: broken off, it changes nothing. Deliveries wait until it is done. Serial ids and the bot's own rows
        stay as they are. progress: what is being read or made ("records", "orders"), how many were, and how many there are.
        """
        async with self._connections.use_at_leisure("rebuild") as con, con.transaction():
            return await rebuild.rebuild(con, self._sql, progress)

    # -- the methods of a bot's repository

    async def create_order(self, order_data: Mapping[str, Any]) -> int:
        """Write a row of `orders`; returns its id. The same exchange order id again updates that row.

        Required: exchange, symbol, side (buy, sell), type, size, status (NEW, FILLED, ...). Numbers may be Decimal, int,
        float or text; times with a time zone, or without one in UTC. Raises InvalidRow that names what is wrong.
        A row that the trail itself wrote follows the exchange: only its position and signal are taken from here.
        """
        return await self._write("create an order", lambda con: repository.create_order(con, self._sql, order_data))

    async def create_trade(self, trade_data: Mapping[str, Any]) -> int:
        """Write a row of `trades`; returns its id. As `create_order`, with order_type, quantity, executed_qty."""
        return await self._write("create a trade", lambda con: repository.create_trade(con, self._sql, trade_data))

    async def update_order(self, order_id: int, updates: Mapping[str, Any]) -> bool:
        """Change the given fields of the row with this id (as `create_order` returned it). False: there is none."""
        async with self._transaction("update an order") as con:
            return await repository.update_order(con, self._sql, order_id, updates)

    # -- reading

    async def orders_of_position(self, position_id: str | int) -> Rows:
        """Rows of `orders`, oldest first."""
        async with self._connections.use("read orders") as con:
            return await con.fetch(self._sql["orders_of_position"], str(position_id))

    async def trades_of_position(self, position_id: str | int) -> Rows:
        """Rows of `trades`, oldest first."""
        async with self._connections.use("read trades") as con:
            return await con.fetch(self._sql["trades_of_position"], str(position_id))

    async def open_stops(self, exchange: str | None = None, symbol: str | None = None) -> Rows:
        """Rows of stop-losses that stand at the exchange, or may (UNKNOWN). The symbol in any of its spellings."""
        async with self._connections.use("read open stops") as con:
            return await con.fetch(self._sql["open_stops"], exchange, symbol)

    async def incomplete(self, account: str, since: datetime) -> list[Incomplete]:
        """Orders to ask the exchange about: not done yet, nobody knows, a fee still unknown. Of those made after `since` also:
        over without ever having had an id, taken for absent, a fee that the exchange has not named."""
        async with self._connections.use("read incomplete orders") as con:
            return await books.incomplete(con, self._sql, account, since)

    async def orders_of(self, exchange: str, account: str, ids: Iterable[str]) -> Books:
        """Orders by any of the exchange's ids."""
        async with self._connections.use("read orders") as con:
            return await books.orders_of(con, self._sql, exchange, account, ids)

    async def orders_between(self, exchange: str, account: str, since: datetime, until: datetime) -> Books:
        """Orders made or executed in this time, or open since."""
        async with self._connections.use("read orders") as con:
            return await books.orders_between(con, self._sql, exchange, account, since, until)

    async def not_sent_by_us(
        self, exchange: str, account: str, since: datetime, until: datetime, client_ids: Sequence[str]
    ) -> Books:
        """Orders made in this time of which only the exchange knows who sent them; whenever made, those with one of these
        client ids."""
        async with self._connections.use("read orders") as con:
            return await books.not_sent_by_us(con, self._sql, exchange, account, since, until, client_ids)

    async def covered(self, exchange: str, account: str) -> list[Record]:
        """Records of kind `covered`: what was read of the exchange's history to its end."""
        async with self._connections.use("read what a backfill has read") as con:
            return await books.covered(con, self._sql, exchange, account)

    async def payments_known(self, exchange: str, account: str, ids: Sequence[str]) -> set[str]:
        """Those of these funding payments that are here."""
        async with self._connections.use("read funding payments") as con:
            rows = await con.fetch(self._sql["payments_known"], exchange, account, list(ids))
        return {row["payment_id"] for row in rows}

    async def order_history(self, order: str | UUID) -> list[HistoryEvent]:
        """Every record of an order, in order. `order`: its exchange order id (of every order that has it), or its key."""
        async with self._connections.use("read the history of an order") as con:
            return await reads.order_history(con, self._sql, order)

    async def events(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        stream: UUID | None = None,
        account: str | None = None,
        kind: str | None = None,
        correlation_id: UUID | None = None,
    ) -> Rows:
        """Records in the order of arrival, a page at a time: pass the last row's `stored_no` as `after` for the next.

        `body` is the record as it was journaled; `codec.decode(row["body"].encode())` reads it.
        """
        async with self._connections.use("read events") as con:
            return await con.fetch(self._sql["events"], after, limit, stream, account, kind, correlation_id)

    # -- inside

    @asynccontextmanager
    async def _transaction(self, doing: str) -> AsyncIterator[Connection]:
        async with self._connections.use(doing) as con:
            transaction = con.transaction()
            await transaction.start()
            try:
                await con.fetchrow(self._sql["begin"], self._timeout, self._idle_timeout)
                yield con
            except (TimeoutError, asyncio.CancelledError, OSError):
                raise  # `use` ends the connection; a rollback would wait for the same silence
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def _write(self, doing: str, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Do work that may make new rows of the bot's tables; once more, where the bot took their ids itself."""
        try:
            async with self._transaction(doing) as con:
                return await work(con)
        except InvalidRow as problem:
            cause = problem.__cause__
            if not isinstance(cause, asyncpg.UniqueViolationError) or "(id)" not in (cause.detail or ""):
                raise
        async with self._transaction("catch up with the ids that the bot gave its rows") as con:
            for table in ("orders", "trades"):
                await con.fetch(self._sql[f"resync_{table}_id"])
        async with self._transaction(doing) as con:
            return await work(con)
