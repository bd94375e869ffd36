"""Damaged journals, a table of named cases: what can be read is read, what cannot is told with its place."""

import json
import random
import re
import shutil
import sys
import time
from binascii import crc32
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import ENTRIES, Damaged, contents, lines, make, payload, read_all

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, verify
from audit_wrapper.journal.segment import LiveSegment, Origin

ALL = {*range(1, ENTRIES + 1)}
NO_LINE_FEED = bytes(byte for byte in range(256) if byte != 10)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes these journals: `verify` need not look twice."""
    monkeypatch.setattr(sys.modules["audit_wrapper.journal.verify"], "_LOOK_S", 0.0)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sound") / "journal")


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Damaged:
    return Damaged(Path(shutil.copytree(sound, tmp_path / "journal")))


def garbage(size: int, letters: bytes = NO_LINE_FEED) -> bytes:
    return bytes(random.Random(size).choices(letters, k=size))


def change_first_line(files: Damaged, first: int) -> None:
    """One digit of the journal's identity: without a checksum it would be a file of another journal."""
    old = lines(files.file_of(first))[0]
    at = old.index(b'"journal": "') + len(b'"journal": "')
    files.first_line(first, old[:at] + (b"1" if old[at : at + 1] == b"0" else b"0") + old[at + 1 :])


def make_future(files: Damaged, first: int) -> None:
    values = json.loads(lines(files.file_of(first))[0])
    del values["check"]
    text = json.dumps({**values, "audit_journal": 2}).encode().removesuffix(b"}")
    files.first_line(first, b'%b, "check": %d}\n' % (text, crc32(text)))


def make_foreign(files: Damaged, first: int) -> None:
    files.file_of(first).unlink(missing_ok=True)
    segment = LiveSegment.create(files.folder, Origin(uuid4(), uuid4(), 0, first, bytes(32)), lasting=False)
    segment.held.close()


def add_foreign(files: Damaged, first: int) -> None:
    segment = LiveSegment.create(files.folder, Origin(uuid4(), uuid4(), 0, first, bytes(32)), lasting=False)
    segment.held.close()


def put_in(files: Damaged, of_the_same: bool, entries: bool = True) -> None:
    """A copy of the folder was made at entry 26, and traded on; then one of its files was put back here."""
    copy = Damaged(Path(shutil.copytree(files.folder, files.folder.with_name("copy"))))
    copy.cut(copy.paths[-1], copy.start(27))
    with closing(FileJournal.open(copy.folder, segment_bytes=1)) as journal:
        for seq in range(27, 29):
            journal.append(payload(seq) if of_the_same else payload(seq)[::-1])
    strange = layout.segment_path(copy.folder, 27)
    if not entries:
        strange.write_bytes(lines(strange)[0])
    shutil.copy(strange, files.folder)


def replace_last(files: Damaged, content: bytes) -> None:
    files.paths[2].write_bytes(content)


def say_delivered(files: Damaged, seq: int) -> None:
    path = files.folder / layout.STATE
    path.write_text(path.read_text().replace('"delivered_seq": 0', f'"delivered_seq": {seq}'))


@dataclass
class Case:
    """Done to a journal of thirty entries, in files that begin at 1, 11 and 21.

    found: what `verify` must find, and where. told: what the open journal tells once it is read, where that is not the
    same. lost, damaged: entries that are not returned, or only as damaged. next: the number of the next append; None: it
    is behind all that the last file may hold.
    """

    do: Callable[[Damaged], object]
    found: set[tuple[What, int | None]]
    lost: set[int] | None = None
    damaged: set[int] | None = None
    next: int | None = ENTRIES + 1
    told: set[tuple[What, int | None]] | None = None


GAP, MISMATCH, UNREADABLE, TORN = What.GAP, What.HASH_MISMATCH, What.UNREADABLE, What.TORN_TAIL

