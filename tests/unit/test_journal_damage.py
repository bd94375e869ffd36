"""Damaged journals, a table of named cases: what can be read is read, what cannot is told with its place."""

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, verify
from audit_wrapper.journal.segment import Origin, create
from audit_wrapper.journal.state import read_state

ENTRIES = 300


def payload(seq: int) -> bytes:
    return b"payload %06d " % seq * 20


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal as a kill left it: its last file still has a log beside it."""
    folder = tmp_path_factory.mktemp("sound")
    journal = FileJournal.open(folder / "running", segment_bytes=25_000)
    for seq in range(1, ENTRIES + 1):
        journal.append(payload(seq))
    journal.tend()
    live = journal._writer.live
    live.checkpoint()
    for seq in range(ENTRIES + 1, ENTRIES + 11):
        journal.append(payload(seq))
    shutil.copytree(folder / "running", folder / "left")
    journal.close()
    left = folder / "left"
    if len(layout.segment_paths(left)) > 5:  # one made ahead
        layout.remove_segment(layout.segment_paths(left)[-1])
    assert len(layout.segment_paths(left)) == 5
    assert layout.size(layout.wal_path(layout.segment_paths(left)[-1])) > 0
    return left


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "journal"))


def segment(folder: Path, index: int) -> Path:
    return layout.segment_paths(folder)[index]


def flip(path: Path, needle: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.rindex(needle)] ^= 1
    path.write_bytes(content)


def sql(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def first(folder: Path, index: int) -> int:
    return layout.first_seq_of(segment(folder, index))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset, 2 if offset < 0 else 0)
        file.write(content)


def torn_page(folder: Path) -> None:
    """Half of a leaf page never reached the disk."""
    path = segment(folder, 1)
    place = path.read_bytes().index(payload(first(folder, 1) + 10)) // 4096 * 4096
    overwrite(path, place, bytes(2048))


def swap(folder: Path) -> None:
    path, seq = segment(folder, 1), first(folder, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        query = "SELECT payload, hash FROM entry WHERE seq = ?"
        one, other = (connection.execute(query, (n,)).fetchone() for n in (seq + 3, seq + 4))
        update = "UPDATE entry SET payload = ?, hash = ? WHERE seq = ?"
        connection.execute(update, (*other, seq + 3))
        connection.execute(update, (*one, seq + 4))


def foreign(folder: Path) -> None:
    with closing(FileJournal.open(folder.parent / "other")) as other:
        other.append(b"x")
    shutil.copy(segment(folder.parent / "other", 0), layout.segment_path(folder, first(folder, 1)))


@dataclass
class Case:
    """Done to five files, the last being written: what `verify` must find and where, and the entries that are lost.

    `seq` and `lost` are told from the journal before it is damaged. `lost` None: some, and not more than a page.
    """

    do: Callable[[Path], object]  # done to the folder
    what: What
    seq: Callable[[Path], int | None]
    lost: Callable[[Path], Iterable[int]] | None = lambda _: ()


def whole(index: int) -> Callable[[Path], Iterable[int]]:
    return lambda folder: range(first(folder, index), first(folder, index + 1))


def second(folder: Path) -> int:
    return first(folder, 1)


def end(folder: Path) -> int:
    return first(folder, 4)


def whole_end(folder: Path) -> Iterable[int]:
    return range(end(folder), ENTRIES + 11)


def change(folder: Path, index: int, offset: int, assignment: str) -> None:
    sql(segment(folder, index), f"UPDATE entry SET {assignment} WHERE seq = ?", first(folder, index) + offset)


CASES = {
    "flipped byte in a payload": Case(
        lambda folder: flip(segment(folder, 1), payload(first(folder, 1) + 5)),
        What.HASH_MISMATCH,
        lambda folder: first(folder, 1) + 5,
    ),
    "payload and hash changed": Case(
        lambda folder: change(folder, 1, 2, "payload = x'00', hash = x'11'"),
        What.HASH_MISMATCH,
        lambda folder: first(folder, 1) + 2,
    ),
    "two entries swapped": Case(swap, What.HASH_MISMATCH, lambda folder: first(folder, 1) + 3),
    "an entry taken out": Case(
        lambda folder: sql(segment(folder, 2), "DELETE FROM entry WHERE seq = ?", first(folder, 2) + 7),
        What.GAP,
        lambda folder: first(folder, 2) + 7,
        lambda folder: [first(folder, 2) + 7],
    ),
    "text where bytes belong": Case(
        lambda folder: change(folder, 1, 2, "payload = 'a'"),
        What.UNREADABLE,
        lambda folder: first(folder, 1) + 2,
        lambda folder: [first(folder, 1) + 2],
    ),
    "torn page": Case(torn_page, What.TORN_PAGE, lambda _: None, None),
    "garbage instead of a file": Case(
        lambda folder: segment(folder, 1).write_bytes(b"garbage" * 1000), What.UNREADABLE, second, whole(1)
    ),
    "an empty file": Case(lambda folder: segment(folder, 1).write_bytes(b""), What.UNREADABLE, second, whole(1)),
    "a file missing in the middle": Case(lambda folder: remove(segment(folder, 1)), What.GAP, second, whole(1)),
    "the first file missing": Case(lambda folder: remove(segment(folder, 0)), What.GAP, lambda _: 1, whole(0)),
    "a file from the future": Case(
        lambda folder: sql(segment(folder, 1), "PRAGMA user_version = 99"),
        What.FROM_THE_FUTURE,
        second,
        whole(1),
    ),
    "a file of another journal": Case(foreign, What.FOREIGN_STREAM, second, whole(1)),
    "a garbled side file": Case(
        lambda folder: (folder / layout.STATE).write_bytes(b"\xff\x00{"), What.UNREADABLE, lambda _: None
    ),
}

# Damage to the file that was being written: the same, and appending goes on in a new file, further up.
END_CASES = {
    "flipped byte in the log": Case(
        lambda folder: flip_in_log(folder, payload(ENTRIES + 4)),
        What.UNREADABLE,
        lambda _: ENTRIES + 4,
        lambda _: range(ENTRIES + 4, ENTRIES + 11),
    ),
    "flipped byte in the log's header": Case(
        lambda folder: overwrite(log(folder), 16, b"\x99"),
        What.UNREADABLE,
        lambda _: ENTRIES + 1,
        lambda _: range(ENTRIES + 1, ENTRIES + 11),
    ),
    "the last file is garbage": Case(
        lambda folder: replace_end(folder, b"garbage" * 1000), What.UNREADABLE, end, whole_end
    ),
    "the last file is empty": Case(lambda folder: replace_end(folder, b""), What.UNREADABLE, end, whole_end),
    "the last file is from the future": Case(
        lambda folder: sql(segment(folder, 4), "PRAGMA user_version = 99"),
        What.FROM_THE_FUTURE,
        end,
        whole_end,
    ),
}


def log(folder: Path) -> Path:
    return layout.wal_path(segment(folder, 4))


def remove(path: Path) -> None:
    path.unlink()


def replace_end(folder: Path, content: bytes) -> None:
    log(folder).unlink()
    segment(folder, 4).write_bytes(content)


def flip_in_log(folder: Path, needle: bytes) -> None:
    """Where it stands first: SQLite takes this frame and all after it for leftovers."""
    content = bytearray(log(folder).read_bytes())
    content[content.index(needle)] ^= 1
    log(folder).write_bytes(content)


def test_the_sound_journal_is_sound(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert list(verify(folder)) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # nothing changed, nothing left


@pytest.mark.parametrize("name", [*CASES, *END_CASES])
def test_damage_is_found_with_its_place_and_the_rest_is_read(folder: Path, name: str) -> None:
    case = {**CASES, **END_CASES}[name]
    seq, lost = case.seq(folder), set(case.lost(folder)) if case.lost else None
    case.do(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    findings = list(verify(folder))
    assert (case.what, seq) in {(finding.what, finding.seq) for finding in findings}
    assert all(finding.sentence and finding.path.is_relative_to(folder) for finding in findings)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    with closing(FileJournal.open(folder)) as journal:
        entries = journal.read(0, 10_000)
        missing = set(range(1, ENTRIES + 11)) - {entry.seq for entry in entries}
        if lost is None:
            assert 1 <= len(missing) <= 15
        else:
            assert missing == lost
        if case.what is not What.HASH_MISMATCH:
            assert all(entry.payload == payload(entry.seq) for entry in entries)
            assert journal.damage
        after = journal.append(b"life goes on")
        assert journal.read(after - 1, 10)[0].payload == b"life goes on"
        journal.tend()
        if name in END_CASES:
            assert after > 1_000_000
            assert case.what in {finding.what for finding in journal.damage}
        else:
            assert after == ENTRIES + 11
    with closing(FileJournal.open(folder)) as journal:
        assert journal.append(b"and on") == after + 1
        journal.tend()
    if name in END_CASES:  # the damaged file stays as it was
        kept = [path for path in (segment(folder, 4), log(folder)) if path.name in before]
        assert [path.read_bytes() for path in kept] == [before[path.name] for path in kept]


def test_the_last_write_that_a_kill_tore_is_no_damage(folder: Path) -> None:
    content = log(folder).read_bytes()
    frame = (content.index(payload(ENTRIES + 10)) - 32) // (24 + 4096)
    log(folder).write_bytes(content[: 32 + frame * (24 + 4096) + 2000])  # the page of the last append is half there
    assert list(verify(folder)) == []
    with closing(FileJournal.open(folder)) as journal:
        assert journal.durable_seq == ENTRIES + 9
        assert journal.append(b"x") == ENTRIES + 10
        assert journal.damage == ()


def test_a_file_made_ahead_whose_removal_a_kill_interrupted_is_no_damage(folder: Path) -> None:
    state = read_state(folder)
    assert state is not None
    left_over = create(folder, Origin(state.stream, first(folder, 3) + 5, b""), sync=False)
    assert list(verify(folder)) == []
    with closing(FileJournal.open(folder)) as journal:
        assert not left_over.exists()
        assert len(journal.read(0, 10_000)) == ENTRIES + 10
        assert journal.damage == ()


def test_an_older_copy_put_back_is_found_by_what_was_delivered(folder: Path) -> None:
    state = (folder / layout.STATE).read_text()
    (folder / layout.STATE).write_text(state.replace('"delivered_seq": 0', '"delivered_seq": 400'))
    assert [(finding.what, finding.seq) for finding in verify(folder)] == [(What.GAP, ENTRIES + 11)]
    with closing(FileJournal.open(folder)) as journal:
        assert journal.append(b"x") > 400


def test_verify_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="nowhere"):
        list(verify(tmp_path / "nowhere"))
