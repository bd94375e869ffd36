"""Where records wait while the journal cannot be written."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from audit_wrapper import codec, outbox
from audit_wrapper.failures import Failures
from audit_wrapper.journal import MemoryJournal
from audit_wrapper.outbox import Outbox
from audit_wrapper.records import Record, RecordKind


def record(reason: str, kind: RecordKind = RecordKind.REPORTED) -> Record:
    return Record(
        version=codec.VERSION, record_id=uuid7(), kind=kind, reason=reason, called_at=datetime(2026, 11, 23, tzinfo=UTC)
    )


class Desk:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.failures = Failures()
        self.outbox = Outbox(self.journal, self.failures, lambda sentence: record(sentence, RecordKind.GAP))

    def put(self, *reasons: str) -> None:
        for reason in reasons:
            self.outbox.put(record(reason))

    @property
    def kept(self) -> list[str | None]:
        return [codec.decode(entry.payload).reason for entry in self.journal.read(0, 1_000_000)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_records_wait_in_order_and_go_in_with_the_first_write_that_works(desk: Desk) -> None:
    desk.put("1")
    desk.journal.fail("the disk is full")
    desk.put("2", "3")
    assert desk.outbox.waiting == 2
    assert desk.failures.counts == {"writing the journal": 2}  # each put tries again
    desk.journal.fail(None)
    desk.put("4")
    assert desk.kept == ["1", "2", "3", "4"]
    assert desk.outbox.waiting == 0


def test_they_go_in_also_when_no_other_record_comes(desk: Desk) -> None:
    desk.journal.fail("the disk is full")
    desk.put("1", "2")
    desk.journal.fail(None)
    desk.outbox.retry()
    assert desk.kept == ["1", "2"]


@pytest.mark.parametrize(("limit", "size"), [(3, 1 << 30), (100, 3 * 400)])
def test_memory_is_bounded_and_what_was_lost_is_a_record(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: int, size: int
) -> None:
    monkeypatch.setattr(outbox, "_WAITING_LIMIT", limit)
    monkeypatch.setattr(outbox, "_WAITING_BYTES", size)
    desk.journal.fail("the disk is full")
    padding = "x" * (400 - len(codec.encode(record("0"))))
    desk.put(*(f"{n}{padding}" for n in range(5)))
    assert desk.outbox.waiting == 3
    assert desk.failures.counts["records lost"] == 2
    desk.journal.fail(None)
    desk.put("6")
    assert [reason.replace("x", "") for reason in desk.kept[:3] if reason] == ["0", "1", "2"]
    gap, last = desk.kept[3:]
    assert last == "6"
    assert gap is not None
    assert gap.startswith("2 records since 2026-11-23"), "the newest were lost: the oldest are the story's beginning"
    desk.put("7")
    assert desk.kept[-1] == "7"
    assert len(desk.kept) == 6, "the gap is said once"


def test_a_signal_handler_may_trade_in_the_middle_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    append = desk.journal.append
    desk.journal.fail("the disk is full")
    desk.put("1")
    desk.journal.fail(None)
    nested = iter(["from the handler"])

    def interrupted(payload: bytes, **how: bool) -> int:
        for reason in nested:
            desk.put(reason)
        return append(payload, **how)

    monkeypatch.setattr(desk.journal, "append", interrupted)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for itself"))
    signal.alarm(5)
    try:
        desk.outbox.retry()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert desk.kept == ["1", "from the handler"]


def test_a_journal_closed_in_the_middle_of_a_write_is_followed_by_the_next_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the record would wait for one more, and at the interpreter's exit there is none."""
    following, append = MemoryJournal(), desk.journal.append

    def closed_meanwhile(payload: bytes, **how: bool) -> int:
        desk.outbox.use_journal(following)
        desk.journal.close()
        return append(payload, **how)

    monkeypatch.setattr(desk.journal, "append", closed_meanwhile)
    desk.put("1")
    assert [codec.decode(entry.payload).reason for entry in following.read(0, 10)] == ["1"]
    assert desk.outbox.waiting == 0
    assert desk.failures.counts == {}
