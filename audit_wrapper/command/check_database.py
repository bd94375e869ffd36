"""What the doctor looks at in the database. Reads only, on short connections of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import asyncpg

from audit_wrapper.command import peek
from audit_wrapper.command.check import Check, note, ok, wrong
from audit_wrapper.command.check_clock import clock
from audit_wrapper.command.check_pooler import pooler
from audit_wrapper.command.check_secrets import in_events
from audit_wrapper.command.health import queries
from audit_wrapper.errors import AuditWrapperError
from audit_wrapper.settings import Settings
from audit_wrapper.store import views
from audit_wrapper.store.queries import Queries, load
from audit_wrapper.store.schema import columns_of, migrations

_OLDEST = 120_000
_SAMPLE = 200  # newest events of each stream
_TABLES = ("orders", "trades")


async def database(settings: Settings, known: dict[str, str]) -> AsyncIterator[Check]:
    """All checks of it. The first one is wrong, and the only one, where it cannot be reached. known: secrets to look for."""
    address = peek.address_of(settings)
    try:
        dsn = peek.database_of(settings)
        if dsn is None:
            yield note(
                "database",
                "none is named, and no embedded one is there",
                "name the bot's: AUDIT_WRAPPER_DSN, or --dsn; or the bot's journal folder: --journal",
            )
            return
        async with peek.connected(dsn) as con:
            yield ok("database", f"{address} answers")
            yield _tls(con, dsn)
            async for check in _server(con):
                yield check
            yield await pooler(con, dsn)
            yield await clock(con)
            async for check in _schema(con, settings, known):
                yield check
    except AuditWrapperError as problem:
        yield wrong(
            "database",
            f"{address}: {problem}",
            "see that it runs, that the address is right, and that the bot's machine may log in",
        )


def _tls(con: asyncpg.Connection, dsn: str) -> Check:
    host = urlsplit(dsn).hostname
    transport = getattr(con, "_transport", None)
    is_on = transport is not None and transport.get_extra_info("ssl_object") is not None
    if _is_local(host):
        return ok("database TLS", f"not needed: the database is on this machine{', and it is on' if is_on else ''}")
    if not is_on:
        return wrong(
            "database TLS",
            f"orders, and the password, go to {host} in the clear",
            "add ?sslmode=verify-full to the DSN (and sslrootcert=FILE for a certificate of your own)",
        )
    mode = parse_qs(urlsplit(dsn).query).get("sslmode", ["prefer"])[-1]
    if mode not in ("verify-ca", "verify-full"):
        return note(
            "database TLS",
            f"on, but with sslmode={mode} nobody checks whose certificate it is",
            "add ?sslmode=verify-full to the DSN",
        )
    return ok("database TLS", f"on, {mode}")


def _is_local(host: str | None) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _server(con: asyncpg.Connection) -> AsyncIterator[Check]:
    sql = _sql("monitoring")
    server = await con.fetchrow(sql["server"])
    assert server is not None
    version = server["version"]
    shown = f"PostgreSQL {version // 10_000}.{version % 10_000}, as role {server['role']}"
    if version < _OLDEST:
        yield wrong("server version", shown, "12 or newer is needed: upgrade the server")
    else:
        yield ok("server version", shown)
    if server["encoding"] != "UTF8":
        yield wrong(
            "server encoding",
            f"{server['encoding']}, which cannot hold every name and message of an exchange",
            "CREATE DATABASE audit TEMPLATE template0 ENCODING 'UTF8';",
        )
    else:
        yield ok("server encoding", "UTF8")
    if server["in_recovery"]:
        yield wrong(
            "server role",
            "a standby: it can only be read, and nothing can be delivered to it",
            "name the primary, or both (host1,host2: the one that can be written is chosen)",
        )
    else:
        yield ok("server role", "it can be written")


async def _schema(con: asyncpg.Connection, settings: Settings, known: dict[str, str]) -> AsyncIterator[Check]:
    sql = _sql(settings.bot_schema, settings.positions_table)
    made = await con.fetchval(sql["migrations_table_exists"])
    existing = {row["name"] for row in await con.fetch(sql["bot_tables"], settings.bot_schema, list(_TABLES))}
    rights = await con.fetch(sql["missing_rights"], settings.bot_schema, not made, len(existing) < len(_TABLES))
    if rights:
        statements = "\n".join(row["statement"] for row in rights)
        yield wrong("rights", "this role lacks rights", f"somebody who may runs:\n{statements}")
    else:
        yield ok("rights", "this role may do what it has to")
    if not made:
        yield note(
            "schema",
            "the schema audit is not there yet",
            "the bot makes it when it starts, or run `audit-wrapper init`",
        )
    elif not any("SCHEMA audit" in row["statement"] or " audit." in row["statement"] for row in rights):
        yield await _version(con, sql)
        yield await _views(con, sql, settings.bot_schema)
        if await con.fetchval(queries()["relation_exists"], "events"):
            rows = await con.fetch(queries()["newest_events"], _SAMPLE)
            yield in_events([row["body"] for row in rows], known)
    async for check in _bot_tables(con, sql, settings, existing):
        yield check


async def _version(con: asyncpg.Connection, sql: Queries) -> Check:
    applied = {row["version"]: row["checksum"] for row in await con.fetch(sql["applied_migrations"])}
    ours = {one.version: one.checksum for one in migrations()}
    newest, needed = max(applied, default=0), max(ours)
    if newest > needed:
        return wrong("schema", f"version {newest}; this release knows up to {needed}", "upgrade audit-wrapper here")
    if any(ours[version] != checksum for version, checksum in applied.items() if version in ours):
        return wrong("schema", "it was made by another form of this release", "install the release that made it")
    if newest < needed:
        return note(
            "schema",
            f"version {newest} of {needed}",
            "the bot upgrades it when it starts, or run `audit-wrapper upgrade`",
        )
    return ok("schema", f"version {newest}")


async def _views(con: asyncpg.Connection, sql: Queries, bot_schema: str) -> Check:
    words = await views.problem(con, sql, bot_schema)
    if words is None:
        return ok("views", "audit.v_* are as this release makes them")
    if await views.are_anothers(con, sql, bot_schema):
        return note("views", f"audit.v_*: {words}")
    todo = "run `audit-wrapper upgrade` as the role that owns the schema audit; the bot tries it too, when it starts"
    if await views.are_made(con, sql, bot_schema):  # but for their indexes
        return note("views", f"audit.v_*: {words}", todo)
    return wrong("views", f"audit.v_*: {words}; reports, dashboards and `explain` need them", todo)


async def _bot_tables(
    con: asyncpg.Connection, sql: Queries, settings: Settings, existing: set[str]
) -> AsyncIterator[Check]:
    name = settings.bot_schema
    missing = sorted(set(_TABLES) - existing)
    if missing:
        yield note("bot's tables", f"{name} has no {' and no '.join(missing)}", "they are made when the bot starts")
    expected = [(table, *column) for table in _TABLES for column in columns_of(table)]
    tables, names, types = ([column[i] for column in expected] for i in range(3))
    changes = await con.fetch(sql["bot_table_changes"], name, tables, names, types)
    problems = [row for row in changes if row["problem"]]
    clauses = [f"{row['table_name']}: {row['clause']}" for row in changes if row["clause"]]
    if problems:
        yield wrong(
            "bot's tables",
            "; ".join(row["problem"] for row in problems),
            "\n".join(row["statement"] for row in problems if row["statement"])
            or "rename it, or choose another bot_schema",
        )
    elif clauses:
        yield note(
            "bot's tables",
            f"{len(clauses)} changes are due ({'; '.join(clauses[:3])}{' ...' if len(clauses) > 3 else ''})",
            "the bot makes them when it starts; no row is rewritten",
        )
    elif not missing:
        yield ok("bot's tables", f"{name}.orders and {name}.trades are as they have to be")
    if settings.positions_table is None:
        yield ok("positions", "not looked at (positions_table is not set)")
        return
    where = f"{name}.{settings.positions_table}"
    readable = await con.fetchval(
        "SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2",
        name,
        settings.positions_table,
    )
    if readable is None:
        yield note("positions", f"there is no {where}: orders are linked to positions by `trail.position(...)` only")
    elif not readable:
        yield wrong("positions", f"this role may not read {where}", f"GRANT SELECT ON {where} TO <the bot's role>;")
    else:
        yield ok("positions", f"{where} can be read")


def _sql(bot_schema: str, positions_table: str | None = None) -> Queries:
    return load(bot_schema, positions_table or "positions")
