"""One seeded day of trading on a simulated exchange, and whether trail and books are equal at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
for folder in (EXAMPLES, EXAMPLES / "bot"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import asyncpg  # noqa: E402
from core.exchange_manager import ExchangeManager  # noqa: E402
from simulated_exchange import (  # noqa: E402
    CLIENT_IDS,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    RateLimited,
    SimulatedExchange,
    async_client,
)

from audit_wrapper import AuditTrail, codec  # noqa: E402
from audit_wrapper.records import Record  # noqa: E402
from audit_wrapper.store.memory import MemoryStore  # noqa: E402
from audit_wrapper.testing import MemoryTrail, memory_trail  # noqa: E402
from tests.days.checks import Checks, Tables, differences  # noqa: E402
from tests.days.clock import one_clock  # noqa: E402
from tests.days.trader import Trader  # noqa: E402
from tests.days.truth import Truth  # noqa: E402

_LONGEST_DAY_S = 60.0
KINDS = ("binance", "bybit")
_MANAGER_LOGS = ("core.exchange_manager", "core.stop_loss_manager", "core.stop_orders", "core.rate_limiter", "asyncio")


@dataclass(frozen=True)
class Told:
    """How a day ended. problem: None, or what differed."""

    seed: int
    losing: bool
    kind: str
    problem: str | None = None
    counts: Counter[str] = field(default_factory=Counter)


def one_day(seed: int, losing: bool = False, dsn: str | None = None, compare: bool = False) -> Told:
    """The day of this seed. losing: most order calls lose their answer. dsn: an empty database for the trail; None: a
    trail in memory. compare: once more without a trail, to see that the bot sent the same."""
    kind, counts = KINDS[seed % 2], Counter[str]()
    try:
        with _in_silence():
            wrong, with_trail = asyncio.run(_day(seed, kind, losing, counts, dsn))
            if compare and not wrong:
                _, without = asyncio.run(_day(seed, kind, losing, Counter(), None, with_trail=False))
                wrong = list(differences(without, with_trail))
                counts["compared with a day without a trail"] += 1
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        wrong = ["the day broke off: " + traceback.format_exc()]
    counts["days"] += 1
    counts[f"days on {kind}"] += 1
    if not wrong:
        return Told(seed, losing, kind, None, counts)
    more = f"\n  ... and {len(wrong) - 12} more" if len(wrong) > 12 else ""
    way = " --losing" if losing else ""
    text = f"SEED {seed} ({kind}{way}):\n  " + "\n  ".join(wrong[:12]) + more
    return Told(seed, losing, kind, text + f"\n  again: python -m tests.days --seed {seed}{way}", counts)


@contextmanager
def _in_silence() -> Iterator[None]:
    """What goes wrong on such a day is not worth a log."""
    loggers = [logging.getLogger(name) for name in (*_MANAGER_LOGS, "audit_wrapper")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


async def _day(
    seed: int, kind: str, losing: bool, counts: Counter[str], dsn: str | None, *, with_trail: bool = True
) -> tuple[list[str], list[Any]]:
    """The sentences of what differs, and all that the bot sent and saw."""
    async with asyncio.timeout(_LONGEST_DAY_S):
        return await _one(seed, kind, losing, counts, dsn, with_trail=with_trail)


async def _one(
    seed: int, kind: str, losing: bool, counts: Counter[str], dsn: str | None, *, with_trail: bool
) -> tuple[list[str], list[Any]]:
    rng = random.Random(f"{seed} {losing}")
    with SimulatedExchange(kind) as sim:  # type: ignore[arg-type]
        page_limit = _set_up(rng, sim)
        truth = Truth(sim)
        clients = [async_client(sim) for _ in range(rng.choice([1, 1, 1, 2]))]
        stamping = rng.random() < 0.15
        skew_ms = rng.randint(-2_500, 800)
        pushing = rng.choice(["none", "none", "all", "some", "twice", "shuffled"])
        try:
            for client in clients:
                await client.load_markets()
            manager = ExchangeManager(kind, {"client": clients[0], "retry_delay_seconds": 0.001, "max_retries": 2})
            await manager.initialize()
            if not with_trail:
                trader = Trader(
                    rng, sim, truth, manager, clients, losing=losing, scope=lambda *_: contextlib.nullcontext()
                )
                for _ in range(rng.randint(40, 80)):
                    await trader.step()
                    rng.random()  # as a day with a trail
                return [], _sent(sim, trader)
            async with _trail(dsn, stamping) as trail:
                with one_clock(sim, trail, skew_ms, page_limit):
                    manager = trail.wrap({kind: manager})[kind]
                    for client in clients:
                        trail.wrap(client)

                    def scope(position: str, _: str) -> AbstractContextManager[Any]:
                        return trail.position(id=position)

                    trader = Trader(rng, sim, truth, manager, clients, losing=losing, scope=scope)
                    day = _Day(sim, truth, trail, trader, counts, dsn, pushing, random.Random(seed))
                    for _ in range(rng.randint(40, 80)):
                        await trader.step()
                        await day.between(rng.random())
                    sent = _sent(sim, trader)
                    wrong = await day.end()
                    counts.update(trader.done)
                    return wrong, [] if stamping else sent
        finally:
            for client in clients:
                await client.close()


def _sent(sim: SimulatedExchange, trader: Trader) -> list[Any]:
    writes = [item.without(CLIENT_IDS) for item in sim.requests.writes()]
    return [repr(_without_ids(one)) for one in writes] + trader.saw


def _without_ids(request: tuple[str, str, dict[str, Any]]) -> Any:
    import re

    return re.sub(r"x-[A-Za-z0-9]{8}[0-9a-f]{22}", "x-...", repr(request))


def _set_up(rng: random.Random, sim: SimulatedExchange) -> int | None:
    """How this day's exchange behaves. Returns how many rows one page has."""
    sim.set_balance("USDT", "50000000")
    for coin in ("MNT", "ETH", "BNB"):
        sim.set_balance(coin, "100000")
    sim.split_fills = rng.choice([1, 1, 2, 3])
    sim.slippage_ticks = rng.choice([0, 1, 3])
    sim.fee_currency = rng.choice(["USDT", "USDT", "mixed", "BNB" if sim.kind == "binance" else "MNT"])
    sim.fee_delay = rng.random() < 0.15
    if rng.random() < 0.2:
        sim.maker_rate = Decimal("-0.0001")
    sim.index_delay_ms = rng.choice([0, 0, 0, 1_000, -1])
    # Binance pages by time, and one call of the bot may leave thirty rows in one millisecond
    page_limit = rng.choice([None, None, None, *((3, 7, 20) if sim.kind == "bybit" else (50, 100))])
    sim.page_limit = page_limit
    return page_limit


