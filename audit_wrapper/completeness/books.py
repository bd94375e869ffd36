"""Both books side by side, and what was found in them so far."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from audit_wrapper.completeness.shown import Shown, ShownExecution, ShownOrder
from audit_wrapper.completeness.statement import Finding, Question
from audit_wrapper.completeness.words import row_text, utc
from audit_wrapper.exchanges.numbers import total
from audit_wrapper.records import OrderState
from audit_wrapper.rows import FillRow, OrderRow


class Books:
    """What is shared by the steps of a comparison. `free_orders`, `free_fills`: the rows that no order or execution of
    the exchange was matched with yet, by their place in `orders` and `fills`."""

    def __init__(
        self,
        since: datetime,
        until: datetime,
        shown: Shown,
        orders: list[OrderRow],
        fills: list[FillRow],
        algo_keys: Collection[UUID] | None,
    ) -> None:
        self.since, self.until, self.shown = since, until, shown
        self.orders = sorted(orders, key=lambda row: row.order_key)
        self.fills = sorted(fills, key=lambda row: (row.exchange_trade_id, row.order_key))
        self.algo_keys = algo_keys
        self.missing: list[Finding] = []
        self.extra: list[Finding] = []
        self.different: list[Finding] = []
        self.questions: list[Question] = []
        self.unshown: list[str] = []
        self.row_of_key = {row.order_key: row for row in self.orders}
        self.free_orders = dict(enumerate(self.orders))
        self.free_fills = dict(enumerate(self.fills))
        # by the key of their order: fills that the exchange neither shows nor rules out
        self.unchecked: dict[UUID, list[FillRow]] = {}
        self._kept: dict[UUID, list[Decimal]] = {}
        for fill in self.fills:
            self._kept.setdefault(fill.order_key, []).append(fill.quantity or Decimal(0))

    def kept(self, row: OrderRow) -> Decimal:
        """What the fills of this row come to."""
        return total(self._kept.get(row.order_key, []))

    def within(self, at: datetime | None) -> bool:
        """Whether this is in the range. What has no time is not let go for that."""
        return at is None or self.since <= utc(at) < self.until

    def began_within(self, order: ShownOrder, state: OrderState) -> bool:
        """Whether the order is of the range, as far as the exchange tells."""
        if state.created_at is not None:
            return self.within(state.created_at)
        times = [fill.exchange_at for fill in order.fills] + [state.exchange_at]
        known = [utc(at) for at in times if at is not None]
        if not known:
            return True
        # a change after the range does not say that it began after it; but what began inside would have been shown
        # with more than its executions
        alone = state.order_status is None and state.quantity is None
        return max(known) >= self.since and (not alone or min(known) < self.until)

    # -- what is found

    def order_missing(self, order: ShownOrder, told: str, namesake: OrderRow | None) -> None:
        """`namesake`: a row without an id that has the order's client order id."""
        self.missing.append(
            Finding(
                what="order",
                symbol=order.symbol,
                order_id=order.order_id,
                at_exchange=told,
                in_trail=f"no row with this id; a row without one, {namesake.status}, has its client order id"
                if namesake is not None
                else None,
                order_key=str(namesake.order_key) if namesake is not None else None,
            )
        )

    def order_differs(self, order: ShownOrder, field: str, at_exchange: str | None, in_trail: str | None) -> None:
        order.differs = True
        self.different.append(
            Finding(
                what="order",
                symbol=order.symbol,
                order_id=order.order_id,
                field=field,
                at_exchange=at_exchange,
                in_trail=in_trail,
                order_key=str(order.row.order_key) if order.row is not None else None,
            )
        )

    def order_extra(self, row: OrderRow, at_exchange: str | None = None) -> None:
        self.extra.append(
            Finding(
                what="order",
                symbol=row.unified_symbol or row.symbol,
                order_id=row.order_id,
                at_exchange=at_exchange,
                in_trail=row_text(row),
                order_key=str(row.order_key),
            )
        )

    def ask(self, row: OrderRow, why: str) -> None:
        self.questions.append(
            Question(
                what="order",
                symbol=row.unified_symbol or row.symbol,
                order_id=row.order_id,
                order_key=str(row.order_key),
                why=why,
                in_trail=row_text(row),
            )
        )

    def fill_finding(
        self,
        symbol: str | None,
        row: FillRow | None,
        one: ShownExecution | None,
        field: str | None = None,
        *,
        at_exchange: str | None = None,
        in_trail: str | None = None,
    ) -> Finding:
        """Of an execution, of a fill row, or of both."""
        trade_id = one.fill.exchange_trade_id if one is not None else row.exchange_trade_id if row is not None else None
        order_id = one.order.root.order_id if one is not None else None
        if not order_id and row is not None:
            owner = self.row_of_key.get(row.order_key)
            order_id = owner.order_id if owner is not None else row.exchange_order_id
        return Finding(
            what="fill",
            symbol=symbol,
            order_id=order_id or None,
            trade_id=trade_id,
            field=field,
            at_exchange=at_exchange,
            in_trail=in_trail,
            order_key=str(row.order_key) if row is not None else None,
        )
