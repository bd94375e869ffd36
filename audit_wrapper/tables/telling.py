"""What a record says, in a few words: the call, what left, what came back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from audit_wrapper.reading import answered, asked, sightings
from audit_wrapper.records import Action, Call, Failure, OrderState, Record, RecordKind

_LONGEST = 240  # of words that somebody else chose
# in every request, and of no interest
_NOISE = frozenset(
    {"timestamp", "recvWindow", "recv_window", "signature", "newOrderRespType", "category", "symbol", "algoType"}
)


def words(record: Record) -> str:
    """The record in one line, without its time, its exchange and its kind."""
    match record.kind:
        case RecordKind.INTENT | RecordKind.UNATTRIBUTED:
            return sent(record)
        case RecordKind.ACKNOWLEDGED | RecordKind.UNCHANGED:
            return answer(record)
        case RecordKind.REPORTED:
            return f"{called(record.call)} {returned(record)}" if record.call else returned(record)
        case RecordKind.LINKED:
            return position(record)
        case RecordKind.MATCHED:
            return matched(record)
        case RecordKind.RECONCILED | RecordKind.OBSERVED:
            return seen(record)
        case _:
            return refusal(record)


def called(call: Call | None) -> str:
    """The call as the bot made it."""
    if call is None:
        return ""
    given = ", ".join(f"{name}={_short(value)}" for name, value in call.arguments.items() if value not in (None, {}))
    return clipped(f"{call.method}({given})")


def sent(record: Record) -> str:
    """What left: the HTTP request, or, where the wire could not be seen, the call next to it."""
    if record.request is None:
        return called(record.call)
    given = " ".join(f"{name}={_short(value)}" for name, value in params(record).items() if name not in _NOISE)
    return clipped(f"{record.request.method} {record.request.path} {given}".rstrip())


def params(record: Record) -> dict[str, Any]:
    """The parameters of the request, by name; {} where they have none."""
    given = record.request.params if record.request is not None else None
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, str):
        return {}
    if given.lstrip().startswith("{"):
        try:
            parsed = json.loads(given, parse_float=Decimal)
        except ValueError:
            return {"": given}
        return dict(parsed) if isinstance(parsed, dict) else {"": given}
    return dict(parse_qsl(given, keep_blank_values=True))


def answer(record: Record) -> str:
    """What the exchange answered."""
    if record.kind is RecordKind.UNCHANGED:
        return "it was so already"
    if record.action is Action.CANCEL_ALL:
        return "open orders of the symbol canceled" if record.market else "open orders canceled"
    shown = answered(record)
    if shown is None or shown.exchange_order_id is None:
        return "taken"
    return state(shown)


def state(shown: OrderState) -> str:
    """An order as the exchange shows it."""
    said = [f"order {shown.exchange_order_id}"]
    if shown.order_status is not None:
        said.append(str(shown.order_status))
    if shown.filled_quantity:
        at = f" at {shown.average_price:f}" if shown.average_price is not None else ""
        said.append(f"{shown.filled_quantity:f} filled{at}")
    return clipped(" ".join(said))


def refusal(record: Record) -> str:
    """Why it was refused, did not leave, or is not known."""
    return clipped(record.reason or failure(record.failure) or "")


def failure(problem: Failure | None) -> str:
    """An exception in its own words: the exchange's code and words where it has these."""
    if problem is None:
        return ""
    coded = problem.code is not None and problem.code not in problem.message
    return clipped(f"{problem.code if coded else problem.type}: {problem.message}".rstrip(": "))


def returned(record: Record) -> str:
    """What the bot's own method said in the end."""
    if record.failure is not None:
        return f"raised {failure(record.failure)}"
    result = record.result
    if isinstance(result, Mapping) and result.get("success") is False:
        return clipped(f"returned success=False, error={_short(result.get('error'))}")
    if result is None or isinstance(result, bool):
        return f"returned {result}"
    return "returned"


def position(record: Record) -> str:
    """Which position of the bot was seen."""
    link = record.position
    if link is None:
        return ""
    said = [f"position {link.position_id}"]
    if link.signal_id is not None:
        said.append(f"signal {link.signal_id}")
    if link.intended_price is not None:
        said.append(f"meant at {link.intended_price:f}")
    if link.exchange_order_id is not None:
        said.append(f"entry {link.exchange_order_id}")
    return clipped(", ".join(said))


def matched(record: Record) -> str:
    """What an unanswered request turned out to be."""
    match = record.match
    if match is None:
        return ""
    if match.exchange_order_id is None:
        return f"the exchange has no such order ({match.found_by})"
    return clipped(f"it is order {match.exchange_order_id} ({match.found_by})")


def seen(record: Record) -> str:
    """The orders that the exchange showed."""
    shown = sightings(record)
    if not shown:
        return "nothing of an order"
    others = {one.state.exchange_order_id for one in shown} - {shown[0].state.exchange_order_id}
    more = f" and {len(others)} more" if others else ""
    return clipped(state(shown[0].state)) + more


def executed(fill: Mapping[str, Any]) -> str:
    """One execution."""
    said = f"{fill['side']} {_number(fill['quantity'])} at {_number(fill['price'])}"
    if fill["fee"] is not None:
        said += f", fee {_number(fill['fee'])} {fill['fee_currency'] or ''}".rstrip()
    else:
        said += f", fee {fill['fee_status'] or 'not said'}"
    return said + (f", {fill['liquidity']}" if fill["liquidity"] else "")


def symbol(record: Record) -> str | None:
    """The market, in ccxt's spelling where that is known; None: of none, or nobody said."""
    if record.market is not None and record.market.symbol is not None:
        return record.market.symbol
    if record.position is not None and record.position.symbol is not None:
        return record.position.symbol
    if record.call is None and record.meant is None:
        return None
    return asked(record)[0].state.symbol


def span(time: timedelta) -> str:
    """A duration, as people say it."""
    seconds = time.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if minutes < 120:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def clipped(text: str) -> str:
    """In one line, not longer than a line should be."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _short(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_short(inner)}" for name, inner in value.items()) + "}"
    return str(value)


def _number(value: Decimal | None) -> str:
    return "?" if value is None else f"{value:f}"