CASES = {
    "sound": Case(lambda files: None, set()),
    # one byte of a line
    "flipped byte in a payload": Case(lambda files: files.flip(15, -50), {(MISMATCH, 15)}, damaged={15}),
    "flipped byte in the last payload": Case(lambda files: files.flip(30, -50), {(MISMATCH, 30)}, damaged={30}),
    "flipped byte in a hash": Case(lambda files: files.other_hash(15), {(MISMATCH, 15)}, damaged={15}),
    "flipped byte in the last hash": Case(lambda files: files.other_hash(30), {(MISMATCH, 30)}, damaged={30}),
    "a hash that is none": Case(lambda files: files.put(15, 10, b"z"), {(UNREADABLE, 15)}, {15}),
    "flipped byte in a number": Case(lambda files: files.flip(15, 0, 4), {(MISMATCH, 15)}),
    "flipped byte in the last number": Case(lambda files: files.flip(30, 0, 4), {(MISMATCH, 30)}),
    "a number that is none": Case(lambda files: files.put(15, 0, b"x"), {(UNREADABLE, 15)}, {15}),
    "flipped byte between number and hash": Case(lambda files: files.flip(15, 2), {(UNREADABLE, 15)}, {15}),
    "flipped byte between hash and payload": Case(lambda files: files.flip(15, 67), {(UNREADABLE, 15)}, {15}),
    "flipped line feed": Case(lambda files: files.flip(15, -1), {(MISMATCH, 15), (GAP, 16)}, {16}, {15}),
    "flipped line feed at the end of a file": Case(
        lambda files: files.flip(20, -1), {(UNREADABLE, 20), (GAP, 20)}, {20}
    ),
    "flipped line feed at the end": Case(
        lambda files: files.flip(30, -1), {(UNREADABLE, 30)}, {30}, told={(UNREADABLE, 30), (GAP, 30)}
    ),
    "flipped line feed of a first line": Case(
        lambda files: files.first_line(11, lines(files.paths[1])[0][:-1] + b"x"), {(UNREADABLE, 11), (GAP, 11)}, {11}
    ),
    "a byte turned into a line feed in a payload": Case(
        lambda files: files.put(15, 500, b"\n"), {(MISMATCH, 15), (UNREADABLE, 16)}, damaged={15}
    ),
    "a byte turned into a line feed in a hash": Case(lambda files: files.put(15, 20, b"\n"), {(UNREADABLE, 15)}, {15}),
    "a byte turned into a line feed in a number": Case(lambda files: files.put(15, 1, b"\n"), {(UNREADABLE, 15)}, {15}),
    "flipped byte in the first line of the first file": Case(
        lambda files: change_first_line(files, 1), {(UNREADABLE, 1)}
    ),
    "flipped byte in the first line of a file": Case(lambda files: change_first_line(files, 11), {(UNREADABLE, 11)}),
    "flipped byte in the first line of the last file": Case(
        lambda files: change_first_line(files, 21), {(UNREADABLE, 21)}
    ),
    # whole lines
    "first line gone": Case(lambda files: files.first_line(11, b""), {(UNREADABLE, 11)}),
    "first line of the last file gone": Case(lambda files: files.first_line(21, b""), {(UNREADABLE, 21)}),
    "a line removed": Case(lambda files: files.entry_lines(11, [*range(11, 15), *range(16, 21)]), {(GAP, 15)}, {15}),
    "a line removed from the last file": Case(
        lambda files: files.entry_lines(21, [*range(21, 25), *range(26, 31)]), {(GAP, 25)}, {25}
    ),
    "a line doubled": Case(lambda files: files.entry_lines(11, [*range(11, 15), *range(14, 21)]), {(UNREADABLE, 15)}),
    "two lines swapped": Case(
        lambda files: files.entry_lines(11, [11, 12, 14, 13, *range(15, 21)]), {(UNREADABLE, 13), (GAP, 14)}, {14}
    ),
    # blocks
    "a block zeroed": Case(
        lambda files: files.block(files.paths[1], 1, bytes(4096)), {(MISMATCH, 13), (GAP, 14)}, {14, 15}, {13}
    ),
    "half a block zeroed": Case(
        lambda files: files.block(files.paths[1], 1, bytes(2048)), {(MISMATCH, 13), (GAP, 14)}, {14}, {13}
    ),
    "a block of garbage": Case(
        lambda files: files.block(files.paths[1], 1, garbage(4096)), {(MISMATCH, 13), (GAP, 14)}, {14, 15}, {13}
    ),
    "a block of garbage with line feeds": Case(
        lambda files: files.block(files.paths[1], 1, garbage(4096, b"\n" + NO_LINE_FEED)),
        {(MISMATCH, 13), (UNREADABLE, 14)},
        {14, 15},
        {13},
    ),
    "the first block zeroed": Case(
        lambda files: files.block(files.paths[1], 0, bytes(4096)), {(UNREADABLE, 11), (GAP, 11)}, {11, 12, 13}
    ),
    "the first block of the last file zeroed": Case(
        lambda files: files.block(files.paths[2], 0, bytes(4096)), {(UNREADABLE, 21), (GAP, 21)}, {21, 22, 23}
    ),
    "a block of the last file zeroed": Case(
        lambda files: files.block(files.paths[2], 1, bytes(4096)), {(MISMATCH, 23), (GAP, 24)}, {24, 25}, {23}
    ),
    # ends
    "the line feed at the end gone": Case(
        lambda files: files.cut(files.paths[2], files.start(31) - 1), {(TORN, 30)}, {30}, next=30
    ),
    "zeros at the end": Case(
        lambda files: replace_last(files, files.paths[2].read_bytes() + bytes(5000)), {(TORN, 31)}
    ),
    "zeros instead of the last entries": Case(
        lambda files: replace_last(files, files.paths[2].read_bytes()[: files.start(28)] + bytes(4096)),
        {(TORN, 28)},
        {28, 29, 30},
        next=28,
    ),
    "a file cut short": Case(
        lambda files: files.cut(files.paths[1], files.start(16) + 100), {(TORN, 16), (GAP, 16)}, {*range(16, 21)}
    ),
    "a file cut short between two lines": Case(
        lambda files: files.cut(files.paths[1], files.start(16)), {(GAP, 16)}, {*range(16, 21)}
    ),
    "the last file cut short": Case(
        lambda files: files.cut(files.paths[2], files.start(26) + 100), {(TORN, 26)}, {*range(26, 31)}, next=26
    ),
    # whole files
    "an empty file": Case(lambda files: files.cut(files.paths[1], 0), {(UNREADABLE, 11), (GAP, 11)}, {*range(11, 21)}),
    "the last file empty": Case(
        lambda files: files.cut(files.paths[2], 0),
        {(UNREADABLE, 21)},
        {*range(21, 31)},
        next=22,
        told={(UNREADABLE, 21), (GAP, 21)},
    ),
    "the last file all zeros": Case(
        lambda files: replace_last(files, bytes(8192)),
        {(UNREADABLE, 21), (TORN, 21)},
        {*range(21, 31)},
        next=22,
        told={(UNREADABLE, 21), (TORN, 21), (GAP, 21)},
    ),
    "garbage instead of a file": Case(
        lambda files: files.paths[1].write_bytes(b"garbage" * 1000), {(UNREADABLE, 11), (GAP, 11)}, {*range(11, 21)}
    ),
    "lines of garbage instead of a file": Case(
        lambda files: files.paths[1].write_bytes(b"garbage\n" * 1000), {(UNREADABLE, 11)}, {*range(11, 21)}
    ),
    "garbage instead of the last file": Case(
        lambda files: replace_last(files, b"garbage" * 100),
        {(UNREADABLE, 21)},
        {*range(21, 31)},
        next=20 + 700 // 68 + 1,
        told={(UNREADABLE, 21), (GAP, 21)},
    ),
    "lines of garbage instead of the last file": Case(
        lambda files: replace_last(files, b"garbage\n" * 100), {(UNREADABLE, 21)}, {*range(21, 31)}, next=32
    ),
    "the first file missing": Case(lambda files: files.paths[0].unlink(), {(GAP, 1)}, {*range(1, 11)}),
    "a file missing in the middle": Case(lambda files: files.paths[1].unlink(), {(GAP, 11)}, {*range(11, 21)}),
    "the last file missing": Case(  # which only the side file, or the database, can tell
        lambda files: files.paths[2].unlink(), set(), {*range(21, 31)}, next=21
    ),
    "the last file missing, of which some was delivered": Case(
        lambda files: (files.paths[2].unlink(), say_delivered(files, 25)), {(GAP, 21)}, {*range(21, 31)}, next=21
    ),
    "all files missing": Case(lambda files: [path.unlink() for path in files.paths], set(), ALL, next=1),
    "a renamed file": Case(
        lambda files: files.paths[1].rename(layout.segment_path(files.folder, 15)),
        {(GAP, 11), (UNREADABLE, 15)},
        {*range(11, 15)},
    ),
    "a file with a name that is no number of ours": Case(
        lambda files: shutil.copy(files.paths[1], files.folder / f"segment-{'9' * 20}.journal"), set()
    ),
    "another journal's file": Case(
        lambda files: make_foreign(files, 11),
        {(What.FOREIGN, 11), (GAP, 11)},
        {*range(11, 21)},
        told={(What.FOREIGN, 11)},
    ),
    "another journal's file at the end": Case(
        lambda files: make_foreign(files, 21), {(What.FOREIGN, 21)}, {*range(21, 31)}, next=None
    ),
    "another journal's file added": Case(
        lambda files: add_foreign(files, 26), {(What.FOREIGN, 26), (What.OVERLAP, 26)}, next=None
    ),
    "a file from the future": Case(
        lambda files: make_future(files, 11),
        {(What.FROM_THE_FUTURE, 11), (GAP, 11)},
        {*range(11, 21)},
        told={(What.FROM_THE_FUTURE, 11)},
    ),
    "the last file from the future": Case(
        lambda files: make_future(files, 21), {(What.FROM_THE_FUTURE, 21)}, {*range(21, 31)}, next=None
    ),
    "a file of a copy with the same entries": Case(lambda files: put_in(files, of_the_same=True), {(What.OVERLAP, 27)}),
    "a file of a copy with other entries": Case(lambda files: put_in(files, of_the_same=False), {(What.OVERLAP, 27)}),
    "a file of a copy without entries": Case(
        lambda files: put_in(files, of_the_same=True, entries=False), {(What.OVERLAP, 27)}
    ),
    # the side file
    "side file gone": Case(lambda files: (files.folder / layout.STATE).unlink(), {(What.DELETED, None)}),
    "side file garbled": Case(
        lambda files: (files.folder / layout.STATE).write_bytes(b"\xff\x00{"), {(UNREADABLE, None)}
    ),
    "side file with other values": Case(
        lambda files: (files.folder / layout.STATE).write_bytes(b'{"journal": 1e999}'), {(UNREADABLE, None)}
    ),
    "side file nested without end": Case(
        lambda files: (files.folder / layout.STATE).write_bytes(b"[" * 100_000), {(UNREADABLE, None)}
    ),
    "side file and a first line gone": Case(
        lambda files: ((files.folder / layout.STATE).unlink(), files.first_line(21, b"")),
        {(What.DELETED, None), (UNREADABLE, 21)},
    ),
    "an older copy put back": Case(lambda files: say_delivered(files, 40), {(GAP, 31)}),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_found_with_its_place_and_the_rest_is_read(damaged: Damaged, name: str) -> None:
    case = CASES[name]
    case.do(damaged)
    folder = damaged.folder
    before, segments = contents(folder), layout.segment_paths(folder)

    findings = list(verify(folder))
    assert {(finding.what, finding.seq) for finding in findings} == case.found
    assert all(finding.sentence and finding.path.is_relative_to(folder) for finding in findings)
    assert contents(folder) == before, "verify changes nothing"

    with closing(FileJournal.open(folder)) as journal:
        entries = read_all(journal)
        assert ALL - {entry.seq for entry in entries} == (case.lost or set())
        assert {entry.seq for entry in entries if entry.damage} == (case.damaged or set())
        assert all(entry.payload == payload(entry.seq) for entry in entries if not entry.damage)
        told = case.found if case.told is None else case.told
        assert {(finding.what, finding.seq) for finding in journal.damage} == told
        seq = journal.append(b"life goes on")
        assert seq == (_behind(segments[-1], before) if case.next is None else case.next)
        assert [entry.payload for entry in journal.read(seq - 1, 10)] == [b"life goes on"]
        journal.tend()

    with closing(FileJournal.open(folder)) as journal:
        assert journal.append(b"and on") == seq + 1
        again = read_all(journal)
        assert [entry for entry in again if entry.seq < seq] == entries
        assert [entry.payload for entry in again if entry.seq >= seq] == [b"life goes on", b"and on"]
    for path in segments:
        kept = path.read_bytes()
        assert kept == before[path.name] or (path == segments[-1] and kept.startswith(before[path.name]))


def _behind(path: Path, sizes: dict[str, bytes]) -> int:
    return layout.first_seq_of(path) + len(sizes[path.name]) // 68 + 1


def test_a_tail_torn_at_any_byte_is_left_and_loses_only_its_line(damaged: Damaged) -> None:
    last, end = damaged.paths[2], damaged.start(31)
    whole, begin = last.read_bytes(), damaged.start(30)
    cuts = [*range(begin + 1, begin + 80), *range(begin + 80, end, 97), end - 2, end - 1]
    for cut in cuts:
        for path in layout.segment_paths(damaged.folder)[3:]:
            path.unlink()
        last.write_bytes(whole[:cut])
        assert [(finding.what, finding.seq) for finding in verify(damaged.folder)] == [(TORN, 30)], cut
        with closing(FileJournal.open(damaged.folder)) as journal:
            assert journal.append(b"instead") == 30, cut
            assert [entry.payload for entry in read_all(journal)[28:]] == [payload(29), b"instead"], cut
            assert [(finding.what, finding.seq) for finding in journal.damage] == [(TORN, 30)], cut
        assert last.read_bytes() == whole[:cut], cut


def test_a_number_with_a_flipped_bit_behind_a_gap_does_not_hide_what_follows(damaged: Damaged) -> None:
    damaged.put(13, 2, b"xx")  # so that 14 cannot be checked against it
    damaged.put(14, 0, b"19")
    with closing(FileJournal.open(damaged.folder)) as journal:
        entries = read_all(journal)
    assert [entry.seq for entry in entries] == [seq for seq in range(1, 31) if seq != 13]
    assert all(entry.payload == payload(entry.seq) and not entry.damage for entry in entries)
    assert {(finding.what, finding.seq) for finding in journal.damage} == {(UNREADABLE, 13), (MISMATCH, 14)}


def test_nor_does_one_at_the_end_of_a_file(damaged: Damaged) -> None:
    damaged.put(19, 2, b"xx")
    damaged.put(20, 0, b"90")
    with closing(FileJournal.open(damaged.folder)) as journal:
        assert [entry.seq for entry in read_all(journal)] == [seq for seq in range(1, 31) if seq not in (19, 20)]
    assert {(finding.what, finding.seq) for finding in journal.damage} == {(UNREADABLE, 19)}


def test_what_was_said_of_lost_entries_is_not_believed_of_new_ones(damaged: Damaged) -> None:
    """Else retention would take away what has never been delivered."""
    say_delivered(damaged, 30)
    damaged.paths[2].unlink()
    with closing(FileJournal.open(damaged.folder, segment_bytes=1, keep_delivered_s=0)) as journal:
        assert journal.delivered_seq == 20
        for _ in range(5):
            journal.append(b"new")
        journal.tend()
        assert [entry.seq for entry in read_all(journal)] == [21, 22, 23, 24, 25]


def test_an_entry_as_it_was_written_stays_one_whatever_the_file_is_called(damaged: Damaged) -> None:
    """Two files, of which the older one goes further: what is appended next must not be hidden behind it."""
    copy = Path(shutil.copytree(damaged.folder, damaged.folder.with_name("older")))
    with closing(FileJournal.open(damaged.folder)) as journal:
        for seq in range(31, 41):
            journal.append(payload(seq))
    older = Damaged(copy)
    older.cut(older.paths[2], older.start(26))
    with closing(FileJournal.open(copy, segment_bytes=1)) as journal:
        journal.append(b"26 again")
    shutil.copy(layout.segment_path(copy, 26), damaged.folder)
    with closing(FileJournal.open(damaged.folder)) as journal:
        assert journal.append(b"seen") == 41
        entries = read_all(journal)
        assert [entry.seq for entry in entries] == [*range(1, 42)]
        assert entries[-1].payload == b"seen"
        for after in range(41):  # wherever a restarted delivery goes on
            assert journal.read(after, 1)[0].seq == after + 1
        assert [(finding.what, finding.seq) for finding in journal.damage] == [(What.OVERLAP, 26)]


def test_verify_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="nowhere"):
        list(verify(tmp_path / "nowhere"))


