"""Asking the exchange what an answer left open: an id without a fill, a fill without a fee.

It asks through the bot's own client, on the bot's own loop, looking away from itself (`suppressed`), never while an order
call is under way, and never more often than the user allows. What it hears is a record like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from audit_wrapper import codec
from audit_wrapper.clients import ClientSubject
from audit_wrapper.exchanges import adapter_for, asking
from audit_wrapper.exchanges.numbers import total
from audit_wrapper.failures import Failures
from audit_wrapper.reading import answered
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Action, Call, OrderStatus, Record, Seam
from audit_wrapper.scopes import suppressed
from audit_wrapper.settings import Settings

_TRIES = 6
_LIMIT = 10_000
_DONE = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED})
# rate limits by their ccxt class names: the first sign of one ends the asking for a minute
_TOO_MANY = frozenset({"RateLimitExceeded", "DDoSProtection"})


class Question(msgspec.Struct, frozen=True):
    """One order to ask about, by the id the exchange gave it."""

    exchange: str
    symbol: str  # unified, as the client wants it
    order_id: str
    id_kind: str = "order"  # "algo": a conditional order of Binance


class _Answer(msgspec.Struct, frozen=True):
    """What came of one question. complete: there is no use in asking again soon."""

    heard: bool
    complete: bool = False
    why: str | None = None


class ReconcileReport(msgspec.Struct, frozen=True):
    """What `reconcile()` did. `unanswered` says of each order it could not learn about, why."""

    asked: int
    answered: int
    unanswered: tuple[str, ...] = ()


class Inquirer:
    """Asks about orders, soon after an incomplete answer and on demand."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        failures: Failures,
        subject_of: Callable[[str], ClientSubject | None],
    ) -> None:
        self._recorder = recorder
        self._settings = settings
        self._failures = failures
        self._subject_of = subject_of
        self._open: dict[Question, int] = {}  # how often it was asked already
        self._asked_at: dict[str, deque[float]] = {}
        self._quiet_until: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    # -- soon after an answer

    def after_call(self, record: Record, subject: Any) -> None:
        """On the order path: note what to ask about, and let the loop do it later. Cheap, and never raises."""
        try:
            if record.action not in (Action.PLACE, Action.CANCEL, Action.CLOSE, Action.AMEND):
                return
            if not isinstance(subject, ClientSubject) or not subject.transport or self.closed:
                return
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.ask_after_s, self._consider, record, subject, loop)
        except RuntimeError:
            return  # a synchronous client: `reconcile()` asks when it is called
        except Exception as problem:  # inside a trade
            self._failures.note("asking the exchange", problem)

    def close(self) -> None:
        """Ask no more; nothing of ours stays on the bot's loop."""
        self.closed = True
        for task in list(self._tasks):
            with contextlib.suppress(RuntimeError):  # its loop was closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def _consider(self, record: Record, subject: ClientSubject, loop: asyncio.AbstractEventLoop) -> None:
        if self.closed:
            return
        try:
            question = _question(codec.decode(codec.encode(record)))
        except Exception as problem:  # on the bot's loop: nothing of ours may surface there
            self._failures.note("asking the exchange", problem)
            return
        if question is not None and question not in self._open and len(self._open) < _LIMIT:
            self._open[question] = 0
            task = loop.create_task(self._follow(question), name="audit_wrapper-ask")
            # a bot that closes its loop without cancelling what is on it does not know of this task: no word about it
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._tasks.add(task)
            task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that it was not

    async def _follow(self, question: Question) -> None:
        """Ask until the answer is complete, less and less often."""
        try:
            for attempt in range(_TRIES):
                while self._recorder.under_way or not self._may_ask(question.exchange, 2):
                    await asyncio.sleep(0.05)
                    if self.closed:
                        return
                if (await self._ask(question)).complete:
                    return
                await asyncio.sleep(self._settings.ask_after_s * 2**attempt)
                if self.closed:
                    return
        except Exception as problem:  # on the bot's loop: nothing of ours may surface there
            self._failures.note("asking the exchange", problem)
        finally:
            self._open.pop(question, None)

    # -- on demand

    async def ask_all(self, questions: Iterable[Question]) -> ReconcileReport:
        """Ask about each order once."""
        asked, failed = 0, []
        for question in questions:
            asked += 1
            answer = await self._ask(question)
            if not answer.heard:
                failed.append(f"{question.exchange} {question.symbol} {question.order_id}: {answer.why}")
        return ReconcileReport(asked=asked, answered=asked - len(failed), unanswered=tuple(failed))

    # -- one order

    async def _ask(self, question: Question) -> _Answer:
        """Ask once, and record what was heard."""
        subject = self._subject_of(question.exchange)
        if subject is None:
            return _Answer(heard=False, why="no client of this exchange is wrapped")
        market = subject.market(question.symbol, None)
        if market is not None and market.symbol is not None and market.symbol != question.symbol:
            question = msgspec.structs.replace(question, symbol=market.symbol)
        adapter = adapter_for(question.exchange)
        called_at = datetime.now(UTC)
        try:
            with suppressed():
                orders, trades = await self._fetch(subject.client, adapter, question)
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            names = {cls.__name__ for cls in type(problem).__mro__}
            if names & _TOO_MANY:
                self._quiet_until[question.exchange] = time.monotonic() + 60
            return _Answer(heard=False, why=f"{type(problem).__name__}: {problem}")
        call = Call(
            seam=Seam.RECONCILE,
            target=subject.target,
            method="fetch_order",
            arguments={"id": question.order_id, "symbol": question.symbol, "id_kind": question.id_kind},
        )
        self._recorder.reconciled(subject.exchange, call, market, {"orders": orders, "trades": trades}, called_at)
        if not orders:
            return _Answer(heard=False, why="the exchange does not know it (yet)")
        return _Answer(heard=True, complete=_is_complete(adapter, orders[0], trades))

    async def _fetch(
        self, client: Any, adapter: Any, question: Question
    ) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        self._count(question.exchange)
        order = await _result(
            client.fetch_order(
                question.order_id, question.symbol, asking.order_params(question.exchange, question.id_kind)
            )
        )
        orders = [order] if isinstance(order, Mapping) else []
        state = adapter.order_state(orders[0]) if orders else None
        traded_as = asking.executed_as(question.exchange, orders[0]) if orders else None
        if state is None or traded_as is None or (state.order_status is OrderStatus.NEW and not state.filled_quantity):
            return orders, []
        self._count(question.exchange)
        found = await _result(
            client.fetch_my_trades(
                question.symbol,
                None,
                asking.trades_limit(question.exchange),
                asking.trades_params(question.exchange, traded_as),
            )
        )
        trades = [t for t in found or () if isinstance(t, Mapping) and str(t.get("order")) == traded_as]
        return orders, trades

    def _may_ask(self, exchange: str, requests: int) -> bool:
        now = time.monotonic()
        if now < self._quiet_until.get(exchange, 0):
            return False
        recent = self._asked_at.setdefault(exchange, deque())
        while recent and recent[0] < now - 60:
            recent.popleft()
        return len(recent) + requests <= self._settings.ask_per_minute

    def _count(self, exchange: str) -> None:
        self._asked_at.setdefault(exchange, deque()).append(time.monotonic())


