"""What `audit-wrapper status` finds out: the journal's folder from outside, and a look at the database. Reads a few lines and a
few rows, however large both are, and holds up nobody."""

from __future__ import annotations

import shutil
import socket
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from audit_wrapper import codec
from audit_wrapper.command import peek
from audit_wrapper.errors import AuditWrapperError, CodecError, SettingsError
from audit_wrapper.forks import side_folders
from audit_wrapper.heartbeat import Beat, last_beat
from audit_wrapper.journal import layout
from audit_wrapper.journal.glance import Glance, glance
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.lock import held_by
from audit_wrapper.mark import read_mark
from audit_wrapper.settings import Settings
from audit_wrapper.store.queries import Queries, by_name

_QUESTIONS_TIMEOUT = "500ms"  # they are extra: a trader waits for the verdict


class Beside(msgspec.Struct, frozen=True):
    """A journal of a forked process, or of what came after a close. waiting: its records that are not in the database; None: not
    known. pid: the process that writes it; None: nobody does, and the next run, or `deliver`, delivers it."""

    folder: str
    waiting: int | None
    pid: int | None


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's folder, seen from outside.

    writing: whether a process has the journal open; pid: which; None: nobody, or not known. beat: its last sign of life; None: none
    was ever given (an older release). beat_age_s: how long ago. opened_at: since when it records. durable_seq: number of the last record; last_record_at: its time. known_delivered: what the
    journal itself knows to be delivered, which is a hint. sidecar_pid: of a sidecar that holds its lock; mark_age_s: when it last said something.
    damaged: files set aside. disk_free_bytes, hours_left: as in `Status`; None: not known.
    """

    folder: str
    writing: bool
    pid: int | None
    beat: Beat | None
    beat_age_s: float | None
    stream: UUID | None
    durable_seq: int
    last_record_at: datetime | None
    known_delivered: int
    sidecar_pid: int | None
    mark_age_s: float | None
    mark_problem: str | None
    bytes_on_disk: int
    damaged: tuple[str, ...]
    disk_free_bytes: int | None
    hours_left: float | None
    beside: tuple[Beside, ...]


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One journal, as the database knows it. last_record_at: the time of its newest record there; None: not known."""

    stream: UUID
    delivered_seq: int
    first_delivered_at: datetime
    last_delivered_at: datetime
    account: str | None
    exchange: str | None
    last_record_at: datetime | None


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """The database, seen from here. problem: why it cannot be read; None: it was. quarantined: what was refused and not brought
    in since. questions: open questions by kind; None: not counted (no such view, or not within half a second)."""

    address: str
    problem: str | None
    streams: tuple[Stream, ...] = ()
    quarantined: int | None = None
    questions: dict[str, int] | None = None


async def look(settings: Settings) -> tuple[Bot | None, Tables | None, str | None]:
    """The bot's side, the database's, and why there is no bot's side. Bot None: no journal that can be read; Tables None: no database is named.

    Raises SettingsError for a DSN that cannot be.
    """
    bot, problem = None, None
    folder = settings.journal.absolute()
    try:
        seen = glance(folder)
        if seen is None:
            problem = f"there is no journal in {folder}"
        else:
            bot = _bot(folder, seen)
    except OSError as refused:
        problem = f"the journal in {folder} cannot be read: {refused}"
    tables = await _tables(settings, bot)
    if bot is not None and tables is not None and tables.problem is None:
        bot = msgspec.structs.replace(bot, beside=_beside(folder, {one.stream: one for one in tables.streams}))
    return bot, tables, problem


def delivered_of(bot: Bot, tables: Tables | None) -> tuple[int, datetime | None, bool]:
    """Up to where the bot's journal is in the database, when that was last moved, and whether the database itself says so."""
    if tables is not None and tables.problem is None:
        found = next((one for one in tables.streams if one.stream == bot.stream), None)
        return (found.delivered_seq, found.last_delivered_at, True) if found is not None else (0, None, True)
    hints = [bot.known_delivered]
    if bot.beat is not None and bot.writing:
        hints.append(bot.beat.status.delivered_seq)
    return max(hints), None, False


