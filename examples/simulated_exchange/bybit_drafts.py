"""Bybit v5: from a request's parameters to an order, and the checks it must pass.

Source: Bybit's v5 documentation (Trade / Place Order, Error Codes). [D]: read, never seen on the live exchange.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .bybit_account import number
from .bybit_messages import BybitMessages
from .engine import Call, Refusal
from .ledger import ZERO, Order, plain


class BybitDrafts(BybitMessages):
    """Orders as they are asked for."""

    def draft(self, call: Call) -> Order | None:
        if call.path == "/v5/order/create":
            return self.order_draft(call.params)
        if call.path == "/v5/position/trading-stop":
            return self.draft_stop(self.instrument(call.params), call.params)
        return None

    def order_draft(self, params: dict[str, Any]) -> Order:
        item = self.instrument(params)
        side, kind = str(params.get("side") or ""), str(params.get("orderType") or "")
        if side not in ("Buy", "Sell"):
            raise Refusal(10001, "params error: side invalid")
        if kind not in ("Market", "Limit"):
            raise Refusal(10001, "params error: OrderType invalid")
        trigger = number(params, "triggerPrice", None)
        direction = int(params.get("triggerDirection") or 0)
        if trigger is not None and not direction:
            # Spot has no triggerDirection: it follows from where the market is [D].
            direction = 1 if trigger > self.prices[item] else 2
        order = Order(
            kind="order" if trigger is None else "conditional",
            exchange_status="" if trigger is None else "Untriggered",
            instrument=item,
            side=side.lower(),
            type=kind,
            quantity=number(params, "qty", ZERO),
            client_order_id=str(params.get("orderLinkId") or ""),
            limit_price=number(params, "price", None) if kind == "Limit" else None,
            trigger_price=trigger,
            trigger_direction=direction if trigger is not None else 0,
            reduce_only=params.get("reduceOnly") in (True, "true"),
            time_in_force="IOC" if kind == "Market" else str(params.get("timeInForce") or "GTC"),
            details={
                "stopOrderType": "" if trigger is None else "Stop",
                "closeOnTrigger": params.get("closeOnTrigger") in (True, "true"),
                "marketUnit": str(params.get("marketUnit") or ""),
                "lastPriceOnCreated": plain(self.prices[item]),
                "attach": {name: params[name] for name in ("stopLoss", "takeProfit") if params.get(name)},
            },
        )
        if item.category == "spot" and kind == "Market" and order.side == "buy":
            self._from_quote(order)
        return order

    def _from_quote(self, order: Order) -> None:
        """A spot market buy gives the amount of quote coins to spend, unless marketUnit says baseCoin."""
        if order.details["marketUnit"] == "baseCoin":
            return
        item, worst = order.instrument, self.settings.slippage_ticks + self.settings.split_fills - 1
        price = self.prices[item] + item.tick * worst
        order.details["quote_quantity"] = order.quantity
        order.quantity = (order.quantity / price // item.step) * item.step

    def _check_attached(self, order: Order, base_price: Decimal) -> None:
        """Stops that come with an entry are looked at before it is taken: a wrong one refuses the whole order."""
        for name, value in (order.details.get("attach") or {}).items():
            price = number({name: value}, name, ZERO)
            if price and (price < base_price) != (order.side == "buy") ^ (name == "takeProfit"):
                word = "lower" if (order.side == "buy") ^ (name == "takeProfit") else "higher"
                words = f"{name} {price} set for {order.side} position should be {word} than base_price {base_price}"
                raise Refusal(10001, words, order)

    def check(self, order: Order) -> None:
        item = order.instrument
        if order.quantity <= 0 or order.quantity % item.step or order.quantity > item.max_quantity:
            raise Refusal(10001 if item.category == "linear" else 170137, "Qty invalid", order)
        for price in (order.limit_price, order.trigger_price):
            if price is not None and (price <= 0 or price % item.tick):
                raise Refusal(10001 if item.category == "linear" else 170134, "Price invalid", order)
        if order.type == "Limit" and order.limit_price is None:
            raise Refusal(10001, "params error: price invalid", order)
        taken = [other for other in self.ledger.orders if other.status != "REJECTED" and other.client_order_id]
        # "Always unique": a link id stays taken after its order has ended.
        if any(order.client_order_id == other.client_order_id for other in taken):
            if item.category == "spot":
                raise Refusal(170141, "Duplicate clientOrderId", order)
            raise Refusal(110072, "OrderLinkedID is duplicate", order)
        market = self.prices[item]
        if not order.reduce_only and order.quantity * (order.limit_price or market) < item.min_notional:
            if item.category == "spot":
                raise Refusal(170140, "Order value exceeded lower limit.", order)
            raise Refusal(110094, "Order does not meet minimum order value 5USDT", order)
        self._check_attached(order, order.limit_price or market)
        if order.trigger_price is not None and item.category == "linear":
            if order.trigger_direction == 1 and order.trigger_price <= market:
                raise Refusal(110092, "expect Rising, but trigger_price[...] <= current[...]", order)
            if order.trigger_direction == 2 and order.trigger_price >= market:
                raise Refusal(110093, "expect Falling, but trigger_price[...] >= current[...]", order)

    def affordable(self, order: Order) -> bool:
        item = order.instrument
        if item.category == "linear":
            return self.can_afford(order)
        balances = self.ledger.balances
        if order.side == "sell":
            return balances.get(item.base, ZERO) >= order.quantity
        return balances.get(item.quote, ZERO) >= order.quantity * (order.limit_price or self.prices[item])
