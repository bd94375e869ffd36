"""A database that goes away while somebody looks: tail waits for it, an export leaves nothing half behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
from conftest import FakeJournal
from tcp_proxy import TcpProxy, Where

from audit_wrapper.store.postgres import PostgresStore

ROOT = Path(__file__).resolve().parents[2]


def started(folder: Path, dsn: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AUDIT_WRAPPER_DSN": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def line(stream: Any) -> str:
    return str(await asyncio.wait_for(asyncio.to_thread(stream.readline), 60))


async def test_tail_waits_for_the_database(
    store: PostgresStore, journal: FakeJournal, audit_dsn: str, tmp_path: Path
) -> None:
    journal.order("1")
    await journal.deliver(store)
    with TcpProxy(audit_dsn) as proxy:
        following = started(tmp_path, proxy.dsn, "tail", "-f", "-n", "1", "--json")
        assert json.loads(await line(following.stdout))["outcome"] == "acknowledged"
        proxy.refuse()
        proxy.reset()
        assert (await line(following.stderr)).endswith("; trying again\n")
        journal.order("2")
        await journal.deliver(store)
        proxy.accept()
        assert await line(following.stderr) == "the database is back\n"
        outcomes = [json.loads(await line(following.stdout))["outcome"] for _ in range(2)]
        assert outcomes == ["intent", "acknowledged"]
        following.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(following.communicate, timeout=60)
    assert (following.returncode, out, err) == (0, "", "")


async def test_an_export_whose_connection_breaks_leaves_what_was_there(
    store: PostgresStore, connection: asyncpg.Connection, audit_dsn: str, tmp_path: Path
) -> None:
    await connection.execute(
        "INSERT INTO monitoring.orders (symbol, status, order_key, created_at) "
        "SELECT 'A', 'NEW', gen_random_uuid(), '2026-01-01' FROM generate_series(1, 20000)"
    )
    (tmp_path / "orders.csv").write_text("before", encoding="utf-8")
    with TcpProxy(audit_dsn) as proxy:
        messages = 0

        def third_batch(message: Any) -> bool:
            nonlocal messages
            messages += message.type == "E"  # the client asks for the next rows
            return messages == 3

        proxy.cut_when(third_batch, Where.BEFORE)
        going = started(tmp_path, proxy.dsn, "export", "orders", "-o", "orders.csv")
        out, err = await asyncio.to_thread(going.communicate, timeout=60)
        assert proxy.was_cut.is_set()
    assert (going.returncode, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("audit-wrapper: cannot read the orders: ")
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]
    assert (tmp_path / "orders.csv").read_text(encoding="utf-8") == "before"
