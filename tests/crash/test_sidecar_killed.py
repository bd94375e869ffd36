"""kill -9 of a real bot and of the sidecar that delivers for it, at random moments: everything arrives, once."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from looking import Bot, environ, process
from reckoning import fetched, nothing_is_lost
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail

ROUNDS = 3


@pytest.fixture
def exchange() -> Iterator[RemoteExchange]:
    with RemoteExchange.spawn("binance") as running:
        yield running


def _waited(running: subprocess.Popen[Any], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(seconds)


async def test_killed_at_any_moment(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
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

    print(f"seed {seed}")
    nothing_is_lost(exchange, postgres_server, audit_dsn, tmp_path, told, kills=ROUNDS)


def test_what_both_left_goes_in_without_them(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    bot = Bot(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_DELIVERY="sidecar")
    bot.trade(4)
    bot.kill()
    command = [sys.executable, "-m", "audit_wrapper", "deliver", "--journal", str(tmp_path)]
    subprocess.run(command, check=True, env=environ(AUDIT_WRAPPER_DSN=audit_dsn), timeout=60)
    rows = fetched(postgres_server, audit_dsn, "SELECT order_id FROM monitoring.orders WHERE order_id IS NOT NULL")
    assert set(bot.told) <= set(rows)
