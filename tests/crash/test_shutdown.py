"""However a bot ends: in time, with the exit code it would have had, without a word of ours, and no record is lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from simulated_exchange import RemoteExchange

from audit_wrapper import AuditTrail
from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import verify

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and file handles as POSIX has them")

BOT = Path(__file__).with_name("ending_bot.py")
CLOSE_TIMEOUT_S = 1.0
IN_TIME_S = CLOSE_TIMEOUT_S + 3
ENOUGH = 5  # orders told of before anything is done to the bot

# What neither the interpreter nor asyncio, logging or concurrent.futures may have to say of us.
NOISE = re.compile(
    r"Exception ignored|was destroyed but|Fatal Python error|Logging error|Exception in thread|never retrieved|"
    r"never awaited|exception calling callback|ResourceWarning|Segmentation|unclosed|after (interpreter )?shutdown"
)
# asyncio's own way of closing, where the second Ctrl-C comes in the middle of it
ASYNCIO_ENDS = re.compile(r"RuntimeWarning: coroutine 'BaseEventLoop\.shutdown_\w+' was never awaited")
OUR_WORDS = re.compile(r"^audit trail: ", re.MULTILINE)
LEAVES_SOME = (
    "with_other_tasks",
    "daemon_threads",
    "closed_by_a_logging_handler",
    "closed_by_the_collector",
)  # for the next run, and says so
OUR_FRAME = re.compile(r'File "[^"]*/audit_wrapper/(?!observe|clients|proxies)')


class Case(NamedTuple):
    """One way to end. signals: sent to it, the second when it says that it leaves. code: its exit code then."""

    way: str
    code: int
    signals: tuple[int, ...] = ()
    database: str = "there"

    def __str__(self) -> str:
        return "-".join([self.way, *(signal.Signals(number).name for number in self.signals), self.database])


INT, TERM = (signal.SIGINT,), (signal.SIGTERM,)
SIGNALLED = [
    *(Case(way, -signal.SIGINT, INT) for way in ("never_closed", "in_with", "in_async_with", "around_run")),
    *(Case(way, -signal.SIGINT, INT) for way in ("closed_in_a_coroutine", "synchronous", "with_other_tasks")),
    *(Case(way, -signal.SIGINT, INT * 2) for way in ("in_with", "in_async_with", "around_run")),
    *(Case(way, -signal.SIGTERM, TERM) for way in ("never_closed", "in_async_with", "synchronous")),
    Case("on_uvloop", -signal.SIGINT, INT),
    Case("handler_that_exits", 3, TERM),
    Case("handler_of_the_loop", 0, TERM),
    Case("handler_that_closes", 0, TERM),
    Case("never_closed", -signal.SIGHUP, (signal.SIGHUP,)),
    Case("never_closed", -signal.SIGKILL, (signal.SIGKILL,)),
]
BY_ITSELF = [
    Case("an_exception", 1),
    Case("exit_in_a_task", 7),
    Case("exit_at_once", 9),
    Case("loop_stopped", 1),
    Case("killed_in_the_middle_of_an_order", -signal.SIGINT),
    *(
        Case(way, 0)
        for way in (
            "the_end_of_main",
            "daemon_threads",
            "other_threads",
            "opened_in_a_thread",
            "orders_at_exit",
            "loop_closed_first",
            "loop_closed_during_flush",
            "two_loops",
            "closed_by_a_logging_handler",
            "closed_by_the_collector",
            "closed_by_many",
            "answer_after_close",
            "dropped",
            "loop_closed_while_asking",
        )
    ),
]
WITHOUT_DATABASE = [
    case._replace(database=database)
    for database in ("away", "silent")
    for case in (
        Case("in_async_with", -signal.SIGINT, INT * 2),
        Case("in_with", -signal.SIGINT, INT * 2),
        Case("never_closed", -signal.SIGINT, INT),
        Case("handler_that_closes", 0, TERM),
        Case("an_exception", 1),
        Case("daemon_threads", 0),
        Case("loop_closed_during_flush", 0),
    )
]
WITHOUT_DATABASE.append(Case("the_end_of_main", 0, database="named"))
CASES = SIGNALLED + BY_ITSELF + WITHOUT_DATABASE


class Ended(NamedTuple):
    """What became of a bot."""

    code: int
    took_s: float
    told: list[str]
    words: str
    stored: set[str]


class Run:
    """One bot, from its start to what the next run finds."""

    def __init__(self, case: Case, dsn: str, served: str, exchange: str, journal: Path) -> None:
        self._case, self._dsn, self._journal = case, dsn, journal
        self._told: list[str] = []
        self._began_to_end = 0.0
        command = [sys.executable, "-W", "default::ResourceWarning", str(BOT), case.way, served]
        with open(journal.with_suffix(".err"), "w+", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*command, str(journal)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={
                    **os.environ,
                    "AUDIT_WRAPPER_CLOSE_TIMEOUT_S": str(CLOSE_TIMEOUT_S),
                    "EXCHANGE_URL": exchange,
                },
                start_new_session=True,
            )
            watchdog = threading.Timer(30, self._process.kill)
            watchdog.start()
            try:
                self._follow()
                self.code = self._process.wait()
            finally:
                watchdog.cancel()
            self.took_s = time.monotonic() - self._began_to_end
            errors.seek(0)
            self.words = errors.read()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        signals = list(self._case.signals)
        leaves = False
        with self._process.stdout as lines:
            for line in lines:
                if not leaves:
                    self._began_to_end = time.monotonic()
                if line == "leaving\n":
                    leaves = True
                else:
                    self._told.append(line.strip())
                if signals and (leaves or len(self._told) == ENOUGH):
                    self._process.send_signal(signals.pop(0))
                    leaves = True

    def ended(self) -> Ended:
        stored = asyncio.run(self._next_run())
        return Ended(self.code, self.took_s, self._told, self.words, stored)

    async def _next_run(self) -> set[str]:
        async with AuditTrail.open(
            self._dsn, journal=self._journal, account=self._case.way, ask_exchange="off"
        ) as trail:
            flushed = await trail.flush(timeout_s=30)
            assert flushed, flushed
            async with asyncio.timeout(30):
                while any(self._journal.glob("late-*")):  # delivered beside it, and then removed
                    await asyncio.sleep(0.02)
            assert trail.status().failures == {}
        assert list(verify(self._journal)) == []
        connection = await asyncpg.connect(self._dsn)
        try:
            rows = await connection.fetch("SELECT order_id FROM monitoring.orders WHERE account = $1", self._case.way)
        finally:
            await connection.close()
        return {row["order_id"] for row in rows}


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """A database that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"postgresql://bot@127.0.0.1:{listening.getsockname()[1]}/bot"


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Ended]]]:
    """All bots of this module, a few at a time; each test then looks at its own."""
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("audit_template")
    name = server.create(template)
    dsn = server.address_of(name)
    served = {
        "there": dsn,
        "away": "postgresql://bot@127.0.0.1:1/bot",
        "named": "postgresql://bot@localhost:1/bot",  # a name to be looked up, when thread pools are gone
        "silent": request.getfixturevalue("silent"),
    }
    folder = tmp_path_factory.mktemp("endings")
    wanted = {
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }

    def run(case: Case) -> Ended:
        return Run(case, dsn, served[case.database], exchange.url, folder / str(case)).ended()

    with RemoteExchange.spawn("bybit") as exchange, ThreadPoolExecutor(4) as pool:
        yield {case: pool.submit(run, case) for case in CASES if case in wanted}
    server.drop(name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bot_ends_as_it_would_without_us_and_loses_nothing(case: Case, runs: dict[Case, Future[Ended]]) -> None:
    if case.way == "on_uvloop":
        pytest.importorskip("uvloop")
    ended = runs[case].result()
    assert ended.code == case.code, ended.words
    assert ended.took_s < IN_TIME_S, ended.words
    noise = ASYNCIO_ENDS.sub("", ended.words) if len(case.signals) > 1 else ended.words
    assert not NOISE.search(noise), ended.words
    if len(case.signals) < 2 and case.way != "synchronous":  # there a Ctrl-C comes up where it finds us
        assert not OUR_FRAME.search(ended.words), ended.words
    assert len(ended.told) >= ENOUGH or case.way == "answer_after_close", ended.words
    assert set(ended.told) <= ended.stored
    if case.database == "there" and len(case.signals) < 2 and case.way not in LEAVES_SOME:
        assert not OUR_WORDS.search(ended.words), ended.words


class Lodged:
    """Bots on an embedded PostgreSQL in one journal folder, one after the other."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self.told: set[str] = set()
        self.served_by: int | None = None  # the server's process during the last `stored`

    def run(self, way: str, number: int | None = None, close_timeout_s: float = 60) -> tuple[int, str]:
        """Exit code, and what it said on stderr. number: the signal it gets when it has told of some orders."""
        script = "forked_bot.py" if "child" in way else BOT.name
        with subprocess.Popen(
            [sys.executable, "-W", "default::ResourceWarning", str(BOT.with_name(script)), way, "", str(self._journal)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "AUDIT_WRAPPER_CLOSE_TIMEOUT_S": str(close_timeout_s)},
            start_new_session=True,  # a terminal's Ctrl-C goes to the whole group
        ) as bot:
            assert bot.stdout is not None
            assert bot.stderr is not None
            for line in bot.stdout:
                if line != "leaving\n":
                    self.told.add(line.strip())
                if number is not None and len(self.told) % ENOUGH == 0:
                    os.killpg(bot.pid, number)
                    number = None
            words = bot.stderr.read()
            return bot.wait(60), words

    def server(self) -> int | None:
        """The server's process, if it runs."""
        try:
            pid = int((self._journal / "postgres" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid

    async def stored(self) -> set[str]:
        """The orders in the table, after one more run of a trail there."""
        trail = AuditTrail.open(journal=self._journal, ask_exchange="off", close_timeout_s=60)
        async with trail:
            assert await trail.flush(timeout_s=60)
            self.served_by = self.server()
            connection = await asyncpg.connect(trail.status().database)
            try:
                rows = await connection.fetch("SELECT order_id FROM monitoring.orders WHERE order_id IS NOT NULL")
            finally:
                await connection.close()
        return {row["order_id"] for row in rows}


async def test_the_embedded_server_ends_with_the_bot_or_waits_for_the_next(tmp_path: Path) -> None:
    lodged = Lodged(tmp_path / "journal")

    assert lodged.run("the_end_of_main") == (0, ""), "all is delivered at exit, before the server is stopped"
    assert lodged.server() is None

    code, words = lodged.run("in_async_with", signal.SIGINT)
    assert code == -signal.SIGINT
    assert "audit trail:" not in words
    assert lodged.server() is None

    assert lodged.run("child_that_flushes") == (0, ""), "parent and child use one server, and neither stops the other's"
    assert lodged.server() is None

    assert lodged.run("delivered_and_never_closed", signal.SIGTERM) == (-signal.SIGTERM, "")
    left = lodged.server()
    assert left is not None, "nothing of ours can run then"
    stored = await lodged.stored()
    assert lodged.told <= stored
    assert len(stored - lodged.told) <= 1, "it died wherever it was: perhaps before it told of its last order"
    assert lodged.served_by == left, "taken over, not started beside it"
    assert lodged.server() is None


async def test_a_bot_that_ends_while_the_embedded_server_is_made_does_not_wait_for_it(tmp_path: Path) -> None:
    lodged = Lodged(tmp_path / "journal")
    began = time.monotonic()
    code, words = lodged.run("in_with", signal.SIGINT, close_timeout_s=0.1)
    assert code == -signal.SIGINT
    assert time.monotonic() - began < IN_TIME_S
    assert not NOISE.search(words), words
    assert await lodged.stored() == lodged.told
    assert lodged.server() is None


def test_nothing_grows_with_event_loops_and_with_trails(audit_dsn: str, tmp_path: Path) -> None:
    script = BOT.with_name("lasting_bot.py")
    command = [sys.executable, "-W", "default::ResourceWarning", str(script), audit_dsn, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    grown = json.loads(done.stdout)
    for what, bytes_each in (("by loops", 500), ("by trails", 10_000)):  # asyncpg keeps some 3 kB of a connection
        assert grown[what]["threads"] <= 0, grown
        assert grown[what]["handles"] <= 0, grown
        assert grown[what]["bytes"] < bytes_each * grown[what]["times"], grown


def test_a_second_bot_in_the_same_folder_is_told_whose_it_is(audit_dsn: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BOT), "never_closed", audit_dsn, str(tmp_path)]
    for kill in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as bot:
            assert bot.stdout is not None
            bot.stdout.readline()
            with pytest.raises(JournalInUse, match=f"process {bot.pid}: .*setting `journal`"):
                AuditTrail.open(audit_dsn, journal=tmp_path)
            bot.kill()  # the next asks at this very moment, until it is free
            refused = 0
            while True:
                try:
                    trail = AuditTrail.open(audit_dsn, journal=tmp_path)
                    break
                except JournalInUse as problem:
                    refused += 1
                    words = str(problem)
                    assert f"process {bot.pid}:" in words, words
            trail.close()
        assert refused < 10_000, kill
    assert list(verify(tmp_path)) == []


async def test_closing_leaves_no_thread_behind_whatever_the_database_does(silent: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for number, dsn in enumerate((silent, "postgresql://bot@127.0.0.1:1/bot")):
        trail = AuditTrail.open(dsn, journal=tmp_path / str(number), close_timeout_s=0.2)
        flushing = asyncio.create_task(trail.flush(timeout_s=60))
        await asyncio.sleep(0)
        await trail.aclose()
        async with asyncio.timeout(5):
            await flushing  # no use to go on waiting
        left = set(threading.enumerate()) - before  # without what an earlier test may have left
        assert [thread for thread in left if thread.name == "audit_wrapper-delivery"] == []
