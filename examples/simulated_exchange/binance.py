"""Binance USD-M futures: its rules for orders and its order routes.

Sources: Binance's documentation "USDS-Margined Futures" (New Order, New Algo Order, Query Algo Order, Modify
Order, Cancel Multiple Orders, Error Codes). A rule that the documentation leaves open is marked [?] where it
stands.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from . import binance_drafts as drafts
from . import binance_wire as wire
from .binance_drafts import missing, number
from .binance_messages import BinanceMessages
from .engine import Answer, Call, Refusal, rounded
from .instruments import PERPETUALS, Instrument
from .ledger import Cause, Order
from .settings import Settings

CANCELED_ALL = {"code": 200, "msg": "The operation of cancel all open order is done."}


class Binance(BinanceMessages):
    """One USD-M account in one-way mode."""

    remainder_status = "EXPIRED"
    actions: ClassVar[dict[str, tuple[str, str]]] = {
        "create": ("POST", "/fapi/v1/order"),
        "stop": ("POST", "/fapi/v1/algoOrder"),
        "cancel": ("DELETE", "/fapi/v1/order"),
        "cancel_stop": ("DELETE", "/fapi/v1/algoOrder"),
        "cancel_all": ("DELETE", "/fapi/v1/allOpenOrders"),
        "amend": ("PUT", "/fapi/v1/order"),
        "batch": ("POST", "/fapi/v1/batchOrders"),
    }

    def __init__(self, settings: Settings, start_time_ms: int | None = None) -> None:
        super().__init__(PERPETUALS, settings, start_time_ms)
        # Documented as unique per symbol only: here two symbols do share the same numbers.
        self._order_numbers: Counter[Instrument] = Counter()
        self._trade_numbers: Counter[Instrument] = Counter()
        self._algo_numbers = 0
        self._fees_charged = 0
        self._routes: dict[str, Callable[[dict[str, Any]], Any]] = {
            "POST /fapi/v1/order": self._create,
            "PUT /fapi/v1/order": self._amend,
            "DELETE /fapi/v1/order": self._cancel,
            "DELETE /fapi/v1/allOpenOrders": self._cancel_all,
            "POST /fapi/v1/batchOrders": self._create_batch,
            "DELETE /fapi/v1/batchOrders": self._cancel_batch,
            "POST /fapi/v1/algoOrder": self._create_algo,
            "DELETE /fapi/v1/algoOrder": self._cancel_algo,
            "DELETE /fapi/v1/algoOpenOrders": self._cancel_all_algos,
            **self.history_routes(),
            **self.account_routes(),
        }

    # --- the exchange ---

    def handle(self, call: Call) -> Answer:
        route = self._routes.get(f"{call.method} {call.path}")
        if route is None:
            raise Refusal(-5000, f"Path {call.path}, Method {call.method} is invalid")
        self.check_signature(call)
        with self.books():
            return Answer(route(call.params))

    def refusal_answer(self, refusal: Refusal, call: Call) -> Answer:
        status = 404 if refusal.code == -5000 else 401 if refusal.code == -2015 else 400
        return Answer({"code": refusal.code, "msg": refusal.words}, status)

    def reported_average(self, order: Order) -> Decimal | None:
        return wire.average_on_wire(order) if order.filled_quantity else None

    def rate_limit_refusal(self) -> tuple[int, int, str]:
        return 429, -1003, "Too many requests; current limit of IP is 2400 requests per minute."

    def new_order_id(self, order: Order) -> str:
        if order.kind == "algo":
            self._algo_numbers += 1
            return str(2146760 + self._algo_numbers)
        self._order_numbers[order.instrument] += 1
        # Above 2**53, as real ids are: a float cannot hold it.
        return str(8389765500000000000 + self._order_numbers[order.instrument])

    def new_trade_id(self, order: Order) -> str:
        self._trade_numbers[order.instrument] += 1
        return str(600000000 + self._trade_numbers[order.instrument])

    def new_funding_id(self) -> str:
        return str(4480321991774044580 + len(self.ledger.fundings))

    def fee(self, order: Order, price: Decimal, quantity: Decimal, rate: Decimal) -> tuple[Decimal, str]:
        """Eight digits, in USDT or (when switched on) in BNB at the set price. No rebate is paid in BNB."""
        amount = price * quantity * rate
        self._fees_charged += 1
        wanted = self.settings.fee_currency
        in_bnb = wanted == "BNB" or (wanted == "mixed" and self._fees_charged % 2 == 0)
        if in_bnb and amount > 0:
            return rounded(amount / self.settings.bnb_price, 8), "BNB"
        return rounded(amount, 8), "USDT"

    # --- orders that the bot did not place ---

    def place_by_hand(self, wanted: Order) -> Order:
        """In the app: client ids begin with web_, ios_ or android_."""
        rises = wanted.trigger_price is not None and wanted.trigger_price > self.prices[wanted.instrument]
        params: dict[str, Any] = {
            "symbol": wanted.symbol,
            "side": wanted.side.upper(),
            "quantity": wanted.quantity,
            "reduceOnly": wanted.reduce_only,
            "timeInForce": "GTC",
        }
        client_id = wanted.client_order_id or f"web_{self._invented_id()[:20]}"
        if wanted.limit_price is not None:
            params["price"] = wanted.limit_price
        if wanted.trigger_price is None:
            kind = "MARKET" if wanted.limit_price is None else "LIMIT"
            return self._place({**params, "type": kind, "newClientOrderId": client_id})
        word = "STOP" if rises == (wanted.side == "buy") else "TAKE_PROFIT"
        params["type"] = f"{word}_MARKET" if wanted.limit_price is None else word
        return self._place_algo(
            {**params, "algoType": "CONDITIONAL", "triggerPrice": wanted.trigger_price, "clientAlgoId": client_id}
        )

    def stop_by_hand(self, instrument: Instrument, prices: dict[str, Decimal]) -> None:
        side = "SELL" if self.ledger.position(instrument).quantity > 0 else "BUY"
        for name, price in prices.items():
            self._place_algo(
                {
                    "algoType": "CONDITIONAL",
                    "symbol": instrument.symbol,
                    "side": side,
                    "type": "STOP_MARKET" if name == "stopLoss" else "TAKE_PROFIT_MARKET",
                    "triggerPrice": price,
                    "closePosition": True,
                    "clientAlgoId": f"web_{self._invented_id()[:20]}",
                }
            )

    def cancel_by_hand(self, order: Order) -> None:
        self.finish(order, "CANCELED", "CANCELED" if order.kind == "algo" else "")

    def forced_order(self, wanted: Order, cause: Cause) -> Order:
        """LIMIT, as User's Force Orders shows them: IOC for a liquidation, GTC for deleveraging; not reduce-only.

        How a settlement looks but for its client id is [?].
        """
        number = sum("cause" in order.details for order in self.ledger.orders) + 1
        unique = f"{self.now()}{number:06d}"
        client_ids = {
            "liquidation": f"autoclose-{unique}",
            "auto_deleveraging": "adl_autoclose",
            "settlement": f"settlement_autoclose-{unique}",
        }
        distance = wanted.instrument.tick * 100
        price = self.prices[wanted.instrument]
        wanted.type = "LIMIT"
        wanted.client_order_id = client_ids[cause]
        wanted.limit_price = price + distance if wanted.side == "buy" else max(wanted.instrument.tick, price - distance)
        wanted.time_in_force = "IOC" if cause == "liquidation" else "GTC"
        return wanted

    def _invented_id(self) -> str:
        return hashlib.sha256(f"{len(self.ledger.orders)}".encode()).hexdigest()[:22]

    # --- conditional orders ---

    def fire(self, order: Order) -> None:
        """Place the child: a new order of the plain kind; only `actualOrderId` ties the two together."""
        reducible = self.reducible(order)
        if order.close_position and not reducible:
            self.finish(order, "EXPIRED", "EXPIRED")
            return
        if order.reduce_only and not reducible:
            # ALGO_UPDATE documents REJECTED with the reason "Reduce Only reject" for this.
            order.details["reason"] = "Reduce Only reject"
            self.finish(order, "REJECTED", "REJECTED")
            return
        is_limit = order.limit_price is not None
        child = Order(
            instrument=order.instrument,
            side=order.side,
            type="LIMIT" if is_limit else "MARKET",
            quantity=reducible if order.close_position else order.quantity,
            client_order_id=hashlib.sha256(f"algo {order.exchange_order_id}".encode()).hexdigest()[:22],
            limit_price=order.limit_price,
            reduce_only=order.reduce_only or order.close_position,
            time_in_force=order.time_in_force if is_limit else "GTC",
            details={"parent": order},
        )
        if not child.reduce_only and not self.can_afford(child):
            self.finish(order, "REJECTED", "REJECTED")
            return
        if "by" in order.details:
            child.details["by"] = order.details["by"]
        order.exchange_status = "TRIGGERING"
        self.announce(order, "triggered")
        self.add(child)
        order.exchange_status = "TRIGGERED"
        order.actual_order_id = child.exchange_order_id
        self.announce(order, "triggered")
        self.execute(child)

    def order_changed(self, order: Order) -> None:
        parent = order.details.get("parent")
        if parent is not None:
            parent.status = order.status
            parent.exchange_status = "FINISHED" if order.is_final else "TRIGGERED"
            parent.updated_time = order.updated_time
            if order.is_final:
                self.announce(parent, "changed")

    def position_closed(self, instrument: Instrument) -> None:
        """closePosition orders expire with their position; reduce-only ones stay behind."""
        for order in self.ledger.open_orders(instrument):
            if order.is_armed and order.close_position:
                self.finish(order, "EXPIRED", "EXPIRED")

    def callback_distance(self, order: Order, best: Decimal) -> Decimal:
        assert order.callback is not None
        return best * order.callback / 100

    # --- drafts: what a request asks for, checked ---

    def draft(self, call: Call) -> Order | None:
        if call.method != "POST":
            return None
        if call.path == "/fapi/v1/order":
            return drafts.plain_order(self.instrument(call.params), call.params)
        if call.path == "/fapi/v1/algoOrder":
            return drafts.algo_order(self.instrument(call.params), call.params)
        return None

    # --- plain orders ---

    def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self._place(params)
        wants_result = params.get("newOrderRespType") == "RESULT"
        return wire.order_json(order, with_time=False) if wants_result else wire.acknowledgement_json(order)

    def _place(self, params: dict[str, Any]) -> Order:
        if params.get("type") in wire.ORDER_TYPES[2:]:
            # Since December 2025 conditional orders live at algoOrder only.
            words = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
            raise Refusal(-4120, words, drafts.plain_order(self.instrument(params), params))
        if params.get("type") not in ("LIMIT", "MARKET"):
            raise Refusal(-1116, "Invalid orderType.")
        order = drafts.plain_order(self.instrument(params), params)
        if order.type == "LIMIT" and order.limit_price is None:
            raise missing("price", order)
        if "quantity" not in params:
            raise missing("quantity", order)
        drafts.check(order, self.ledger)
        price = order.limit_price or self.prices[order.instrument]
        if not order.reduce_only and order.quantity * price < order.instrument.min_notional:
            words = "Order's notional must be no smaller than 5 (unless you choose reduce only)."
            raise Refusal(-4164, words, order)
        # A larger reduce-only order is taken and its remainder expires [?].
        if order.reduce_only and not self.reducible(order):
            raise Refusal(-2022, "ReduceOnly Order is rejected.", order)
        if not order.reduce_only and not self.can_afford(order):
            raise Refusal(-2019, "Margin is insufficient.", order)
        if order.time_in_force == "GTX" and self.crosses(order):
            words = (
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history"
            )
            raise Refusal(-5022, words, order)
        if not order.client_order_id:
            order.client_order_id = self._invented_id()
        self.add(order)
        self.execute(order)
        return order

    def _create_batch(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Up to five orders; one that is refused is an error object in its place."""
        answers: list[dict[str, Any]] = []
        for item in json.loads(str(params["batchOrders"]), parse_float=Decimal):
            try:
                answers.append(self._create({"newOrderRespType": "RESULT", **item}))
            except Refusal as refusal:
                if refusal.order is not None:
                    self.record_refusal(refusal.order, refusal.code, refusal.words)
                answers.append({"code": refusal.code, "msg": refusal.words})
        return answers

    def _amend(self, params: dict[str, Any]) -> dict[str, Any]:
        """Modify Order: a new price and quantity under the same ids; LIMIT only."""
        order = self.find(params, Refusal(-2013, "Order does not exist."))
        if order.is_final or order.type != "LIMIT":
            raise Refusal(-2013, "Order does not exist.")
        price = number(params, "price", order.limit_price)
        quantity = number(params, "quantity", order.quantity)
        if (price, quantity) == (order.limit_price, order.quantity):
            raise Refusal(-5027, "No need to modify the order.")
        if price is None or price % order.instrument.tick or quantity % order.instrument.step:
            raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
        if quantity <= order.filled_quantity:  # "the order will be cancelled" [D: Modify Order]
            self.finish(order, "CANCELED")
            return wire.order_json(order, with_time=False)
        order.limit_price, order.quantity = price, quantity
        order.updated_time = self.now()
        self.announce(order, "amended")
        self.execute(order)
        return wire.order_json(order, with_time=False)

    def _cancel(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self.find(params, Refusal(-2011, "Unknown order sent."))
        if order.is_final:
            raise Refusal(-2011, "Unknown order sent.")
        self.finish(order, "CANCELED")
        return wire.order_json(order, with_time=False)

    def _cancel_batch(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        ids = json.loads(str(params.get("orderidlist") or params.get("orderIdList") or "[]"))
        client_ids = params.get("origclientorderidlist") or params.get("origClientOrderIdList") or "[]"
        wanted = [{"orderId": item} for item in ids]
        wanted += [{"origClientOrderId": item} for item in json.loads(str(client_ids))]
        for item in wanted:
            try:
                answers.append(self._cancel({"symbol": params["symbol"], **item}))
            except Refusal as refusal:
                answers.append({"code": refusal.code, "msg": refusal.words})
        return answers

    def _cancel_all(self, params: dict[str, Any]) -> dict[str, Any]:
        """Plain orders of one symbol. Conditional orders stay: they have their own endpoint."""
        for order in self.ledger.open_orders(self.instrument(params)):
            if order.kind == "order":
                self.finish(order, "CANCELED")
        return dict(CANCELED_ALL)

    # --- conditional orders: algoOrder ---

    def _create_algo(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.algo_json(self._place_algo(params))

    def _place_algo(self, params: dict[str, Any]) -> Order:
        if params.get("algoType") != "CONDITIONAL":
            raise missing("algoType")
        if params.get("type") not in wire.ORDER_TYPES[2:]:
            raise Refusal(-1116, "Invalid orderType.")
        order = drafts.algo_order(self.instrument(params), params)
        if order.callback is None and order.trigger_price is None:
            raise missing("callbackRate" if order.type.startswith("TRAILING") else "triggerPrice", order)
        drafts.check(order, self.ledger)
        price = self.prices[order.instrument]
        if order.trigger_price is not None:
            rises = order.trigger_direction == 1
            triggered = price >= order.trigger_price if rises else price <= order.trigger_price
        else:
            # Documented: a selling trail is activated above the market, a buying one below it.
            selling, target = order.side == "sell", order.activation_price
            triggered = target is not None and (target <= price if selling else target >= price)
        if triggered:
            raise Refusal(-2021, "Order would immediately trigger.", order)
        if order.callback is not None and order.activation_price is None:
            order.activated, order.extreme_price = True, price
        if not order.client_order_id:
            order.client_order_id = self._invented_id()
        return self.add(order)

    def _cancel_algo(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self.find_algo(params, Refusal(-2011, "Unknown order sent."))
        if not order.is_armed:
            raise Refusal(-2011, "Unknown order sent.")
        self.finish(order, "CANCELED", "CANCELED")
        return {
            "algoId": int(order.exchange_order_id or 0),
            "clientAlgoId": order.client_order_id,
            "code": "200",
            "msg": "success",
        }

    def _cancel_all_algos(self, params: dict[str, Any]) -> dict[str, Any]:
        for order in self.ledger.open_orders(self.instrument(params)):
            if order.is_armed:
                self.finish(order, "CANCELED", "CANCELED")
        return dict(CANCELED_ALL)
