"""`audit-wrapper status` beside a real bot, after it, and without it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from looking import AWAY, Here, ended, process, record, trading, until
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail
from audit_wrapper.heartbeat import last_beat
from audit_wrapper.journal import FileJournal, layout
from audit_wrapper.journal.lock import FolderLock


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


def test_beside_a_bot_that_trades_and_after_it_was_killed(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, here: Here
) -> None:
    where = ("--journal", tmp_path, "--dsn", audit_dsn)
    with trading(exchange, audit_dsn, tmp_path) as bot:
        bot.trade(3)
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.store == "connected")
        said = here("status", *where)
        assert (said.code, said.err) == (0, "")
        assert said.first.startswith("RECORDING, ")
        found = here("status", *where, "--json").json
        assert (found["bot"]["writing"], found["bot"]["pid"]) == (True, bot.process.pid)
        assert found["bot"]["durable_seq"] >= 6, "an intent and its answer for each order"
        assert (found["database"]["problem"], found["database"]["quarantined"]) == (None, 0)
        assert (datetime.now(UTC) - datetime.fromisoformat(found["bot"]["last_record_at"])).total_seconds() < 20
    said = here("status", *where)
    assert said.code == 1
    assert said.first.startswith("NOT RUNNING since ")
    assert "it did not close (killed, or crashed)" in said.first
    # the process that delivered for the bot may go on for a while: what is behind is what this very command counted
    counted = re.search(r"([\d,]+) records wait in the journal", said.first)
    assert counted is not None
    waiting = int(counted[1].replace(",", ""))
    assert (f"{waiting:,} records are not in the database" in said.out) == (waiting > 0)
    assert here("deliver", *where).code == 0
    said = here("status", *where)
    assert "0 records wait in the journal" in said.first


def test_all_is_well(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    where = ("--journal", tmp_path, "--dsn", audit_dsn)
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 3)
        until(lambda: trail.status().lag == 0)
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.store == "connected")
        said = here("status", *where)
        assert (said.code, said.first) == (0, "RECORDING, 0 behind")
    said = here("status", *where)
    assert (said.code, said.err) == (0, "")
    assert said.first.endswith("0 records wait in the journal")


def test_the_bots_database_is_away(tmp_path: Path, here: Here) -> None:
    where = ("--journal", tmp_path, "--dsn", AWAY)
    with AuditTrail.open(AWAY, journal=tmp_path, ask_exchange="off", close_timeout_s=0.1) as trail:
        record(trail, 2)
        until(lambda: (b := last_beat(tmp_path)) and b.status.lag == 2 and b.status.store.startswith("trying"))
        said = here("status", *where)
        assert said.code == 1
        assert said.first.startswith("RECORDING, BUT NOT DELIVERING: ")
        assert said.first.endswith("; 2 records wait in the journal")
    said = here("status", *where)
    assert said.code == 1
    assert "2 records wait in the journal, as far as it knows; `audit-wrapper deliver` brings them in" in said.first
    assert "cannot reach nobody@127.0.0.1:1" in said.out


def test_only_from_here_the_database_is_away(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off"):
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.store == "connected")
        said = here("status", "--journal", tmp_path, "--dsn", AWAY)
    assert said.code == 1
    assert said.first.startswith("RECORDING, BUT THE DATABASE CANNOT BE READ FROM HERE: ")


def test_another_database_than_the_bots(audit_dsn: str, new_database: Any, audit_template: str, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("audit_wrapper.command.judging._STUCK_S", 0.0)
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 2)
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.store == "connected")
        said = here("status", "--journal", tmp_path, "--dsn", new_database(audit_template))
    assert said.code == 1
    assert "nothing went into this database yet: is it the one the bot delivers to?; 2 records wait" in said.first


def test_without_a_journal_the_database_tells(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    where = ("--journal", tmp_path / "elsewhere", "--dsn", audit_dsn)
    said = here("status", *where)
    assert said.code == 1
    assert said.first.startswith("NO RECORDS: ")
    with AuditTrail.open(audit_dsn, journal=tmp_path, account="main", ask_exchange="off") as trail:
        record(trail, 4)
    said = here("status", *where)
    assert (said.code, said.err) == (0, "")
    assert said.first.startswith("NO JOURNAL HERE; the database got its last record 20")
    (stream,) = here("status", *where, "--json").json["database"]["streams"]
    assert (stream["delivered_seq"], stream["account"]) == (4, "main")


def test_a_database_without_the_schema(fresh_dsn: str, tmp_path: Path, here: Here) -> None:
    said = here("status", "--journal", tmp_path, "--dsn", fresh_dsn)
    assert said.code == 3
    assert "no schema of the trail" in said.first


def test_nothing_to_look_at(tmp_path: Path, here: Here) -> None:
    said = here("status", "--journal", tmp_path)
    assert said.code == 3
    assert said.first.startswith("NOTHING CAN BE SEEN: there is no journal in ")
    assert here("status", "--journal", tmp_path, "--dsn", AWAY).code == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dsn", "mysql://x/y"], "dsn cannot be used"),
        (["--watch", "--json"], "choose one"),
        (["--nothing"], "no such option"),
    ],
)
def test_wrong_usage(words: list[str], sentence: str, tmp_path: Path, here: Here) -> None:
    said = here("status", "--journal", tmp_path, *words)
    assert said.code == 2
    assert sentence in said.err


def test_what_waits_in_folders_of_forks(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 1)
    left = FileJournal.open(tmp_path / "fork-99999")
    for _ in range(3):
        left.append(b"{}")
    where = ("--journal", tmp_path, "--dsn", audit_dsn, "--json")
    (beside,) = here("status", *where).json["bot"]["beside"]
    assert beside == {"folder": "fork-99999", "waiting": 3, "pid": os.getpid()}
    left.close()
    said = here("status", *where)
    assert said.code == 1
    assert said.json["wrong"] == [
        "records of forked processes wait for the next run, or for `audit-wrapper deliver`: fork-99999 (3)"
    ]


def test_quarantine_and_failures_are_told(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    where = ("--journal", tmp_path, "--dsn", audit_dsn)
    journal = FileJournal.open(tmp_path)
    journal.append(b"this is no record")
    journal.close()
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.quarantined == 1)
        assert trail.status().lag == 0
        said = here("status", *where)
        assert said.code == 1
        assert said.first.startswith("RECORDING, 0 behind. LOOK AT THIS: record in quarantine (")
        assert "1 records were refused by the database" in said.out


def test_a_bot_that_waits_for_a_sidecar(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    where = ("--journal", tmp_path, "--dsn", audit_dsn)
    with AuditTrail.open(audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off") as trail:
        record(trail, 2)
        until(lambda: (beat := last_beat(tmp_path)) is not None and beat.status.durable_seq == 2)
        said = here("status", *where)
        assert said.code == 1
        assert said.first.startswith("RECORDING, BUT NOT DELIVERING: no sidecar runs")
        assert said.first.endswith("; 2 records wait in the journal")


def test_bot_and_sidecar_in_containers_have_the_same_number(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    sidecar = FolderLock(tmp_path, layout.SIDECAR_LOCK)
    with AuditTrail.open(audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1):
        until(lambda: last_beat(tmp_path) is not None)
        said = here("status", "--journal", tmp_path, "--dsn", audit_dsn)
    sidecar.release()
    assert said.first.startswith("RECORDING"), said.first


def test_a_process_that_only_delivers_is_no_bot(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 1)
    journal, lock = FileJournal.open(tmp_path), FolderLock(tmp_path, layout.SIDECAR_LOCK, layout.DRAINS)
    journal.append(b"{}")
    said = here("status", "--journal", tmp_path, "--dsn", audit_dsn)
    journal.close()
    lock.release()
    assert said.first.startswith("NOT RUNNING since ")
    assert said.first.endswith(f"1 records wait in the journal; process {os.getpid()} delivers them")


def test_under_a_second_with_a_large_journal(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=1_000_000)
    for _ in range(60_000):
        journal.append(b"x" * 1_000)
    journal.close()
    began = time.monotonic()
    said = here("status", "--journal", tmp_path, "--dsn", audit_dsn, "--json")
    assert time.monotonic() - began < 1
    assert said.json["lag"] == 60_000


def test_open_questions_where_there_is_a_view(audit_dsn: str, tmp_path: Path, here: Here, postgres_server: Any) -> None:
    async def drop() -> None:
        connection = await asyncpg.connect(audit_dsn)
        try:
            await connection.execute("DROP VIEW audit.v_open_questions CASCADE")
        finally:
            await connection.close()

    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 2)  # each says that something is missing
    where = ("status", "--journal", tmp_path, "--dsn", audit_dsn, "--json")
    assert here(*where).json["database"]["questions"] == {"gap": 2}
    postgres_server.run(drop())
    assert here(*where).json["database"]["questions"] is None


def test_in_a_process_of_its_own_with_settings_of_the_environment(audit_dsn: str, tmp_path: Path) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 1)
    said = ended(process("status", AUDIT_WRAPPER_DSN=audit_dsn, AUDIT_WRAPPER_JOURNAL=str(tmp_path)))
    assert (said.code, said.err) == (0, "")
    assert "0 records wait" in said.first


def test_open_questions_by_kind(audit_dsn: str, tmp_path: Path, here: Here, postgres_server: Any) -> None:
    rows = (  # account, position, status, origin
        ("links", "7", "FILLED", "bot"),
        ("links", None, "FILLED", "bot"),  # unlinked: others of its account are linked
        ("links", None, "FILLED", "external"),  # not the bot's
        ("links", None, "REJECTED", "bot"),  # it came to nothing
        ("links", "7", "UNKNOWN", "bot"),
        ("without positions", None, "FILLED", "bot"),
        ("without positions", None, "UNKNOWN", "bot"),
    )

    async def make() -> None:
        connection = await asyncpg.connect(audit_dsn)
        try:
            await connection.executemany(
                "INSERT INTO monitoring.orders (account, position_id, status, origin, exchange, symbol, order_id, order_key) "
                "VALUES ($1, $2, $3, $4, 'x', 'A', 'id', gen_random_uuid())",
                rows,
            )
        finally:
            await connection.close()

    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 1)
    postgres_server.run(make())
    found = here("status", "--journal", tmp_path, "--dsn", audit_dsn, "--json").json
    assert found["database"]["questions"] == {"gap": 1, "unknown": 2, "unlinked": 1}


def test_watching_until_ctrl_c(audit_dsn: str, tmp_path: Path) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path, ask_exchange="off") as trail:
        record(trail, 1)
    running = process("status", "--watch", "--journal", tmp_path, "--dsn", audit_dsn, PYTHONUNBUFFERED="1")
    assert running.stdout is not None
    watchdog = threading.Timer(30, running.kill)
    watchdog.start()
    seen = 0
    for line in running.stdout:
        seen += "NOT RUNNING since" in line
        if seen == 2:  # it has looked again
            break
    running.send_signal(signal.SIGINT)
    said = ended(running)
    watchdog.cancel()
    assert (said.code, said.err, seen) == (0, "", 2)
