"""A disk that is full or goes away under a journal, and comes back."""

import shutil
from pathlib import Path

import pytest

from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, verify


def fill(journal: FileJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


def test_a_full_disk_is_reported_and_appending_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
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
    journal = FileJournal.open(tmp_path)
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
    journal = FileJournal.open(folder)
    fill(journal, 5)
    shutil.rmtree(folder)
    journal.tend()
    assert journal.append(b"after") == 6
    assert [entry.seq for entry in journal.read(0, 10)] == [1, 2, 3, 4, 5, 6]  # from the files still open
    assert What.DELETED in {finding.what for finding in journal.damage}
    with pytest.raises(JournalInUse):
        FileJournal.open(folder)
    journal.delivered(6)
    journal.tend()
    assert journal.append(b"more") == 7
    journal.close()
    journal = FileJournal.open(folder)
    assert journal.durable_seq == 7
    journal.close()


def test_appends_fail_while_the_folder_cannot_be_made_and_work_again_after(tmp_path: Path) -> None:
    folder = tmp_path / "mount" / "journal"
    journal = FileJournal.open(folder)
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
    journal = FileJournal.open(tmp_path)
    fill(journal, 5)
    layout.wal_path(layout.segment_paths(tmp_path)[0]).unlink()
    journal.tend()
    assert journal.append(b"x") == 6
    journal.tend()  # seals the first file from the log it still has open
    assert [entry.seq for entry in journal.read(0, 10)] == [1, 2, 3, 4, 5, 6]
    journal.close()
    assert list(verify(tmp_path)) == []
