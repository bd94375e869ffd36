"""A client order id for an order that the bot gave none: asked for by a setting, since it changes the request.

With an id of its own an order whose answer was lost can be asked for by name, and a request that is sent again can be
refused as a duplicate. What is sent again with the same id: the client's own retries of a request, and a call that the bot
makes again with the same arguments, within the same operation, after one whose outcome is not known.

How far that goes is the exchange's word: Bybit never takes an `orderLinkId` twice; Binance refuses one only while an order
with it is open [D], so a market order that was filled at once is not refused a second time. The answer is certain on both.

Nothing here touches what the bot handed in, nor an id that it gave. Where ccxt drew an id itself (Binance, OKX, options on
Bybit), its random part is replaced and the broker's prefix stays.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from audit_wrapper.exchanges.endpoints import split_version
from audit_wrapper.snapshot import snapshot

Make = Callable[[int], str]


class _Form(NamedTuple):
    """How one exchange wants its ids. `drawn` is what ccxt makes up, its broker's prefix as the first group."""

    length: int
    drawn: re.Pattern[str]


class _Place(NamedTuple):
    """Where the ids of a request go. `also`: names under which the bot may have given one. batch: a list of orders."""

    names: tuple[str, ...]
    also: tuple[str, ...] = ()
    batch: str | None = None


_BINANCE = _Form(36, re.compile(r"((?:x-[A-Za-z0-9]{1,12})?)[0-9a-f]{22}"))
_BYBIT = _Form(36, re.compile(r"()[0-9a-f]{16}"))
_OKX = _Form(32, re.compile(r"([A-Za-z0-9]{0,16})[0-9a-f]{16}"))

_ORDER = _Place(("newClientOrderId",), ("clientOrderId",))
_OPTION = _Place(("clientOrderId",), ("newClientOrderId",))
_ALGO = _Place(("clientAlgoId",))
_ON_BINANCE = {
    "order": _ORDER,
    "sor/order": _ORDER,
    "order/cancelReplace": _ORDER,
    "algoOrder": _ALGO,
    "algo/order": _ALGO,
    "conditional/order": _Place(("newClientStrategyId",)),
    "batchOrders": _ORDER._replace(batch="batchOrders"),
    "order/oco": _Place(("listClientOrderId", "limitClientOrderId", "stopClientOrderId")),
    "orderList/oco": _Place(("listClientOrderId", "aboveClientOrderId", "belowClientOrderId")),
    "orderList/oto": _Place(("listClientOrderId", "workingClientOrderId", "pendingClientOrderId")),
    "orderList/opo": _Place(("listClientOrderId", "workingClientOrderId", "pendingClientOrderId")),
    "orderList/otoco": _Place(
        ("listClientOrderId", "workingClientOrderId", "pendingAboveClientOrderId", "pendingBelowClientOrderId")
    ),
    "orderList/opoco": _Place(
        ("listClientOrderId", "workingClientOrderId", "pendingAboveClientOrderId", "pendingBelowClientOrderId")
    ),
}
_ON_BYBIT = {
    "order/create": _Place(("orderLinkId",)),
    "order/create-batch": _Place(("orderLinkId",), batch="request"),
}
_ON_OKX = {
    "trade/order": _Place(("clOrdId",)),
    "trade/batch-orders": _Place(("clOrdId",), batch=""),  # the parameters are the list itself
}


def stamped(
    exchange_id: str, api: str, method: str, path: str, params: Any, make: Make, own: frozenset[str] | None = None
) -> Any:
    """The parameters with an id for each order that has none; None where there is nothing to add, or no form is known.

    make: the id for the request's first order (0), its second (1), ... own: every text that the bot handed to the client's
    method, where the request is one that the method made: an id that is not among them, and looks drawn, is the client's.
    None: the bot made the request itself, and what is there is its own.
    """
    found = _place(exchange_id, api, method, path)
    if found is None:
        return None
    form, place = found
    numbers = iter(range(10_000))

    def with_ids(order: Any) -> Any:
        """The order with ids, or the order itself."""
        if not isinstance(order, dict):
            return order
        if any(order.get(name) not in (None, "") for name in place.also):
            return order
        added: dict[str, str] = {}
        for name in place.names:
            value = order.get(name)
            if value in (None, ""):
                added[name] = make(next(numbers))[: form.length]
            elif _is_drawn(value, form, own):
                match = form.drawn.fullmatch(value)
                added[name] = ((match[1] if match else "") + make(next(numbers)))[: form.length]
        return {**order, **added} if added else order

    if place.batch is None:
        changed = with_ids(params)
        return changed if changed is not params else None
    orders = params if place.batch == "" else params.get(place.batch) if isinstance(params, dict) else None
    if not isinstance(orders, list):  # a text that the bot wrote itself is not written anew
        return None
    several = [with_ids(order) for order in orders]
    if all(new is old for new, old in zip(several, orders, strict=True)):
        return None
    return several if place.batch == "" else {**params, place.batch: several}


