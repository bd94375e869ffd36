"""Words: how an order stands and what kind of order it is, in ours for theirs.

ccxt's `closed` says only that an order is over. It is FILLED when the quantities say so, or when the exchange
itself uses a word that means nothing else; otherwise what became of it is unknown here.
"""

import re
from decimal import Decimal
from functools import lru_cache

from audit_wrapper.exchanges.numbers import text_of
from audit_wrapper.records import OrderStatus

_LONGEST = 40  # characters of a word that is remembered; an exchange has a few dozen of them
_OPEN = OrderStatus.NEW  # stands for "on the book": NEW or PARTIALLY_FILLED, by what was filled

_STATUS = {
    # ccxt's unified words
    "OPEN": _OPEN,
    "CANCELED": OrderStatus.CANCELED,
    "CANCELLED": OrderStatus.CANCELED,
    "CANCELING": _OPEN,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
    # exchanges' own words, which leak through ccxt where it has no mapping for them
    "NEW": _OPEN,
    "CREATED": _OPEN,
    "ACCEPTED": _OPEN,
    "ACTIVE": _OPEN,
    "LIVE": _OPEN,
    "PENDING_NEW": _OPEN,
    "PENDING_CANCEL": _OPEN,
    "PENDINGCANCEL": _OPEN,
    "UNTRIGGERED": _OPEN,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "PARTIALLYFILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "DEACTIVATED": OrderStatus.CANCELED,
    "PARTIALLYFILLEDCANCELED": OrderStatus.CANCELED,
    "PARTIALLY_FILLED_CANCELED": OrderStatus.CANCELED,
    "PARTIALLY_FILLED_CANCELLED": OrderStatus.CANCELED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
"""'closed', 'TRIGGERED', 'FINISHED', 'effective' and 'done' are not here on purpose: alone they decide nothing."""

FILLED_WORDS = re.compile(r"^(full(y)?[-_ ]?fill(ed)?|filled|executed\b.*)$", re.IGNORECASE)


def status_of(
    word: object,
    filled: Decimal | None,
    quantity: Decimal | None,
    *,
    own: dict[str, OrderStatus] | None = None,
) -> OrderStatus | None:
    """The status that `word` and the quantities agree on; `own` holds an exchange's words that differ."""
    text = text_of(word)
    if text is None:
        return None
    key = _key(text)
    complete = filled is not None and quantity is not None and filled >= quantity > 0
    status = (own or {}).get(key) or _STATUS.get(key)
    if key == "CLOSED":
        return OrderStatus.FILLED if complete else None
    if status is _OPEN:
        return OrderStatus.PARTIALLY_FILLED if filled is not None and filled > 0 else OrderStatus.NEW
    if status is OrderStatus.FILLED and filled is not None and quantity is not None and not complete:
        return None  # the word and the numbers contradict each other
    return status


_TYPE = {
    "STOP_LOSS_MARKET": "STOP_MARKET",
    "STOP_LOSS_LIMIT": "STOP_LIMIT",
    "TAKE_PROFIT_MARKET": "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT": "TAKE_PROFIT",
    "TRAILING_STOP": "TRAILING_STOP_MARKET",
    "POST_ONLY": "LIMIT",
    "LIMIT_MAKER": "LIMIT",
}
MARKET_TYPES = frozenset({"MARKET", "STOP_MARKET", "STOP_LOSS", "TRAILING_STOP_MARKET"})
"""Types that have no limit: a price beside them is an average (ccxt) or a cap on slippage (Bybit, MEXC)."""


def type_of(word: object, *, own: dict[str, str] | None = None) -> str | None:
    """The type word of `OrderState`; an unknown word stays the exchange's own, in upper case."""
    text = text_of(word)
    if text is None or _key(text) in ("UNKNOWN", "NONE"):
        return None
    key = _key(text)
    return (own or {}).get(key) or _TYPE.get(key, key)


def _key(text: str) -> str:
    return _remembered(text) if len(text) <= _LONGEST else _remembered.__wrapped__(text)


@lru_cache(256)
def _remembered(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text).upper()


def side_of(word: object) -> str | None:
    """ "buy" or "sell"; None for anything else ('long' is a position, not a side)."""
    text = text_of(word)
    return text.lower() if text is not None and text.lower() in ("buy", "sell") else None
