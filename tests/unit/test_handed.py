"""A bot that leaves delivery to a sidecar: what it makes of the sidecar's mark."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from audit_wrapper import AuditTrail
from audit_wrapper.errors import SettingsError
from audit_wrapper.failures import Failures
from audit_wrapper.handed import Handed
from audit_wrapper.journal import FileJournal, layout
from audit_wrapper.mark import Mark, read_mark, write_mark


class Rig:
    """`say` writes a mark as the sidecar does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = FileJournal.open(folder, segment_bytes=200, keep_delivered_s=0)
        self.failures = Failures()
        self.damage: list[str] = []
        self.opened_at = datetime.now(UTC)
        self.handed = Handed(self.journal, self.failures, self.journal.tend, None, self.damage.append, self.opened_at)

    def say(self, seq: int, **values: Any) -> None:
        mark = {
            "stream": self.journal.stream,
            "delivered_seq": seq,
            "quarantined": 0,
            "store": "connected",
            "problem": None,
            "branch_after": None,
            "opened_at": self.opened_at,
            "damage": (),
            "is_due": True,
            "pid": os.getpid(),
            "written_at": datetime.now(UTC),
        }
        write_mark(self.folder, Mark(**{**mark, **values}))

    def append(self, n: int) -> None:
        for _ in range(n):
            self.journal.append(b"x" * 100)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.handed.stop(0)
    made.journal.close()


def test_whoever_waits_is_told_when_the_sidecar_has_it(rig: Rig) -> None:
    rig.append(3)
    rig.say(2)
    rig.handed.start()
    waiter = rig.handed.reached(3)
    until(lambda: rig.handed.delivered_seq == 2)
    assert not waiter.done()
    assert (rig.handed.state, rig.handed.problem) == ("connected", None)
    rig.say(3)
    waiter.result(20)
    assert rig.handed.delivered_seq == 3


def test_what_is_delivered_is_taken_away_and_nothing_else(rig: Rig) -> None:
    rig.append(10)
    before = len(layout.segment_paths(rig.folder))
    rig.say(0)
    rig.handed.start()
    until(lambda: rig.handed.state == "connected")
    assert len(layout.segment_paths(rig.folder)) == before
    rig.say(5)
    until(lambda: len(layout.segment_paths(rig.folder)) < before)
    assert [entry.seq for entry in rig.journal.read(5, 10)] == [6, 7, 8, 9, 10]


def test_a_mark_of_another_stream_or_of_what_is_not_there_counts_for_nothing(rig: Rig) -> None:
    rig.append(3)
    rig.say(3, stream=uuid4())
    rig.handed._look()
    assert rig.handed.delivered_seq == 0
    rig.say(4)
    rig.handed._look()
    assert rig.handed.delivered_seq == 0
    (rig.folder / layout.MARK).write_text("{ hal")
    rig.handed._look()
    assert (rig.handed.delivered_seq, read_mark(rig.folder)) == (0, None)


def test_no_sidecar_is_a_problem_and_closing_does_not_wait_for_one(rig: Rig) -> None:
    rig.append(1)
    rig.say(0, written_at=datetime.now(UTC) - timedelta(minutes=1))
    rig.handed.start()
    until(lambda: rig.handed.problem is not None)
    assert "no sidecar delivers" in str(rig.handed.problem)
    waiter = rig.handed.reached(1)
    began = time.monotonic()
    assert not rig.handed.stop(60)
    assert time.monotonic() - began < 10
    assert waiter.done(), "nobody waits for what has ended"


def test_a_sidecar_that_never_came_is_counted_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_wrapper.handed.STALE_S", -1.0)
    for _ in range(3):
        rig.handed._look()
    assert rig.failures.counts == {"sidecar away": 1}
    rig.say(0)
    rig.handed._look()
    (rig.folder / layout.MARK).unlink()
    rig.handed._look()
    assert rig.failures.counts == {"sidecar away": 2}


