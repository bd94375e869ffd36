"""A journal that is not the one the database knows: an older copy put back, a machine cloned, entries lost with the power.

Whatever was recorded is in the database, once; what the database has already stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from rig import Rig


@pytest.fixture
async def connection(audit_dsn: str) -> asyncpg.Connection:
    opened = await asyncpg.connect(audit_dsn)
    yield opened
    await opened.close()


@pytest.fixture
def orders(connection: asyncpg.Connection) -> Callable[[], Awaitable[list[str]]]:
    async def fetch() -> list[str]:
        found = await connection.fetch("SELECT order_id FROM monitoring.orders ORDER BY created_at, id")
        return [row["order_id"] for row in found]

    return fetch


async def test_an_older_copy_put_back_and_traded_on_before_the_database_is_reached(
    audit_dsn, new_journal, tmp_path: Path, connection, orders
) -> None:
    day = new_journal()
    early, late, after = ([e for n in range(3) for e in day.order(f"{part}{n}")] for part in "abc")
    live, backup = tmp_path / "live", tmp_path / "backup"
    async with Rig(audit_dsn, live) as rig:
        rig.record(early)
        await rig.arrived()
    shutil.copytree(live, backup)
    async with Rig(audit_dsn, live) as rig:
        rig.record(late)
        await rig.arrived()
        first_stream = rig.trail._pipeline.journal.stream
    shutil.rmtree(live)
    shutil.copytree(backup, live)

    async with Rig("postgresql://127.0.0.1:1/nowhere", live, close_timeout_s=0.1) as rig:
        rig.record(after[:4])  # under numbers that the database has other records of
    async with Rig(audit_dsn, live) as rig:
        await rig.arrived()
        assert "journal and database differ" in rig.trail.status().failures
        assert "an older copy of the folder was put back" in rig.trail.status().damage[0]
        assert rig.trail._pipeline.journal.stream != first_stream
    async with Rig(audit_dsn, live) as rig:  # it stays that stream
        rig.record(after[4:])
        await rig.arrived()
        assert rig.trail.status().failures == {}
    assert await orders() == [f"{part}{n}" for part in "abc" for n in range(3)]
    streams = await connection.fetch("SELECT stream, count(*) FROM audit.events GROUP BY 1 ORDER BY 1")
    assert [row["count"] for row in streams] == [len(early + late), len(after)]
    assert await connection.fetchval("SELECT count(*) FROM audit.quarantine") == 0


async def test_the_side_file_lost_after_that(audit_dsn, new_journal, tmp_path: Path, connection, orders) -> None:
    day = new_journal()
    live, backup = tmp_path / "live", tmp_path / "backup"
    async with Rig(audit_dsn, live) as rig:
        rig.record(day.order("a"))
        await rig.arrived()
    shutil.copytree(live, backup)
    async with Rig(audit_dsn, live) as rig:
        rig.record(day.order("b"))
        await rig.arrived()
    async with Rig(audit_dsn, backup) as rig:
        rig.record(day.order("c"))
        await rig.arrived()
        stream = rig.trail._pipeline.journal.stream
    (backup / "journal.json").unlink()
    async with Rig(audit_dsn, backup) as rig:
        assert rig.trail._pipeline.journal.stream == stream, "the files say it too"
        rig.record(day.order("d"))
        await rig.arrived()
        assert "journal and database differ" not in rig.trail.status().failures
    assert await orders() == ["a", "b", "c", "d"]


async def test_two_machines_made_from_one_image_trade_at_the_same_time(
    audit_dsn, new_journal, tmp_path: Path, connection, orders
) -> None:
    day = new_journal()
    one, other = tmp_path / "one", tmp_path / "other"
    async with Rig(audit_dsn, one) as rig:
        rig.record(day.order("a"))
        await rig.arrived()
    shutil.copytree(one, other)
    async with Rig(audit_dsn, one) as first, Rig(audit_dsn, other) as second:
        for n in range(4):
            first.record(day.order(f"b{n}"))
            second.record(day.order(f"c{n}"))
            await first.arrived()
            await second.arrived()
        told = [len(rig.trail.status().damage) for rig in (first, second)]
        assert sorted(told) == [0, 1], "one of them goes on as the stream it was"
        streams = {rig.trail._pipeline.journal.stream for rig in (first, second)}
        assert len(streams) == 2
    assert await orders() == ["a", *(f"{part}{n}" for n in range(4) for part in "bc")]
    assert await connection.fetchval("SELECT count(*) FROM audit.quarantine") == 0


async def test_a_standby_that_had_not_received_everything_takes_over(
    audit_dsn, new_journal, tmp_path: Path, connection, orders
) -> None:
    day = new_journal()
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record([*day.order("a"), *day.order("b")])
        await rig.arrived()
        for table in ("audit.events", "audit.order_events", "audit.streams", "monitoring.orders", "monitoring.trades"):
            await connection.execute(f"TRUNCATE {table} CASCADE")
        await connection.execute("TRUNCATE audit.order_aliases, audit.orders CASCADE")
        rig.record(day.order("c"))
        await rig.arrived()
        assert rig.trail.status().failures.keys() <= {"database away"}
    assert await orders() == ["a", "b", "c"], "what the journal still has is delivered again"
