"""`audit-wrapper reconcile`: ask the exchange about what is not complete in the tables."""

from __future__ import annotations

from typing import Any

import typer

from audit_wrapper.command import asking, options
from audit_wrapper.command.codes import DIFFERS, FINE
from audit_wrapper.command.voice import Voice
from audit_wrapper.trail import AuditTrail


def reconcile(
    exchange: asking.AskedExchange,
    since: options.Since = None,
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
    """Ask about every order that is not complete in the tables.

    With --since, also about all that happened since.

    \b
    Example:
      BYBIT_API_KEY=... BYBIT_SECRET=... audit-wrapper reconcile --exchange bybit --since 24h
    """
    settings = asking.given(dsn, journal, account, bot_schema, ask_per_minute)
    asked = asking.Asked("reconcile", exchange, since, until, client, market_type, json, settings)

    async def work(trail: AuditTrail, through: Any, voice: Voice) -> int:
        report = await trail.reconcile(since, until, exchange=exchange)
        asking.check_heard(asked, through, report.unanswered)
        complete = not (report.unanswered or report.unsettled)
        if json:
            voice.show(asking.as_json(asked, complete, report))
        else:
            voice.show(
                f"asked about {report.asked} orders one by one, {report.answered} answered; something new was written down of "
                f"{report.recorded} orders"
            )
            asking.show_list(voice, "SETTLED", report.found)
            asking.show_list(voice, "NOT SETTLED YET", report.unsettled)
            asking.show_list(voice, "NOT ASKED, OR NOT ANSWERED", report.unanswered)
        return FINE if complete else DIFFERS

    return asking.ask(asked, work)


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("reconcile")(reconcile)
