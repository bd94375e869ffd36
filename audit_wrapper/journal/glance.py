"""A look at a journal from outside, without its lock and without reading its files: names, the side file, the last lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.lock import holder
from audit_wrapper.journal.state import State, read_state

_CHUNK = 64 * 1024
_LINES = 100  # after so many that cannot be read, any is better


class End(NamedTuple):
    """Where a file of the journal ends. size: up to and with the last whole line. seq: of its last entry; first - 1: it has
    none. entry: the last one that can be read."""

    size: int
    seq: int
    entry: Entry | None


class Glance(NamedTuple):
    """holder: the process that writes it; None: nobody; 0: not known which. state: None where the side file is gone or
    damaged. durable_seq: number of the last entry; 0: none. last: the last entry that can be read. bytes_on_disk: of all files.
    damaged: files that were set aside."""

    folder: Path
    holder: int | None
    state: State | None
    durable_seq: int
    last: Entry | None
    bytes_on_disk: int
    segments: int
    damaged: tuple[str, ...]

    @property
    def delivered_seq(self) -> int:
        """What the journal itself knows to be delivered: a few seconds behind the database."""
        return self.state.delivered_seq if self.state is not None else 0


def glance(folder: Path) -> Glance | None:
    """None: there is no journal in `folder`. Raises OSError where it cannot be read."""
    for _ in range(3):  # retention takes files away meanwhile
        try:
            return _glance(folder)
        except FileNotFoundError:
            if not folder.is_dir():
                return None
    raise OSError(f"the files of {folder} change faster than they can be looked at")


def _glance(folder: Path) -> Glance | None:
    paths = layout.segment_paths(folder)
    try:
        state = read_state(folder)
    except ValueError:
        state = None
    if state is None and not paths:
        return None
    end = end_of(paths[-1]) if paths else None
    durable = end.seq if end is not None else 0
    last = end.entry if end is not None else None
    for path in reversed(paths[:-1]):  # a file that was just begun has none
        if last is not None:
            break
        last = end_of(path).entry
    damaged = tuple(sorted(path.name for path in folder.iterdir() if path.name.endswith(layout.DAMAGED)))
    return Glance(folder, holder(folder), state, durable, last, layout.total_size(folder), len(paths), damaged)


def end_of(path: Path) -> End:
    """Reads backwards, no further than the last line. Raises OSError."""
    nothing = layout.first_seq_of(path) - 1
    with open(path, "rb", buffering=0) as file:
        at = os.fstat(file.fileno()).st_size
        tail, size = b"", at
        while at > 0:
            step = min(at, max(_CHUNK, len(tail)))
            at -= step
            file.seek(at)
            tail = file.read(step) + tail
            whole = tail[: tail.rfind(line.END) + 1]  # what is behind it is being written, or was cut short
            size = at + len(whole)
            lines = whole.split(line.END)[:-1]
            if at > 0:
                lines = lines[1:]  # its beginning may not be here
            found = [entry for text in lines[-2:] if (entry := line.decode(text)) is not None]
            enough = at == 0 or len(lines) > _LINES
            if not found and enough:
                found = [entry for text in lines if (entry := line.decode(text)) is not None]
            if len(found) >= 2 or (found and enough):
                return End(size, max(_number(found), nothing), found[-1])
    return End(size, nothing, None)


def _number(found: list[Entry]) -> int:
    """Of the last of these entries. Where the chain says it, that counts: a disk may flip a digit as well."""
    last = found[-1]
    if len(found) > 1:
        number = found[-2].seq + 1
        if chain.link(found[-2].hash, number, last.payload) == last.hash:
            return number
    return last.seq
