"""The journal on disk: a folder of segments, written by one process."""

from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Literal, Self
from uuid import UUID

from uuid_utils.compat import uuid7

from audit_wrapper.errors import JournalError, JournalUnavailable
from audit_wrapper.journal import layout, process
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.interface import READ_BYTES, Entry, Room
from audit_wrapper.journal.lock import FolderLock
from audit_wrapper.journal.opening import open_end
from audit_wrapper.journal.shelf import Shelf, Written
from audit_wrapper.journal.upkeep import Upkeep
from audit_wrapper.journal.writer import Writer

_SEGMENT_BYTES = 16 * 1024 * 1024
_KEEP_DELIVERED_S = 7 * 86_400.0
_KEEP_DELIVERED_BYTES = 1024 * 1024 * 1024


class FileJournal:
    """A `Journal` in a folder of its own. Get one from `open`.

    After a fork the child's copy refuses every use: the journal stays the parent's. A child that trades opens its own
    journal in another folder.
    """

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        *,
        power: bool,
        segment_bytes: int,
        keep_delivered_s: float,
        keep_delivered_bytes: int,
    ) -> None:
        self.folder = folder
        self._lock = lock
        self._findings = Findings()
        opened = open_end(folder, power=power, findings=self._findings)
        self._shelf = Shelf(opened.state.journal, opened.older, self._findings, opened.state.deleted_through)
        self._writer = Writer(
            folder,
            opened,
            self._shelf,
            self._findings,
            power=power,
            segment_bytes=segment_bytes,
            renew_lock=lock.renew,
        )
        self._shelf.written = self._written
        self._upkeep = Upkeep(
            folder,
            opened.state,
            self._shelf,
            self._writer,
            keep_delivered_s=keep_delivered_s,
            keep_delivered_bytes=keep_delivered_bytes,
        )
        try:
            self._upkeep.save()
        except BaseException:
            self._writer.close("the journal could not be opened")
            self._shelf.close()
            raise

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        durability: Literal["process", "power"] = "process",
        segment_bytes: int = _SEGMENT_BYTES,
        keep_delivered_s: float = _KEEP_DELIVERED_S,
        keep_delivered_bytes: int = _KEEP_DELIVERED_BYTES,
    ) -> Self:
        """The journal in `folder`, made if there is none.

        durability: what an appended entry survives. segment_bytes: where a new file is begun. keep_delivered_s,
        keep_delivered_bytes: how long a full file stays after its last entry, once all of it is delivered, and how
        many bytes of such files at the most.

        Raises JournalInUse if it is open already, here or in another process, and JournalUnavailable if the folder
        cannot be used. A damaged end is no reason to refuse: it stays as it is, and `damage` tells.
        """
        folder = folder.absolute()
        lock: FolderLock | None = None
        try:
            layout.make_folder(folder)
            lock = FolderLock(folder)
            journal = cls(
                folder,
                lock,
                power=durability == "power",
                segment_bytes=segment_bytes,
                keep_delivered_s=keep_delivered_s,
                keep_delivered_bytes=keep_delivered_bytes,
            )
        except BaseException as problem:
            if lock is not None:
                lock.release()
            if isinstance(problem, OSError) and not isinstance(problem, JournalError):
                raise JournalUnavailable(
                    f"the journal folder {folder} cannot be used ({problem}): make it writable for the user the bot "
                    "runs as, see that its disk has room, or choose another folder (setting `journal`)"
                ) from problem
            raise
        process.opened(journal)
        return journal

    @property
    def stream(self) -> UUID:
        return self._writer.stream

    @property
    def stream_after(self) -> int:
        return self._writer.stream_after

    @property
    def durable_seq(self) -> int:
        return self._writer.end.seq

    @property
    def delivered_seq(self) -> int:
        return self._upkeep.delivered_seq

    @property
    def bytes_on_disk(self) -> int:
        return layout.total_size(self.folder)

    @property
    def room(self) -> Room | None:
        return self._upkeep.room

    @property
    def damage(self) -> tuple[Finding, ...]:
        return self._findings.all()

    @property
    def is_forced(self) -> bool:
        return self._writer.is_forced

    def append(self, payload: bytes, *, force: bool = True) -> int:
        return self._writer.append(payload, force=force)

    def force(self) -> None:
        self._writer.force()

    def read(self, after_seq: int, limit: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        with self._shelf.reading:
            self._refuse_if_closed()
            return self._shelf.read(after_seq, limit, max_bytes)

    def delivered(self, seq: int) -> None:
        self._refuse_if_closed()
        self._upkeep.delivered_seq = max(self._upkeep.delivered_seq, seq)

    def branch(self, after_seq: int) -> None:
        stream = uuid7()
        self._writer.branch(stream, after_seq)
        sentence = (
            f"the database has other entries than {self.folder} after number {after_seq}: an older copy of the "
            f"folder was put back, or it was copied. They are kept, as stream {stream}"
        )
        self._findings.add(Finding(self.folder, after_seq + 1, What.DIVERGED, sentence))
        with self._shelf.reading:
            self._upkeep.branched(stream, after_seq)

    def tend(self) -> None:
        self._refuse_if_closed()
        self._upkeep.tend()

    def _written(self) -> Written:
        end = self._writer.end
        live = end.segment.held
        self._shelf.add(live)  # it is there, unless Ctrl-C came just then
        held = self._shelf.held
        if held[-1] is not live:  # and by now there is another
            held = tuple(one for one in held if one.first_seq <= live.first_seq)
        return Written(held, end.seq, end.size)

    def _refuse_if_closed(self) -> None:
        if self._writer.refusal:
            raise JournalUnavailable(self._writer.refusal)

    def close(self) -> None:
        if not self._writer.close(f"the journal in {self.folder} was closed"):
            return
        with self._shelf.reading:
            self._shelf.close()
            with suppress(OSError):  # if it cannot be written, the next start looks harder; nothing is lost
                self._upkeep.save(clean=True)
            self._lock.release()
        process.closed(self)

    def disown(self) -> None:
        """After a fork, in the child."""
        self._writer.disown(
            f"the journal in {self.folder} belongs to the parent of this process: open one in another folder here"
        )
        self._shelf.reading = RLock()
        self._shelf.close()
        self._lock.release()
