"""`audit-wrapper verify`: is what was written still what was written, in the journal and in the database?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import AWAY, DIFFERS, FINE, PROG
from audit_wrapper.command.progress import Progress
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import JournalUnavailable, SettingsError, StoreUnavailable
from audit_wrapper.forks import side_folders
from audit_wrapper.journal import Finding, What, layout, read_through
from audit_wrapper.journal.state import State, read_state
from audit_wrapper.settings import Settings

if TYPE_CHECKING:
    from audit_wrapper.tables.chains import StreamReport
    from audit_wrapper.tables.reader import Reader

_AT_ONCE = 2_000  # entries
_MB = 1024 * 1024


class JournalReport(msgspec.Struct, kw_only=True):
    """One journal. entries: read and checked; first_seq, last_seq: of them, 0: there is none. delivered_seq: what it calls
    delivered. compared: how many of those were held against the database. findings: what is wrong, a sentence each.
    notes: what only looks wrong."""

    folder: str
    entries: int = 0
    first_seq: int = 0
    last_seq: int = 0
    bytes: int = 0
    delivered_seq: int = 0
    compared: int = 0
    findings: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


def verify(
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
    as_json: options.Json = False,
) -> int:
    """Check that nothing was changed, dropped or moved, in the journal and in the database.

    Each entry carries a hash over itself and the one before. All of them are computed again: of the journal, of what the
    database holds, and what the journal calls delivered is looked up there. It only reads, beside a running bot too, and
    may be broken off; the next run begins anew.

    Ends with 1 if anything is wrong, and says what.

    \b
    Example:
      audit-wrapper verify --journal audit-journal --dsn postgresql://bot@localhost/bot
    """
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    return run(_verify(settings, Voice(), as_json), "broken off; nothing was changed, and the next run begins anew")


async def _verify(settings: Settings, voice: Voice, as_json: bool) -> int:
    folders = _folders(settings.journal)
    has_database = settings.dsn is not None or (settings.journal / "postgres").is_dir()
    if not folders and not has_database:
        raise SettingsError(
            f"there is no journal in {settings.journal}, and no database is named: --journal DIR, --dsn or AUDIT_WRAPPER_DSN"
        )
    if not folders:
        voice.say(f"there is no journal in {settings.journal}: only the database is checked")
    if not has_database:
        voice.say("no database is named (--dsn or AUDIT_WRAPPER_DSN): only the journal is checked")
    journals: list[JournalReport] = []
    streams: list[StreamReport] = []
    away: StoreUnavailable | None = None
    async with contextlib.AsyncExitStack() as stack:
        reader: Reader | None = None
        if has_database:
            try:
                reader = await stack.enter_async_context(_reading(settings))
            except StoreUnavailable as problem:
                if not folders:
                    raise
                away = problem
        for folder in folders:
            try:
                journals.append(await _check_journal(folder, reader, voice))
            except JournalUnavailable:
                if folder.exists():
                    raise  # else it was a forked child's, and is delivered and gone
        if reader is not None:
            from audit_wrapper.tables.chains import check_chains

            with Progress(voice, "checking the database") as progress:
                streams = await check_chains(reader, progress.reach)
    findings = [sentence for report in journals for sentence in report.findings]
    findings += [sentence for stream in streams for sentence in _findings(stream)]
    address = reader.address if reader is not None else None
    if as_json:
        _show_json(voice, journals, address, streams, clean=not findings and away is None)
    else:
        _show(voice, journals, address, streams, findings)
    if away is not None:
        voice.say(f"{PROG}: the database was not checked: {away}")
        return AWAY
    return DIFFERS if findings else FINE


def _folders(journal: Path) -> list[Path]:
    """The journal, and those in it of forked children and of what came after the close."""
    if not journal.is_dir():
        return []
    with _looking_at(journal):
        return [folder for folder in (journal, *side_folders(journal)) if _is_journal(folder)]


def _is_journal(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):  # it was delivered, and is gone
        return (folder / layout.STATE).exists() or bool(layout.segment_paths(folder))
    return False


@contextlib.contextmanager
def _looking_at(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise JournalUnavailable(f"the journal in {folder} cannot be read ({problem})") from problem


@contextlib.asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[Reader]:
    from audit_wrapper.tables.reader import Reader

    async with Reader(settings) as reader:
        async with reader.snapshot("reach the database"):
            pass
        yield reader


async def _check_journal(folder: Path, reader: Reader | None, voice: Voice) -> JournalReport:
    from audit_wrapper.tables.delivered import Delivered

    state = _state(folder)
    report = JournalReport(folder=str(folder), delivered_seq=state.delivered_seq if state else 0)
    delivered = Delivered(reader, state.stream) if reader is not None and state is not None else None
    with _looking_at(folder):
        total = sum(layout.size(path) for path in layout.segment_paths(folder))
    waiting = []
    with Progress(voice, f"checking {folder}", total) as progress:
        for found in read_through(folder):
            if isinstance(found, Finding):
                # a write that a kill cut short: the record was not taken for written by anybody
                (report.notes if found.what is What.TORN_TAIL else report.findings).append(found.sentence)
                continue
            report.entries += 1
            report.first_seq = report.first_seq or found.seq
            report.last_seq = found.seq
            report.bytes += len(found.payload)
            if delivered is not None and found.seq <= report.delivered_seq:
                waiting.append(found)
            if report.entries % _AT_ONCE == 0:
                progress.reach(report.bytes)
                await asyncio.sleep(0)  # Ctrl-C
                if delivered is not None and waiting:
                    await delivered.compare(waiting)
                    waiting = []
        if delivered is not None:
            if waiting:
                await delivered.compare(waiting)
            delivered.end()
            report.compared = delivered.compared
            report.findings += _capped(delivered.findings, delivered.unsaid)
    return report


def _state(folder: Path) -> State | None:
    try:
        return read_state(folder)
    except (OSError, ValueError):  # it is among the findings
        return None


def _findings(stream: StreamReport) -> list[str]:
    return _capped(stream.findings, stream.unsaid)


def _capped(findings: Sequence[str], unsaid: int) -> list[str]:
    return [*findings, *([f"and {unsaid} more of that kind"] if unsaid else [])]


def _show(
    voice: Voice,
    journals: Sequence[JournalReport],
    address: str | None,
    streams: Sequence[StreamReport],
    findings: Sequence[str],
) -> None:
    for report in journals:
        lines = [f"journal {report.folder}: {_range('entries', report.first_seq, report.last_seq)}"]
        if report.entries:
            lines[0] += f", {report.bytes / _MB:.1f} MB, {_verdict(report.findings)}"
        if report.compared:
            lines.append(f"  {report.compared:,} of them are delivered; the database was asked for each")
        if report.last_seq > report.delivered_seq:
            lines.append(f"  {_range('entries', report.delivered_seq + 1, report.last_seq)} are not delivered yet")
        voice.show("\n".join([*lines, *(f"  harmless: {note}" for note in report.notes)]))
    if address is not None:
        voice.show(f"database {address}: {sum(stream.entries for stream in streams):,} records")
    for stream in streams:
        aside = f", {stream.set_aside:,} of them set aside in quarantine" if stream.set_aside else ""
        told = _range("records", stream.first_seq, stream.last_seq)
        voice.show(f"  stream {stream.stream}: {told}{aside}, {_verdict(stream.findings)}")
    if findings:
        voice.show("\n".join([f"\nWRONG ({len(findings)})", *(f"  {sentence}" for sentence in findings)]))
    else:
        voice.show("nothing is wrong")


def _verdict(findings: Sequence[str]) -> str:
    return f"{len(findings)} WRONG" if findings else "intact"


def _range(what: str, first: int, last: int) -> str:
    return f"{what} {first:,} to {last:,}" if last else f"no {what}"


def _show_json(
    voice: Voice,
    journals: Sequence[JournalReport],
    address: str | None,
    streams: Sequence[StreamReport],
    *,
    clean: bool,
) -> None:
    told = {
        "clean": clean,
        "journals": msgspec.to_builtins(journals),
        "database": address,
        "streams": msgspec.to_builtins(streams),
    }
    voice.show_json(told)


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("verify")(verify)
