"""kill -9 of a real bot and of the process that it started to deliver, Ctrl-C, forks: everything arrives, once, and nothing stays."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from looking import AWAY, ROOT, Bot, delivering, environ, trading, until
from reckoning import delivered_whole, fetched, nothing_is_lost
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail

ROUNDS = 3
PROCESS = {"AUDIT_WRAPPER_DELIVERY": "process"}


@pytest.fixture
def exchange() -> Iterator[RemoteExchange]:
    with RemoteExchange.spawn("binance") as running:
        yield running


async def test_killed_at_any_moment(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    told: list[str] = []
    for _ in range(ROUNDS):
        bot = Bot(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_KEEP_DELIVERED_DAYS="0", **PROCESS)
        for _ in range(chance.randrange(1, 4)):
            bot.trade(chance.randrange(1, 6))
            for pid in delivering(tmp_path):
                if chance.random() < 0.7:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(chance.random() * 1.5)  # also while it starts
        bot.kill()  # the next one begins while the process of this one may still deliver
        told += bot.told
    async with AuditTrail.open(
        audit_dsn, journal=tmp_path, delivery="process", ask_exchange="off", close_timeout_s=30
    ) as trail:
        flushed = await trail.flush(timeout_s=60)
        assert flushed, f"seed {seed}: {flushed}"
        assert trail.status().failures == {}
    until(lambda: not delivering(tmp_path))

    print(f"seed {seed}")
    nothing_is_lost(exchange, postgres_server, audit_dsn, tmp_path, told, kills=ROUNDS)


def test_what_a_killed_bot_left_is_delivered_by_the_process(
    exchange: RemoteExchange, audit_dsn: str, tmp_path: Path, postgres_server: Any
) -> None:
    with trading(exchange, audit_dsn, tmp_path, AUDIT_WRAPPER_CLOSE_TIMEOUT_S="60", **PROCESS) as bot:
        bot.trade(4)
    until(lambda: not delivering(tmp_path))
    delivered_whole(postgres_server, audit_dsn, tmp_path)
    rows = fetched(postgres_server, audit_dsn, "SELECT order_id FROM monitoring.orders")
    assert set(bot.told) <= set(rows)


def test_nothing_stays_of_a_killed_bot_whose_database_is_away(exchange: RemoteExchange, tmp_path: Path) -> None:
    with trading(exchange, AWAY, tmp_path, AUDIT_WRAPPER_CLOSE_TIMEOUT_S="0.5", **PROCESS) as bot:
        bot.trade(2)
        until(lambda: delivering(tmp_path))
    until(lambda: not delivering(tmp_path), 20)


CTRL_C = """
import asyncio, os, sys, time
from audit_wrapper import AuditTrail
trail = AuditTrail.open(os.environ["DSN"], journal=sys.argv[1], delivery="process", ask_exchange="off", close_timeout_s=30)
while trail.status().store != "connected":
    time.sleep(0.01)
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    for _ in range(50):  # it closes its positions
        trail._recorder.missing("something")
        time.sleep(0.01)
assert asyncio.run(trail.flush())
assert trail.close()
print(trail.status().failures, flush=True)
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_of_the_bot(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, sign: signal.Signals
) -> None:
    """Ctrl-C goes to the terminal's whole group; systemd's SIGTERM goes to every process of the unit."""
    script = CTRL_C.replace(
        "import asyncio", f"import signal; signal.signal({int(sign)}, signal.default_int_handler)\nimport asyncio"
    )
    bot = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environ(DSN=audit_dsn),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bot.stdout is not None
    assert bot.stdout.readline() == "ready\n"
    os.killpg(bot.pid, sign)
    if sign is not signal.SIGINT:
        for pid in delivering(tmp_path):
            os.kill(pid, sign)
    out, err = bot.communicate(timeout=60)
    assert (bot.returncode, out, err) == (0, "{}\n", "")
    assert len(fetched(postgres_server, audit_dsn, "SELECT seq FROM audit.events")) == 50
    assert delivering(tmp_path) == []


