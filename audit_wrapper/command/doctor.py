"""`audit-wrapper doctor`: looks at everything the trail needs, and says what is wrong and what to do."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from audit_wrapper.command import check_here, check_secrets, options
from audit_wrapper.command.check import Check, wrong
from audit_wrapper.command.check_clock import exchange_clock
from audit_wrapper.command.check_database import database
from audit_wrapper.command.codes import AWAY, DIFFERS, FINE
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import SettingsError
from audit_wrapper.settings import Settings

_INDENT = " " * 7
Clock = Annotated[
    str | None, typer.Option("--exchange", metavar="NAME", help="Ask this exchange for its time, too; needs no keys.")
]
Client = Annotated[
    str | None,
    typer.Option("--client", metavar="MODULE:FUNCTION", help="Ask it through the client that this function returns."),
]


def doctor(
    exchange: Clock = None,
    client: Client = None,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    json: options.Json = False,
) -> int:
    """Look at everything the trail needs: Python, journal, database, rights, schema, clocks, secrets.

    Says of each whether it is as it has to be, and if not, what to do. Changes nothing. Run it as the bot's user, with the
    bot's environment. Ends with 0 when nothing is wrong, 1 when something is, 3 when neither journal nor database can be looked at.

    \b
    Example:
      audit-wrapper doctor --journal /var/lib/bot/audit-journal --exchange bybit
    """
    if client is not None and exchange is None:
        raise typer.BadParameter("--client without --exchange: say which exchange it is of")
    checks = run(_checks(exchange, client, dsn, journal, bot_schema))
    bad = [one for one in checks if one.state == "wrong"]
    notes = [one for one in checks if one.state == "note"]
    seen = any(one.name in ("journal lock", "server version") for one in checks)
    code = (DIFFERS if bad else FINE) if seen else AWAY
    voice = Voice(check_secrets.secrets(os.environ, dsn or os.environ.get("AUDIT_WRAPPER_DSN")).values())
    if not seen:
        verdict = "NEITHER A JOURNAL NOR A DATABASE CAN BE LOOKED AT"
    elif bad:
        verdict = f"{len(bad)} of {len(checks)} checks found something WRONG: {', '.join(one.name for one in bad)}"
    else:
        verdict = (
            f"NOTHING IS WRONG: {len(checks)} checks, {len(notes)} worth a look"
            if notes
            else f"ALL WELL: {len(checks)} checks"
        )
    if json:
        voice.show(msgspec.json.encode({"code": code, "verdict": verdict, "checks": checks}).decode())
    else:
        voice.show("\n".join([verdict, "", *map(_words, checks)]))
    return code


async def _checks(
    exchange: str | None, client: str | None, dsn: str | None, journal: str | None, bot_schema: str | None
) -> list[Check]:
    checks = list(check_here.here())
    try:
        settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    except SettingsError as problem:
        checks.append(wrong("settings", str(problem), "mend it; what else there is was looked at without the settings"))
        settings = Settings()
    folder = settings.journal.absolute()
    known = check_secrets.secrets(os.environ, settings.dsn)
    checks += check_here.journal(folder)
    try:
        checks += [one async for one in database(settings, known)]
    except SettingsError as problem:
        checks.append(wrong("database", str(problem), "mend the DSN"))
    checks += check_secrets.in_journal(folder, known)
    checks += check_secrets.on_command_line(dsn)
    if exchange is not None:
        checks.append(await exchange_clock(exchange, client))
    return checks


def _words(check: Check) -> str:
    head = f"{check.state.upper() if check.state == 'wrong' else check.state:<7}{check.name}: {check.said}"
    if check.todo is None:
        return head
    return "\n".join([head, *(f"{_INDENT}-> {line}" for line in check.todo.splitlines())])


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("doctor")(doctor)
