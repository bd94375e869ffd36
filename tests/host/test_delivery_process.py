"""A bot that delivers in a process of its own (`delivery="process"`): what it says, and what becomes of that process."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from looking import AWAY, Here, delivering, environ, record, until
from reckoning import fetched

from audit_wrapper import AuditTrail, attendant, following
from audit_wrapper.journal import layout
from audit_wrapper.journal.lock import FolderLock, holder

SECRET = "hunter2-of-the-database"


def process_of(trail: AuditTrail) -> int:
    """The process that delivers for this trail, once it does."""
    until(lambda: trail.status().store == "connected")
    (pid,) = delivering(Path(trail.status().journal))
    return pid


def opened(dsn: str | None, journal: Path, **settings: Any) -> AuditTrail:
    return AuditTrail.open(dsn, journal=journal, **{"delivery": "process", "ask_exchange": "off", **settings})


def events(server: Any, dsn: str) -> list[int]:
    """The numbers of the records in the database."""
    return fetched(server, dsn, "SELECT seq FROM audit.events ORDER BY seq")


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    for name in list(os.environ):
        if name.startswith("AUDIT_WRAPPER_"):
            monkeypatch.delenv(name)
    return Here(capsys)


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    until(lambda: not delivering(tmp_path))


# -- delivering


async def test_everything_arrives_and_the_process_ends_with_the_trail(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    async with opened(audit_dsn, tmp_path) as trail:
        pid = process_of(trail)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10), (
            "the bot comes first"
        )
        for n in range(5):
            record(trail, 20)
            assert await trail.flush(), "by the process"
            assert events(postgres_server, audit_dsn) == list(range(1, 20 * (n + 1) + 1))
        record(trail, 7)
        status = trail.status()
        assert (status.failures, status.last_error, status.damage) == ({}, None, ())
    assert trail.close(), "what was recorded last was delivered by `close`"
    assert events(postgres_server, audit_dsn) == list(range(1, 108))
    assert not Path(f"/proc/{pid}").exists()
    assert holder(tmp_path, layout.SIDECAR_LOCK) is None


async def test_flush_does_not_wait_for_a_pause(audit_dsn: str, tmp_path: Path) -> None:
    async with opened(audit_dsn, tmp_path, delivery_pause_s=3_600) as trail:
        process_of(trail)
        for _ in range(3):
            record(trail, 2)
            assert await trail.flush()


async def test_flush_waits_until_orders_are_linked(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, mocker: Any
) -> None:
    """What flush promises; the mark of a sidecar is there a moment before."""
    answer = {"id": "42", "symbol": "BTC/USDT:USDT", "status": "closed", "amount": 1, "filled": 1, "average": 5}
    manager = mocker.AsyncMock()
    manager.name = "binance"
    manager.create_market_order.return_value = {**answer, "side": "buy", "type": "market"}
    async with opened(audit_dsn, tmp_path) as trail:
        await trail.wrap({"binance": manager})["binance"].create_market_order("BTCUSDT", "buy", 1)
        assert await trail.flush()
        postgres_server.run(_insert_position(audit_dsn))
        record(trail, 1)
        assert await trail.flush()
        assert fetched(postgres_server, audit_dsn, "SELECT position_id FROM monitoring.orders") == ["7"]


async def _insert_position(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO monitoring.positions (id, symbol, exchange, side, quantity, entry_price, status, exchange_order_id) "
            "VALUES (7, 'BTCUSDT', 'binance', 'long', 1, 5, 'active', '42')"
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("how", ["with", "at exit"])
def test_a_script_that_is_over_before_the_process_runs(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, how: str
) -> None:
    script = f"""
