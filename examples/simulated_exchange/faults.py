"""The fault script: what goes wrong with the next request of a kind.

A test queues faults with `SimulatedExchange.next(on, fault)`. `on` names what the fault waits for:

* an action, in words both exchanges share: "create", "stop", "cancel", "cancel_all", "amend", "batch";
* "write" for any request that places, changes or cancels orders; "read" for any GET; "any" for any request;
* "METHOD /path" with shell wildcards, for example "GET /fapi/v*/positionRisk" or "* /v5/order/*".

The first queued fault that fits a request is used up by it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .requests_log import LoggedRequest


@dataclass(frozen=True)
class Reject:
    """The exchange refuses with its own code and words; a refused order goes into the ledger as REJECTED."""

    code: int
    words: str


@dataclass(frozen=True)
class LoseAnswer:
    """The exchange acts, then the connection is cut. headers_sent: cut in the middle of the answer's body
    instead.

    aiohttp repeats a GET, PUT or DELETE by itself when a kept-alive connection is cut before any answer came,
    and ccxt does not see it: for a cancel on Binance queue this twice, or expect a second request in the log.
    """

    headers_sent: bool = False


@dataclass(frozen=True)
class DropRequest:
    """The connection is cut before the exchange acts: nothing was taken."""


@dataclass(frozen=True)
class Delay:
    """The answer comes late. before: the exchange itself acts late as well."""

    seconds: float
    before: bool = False


@dataclass(frozen=True)
class HttpPage:
    """A gateway answers with an HTML page. taken: the exchange had acted before the gateway gave up."""

    status: int = 502
    taken: bool = False


@dataclass(frozen=True)
class RateLimited:
    """The exchange's own "too many requests"; nothing was taken."""


@dataclass(frozen=True)
class MalformedAnswer:
    """The exchange acts, then its answer is not JSON."""

    text: str = '{"orderId": 12'


@dataclass
class Hold:
    """The request waits until `release()`.

    `reached` is set when it has arrived and, unless `before`, the exchange has acted on it.
    """

    before: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let the request go on. Safe from any thread, also before it has arrived."""
        self._released.set()

    async def wait(self) -> None:
        self.reached.set()
        # Polled, because the release comes from another thread, which may outlive the server's loop.
        while not self._released.is_set():
            await asyncio.sleep(0.002)


Fault = Reject | LoseAnswer | DropRequest | Delay | HttpPage | RateLimited | MalformedAnswer | Hold

_BY_NAME: dict[str, type[Any]] = {
    "reject": Reject,
    "lose_answer": LoseAnswer,
    "drop_request": DropRequest,
    "delay": Delay,
    "http_page": HttpPage,
    "rate_limited": RateLimited,
    "malformed_answer": MalformedAnswer,
}


def fault_from(name: str, values: Mapping[str, Any]) -> Fault:
    """A fault from its name and fields, as the HTTP control API receives it."""
    fault: Fault = _BY_NAME[name](**values)
    return fault


class FaultScript:
    """The queued faults, in order. Tests append, the server takes."""

    def __init__(self, actions: Mapping[str, tuple[str, str]]) -> None:
        self._actions = actions
        self._queue: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()

    def append(self, on: str, fault: Fault, times: int = 1) -> None:
        if on not in self._actions and on not in ("write", "read", "any") and " " not in on:
            known = ", ".join([*self._actions, "write", "read", "any"])
            raise ValueError(f"unknown action {on!r}: use one of {known}, or 'METHOD /path*'")
        with self._lock:
            self._queue.extend([(on, fault)] * times)

    def take(self, request: LoggedRequest) -> Fault | None:
        """The first fault that fits, removed from the queue."""
        with self._lock:
            for number, (on, fault) in enumerate(self._queue):
                if self._fits(on, request):
                    del self._queue[number]
                    return fault
        return None

    def waiting(self) -> int:
        """How many faults no request has met yet."""
        with self._lock:
            return len(self._queue)

    def clear(self) -> None:
        with self._lock:
            self._queue.clear()

    def _fits(self, on: str, request: LoggedRequest) -> bool:
        if on == "any":
            return True
        if on == "read":
            return request.method == "GET"
        if on == "write":
            return request.is_write
        method, path = self._actions[on] if on in self._actions else on.split(" ", 1)
        return fnmatchcase(request.method, method) and fnmatchcase(request.path, path)
