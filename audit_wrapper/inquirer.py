"""When the exchange is asked: soon after an answer that left something open, at the start, and from time to time.

On the bot's own loop, and only what does not hold it up: the asking is the client's own, the database is read on a thread
of its own. Nothing of ours may surface on that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple

from audit_wrapper import codec, routing
from audit_wrapper.asking import Asker, Heard, Pace
from audit_wrapper.clients import ClientSubject
from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.numbers import total
from audit_wrapper.failures import Failures
from audit_wrapper.gathering import Gathered
from audit_wrapper.reading import answered
from audit_wrapper.reconcile import ReconcileReport
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Action, OrderStatus, Record, RecordKind
from audit_wrapper.scopes import asking
from audit_wrapper.settings import Settings

_TRIES = 6
_LIMIT = 100  # orders followed at a time; the sweeps see to the others
_DONE = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED})
_PLACES = frozenset({Action.PLACE, Action.CLOSE, Action.SET_STOPS})
_LEAVES_SOMETHING = _PLACES | {Action.CANCEL, Action.AMEND}


class Question(NamedTuple):
    """One order to ask about, by the id the exchange gave it."""

    exchange: str
    symbol: str
    order_id: str
    id_kind: str


class Inquirer:
    """Asks by itself. `write` records what was heard of an order; `sweep` reconciles all that is incomplete."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        failures: Failures,
        write: Callable[[ClientSubject, Gathered], None],
        sweep: Callable[[], Awaitable[ReconcileReport]],
    ) -> None:
        self._recorder = recorder
        self._settings = settings
        self._failures = failures
        self._write = write
        self._sweep = sweep
        self._paces: dict[str, Pace] = {}
        self._following: set[Question] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that is swept on
        self._sweeping: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None  # what the sweeping waits for
        self.closed = False

    @property
    def requests(self) -> dict[str, int]:
        """What was asked of each exchange so far."""
        return {exchange: pace.turns for exchange, pace in list(self._paces.items())}

    def asker(self, subject: ClientSubject, *, patience_s: float | None = None) -> Asker:
        """Asks this client, at the pace of its exchange. patience_s: as of `Asker`."""
        exchange = subject.exchange or ""
        pace = self._paces.get(exchange)
        if pace is None:
            pace = Pace(self._settings.ask_per_minute, lambda: self._recorder.under_way > 0)
            self._paces[exchange] = pace
        return Asker(subject.client, exchange, pace, patience_s=patience_s, look_away=asking)

    def close(self) -> None:
        """Ask no more; nothing of ours stays on the bot's loop."""
        self.closed = True
        for pace in self._paces.values():
            pace.close()
        for task in list(self._tasks):
            with contextlib.suppress(RuntimeError):  # its loop was closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    # -- on the order path

    def after_call(self, record: Record, subject: Any) -> None:
        """Note what to ask about, and let the loop do it later. Cheap, and never raises."""
        try:
            if record.action not in _LEAVES_SOMETHING or self.closed:
                return
            if not isinstance(subject, ClientSubject) or not subject.asynchronous:
                return  # of a synchronous client `reconcile()` asks when it is called
            loop = asyncio.get_running_loop()
            # in a context of its own: what is asked then is not within the call that ends now
            loop.call_later(self._settings.ask_after_s, self._consider, record, subject, loop, context=Context())
        except RuntimeError:
            return
        except Exception as problem:  # inside a trade
            self._failures.note("asking the exchange", problem)

    def client_used(self, subject: Any) -> None:
        """A client was used on the loop that runs now: what was left open before this run is asked about on it."""
        if self.closed or not isinstance(subject, ClientSubject) or not subject.asynchronous:
            return
        sweeps = self._sweeping is not None and not self._sweeping.done()
        if subject.loop is not None and sweeps and self._loop is not None and self._loop.is_running():
            return
        try:
            loop = subject.loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if not sweeps or self._loop is None or not self._loop.is_running():
            self._loop = loop
            self._sweeping = self._spawn(self._keep_sweeping(loop), loop)

    # -- on the bot's loop

    def _consider(self, record: Record, subject: ClientSubject, loop: asyncio.AbstractEventLoop) -> None:
        if self.closed:
            return
        try:
            whole = codec.decode(codec.encode(record))
            question = _question(whole)
            if self._wake is not None and loop is self._loop and _leaves_no_id(whole):
                _end(self._wake)
        except Exception as problem:  # on the bot's loop: nothing of ours may surface there
            self._failures.note("asking the exchange", problem)
            return
        if question is not None and question not in self._following and len(self._following) < _LIMIT:
            self._following.add(question)
            self._spawn(self._follow(question, subject), loop)

    def _spawn(self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        task = loop.create_task(work, name="audit_wrapper-ask", context=Context())
        # a bot that closes its loop without cancelling what is on it does not know of this task: no word about it
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that it was not

    async def _follow(self, question: Question, subject: ClientSubject) -> None:
        """Ask about one order until the answer is complete, less and less often."""
        try:
            for attempt in range(_TRIES):
                heard = await self.asker(subject).order(question.symbol, question.order_id, id_kind=question.id_kind)
                if self.closed:
                    return
                gathered = Gathered(subject)
                gathered.take(heard)
                self._write(subject, gathered)
                if _is_complete(question, heard):
                    return
                await asyncio.sleep(self._settings.ask_after_s * 2**attempt)
        except Exception as problem:
            self._failures.note("asking the exchange", problem)
        finally:
            self._following.discard(question)

    async def _keep_sweeping(self, loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.sleep(self._settings.ask_after_s)
        while not self.closed:
            self._wake = loop.create_future()
            try:
                await self._sweep()
            except StoreUnavailable:
                pass  # delivery says so; the next sweep may reach it
            except Exception as problem:
                self._failures.note("asking the exchange", problem)
            # not `wait_for`: it makes a task, of which a loop that is closed without a word would speak
            timer = loop.call_later(self._settings.ask_every_s, _end, self._wake)
            try:
                await self._wake
            finally:
                timer.cancel()


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _leaves_no_id(record: Record) -> bool:
    """Whether something was placed, or may have been, of which the answer names no id."""
    if record.action not in _PLACES:
        return False
    if record.kind is RecordKind.OUTCOME_UNKNOWN:
        return True
    made = [mention for mention in routing.mentions(record) if mention.part not in (routing.REPLACED, routing.TARGET)]
    return any(all(alias.kind == "intent" for alias in mention.aliases) for mention in made)


def _question(record: Record) -> Question | None:
    """What to ask about after this outcome; None where it says all there is."""
    market = record.market
    if market is None or market.symbol is None:
        return None
    for mention in routing.mentions(record):
        named = next((a for a in mention.aliases if a.kind in ("order", "algo")), None)
        if named is None or mention.part == routing.REPLACED:
            continue
        state = answered(record)
        done = state is not None and state.order_status in _DONE and state.filled_quantity == 0
        resting = state is not None and state.order_status is OrderStatus.NEW and mention.part != routing.TARGET
        if done or resting:
            continue
        return Question(named.exchange, market.symbol, named.value, named.kind)
    return None


def _is_complete(question: Question, heard: Heard) -> bool:
    """Whether asking again can tell nothing more about what was executed up to now."""
    adapter = adapter_for(question.exchange)
    states = [adapter.order_state(order) for order in heard.orders]
    if not states:
        return False
    executed = total([fill.quantity for fill in map(adapter.fill, heard.trades) if fill.quantity is not None])
    if adapter.child_order_id(heard.orders[0]) is not None and len(states) < 2:
        return False
    last = states[-1]  # of a conditional order that fired: what it became
    if last.filled_quantity:
        return executed >= last.filled_quantity and last.order_status is not OrderStatus.PARTIALLY_FILLED
    return last.order_status is not None
