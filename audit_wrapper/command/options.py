"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from audit_wrapper.settings import Settings

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
WHEN = "2026-01-31, 2026-01-31T12:00 (UTC where no zone is named), or ago: 90m, 24h, 7d, 4w"


def moment(text: str) -> datetime:
    """A moment, as people write it. With a time zone."""
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time: say 2026-01-31, 2026-01-31T12:00, or how long ago: 90m, 24h, 7d, 4w"
        ) from None


Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn", help="The database; better in AUDIT_WRAPPER_DSN, where no list of processes shows its password."
    ),
]
Journal = Annotated[
    str | None, typer.Option("--journal", metavar="DIR", help="The bot's journal folder (AUDIT_WRAPPER_JOURNAL).")
]
BotSchema = Annotated[
    str | None, typer.Option("--bot-schema", metavar="SCHEMA", help="The schema of the bot's tables.")
]
Account = Annotated[str | None, typer.Option("--account", help="As the bot's trail names the account.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: whole JSON on stdout, or nothing.")]
Since = Annotated[datetime | None, typer.Option("--since", parser=moment, metavar="WHEN", help=WHEN)]
Until = Annotated[
    datetime | None, typer.Option("--until", parser=moment, metavar="WHEN", help="The same; default: now.")
]
Position = Annotated[str | None, typer.Option("--position", metavar="ID", help="Of this position.")]
Symbol = Annotated[
    str | None,
    typer.Option("--symbol", help="Of this symbol, in any spelling; ccxt's (MNT/USDT:USDT) means that market alone."),
]
Exchange = Annotated[str | None, typer.Option("--exchange", help="Of this exchange, as the bot names it.")]
Status = Annotated[
    list[str] | None, typer.Option("--status", help="Of this status: FILLED, UNKNOWN, ...; again for more.")
]
Purpose = Annotated[str | None, typer.Option("--purpose", help="entry, exit, stop_loss or take_profit.")]


def settings_of(**given: Any) -> Settings:
    """Settings from the environment and the options that were given. Raises SettingsError."""
    return Settings.load({name: value for name, value in given.items() if value is not None})
