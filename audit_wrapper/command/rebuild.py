"""`audit-wrapper rebuild`: orders, trades and fills made anew from the records."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import FINE
from audit_wrapper.command.ending import BrokenOff
from audit_wrapper.command.progress import Progress, duration
from audit_wrapper.command.running import run
from audit_wrapper.command.storing import database_of, store_of
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import SettingsError
from audit_wrapper.settings import Settings

_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_NOTHING = "broken off; nothing was changed"


def rebuild(
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    yes: _Yes = False,
    as_json: options.Json = False,
) -> int:
    """Make orders, trades and fills anew from the records.

    After an upgrade that reads the exchanges' answers better, or when somebody changed rows of the trail. The records
    (audit.events), the bot's own rows and serial ids stay as they are.

    It is one transaction: until it ends everybody sees the rows as they were, and broken off it changes nothing. The bot
    goes on trading meanwhile; what it records waits in its journal, and is delivered afterwards.

    \b
    Example:
      audit-wrapper rebuild --dsn postgresql://bot@localhost/bot --yes
    """
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    voice = Voice()
    records, address = run(_count(settings), _NOTHING)
    if not yes:
        _ask(records, address)
    return run(_rebuild(settings, voice, as_json), _NOTHING)


async def _count(settings: Settings) -> tuple[int, str]:
    """How many records there are, roughly, and where. Raises SchemaError where there is no trail: none is to be made by this."""
    from audit_wrapper.tables.reader import Reader

    async with Reader(settings) as reader, reader.snapshot("count the records") as con:
        await con.fetchrow(reader.queries("shape.sql")["look_at_the_tables"])
        return await con.fetchval("SELECT coalesce(max(stored_no), 0) FROM audit.events"), reader.address


def _ask(records: int, address: str) -> None:
    if not sys.stdin.isatty():
        raise SettingsError("there is no terminal to ask on whether this is meant: say --yes")
    question = f"Make orders, trades and fills in {address} anew from {records:,} records?"
    try:
        meant = typer.confirm(question, err=True)
    except typer.Abort:
        meant = False
    if not meant:
        raise BrokenOff("nothing was changed")


async def _rebuild(settings: Settings, voice: Voice, as_json: bool) -> int:
    began = time.monotonic()
    async with database_of(settings, voice) as (database, address), store_of(database, address) as store:
        with Progress(voice, "waiting for deliveries") as progress:

            def told(what: str, done: int, total: int) -> None:
                progress.reach(done, total, "reading the records" if what == "records" else "making the orders")

            async with progress.patience():
                orders = await store.rebuild(told)
    took = time.monotonic() - began
    if as_json:
        voice.show_json({"orders": orders, "seconds": round(took, 3)}, indent=None)
    else:
        voice.show(f"{orders:,} orders were made anew, in {duration(took)}")
    return FINE


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("rebuild")(rebuild)