# -- any damage at all

_SIZES = st.sampled_from([0, 1, 2, 10, 100, 512, 4096, 1 << 20])
_DAMAGE = st.tuples(
    st.sampled_from(["flip", "zero", "garbage", "cut", "insert", "insert a line feed", "delete", "reverse"]),
    st.integers(0, 2),  # which file
    st.floats(0, 1),  # where in it
    st.booleans(),  # at the begin of a block
    _SIZES,
    st.integers(1, 255),
)


def do_damage(folder: Path, kind: str, file: int, where: float, in_block: bool, size: int, bits: int) -> None:
    path = layout.segment_paths(folder)[file]
    content = path.read_bytes()
    begin = int(where * len(content))
    begin -= begin % 4096 if in_block else 0
    end = min(len(content), begin + size)
    old = content[begin:end]
    new = {
        "flip": bytes(byte ^ bits for byte in old),
        "zero": bytes(len(old)),
        "garbage": random.Random(bits).randbytes(len(old)),
        "cut": b"",
        "insert": random.Random(bits).randbytes(size) + old,
        "insert a line feed": b"\n" + old,
        "delete": b"",
        "reverse": old[::-1],
    }[kind]
    path.write_bytes(content[:begin] + new + (b"" if kind == "cut" else content[end:]))


