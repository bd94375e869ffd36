"""A journal looked at from outside: without its lock, and without reading its files."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import journals
import pytest

from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import FileJournal, glance, layout, lock


def seen(folder: Path) -> glance.Glance:
    found = glance.glance(folder)
    assert found is not None
    return found


def test_it_finds_the_end(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    found = seen(folder)
    assert (found.durable_seq, found.segments, found.holder) == (journals.ENTRIES, 3, None)
    assert found.last is not None
    assert found.last.payload == journals.payload(journals.ENTRIES)


def test_where_there_is_no_journal(tmp_path: Path) -> None:
    assert glance.glance(tmp_path) is None
    assert glance.glance(tmp_path / "nothing") is None


def test_one_without_a_record(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    found = seen(tmp_path)
    assert (found.durable_seq, found.last, found.holder) == (0, None, os.getpid())
    journal.close()
    assert seen(tmp_path).holder is None


def test_a_file_that_was_just_begun(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path, segment_bytes=10)
    for seq in (1, 2, 3):
        journal.append(b"%d" % seq)
    journal._writer._turn("")
    found = seen(tmp_path)
    assert (found.durable_seq, found.segments) == (3, 4)
    assert found.last is not None
    assert found.last.payload == b"3"
    journal.close()


def test_half_a_line_is_no_record(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    with open(layout.segment_paths(folder)[-1], "ab") as file:
        file.write(b"31 0123")
    assert seen(folder).durable_seq == 30


@pytest.mark.parametrize("broken", [1, 2, 10])
def test_lines_that_are_broken_are_gone_around(tmp_path: Path, broken: int) -> None:
    folder = journals.make(tmp_path / "j")
    path = layout.segment_paths(folder)[-1]
    lines = journals.lines(path)
    for n in range(1, broken + 1):
        lines[-n] = b"\xff" * (len(lines[-n]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    assert seen(folder).durable_seq == 30 - broken


def test_a_flipped_digit_of_the_last_number_is_seen_through(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    path = layout.segment_paths(folder)[-1]
    lines = journals.lines(path)
    lines[-1] = b"90" + lines[-1][2:]
    path.write_bytes(b"".join(lines))
    assert seen(folder).durable_seq == 30


def test_a_record_longer_than_a_look(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    journal.append(b"small")
    journal.append(b"x" * 300_000)
    journal.append(b"y" * 200_000)
    found = seen(tmp_path)
    assert found.durable_seq == 3
    assert found.last is not None
    assert len(found.last.payload) == 200_000
    journal.close()


def test_looking_keeps_nobody_from_opening(tmp_path: Path) -> None:
    """Whoever looks has the lock for a moment; a bot that starts just then waits for that."""
    FileJournal.open(tmp_path).close()
    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.is_set():
            lock.holder(tmp_path)

    looking = threading.Thread(target=keep_looking)
    looking.start()
    try:
        for _ in range(100):
            FileJournal.open(tmp_path).close()
    finally:
        stop.set()
        looking.join()


def test_who_holds_it(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    held = lock.FolderLock(tmp_path)
    assert lock.holder(tmp_path) == os.getpid()
    (tmp_path / layout.LOCK).write_text("")  # before it has written its number
    assert lock.holder(tmp_path) == 0
    held.release()
    assert lock.holder(tmp_path) is None


def test_what_its_holder_says_beside_its_number(tmp_path: Path) -> None:
    held = lock.FolderLock(tmp_path, layout.SIDECAR_LOCK, layout.DRAINS)
    assert lock.held_by(tmp_path, layout.SIDECAR_LOCK) == (os.getpid(), layout.DRAINS)
    assert lock.holder(tmp_path, layout.SIDECAR_LOCK) == os.getpid()
    with pytest.raises(JournalInUse, match=f"process {os.getpid()} delivers"):
        lock.FolderLock(tmp_path, layout.SIDECAR_LOCK)
    held.release()


def test_an_append_waits_for_nobody_who_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was taken away and made again, and somebody else was faster: the record waits in memory, the bot does not."""
    journal = FileJournal.open(tmp_path / "journal")
    shutil.rmtree(tmp_path / "journal")
    (tmp_path / "journal").mkdir()
    other = lock.FolderLock(tmp_path / "journal")
    waited: list[float] = []
    monkeypatch.setattr("audit_wrapper.journal.lock.time.sleep", waited.append)
    monkeypatch.setattr("audit_wrapper.journal.writer._LOOK_S", 0.0)
    with pytest.raises(JournalInUse):
        journal.append(b"{}")
    assert waited == []
    other.release()
    assert journal.append(b"{}") == 1
    assert lock.holder(tmp_path / "journal") == os.getpid()
    journal.close()


def test_a_sidecar_has_a_lock_of_its_own(tmp_path: Path) -> None:
    bot, sidecar = lock.FolderLock(tmp_path), lock.FolderLock(tmp_path, layout.SIDECAR_LOCK)
    with pytest.raises(JournalInUse, match=r"delivers the journal in .* already"):
        lock.FolderLock(tmp_path, layout.SIDECAR_LOCK)
    bot.release()
    sidecar.release()


def test_a_folder_that_its_holder_takes_away_was_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child that ends removes its journal: whoever came to deliver it has nothing to complain about."""
    folder = tmp_path / "fork-1"
    folder.mkdir()
    held = lock.FolderLock(folder)

    def meanwhile(_: float) -> None:
        if folder.exists():
            held.release()
            shutil.rmtree(folder)

    monkeypatch.setattr("audit_wrapper.journal.lock.time.sleep", meanwhile)
    with pytest.raises(JournalInUse):
        lock.FolderLock(folder)
