"""The pace of asking, with a clock of its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_wrapper.asking import Pace, Stopped
from audit_wrapper.asking.requests import is_rate_limit


class Clock:
    """Time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def pace_of(clock: Clock, per_minute: int = 20, busy: Any = lambda: False) -> Pace:
    return Pace(per_minute, busy, now=clock, sleep=clock.sleep)


@given(st.integers(1, 30), st.lists(st.floats(0, 40), min_size=1, max_size=100))
async def test_never_more_than_allowed_in_any_minute(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    pace = pace_of(clock, per_minute)
    taken = []
    for pause in pauses:
        clock.now += pause
        await pace.turn()
        taken.append(clock.now)
    for number, moment in enumerate(taken):
        assert len([other for other in taken[number:] if other - moment < 60]) <= per_minute


async def test_a_full_budget_is_used_at_once() -> None:
    clock = Clock()
    pace = pace_of(clock, 20)
    for _ in range(20):
        await pace.turn()
    assert clock.now == 1000.0
    await pace.turn()
    assert 1060.0 <= clock.now < 1060.1


async def test_none_while_an_order_call_is_under_way() -> None:
    clock = Clock()
    pace = pace_of(clock, busy=lambda: clock.now < 1007)
    await pace.turn()
    assert 1007 <= clock.now < 1008
    assert clock.naps[0] <= 0.05
    assert max(clock.naps) <= 0.5
    assert len(clock.naps) < 40


async def test_quiet_after_a_rate_limit_twice_as_long_each_time_up_to_a_quarter_of_an_hour() -> None:
    clock = Clock()
    pace = pace_of(clock)
    assert pace.quiet_until is None
    assert not pace.is_quiet
    lengths = []
    for _ in range(7):
        pace.rate_limited()
        pace.rate_limited()  # of a request that was under way: the same limit
        assert pace.is_quiet
        assert pace.quiet_until is not None
        lengths.append(pace.quiet_until - clock.now)
        with pytest.raises(Stopped, match="rate limit"):
            await pace.turn(patience_s=3600)
        clock.now += lengths[-1]
        assert not pace.is_quiet
        await pace.turn()
    assert [round(length) for length in lengths] == [60, 120, 240, 480, 900, 900, 900]
    clock.now += 3600
    pace.rate_limited()
    assert pace.quiet_until is not None
    assert round(pace.quiet_until - clock.now) == 60


async def test_stopped_when_the_wait_would_be_too_long() -> None:
    clock = Clock()
    pace = pace_of(clock, 1)
    await pace.turn(patience_s=0)
    with pytest.raises(Stopped, match="1 requests a minute"):
        await pace.turn(patience_s=59)
    assert clock.now == 1000.0  # said at once, not after the wait
    await pace.turn(patience_s=61)
    pace.rate_limited()
    with pytest.raises(Stopped, match="rate limit"):
        await pace.turn(patience_s=30)


async def test_patience_ends_while_the_bot_is_busy() -> None:
    clock = Clock()
    with pytest.raises(Stopped, match="order call"):
        await pace_of(clock, busy=lambda: True).turn(patience_s=5)
    assert 1004 < clock.now <= 1005


async def test_closing_stops_who_waits_and_who_comes() -> None:
    clock = Clock()
    pace = pace_of(clock, busy=lambda: True)

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 1003:
            pace.close()

    pace._sleep = sleep
    with pytest.raises(Stopped) as stopped:
        await pace.turn()
    assert stopped.value.why == "asking was ended"
    with pytest.raises(Stopped):
        await pace.turn()


async def test_no_budget_no_turn() -> None:
    with pytest.raises(Stopped, match="turned off"):
        await pace_of(Clock(), 0).turn()


def test_signs_of_a_rate_limit() -> None:
    class DDoSProtection(Exception):
        pass

    class OfTheirs(DDoSProtection):
        pass

    class Http(Exception):
        status = 429

    assert is_rate_limit(OfTheirs())
    assert is_rate_limit(Http())
    assert is_rate_limit(Exception("bybit 403: access too frequent. Please try again in 10 minutes"))
    assert not is_rate_limit(Exception("403 Forbidden"))