def _place(exchange_id: str, api: str, method: str, path: str) -> tuple[_Form, _Place] | None:
    if method.upper() != "POST":
        return None
    version, tail = split_version(path)
    if exchange_id.startswith("binance"):
        if api == "eapiPrivate":
            option = {"order": _OPTION, "batchOrders": _OPTION._replace(batch="batchOrders")}.get(tail)
            return (_BINANCE, option) if option is not None else None
        place = _ON_BINANCE.get(re.sub(r"^(um|cm|margin)/", "", tail))
        return (_BINANCE, place) if place is not None else None
    if exchange_id.startswith("bybit"):
        place = _ON_BYBIT.get(tail) if version == "v5" else None
        return (_BYBIT, place) if place is not None else None
    if exchange_id.startswith(("okx", "myokx")):
        place = _ON_OKX.get(tail)
        return (_OKX, place) if place is not None else None
    return None


def _is_drawn(value: object, form: _Form, own: frozenset[str] | None) -> bool:
    return own is not None and isinstance(value, str) and value not in own and form.drawn.fullmatch(value) is not None


def texts(value: object, depth: int = 6) -> frozenset[str]:
    """Every text in a call's arguments."""
    if isinstance(value, str):
        return frozenset((value,))
    if depth == 0:
        return frozenset()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return frozenset().union(*(texts(item, depth - 1) for item in value))
    return frozenset()


class Use:
    """The ids of one request: its number within the operation, and whether it may have been taken without the bot's knowing."""

    __slots__ = ("key", "number", "unsure")

    def __init__(self, key: object, number: int) -> None:
        self.key = key
        self.number = number
        self.unsure = False


class Stamps:
    """The ids that one operation has given out."""

    __slots__ = ("_given", "_lost")

    def __init__(self) -> None:
        self._given = 0
        self._lost: dict[object, list[Use]] | None = None

    def take(self, key: object) -> Use:
        """The ids for a request: those of one with the same key whose outcome is not known, else new ones."""
        lost = self._lost.get(key) if self._lost is not None else None
        if lost:
            return lost.pop(0)
        self._given += 1
        return Use(key, self._given)

    def ended(self, use: Use, *, answered: bool) -> None:
        """The request came to its end. answered: with a result; else it raised.

        Once an attempt got no answer, a later refusal does not end it (it may say that the first one was taken): the same
        ids are used until one is accepted.
        """
        if not answered and use.unsure:
            if self._lost is None:
                self._lost = {}
            self._lost.setdefault(use.key, []).append(use)


def stamp(
    stamps: Stamps,
    correlation_id: UUID,
    target: tuple[object, str],
    request: tuple[str, str, str],
    params: Any,
    own: frozenset[str] | None,
) -> tuple[Any, Use] | None:
    """The parameters with ids, and which; None where there is nothing to add.

    target: which client, and its exchange. request: api group, method, path.
    """
    _, exchange_id = target
    blank = stamped(exchange_id, *request, params, lambda number: f"#{number}", own)
    if blank is None:
        return None
    use = stamps.take((target, request, bytes(snapshot(blank))))
    return stamped(exchange_id, *request, params, lambda number: made(correlation_id, use.number, number), own), use


def made(correlation_id: UUID, request: int, order: int) -> str:
    """The id of one order of one request of an operation: 22 lower-case letters and digits, the same every time."""
    digest = hashlib.sha256(correlation_id.bytes + f"{request}/{order}".encode()).digest()
    return "aw" + base64.b32encode(digest).decode("ascii").lower()[:20]
