"""What was heard, and what was not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

Row = Mapping[str, Any]
"""One order, execution or payment as the adapters of `exchanges/` read it: a ccxt dict with the raw payload in `info`."""

Part = Literal["orders", "trades", "funding"]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange answered. Nothing was found and `unasked` is empty: the exchange knows of nothing.

    `orders`, `trades`, `funding`: rows as the client gave them. `since`, `until`: the range asked for; None: not asked
    by time. `symbols`: the unified symbols asked for; None: all of the account. `parts`: what of it this speaks of.
    `unread`: a list, or an order, could not be read; so what is not here may be there. `unasked`: sentences, each saying what could not be asked for and why. `again`: asking again may tell more, since a
    request failed or had no turn; False: what is unasked is forgotten by the exchange, or the client has no way to ask.
    """

    orders: tuple[Row, ...] = ()
    trades: tuple[Row, ...] = ()
    funding: tuple[Row, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    symbols: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    unasked: tuple[str, ...] = ()
    unread: bool = False
    again: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything that was to be asked was asked."""
        return not self.unasked
