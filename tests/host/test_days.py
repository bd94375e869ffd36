"""Seeded random days of trading: at the end of each, trail and books are equal in every field. `make days` trades more."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from tests.days.day import Told, one_day

FIRST = 20_000  # even seeds are days on Binance, odd ones on Bybit
DAYS = range(FIRST, FIRST + 10)
LOSING = range(FIRST, FIRST + 4)

Days = dict[tuple[int, bool], "Future[Told]"]


@pytest.fixture(scope="module")
def days() -> Iterator[Days]:
    """All days, traded two at a time."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
        traded = {(seed, False): workers.submit(one_day, seed, compare=seed < FIRST + 4) for seed in DAYS}
        traded |= {(seed, True): workers.submit(one_day, seed, True) for seed in LOSING}
        yield traded


@pytest.mark.parametrize("seed", DAYS)
def test_a_day(days: Days, seed: int) -> None:
    told = days[seed, False].result(timeout=300)
    assert told.problem is None, told.problem
    assert told.counts["orders"] > 5
    assert told.counts["requests of asking"] > 0


@pytest.mark.parametrize("seed", LOSING)
def test_a_day_on_which_most_answers_are_lost(days: Days, seed: int) -> None:
    told = days[seed, True].result(timeout=300)
    assert told.problem is None, told.problem
    assert told.counts["lost answers"] > 10


@pytest.mark.parametrize("seed", [FIRST + 100, FIRST + 101])
def test_a_day_in_postgresql(seed: int, audit_dsn: str) -> None:
    told = one_day(seed, dsn=audit_dsn)
    assert told.problem is None, told.problem
