"""Seeded random days of trading: at the end of each, trail and books are equal in every field. `make days` trades more."""

from __future__ import annotations

import pytest

from tests.days.day import one_day

FIRST = 20_000  # even seeds are days on Binance, odd ones on Bybit


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 24))
def test_a_day(seed: int) -> None:
    told = one_day(seed, compare=seed % 8 in (0, 1))
    assert told.problem is None, told.problem
    assert told.counts["orders"] > 5
    assert told.counts["requests of asking"] > 0


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 4))
def test_a_day_on_which_most_answers_are_lost(seed: int) -> None:
    told = one_day(seed, losing=True)
    assert told.problem is None, told.problem
    assert told.counts["lost answers"] > 10


@pytest.mark.parametrize("seed", [FIRST + 100, FIRST + 101])
def test_a_day_in_postgresql(seed: int, audit_dsn: str) -> None:
    told = one_day(seed, dsn=audit_dsn)
    assert told.problem is None, told.problem
