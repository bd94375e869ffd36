"""A PostgreSQL of our own, and a database for each day."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.store.postgres import PostgresStore

_TABLES = Path(__file__).resolve().parents[2] / "examples" / "bot" / "database" / "schema.sql"
_FAST = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")  # it is not the server that is tried here


class Made(NamedTuple):
    """Where databases are made, and what they are copies of: with the bot's tables alone, or with ours as well."""

    dsn: str
    bare: str
    with_schema: str

    def create(self, name: str, *, with_schema: bool) -> str:
        """A new database; its DSN."""
        template = self.with_schema if with_schema else self.bare
        _run(self.dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return _address(self.dsn, name)

    def drop(self, name: str) -> None:
        """Away with it, whoever is connected."""
        _run(self.dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class Databases:
    """The server. POSTGRES_TEST_DSN names one to use; else an embedded one is started."""

    def __init__(self) -> None:
        self._given = os.environ.get("POSTGRES_TEST_DSN")
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 1024**3
        self._folder = Path(tempfile.mkdtemp(prefix="audit-wrapper-torture-", dir=memory if roomy else None))
        self._embedded = None if self._given else EmbeddedPostgres(self._folder / "postgres")
        prefix = f"torture_{os.getpid()}"
        self.made = Made("", f"{prefix}_bare", f"{prefix}_schema")

    def __enter__(self) -> Self:
        dsn = self._given or self._embedded.start()  # type: ignore[union-attr]
        self.made = made = self.made._replace(dsn=dsn)
        if self._embedded is not None:
            _run(dsn, *(f"ALTER SYSTEM SET {setting}" for setting in _FAST), "SELECT pg_reload_conf()")
        _run(dsn, f"CREATE DATABASE \"{made.bare}\" TEMPLATE template0 ENCODING 'UTF8'")
        _run(_address(dsn, made.bare), _TABLES.read_text(encoding="utf-8"))
        asyncio.run(_open(made.create(made.with_schema, with_schema=False)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._embedded is not None:
            self._embedded.stop()
        else:
            self.made.drop(self.made.bare)
            self.made.drop(self.made.with_schema)
        shutil.rmtree(self._folder, ignore_errors=True)


def _address(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def _run(dsn: str, *statements: str) -> None:
    asyncio.run(_execute(dsn, statements))


async def _execute(dsn: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _open(dsn: str) -> None:
    async with PostgresStore(dsn):
        pass
