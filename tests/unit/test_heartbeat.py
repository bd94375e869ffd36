"""status.json: a sign of life in the journal's folder, which nobody's trade ever notices."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from audit_wrapper import AuditTrail, Status
from audit_wrapper.failures import Failures
from audit_wrapper.forks import side_folders
from audit_wrapper.heartbeat import Heartbeat, installed_version, last_beat
from audit_wrapper.journal import FileJournal, layout, verify
from audit_wrapper.journal.lock import FolderLock, holder
from audit_wrapper.settings import Settings
from audit_wrapper.testing import memory_trail

T = TypeVar("T")
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


def until(found: Callable[[], T | None], timeout_s: float = 20) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (one := found()) is not None:
            return one
        time.sleep(0.01)
    raise AssertionError("it never came")


def status(**given: object) -> Status:
    return Status(
        **{
            "recorded": 0,
            "durable_seq": 0,
            "delivered_seq": 0,
            "lag": 0,
            "waiting": 0,
            "quarantined": 0,
            "failures": {},
            "last_error": None,
            "damage": (),
            "disk_free_bytes": None,
            "outage_hours_left": None,
            "store": "starting",
            "journal": "j",
            "database": None,
            "embedded": None,
            **given,
        }  # type: ignore[arg-type]
    )


def test_it_says_who_lives_and_how_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_wrapper.delivery._BEAT_EVERY_S", 0.05)
    with AuditTrail.open(AWAY, journal=tmp_path, account="one", ask_exchange="off", close_timeout_s=0.1) as trail:
        trail._recorder.missing("a record")
        beat = until(lambda: b if (b := last_beat(tmp_path)) and b.status.store.startswith("trying again") else None)
        assert (beat.pid, beat.host, beat.account) == (os.getpid(), socket.gethostname(), "one")
        assert (beat.delivery, beat.version, beat.closed) == ("own", installed_version(), False)
        assert (beat.status.durable_seq, beat.status.lag, beat.status.failures) == (
            1,
            1,
            {"database away": beat.status.failures["database away"]},
        )
        later = until(lambda: b if (b := last_beat(tmp_path)) and b.written_at > beat.written_at else None)
        assert later.opened_at == beat.opened_at
    last = last_beat(tmp_path)
    assert last is not None
    assert last.closed
    assert last.status.durable_seq == 1


def test_it_goes_on_while_the_database_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_wrapper.delivery._BEAT_EVERY_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"
        with AuditTrail.open(dsn, journal=tmp_path, ask_exchange="off", close_timeout_s=0.1):
            waiting, _ = silent.accept()
            first = until(lambda: last_beat(tmp_path))
            until(lambda: b if (b := last_beat(tmp_path)) and b.written_at > first.written_at else None)
            waiting.close()


def test_one_that_cannot_be_written_is_noted_once(tmp_path: Path) -> None:
    failures = Failures()
    heartbeat = Heartbeat(tmp_path / "gone", status, failures, account="a", delivery="own")
    for _ in range(3):
        heartbeat.beat()
    assert failures.counts == {"writing status.json": 1}


def test_a_status_that_fails_harms_nobody(tmp_path: Path) -> None:
    def broken() -> Status:
        raise RuntimeError("a bug of ours")

    failures = Failures()
    Heartbeat(tmp_path, broken, failures, account="a", delivery="own").beat(closed=True)
    assert failures.counts == {"writing status.json": 1}


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert last_beat(tmp_path) is None
    (tmp_path / layout.HEARTBEAT).write_text("{")
    assert last_beat(tmp_path) is None


def test_a_sidecar_in_a_container_of_its_own_has_the_same_number(tmp_path: Path) -> None:
    """Both are process 1 there; here, this process is both."""
    sidecar = FolderLock(tmp_path, layout.SIDECAR_LOCK)
    with AuditTrail.open(AWAY, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1):
        assert until(lambda: last_beat(tmp_path)).pid == holder(tmp_path, layout.SIDECAR_LOCK)
    sidecar.release()
    last = last_beat(tmp_path)
    assert last is not None
    assert last.closed


def test_a_process_that_only_delivers_leaves_the_last_word_to_the_bot(tmp_path: Path) -> None:
    settings = Settings.load({"dsn": AWAY, "journal": tmp_path, "ask_exchange": "off", "close_timeout_s": 0.1}, {})
    trail = AuditTrail._open(settings, beats=False)
    until(lambda: "trying again" in trail.status().store or None)
    trail.close()
    assert last_beat(tmp_path) is None


def test_the_journal_does_not_mind_it(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    Heartbeat(tmp_path, status, Failures(), account="a", delivery="own").beat()
    (tmp_path / f"{layout.HEARTBEAT}{layout.UNBORN}").write_text("half a wri")  # as a kill leaves it
    journal.append(b"{}")
    journal.close()
    with_it = FileJournal.open(tmp_path)
    assert [entry.payload for entry in with_it.read(0, 10)] == [b"{}"]
    assert with_it.damage == ()
    with_it.close()
    assert list(verify(tmp_path)) == []
    assert side_folders(tmp_path) == []


def test_a_trail_in_memory_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with memory_trail() as trail:
        assert trail.status().store == "starting"
    assert list(tmp_path.iterdir()) == []
