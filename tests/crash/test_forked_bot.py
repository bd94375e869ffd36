"""fork, multiprocessing and programs started by a bot: no process harms another's journal, and no record is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from audit_wrapper import AuditTrail
from audit_wrapper.journal import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

BOT = Path(__file__).with_name("forked_bot.py")
DELIVERED = (
    "children_that_end_at_once",
    "children_that_trade",
    "child_of_a_locked_parent",
    "child_of_a_child",
    "child_that_flushes",
    "multiprocessing_fork",
    "process_pool",
    "spawned",
    "with_a_lasting_program",
)
LEFT_FOR_THE_NEXT = ("child_that_is_killed", "child_that_outlives_the_bot", "prefork")
WITHOUT_DATABASE = ("pool_without_a_database",)
SAYS_SO = ("child_of_a_locked_parent", *WITHOUT_DATABASE)
AWAY = "postgresql://bot@127.0.0.1:1/bot"


class Ended(NamedTuple):
    """What became of a bot and all its processes. told: the orders that any of them was told of."""

    dsn: str
    journal: Path
    code: int
    told: set[str]
    words: str


def run(way: str, dsn: str, served: str, journal: Path) -> Ended:
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", str(BOT), way, served, str(journal)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "AUDIT_WRAPPER_CLOSE_TIMEOUT_S": "1" if served == AWAY else "30"},
    )
    return Ended(dsn, journal, done.returncode, set(done.stdout.split()), done.stderr)


@pytest.fixture(scope="module")
def runs(
    postgres_server: Any, audit_template: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Ended]]]:
    """All bots of this module, a few at a time, each with a database of its own; each test then looks at its own."""
    ways = {
        item.callspec.params["way"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    names = {way: postgres_server.create(audit_template) for way in ways}
    folder = tmp_path_factory.mktemp("forks")
    with ThreadPoolExecutor(3) as pool:
        futures = {}
        for way, name in names.items():
            dsn = postgres_server.address_of(name)
            served = AWAY if way in WITHOUT_DATABASE else dsn
            futures[way] = pool.submit(run, way, dsn, served, folder / way)
        yield futures
    for name in names.values():
        postgres_server.drop(name)


async def stored(dsn: str, journal: Path, account: str, *, halves: int = 0) -> set[str]:
    """What is in the table after the next run; `halves` as in `in_the_table`."""
    async with AuditTrail.open(
        dsn, journal=journal, account=account, ask_exchange="off", ask_per_minute=6_000
    ) as trail:
        assert await trail.flush()
        async with asyncio.timeout(20):
            while any(journal.glob("fork-*")) or any(journal.glob("late-*")):
                await asyncio.sleep(0.02)
        assert trail.status().failures == {}
    assert list(verify(journal)) == []
    return await in_the_table(dsn, halves=halves)


async def in_the_table(dsn: str, *, halves: int = 0) -> set[str]:
    """The orders there; of so many processes that were killed the last one may have had no answer yet."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT order_id, status FROM monitoring.orders")
    finally:
        await connection.close()
    answered = [row["order_id"] for row in rows if row["status"] == "FILLED"]
    assert all(row["status"] == "UNKNOWN" and row["order_id"] is None for row in rows if row["status"] != "FILLED")
    assert len(rows) - len(answered) <= halves, "an order of which only the half is there"
    assert len(set(answered)) == len(answered), "an order is there twice"
    return set(answered)


@pytest.mark.parametrize("way", [*DELIVERED, *LEFT_FOR_THE_NEXT, *WITHOUT_DATABASE])
async def test_every_process_keeps_its_own_records(way: str, runs: dict[str, Future[Ended]]) -> None:
    dsn, journal, code, told, words = runs[way].result()
    assert code == (-signal.SIGKILL if way == "child_that_outlives_the_bot" else 0), words
    assert not words or way in SAYS_SO, words
    assert told
    if way in DELIVERED:  # by these processes themselves, not only by the next run
        assert told == await in_the_table(dsn)
        assert not list(journal.glob("fork-*")), "nothing is left of a child that ended in order"
    elif way in WITHOUT_DATABASE:
        assert list(journal.glob("fork-*"))
    killed = 1 if way == "prefork" else 0  # at any moment, also between the answer and telling of it
    found = await stored(dsn, journal, way, halves=killed)
    assert told <= found
    assert len(found - told) <= killed


async def test_a_child_does_not_hold_the_connection_of_a_bot_that_is_gone(audit_dsn: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BOT), "idle_child_that_outlives_the_bot", audit_dsn, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as bot:
        assert bot.wait(60) == -signal.SIGKILL
        connection = await asyncpg.connect(audit_dsn)
        try:
            async with asyncio.timeout(10):
                while await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'audit_wrapper'"
                ):
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()
        assert bot.stdin is not None
        bot.stdin.close()  # now the child ends as well
