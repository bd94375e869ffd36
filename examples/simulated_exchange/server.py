"""The exchange as a program: an HTTP server on loopback, on a thread and event loop of its own.

A bot's event loop never shares a thread with it, so a blocked bot cannot block the exchange, nor the other
way round.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web

from .binance import Binance
from .bybit import Bybit
from .control import add_control_routes
from .engine import Answer, Call, Engine, Refusal
from .faults import (
    Delay,
    DropRequest,
    Fault,
    FaultScript,
    Hold,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    RateLimited,
    Reject,
)
from .instruments import Instrument
from .ledger import Fill, Funding, Ledger, Order
from .others import close_by_force, correct_fee, fund, place_by_hand
from .requests_log import LoggedRequest, RequestLog
from .settings import PartialFill, Settings

if TYPE_CHECKING:
    from typing import Self

ExchangeKind = Literal["binance", "bybit"]
_ENGINES: dict[str, type[Binance | Bybit]] = {"binance": Binance, "bybit": Bybit}
_PAGE = "<html><head><title>{status} error</title></head><body><h1>{status} error</h1>nginx</body></html>"
T = TypeVar("T")


class _Setting(Generic[T]):
    """`sim.split_fills` reads and writes `sim.settings.split_fills`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: SimulatedExchange, owner: type | None = None) -> T:
        value: T = getattr(instance.settings, self._name)
        return value

    def __set__(self, instance: SimulatedExchange, value: T) -> None:
        setattr(instance.settings, self._name, value)


class _IndexDelay(_Setting[int]):
    """Going over to -1 keeps in sight what was."""

    def __set__(self, instance: SimulatedExchange, value: int) -> None:
        with instance.engine.books():
            instance.engine.visibility.set_delay(value)