def untold(gone: set[int], places: set[int | None]) -> set[int]:
    """Those of the entries that are gone for which no finding stands at them, or before them with only such between."""
    return {seq for seq in gone if not places & {*range(max({*range(seq)} - gone, default=0) + 1, seq + 1)}}


@settings(
    max_examples=100,
    deadline=2000,  # ms, for one example
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(_DAMAGE, min_size=1, max_size=3))
def test_whatever_the_damage_the_rest_is_read_and_nothing_is_passed_over_in_silence(
    sound: Path, damage: list[tuple[str, int, float, bool, int, int]]
) -> None:
    folder = sound.with_name("any-damage")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    whole = {seq: b"\n" + line for seq, line in _entry_lines(folder).items()}
    for one in damage:
        do_damage(folder, *one)
    files = Damaged(folder)
    intact = {seq for seq, line in whole.items() if line in files.file_of(seq).read_bytes()}

    found = list(verify(folder))
    with closing(FileJournal.open(folder)) as journal:
        entries = read_all(journal)
        returned = {entry.seq: entry for entry in entries}
        assert set(returned) <= ALL
        for seq, entry in returned.items():
            if not entry.damage and (len(damage) == 1 or not _follows_a_loss(seq, returned)):
                assert entry.payload == payload(seq), "what is not marked as damaged is what was written"
        assert intact <= {seq for seq, entry in returned.items() if entry.payload == payload(seq)}
        if len(damage) == 1:
            assert not any(returned[seq].damage for seq in intact)
        gone = ALL - {entry.seq for entry in entries if not entry.damage}
        if _ends_between_lines(files.paths[2]):  # of entries behind that nothing is left that could tell
            gone -= {*range(max(returned, default=0) + 1, ENTRIES + 1)}
        assert not untold(gone, {finding.seq for finding in found}), found
        assert not untold(gone, {finding.seq for finding in journal.damage}), journal.damage

        seq = journal.append(b"life goes on")
        assert seq > max(returned, default=0)
        assert [(entry.payload, entry.damage) for entry in journal.read(seq - 1, 10)] == [(b"life goes on", "")]
    with closing(FileJournal.open(folder)) as journal:
        again = read_all(journal)
        assert again[:-1] == entries
        assert again[-1].payload == b"life goes on"


