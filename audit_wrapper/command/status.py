"""`audit-wrapper status`: is the audit itself working?"""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from audit_wrapper.command import health, options
from audit_wrapper.command.codes import FINE
from audit_wrapper.command.judging import Verdict, judge, moment, size
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import Voice
from audit_wrapper.settings import Settings

_EVERY_S = 2.0
_WIDTH = 120  # where nobody looks at a terminal
Watch = Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")]


def status(
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    json: options.Json = False,
    watch: Watch = False,
) -> int:
    """Is the audit itself working: recording, delivering, how far behind, what failed, how long the disk lasts.

    The first line is the verdict. Works beside the running bot, without it, and with the database away. Ends with 0 when
    all is well, 1 when something is wrong, 3 when neither a journal nor a database can be read.

    \b
    Example:
      audit-wrapper status --journal /var/lib/bot/audit-journal --dsn postgresql:///bot --watch
    """
    settings = options.settings_of(dsn=dsn, journal=journal)
    if watch and json:
        raise typer.BadParameter("--watch is for people, --json for programs: choose one")
    if watch:
        return run(_watch(settings))
    bot, tables, problem = run(health.look(settings))
    verdict = judge(bot, tables, problem)
    voice = Voice()
    if json:
        voice.show(msgspec.json.encode({**msgspec.to_builtins(verdict), "bot": bot, "database": tables}).decode())
    else:
        voice.show(_text(verdict, bot, tables))
    return verdict.code


async def _watch(settings: Settings) -> int:
    from rich.live import Live
    from rich.text import Text

    code, voice = FINE, Voice()
    is_screen = sys.stdout.isatty()
    with Live(screen=True, auto_refresh=False) if is_screen else contextlib.nullcontext() as live:
        try:
            while True:
                bot, tables, problem = await health.look(settings)
                verdict = judge(bot, tables, problem)
                code = verdict.code
                words = f"{_text(verdict, bot, tables)}\n\n{datetime.now(UTC):%H:%M:%S} UTC; Ctrl-C ends this\n"
                if live is not None:
                    live.update(Text(words), refresh=True)
                else:
                    voice.show(words)
                await asyncio.sleep(_EVERY_S)
        except asyncio.CancelledError:  # Ctrl-C is how it ends
            return code


def _text(verdict: Verdict, bot: health.Bot | None, tables: health.Tables | None) -> str:
    rows = [*_of_bot(bot, verdict), *_of_tables(tables, bot)]
    rows += [("WRONG" if n == 0 else "", words) for n, words in enumerate(verdict.wrong)]
    return f"{verdict.sentence}\n\n{_table(rows)}"


def _table(rows: list[tuple[str, str]]) -> str:
    from rich.console import Console
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(name, value)
    width = shutil.get_terminal_size((_WIDTH, 40)).columns if sys.stdout.isatty() else _WIDTH
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False, color_system=None)
    console.print(grid)
    text: Any = console.file
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _of_bot(bot: health.Bot | None, verdict: Verdict) -> list[tuple[str, str]]:
    if bot is None:
        return []
    now, beat = datetime.now(UTC), bot.beat
    rows = [("journal", f"{bot.folder}, {size(bot.bytes_on_disk)}")]
    if beat is not None:
        who = (
            f"process {bot.pid or beat.pid} on {beat.host}"
            if bot.writing
            else f"it was process {beat.pid} on {beat.host}"
        )
        rows.append(("bot", f"{who}, account {beat.account}, since {moment(beat.opened_at, now)}"))
        rows.append(
            ("sign of life", f"{moment(beat.written_at, now)}; version {beat.version or '?'}, Python {beat.python}")
        )
    elif bot.writing:
        rows.append(
            ("bot", f"process {bot.pid or '?'}; it has given no sign of life (just begun, or an older release)")
        )
    rows.append(
        (
            "last record",
            f"number {bot.durable_seq:,}, {moment(bot.last_record_at, now)}" if bot.durable_seq else "none yet",
        )
    )
    behind = f"{verdict.lag:,} behind" + ("" if verdict.certain else ", as far as the journal knows")
    if beat is not None and beat.delivery == "sidecar":
        sidecar = f"sidecar, process {bot.sidecar_pid}" if bot.sidecar_pid is not None else "no sidecar runs"
        behind += f"; {sidecar}"
    elif beat is not None and bot.writing:
        behind += f"; {beat.status.store}"
        if beat.delivery == "process" and bot.sidecar_pid is not None:
            behind += f"; process {bot.sidecar_pid} of the bot delivers"
    rows.append(("delivery", behind))
    if beat is not None and bot.writing:
        failures = ", ".join(f"{kind}: {n}" for kind, n in beat.status.failures.items()) or "nothing"
        rows.append(("failed since then", failures))
    free = size(bot.disk_free_bytes) if bot.disk_free_bytes is not None else "not known"
    hours = f", enough for {bot.hours_left:,.0f} hours without the database" if bot.hours_left is not None else ""
    rows.append(("disk left", free + hours))
    for one in bot.beside:
        waiting = "what waits there cannot be read" if one.waiting is None else f"{one.waiting:,} records wait"
        rows.append(
            ("forked or late", f"{one.folder}: {waiting}" + (f", process {one.pid}" if one.pid is not None else ""))
        )
    return rows


def _of_tables(tables: health.Tables | None, bot: health.Bot | None) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    if tables is None:
        return [("database", "none is named (--dsn or AUDIT_WRAPPER_DSN)")]
    if tables.problem is not None:
        return [("database", f"{tables.address}: {tables.problem}")]
    rows = [("database", tables.address)]
    if bot is None:
        rows += [
            (
                "stream",
                f"{one.stream}: {one.delivered_seq:,} records, {one.exchange or '-'}, account {one.account or '-'}, "
                f"last delivered {moment(one.last_delivered_at, now)}",
            )
            for one in tables.streams
        ]
    else:
        rows += [
            ("last delivered", moment(one.last_delivered_at, now)) for one in tables.streams if one.stream == bot.stream
        ]
    rows.append(("quarantined", f"{tables.quarantined:,}"))
    if tables.questions is not None:
        asked = ", ".join(f"{kind}: {n:,}" for kind, n in tables.questions.items() if n) or "none"
        rows.append(("open questions", asked))
    return rows


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("status")(status)
