"""Who waits until records are delivered, by the numbers of these records."""

from __future__ import annotations

import concurrent.futures
import math
import threading

_Waiter = concurrent.futures.Future[None]


class Waiters:
    """May be used by any thread. True where somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, _Waiter]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, seq: int) -> _Waiter:
        """Done once that has been reached."""
        waiter = _Waiter()
        with self._lock:
            self._waiting.append((seq, waiter))
        return waiter

    @property
    def furthest(self) -> int:
        """The last number that anybody waits for; 0: nobody waits."""
        with self._lock:
            return max((seq for seq, _ in self._waiting), default=0)

    def any_at(self, seq: int) -> bool:
        """Whether somebody waits for this number or one before it."""
        with self._lock:
            return any(wanted <= seq for wanted, _ in self._waiting)

    def release(self, seq: float = math.inf) -> None:
        """That has been reached; if none is given, nothing will be reached any more."""
        with self._lock:
            done = [waiter for wanted, waiter in self._waiting if wanted <= seq]
            self._waiting = [pair for pair in self._waiting if pair[0] > seq]
        for waiter in done:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(None)
