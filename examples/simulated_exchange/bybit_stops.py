"""Bybit v5: the stops that hang on a position (Position / Set Trading Stop).

They are orders with ids of their own, but the call that makes them answers {}. [D] marks what was read but
never seen on the live exchange.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .bybit_account import BybitAccount, number
from .engine import Refusal
from .instruments import Instrument
from .ledger import ZERO, Order, plain

# Parameter of trading-stop: its stopOrderType and createType.
_STOPS = {
    "stopLoss": ("StopLoss", "CreateByStopLoss"),
    "takeProfit": ("TakeProfit", "CreateByTakeProfit"),
    "trailingStop": ("TrailingStop", "CreateByTrailingStop"),
}


class BybitStops(BybitAccount):
    """Stop-loss, take-profit and trailing stop of a position."""

    def trading_stop(self, params: dict[str, Any]) -> dict[str, Any]:
        """Set, move or remove the stops of a position. The answer is {}: no id, no order."""
        item = self.instrument(params)
        if not self.ledger.position(item).quantity:
            words = "can not set tp/sl/ts for zero position"
            raise Refusal(10001, words, self.draft_stop(item, params))
        if not self.attach(item, params):
            raise Refusal(34040, "not modified")
        return {}

    def attach(self, item: Instrument, params: dict[str, Any]) -> bool:
        """Apply stopLoss, takeProfit and trailingStop; False when all of it was so already.

        A changed price ends the old order (Deactivated) and makes a new one with a new id. Whether the live
        exchange does that or amends the order under its id is [D]: both have been reported.
        """
        wanted = [name for name in _STOPS if params.get(name) not in (None, "")]
        drafts = [self.draft_stop(item, params, name) for name in wanted]
        for draft in drafts:
            self._check_stop(draft)
        changed = False
        for name, draft in zip(wanted, drafts, strict=True):
            is_whole = draft.details["tpslMode"] == "Full"
            old = [
                stop
                for stop in self.stops_of(item)
                if is_whole and stop.details["param"] == name and stop.details["tpslMode"] == "Full"
            ]
            if _removes(draft):
                for stop in old:
                    self.finish(stop, "CANCELED", "Deactivated")
                    changed = True
                continue
            if any(_same_stop(stop, draft) for stop in old):
                continue
            for stop in old:
                self.finish(stop, "CANCELED", "Deactivated")
            if draft.callback is not None and draft.activation_price is None:
                draft.activated, draft.extreme_price = True, self.prices[item]
            self.add(draft)
            changed = True
        return changed

    def draft_stop(self, item: Instrument, params: dict[str, Any], name: str | None = None) -> Order:
        """One attached stop; by default the first the request names."""
        name = name or next((key for key in _STOPS if params.get(key)), "stopLoss")
        position = self.ledger.position(item)
        is_long = position.quantity > 0
        value = number(params, name, ZERO)
        size = number(params, {"stopLoss": "slSize", "takeProfit": "tpSize"}.get(name, ""), None)
        is_part = params.get("tpslMode") == "Partial" and size is not None
        word, created_by = _STOPS[name]
        trails = name == "trailingStop"
        return Order(
            kind="attached",
            exchange_status="Untriggered",
            instrument=item,
            side="sell" if is_long else "buy",
            type="Market",
            quantity=size if is_part else abs(position.quantity),
            trigger_price=None if trails else value,
            trigger_direction=1 if is_long == (name == "takeProfit") else 2,
            callback=value if trails else None,
            activation_price=number(params, "activePrice", None) if trails else None,
            reduce_only=True,
            time_in_force="IOC",
            details={
                "param": name,
                "stopOrderType": f"Partial{word}" if is_part else word,
                "createType": created_by.replace("By", "ByPartial") if is_part else created_by,
                "tpslMode": "Partial" if is_part else "Full",
                "closeOnTrigger": True,
                "lastPriceOnCreated": plain(self.prices[item]),
            },
        )

    def _check_stop(self, draft: Order) -> None:
        price, trigger = self.prices[draft.instrument], draft.trigger_price
        if _removes(draft):
            return
        tick_price = draft.callback if trigger is None else trigger
        if tick_price is None or tick_price < 0 or tick_price % draft.instrument.tick:
            raise Refusal(10001, f"{draft.details['param']} invalid", draft)
        if trigger is None:
            return
        rises = draft.trigger_direction == 1
        if trigger <= price if rises else trigger >= price:
            # The exchange words prices as integers of 1e-4.
            holder = "Buy" if draft.side == "sell" else "Sell"
            words = (
                f"{draft.details['stopOrderType']}:{int(trigger * 10000)} set for {holder} position should "
                f"{'higher' if rises else 'lower'} than base_price:{int(price * 10000)}??LastPrice"
            )
            raise Refusal(10001, words, draft)


def _removes(draft: Order) -> bool:
    """A stop of price 0 takes the present one off."""
    return (draft.callback if draft.trigger_price is None else draft.trigger_price) == 0


def _same_stop(one: Order, other: Order) -> bool:
    def shape(order: Order) -> tuple[Decimal | None, ...]:
        return order.trigger_price, order.callback, order.activation_price

    return shape(one) == shape(other)
