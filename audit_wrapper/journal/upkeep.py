"""Housekeeping, off the order path: checkpoints, the next segment, sealing, the side file, retention."""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import layout
from audit_wrapper.journal.check import SegmentCheck
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.segment import SegmentDamaged, connect_sealed, inspect, is_damage, is_sealed, seal
from audit_wrapper.journal.shelf import Held, Shelf
from audit_wrapper.journal.state import State, write_state
from audit_wrapper.journal.writer import Writer

_CHECKPOINT_ENTRIES = 1000  # worked in at once under load ...
_CHECKPOINT_S = 1.0  # ... and after so long in any case; each one syncs, so not more often than needed
_STATE_S = 1.0  # how far behind the side file may be


class Upkeep:
    """`delivered_seq` is set by `delivered`, from any thread; everything else runs in `tend`."""

    def __init__(
        self,
        folder: Path,
        state: State,
        shelf: Shelf,
        writer: Writer,
        findings: Findings,
        keep_delivered_s: float,
    ) -> None:
        self.delivered_seq = state.delivered_seq
        self._folder = folder
        self._state = state
        self._shelf = shelf
        self._writer = writer
        self._findings = findings
        self._keep_delivered_s = keep_delivered_s
        self._checkpointed_seq = writer.seq
        self._checkpointed_at = time.monotonic()
        self._state_at = 0.0
        shelf.deleted_through = state.deleted_through

    def tend(self) -> None:
        with self._shelf.reading:
            try:
                self._writer.look()
                self._checkpoint()
                self._writer.prepare(log_bytes=layout.size(Path(self._writer.live.wal)))
                self._seal()
                self._retire()
                self.save(not_before=self._state_at + _STATE_S)
            except (OSError, sqlite3.Error) as problem:
                if isinstance(problem, JournalUnavailable):
                    raise
                raise JournalUnavailable(
                    f"housekeeping of the journal in {self._folder} failed ({problem}): nothing is lost, but its "
                    "files grow until the disk takes writes again"
                ) from problem

    def _checkpoint(self) -> None:
        now, seq, live = time.monotonic(), self._writer.seq, self._writer.live
        waiting = seq - self._checkpointed_seq
        if waiting >= _CHECKPOINT_ENTRIES or (waiting and now - self._checkpointed_at >= _CHECKPOINT_S):
            live.checkpoint()
            self._checkpointed_seq, self._checkpointed_at = seq, now

    def _seal(self) -> None:
        for held, _ in self._shelf.ended():
            if held.sealed or held.keep or not held.path.exists():
                continue  # a deleted file that is still open can be read as long as it is
            try:
                if held.live is not None:
                    live, held.live = held.live, None
                    live.close()
                elif is_sealed(held.path):
                    held.sealed = True
                    continue
                else:  # left by a run that was killed
                    self._shelf.release(held)
                    inspect(held.path, self._state.stream)
                held.sealed = seal(held.path)
            except (SegmentDamaged, sqlite3.Error) as problem:
                if isinstance(problem, sqlite3.Error) and not is_damage(problem):
                    raise
                held.keep = True
                what = problem.what if isinstance(problem, SegmentDamaged) else What.UNREADABLE
                sentence = f"{held.path} stays as it is: {problem}"
                self._findings.add(Finding(held.path, held.first_seq, what, sentence))

    def _retire(self) -> None:
        """Delete what the store has and is old enough; never anything else, and nothing damaged."""
        for held, last in self._shelf.ended():
            if last > self.delivered_seq:
                return
            if held.keep:
                continue
            if held.path.exists():
                if not held.sealed or time.time() - os.stat(held.path).st_mtime < self._keep_delivered_s:
                    return
                if not self._is_sound(held):
                    continue
            if last > self._state.deleted_through:
                # Said before it is done: the reverse would look like a loss after a crash in between.
                self._state = replace(self._state, deleted_through=last)
                self._shelf.deleted_through = last
                self.save()
            self._shelf.drop(held)
            if held.live is not None:  # it was deleted under us, and all of it has been delivered
                held.live.close()
            layout.remove_segment(held.path)

    def _is_sound(self, held: Held) -> bool:
        """A damaged file is the only evidence of what was in it, so it is left to a person."""
        self._shelf.release(held)
        with closing(connect_sealed(held.path)) as connection:
            for finding in SegmentCheck(connection, held.path, self._state.stream).findings():
                self._findings.add(finding)
                held.keep = True
        return not held.keep

    def save(self, *, not_before: float = 0.0, clean: bool = False) -> None:
        """Write the side file if there is something to say, or if it is gone."""
        wanted = replace(self._state, delivered_seq=self.delivered_seq, clean=clean)
        missing = not (self._folder / layout.STATE).exists()
        now = time.monotonic()
        if missing or (wanted != self._saved and now >= not_before):
            write_state(self._folder, wanted)
            self._saved = self._state = wanted
            self._state_at = now

    _saved: State | None = None
