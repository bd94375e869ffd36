"""5. Footprint: bytes per order, memory, time to import, threads, handles."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

import audit_wrapper
from benchmarks import backlog
from benchmarks.apart import apart
from benchmarks.place import Place
from benchmarks.resident import ORDERS_PER_S, watched
from benchmarks.result import Result, Table, spread
from tests.torture.backlog import NOWHERE

_IMPORTS = {
    "python alone": "pass",
    "import asyncio": "import asyncio",  # which a bot has anyway
    "import audit_wrapper": "import audit_wrapper",
    "from audit_wrapper import AuditTrail": "from audit_wrapper import AuditTrail",
    "and AuditTrail.open(...)": f"""
from audit_wrapper import AuditTrail
trail = AuditTrail.open({NOWHERE!r}, delivery="sidecar")""",
}
_TIMED = """
import sys, time
began, busy = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - began, time.process_time() - busy)
print(*sorted({{name.partition('.')[0] for name in sys.modules}} - sys.stdlib_module_names - {{'__main__', 'sitecustomize'}}))
print(len(sys.modules))
"""


def run(place: Place) -> Result:
    """Bytes, then memory, then imports."""
    imports = _imports(place)
    memory = asyncio.run(_memory(place))
    kept = asyncio.run(_kept(place))
    return Result([_bytes_table(kept), _memory_table(memory), _import_table(imports)], {
        "bytes": kept, "memory": memory, "imports": imports,
    })  # fmt: skip


# -- bytes


async def _kept(place: Place) -> dict[str, Any]:
    orders = place.effort.kept
    journal = place.folder / "kept"
    backlog.make(journal, 4 * orders)
    on_disk = sum(path.stat().st_size for path in journal.glob("*.journal"))
    assert on_disk, [path.name for path in journal.iterdir()]
    async with place.database() as dsn:
        await backlog.prepared(dsn, place.folder / "kept-empty")
        empty = await _sizes(dsn)
        await backlog.drained(dsn, journal)
        full = await _sizes(dsn)
    tables = {name: full[name] - empty.get(name, 0) for name in full if full[name] > empty.get(name, 0)}
    return {
        "orders": orders,
        "records_per_order": 4,
        "journal_bytes_per_order": round(on_disk / orders, 1),
        "postgres_bytes_per_order": round(sum(tables.values()) / orders, 1),
        "postgres_tables_bytes_per_order": {name: round(size / orders, 1) for name, size in sorted(tables.items())},
    }


async def _sizes(dsn: str) -> dict[str, int]:
    """Of each table, with its indexes and what is stored beside it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CHECKPOINT")
        rows = await connection.fetch(
            "SELECT relid::regclass::text AS name, pg_total_relation_size(relid) AS size FROM pg_stat_user_tables"
        )
        return {row["name"]: row["size"] for row in rows}
    finally:
        await connection.close()


def _bytes_table(kept: dict[str, Any]) -> Table:
    table = Table(
        f"Bytes per order, {kept['orders']:,} orders",
        ("", "bytes"),
        notes=(
            "an entry on Binance: sent, taken, reported, and its fill asked for: four records; tables with their indexes",
        ),
    )
    table.rows.append(("journal", f"{kept['journal_bytes_per_order']:,.0f}"))
    table.rows.append(("PostgreSQL", f"{kept['postgres_bytes_per_order']:,.0f}"))
    for name, size in kept["postgres_tables_bytes_per_order"].items():
        table.rows.append((f"  {name}", f"{size:,.0f}"))
    return table


# -- memory, threads, handles


async def _memory(place: Place) -> dict[str, dict[str, Any]]:
    bare = await asyncio.to_thread(apart, watched, None, place.folder, "", place.effort.load_s)
    found = {"bare bot": bare}
    for name in ("process", "own", "sidecar"):
        async with place.database() as dsn:
            found[name] = await asyncio.to_thread(apart, watched, dsn, place.folder / name, name, place.effort.load_s)
    return found


def _memory_table(memory: dict[str, dict[str, Any]]) -> Table:
    table = Table(
        f"One process of a bot, at rest and at {ORDERS_PER_S} orders a second",
        ("", "MB before open", "MB at rest", "most MB under load", "threads", "handles", "CPU under load"),
        notes=(
            "before: Python, psutil and the stub, nothing of ours is imported; process: delivery by a process that the trail starts, "
            "which is not in these figures; own: on a thread of the bot; sidecar: left to another process, which does not run here",
        ),
    )
    for name, found in memory.items():
        before, load = found["before"], found["under_load"]
        table.rows.append(
            (
                name,
                f"{before['rss_mb']:.1f}",
                f"{found['at_rest']['rss_mb']:.1f}",
                f"{found['most_rss_mb']:.1f}",
                f"{before['threads']} -> {load['threads']}",
                f"{before['handles']} -> {load['handles']}",
                f"{found['cpu_share']:.1%}",
            )
        )
    return table


# -- imports


def _imports(place: Place) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {name: {"ms": [], "cpu_ms": [], "process_ms": []} for name in _IMPORTS}
    lasting = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    lasting["PYTHONPATH"] = str(
        Path(audit_wrapper.__file__).parents[1]
    )  # the one that is measured, wherever that is run
    for number in range(place.effort.repeats + 1):  # the first one compiles
        here = place.folder / f"imports-{number}"  # a new journal each time
        here.mkdir()
        for name, statement in _IMPORTS.items():
            began = time.perf_counter()
            program = [sys.executable, "-c", _TIMED.format(statement=statement)]
            done = subprocess.run(program, capture_output=True, text=True, check=True, env=lasting, cwd=here)
            whole = time.perf_counter() - began
            times, packages, modules = done.stdout.splitlines()
            for kind, seconds in zip(("ms", "cpu_ms"), times.split(), strict=True):
                found[name][kind].append(round(float(seconds) * 1_000, 2))
            found[name]["process_ms"].append(round(whole * 1_000, 1))
            found[name] |= {"packages": packages.split(), "modules": int(modules)}
    for one in found.values():
        del one["ms"][0], one["cpu_ms"][0], one["process_ms"][0]
    return found


def _import_table(imports: dict[str, dict[str, Any]]) -> Table:
    table = Table("Imports, each in a new process", ("", "ms", "CPU, ms", "whole process, ms", "modules"))
    own = set(imports["python alone"]["packages"])
    for name, found in imports.items():
        row = (spread(found["ms"]), spread(found["cpu_ms"]), f"{statistics.median(found['process_ms']):,.0f}")
        table.rows.append((name, *row, str(found["modules"])))
        packages = [package for package in found["packages"] if package not in own]
        driver = "asyncpg" if "asyncpg" in packages else "none"
        table.notes += (f"{name}: beside Python's own {', '.join(packages) or 'none'}; database driver: {driver}",)
    return table
