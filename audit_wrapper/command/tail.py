"""`audit-wrapper tail`: the newest records, and, with -f, those that come in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from audit_wrapper.command import looking, options
from audit_wrapper.command.codes import FINE, WRONG
from audit_wrapper.command.running import run
from audit_wrapper.command.table import painted, plain
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import CodecError, StoreUnavailable

_POLL_S = 1.0
_OUTCOMES = {
    "acknowledged": "green",
    "rejected": "red",
    "outcome_unknown": "bold magenta",
    "unattributed": "bold magenta",
    "gap": "bold red",
    "not_sent": "yellow",
    "intent": "cyan",
}

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes in, until Ctrl-C.")]
Lines = Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, metavar="N", help="So many to begin with.")]


def tail(
    follow: Follow = False,
    lines: Lines = 20,
    symbol: options.Symbol = None,
    exchange: options.Exchange = None,
    account: looking.AnyAccount = None,
    json: options.Json = False,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
) -> int:
    """Show the newest records, one line each.

    When, where, what was asked, what came of it, in words. With -f it goes on until Ctrl-C, which is its ordinary end: the exit code is 0. A database that is away meanwhile is waited
    for. --json prints one JSON object a line.

    \b
    Examples:
      audit-wrapper tail -f
      audit-wrapper tail -n 100 --exchange bybit --json
      audit-wrapper tail -f --symbol MNT/USDT:USDT
    """
    voice = Voice()
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    try:
        return run(
            _tail(
                settings, voice, lines, follow=follow, as_json=json, symbol=symbol, exchange=exchange, account=account
            )
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        if follow:
            return FINE
        raise


async def _tail(
    settings: Any,
    voice: Voice,
    lines: int,
    *,
    follow: bool,
    as_json: bool,
    symbol: str | None,
    exchange: str | None,
    account: str | None,
) -> int:
    from audit_wrapper.tables import Reader
    from audit_wrapper.tables.events import FURTHEST, Tail
    from audit_wrapper.tables.symbols import meant_by

    async with Reader(settings) as reader:
        sql = {**reader.queries("orders.sql"), **reader.queries("events.sql")}
        async with reader.snapshot("read the records") as con:
            symbols = await meant_by(con, sql, symbol, exchange) if symbol else None
            newest = Tail(sql, exchange=exchange, account=account, symbols=symbols)
            rows = await newest.begin(con, lines)
        _print(voice, rows, as_json)
        if not follow:
            if not rows and lines:
                among = f" among the newest {FURTHEST:,}" if symbol else ""
                voice.say(f"there is no record like that yet{among}")
                return WRONG
            return FINE
        away = False
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                async with reader.snapshot("read the records") as con:
                    rows = await newest.new(con)
            except StoreUnavailable as problem:
                if not away:
                    voice.say(f"{problem}; trying again")
                away = True
                continue
            if away:
                voice.say("the database is back")
            away = False
            _print(voice, rows, as_json)


def _print(voice: Voice, rows: Iterable[Any], as_json: bool) -> None:
    from rich.text import Text

    for row in rows:
        at, symbol, words = _read(row)
        outcome = plain(row["kind"])
        if as_json:
            voice.show_json(
                {
                    "at": at.isoformat() if at else None,
                    "exchange": row["exchange"],
                    "account": row["account"],
                    "symbol": symbol,
                    "action": row["action"],
                    "outcome": row["kind"],
                    "words": words,
                    "stored_at": row["stored_at"].isoformat(),
                    "stored_no": row["stored_no"],
                },
                indent=None,
            )
            continue
        line = Text.assemble(
            (plain(at) if at else "-").ljust(23),
            "  ",
            plain(row["exchange"] or "-").ljust(8),
            "  ",
            (plain(symbol or "-").ljust(15), "bold"),
            "  ",
            plain(row["action"]).ljust(10),
            "  ",
            (outcome.ljust(15), _OUTCOMES.get(outcome, "")),
            "  ",
            plain(words),
        )
        line.rstrip()
        voice.show(painted(line))


def _read(row: Any) -> tuple[datetime | None, str | None, str]:
    """When it happened, the market, and what happened, in words."""
    from audit_wrapper import codec
    from audit_wrapper.tables import telling

    at = row["answered_at"] or row["called_at"]
    try:
        record = codec.decode(row["body"].encode("utf-8"))
    except CodecError as problem:
        return at, None, str(problem)
    return at, telling.symbol(record), telling.words(record)


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("tail")(tail)