def test_the_troubles_of_the_sidecar_are_those_of_the_trail(rig: Rig) -> None:
    rig.say(0, store="trying again: no route", problem="no route", quarantined=2)
    rig.handed._look()
    assert (rig.handed.state, str(rig.handed.problem)) == ("trying again: no route", "no route")
    assert rig.handed.quarantined == 2


def test_damage_that_the_sidecar_found_is_written_down_once(rig: Rig) -> None:
    for _ in range(2):
        rig.say(0, damage=("entry 3 is broken",))
        rig.handed._look()
    assert rig.damage == ["entry 3 is broken"]
    assert rig.handed.damage == ("entry 3 is broken",)


def test_damage_waits_until_it_is_known_what_an_earlier_run_wrote_down(rig: Rig) -> None:
    rig.say(0, damage=("entry 3 is broken",), is_due=False)
    rig.handed._look()
    assert (rig.damage, rig.handed.damage) == ([], ())


def test_what_is_said_to_an_earlier_run_counts_for_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of a journal in whose place an older copy was put since."""
    rig.append(3)
    earlier = rig.opened_at - timedelta(minutes=1)
    rig.say(3, opened_at=earlier, damage=("entry 3 is broken",), branch_after=1)
    before = rig.journal.stream
    rig.handed._look()
    assert (rig.handed.delivered_seq, rig.damage, rig.journal.stream) == (0, [], before)
    assert (rig.handed.state, rig.handed.problem) == ("waiting for the sidecar", None)
    rig.handed._began -= 60
    rig.handed._look()
    assert "an earlier run" in rig.handed.state
    assert rig.failures.counts == {"sidecar away": 1}
    rig.say(3)
    rig.handed._look()
    assert (rig.handed.delivered_seq, rig.handed.problem) == (3, None)


@pytest.mark.parametrize(("minutes", "fresh"), [(0, True), (-1, False), (1, False), (600, False)])
def test_a_mark_of_the_time_to_come_is_no_sign_of_life(rig: Rig, minutes: int, fresh: bool) -> None:
    """The clock was set back since it was written."""
    rig.say(0, written_at=datetime.now(UTC) + timedelta(minutes=minutes))
    mark = read_mark(rig.folder)
    assert mark is not None
    assert mark.is_fresh is fresh


def test_whatever_goes_wrong_it_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [RuntimeError("a bug"), KeyError("another")]

    def broken(folder: Path) -> Mark | None:
        if problems:
            raise problems.pop()
        return read_mark(folder)

    monkeypatch.setattr("audit_wrapper.handed.read_mark", broken)
    rig.append(1)
    rig.say(1)
    rig.handed.start()
    rig.handed.reached(1).result(20)
    assert rig.handed.runs
    assert rig.failures.counts == {"following the sidecar": 2}


def test_the_sidecar_may_ask_for_a_new_stream(rig: Rig) -> None:
    rig.append(5)
    before = rig.journal.stream
    rig.say(5, branch_after=2)
    for _ in range(2):  # what is asked for once is done once
        rig.handed._look()
    assert rig.journal.stream != before
    assert (rig.journal.stream_after, rig.handed.delivered_seq) == (2, 2)
    assert rig.failures.counts == {"journal and database differ": 1}
    assert [found.what for found in rig.journal.damage] == ["diverged"]


def test_it_needs_a_database_of_the_users(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a dsn"):
        AuditTrail.open(journal=tmp_path, delivery="sidecar")
    FileJournal.open(tmp_path).close()  # and the journal was let go of


async def test_flush_says_what_is_left(tmp_path: Path) -> None:
    with AuditTrail.open(
        "postgresql://nobody@127.0.0.1:1/x", journal=tmp_path, delivery="sidecar", close_timeout_s=0.1
    ) as trail:
        trail._recorder.missing("a record")
        report = await trail.flush(0.2)
        assert (bool(report), report.undelivered) == (False, 1)
        assert "database away" not in trail.status().failures
