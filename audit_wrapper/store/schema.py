"""The schema: our own by numbered migrations, the bot's two tables by comparing what is there with what has to be.

The bot's tables belong to the bot. What is missing in them is added, what is too narrow is widened, nothing is
rewritten and no row is touched; every statement is either done at once (a change of the catalog) or builds an index
beside the running bot. Where this role may not do that, the error has the statements for somebody who may.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, get_args, get_type_hints
from uuid import UUID

import asyncpg

from audit_wrapper.errors import SchemaError, StoreUnavailable
from audit_wrapper.rows import OrderRow, TradeRow
from audit_wrapper.store import positions, views
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries, load, named, quoted, read

_TYPES = {
    str: "text",
    Decimal: "numeric",
    datetime: "timestamp",
    UUID: "uuid",
    int: "integer",
    bool: "boolean",
}
_TABLES = {"orders": OrderRow, "trades": TradeRow}
_OLDEST_SERVER = 120_000
_LOCK = 0x61756469745F7772  # "audit_wr": one migration at a time in a database
_WAIT_FOR_OTHERS_S = 60.0
_POLL_S = 0.1
_LOCK_TIMEOUT = "1s"  # while a change waits for its lock, the bot's own statements queue up behind it
_INDEX_TIMEOUT_S = 86_400.0  # the bot's table may be large, and nobody waits for this
_FILL_TIMEOUT_S = 3_600.0  # five million orders take a minute; deliveries wait meanwhile, bots do not
_INDEX_LOCK_TIMEOUT = "30s"  # nobody queues up behind this one: it waits for older transactions to end
_TRIES = 10
_PAUSE_S = 0.5
_FILES = ("0001_audit", "0002_positions")
_INDEX = re.compile(r'INDEX IF NOT EXISTS (\w+)\s+ON "[^"]+"\."(\w+)"')


class Migration(NamedTuple):
    """One file of sql/migrations."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


class Index(NamedTuple):
    """One index of ours on a table of the bot's."""

    name: str
    table: str
    statement: str

    @property
    def beside_the_bot(self) -> str:
        """The statement that lets the bot go on writing meanwhile."""
        return self.statement.replace("INDEX IF NOT EXISTS", "INDEX CONCURRENTLY IF NOT EXISTS", 1)


class Change(NamedTuple):
    """What differs in a table of the bot's: a clause of ALTER TABLE, or a problem and how its owner may solve it."""

    table: str
    clause: str | None
    problem: str | None
    statement: str | None


def migrations() -> tuple[Migration, ...]:
    """Every migration, oldest first."""
    return tuple(Migration(int(name[:4]), name, read(f"migrations/{name}.sql")) for name in _FILES)


def schema_sql(bot_schema: str = "monitoring", role: str | None = None) -> str:
    """The whole schema as a script for a DBA; with the rights that `role` needs to use it, where one is named."""
    marks = f"{_recorded(migrations())}\n{load(bot_schema, 'positions')['keep_from_now_on'].strip()}"
    grants = named(read("grants.sql"), bot_schema).replace('"the_role"', quoted(role)) if role else ""
    return (
        f"BEGIN;\n\n{named(read('schema.sql'), bot_schema)}\n{marks}\n\n{views.script(bot_schema)}\n{grants}COMMIT;\n"
    )


def _recorded(done: Sequence[Migration]) -> str:
    rows = ", ".join(f"({m.version}, '{m.name}', '{m.checksum}')" for m in done)
    return f"INSERT INTO audit.migrations (version, name, checksum) VALUES {rows};"  # noqa: S608 (all of it ours)


async def migrate(con: Connection, sql: Queries, bot_schema: str, *, pooled: bool = False) -> None:
    """Bring the database up to date. Does nothing, and takes no lock, where it is already.

    pooled: each transaction may be on another connection of the server's, where no lock can be held.
    """
    await _check_server(con, sql)
    if not await _is_current(con, sql, bot_schema):
        if pooled:
            raise SchemaError(
                "the schema has to be made or upgraded, and that cannot be done through a pooler by transaction: do it once "
                "through a direct connection to PostgreSQL: audit-wrapper init --dsn postgresql://..."
            )
        await _fit(con, sql, bot_schema)
    await views.install(con, sql, bot_schema)


