"""How much is measured: enough for an answer within five minutes, all that the issue asks for, or a smoke test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """calls: of each contender on the order path, back to back; slow_calls: of those that wait for a database or a disk;
    paced_calls: of each, one every `paced_gap_s`. rounds: turns that the calls of each are spread over. backlog: records in the
    journal while the loop is measured, loop_runs times for loop_s. delivered: records of the delivery's turns. kept: orders of
    which the bytes are weighed. load_s: how long the memory under load is watched. repeats: of everything short; loops: readings of one
    payload timed together. counted: orders of which the instructions are counted, count_runs times. sizes: events in the store and the journal, for `growth`."""

    calls: int
    slow_calls: int
    paced_calls: int
    paced_gap_s: float
    rounds: int
    backlog: int
    loop_runs: int
    loop_s: float
    delivered: int
    delivery_runs: int
    kept: int
    load_s: float
    repeats: int
    loops: int
    counted: int
    count_runs: int
    sizes: tuple[int, ...]


EFFORTS = {
    "tiny": Effort(
        calls=20,
        slow_calls=10,
        paced_calls=10,
        paced_gap_s=0.001,
        rounds=2,
        backlog=40,
        loop_runs=1,
        loop_s=0.3,
        delivered=40,
        delivery_runs=1,
        kept=10,
        load_s=0.3,
        repeats=1,
        loops=1,
        counted=10,
        count_runs=1,
        sizes=(1_200, 2_400),
    ),
    "usual": Effort(
        calls=20_000,
        slow_calls=1_000,
        paced_calls=600,
        paced_gap_s=0.003,
        rounds=10,
        backlog=40_000,
        loop_runs=5,
        loop_s=3.0,
        delivered=8_000,
        delivery_runs=3,
        kept=1_500,
        load_s=3.0,
        repeats=7,
        loops=100,
        counted=400,
        count_runs=2,
        sizes=(10_000, 100_000),
    ),
    "full": Effort(
        calls=20_000,
        slow_calls=20_000,
        paced_calls=20_000,
        paced_gap_s=0.003,
        rounds=20,
        backlog=100_000,
        loop_runs=5,
        loop_s=60.0,
        delivered=200_000,
        delivery_runs=5,
        kept=25_000,
        load_s=60.0,
        repeats=31,
        loops=500,
        counted=2_000,
        count_runs=5,
        sizes=(10_000, 1_000_000, 10_000_000),
    ),
}
