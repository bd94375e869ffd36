"""When one request may be made: within the user's budget, beside no order call of the bot, and not after a rate limit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable

_WINDOW_S = 60.0
_QUIET_S = 60.0
_LONGEST_QUIET_S = 900.0
_LEAST_S = 0.001
_SLICE_S = 1.0  # longest sleep at once, so that `close()` is noticed soon
_SHORTEST_NAP_S, _LONGEST_NAP_S = 0.02, 0.5


class Stopped(Exception):
    """There is no turn: the wait would be longer than allowed, or the asking was ended."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Pace:
    """The turns of one exchange. `per_minute`: the most requests in any 60 s; 0: none at all.

    `is_busy()` says whether an order call of the bot is under way. `now` and `sleep` are the clock, in seconds.
    """

    def __init__(
        self,
        per_minute: int,
        is_busy: Callable[[], bool],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.per_minute = per_minute
        self._is_busy = is_busy
        self._now = now
        self._sleep = sleep
        self._taken: deque[float] = deque()
        self._lock = threading.Lock()  # a bot may have several loops, each in a thread of its own
        self._quiet_s = 0.0
        self.quiet_until: float | None = None  # by the clock of `now`; None: there never was a rate limit
        self.closed = False
        self.turns = 0  # given so far

    @property
    def is_quiet(self) -> bool:
        """Whether nothing may be asked at present, because of a rate limit."""
        return self.quiet_until is not None and self._now() < self.quiet_until

    def close(self) -> None:
        """Whoever waits for a turn, or asks for one later, is told `Stopped`."""
        self.closed = True

    def rate_limited(self) -> None:
        """The exchange said that it was asked too often: 60 s of quiet, twice as long each time it says so again."""
        if self.is_quiet:
            return  # the answer to a request that was under way already; one limit, not two
        now = self._now()
        again = self.quiet_until is not None and now - self.quiet_until < _LONGEST_QUIET_S
        self._quiet_s = min(self._quiet_s * 2, _LONGEST_QUIET_S) if again else _QUIET_S
        self.quiet_until = now + self._quiet_s

    async def turn(self, *, patience_s: float | None = None) -> None:
        """Returns when one request may be made. Raises `Stopped` if that would take longer than `patience_s`, and at once after
        a rate limit: nobody waits for its end with a request in hand."""
        if self.per_minute <= 0:
            raise Stopped("asking is turned off (0 requests a minute)")
        deadline = None if patience_s is None else self._now() + patience_s
        nap = _SHORTEST_NAP_S
        while True:
            if self.closed:
                raise Stopped("asking was ended")
            if self.is_quiet:
                raise Stopped("the exchange named a rate limit lately, and is left alone for a while")
            wait, why = self._wait()
            if wait <= 0 and not self._is_busy():
                if self._take():
                    return
                continue
            if wait <= 0:
                wait, why, nap = nap, "an order call of the bot is under way", min(nap * 1.5, _LONGEST_NAP_S)
            if deadline is not None and self._now() + wait > deadline:
                raise Stopped(f"{why}, and the wait would be longer than {patience_s:g} s")
            await self._sleep(max(min(wait, _SLICE_S), _LEAST_S))

    def _wait(self) -> tuple[float, str]:
        now = self._now()
        with self._lock:
            self._forget(now)
            if len(self._taken) < self.per_minute:
                return 0.0, ""
            # at least something: what is left of a minute may round to nothing, and is not over for all that
            left = max(self._taken[-self.per_minute] + _WINDOW_S - now, _LEAST_S)
            return left, f"{self.per_minute} requests a minute are allowed"

    def _take(self) -> bool:
        now = self._now()
        with self._lock:
            self._forget(now)
            if len(self._taken) >= self.per_minute:
                return False
            self._taken.append(now)
            self.turns += 1
            return True

    def _forget(self, now: float) -> None:
        while self._taken and now - self._taken[0] >= _WINDOW_S:
            self._taken.popleft()
