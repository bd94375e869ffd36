"""`audit-wrapper rebuild`: asks first, makes everything derived anew, and changes nothing when broken off."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from called import ROOT, Ended, called_beside, ran, started

from audit_wrapper.command import progress
from audit_wrapper.store.postgres import PostgresStore

Call = Callable[..., Awaitable[Ended]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, audit_dsn: str) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIT_WRAPPER_DSN", audit_dsn)
    monkeypatch.delenv("AUDIT_WRAPPER_JOURNAL", raising=False)
    return partial(called_beside, capsys, "rebuild")


@pytest.fixture
async def spoiled(store: PostgresStore, journal: Any, contents: Any, connection: asyncpg.Connection) -> Any:
    """What the tables held before somebody changed a row and deleted others."""
    for number in range(3):
        journal.order(str(number))
    await journal.deliver(store)
    before = await contents()
    await connection.execute("UPDATE monitoring.orders SET size = 4711; DELETE FROM audit.fills")
    assert await contents() != before
    return before


async def test_rows_are_made_anew(call: Call, spoiled: Any, contents: Any) -> None:
    done = await call("--yes")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("3 orders were made anew")
    assert await contents() == spoiled
    assert json.loads((await call("--yes", "--json")).out)["orders"] == 3


async def test_it_does_not_begin_unasked(call: Call, spoiled: Any, contents: Any) -> None:
    spoiled_now = await contents()
    found = await call()
    assert (found.code, found.out) == (2, "")
    assert "say --yes" in found.err
    assert await contents() == spoiled_now


@pytest.mark.skipif(sys.platform == "win32", reason="there is no terminal to pretend")
@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 130), (b"\x03", 130), (b"y\n", 0)])
async def test_on_a_terminal_it_asks(
    spoiled: Any, contents: Any, audit_dsn: str, tmp_path: Path, answer: bytes, code: int
) -> None:
    spoiled_now = await contents()
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", "rebuild"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "AUDIT_WRAPPER_DSN": audit_dsn, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=partial(_take_terminal, theirs),
    )
    os.close(theirs)
    try:
        said = await asyncio.to_thread(_until, ours, b"[y/N]")
        assert b"records?" in said
        for _ in range(30):  # a Ctrl-C just before Python begins to read is seen with the next key
            os.write(ours, answer)
            said += await asyncio.to_thread(_until, ours, None, 1.0)
            if process.poll() is not None or answer != b"\x03":
                break
        said += await asyncio.to_thread(_until, ours, None)
        assert await asyncio.to_thread(process.wait, 30) == code, said
    finally:
        process.kill()
    os.close(ours)
    assert b"Traceback" not in said
    if code:
        assert b"nothing was changed" in said
        assert await contents() == spoiled_now
    else:
        assert b"3 orders were made anew" in said
        assert await contents() == spoiled


def _take_terminal(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _until(terminal: int, words: bytes | None, timeout_s: float = 30.0) -> bytes:
    """What the other side says, up to these words; None: up to its end, or to this long a silence."""
    said = b""
    while words is None or words not in said:
        if not select.select([terminal], [], [], timeout_s)[0]:
            break
        try:
            part = os.read(terminal, 4096)
        except OSError:  # closed on the other side
            break
        if not part:
            break
        said += part
    return said


async def test_broken_off_it_changes_nothing(
    spoiled: Any, contents: Any, audit_dsn: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    spoiled_now = await contents()
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'monitoring.orders'::regclass)"
    async with connection.transaction():  # in its middle, when the first row is to be written
        await connection.execute("LOCK TABLE monitoring.orders IN SHARE MODE")
        process = started(tmp_path, "rebuild", "--yes", AUDIT_WRAPPER_DSN=audit_dsn)
        try:
            async with asyncio.timeout(30):
                while not await connection.fetchval(waiting):
                    assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "broken off; nothing was changed\n")
    assert await contents() == spoiled_now


async def test_it_says_that_it_waits(
    call: Call, spoiled: Any, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SAY_EVERY_S", 0.01)
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit.events'::regclass)"
    async with connection.transaction():
        await connection.execute("LOCK TABLE audit.events IN ROW EXCLUSIVE MODE")  # somebody delivers
        running = asyncio.create_task(call("--yes"))
        async with asyncio.timeout(30):
            while not await connection.fetchval(waiting):
                assert not running.done()
        await connection.execute("SELECT pg_sleep(0.1)")  # ten times as long as anybody is left without a word
    done = await running
    assert done.code == 0
    assert done.err.startswith("waiting for deliveries\n")


async def test_what_cannot_be(call: Call, fresh_dsn: str, connection: asyncpg.Connection) -> None:
    bare = await call("--yes", "--dsn", fresh_dsn)
    assert (bare.code, bare.out) == (3, "")
    assert "`audit-wrapper init` makes them" in bare.err
    other = await call("--yes", "--bot-schema", "other")  # it is forgotten, or another bot's
    assert (other.code, other.out) == (3, "")
    assert await connection.fetchval("SELECT to_regnamespace('other')") is None
    away = await call("--yes", "--dsn", "postgresql://u:sekret@127.0.0.1:9/bot")
    assert (away.code, away.out, "sekret" in away.err) == (3, "", False)
    nowhere = ran(Path.cwd(), "rebuild", "--yes")
    assert (nowhere.code, nowhere.out) == (2, "")
    assert "no database is named" in nowhere.err
