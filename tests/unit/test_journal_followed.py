"""A journal read behind the back of its writer."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import journals
import pytest

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import Entry, FileJournal, layout
from audit_wrapper.journal.followed import FollowedJournal


def nobody(stream: UUID, after_seq: int) -> None:
    raise AssertionError("nobody is to be asked")


def follow(folder: Path, asked: Callable[[UUID, int], None] = nobody) -> FollowedJournal:
    return FollowedJournal(folder, asked)


def rest(journal: FollowedJournal, after_seq: int = 0) -> list[Entry]:
    found: list[Entry] = []
    while portion := journal.read(found[-1].seq if found else after_seq, 7):
        found += portion
    return found


def test_it_reads_what_its_writer_reads(tmp_path: Path) -> None:
    writer = FileJournal.open(tmp_path, segment_bytes=500)
    for n in range(50):
        writer.append(b"entry %d" % n)
    reader = follow(tmp_path)
    assert rest(reader) == writer.read(0, 100)
    assert (reader.stream, reader.stream_after, reader.durable_seq) == (writer.stream, 0, 50)
    writer.append(b"one more")
    assert [entry.payload for entry in reader.read(50, 10)] == [b"one more"]
    assert reader.damage == ()
    writer.close()
    assert reader.durable_seq == 51, "the writer may be gone"


def test_while_it_is_written(tmp_path: Path) -> None:
    """Small files, so that there is always one that was just begun; what is delivered is taken away."""
    writer = FileJournal.open(tmp_path, segment_bytes=2_000, keep_delivered_s=0)
    chance = random.Random(7)
    total = 3_000

    def write() -> None:
        for n in range(total):
            writer.append(b"%d " % n * chance.randrange(1, 80))

    reader = follow(tmp_path)
    writing = threading.Thread(target=write)
    writing.start()
    found: list[Entry] = []
    deadline = time.monotonic() + 60
    while len(found) < total:
        assert time.monotonic() < deadline
        try:
            found += reader.read(found[-1].seq if found else 0, 100)
        except JournalUnavailable:  # as the delivery does: again, a little later
            continue
        if found:
            writer.delivered(found[-1].seq)
            writer.tend()
    writing.join()
    assert [entry.seq for entry in found] == list(range(1, total + 1))
    assert all(entry.payload.startswith(b"%d " % n) and not entry.damage for n, entry in enumerate(found))
    assert reader.damage == ()
    assert len(layout.segment_paths(tmp_path)) < 5
    writer.close()


def test_a_line_that_is_not_whole_yet_waits(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    path = layout.segment_paths(folder)[-1]
    whole = path.read_bytes()
    cut = len(whole) - 700
    path.write_bytes(whole[:cut])
    reader = follow(folder)
    assert [entry.seq for entry in rest(reader)][-1] == 29
    path.write_bytes(whole)
    assert [entry.payload for entry in reader.read(29, 5)] == [journals.payload(30)]
    assert reader.damage == ()


def test_a_half_line_that_is_cut_off_and_written_otherwise(tmp_path: Path) -> None:
    """As a full disk leaves it, and as the writer mends it."""
    writer = FileJournal.open(tmp_path)
    writer.append(b"first")
    reader = follow(tmp_path)
    path = layout.segment_paths(tmp_path)[0]
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(b"2 half of a line that was never fini")
    assert [entry.payload for entry in rest(reader)] == [b"first"]
    with open(path, "r+b") as file:
        file.truncate(size)
    writer.append(b"second")
    assert [entry.payload for entry in reader.read(1, 5)] == [b"second"]
    assert reader.damage == ()
    writer.close()


def test_a_writer_that_was_killed_in_a_line(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    path = layout.segment_paths(folder)[-1]
    path.write_bytes(path.read_bytes()[:-100])  # of entry 30
    reader = follow(folder)
    assert rest(reader)[-1].seq == 29
    writer = FileJournal.open(folder)
    assert writer.append(b"the next run") == 30
    assert [entry.payload for entry in reader.read(29, 5)] == [b"the next run"]
    assert reader.damage == (), "no call had been told that it was written"
    writer.close()


def test_a_new_file_under_the_name_of_an_old_one(tmp_path: Path) -> None:
    """The last file has no entry and is broken: the next run puts another in its place."""
    writer = FileJournal.open(tmp_path)
    writer.append(b"first")
    writer._writer._turn("")
    reader = follow(tmp_path)
    assert rest(reader)[-1].seq == 1
    writer.close()
    (_, last) = layout.segment_paths(tmp_path)
    last.write_bytes(last.read_bytes() + b"2 ha")
    assert rest(reader)[-1].seq == 1
    again = FileJournal.open(tmp_path)
    assert again.append(b"second") == 2
    assert [entry.payload for entry in reader.read(1, 5)] == [b"second"]
    again.close()


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    folder = journals.make(tmp_path / "j")
    damaged = journals.Damaged(folder)
    path = damaged.file_of(15)
    content = bytearray(path.read_bytes())
    content[damaged.start(15) + 200] ^= 1
    path.write_bytes(content)
    found = rest(follow(folder))
    assert [entry.seq for entry in found] == list(range(1, 31))
    assert [entry.seq for entry in found if entry.damage] == [15]


def test_only_the_writer_can_branch(tmp_path: Path) -> None:
    writer = FileJournal.open(tmp_path)
    for n in range(5):
        writer.append(b"%d" % n)
    asked: list[tuple[UUID, int]] = []
    reader = follow(tmp_path, lambda stream, after: asked.append((stream, after)))
    reader.delivered(4)
    with pytest.raises(JournalUnavailable, match="begins a new stream"):
        reader.branch(2)
    assert asked == [(writer.stream, 2)]
    writer.branch(2)
    assert (reader.stream, reader.stream_after) == (writer.stream, 2)
    assert reader.delivered_seq == 2, "of the new stream nothing else is delivered"
    writer.close()


def test_where_there_is_nothing_to_follow(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="there is no journal"):
        follow(tmp_path)
    FileJournal.open(tmp_path).close()
    reader = follow(tmp_path)
    with pytest.raises(JournalUnavailable, match="only read"):
        reader.append(b"x")
    for path in layout.segment_paths(tmp_path):
        path.unlink()
    with pytest.raises(JournalUnavailable, match="cannot be read now"):
        reader.read(0, 1)
    reader.close()
