"""The views that people read (audit.v_*): put in place when the store is opened, and whenever a release has other ones.

Delivering matters more than they do: where they cannot be made, that is said once, and everything else goes on.
"""

import hashlib
import re
from typing import NamedTuple

import asyncpg

from audit_wrapper.logs import Log
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries, named, quoted, read

_log = Log("audit_wrapper.store")

_RELEASE = 1  # goes up with every change of views.sql: an older release leaves a newer one's views alone
_LOCK = 0x61756469745F7677  # "audit_vw"
_LOCK_TIMEOUT = "1s"  # while the views wait for a long query to end, other queries queue up behind them
_INDEX_LOCK_TIMEOUT = "30s"  # nobody queues up behind this one: it waits for older transactions to end
_INDEX_TIMEOUT_S = 86_400.0  # the table may be large, and this is done once
_INDEX = re.compile(r"^CREATE INDEX IF NOT EXISTS (\w+) .*?;", re.MULTILINE | re.DOTALL)
_OBJECT = re.compile(r"^CREATE (VIEW|FUNCTION) (audit\.\w+)", re.MULTILINE)
_MARK = re.compile(r'audit_wrapper views (\d+) (\w+) on schema (".*")')
_said: set[str] = set()


class _Object(NamedTuple):
    kind: str
    name: str  # as DROP wants it
    mark: str
    grants: tuple[str, ...]


def script(bot_schema: str) -> str:
    """The statements that make the views in a database that has none of them; `bot_schema`: where the bot's tables are."""
    return f"{_statements(bot_schema)}\n{read('views_indexes.sql')}\n"


def _statements(bot_schema: str) -> str:
    mark = _mark(bot_schema)
    comments = "\n".join(f"COMMENT ON {kind} {name} IS '{mark}';" for kind, name in _objects())
    return f"{named(read('views.sql'), bot_schema)}\n{comments}\n"


async def install(con: Connection, sql: Queries, bot_schema: str) -> None:
    """Make the views, or make them anew. Does nothing where they are as this release has them, or cannot be made.

    Why not is in the log, once in a process; `problem` says it too.
    """
    if _difference(await _found(con, sql), bot_schema) is None:
        return
    try:
        async with con.transaction():
            await con.fetchval(sql["lock_timeout"], _LOCK_TIMEOUT)
            await con.execute(sql["views_lock"], _LOCK)
            found = await _found(con, sql)
            words = _difference(found, bot_schema)
            if words is not None and not _is_anothers(found, bot_schema):
                await _make(con, found, bot_schema)
                words = None
    except asyncpg.PostgresError as refused:
        words = await _refusal(con, sql, refused)
    if words is not None:
        say(words)


def say(words: str) -> None:
    """Log, once in a process, why the views are not as they should be."""
    if words not in _said:
        _said.add(words)
        _log.warning("the views audit.v_* are not up to date, everything else is: %s", words, event="views_differ")


async def missing_indexes(con: Connection, sql: Queries) -> list[str]:
    """The indexes of the views that are not there, or were never finished."""
    states = await con.fetch(sql["indexes_of_views"], list(_indexes()))
    finished = {row["name"] for row in states if row["valid"]}
    return [name for name in _indexes() if name not in finished]


async def build_index(con: Connection, sql: Queries, name: str) -> None:
    """One of these, beside the running bots; one at a time in a database. con: as for `schema.index_for_views`."""
    statement = _indexes()[name].replace("INDEX IF NOT EXISTS", "INDEX CONCURRENTLY IF NOT EXISTS", 1)
    await con.execute(f"SET lock_timeout = '{_INDEX_LOCK_TIMEOUT}'")
    if await con.fetch(sql["indexes_of_views"], [name]):  # begun and never finished
        await con.execute(f"DROP INDEX CONCURRENTLY IF EXISTS audit.{name}", timeout=_INDEX_TIMEOUT_S)
    await con.execute(statement, timeout=_INDEX_TIMEOUT_S)