async def _fit(con: Connection, sql: Queries, bot_schema: str) -> None:
    async with _alone(con, sql):
        await _patiently(bot_schema, lambda: _create(con, sql, bot_schema))
        for table in _TABLES:
            # one at a time: the bot may hold the one table and want the other
            await _patiently(bot_schema, lambda table=table: _alter(con, sql, bot_schema, table))  # type: ignore[misc]
        for index in await _missing_indexes(con, sql, bot_schema):
            await _patiently(bot_schema, lambda index=index: _build(con, sql, bot_schema, index))  # type: ignore[misc]
        if not await con.fetchval(sql["positions_are_kept"]):
            await _patiently(bot_schema, lambda: _keep_positions(con, sql))


async def index_for_views(con: Connection, sql: Queries) -> bool:
    """Build the indexes that the views lack, beside the running bots. False: another process has been at it for a minute.

    con: of its own, outside a transaction and through no pooler; to be closed afterwards, since it keeps the lock.
    """
    if not await _locked(con, sql):
        return False
    for name in await views.missing_indexes(con, sql):
        await views.build_index(con, sql, name)
    return True


async def _check_server(con: Connection, sql: Queries) -> None:
    server = await con.fetchrow(sql["server"])
    assert server is not None
    if server["in_recovery"]:
        raise StoreUnavailable(f"database {server['database']} is a standby at present: it can only be read")
    if server["version"] < _OLDEST_SERVER:
        raise SchemaError(f"the server is PostgreSQL {server['version'] // 10_000}; 12 or newer is needed")
    if server["encoding"] != "UTF8":
        raise SchemaError(
            f"database {server['database']} is encoded as {server['encoding']}, which cannot hold every name and message "
            "of an exchange; make one with: CREATE DATABASE audit TEMPLATE template0 ENCODING 'UTF8';"
        )


async def _is_current(con: Connection, sql: Queries, bot_schema: str) -> bool:
    """Whether nothing is to be done. Raises SchemaError where something is, and this role cannot do it."""
    made = await con.fetchval(sql["migrations_table_exists"])
    tables = {row["name"]: row for row in await con.fetch(sql["bot_tables"], bot_schema, list(_TABLES))}
    rights = await con.fetch(sql["missing_rights"], bot_schema, not made, len(tables) < len(_TABLES))
    changes = await _changes(con, sql, bot_schema)
    indexes = [i for i in await _missing_indexes(con, sql, bot_schema) if i.table in tables]
    reasons = [change.problem for change in changes if change.problem]
    statements = [row["statement"] for row in rights] + [change.statement for change in changes if change.statement]
    if rights:
        reasons.append("the role lacks rights")
    for table, row in tables.items():
        if not row["ours"]:
            needed = [await _alter_statement(con, sql, bot_schema, table, changes)] if _clauses(table, changes) else []
            needed += [index.beside_the_bot + ";" for index in indexes if index.table == table]
            if needed:
                reasons.append(f"{bot_schema}.{table} belongs to role {row['owner']} and lacks columns or indexes")
                statements += needed
    if reasons:
        server = await con.fetchrow(sql["server"])
        assert server is not None
        raise SchemaError(
            f"the audit trail cannot use database {server['database']} as role {server['role']}: {'; '.join(reasons)}. "
            + ("Run this with the rights for it, then start again:\n  " if statements else "")
            + "\n  ".join(statements)
        )
    if changes or indexes or len(tables) < len(_TABLES) or await _pending(con, sql):
        return False
    return bool(await con.fetchval(sql["positions_are_kept"]))