from audit_wrapper import AuditTrail
trail = AuditTrail.open({audit_dsn!r}, journal={str(tmp_path)!r}, delivery="process", ask_exchange="off", close_timeout_s=30)
for _ in range(3):
    trail._recorder.missing("something")
{"assert trail.close()" if how == "with" else ""}
"""
    subprocess.run([sys.executable, "-c", script], env=environ(), check=True, timeout=60)
    assert events(postgres_server, audit_dsn) == [1, 2, 3]


async def test_opening_and_recording_wait_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit_dsn: str
) -> None:
    """Also where starting a process hangs."""
    may_start = threading.Event()
    start = subprocess.Popen

    def late(*args: Any, **kwargs: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        assert may_start.wait(30)
        return start(*args, **kwargs)

    monkeypatch.setattr(attendant.subprocess, "Popen", late)
    async with opened(audit_dsn, tmp_path, close_timeout_s=30) as trail:
        record(trail, 3)
        assert (trail.status().store, trail.status().lag) == ("starting", 3)
        assert not await trail.flush(0.05)
        may_start.set()
        assert await trail.flush()


# -- what is seen of it from outside


async def test_no_password_is_shown(tmp_path: Path) -> None:
    dsn = f"postgresql://bot:{SECRET}@127.0.0.1:1/bot"
    async with opened(dsn, tmp_path, close_timeout_s=0.1) as trail:
        until(lambda: trail.status().failures.get("database away"))
        (pid,) = delivering(tmp_path)
        shown = (Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes())
        assert SECRET.encode() not in b"".join(shown)
        assert SECRET not in str(trail.status())


async def test_what_the_bot_has_open_stays_the_bots(audit_dsn: str, tmp_path: Path) -> None:
    with (tmp_path / "the bot's").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        async with opened(audit_dsn, tmp_path / "journal") as trail:
            pid = process_of(trail)
            theirs = {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()}
    assert file.name not in theirs
    assert os.path.realpath(tmp_path / "journal" / layout.LOCK) not in theirs


# -- its end


async def test_one_that_was_killed_comes_back(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(audit_dsn, tmp_path) as trail:
        for n in range(2):
            killed = process_of(trail)
            os.kill(killed, signal.SIGKILL)
            record(trail, 5)
            assert await trail.flush()
            assert trail.status().failures == {"delivery process": n + 1}
            assert f"process {killed} has ended: SIGKILL" in (trail.status().last_error or "")
            assert trail.status().store == "connected"
    assert events(postgres_server, audit_dsn) == list(range(1, 11))
    said = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert len(said) == 1, "once per kind"
    assert "Nothing is lost; it begins again in 0.1 s" in said[0]


async def test_one_that_was_killed_just_before_the_end(audit_dsn: str, tmp_path: Path, postgres_server: Any) -> None:
    trail = opened(audit_dsn, tmp_path, close_timeout_s=30)
    os.kill(process_of(trail), signal.SIGKILL)
    record(trail, 5)
    assert trail.close()
    assert events(postgres_server, audit_dsn) == [1, 2, 3, 4, 5]


async def test_signals_are_for_the_bot(audit_dsn: str, tmp_path: Path) -> None:
    async with opened(audit_dsn, tmp_path) as trail:
        pid = process_of(trail)
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, sign)
            record(trail, 1)
            assert await trail.flush()
        assert process_of(trail) == pid
        assert trail.status().failures == {}


async def test_one_that_hangs_is_told_of_and_replaced(
    audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attendant, "STALE_S", 4.0)  # a mark comes every two seconds
    trail = opened(audit_dsn, tmp_path, close_timeout_s=0.2)
    silent = process_of(trail)
    os.kill(silent, signal.SIGSTOP)
    record(trail, 1)
    assert await trail.flush(), "by another one"
    assert trail.status().failures == {"delivery process": 2}, "that it was silent, and that it has ended"
    assert f"process {silent} has ended: SIGKILL" in (trail.status().last_error or "")
    assert "has said nothing" in caplog.text
    pid = process_of(trail)
    until(lambda: time.monotonic() - (trail._pipeline.delivery._attendant._heard_at or 0) > 2)  # type: ignore[union-attr]
    os.kill(pid, signal.SIGSTOP)
    record(trail, 1)
    left = trail.close()
    assert (left.complete, left.undelivered) == (False, 1)
    assert not Path(f"/proc/{pid}").exists()
    assert "has ended" not in caplog.text, "it was the bot's doing"


async def test_one_that_had_no_time_to_begin_goes_on_without_the_bot(
    audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    trail = opened(audit_dsn, tmp_path, close_timeout_s=30)
    record(trail, 3)
    trail._close(0.0)
    until(lambda: events(postgres_server, audit_dsn) == [1, 2, 3])
    assert trail.status().failures == {}


@pytest.mark.parametrize("frozen", [True, False])
async def test_where_no_python_can_be_started_a_thread_delivers(
    audit_dsn: str,
    tmp_path: Path,
    postgres_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    frozen: bool,
) -> None:
    if frozen:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "/opt/bot/trading-bot")
    monkeypatch.setattr(attendant.subprocess, "Popen", None)
    async with opened(audit_dsn, tmp_path) as trail:
        record(trail, 3)
        assert await trail.flush()
        assert trail.status().failures == {}
        record(trail, 2)
    assert trail.close()
    assert events(postgres_server, audit_dsn) == [1, 2, 3, 4, 5]
    assert "delivers on a thread of the bot" in caplog.text


async def test_where_starting_is_refused_a_thread_delivers(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(attendant.subprocess, "Popen", refuse)
    async with opened(audit_dsn, tmp_path) as trail:
        record(trail, 3)
        assert await trail.flush()
        assert trail.status().failures == {"delivery process": 3}
        assert "delivers on a thread" in (trail.status().last_error or "")
    assert events(postgres_server, audit_dsn) == [1, 2, 3]


async def test_what_a_process_says_that_cannot_run(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 'no room for this' >&2\nexit 3\n", encoding="ascii")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    async with opened(audit_dsn, tmp_path / "journal") as trail:
        record(trail, 3)
        assert await trail.flush()
        assert trail.status().failures == {"delivery process": 3}
        assert "exit code 3; no room for this" in (trail.status().last_error or "")
    assert events(postgres_server, audit_dsn) == [1, 2, 3]


async def test_a_bot_that_reaps_whatever_ends(audit_dsn: str, tmp_path: Path) -> None:
    """As some supervisors do: it takes the end of our process from us."""

    def reap(*_: Any) -> None:
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    before = signal.signal(signal.SIGCHLD, reap)
    try:
        async with opened(audit_dsn, tmp_path) as trail:
            os.kill(process_of(trail), signal.SIGKILL)
            record(trail, 2)
            assert await trail.flush()
            assert trail.status().failures == {"delivery process": 1}
        assert trail.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_a_bot_that_dies_of_broken_pipes(audit_dsn: str, tmp_path: Path) -> None:
    """SIGPIPE as C has it: a write of ours to a process that was killed just then must not be its end."""
    script = f"""
