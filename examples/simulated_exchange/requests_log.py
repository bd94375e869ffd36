"""Every request the exchange received, in order, with what became of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

# Differs in each request by nature: never part of a comparison of two runs.
VOLATILE = frozenset({"timestamp", "signature", "recvWindow", "recv_window"})
# ccxt invents these at random when the bot gives none.
CLIENT_IDS = frozenset({"newClientOrderId", "clientAlgoId", "orderLinkId"})

# Everything that can place, change or cancel an order; setting leverage or margin mode is not one of these.
_WRITES = re.compile(
    r"^(POST|PUT|DELETE) .*/(order|algoOrder|batchOrders|allOpenOrders|algoOpenOrders|trading-stop"
    r"|order/(create|amend|cancel|cancel-all|create-batch|cancel-batch))$"
)


@dataclass
class LoggedRequest:
    """One request and what became of it.

    outcome: "open" while it is being handled, then "answered", "not taken" (it ended before the exchange
    acted) or "answer lost". taken: the exchange did what was asked. status, answer: what was sent back, or
    would have been.
    """

    method: str
    path: str
    params: dict[str, Any]
    received_at: int
    outcome: str = "open"
    status: int | None = None
    answer: str = ""
    taken: bool = False

    @property
    def is_write(self) -> bool:
        return _WRITES.match(f"{self.method} {self.path}") is not None

    def without(self, names: Collection[str] = ()) -> tuple[str, str, dict[str, Any]]:
        """(method, path, params) less what differs from run to run, and less `names`."""
        dropped = VOLATILE.union(names)
        kept = {name: value for name, value in self.params.items() if name not in dropped}
        return self.method, self.path, kept


class RequestLog:
    """A list of `LoggedRequest`, safe to read while the server appends."""

    def __init__(self) -> None:
        self._items: list[LoggedRequest] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[LoggedRequest]:
        with self._lock:
            return iter(list(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> LoggedRequest:
        return self._items[index]

    def append(self, item: LoggedRequest) -> None:
        with self._lock:
            self._items.append(item)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()

    def writes(self) -> list[LoggedRequest]:
        """Only the requests that place, change or cancel orders."""
        return [item for item in self if item.is_write]

    def comparable(self, without: Collection[str] = ()) -> list[tuple[str, str, dict[str, Any]]]:
        """All requests less signature, timestamp and window: equal for two runs that did the same.

        Pass `CLIENT_IDS` when the bot lets ccxt invent its client order ids.
        """
        return [item.without(without) for item in self]
