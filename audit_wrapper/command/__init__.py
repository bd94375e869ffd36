"""`python -m audit_wrapper`: reconcile, completeness and backfill from the command line, beside the bot or without it.

It asks through a client of its own, with keys from the environment, and writes through a journal of its own, since the
bot's is locked by the bot.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from audit_wrapper.clients import ClientSubject
from audit_wrapper.command.arguments import AWAY, BROKEN_OFF, DIFFERS, FINE, PROG, WRONG, parsed
from audit_wrapper.command.client import client_of, secrets_of
from audit_wrapper.command.reports import COMMANDS, Unreachable
from audit_wrapper.command.voice import Voice
from audit_wrapper.database import Database
from audit_wrapper.errors import AuditWrapperError, StoreError, StoreUnavailable
from audit_wrapper.settings import Settings
from audit_wrapper.status import FlushReport
from audit_wrapper.store.connection import shown
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.trail import AuditTrail

_ALIVE_S = 10.0  # that long without a word, and a person wonders
_DELIVERY_S = 10.0  # that long without a record delivered, and it is left to the next run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. `arguments`: without the program's name; None: those of the process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        wanted = parsed(arguments)
    except SystemExit as asked:  # --help, or a wrong argument that was explained
        return asked.code if isinstance(asked.code, int) else WRONG
    voice = Voice(secrets_of(wanted.exchange))
    try:
        return asyncio.run(_run(wanted, voice))
    except StoreError as problem:
        voice.say(f"{PROG}: {problem}")
        return AWAY
    except Unreachable as problem:
        voice.say(f"{PROG}: {wanted.exchange} cannot be reached: {problem}")
        return AWAY
    except AuditWrapperError as problem:
        voice.say(f"{PROG}: {problem}")
        return WRONG
    except (KeyboardInterrupt, asyncio.CancelledError):
        voice.say("broken off; what was read is kept, and the next run goes on from there")
        return BROKEN_OFF


async def _run(wanted: argparse.Namespace, voice: Voice) -> int:
    _end_on_sigterm()
    given = {
        name: value
        for name in ("dsn", "journal", "account", "bot_schema", "ask_per_minute")
        if (value := getattr(wanted, name)) is not None
    }
    settings = Settings.load({**given, "ask_exchange": "off"})  # before anything is made
    async with client_of(wanted) as client, _reached(settings, wanted, voice):
        voice.secrets += ClientSubject(client, None).secrets
        trail = AuditTrail.open(**given, ask_exchange="off")
        try:
            trail.wrap({wanted.exchange: client})
            async with _sign_of_life(trail, client, settings, voice):
                code = await COMMANDS[wanted.command](trail, client, wanted, voice)
            await _deliver(trail, voice)
        finally:
            told = _verdict(trail, await trail.aclose(), voice)
    return max(code, told)


def _end_on_sigterm() -> None:
    """As Ctrl-C does: the embedded server, if there is one, is stopped."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@contextlib.asynccontextmanager
async def _reached(settings: Settings, wanted: argparse.Namespace, voice: Voice) -> AsyncIterator[None]:
    """The database, seen to be there before an exchange is asked. Raises StoreError."""
    database = Database(settings)
    if database.embedded_folder is not None:
        address = f"an embedded PostgreSQL in {database.embedded_folder}"
        voice.say(
            f"no dsn is given (--dsn or AUDIT_WRAPPER_DSN): the tables are in {address}, not in the bot's database"
        )
    else:
        address = shown(PostgresStore.check_dsn(settings.dsn))
    try:
        store = await asyncio.to_thread(database.store)
        try:
            await store.open()
        except StoreUnavailable as problem:
            raise StoreUnavailable(f"the database {address} cannot be reached: {problem}") from None
        await store.close()
        voice.say(f"{wanted.command}: {wanted.exchange}, account {settings.account}; database: {address}")
        yield
    finally:
        await asyncio.to_thread(database.stop)


@contextlib.asynccontextmanager
async def _sign_of_life(trail: AuditTrail, client: Any, settings: Settings, voice: Voice) -> AsyncIterator[None]:
    """Say from time to time that it goes on: at twenty requests a minute there is much waiting."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(max(_ALIVE_S - (time.monotonic() - voice.said_at), _ALIVE_S / 10))
            if time.monotonic() - voice.said_at < _ALIVE_S:
                continue
            status, asked_at = trail.status(), getattr(client, "lastRestRequestTimestamp", None)
            ago = f", the last request was {time.time() - asked_at / 1000:.0f} s ago" if asked_at else ""
            if status.lag:
                voice.say(f"waiting for the database: {status.lag} records are to be delivered ({status.store})")
            else:
                voice.say(f"still asking{ago} ({settings.ask_per_minute} a minute at the most)")

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


async def _deliver(trail: AuditTrail, voice: Voice) -> None:
    """Wait for as long as records go into the database."""
    before: int | None = None
    while not (report := await trail.flush(_DELIVERY_S)) and (before is None or report.undelivered < before):
        before = report.undelivered
        voice.say(f"{before} records are still to be delivered")


def _verdict(trail: AuditTrail, left: FlushReport, voice: Voice) -> int:
    """The code that recording and delivering come to; `aclose` has said itself what is left."""
    status = trail.status()
    if not left:
        return AWAY
    if status.quarantined:
        voice.say(f"{status.quarantined} records were refused by the database; they are kept in audit.quarantine")
    # of failures there was a word when they happened; a database that was away is there again
    return DIFFERS if status.quarantined or status.failures.keys() - {"database away"} else FINE
