"""Seeded random days of trading on both exchanges, each ending with the trail equal to the exchange's books.

    python -m tests.days --days 1000                       # even seeds: Binance, odd ones: Bybit
    python -m tests.days --days 1000 --lost-answers 10000  # and days in which most answers are lost
    python -m tests.days --seed 4711 [--losing]            # one day again, from the seed that was printed

A bot trades on a simulated exchange through the real ccxt client; answers are lost, others trade on the account, stops
fire, positions are liquidated, fees come late. Then all is asked for, and every field of every row is held against the
exchange's own ledger; every tenth day the rows come from a real PostgreSQL, and every twentieth is traded again without a
trail, which must send the same. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from tests.days.day import Told, one_day
from tests.days.stored import one_stored_day
from tests.torture.database import Databases, Made


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--days", type=int, default=1_000, help="how many (default: 1000)")
    arguments.add_argument(
        "--lost-answers", type=int, default=0, help="and losing days, until so many answers were lost"
    )
    arguments.add_argument("--first-seed", type=int, help="where the seeds begin (default: at random)")
    arguments.add_argument("--seed", type=int, help="only the day of this seed")
    arguments.add_argument("--losing", action="store_true", help="with --seed: a day in which most answers are lost")
    arguments.add_argument("--stored", action="store_true", help="with --seed: in a real PostgreSQL")
    arguments.add_argument("--jobs", type=int, default=2, help="days at a time (default: 2)")
    given = arguments.parse_args()
    if given.seed is not None:
        if given.stored:
            with Databases() as databases:
                told = one_stored_day(given.seed, given.losing, databases.made)
        else:
            told = one_day(given.seed, given.losing, compare=True)
        print(told.problem or f"seed {told.seed} ({told.kind}): equal")
        return 1 if told.problem else 0
    return _many(given)


def _many(given: argparse.Namespace) -> int:
    first = given.first_seed if given.first_seed is not None else random.SystemRandom().randrange(1 << 30)
    print(f"seeds from {first}", flush=True)
    done, failed, began = Counter[str](), list[str](), time.monotonic()
    context = multiprocessing.get_context("spawn")
    with (
        Databases() as databases,
        ProcessPoolExecutor(given.jobs, mp_context=context, max_tasks_per_child=50) as workers,
    ):
        pending: set[Future[Told]] = set()
        losing = Counter[str]()

        def jobs() -> Iterator[Future[Told]]:
            for number in range(given.days):
                yield _submit(workers, databases.made, first + number, number)
            seed = first
            while losing["lost answers"] < given.lost_answers:
                yield workers.submit(one_day, seed, True)
                seed += 1

        count = 0
        for job in jobs():
            pending.add(job)
            while len(pending) > given.jobs * 2:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for one in ended:
                    count = _take(one.result(), count, done, losing, failed, began)
        for one in wait(pending).done:
            count = _take(one.result(), count, done, losing, failed, began)
    _print_table(done)
    asked = done["requests of asking"] / max(done["orders"], 1)
    print(f"{asked:10.2f} requests of asking per order")
    print(f"{count} days from seed {first} in {time.monotonic() - began:.0f} s, {len(failed)} with a difference")
    if failed:
        print(f"DIFFERENCES on {len(failed)} days: {' '.join(failed)}")
        return 1
    print("trail and books are equal, in every field, on every day")
    return 0


def _submit(workers: ProcessPoolExecutor, made: Made, seed: int, number: int) -> Future[Told]:
    if number % 10 == 9:
        return workers.submit(one_stored_day, seed, False, made)
    return workers.submit(one_day, seed, False, compare=number % 20 == 4 or number % 20 == 15)


def _take(told: Told, count: int, done: Counter[str], losing: Counter[str], failed: list[str], began: float) -> int:
    done.update(told.counts)
    if told.losing:
        losing.update(told.counts)
    if told.problem:
        failed.append(f"{told.seed}{' --losing' if told.losing else ''}")
        print(told.problem, flush=True)
    if (count + 1) % 50 == 0:
        spent = time.monotonic() - began
        words = f"{count + 1} days, {done['orders']} orders, {done['lost answers']} lost answers in {spent:.0f} s"
        print(f"{words}, {len(failed)} days with a difference", flush=True)
    return count + 1


def _print_table(done: Counter[str]) -> None:
    for what, times in sorted(done.items()):
        print(f"{times:10} {what}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
