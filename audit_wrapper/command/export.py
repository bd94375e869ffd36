"""`audit-wrapper export`: a table into a file, for accounting, tax tools and notebooks."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from audit_wrapper.command import looking, options
from audit_wrapper.command.codes import FINE, WRONG
from audit_wrapper.command.looking import wanted_of
from audit_wrapper.command.placing import placed
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import StdoutBytes, Voice
from audit_wrapper.records import OrderStatus

_SIGN_OF_LIFE_S = 5.0
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class What(StrEnum):
    """A table."""

    ORDERS = "orders"
    TRADES = "trades"
    FILLS = "fills"
    POSITIONS = "positions"
    EVENTS = "events"


class Format(StrEnum):
    """A kind of file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


# what a table has no column for
_WITHOUT = {
    What.FILLS: ("status", "purpose"),
    What.POSITIONS: ("status", "purpose"),
    What.EVENTS: ("status",),
}

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; default: stdout.", dir_okay=False)
]
FileFormat = Annotated[
    Format | None, typer.Option("--format", help="Default: by the file's ending; csv where there is none.")
]


def export(
    what: Annotated[What, typer.Argument(help="orders, trades, fills, positions or events.")],
    output: Output = None,
    format: FileFormat = None,
    position: options.Position = None,
    symbol: options.Symbol = None,
    exchange: options.Exchange = None,
    account: looking.AnyAccount = None,
    status: options.Status = None,
    purpose: options.Purpose = None,
    since: options.Since = None,
    until: options.Until = None,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
) -> int:
    """Write a table to a file: CSV, JSON Lines or Parquet. The oldest rows first; events as each journal has them.

    Numbers keep every digit: in CSV and JSON Lines they are text as stored, in Parquet decimals. Times have a zone, UTC. Nothing is in
    the file's place before all of it is written.

    --since and --until go by created_at (orders), executed_at (trades), exchange_at (fills), called_at (events). Of positions they mean
    those that were closed in that time, or still open at its end, as in the report.

    \b
    Examples:
      audit-wrapper export trades --since 2026-01-01 --until 2027-01-01 -o trades-2026.csv
      audit-wrapper export fills --exchange bybit -o fills.parquet
      audit-wrapper export orders --format jsonl | jq .status
    """
    voice = Voice()
    statuses = looking.OF_TRADES if what is What.TRADES else tuple(OrderStatus)
    wanted = wanted_of(position, symbol, exchange, account, status, purpose, since, until, statuses)
    for name in _WITHOUT.get(what, ()):
        if getattr(wanted, name):
            raise typer.BadParameter(f"{what} have no {name}: leave --{name} out")
    kind = format or Format(_ENDINGS.get(output.suffix.lower(), "csv") if output is not None else "csv")
    if kind is Format.PARQUET:
        import pyarrow.parquet  # noqa: F401 (before anything is asked or made)
    if output is None and kind is Format.PARQUET and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is not for a terminal: name a file with -o")
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    return run(_export(settings, voice, what, wanted, kind, output))


async def _export(settings: Any, voice: Voice, what: What, wanted: Any, kind: Format, output: Path | None) -> int:
    from audit_wrapper.tables import Reader, export

    async with (
        Reader(settings) as reader,
        reader.snapshot(f"read the {what}", at_leisure=True) as con,
    ):
        stream = await export.stream(con, reader, what.value, wanted)
        batches = aiter(stream)
        rows = await anext(batches, None)
        if rows is None:
            voice.say(f"there are no {what} like that: nothing is written")
            return WRONG
        with _file(output) as file:
            writer = await _writer(kind, file, stream, voice)
            count, began, said = 0, time.monotonic(), time.monotonic()
            while rows is not None:
                writer.rows(rows)
                count += len(rows)
                if time.monotonic() - said > _SIGN_OF_LIFE_S:
                    said = time.monotonic()
                    voice.say(f"{count:,} rows so far, {count / (said - began):,.0f} a second")
                rows = await anext(batches, None)
            writer.end()
    voice.say(f"{count:,} {what} written to {output or 'stdout'}")
    return FINE


async def _writer(kind: Format, file: BinaryIO, stream: Any, voice: Voice) -> Any:
    from audit_wrapper.tables import writing

    if kind is Format.CSV:
        return writing.Csv(file, stream.fields)
    if kind is Format.JSONL:
        return writing.JsonLines(file, stream.fields)
    voice.say("looking how many digits each column needs")
    scales = await stream.scales()
    for name, scale in scales.items():
        if scale is None:
            voice.say(f"{name} is written as text: it has values that no decimal of Parquet holds")
    return writing.Parquet(file, stream.fields, scales)


@contextlib.contextmanager
def _file(output: Path | None) -> Iterator[BinaryIO]:
    """What is written to."""
    if output is not None:
        with placed(output) as part:
            yield part
        return
    file = StdoutBytes()
    yield file  # type: ignore[misc]
    file.flush()


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("export")(export)
