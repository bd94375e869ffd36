"""Bybit v5 for linear perpetuals and spot: its rules for orders and its order routes.

Sources: Bybit's v5 documentation (Trade, Position / Set Trading Stop, Enums, Error Codes). A rule that it
leaves open is marked [?]; one that was read but never seen on the live exchange is marked [D].
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from . import bybit_wire as wire
from .bybit_account import number
from .bybit_drafts import BybitDrafts
from .bybit_history import filter_word
from .engine import Answer, Call, Refusal, rounded
from .instruments import PERPETUALS, SPOT_PAIRS, Instrument
from .ledger import Cause, Order, plain
from .settings import Settings


class Bybit(BybitDrafts):
    """One unified trading account in one-way mode."""

    remainder_status = "CANCELED"
    actions: ClassVar[dict[str, tuple[str, str]]] = {
        "create": ("POST", "/v5/order/create"),
        "stop": ("POST", "/v5/position/trading-stop"),
        "cancel": ("POST", "/v5/order/cancel"),
        "cancel_stop": ("POST", "/v5/order/cancel"),
        "cancel_all": ("POST", "/v5/order/cancel-all"),
        "amend": ("POST", "/v5/order/amend"),
        "batch": ("POST", "/v5/order/create-batch"),
    }

    def __init__(self, settings: Settings, start_time_ms: int | None = None) -> None:
        super().__init__(PERPETUALS + SPOT_PAIRS, settings, start_time_ms)
        settings.taker_rate = Decimal("0.00055")
        # Seeded: the same run gives the same ids.
        self._random = random.Random(5)
        self._spot_numbers = 0
        self._fees_charged = 0
        self._mnt = next(item for item in SPOT_PAIRS if item.base == "MNT")
        self._routes: dict[str, Callable[[dict[str, Any]], Any]] = {
            "POST /v5/order/create": self._create,
            "POST /v5/order/amend": self._amend,
            "POST /v5/order/cancel": self._cancel,
            "POST /v5/order/cancel-all": self._cancel_all,
            "POST /v5/order/create-batch": self._create_batch,
            "POST /v5/order/cancel-batch": self._cancel_batch,
            "POST /v5/position/trading-stop": self.trading_stop,
            **self.history_routes(),
            **self.account_routes(),
        }

    # --- the exchange ---

    def handle(self, call: Call) -> Answer:
        route = self._routes.get(f"{call.method} {call.path}")
        if route is None:
            return Answer(self._envelope(404, "not found", {}), 404)
        self.check_signature(call)
        with self.books():
            result = route(call.params)
        # Batch routes answer one code per order beside their result.
        extra = result.pop("retExtInfo", {})
        return Answer({**self._envelope(0, "OK", result), "retExtInfo": extra})

    def _envelope(self, code: int, words: str, result: dict[str, Any]) -> dict[str, Any]:
        return {"retCode": code, "retMsg": words, "result": result, "retExtInfo": {}, "time": self.now()}

    def refusal_answer(self, refusal: Refusal, call: Call) -> Answer:
        """Errors come with HTTP 200; only retCode tells."""
        return Answer(self._envelope(refusal.code, refusal.words, {}))

    def reported_average(self, order: Order) -> Decimal | None:
        return wire.average_on_wire(order) if order.filled_quantity else None

    def rate_limit_refusal(self) -> tuple[int, int, str]:
        return 200, 10006, "Too many visits. Exceeded the API Rate Limit."

    def new_order_id(self, order: Order) -> str:
        if order.instrument.category == "spot":
            self._spot_numbers += 1
            return str(1321003749386327000 + self._spot_numbers)
        return self._uuid()

    def new_trade_id(self, order: Order) -> str:
        return self._uuid()

    def new_funding_id(self) -> str:
        return self._uuid()

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def fee(self, order: Order, price: Decimal, quantity: Decimal, rate: Decimal) -> tuple[Decimal, str]:
        """Exact. Perpetuals pay in the settle coin; spot in the coin received, a rebate in the other.

        A perpetual's fee in MNT, at the price of the spot pair, is switched on by `fee_currency` [?].
        """
        item = order.instrument
        in_base = (order.side == "buy") == (rate >= 0)
        if item.category == "spot" and in_base:
            return quantity * rate, item.base
        amount = price * quantity * rate
        self._fees_charged += 1
        wanted = self.settings.fee_currency
        in_mnt = wanted == "MNT" or (wanted == "mixed" and self._fees_charged % 2 == 0)
        if in_mnt and amount > 0 and item.category == "linear":
            return rounded(amount / self.prices[self._mnt], 8), "MNT"
        return amount, item.quote

    # --- orders that the bot did not place ---

    def place_by_hand(self, wanted: Order) -> Order:
        """In the app: there is no orderLinkId; a market close of a position is CreateByClosing [D]."""
        item = wanted.instrument
        params: dict[str, Any] = {
            "category": item.category,
            "symbol": item.symbol,
            "side": wanted.side.capitalize(),
            "orderType": "Market" if wanted.limit_price is None else "Limit",
            "qty": wanted.quantity,
            "price": wanted.limit_price,
            "reduceOnly": wanted.reduce_only,
            "orderLinkId": wanted.client_order_id,
            "marketUnit": "baseCoin",
        }
        if wanted.trigger_price is not None:
            params["triggerPrice"] = wanted.trigger_price
            params["triggerDirection"] = 1 if wanted.trigger_price > self.prices[item] else 2
        order = self.order_draft(params)
        if order.reduce_only and order.type == "Market" and not order.is_armed:
            order.details["createType"] = "CreateByClosing"
        return self._place(order)

    def stop_by_hand(self, instrument: Instrument, prices: dict[str, Decimal]) -> None:
        params = {"category": "linear", "symbol": instrument.symbol, "positionIdx": 0, **prices}
        self.trading_stop(params)

    def cancel_by_hand(self, order: Order) -> None:
        self._cancel_one(order, "CancelByUser")

    def forced_order(self, wanted: Order, cause: Cause) -> Order:
        """A market order without orderLinkId; createType says why. That it is Market, IOC, reduce-only is [?].

        A part of a position goes in the ladder that frees margin, the whole is taken over [D].
        """
        whole = wanted.quantity == self.reducible(wanted)
        created_by = {
            "liquidation": "CreateByTakeOver_PassThrough" if whole else "CreateByLiq",
            "auto_deleveraging": "CreateByAdl_PassThrough",
            "settlement": "CreateBySettle",
        }[cause]
        wanted.type, wanted.time_in_force, wanted.reduce_only = "Market", "IOC", True
        wanted.details = {"createType": created_by, "lastPriceOnCreated": plain(self.prices[wanted.instrument])}
        return wanted

    # --- conditional orders and attached stops ---

    def fire(self, order: Order) -> None:
        """The same order goes to work: its id stays, its status goes from Untriggered by Triggered to Filled."""
        order.exchange_status = "Triggered"
        self.announce(order, "triggered")
        order.exchange_status = ""
        if order.reduce_only:
            reducible = self.reducible(order)
            if not reducible:
                self.finish(order, "CANCELED", "Deactivated")
                return
            is_whole = order.details.get("tpslMode") == "Full"
            order.quantity = reducible if is_whole else min(order.quantity, reducible)
        elif not self.affordable(order):
            self.finish(order, "REJECTED")
            return
        self.execute(order)

    def order_changed(self, order: Order) -> None:
        """Attach the stops that came with an entry; keep attached stops at the size of their position."""
        wanted = order.details.get("attach")
        if wanted and order.filled_quantity:
            order.details["attach"] = None
            # what the order was checked for may no longer fit the position that it became a part of
            with contextlib.suppress(Refusal):
                self.attach(order.instrument, wanted)
        for stop in self.stops_of(order.instrument):
            reducible = self.reducible(stop)
            if not reducible:
                stop.details["cancelType"] = "CancelByTpSlTsClear"
                self.finish(stop, "CANCELED", "Deactivated")
            elif stop.details["tpslMode"] == "Full" and stop.quantity != reducible:
                stop.quantity = reducible
                self.announce(stop, "changed")

    def position_closed(self, instrument: Instrument) -> None:
        """Reduce-only orders are cancelled with their position (cancelType CancelByReduceOnly)."""
        for order in self.ledger.open_orders(instrument):
            if order.reduce_only:
                order.details["cancelType"] = "CancelByReduceOnly"
                self.finish(order, "CANCELED", "Deactivated" if order.is_armed else "")

    # --- orders ---

    def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        """The answer is an acknowledgement with two ids, whatever becomes of the order."""
        return _ids(self._place(self.order_draft(params)))

    def _place(self, order: Order) -> Order:
        if order.reduce_only and order.instrument.category == "linear":
            reducible = self.reducible(order)
            if not reducible:
                words = "current position is zero, cannot fix reduce-only order qty"
                raise Refusal(110017, words, order)
            # A reduce-only order is cut to the position; quantity 0 with closeOnTrigger means all of it.
            order.quantity = min(order.quantity or reducible, reducible)
        self.check(order)
        if not order.reduce_only and order.kind == "order" and not self.affordable(order):
            if order.instrument.category == "spot":
                raise Refusal(170131, "Insufficient balance.", order)
            raise Refusal(110007, "ab not enough for new order", order)
        self.add(order)
        if order.time_in_force == "PostOnly" and order.kind == "order" and self.crosses(order):
            order.details["rejectReason"] = "EC_PostOnlyWillTakeLiquidity"
            self.finish(order, "CANCELED")
        elif order.kind == "order":
            self.execute(order)
        return order

    def _create_batch(self, params: dict[str, Any]) -> dict[str, Any]:
        """Each order for itself: codes and words of the refused ones are in retExtInfo, row by row."""
        rows: list[dict[str, Any]] = []
        codes: list[dict[str, Any]] = []
        for item in params["request"]:
            row = {"category": params["category"], "symbol": item["symbol"], "orderId": "", "orderLinkId": ""}
            try:
                rows.append(
                    {
                        **row,
                        **self._create({"category": params["category"], **item}),
                        "createAt": str(self.now()),
                    }
                )
                codes.append({"code": 0, "msg": "OK"})
            except Refusal as refusal:
                if refusal.order is not None:
                    self.record_refusal(refusal.order, refusal.code, refusal.words)
                rows.append({**row, "orderLinkId": item.get("orderLinkId", ""), "createAt": ""})
                codes.append({"code": refusal.code, "msg": refusal.words})
        return {"list": rows, "retExtInfo": {"list": codes}}

    def _amend(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self._find_open(params)
        price = number(params, "price", order.limit_price)
        quantity = number(params, "qty", order.quantity)
        trigger = number(params, "triggerPrice", order.trigger_price)
        if (price, quantity, trigger) == (order.limit_price, order.quantity, order.trigger_price):
            words = "The order remains unchanged as the parameters entered match the existing ones."
            raise Refusal(10001, words)
        if quantity <= order.filled_quantity or quantity % order.instrument.step:
            raise Refusal(10001, "Qty invalid")
        order.limit_price, order.quantity, order.trigger_price = price, quantity, trigger
        order.updated_time = self.now()
        self.announce(order, "amended")
        if not order.is_armed:
            self.execute(order)
        return _ids(order)

    def _cancel(self, params: dict[str, Any]) -> dict[str, Any]:
        order = self._find_open(params)
        self._cancel_one(order, "CancelByUser")
        return _ids(order)

    def _cancel_one(self, order: Order, reason: str) -> None:
        order.details["cancelType"] = reason
        # An untriggered order that is cancelled is Deactivated; Cancelled is for those that were working.
        self.finish(order, "CANCELED", "Deactivated" if order.is_armed else "")

    def _cancel_all(self, params: dict[str, Any]) -> dict[str, Any]:
        """Without orderFilter this takes, on linear, attached stops too; on spot, plain orders only."""
        is_spot = params.get("category") == "spot"
        wanted = params.get("orderFilter") or ("Order" if is_spot else None)
        items = self.selected(params)
        canceled = [order for order in self.ledger.open_orders() if order.instrument in items]
        canceled = [order for order in canceled if wanted in (None, filter_word(order))]
        for order in canceled:
            self._cancel_one(order, "CancelByUser")
        return {"list": [_ids(order) for order in canceled], "success": "1"}

    def _cancel_batch(self, params: dict[str, Any]) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        codes: list[dict[str, Any]] = []
        for item in params["request"]:
            try:
                ids = self._cancel({"category": params["category"], **item})
                codes.append({"code": 0, "msg": "OK"})
            except Refusal as refusal:
                ids = {"orderId": item.get("orderId", ""), "orderLinkId": item.get("orderLinkId", "")}
                codes.append({"code": refusal.code, "msg": refusal.words})
            rows.append({"category": params["category"], "symbol": item["symbol"], **ids})
        return {"list": rows, "retExtInfo": {"list": codes}}

    def _find_open(self, params: dict[str, Any]) -> Order:
        item = self.instrument(params)
        for order in self.matching(params):
            if not order.is_final:
                return order
        if item.category == "spot":
            raise Refusal(170213, "Order does not exist.")
        raise Refusal(110001, "order not exists or too late to cancel")


def _ids(order: Order) -> dict[str, Any]:
    return {"orderId": order.exchange_order_id, "orderLinkId": order.client_order_id}
