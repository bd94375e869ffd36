"""One tortured day: a bot is started again and again on one journal, something is done to it each time, and in the end the
trail is held against what the exchange has in its books and what the bot had been told."""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import ccxt.async_support  # noqa: F401, loaded once, and not by each bot that is forked off
from simulated_exchange import RemoteExchange

from audit_wrapper.journal import What, verify
from tests.torture import points, trader
from tests.torture.database import Made
from tests.torture.trader import Run

_PATIENCE_S = 60.0
_WAYS = (*("point",) * 6, "moment", "held", "interrupt", "terminate", "database", "disk", "nothing")
_EXCHANGE_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lose_answer", {}),
    ("drop_request", {}),
    ("http_page", {"taken": True}),
    ("rate_limited", {}),
)


class Lost(AssertionError):
    """The trail is not what it should be."""


class Day:
    """`faults` runs of the bot, all from `seed`. `every_point`: one run for each named point instead."""

    def __init__(self, seed: int, dsn: str, folder: Path, *, faults: int, every_point: bool = False) -> None:
        self.seed = seed
        self.dsn = dsn
        self.folder = folder
        self.faults = faults
        self.chance = random.Random(seed)
        self.points = points.names() if every_point else []
        self.kind = self.chance.choice(("binance", "bybit"))
        self.done: Counter[str] = Counter()  # what was done to the bot, how often
        self.appended: set[int] = set()
        self.told: list[str] = []
        self.end = 0

    def live(self) -> None:
        """Raises Lost, with the seed, if anything is missing or there twice."""
        try:
            with RemoteExchange.spawn(self.kind) as exchange:
                for point in self.points or [None] * self.faults:
                    self._run(exchange, point)
                said = self._child(exchange, Run(seed=0, actions=0, drain=True))
                self._heed(said)
                if said[-1:] != ["done"]:
                    raise Lost(f"the last run did not end well: {said[-5:]}")
                if failures := [line for line in said if line.startswith("f ")]:
                    raise Lost(str(failures))
                asyncio.run(self._check(exchange))
        except Exception as problem:
            logged = self._log.read_text()[-3_000:] if self._log.exists() else ""
            raise Lost(f"seed {self.seed} ({self.kind}, {dict(self.done)}): {problem}\nlogged:\n{logged}") from problem

    @property
    def _log(self) -> Path:
        return self.folder.with_name("bot.log")

    # -- one run

    def _run(self, exchange: RemoteExchange, point: str | None) -> None:
        chance = self.chance
        way = "point" if point else chance.choice(_WAYS)
        durability = chance.choice(("process", "process", "power"))
        run = Run(seed=chance.randrange(1 << 32), actions=chance.randrange(4, 14), durability=durability)
        if chance.random() < 0.4:
            fault, fields = chance.choice(_EXCHANGE_FAULTS)
            exchange.next("create", fault, **fields)
        act: Callable[[int], None] | None = None
        if way == "point":
            nth = chance.randrange(1, 4) if point else min(1 + int(chance.expovariate(0.25)), 25)
            way = point or chance.choice(points.names())
            run = Run(**{**_fields(run), "point": way, "nth": nth})
        elif way == "disk":
            run = Run(**{**_fields(run), "nth": chance.randrange(1, 20), "disk_full_for": chance.randrange(1, 12)})
        elif way == "moment":
            act = self._after(chance.random() * 0.25, signal.SIGKILL)
        elif way == "interrupt":
            act = self._after(chance.random() * 0.25, signal.SIGINT)
        elif way == "terminate":
            act = self._after(chance.random() * 0.25, signal.SIGTERM)
        elif way == "database":
            act = self._cut_connections
        elif way == "held":
            hold = exchange.hold("create", before=chance.random() < 0.5)

            def act(pid: int) -> None:
                if exchange.reached(hold, timeout=2):
                    os.kill(pid, signal.SIGKILL)
                exchange.release(hold)

        self.done[way] += 1
        self._heed(self._child(exchange, run, act))

    def _after(self, seconds: float, number: signal.Signals) -> Callable[[int], None]:
        def act(pid: int) -> None:
            time.sleep(seconds)  # the random moment: not a wait for anything
            os.kill(pid, number)

        return act

    def _cut_connections(self, pid: int) -> None:
        asyncio.run(self._terminate_backends())

    async def _terminate_backends(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            for _ in range(10):
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND datname = current_database()"
                )
                await asyncio.sleep(self.chance.random() * 0.03)  # random moments
        finally:
            await connection.close()

    def _child(self, exchange: RemoteExchange, run: Run, act: Callable[[int], None] | None = None) -> list[str]:
        """Run the bot in a forked process, do something to it once it trades, and hear what it said."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_the_bot(writing, self._log, exchange, self.dsn, self.folder, run)
        os.close(writing)
        try:
            return self._hear(pid, reading, act)
        finally:
            os.close(reading)

    def _hear(self, pid: int, reading: int, act: Callable[[int], None] | None) -> list[str]:
        deadline = time.monotonic() + _PATIENCE_S
        text = b""
        while True:
            if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise Lost(f"the bot hung; it had said {text[-300:]!r}")
            part = os.read(reading, 65_536)
            text += part
            if act is not None and b"trading\n" in text:
                act(pid)
                act = None
            if not part:
                os.waitpid(pid, 0)
                return text.decode().splitlines()

    def _heed(self, said: list[str]) -> None:
        for line in said:
            what, _, value = line.partition(" ")
            if what == "a":
                self.appended.add(int(value))
            elif what == "o":
                self.told.append(value)
            elif what == "d":
                self.end = int(value)
            elif what == "Traceback":
                raise Lost("\n".join(said[-30:]))

    # -- the reckoning

    async def _check(self, exchange: RemoteExchange) -> None:
        if wrong := [finding for finding in verify(self.folder) if finding.what is not What.TORN_TAIL]:
            raise Lost(f"the journal: {wrong}")
        connection = await asyncpg.connect(self.dsn)
        try:
            events = await connection.fetch(
                "SELECT stream, seq, record_id, kind, intent_id FROM audit.events ORDER BY seq"
            )
            orders = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY id")
            aside = await connection.fetch("SELECT seq, reason FROM audit.quarantine")
        finally:
            await connection.close()
        if aside:
            raise Lost(f"in quarantine: {aside}")
        numbers = [event["seq"] for event in events]
        if len({event["stream"] for event in events}) != 1 or numbers != list(range(1, self.end + 1)):
            raise Lost(f"{len(numbers)} events of {self.end}, streams {len({e['stream'] for e in events})}")
        if missing := self.appended - set(numbers):
            raise Lost(f"the journal had said that it has {sorted(missing)}")
        self._check_orders(exchange.ledger()["orders"], orders)

    def _check_orders(self, ledger: list[dict[str, Any]], rows: list[asyncpg.Record]) -> None:
        placed = {order["exchange_order_id"]: order for order in ledger if order["status"] != "REJECTED"}
        learned = Counter(row["order_id"] for row in rows if row["order_id"] is not None)
        if twice := [name for name, count in learned.items() if count > 1]:
            raise Lost(f"there twice: {twice}")
        if invented := learned.keys() - placed.keys():
            raise Lost(f"the exchange knows nothing of {invented}")
        if unheard := set(self.told) - learned.keys():
            raise Lost(f"the bot was told of {unheard}, the trail was not")
        unknown = [row for row in rows if row["order_id"] is None and row["status"] == "UNKNOWN"]
        missing = [order for name, order in placed.items() if name not in learned]
        if len(missing) > len(unknown):
            raise Lost(f"{len(missing)} orders have no row, and only {len(unknown)} rows say UNKNOWN: {missing}")
        if self.kind == "binance":
            names = {row["client_order_id"] for row in unknown}
            if lost := [order for order in missing if order["client_order_id"] not in names]:
                raise Lost(f"sent, and not in the trail: {lost}")
        for row in rows:
            if row["order_id"] is None:
                continue
            order = placed[row["order_id"]]
            if row["status"] != order["status"]:
                raise Lost(f"{row['order_id']} is {row['status']}, the exchange says {order['status']}")


def _fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__struct_fields__}


def _be_the_bot(writing: int, log: Path, exchange: RemoteExchange, dsn: str, folder: Path, run: Run) -> None:
    """The child's whole life; never returns."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        os.dup2(writing, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        trader.run(exchange.kind, exchange.url, dsn, folder, run)
    except BaseException:
        os.write(1, b"Traceback " + traceback.format_exc().encode())
    finally:
        os._exit(0)


class Told(NamedTuple):
    """What came of a day: what was done to the bot, how often; and the loss, if there was one."""

    seed: int
    done: dict[str, int]
    problem: str


def one_day(seed: int, databases: Made, root: str, faults: int, every_point: bool = False) -> Told:
    """A day with a database of its own; for a worker's process."""
    name, folder = f"torture_day_{os.getpid()}_{seed}", Path(root) / f"day-{seed}"
    # else it is made while the bot is killed
    dsn = databases.create(name, with_schema=seed % 3 > 0)
    day = Day(seed, dsn, folder / "journal", faults=faults, every_point=every_point)
    try:
        day.live()
    except Exception as problem:
        return Told(seed, dict(day.done), "".join(traceback.format_exception(problem)))
    finally:
        databases.drop(name)
    shutil.rmtree(folder, ignore_errors=True)
    return Told(seed, dict(day.done), "")