def _entry_lines(folder: Path) -> dict[int, bytes]:
    return {
        layout.first_seq_of(path) + index: line
        for path in layout.segment_paths(folder)
        for index, line in enumerate(lines(path)[1:])
    }


def _follows_a_loss(seq: int, returned: dict[int, object]) -> bool:
    """What it could be checked against is lost: of several damages one may have hit it unseen."""
    return seq - 1 not in returned


def _ends_between_lines(path: Path) -> bool:
    return path.read_bytes()[-1:] in (b"\n", b"")


def test_reading_damage_is_quick_even_where_nothing_is_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with closing(FileJournal.open(folder, segment_bytes=1)) as journal:
        journal.append(b"1")
        journal.append(b"2")
    first = layout.segment_paths(folder)[0]
    for content in (bytes(10_000_000), b"\n" * 200_000, b"1 " + b"f" * 10_000_000):
        first.write_bytes(content)
        begun = time.monotonic()
        with closing(FileJournal.open(folder)) as journal:
            assert [entry.payload for entry in journal.read(0, 10)] == [b"2"]
        assert list(verify(folder))
        assert time.monotonic() - begun < 10


def test_the_sentences_name_file_and_place(damaged: Damaged) -> None:
    damaged.put(15, 10, b"z")
    (finding,) = verify(damaged.folder)
    assert re.search(
        r"entries 15 to 15 cannot be read: bytes \d+ to \d+ of .*segment-0{18}11\.journal", finding.sentence
    )


def test_the_first_line_of_a_file_cut_short_leaves_no_gap(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path)):
        (segment,) = layout.segment_paths(tmp_path)
        with open(segment, "ab") as file:
            file.write(b"1 abcdef")  # what a kill left of the very first append
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.append(b"x") == 1
        assert [entry.seq for entry in journal.read(0, 10)] == [1]
        assert {finding.what for finding in journal.damage} == {What.TORN_TAIL}
    assert list(verify(tmp_path)) == []
