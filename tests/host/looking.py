"""Commands run in this process or in one of their own, and a real bot beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail, command

ROOT = Path(__file__).resolve().parents[2]
BOT = ROOT / "tests" / "crash" / "bot_process.py"
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        return self.out.splitlines()[0]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Here:
    """`here("status", ...)` runs a command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Said:
        self._capsys.readouterr()
        code = command.main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err, err
        return Said(code, out, err)


def environ(**given: str) -> dict[str, str]:
    """The environment without settings of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_WRAPPER_")}
    return {**clean, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")]), **given}


def process(*words: object, **given: str) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", *map(str, words)],
        env=environ(**given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(running: subprocess.Popen[str], timeout_s: float = 60) -> Said:
    out, err = running.communicate(timeout=timeout_s)
    assert "Traceback" not in out + err, err
    return Said(running.returncode, out, err)


class Bot:
    """A real bot as a process; `told` are the order ids that it was told of."""

    def __init__(self, exchange: RemoteExchange, dsn: str, journal: Path, **given: str) -> None:
        arguments = [sys.executable, str(BOT), exchange.kind, exchange.url, dsn, str(journal)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environ(**given))
        self.told: list[str] = []
        assert self._line() == "trading"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def trade(self, n: int) -> None:
        """Wait for so many more answers."""
        self.told += [self._line() for _ in range(n)]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        # not `communicate`, which does not know what `readline` has read ahead: an id may be in two halves
        self.told += self.process.stdout.read().splitlines()
        self.process.wait(20)


@contextmanager
def trading(exchange: RemoteExchange, dsn: str, journal: Path, **given: str) -> Iterator[Bot]:
    bot = Bot(exchange, dsn, journal, **given)
    try:
        yield bot
    finally:
        bot.kill()


def record(trail: AuditTrail, n: int) -> None:
    """Write down so many things."""
    for number in range(n):
        trail._recorder.missing(f"record {number}")


def delivering(journal: Path) -> list[int]:
    """The processes that bots started to deliver this journal, as anybody sees them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if b"audit_wrapper-delivery" in words and os.fsencode(journal) in words and not ended:
                found.append(int(folder.name))
    return found


def until(done: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
