"""The last step on the order path: a record becomes bytes, and the bytes are in the journal.

While the journal cannot be written, records wait in memory, in order, and go in with the first write that works. There is
room for so many of them; where more are lost, a record says how many and since when.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from time import perf_counter_ns

import msgspec

from audit_wrapper import codec
from audit_wrapper.failures import Failures
from audit_wrapper.journal import Journal
from audit_wrapper.records import Record

_WAITING_LIMIT = 100_000
_WAITING_BYTES = 256 * 1024 * 1024


class Outbox:
    """Where the recorder puts its records.

    gap_record: makes the record that says, in words, what is missing. append_times: is told how many nanoseconds each append
    took; None: nobody wants to know.
    """

    def __init__(
        self,
        journal: Journal,
        failures: Failures,
        gap_record: Callable[[str], Record],
        append_times: deque[int] | None = None,
    ) -> None:
        self._journal = journal
        self._append_times = append_times
        self._failures = failures
        self._gap_record = gap_record
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._lost_since: datetime | None = None
        self._retrying = False
        self._lock = threading.RLock()  # a signal handler of the bot's may trade in the middle of this
        self.recorded = 0

    def use_journal(self, journal: Journal) -> None:
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
        if not self._waiting and self._append(payload):
            return
        with self._lock:
            if self._waiting:
                self.retry()
                if not self._waiting and self._append(payload):
                    return
            if len(self._waiting) >= _WAITING_LIMIT or self._waiting_bytes + len(payload) > _WAITING_BYTES:
                self._lost += 1
                self._lost_since = self._lost_since or record.called_at
                self._failures.note("records lost", "the journal cannot be written, and the memory for records is full")
            else:
                self._waiting.append(payload)
                self._waiting_bytes += len(payload)

    def retry(self) -> None:
        """Write what waits, as far as the journal takes it."""
        with self._lock:
            if self._retrying:
                return  # called by a signal handler in the middle of this: what it put comes after what waits already
            self._retrying = True
            try:
                self._write_waiting()
            finally:
                self._retrying = False

    def _write_waiting(self) -> None:
        while self._waiting:
            payload = self._waiting[0]
            if not self._append(payload):
                return
            self._waiting.popleft()
            self._waiting_bytes -= len(payload)
        if self._lost:
            lost, since = self._lost, self._lost_since
            sentence = f"{lost} records since {since} were lost: the journal could not be written"
            if self._append(codec.encode(self._gap_record(sentence))):
                self._lost, self._lost_since = self._lost - lost, None

    def _append(self, payload: bytes) -> bool:
        journal = self._journal
        try:
            if self._append_times is None:
                journal.append(payload, force=False)  # see `forcing`
            else:
                began = perf_counter_ns()
                journal.append(payload, force=False)
                self._append_times.append(perf_counter_ns() - began)
        except Exception as problem:  # whatever the journal's trouble is, the record waits
            if self._journal is not journal:
                return self._append(payload)  # the trail was closed in the middle of this, and there is another now
            self._failures.note("writing the journal", problem)
            return False
        return True


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