@asynccontextmanager
async def _trail(dsn: str | None, stamping: bool) -> AsyncIterator[AuditTrail]:
    if dsn is None:
        async with memory_trail(stamp_client_order_id=stamping) as trail:
            yield trail
        return
    with tempfile.TemporaryDirectory(prefix="audit-days-") as folder:
        settings: dict[str, Any] = {"ask_exchange": "off", "ask_per_minute": 6_000, "delivery_pause_s": 0.005}
        async with AuditTrail.open(dsn, journal=folder, stamp_client_order_id=stamping, **settings) as trail:
            yield trail


class _Day:
    """What the trail does in between, and the end of the day. `own`: chances that touch nothing that the bot does."""

    def __init__(
        self,
        sim: SimulatedExchange,
        truth: Truth,
        trail: AuditTrail,
        trader: Trader,
        counts: Counter[str],
        dsn: str | None,
        pushing: str,
        own: random.Random,
    ) -> None:
        self.sim, self.truth, self.trail, self.trader, self.counts, self.own = sim, truth, trail, trader, counts, own
        self.dsn, self.pushing = dsn, pushing
        self.began = self.now() - timedelta(minutes=1)
        self._pushed = 0
        self._kept: list[Any] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.sim.now() / 1000, UTC)

    async def between(self, chance: float) -> None:
        """After a step: what the exchange pushed is handed in, and now and then it is asked."""
        self._push(self.own.random() < 0.1)
        if chance < 0.04:
            await self._reconcile(mishap=chance < 0.015, span=self.own.random() < 0.3)

    def _push(self, flush: bool) -> None:
        if self.pushing == "none":
            return
        new = self.sim.messages(self._pushed)
        if new:
            self._pushed = new[-1]["number"]
        messages = [one["message"] for one in new]
        if self.pushing == "some":
            messages = [one for one in messages if self.own.random() < 0.6]
        if self.pushing == "shuffled":
            self._kept += messages
            if not flush:
                return
            messages, self._kept = self._kept, []
            self.own.shuffle(messages)
        for message in messages * (2 if self.pushing == "twice" else 1):
            if not self.trail.observe(self.sim.kind, message):
                self.counts["messages not understood"] += 1
            self.counts["messages observed"] += 1

    async def _reconcile(self, *, mishap: bool = False, span: bool = False) -> Any:
        reads = len(self.sim.requests)
        if mishap:
            fault = self.own.choice([RateLimited(), HttpPage(502), LoseAnswer(), MalformedAnswer(), HttpPage(504)])
            self.sim.next("read", fault, self.own.choice([1, 1, 4]))
        try:
            until = self.now() + timedelta(seconds=5)
            report = await self.trail.reconcile(since=self.began if span else None, until=until if span else None)
        finally:
            self.sim.faults.clear()
            self._forget_rate_limit()
        self.counts["requests of asking"] += len(self.sim.requests) - reads
        self.counts["reconciliations"] += 1
        return report

    def _forget_rate_limit(self) -> None:
        inquirer: Any = self.trail._inquiry.inquirer
        inquirer._paces.clear()

    async def end(self) -> list[str]:
        """Everything is asked for and compared. Returns what differs."""
        self._push(True)
        self.sim.settle_fees()
        self.sim.index_delay_ms = 0
        self.sim.advance(600_000)
        self.sim.index_now()
        wrong: list[str] = []
        report = await self._reconcile(span=True)
        for _ in range(2):  # absence counts when it was looked for twice
            if report.unsettled or report.unanswered:
                self.sim.advance(180_000)
                report = await self._reconcile(span=True)
        for sentence in report.unanswered:
            wrong.append(f"unanswered: {sentence}")
        if self.trail.status().failures:
            wrong.append(f"failures of the trail: {self.trail.status().failures}")
        tables = await self._tables()
        checks = Checks(self.sim, self.truth, tables, report.unsettled)
        checks.run()
        wrong += checks.wrong
        await self._reconcile(span=True)
        after = await self._tables()
        for record in after.records[len(tables.records) :]:
            wrong.append(
                f"one more reconciliation added a record: {record.kind} {record.reason} {str(record.result)[:300]}"
            )
        wrong += await self._statement(checks)
        self._count(tables, checks)
        return wrong

    async def _statement(self, checks: Checks) -> list[str]:
        said = await self.trail.completeness(self.began, self.now() + timedelta(seconds=5))
        wrong = [f"completeness: missing {one}" for one in said.missing]
        wrong += [f"completeness: extra {one}" for one in said.extra]
        wrong += [f"completeness: different {one}" for one in said.different]
        wrong += [f"completeness: unasked {one}" for one in said.unasked]
        wrong += [f"completeness: unshown {one}" for one in said.unshown]
        open_ones = {str(row.order_key) for row in [*checks.ambiguous, *checks.never_were]}
        for question in said.open_questions:
            if question.order_key not in open_ones:
                wrong.append(f"completeness: open question {question}")
        self.counts["complete statements" if said.complete else "statements with open questions"] += 1
        return wrong

    async def _tables(self) -> Tables:
        if isinstance(self.trail, MemoryTrail):
            trail = self.trail
            placing = {key: p.placing for key, p in trail._memory._projected.items()}
            return Tables(trail.orders, trail.trades, trail.fills, trail.funding, trail.records, placing)
        report = await self.trail.flush(30)
        assert report.complete, report
        journal = self.trail._pipeline.journal
        entries = journal.read(0, 1_000_000, 1 << 40)
        records: list[Record] = [codec.decode(entry.payload) for entry in entries]
        store = MemoryStore()
        store.take(journal.stream, entries, records)
        placing = {key: p.placing for key, p in store._projected.items()}
        connection = await asyncpg.connect(self.dsn)
        try:

            async def rows(query: str) -> list[Any]:
                return [SimpleNamespace(**dict(row)) for row in await connection.fetch(query)]

            return Tables(
                await rows("SELECT * FROM monitoring.orders WHERE order_key IS NOT NULL ORDER BY created_at, id"),
                await rows("SELECT * FROM monitoring.trades WHERE order_key IS NOT NULL ORDER BY executed_at, id"),
                await rows("SELECT * FROM audit.fills"),
                await rows("SELECT * FROM audit.funding"),
                records,
                placing,
            )
        finally:
            await connection.close()

    def _count(self, tables: Tables, checks: Checks) -> None:
        ledger = self.sim.ledger
        self.counts["orders"] += len(checks.orders)
        self.counts["fills"] += len(ledger.fills)
        self.counts["funding payments"] += len(ledger.fundings)
        self.counts["stops fired"] += sum(
            order.kind != "order" and bool(ledger.executed(order).filled_quantity) for order in ledger.orders
        )
        self.counts["orders by hand"] += sum(order.details.get("by") == "hand" for order in ledger.orders)
        for row in tables.orders:
            if row.found_by:
                self.counts[f"found by {row.found_by}"] += 1
        self.counts["still UNKNOWN, ambiguous"] += len(checks.ambiguous)
        self.counts["not known for the bot's own, amended"] += len(checks.unrecognised)
        self.counts["orders by hand taken for alike ones of the bot"] += len(checks.taken_for_ours)
        self.counts["stops of entries that never filled"] += len(checks.never_were)
        self.counts["records"] += len(tables.records)
