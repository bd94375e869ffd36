"""The order path: one line at the end of the segment being written, and what to do when that does not go.

`append` holds `lock` for the time of one `write`. Only with durability "power" does it wait for the disk, after the
lock is free, so that whoever comes meanwhile is forced to disk by the same wait.

A signal handler may close positions in the middle of an append on the same thread, and Ctrl-C may break one off
anywhere. So an append says what it is about to write (`_begun`), and whoever comes next compares that with the size of
the file: the line is there, or is not, or is there in part and is cut off.
"""

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.errors import JournalError, JournalNotForced, JournalUnavailable
from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.opening import Opened
from audit_wrapper.journal.segment import LiveSegment, Origin
from audit_wrapper.journal.shelf import Held, Shelf

_LOOK_S = 0.01  # how long a file is believed to be where it was


class End(NamedTuple):
    """Where the journal ends. Replaced as a whole, in one assignment, since an append may be interrupted anywhere."""

    segment: LiveSegment
    size: int
    seq: int
    hash: bytes


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
        self.lock = threading.RLock()
        self.refusal = ""
        self.end = End(opened.live, opened.size, opened.seq, opened.hash)
        self.appended_bytes = 0
        self.stream, self.stream_after = opened.state.stream, opened.state.stream_after
        self._folder = folder
        self._journal = opened.state.journal
        self._shelf = shelf
        self._findings = findings
        self._power = power
        self._segment_bytes = self._full_at = segment_bytes
        self._renew_lock = renew_lock
        self._begun: End | None = None  # where the journal ends once the line that is being written is there
        self._adopted: End | None = None  # the last line that was there though its append had not said so
        self._turning = False
        self._look_at = 0.0
        self._begun_at = monotonic()
        self._forcing = threading.RLock()
        self._forced = self.end  # what is on the disk itself, as far as this run has seen to it
        shelf.add(Held(opened.live.path, opened.live.first_seq, opened.live.reader))

    # -- the order path

    @property
    def is_forced(self) -> bool:
        return not self._power or self._forced.seq >= self.end.seq

    def force(self) -> None:
        if not self.is_forced:
            self._force(self.end)

    def append(self, payload: bytes, *, force: bool) -> int:
        if line.END in payload:
            raise ValueError("a payload of the journal is one line, and there is a line feed in this one")
        with self.lock:
            if self.refusal:
                raise JournalUnavailable(self.refusal)
            try:
                end = self._append(payload)
            except OSError as problem:
                raise self._unavailable(problem) from problem
        if force and self._power:
            self._force(end)
        return end.seq

    def _append(self, payload: bytes) -> End:
        while True:
            if self._begun is not None:
                self._settle()
            if (now := monotonic()) >= self._look_at:
                self._look()
                self._look_at = now + _LOOK_S
            if self.end.size >= self._full_at and self.end.seq >= self.end.segment.first_seq:
                self._turn_if_it_goes()
            segment, size, seq, previous = self.end
            seq += 1
            digest = chain.link(previous, seq, payload)
            text = line.encode(seq, digest, payload)
            after = End(segment, size + len(text), seq, digest)
            self._begun = after
            # From a look at a number to the next instruction nothing can come in between, within one thread. So a line
            # is written, and its end noted, only while its number is still free.
            written = os.write(segment.descriptor, text) if self.end.seq < seq else 0
            if written == len(text):
                if self.end.seq < seq:
                    self.end = after
                elif self._adopted is not after:  # the system began its call anew, after a handler's append
                    segment.cut(self.end.size)
                    continue
                self._begun = None
                self.appended_bytes += written
                return after
            if written or self.end.seq < seq:
                self._settle()
                raise OSError(errno.ENOSPC, f"only {written} of {len(text)} bytes were taken")

    def _settle(self) -> None:
        """Find out what became of the append that did not come to its end."""
        begun, now = self._begun, self.end
        assert begun is not None
        size = begun.segment.size()
        if begun.seq == now.seq + 1 and begun.segment is now.segment and size == begun.size:
            self.end = self._adopted = begun
        elif begun.segment is now.segment and size != now.size:
            try:
                begun.segment.cut(now.size)
            except OSError:
                self._turn(f"{begun.segment.path} breaks off in the middle of a line")
        self._begun = None

    def _look(self) -> None:
        """A file that was deleted still takes writes, and they go with the process: it must be under its name."""
        segment = self.end.segment
        if segment.is_there():
            return
        self._look_at = 0.0  # until that is mended, no append may believe in it
        self._folder.mkdir(parents=True, exist_ok=True)
        self._renew_lock()
        sentence = f"{segment.path} was deleted while it was written; what it held is kept by this process"
        self._turn(sentence)
        self._findings.add(Finding(segment.path, segment.first_seq, What.DELETED, sentence))

    def _turn_if_it_goes(self) -> None:
        try:
            self._turn("")
        except OSError:
            if not self.end.segment.is_there():
                raise
            self._full_at += self._segment_bytes // 8 + 1  # rather a file that is too long than no entry

    def _turn(self, note: str) -> None:
        """Go on in a new segment."""
        if self._turning:
            return  # a signal handler, in the middle of just this: one more entry in the old one
        self._turning = True
        try:
            before = self.end
            first = before.seq + 1
            origin = Origin(self._journal, self.stream, self.stream_after, first, before.hash, note)
            segment = LiveSegment.create(self._folder, origin, force=self._power)
            fresh = End(segment, segment.size(), before.seq, before.hash)
            if self.end.seq == before.seq:
                self.end = fresh
            if self.end.segment is not segment:  # that handler's entry took the number
                segment.path.unlink(missing_ok=True)
                segment.reader.close()
                segment.close()
                return
            self._shelf.add(Held(segment.path, first, segment.reader))
            self._full_at = self._segment_bytes
            self._begun_at = monotonic()
        finally:
            self._turning = False
        with self._forcing:
            if self._power and before.seq > self._forced.seq:
                layout.force(before.segment.descriptor)
            self._forced = fresh
        before.segment.close()

    def _force(self, end: End) -> None:
        with self._forcing:  # whoever has waited here finds its own entry forced by the one before it
            if self._forced.seq >= end.seq:
                return
            now = self.end
            try:
                layout.force(now.segment.descriptor)
            except OSError as problem:
                raise JournalNotForced(
                    f"{now.segment.path} takes what is written, but does not keep it through a loss of power ({problem}): "
                    "look at the disk"
                ) from problem
            self._forced = now

    # -- off the order path

    def look(self) -> None:
        """Find out by the way whether the file being written is still there. For `tend`."""
        with self.lock:
            if self.refusal:
                return
            try:
                if self._begun is not None:
                    self._settle()
                self._look()
            except OSError as problem:
                raise self._unavailable(problem) from problem

    def turn_if_older_than(self, seconds: float) -> None:
        """Begin a new segment, so that the age of a file says something about what is in it."""
        with self.lock:
            has_entries = self.end.seq >= self.end.segment.first_seq
            if not self.refusal and has_entries and monotonic() - self._begun_at >= seconds:
                self._turn("")

    def branch(self, stream: UUID, after_seq: int) -> None:
        """From here on the journal says another stream. The files keep saying it if the side file is lost."""
        with self.lock:
            self.stream, self.stream_after = stream, after_seq
            if self.end.seq >= self.end.segment.first_seq:
                try:
                    self._turn(f"the store has other entries after {after_seq} under these numbers")
                except OSError as problem:
                    raise self._unavailable(problem) from problem

    def close(self, refusal: str) -> None:
        """Refuse from now on."""
        with self.lock:
            if not self.refusal:
                with suppress(JournalError):
                    self.force()
                self.refusal = refusal
                self.end.segment.close()

    def _unavailable(self, problem: Exception) -> JournalError:
        if isinstance(problem, JournalError):
            return problem
        return JournalUnavailable(
            f"the journal in {self._folder} cannot be written ({problem}): see that the disk has room and the folder "
            "is there and writable; appending is tried again at every call"
        )
