"""The journal on disk: restart, and who may open it."""

import os
import shutil
from pathlib import Path

import pytest

from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, verify
from audit_wrapper.journal import state as state_module


def fill(journal: FileJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_restart_continues_numbers_stream_and_chain(tmp_path: Path, durability: str) -> None:
    streams = set()
    for run in range(3):
        journal = FileJournal.open(tmp_path, durability=durability, segment_bytes=2_000)  # type: ignore[arg-type]
        streams.add(journal.stream)
        assert journal.durable_seq == run * 25
        fill(journal, 25)
        assert [entry.seq for entry in journal.read(0, 1000)] == list(range(1, (run + 1) * 25 + 1))
        journal.close()
    assert len(streams) == 1
    assert list(verify(tmp_path)) == []


def test_the_delivered_hint_survives_a_restart(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    fill(journal, 10)
    journal.delivered(6)
    journal.close()
    journal = FileJournal.open(tmp_path)
    assert journal.delivered_seq == 6
    journal.close()


def test_losing_the_side_file_loses_no_entry(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    stream = journal.stream
    fill(journal, 10)
    journal.close()
    (tmp_path / layout.STATE).unlink()
    assert [finding.what for finding in verify(tmp_path)] == [What.DELETED]
    journal = FileJournal.open(tmp_path)
    assert journal.stream == stream
    assert journal.append(b"x") == 11
    journal.close()
    assert list(verify(tmp_path)) == []


def test_numbering_leaps_when_the_machine_went_down_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = tmp_path / "running"
    journal = FileJournal.open(running)
    fill(journal, 10)
    left = tmp_path / "left"
    shutil.copytree(running, left)  # what is on disk while the bot runs
    journal.close()
    monkeypatch.setattr("audit_wrapper.journal.opening.boot_id", lambda: "another boot")
    journal = FileJournal.open(left)
    seq = journal.append(b"after")
    assert seq > 1_000_000  # the store may have entries this disk has lost, and their numbers are theirs
    assert [entry.seq for entry in journal.read(0, 100)] == [*range(1, 11), seq]
    assert [finding.what for finding in journal.damage] == [What.GAP]
    journal.close()
    assert [(finding.what, finding.seq) for finding in verify(left)] == [(What.GAP, 11)]
    after_clean_close = FileJournal.open(running)
    assert after_clean_close.append(b"x") == 11
    after_clean_close.close()


def test_entries_forced_to_disk_need_no_leap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = tmp_path / "running"
    journal = FileJournal.open(running, durability="power")
    fill(journal, 3)
    shutil.copytree(running, tmp_path / "left")
    journal.close()
    monkeypatch.setattr("audit_wrapper.journal.opening.boot_id", lambda: "another boot")
    journal = FileJournal.open(tmp_path / "left")
    assert journal.append(b"x") == 4
    journal.close()


def test_the_side_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileJournal.open(tmp_path).close()
    state = state_module.read_state(tmp_path)
    assert state is not None
    order: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    state_module.write_state(tmp_path, state)
    assert order == ["fsync", "rename"]
    assert state_module.read_state(tmp_path) == state


def test_a_second_open_is_refused(tmp_path: Path) -> None:
    journal = FileJournal.open(tmp_path)
    with pytest.raises(JournalInUse, match=f"process {os.getpid()}"):
        FileJournal.open(tmp_path)
    assert journal.append(b"still works") == 1
    journal.close()
    FileJournal.open(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(JournalUnavailable, match="choose another folder") as caught:
            FileJournal.open(folder)
        assert str(folder) in str(caught.value)


def test_names_with_odd_characters_are_folders_like_others(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20?mode=ro#ü&vfs=none"
    journal = FileJournal.open(folder)
    fill(journal, 3)
    assert list(verify(folder)) == []
    journal.close()
    assert list(verify(folder)) == []
