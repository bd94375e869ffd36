"""What is seen of a bot and its database, and the sentence that this comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from test_heartbeat import status

from audit_wrapper.command.health import Beside, Bot, Stream, Tables
from audit_wrapper.command.judging import Verdict, ago_words, judge, size
from audit_wrapper.heartbeat import Beat

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
STREAM = UUID(int=7)


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def beat(*, delivery: str = "own", closed: bool = False, **of_status: Any) -> Beat:
    return Beat(
        status=status(**{"store": "connected", **of_status}),
        pid=4711,
        host="here",
        written_at=ago(seconds=1),
        opened_at=ago(hours=5),
        account="default",
        delivery=delivery,
        version="0.1.0",
        python="3.11.7",
        closed=closed,
    )


def bot(**given: Any) -> Bot:
    values = {
        "folder": "/bot/audit-journal",
        "writing": True,
        "pid": 4711,
        "beat": beat(),
        "beat_age_s": 1.0,
        "stream": STREAM,
        "durable_seq": 100,
        "last_record_at": ago(seconds=60),
        "known_delivered": 100,
        "sidecar_pid": None,
        "mark_age_s": None,
        "mark_problem": None,
        "bytes_on_disk": 1000,
        "damaged": (),
        "disk_free_bytes": 10**12,
        "hours_left": 1000.0,
        "beside": (),
    }
    return Bot(**{**values, **given})


def tables(delivered: int = 100, **given: Any) -> Tables:
    stream = Stream(
        stream=STREAM,
        delivered_seq=delivered,
        first_delivered_at=ago(hours=5),
        last_delivered_at=given.pop("moved", ago(seconds=59)),
        account="default",
        exchange="bybit",
        last_record_at=None,
    )
    return Tables(**{"address": "db", "problem": None, "streams": (stream,), "quarantined": 0, **given})


def said(seen: Bot, known: Tables | None) -> Verdict:
    return judge(seen, known, None, NOW)


GONE = {"writing": False, "pid": None}


@pytest.mark.parametrize(
    ("seen", "known", "code", "sentence"),
    [
        (bot(), tables(), 0, "RECORDING, 0 behind"),
        (bot(), None, 0, "RECORDING, 0 behind"),
        (bot(last_record_at=ago(seconds=1)), tables(95), 0, "RECORDING, 5 behind, delivering"),
        (bot(), tables(40, moved=ago(seconds=1)), 0, "RECORDING, 60 behind, delivering"),
        (
            bot(),
            tables(40),
            1,
            "RECORDING, BUT NOT DELIVERING: nothing went into this database since 2026-03-01 02:59:01 UTC (59 s ago); "
            "60 records wait in the journal",
        ),
        (bot(beat=None, beat_age_s=None), tables(), 0, "RECORDING, 0 behind"),
        (
            bot(beat_age_s=200.0),
            tables(),
            1,
            "RECORDING, BUT ITS AUDIT THREAD HAS BEEN SILENT FOR 3 min: look at the bot's log",
        ),
        (
            bot(beat=beat(waiting=12, last_error="no space left")),
            tables(),
            1,
            "NOT RECORDING SAFELY: 12 records are in memory only: no space left",
        ),
        (
            bot(beat=beat(store="trying again: x", last_error="refused")),
            tables(),
            1,
            "RECORDING, BUT NOT DELIVERING: refused",
        ),
        (bot(beat=beat(failures={"database away": 7}, last_error="refused")), tables(), 0, "RECORDING, 0 behind"),
        (
            bot(beat=beat(failures={"writing the journal": 1}, last_error="disk")),
            tables(),
            1,
            "RECORDING, 0 behind. LOOK AT THIS: writing the journal (disk)",
        ),
        (bot(beat=beat(delivery="sidecar"), sidecar_pid=5, mark_age_s=1.0), tables(), 0, "RECORDING, 0 behind"),
        (
            bot(beat=beat(delivery="sidecar"), sidecar_pid=5, mark_age_s=-3600.0),
            tables(),
            1,
            "RECORDING, BUT NOT DELIVERING: no sidecar runs; start `audit-wrapper deliver --follow`",
        ),
        (
            bot(sidecar_pid=5),
            tables(),
            1,
            "RECORDING, 0 behind. LOOK AT THIS: process 5 delivers this journal as well as the bot: nothing is lost or doubled by it, "
            'and one of them is too many: end it, or open the trail with delivery="sidecar"',
        ),
        (
            bot(beat=beat(delivery="sidecar"), sidecar_pid=5, mark_age_s=99.0),
            tables(),
            1,
            "RECORDING, BUT NOT DELIVERING: no sidecar runs; start `audit-wrapper deliver --follow`",
        ),
        (
            bot(beat=beat(delivery="sidecar"), sidecar_pid=5, mark_age_s=1.0, mark_problem="no route"),
            tables(),
            1,
            "RECORDING, BUT NOT DELIVERING: no route",
        ),
        (
            bot(hours_left=2.0),
            tables(),
            1,
            "RECORDING, 0 behind. LOOK AT THIS: the journal's disk lasts 2.0 hours more if nothing is delivered",
        ),
        (
            bot(disk_free_bytes=1_500_000),
            tables(),
            1,
            "RECORDING, 0 behind. LOOK AT THIS: the journal's disk has only 1.5 MB left",
        ),
        (
            bot(beside=(Beside("fork-1", 0, None), Beside("fork-2", 3, 8))),
            tables(),
            0,
            "RECORDING, 0 behind",
        ),
        (
            bot(beat=beat(closed=True), **GONE),
            tables(),
            0,
            "NOT RUNNING since 2026-03-01 02:59:59 UTC (1 s ago), 0 records wait in the journal",
        ),
        (
            bot(**GONE),
            tables(70),
            1,
            "NOT RUNNING since 2026-03-01 02:59:59 UTC (1 s ago), 30 records wait in the journal; it did not close (killed, or "
            "crashed); `audit-wrapper deliver` brings them in",
        ),
        (
            bot(beat=beat(closed=True), sidecar_pid=9, **GONE),
            tables(70),
            1,
            "NOT RUNNING since 2026-03-01 02:59:59 UTC (1 s ago), 30 records wait in the journal; process 9 delivers them",
        ),
    ],
)
def test_the_first_line(seen: Bot, known: Tables | None, code: int, sentence: str) -> None:
    found = said(seen, known)
    assert (found.code, found.sentence) == (code, sentence)
    assert bool(found.wrong) == (code == 1)


def test_without_the_database_the_journals_own_word_counts() -> None:
    found = said(bot(beat=beat(closed=True), known_delivered=90, **GONE), tables(problem="no route"))
    assert (found.lag, found.certain, found.code) == (10, False, 1)
    assert "10 records wait in the journal, as far as it knows" in found.sentence
    assert "the database cannot be read: no route" in found.wrong


def test_a_stream_that_the_database_does_not_know_is_all_behind() -> None:
    known = tables()
    other = msgspec.structs.replace(known.streams[0], stream=UUID(int=8))
    assert said(bot(), msgspec.structs.replace(known, streams=(other,))).lag == 100


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3.0, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2 h"), (200_000.0, "2 d")]
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert ago_words(seconds) == words


@pytest.mark.parametrize(
    ("n", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (2 * 10**12, "2.0 TB")]
)
def test_sizes(n: int, words: str) -> None:
    assert size(n) == words
