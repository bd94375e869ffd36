"""The files of a journal: rotation, sealing, retention, and reading and checking beside writing."""

import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from audit_wrapper.journal import FileJournal, What, layout, upkeep, verify
from audit_wrapper.journal.segment import connect, is_sealed


def segments(folder: Path) -> list[Path]:
    """The files in use: without one that was made ahead."""
    return [path for path in layout.segment_paths(folder) if not _made_ahead(path)]


def _made_ahead(path: Path) -> bool:
    with closing(connect(path, mode="rw", live=not is_sealed_here(path))) as connection:
        return bool(connection.execute("SELECT previous_hash FROM segment").fetchone() == (b"",))


def is_sealed_here(path: Path) -> bool:
    return not layout.wal_path(path).exists()


def fill(journal: FileJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


def test_a_new_file_is_begun_at_the_set_size_with_or_without_tending(tmp_path: Path) -> None:
    for name, tends in (("tended", True), ("untended", False)):
        journal = FileJournal.open(tmp_path / name, segment_bytes=20_000)
        for _ in range(400):
            journal.append(b"x" * 900)
            if tends:
                journal.tend()
        assert len(segments(tmp_path / name)) > 10
        assert [entry.seq for entry in journal.read(0, 1000)] == list(range(1, 401))
        assert list(verify(tmp_path / name)) == []
        journal.close()
        assert list(verify(tmp_path / name)) == []


def test_the_next_file_is_ready_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=200_000)
    while len(layout.segment_paths(tmp_path)) == 1:
        journal.append(b"x" * 1000)
        journal.tend()
    prepared = layout.first_seq_of(layout.segment_paths(tmp_path)[-1])
    assert prepared > journal.durable_seq

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the order path made a file though one was ready")

    monkeypatch.setattr("audit_wrapper.journal.writer.create", never)
    while journal.durable_seq < prepared + 3:
        journal.append(b"x" * 1000)
    assert list(verify(tmp_path)) == []
    journal.close()


def test_a_file_made_ahead_and_not_used_leaves_no_gap(tmp_path: Path) -> None:
    running = tmp_path / "running"
    journal = FileJournal.open(running, segment_bytes=20_000)
    fill(journal, 18, size=1000)
    journal.tend()
    assert len(layout.segment_paths(running)) == 2
    shutil.copytree(running, tmp_path / "left")  # as a kill would leave it
    journal.close()
    for folder in (running, tmp_path / "left"):
        journal = FileJournal.open(folder)
        assert journal.append(b"x") == 19
        assert journal.damage == ()
        journal.close()
        assert list(verify(folder)) == []


def test_a_full_file_becomes_a_single_plain_one(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=5_000)
    fill(journal, 100)
    journal.tend()
    *full, live = segments(tmp_path)
    assert full
    for path in full:
        assert is_sealed(path)
        assert not layout.wal_path(path).exists()
        with sqlite3.connect(path) as connection:  # with any tool, while the bot runs
            assert connection.execute("SELECT count(*) FROM entry").fetchone()[0] > 0
        connection.close()
    assert layout.wal_path(live).exists()
    journal.close()


def test_the_log_is_cut_when_it_grows_too_long(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=400_000)
    first = segments(tmp_path)[0]
    with closing(connect(first, mode="rw", live=True)) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT count(*) FROM entry").fetchone()  # as long as this lasts the log cannot begin anew
        while journal._writer.live.path == first:
            fill(journal, 10)
            journal.tend()
        assert layout.size(layout.wal_path(first)) < 2 * 400_000
        assert layout.size(first) < 400_000 / 2  # it was the log that was full
    journal.tend()
    assert not layout.wal_path(first).exists()
    journal.close()


def test_only_what_is_delivered_and_old_enough_is_deleted(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=3_600)
    fill(journal, 300)
    journal.tend()
    paths = segments(tmp_path)
    third = layout.first_seq_of(paths[3])
    journal.delivered(third)  # all of the first three, one entry of the fourth
    journal.tend()
    assert segments(tmp_path) == paths  # not old enough
    old = time.time() - 7_200
    for path in paths[:-1]:
        os.utime(path, (old, old))
    journal.tend()
    assert segments(tmp_path) == paths[3:]
    assert journal.read(0, 1)[0].seq == third
    assert journal.damage == ()
    assert list(verify(tmp_path)) == []
    journal.delivered(300)
    journal.tend()
    assert segments(tmp_path) == paths[-1:]
    journal.close()
    journal = FileJournal.open(tmp_path)
    assert journal.append(b"x") == 301
    journal.close()
    assert list(verify(tmp_path)) == []


def test_a_damaged_file_is_never_deleted(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=0)
    fill(journal, 200)
    journal.tend()
    victim = layout.segment_paths(tmp_path)[1]
    content = bytearray(victim.read_bytes())
    content[content.rindex(b"x" * 100)] ^= 1
    victim.write_bytes(content)
    journal.delivered(200)
    journal.tend()
    assert segments(tmp_path)[0] == victim
    assert len(segments(tmp_path)) == 2
    assert [finding.what for finding in journal.damage] == [What.HASH_MISMATCH]
    journal.close()


def test_disk_use_stays_bounded_while_everything_is_delivered(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=50_000, keep_delivered_s=0)
    most = 0
    for _ in range(60):
        fill(journal, 10, size=1000)
        journal.delivered(journal.durable_seq)
        journal.tend()
        most = max(most, journal.bytes_on_disk)
    assert most < 1_500_000
    journal.close()


def test_a_reader_that_holds_on_never_stops_an_append_or_tend(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    fill(journal, 2_000)
    with closing(connect(segments(tmp_path)[0], mode="rw", live=True)) as slow:
        rows = slow.execute("SELECT seq FROM entry")
        rows.fetchone()  # a read transaction stays open
        for _ in range(10):
            fill(journal, 200)
            journal.tend()
        rows.close()
    assert journal.durable_seq == 4_000
    assert len(journal.read(0, 10_000)) == 4_000
    journal.close()


def test_verify_runs_beside_appends(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=200_000, keep_delivered_s=0)
    stop = threading.Event()
    problems: list[BaseException] = []

    def trade() -> None:
        try:
            while not stop.is_set():
                fill(journal, 20, size=500)
                journal.delivered(max(0, journal.durable_seq - 500))
                journal.tend()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        for _ in range(8):
            assert list(verify(tmp_path)) == []
    finally:
        stop.set()
        thread.join()
    assert problems == []
    journal.close()


def test_tend_works_the_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_CHECKPOINT_ENTRIES", 100)
    journal = FileJournal.open(tmp_path)
    for _ in range(50):
        fill(journal, 100)
        journal.tend()
    assert layout.size(Path(journal._writer.live.wal)) < 2_000_000  # 5000 entries write some 20 MB of pages
    journal.close()
