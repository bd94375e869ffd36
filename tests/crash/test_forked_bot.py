"""fork, multiprocessing and programs started by a bot: no process harms another's journal, and no record is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from audit_wrapper import AuditTrail
from audit_wrapper.journal import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

BOT = Path(__file__).with_name("forked_bot.py")
AWAY = "postgresql://bot@127.0.0.1:1/bot"


def run(way: str, dsn: str, journal: Path) -> tuple[int, set[str], str]:
    """Exit code, orders it was told of, and what it said on stderr; all its processes have ended."""
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", str(BOT), way, dsn, str(journal)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "AUDIT_WRAPPER_CLOSE_TIMEOUT_S": "1"},
    )
    return done.returncode, set(done.stdout.split()), done.stderr


async def stored(dsn: str, journal: Path, account: str) -> set[str]:
    """What is in the table after the next run."""
    async with AuditTrail.open(dsn, journal=journal, account=account, ask_exchange="off") as trail:
        assert await trail.flush()
        async with asyncio.timeout(20):
            while any(journal.glob("fork-*")) or any(journal.glob("late-*")):
                await asyncio.sleep(0.02)
        assert trail.status().failures == {}
    assert list(verify(journal)) == []
    return await in_the_table(dsn)


async def in_the_table(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT order_id, status FROM monitoring.orders")
    finally:
        await connection.close()
    assert {row["status"] for row in rows} <= {"FILLED"}, "an order of which only the half is there"
    assert len({row["order_id"] for row in rows}) == len(rows), "an order is there twice"
    return {row["order_id"] for row in rows}


@pytest.mark.parametrize(
    ("way", "delivered"),
    [
        ("children_that_end_at_once", True),
        ("children_that_trade", True),
        ("child_of_a_locked_parent", True),
        ("child_of_a_child", True),
        ("child_that_flushes", True),
        ("child_that_is_killed", False),
        ("prefork", False),
        ("multiprocessing_fork", True),
        ("process_pool", True),
        ("spawned", True),
        ("with_a_lasting_program", True),
    ],
)
async def test_every_process_keeps_its_own_records(way: str, delivered: bool, audit_dsn: str, tmp_path: Path) -> None:
    code, told, words = run(way, audit_dsn, tmp_path / "journal")
    assert code == 0, words
    assert not words or way == "child_of_a_locked_parent", words
    assert told
    if delivered:  # by these processes themselves, not only by the next run
        assert told == await in_the_table(audit_dsn)
        assert not list((tmp_path / "journal").glob("fork-*")), "nothing is left of a child that ended in order"
    assert await stored(audit_dsn, tmp_path / "journal", way) >= told


async def test_a_child_outlives_the_bot_and_the_next_bot(audit_dsn: str, tmp_path: Path) -> None:
    code, told, words = run("child_that_outlives_the_bot", audit_dsn, tmp_path)
    assert (code, words) == (-signal.SIGKILL, "")
    assert len(told) == 15
    assert await stored(audit_dsn, tmp_path, "child_that_outlives_the_bot") == told


@pytest.mark.parametrize("way", ["children_that_trade", "process_pool"])
async def test_what_children_could_not_deliver_the_next_run_does(way: str, audit_dsn: str, tmp_path: Path) -> None:
    _, told, _ = run(way, AWAY, tmp_path)
    assert told
    assert any(tmp_path.glob("fork-*"))
    assert await stored(audit_dsn, tmp_path, way) == told
