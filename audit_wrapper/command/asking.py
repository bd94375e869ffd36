"""What the commands share that ask an exchange, beside the bot or without it.

They ask through a client of their own, with keys from the environment, and write through a journal of their own, since the
bot's is locked by the bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from audit_wrapper.clients import ClientSubject
from audit_wrapper.command.client import client_of, secrets_of
from audit_wrapper.command.codes import AWAY, DIFFERS, FINE
from audit_wrapper.command.ending import Unreachable, spoken
from audit_wrapper.command.options import WHEN, moment
from audit_wrapper.command.running import run
from audit_wrapper.command.storing import database_of, store_of
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import SettingsError
from audit_wrapper.settings import Settings
from audit_wrapper.status import FlushReport
from audit_wrapper.trail import AuditTrail

_ALIVE_S = 10.0  # that long without a word, and a person wonders
_DELIVERY_S = 10.0  # that long without a record delivered, and it is left to the next run

OFFLINE_JOURNAL = "audit-journal-offline"


class MarketType(StrEnum):
    """What a client of ccxt may be set to."""

    SPOT = "spot"
    MARGIN = "margin"
    SWAP = "swap"
    FUTURE = "future"
    DELIVERY = "delivery"
    OPTION = "option"


AskedExchange = Annotated[
    str,
    typer.Option(
        "--exchange",
        metavar="NAME",
        help="As the bot names it; ccxt's name, unless --client is given.",
        show_default=False,
    ),
]
NeededSince = Annotated[datetime, typer.Option("--since", parser=moment, metavar="WHEN", help=WHEN, show_default=False)]
OwnJournal = Annotated[str, typer.Option("--journal", metavar="DIR", help="A folder of its own, not the bot's.")]
AskPerMinute = Annotated[
    int | None, typer.Option("--ask-per-minute", metavar="N", help="The most requests a minute (default: 20).")
]
Client = Annotated[
    str | None,
    typer.Option(
        "--client",
        metavar="MODULE:FUNCTION",
        help="A function of yours that returns a ccxt client (sandbox, proxies, portfolio margin); else the keys are "
        "read from <EXCHANGE>_API_KEY, <EXCHANGE>_SECRET, <EXCHANGE>_PASSWORD.",
    ),
]
Market = Annotated[
    MarketType | None, typer.Option("--market-type", help="What the client made here is set to (default: swap).")
]


class Asked(NamedTuple):
    """What was said on the command line. given: settings; None: not said."""

    command: str
    exchange: str
    since: datetime | None
    until: datetime | None
    client: str | None
    market_type: MarketType | None
    as_json: bool
    given: dict[str, Any]


def given(
    dsn: str | None, journal: str, account: str | None, bot_schema: str | None, ask_per_minute: int | None
) -> dict[str, Any]:
    """The settings among the options; None: not said."""
    return {
        "dsn": dsn,
        "journal": journal,
        "account": account,
        "bot_schema": bot_schema,
        "ask_per_minute": ask_per_minute,
    }


Work = Callable[[AuditTrail, Any, Voice], Awaitable[int]]


def ask(asked: Asked, work: Work) -> int:
    """Do it with a trail and a client; returns the exit code. Raises SettingsError for what cannot be asked."""
    _check(asked)
    voice = Voice(secrets_of(asked.exchange))
    return spoken(lambda: run(_ask(asked, work, voice)), voice)


def _check(asked: Asked) -> None:
    until = asked.until or datetime.now(UTC)
    if asked.since is not None and asked.since >= until:
        raise SettingsError(f"the range ends ({until.isoformat()}) before it begins ({asked.since.isoformat()})")
    if asked.since is None and asked.until is not None:
        raise SettingsError("--until without --since: a range of time begins somewhere")
    if asked.client is not None and asked.market_type is not None:
        raise SettingsError("--market-type is for the client made here; with --client, let your function set it")


async def _ask(asked: Asked, work: Work, voice: Voice) -> int:
    given = {name: value for name, value in asked.given.items() if value is not None}
    given |= {"ask_exchange": "off", "delivery": "own"}  # what ends soon needs no process of its own
    settings = Settings.load(given)  # before anything is made
    async with client_of(asked.exchange, asked.client, asked.market_type) as client, _reached(settings, asked, voice):
        voice.secrets += ClientSubject(client, None).secrets
        trail = AuditTrail.open(**given)
        try:
            trail.wrap({asked.exchange: client})
            async with _sign_of_life(trail, client, settings, voice):
                code = await work(trail, client, voice)
            await _deliver(trail, voice)
        finally:
            told = _verdict(trail, await trail.aclose(), voice)
    return max(code, told)


@contextlib.asynccontextmanager
async def _reached(settings: Settings, asked: Asked, voice: Voice) -> AsyncIterator[None]:
    """The database, seen to be there before an exchange is asked. Raises StoreError."""
    async with database_of(settings, voice) as (database, address):
        async with store_of(database, address):
            voice.say(f"{asked.command}: {asked.exchange}, account {settings.account}; database: {address}")
        yield


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


def check_heard(asked: Asked, client: Any, unasked: Sequence[str]) -> None:
    """Raises Unreachable if the exchange never answered; ccxt keeps the last answer."""
    answers = ("last_http_response", "last_response_headers")  # None: none yet; a client that is no ccxt has neither
    if unasked and all(getattr(client, name, "") is None for name in answers):
        raise Unreachable(f"{asked.exchange} cannot be reached: {unasked[-1]}")


def as_json(asked: Asked, complete: bool, report: msgspec.Struct) -> str:
    """A report for programs."""
    return json.dumps(
        {"complete": complete, "exchange": asked.exchange, **msgspec.to_builtins(report)}, indent=2, ensure_ascii=False
    )


def show_list(voice: Voice, title: str, sentences: Iterable[str]) -> None:
    """A title with the number of its lines, and the lines; nothing where there are none."""
    lines = list(sentences)
    if lines:
        voice.show("\n".join([f"\n{title} ({len(lines)})", *(f"  {line}" for line in lines)]))
