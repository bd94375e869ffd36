"""2. How late the bot's event loop is, at 200 orders a second, while delivery drains a backlog.

A ticker asks to be woken in a millisecond, for ever; how much later it is woken is the lag. While the loop is held up for longer
than that, the ticks that would have come meanwhile are counted as well, each with its own lateness.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from audit_wrapper import AuditTrail
from benchmarks import backlog
from benchmarks.apart import apart
from benchmarks.place import Place
from benchmarks.result import Result, Table, quantile, spread
from benchmarks.stub import StubManager, enter

_TICK_S = 0.001
_ORDERS_PER_S = 200
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
_BARE = "without us"
CONTENDERS = {
    _BARE: "the same loop, manager and client stub; no trail, and no delivery beside it",
    "own": 'wrapped, delivery="own": a thread of the bot\'s process drains the backlog meanwhile',
    "process": 'wrapped, delivery="process": a process that the trail starts drains it',
    "sidecar": 'wrapped, delivery="sidecar": `audit-wrapper deliver --follow` drains it in a process beside the bot',
}


def run(place: Place) -> Result:
    """In turns, each in a process of its own, with the same backlog and a new database."""
    made = place.folder / "made"
    backlog.make(made, place.effort.backlog)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for number in range(place.effort.loop_runs):
        names = list(CONTENDERS)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(asyncio.run(_one(place, name, made)))
    seconds = place.effort.loop_s
    tables = [
        _table(
            f"Lag of the event loop over {seconds:g} s, milliseconds: median (least-most) of {place.effort.loop_runs} runs",
            runs,
            "lag_ms",
        ),
        _table("Order call in the same runs, milliseconds", runs, "call_ms"),
    ]
    tables[-1].notes = (
        f"{_ORDERS_PER_S} orders a second, {place.effort.backlog:,} records in the journal at the start; added: by the medians",
        *(
            f"{name}: {median(one['drained_per_s'] for one in runs[name]):,.0f} records/s drained"
            for name in CONTENDERS
            if name != _BARE
        ),
        *(
            f"{name}: the backlog was gone before the end of {sum(one['exhausted'] for one in runs[name])} of the runs"
            for name in CONTENDERS
            if any(one["exhausted"] for one in runs[name])
        ),
    )
    return Result(tables, {"contenders": CONTENDERS, "orders_per_s": _ORDERS_PER_S, "seconds": seconds, "runs": runs})


def _table(title: str, runs: dict[str, list[dict[str, Any]]], what: str) -> Table:
    table = Table(title, ("", *_QUANTILES, "added p99", "added worst"))
    middle = {name: {q: median(one[what][q] for one in found) for q in _QUANTILES} for name, found in runs.items()}
    for name, found in runs.items():
        added = [f"{middle[name][q] - middle[_BARE][q]:,.2f}" if name != _BARE else "" for q in ("p99", "worst")]
        table.rows.append((name, *(spread([one[what][q] for one in found], 2) for q in _QUANTILES), *added))
    return table


async def _one(place: Place, name: str, made: Path) -> dict[str, Any]:
    seconds = place.effort.loop_s
    if name == _BARE:
        return await asyncio.to_thread(apart, _bot, name, "", place.folder, seconds)
    journal = place.folder / name
    await asyncio.to_thread(shutil.copytree, made, journal)
    await asyncio.to_thread(os.sync)  # else the database's commits wait for the copy to reach the disk
    try:
        async with place.database() as dsn:
            await backlog.prepared(dsn, place.folder / f"{name}-empty")
            return await asyncio.to_thread(apart, _bot, name, dsn, journal, seconds)
    finally:
        shutil.rmtree(journal)
        shutil.rmtree(place.folder / f"{name}-empty")


# -- the bot's process


def _bot(name: str, dsn: str, journal: Path, seconds: float) -> dict[str, Any]:
    return asyncio.run(_trading(name, dsn, journal, seconds))


async def _trading(name: str, dsn: str, journal: Path, seconds: float) -> dict[str, Any]:
    manager: Any = StubManager()
    if name == _BARE:
        return await _observed(manager, seconds, lambda: (0, 0))
    trail = AuditTrail.open(dsn, journal=journal, delivery=name, ask_exchange="off", close_timeout_s=0.1)
    sidecar = _sidecar(dsn, journal) if name == "sidecar" else None
    try:
        begun = trail.status().delivered_seq
        while trail.status().delivered_seq == begun:  # until it drains
            await asyncio.sleep(0.01)

        def progress() -> tuple[int, int]:
            status = trail.status()
            return status.delivered_seq, status.lag

        found = await _observed(trail.wrap(manager), seconds, progress)
        assert not trail.status().failures, trail.status().failures
        return found
    finally:
        if sidecar is not None:
            sidecar.terminate()
            sidecar.wait()
        await trail.aclose()


def _sidecar(dsn: str, journal: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "audit_wrapper", "deliver", "--follow", "--journal", str(journal), "--dsn", dsn]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)


async def _observed(manager: Any, seconds: float, progress: Callable[[], tuple[int, int]]) -> dict[str, Any]:
    for _ in range(20):  # what is done once
        await enter(manager)
    until = time.perf_counter() + seconds
    before, _ = progress()
    ticks, calls = await asyncio.gather(_tick(until), _trade(manager, until))
    after, left = progress()
    return {
        "lag_ms": _figures(ticks),
        "call_ms": _figures(calls),
        "ticks": len(ticks),
        "orders": len(calls),
        "drained_per_s": round((after - before) / seconds, 1),
        "exhausted": bool(after) and left < 4 * _ORDERS_PER_S,
    }


async def _tick(until: float) -> list[float]:
    lags = []
    while (began := time.perf_counter()) < until:
        await asyncio.sleep(_TICK_S)
        lag = time.perf_counter() - began - _TICK_S
        lags.append(lag)
        while (lag := lag - _TICK_S) > 0:
            lags.append(lag)
    return lags


async def _trade(manager: Any, until: float) -> list[float]:
    taken = []
    due = time.perf_counter()
    while (now := time.perf_counter()) < until:
        if now < due:
            await asyncio.sleep(due - now)
        due += 1 / _ORDERS_PER_S  # one that came late is not left out
        began = time.perf_counter()
        await enter(manager)
        taken.append(time.perf_counter() - began)
    return taken


def _figures(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {name: round(quantile(ordered, share) * 1e3, 4) for name, share in _QUANTILES.items()}
