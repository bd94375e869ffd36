"""The order path: one line at the end of the segment being written, and what to do when that does not go.

`append` holds `lock` for the time of one `write`. Only with durability "power" does it wait for the disk, after the
lock is free, so that whoever comes meanwhile is forced to disk by the same wait.

A signal handler may close positions in the middle of an append on the same thread, and Ctrl-C may break one off
anywhere. So an append says what it is about to write (`_begun`), and whoever comes next compares that with the size of
the file: the line is there, or is not, or is there in part and is cut off.

Python runs a signal handler only after a call, at a jump backward, and where a function begins. From a look at an
attribute to a call in C that has been given all it needs, nothing comes in between, within one thread. Every decision
here is made in such a stretch.

The locks: whoever holds `Shelf.reading` never waits for `lock`, and whoever holds `lock` never waits for `_forcing`. A
signal handler may find its own thread holding any of them, and so waits only for threads that come to their end.
"""

import errno
import os
import threading
from collections import deque
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
from audit_wrapper.journal.shelf import Shelf

_LOOK_S = 0.01  # how long a file is believed to be where it was
_TRIED_BYTES = 16 * 1024  # a file with less in it is not the reason why no more goes in
_DEPTH = 100  # how many appends may be in the middle of each other


class End(NamedTuple):
    """Where the journal ends. Replaced as a whole, in one assignment, since an append may be interrupted anywhere."""

    segment: LiveSegment
    size: int
    seq: int
    hash: bytes


