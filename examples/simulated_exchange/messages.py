"""The user-data stream: what the exchange would have pushed for everything that happened, in order.

There is no socket. A test takes the raw messages from `SimulatedExchange.messages()` and hands them on as often and
in whatever order it likes. Their text is made by `binance_messages` and `bybit_messages` at the moment a thing
happens, because it tells how an order stood then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

# What happened to an order: accepted, executed, changed by its owner, its trigger price reached, brought into line by
# the exchange (a stop that follows its position, a conditional order that follows its child), ended.
Event = Literal["new", "fill", "amended", "triggered", "changed", "ended"]


class MessageLog:
    """Messages numbered from 1."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []

    def extend(self, messages: Iterable[dict[str, Any]]) -> None:
        self._messages.extend(messages)

    def since(self, number: int) -> list[dict[str, Any]]:
        """[{"number", "message"}] of those after `number`."""
        later = enumerate(self._messages[number:], number + 1)
        return [{"number": position, "message": message} for position, message in later]
