"""kill -9 of a real bot and of the sidecar that delivers for it, at random moments: everything arrives, once."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from looking import Bot, environ, process
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail
from audit_wrapper.journal import What, verify
from audit_wrapper.journal.glance import glance

ROUNDS = 3


@pytest.fixture
def exchange() -> Iterator[RemoteExchange]:
    with RemoteExchange.spawn("binance") as running:
        yield running


def _waited(running: subprocess.Popen[Any], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(seconds)


async def test_killed_at_any_moment(exchange: RemoteExchange, audit_dsn: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    settings = {"AUDIT_WRAPPER_DELIVERY": "sidecar", "AUDIT_WRAPPER_KEEP_DELIVERED_DAYS": "0"}
    told: list[str] = []

    def sidecar() -> subprocess.Popen[str]:
        return process("deliver", "--follow", AUDIT_WRAPPER_DSN=audit_dsn, AUDIT_WRAPPER_JOURNAL=str(tmp_path))

    def kill(running: subprocess.Popen[str]) -> None:
        running.kill()
        err = running.communicate(timeout=20)[1]
        assert "Traceback" not in err, err

    beside = sidecar()
    for _ in range(ROUNDS):
        bot = Bot(exchange, audit_dsn, tmp_path, **settings)
        for _ in range(chance.randrange(1, 4)):
            bot.trade(chance.randrange(1, 6))
            if chance.random() < 0.7:
                kill(beside)
                beside = sidecar()
                _waited(beside, chance.random() * 3)  # also while it starts
        _waited(bot.process, chance.random() * 0.05)
        bot.kill()
        told += bot.told
    kill(beside)

    beside = sidecar()
    async with AuditTrail.open(
        audit_dsn, journal=tmp_path, delivery="sidecar", ask_exchange="off", close_timeout_s=1
    ) as trail:
        flushed = await trail.flush(timeout_s=60)
        assert flushed, f"seed {seed}: {flushed}"
        assert "journal damaged" not in trail.status().failures
    kill(beside)

    assert [one for one in verify(tmp_path) if one.what is not What.TORN_TAIL] == [], f"seed {seed}"
    found = glance(tmp_path)
    assert found is not None
    connection = await asyncpg.connect(audit_dsn)
    try:
        rows = await connection.fetch("SELECT order_id, client_order_id, status FROM monitoring.orders")
        seqs = [row["seq"] for row in await connection.fetch("SELECT seq FROM audit.events ORDER BY seq")]
        (mark,) = await connection.fetch("SELECT delivered_seq FROM audit.streams")
        assert await connection.fetchval("SELECT count(*) FROM audit.quarantine") == 0
    finally:
        await connection.close()
    assert seqs == list(range(1, found.durable_seq + 1)), f"seed {seed}: all of the journal, each record once"
    assert mark["delivered_seq"] == found.durable_seq
    known = Counter(row["order_id"] for row in rows if row["order_id"])
    assert set(told) <= set(known), f"seed {seed}: the bot was told of an order that is not in the table"
    assert max(known.values()) == 1, f"seed {seed}: an order is there twice"
    placed = [order for order in exchange.ledger()["orders"] if order["status"] != "REJECTED"]
    unanswered = {row["client_order_id"] for row in rows if row["order_id"] is None}
    missing = [order for order in placed if order["exchange_order_id"] not in known]
    assert {order["client_order_id"] for order in missing} <= unanswered, f"seed {seed}"
    assert len(unanswered) <= ROUNDS


async def test_what_both_left_goes_in_without_them(exchange: RemoteExchange, audit_dsn: str, tmp_path: Path) -> None:
    bot = Bot(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_DELIVERY="sidecar")
    bot.trade(4)
    bot.kill()
    command = [sys.executable, "-m", "audit_wrapper", "deliver", "--journal", str(tmp_path)]
    subprocess.run(command, check=True, env=environ(AUDIT_WRAPPER_DSN=audit_dsn), timeout=60)
    connection = await asyncpg.connect(audit_dsn)
    try:
        rows = await connection.fetch("SELECT order_id FROM monitoring.orders WHERE order_id IS NOT NULL")
    finally:
        await connection.close()
    assert set(bot.told) <= {row["order_id"] for row in rows}
