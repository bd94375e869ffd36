"""What one record says about orders: what was asked, what was answered. Pure; the exchange's adapter does the reading.

What really left (the HTTP request) counts over the arguments of the client's method, and those over the arguments of
the bot's own method: `create_market_order` rounds 3.75 to 3, and 3 is the order's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any

import msgspec

from audit_wrapper import calls, codec
from audit_wrapper.codec import exact_json
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.funding import FundingPayment
from audit_wrapper.exchanges.numbers import decimal_of, positive_of
from audit_wrapper.exchanges.outcomes import judge_answer
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.records import Action, Call, OrderState, Record, RecordKind, Seam

_TRIGGER_NAMES = ("triggerPrice", "stopPrice", "stop_price", "stopLossPrice", "takeProfitPrice", "new_sl_price")

_SEVERAL = ("fees", "fills")
_SINGLE = tuple(name for name in OrderState.__struct_fields__ if name not in _SEVERAL)
_values = attrgetter(*_SINGLE)


class Reading:
    """One record, and what it says of orders: each thing read when it is first asked for, and once.

    Routing, scopes and the fold ask the same of a record, some of it several times, and the reading is most of the work. Lives as
    long as the batch does that the record came with.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.mentions: tuple[Any, ...] | None = None  # `routing.mentions`, once it was asked
        self._answers: dict[int | None, Mapping[str, Any] | None] = {}
        self._states: dict[int | None, OrderState | None] = {}
        self._intent: Reading | None = None  # one that asks the very same

    def follows(self, intent: Reading) -> None:
        """Take over what was asked from the record of its intent, if that is the same there: it is read once then."""
        mine, other = _asking(self.record), _asking(intent.record)
        if mine == other and codec.as_text(mine) == codec.as_text(other):  # 1 is True, and 10 is 10.0
            self._intent = intent

    @classmethod
    def of(cls, said: Record | Reading) -> Reading:
        """The record's reading; itself, if it is one."""
        return said if isinstance(said, Reading) else cls(said)

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """As `asked`."""
        return asked(self.record) if self._intent is None else self._intent.asked

    @cached_property
    def sightings(self) -> tuple[Sighting, ...]:
        """As `sightings`."""
        return sightings(self.record)

    @cached_property
    def canceled_ids(self) -> frozenset[str]:
        """As `canceled_ids`."""
        return canceled_ids(self.record)

    def answer(self, position: int | None = None) -> Mapping[str, Any] | None:
        """As `answer`."""
        if position not in self._answers:
            self._answers[position] = answer(self.record, position)
        return self._answers[position]

    def answered(self, position: int | None = None) -> OrderState | None:
        """As `answered`."""
        if position not in self._states:
            self._states[position] = _state(self.record, self.answer(position))
        return self._states[position]

    def refusal(self, position: int) -> str | None:
        """The exchange's code and words, where it took a batch and refused this order of it."""
        shown = self.answer(position)
        judged = judge_answer(shown, self.record.exchange) if shown is not None and "info" not in shown else None
        if judged is None or judged.kind is not RecordKind.REJECTED:
            return None
        return f"{judged.code}: {judged.words}"


def _asking(record: Record) -> tuple[object, ...]:
    """All that `asked` looks at."""
    return record.exchange, record.action, record.call, record.meant, record.request


def asked(record: Record) -> tuple[Asked, ...]:
    """What the record's call asked for: one entry, or one for each order of a batch."""
    adapter = adapter_for(record.exchange or "")
    sent = adapter.read_request(record.request) if record.request is not None else None
    parts = sent.parts if sent is not None else ()
    outer = _of_call(record.meant, record) if record.meant is not None else None
    if record.call is not None and record.call.seam is not Seam.TRANSPORT:
        batch = _of_batch(record)
        if batch and len(parts) == len(batch):
            return tuple(_over(part, one) for part, one in zip(parts, batch, strict=True))
        if batch:
            return batch
        outer = _over(_of_call(record.call, record), outer)
    if sent is not None:
        return parts or (_over(sent, outer),)
    return (outer if outer is not None else Asked(action=record.action),)


