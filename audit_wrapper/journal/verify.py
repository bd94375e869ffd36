"""Check a whole journal without changing a byte of it, whether or not somebody is writing it."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import chain, layout, line
from audit_wrapper.journal.cursor import Cursor, Place
from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.segment import SegmentDamaged
from audit_wrapper.journal.state import State, read_state


def verify(folder: Path) -> Iterator[Finding]:
    """What is wrong with the journal in `folder`, in the order of its entries; nothing if all is well.

    Every entry is read and its hash computed; of a segment that is being written, what is there when it is come to.
    Raises JournalUnavailable if the folder cannot be read.
    """
    try:
        yield from _verify(folder)
    except OSError as problem:
        if isinstance(problem, JournalUnavailable):
            raise
        raise JournalUnavailable(f"the journal in {folder} cannot be checked ({problem})") from problem


def _verify(folder: Path) -> Iterator[Finding]:
    paths = layout.segment_paths(folder)
    state, problem = _state(folder)
    if problem and paths:
        yield problem
    journal = state.journal if state else None
    seq = 0
    hashes: tuple[bytes, ...] = (chain.genesis(journal),) if journal else ()
    for index, path in enumerate(paths):
        first = layout.first_seq_of(path)
        # Asked at each file: retention may be at work.
        current, _ = _state(folder)
        deleted_through = current.deleted_through if current else layout.first_seq_of(paths[0]) - 1
        if first <= seq:
            yield Finding(
                path, first, What.OVERLAP, f"{path} begins at {first}, but the one before it goes up to {seq}"
            )
        elif first > seq + 1:
            if first - 1 > deleted_through:
                sentence = f"there is no entry {seq + 1} to {first - 1} before {path}"
                yield Finding(path, seq + 1, What.GAP, sentence)
            hashes = ()
        last = layout.first_seq_of(paths[index + 1]) - 1 if index + 1 < len(paths) else None
        try:
            findings, end = _check(path, journal, hashes, last)
        except FileNotFoundError:  # if retention did not take it, those after it do not follow, and that will be found
            continue
        yield from findings
        if end is None:
            seq, hashes = max(seq, first - 1), ()
        else:
            seq, hashes = end.seq, end.hashes
    if state and seq < state.delivered_seq:
        sentence = f"entries up to {state.delivered_seq} were delivered, the journal ends at {seq}"
        yield Finding(folder, seq + 1, What.GAP, sentence)


def _check(
    path: Path, journal: UUID | None, hashes: tuple[bytes, ...], last: int | None
) -> tuple[list[Finding], Place | None]:
    """What is wrong with one segment, and where it ends; None if nothing of it can be read."""
    findings: list[Finding] = []

    def note(seq: int | None, what: What, sentence: str) -> None:
        findings.append(Finding(path, seq, what, sentence))

    with open(path, "rb", buffering=0) as file:
        size = layout.size(path)
        try:
            cursor = Cursor(path, file, journal, note, hashes)
            most = layout.first_seq_of(path) + size // line.LEAST if last is None else last
            while cursor.next(size, most) is not None:
                continue
        except SegmentDamaged as problem:
            note(layout.first_seq_of(path), problem.what, str(problem))
            return findings, None
        if torn := cursor.rest(size):
            sentence = f"{path} breaks off in the middle of a line ({torn} bytes): a write that was cut short"
            note(cursor.place.seq + 1, What.TORN_TAIL, sentence)
        return findings, cursor.place


def _state(folder: Path) -> tuple[State | None, Finding | None]:
    path = folder / layout.STATE
    try:
        state = read_state(folder)
    except ValueError as problem:
        return None, Finding(path, None, What.UNREADABLE, f"{path} is damaged: {problem}")
    if state is None:
        return None, Finding(path, None, What.DELETED, f"{path} is gone: what retention took away is not known")
    return state, None
