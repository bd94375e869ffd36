"""A real PostgreSQL for every test that wants one: started once, a cheap copy of a template for each test.

POSTGRES_TEST_DSN names a server to use (its role must be a superuser); else an embedded one is started in a
temporary folder and stopped at the end.

fresh_dsn: an empty database. bot_dsn: with the bot's own tables in their narrow form. audit_dsn: with our schema too.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.store.postgres import PostgresStore

# Most tests open trails by the dozen, each for a moment: there a thread is as good, and does not take half a second to
# start. test_delivery_process.py, the crash tests of that process, and the examples have it as it comes.
os.environ.setdefault("AUDIT_WRAPPER_DELIVERY", "own")

BOT_TABLES = Path(__file__).parent.parent / "examples" / "bot" / "database" / "schema.sql"
_FAST = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


class TestServer:
    """Makes and drops databases; its own loop in its own thread, so that no test's loop is touched."""

    __test__ = False

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._numbers = itertools.count(1)
        self._prefix = f"test_{os.getpid()}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection = self.run(asyncpg.connect(dsn))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def execute(self, statement: str) -> None:
        self.run(self._connection.execute(statement))

    def address_of(self, database: str, user: str | None = None) -> str:
        """The DSN of a database of this server; of another role, if one is named."""
        parts = urlsplit(self.dsn)
        netloc = parts.netloc if user is None else f"{user}:{user}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))

    def create(self, template: str = "template0") -> str:
        """A new database; returns its name."""
        name = f"{self._prefix}_{next(self._numbers)}"
        # what is copied is small and in memory: quicker as files than through the write-ahead log
        how = "STRATEGY FILE_COPY" if self._connection.get_server_version().major >= 15 else ""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING \'UTF8\' {how}')
        return name

    @contextmanager
    def filled(self, template: str, fill: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]) -> Iterator[str]:
        """The DSN of a new database with what `fill` puts into it, for as long as this lasts."""
        name = self.create(template)

        async def work() -> None:
            connection = await asyncpg.connect(self.address_of(name))
            try:
                await fill(connection)
            finally:
                await connection.close()

        try:
            self.run(work())
            yield self.address_of(name)
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        self.run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


def folder_in_memory(prefix: str) -> Path:
    """A new folder that costs no time to force to disk, if this machine has such a thing."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2 * 1024**3
    return Path(tempfile.mkdtemp(prefix=prefix, dir=shared if roomy else None))


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that costs no time to force to disk, if there is one."""
    folder = folder_in_memory("audit-wrapper-test-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[TestServer]:
    given = os.environ.get("POSTGRES_TEST_DSN")
    if given:
        server = TestServer(given)
        try:
            yield server
        finally:
            server.close()
        return
    folder = folder_in_memory("audit-wrapper-test-")
    embedded = EmbeddedPostgres(folder / "postgres")
    try:
        server = TestServer(embedded.start())
        for setting in _FAST:  # nobody mourns a test's data
            server.execute(f"ALTER SYSTEM SET {setting}")
        server.execute("SELECT pg_reload_conf()")
        try:
            yield server
        finally:
            server.close()
    finally:
        embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bot_template(postgres_server: TestServer) -> Iterator[str]:
    """The name of a database to copy for `bot_dsn`."""
    name = postgres_server.create()
    postgres_server.run(_with_bot_tables(postgres_server.address_of(name)))
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def audit_template(postgres_server: TestServer) -> Iterator[str]:
    """The name of a database to copy for `audit_dsn`."""
    name = postgres_server.create()
    postgres_server.run(_with_our_schema(postgres_server.address_of(name)))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def new_database(postgres_server: TestServer) -> Iterator[Callable[..., str]]:
    """`new_database(template)` makes one more database and returns its DSN."""
    made: list[str] = []

    def make(template: str = "template0") -> str:
        made.append(postgres_server.create(template))
        return postgres_server.address_of(made[-1])

    yield make
    for name in made:
        postgres_server.drop(name)


@pytest.fixture
def fresh_dsn(new_database: Callable[..., str]) -> str:
    """An empty database."""
    return new_database()


@pytest.fixture
def bot_dsn(new_database: Callable[..., str], bot_template: str) -> str:
    """The bot's own tables, in their narrow form; nothing of ours."""
    return new_database(bot_template)


@pytest.fixture
def audit_dsn(new_database: Callable[..., str], audit_template: str) -> str:
    """The bot's own tables, and our schema in them as after a first start."""
    return new_database(audit_template)


async def _with_bot_tables(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(BOT_TABLES.read_text(encoding="utf-8"))
    finally:
        await connection.close()


async def _with_our_schema(dsn: str) -> None:
    await _with_bot_tables(dsn)
    async with PostgresStore(dsn):
        pass