async def _pending(con: Connection, sql: Queries) -> list[Migration]:
    """The migrations to do. Raises SchemaError where the database is too new or made by something else."""
    known = {m.version: m for m in migrations()}
    if not await con.fetchval(sql["migrations_table_exists"]):
        return list(known.values())
    applied = {row["version"]: row for row in await con.fetch(sql["applied_migrations"])}
    newest, ours = max(applied, default=0), max(known)
    if newest > ours:
        raise SchemaError(
            f"the schema audit of this database has version {newest}, this release of audit_wrapper knows versions up to "
            f"{ours}: upgrade audit_wrapper on this machine, or give it another database"
        )
    for version, row in applied.items():
        if row["checksum"] != known[version].checksum:
            raise SchemaError(
                f"migration {row['name']} was applied to this database in another form than this release has it "
                f"(checksum {row['checksum'][:12]}, here {known[version].checksum[:12]}): install the release that made "
                "the schema, or give this one another database"
            )
    return [m for version, m in sorted(known.items()) if version not in applied]


async def _create(con: Connection, sql: Queries, bot_schema: str) -> None:
    """What is missing altogether, in one transaction."""
    async with con.transaction():
        await con.fetchval(sql["lock_timeout"], _LOCK_TIMEOUT)
        for name, create in (("audit", "create_audit_schema"), (bot_schema, "create_bot_schema")):
            # CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to create
            if not await con.fetchval(sql["schema_exists"], name):
                await con.execute(sql[create])
        for migration in await _pending(con, sql):
            try:
                await con.execute(migration.text)
            except asyncpg.InsufficientPrivilegeError as problem:
                raise SchemaError(
                    f"this role may not bring the schema audit to version {migration.version}: {problem}. The owner of the "
                    f"schema has to start once, or to run this:\n{migration.text}\n{_recorded([migration])}"
                ) from None
            await con.execute(sql["record_migration"], migration.version, migration.name, migration.checksum)
            if (
                migration.version == 1
            ):  # nobody waits for an index on a table that is new; later they are built at leisure
                await con.execute(read("views_indexes.sql"))
        existing = {row["name"] for row in await con.fetch(sql["bot_tables"], bot_schema, list(_TABLES))}
        tables, indexes = _bot_tables(bot_schema)
        for name, statement in tables.items():
            if name not in existing:
                await con.execute(statement)
                for index in indexes:
                    if index.table == name:
                        await con.execute(index.statement)


async def _alter(con: Connection, sql: Queries, bot_schema: str, table: str) -> None:
    """What is missing or too narrow in a table of the bot's: one statement, which changes the catalog only."""
    async with con.transaction():
        await con.fetchval(sql["lock_timeout"], _LOCK_TIMEOUT)
        changes = await _changes(con, sql, bot_schema)
        clauses = _clauses(table, changes)
        if not clauses:
            return
        statement = await _alter_statement(con, sql, bot_schema, table, changes)
        views = await con.fetch(sql["dependent_views"], bot_schema, table)
        try:
            await con.execute(statement)
        except asyncpg.FeatureNotSupportedError as problem:
            names = ", ".join(sorted({row["view"] for row in views})) or problem.detail or "unknown"
            raise SchemaError(
                f"{bot_schema}.{table} cannot be widened: {problem} ({problem.detail}). Views on it: {names}. Drop them, "
                f"run this, and create them again:\n  {statement}"
            ) from None
        except (asyncpg.SyntaxOrAccessError, asyncpg.ObjectNotInPrerequisiteStateError) as problem:
            if isinstance(problem, asyncpg.LockNotAvailableError):
                raise
            raise SchemaError(f"{bot_schema}.{table} cannot be changed: {problem}. It needs:\n  {statement}") from None
        if any("AS IDENTITY" in clause for clause in clauses):
            await con.fetch(sql[f"resync_{table}_id"])


async def _build(con: Connection, sql: Queries, bot_schema: str, index: Index) -> None:
    """An index beside the running bot. One that was begun and never finished is made anew."""
    states = await con.fetch(sql["index_states"], bot_schema, list(_TABLES))
    if any(row["name"] == index.name and not row["valid"] for row in states):
        statement = await con.fetchval(sql["drop_index_statement"], bot_schema, index.name)
        await con.execute(statement, timeout=_INDEX_TIMEOUT_S)
    # not in a transaction of its own; the session's setting is taken back below
    await con.execute(f"SET lock_timeout = '{_INDEX_LOCK_TIMEOUT}'")
    try:
        await con.execute(index.beside_the_bot, timeout=_INDEX_TIMEOUT_S)
    finally:
        await con.execute("RESET lock_timeout")


