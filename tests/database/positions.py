"""Positions as records: what a bot sent at which second of a day, and what the exchange said came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import uuid4

from conftest import FakeJournal

from audit_wrapper.records import (
    Action,
    Call,
    Failure,
    Market,
    Operation,
    PositionLink,
    Purpose,
    RecordKind,
    Request,
    Seam,
)
from audit_wrapper.store.postgres import PostgresStore

DAY = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
LINEAR = Market(
    symbol="MNT/USDT:USDT", exchange_symbol="MNTUSDT", base="MNT", quote="USDT", settle="USDT", type="swap",
    contract_size=Decimal(1),
)  # fmt: skip


def at(second: float) -> datetime:
    """That many seconds after noon of the day."""
    return DAY + timedelta(seconds=second)


class Fill(NamedTuple):
    """One execution: at this second, price, quantity; the fee and its currency. No fee: not said."""

    second: float
    price: str
    quantity: str
    fee: str | None = "0"
    currency: str | None = "USDT"


class Positions:
    """One journal of one exchange. Each method appends records; `deliver` stores them."""

    def __init__(self, exchange: str, account: str = "default", market: Market = LINEAR) -> None:
        self.journal = FakeJournal(exchange, account)
        self.exchange = exchange
        self.market = market
        self._ids = (str(number) for number in itertools.count(1))

    def order(
        self,
        second: float,
        side: str,
        quantity: str,
        *fills: Fill,
        position: str | None = "7",
        opens: str = "buy",
        purpose: Purpose | None = None,
        type: str = "market",
        limit: str | None = None,
        trigger: str | None = None,
        intended: str | None = None,
        answered: bool = True,
        filled: str | None = None,
        status: str | None = None,
    ) -> str:
        """An order that is answered a second later, and executed. Returns its id.

        opens: the side that opens the position. intended: the price that the bot opens it for. filled: what the exchange says
        was filled, where that is not what the fills add up to.
        """
        number = next(self._ids)
        asked: dict[str, Any] = {"symbol": self.market.symbol, "type": type, "side": side, "amount": quantity}
        if limit is not None:
            asked["price"] = limit
        if trigger is not None:
            asked["params"] = {"stopPrice": trigger, "reduceOnly": True}
        link = PositionLink(
            position_id=position, signal_id=42, symbol=self.market.exchange_symbol, side=opens, how="atomic",
            intended_price=Decimal(intended) if intended is not None else None,
        )  # fmt: skip
        common = {
            "call": Call(seam=Seam.CLIENT, target=self.exchange, method="create_order", arguments=asked),
            "market": self.market,
            "operation": Operation(correlation_id=uuid4()),
            "purpose": purpose,
            "position": link if position is not None else None,
            "called_at": at(second),
        }
        intent = self.journal.append(RecordKind.INTENT, Action.PLACE, **common).record
        if not answered:
            return number
        executed = sum((Decimal(fill.quantity) for fill in fills), Decimal(0))
        done = Decimal(filled) if filled is not None else executed
        rests = done < Decimal(quantity)
        shown = {
            "id": number, "symbol": self.market.symbol, "side": side, "type": type, "amount": quantity,
            "filled": str(done), "remaining": str(Decimal(quantity) - done), "price": limit, "triggerPrice": trigger,
            "status": status or ("open" if rests else "closed"),
        }  # fmt: skip
        taken = {**shown, "filled": "0", "remaining": quantity, "status": "open"}
        self.journal.append(
            RecordKind.ACKNOWLEDGED, Action.PLACE, intent_id=intent.record_id, answered_at=at(second + 1), result=taken, **common
        )  # fmt: skip
        if fills or done:
            self.executed(number, shown, fills)
        return number

    def executed(self, number: str, shown: dict[str, Any], fills: Iterable[Fill]) -> None:
        """The exchange shows the order and its executions."""
        trades = []
        for index, fill in enumerate(fills):
            trade: dict[str, Any] = {
                "id": f"{number}-{index}", "order": number, "symbol": self.market.symbol, "side": shown["side"],
                "price": fill.price, "amount": fill.quantity, "timestamp": int(at(fill.second).timestamp() * 1000),
            }  # fmt: skip
            if fill.fee is not None:
                trade["fee"] = {"cost": fill.fee, "currency": fill.currency}
            trades.append(trade)
        arguments = {"id": number, "id_kind": "order", "symbol": self.market.symbol}
        last = max((fill.second for fill in fills), default=3600.0)
        self.journal.append(
            RecordKind.RECONCILED,
            Action.ASK,
            call=Call(seam=Seam.RECONCILE, target=self.exchange, method="fetch_order", arguments=arguments),
            market=self.market,
            result={"orders": [shown], "trades": trades},
            called_at=at(last + 1),
            answered_at=at(last + 1),
        )

    def stop(self, second: float, quantity: str, trigger: str, *fills: Fill, **more: Any) -> str:
        """A stop-loss order, taken a second later; executed, where there are fills."""
        side = "sell" if more.get("opens", "buy") == "buy" else "buy"
        return self.order(
            second, side, quantity, *fills, type="stop_market", trigger=trigger, purpose=Purpose.STOP_LOSS, **more
        )

    def cancel(self, second: float, number: str) -> None:
        """A cancel that is confirmed a second later."""
        arguments = {"id": number, "symbol": self.market.symbol}
        common = {
            "call": Call(seam=Seam.CLIENT, target=self.exchange, method="cancel_order", arguments=arguments),
            "market": self.market,
            "operation": Operation(correlation_id=uuid4()),
            "called_at": at(second),
        }
        intent = self.journal.append(RecordKind.INTENT, Action.CANCEL, **common).record
        self.journal.append(
            RecordKind.ACKNOWLEDGED,
            Action.CANCEL,
            intent_id=intent.record_id,
            answered_at=at(second + 1),
            result={"id": number, "symbol": self.market.symbol, "status": "canceled"},
            **common,
        )

    def cancel_all(self, second: float, path: str) -> None:
        """All orders of the symbol canceled, confirmed a second later."""
        self.journal.append(
            RecordKind.ACKNOWLEDGED,
            Action.CANCEL_ALL,
            call=Call(
                seam=Seam.CLIENT,
                target=self.exchange,
                method="cancel_all_orders",
                arguments={"symbol": self.market.symbol},
            ),
            request=Request(method="DELETE", path=path, params={"symbol": self.market.exchange_symbol}),
            market=self.market,
            operation=Operation(correlation_id=uuid4()),
            result=[],
            called_at=at(second),
            answered_at=at(second + 1),
        )

    def attached_stop(self, second: float, trigger: str, position: str = "7", opens: str = "buy") -> None:
        """A stop that is set on the position itself (Bybit), taken a second later; it takes the place of the one before."""
        arguments = {"params": {"symbol": self.market.exchange_symbol, "stopLoss": trigger, "positionIdx": "0"}}
        common = {
            "call": Call(
                seam=Seam.CLIENT, target="bybit", method="private_post_v5_position_trading_stop", arguments=arguments
            ),
            "market": self.market,
            "operation": Operation(correlation_id=uuid4()),
            "purpose": Purpose.STOP_LOSS,
            "position": PositionLink(position_id=position, signal_id=42, side=opens),
            "called_at": at(second),
        }
        intent = self.journal.append(RecordKind.INTENT, Action.SET_STOPS, **common).record
        self.journal.append(
            RecordKind.ACKNOWLEDGED, Action.SET_STOPS, intent_id=intent.record_id, answered_at=at(second + 1),
            result={"retCode": 0, "result": {}}, **common,
        )  # fmt: skip

    def refused(self, second: float, code: str, words: str) -> None:
        """An order that the exchange refuses."""
        arguments = {"symbol": self.market.symbol, "type": "market", "side": "buy", "amount": "1"}
        common = {
            "call": Call(seam=Seam.CLIENT, target=self.exchange, method="create_order", arguments=arguments),
            "market": self.market,
            "operation": Operation(correlation_id=uuid4()),
            "called_at": at(second),
        }
        intent = self.journal.append(RecordKind.INTENT, Action.PLACE, **common).record
        self.journal.append(
            RecordKind.REJECTED, Action.PLACE, intent_id=intent.record_id, answered_at=at(second + 1),
            failure=Failure(type="InsufficientFunds", message=words, code=code), **common,
        )  # fmt: skip

    async def deliver(self, store: PostgresStore) -> None:
        """Store all of it."""
        await self.journal.deliver(store)
