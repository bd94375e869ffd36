"""4. How cost grows with what is there already: append, delivery, the story of one position, the report of one day, start after a crash.

One journal and one database grow from size to size; at each the same things are asked for. Only by name (`growth`): it takes minutes,
and hours with --full, where the 10 million events fill some 13 GB of journal and 26 GB of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import msgspec

from audit_wrapper import AuditTrail, codec
from audit_wrapper.records import PositionLink, Record
from audit_wrapper.settings import Settings
from audit_wrapper.tables import Reader
from audit_wrapper.tables.figures import Range, read_figures
from audit_wrapper.tables.finding import find
from audit_wrapper.tables.story import story
from benchmarks.place import Place
from benchmarks.result import Result, Table, quantile
from tests.torture.backlog import NOWHERE, order

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_A_DAY = 500  # positions
_IN_ONE = 8  # records of a position: an entry and an exit of four each
_LEFT = 1_000  # records that a crash leaves undelivered
_CLOCKS = re.compile(rb'("(?:updateTime|time)\\?":)\d+')  # of the exchange; in an answer's text the quotes are escaped
_KEPT: dict[str, Any] = {"ask_exchange": "off", "keep_delivered_mb": 1_000_000, "keep_delivered_days": 1_000}


def run(place: Place) -> Result:
    """Size by size."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    journal, there, rows = place.folder / "journal", 0, []
    async with place.database() as dsn:
        for size in place.effort.sizes:
            rows.append(await _at(dsn, journal, there, size, place.effort.repeats))
            there = size
    columns = {
        "append_us_p50": "append p50, us",
        "append_us_p99": "p99",
        "delivery_per_s": "delivered/s",
        "explain_ms": "explain, ms",
        "report_ms": "report, ms",
        "open_ms": "open, ms",
        "caught_up_ms": "all in, ms",
        "journal_mb": "journal, MB",
        "postgres_mb": "database, MB",
    }
    table = Table(
        "How cost grows with the events that are there",
        ("events", *columns.values()),
        notes=(
            f"append: the last {_LEFT:,}; delivered/s: of what was added since the row above; explain: of one position; report: of one "
            f"day of {_A_DAY} positions with two orders each; open: after a process was killed that left {_LEFT:,} records, and until "
            "all of them are in",
        ),
    )
    for found in rows:
        table.rows.append((f"{found['events']:,}", *(f"{found[name]:,.1f}" for name in columns)))
    return Result([table], {"sizes": rows})


async def _at(dsn: str, journal: Path, there: int, size: int, repeats: int) -> dict[str, Any]:
    taken = await asyncio.to_thread(_appended, journal, there, size - _LEFT)
    began = time.perf_counter()
    async with AuditTrail.open(dsn, journal=journal, **_KEPT) as trail:
        while not await trail.flush(timeout_s=60):
            assert trail.status().store == "connected", trail.status()
        delivered_s = time.perf_counter() - began
    killed = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(journal, size - _LEFT, size))
    killed.start()
    await asyncio.to_thread(killed.join)
    assert killed.exitcode == -signal.SIGKILL, killed.exitcode
    began = time.perf_counter()
    async with AuditTrail.open(dsn, journal=journal, **_KEPT) as trail:
        open_s = time.perf_counter() - began
        assert await trail.flush(timeout_s=60), trail.status()
        caught_up_s = time.perf_counter() - began
        assert trail.status().delivered_seq == size, trail.status()
    postgres_bytes = await _settled(dsn)
    middle = size // _IN_ONE // 2
    explained = [await _explain(dsn, str(middle)) for _ in range(repeats)]
    reported = [await _report(dsn, middle // _A_DAY) for _ in range(repeats)]
    return {
        "events": size,
        "append_us_p50": quantile(taken, 0.5),
        "append_us_p99": quantile(taken, 0.99),
        "delivery_per_s": (size - _LEFT - there) / delivered_s,
        "explain_ms": median(explained) * 1_000,
        "report_ms": median(reported) * 1_000,
        "open_ms": open_s * 1_000,
        "caught_up_ms": caught_up_s * 1_000,
        "journal_mb": sum(path.stat().st_size for path in journal.glob("*.journal")) / 1e6,
        "postgres_mb": postgres_bytes / 1e6,
    }


def _appended(journal: Path, there: int, until: int) -> list[float]:
    """How long each of the last appends took, in order of size."""
    taken: list[float] = []
    with AuditTrail.open(NOWHERE, journal=journal, delivery="sidecar", close_timeout_s=0.1, **_KEPT) as trail:
        assert trail.status().durable_seq == there, trail.status()
        for record in _records(there, until):
            began = time.perf_counter()
            trail._recorder._outbox.put(record)
            if until - (there := there + 1) < _LEFT:
                taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


def _append_and_die(journal: Path, there: int, until: int) -> None:
    trail = AuditTrail.open(NOWHERE, journal=journal, delivery="sidecar", **_KEPT)
    for record in _records(there, until):
        trail._recorder._outbox.put(record)
    os.kill(os.getpid(), signal.SIGKILL)


def _records(there: int, until: int) -> Iterator[Record]:
    """Positions, one after the other: an entry, and an exit a minute later."""
    assert there % _IN_ONE == until % _IN_ONE == 0
    for number in range(there // _IN_ONE, until // _IN_ONE):
        opened = _BEGAN + number * timedelta(days=1) / _A_DAY
        first = 10 * number + number % 5  # five further on is another order of the same symbol
        yield from _moved(order(first), opened, number, is_exit=False)
        yield from _moved(order(first + 5), opened + timedelta(minutes=1), number, is_exit=True)


def _moved(records: list[Record], at: datetime, position: int, *, is_exit: bool) -> Iterator[Record]:
    """The same, at another time, and of a position."""
    clock = str(int(at.timestamp() * 1_000)).encode()
    link = PositionLink(position_id=str(position), signal_id=position, side="buy", intended_price=Decimal("1.23"))
    for place, record in enumerate(records):
        text = _CLOCKS.sub(lambda found: found[1] + clock, codec.encode(record))
        if is_exit:
            text = text.replace(b"BUY", b"SELL").replace(b'"buy"', b'"sell"')
        later = at + place * timedelta(milliseconds=3)
        yield msgspec.structs.replace(
            codec.decode(text),
            called_at=later,
            answered_at=later if record.answered_at is not None else None,
            position=link,
        )


async def _settled(dsn: str) -> int:
    """How many bytes the database has on its disk, beside its log."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("ANALYZE")  # as autovacuum does in time
        quarantined = await connection.fetchval("SELECT count(*) FROM audit.quarantine")
        assert quarantined == 0, quarantined
        size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
        return size
    finally:
        await connection.close()


async def _explain(dsn: str, position: str) -> float:
    began = time.perf_counter()
    async with Reader(Settings(dsn=dsn)) as reader, reader.snapshot("read the story") as con:
        sql = reader.queries("story.sql")
        (meant,) = await find(con, sql, f"position:{position}")
        told = await story(con, sql, meant)
    seconds = time.perf_counter() - began
    assert len(told.orders) == 2, told.orders
    return seconds


async def _report(dsn: str, day: int) -> float:
    since = _BEGAN + timedelta(days=day)
    began = time.perf_counter()
    async with Reader(Settings(dsn=dsn)) as reader:
        figures = await read_figures(reader, Range(since=since, until=since + timedelta(days=1)), rows=5_000, gaps=20)
    assert not figures.is_empty
    return time.perf_counter() - began