def _bot(folder: Path, seen: Glance) -> Bot:
    beat, mark = last_beat(folder), read_mark(folder)
    here = beat is None or beat.host == socket.gethostname()
    age_s = (datetime.now(UTC) - beat.written_at).total_seconds() if beat is not None else None
    sidecar = held_by(folder, layout.SIDECAR_LOCK)
    # `audit-wrapper deliver` holds both locks: it delivers what a bot left, and records nothing
    writing = seen.holder is not None and (sidecar is None or sidecar.note != layout.DRAINS)
    if (
        not here and beat is not None and age_s is not None
    ):  # another machine's lock may not be seen through a network disk
        writing = writing or (not beat.closed and age_s < 15)
    hours = beat.status.outage_hours_left if beat is not None and writing else None
    return Bot(
        folder=str(folder),
        writing=writing,
        pid=(seen.holder or (beat.pid if beat is not None else None)) if writing else None,
        beat=beat,
        beat_age_s=age_s,
        stream=seen.state.stream if seen.state is not None else None,
        durable_seq=seen.durable_seq,
        last_record_at=_time_of(seen.last),
        known_delivered=seen.delivered_seq,
        sidecar_pid=sidecar.pid if sidecar is not None else None,
        mark_age_s=mark.age_s if mark is not None else None,
        mark_problem=mark.problem if mark is not None else None,
        bytes_on_disk=seen.bytes_on_disk,
        damaged=seen.damaged,
        disk_free_bytes=_free(folder),
        hours_left=hours,
        beside=_beside(folder, {}),
    )


def _beside(folder: Path, streams: dict[UUID, Stream]) -> tuple[Beside, ...]:
    found = []
    for path in side_folders(folder):
        try:
            seen = glance(path)
        except OSError:
            found.append(Beside(path.name, None, None))
            continue
        if seen is None:
            continue
        delivered = seen.delivered_seq
        if seen.state is not None and seen.state.stream in streams:
            delivered = max(delivered, streams[seen.state.stream].delivered_seq)
        found.append(Beside(path.name, max(0, seen.durable_seq - delivered), seen.holder))
    return tuple(found)


def _time_of(entry: Entry | None) -> datetime | None:
    if entry is None:
        return None
    try:
        record = codec.decode(entry.payload)
    except CodecError:
        return None
    return record.answered_at or record.called_at


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


async def _tables(settings: Settings, bot: Bot | None) -> Tables | None:
    try:
        dsn = peek.database_of(settings)
        if dsn is None:
            return None
        async with peek.connected(dsn) as con:
            return await _read(con, peek.address_of(settings), bot)
    except SettingsError:
        raise
    except AuditWrapperError as problem:
        return Tables(address=peek.address_of(settings), problem=str(problem))


async def _read(con: asyncpg.Connection, address: str, bot: Bot | None) -> Tables:
    sql = queries()
    async with con.transaction(readonly=True):
        if not await con.fetchval(sql["relation_exists"], "streams"):
            return Tables(
                address=address, problem="there is no schema of the trail in it: no bot has delivered there yet"
            )
        wanted = None
        if bot is not None:
            wanted = [one for one in (bot.stream, *_streams_beside(Path(bot.folder))) if one is not None]
        streams = tuple(Stream(**row) for row in await con.fetch(sql["streams"], wanted))
        quarantined = await con.fetchval(sql["quarantined"], wanted)
    return Tables(
        address=address,
        problem=None,
        streams=streams,
        quarantined=quarantined,
        questions=await _questions(con, sql),
    )


async def _questions(con: asyncpg.Connection, sql: Queries) -> dict[str, int] | None:
    try:
        async with con.transaction(readonly=True):
            await con.fetchval("SELECT set_config('statement_timeout', $1, true)", _QUESTIONS_TIMEOUT)
            if not await con.fetchval(sql["relation_exists"], "v_open_questions"):
                return None
            return {row["kind"]: row["n"] for row in await con.fetch(sql["open_questions"])}
    except (asyncpg.PostgresError, TimeoutError):
        return None


def _streams_beside(folder: Path) -> list[UUID]:
    found = []
    for path in side_folders(folder):
        try:
            seen = glance(path)
        except OSError:
            continue
        if seen is not None and seen.state is not None:
            found.append(seen.state.stream)
    return found


def queries() -> Queries:
    """The queries of tables/health.sql."""
    return by_name((files("audit_wrapper.tables") / "health.sql").read_text(encoding="utf-8"))