_end = End._make  # as fast as a tuple, which the class itself is not


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
        self._begun: End | None = None  # the end once the line that is being written is there
        self._adopted: deque[bytes] = deque(maxlen=_DEPTH)  # lines that were there though their append had not said so
        self._turning = False
        self._look_at = 0.0
        self._begun_at = monotonic()
        self._forcing = threading.RLock()
        self._forced_seq = opened.seq  # up to where the disk itself has it, as far as this run has seen to it
        self._failures = 0  # how often the disk did not take what it was to keep
        shelf.add(opened.live.held)

    # -- the order path

    @property
    def is_forced(self) -> bool:
        return not self._power or self._forced_seq >= self.end.seq

    def force(self) -> None:
        if not self.is_forced and not self.refusal:
            self._force(self.end, self._failures)

    def append(self, payload: bytes, *, force: bool) -> int:
        if payload.find(line.END) >= 0:  # `in` is slower: it makes an exception first, of a number that END is not
            raise ValueError("a payload of the journal is one line, and there is a line feed in this one")
        with self.lock:
            if self.refusal:
                raise JournalUnavailable(self.refusal)
            failures = self._failures
            try:
                end = self._append(payload)
            except OSError as problem:
                self._full_at = min(self._full_at, _TRIED_BYTES)  # another file may go where this one does not
                raise self._unavailable(problem) from problem
        if force and self._power:
            self._force(end, failures)
        return end.seq

    def _append(self, payload: bytes) -> End:
        while True:
            while self._begun is not None:
                self._settle()
            if (now := monotonic()) >= self._look_at:
                self._look()
                self._look_at = now + _LOOK_S
            if self.end.size >= self._full_at and self.end.seq >= self.end.segment.first_seq:
                self._turn_if_it_goes()
            before = self.end
            segment, size, seq, previous = before
            seq += 1
            digest = chain.link(previous, seq, payload)
            text = line.encode(seq, digest, payload)
            length = len(text)
            after = _end((segment, size + length, seq, digest))
            # From here on nothing comes in between until the system has taken the line.
            if self.end is not before or self._begun is not None:
                continue
            self._begun = after
            written, failure = 0, None
            try:
                written = os.write(segment.descriptor, text)
            except OSError as problem:
                failure = problem
            if written == length and self._begun is after:
                self.end = after
                self._begun = None
            elif written == length and not self._is_adopted(digest):
                # The system began its call anew after a signal, and the handler's append has the number.
                os.ftruncate(segment.descriptor, segment.size() - written)
                continue
            else:
                if self._begun is after:
                    self._settle()
                if not self._is_adopted(digest):
                    raise failure or OSError(errno.ENOSPC, f"only {written} of {length} bytes were taken")
            self.appended_bytes += length
            return after

    def _is_adopted(self, digest: bytes) -> bool:
        return any(one is digest for one in self._adopted)

    def _settle(self) -> None:
        """Find out what became of the append that did not come to its end."""
        begun, now = self._begun, self.end
        if begun is None:
            return
        size = now.segment.size()
        if self._begun is not begun or self.end is not now:
            return  # a handler was faster
        if begun.segment is now.segment and begun.seq == now.seq + 1 and size == begun.size:
            self.end = begun
            self._begun = None
            self._adopted.append(begun.hash)
            return
        if size != now.size:
            try:
                os.ftruncate(now.segment.descriptor, now.size)
            except OSError:
                self._turn(f"{now.segment.path} breaks off in the middle of a line")
                if self.end is now:
                    raise
        if self._begun is begun:
            self._begun = None

    def _look(self) -> None:
        """A file that was deleted still takes writes, and they go with the process: it must be under its name."""
        end = self.end
        path = end.segment.path
        if end.segment.is_there(end.size) or self.end is not end or self._begun is not None:
            return
        self._look_at = 0.0  # until that is mended, no append may believe in it
        layout.make_folder(self._folder)
        self._renew_lock()
        how = "changed" if path.exists() else "deleted"
        sentence = f"{path} was {how} by somebody else while it was written; what it held is kept by this process"
        self._turn(sentence)
        self._findings.add(Finding(path, end.segment.first_seq, What.DELETED, sentence))

    def _turn_if_it_goes(self) -> None:
        try:
            self._turn("")
        except OSError:
            if not self.end.segment.is_there(self.end.size):
                raise
            # Rather a file that is too long than no entry.
            self._full_at = self.end.size + self._segment_bytes // 8 + 1

    def _turn(self, note: str) -> None:
        """Go on in a new segment."""
        if self._turning:
            return  # a signal handler, in the middle of just this: one more entry in the old one
        try:
            self._turning = True
            self._begin_segment(note)
        finally:
            self._turning = False

    def _begin_segment(self, note: str) -> None:
        before = self.end
        path = layout.segment_path(self._folder, before.seq + 1)
        segment: LiveSegment | None = None
        self._shelf.add(before.segment.held)  # it is there, unless Ctrl-C came in the end of the last turn
        if self._power and before.seq > self._forced_seq and before.segment.is_there(before.size):
            self._to_disk(before.segment)  # else power could be lost with its end, and not with what follows
        try:
            origin = Origin(self._journal, self.stream, self.stream_after, before.seq + 1, before.hash, note)
            segment = LiveSegment.create(self._folder, origin, lasting=self._power)
            fresh = End(segment, segment.size(), before.seq, before.hash)
            if self.end is before:  # else a signal handler's entry took its first number
                self.end = fresh
        finally:
            if path != self.end.segment.path:
                path.unlink(missing_ok=True)  # the one before it goes on, with the numbers that this one says it has
                if segment is not None:
                    segment.held.close()
        if self.end.segment is segment:
            self._shelf.add(segment.held)
            self._full_at = self._segment_bytes
            self._begun_at = monotonic()

    def _to_disk(self, segment: LiveSegment) -> None:
        try:
            layout.force(segment.descriptor)
        except OSError:
            # The system says so once, and then takes for written what it has thrown away: nobody who waits may hear
            # that all is well.
            self._failures += 1
            raise

    def _force(self, end: End, failures: int) -> None:
        """`failures`: how many there were when the entry was written."""
        with self._forcing:  # whoever has waited here finds its own entry forced by the one before it
            if self._failures == failures and self._forced_seq >= end.seq:
                return
            now = self.end  # which keeps its segment open
            try:
                if self._failures != failures:
                    raise OSError(errno.EIO, "it refused another entry since this one was written")
                self._to_disk(now.segment)
            except OSError as problem:
                if self.refusal and self._forced_seq >= end.seq:
                    return  # closed by a signal handler in the middle of this, which saw to it
                raise JournalNotForced(
                    f"{now.segment.path} takes what is written, but does not keep it through a loss of power ({problem}): "
                    "look at the disk"
                ) from problem
            self._forced_seq = max(self._forced_seq, now.seq)

    # -- off the order path

    def look(self) -> None:
        """Find out by the way whether the file being written, and the lock, are still there. For `tend`."""
        with self.lock:
            if self.refusal:
                return
            try:
                self._settle()
                self._look()
                self._renew_lock()
            except OSError as problem:
                raise self._unavailable(problem) from problem

    def turn_if_older_than(self, seconds: float) -> None:
        """Begin a new segment, so that the age of a file says something about what is in it."""
        with self.lock:
            if self.refusal or monotonic() - self._begun_at < seconds:
                return
            self._settle()
            if self.end.seq >= self.end.segment.first_seq:
                self._turn("")

    def branch(self, stream: UUID, after_seq: int) -> None:
        """From here on the journal says another stream. The files keep saying it if the side file is lost."""
        with self.lock:
            if self.refusal:
                raise JournalUnavailable(self.refusal)
            self.stream, self.stream_after = stream, after_seq
            try:
                self._settle()
                if self.end.seq >= self.end.segment.first_seq:
                    self._turn(f"the store has other entries after {after_seq} under these numbers")
            except OSError as problem:
                raise self._unavailable(problem) from problem

    def close(self, refusal: str) -> bool:
        """Refuse from now on. False: that was so already."""
        with self.lock:
            if self.refusal:
                return False
            self.refusal = refusal
            with suppress(OSError):
                self._settle()
        with self._forcing:  # nobody is forcing it now
            end = self.end
            if self._power and self._forced_seq < end.seq:
                with suppress(OSError):
                    self._to_disk(end.segment)
                    self._forced_seq = end.seq
            end.segment.close()
        return True

    def disown(self, refusal: str) -> None:
        """Refuse, and leave the file as it is. The locks may be held by threads that are gone."""
        self.lock, self._forcing = threading.RLock(), threading.RLock()
        self.refusal = refusal
        self.end.segment.close()

    def _unavailable(self, problem: Exception) -> JournalError:
        if isinstance(problem, JournalError):
            return problem
        if self.refusal:  # closed by a signal handler in the middle of this
            return JournalUnavailable(self.refusal)
        return JournalUnavailable(
            f"the journal in {self._folder} cannot be written ({problem}): see that the disk has room and the folder "
            "is there and writable; appending is tried again at every call"
        )
