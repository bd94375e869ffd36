"""Delivery against a store that fails on demand: nothing is lost, nothing is there twice, nothing blocks what follows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from audit_wrapper import AuditTrail, codec
from audit_wrapper.delivery import Delivery
from audit_wrapper.errors import InvalidRow, SchemaError, StoreUnavailable
from audit_wrapper.failures import Failures
from audit_wrapper.heartbeat import last_beat
from audit_wrapper.journal import Entry, MemoryJournal
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.settings import Settings


class Store:
    """Keeps what it is given; fails as it is told."""

    def __init__(self) -> None:
        self.taken: dict[int, Record] = {}
        self.batches: list[int] = []
        self.set_aside: dict[int, str] = {}
        self.marks: dict[UUID, tuple[int, bytes]] = {}
        self.hashes: dict[tuple[UUID, int], bytes] = {}
        self.refuse: set[int] = set()
        self.fail_next: list[Exception] = []
        self.fail_after_commit: list[Exception] = []
        self.failed = threading.Event()
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1
        self._maybe_fail()

    async def close(self) -> None: ...

    async def at_leisure(self) -> None: ...

    async def delivered(self, stream: UUID) -> tuple[int, bytes]:
        return self.marks.get(stream, (0, b""))

    async def holds(self, stream: UUID, entries: Sequence[Entry]) -> int:
        known = [self.hashes.get((stream, entry.seq)) == entry.hash for entry in entries]
        return known.index(False) if False in known else len(known)

    async def deliver(self, stream: UUID, entries: Sequence[Entry], records: Sequence[Record]) -> None:
        self._maybe_fail()
        if any(entry.seq in self.refuse for entry in entries):
            raise InvalidRow("a row that cannot be")
        assert all((stream, entry.seq) not in self.hashes for entry in entries), "nothing comes twice"
        self.taken.update(zip((entry.seq for entry in entries), records, strict=True))
        self.batches.append(len(entries))
        for entry in entries:
            self._note(stream, entry)
        if self.fail_after_commit:
            raise self.fail_after_commit.pop(0)

    async def quarantine(self, stream: UUID, entry: Entry, reason: str) -> None:
        self.set_aside[entry.seq] = reason
        self._note(stream, entry)

    def _note(self, stream: UUID, entry: Entry) -> None:
        assert entry.seq > self.marks.get(stream, (0, b""))[0], "the mark never goes back"
        self.marks[stream] = (entry.seq, entry.hash)
        self.hashes[stream, entry.seq] = entry.hash

    async def count_quarantined(self, stream: UUID) -> int:
        return len(self.set_aside)

    async def relink(self) -> int:
        return 0

    def _maybe_fail(self) -> None:
        if self.fail_next:
            self.failed.set()
            raise self.fail_next.pop(0)


class Rig:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.store = Store()
        self.failures = Failures()
        settings = Settings.load({"delivery_batch": 8, "delivery_pause_s": 0.01}, environ={})
        self.delivery = Delivery(self.journal, lambda: self.store, settings, self.failures)

    def record(self, count: int) -> None:
        for _ in range(count):
            record = Record(version=codec.VERSION, record_id=uuid7(), kind=RecordKind.REPORTED)
            self.journal.append(codec.encode(record))

    async def delivered(self) -> None:
        await asyncio.wait_for(asyncio.wrap_future(self.delivery.reached(self.journal.durable_seq)), 20)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.delivery.stop(5)


async def test_everything_arrives_in_order_and_in_batches(rig: Rig) -> None:
    rig.record(50)
    rig.delivery.start()
    await rig.delivered()
    assert sorted(rig.store.taken) == list(range(1, 51))
    assert max(rig.store.batches) == 8


async def test_a_database_away_is_tried_again_until_it_is_back(rig: Rig) -> None:
    rig.store.fail_next = [StoreUnavailable("refused")] * 4
    rig.record(5)
    rig.delivery.start()
    await rig.delivered()
    assert sorted(rig.store.taken) == [1, 2, 3, 4, 5]
    assert rig.failures.counts == {"database away": 4}
    assert rig.store.opened >= 5, "each try is a new connection"


async def test_a_commit_whose_answer_is_lost_is_not_made_twice(rig: Rig) -> None:
    rig.store.fail_after_commit = [StoreUnavailable("connection cut during COMMIT")]
    rig.record(5)
    rig.delivery.start()
    await rig.delivered()
    assert sorted(rig.store.taken) == [1, 2, 3, 4, 5]
    assert sum(rig.store.batches) == 5, "the mark in the store said that it was there"


async def test_a_record_that_the_store_refuses_does_not_block_those_behind_it(rig: Rig) -> None:
    rig.store.refuse = {3, 17}
    rig.record(30)
    rig.delivery.start()
    await rig.delivered()
    assert set(rig.store.set_aside) == {3, 17}
    assert sorted(rig.store.taken) == [seq for seq in range(1, 31) if seq not in (3, 17)]
    assert rig.delivery.quarantined == 2


async def test_bytes_that_are_no_record_are_set_aside(rig: Rig) -> None:
    rig.record(2)
    rig.journal.append(b"\xff not a record")
    rig.record(2)
    rig.delivery.start()
    await rig.delivered()
    assert list(rig.store.set_aside) == [3]
    assert sorted(rig.store.taken) == [1, 2, 4, 5]


async def test_a_schema_that_cannot_be_used_is_said_and_tried_again(rig: Rig) -> None:
    rig.store.fail_next = [SchemaError("no rights: run GRANT ...")]
    rig.record(1)
    rig.delivery.start()
    assert await asyncio.to_thread(rig.store.failed.wait, 5)
    await rig.delivered()
    assert rig.failures.counts == {"schema": 1}


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (KeyError("rows"), "KeyError: 'rows'"),
        (TimeoutError(), "TimeoutError"),
        (StoreUnavailable("no route to postgresql://bot:hunter2@db/bot"), "no route to postgresql://bot:***@db/bot"),
        (OSError("GET /x?signature=c8db56825ae71d6d79447849e6"), "OSError: GET /x?signature=***"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_wrong_is_said_in_words_without_secrets(tmp_path: Path, problem: Exception, words: str) -> None:
    """In `status()`, in status.json, and to whoever closes the trail."""
    made = threading.Event()
    trail = AuditTrail.open("postgresql://x@127.0.0.1:1/x", journal=tmp_path, ask_exchange="off", close_timeout_s=0.01)
    try:
        trail._recorder.missing("something")
        delivery = trail._pipeline.delivery
        assert isinstance(delivery, Delivery)

        def refuse() -> Store:
            made.set()
            raise problem

        delivery._make_store = refuse  # type: ignore[assignment]
        assert made.wait(20)
        deadline = time.monotonic() + 20
        while (trail.status().last_error, trail.status().store) != (words, f"trying again: {words}"):
            assert time.monotonic() < deadline, trail.status()
            time.sleep(0.01)
    finally:
        left = trail.close()
    assert left.problem == words
    beat = last_beat(tmp_path)
    assert beat is not None
    assert (beat.status.last_error, beat.closed) == (words, True)


def test_stopping_delivers_what_is_there(rig: Rig) -> None:
    rig.record(20)
    rig.delivery.start()
    assert rig.delivery.stop(10)
    assert rig.store.marks[rig.journal.stream][0] == 20


def test_stopping_without_a_database_ends_in_time(rig: Rig) -> None:
    rig.store.fail_next = [StoreUnavailable("refused")] * 1_000
    rig.record(1)
    rig.delivery.start()
    assert rig.store.failed.wait(5)
    assert not rig.delivery.stop(0.2)
    assert not rig.delivery._thread.is_alive()


async def test_damaged_bytes_are_set_aside_with_the_reason_though_they_still_make_a_record(rig: Rig) -> None:
    rig.record(4)
    read = rig.journal.read

    def damaged(*arguments: int) -> list[Entry]:
        return [entry._replace(damage="a byte was flipped") if entry.seq == 3 else entry for entry in read(*arguments)]

    rig.journal.read = damaged  # type: ignore[method-assign, assignment]
    rig.delivery.start()
    await rig.delivered()
    assert rig.store.set_aside == {3: "a byte was flipped"}
    assert sorted(rig.store.taken) == [1, 2, 4]


async def test_an_older_copy_of_the_journal_goes_on_as_a_stream_of_its_own(rig: Rig) -> None:
    rig.record(10)
    rig.delivery.start()
    await rig.delivered()
    rig.delivery.stop(5)
    known = rig.store
    first_stream = rig.journal.stream

    old = rig.journal
    copy = MemoryJournal()  # put back from before 7 was written, and traded on before the database was reached
    copy._stream, copy._hash = old._stream, old._entries[5].hash
    copy._entries, copy._seq = old._entries[:6], 6
    rig.journal = copy
    rig.record(3)
    settings = Settings.load({"delivery_batch": 4, "delivery_pause_s": 0.01}, environ={})
    rig.delivery = Delivery(copy, lambda: known, settings, rig.failures)
    rig.delivery.start()
    await rig.delivered()

    assert rig.failures.counts == {"journal and database differ": 1}
    assert copy.stream != first_stream
    assert known.marks[first_stream][0] == 10, "what the database had before is untouched"
    assert known.marks[copy.stream][0] == 9
    assert sorted(seq for stream, seq in known.hashes if stream == copy.stream) == [7, 8, 9]
    rig.record(1)
    await rig.delivered()
    assert known.marks[copy.stream][0] == 10


async def test_what_retention_took_away_does_not_contradict(rig: Rig) -> None:
    rig.record(10)
    rig.delivery.start()
    await rig.delivered()
    rig.delivery.stop(5)
    rig.journal._entries = rig.journal._entries[10:]
    rig.record(2)
    settings = Settings.load({"delivery_pause_s": 0.01}, environ={})
    rig.delivery = Delivery(rig.journal, lambda: rig.store, settings, rig.failures)
    rig.delivery.start()
    await rig.delivered()
    assert rig.failures.counts == {}
    assert rig.store.marks[rig.journal.stream][0] == 12


async def test_what_the_database_lost_and_the_journal_no_longer_has_is_said(rig: Rig) -> None:
    rig.record(10)
    rig.delivery.start()
    await rig.delivered()
    rig.delivery.stop(5)
    journal, stream = rig.journal, rig.journal.stream
    rig.store.marks[stream] = (4, journal._entries[3].hash)  # a standby took over that had received this much
    rig.store.hashes = {place: digest for place, digest in rig.store.hashes.items() if place[1] <= 4}
    journal._entries = journal._entries[6:]  # and retention has been here
    settings = Settings.load({"delivery_pause_s": 0.01}, environ={})
    rig.delivery = Delivery(journal, lambda: rig.store, settings, rig.failures)
    rig.delivery.start()
    await rig.delivered()
    assert rig.failures.counts == {"records lost by the database": 1}
    assert "none from 5 to 6" in (rig.failures.last or "")
    assert {seq for _, seq in rig.store.hashes} == {1, 2, 3, 4, 7, 8, 9, 10}, "what is there is delivered again"
