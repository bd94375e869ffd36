"""The bot's process whose memory, threads and handles are looked at. It imports nothing of ours before it opens the trail."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stub import StubManager, enter

ORDERS_PER_S = 200


def watched(dsn: str | None, journal: Path, delivery: str, seconds: float) -> dict[str, Any]:
    """How much it holds before, at rest, under load, and after. dsn None: without us."""
    return asyncio.run(_trading(dsn, journal, delivery, seconds))


async def _trading(dsn: str | None, journal: Path, delivery: str, seconds: float) -> dict[str, Any]:
    me, manager, trail = psutil.Process(), StubManager(), None
    before = _now(me)
    observed: Any = manager
    if dsn is not None:
        from audit_wrapper import AuditTrail

        trail = AuditTrail.open(dsn, journal=journal, delivery=delivery, ask_exchange="off")
        observed = trail.wrap(manager)
        while delivery != "sidecar" and trail.status().store != "connected":
            await asyncio.sleep(0.01)
        await asyncio.sleep(min(1.0, seconds))
    rest = _now(me)
    busy_before, most = me.cpu_times(), rest["rss_mb"]
    began = due = time.perf_counter()
    while time.perf_counter() - began < seconds:
        await enter(observed)
        due += 1 / ORDERS_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        most = max(most, me.memory_info().rss / 2**20)
    busy, took = me.cpu_times(), time.perf_counter() - began
    share = (busy.user + busy.system - busy_before.user - busy_before.system) / took
    load = _now(me)
    if trail is not None:
        await trail.aclose()
    return {
        "before": before,
        "at_rest": rest,
        "under_load": load,
        "most_rss_mb": round(most, 1),
        "cpu_share": round(share, 3),
        "after_close": _now(me),
    }


def _now(me: psutil.Process) -> dict[str, Any]:
    handles = me.num_fds() if hasattr(me, "num_fds") else me.num_handles()
    return {"rss_mb": round(me.memory_info().rss / 2**20, 1), "threads": me.num_threads(), "handles": handles}
