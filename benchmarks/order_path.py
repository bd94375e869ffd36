"""1. The time that is added to one order call."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import contenders, mapper
from benchmarks.contenders import Bot, Contender
from benchmarks.effort import Effort
from benchmarks.place import Place
from benchmarks.result import Result, Table, quantile, spread

_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
_RATIOS = ("p50", "p99")  # the others of a turn of some hundred calls say nothing
_BARE = 0  # who comes first
_OURS = 1


def run(place: Place) -> Result:
    """Through a manager; then what both records alone cost; then those that wait for the disk."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    gap_s = place.effort.paced_gap_s
    paced = f"one call every {gap_s * 1_000:g} ms"
    figures: dict[str, Any] = {}
    tables: list[Table] = []
    async with place.database() as dsn, place.database() as other:
        for comparison, bot, entered, paces in (
            ("through a manager", contenders.WITH_MANAGER, _all_of_them, {"back to back": 0.0, paced: gap_s}),
            ("intent and outcome only", contenders.WITHOUT_MANAGER, _both_records, {"back to back": 0.0, paced: gap_s}),
            ("through a loss of power", contenders.WITH_MANAGER, _lasting, {"back to back": 0.0}),
        ):
            records = await bot.records()
            about = f"{bot.seams} observed: {len(records)} records, {sum(map(len, records)):,} bytes per call"
            folder = place.folder / comparison.replace(" ", "-")
            folder.mkdir()
            async with AsyncExitStack() as stack:
                chosen = [await stack.enter_async_context(one) for one in entered(bot, folder, dsn, other)]
                chosen.insert(_BARE, bot.bare())
                figures[comparison] = {"about": about, "contenders": {one.name: one.how for one in chosen}}
                for pace, gap in paces.items():
                    measured = await _in_turns(chosen, place.effort, gap)
                    figures[comparison][pace] = measured
                    tables.append(_table(f"{comparison}, {pace}", about, measured))
    tables[-1].notes += (
        "added: less the bare bot's median in the same run, so that what the machine itself does shows in every tail, and in the "
        "bare bot's row; times ours: what it adds by what ours adds in the same turn, median of the turns (least-most), at p50 and "
        "at p99; CPU: of the bot's thread, the whole call",
    )
    return Result(tables, figures)


# -- who is compared


_Entered = list[AbstractAsyncContextManager[Contender]]


def _all_of_them(bot: Bot, folder: Path, dsn: str, other: str) -> _Entered:
    return [
        _alone(bot, folder, other),
        contenders.ours(
            bot,
            "ours, as it comes",
            "the same, with delivery into the same PostgreSQL meanwhile, by a process of ours",
            folder / "process",
            slow=True,  # each turn's records have to be delivered before the next contender's
            dsn=dsn,
        ),
        _inline(bot, other),
        contenders.inline(
            bot,
            "inline logging, commit off",
            "the same with synchronous_commit = off: as durable as our default",
            other,
            "off",
        ),
        mapper.sqlalchemy_commits(bot, other),
        contenders.sqlite_commits(bot, folder),
        contenders.journal_floor(bot, folder, force=False),
        contenders.sqlite_floor(bot, folder, synchronous="NORMAL"),
        contenders.write_floor(bot, folder, force=False),
    ]


def _both_records(bot: Bot, folder: Path, dsn: str, other: str) -> _Entered:
    return [
        _alone(bot, folder, other),
        _inline(bot, other),
        contenders.journal_floor(bot, folder, force=False),
        contenders.sqlite_floor(bot, folder, synchronous="NORMAL"),
        contenders.write_floor(bot, folder, force=False),
    ]


def _lasting(bot: Bot, folder: Path, dsn: str, other: str) -> _Entered:
    return [
        contenders.ours(
            bot,
            'ours, durability="power"',
            "the order path alone; no request leaves before the disk has its intent",
            folder / "power",
            slow=True,
            dsn=other,
            delivery="sidecar",
            durability="power",
        ),
        contenders.journal_floor(bot, folder, force=True),
        contenders.write_floor(bot, folder, force=True),
        contenders.sqlite_floor(bot, folder, synchronous="FULL"),
    ]


def _alone(bot: Bot, folder: Path, dsn: str) -> AbstractAsyncContextManager[Contender]:
    how = f'{bot.seams} observed, journal on disk; delivery="sidecar" with no sidecar running'
    return contenders.ours(bot, "ours, order path alone", how, folder / "alone", dsn=dsn, delivery="sidecar")


