"""The bot that is tortured: one run of it, from a seed. It says what it was told, so that the trail can be held to it.

Lines it writes: `a SEQ` for each append to the journal that returned, `o ID` for each order id it was told, `d SEQ` for
where the journal ended, `f WORDS` for each failure of the trail, `done`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
from pathlib import Path
from typing import Any

import msgspec
from simulated_exchange import async_client_for

from audit_wrapper import AuditTrail, trail
from audit_wrapper.journal import FileJournal, writer
from audit_wrapper.store.postgres import PostgresStore
from tests.torture import points

UNIFIED = "MNT/USDT:USDT"
_SETTINGS: dict[str, Any] = {
    "ask_exchange": "off",
    "ask_per_minute": 6_000,
    "delivery_batch": 7,
    "delivery_pause_s": 0.002,
    "keep_delivered_days": 0,
    "close_timeout_s": 20,
}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. point, nth: where to die. disk_full_for: so many writes fail, from the `nth` on."""

    seed: int
    actions: int
    durability: str = "process"
    point: str | None = None
    nth: int = 1
    disk_full_for: int = 0
    drain: bool = False


class SmallSegments(FileJournal):
    """Turns to a new file every few records, and says what it has written."""

    @classmethod
    def open(cls, folder: Path, **settings: Any) -> SmallSegments:
        return super().open(folder, **{**settings, "segment_bytes": 12_000})

    def append(self, payload: bytes, *, force: bool = True) -> int:
        seq = super().append(payload, force=force)
        say("a", seq)
        return seq


def say(*words: object) -> None:
    """In one write, so that it is said wholly or not at all."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def run(kind: str, url: str, dsn: str, folder: Path, plan: Run) -> None:
    """In a process of its own."""
    trail.FileJournal = SmallSegments  # type: ignore[misc]
    if plan.point is not None:
        points.arm(plan.point, plan.nth)
    if plan.disk_full_for:
        writer.os = _FullDisk(plan.nth, plan.disk_full_for)  # type: ignore[attr-defined, assignment]
    asyncio.run(_drain(kind, url, dsn, folder) if plan.drain else _trade(kind, url, dsn, folder, plan))
    say("done")


async def _trade(kind: str, url: str, dsn: str, folder: Path, plan: Run) -> None:
    chance = random.Random(plan.seed)
    client = async_client_for(kind, url)
    audit = AuditTrail.open(dsn, journal=folder, durability=plan.durability, **_SETTINGS)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asyncio.current_task().cancel)  # type: ignore[union-attr]
    try:
        client.timeout = 2_000
        client.enableRateLimit = False
        audit.wrap(client)
        await client.load_markets()
        say("trading")
        resting: list[str] = []
        for _ in range(plan.actions):
            try:
                await _act(client, chance, resting)
            except Exception:  # whatever the exchange says or does not say, this bot goes on
                continue
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.01)  # lets delivery come between
    except asyncio.CancelledError:
        say("asked to stop")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # one that was on its way
        while audit.status().waiting:  # the disk was full; it is not any more after some tries
            await audit.flush(1)
        audit.close()
        await client.close()


async def _act(client: Any, chance: random.Random, resting: list[str]) -> None:
    what = chance.random()
    side = chance.choice(("buy", "sell"))
    if what < 0.5:
        order = await client.create_order(UNIFIED, "market", side, chance.randrange(1, 30))
        say("o", order["id"])
    elif what < 0.7 or not resting:
        price = 0.8 if side == "buy" else 1.6
        order = await client.create_order(UNIFIED, "limit", side, chance.randrange(10, 30), price)
        say("o", order["id"])
        resting.append(order["id"])
    elif what < 0.85:
        await client.cancel_order(resting.pop(chance.randrange(len(resting))), UNIFIED)
    elif what < 0.95:
        await asyncio.gather(*(client.create_order(UNIFIED, "market", side, 10) for _ in range(3)))
    else:
        await client.cancel_order("999999", UNIFIED)


async def _drain(kind: str, url: str, dsn: str, folder: Path) -> None:
    """Deliver what is left, ask the exchange what its answers left open, and make the tables anew: they stay the same."""
    client = async_client_for(kind, url)
    audit = AuditTrail.open(dsn, journal=folder, **_SETTINGS)
    try:
        audit.wrap(client)
        await client.load_markets()
        report = await audit.reconcile(timeout_s=60)
        flushed = await audit.flush(60)
        if not flushed or report.unanswered:
            say("f", "not complete:", flushed, report)
        status = audit.status()
        for failure in (*status.failures, *status.damage):
            say("f", failure)
        say("d", status.durable_seq)
        async with PostgresStore(dsn) as store:
            before = await _tables(store)
            await store.rebuild()
            if await _tables(store) != before:
                say("f", "rebuild() made other rows")
    finally:
        audit.close()
        await client.close()


async def _tables(store: PostgresStore) -> list[str]:
    async with store._connections.use("look") as con:
        queries = ("monitoring.orders", "monitoring.trades", "audit.fills")
        return [row[0] for table in queries for row in await con.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]


class _FullDisk:
    """Stands in for the module `os` in the writer: for a while the disk takes nothing, or a part."""

    def __init__(self, first: int, count: int) -> None:
        self._first, self._last, self._calls = first, first + count, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, text: bytes) -> int:
        self._calls += 1
        if self._first <= self._calls < self._last:
            if self._calls % 2:
                return os.write(descriptor, text[: len(text) // 3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, text)
