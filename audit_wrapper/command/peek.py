"""One short connection to the database, for a look: never the pool that delivers, and never for long."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.settings import Settings
from audit_wrapper.store.connection import check_dsn, hosts, shown, translated

_OURS = "statement_cache_size"  # of asyncpg's, not of the server's


def database_of(settings: Settings) -> str | None:
    """The DSN to look at: the user's, or that of an embedded server that runs. None: there is none.

    Raises SettingsError for a DSN that cannot be, StoreUnavailable where the embedded server does not run: its bot
    starts it, a look does not.
    """
    if settings.dsn is not None:
        return check_dsn(settings.dsn)
    folder = settings.journal.absolute() / "postgres"
    if not folder.is_dir():
        return None
    dsn = _running(folder)
    if dsn is None:
        raise StoreUnavailable(f"the embedded PostgreSQL in {folder} does not run: it runs while the bot does")
    return dsn


def address_of(settings: Settings) -> str:
    """The same for people, without a password."""
    return shown(settings.dsn) if settings.dsn else f"embedded, in {settings.journal.absolute() / 'postgres'}"


@contextlib.asynccontextmanager
async def connected(dsn: str, *, timeout_s: float = 3.0) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the first host that answers within the time. Raises StoreUnavailable."""
    parts = urlsplit(dsn)
    options = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != _OURS]
    dsn = urlunsplit(parts._replace(query=urlencode(options, safe="/:")))
    connection, problem = None, None
    for host in hosts(dsn):
        try:
            with translated(f"reach {shown(host)}"):
                connection = await asyncpg.connect(
                    host,
                    timeout=timeout_s,
                    command_timeout=timeout_s,
                    statement_cache_size=0,  # works behind a pooler, too
                    server_settings={"application_name": "audit_wrapper looking"},
                )
            break
        except StoreUnavailable as refused:
            problem = refused
    if connection is None:
        assert problem is not None
        raise problem
    try:
        with translated("look at the database"):
            yield connection
    finally:
        connection.terminate()


def _running(folder: Path) -> str | None:
    """The DSN of the embedded server in `folder`, from what it says of itself there (postmaster.pid); None: it does not run."""
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    if len(lines) < 6 or not lines[4]:
        return None
    query: dict[str, Any] = {"host": lines[4], "port": lines[3]}
    return f"postgresql://postgres@/postgres?{urlencode(query, safe='/')}"
