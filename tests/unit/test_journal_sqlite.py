"""The journal on disk: restart, the lock, rotation, retention, and a disk that goes away and comes back."""

import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.journal import SqliteJournal, What, layout, upkeep, verify
from audit_wrapper.journal import state as state_module
from audit_wrapper.journal.segment import connect, is_sealed


def segments(folder: Path) -> list[Path]:
    """The files in use: without one that was made ahead."""
    return [path for path in layout.segment_paths(folder) if not _made_ahead(path)]


def _made_ahead(path: Path) -> bool:
    with closing(connect(path, mode="rw", live=not is_sealed_here(path))) as connection:
        return connection.execute("SELECT previous_hash FROM segment").fetchone() == (b"",)


def is_sealed_here(path: Path) -> bool:
    return not layout.wal_path(path).exists()


def fill(journal: SqliteJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


# -- restart


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_restart_continues_numbers_stream_and_chain(tmp_path: Path, durability: str) -> None:
    streams = set()
    for run in range(3):
        journal = SqliteJournal.open(tmp_path, durability=durability, segment_bytes=2_000)  # type: ignore[arg-type]
        streams.add(journal.stream)
        assert journal.durable_seq == run * 25
        fill(journal, 25)
        assert [entry.seq for entry in journal.read(0, 1000)] == list(range(1, (run + 1) * 25 + 1))
        journal.close()
    assert len(streams) == 1
    assert list(verify(tmp_path)) == []


def test_the_delivered_hint_survives_a_restart(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    fill(journal, 10)
    journal.delivered(6)
    journal.close()
    journal = SqliteJournal.open(tmp_path)
    assert journal.delivered_seq == 6
    journal.close()


def test_losing_the_side_file_loses_no_entry(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    stream = journal.stream
    fill(journal, 10)
    journal.close()
    (tmp_path / layout.STATE).unlink()
    assert [finding.what for finding in verify(tmp_path)] == [What.DELETED]
    journal = SqliteJournal.open(tmp_path)
    assert journal.stream == stream
    assert journal.append(b"x") == 11
    journal.close()
    assert list(verify(tmp_path)) == []


def test_numbering_leaps_when_the_machine_went_down_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = tmp_path / "running"
    journal = SqliteJournal.open(running)
    fill(journal, 10)
    left = tmp_path / "left"
    shutil.copytree(running, left)  # what is on disk while the bot runs
    journal.close()
    monkeypatch.setattr("audit_wrapper.journal.opening.boot_id", lambda: "another boot")
    journal = SqliteJournal.open(left)
    seq = journal.append(b"after")
    assert seq > 1_000_000  # the store may have entries this disk has lost, and their numbers are theirs
    assert [entry.seq for entry in journal.read(0, 100)] == [*range(1, 11), seq]
    assert [finding.what for finding in journal.damage] == [What.GAP]
    journal.close()
    assert [(finding.what, finding.seq) for finding in verify(left)] == [(What.GAP, 11)]
    after_clean_close = SqliteJournal.open(running)
    assert after_clean_close.append(b"x") == 11
    after_clean_close.close()


def test_entries_forced_to_disk_need_no_leap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = tmp_path / "running"
    journal = SqliteJournal.open(running, durability="power")
    fill(journal, 3)
    shutil.copytree(running, tmp_path / "left")
    journal.close()
    monkeypatch.setattr("audit_wrapper.journal.opening.boot_id", lambda: "another boot")
    journal = SqliteJournal.open(tmp_path / "left")
    assert journal.append(b"x") == 4
    journal.close()


# -- who may open it


def test_a_second_open_is_refused(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    with pytest.raises(JournalInUse, match=f"process {os.getpid()}"):
        SqliteJournal.open(tmp_path)
    assert journal.append(b"still works") == 1
    journal.close()
    SqliteJournal.open(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(JournalUnavailable, match="choose another folder") as caught:
            SqliteJournal.open(folder)
        assert str(folder) in str(caught.value)


def test_names_with_odd_characters_are_folders_like_others(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20?mode=ro#ü&vfs=none"
    journal = SqliteJournal.open(folder)
    fill(journal, 3)
    assert list(verify(folder)) == []
    journal.close()
    assert list(verify(folder)) == []


# -- rotation


def test_a_new_file_is_begun_at_the_set_size_with_or_without_tending(tmp_path: Path) -> None:
    for name, tends in (("tended", True), ("untended", False)):
        journal = SqliteJournal.open(tmp_path / name, segment_bytes=20_000)
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
    journal = SqliteJournal.open(tmp_path, segment_bytes=200_000)
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
    journal = SqliteJournal.open(running, segment_bytes=20_000)
    fill(journal, 18, size=1000)
    journal.tend()
    assert len(layout.segment_paths(running)) == 2
    shutil.copytree(running, tmp_path / "left")  # as a kill would leave it
    journal.close()
    for folder in (running, tmp_path / "left"):
        journal = SqliteJournal.open(folder)
        assert journal.append(b"x") == 19
        assert journal.damage == ()
        journal.close()
        assert list(verify(folder)) == []


def test_a_full_file_becomes_a_single_plain_one(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, segment_bytes=5_000)
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
    journal = SqliteJournal.open(tmp_path, segment_bytes=400_000)
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


# -- retention


def test_only_what_is_delivered_and_old_enough_is_deleted(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=3_600)
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
    journal = SqliteJournal.open(tmp_path)
    assert journal.append(b"x") == 301
    journal.close()
    assert list(verify(tmp_path)) == []


def test_a_damaged_file_is_never_deleted(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, segment_bytes=5_000, keep_delivered_s=0)
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
    journal = SqliteJournal.open(tmp_path, segment_bytes=50_000, keep_delivered_s=0)
    most = 0
    for _ in range(60):
        fill(journal, 10, size=1000)
        journal.delivered(journal.durable_seq)
        journal.tend()
        most = max(most, journal.bytes_on_disk)
    assert most < 1_500_000
    journal.close()


# -- reading beside writing


def test_a_reader_that_holds_on_never_stops_an_append_or_tend(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
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
    journal = SqliteJournal.open(tmp_path, segment_bytes=200_000, keep_delivered_s=0)
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
    journal = SqliteJournal.open(tmp_path)
    for _ in range(50):
        fill(journal, 100)
        journal.tend()
    assert layout.size(Path(journal._writer.live.wal)) < 2_000_000  # 5000 entries write some 20 MB of pages
    journal.close()


# -- a disk that goes away


def test_a_full_disk_is_reported_and_appending_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    fill(journal, 5)
    writer = journal._writer.live.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnavailable, match="disk is full"):
        journal.append(b"x" * 100_000)
    assert journal.durable_seq == 5
    assert journal.append(b"y") == 6
    assert len(journal.read(0, 10)) == 6
    assert list(verify(tmp_path)) == []
    journal.close()


def test_an_append_that_failed_but_is_in_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    fill(journal, 5)
    writer = journal._writer
    seq, digest = writer.seq, writer._hash
    journal.append(b"landed")
    writer.seq, writer._hash = seq, digest  # as if the append had been interrupted before it noted its success
    assert journal.append(b"next") == 7
    assert [entry.payload for entry in journal.read(5, 10)] == [b"landed", b"next"]
    journal.close()
    assert list(verify(tmp_path)) == []


def test_a_deleted_folder_is_made_again_and_nothing_undelivered_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = SqliteJournal.open(folder)
    fill(journal, 5)
    shutil.rmtree(folder)
    journal.tend()
    assert journal.append(b"after") == 6
    assert [entry.seq for entry in journal.read(0, 10)] == [1, 2, 3, 4, 5, 6]  # from the files still open
    assert What.DELETED in {finding.what for finding in journal.damage}
    with pytest.raises(JournalInUse):
        SqliteJournal.open(folder)
    journal.delivered(6)
    journal.tend()
    assert journal.append(b"more") == 7
    journal.close()
    journal = SqliteJournal.open(folder)
    assert journal.durable_seq == 7
    journal.close()


def test_appends_fail_while_the_folder_cannot_be_made_and_work_again_after(tmp_path: Path) -> None:
    folder = tmp_path / "mount" / "journal"
    journal = SqliteJournal.open(folder)
    fill(journal, 3)
    shutil.rmtree(tmp_path / "mount")
    (tmp_path / "mount").write_text("in the way")
    with pytest.raises(JournalUnavailable, match="cannot be written"):
        journal.tend()
    for _ in range(3):
        with pytest.raises(JournalUnavailable, match="cannot be written"):
            journal.append(b"x")
    (tmp_path / "mount").unlink()
    assert journal.append(b"x") == 4
    assert [entry.seq for entry in journal.read(0, 10)] == [1, 2, 3, 4]
    journal.close()


def test_only_the_log_deleted(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    fill(journal, 5)
    layout.wal_path(layout.segment_paths(tmp_path)[0]).unlink()
    journal.tend()
    assert journal.append(b"x") == 6
    journal.tend()  # seals the first file from the log it still has open
    assert [entry.seq for entry in journal.read(0, 10)] == [1, 2, 3, 4, 5, 6]
    journal.close()
    assert list(verify(tmp_path)) == []


def test_the_side_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteJournal.open(tmp_path).close()
    state = state_module.read_state(tmp_path)
    assert state is not None
    order: list[str] = []
    fsync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("rename"), rename(self, to))[1])
    state_module.write_state(tmp_path, state)
    assert order == ["fsync", "rename"]
    assert state_module.read_state(tmp_path) == state
