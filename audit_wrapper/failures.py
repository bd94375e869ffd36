"""Failures of our own: counted, logged once per kind, shown by `status()`; never raised into a trade."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Mapping

from audit_wrapper.errors import AuditWrapperError
from audit_wrapper.logs import Log
from audit_wrapper.snapshot import said

logger = Log("audit_wrapper")


class Failures:
    """Counts what went wrong, by kind. Thread-safe. about: which trail it is, for the log."""

    def __init__(self, about: Mapping[str, str] | None = None) -> None:
        self._about = dict(about or {})
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a forked child: the old lock may be held by a thread that is not there any more."""
        self._lock = threading.RLock()  # a signal handler may trade, or close the trail, in the middle of `note`
        self._counts: Counter[str] = Counter()
        self._last: str | None = None

    def note(self, kind: str, problem: BaseException | str, place: str | None = None) -> None:
        """Count one failure; the first of its kind is logged in full, the others only counted. place: a traceback, of a process
        that is not this one."""
        text = sentence_of(problem)
        with self._lock:
            self._counts[kind] += 1
            self._last = f"{kind}: {text}"
            first = self._counts[kind] == 1
        if first:
            logger.error(
                "audit trail: %s: %s (trading goes on; further failures of this kind are counted, see status())%s",
                kind,
                text,
                f"\n{place}" if place else "",
                trace=place_of(problem),
                event="failure",
                kind=kind,
                problem=text,
                **self._about,
            )

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind happened."""
        with self._lock:
            return dict(self._counts)

    @property
    def last(self) -> str | None:
        """The latest failure, in words."""
        return self._last


def sentence_of(problem: BaseException | str) -> str:
    """What went wrong, as it is logged: an exception with its type."""
    return said(problem) if isinstance(problem, str) else f"{type(problem).__name__}: {words_of(problem)}"


def place_of(problem: BaseException | str) -> BaseException | None:
    """For a log: our own errors say all there is to say; only of what nobody foresaw is the place worth knowing."""
    return None if isinstance(problem, str | AuditWrapperError | OSError) else trace_of(problem)


def words_of(problem: BaseException) -> str:
    """What an exception says, without secrets."""
    try:
        return said(str(problem))
    except Exception:  # a host's exception may fail to describe itself; its type is named all the same
        return "(its message cannot be read)"


def in_words(problem: BaseException) -> str:
    """What went wrong, for a person: as `words_of`, and what kind of exception it was unless it is one of our own."""
    words = words_of(problem)
    return words if isinstance(problem, AuditWrapperError) else f"{type(problem).__name__}: {words}".rstrip(": ")


def trace_of(problem: BaseException) -> BaseException | None:
    """For a log's `exc_info`: the exception, unless what is printed of it would show a secret."""
    try:
        printed = "".join(traceback.format_exception(problem))
        return problem if said(printed) == printed else None
    except Exception:  # as above
        return None
