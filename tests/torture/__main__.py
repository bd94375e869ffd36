"""Torture: thousands of random faults, nothing lost.

    python -m tests.torture --faults 2000            # takes some 20 minutes on two cores
    python -m tests.torture --seed 4711              # one day again, from the seed that was printed

A bot trades on a simulated exchange (a process of its own) through the real ccxt client, with a real PostgreSQL behind
it. Again and again it is killed at a named point or at a random moment, interrupted, cut off from the database or from a
disk with room; requests and answers are lost on the way. After some runs on one journal the trail is held against the
exchange's books and against all that the bot had been told. Exits with 1 if anything is missing or there twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "bot")]

from tests.torture.database import Databases  # noqa: E402
from tests.torture.day import one_day  # noqa: E402

FAULTS_A_DAY = 12


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--faults", type=int, default=2_000, help="how many, about (default: 2000)")
    arguments.add_argument("--first-seed", type=int, help="where the seeds begin (default: at random)")
    arguments.add_argument("--seed", type=int, help="only the day of this seed (with --every-point: that one)")
    arguments.add_argument("--every-point", action="store_true", help="and one more day: a kill at each named point")
    arguments.add_argument("--jobs", type=int, default=2, help="days at a time (default: 2)")
    given = arguments.parse_args()
    first = given.first_seed if given.first_seed is not None else random.SystemRandom().randrange(1 << 30)
    seeds = range(first, first + -(-given.faults // FAULTS_A_DAY))
    if given.seed is not None:
        first, seeds = given.seed + 1, range(given.seed, given.seed + (not given.every_point))
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {FAULTS_A_DAY} faults each", flush=True)
    began, done, failed = time.monotonic(), Counter[str](), []
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as root,
        Databases() as databases,
        ProcessPoolExecutor(given.jobs, mp_context=context) as workers,
    ):
        made = databases.made
        pending = [workers.submit(one_day, seed, made, root, FAULTS_A_DAY) for seed in seeds]
        if given.every_point:
            pending.insert(0, workers.submit(one_day, first - 1, made, root, FAULTS_A_DAY, every_point=True))
        for count, ended in enumerate(as_completed(pending), 1):
            told = ended.result()
            done += Counter(told.done)
            if told.problem:
                failed.append(told.seed)
                print(told.problem, flush=True)
            if count % 10 == 0 or told.problem:
                spent = time.monotonic() - began
                print(f"{done.total()} faults in {spent:.0f} s, {len(failed)} days with a loss", flush=True)
    for way, times in sorted(done.items()):
        print(f"{times:6} {way}")
    spent = time.monotonic() - began
    print(f"{done.total()} faults, {len(pending)} days, seeds {seeds.start} to {seeds.stop - 1}, {spent:.0f} s")
    if failed:
        print(
            f"SOMETHING WAS LOST on the days of seeds {failed}: python -m tests.torture --seed {failed[0]}"
            f"{' --every-point' if failed[0] not in seeds else ''}"
        )
        return 1
    print("nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
