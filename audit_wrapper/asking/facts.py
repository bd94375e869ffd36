"""How far back each exchange can be asked, how much one request may ask for, and when silence proves something.

[D]: the exchange's documentation, not seen happening. [?]: not documented; chosen by us on the careful side.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

Kind = Literal["spot", "linear", "inverse", "option"]
"""The kind of a market: spot, contracts settled in the quote currency, contracts settled in the base currency, options."""

OVERLAP = timedelta(seconds=5)  # windows reach this far into the one before: clocks of matching and of listing differ
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Reach(NamedTuple):
    """One history. `window`: the longest range of one request. `limit`: rows of a page; None: not known. `back`: how far
    back it goes; None: not known, or without end."""

    window: timedelta
    limit: int | None
    back: timedelta | None


class Facts(NamedTuple):
    """One exchange and kind of market.

    `funding` None: such markets have none. `unfilled_for`: how long after it was placed an order that ended without a
    fill can still be found; None: not known. `indexing`: how long after it was sent an accepted order may not be findable.
    """

    orders: Reach
    trades: Reach
    funding: Reach | None
    unfilled_for: timedelta | None
    indexing: timedelta


# No exchange states a bound for this; order queries of Binance are known to lag by seconds, and Bybit calls the creation
# of orders asynchronous. A request that lies about on its way is refused after recvWindow, at most 60 s. [?]
_INDEXING = timedelta(minutes=2)
# The query period "must be less than 7 days" [D: Query All Algo Orders], so one second under it, less the overlap.
_WEEK = 7 * _DAY - timedelta(seconds=1) - OVERLAP

_BINANCE_LINEAR = Facts(
    # limit 1000, 7 days, 90 days [D: USDS-M All Orders; Query All Algo Orders]
    orders=Reach(_WEEK, 1000, 90 * _DAY),
    # limit 1000, 7 days, 6 months [D: USDS-M Account Trade List]
    trades=Reach(_WEEK, 1000, 180 * _DAY),
    # limit 1000, three months [D: USDS-M Get Income History]
    funding=Reach(_WEEK, 1000, 89 * _DAY),
    # CANCELED or EXPIRED, no fill, created 3 days ago: not found [D: USDS-M Query Order; Query All Algo Orders]
    unfilled_for=3 * _DAY,
    indexing=_INDEXING,
)
_BINANCE_INVERSE = _BINANCE_LINEAR._replace(
    # limit 100 [D: COIN-M All Orders]
    orders=Reach(_WEEK, 100, 90 * _DAY),
    # how far back COIN-M trades go is not said [?]; income: 200 days an interval [D: portfolio margin's page only]
    trades=Reach(_WEEK, 1000, None),
)
_BINANCE_SPOT = Facts(
    # 24 hours between startTime and endTime, limit 1000, no end to it [D: Spot REST API, All orders; Account trade list]
    orders=Reach(_DAY - timedelta(seconds=1) - OVERLAP, 1000, None),
    trades=Reach(_DAY - timedelta(seconds=1) - OVERLAP, 1000, None),
    funding=None,
    # archived after 90 days (error -2026) [D: Spot Errors]
    unfilled_for=90 * _DAY,
    indexing=_INDEXING,
)
# orders: 5 days, limit 1000 [D: Options Query Option Order History]; what else is asked for is not said [?]
_BINANCE_OPTION = Facts(
    orders=Reach(_DAY, 1000, 5 * _DAY),
    trades=Reach(_DAY, 1000, None),
    funding=None,
    unfilled_for=None,
    indexing=_INDEXING,
)
_BYBIT = Facts(
    # limit 50, 7 days, 2 years [D: Bybit v5 Get Order History]
    orders=Reach(_WEEK, 50, 730 * _DAY),
    # limit 100, 7 days, 730 days; funding is an execution too [D: Bybit v5 Get Trade History]
    trades=Reach(_WEEK, 100, 730 * _DAY),
    funding=Reach(_WEEK, 100, 730 * _DAY),
    # Cancelled, Rejected, Deactivated: the last 24 hours [D: Bybit v5 Get Order History]
    unfilled_for=_DAY,
    indexing=_INDEXING,
)
_OTHER = Facts(
    orders=Reach(_DAY, None, None),
    trades=Reach(_DAY, None, None),
    funding=Reach(_DAY, None, None),
    unfilled_for=None,
    indexing=timedelta(minutes=15),
)
_BINANCE: dict[Kind, Facts] = {
    "linear": _BINANCE_LINEAR,
    "inverse": _BINANCE_INVERSE,
    "spot": _BINANCE_SPOT,
    "option": _BINANCE_OPTION,
}


def facts_for(exchange_id: str, kind: Kind) -> Facts:
    """The facts of one exchange and kind of market; careful ones where it has none here."""
    if exchange_id.startswith("binance"):
        return _BINANCE[kind]
    if exchange_id.startswith("bybit"):
        return _BYBIT._replace(funding=None) if kind == "spot" else _BYBIT
    return _OTHER


def kind_of(symbol: str, market: Mapping[str, Any] | None = None) -> Kind:
    """The kind of market of a unified symbol: as the client's market says, else as ccxt spells it."""
    for kind in ("option", "spot", "linear", "inverse"):
        if market and market.get(kind) is True:
            return kind
    pair, _, settled = symbol.partition(":")
    if not settled:
        return "spot"
    if settled.endswith(("-C", "-P")):
        return "option"
    return "linear" if pair.rpartition("/")[2] == settled.partition("-")[0] else "inverse"


def id_kind(exchange_id: str, symbol: str, order_type: str | None) -> str:
    """Which number space the id of such an order is of: "algo" for conditional contract orders of Binance, else "order"."""
    conditional = order_type is not None and order_type.startswith(("STOP", "TAKE_PROFIT", "TRAILING"))
    return "algo" if exchange_id.startswith("binance") and ":" in symbol and conditional else "order"


def indexed_by(exchange_id: str, symbol: str, sent_at: datetime) -> datetime:
    """From when on an order that left at `sent_at` must be findable, if the exchange took it."""
    return sent_at + facts_for(exchange_id, kind_of(symbol)).indexing


def absence_counts(exchange_id: str, symbol: str, sent_at: datetime, asked_at: datetime) -> bool:
    """Whether an order that was not found does not exist.

    `sent_at`: the last moment at which it can have left. `asked_at`: when the exchange said that it does not know it. It
    counts between the time an exchange may need to index an order and the time after which it forgets one that never
    filled (less an hour, for clocks that differ); never for an exchange whose memory is not known.
    """
    facts = facts_for(exchange_id, kind_of(symbol))
    if facts.unfilled_for is None:
        return False
    return facts.indexing <= asked_at - sent_at <= facts.unfilled_for - _HOUR