FORKING = """
import os, signal, sys, time
from audit_wrapper import AuditTrail
trail = AuditTrail.open(os.environ["DSN"], journal=sys.argv[1], delivery="process", ask_exchange="off", close_timeout_s=30)
if sys.argv[2] == "when it runs":
    while trail.status().store != "connected":
        time.sleep(0.01)
trail._recorder.missing("the parent's")
children = []
for n in range(5):  # also in the middle of starting it
    child = os.fork()
    if child == 0:
        trail._recorder.missing("a child's")
        os.write(1, b"recorded %d\\n" % os.getpid())  # at once, beside the others
        time.sleep(600)
    children.append(child)
    time.sleep(0.002)
os.write(1, b"forked %d\\n" % os.getpid())
time.sleep(600)
"""


@pytest.mark.parametrize("when", ["when it runs", "at once"])
def test_forked_children_do_not_keep_it(audit_dsn: str, tmp_path: Path, postgres_server: Any, when: str) -> None:
    """A prefork server: its workers live on when the parent is killed, and deliver what they record themselves."""
    bot = subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path), when],
        env=environ(DSN=audit_dsn),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert bot.stdout is not None
    said = [bot.stdout.readline().split() for _ in range(6)]
    children = [int(pid) for word, pid in said if word == "recorded"]
    try:
        until(lambda: delivering(tmp_path))
        bot.kill()
        bot.wait(20)
        until(lambda: not delivering(tmp_path))
        until(lambda: len(fetched(postgres_server, audit_dsn, "SELECT seq FROM audit.events")) == 6)
        assert all(Path(f"/proc/{pid}").exists() for pid in children), "they live"
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        bot.kill()
        bot.stdout.close()


def test_what_forked_children_left_is_delivered(audit_dsn: str, tmp_path: Path, postgres_server: Any) -> None:
    script = FORKING.replace("        time.sleep(600)\n", "        os._exit(0)\n")
    bot = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), "at once"],
        env=environ(DSN=audit_dsn),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: len(fetched(postgres_server, audit_dsn, "SELECT seq FROM audit.events")) == 6, 60)
        until(lambda: not list(tmp_path.glob("fork-*")))
    finally:
        bot.kill()
        bot.communicate(timeout=20)
    until(lambda: not delivering(tmp_path))


@pytest.mark.parametrize("flags", [(), ("-I",), ("-S",), ("-X", "utf8"), ("-P", "-B")])
def test_bots_that_are_started_in_odd_ways(
    audit_dsn: str, tmp_path: Path, postgres_server: Any, flags: tuple[str, ...]
) -> None:
    """Where the library is found by what the bot did to sys.path, from a folder with a module of a well-known name, that it leaves."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("queue", "json", "signal"):
        (here / f"{name}.py").write_text("raise SystemExit('not this one')\n", encoding="ascii")
    path = [str(ROOT), *(one for one in sys.path if one and one != str(here))]
    script = f"""
import sys
sys.path[:0] = {path!r}
import asyncio, os
from audit_wrapper import AuditTrail
trail = AuditTrail.open(os.environ["DSN"], journal="journal", delivery="process", ask_exchange="off", close_timeout_s=30)
trail._recorder.missing("something")
os.mkdir("elsewhere")
os.chdir("elsewhere")
assert asyncio.run(trail.flush())
assert trail.status().failures == {{}}, trail.status()
"""
    (tmp_path / "bot.py").write_text(script, encoding="utf-8")
    clean = {name: value for name, value in environ(DSN=audit_dsn).items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, *flags, str(tmp_path / "bot.py")], cwd=here, env=clean, check=True, timeout=60)
    assert fetched(postgres_server, audit_dsn, "SELECT seq FROM audit.events") == [1]


def test_a_bot_that_stands_on_standard_input(audit_dsn: str, tmp_path: Path, postgres_server: Any) -> None:
    """A REPL, or `python < bot.py`: the process has a standard input of its own."""
    script = f"""
from audit_wrapper import AuditTrail
trail = AuditTrail.open({audit_dsn!r}, journal={str(tmp_path)!r}, delivery="process", ask_exchange="off", close_timeout_s=30)
trail._recorder.missing("something")
assert trail.close()
"""
    subprocess.run([sys.executable, "-i", "-"], input=script, env=environ(), check=True, timeout=60, text=True)
    assert fetched(postgres_server, audit_dsn, "SELECT seq FROM audit.events") == [1]
