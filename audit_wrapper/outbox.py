"""The last step on the order path: a record becomes bytes, and the bytes are in the journal.

While the journal cannot be written, records wait in memory, in order, and go in with the first write that works.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

import msgspec

from audit_wrapper import codec
from audit_wrapper.failures import Failures
from audit_wrapper.records import Record

_WAITING_LIMIT = 100_000


class Appends(Protocol):
    """What this needs of a journal."""

    def append(self, payload: bytes) -> int:
        """Keep the bytes for good; the sequence number they got."""
        ...


class Outbox:
    """Where the recorder puts its records."""

    def __init__(self, journal: Appends, failures: Failures) -> None:
        self._journal = journal
        self._failures = failures
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self.recorded = 0

    def use_journal(self, journal: Appends) -> None:
        """Records go there from now on, also those that wait."""
        self._journal = journal

    @property
    def waiting(self) -> int:
        """Records that wait in memory for the journal."""
        return len(self._waiting)

    def put(self, record: Record) -> None:
        """Keep the record. Never raises because of the journal: what it refuses waits."""
        try:
            payload = codec.encode(record)
        except Exception as problem:  # a text no encoder takes: rather a poor record than none
            self._failures.note("encoding a record", problem)
            payload = codec.encode(_poor(record, problem))
        self.recorded += 1
        if not self._waiting:
            try:
                self._journal.append(payload)
                return
            except Exception as problem:  # whatever the journal's trouble is, the record waits
                self._failures.note("writing the journal", problem)
        with self._lock:
            self._waiting.append(payload)
            self._put_waiting()

    def _put_waiting(self) -> None:
        try:
            while self._waiting:
                self._journal.append(self._waiting[0])
                self._waiting.popleft()
        except Exception as problem:  # as in put
            self._failures.note("writing the journal", problem)
            if len(self._waiting) > _WAITING_LIMIT:
                self._waiting.pop()
                self._failures.note("records lost", "the journal cannot be written, and the memory for records is full")


def _poor(record: Record, problem: Exception) -> Record:
    return msgspec.structs.replace(
        record,
        call=None,
        meant=None,
        request=None,
        response=None,
        result=None,
        failure=None,
        position=None,
        market=None,
        operation=None,
        reason=f"the rest could not be encoded: {type(problem).__name__}",
    )
