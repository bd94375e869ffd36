"""The exchange's clock, which tests may start in the past, move forward and stop.

Two readings: what orders are stamped with (`now`), and the plain time of day (`wall`), by which the timestamps of
requests are judged: the client on the other side has only its own clock.
"""

from __future__ import annotations

import time

from .settings import Settings


class Clock:
    """Milliseconds since the epoch, UTC; never goes back by itself."""

    def __init__(self, settings: Settings, start_time_ms: int | None = None) -> None:
        self._settings = settings
        self._shift = 0 if start_time_ms is None else start_time_ms - _time_of_day()
        self._stopped_at: int | None = None

    def wall(self) -> int:
        """The time of day, as a client of the exchange sees it; `clock_offset_ms` sets it wrong."""
        return _time_of_day() + self._settings.clock_offset_ms

    def now(self) -> int:
        """What the exchange writes on orders and fills."""
        if self._stopped_at is not None:
            return self._stopped_at + self._settings.clock_offset_ms
        return self.wall() + self._shift

    def advance(self, milliseconds: int) -> None:
        if milliseconds < 0:
            raise ValueError("the exchange's clock moves forward only")
        if self._stopped_at is None:
            self._shift += milliseconds
        else:
            self._stopped_at += milliseconds

    def stop(self) -> None:
        """From now on all happens in the same millisecond, until `advance` or `go_on`."""
        if self._stopped_at is None:
            self._stopped_at = _time_of_day() + self._shift

    def go_on(self) -> None:
        if self._stopped_at is not None:
            self._shift = self._stopped_at - _time_of_day()
            self._stopped_at = None


def _time_of_day() -> int:
    return time.time_ns() // 1_000_000
