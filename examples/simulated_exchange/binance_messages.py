"""Binance USD-M futures: the raw messages of the user-data stream.

Sources: Binance's documentation "USDS-Margined Futures" (User Data Streams: Event Order Update, Event Algo Order
Update, Event Balance and Position Update) and what ccxt 4.5.90's pro client reads from them.
"""

from __future__ import annotations

from typing import Any

from . import binance_wire as wire
from .binance_history import BinanceHistory
from .engine import rounded
from .ledger import ZERO, Fill, Funding, Order, fixed, plain
from .messages import Event

# er: why an order expired; 2 is an IOC remainder, 9 that of a market order.
_EXPIRED_IOC, _EXPIRED_MARKET = "2", "9"


class BinanceMessages(BinanceHistory):
    """ORDER_TRADE_UPDATE, ALGO_UPDATE and, for funding, ACCOUNT_UPDATE."""

    def messages_of(self, order: Order, event: Event, fill: Fill | None) -> list[dict[str, Any]]:
        if order.kind == "algo":
            return [self._envelope("ALGO_UPDATE", order.updated_time, self._algo(order))]
        return [self._envelope("ORDER_TRADE_UPDATE", order.updated_time, self._order(order, event, fill))]

    def _envelope(self, name: str, at: int, order: dict[str, Any]) -> dict[str, Any]:
        return {"e": name, "T": at, "E": self.now(), "o": order}

    def _order(self, order: Order, event: Event, fill: Fill | None) -> dict[str, Any]:
        item = order.instrument
        # Liquidation alone has an order type of its own here; REST calls it LIMIT. That deleveraging is CALCULATED
        # too is [?].
        is_forced = "cause" in order.details
        kind = "LIQUIDATION" if order.details.get("cause") == "liquidation" else order.type
        executed = "CALCULATED" if is_forced else "TRADE"
        execution = {"new": "NEW", "fill": executed, "amended": "AMENDMENT", "ended": order.status}[event]
        payload: dict[str, Any] = {
            "s": item.symbol,
            "c": order.client_order_id,
            "S": order.side.upper(),
            "o": kind,
            "f": order.time_in_force,
            "q": wire.quantity_text(item, order.quantity),
            "p": wire.price_text(item, order.limit_price),
            "ap": f"{wire.average_on_wire(order):f}",
            "sp": wire.price_text(item, None),
            "x": execution,
            "X": order.status,
            "i": int(order.exchange_order_id or 0),
            "l": wire.quantity_text(item, ZERO if fill is None else fill.quantity),
            "z": wire.quantity_text(item, order.filled_quantity),
            "L": wire.price_text(item, None if fill is None else fill.price),
            "T": order.updated_time,
            "t": 0 if fill is None else int(fill.exchange_trade_id),
            "b": "0",
            "a": "0",
            "m": fill is not None and fill.liquidity == "maker",
            "R": order.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": kind,
            "ps": "BOTH",
            "cp": False,
            "rp": plain(ZERO if fill is None else fill.realized_pnl),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": 0,
            "er": _expiry_reason(order),
        }
        if fill is not None and self.fee_is_known(fill) and fill.fee_amount:
            payload.update(N=fill.fee_currency, n=fixed(fill.fee_amount, 8))
        return payload

    def _algo(self, order: Order) -> dict[str, Any]:
        """What filled is in it only after the trigger, as average (ap) and quantity (aq) of the child (ai)."""
        item = order.instrument
        child = self.ledger.executed(order) if order.actual_order_id else None
        payload: dict[str, Any] = {
            "caid": order.client_order_id,
            "aid": int(order.exchange_order_id or 0),
            "at": "CONDITIONAL",
            "o": order.type,
            "s": item.symbol,
            "S": order.side.upper(),
            "ps": "BOTH",
            "f": order.time_in_force,
            "q": wire.quantity_text(item, order.quantity),
            "X": order.exchange_status,
            "ai": order.actual_order_id or "",
            "ap": "0.00000" if child is None else f"{wire.average_on_wire(child):f}",
            "aq": "0.00000" if child is None else wire.quantity_text(item, child.filled_quantity),
            "act": "0" if child is None else child.type,
            "tp": wire.price_text(item, order.trigger_price),
            "p": wire.price_text(item, order.limit_price),
            "V": "EXPIRE_MAKER",
            "wt": "CONTRACT_PRICE",
            "pm": "NONE",
            "cp": order.close_position,
            "pP": False,
            "R": order.reduce_only,
            "tt": order.triggered_time,
            "gtd": 0,
        }
        if order.callback is not None:  # not in the documented example: named as ORDER_TRADE_UPDATE names them [?]
            payload.update(cr=plain(order.callback), AP=wire.price_text(item, order.activation_price))
        if order.exchange_status == "REJECTED":
            payload["rm"] = order.details.get("reason", "Margin is insufficient.")
        return payload

    def funding_message(self, funding: Funding) -> dict[str, Any]:
        """A cross position shows the balance alone, so that nothing in it names the symbol."""
        wallet = f"{rounded(self.ledger.balances[funding.currency], 8):f}"
        change = {"a": funding.currency, "wb": wallet, "cw": wallet, "bc": fixed(funding.amount, 8)}
        update = {"m": "FUNDING_FEE", "B": [change], "P": []}
        return {"e": "ACCOUNT_UPDATE", "T": funding.time, "E": self.now(), "a": update}


def _expiry_reason(order: Order) -> str:
    if order.status != "EXPIRED":
        return "0"
    return _EXPIRED_MARKET if order.type == "MARKET" else _EXPIRED_IOC
