"""Whether something stands between here and the server that hands its connections around (pgbouncer), and what that breaks."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import asyncpg

from audit_wrapper.command import peek
from audit_wrapper.command.check import Check, note, ok, wrong
from audit_wrapper.errors import StoreError

_NAME = "pooler"
_PID = "SELECT pg_backend_pid()"


async def pooler(con: asyncpg.Connection, dsn: str) -> Check:
    """Found out by its symptoms: which process of the server answers, and whether a prepared statement outlives a transaction."""
    first = await con.fetchval(_PID)
    if first == con.get_server_pid():
        return ok(_NAME, "none: the server is talked to directly")
    try:
        prepared = await con.prepare("SELECT 1", name="audit_wrapper_look")
        first = await con.fetchval(_PID)
        async with peek.connected(dsn) as other:
            try:
                async with (
                    other.transaction()
                ):  # meanwhile it holds the server's connection that `con` had, or it does not
                    shares = await other.fetchval(_PID) == first
                    survives = not shares or await _survives(prepared)
            except asyncpg.PostgresError as problem:
                return wrong(
                    _NAME,
                    f"it does not allow transactions ({problem})",
                    "pool_mode = session or transaction, not statement",
                )
    except (StoreError, TimeoutError) as problem:
        return note(
            _NAME, f"there is one; which mode it has could not be found out: {problem}", "pool_mode = session is safe"
        )
    if not shares:
        return ok(_NAME, "there is one, in session mode")
    if survives:
        return note(
            _NAME,
            "there is one, in transaction mode, which keeps prepared statements",
            "let upgrades of the schema go to the server directly",
        )
    if parse_qs(urlsplit(dsn).query).get("statement_cache_size") == ["0"]:
        return ok(_NAME, "there is one, in transaction mode, and the DSN says so (statement_cache_size=0)")
    return wrong(
        _NAME,
        "there is one, in transaction mode: prepared statements do not outlive a transaction",
        "add ?statement_cache_size=0 to the DSN, or set pool_mode = session, or name the server itself",
    )


async def _survives(prepared: asyncpg.prepared_stmt.PreparedStatement) -> bool:
    """Called while what it was prepared on is in other hands."""
    try:
        return int(await prepared.fetchval()) == 1
    except asyncpg.InvalidSQLStatementNameError:
        return False
