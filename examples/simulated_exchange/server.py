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
from typing import TYPE_CHECKING, Any, Literal
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
from .requests_log import LoggedRequest, RequestLog
from .settings import Settings
from .world import World

if TYPE_CHECKING:
    from typing import Self

ExchangeKind = Literal["binance", "bybit"]
_ENGINES: dict[str, type[Binance | Bybit]] = {"binance": Binance, "bybit": Bybit}
_PAGE = "<html><head><title>{status} error</title></head><body><h1>{status} error</h1>nginx</body></html>"


class SimulatedExchange(World):
    """One exchange account behind a URL.

        with SimulatedExchange("binance") as sim:
            client = async_client(sim)
            ...
            sim.set_price("BTC/USDT:USDT", "59000")
            assert sim.ledger.orders[-1].status == "FILLED"

    Every method may be called from any thread.
    """

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
