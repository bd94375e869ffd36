"""The market and the matching: what makes orders fill, stops fire and positions change.

An exchange (`binance.py`, `bybit.py`) is an `Engine` that adds ids, fees, its rules for conditional orders,
and a wire format. One lock guards the books: the server's thread and a test's thread both come through
`books()`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any, ClassVar, Literal

from .clock import Clock
from .history import Visibility
from .instruments import Instrument
from .ledger import EXACT, ZERO, Cause, Fill, Funding, Ledger, Order, Position
from .messages import Event, MessageLog
from .settings import PartialFill, Settings

Liquidity = Literal["maker", "taker"]


class Refusal(Exception):
    """The exchange says no. `order` is the one it refused, when there was one to refuse."""

    def __init__(self, code: int, words: str, order: Order | None = None) -> None:
        super().__init__(f"{code} {words}")
        self.code = code
        self.words = words
        self.order = order


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP: a JSON value and its status."""

    payload: Any
    status: int = 200


@dataclass(frozen=True)
class Call:
    """One request as a route sees it: query and body in one dict of parameters."""

    method: str
    path: str
    params: dict[str, Any]
    headers: dict[str, str]
    # The exact text that was signed: query string or body.
    signed_text: str = ""


class Engine(ABC):
    """The matching of one account, with the parts that differ per exchange left open."""

    # The status of an order whose remainder the exchange itself ended: an IOC, a market order in a thin book.
    remainder_status: Literal["EXPIRED", "CANCELED"]
    # Names for what a fault may wait for: HTTP method and path.
    actions: ClassVar[dict[str, tuple[str, str]]]
    # How long an order that ended without a fill can be asked for, and from when that is counted.
    forget_after_ms: ClassVar[int]
    forget_from: ClassVar[Literal["created", "ended"]]

    def __init__(
        self, instruments: tuple[Instrument, ...], settings: Settings, start_time_ms: int | None = None
    ) -> None:
        self.settings = settings
        self.clock = Clock(settings, start_time_ms)
        self.visibility = Visibility(settings, self.clock, self.forget_after_ms, self.forget_from)
        self.messages = MessageLog()
        self.ledger = Ledger(instruments)
        # Fills whose fee is not shown yet: instrument and trade id.
        self.unsettled: set[tuple[Instrument, str]] = set()
        self.prices = {item: item.start_price for item in instruments}
        self.partial_fills: deque[PartialFill] = deque()
        self._lock = threading.RLock()

    # --- what an exchange adds ---

    @abstractmethod
    def handle(self, call: Call) -> Answer:
        """Answer one request; raises `Refusal`."""

    @abstractmethod
    def refusal_answer(self, refusal: Refusal, call: Call) -> Answer:
        """How this exchange words an error."""

    @abstractmethod
    def draft(self, call: Call) -> Order | None:
        """The order a request wants to place, for requests that place one."""

    @abstractmethod
    def reported_average(self, order: Order) -> Decimal | None:
        """The average price with the digits this exchange shows."""

    @abstractmethod
    def rate_limit_refusal(self) -> tuple[int, int, str]:
        """HTTP status, code and words of "too many requests"."""

    @abstractmethod
    def new_order_id(self, order: Order) -> str: ...

    @abstractmethod
    def new_trade_id(self, order: Order) -> str: ...

    @abstractmethod
    def new_funding_id(self) -> str: ...

    @abstractmethod
    def fee(self, order: Order, price: Decimal, quantity: Decimal, rate: Decimal) -> tuple[Decimal, str]:
        """Amount and currency of the fee of one fill."""

    @abstractmethod
    def fire(self, order: Order) -> None:
        """The trigger price of an armed order was reached."""

    @abstractmethod
    def position_closed(self, instrument: Instrument) -> None:
        """A position became flat: what the exchange does with the orders that guarded it."""

    @abstractmethod
    def order_changed(self, order: Order) -> None:
        """An order was filled or ended: bring the orders that hang on it into line."""

    @abstractmethod
    def messages_of(self, order: Order, event: Event, fill: Fill | None) -> list[dict[str, Any]]:
        """What the user-data stream pushes when something happened to an order."""

    @abstractmethod
    def funding_message(self, funding: Funding) -> dict[str, Any]: ...

    @abstractmethod
    def place_by_hand(self, wanted: Order) -> Order:
        """Place an order as the exchange's own app does."""

    @abstractmethod
    def stop_by_hand(self, instrument: Instrument, prices: dict[str, Decimal]) -> None: ...

    @abstractmethod
    def cancel_by_hand(self, order: Order) -> None: ...

    @abstractmethod
    def forced_order(self, wanted: Order, cause: Cause) -> Order:
        """Make an order of the exchange's own out of instrument, side and quantity."""

    # --- the books ---

    @contextmanager
    def books(self) -> Iterator[None]:
        """Hold the lock and compute exactly: a thread's own decimal context rounds at 28 digits."""
        with self._lock, localcontext(EXACT):
            yield

    def now(self) -> int:
        """The exchange's clock in milliseconds."""
        return self.clock.now()

    def add(self, order: Order) -> Order:
        """Accept an order into the books, with its id."""
        order.exchange_order_id = self.new_order_id(order)
        order.created_time = order.updated_time = self.now()
        self.ledger.orders.append(order)
        self.announce(order, "new")
        return order

    def announce(self, order: Order, event: Event, fill: Fill | None = None) -> None:
        """Push what happened into the user-data stream."""
        self.messages.extend(self.messages_of(order, event, fill))

    def fee_is_known(self, fill: Fill) -> bool:
        return (fill.instrument, fill.exchange_trade_id) not in self.unsettled

    def record_refusal(self, order: Order, code: int, words: str) -> None:
        """Keep a refused order in the ledger, where a test can compare it with what the audit trail says."""
        order.status = "REJECTED"
        order.reject_code, order.reject_words = code, words
        order.created_time = order.updated_time = self.now()
        self.ledger.orders.append(order)

    def finish(self, order: Order, status: Literal["CANCELED", "EXPIRED", "REJECTED"], word: str = "") -> None:
        order.status = status
        order.exchange_status = word
        order.updated_time = self.now()
        self.announce(order, "ended")
        self.order_changed(order)

    # --- margin ---

    def unrealized(self, position: Position) -> Decimal:
        return (self.prices[position.instrument] - position.entry_price) * position.quantity

    def used_margin(self) -> Decimal:
        """Initial margin of positions and of working orders that would open one."""
        used = ZERO
        for position in self.ledger.positions:
            used += abs(position.quantity) * self.prices[position.instrument] / position.leverage
        for order in self.ledger.open_orders():
            if order.kind == "order" and not order.reduce_only and order.instrument.category == "linear":
                price = order.limit_price or self.prices[order.instrument]
                used += order.remaining_quantity * price / self.ledger.position(order.instrument).leverage
        return used

    def available_margin(self) -> Decimal:
        unrealized = sum((self.unrealized(item) for item in self.ledger.positions), ZERO)
        return self.ledger.balances["USDT"] + unrealized - self.used_margin()

    def can_afford(self, order: Order) -> bool:
        """Enough margin for the part of a perpetual order that opens or enlarges a position."""
        position = self.ledger.position(order.instrument)
        opening = order.quantity
        if (position.quantity > 0) == (order.side == "sell") and position.quantity:
            opening = max(ZERO, order.quantity - abs(position.quantity))
        price = order.limit_price or self.prices[order.instrument]
        return opening * price / position.leverage <= self.available_margin()

    def reducible(self, order: Order) -> Decimal:
        """How much of a position an order of this side can close."""
        held = self.ledger.position(order.instrument).quantity
        return max(ZERO, held if order.side == "sell" else -held)

    # --- matching ---

    def crosses(self, order: Order) -> bool:
        """Would this limit order trade at the present market price?"""
        assert order.limit_price is not None
        price = self.prices[order.instrument]
        return price <= order.limit_price if order.side == "buy" else price >= order.limit_price

    def execute(self, order: Order) -> None:
        """Match an accepted order as taker: at once, in part, or (a resting limit) not yet."""
        if order.limit_price is not None and not self.crosses(order):
            if order.time_in_force in ("IOC", "FOK"):
                self.finish(order, self.remainder_status)
            return
        wanted = order.remaining_quantity
        possible = min(wanted, self.reducible(order)) if self._reduces(order) else wanted
        plan = self.partial_fills.popleft() if self.partial_fills else None
        quantity = possible if plan is None else self._on_step(order.instrument, possible * plan.fraction)
        for price, part in self.taker_prices(order, quantity):
            self.fill(order, price, part, "taker")
        if order.is_final:
            return
        if plan is not None:
            ends = plan.remainder == "expire"
        else:
            ends = possible < wanted or order.time_in_force in ("IOC", "FOK")
        if ends:
            self.finish(order, self.remainder_status)

    def _reduces(self, order: Order) -> bool:
        return order.reduce_only and order.instrument.category == "linear"

    def complete(self, order: Order, quantity: Decimal | None = None) -> None:
        """Fill (a part of) what is left of a working order, at the present market price or its limit."""
        price = order.limit_price if order.limit_price is not None else self.prices[order.instrument]
        self.fill(order, price, quantity or order.remaining_quantity, "maker" if order.limit_price else "taker")

    def _on_step(self, instrument: Instrument, quantity: Decimal) -> Decimal:
        return (quantity // instrument.step) * instrument.step

    def taker_prices(self, order: Order, quantity: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
        """Prices walk away from the market one tick per fill; the last fill takes what does not divide."""
        instrument = order.instrument
        sign = 1 if order.side == "buy" else -1
        parts = max(1, min(self.settings.split_fills, int(quantity // instrument.step)))
        share = self._on_step(instrument, quantity / parts)
        for number in range(parts):
            part = share if number < parts - 1 else quantity - share * (parts - 1)
            price = self.prices[instrument] + sign * instrument.tick * (self.settings.slippage_ticks + number)
            if order.limit_price is not None:
                price = min(price, order.limit_price) if sign > 0 else max(price, order.limit_price)
            if part:
                yield price, part

    def fill(self, order: Order, price: Decimal, quantity: Decimal, liquidity: Liquidity) -> None:
        """Book one execution: order, position or coins, fee, fill."""
        assert order.exchange_order_id is not None
        instrument = order.instrument
        rate = self.settings.taker_rate if liquidity == "taker" else self.settings.maker_rate
        fee_amount, fee_currency = self.fee(order, price, quantity, rate)
        order.filled_quantity += quantity
        order.filled_value += price * quantity
        order.status = "FILLED" if order.filled_quantity >= order.quantity else "PARTIALLY_FILLED"
        order.updated_time = self.now()
        pnl = ZERO
        if instrument.category == "linear":
            position = self.ledger.position(instrument)
            pnl = position.apply(order.side, price, quantity)
            position.updated_time = order.updated_time
            self.pay("USDT", pnl)
        else:
            sign = 1 if order.side == "buy" else -1
            self.pay(instrument.base, sign * quantity)
            self.pay(instrument.quote, -sign * quantity * price)
        self.pay(fee_currency, -fee_amount)
        fill = Fill(
            exchange_trade_id=self.new_trade_id(order),
            exchange_order_id=order.exchange_order_id,
            instrument=instrument,
            side=order.side,
            price=price,
            quantity=quantity,
            fee_amount=fee_amount,
            fee_currency=fee_currency,
            fee_rate=rate,
            liquidity=liquidity,
            realized_pnl=pnl,
            time=order.updated_time,
        )
        self.ledger.fills.append(fill)
        if self.settings.fee_delay:
            self.unsettled.add((instrument, fill.exchange_trade_id))
        self.announce(order, "fill", fill)
        self.order_changed(order)
        if instrument.category == "linear" and not self.ledger.position(instrument).quantity:
            self.position_closed(instrument)

    def pay(self, coin: str, amount: Decimal) -> None:
        self.ledger.balances[coin] = self.ledger.balances.get(coin, ZERO) + amount

    # --- the market moves ---

    def set_price(self, instrument: Instrument, price: Decimal) -> None:
        """Move the market: resting limits that are reached fill, then triggers fire, oldest first."""
        self.prices[instrument] = price
        for order in list(self.ledger.open_orders(instrument)):
            if order.is_final:
                continue  # ended by an order that fired before it
            if order.is_armed:
                if self._triggered(order, price):
                    order.triggered_time = order.updated_time = self.now()
                    self.fire(order)
            elif order.limit_price is not None and order.kind != "algo" and self.crosses(order):
                self._fill_resting(order)

    def _fill_resting(self, order: Order) -> None:
        """A limit order that rested in the book fills as maker, at its own price."""
        assert order.limit_price is not None
        quantity = order.remaining_quantity
        if self._reduces(order):
            quantity = min(quantity, self.reducible(order))
        if quantity:
            self.fill(order, order.limit_price, quantity, "maker")
        if not order.is_final:
            self.finish(order, self.remainder_status)

    def _triggered(self, order: Order, price: Decimal) -> bool:
        if order.callback is not None:
            return self._trails(order, price)
        assert order.trigger_price is not None
        return price >= order.trigger_price if order.trigger_direction == 1 else price <= order.trigger_price

    def _trails(self, order: Order, price: Decimal) -> bool:
        """Follow the market to its best price; fire when it has turned by the callback."""
        assert order.callback is not None
        selling = order.side == "sell"
        if not order.activated:
            target = order.activation_price
            order.activated = target is None or (price >= target if selling else price <= target)
            order.extreme_price = price
            return False
        best = order.extreme_price if order.extreme_price is not None else price
        order.extreme_price = best = max(best, price) if selling else min(best, price)
        distance = self.callback_distance(order, best)
        return price <= best - distance if selling else price >= best + distance

    def callback_distance(self, order: Order, best: Decimal) -> Decimal:
        """The callback as a price distance; Binance gives percent."""
        assert order.callback is not None
        return order.callback


def rounded(value: Decimal, decimals: int) -> Decimal:
    """Half up, as exchanges print averages and charge fees."""
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
