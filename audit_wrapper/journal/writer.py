"""The order path: one insert into the segment being written, and what to do when that does not go.

Everything here is guarded by `lock`, which is held for the time of an insert. Nothing done under it waits for a
reader, a checkpoint or (unless durability is "power") the disk. What is in the file is the truth; `seq` and `hash`
are copies of it, and are taken from the file again whenever an insert fails.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic
from uuid import UUID

from audit_wrapper.errors import JournalError, JournalUnavailable
from audit_wrapper.journal import layout
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.opening import Opened
from audit_wrapper.journal.segment import INSERT, LiveSegment, Origin, create
from audit_wrapper.journal.shelf import Held, Shelf

_LOOK_S = 0.01  # how long a file is believed to be where it was
_ENTRY_BYTES = 64  # what an entry takes besides its payload, about
_ATTEMPTS = 10  # at one number, when appends cross
_NEVER = 1 << 62
_LEAST_MARGIN, _MARGIN = 8, 64  # how many entries may come while the next segment is being made


class Writer:
    """Appends. `refusal`: set when nobody may append any more, with the sentence to say."""

    def __init__(
        self,
        folder: Path,
        opened: Opened,
        shelf: Shelf,
        findings: Findings,
        *,
        power: bool,
        segment_bytes: int,
        renew_lock: Callable[[], None],
    ) -> None:
        # Reentrant: a signal handler may close positions in the middle of an append on the same thread. Both then
        # try the same number, the file refuses the second, and it takes the next one. Whoever was interrupted leaves
        # `_suspect` set, so the next append takes number and hash from the file.
        self.lock = threading.RLock()
        self.refusal = ""
        self.seq = opened.seq
        self._hash = opened.hash
        self._folder = folder
        self._stream: UUID = opened.state.stream
        self._stream_bytes = opened.state.stream.bytes
        self._shelf = shelf
        self._findings = findings
        self._power = power
        self._segment_bytes = segment_bytes
        self._renew_lock = renew_lock
        self._prepared: LiveSegment | None = None
        self._margin = _MARGIN
        self._turn_at = _NEVER  # the number at which the prepared segment takes over
        self._reserved = 0  # the number for which `prepare` is making one now
        self._suspect = False  # the last insert failed: look before the next one
        self._entered = 0  # how often `_append` was begun
        self._look_at = 0.0
        self._skip_past = 0  # numbers up to here are taken, as the store knows
        self._live = opened.live
        used = opened.seq >= opened.live.first_seq
        self._use(opened.live, written=layout.size(opened.live.path) if used else 0)

    @property
    def live(self) -> LiveSegment:
        return self._live

    def _use(self, live: LiveSegment, written: int) -> None:
        self._live = live
        self._insert = live.insert
        self._wal = live.wal
        self._written = written
        self._full_at = self._segment_bytes
        self._shelf.add(Held(live.path, live.first_seq, live))

    def append(self, payload: bytes) -> int:
        with self.lock:
            if self.refusal:
                raise JournalUnavailable(self.refusal)
            for attempt in range(_ATTEMPTS):
                try:
                    return self._append(payload)
                except (OSError, sqlite3.Error) as problem:
                    # Another append came in between: it took the number, or renewed the connection.
                    crossed = isinstance(problem, (sqlite3.IntegrityError, sqlite3.ProgrammingError))
                    if not crossed or attempt == _ATTEMPTS - 1:
                        raise self._unavailable(problem) from problem
        raise AssertionError("unreachable")

    def _append(self, payload: bytes) -> int:
        entered = self._entered = self._entered + 1
        now = monotonic()
        if self._suspect or now >= self._look_at:
            self._look_at = now + _LOOK_S
            # A file that was deleted still takes writes, and they go with the process: its name must be there.
            if self._suspect or not os.path.exists(self._wal):
                self._mend()
        seq = self.seq + 1
        if seq >= self._turn_at or self._written >= self._full_at or seq <= self._skip_past:
            self._turn()
            seq = self.seq + 1
        digest = sha256(b"".join((self._hash, self._stream_bytes, seq.to_bytes(8, "big"), payload))).digest()
        if entered != self._entered:
            self._suspect = True
            raise sqlite3.ProgrammingError("another append came in the middle of this one")
        self._suspect = True  # until it is certain, whatever interrupts
        self._insert(INSERT, (seq, digest, payload))
        if seq > self.seq:
            self.seq = seq
            self._hash = digest
        self._suspect = entered != self._entered
        self._written += len(payload) + _ENTRY_BYTES
        return seq

    def _mend(self) -> None:
        """After a failure: go on where the file is, or in a new one if it is gone."""
        live, entered = self._live, self._entered
        if live.is_there():
            seq, digest = live.reopen_writer() or (live.first_seq - 1, self._hash)
            self._insert = live.insert
            if seq >= self.seq:
                self.seq, self._hash, self._suspect = seq, digest, False
                return
            if entered != self._entered:
                return  # another append came in between, and went on from there; this one begins again
            what, sentence = What.GAP, f"{live.path} ends at {seq}, though {self.seq} had been written"
        else:
            what = What.DELETED
            sentence = f"{live.path} was deleted while it was written: its entries last as long as this process"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._renew_lock()
        self._discard_prepared()
        self._begin_at(self.seq + 1, note=sentence)
        self._findings.add(Finding(live.path, None, what, sentence))
        self._suspect = False

    def _turn(self) -> None:
        """Go on in another segment: the prepared one if it was made for this number, else a new one."""
        prepared, seq = self._prepared, self.seq + 1
        if self._skip_past >= seq:
            self._discard_prepared()
            note = f"the store has entries up to {self._skip_past}, this disk only up to {self.seq}"
            self._begin_at(self._skip_past + 1, note=note)
            self._findings.add(
                Finding(self._live.path, seq, What.GAP, f"{self._live.path.name} does not follow: {note}")
            )
            self.seq = self._skip_past
        elif seq == self._reserved:
            return  # `prepare` is making a segment of just this name: one more entry in the old one
        elif prepared is not None and prepared.first_seq == seq and prepared.is_there():
            prepared.set_previous_hash(self._hash)
            self._prepared, self._turn_at = None, _NEVER
            self._use(prepared, written=0)
        else:
            self._discard_prepared()
            self._begin_at(seq, note="")

    def _begin_at(self, first_seq: int, note: str) -> None:
        if first_seq == self._reserved:
            raise OSError(f"segment {first_seq} is being made this moment")
        path = create(self._folder, Origin(self._stream, first_seq, self._hash, note), sync=self._power or bool(note))
        self._use(LiveSegment(path, power=self._power), written=0)

    def skip_past(self, seq: int) -> None:
        """The store has entries up to `seq` that this journal has not: their numbers must not be used again."""
        with self.lock:
            if seq > self.seq:
                self._skip_past = max(self._skip_past, seq)

    def look(self) -> None:
        """Find out by the way whether the file being written is still there. For `tend`."""
        with self.lock:
            if self.refusal or (not self._suspect and self._live.is_there()):
                return
            try:
                self._mend()
            except (OSError, sqlite3.Error) as problem:
                raise self._unavailable(problem) from problem

    def prepare(self, log_bytes: int) -> None:
        """Make the next segment ahead of its time, so that the append that turns to it need not. For `tend`.

        Also when the log has grown as long as a segment may be: under a steady stream of appends SQLite cannot begin
        it anew, but sealing the segment cuts it.
        """
        with self.lock:
            full = self._written >= self._segment_bytes * 7 // 8 or log_bytes >= self._segment_bytes
            if self.refusal or self._prepared is not None or not full or self._skip_past > self.seq:
                return
            entries = max(1, self.seq + 1 - self._live.first_seq)
            room = (self._segment_bytes - self._written) * entries // max(1, self._written)
            margin = min(max(room, _LEAST_MARGIN), self._margin)
            first_seq = self._reserved = self.seq + 1 + margin
        prepared: LiveSegment | None = None
        try:
            path = create(self._folder, Origin(self._stream, first_seq, b""), sync=True)
            prepared = LiveSegment(path, power=self._power)
        except (OSError, sqlite3.Error) as problem:
            raise self._unavailable(problem) from problem
        finally:
            self._offer(prepared, first_seq)

    def _offer(self, prepared: LiveSegment | None, first_seq: int) -> None:
        with self.lock:
            self._reserved = 0
            if prepared is None:
                return
            if self.refusal or self.seq + 1 > first_seq:  # appends were faster
                self._margin *= 2
                prepared.close()
                layout.remove_segment(prepared.path)
            else:
                self._prepared, self._turn_at = prepared, first_seq
                self._full_at = self._segment_bytes * 2  # a few entries more, rather than a file made in an append

    def _discard_prepared(self) -> None:
        prepared, self._prepared, self._turn_at = self._prepared, None, _NEVER
        self._full_at = self._segment_bytes
        if prepared is not None:
            with suppress(OSError, sqlite3.Error):
                prepared.close()
                layout.remove_segment(prepared.path)

    def prepared_connections(self) -> list[sqlite3.Connection]:
        return [self._prepared.reader, self._prepared.writer] if self._prepared else []

    def close(self, refusal: str) -> None:
        """Refuse from now on. The segment itself is closed with the shelf it stands on."""
        with self.lock:
            self.refusal = refusal
            self._discard_prepared()

    def _unavailable(self, problem: Exception) -> JournalError:
        if isinstance(problem, JournalError):
            return problem
        self._suspect = True
        return JournalUnavailable(
            f"the journal in {self._folder} cannot be written ({problem}): see that the disk has room and the folder "
            "is there and writable; appending is tried again at every call"
        )
