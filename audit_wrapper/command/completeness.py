"""`audit-wrapper completeness`: the tables held against the exchange's own books."""

from __future__ import annotations

import shutil
from typing import Any

import typer

from audit_wrapper.command import asking, options
from audit_wrapper.command.codes import DIFFERS, FINE
from audit_wrapper.command.voice import Voice
from audit_wrapper.trail import AuditTrail


def completeness(
    exchange: asking.AskedExchange,
    since: asking.NeededSince,
    until: options.Until = None,
    dsn: options.Dsn = None,
    journal: asking.OwnJournal = asking.OFFLINE_JOURNAL,
    account: options.Account = None,
    bot_schema: options.BotSchema = None,
    ask_per_minute: asking.AskPerMinute = None,
    client: asking.Client = None,
    market_type: asking.Market = None,
    json: options.Json = False,
) -> int:
    """Hold the tables against the exchange's own books, and write nothing.

    \b
    Example:
      audit-wrapper completeness --exchange binance --since 2026-01-01 --until 2026-02-01 --json
    """
    settings = asking.given(dsn, journal, account, bot_schema, ask_per_minute)
    asked = asking.Asked("completeness", exchange, since, until, client, market_type, json, settings)

    async def work(trail: AuditTrail, through: Any, voice: Voice) -> int:
        statement = await trail.completeness(since, until, exchange=exchange)
        asking.check_heard(asked, through, statement.unasked)
        if json:
            voice.show(statement.as_json())
        else:
            voice.show(statement.table(width=shutil.get_terminal_size((100, 24)).columns))
        return FINE if statement.complete else DIFFERS

    return asking.ask(asked, work)


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("completeness")(completeness)
