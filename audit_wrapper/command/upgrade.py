"""`audit-wrapper init` and `upgrade`: one command under two names, which makes the schema or brings it up to date."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import AWAY, DIFFERS, FINE, PROG
from audit_wrapper.command.progress import Progress
from audit_wrapper.command.running import run
from audit_wrapper.command.storing import database_of, reaching, store_of
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import SchemaError, SettingsError
from audit_wrapper.settings import Settings

_Sql = Annotated[
    bool,
    typer.Option("--sql", help="Only print the script, for a DBA to run in a database that has none of this yet."),
]
_Role = Annotated[
    str | None,
    typer.Option(
        "--role", metavar="NAME", help="With --sql: the role of the bot; it is granted what it needs, and no more."
    ),
]


def init(
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    sql: _Sql = False,
    role: _Role = None,
    as_json: options.Json = False,
) -> int:
    """Make the schema in the database, or bring it up to date.

    Rows stay as they are, and the bot may go on running: what is missing is added, what is too narrow is widened. A second
    run has nothing to do. Where the role lacks the rights, the statements that somebody else has to run are printed.

    \b
    Example:
      audit-wrapper init --dsn postgresql://bot@localhost/bot
      audit-wrapper init --sql --role bot | psql -v ON_ERROR_STOP=1 bot
    """
    return _init(dsn, journal, bot_schema, sql, role, as_json)


def upgrade(
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    sql: _Sql = False,
    role: _Role = None,
    as_json: options.Json = False,
) -> int:
    """Bring the schema up to date after a new release; the same as init.

    \b
    Example:
      audit-wrapper upgrade --dsn postgresql://bot@localhost/bot
    """
    return _init(dsn, journal, bot_schema, sql, role, as_json)


def _init(
    dsn: str | None, journal: str | None, bot_schema: str | None, sql: bool, role: str | None, as_json: bool
) -> int:
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    voice = Voice()
    if not sql:
        if role is not None:
            raise SettingsError("--role is for --sql: without it, the role of the dsn makes the schema")
        return run(_brought_up_to_date(settings, voice, as_json))
    from audit_wrapper.store.schema import schema_sql

    voice.show(schema_sql(settings.bot_schema, role).rstrip("\n"))
    return FINE


async def _brought_up_to_date(settings: Settings, voice: Voice, as_json: bool) -> int:
    from audit_wrapper.store.connection import Connections
    from audit_wrapper.tables.reader import Reader
    from audit_wrapper.tables.shape import changes, shape_of

    async with database_of(settings, voice) as (database, address):
        connections = Connections(await asyncio.to_thread(database.dsn), settings.statement_timeout_s)
        sql = Reader(settings).queries("shape.sql")
        await connections.open()
        try:
            with reaching(address):
                async with connections.use("look at the schema") as con:
                    before = await shape_of(con, sql, settings.bot_schema)
            try:
                with Progress(voice, "preparing the schema; an index on a large table takes its time") as progress:
                    async with progress.patience(), store_of(database, address) as store:
                        lacking = await store.index_views()
            except SchemaError as problem:
                voice.say(
                    f"{PROG}: {problem}\nor have somebody with the rights run the output of: audit-wrapper init --sql --role NAME"
                )
                return AWAY
            async with connections.use("look at the schema") as con:
                after = await shape_of(con, sql, settings.bot_schema)
        finally:
            await connections.close()
    _show(voice, address, before.version, after.version, changes(before, after), lacking, as_json)
    return DIFFERS if lacking else FINE


def _show(
    voice: Voice,
    address: str,
    before: int | None,
    after: int | None,
    done: Sequence[str],
    lacking: str | None,
    as_json: bool,
) -> None:
    if lacking:
        voice.say(
            f"{PROG}: indexes of the views could not be built, so some answer slowly (everything else works): {lacking}"
        )
    if as_json:
        told = {
            "database": address,
            "version_before": before,
            "version": after,
            "changes": list(done),
            "indexes_lacking": lacking,
        }
        voice.show(json.dumps(told, indent=2, ensure_ascii=False))
    elif not done:
        voice.show(f"{'' if lacking else 'nothing to do: '}{address} has version {after} of the schema")
    else:
        was = "there was none before" if before is None else f"version {before} before"
        voice.show(
            "\n".join([f"{address} has version {after} of the schema now, {was}", *(f"  {one}" for one in done)])
        )


def register(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command("init")(init)
    app.command("upgrade")(upgrade)
