"""3. Delivery: records a second into all tables, beside COPY of the same rows into one table."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from benchmarks import backlog
from benchmarks.place import Place
from benchmarks.result import Result, Table, spread

# what audit.events holds of a record; the columns that the database fills by itself are left out for both
_COLUMNS = (
    "stream", "seq", "record_id", "kind", "action", "exchange", "account", "correlation_id", "intent_id", "called_at",
    "answered_at", "scope", "hash", "body",
)  # fmt: skip


def run(place: Place) -> Result:
    """In turns, each into a new database."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    records = place.effort.delivered - place.effort.delivered % 4
    made = place.folder / "made"
    backlog.make(made, records)
    turns: list[dict[str, float]] = []
    for number in range(place.effort.delivery_runs):
        journal = place.folder / f"turn-{number}"
        shutil.copytree(made, journal)
        os.sync()  # else the commits wait for the copy to reach the disk
        async with place.database() as dsn:
            turns.append(await _turn(dsn, journal, place.folder / f"empty-{number}", records))
        shutil.rmtree(journal)
    names = {
        "ours": f"ours: events, orders, trades, fills, aliases; {backlog.batch()} records a transaction",
        "copy_batches": f"floor: COPY into one table without indexes, {backlog.batch()} rows a transaction",
        "copy_whole": "floor: COPY of all rows at once",
    }
    table = Table(
        f"Delivery of {records:,} records ({records // 4:,} orders) into PostgreSQL",
        ("", "records/s", "share of that floor", "client CPU us/record", "server CPU us/record"),
        notes=("median (least-most) of the turns; server CPU: of all its processes",),
    )
    for name, words in names.items():
        rates = [turn[f"{name}_per_s"] for turn in turns]
        shares = [turn["ours_per_s"] / turn[f"{name}_per_s"] for turn in turns]
        table.rows.append(
            (
                words,
                spread(rates, 0),
                "" if name == "ours" else spread(shares, 3),
                f"{statistics.median(turn[f'{name}_client_us'] for turn in turns):,.1f}",
                f"{statistics.median(turn[f'{name}_server_us'] for turn in turns):,.1f}",
            )
        )
    return Result([table], {"records": records, "contenders": names, "turns": turns})


async def _turn(dsn: str, journal: Path, empty: Path, records: int) -> dict[str, float]:
    await backlog.prepared(dsn, empty)
    connection = await asyncpg.connect(dsn)
    found: dict[str, float] = {}
    try:
        served = _Server(await connection.fetchval("SELECT pg_backend_pid()"))
        delivered, seconds, busy = await backlog.drained(dsn, journal)
        _note(found, "ours", delivered, seconds, busy, served.cpu_s())
        rows = [tuple(row) for row in await connection.fetch(f"SELECT {', '.join(_COLUMNS)} FROM audit.events")]
        assert len(rows) == records
        step = backlog.batch()
        await _copy(connection, served, found, "copy_batches", [rows[at : at + step] for at in range(0, records, step)])
        await _copy(connection, served, found, "copy_whole", [rows])
    finally:
        await connection.close()
    return found


async def _copy(
    connection: asyncpg.Connection[Any],
    served: _Server,
    found: dict[str, float],
    name: str,
    parts: Sequence[Sequence[tuple[Any, ...]]],
) -> None:
    await connection.execute(f"CREATE TABLE {name} AS SELECT {', '.join(_COLUMNS)} FROM audit.events WHERE false")
    served.cpu_s()
    began, cpu = time.perf_counter(), time.process_time()
    for part in parts:
        await connection.copy_records_to_table(name, records=part, columns=_COLUMNS)
    seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    _note(found, name, sum(map(len, parts)), seconds, busy, served.cpu_s())


def _note(found: dict[str, float], name: str, records: int, seconds: float, client_s: float, server_s: float) -> None:
    found[f"{name}_per_s"] = round(records / seconds, 1)
    found[f"{name}_client_us"] = round(client_s / records * 1e6, 2)
    found[f"{name}_server_us"] = round(server_s / records * 1e6, 2)


class _Server:
    """The processor's time of a PostgreSQL: of the postmaster's children, those that ended since included."""

    def __init__(self, backend: int) -> None:
        """backend: the process id of any of its connections, on this machine."""
        try:
            self._postmaster = psutil.Process(backend).parent()
        except psutil.NoSuchProcess:  # a server elsewhere
            self._postmaster = None
        self._before = self._now()

    def cpu_s(self) -> float:
        """Since it was asked last; 0 for a server on another machine."""
        before, self._before = self._before, self._now()
        return self._before - before

    def _now(self) -> float:
        if self._postmaster is None:
            return 0.0
        own = self._postmaster.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in self._postmaster.children():
            times = child.cpu_times()
            total += times.user + times.system
        return float(total)
