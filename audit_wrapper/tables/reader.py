"""A connection to the trail's tables that cannot change them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Self

from audit_wrapper.database import Database
from audit_wrapper.errors import SettingsError, StoreError
from audit_wrapper.settings import Settings
from audit_wrapper.store.connection import Connection, Connections, shown
from audit_wrapper.store.queries import Queries, by_name, named
from audit_wrapper.tables.advice import advice

_HERE = files("audit_wrapper.tables")


class Reader:
    """The tables of one trail. `async with Reader(settings) as reader`, then `async with reader.snapshot() as con`.

    settings: `dsn`, or where the embedded PostgreSQL is (`journal`); `bot_schema`, `positions_table`.
    Raises SettingsError (no database is named, and there is no embedded one), StoreUnavailable (it cannot be reached),
    SchemaError (there is no trail in it, or this role may not read it).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self._connections: Connections | None = None

    async def __aenter__(self) -> Self:
        dsn = await asyncio.to_thread(self._dsn)
        self._connections = Connections(dsn, self._settings.statement_timeout_s)
        await self._connections.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connections is not None:
            await self._connections.close()
        await asyncio.to_thread(self._database.stop)

    def _dsn(self) -> str:
        embedded = self._database.embedded_folder
        if embedded is not None and not Path(embedded).is_dir():
            raise SettingsError(
                f"no database is named (--dsn or AUDIT_WRAPPER_DSN), and there is no embedded one in {embedded}: name the "
                "database, or the journal folder of the bot (--journal)"
            )
        return self._database.dsn()

    @property
    def address(self) -> str:
        """Where it is, without the password."""
        return self._database.address or str(self._database.embedded_folder)

    @contextlib.asynccontextmanager
    async def snapshot(self, doing: str = "read the tables", *, at_leisure: bool = False) -> AsyncIterator[Connection]:
        """A connection that sees everything as of one moment, and can only read. `at_leisure`: however long it takes."""
        assert self._connections is not None, "used as `async with`"
        try:
            async with (
                self._connections.use_at_leisure(doing) if at_leisure else self._connections.use(doing) as con,
                con.transaction(isolation="repeatable_read", readonly=True),
            ):
                # what is compiled for a question is used once: it takes longer than it gains
                await con.execute("SET LOCAL jit = off")
                yield con
        except StoreError as problem:
            where = shown(self._connections.dsn)
            # its cause is an error of ours, so that nobody advises a second time
            raise type(problem)(f"{problem} (database {where}){advice(problem)}") from problem

    def queries(self, file: str) -> Queries:
        """The queries of a .sql file beside this one, by name, for the names of the bot's own schema and table."""
        text = (_HERE / file).read_text(encoding="utf-8")
        return by_name(named(text, self._settings.bot_schema, self._settings.positions_table or "positions"))
