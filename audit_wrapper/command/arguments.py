"""What can be said on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

FINE, DIFFERS, WRONG, AWAY, BROKEN_OFF = 0, 1, 2, 3, 130
PROG = "python -m audit_wrapper"
_JOURNAL = "audit-journal-offline"
_MARKET_TYPES = ("spot", "margin", "swap", "future", "delivery", "option")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

CODES = """
exit codes:
  0    fine: everything could be asked, and nothing is open or differs
  1    something differs, is an open question, or could not be asked for: it is printed
  2    wrong usage or settings
  3    the database or the exchange cannot be reached or used
  130  broken off (Ctrl-C, SIGTERM): what was read is kept, the next run goes on
"""
_ABOUT = {
    "reconcile": (
        "ask about every order that is not complete in the tables, and, with --since, about all that happened since",
        "BYBIT_API_KEY=... BYBIT_SECRET=... {prog} reconcile --exchange bybit --since 24h --dsn postgresql:///bot",
    ),
    "completeness": (
        "hold the tables against the exchange's own books, and write nothing",
        "{prog} completeness --exchange binance --since 2026-01-01 --until 2026-02-01 --json > january.json",
    ),
    "backfill": (
        "fill the tables from the exchange's history; may be broken off and started again",
        "{prog} backfill --exchange binance --since 2026-01-01 --symbol BTC/USDT:USDT --client my_bot:make_client",
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: {message} (see --help)\n")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was said. Raises SystemExit, once it is explained, for what cannot be, and for --help."""
    parser = _Parser(
        prog=PROG,
        description="The trail and the exchange, without the bot.",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (about, example) in _ABOUT.items():
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"{CODES}\nexample:\n  {example.format(prog=PROG)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_options(command, since_required=name != "reconcile")
        if name == "backfill":
            command.add_argument(
                "--symbol",
                action="append",
                default=[],
                metavar="SYMBOL",
                help="read this one too (BTC/USDT:USDT); again for more. Binance names none that was last traded more "
                "than three months ago",
            )
    wanted, unknown = parser.parse_known_args(arguments)
    if unknown:  # without their values: one may be a key
        names = (
            " ".join(word.partition("=")[0] for word in unknown if word.startswith("-")) or "there are too many words"
        )
        parser.error(f"{'no such option: ' if names.startswith('-') else ''}{names}")
    until = wanted.until or datetime.now(UTC)
    if wanted.since is not None and wanted.since >= until:
        parser.error(f"the range ends ({until.isoformat()}) before it begins ({wanted.since.isoformat()})")
    if wanted.since is None and wanted.until is not None:
        parser.error("--until without --since: a range of time begins somewhere")
    if wanted.client is not None and wanted.market_type is not None:
        parser.error("--market-type is for the client made here; with --client, let your function set it")
    return wanted


def _add_options(command: argparse.ArgumentParser, *, since_required: bool) -> None:
    when = "2026-01-31, 2026-01-31T12:00 (UTC where no zone is named), or ago: 90m, 24h, 7d, 4w"
    add = command.add_argument
    add("--exchange", required=True, metavar="NAME", help="as the bot names it; ccxt's name, unless --client is given")
    add("--since", required=since_required, type=_moment, metavar="WHEN", help=when)
    add("--until", type=_moment, metavar="WHEN", help="the same; default: now")
    add("--dsn", help="the database; better in AUDIT_WRAPPER_DSN, where no list of processes shows its password")
    add("--journal", default=_JOURNAL, metavar="DIR", help="a folder of its own, not the bot's (default: %(default)s)")
    add("--account", metavar="NAME", help="as the bot's trail names the account")
    add("--bot-schema", metavar="SCHEMA", help="the schema of the bot's tables")
    add("--ask-per-minute", type=int, metavar="N", help="the most requests a minute (default: 20)")
    add(
        "--client",
        metavar="MODULE:FUNCTION",
        help="a function of yours that returns a ccxt client (sandbox, proxies, portfolio margin); else the keys are "
        "read from <EXCHANGE>_API_KEY, <EXCHANGE>_SECRET, <EXCHANGE>_PASSWORD",
    )
    add("--market-type", choices=_MARKET_TYPES, help="what the client made here is set to (default: swap)")
    add("--json", action="store_true", help="for programs")


def _moment(text: str) -> datetime:
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: say 2026-01-31, 2026-01-31T12:00, or how long ago: 90m, 24h, 7d, 4w"
        ) from None