async def _keep_positions(con: Connection, sql: Queries) -> None:
    """Reckon the positions that an older release has left here."""
    async with con.transaction():
        await con.fetchval(sql["lock_timeout"], _LOCK_TIMEOUT)
        await positions.keep_from_now_on(con, sql, timeout_s=_FILL_TIMEOUT_S)


async def _changes(con: Connection, sql: Queries, bot_schema: str) -> list[Change]:
    expected = [(table, *column) for table in _TABLES for column in columns_of(table)]
    tables, names, types = ([column[i] for column in expected] for i in range(3))
    rows = await con.fetch(sql["bot_table_changes"], bot_schema, tables, names, types)
    return [Change(row["table_name"], row["clause"], row["problem"], row["statement"]) for row in rows]


def columns_of(table: str) -> list[tuple[str, str]]:
    """Names and types of the columns that a row of ours has, save the serial id."""
    hints = get_type_hints(_TABLES[table])
    return [(name, _TYPES[next(t for t in (*get_args(hint), hint) if t in _TYPES)]) for name, hint in hints.items()]


def _clauses(table: str, changes: Sequence[Change]) -> list[str]:
    return [change.clause for change in changes if change.table == table and change.clause]


async def _alter_statement(
    con: Connection, sql: Queries, bot_schema: str, table: str, changes: Sequence[Change]
) -> str:
    return str(await con.fetchval(sql["alter_statement"], bot_schema, table, _clauses(table, changes)))


async def _missing_indexes(con: Connection, sql: Queries, bot_schema: str) -> list[Index]:
    states = await con.fetch(sql["index_states"], bot_schema, list(_TABLES))
    finished = {row["name"] for row in states if row["valid"]}
    return [index for index in _bot_tables(bot_schema)[1] if index.name not in finished]


def _bot_tables(bot_schema: str) -> tuple[dict[str, str], list[Index]]:
    tables: dict[str, str] = {}
    indexes: list[Index] = []
    for statement in named(read("bot_tables.sql"), bot_schema).split(";\n"):
        if found := _INDEX.search(statement):
            indexes.append(Index(found[1], found[2], statement.strip()))
        elif "CREATE TABLE" in statement:
            name = next(table for table in _TABLES if f'."{table}" (' in statement)
            tables[name] = statement
    return tables, indexes


async def _locked(con: Connection, sql: Queries) -> bool:
    # asked for again and again rather than waited for: building an index waits for everybody who waits inside a
    # statement, and two who do both would wait for each other
    for _ in range(round(_WAIT_FOR_OTHERS_S / _POLL_S)):
        if await con.fetchval(sql["try_migration_lock"], _LOCK):
            return True
        await asyncio.sleep(_POLL_S)
    return False


@contextlib.asynccontextmanager
async def _alone(con: Connection, sql: Queries) -> AsyncIterator[None]:
    if not await _locked(con, sql):
        raise StoreUnavailable("another process has been preparing the schema for a minute; it will be tried again")
    try:
        yield
    finally:
        if not con.is_closed():
            await con.fetchval(sql["migration_unlock"], _LOCK)


async def _patiently(bot_schema: str, step: Callable[[], Awaitable[None]]) -> None:
    """Try a step until nobody is in its way; each try gives up soon, so that the bot does not queue up behind it."""
    for attempt in range(1, _TRIES + 1):
        try:
            return await step()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == _TRIES:
                raise StoreUnavailable(
                    f"the tables in schema {bot_schema} have to be changed, and somebody keeps them locked (a long "
                    "transaction of the bot, a backup?); it will be tried again"
                ) from None
            await asyncio.sleep(_PAUSE_S)
