"""How much is measured: enough for an answer within five minutes, all that the issue asks for, or a smoke test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """calls: of each contender on the order path, back to back; slow_calls: of those that wait for a database or a disk;
    paced_calls: of each, one every `paced_gap_s`. rounds: turns that the calls of each are spread over. backlog: records in the
    journal while the loop is measured, loop_runs times for loop_s. delivered: records of the delivery's turns. kept: orders of
    which the bytes are weighed. load_s: how long the memory under load is watched. repeats: of everything short; loops: readings of one
    payload timed together. sizes: events in the store and the journal, for `growth`."""

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
    sizes: tuple[int, ...]


EFFORTS = {
    "tiny": Effort(20, 10, 10, 0.001, 2, 40, 1, 0.3, 40, 1, 10, 0.3, 1, 1, (1_200, 2_400)),
    "usual": Effort(
        20_000, 3_000, 1_500, 0.003, 10, 100_000, 5, 3.0, 20_000, 3, 2_500, 5.0, 11, 200, (10_000, 100_000)
    ),
    "full": Effort(
        20_000,
        20_000,
        20_000,
        0.003,
        20,
        100_000,
        5,
        60.0,
        200_000,
        5,
        25_000,
        60.0,
        31,
        500,
        (10_000, 1_000_000, 10_000_000),
    ),
}
