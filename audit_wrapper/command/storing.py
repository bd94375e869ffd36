"""The database of a command that writes to it: reached before anything else is done, left in order at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from audit_wrapper.command.voice import Voice
from audit_wrapper.database import Database
from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.settings import Settings

if TYPE_CHECKING:
    from audit_wrapper.store.postgres import PostgresStore


@contextlib.asynccontextmanager
async def database_of(settings: Settings, voice: Voice) -> AsyncIterator[tuple[Database, str]]:
    """The database and its address without a password; said where it is, if nobody named it. Raises SettingsError."""
    from audit_wrapper.store.connection import check_dsn, shown

    database = Database(settings)
    if database.embedded_folder is not None:
        address = f"an embedded PostgreSQL in {database.embedded_folder}"
        voice.say(
            f"no dsn is given (--dsn or AUDIT_WRAPPER_DSN): the tables are in {address}, not in the bot's database"
        )
    else:
        address = shown(check_dsn(settings.dsn))
    try:
        yield database, address
    finally:
        await asyncio.to_thread(database.stop)


@contextlib.asynccontextmanager
async def store_of(database: Database, address: str) -> AsyncIterator[PostgresStore]:
    """The store, open: its schema is up to date. Raises StoreError."""
    from audit_wrapper.store.postgres import PostgresStore

    store = await asyncio.to_thread(database.store)
    assert isinstance(store, PostgresStore)
    with reaching(address):
        await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def reaching(address: str) -> Iterator[None]:
    """Say which database it is that cannot be reached."""
    try:
        yield
    except StoreUnavailable as problem:
        raise StoreUnavailable(f"the database {address} cannot be reached: {problem}") from None