def _question(record: Record) -> Question | None:
    """What to ask about after this outcome; None where it says all there is."""
    from audit_wrapper.routing import TARGET, mentions

    market = record.market
    if market is None or market.symbol is None:
        return None
    for mention in mentions(record):
        named = next((a for a in mention.aliases if a.kind in ("order", "algo")), None)
        if named is None or mention.part == "replaced":
            continue
        state = answered(record)
        done = state is not None and state.order_status in _DONE and state.filled_quantity == 0
        resting = state is not None and state.order_status is OrderStatus.NEW and mention.part != TARGET
        if done or resting:
            continue
        return Question(named.exchange, market.symbol, named.value, named.kind)
    return None


def _is_complete(adapter: Any, order: Mapping[str, Any], trades: list[Mapping[str, Any]]) -> bool:
    """Whether asking again can tell nothing more about what was executed up to now."""
    state = adapter.order_state(order)
    executed = total([fill.quantity for fill in map(adapter.fill, trades) if fill.quantity is not None])
    if adapter.child_order_id(order) is not None:  # a conditional order that fired: its child's fills tell
        return state.quantity is not None and executed >= state.quantity
    if state.filled_quantity:
        return executed >= state.filled_quantity and state.order_status is not OrderStatus.PARTIALLY_FILLED
    return state.order_status is not None


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
