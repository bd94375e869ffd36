"""How a journal finds its end when it is opened: who it is, what its last entry was, where the next one goes.

A number that may have been given out is never given out again, or the store would take a new entry for an old one.
So where the end is in doubt (a damaged file, entries lost with the power) numbering leaps ahead, in a new segment
that says why; the damaged one stays as it is.
"""

from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from audit_wrapper.journal import chain, layout
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.segment import (
    LEAST_ENTRY,
    LiveSegment,
    Origin,
    SegmentDamaged,
    create,
    inspect,
    read_origin_at,
)
from audit_wrapper.journal.state import State, boot_id, read_state

LEAP = 1_000_000  # more than can be appended between two writings of the state file


class End(NamedTuple):
    """The last number taken. `note` says why it is not that of the last entry in the last file, if it is not."""

    seq: int
    hash: bytes
    note: str


class Opened(NamedTuple):
    state: State
    older: list[Path]
    live: LiveSegment
    seq: int
    hash: bytes


def open_end(folder: Path, *, power: bool, findings: Findings) -> Opened:
    """Everything needed to go on appending. Raises OSError or sqlite3.Error if the folder cannot be used now."""
    for unborn in folder.glob(f"*{layout.UNBORN}*"):
        unborn.unlink(missing_ok=True)
    paths = layout.segment_paths(folder)
    state = _state(folder, paths, findings)
    _drop_prepared(paths, state.stream)
    end = _end(folder, paths, state, findings)
    if end.note or not paths:
        path = create(folder, Origin(state.stream, end.seq + 1, end.hash, end.note), sync=True)
    else:
        path = paths.pop()
    return Opened(state, paths, LiveSegment(path, power=power), end.seq, end.hash)


def _state(folder: Path, paths: list[Path], findings: Findings) -> State:
    try:
        state = read_state(folder)
    except ValueError as problem:
        state = None
        path = folder / layout.STATE
        findings.add(Finding(path, None, What.UNREADABLE, f"{path} is damaged ({problem}); it was made anew"))
    if state is not None:
        return state
    stream = next(filter(None, (_stream_of(path) for path in reversed(paths))), None)
    # What retention took away is not known any more: believe that it is what is not there.
    return State(stream or uuid7(), deleted_through=layout.first_seq_of(paths[0]) - 1 if paths else 0)


def _stream_of(path: Path) -> UUID | None:
    try:
        return read_origin_at(path).stream
    except SegmentDamaged:
        return None


def _drop_prepared(paths: list[Path], stream: UUID) -> None:
    """Take away what was made ahead and not used: at the end, or further up if a kill came while it was removed."""
    for path in paths.copy():
        try:
            if read_origin_at(path, stream).previous_hash:
                continue
        except SegmentDamaged:
            continue
        layout.remove_segment(path)
        paths.remove(path)


def _end(folder: Path, paths: list[Path], state: State, findings: Findings) -> End:
    seq, digest, note, highest = 0, chain.genesis(state.stream), "", state.delivered_seq
    for path in reversed(paths):
        try:
            seq, digest = inspect(path, state.stream)
            break
        except SegmentDamaged as problem:
            first = layout.first_seq_of(path)
            findings.add(Finding(path, first, problem.what, str(problem)))
            note = note or f"the segment before it cannot be continued: {problem}"
            room = layout.size(path) + layout.size(layout.wal_path(path))
            highest = max(highest, first + room // LEAST_ENTRY)
    if note:
        return End(max(seq, highest) + LEAP, digest, note)
    if seq < state.delivered_seq:
        note = f"entries up to {state.delivered_seq} were delivered, and only those up to {seq} are on this disk"
    elif paths and _power_was_lost(state):
        note = f"the machine stopped while this was written: entries after {seq} may be lost"
    if not note:
        return End(seq, digest, "")
    leapt = End(max(seq, highest) + LEAP, digest, note)
    path = layout.segment_path(folder, leapt.seq + 1)
    findings.add(Finding(path, seq + 1, What.GAP, f"{path.name} does not follow: {note}"))
    return leapt


def _power_was_lost(state: State) -> bool:
    boot = boot_id()
    return bool(boot and state.boot and boot != state.boot and not state.clean and not state.power)
