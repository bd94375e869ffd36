"""The journal on disk: restart, and who may open it."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from journals import read_all

from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.journal import FileJournal, What, chain, layout, verify
from audit_wrapper.journal import state as state_module

Durability = Literal["process", "power"]


def fill(journal: FileJournal, count: int, size: int = 100) -> None:
    for _ in range(count):
        journal.append(b"x" * size)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_restart_continues_numbers_stream_and_chain(tmp_path: Path, durability: Durability) -> None:
    streams = set()
    for run in range(3):
        with closing(FileJournal.open(tmp_path, durability=durability, segment_bytes=2_000)) as journal:
            streams.add(journal.stream)
            assert journal.durable_seq == run * 25
            fill(journal, 25)
            assert [entry.seq for entry in read_all(journal)] == list(range(1, (run + 1) * 25 + 1))
    assert len(streams) == 1
    assert list(verify(tmp_path)) == []


def test_it_is_text_that_the_usual_tools_read(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 3)
        (path,) = layout.segment_paths(tmp_path)
        first, *lines = path.read_text().splitlines()
        assert json.loads(first)["journal"] == str(journal.stream)
        previous = chain.genesis(journal.stream)
        for seq, line in enumerate(lines, 1):
            number, digest, payload = line.split(" ", 2)
            previous = chain.link(previous, seq, payload.encode())
            assert (number, digest, payload) == (str(seq), previous.hex(), "x" * 100)


def test_the_delivered_hint_survives_a_restart(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 10)
        journal.delivered(6)
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.delivered_seq == 6


def test_another_stream_survives_a_restart_with_and_without_the_side_file(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 6)
        journal.branch(4)
        stream = journal.stream
        assert [finding.what for finding in journal.damage] == [What.DIVERGED]
    for take_away in (False, True):
        if take_away:
            (tmp_path / layout.STATE).unlink()
        with closing(FileJournal.open(tmp_path)) as journal:
            assert (journal.stream, journal.stream_after) == (stream, 4)
            fill(journal, 1)
    assert list(verify(tmp_path)) == []


def test_losing_the_side_file_loses_no_entry(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        stream = journal.stream
        fill(journal, 10)
    (tmp_path / layout.STATE).unlink()
    assert [finding.what for finding in verify(tmp_path)] == [What.DELETED]
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.stream == stream
        assert journal.append(b"x") == 11
    assert list(verify(tmp_path)) == []


def test_it_is_told_when_the_machine_went_down_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for durability in ("process", "power"):
        running, left = tmp_path / f"{durability}-running", tmp_path / f"{durability}-left"
        with closing(FileJournal.open(running, durability=durability)) as journal:
            fill(journal, 10)
            shutil.copytree(running, left)  # what is on disk while the bot runs
    monkeypatch.setattr("audit_wrapper.journal.opening.boot_id", lambda: "another boot")
    told = {}
    for folder in sorted(tmp_path.iterdir()):
        with closing(FileJournal.open(folder)) as journal:
            told[folder.name] = [(finding.what, finding.seq) for finding in journal.damage]
            assert journal.append(b"after") == 11
    assert told == {
        "process-left": [(What.POWER_LOST, 11)],
        "process-running": [],  # it was closed
        "power-left": [],  # each entry was on the disk
        "power-running": [],
    }


def test_a_second_open_is_refused(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)) as journal:
        with pytest.raises(JournalInUse, match=f"process {os.getpid()}"):
            FileJournal.open(tmp_path)
        assert journal.append(b"still works") == 1
    FileJournal.open(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(JournalUnavailable, match="choose another folder") as caught:
            FileJournal.open(folder)
        assert str(folder) in str(caught.value)


def test_an_open_that_fails_leaves_nothing_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileJournal.open(tmp_path).close()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no")

    for what in ("audit_wrapper.journal.upkeep.write_state", "audit_wrapper.journal.opening.LiveSegment"):
        with monkeypatch.context() as context:
            context.setattr(what, refuse)
            with pytest.raises(JournalUnavailable):
                FileJournal.open(tmp_path)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
    FileJournal.open(tmp_path).close()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    strange = {"notes.new": b"mine", "segment-1.journal": b"mine", "x.journal.damaged": b"mine"}
    for name, content in strange.items():
        (tmp_path / name).write_bytes(content)
    unborn = tmp_path / "segment-00000000000000000001.journal.new"
    unborn.write_bytes(b"a process died when it made this")
    with closing(FileJournal.open(tmp_path)) as journal:
        fill(journal, 3)
        journal.tend()
        assert journal.damage == ()
    assert list(verify(tmp_path)) == []
    assert {name: (tmp_path / name).read_bytes() for name in strange} == strange
    assert not unborn.exists()


def test_names_with_odd_characters_are_folders_like_others(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20?mode=ro#ü&vfs=none"
    with closing(FileJournal.open(folder)) as journal:
        fill(journal, 3)
        assert list(verify(folder)) == []
    assert list(verify(folder)) == []


def test_the_side_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileJournal.open(tmp_path).close()
    state = state_module.read_state(tmp_path)
    assert state is not None
    write = os.write

    def write_half(descriptor: int, text: bytes) -> int:
        write(descriptor, text[: len(text) // 2])
        raise OSError("No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space"):
            state_module.write_state(tmp_path, state)
    assert state_module.read_state(tmp_path) == state