def answered(record: Record, position: int | None = None) -> OrderState | None:
    """The order as the record's answer shows it, or None where the answer shows no order.

    position: which order of a batch.
    """
    return _state(record, answer(record, position))


def _state(record: Record, shown: Mapping[str, Any] | None) -> OrderState | None:
    return adapter_for(record.exchange or "").order_state(shown, record.market) if shown is not None else None


def answer(record: Record, position: int | None = None) -> Mapping[str, Any] | None:
    """The part of the record's answer that shows the order, with the digits of the answer's own text."""
    text = record.response.text if record.response is not None and record.failure is None else None
    result = record.result
    if position is not None:
        # ccxt sorts the orders of a batch by time; the exchange's own list is in the order of the request
        listed = _listed(_parsed(text)) if text else []
        if not listed and isinstance(result, list):
            listed = result
        result = listed[position] if position < len(listed) else None
    elif isinstance(result, list):
        result = result[0] if len(result) == 1 else None
    elif result is None and text:
        result = _parsed(text)
    return _exact(_unwrapped(result), record) if isinstance(result, Mapping) else None


def sightings(record: Record) -> tuple[Sighting, ...]:
    """The orders that the exchange showed when it was asked, or by itself; () in a record of any other kind."""
    if record.kind not in (RecordKind.RECONCILED, RecordKind.OBSERVED):
        return ()
    shown: Any = record.result
    if record.kind is RecordKind.RECONCILED:
        shown = (
            [one for part in ("orders", "trades") for one in shown.get(part) or ()] if isinstance(shown, dict) else []
        )
    return tuple(
        one for one in adapter_for(record.exchange or "").sightings(shown, record.market) if one.state.exchange_order_id
    )


def payments(record: Record) -> tuple[FundingPayment, ...]:
    """The funding payments that the exchange told of."""
    if record.kind not in (RecordKind.RECONCILED, RecordKind.OBSERVED):
        return ()
    told: Any = record.result
    if record.kind is RecordKind.RECONCILED:
        told = told.get("funding") if isinstance(told, dict) else None
    return adapter_for(record.exchange or "").payments(told, record.market) if told else ()


def canceled_ids(record: Record) -> frozenset[str]:
    """The orders that the answer to a cancel-all names; empty where it names none (Binance says only that it is done)."""
    text = record.response.text if record.response is not None else None
    listed = _listed(_parsed(text)) if text else record.result if isinstance(record.result, list) else []
    adapter = adapter_for(record.exchange or "")
    states = (adapter.order_state(item) for item in listed if isinstance(item, Mapping))
    return frozenset(state.exchange_order_id for state in states if state.exchange_order_id is not None)


def _listed(parsed: Any) -> list[Any]:
    """The answers to the orders of a batch, in the order of the request."""
    if isinstance(parsed, list):
        return parsed
    if not isinstance(parsed, Mapping):
        return []
    result = parsed.get("result")
    listed = result.get("list") if isinstance(result, Mapping) else None
    if isinstance(listed, list):  # Bybit tells what came of each in a list beside it
        further = parsed.get("retExtInfo")
        more = further.get("list") if isinstance(further, Mapping) else None
        extra = more if isinstance(more, list) and len(more) == len(listed) else [{}] * len(listed)
        return [{**one, **also} for one, also in zip(listed, extra, strict=True)]
    data = parsed.get("data")
    return data if isinstance(data, list) else []


def compact(symbol: str | None) -> str | None:
    """The spelling that positions tables use: MNT/USDT:USDT -> MNTUSDT. Dated and option symbols keep their tail."""
    if symbol is None or "/" not in symbol:
        return symbol
    pair, _, settled = symbol.partition(":")
    tail = settled.partition("-")[2]
    return pair.replace("/", "") + (f"-{tail}" if tail else "")


