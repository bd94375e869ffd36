"""1. The time that is added to one order call."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import contenders, mapper
from benchmarks.contenders import Contender
from benchmarks.place import Place
from benchmarks.result import Result, Table, quantile

_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
_FLOOR = "floor: one write"


def run(place: Place) -> Result:
    """All contenders, in turns: back to back, then at a realistic rate; then those that wait for the disk."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    effort, folder = place.effort, place.folder
    payloads = await contenders.records_of_one_call()
    async with AsyncExitStack() as stack:
        dsn, other = [await stack.enter_async_context(place.database()) for _ in range(2)]
        enter = stack.enter_async_context
        alone = await enter(
            contenders.ours(
                "ours, order path alone",
                'manager, client and transport observed, journal on disk; delivery="sidecar" with no sidecar running',
                folder / "alone",
                dsn=other,
                delivery="sidecar",
            )
        )
        usual = [
            contenders.bare(),
            alone,
            await enter(
                contenders.ours(
                    "ours, as it comes",
                    "the same, with delivery into the same PostgreSQL on a thread of the bot meanwhile",
                    folder / "own",
                    slow=True,  # each turn's records have to be delivered before the next contender's
                    dsn=dsn,
                )
            ),
            await enter(
                contenders.inline(
                    "inline logging",
                    "`await pool.fetchval(INSERT ...)` for the order and for the trade; asyncpg, PostgreSQL as it comes",
                    other,
                    "on",
                )
            ),
            await enter(
                contenders.inline(
                    "inline logging, commit off",
                    "the same with synchronous_commit = off: as durable as our default",
                    other,
                    "off",
                )
            ),
            await enter(contenders.sqlite_commits(folder)),
            *([await enter(mapper.sqlalchemy_commits(folder, other))] if mapper.is_there() else []),
            await enter(contenders.sqlite_floor(folder, payloads, synchronous="NORMAL")),
            await enter(contenders.write_floor(folder, payloads, force=False)),
        ]
        lasting = [
            contenders.bare(),
            await enter(
                contenders.ours(
                    'ours, durability="power"',
                    "the order path alone; no request leaves before the disk has its intent",
                    folder / "power",
                    slow=True,
                    dsn=other,
                    delivery="sidecar",
                    durability="power",
                )
            ),
            await enter(contenders.write_floor(folder, payloads, force=True)),
            await enter(contenders.sqlite_floor(folder, payloads, synchronous="FULL")),
        ]
        missing = () if mapper.is_there() else (mapper.MISSING,)
        measured = {
            "back to back": await _in_turns(usual, effort.rounds, effort.calls, effort.slow_calls, 0.0),
            f"one call every {effort.paced_gap_s * 1_000:g} ms": await _in_turns(
                usual, effort.rounds, effort.paced_calls, effort.paced_calls, effort.paced_gap_s
            ),
            "through a loss of power, back to back": await _in_turns(
                lasting, effort.rounds, effort.calls, effort.slow_calls, 0.0
            ),
        }
    figures = {
        "records_per_call": len(payloads),
        "bytes_per_call": sum(map(len, payloads)),
        "contenders": {one.name: one.how for one in (*usual, *lasting)},
        **measured,
    }
    notes = (
        f"{len(payloads)} records ({sum(map(len, payloads)):,} bytes) per call: intent, answer, and what the manager returned",
        "added: less the bare bot's median in the same run, so that what the machine itself does shows in every tail, and in the "
        "bare bot's row; by turn: the whole call's p50 in the best and in the worst turn; CPU: of the bot's thread, the whole call",
        *missing,
    )
    tables = [_table(name, rows) for name, rows in measured.items()]
    for table, rows in zip(tables, measured.values(), strict=True):
        table.notes = tuple(_ratios(rows))
    tables[-1].notes += notes
    return Result(tables, figures)


async def _in_turns(
    chosen: list[Contender], rounds: int, calls: int, slow_calls: int, gap_s: float
) -> dict[str, dict[str, Any]]:
    times: dict[str, list[list[int]]] = {one.name: [] for one in chosen}
    busy: dict[str, list[float]] = {one.name: [] for one in chosen}
    for one in chosen:  # what is done once: first use of a statement, a file, a market
        await _turn(one, 3, 0.0)
    for number in range(rounds):
        for one in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            taken, cpu_us = await _turn(one, (slow_calls if one.slow else calls) // rounds, gap_s)
            times[one.name].append(taken)
            busy[one.name].append(cpu_us)
    base = _figures(times[chosen[0].name], busy[chosen[0].name], 0.0)["us"]["p50"]
    return {name: _figures(turns, busy[name], base) for name, turns in times.items()}


async def _turn(one: Contender, calls: int, gap_s: float) -> tuple[list[int], float]:
    """How long each call took, in nanoseconds; and the processor's time per call, in microseconds."""
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
    return taken, cpu / calls / 1_000


def _figures(turns: list[list[int]], busy: list[float], base: float) -> dict[str, Any]:
    ordered = sorted(ns / 1_000 for turn in turns for ns in turn)
    found = {name: round(quantile(ordered, share), 2) for name, share in _QUANTILES.items()}
    return {
        "calls": len(ordered),
        "us": found,
        "added_us": {name: round(value - base, 2) for name, value in found.items()},
        "p50_us_of_each_turn": [round(statistics.median(turn) / 1_000, 2) for turn in turns],
        "thread_cpu_us_per_call": round(statistics.median(busy), 2),
    }


def _ratios(measured: dict[str, dict[str, Any]]) -> Iterator[str]:
    """How ours stands to all others, by what is added."""
    for name, ours in measured.items():
        if name.startswith("ours"):
            others = [one for one in measured if not one.startswith(("ours", "bare"))]
            words = []
            for one in others:
                ratios = [measured[one]["added_us"][q] / ours["added_us"][q] for q in ("p50", "p99")]
                words.append(f"{one} {ratios[0]:.2g} / {ratios[1]:.2g}")
            yield f"{name} = 1, p50 / p99 of the others: {'; '.join(words)}"


def _table(name: str, measured: dict[str, dict[str, Any]]) -> Table:
    columns = ("", "calls", *_QUANTILES, "p50 by turn", "p50 / floor", "CPU per call")
    table = Table(f"Added time per order call, {name}, microseconds", columns)
    floor = next(found["added_us"]["p50"] for contender, found in measured.items() if contender.startswith(_FLOOR))
    for contender, found in measured.items():
        is_bare = contender == "bare bot"
        shown = found["us"] if is_bare else found["added_us"]
        turns = found["p50_us_of_each_turn"]
        table.rows.append(
            (
                f"{contender} (whole)" if is_bare else contender,
                f"{found['calls']:,}",
                *(f"{shown[q]:,.0f}" for q in _QUANTILES),
                f"({min(turns):,.0f}-{max(turns):,.0f})",
                "" if is_bare else f"{found['added_us']['p50'] / floor:.1f}",
                f"{found['thread_cpu_us_per_call']:,.0f}",
            )
        )
    return table
