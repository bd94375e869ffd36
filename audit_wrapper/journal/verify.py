"""Check a whole journal without changing a byte of it, whether or not somebody is writing it."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import chain, layout, log
from audit_wrapper.journal.check import SegmentCheck
from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.segment import Origin, SegmentDamaged, broken_log, is_damage, read_origin
from audit_wrapper.journal.snapshot import Moved, snapshot
from audit_wrapper.journal.state import State, read_state

_ATTEMPTS = 10


class _Checked(NamedTuple):
    """A segment after its check. `origin` is None if it cannot be used at all."""

    findings: list[Finding]
    origin: Origin | None = None
    last_seq: int = 0
    last_hash: bytes | None = None


def verify(folder: Path) -> Iterator[Finding]:
    """What is wrong with the journal in `folder`, in the order of its entries; nothing if all is well.

    Every entry is read and its hash computed. A segment being written is checked as it stands at some moment of the
    check, from a copy in the system's folder for temporary files. Raises JournalUnavailable if the folder cannot be
    read.
    """
    try:
        yield from _verify(folder)
    except (OSError, sqlite3.Error) as problem:
        if isinstance(problem, JournalUnavailable):
            raise
        raise JournalUnavailable(f"the journal in {folder} cannot be checked ({problem})") from problem


def _verify(folder: Path) -> Iterator[Finding]:
    paths = layout.segment_paths(folder)
    # Decided once: the segments before the last one in use are complete, however long this takes.
    state, problem = _state(folder)
    if problem and paths:
        yield problem
    stream = state.stream if state else None
    while paths and _is_prepared(folder, paths[-1], stream):
        paths.pop()
    last_seq = 0
    last_hash = chain.genesis(stream) if stream else None
    for path in paths:
        checked = _check(folder, path, stream)
        if checked is None or (checked.origin is not None and not checked.origin.previous_hash):
            continue
        origin = checked.origin
        if origin is None:
            last_hash = None
        else:
            stream = stream or origin.stream
            # Again at each file: retention may be at work.
            current, _ = _state(folder)
            deleted_through = current.deleted_through if current else layout.first_seq_of(paths[0]) - 1
            yield from _joint(path, origin, last_seq, last_hash, deleted_through)
            last_seq, last_hash = checked.last_seq, checked.last_hash
        yield from checked.findings
    if state and last_seq < state.delivered_seq:
        sentence = f"entries up to {state.delivered_seq} were delivered, the journal ends at {last_seq}"
        yield Finding(folder, last_seq + 1, What.GAP, sentence)


def _joint(
    path: Path, origin: Origin, last_seq: int, last_hash: bytes | None, deleted_through: int
) -> Iterator[Finding]:
    """Does this segment begin where the one before it ends?"""
    first = origin.first_seq
    if first <= last_seq:
        sentence = f"{path} begins at {first}, but the segment before it goes up to {last_seq}"
        yield Finding(path, first, What.OVERLAP, sentence)
    elif first != last_seq + 1:
        if first - 1 > deleted_through:
            why = f" ({origin.note})" if origin.note else ""
            sentence = f"there is no entry {last_seq + 1} to {first - 1} before {path}{why}"
            yield Finding(path, last_seq + 1, What.GAP, sentence)
    elif last_hash is not None and origin.previous_hash != last_hash:
        yield Finding(path, first, What.HASH_MISMATCH, f"{path} does not continue the chain of the segment before it")


def _state(folder: Path) -> tuple[State | None, Finding | None]:
    path = folder / layout.STATE
    try:
        state = read_state(folder)
    except ValueError as problem:
        return None, Finding(path, None, What.UNREADABLE, f"{path} is damaged: {problem}")
    if state is None:
        return None, Finding(path, None, What.DELETED, f"{path} is gone: what retention took away is not known")
    return state, None


def _is_prepared(folder: Path, path: Path, stream: UUID | None) -> bool:
    """Whether the last segment was made ahead and is not in use, or is not even there any more."""
    for _ in range(_ATTEMPTS):
        try:
            with snapshot(folder, path) as look:
                return not read_origin(look.connection, path, stream).previous_hash
        except SegmentDamaged:
            return False
        except (Moved, FileNotFoundError, sqlite3.Error):
            if not path.exists():
                return True
    return False  # it will be looked at more closely


def _check(folder: Path, path: Path, stream: UUID | None) -> _Checked | None:
    """None: it is gone. If retention did not take it, those after it do not follow, and that will be found."""
    doubted = False
    for _ in range(_ATTEMPTS):
        before = _shape(path)
        try:
            with snapshot(folder, path) as look:
                check = SegmentCheck(look.connection, path, stream)
                findings = list(check.findings())
                lost = log.lost_commits(look.file) if look.is_copy else 0
        except (Moved, FileNotFoundError, sqlite3.Error) as problem:
            if isinstance(problem, sqlite3.Error) and is_damage(problem):
                raise
            if not path.exists():
                return None
            continue
        if lost and not doubted:
            doubted = True  # a copy made in the middle of a write can look so; twice in a row it does not
            continue
        if lost:
            findings.append(Finding(path, check.last_seq + 1, What.UNREADABLE, broken_log(path, lost)))
        if look.is_copy or before == _shape(path):
            return _Checked(findings, check.origin, check.last_seq, check.last_hash)
    raise JournalUnavailable(f"{path} changes too fast to be copied: check again when less is going on")


def _shape(path: Path) -> tuple[int, int, bool]:
    has_log = layout.wal_path(path).exists()
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0, has_log
    return status.st_size, status.st_mtime_ns, has_log
