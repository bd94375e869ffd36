"""Bybit v5: the raw messages of the private topics `order` and `execution`.

Sources: Bybit's v5 documentation (WebSocket / Private: Order, Execution) and what ccxt 4.5.90's pro client reads from
them. The rows are those of REST with a few fields more.
"""

from __future__ import annotations

import uuid
from typing import Any

from . import bybit_wire as wire
from .bybit_history import BybitHistory
from .ledger import Fill, Funding, Order, plain
from .messages import Event


class BybitMessages(BybitHistory):
    """One message per change; the live exchange may put several rows into one."""

    def messages_of(self, order: Order, event: Event, fill: Fill | None) -> list[dict[str, Any]]:
        messages = []
        if fill is not None:
            row = {
                **wire.fill_json(
                    fill, order, len(self.ledger.fills), order.remaining_quantity, self.fee_is_known(fill)
                ),
                "category": order.instrument.category,
                "isLeverage": "0",
                "execPnl": plain(fill.realized_pnl),
            }
            messages.append(self._message("execution", row))
        row = {**self.order_json(order), "category": order.instrument.category, "feeCurrency": ""}
        return [*messages, self._message("order", row)]

    def funding_message(self, funding: Funding) -> dict[str, Any]:
        row = {**wire.funding_json(funding, len(self.ledger.fundings)), "category": "linear", "execPnl": ""}
        return self._message("execution", row)

    def _message(self, topic: str, row: dict[str, Any]) -> dict[str, Any]:
        self._messages_sent += 1
        name = uuid.uuid5(uuid.NAMESPACE_OID, str(self._messages_sent))
        return {"id": str(name), "topic": topic, "creationTime": self.now(), "data": [row]}

    _messages_sent = 0
