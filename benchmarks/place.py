"""Where it is measured: a folder on a real disk, and databases of a PostgreSQL server."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.effort import Effort

_BOT_TABLES = Path(__file__).parent.parent / "examples" / "bot" / "database" / "schema.sql"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """server: the DSN of a server, whose role may make databases."""

    folder: Path
    server: str
    effort: Effort

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The DSN of a new database with the bot's own tables; dropped again at the end."""
        name = f"benchmark_{os.getpid()}_{next(_numbers)}"
        dsn = urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))
        await _execute(self.server, f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")
        try:
            await _execute(dsn, _BOT_TABLES.read_text(encoding="utf-8"))
            yield dsn
        finally:
            await _execute(self.server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
