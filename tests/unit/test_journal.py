"""What every journal does, on disk or in memory: one suite for both."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import FileJournal, Journal, MemoryJournal, chain


@pytest.fixture(params=["memory", "process", "power", "tiny segments"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    make: dict[str, Callable[[], Journal]] = {
        "memory": MemoryJournal,
        "process": lambda: FileJournal.open(tmp_path),
        "power": lambda: FileJournal.open(tmp_path, durability="power"),
        "tiny segments": lambda: FileJournal.open(tmp_path, segment_bytes=500),
    }
    opened = make[request.param]()
    yield opened
    opened.close()


def test_an_empty_journal(journal: Journal) -> None:
    assert journal.durable_seq == 0
    assert journal.delivered_seq == 0
    assert journal.read(0, 10) == []
    assert journal.damage == ()
    journal.tend()


def test_numbers_begin_at_one_and_have_no_gaps(journal: Journal) -> None:
    assert [journal.append(b"x" * 100) for _ in range(30)] == list(range(1, 31))
    assert journal.durable_seq == 30


def test_what_was_appended_is_read_back_in_order(journal: Journal) -> None:
    payloads = [bytes([n + 20]) * (n * 7) for n in range(1, 60)]
    for payload in payloads:
        journal.append(payload)
        journal.tend()
    entries = journal.read(0, 1000)
    assert [entry.payload for entry in entries] == payloads
    assert [entry.seq for entry in entries] == list(range(1, 60))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\xff\r" * 500, "é\u2028".encode(), b"z" * 300_000])
def test_any_bytes_are_kept_exactly(journal: Journal, payload: bytes) -> None:
    seq = journal.append(payload)
    assert journal.read(seq - 1, 1)[0].payload == payload


def test_the_chain_holds_from_the_stream_to_the_last_entry(journal: Journal) -> None:
    for n in range(25):
        journal.append(b"%d" % n * 50)
    previous = chain.genesis(journal.stream)
    for entry in journal.read(0, 100):
        assert entry.hash == chain.link(previous, entry.seq, entry.payload)
        assert not entry.damage
        previous = entry.hash


def test_reading_begins_after_the_number_given(journal: Journal) -> None:
    for _ in range(20):
        journal.append(b"x" * 100)
    assert [entry.seq for entry in journal.read(7, 3)] == [8, 9, 10]
    assert [entry.seq for entry in journal.read(18, 10)] == [19, 20]
    assert journal.read(20, 10) == []
    assert journal.read(999, 10) == []
    assert journal.read(0, 0) == []


def test_reading_stops_before_it_takes_too_many_bytes(journal: Journal) -> None:
    for _ in range(10):
        journal.append(b"x" * 100)
    assert [entry.seq for entry in journal.read(0, 10, max_bytes=350)] == [1, 2, 3]
    assert [entry.seq for entry in journal.read(3, 10, max_bytes=300)] == [4, 5, 6]


def test_an_entry_larger_than_the_bound_comes_alone(journal: Journal) -> None:
    for size in (100, 5_000, 100):
        journal.append(b"x" * size)
    assert [entry.seq for entry in journal.read(1, 10, max_bytes=200)] == [2]
    assert [entry.seq for entry in journal.read(0, 10, max_bytes=200)] == [1]


def test_reading_in_any_portions_gives_the_same(journal: Journal) -> None:
    for n in range(47):
        journal.append(b"%d" % n * 20)
    whole = journal.read(0, 1000)
    for limit, max_bytes in ((1, 10_000), (7, 10_000), (1000, 90), (5, 100)):
        portions, after = [], 0
        while part := journal.read(after, limit, max_bytes):
            portions += part
            after = part[-1].seq
        assert portions == whole


def test_delivered_never_goes_back(journal: Journal) -> None:
    for _ in range(10):
        journal.append(b"x")
    journal.delivered(7)
    journal.delivered(3)
    assert journal.delivered_seq == 7


def test_a_payload_is_one_line(journal: Journal) -> None:
    with pytest.raises(ValueError, match="line feed"):
        journal.append(b"two\nlines")
    assert journal.append(b"one line") == 1


def test_what_the_store_has_otherwise_goes_on_as_another_stream(journal: Journal) -> None:
    for n in range(6):
        journal.append(b"%d" % n)
    before = journal.stream
    assert journal.stream_after == 0
    journal.delivered(6)
    journal.branch(4)
    assert journal.stream != before
    assert (journal.stream_after, journal.delivered_seq) == (4, 4)
    assert journal.append(b"on") == 7
    assert [entry.seq for entry in journal.read(4, 10)] == [5, 6, 7]


def test_it_grows_on_disk(journal: Journal) -> None:
    before = journal.bytes_on_disk
    for _ in range(20):
        journal.append(b"x" * 1000)
    assert journal.bytes_on_disk >= before + 20_000


def test_closing_twice_is_once_and_then_everything_refuses(journal: Journal) -> None:
    journal.append(b"x")
    journal.close()
    journal.close()
    for use in (
        lambda: journal.append(b"y"),
        lambda: journal.read(0, 1),
        lambda: journal.delivered(1),
        journal.tend,
    ):
        with pytest.raises(JournalUnavailable, match="closed"):
            use()


def test_many_threads_append_while_one_reads_and_tends(journal: Journal) -> None:
    threads, each = 5, 40
    told: list[list[int]] = [[] for _ in range(threads)]
    problems: list[BaseException] = []
    read: list[int] = []
    done = threading.Event()

    def append(mine: list[int]) -> None:
        try:
            mine.extend(journal.append(b"x" * 90) for _ in range(each))
        except BaseException as problem:
            problems.append(problem)

    def deliver() -> None:
        try:
            while len(read) < threads * each:
                finished = done.is_set()
                entries = journal.read(read[-1] if read else 0, 50)
                read.extend(entry.seq for entry in entries)
                if entries:
                    journal.delivered(read[-1])
                journal.tend()
                if finished and not entries:
                    return
        except BaseException as problem:
            problems.append(problem)

    appenders = [threading.Thread(target=append, args=(mine,)) for mine in told]
    deliverer = threading.Thread(target=deliver)
    for thread in (*appenders, deliverer):
        thread.start()
    for thread in appenders:
        thread.join()
    done.set()
    deliverer.join()
    assert problems == []
    assert sorted(seq for mine in told for seq in mine) == list(range(1, threads * each + 1))
    assert all(a < b for mine in told for a, b in pairwise(mine))
    assert read == list(range(1, threads * each + 1))


def test_the_memory_journal_can_be_told_to_fail() -> None:
    journal = MemoryJournal()
    journal.fail("the disk is full")
    with pytest.raises(JournalUnavailable, match="the disk is full"):
        journal.append(b"x")
    journal.fail(None)
    assert journal.append(b"x") == 1
