"""A journal that holds records nobody has delivered yet, and its delivery watched."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil

from audit_wrapper import AuditTrail
from audit_wrapper.settings import Settings
from tests.torture.backlog import NOWHERE, order


def make(journal: Path, records: int) -> None:
    """Orders of four records each (sent, taken, reported, and what the exchange said of its fill when it was asked), as they come
    when the database is away."""
    with AuditTrail.open(
        NOWHERE, journal=journal, delivery="sidecar", ask_exchange="off", close_timeout_s=0.1
    ) as trail:
        for number in range(records // 4):
            for record in order(number):
                trail._recorder._outbox.put(record)  # the last step on a bot's order path


async def prepared(dsn: str, folder: Path) -> None:
    """Make our tables, so that this is not measured."""
    trail = AuditTrail.open(dsn, journal=folder, ask_exchange="off")
    while trail.status().store != "connected":
        await asyncio.sleep(0.01)
    await trail.aclose()


async def drained(dsn: str, journal: Path) -> tuple[int, float, float]:
    """Deliver all of it: how many records, in how many seconds, with how many of the processor's, this process and the one that
    delivers for it."""
    trail = AuditTrail.open(dsn, journal=journal, ask_exchange="off")
    try:
        while trail.status().store != "connected":
            await asyncio.sleep(0.001)
        first = trail.status()
        began, cpu = time.perf_counter(), _busy_s()
        assert await trail.flush(timeout_s=3_600), trail.status()
        seconds, busy = time.perf_counter() - began, _busy_s() - cpu
        status = trail.status()
        assert not status.failures, status.failures
        assert not status.quarantined, status
        assert status.delivered_seq > first.delivered_seq, "all of it went in before it could be watched"
        return status.delivered_seq - first.delivered_seq, seconds, busy
    finally:
        await trail.aclose()


def _busy_s() -> float:
    busy = time.process_time()
    for child in psutil.Process().children():
        if "audit_wrapper-delivery" in child.cmdline():
            times = child.cpu_times()
            busy += times.user + times.system
    return busy


def batch() -> int:
    """Records in one transaction, as the settings have it."""
    return Settings().delivery_batch
