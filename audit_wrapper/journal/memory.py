"""The journal in memory: the same behaviour without a disk, for tests of whatever uses a journal."""

import threading
import uuid
from bisect import bisect_right

from uuid_utils.compat import uuid7

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import chain, line
from audit_wrapper.journal.finding import Finding
from audit_wrapper.journal.interface import READ_BYTES, Entry, Room


class MemoryJournal:
    """A `Journal` that is gone with the process. `fail(sentence)` makes `append` raise until `fail(None)`."""

    def __init__(self) -> None:
        self._stream = uuid7()
        self._stream_after = 0
        self._entries: list[Entry] = []
        self._hash = chain.genesis(self._stream)
        self._seq = 0
        self._delivered_seq = 0
        self._bytes = 0
        self._failure: str | None = None
        self._closed = False
        self._lock = threading.RLock()

    @property
    def stream(self) -> uuid.UUID:
        return self._stream

    @property
    def stream_after(self) -> int:
        return self._stream_after

    @property
    def durable_seq(self) -> int:
        return self._seq

    @property
    def delivered_seq(self) -> int:
        return self._delivered_seq

    @property
    def bytes_on_disk(self) -> int:
        return self._bytes

    @property
    def room(self) -> Room | None:
        return None

    @property
    def damage(self) -> tuple[Finding, ...]:
        return ()

    def fail(self, sentence: str | None) -> None:
        self._failure = sentence

    @property
    def is_forced(self) -> bool:
        return True

    def force(self) -> None:
        with self._lock:
            self._refuse_if_closed()

    def append(self, payload: bytes, *, force: bool = True) -> int:
        if line.END in payload:
            raise ValueError("a payload of the journal is one line, and there is a line feed in this one")
        with self._lock:
            self._refuse_if_closed()
            if self._failure is not None:
                raise JournalUnavailable(self._failure)
            seq = self._seq + 1
            self._hash = chain.link(self._hash, seq, payload)
            self._entries.append(Entry(seq, payload, self._hash))
            self._bytes += len(payload)
            self._seq = seq
            return seq

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        with self._lock:
            self._refuse_if_closed()
            start = bisect_right(self._entries, after_seq, key=lambda entry: entry.seq)
            taken: list[Entry] = []
            for entry in self._entries[start : start + max(limit, 0)]:
                if taken and len(entry.payload) > max_bytes:
                    break
                taken.append(entry)
                max_bytes -= len(entry.payload)
                if max_bytes <= 0:
                    break
            return taken

    def delivered(self, seq: int) -> None:
        with self._lock:
            self._refuse_if_closed()
            self._delivered_seq = max(self._delivered_seq, seq)

    def branch(self, after_seq: int) -> None:
        with self._lock:
            self._refuse_if_closed()
            self._stream, self._stream_after = uuid7(), after_seq
            self._delivered_seq = after_seq

    def tend(self) -> None:
        with self._lock:
            self._refuse_if_closed()

    def close(self) -> None:
        self._closed = True

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise JournalUnavailable("the journal in memory was closed")
