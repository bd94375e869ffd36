"""The executions of one order: each once, by the exchange's number of it, with the fee that was said last; pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from audit_wrapper.exchanges.numbers import total
from audit_wrapper.records import FeeStatus, Fill, Source

_ASKED = frozenset({Source.RECONCILED, Source.BACKFILLED})
_FEE_RANK = {FeeStatus.REPORTED: 2, FeeStatus.SEVERAL: 2, FeeStatus.DERIVED: 1}
_FEE_RANK.update({status: 0 for status in FeeStatus if status not in _FEE_RANK})


class Executions:
    """fills: by their number. sources: where each is known from first. conflicts: those that were told with another price or
    quantity later; the first word stays."""

    def __init__(self) -> None:
        self.fills: dict[str, Fill] = {}
        self.sources: dict[str, Source] = {}
        self.conflicts: set[str] = set()
        self._quantity: Decimal | None = None  # of all, if it was asked since the last was taken
        self._fee_asked_for: dict[str, bool] = {}  # of each: its fee is what the exchange said when it was asked

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.fills)

    @property
    def whole(self) -> list[tuple[Decimal, Decimal]]:
        """Price and quantity of every fill that has both."""
        return [(f.price, f.quantity) for f in self.fills.values() if f.price is not None and f.quantity is not None]

    @property
    def quantity(self) -> Decimal:
        """What these add up to."""
        if self._quantity is None:
            self._quantity = total([quantity for _, quantity in self.whole])
        return self._quantity

    @property
    def times(self) -> list[datetime]:
        """When they were, by the exchange's clock, as far as that is known."""
        return [f.exchange_at for f in self.fills.values() if f.exchange_at is not None]

    def take(self, fill: Fill, source: Source) -> None:
        """One more, or one again."""
        number = fill.exchange_trade_id
        if number is None:
            return
        self._quantity = None
        before = self.fills.get(number)
        if before is None:
            self.fills[number] = fill
            self.sources[number] = source
            self._fee_asked_for[number] = source in _ASKED and fill.fee.amount is not None
        elif (before.price, before.quantity) != (fill.price, fill.quantity):
            self.conflicts.add(number)
        else:
            # the fee that was said last counts: exchanges correct theirs, and charge some of them later. What was said when
            # it was executed, however late that is heard of, is older than what the exchange says when it is asked.
            older = self._fee_asked_for[number] and source not in _ASKED
            better = _FEE_RANK[fill.fee.status] >= _FEE_RANK[before.fee.status] and not older
            fee = fill.fee if better else before.fee
            self._fee_asked_for[number] |= better and source in _ASKED
            known = {name: value for name in Fill.__struct_fields__ if (value := getattr(before, name)) is not None}
            self.fills[number] = msgspec.structs.replace(fill, **{**known, "fee": fee})