def _over(strong: Asked, weak: Asked | None) -> Asked:
    if weak is None:
        return strong
    known = {name: value for name, value in zip(_SINGLE, _values(strong.state), strict=True) if value is not None}
    known |= {name: several for name in _SEVERAL if (several := getattr(strong.state, name))}
    if weak.state.symbol is not None and "/" in weak.state.symbol:
        known["symbol"] = weak.state.symbol  # ccxt's spelling says more than the exchange's
    return msgspec.structs.replace(strong, state=msgspec.structs.replace(weak.state, **known))


def _of_call(call: Call, record: Record) -> Asked:
    given = call.arguments
    row = calls.row(call)
    params = given.get("params")
    extra: Mapping[str, Any] = params if isinstance(params, Mapping) else {}
    trigger = None
    if not (given.keys().isdisjoint(_TRIGGER_NAMES) and extra.keys().isdisjoint(_TRIGGER_NAMES)):
        trigger = next((value for n in _TRIGGER_NAMES if (value := given.get(n) or extra.get(n))), None)
    kind = _text(given.get("type")) or (row.type if row is not None else None)
    reduce_only = given.get("reduce_only", extra.get("reduceOnly"))
    target = given.get("order_id") or given.get("id")
    state = OrderState(
        exchange_order_id=_text(target) if record.action in (Action.CANCEL, Action.AMEND) else None,
        client_order_id=_text(extra.get("clientOrderId") or extra.get("newClientOrderId") or extra.get("orderLinkId")),
        symbol=_text(given.get("symbol")),
        side=_side(given, row),
        type=kind.upper() if kind else None,
        quantity=decimal_of(given.get("amount")),
        limit_price=positive_of(given.get("price")) if (kind or "").upper() != "MARKET" else None,
        trigger_price=positive_of(trigger),
        reduce_only=reduce_only if isinstance(reduce_only, bool) else None,
    )
    return Asked(action=record.action, state=state)


def _of_batch(record: Record) -> tuple[Asked, ...]:
    call = record.call
    row = calls.row(call) if call is not None else None
    if call is None or row is None or not row.batch:
        return ()
    first = call.arguments.get(row.parameters[0])
    if not isinstance(first, list):
        return ()
    symbol = _text(call.arguments.get("symbol"))
    found = []
    for item in first:
        if isinstance(item, Mapping):
            one = Call(seam=call.seam, target=call.target, method=call.method, arguments=dict(item))
            found.append(_of_call(one, record))
        else:
            state = OrderState(exchange_order_id=_text(item), symbol=symbol)
            found.append(Asked(action=record.action, state=state))
    return tuple(found)


def _side(given: Mapping[str, Any], row: calls.CallRow | None) -> str | None:
    word = (_text(given.get("side")) or (row.side if row is not None else None) or "").lower()
    if word in ("buy", "sell"):
        return word
    stop = row is not None and row.action is Action.SET_STOPS
    held = _text(given.get("position_side")) or (word if stop else "")
    # a stop leaves the position, so it stands on the other side of it
    if stop or not word:
        return {"long": "sell", "short": "buy"}.get((held or "").lower())
    return {"long": "buy", "short": "sell"}.get(word)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return None


def _unwrapped(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order inside a raw answer: Bybit's {retCode, result}, OKX's {code, data: [...]}."""
    if "retCode" in result and isinstance(result.get("result"), Mapping):
        inner: Mapping[str, Any] = result["result"]
        listed = inner.get("list")
        return listed[0] if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], Mapping) else inner
    data = result.get("data")
    if "code" in result and isinstance(data, list) and len(data) == 1 and isinstance(data[0], Mapping):
        return data[0]
    # what a StopLossManager returns: {'status': 'created', 'orderId', 'stopPrice', 'info'}
    if "info" in result and "id" not in result and "orderId" in result:
        return {**result, "id": result["orderId"]}
    return result


def _exact(result: Mapping[str, Any], record: Record) -> Mapping[str, Any]:
    info = result.get("info")
    text = record.response.text if record.response is not None else None
    if not text or not isinstance(info, Mapping):
        return result
    return {**result, "info": adapter_for(record.exchange or "").exact_info(info, text)}


def _parsed(text: str) -> Any:
    try:
        return exact_json(text)
    except (msgspec.MsgspecError, ValueError):
        return None