import asyncio, os, signal
from audit_wrapper import AuditTrail, attendant, following
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
say, killed = attendant._Process.say, []
def too_late(self, seq):
    if killed:
        return say(self, seq)
    pid = self._process.pid
    killed.append(pid)
    os.kill(pid, signal.SIGKILL)
    with self._lock:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        try:
            self._to.write(b"1\\n")
        except BrokenPipeError:
            return False
    raise AssertionError("it lives")
attendant._Process.say = too_late
trail = AuditTrail.open({audit_dsn!r}, journal={str(tmp_path)!r}, delivery="process", ask_exchange="off")
trail._recorder.missing("something")
assert asyncio.run(trail.flush())
assert killed
print(trail.status().failures)
"""
    ended = subprocess.run([sys.executable, "-c", script], env=environ(), timeout=60, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "{'delivery process': 1}\n"), ended


async def test_another_one_that_delivers_is_waited_for_and_told_of(
    audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a thread, where this test can hurry the waiting."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(following, "STALE_S", 0.0)
    monkeypatch.setattr(following, "_AGAIN_S", 0.05)
    other = FolderLock(tmp_path, layout.SIDECAR_LOCK)
    async with opened(audit_dsn, tmp_path, close_timeout_s=0.5) as trail:
        record(trail, 2)
        until(lambda: trail.status().failures.get("delivery process", 0) > 2)
        assert f"process {os.getpid()} delivers the journal" in (trail.status().last_error or "")
        other.release()
        assert await trail.flush()


# -- as good as a thread


BOTH = pytest.mark.parametrize("delivery", ["own", "process"])


@BOTH
def test_a_database_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture, delivery: str, here: Here) -> None:
    with opened(AWAY, tmp_path, delivery=delivery, close_timeout_s=0.1) as trail:
        record(trail, 2)
        until(lambda: trail.status().failures.get("database away", 0) >= 3)
        until(lambda: "Connect call failed" in (trail.status().last_error or ""))
        status = trail.status()
        assert status.store.startswith("trying again: ")
        assert status.failures.keys() == {"database away"}
        flushed = asyncio.run(trail.flush(0.1))
        assert (flushed.complete, flushed.undelivered) == (False, 2)
        assert "Connect call failed" in (flushed.problem or "")
        until(lambda: here("status", "--journal", tmp_path).first.startswith("RECORDING, BUT NOT DELIVERING: "))
    said = [one for one in caplog.records if one.levelname == "ERROR"]
    assert [one.audit["kind"] for one in said] == ["database away"]  # type: ignore[attr-defined]
    assert said[0].audit.keys() == {"event", "kind", "problem", "account", "journal"}  # type: ignore[attr-defined]
    left = trail.close()
    assert (left.undelivered, "Connect call failed" in (left.problem or "")) == (2, True)


@BOTH
async def test_a_flush_of_nothing_says_that_the_database_is_there(
    fresh_dsn: str, tmp_path: Path, postgres_server: Any, delivery: str
) -> None:
    async with opened(fresh_dsn, tmp_path, delivery=delivery) as trail:
        assert await trail.flush()
        assert fetched(postgres_server, fresh_dsn, "SELECT count(*) FROM monitoring.orders") == [0]


@BOTH
async def test_a_record_that_is_refused(audit_dsn: str, tmp_path: Path, delivery: str) -> None:
    async with opened(audit_dsn, tmp_path, delivery=delivery) as trail:
        record(trail, 1)
        trail._pipeline.journal.append(b"no record")
        record(trail, 1)
        assert await trail.flush()
        until(lambda: trail.status().quarantined == 1)
        assert trail.status().failures == {"record in quarantine": 1}
        assert (trail.status().last_error or "").startswith("record in quarantine: seq 2: ")
        assert trail.status().delivered_seq == 3


@BOTH
async def test_a_schema_that_is_newer(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audit_wrapper")
    postgres_server.run(
        _say(audit_dsn, "INSERT INTO audit.migrations (version, name, checksum) VALUES (9999, 'later', 'x')")
    )
    async with opened(audit_dsn, tmp_path, delivery=delivery, close_timeout_s=0.1) as trail:
        record(trail, 1)
        until(lambda: trail.status().failures.get("schema"))
        until(lambda: "upgrade audit_wrapper" in (trail.status().last_error or ""))
        until(lambda: "upgrade audit_wrapper" in trail.status().store)
        postgres_server.run(_say(audit_dsn, "DELETE FROM audit.migrations WHERE version = 9999"))
        assert await trail.flush()
        assert trail.status().failures.keys() == {"schema"}
    (again,) = [one for one in caplog.records if one.audit["event"] == "delivering_again"]  # type: ignore[attr-defined]
    assert again.getMessage() == "audit trail: the database takes records again, 1 wait for it"
    assert again.name == "audit_wrapper"


async def _say(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@BOTH
async def test_an_older_copy_of_the_journal(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, delivery: str
) -> None:
    folder, older = tmp_path / "journal", tmp_path / "older"
    async with opened(audit_dsn, folder, delivery=delivery) as trail:
        record(trail, 3)
        assert await trail.flush()
    shutil.copytree(folder, older)
    async with opened(audit_dsn, folder, delivery=delivery) as trail:
        record(trail, 3)
        assert await trail.flush()
    shutil.rmtree(folder)
    older.rename(folder)
    async with opened(audit_dsn, folder, delivery=delivery) as trail:
        record(trail, 3)
        assert await trail.flush()
        until(lambda: trail.status().failures == {"journal and database differ": 1, "journal damaged": 1})
    assert len(events(postgres_server, audit_dsn)) == 9
    assert fetched(postgres_server, audit_dsn, "SELECT count(*) FROM audit.streams") == [2]


@BOTH
async def test_damage_is_written_down_once(audit_dsn: str, tmp_path: Path, postgres_server: Any, delivery: str) -> None:
    with AuditTrail.open(AWAY, journal=tmp_path, ask_exchange="off", close_timeout_s=0.1) as trail:
        record(trail, 10)
        trail._pipeline.journal._writer._turn("")  # type: ignore[attr-defined]
        record(trail, 5)
    path = layout.segment_paths(tmp_path)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b"\xff" * (len(lines[4]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    found = "SELECT count(*) FROM audit.events WHERE kind = 'gap' AND body->>'reason' LIKE '%cannot be read%'"
    for _ in range(2):
        async with opened(audit_dsn, tmp_path, delivery=delivery) as trail:
            await trail.flush()
            until(lambda: fetched(postgres_server, audit_dsn, found) == [1])
    assert fetched(postgres_server, audit_dsn, found) == [1]


# -- with the embedded server


async def test_the_embedded_server(memory: Path) -> None:
    async with opened(None, memory / "journal", close_timeout_s=30) as trail:
        record(trail, 3)
        assert await trail.flush(120)
        status = trail.status()
        assert status.embedded == str(memory / "journal" / "postgres")
        dsn = status.database
        assert dsn is not None
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT count(*) FROM audit.events") == 3
        await connection.close()
        server = int((memory / "journal" / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(server, signal.SIGQUIT)
        until(lambda: not Path(f"/proc/{server}").exists())
        record(trail, 3)
        assert await trail.flush(120), "it was started again"
        os.kill(process_of(trail), signal.SIGKILL)
        record(trail, 3)
        assert await trail.flush(120)
    assert trail.close()
    assert not (memory / "journal" / "postgres" / "postmaster.pid").exists(), "it stops with the trail"


# -- beside it


def test_commands_beside_it(audit_dsn: str, tmp_path: Path, here: Here) -> None:
    with opened(audit_dsn, tmp_path) as trail:
        record(trail, 3)
        assert asyncio.run(trail.flush())
        pid = process_of(trail)
        row = rf"^delivery +0 behind; connected; process {pid} of the bot delivers$"
        shown = ("status", "--journal", tmp_path, "--dsn", audit_dsn)
        until(lambda: re.search(row, here(*shown).out, re.MULTILINE))  # a sign of life comes every two seconds
        said = here(*shown)
        assert (said.code, said.first) == (0, "RECORDING, 0 behind")
        said = here("deliver", "--journal", tmp_path, "--dsn", audit_dsn)
        assert said.code == 3
        assert "and delivers it itself: `audit-wrapper status`" in said.err
        said = here("deliver", "--follow", "--journal", tmp_path, "--dsn", audit_dsn)
        assert said.code == 3
        assert 'delivers it itself: open its trail with delivery="sidecar"' in said.err
        assert trail.status().failures == {}


async def test_metrics_are_the_bots(audit_dsn: str, tmp_path: Path, mocker: Any) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from audit_wrapper import metrics

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    mocker.patch.object(metrics, "_instruments", metrics.Instruments(provider.get_meter("audit_wrapper")))
    async with opened(audit_dsn, tmp_path) as trail:
        record(trail, 3)
        assert await trail.flush()
        found = {
            metric.name: metric.data.data_points
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
    (delivered,) = found["audit_wrapper.records.delivered"]
    assert delivered.value == 3
    assert delivered.attributes["kind"] == "gap"
    assert sum(point.sum for point in found["audit_wrapper.delivery.batch.size"]) == 3
