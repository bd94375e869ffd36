"""How a journal finds its end when it is opened: who it is, what its last entry was, where the next one goes.

A file that does not end well is left as it is, for a person to look at, and a new one goes on behind it.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.cursor import Cursor, Place
from audit_wrapper.journal.finding import Finding, Findings, What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import Held, LiveSegment, Origin, SegmentDamaged, decode_origin
from audit_wrapper.journal.state import State, boot_id, read_state, write_state

_TAILS = (1 << 16, 1 << 20)  # how much of a file's end is looked at, in bytes: little, and if that says nothing, more


class Opened(NamedTuple):
    """`older`: the segments before `live`. `seq`, `hash`: of the last entry; `size`: of the file being written."""

    state: State
    older: list[Held]
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
    for unborn in layout.unborn_paths(folder):
        unborn.unlink(missing_ok=True)
    paths = layout.segment_paths(folder)
    state = _state(folder, paths, findings)
    older = [Held(path, layout.first_seq_of(path)) for path in paths]
    end = _behind_all(_end(paths, state, findings), older, findings)
    if paths and _power_was_lost(state):
        sentence = f"the machine went down while {folder} was written: entries after {end.seq} may be lost"
        findings.add(Finding(folder, end.seq + 1, What.POWER_LOST, sentence))
    if state.delivered_seq > end.seq:
        sentence = f"entries up to {state.delivered_seq} were delivered, the journal in {folder} ends at {end.seq}"
        findings.add(Finding(folder, end.seq + 1, What.GAP, sentence))
    # Numbers are given again after a loss: what was said of the lost entries is not true of the new ones.
    known = {name: min(getattr(state, name), end.seq) for name in ("delivered_seq", "deleted_through")}
    state = replace(state, **known, boot=boot_id(), clean=False, power=power)
    if older and not end.note:
        live = LiveSegment(older.pop().path)
        if power:
            layout.force(live.descriptor)
    else:
        origin = Origin(state.journal, state.stream, state.stream_after, end.seq + 1, end.hash, end.note)
        live = LiveSegment.create(folder, origin, lasting=True)
        older = [held for held in older if held.first_seq <= end.seq]
    return Opened(state, older, live, end.seq, end.hash, live.size())


def _state(folder: Path, paths: list[Path], findings: Findings) -> State:
    path = folder / layout.STATE
    try:
        state = read_state(folder)
        if state is None and paths:
            findings.add(Finding(path, None, What.DELETED, f"{path} was gone; it was made anew"))
    except ValueError as problem:
        state = None
        findings.add(Finding(path, None, What.UNREADABLE, f"{path} was damaged ({problem}); it was made anew"))
    if state is None:
        state = _state_from(paths)
        write_state(folder, state)  # before the first segment is there: whoever finds one without it has to wonder
    return state


def _state_from(paths: list[Path]) -> State:
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
    except (SegmentDamaged, OSError):
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

    first = layout.first_seq_of(path)
    with open(path, "rb", buffering=0) as file:
        size = layout.size(path)
        before = Place(0, 0, (chain.genesis(journal),))
        # Blocks that the disk does not give are no reason to wait: the file is left, and may be read later.
        cursor = Cursor(path, file, journal, note, size, before, go_around=True)
        sound, damage = cursor.place, ""
        while (entry := cursor.next(size, first + max(line.MOST, size // line.LEAST))) is not None:
            sound, damage = cursor.place, entry.damage
        lost = cursor.note_tail(size)
    seq = cursor.place.seq + lost
    if sound.offset < size:
        problem = f"{path} breaks off, or is broken, at byte {sound.offset}"
    elif cursor.origin is None:
        problem = f"{path} does not say where it begins"
    else:
        problem = damage
    if cursor.origin is None:
        seq = max(seq, first)  # the new one must have another name, unless there is but half a line in this one
    return _End(seq, sound.hashes[0] if sound.hashes else bytes(32), problem)


def _behind_all(end: _End, older: list[Held], findings: Findings) -> _End:
    """The end, behind the entries of all other files: a copy that was put back may end before the one before it."""
    for held, following in pairwise(older):
        last = _last_entry(held.path)
        if last is None or last.seq < following.first_seq:
            continue
        held.overlaps = held.is_damaged = following.is_damaged = True
        sentence = f"{following.path} begins at {following.first_seq}, but the one before it goes up to {last.seq}"
        findings.add(Finding(following.path, following.first_seq, What.OVERLAP, sentence))
        if last.seq > end.seq:
            end = _End(last.seq, last.hash, sentence)
    return end


def _last_entry(path: Path) -> Entry | None:
    """The last entry of a file, None if it cannot be told at a glance."""
    try:
        with open(path, "rb", buffering=0) as file:
            for size in _TAILS:
                file.seek(max(0, layout.size(path) - size))
                lines = file.read(size).split(line.END)[-3:-1]
                one, other = map(line.decode, lines) if len(lines) == 2 else (None, None)
                if one and other and chain.link(one.hash, other.seq, other.payload) == other.hash:
                    return other
    except OSError:
        pass
    return None


def _power_was_lost(state: State) -> bool:
    boot = boot_id()
    return bool(boot and state.boot and boot != state.boot and not state.clean and not state.power)
