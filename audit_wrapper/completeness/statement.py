"""What comes of comparing the exchange's books with the trail's, and how it is written as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from audit_wrapper.completeness import table
from audit_wrapper.completeness.words import digits


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved without an execution: funding and the like. `amount` is received > 0, paid < 0."""

    kind: str
    currency: str
    amount: Decimal
    symbol: str | None = None
    exchange_at: datetime | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same. Values are text with every digit.

    what: "order" or "fill". field: the column that differs; None where the whole of it is missing or too much.
    at_exchange, in_trail: both values; None: it is not there, or not known there. order_key: the row in the trail.
    """

    what: Literal["order", "fill"]
    symbol: str | None
    order_id: str | None
    trade_id: str | None = None
    field: str | None = None
    at_exchange: str | None = None
    in_trail: str | None = None
    order_key: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the trail that could neither be found at the exchange nor be called wrong, and why. `in_trail`: the row
    in words."""

    what: Literal["order", "fill"]
    symbol: str | None
    order_id: str | None
    order_key: str
    why: str
    in_trail: str
    trade_id: str | None = None


class FeeSum(msgspec.Struct, frozen=True, kw_only=True):
    """The fees of the range in one currency, charged > 0; currency None: an amount whose currency was not said."""

    currency: str | None
    at_exchange: Decimal
    in_trail: Decimal


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many. `same` and `different` are on both sides; an order counts once, however much of it differs.

    without_fee_at_exchange, without_fee_in_trail: fills whose fee is not known there, and so is in no sum.
    orders_unknown: rows UNKNOWN; orders_without_id: other rows that have no id to be looked up by (stops of positions).
    """

    orders_same: int = 0
    orders_missing: int = 0
    orders_extra: int = 0
    orders_different: int = 0
    orders_unknown: int = 0
    orders_without_id: int = 0
    fills_same: int = 0
    fills_missing: int = 0
    fills_extra: int = 0
    fills_different: int = 0
    without_fee_at_exchange: int = 0
    without_fee_in_trail: int = 0


class Completeness(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing. `str()` of it is the readable table; times are UTC.

    missing: at the exchange, not in the trail. extra: in the trail, not at the exchange. different: in both, not alike.
    open_questions: rows of which nobody can say. unasked: what could not be asked for, and why, as the caller said.
    unshown: what the exchange did not show of orders that it did show. payments: sums by kind, in text; the trail has
    no rows for these, so they are told and not compared.
    """

    exchange: str
    account: str
    since: datetime
    until: datetime
    counts: Counts
    missing: tuple[Finding, ...] = ()
    extra: tuple[Finding, ...] = ()
    different: tuple[Finding, ...] = ()
    fees: tuple[FeeSum, ...] = ()
    payments: tuple[str, ...] = ()
    open_questions: tuple[Question, ...] = ()
    unasked: tuple[str, ...] = ()
    unshown: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Nothing is missing, nothing is too much, nothing differs in what could be compared."""
        return not (self.missing or self.extra or self.different)

    @property
    def complete(self) -> bool:
        """It agrees, and everything could be compared."""
        return self.agrees and not (self.open_questions or self.unasked or self.unshown)

    def as_json(self) -> str:
        """The statement as JSON, the same bytes for the same books. Decimals are text, times ISO 8601 in UTC."""
        body = msgspec.to_builtins(self)
        body["fees"] = [
            {"currency": fee.currency, "at_exchange": digits(fee.at_exchange), "in_trail": digits(fee.in_trail)}
            for fee in self.fees
        ]
        head = {"complete": self.complete, "agrees": self.agrees}
        return msgspec.json.format(msgspec.json.encode({**head, **body}), indent=2).decode()

    def table(self, *, width: int = 100, most: int = 10) -> str:
        """The statement as plain text. width: columns of the terminal. most: how many of each kind are written out."""
        return "\n".join(table.lines(self, max(width, 60), most))

    def __str__(self) -> str:
        return self.table()
