"""Does an order open a position? Asked only while the journal cannot be written, by those who want entries refused then.

What is refused must be an entry beyond doubt about its purpose: an order that closes, protects or cancels is worth more
to its owner than the record of it. So whatever says that it reduces, stops, triggers or belongs to the other side of
a position, at any of the places where that can be said, is no entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.numbers import params_of, truth_of
from audit_wrapper.reading import asked
from audit_wrapper.records import Action, Purpose, Record

_REDUCES = ("reduceOnly", "reduce_only", "closePosition", "close_position", "closeOnTrigger")
_TRIGGERS = (
    "triggerPrice", "stopPrice", "stop_price", "stopLossPrice", "takeProfitPrice", "take_profit_price", "trailingPercent",
    "trailingAmount", "trailingStop", "activationPrice", "activation_price", "callbackRate", "callback_rate",
)  # fmt: skip
_CONDITIONAL = ("STOP", "TAKE_PROFIT", "TRAILING")
_CLOSES = {
    ("sell", "long"),
    ("buy", "short"),
    ("sell", "1"),
    ("buy", "2"),
}  # the side, and the side of a hedged position
_HEDGED = ("positionSide", "posSide", "positionIdx")


def is_entry(intent: Record) -> bool:
    """Whether everything that the intent places opens a position, as far as can be told. `intent`: as decoded."""
    meant = intent.purpose or (intent.operation.purpose if intent.operation is not None else None)
    if intent.action is not Action.PLACE or meant not in (None, Purpose.ENTRY):
        return False
    said = list(_said(intent))
    return not any(_exempts(one) for one in said) and all(_opens(one, intent, said) for one in asked(intent))


def _exempts(words: Mapping[str, Any]) -> bool:
    return any(truth_of(words.get(name)) for name in _REDUCES) or any(words.get(name) for name in _TRIGGERS)


def _opens(one: Asked, intent: Record, said: list[Mapping[str, Any]]) -> bool:
    state = one.state
    if one.action is not Action.PLACE or state.reduce_only or state.trigger_price is not None:
        return False
    if any(word in (state.type or "").upper() for word in _CONDITIONAL):
        return False
    if state.side is None:
        return True
    opening = intent.position.side if intent.position is not None else None
    if opening is not None and opening != state.side:
        return False
    if intent.market is not None and intent.market.type == "spot" and state.side == "sell":
        return False
    hedged = {str(words[name]).lower() for words in said for name in _HEDGED if words.get(name)}
    return not any((state.side, held) in _CLOSES for held in hedged)


def _said(intent: Record) -> Iterator[Mapping[str, Any]]:
    """Every place where the order's parameters stand: the bot's call, the client's, the request."""
    for call in (intent.meant, intent.call):
        if call is not None:
            yield from _nested(call.arguments)
    if intent.request is not None:
        yield from _nested(params_of(intent.request.params))


def _nested(words: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield words
    for name in ("params", "order", "request"):
        inner = words.get(name)
        if isinstance(inner, Mapping):
            yield inner
