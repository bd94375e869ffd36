"""`audit-wrapper deliver`: after a crash, and beside a bot that leaves delivery to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from looking import AWAY, Here, Said, ended, environ, process, record, trading, until
from reckoning import fetched
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail
from audit_wrapper.heartbeat import last_beat
from audit_wrapper.journal import FileJournal, layout, lock
from audit_wrapper.mark import read_mark
from audit_wrapper.settings import Settings
from audit_wrapper.sidecar import Sidecar


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    for name in list(os.environ):
        if name.startswith("AUDIT_WRAPPER_"):
            monkeypatch.delenv(name)
    return Here(capsys)


@pytest.fixture(scope="module")
def exchange() -> Iterator[RemoteExchange]:
    with RemoteExchange.spawn("bybit") as running:
        yield running


def events(server: Any, dsn: str) -> int:
    return int(fetched(server, dsn, "SELECT count(*) FROM audit.events")[0])


@contextmanager
def following(dsn: str, journal: Path, **given: str) -> Iterator[subprocess.Popen[str]]:
    """A sidecar as a process; it is killed at the end, if it lives."""
    running = process("deliver", "--follow", AUDIT_WRAPPER_DSN=dsn, AUDIT_WRAPPER_JOURNAL=str(journal), **given)
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate(timeout=20)


@contextmanager
def stepping(dsn: str, journal: Path) -> Iterator[Sidecar]:
    """The same on a thread of this process, which is quicker."""
    sidecar, ending = Sidecar(Settings.load({"dsn": dsn, "journal": journal}, {})), threading.Event()

    def step() -> None:
        while not ending.wait(0.02):
            sidecar.step()

    running = threading.Thread(target=step)
    running.start()
    try:
        yield sidecar
    finally:
        ending.set()
        running.join()
        sidecar.stop(5)


def asked_to_end(running: subprocess.Popen[str], sign: signal.Signals = signal.SIGTERM) -> Said:
    running.send_signal(sign)
    return ended(running)


def left_behind(folder: Path, n: int) -> None:
    """A journal of `n` records of which none is delivered, as a crash leaves it."""
    with AuditTrail.open(AWAY, journal=folder, delivery="own", ask_exchange="off", close_timeout_s=0.1) as trail:
        record(trail, n)


# -- after a crash


def test_what_a_killed_bot_left_goes_in(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, here: Here, postgres_server: Any
) -> None:
    with trading(exchange, AWAY, tmp_path) as bot:
        bot.trade(5)
    before = last_beat(tmp_path)
    said = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn)
    assert said.code == 0, said.err
    assert last_beat(tmp_path) == before, "the last word is the bot's"
    assert said.first.startswith("ALL DELIVERED: ")
    rows = fetched(postgres_server, audit_dsn, "SELECT order_id FROM monitoring.orders WHERE order_id IS NOT NULL")
    assert set(bot.told) <= set(rows)
    assert len(rows) == len(set(rows))
    again = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn, "--json")
    assert (again.code, again.json["delivered"], again.json["left"]) == (0, 0, 0)


def test_what_forked_processes_left_goes_in_too(
    audit_dsn: str, tmp_path: Path, here: Here, postgres_server: Any
) -> None:
    left_behind(tmp_path, 2)
    for name, n in (("fork-99998", 3), ("late-99999.1", 4)):
        left_behind(tmp_path / name, n)
    assert here("deliver", "--journal", tmp_path, "--dsn", audit_dsn).code == 0
    assert events(postgres_server, audit_dsn) == 9
    assert not list(tmp_path.glob("fork-*")) + list(tmp_path.glob("late-*"))


def test_the_database_is_away(tmp_path: Path, here: Here) -> None:
    left_behind(tmp_path, 3)
    said = here("deliver", "--journal", tmp_path, "--dsn", AWAY, "--patience", "0.3")
    assert said.code == 3
    assert said.first.startswith("NOT ALL DELIVERED: 3 records are left in ")
    assert lock.holder(tmp_path) is lock.holder(tmp_path, layout.SIDECAR_LOCK) is None, "it let go of the journal"


def test_a_record_that_the_database_refuses(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    journal = FileJournal.open(tmp_path)
    journal.append(b"no record")
    journal.close()
    said = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn)
    assert said.code == 1
    assert "1 were refused and are in audit.quarantine" in said.first


@pytest.mark.parametrize(
    ("delivery", "sentence"),
    [
        ("own", "and delivers it itself: `audit-wrapper status`"),
        ("sidecar", "leaves its delivery to a sidecar: use --follow"),
    ],
)
def test_not_while_a_bot_has_it(delivery: str, sentence: str, audit_dsn: str, tmp_path: Path, here: Here) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, delivery=delivery, ask_exchange="off"):
        until(lambda: (tmp_path / layout.HEARTBEAT).exists())
        said = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn)
    assert said.code == 3
    assert f"process {os.getpid()} writes the journal in {tmp_path}" in said.err
    assert sentence in said.err


def test_one_at_a_time(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    left_behind(tmp_path, 1)
    other = lock.FolderLock(tmp_path, layout.SIDECAR_LOCK)
    said = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn)
    other.release()
    assert said.code == 3
    assert f"process {os.getpid()} delivers the journal in {tmp_path} already" in said.err


def test_no_journal_and_no_database_named(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    said = here("deliver", "--journal", tmp_path / "no", "--dsn", audit_dsn)
    assert (said.code, said.err) == (
        2,
        f"there is no journal in {tmp_path / 'no'}: name the bot's folder (--journal or AUDIT_WRAPPER_JOURNAL)\n",
    )
    assert not (tmp_path / "no").exists()
    left_behind(tmp_path, 1)
    said = here("deliver", "--journal", tmp_path)
    assert said.code == 2
    assert "which database?" in said.err


# -- beside a bot


def test_beside_a_bot_that_trades(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, here: Here, postgres_server: Any
) -> None:
    """The bot and the sidecar are each killed and started again; everything arrives once."""
    told: list[str] = []
    with following(audit_dsn, tmp_path):  # before there is a journal
        with trading(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_DELIVERY="sidecar") as bot:
            bot.trade(5)
            before = events(postgres_server, audit_dsn)
            until(lambda: events(postgres_server, audit_dsn) > before)
        told += bot.told
        with trading(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_DELIVERY="sidecar") as bot:
            bot.trade(5)
            assert "RECORDING, " in (first := here("status", "--journal", tmp_path, "--dsn", audit_dsn).first)
            assert "NOT DELIVERING" not in first
        told += bot.told
    with trading(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_DELIVERY="sidecar") as bot:
        bot.trade(3)  # meanwhile there is no sidecar
        with following(audit_dsn, tmp_path) as sidecar:
            bot.trade(3)
            until(lambda: (mark := read_mark(tmp_path)) is not None and mark.pid == sidecar.pid)
            bot.kill()
            said = asked_to_end(sidecar)
            assert (said.code, said.err.splitlines()[-1]) == (0, "ended")
    told += bot.told
    rows = fetched(postgres_server, audit_dsn, "SELECT order_id FROM monitoring.orders WHERE order_id IS NOT NULL")
    assert set(told) <= set(rows)
    assert len(rows) == len(set(rows)), "an order is there twice"
    (mark,) = fetched(postgres_server, audit_dsn, "SELECT delivered_seq FROM audit.streams")
    assert mark == events(postgres_server, audit_dsn), "and nothing was left out"


async def test_the_bot_knows_what_is_delivered(audit_dsn: str, tmp_path: Path) -> None:
    with following(audit_dsn, tmp_path):
        async with AuditTrail.open(
            audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=20
        ) as trail:
            record(trail, 5)
            assert await trail.flush(60)
            assert trail.status().store == "connected"
            assert trail.status().lag == 0
            assert (await trail.reconcile()).asked == 0, "what it reads of the store it reads itself"
            record(trail, 3)
        assert trail.close(), "it waits for the sidecar for as long as it would deliver itself"


def test_files_go_once_they_are_delivered(audit_dsn: str, tmp_path: Path) -> None:
    with AuditTrail.open(
        audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", keep_delivered_days=0, close_timeout_s=0.1
    ) as trail:
        for _ in range(6):
            record(trail, 3)
            trail._pipeline.journal._writer._turn("")  # type: ignore[attr-defined]
        time.sleep(1.2)  # it tends twice a second
        assert len(layout.segment_paths(tmp_path)) == 7, "what is not delivered stays, however old"
        with following(audit_dsn, tmp_path):
            until(lambda: len(layout.segment_paths(tmp_path)) == 1)


def test_two_of_them_exclude_each_other(audit_dsn: str, tmp_path: Path) -> None:
    left_behind(tmp_path, 1)
    with following(audit_dsn, tmp_path) as first:
        until(lambda: lock.holder(tmp_path, layout.SIDECAR_LOCK) == first.pid)
        with following(audit_dsn, tmp_path) as second:
            said = ended(second)
        assert said.code == 3
        assert f"process {first.pid} delivers the journal in {tmp_path} already" in said.err
        said = asked_to_end(first, signal.SIGINT)
        assert (said.code, said.err.splitlines()[-1]) == (0, "ended")


def test_not_beside_a_bot_that_delivers_itself(audit_dsn: str, tmp_path: Path) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off"):
        until(lambda: (tmp_path / layout.HEARTBEAT).exists())
        with following(audit_dsn, tmp_path) as sidecar:
            said = ended(sidecar)
    assert said.code == 3
    assert 'open its trail with delivery="sidecar"' in said.err


def test_a_bot_that_delivers_itself_beside_a_sidecar_that_was_there_first(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, here: Here
) -> None:
    """By mistake: what is recorded arrives once, and both sides say what is wrong."""
    left_behind(tmp_path, 50)
    with stepping(audit_dsn, tmp_path) as sidecar:
        until(lambda: read_mark(tmp_path) is not None)
        with AuditTrail.open(
            audit_dsn, journal=tmp_path, delivery="own", ask_exchange="off", delivery_pause_s=0.01, delivery_batch=7
        ) as trail:
            for _ in range(40):
                record(trail, 5)
                time.sleep(0.01)
            until(lambda: trail.status().lag == 0)
            until(lambda: (mark := read_mark(tmp_path)) is not None and mark.delivered_seq == 250)
            until(lambda: last_beat(tmp_path) is not None)
            said = here("status", "--journal", tmp_path, "--dsn", audit_dsn)
            assert (said.code, trail.status().quarantined) == (1, 0)
            assert f"process {os.getpid()} delivers this journal as well as the bot" in said.out
            until(lambda: bool(sidecar.failures.counts))
            assert not trail.status().failures.keys() - {"database away"}, "they may have been in each other's way"
    assert sidecar.failures.counts.keys() == {"the bot delivers too"}
    assert 'open its trail with delivery="sidecar", or end this sidecar' in str(sidecar.failures.last)
    query = "SELECT count(*) AS n, count(DISTINCT record_id) AS one_each, min(seq), max(seq) FROM audit.events"
    assert fetched(postgres_server, audit_dsn, query) == [(250, 250, 1, 250)]
    assert fetched(postgres_server, audit_dsn, "SELECT delivered_seq FROM audit.streams") == [250]
    assert fetched(postgres_server, audit_dsn, "SELECT count(*) FROM audit.quarantine") == [0]


def test_a_bot_that_delivered_itself_before_is_not_taken_for_one_that_does(tmp_path: Path) -> None:
    """It has been started anew with another setting, and has not said so yet."""
    left_behind(tmp_path, 1)
    journal = FileJournal.open(tmp_path)
    sidecar = Sidecar(Settings.load({"dsn": AWAY, "journal": tmp_path}, {}))
    sidecar.step()
    assert lock.holder(tmp_path, layout.SIDECAR_LOCK) == os.getpid()
    sidecar.stop(0)
    journal.close()


def test_what_a_forked_process_leaves_is_delivered_once_it_ended(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    left_behind(tmp_path, 1)
    left_behind(tmp_path / "fork-99997", 2)
    settled = 1_000_000_000
    os.utime(tmp_path / "fork-99997", (settled, settled))
    with following(audit_dsn, tmp_path):
        until(lambda: not list(tmp_path.glob("fork-*")))
        until(lambda: events(postgres_server, audit_dsn) == 3)


async def test_a_journal_that_the_database_knows_otherwise_goes_on_as_a_stream_of_its_own(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    """An older copy of the folder is put back: only the bot can begin a new stream, and the sidecar asks it to."""
    folder, copy = tmp_path / "journal", tmp_path / "copy"
    with following(audit_dsn, folder):
        async with AuditTrail.open(audit_dsn, journal=folder, delivery="sidecar", ask_exchange="off") as trail:
            record(trail, 2)
            assert await trail.flush(60)
        shutil.copytree(folder, copy)
        async with AuditTrail.open(audit_dsn, journal=folder, delivery="sidecar", ask_exchange="off") as trail:
            record(trail, 3)
            assert await trail.flush(60)
    shutil.rmtree(folder)
    copy.rename(folder)
    with following(audit_dsn, folder):
        async with AuditTrail.open(audit_dsn, journal=folder, delivery="sidecar", ask_exchange="off") as trail:
            record(trail, 4)
            assert await trail.flush(60)
            assert trail.status().failures.keys() >= {"journal and database differ"}
    assert events(postgres_server, audit_dsn) == 9
    assert fetched(postgres_server, audit_dsn, "SELECT count(*) FROM audit.streams") == [2]


def test_a_database_that_is_away_for_a_while(audit_dsn: str, tmp_path: Path, postgres_server: Any, here: Here) -> None:
    with (
        AuditTrail.open(AWAY, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1) as trail,
        following(AWAY, tmp_path),
    ):
        record(trail, 2)
        until(lambda: "Connect call failed" in (trail.status().last_error or ""))
        said = here("status", "--journal", tmp_path)
        assert said.code == 1
        assert said.first.startswith("RECORDING, BUT NOT DELIVERING: ")
    assert threading.active_count() < 20


FORKING = """
import os, sys
from audit_wrapper import AuditTrail
trail = AuditTrail.open(os.environ["DSN"], journal=sys.argv[1], delivery="sidecar", ask_exchange="off", close_timeout_s=0.1)
trail._recorder.missing("the parent's")
child = os.fork()
if child == 0:
    trail._recorder.missing("the child's")
    assert not trail.close(), "nobody delivers for a child that lives"
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
trail.close()
"""


def test_a_forked_child_of_a_bot_with_a_sidecar(audit_dsn: str, tmp_path: Path, postgres_server: Any) -> None:
    subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], env=environ(DSN=audit_dsn), check=True, timeout=60)
    (left,) = tmp_path.glob("fork-*")
    os.utime(left, (1_000_000_000, 1_000_000_000))  # long ago: nobody is just making it
    with following(audit_dsn, tmp_path):
        until(lambda: not left.exists())
        until(lambda: events(postgres_server, audit_dsn) == 2)


def damaged(folder: Path) -> str:
    """A journal of 15 records of which nothing is delivered, and one cannot be read; returns what is to be said of it."""
    with AuditTrail.open(AWAY, journal=folder, ask_exchange="off", close_timeout_s=0.1) as trail:
        record(trail, 10)
        trail._pipeline.journal._writer._turn("")  # type: ignore[attr-defined]
        record(trail, 5)
    path = layout.segment_paths(folder)[0]  # the bot looks at the last one only when it starts
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b"\xff" * (len(lines[4]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    return "entries 4 to 4 cannot be read"


def gaps(server: Any, dsn: str) -> list[str]:
    """What is missing, by the records that say so; without those that `record` made."""
    query = "SELECT body->>'reason' FROM audit.events WHERE kind = 'gap' ORDER BY seq"
    return [reason for reason in fetched(server, dsn, query) if "cannot be read" in reason]


def test_damage_that_the_sidecar_finds_is_written_down_by_the_bot(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    words = damaged(tmp_path)
    with AuditTrail.open(
        audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1
    ) as trail:
        assert trail.status().damage == ()
        with following(audit_dsn, tmp_path):
            until(lambda: events(postgres_server, audit_dsn) == 15)  # 14, and the one that says what is missing
            (sentence,) = trail.status().damage
            assert words in sentence
            until(lambda: (mark := read_mark(tmp_path)) is not None and mark.damage == ())  # the bot has said so itself
            assert trail.status().failures["journal damaged"] == 1
    assert gaps(postgres_server, audit_dsn) == [sentence]


async def test_damage_is_written_down_once_however_often_the_bot_is_started(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    words = damaged(tmp_path)
    with stepping(audit_dsn, tmp_path):
        for _ in range(3):
            async with AuditTrail.open(
                audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1
            ) as trail:
                until(lambda: any(words in one for one in gaps(postgres_server, audit_dsn)))
                assert await trail.flush(20)
    assert len(gaps(postgres_server, audit_dsn)) == 1


async def test_damage_that_is_found_while_no_bot_runs(audit_dsn: str, tmp_path: Path, postgres_server: Any) -> None:
    """Nobody is there to write it down, and then the sidecar ends: the next run of the bot does."""
    words = damaged(tmp_path)
    with stepping(audit_dsn, tmp_path):
        until(lambda: (mark := read_mark(tmp_path)) is not None and mark.delivered_seq == 15)
    assert gaps(postgres_server, audit_dsn) == []
    with stepping(audit_dsn, tmp_path):
        for _ in range(2):
            async with AuditTrail.open(
                audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1
            ) as trail:
                until(lambda: len(gaps(postgres_server, audit_dsn)) > 0)
                assert await trail.flush(20)
    (sentence,) = gaps(postgres_server, audit_dsn)
    assert words in sentence


async def test_damage_that_a_run_wrote_down_before_it_was_killed(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    """Its last sign of life does not say so, and the database does not have it yet: its journal has."""
    words = damaged(tmp_path)
    with stepping(audit_dsn, tmp_path):
        until(lambda: (mark := read_mark(tmp_path)) is not None and mark.delivered_seq == 15)
    mark = read_mark(tmp_path)
    assert mark is not None
    (sentence,) = mark.damage
    assert words in sentence
    with AuditTrail.open(AWAY, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1) as trail:
        record(trail, 500)
        trail._recorder.missing(sentence)
        record(trail, 500)
    async with AuditTrail.open(
        audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1
    ) as trail:
        with stepping(audit_dsn, tmp_path):
            assert await trail.flush(20)
            until(lambda: (mark := read_mark(tmp_path)) is not None and mark.is_due and mark.damage == ())
            record(trail, 1)
            assert await trail.flush(20)
    assert gaps(postgres_server, audit_dsn) == [sentence]
