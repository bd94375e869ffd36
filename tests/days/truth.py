"""Which request made which orders, as the exchange itself saw it happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulated_exchange import Fill, LoggedRequest, Order, SimulatedExchange
from simulated_exchange.engine import Answer, Call
from simulated_exchange.faults import Fault
from simulated_exchange.messages import Event


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
        self._handle, self._take, self._announce = sim.engine.handle, sim.faults.take, sim.engine.announce
        self._arrived: dict[int, str | None] = {}
        self._made: dict[int, list[Order]] = {}
        self._amended: dict[int, Order] = {}
        self.position: str | None = None
        sim.faults.take = self._arrives  # type: ignore[method-assign]
        sim.engine.handle = self._acts  # type: ignore[method-assign]
        sim.engine.announce = self._tells  # type: ignore[method-assign]

    def sent(self) -> Iterator[Sent]:
        """Every write, in the order of arrival."""
        for logged in self._sim.requests.writes():
            place = id(logged.params)
            yield Sent(logged, self._made.get(place, []), self._arrived.get(place))

    def orders_of_the_bot(self) -> dict[int, Sent]:
        """By `id()` of the ledger's order: what made it."""
        return {id(order): sent for sent in self.sent() for order in sent.orders}

    def was_amended(self, order: Order) -> bool:
        """Whether the exchange shows it other than it was placed."""
        return id(order) in self._amended

    def _arrives(self, request: LoggedRequest) -> Fault | None:
        self._arrived[id(request.params)] = self.position
        return self._take(request)

    def _acts(self, call: Call) -> Answer:
        orders = self._sim.ledger.orders
        before = len(orders)
        try:
            return self._handle(call)
        finally:
            self._made[id(call.params)] = [o for o in orders[before:] if o.exchange_order_id]

    def _tells(self, order: Order, event: Event, fill: Fill | None = None) -> None:
        if event == "amended":
            self._amended[id(order)] = order
        self._announce(order, event, fill)


def plain_params(params: Any) -> Any:
    """Parameters as text, whatever they were before they were encoded."""
    if isinstance(params, dict):
        return {str(name): plain_params(value) for name, value in params.items()}
    if isinstance(params, list | tuple):
        return [plain_params(value) for value in params]
    return str(params)
