"""`audit-wrapper deliver`: what is in a journal goes into the database, after a crash or beside a running bot."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import AWAY, DIFFERS, FINE, WRONG
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import JournalInUse, SettingsError
from audit_wrapper.forks import side_folders
from audit_wrapper.heartbeat import last_beat
from audit_wrapper.journal import layout
from audit_wrapper.journal.glance import glance
from audit_wrapper.journal.lock import FolderLock, held_by, holder
from audit_wrapper.settings import Settings
from audit_wrapper.store.connection import shown
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.trail import AuditTrail

_STEP_S = 0.1
_SAY_EVERY_S = 10.0
Follow = Annotated[
    bool,
    typer.Option("--follow", help='Go on for ever, beside a bot whose trail was opened with delivery="sidecar".'),
]
Patience = Annotated[
    float,
    typer.Option(
        "--patience", min=0.1, metavar="SECONDS", help="Without --follow: give up when nothing went in for so long."
    ),
]


class Delivered(msgspec.Struct, frozen=True):
    """What one run came to, for --json. delivered: records that went in; left: those that did not. quarantined: those the
    database refused, with this run's. beside_left: folders of forked processes that are not empty. problem: in words."""

    journal: str
    database: str
    delivered: int
    left: int
    quarantined: int
    beside_left: tuple[str, ...]
    problem: str | None


def deliver(
    follow: Follow = False,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    patience: Patience = 60.0,
    json: options.Json = False,
) -> int:
    """Bring what is in a journal into the database.

    After a crash: takes the journal, delivers all of it, and what forked processes left, and ends: 0 when all is in the
    database, 1 when the database refused a record, 3 when something is left in the journal, where it is safe.

    With --follow: a process beside the bot (systemd, a container), which delivers what the bot records, and goes on. It may
    be killed and started again at any time. Run it as the bot's user, on the bot's machine.

    \b
    Examples:
      audit-wrapper deliver --journal /var/lib/bot/audit-journal --dsn postgresql:///bot
      AUDIT_WRAPPER_DSN=postgresql:///bot audit-wrapper deliver --follow --journal /var/lib/bot/audit-journal
    """
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    voice = Voice()
    folder = settings.journal.absolute()
    if settings.dsn is not None:
        PostgresStore.check_dsn(settings.dsn)
    elif follow or not (folder / "postgres").is_dir():
        raise SettingsError("which database? name it with --dsn, or in AUDIT_WRAPPER_DSN")
    if follow:
        return run(_follow(settings, folder, voice))
    if glance(folder) is None:
        voice.say(f"there is no journal in {folder}: name the bot's folder (--journal or AUDIT_WRAPPER_JOURNAL)")
        return WRONG
    return run(_drain(settings, folder, patience, json, voice))


async def _drain(settings: Settings, folder: Path, patience_s: float, json: bool, voice: Voice) -> int:
    pid = holder(folder)
    if pid is not None:
        beat = last_beat(folder)
        if beat is not None and beat.delivery == "sidecar":
            how = "leaves its delivery to a sidecar: use --follow"
        else:
            how = "delivers it itself: `audit-wrapper status` says how far it is"
        raise JournalInUse(f"process {pid or '(unknown)'} writes the journal in {folder} and {how}")
    await _until_the_bots_own_has_ended(folder, patience_s, voice)
    lock = FolderLock(folder, layout.SIDECAR_LOCK, layout.DRAINS)
    try:
        only: dict[str, Any] = {"journal": folder, "ask_exchange": "off", "delivery": "own", "close_timeout_s": 1.0}
        trail = AuditTrail._open(msgspec.structs.replace(settings, **only), beats=False)
        try:
            begun = trail.status().delivered_seq
            await _wait(trail, patience_s, voice)
            status = trail.status()
            problem = status.last_error if status.lag or status.store != "connected" else None
        finally:
            left = await trail.aclose()
        waiting = [path for path in side_folders(folder) if holder(path) is None]
    finally:
        lock.release()
    report = Delivered(
        journal=str(folder),
        database=shown(settings.dsn) if settings.dsn else str(status.embedded),
        delivered=max(0, status.delivered_seq - begun),
        left=left.undelivered,
        quarantined=status.quarantined,
        beside_left=tuple(path.name for path in waiting),
        problem=problem if left.undelivered or waiting or status.store != "connected" else None,
    )
    if json:
        voice.show(msgspec.json.encode(report).decode())
    else:
        voice.show(_words(report))
    if report.left or report.beside_left or report.problem:
        return AWAY
    return DIFFERS if report.quarantined else FINE