class SimulatedExchange:
    """One exchange account behind a URL.

        with SimulatedExchange("binance") as sim:
            client = async_client(sim)
            ...
            sim.set_price("BTC/USDT:USDT", "59000")
            assert sim.ledger.orders[-1].status == "FILLED"

    Every method may be called from any thread.
    """

    split_fills = _Setting[int]()
    slippage_ticks = _Setting[int]()
    fee_currency = _Setting[str]()
    bnb_price = _Setting[Decimal]()
    taker_rate = _Setting[Decimal]()
    maker_rate = _Setting[Decimal]()
    clock_offset_ms = _Setting[int]()
    check_requests = _Setting[bool]()
    fee_delay = _Setting[bool]()
    page_limit = _Setting[int | None]()
    index_delay_ms = _IndexDelay()
    forget_after_ms = _Setting[int | None]()

    def __init__(
        self, kind: ExchangeKind, *, host: str = "127.0.0.1", port: int = 0, start_time_ms: int | None = None
    ) -> None:
        """start_time_ms: where the exchange's clock begins; None is now."""
        self.kind = kind
        self.settings = Settings()
        self.engine: Engine = _ENGINES[kind](self.settings, start_time_ms)
        self.faults = FaultScript(self.engine.actions)
        self.requests = RequestLog()
        self.holds: dict[int, Hold] = {}
        self.stopping = threading.Event()
        self._host, self._port = host, port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    # --- start and stop ---

    def start(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"simulated {self.kind}", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            raise RuntimeError("the simulated exchange could not start") from self._failure
        return self

    def stop(self) -> None:
        self.stopping.set()
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def _run(self, ready: threading.Event) -> None:
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0)
        try:
            loop.run_until_complete(runner.setup())
            site = web.TCPSite(runner, self._host, self._port)
            loop.run_until_complete(site.start())
            self._port = runner.addresses[0][1]
        except OSError as error:
            self._failure = error
            return
        finally:
            ready.set()
        try:
            loop.run_forever()
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(runner.cleanup())
            loop.close()

    # --- the market and the account ---

    @property
    def ledger(self) -> Ledger:
        return self.engine.ledger

    def instrument(self, symbol: str) -> Instrument:
        found = self.ledger.find_instrument(symbol)
        if found is None:
            raise KeyError(f"{self.kind} lists no {symbol!r}")
        return found

    def price(self, symbol: str) -> Decimal:
        return self.engine.prices[self.instrument(symbol)]

    def set_price(self, symbol: str, price: Decimal | str) -> None:
        """Move the market: stops, trailing stops, take-profits and resting limits that are reached act at
        once.

        On Bybit `MNT/USDT` is the spot pair; `MNTUSDT` and `MNT/USDT:USDT` are the perpetual.
        """
        with self.engine.books():
            self.engine.set_price(self.instrument(symbol), Decimal(price))

    def set_balance(self, coin: str, amount: Decimal | str) -> None:
        with self.engine.books():
            self.ledger.balances[coin] = Decimal(amount)

    def complete(self, order_id: str, symbol: str | None = None, quantity: Decimal | str | None = None) -> None:
        """Fill the rest of a working order, or `quantity` of it. Takes either side's order id."""
        with self.engine.books():
            order = self.ledger.find_order(order_id, symbol)
            self.engine.complete(order, None if quantity is None else Decimal(quantity))

    def expire(self, order_id: str, symbol: str | None = None) -> None:
        """End a working order from the exchange's side, as an IOC remainder ends."""
        with self.engine.books():
            self.engine.finish(self.ledger.find_order(order_id, symbol), self.engine.remainder_status)

    def partial_fill(self, fraction: Decimal | str, remainder: Literal["rest", "expire"] = "rest") -> None:
        """The next taker order fills only this share. Its remainder stays open, or expires."""
        self.engine.partial_fills.append(PartialFill(Decimal(fraction), remainder))

    def reported_average(self, order: Order) -> Decimal | None:
        """An order's average price with the digits the exchange shows; None before the first fill."""
        with self.engine.books():
            return self.engine.reported_average(order)

    # --- the clock and what is shown by when ---

    def now(self) -> int:
        """The exchange's clock: milliseconds since the epoch."""
        with self.engine.books():
            return self.engine.now()

    def advance(self, milliseconds: int) -> None:
        """Move the exchange's clock forward. Clients keep their own: their requests stay in time."""
        with self.engine.books():
            self.engine.clock.advance(milliseconds)

    def stop_clock(self) -> None:
        """All that follows happens in one millisecond, until `advance` or `start_clock`."""
        with self.engine.books():
            self.engine.clock.stop()

    def start_clock(self) -> None:
        with self.engine.books():
            self.engine.clock.go_on()

    def index_now(self) -> None:
        """With `index_delay_ms = -1`: show all that has happened so far."""
        with self.engine.books():
            self.engine.visibility.index_now()

    def messages(self, since: int = 0) -> list[dict[str, Any]]:
        """The user-data stream: [{"number": 1, "message": {...}}], those after number `since`."""
        with self.engine.books():
            return self.engine.messages.since(since)

    # --- what the bot did not do ---

    def trade_by_hand(
        self,
        symbol: str,
        side: str,
        quantity: Decimal | str | int,
        type: Literal["market", "limit"] = "market",
        price: Decimal | str | None = None,
        trigger_price: Decimal | str | None = None,
        client_order_id: str = "",
        reduce_only: bool = False,
    ) -> Order:
        """Place an order as a person in the exchange's app; with a trigger price a conditional one."""
        if (type == "limit") != (price is not None):
            raise ValueError("a limit order has a price, a market order has none")
        wanted = Order(
            instrument=self.instrument(symbol),
            side=side,
            type=type,
            quantity=Decimal(quantity),
            limit_price=None if price is None else Decimal(price),
            trigger_price=None if trigger_price is None else Decimal(trigger_price),
            client_order_id=client_order_id,
            reduce_only=reduce_only,
        )
        with self.engine.books():
            return place_by_hand(self.engine, wanted)

    def cancel_by_hand(self, order_id: str, symbol: str | None = None) -> None:
        with self.engine.books():
            self.engine.cancel_by_hand(self.ledger.find_order(order_id, symbol))

    def liquidate(self, symbol: str, fraction: Decimal | str | int = 1) -> Order:
        """The exchange closes a position, or a share of it (rounded down to the quantity step)."""
        item = self.instrument(symbol)
        with self.engine.books():
            wanted = abs(self.ledger.position(item).quantity) * Decimal(fraction)
            return close_by_force(self.engine, item, wanted // item.step * item.step, "liquidation")

    def deleverage(self, symbol: str, quantity: Decimal | str | int) -> Order:
        """The exchange takes `quantity` of a position to close another's."""
        with self.engine.books():
            return close_by_force(self.engine, self.instrument(symbol), Decimal(quantity), "auto_deleveraging")

    def fund(self, symbol: str, rate: Decimal | str) -> Funding:
        """A funding payment on the open position; rate 0.0001 is 0.01%, which a long pays."""
        with self.engine.books():
            return fund(self.engine, self.instrument(symbol), Decimal(rate))

    def settle_fees(self) -> None:
        """Show the fees that `fee_delay` held back."""
        with self.engine.books():
            self.engine.unsettled.clear()

    def correct_fee(self, trade_id: str, symbol: str, amount: Decimal | str, currency: str | None = None) -> Fill:
        with self.engine.books():
            return correct_fee(self.engine, self.instrument(symbol), trade_id, Decimal(amount), currency)

    # --- the fault script ---

    def next(self, on: str, fault: Fault, times: int = 1) -> None:
        """Let `fault` happen to the next request that fits `on` (see `faults`)."""
        self.faults.append(on, fault, times)

    def hold(self, on: str, before: bool = False) -> Hold:
        """Hold the next request that fits: after the exchange took it, or `before` it did."""
        hold = Hold(before)
        self.faults.append(on, hold)
        return hold

    # --- HTTP ---

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=2**24)
        add_control_routes(application, self)
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = await _read(request)
        logged = LoggedRequest(call.method, call.path, call.params, received_at=time.time_ns())
        self.requests.append(logged)
        fault = self.faults.take(logged)
        if isinstance(fault, Hold) and fault.before:
            await fault.wait()
        if isinstance(fault, Delay) and fault.before:
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, DropRequest):
            logged.outcome = "not taken"
            return _cut(request)
        if isinstance(fault, HttpPage) and not fault.taken:
            logged.outcome = "not taken"
            return self._respond(logged, _PAGE.format(status=fault.status), fault.status, "text/html")
        answer = self._act(call, logged, fault)
        text = json.dumps(answer.payload)
        if isinstance(fault, Hold) and not fault.before:
            await fault.wait()
        if isinstance(fault, Delay) and not fault.before:
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, LoseAnswer):
            logged.outcome, logged.status, logged.answer = "answer lost", answer.status, text
            return await _cut_inside(request, text) if fault.headers_sent else _cut(request)
        if isinstance(fault, HttpPage):
            return self._respond(logged, _PAGE.format(status=fault.status), fault.status, "text/html")
        if isinstance(fault, MalformedAnswer):
            return self._respond(logged, fault.text, answer.status)
        return self._respond(logged, text, answer.status)

    def _act(self, call: Call, logged: LoggedRequest, fault: Fault | None) -> Answer:
        """Let the exchange handle the request, or refuse it as the script says."""
        try:
            if isinstance(fault, RateLimited):
                status, code, words = self.engine.rate_limit_refusal()
                refused = self.engine.refusal_answer(Refusal(code, words), call)
                return Answer(refused.payload, status)
            if isinstance(fault, Reject):
                with self.engine.books():
                    raise Refusal(fault.code, fault.words, self.engine.draft(call))
            answer = self.engine.handle(call)
        except Refusal as refusal:
            if refusal.order is not None:
                with self.engine.books():
                    self.engine.record_refusal(refusal.order, refusal.code, refusal.words)
            return self.engine.refusal_answer(refusal, call)
        logged.taken = True
        return answer

    def _respond(
        self, logged: LoggedRequest, text: str, status: int, content_type: str = "application/json"
    ) -> web.Response:
        logged.outcome = "answered" if logged.outcome == "open" else logged.outcome
        logged.status, logged.answer = status, text
        return web.Response(text=text, status=status, content_type=content_type)


async def _read(request: web.Request) -> Call:
    """Query and body as one dict. Numbers in a JSON body keep their digits."""
    body = await request.text()
    query = request.rel_url.raw_query_string
    params: dict[str, Any] = dict(request.query)
    if body.startswith("{"):
        params.update(json.loads(body, parse_float=Decimal))
    elif body:
        params.update(parse_qsl(body, keep_blank_values=True))
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(request.method, request.path, params, headers, body or query)


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _cut_inside(request: web.Request, text: str) -> web.StreamResponse:
    """Send the headers and half of the body, then close the connection."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(text)
    await response.prepare(request)
    await response.write(text[: len(text) // 2].encode())
    # Let the first half leave before the connection goes.
    await asyncio.sleep(0.01)
    return _cut(request)