async def problem(con: Connection, sql: Queries, bot_schema: str) -> str | None:
    """How the views differ from what this release makes for this schema of the bot's, in words; None: they do not."""
    words = _difference(await _found(con, sql), bot_schema)
    if words is None and (missing := await missing_indexes(con, sql)):
        return f"their indexes on audit.events are missing, so some answer slowly: {', '.join(missing)}"
    return words


async def are_made(con: Connection, sql: Queries, bot_schema: str) -> bool:
    """Whether they are as this release makes them, with or without their indexes."""
    return _difference(await _found(con, sql), bot_schema) is None


async def are_anothers(con: Connection, sql: Queries, bot_schema: str) -> bool:
    """Whether they show another bot's schema, or are a newer release's, and so stay as they are."""
    return _is_anothers(await _found(con, sql), bot_schema)


async def _found(con: Connection, sql: Queries) -> list[_Object]:
    rows = await con.fetch(sql["views_installed"])
    return [_Object(row["kind"], row["name"], row["mark"], tuple(row["grants"])) for row in rows]


async def _make(con: Connection, found: list[_Object], bot_schema: str) -> None:
    for kind in (
        "VIEW",
        "FUNCTION",
    ):  # a view may stand on a function of ours, and no function knows that it needs a view
        if names := [one.name for one in found if one.kind == kind]:
            await con.execute(f"DROP {kind} {', '.join(names)}")
    await con.execute(_statements(bot_schema))
    made = {name for _, name in _objects()}
    for one in found:
        if one.name in made:  # who could read it can read it still
            for grant in one.grants:
                await con.execute(grant)


async def _refusal(con: Connection, sql: Queries, refused: asyncpg.PostgresError) -> str:
    words = f"{refused} ({refused.detail})" if refused.detail else str(refused)
    if isinstance(refused, asyncpg.InsufficientPrivilegeError):
        server = await con.fetchrow(sql["server"])
        assert server is not None
        return (
            f"role {server['role']} may not make them: {words}. Let the owner of the schema audit start once, or run what "
            "`audit-wrapper init --sql` prints from its first CREATE FUNCTION on"
        )
    if isinstance(refused, asyncpg.DependentObjectsStillExistError):
        return f"something stands on them: {words}. Drop that, start again, and create it anew"
    if isinstance(refused, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
        return "somebody was reading them; it will be tried again at the next start"
    return words


def _difference(found: list[_Object], bot_schema: str) -> str | None:
    mark = _mark(bot_schema)
    if len(found) == len(_objects()) and all(one.mark == mark for one in found):
        return None
    if not found:
        return "they are not made yet"
    schema, release = _made_for(found)
    if schema not in (None, quoted(bot_schema)):
        return (
            f"they show the orders of schema {schema}, and stay so; those of {quoted(bot_schema)} are not in them "
            "(to have it the other way round: DROP FUNCTION audit.bot_orders() CASCADE, and start this one)"
        )
    if release > _RELEASE:
        return "a newer release of audit_wrapper has made them"
    return "another release of audit_wrapper has made them, or some are missing"


def _is_anothers(found: list[_Object], bot_schema: str) -> bool:
    """Whether they belong to another bot's schema, or to a newer release: they stay as they are then."""
    schema, release = _made_for(found)
    return schema not in (None, quoted(bot_schema)) or release > _RELEASE


def _made_for(found: list[_Object]) -> tuple[str | None, int]:
    """The schema of the bot's, quoted, and the release, by what all of them stand on; None, 0: that is gone."""
    marks = [_MARK.fullmatch(one.mark) for one in found if one.name == "audit.bot_orders()"]
    return next(((mark[3], int(mark[1])) for mark in marks if mark), (None, 0))


def _objects() -> list[tuple[str, str]]:
    """Kind and name of everything that views.sql makes."""
    return [(match[1], match[2]) for match in _OBJECT.finditer(read("views.sql"))]


def _indexes() -> dict[str, str]:
    """The statement of each index, by its name."""
    return {match[1]: match[0] for match in _INDEX.finditer(read("views_indexes.sql"))}


def _mark(bot_schema: str) -> str:
    digest = hashlib.sha256(read("views.sql").encode("utf-8")).hexdigest()[:16]
    return f"audit_wrapper views {_RELEASE} {digest} on schema {quoted(bot_schema)}"
