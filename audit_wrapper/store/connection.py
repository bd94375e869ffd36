"""Connections: the DSN, the pool, and PostgreSQL's errors in the words of our own tree."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from audit_wrapper.errors import InvalidRow, SchemaError, SettingsError, StoreError, StoreUnavailable

Connection = PoolConnectionProxy | asyncpg.Connection

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 3.0
_SESSION = {"application_name": "audit_wrapper", "timezone": "UTC"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# A value that no row can hold, or that breaks a rule of the table: it will never go in, however often it is tried.
_DATA = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeError,
)
_SCHEMA = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.DatatypeMismatchError,
)


def check_dsn(dsn: object) -> str:
    """The DSN, if it has the form of one. Raises SettingsError without connecting; never shows the password."""
    if not isinstance(dsn, str) or not dsn.strip():
        raise _bad_dsn("it is empty or not a text")
    if re.match(r"^\s*\w+\s*=", dsn):
        raise _bad_dsn("it is written as key=value pairs")
    try:
        parts = urlsplit(dsn)
        location = parts.netloc.rpartition("@")[2]
        query = parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError:
        raise _bad_dsn("it cannot be taken apart as an address") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _bad_dsn(f"it begins with {parts.scheme + '://' if parts.scheme else 'no scheme'!r}")
    if re.search(r"\s", dsn):
        raise _bad_dsn("there is white space in it (write %20)")
    if parts.fragment:
        raise _bad_dsn("there is a '#' in it (in a password write %23)")
    for host in location.split(",") if location else ():
        port = re.fullmatch(r"(?:\[[^\]]+\]|[^:]*)(?::(\d*))?", host)
        if port is None or (port[1] and not 0 < int(port[1]) < 65_536):
            raise _bad_dsn("the port is no number from 1 to 65535 (in a password write '@' as %40, '/' as %2F)")
    mode = query.get("sslmode", ["prefer"])[-1]
    if mode not in _SSL_MODES:
        raise _bad_dsn(f"sslmode is {mode!r}, not one of {', '.join(_SSL_MODES)}")
    return dsn


def shown(dsn: str) -> str:
    """The DSN for a log: user, host and database; no password, no options."""
    parts = urlsplit(dsn)
    user = unquote(parts.username or "")
    host = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["localhost"]))
    return f"{user + '@' if user else ''}{host}{parts.path or '/'}"


def _bad_dsn(why: str) -> SettingsError:
    return SettingsError(
        f"dsn cannot be used: {why}. Expected postgresql://user:password@host:port/database, with special characters "
        "in user and password written as %XX (the value is not shown here, it may hold a password)"
    )


class Connections:
    """A small pool that reconnects by itself. Bound to the event loop that it is first used on."""

    def __init__(self, dsn: str, statement_timeout_s: float) -> None:
        self.dsn = check_dsn(dsn)
        self.statement_timeout_s = statement_timeout_s
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Make the pool. Connects only when a connection is asked for."""
        if self._pool is not None:
            return
        with translated("open the store"):
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=0,
                max_size=4,
                timeout=_CONNECT_TIMEOUT_S,
                # the server's own statement_timeout comes first; this one is for a server that went silent
                command_timeout=self.statement_timeout_s + 5,
                server_settings=_SESSION,
            )

    async def close(self) -> None:
        """Close every connection; within a few seconds, whatever state they are in."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    @contextlib.asynccontextmanager
    async def use(self, doing: str) -> AsyncIterator[Connection]:
        """A connection. `doing` says in the message of an error what it was wanted for."""
        if self._pool is None:
            raise StoreError("the store is not open: call `await store.open()` first, or use `async with`")
        with translated(doing):
            async with self._pool.acquire(timeout=_CONNECT_TIMEOUT_S) as connection:
                try:
                    yield connection
                except (TimeoutError, asyncio.CancelledError, OSError, asyncpg.ReadOnlySQLTransactionError):
                    # what it is in the middle of, nobody knows, or it is a standby now: the next one connects anew
                    connection.terminate()
                    raise

    @contextlib.asynccontextmanager
    async def use_at_leisure(self, doing: str) -> AsyncIterator[Connection]:
        """A connection of its own whose statements may take as long as they take."""
        with translated(doing):
            connection = await asyncpg.connect(self.dsn, timeout=_CONNECT_TIMEOUT_S, server_settings=_SESSION)
            try:
                yield connection
            finally:
                connection.terminate()


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what asyncpg raises as one of our own errors. The cause is kept."""
    try:
        yield
    except StoreError:
        raise
    except _DATA as problem:
        raise InvalidRow(f"cannot {doing}: the database refuses a value: {_words(problem)}") from problem
    except _SCHEMA as problem:
        raise SchemaError(f"cannot {doing}: {_words(problem)}") from problem
    except asyncpg.exceptions.ClientConfigurationError as problem:
        raise _bad_dsn(str(problem)) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as problem:
        raise StoreUnavailable(f"cannot {doing}: {_words(problem)}") from problem
    except TimeoutError as problem:
        raise StoreUnavailable(f"cannot {doing}: no answer from the database in time") from problem
    except OSError as problem:
        raise StoreUnavailable(f"cannot {doing}: {problem}") from problem


def _words(problem: BaseException) -> str:
    detail = getattr(problem, "detail", None)
    return f"{type(problem).__name__}: {problem}" + (f" ({detail})" if detail else "")
