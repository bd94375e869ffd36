"""The files of a journal: rotation, retention, how long the disk lasts, and reading and checking beside writing."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import read_all

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, upkeep, verify


def fill(journal: FileJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


def make_old(paths: list[Path], seconds: float = 7_200) -> None:
    old = time.time() - seconds
    for path in paths:
        os.utime(path, (old, old))


def firsts(folder: Path) -> list[int]:
    return [layout.first_seq_of(path) for path in layout.segment_paths(folder)]


# -- rotation


def test_a_new_file_is_begun_at_the_set_size_with_or_without_tending(tmp_path: Path) -> None:
    for name, tends in (("tended", True), ("untended", False)):
        with closing(FileJournal.open(tmp_path / name, segment_bytes=20_000)) as journal:
            for _ in range(400):
                journal.append(b"x" * 900)
                if tends:
                    journal.tend()
            *full, last = layout.segment_paths(tmp_path / name)
            assert all(20_000 <= layout.size(path) < 21_000 for path in full)
            assert layout.size(last) <= 21_000
            assert [entry.seq for entry in read_all(journal, 100)] == list(range(1, 401))
            assert list(verify(tmp_path / name)) == []
        assert list(verify(tmp_path / name)) == []


def test_a_file_is_not_written_for_longer_than_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_SEGMENT_S", 0.0)
    with closing(FileJournal.open(tmp_path)) as journal:
        journal.tend()
        assert firsts(tmp_path) == [1], "an empty file needs no successor"
        fill(journal, 3)
        journal.tend()
        fill(journal, 2)
        journal.tend()
        journal.tend()
    assert firsts(tmp_path) == [1, 4, 6]
    assert list(verify(tmp_path)) == []


def test_very_large_entries(tmp_path: Path) -> None:
    large = bytes(range(11, 256)) * 200_000  # 49 MB
    with closing(FileJournal.open(tmp_path)) as journal:
        for payload in (b"small", large, b"small", large):
            journal.append(payload)
        assert [entry.payload == large for entry in read_all(journal)] == [False, True, False, True]
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.append(b"small") == 5
        assert [len(entry.payload) for entry in journal.read(3, 10)] == [len(large)]
        assert journal.damage == ()


def test_the_descriptors_of_files_that_are_full_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("the system does not say which files a process has open")
    monkeypatch.setattr("audit_wrapper.journal.shelf._OPEN_FILES", 10)
    with closing(FileJournal.open(tmp_path, segment_bytes=1)) as journal:
        before = len(os.listdir(folder))
        fill(journal, 100)
        journal.tend()
        assert len(os.listdir(folder)) <= before + 10
        assert len(read_all(journal)) == 100
    assert len(os.listdir(folder)) < before


# -- retention


def test_only_what_is_delivered_and_old_enough_is_deleted(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=3_600)) as journal:
        fill(journal, 300)
        journal.tend()
        paths = layout.segment_paths(tmp_path)
        fourth = layout.first_seq_of(paths[3])
        journal.delivered(fourth)  # all of the first three, one entry of the fourth
        journal.tend()
        assert layout.segment_paths(tmp_path) == paths  # not old enough
        make_old(paths)
        journal.tend()
        assert layout.segment_paths(tmp_path) == paths[3:]
        assert journal.read(0, 1)[0].seq == fourth
        assert journal.damage == ()
        assert list(verify(tmp_path)) == []
        journal.delivered(300)
        journal.tend()
        assert layout.segment_paths(tmp_path) == paths[-1:]
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.append(b"x") == 301
        assert read_all(journal)
        assert journal.damage == ()
    assert list(verify(tmp_path)) == []


def test_what_is_delivered_is_kept_up_to_a_size(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_bytes=20_000)) as journal:
        fill(journal, 300)
        journal.delivered(150)
        journal.tend()
        delivered = [
            path for path, end in zip(layout.segment_paths(tmp_path), firsts(tmp_path)[1:], strict=False) if end <= 151
        ]
        assert 10_000 < sum(map(layout.size, delivered)) <= 20_000
        assert {*range(151, 301)} <= {entry.seq for entry in read_all(journal)}, "and what is not delivered, all of it"
        journal.delivered(300)
        journal.tend()
        assert 10_000 < journal.bytes_on_disk < 28_000
        assert journal.damage == ()
    assert list(verify(tmp_path)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30), st.booleans()), min_size=1, max_size=12),
    keep=st.sampled_from([0, 1_000, 4_000]),
)
def test_what_is_not_delivered_is_never_deleted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], keep: int
) -> None:
    """Whatever is appended and delivered in between, however old it is, through restarts."""
    folder = tmp_path_factory.mktemp("journal")
    delivered = 0
    journal = FileJournal.open(folder, segment_bytes=700, keep_delivered_s=0, keep_delivered_bytes=keep)
    try:
        for appends, deliveries, restart in steps:
            fill(journal, appends)
            delivered = min(delivered + deliveries, journal.durable_seq)
            journal.delivered(delivered)
            make_old(layout.segment_paths(folder))
            journal.tend()
            if restart:
                journal.close()
                journal = FileJournal.open(folder, segment_bytes=700, keep_delivered_s=0, keep_delivered_bytes=keep)
            entries = journal.read(delivered, 1000)
            assert [entry.seq for entry in entries] == [*range(delivered + 1, journal.durable_seq + 1)]
            assert journal.damage == ()
            assert list(verify(folder)) == []
    finally:
        journal.close()


def test_a_damaged_file_is_set_aside_instead_of_deleted(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=0)) as journal:
        for _ in range(2):  # the second time under the same name
            fill(journal, 100)
            victim = layout.segment_paths(tmp_path)[1]
            content = victim.read_bytes()
            damaged = content[:-50] + bytes([content[-50] ^ 1]) + content[-49:]
            victim.write_bytes(damaged)
            aside = victim.with_name(victim.name + ".damaged")
            aside.write_bytes(b"an earlier one")
            read_all(journal)
            assert What.HASH_MISMATCH in {finding.what for finding in journal.damage}
            journal.tend()
            assert victim.exists(), "it is not delivered yet"
            journal.delivered(journal.durable_seq)
            journal.tend()
            assert not victim.exists()
            assert aside.read_bytes() == b"an earlier one"
            assert aside.with_name(aside.name + ".damaged").read_bytes() == damaged
            assert len(layout.segment_paths(tmp_path)) == 1
    assert list(verify(tmp_path)) == []


def test_a_file_that_cannot_be_deleted_is_told_and_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=1, keep_delivered_s=0)) as journal:
        fill(journal, 10)
        journal.delivered(10)
        unlink, victim = Path.unlink, layout.segment_path(tmp_path, 3)

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path == victim:
                raise PermissionError(1, "Operation not permitted")
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(JournalUnavailable, match="not permitted"):
            journal.tend()
        journal.tend()
        assert firsts(tmp_path) == [3, 10]
        journal.append(b"x")
    monkeypatch.undo()
    with closing(FileJournal.open(tmp_path, keep_delivered_s=0)) as journal:
        journal.tend()
        assert journal.damage == ()
    assert firsts(tmp_path) == [10] or firsts(tmp_path) == [11]


def test_disk_use_stays_bounded_while_everything_is_delivered(tmp_path: Path) -> None:
    for kept in ({"keep_delivered_s": 0.0}, {"keep_delivered_bytes": 100_000}):
        folder = tmp_path / next(iter(kept))
        with closing(FileJournal.open(folder, segment_bytes=50_000, **kept)) as journal:  # type: ignore[arg-type]
            most = 0
            for _ in range(60):
                fill(journal, 10, size=1000)
                journal.delivered(journal.durable_seq)
                journal.tend()
                most = max(most, journal.bytes_on_disk)
            assert most < 200_000


# -- how long the disk lasts


def test_the_hours_left_come_from_what_is_free_and_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: now)

    class Usage:
        free = 3_600_000

    monkeypatch.setattr(upkeep.shutil, "disk_usage", lambda _: Usage)
    with closing(FileJournal.open(tmp_path)) as journal:
        journal.tend()
        assert journal.room is None, "nothing is known yet"
        now += 60
        journal.tend()
        assert journal.room == (3_600_000, 0.0, None), "nothing is written"
        for _ in range(60):
            before = journal.bytes_on_disk
            journal.append(b"x" * 1_000)
            size = journal.bytes_on_disk - before
            now += 60
            journal.tend()
        room = journal.room
        assert room is not None
        assert room.bytes_per_hour == pytest.approx(60 * size, rel=0.05)
        assert room.hours == pytest.approx(3_600_000 / (60 * size), rel=0.05)
        for _ in range(70):  # and then it is quiet for more than an hour
            now += 60
            journal.tend()
        assert journal.room == (3_600_000, 0.0, None), "only the last hour counts"


# -- beside each other


def beside(work: Callable[[], object], check: Callable[[], object], times: int) -> None:
    """Do `check` so many times while `work` goes on in a thread."""
    stop = threading.Event()
    problems: list[BaseException] = []

    def go() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        for _ in range(times):
            check()
    finally:
        stop.set()
        thread.join()
    assert problems == []


def test_verify_runs_beside_appends_and_retention(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=100_000, keep_delivered_s=0)) as journal:

        def trade() -> None:
            fill(journal, 20, size=500)
            fill(journal, 1, size=20_000)  # the system writes it page by page
            journal.delivered(max(0, journal.durable_seq - 500))
            journal.tend()

        def check() -> None:
            assert list(verify(tmp_path)) == []

        beside(trade, check, 8)


def test_half_a_line_that_is_cut_off_again_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by who begins to read while it is there, and goes on when another line is in its place."""
    write = os.write

    def half(descriptor: int, text: bytes) -> int:
        written = write(descriptor, text[: len(text) // 2])
        assert len(journal.read(0, 10)) == 3
        return written

    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 3)
        with monkeypatch.context() as context:
            context.setattr(os, "write", half)
            with pytest.raises(JournalUnavailable):
                journal.append(b"refused" * 30)
        fill(journal, 1)
        assert [(entry.payload, entry.damage) for entry in read_all(journal)] == [(b"x" * 100, "")] * 4
        assert journal.damage == ()


def test_a_slow_reader_of_the_file_stops_nobody(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=50_000)) as journal:
        fill(journal, 500)
        with open(layout.segment_paths(tmp_path)[0], "rb") as slow:  # tail -f
            slow.read(100)
            fill(journal, 500)
            journal.tend()
        assert len(read_all(journal, 300)) == 1000


def test_verify_waits_for_a_line_that_is_just_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 3)
    (path,) = layout.segment_paths(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    module = sys.modules["audit_wrapper.journal.verify"]
    monkeypatch.setattr(module.time, "sleep", lambda _: path.write_bytes(whole))  # type: ignore[attr-defined]
    assert list(verify(tmp_path)) == []
