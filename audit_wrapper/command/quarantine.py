"""`audit-wrapper quarantine`: what the database refused; see it, mend the cause, bring it in."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer

from audit_wrapper import codec
from audit_wrapper.command import options
from audit_wrapper.command.codes import DIFFERS, FINE, WRONG
from audit_wrapper.command.progress import Progress
from audit_wrapper.command.running import run
from audit_wrapper.command.storing import database_of, store_of
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import CodecError, SettingsError
from audit_wrapper.settings import Settings

if TYPE_CHECKING:
    from audit_wrapper.store.postgres import Quarantined

_Stream = Annotated[
    str | None, typer.Option("--stream", metavar="ID", help="Only of this journal; the begin of its id will do.")
]
_Seq = Annotated[
    int | None, typer.Option("--seq", min=1, max=2**63 - 1, metavar="N", help="Only the entry of this number.")
]
_Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, metavar="N", help="As many at the most.")]


class Waiting(msgspec.Struct, kw_only=True):
    """One entry in quarantine. what: kind, action, exchange and symbol of its record, or that it cannot be read. tries: how often
    it was refused. tried_at: the last time."""

    stream: UUID
    seq: int
    what: str
    reason: str
    since: datetime
    tries: int
    tried_at: datetime


def list_quarantined(
    stream: _Stream = None,
    seq: _Seq = None,
    limit: _Limit = 100,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    as_json: options.Json = False,
) -> int:
    """Show what the database refused, and why.

    Nothing of it is lost, and nothing waits for it. Ends with 1 if there is anything.

    \b
    Example:
      audit-wrapper quarantine list --dsn postgresql://bot@localhost/bot
    """
    settings = options.settings_of(dsn=dsn, journal=journal)
    waiting, total = run(_read(settings, _checked(stream), seq, limit))
    voice = Voice()
    if as_json:
        voice.show_json({"total": total, "entries": msgspec.to_builtins(waiting)})
    elif not waiting:
        voice.show("nothing is in quarantine" if (stream, seq) == (None, None) else "nothing of that is in quarantine")
    else:
        voice.show(_table(waiting))
        more = f"; {len(waiting)} of them are shown (--limit)" if total > len(waiting) else ""
        voice.show(f"\n{total} in quarantine{more}. Mend the cause, then: audit-wrapper quarantine retry")
    return DIFFERS if waiting else FINE


def retry(
    stream: _Stream = None,
    seq: _Seq = None,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    as_json: options.Json = False,
) -> int:
    """Try once more to store what the database refused.

    Do it when the cause is mended: a rule of a table, a trigger, an old release. Each entry goes where it belongs, as if it
    had come in time; what is refused again stays. Once too often does no harm, nor does it while the bot runs, and it may
    be broken off. Ends with 1 if anything was refused again.

    \b
    Example:
      audit-wrapper quarantine retry --dsn postgresql://bot@localhost/bot
      audit-wrapper quarantine retry --stream 0199ab --seq 4711
    """
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    return run(
        _retry(settings, _checked(stream), seq, Voice(), as_json),
        "broken off; what was brought in stays, and the next run goes on with the rest",
    )


def _checked(stream: str | None) -> str | None:
    if stream is not None and not re.fullmatch(r"[0-9a-f][0-9a-f-]{0,35}", stream.lower()):
        raise SettingsError(
            f"--stream {stream}: say the id of a journal, or how it begins, as quarantine list shows it"
        )
    return stream.lower() if stream is not None else None


async def _read(
    settings: Settings, stream: str | None, seq: int | None, limit: int, *, writes: bool = False
) -> tuple[list[Waiting], int]:
    """What waits there, and how much there is altogether.

    writes: somebody will; there has to be a whole trail then, since none is to be made by this. Raises SchemaError.
    """
    from audit_wrapper.tables.reader import Reader

    async with Reader(settings) as reader, reader.snapshot("read the quarantine") as con:
        if writes:
            await con.fetchrow(reader.queries("shape.sql")["look_at_the_tables"])
        rows = await con.fetch(reader.queries("quarantine.sql")["waiting"], stream, seq, limit)
    found = [
        Waiting(
            stream=row["stream"],
            seq=row["seq"],
            what=_what(row["payload"]),
            reason=row["reason"],
            since=row["quarantined_at"],
            tries=row["retries"] + 1,
            tried_at=row["retried_at"] or row["quarantined_at"],
        )
        for row in rows
    ]
    return found, rows[0]["of"] if rows else 0


def _what(payload: bytes) -> str:
    try:
        record = codec.decode(payload)
    except CodecError:
        return "cannot be read"
    symbol = record.market.symbol if record.market is not None else None
    return " ".join(word for word in (record.kind.value, record.action.value, record.exchange, symbol) if word)


async def _retry(settings: Settings, stream: str | None, seq: int | None, voice: Voice, as_json: bool) -> int:
    _, total = await _read(settings, stream, seq, 1, writes=True)
    if not total and (stream, seq) != (None, None):
        voice.say("nothing of that is in quarantine")
        return WRONG
    refused: list[tuple[UUID, int, str]] = []
    tried = done = 0
    async with database_of(settings, voice) as (database, address), store_of(database, address) as store:
        with Progress(voice, "bringing in", total) as progress:

            def told(entry: Quarantined, reason: str | None) -> None:
                nonlocal tried
                tried += 1
                if reason is not None:
                    refused.append((entry.stream, entry.seq, reason))
                progress.reach(tried)

            if total:
                done = await store.retry_quarantined(stream, seq, told)
    if as_json:
        again = [{"stream": str(one), "seq": number, "reason": reason} for one, number, reason in refused]
        voice.show_json({"brought_in": done, "refused": again})
    elif not total:
        voice.show("nothing is in quarantine")
    else:
        voice.show(f"{done} brought in, {len(refused)} refused again")
        for one, number, reason in refused:
            voice.show(f"  stream {one}, entry {number}: {_line(reason)}")
    return DIFFERS if refused else FINE


def _table(waiting: list[Waiting]) -> str:
    """Journal by journal; the reason last, since it is as long as it is."""
    head = ("ENTRY", "SINCE (UTC)", "TRIES", "WHAT", "WHY")
    rows = {
        id(one): (str(one.seq), f"{one.since:%Y-%m-%d %H:%M}", str(one.tries), one.what, _line(one.reason))
        for one in waiting
    }
    widths = [max(len(row[place]) for row in (head, *rows.values())) for place in range(4)]
    lines = []
    for stream, entries in groupby(waiting, key=lambda one: one.stream):
        lines += ["", f"stream {stream}"]
        for row in (head, *(rows[id(one)] for one in entries)):
            cells = [f"{cell:<{width}}" for cell, width in zip(row[:4], widths, strict=True)]
            lines.append("  " + "  ".join([*cells, row[4]]))
    return "\n".join(lines[1:])


def _line(reason: str) -> str:
    return reason.strip().partition("\n")[0]


def register(app: typer.Typer) -> None:
    """Make them commands of `app`: `quarantine list`, `quarantine retry`."""
    group = typer.Typer(no_args_is_help=True, help="See what the database refused, and bring it in.")
    group.command("list")(list_quarantined)
    group.command("retry")(retry)
    app.add_typer(group, name="quarantine")
