"""kill -9 of a real bot process, with the simulated exchange in another: what was sent is in the trail, once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from simulated_exchange import RemoteExchange, async_client_for

from audit_wrapper import AuditTrail
from audit_wrapper.journal import What, verify

BOT = Path(__file__).with_name("bot_process.py")


class Killable:
    """The bot, as a process."""

    def __init__(self, exchange: RemoteExchange, dsn: str, journal: Path) -> None:
        arguments = [sys.executable, str(BOT), exchange.kind, exchange.url, dsn, str(journal)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self.line() == "trading"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """SIGKILL; what the bot still said before."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()  # and not `communicate`, which does not know of lines that were read ahead
        self.process.wait(timeout=20)
        return [line for line in rest.splitlines() if line]


@pytest.fixture(params=["binance", "bybit"])
def exchange(request: pytest.FixtureRequest) -> Iterator[RemoteExchange]:
    with RemoteExchange.spawn(request.param) as running:
        yield running


async def _rows_after_restart(dsn: str, journal: Path) -> list[asyncpg.Record]:
    async with AuditTrail.open(dsn, journal=journal, ask_exchange="off", ask_per_minute=6_000) as trail:
        flushed = await trail.flush(timeout_s=30)
        assert flushed, flushed
    wrong = [
        finding for finding in verify(journal) if finding.what is not What.TORN_TAIL
    ]  # a kill may leave half a line
    assert wrong == [], "the hash chain is whole"
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch("SELECT * FROM monitoring.orders ORDER BY created_at, id")
    finally:
        await connection.close()


async def test_killed_while_the_request_is_out(exchange: RemoteExchange, audit_dsn: str, tmp_path: Path) -> None:
    hold = exchange.hold("create")
    bot = Killable(exchange, audit_dsn, tmp_path)
    exchange.reached(hold)
    bot.kill()
    exchange.release(hold)

    (row,) = await _rows_after_restart(audit_dsn, tmp_path)
    assert (row["status"], row["order_id"], row["filled"]) == ("UNKNOWN", None, None)
    (order,) = _placed(exchange)
    assert row["size"] == 10
    found = await _found_by_the_next_run(exchange, audit_dsn, tmp_path)
    assert (found["status"], found["order_id"], found["filled"]) == ("FILLED", order["exchange_order_id"], 10)
    assert found["found_by"] == ("client_order_id" if exchange.kind == "binance" else "unique_match")


async def _found_by_the_next_run(exchange: RemoteExchange, dsn: str, journal: Path) -> asyncpg.Record:
    """The bot starts again, ten minutes later, with the same journal, and asks for what the last run left open."""
    client = async_client_for(exchange.kind, exchange.url)
    connection = await asyncpg.connect(dsn)
    try:
        async with AuditTrail.open(dsn, journal=journal, ask_exchange="off", ask_per_minute=6_000) as trail:
            trail._inquiry._reconciler._now = lambda: datetime.now(UTC) + timedelta(minutes=10)
            trail.wrap(client)
            assert (await trail.reconcile()).found
        return await connection.fetchrow("SELECT * FROM monitoring.orders")
    finally:
        await connection.close()
        await client.close()


async def test_killed_after_the_answer(exchange: RemoteExchange, audit_dsn: str, tmp_path: Path) -> None:
    bot = Killable(exchange, audit_dsn, tmp_path)
    known = [bot.line(), bot.line(), bot.line()]
    known += bot.kill()

    rows = await _rows_after_restart(audit_dsn, tmp_path)
    ids = [row["order_id"] for row in rows]
    assert set(known) <= set(ids), "whatever the bot was told, the trail was told before"


async def test_killed_at_any_moment(exchange: RemoteExchange, audit_dsn: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(3):
        bot = Killable(exchange, audit_dsn, tmp_path)
        for _ in range(chance.randrange(1, 8)):
            bot.line()
        try:  # at a random moment after that answer, not at a fixed one
            bot.process.wait(chance.random() * 0.02)
        except subprocess.TimeoutExpired:
            bot.kill()

    rows = await _rows_after_restart(audit_dsn, tmp_path)
    placed = _placed(exchange)
    learned = Counter(row["order_id"] for row in rows if row["order_id"])
    assert max(learned.values()) == 1, f"seed {seed}: an order is there twice"
    unanswered = [row for row in rows if row["order_id"] is None]
    assert {row["status"] for row in unanswered} <= {"UNKNOWN"}
    missing = [order for order in placed if order["exchange_order_id"] not in learned]
    assert len(missing) <= len(unanswered) <= 3, f"seed {seed}: {missing} have no row"
    if exchange.kind == "binance":
        names = {row["client_order_id"] for row in unanswered}
        assert {order["client_order_id"] for order in missing} <= names, f"seed {seed}"


def _placed(exchange: RemoteExchange) -> list[dict[str, Any]]:
    return [order for order in exchange.ledger()["orders"] if order["status"] != "REJECTED"]
