"""Housekeeping, off the order path: files that somebody deleted, the side file, retention, and how long the disk lasts."""

import os
import shutil
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import layout
from audit_wrapper.journal.interface import Room
from audit_wrapper.journal.segment import Held
from audit_wrapper.journal.shelf import Shelf
from audit_wrapper.journal.state import State, write_state
from audit_wrapper.journal.writer import Writer

_STATE_S = 5.0  # how far behind the side file may be: it is forced to disk each time
_SEGMENT_S = 86_400.0  # a file is not written for longer than this, so that its age says something about its entries
_SAMPLE_S = 60.0  # how often the rate is sampled ...
_SAMPLES = 61  # ... and how many samples are kept: the last hour
_FIRST_SAMPLE_S = 1.0  # a rate over less than this is none


class Upkeep:
    """`delivered_seq` is set by `delivered`, from any thread; everything else runs in `tend`."""

    def __init__(
        self,
        folder: Path,
        state: State,
        shelf: Shelf,
        writer: Writer,
        *,
        keep_delivered_s: float,
        keep_delivered_bytes: int,
    ) -> None:
        self.delivered_seq = state.delivered_seq
        self.room: Room | None = None
        self._folder = folder
        self._state = state
        self._saved: State | None = None
        self._shelf = shelf
        self._writer = writer
        self._keep_delivered_s = keep_delivered_s
        self._keep_delivered_bytes = keep_delivered_bytes
        self._state_at = 0.0
        self._samples = deque([(time.monotonic(), 0)], maxlen=_SAMPLES)

    def tend(self) -> None:
        """Raises JournalUnavailable when the disk refuses."""
        try:
            self._writer.look()
            self._writer.force()
            self._writer.turn_if_older_than(_SEGMENT_S)
            with self._shelf.reading:
                if self._writer.refusal:
                    return
                self._restore()
                self._retire()
                self._shelf.close_old_files()
                self.save(not_before=self._state_at + _STATE_S)
                self._measure()
        except OSError as problem:
            if isinstance(problem, JournalUnavailable):
                raise
            raise JournalUnavailable(
                f"housekeeping of the journal in {self._folder} failed ({problem}): nothing is lost, but its "
                "files grow until the disk takes writes again"
            ) from problem

    def _restore(self) -> None:
        """Write back what somebody deleted and this run still has open, unless the store has it."""
        for held, last in self._shelf.ended():
            if held.reader is None or last <= self.delivered_seq or held.path.exists():
                continue
            held.reader.seek(0)
            layout.put(held.path, held.reader.read(), lasting=True)

    def _retire(self) -> None:
        """Delete what the store has and is old, or too much; never anything else. What is damaged is set aside."""
        delivered = [(held, last) for held, last in self._shelf.ended() if last <= self.delivered_seq]
        too_much = sum(layout.size(held.path) for held, _ in delivered) - self._keep_delivered_bytes
        for held, last in delivered:
            size = layout.size(held.path)
            if held.is_damaged and held.path.exists():
                self._say_deleted(last)
                self._shelf.drop(held)
                aside = held.path.with_name(held.path.name + layout.DAMAGED)
                while aside.exists():  # its numbers were given again after a loss, and this is the second time
                    aside = aside.with_name(aside.name + layout.DAMAGED)
                held.path.replace(aside)
            elif too_much > 0 or self._is_old(held):
                self._say_deleted(last)
                self._shelf.drop(held)
                held.path.unlink(missing_ok=True)
            else:
                return
            too_much -= size

    def _is_old(self, held: Held) -> bool:
        try:
            return time.time() - os.stat(held.path).st_mtime >= self._keep_delivered_s
        except FileNotFoundError:
            return True

    def _say_deleted(self, last: int) -> None:
        """Before it is done: the reverse would look like a loss after a crash in between."""
        if last > self._state.deleted_through:
            self._state = replace(self._state, deleted_through=last)
            self._shelf.deleted_through = last
            self.save()

    def _measure(self) -> None:
        now, appended = time.monotonic(), self._writer.appended_bytes
        begun_at, before = self._samples[0]
        if now - begun_at >= _FIRST_SAMPLE_S:
            per_hour = (appended - before) * 3_600 / (now - begun_at)
            free = shutil.disk_usage(self._folder).free
            self.room = Room(free, per_hour, free / per_hour if per_hour else None)
        if now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, appended))

    def branched(self, stream: UUID, stream_after: int) -> None:
        self._state = replace(self._state, stream=stream, stream_after=stream_after)
        self.delivered_seq = stream_after
        self.save()

    def save(self, *, not_before: float = 0.0, clean: bool = False) -> None:
        """Write the side file if there is something to say, or if it is gone."""
        wanted = replace(self._state, delivered_seq=self.delivered_seq, clean=clean)
        missing = not (self._folder / layout.STATE).exists()
        now = time.monotonic()
        if missing or (wanted != self._saved and now >= not_before):
            write_state(self._folder, wanted)
            self._saved = self._state = wanted
            self._state_at = now
