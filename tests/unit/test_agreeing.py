"""Up to which entry a journal and a store agree, where one of them changes meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from audit_wrapper.agreeing import agreed
from audit_wrapper.failures import Failures
from audit_wrapper.journal import Entry, MemoryJournal


class Elsewhere:
    """A store that has six entries of the stream; the journal's writer branches while it is asked the first time."""

    def __init__(self, journal: MemoryJournal, *, branches: bool) -> None:
        self.stream, self._journal, self._branches = journal.stream, journal, branches

    async def delivered(self, stream: UUID) -> tuple[int, bytes]:
        if self._branches:
            self._branches = False
            self._journal.branch(3)
        return (6, b"of another copy") if stream == self.stream else (0, b"")

    async def holds(self, stream: UUID, entries: Sequence[Entry]) -> int:
        return sum(entry.seq <= 3 for entry in entries) if stream == self.stream else 0


def journal_of(count: int) -> MemoryJournal:
    journal = MemoryJournal()
    for number in range(count):
        journal.append(b"%d" % number)
    return journal


async def test_a_journal_that_is_another_gets_a_stream_of_its_own() -> None:
    journal, failures = journal_of(6), Failures()
    store = Elsewhere(journal, branches=False)
    assert await agreed(journal, cast("Any", store), failures, refused=False, at_once=2) == 3
    assert journal.stream != store.stream
    assert failures.counts == {"journal and database differ": 1}


async def test_a_writer_that_has_branched_meanwhile_is_not_asked_to_once_more() -> None:
    journal, failures = journal_of(6), Failures()
    store = Elsewhere(journal, branches=True)
    assert await agreed(journal, cast("Any", store), failures, refused=True, at_once=2) == journal.stream_after == 3
    assert failures.counts == {}
