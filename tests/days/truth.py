"""Which request made which orders, as the exchange itself saw it happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulated_exchange import LoggedRequest, Order, SimulatedExchange
from simulated_exchange.engine import Answer, Call


@dataclass
class Sent:
    """One request that writes, the orders it made, and the position that the bot meant it for."""

    logged: LoggedRequest
    orders: list[Order] = field(default_factory=list)
    position: str | None = None


class Truth:
    """Listens at the exchange's side. `position`: what the bot's next requests are for."""

    def __init__(self, sim: SimulatedExchange) -> None:
        self._sim = sim
        self._handle = sim.engine.handle
        self._handled: dict[int, tuple[list[Order], str | None]] = {}
        self.position: str | None = None
        sim.engine.handle = self._listen  # type: ignore[method-assign]

    def sent(self) -> Iterator[Sent]:
        """Every write, in the order of arrival."""
        for logged in self._sim.requests.writes():
            yield Sent(logged, *self._handled.get(id(logged.params), ([], None)))

    def orders_of_the_bot(self) -> dict[int, Sent]:
        """By `id()` of the ledger's order: what made it."""
        return {id(order): sent for sent in self.sent() for order in sent.orders}

    def _listen(self, call: Call) -> Answer:
        orders = self._sim.ledger.orders
        before, position = len(orders), self.position
        try:
            return self._handle(call)
        finally:
            self._handled[id(call.params)] = ([o for o in orders[before:] if o.exchange_order_id], position)


def plain_params(params: Any) -> Any:
    """Parameters as text, whatever they were before they were encoded."""
    if isinstance(params, dict):
        return {str(name): plain_params(value) for name, value in params.items()}
    if isinstance(params, list | tuple):
        return [plain_params(value) for value in params]
    return str(params)