async def _until_the_bots_own_has_ended(folder: Path, patience_s: float, voice: Voice) -> None:
    """The process that delivered for a bot outlives one that was killed by some seconds, in which it delivers."""
    until, said = time.monotonic() + patience_s, False
    while time.monotonic() < until:
        held = held_by(folder, layout.SIDECAR_LOCK)
        if held is None or held.note != layout.ATTENDED:
            return
        if not said:
            voice.say(f"the bot is gone, and process {held.pid} still delivers for it: waiting until that ends")
            said = True
        await asyncio.sleep(_STEP_S)


def _words(report: Delivered) -> str:
    if report.problem and not report.left and not report.beside_left:
        return (
            f"NOTHING COULD BE DELIVERED: {report.problem}. What {report.journal} holds is safe, and how much of it the database "
            "has is not known"
        )
    if report.left or report.beside_left:
        beside = f", and what is in {', '.join(report.beside_left)}" if report.beside_left else ""
        return (
            f"NOT ALL DELIVERED: {report.left:,} records are left in {report.journal}{beside}, where they are safe. "
            f"{report.problem or 'It took too long'}"
        )
    words = f"ALL DELIVERED: {report.delivered:,} records went from {report.journal} to {report.database}"
    if report.quarantined:
        words += (
            f"; {report.quarantined:,} were refused and are in audit.quarantine: see `audit-wrapper quarantine list`"
        )
    return words


async def _wait(trail: AuditTrail, patience_s: float, voice: Voice) -> None:
    """Until all is delivered, or nothing was for `patience_s`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    pipeline = trail._pipeline
    console = Console(stderr=True)
    before, moved_at, said_at = None, time.monotonic(), time.monotonic()
    columns = ("delivering", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("deliver", total=None)
        while True:
            status, adoption = trail.status(), pipeline.adoption
            bar.update(task, completed=status.delivered_seq, total=status.durable_seq)
            adopting = adoption is not None and adoption.runs
            if not status.lag and status.store == "connected" and not adopting:
                return
            now, at = time.monotonic(), (status.delivered_seq, adoption.delivered_seq if adoption is not None else 0)
            if at != before:
                before, moved_at = at, now
            elif now - moved_at >= patience_s:
                return
            if now - said_at >= _SAY_EVERY_S and not console.is_terminal:
                said_at = now
                voice.say(f"{status.delivered_seq:,} of {status.durable_seq:,} delivered ({status.store})")
            await asyncio.sleep(_STEP_S)


async def _follow(settings: Settings, folder: Path, voice: Voice) -> int:
    from audit_wrapper.sidecar import Sidecar

    assert settings.dsn is not None
    sidecar = Sidecar(settings)
    voice.say(f"delivering {folder} to {shown(settings.dsn)}, as process {os.getpid()}; Ctrl-C ends it")
    said, say_at = "", 0.0
    try:
        while True:
            sidecar.step()
            if sidecar.state != said and time.monotonic() >= say_at:
                said, say_at = sidecar.state, time.monotonic() + 1.0
                voice.say(said)
            await asyncio.sleep(_STEP_S)
    except asyncio.CancelledError:  # asked to end: SIGTERM, or Ctrl-C
        pass
    finally:
        done = sidecar.stop(settings.close_timeout_s)
    voice.say("ended" if done else "ended; what is not delivered is in the journal, and the next run goes on there")
    return FINE if done else AWAY


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("deliver")(deliver)
