"""From what was seen of a bot and its database to the one sentence that somebody needs at 3 a.m. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from audit_wrapper.command.codes import AWAY, DIFFERS, FINE
from audit_wrapper.command.health import Bot, Tables, delivered_of
from audit_wrapper.mark import STALE_S

_SILENT_S = 15.0  # a sign of life comes every two seconds
_STUCK_S = 10.0  # a record is in the database within a second, when all is well
_DISK_HOURS = 6.0
_DISK_BYTES = 200_000_000
_HEALED = {
    "database away",
    "asking the exchange",
    "sidecar away",
    "delivery process",
}  # of these, what is so now counts, not what was


class Verdict(msgspec.Struct, frozen=True):
    """code: the exit code. sentence: the verdict. wrong: everything that is, one sentence each. lag: records that are in the
    journal and not in the database; None: there is no journal here. certain: whether the database itself said so."""

    code: int
    sentence: str
    wrong: tuple[str, ...]
    lag: int | None
    certain: bool


def judge(bot: Bot | None, tables: Tables | None, no_journal: str | None, now: datetime | None = None) -> Verdict:
    """now: the moment that "ago" counts from; None: this one."""
    at = now or datetime.now(UTC)
    if bot is None:
        return _without_journal(tables, no_journal or "there is no journal here", at)
    delivered, moved_at, certain = delivered_of(bot, tables)
    lag = max(0, bot.durable_seq - delivered)
    wrong = _wrong(bot, tables)
    if bot.writing:
        problem = _not_recording(bot) or _not_delivering(bot, tables, lag, moved_at, at)
        if problem is None:
            sentence = f"RECORDING, {lag:,} behind" + (", delivering" if lag else "")
        elif bot.beat is not None and bot.beat.status.waiting:
            sentence = f"NOT RECORDING SAFELY: {problem}"
        else:
            sentence = f"RECORDING, BUT {problem}" + (f"; {lag:,} records wait in the journal" if lag else "")
        wrong = ((problem,) if problem is not None else ()) + wrong
        if problem is None and wrong:
            sentence += f". LOOK AT THIS: {wrong[0]}"
    else:
        closed = bot.beat is not None and bot.beat.closed
        wait = f"{lag:,} records wait in the journal" + ("" if certain else ", as far as it knows")
        sentence = f"NOT RUNNING since {moment(_ended_at(bot), at)}, {wait}"
        if not closed:
            sentence += "; it did not close (killed, or crashed)"
            wrong = ("the bot ended without closing its trail", *wrong)
        if lag:
            how = (
                f"process {bot.sidecar_pid} delivers them"
                if bot.sidecar_pid is not None
                else "`audit-wrapper deliver` brings them in"
            )
            sentence += f"; {how}"
            wrong = (f"{lag:,} records are not in the database", *wrong)
    return Verdict(DIFFERS if wrong else FINE, sentence, wrong, lag, certain)


def _without_journal(tables: Tables | None, no_journal: str, now: datetime) -> Verdict:
    if tables is None or tables.problem is not None:
        why = tables.problem if tables is not None else "no database is named (--dsn or AUDIT_WRAPPER_DSN)"
        return Verdict(AWAY, f"NOTHING CAN BE SEEN: {no_journal}; {why}", (no_journal, str(why)), None, False)
    if not tables.streams:
        return Verdict(DIFFERS, f"NO RECORDS: {no_journal}, and the database has none", (no_journal,), None, True)
    wrong = _quarantine(tables)
    last = tables.streams[0]
    whose = f"{last.exchange or 'no exchange'}, account {last.account or '?'}"
    return Verdict(
        DIFFERS if wrong else FINE,
        f"NO JOURNAL HERE; the database got its last record {moment(last.last_delivered_at, now)} ({whose})",
        wrong,
        None,
        True,
    )


def _not_recording(bot: Bot) -> str | None:
    if bot.beat is not None and bot.beat.status.waiting:
        said = bot.beat.status.last_error or "the journal cannot be written"
        return f"{bot.beat.status.waiting:,} records are in memory only: {said}"
    return None


def _not_delivering(bot: Bot, tables: Tables | None, lag: int, moved_at: datetime | None, now: datetime) -> str | None:
    beat, age_s = bot.beat, bot.beat_age_s
    if beat is not None and age_s is not None and age_s > _SILENT_S:
        return f"ITS AUDIT THREAD HAS BEEN SILENT FOR {ago_words(age_s)}: look at the bot's log"
    if beat is not None and beat.delivery == "sidecar":
        if bot.sidecar_pid is None or abs(bot.mark_age_s or 0) > STALE_S:
            return "NOT DELIVERING: no sidecar runs; start `audit-wrapper deliver --follow`"
        if bot.mark_problem:
            return f"NOT DELIVERING: {bot.mark_problem}"
    elif beat is not None and beat.status.store not in ("connected", "starting"):
        return f"NOT DELIVERING: {beat.status.last_error or beat.status.store}"
    if tables is not None and tables.problem is not None:
        return f"THE DATABASE CANNOT BE READ FROM HERE: {tables.problem}"
    is_old = bot.last_record_at is None or (now - bot.last_record_at).total_seconds() > _STUCK_S
    if lag and tables is not None and is_old and (moved_at is None or (now - moved_at).total_seconds() > _STUCK_S):
        return "NOT DELIVERING: nothing went into this database " + (
            f"since {moment(moved_at, now)}" if moved_at is not None else "yet: is it the one the bot delivers to?"
        )
    return None


def _wrong(bot: Bot, tables: Tables | None) -> tuple[str, ...]:
    found: list[str] = []
    beat = bot.beat
    if beat is not None and bot.writing:
        found += [
            f"{kind}, {n} times ({beat.status.last_error})" if n > 1 else f"{kind} ({beat.status.last_error})"
            for kind, n in beat.status.failures.items()
            if kind not in _HEALED
        ]
        found += beat.status.damage
        if beat.delivery == "own" and bot.sidecar_pid is not None:
            found.append(
                f"process {bot.sidecar_pid} delivers this journal as well as the bot: nothing is lost or doubled by it, and one of "
                'them is too many: end it, or open the trail with delivery="sidecar"'
            )
    if tables is not None and tables.problem is None:
        found += _quarantine(tables)
    elif tables is not None and not bot.writing:
        found.append(f"the database cannot be read: {tables.problem}")
    left = [one for one in bot.beside if one.pid is None and one.waiting != 0]
    if left:
        names = ", ".join(f"{one.folder} ({'?' if one.waiting is None else f'{one.waiting:,}'})" for one in left)
        found.append(f"records of forked processes wait for the next run, or for `audit-wrapper deliver`: {names}")
    if bot.damaged:
        found.append(f"damaged files were set aside: {', '.join(bot.damaged)}")
    if bot.disk_free_bytes is not None and bot.disk_free_bytes < _DISK_BYTES:
        found.append(f"the journal's disk has only {size(bot.disk_free_bytes)} left")
    elif bot.hours_left is not None and bot.hours_left < _DISK_HOURS:
        found.append(f"the journal's disk lasts {bot.hours_left:.1f} hours more if nothing is delivered")
    return tuple(found)


def _quarantine(tables: Tables) -> tuple[str, ...]:
    if not tables.quarantined:
        return ()
    return (f"{tables.quarantined:,} records were refused by the database: see `audit-wrapper quarantine list`",)


def _ended_at(bot: Bot) -> datetime | None:
    moments = [
        one for one in (bot.beat.written_at if bot.beat is not None else None, bot.last_record_at) if one is not None
    ]
    return max(moments, default=None)


def moment(at: datetime | None, now: datetime) -> str:
    """A moment for people: when, and how long ago."""
    if at is None:
        return "a time that is not known"
    ago_s = (now - at).total_seconds()
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago_words(ago_s)} ago)"


def ago_words(seconds: float) -> str:
    """A length of time, in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(n: int) -> str:
    """Bytes for people; units of 1,000."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= length:
            return f"{n / length:.1f} {unit}"
    return f"{n} bytes"
