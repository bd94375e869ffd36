"""How a journal finds its end when it is opened: who it is, what its last entry was, where the next one goes.

A file that does not end well is left as it is, for a person to look at, and a new one goes on behind it.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.cursor import Cursor
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.segment import LiveSegment, Origin, SegmentDamaged, decode_origin
from audit_wrapper.journal.state import State, boot_id, read_state


class Opened(NamedTuple):
    """`older`: the segments before `live`. `seq`, `hash`: of the last entry; `size`: of the file being written."""

    state: State
    older: list[Path]
    live: LiveSegment
    seq: int
    hash: bytes
    size: int


class _End(NamedTuple):
    seq: int
    hash: bytes
    note: str  # why the last file cannot be continued; empty: it can


def open_end(folder: Path, *, power: bool, findings: Findings) -> Opened:
    """Everything needed to go on appending. Raises OSError if the folder cannot be used now."""
    for unborn in folder.glob(f"*{layout.UNBORN}"):
        unborn.unlink(missing_ok=True)
    paths = layout.segment_paths(folder)
    state = _state(folder, paths, findings)
    end = _end(paths, state, findings)
    if paths and not end.note:
        live = LiveSegment(paths.pop())
    else:
        origin = Origin(state.journal, state.stream, state.stream_after, end.seq + 1, end.hash, end.note)
        live = LiveSegment.create(folder, origin, force=True)
    if paths and _power_was_lost(state):
        sentence = f"the machine went down while {folder} was written: entries after {end.seq} may be lost"
        findings.add(Finding(folder, end.seq + 1, What.POWER_LOST, sentence))
    state = replace(state, boot=boot_id(), clean=False, power=power)
    return Opened(state, paths, live, end.seq, end.hash, live.size())


def _state(folder: Path, paths: list[Path], findings: Findings) -> State:
    try:
        state = read_state(folder)
    except ValueError as problem:
        state = None
        path = folder / layout.STATE
        findings.add(Finding(path, None, What.UNREADABLE, f"{path} is damaged ({problem}); it was made anew"))
    if state is not None:
        return state
    # What retention took away is not known any more: believe that it is what is not there.
    deleted_through = layout.first_seq_of(paths[0]) - 1 if paths else 0
    origin = next(filter(None, (_origin_of(path) for path in reversed(paths))), None)
    if origin is None:
        journal = uuid7()
        return State(journal, journal, deleted_through=deleted_through)
    return State(origin.journal, origin.stream, origin.stream_after, deleted_through=deleted_through)


def _origin_of(path: Path) -> Origin | None:
    try:
        with open(path, "rb") as file:
            return decode_origin(file.readline(1 << 20), path)
    except SegmentDamaged:
        return None


def _end(paths: list[Path], state: State, findings: Findings) -> _End:
    note, least = "", 0
    for path in reversed(paths):
        try:
            found = _end_of(path, state.journal, findings)
        except SegmentDamaged as problem:
            findings.add(Finding(path, layout.first_seq_of(path), problem.what, str(problem)))
            note = note or f"the segment before it cannot be continued: {problem}"
            # It holds entries that a newer release, or its owner, can read: their numbers are theirs.
            least = max(least, layout.first_seq_of(path) + layout.size(path) // line.LEAST)
            continue
        return _End(max(found.seq, least), found.hash, note or found.note)
    return _End(least, chain.genesis(state.journal), note)


def _end_of(path: Path, journal: UUID, findings: Findings) -> _End:
    def note(seq: int | None, what: What, sentence: str) -> None:
        findings.add(Finding(path, seq, what, sentence))

    with open(path, "rb", buffering=0) as file:
        size = layout.size(path)
        cursor = Cursor(path, file, journal, note, ())
        last = cursor.place.seq + size // line.LEAST
        digest = cursor.place.hashes[0] if cursor.place.hashes else bytes(32)
        seq, problem, sound = cursor.place.seq, "", cursor.place.offset
        while (entry := cursor.next(size, last)) is not None:
            seq, digest, problem, sound = entry.seq, entry.hash, entry.damage, cursor.place.offset
        torn = cursor.rest(size)
        broken = size - sound - torn
    if broken:  # whole lines that are none: entries, perhaps, and their numbers were given out
        problem = f"bytes {sound} to {sound + broken} of {path} are broken"
        seq += max(1, broken // line.LEAST)
    if torn:
        problem = problem or f"{path} breaks off in the middle of a line"
        sentence = f"{path} breaks off in the middle of a line ({torn} bytes): a write that was cut short"
        findings.add(Finding(path, seq + 1, What.TORN_TAIL, sentence))
    if cursor.origin is None:
        problem = problem or f"{path} does not say where it begins"
    return _End(seq, digest, problem)


def _power_was_lost(state: State) -> bool:
    boot = boot_id()
    return bool(boot and state.boot and boot != state.boot and not state.clean and not state.power)