def _inline(bot: Bot, dsn: str) -> AbstractAsyncContextManager[Contender]:
    how = "`await pool.fetchval(INSERT ...)` for the order and for the trade; asyncpg, PostgreSQL as it comes"
    return contenders.inline(bot, "inline logging", how, dsn, "on")


# -- measuring


async def _in_turns(chosen: list[Contender], effort: Effort, gap_s: float) -> dict[str, dict[str, Any]]:
    times: dict[str, list[list[int]]] = {one.name: [] for one in chosen}
    busy: dict[str, list[float]] = {one.name: [] for one in chosen}
    for one in chosen:  # what is done once: first use of a statement, a file, a market
        await _turn(one, 3, 0.0)
    for number in range(effort.rounds):
        for one in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            calls = effort.paced_calls if gap_s else effort.slow_calls if one.slow else effort.calls
            taken, cpu_us = await _turn(one, calls // effort.rounds, gap_s)
            times[one.name].append(taken)
            busy[one.name].append(cpu_us)
    bare = times[chosen[_BARE].name]
    found = {name: _figures(turns, bare, busy[name]) for name, turns in times.items()}
    ours = found[chosen[_OURS].name]["added_us_of_each_turn"]
    for added in found.values():
        turns = added["added_us_of_each_turn"]
        added["times_ours_of_each_turn"] = {
            q: [round(a / b, 3) for a, b in zip(turns[q], ours[q], strict=True)] for q in _RATIOS
        }
    return found


async def _turn(one: Contender, calls: int, gap_s: float) -> tuple[list[int], float]:
    """How long each call took, in nanoseconds, in order of size; and the processor's time per call, in microseconds."""
    call, clock, taken = one.call, time.perf_counter_ns, []
    gc.collect()  # what the one before left is not this one's to clear away
    cpu = time.thread_time_ns()
    for _ in range(calls):
        if gap_s:
            await asyncio.sleep(gap_s)
        began = clock()
        await call()
        taken.append(clock() - began)
    cpu = time.thread_time_ns() - cpu
    await one.settle()
    return sorted(taken), cpu / calls / 1_000


def _figures(turns: list[list[int]], bare: list[list[int]], busy: list[float]) -> dict[str, Any]:
    """Of all calls together; and of each turn by itself, for what changes with the machine's speed."""
    ordered = sorted(ns for turn in turns for ns in turn)
    base = quantile(sorted(ns for turn in bare for ns in turn), 0.5)
    return {
        "calls": len(ordered),
        "us": {q: quantile(ordered, share) / 1_000 for q, share in _QUANTILES.items()},
        "added_us": {q: (quantile(ordered, share) - base) / 1_000 for q, share in _QUANTILES.items()},
        "p50_us_of_each_turn": [quantile(turn, 0.5) / 1_000 for turn in turns],
        "added_us_of_each_turn": {
            q: [
                (quantile(turn, _QUANTILES[q]) - quantile(alone, 0.5)) / 1_000
                for turn, alone in zip(turns, bare, strict=True)
            ]
            for q in _RATIOS
        },
        "thread_cpu_us_per_call": round(statistics.median(busy), 2),
    }


def _table(name: str, about: str, measured: dict[str, dict[str, Any]]) -> Table:
    columns = ("", "calls", *_QUANTILES, "p50 by turn", "CPU", "times ours, p50", "times ours, p99")
    table = Table(f"Added time per order call, {name}, microseconds", columns, notes=(about,))
    for number, (contender, found) in enumerate(measured.items()):
        is_bare = number == _BARE
        shown, turns = found["us" if is_bare else "added_us"], found["p50_us_of_each_turn"]
        ratios = ["" if number in (_BARE, _OURS) else spread(found["times_ours_of_each_turn"][q], 2) for q in _RATIOS]
        table.rows.append(
            (
                f"{contender} (whole)" if is_bare else contender,
                f"{found['calls']:,}",
                *(f"{shown[q]:,.0f}" for q in _QUANTILES),
                f"{min(turns):,.0f}-{max(turns):,.0f}",
                f"{found['thread_cpu_us_per_call']:,.0f}",
                *ratios,
            )
        )
    return table
