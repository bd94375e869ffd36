"""`audit-wrapper backfill`: the tables filled from the exchange's history."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated, Any

import typer

from audit_wrapper.backfill import BackfillProgress
from audit_wrapper.command import asking, options
from audit_wrapper.command.codes import DIFFERS, FINE
from audit_wrapper.command.progress import duration
from audit_wrapper.command.voice import Voice
from audit_wrapper.trail import AuditTrail

_Symbols = Annotated[
    list[str] | None,
    typer.Option(
        "--symbol",
        metavar="SYMBOL",
        help="Read this one too (BTC/USDT:USDT); again for more. Binance names none that was last traded more than three "
        "months ago.",
    ),
]


def backfill(
    exchange: asking.AskedExchange,
    since: asking.NeededSince,
    until: options.Until = None,
    symbol: _Symbols = None,
    dsn: options.Dsn = None,
    journal: asking.OwnJournal = asking.OFFLINE_JOURNAL,
    account: options.Account = None,
    bot_schema: options.BotSchema = None,
    ask_per_minute: asking.AskPerMinute = None,
    client: asking.Client = None,
    market_type: asking.Market = None,
    json: options.Json = False,
) -> int:
    """Fill the tables from the exchange's history.

    It may be broken off and started again: what was read to its end is not read twice.

    \b
    Example:
      audit-wrapper backfill --exchange binance --since 2026-01-01 \\
          --symbol BTC/USDT:USDT --client my_bot:make_client
    """
    settings = asking.given(dsn, journal, account, bot_schema, ask_per_minute)
    asked = asking.Asked("backfill", exchange, since, until, client, market_type, json, settings)

    async def work(trail: AuditTrail, through: Any, voice: Voice) -> int:
        report = await trail.backfill(since, until, exchange=exchange, symbols=symbol or [], progress=_Progress(voice))
        asking.check_heard(asked, through, report.unasked)
        if json:
            voice.show(asking.as_json(asked, not report.unasked, report))
        else:
            voice.show(
                f"something new was written down of {report.recorded} orders, {report.linked} were linked to a position; "
                f"{report.parts} parts, {report.skipped} of them read by an earlier run"
            )
            asking.show_list(voice, "NOT READ", report.unasked)
        return DIFFERS if report.unasked else FINE

    return asking.ask(asked, work)


class _Progress:
    """Says after each part how far it is, and how long the rest takes by the pace of the last ones."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._took: deque[float] = deque(
            maxlen=5
        )  # the last parts only: those that an earlier run has read take no time
        self._began = time.monotonic()

    def __call__(self, done: BackfillProgress) -> None:
        now = time.monotonic()
        self._took.append(now - self._began)
        self._began = now
        left = (done.parts - done.parts_done) * sum(self._took) / len(self._took)
        rest = f", about {duration(left)} left" if done.parts_done < done.parts else ""
        self._voice.say(
            f"part {done.parts_done} of {done.parts}, up to {done.until:%Y-%m-%d}: {done.recorded} orders so far{rest}"
        )


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("backfill")(backfill)
