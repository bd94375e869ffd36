"""Check a whole journal without changing a byte of it, whether or not somebody is writing it."""

import time
from collections.abc import Generator, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.cursor import Cursor, Place
from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.interface import Entry
from audit_wrapper.journal.segment import SegmentDamaged
from audit_wrapper.journal.state import State, read_state

_LOOKS, _LOOK_S = 5, 0.01  # how often, and how far apart, it is looked whether a torn line is just being written


def verify(folder: Path) -> Iterator[Finding]:
    """What is wrong with the journal in `folder`, in the order of its entries; nothing if all is well.

    Every entry is read and its hash computed; of a segment that is being written, what is there when it is come to.
    Raises JournalUnavailable if the folder cannot be read.
    """
    yield from (found for found in read_through(folder) if isinstance(found, Finding))


def read_through(folder: Path) -> Iterator[Finding | Entry]:
    """As `verify`, and every entry too, as it is read; what is wrong with a segment comes behind its entries."""
    try:
        yield from _read_through(folder)
    except OSError as problem:
        if isinstance(problem, JournalUnavailable):
            raise
        raise JournalUnavailable(f"the journal in {folder} cannot be checked ({problem})") from problem


def _read_through(folder: Path) -> Iterator[Finding | Entry]:
    paths = layout.segment_paths(folder)
    state, problem = _state(folder)
    if problem and paths:
        yield problem
    journal = state.journal if state else None
    before = Place(0, 0, (chain.genesis(journal),) if journal else ())
    for path, following in pairwise([*paths, None]):
        assert path is not None
        first = layout.first_seq_of(path)
        # Asked at each file: retention may be at work.
        current, _ = _state(folder)
        deleted_through = current.deleted_through if current else layout.first_seq_of(paths[0]) - 1
        if first <= before.seq:
            sentence = f"{path} begins at {first}, but the one before it goes up to {before.seq}"
            yield Finding(path, first, What.OVERLAP, sentence)
        elif first - 1 > max(before.seq, deleted_through):
            sentence = f"there is no entry {before.seq + 1} to {first - 1} before {path}"
            yield Finding(path, before.seq + 1, What.GAP, sentence)
        try:
            end = yield from _check(path, journal, before, following)
        except FileNotFoundError:  # if retention did not take it, those after it do not follow, and that will be found
            continue
        before = Place(0, max(before.seq, first - 1), ()) if end is None or end.seq < before.seq else end
    if state and before.seq < state.delivered_seq:
        sentence = f"entries up to {state.delivered_seq} were delivered, the journal ends at {before.seq}"
        yield Finding(folder, before.seq + 1, What.GAP, sentence)


def _check(
    path: Path, journal: UUID | None, before: Place, following: Path | None
) -> Generator[Finding | Entry, None, Place | None]:
    """What there is in one segment, what is wrong with it, and where it ends; None if nothing of it can be read."""
    findings: dict[tuple[int | None, What], Finding] = {}

    def note(seq: int | None, what: What, sentence: str) -> None:
        findings.setdefault((seq, what), Finding(path, seq, what, sentence))

    with open(path, "rb", buffering=0) as file:
        size = _settled_size(path) if following is None else layout.size(path)
        first = layout.first_seq_of(path)
        most = first + max(line.MOST, size // line.LEAST)
        last = most if following is None else layout.first_seq_of(following) - 1
        try:
            cursor = Cursor(path, file, journal, note, size, before, go_around=True)
        except SegmentDamaged as problem:
            note(first, problem.what, str(problem))
            yield from findings.values()
            return None
        while (entry := cursor.next(size, last)) is not None:
            yield entry
        cursor.note_tail(size)
        yield from findings.values()
        return cursor.place


def _settled_size(path: Path) -> int:
    """Up to where a file is written that somebody may be writing: a line that is half there now is no damage."""
    size = layout.size(path)
    with open(path, "rb", buffering=0) as file:
        for _ in range(_LOOKS):
            file.seek(max(0, size - 1))
            if file.read(1) == line.END:
                break
            time.sleep(_LOOK_S)
            size = layout.size(path)
    return size


def _state(folder: Path) -> tuple[State | None, Finding | None]:
    path = folder / layout.STATE
    try:
        state = read_state(folder)
    except ValueError as problem:
        return None, Finding(path, None, What.UNREADABLE, f"{path} is damaged: {problem}")
    if state is None:
        return None, Finding(path, None, What.DELETED, f"{path} is gone: what retention took away is not known")
    return state, None
