"""Connections: the DSN, the pool, and PostgreSQL's errors in the words of our own tree."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from audit_wrapper.errors import InvalidRow, SchemaError, SettingsError, StoreError, StoreUnavailable

Connection = PoolConnectionProxy | asyncpg.Connection

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 3.0
_SESSION = {"application_name": "audit_wrapper", "timezone": "UTC"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# in a DSN, with the value 0: each transaction may be on another connection of the server's (pgbouncer, pool_mode = transaction)
_POOLED = "statement_cache_size"

# What an error says of the batch it met, by the class of its SQLSTATE (the first two characters; appendix A of
# PostgreSQL's manual). A value that no row can hold, a rule of the table, a trigger that refuses: the record will not
# go in, however often it is tried. Every other class of PostgreSQL's own says nothing of the record (no connection, a
# full disk, a deadlock, a server that shuts down or can only be read, ...): it is tried again for as long as it takes.
_OF_THE_RECORD = frozenset(
    {
        "02",  # no data                                  (a trigger's)
        "09",  # triggered action exception
        "20",  # case not found                           (a trigger's)
        "21",  # cardinality violation
        "22",  # data exception: out of range, encoding, malformed
        "23",  # integrity constraint violation
        "27",  # triggered data change violation
        "2F",  # SQL routine exception
        "38",  # external routine exception
        "39",  # external routine invocation exception
        "44",  # WITH CHECK OPTION violation
        "54",  # program limit exceeded: too deep, too large, too long for an index
        "P0",  # PL/pgSQL: RAISE EXCEPTION, assertions
    }
)
# A person has to do something, in the schema or about rights.
_OF_THE_SCHEMA = frozenset({"3F", "42"})
_CLASSES_OF_POSTGRES = frozenset(
    [
        "00",
        "01",
        "02",
        "03",
        "08",
        "09",
        "0A",
        "0B",
        "0F",
        "0L",
        "0P",
        "0Z",
        "10",
        "20",
        "21",
        "22",
        "23",
        "24",
        "25",
        "26",
        "27",
        "28",
        "2B",
        "2D",
        "2F",
        "34",
        "38",
        "39",
        "3B",
        "3D",
        "3F",
        "40",
        "42",
        "44",
        "53",
        "54",
        "55",
        "57",
        "58",
        "72",
        "F0",
        "HV",
        "P0",
        "XX",
    ]
)


def of_postgres(problem: asyncpg.PostgresError, words: str) -> StoreError:
    """The error of our own tree for what the server said."""
    code = (problem.sqlstate or "")[:2]
    if code in _OF_THE_SCHEMA:
        return SchemaError(words)
    # a code that PostgreSQL does not have was made up by a trigger that refuses
    if code in _OF_THE_RECORD or (len(code) == 2 and code not in _CLASSES_OF_POSTGRES):
        return InvalidRow(words)
    return StoreUnavailable(words)


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
    if query.get(_POOLED, ["0"]) != ["0"]:
        raise _bad_dsn(f"{_POOLED} can only be 0 (behind pgbouncer with pool_mode = transaction), or be left out")
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
        parts = urlsplit(dsn)
        options = parse_qsl(parts.query, keep_blank_values=True)
        self.pooled = (_POOLED, "0") in options
        if self.pooled:  # the server does not know it
            options.remove((_POOLED, "0"))
            dsn = urlunsplit(parts._replace(query=urlencode(options, safe="/:")))
        self._hosts = hosts(dsn)
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
                connect=self._connected,
                reset=_as_it_is,
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
        except asyncio.CancelledError:
            pool.terminate()
            raise

    @contextlib.asynccontextmanager
    async def use(self, doing: str) -> AsyncIterator[Connection]:
        """A connection. `doing` says in the message of an error what it was wanted for."""
        pool = self._pool
        if pool is None:
            raise StoreError("the store is not open: call `await store.open()` first, or use `async with`")
        with translated(doing):
            with _connecting(doing):
                connection = await pool.acquire()
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError, OSError, asyncpg.ReadOnlySQLTransactionError):
                # what it is in the middle of, nobody knows, or it is a standby now: the next one connects anew
                connection.terminate()
                raise
            finally:
                await pool.release(connection, timeout=self.statement_timeout_s)

    @contextlib.asynccontextmanager
    async def use_at_leisure(self, doing: str) -> AsyncIterator[Connection]:
        """A connection of its own whose statements may take as long as they take."""
        with translated(doing):
            with _connecting(doing):
                connection = await self._connected(server_settings=_SESSION)
            try:
                yield connection
            finally:
                connection.terminate()

    async def _connected(self, dsn: str | None = None, **options: Any) -> asyncpg.Connection:
        # One host after the other, each with a time of its own: one that is silent must not use up that of those behind
        # it. Where one is silent, all are asked again with patience: where a statement may take long, so may a login.
        said = "target_session_attrs" in self.dsn or "PGTARGETSESSIONATTRS" in os.environ
        if len(self._hosts) > 1 and not said:
            options["target_session_attrs"] = "read-write"  # after a failover the first may be the standby
        if self.pooled:
            options["statement_cache_size"] = 0  # a statement and its values then go out together
        problem: Exception | None = None
        for patience_s in (_CONNECT_TIMEOUT_S, max(_CONNECT_TIMEOUT_S, self.statement_timeout_s)):
            silent = False
            for host in self._hosts:
                try:
                    return await asyncpg.connect(host, timeout=patience_s, **options)
                except asyncpg.exceptions.ClientConfigurationError:
                    raise
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as refused:
                    problem, silent = refused, silent or isinstance(refused, TimeoutError)
            if not silent:
                break
        assert problem is not None
        raise problem


async def _as_it_is(_: Connection) -> None:
    """Nothing is set for a session, so that there is nothing to reset, and no round trip for it."""


@contextlib.contextmanager
def _connecting(doing: str) -> Iterator[None]:
    # whatever goes wrong before the first statement says nothing of the batch
    try:
        with translated(doing):
            yield
    except InvalidRow as problem:
        raise StoreUnavailable(str(problem)) from problem.__cause__


def hosts(dsn: str) -> tuple[str, ...]:
    """One DSN for each host that is named before the path."""
    parts = urlsplit(dsn)
    user, at, places = parts.netloc.rpartition("@")
    if "," not in places:
        return (dsn,)
    return tuple(urlunsplit(parts._replace(netloc=f"{user}{at}{place}")) for place in places.split(","))


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what asyncpg raises as one of our own errors. The cause is kept."""
    try:
        yield
    except StoreError:
        raise
    except UnicodeError as problem:
        raise InvalidRow(f"cannot {doing}: the database refuses a value: {_words(problem)}") from problem
    except asyncpg.exceptions.ClientConfigurationError as problem:
        raise _bad_dsn(str(problem)) from None
    except asyncpg.PostgresError as problem:
        raise of_postgres(problem, f"cannot {doing}: {_words(problem)}") from problem
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as problem:
        raise StoreUnavailable(f"cannot {doing}: {_words(problem)}") from problem
    except TimeoutError as problem:
        raise StoreUnavailable(f"cannot {doing}: no answer from the database in time") from problem
    except OSError as problem:
        raise StoreUnavailable(f"cannot {doing}: {problem}") from problem


def _words(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"  # with the DETAIL that the server gives
