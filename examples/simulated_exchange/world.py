"""What a test can do to a simulated exchange: move its market and its clock, and act in others' place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

from .engine import Engine
from .instruments import Instrument
from .ledger import Fill, Funding, Ledger, Order
from .others import close_by_force, correct_fee, fund, place_by_hand, stop_by_hand
from .settings import PartialFill, Settings

T = TypeVar("T")


class _Setting(Generic[T]):
    """`sim.split_fills` reads and writes `sim.settings.split_fills`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: World, owner: type | None = None) -> T:
        value: T = getattr(instance.settings, self._name)
        return value

    def __set__(self, instance: World, value: T) -> None:
        setattr(instance.settings, self._name, value)


class _IndexDelay(_Setting[int]):
    """Going over to -1 keeps in sight what was."""

    def __set__(self, instance: World, value: int) -> None:
        with instance.engine.books():
            instance.engine.visibility.set_delay(value)


class World:
    """The controls of one exchange. Every method may be called from any thread."""

    kind: str
    settings: Settings
    engine: Engine

    split_fills = _Setting[int]()
    slippage_ticks = _Setting[int]()
    fee_currency = _Setting[str]()
    bnb_price = _Setting[Decimal]()
    taker_rate = _Setting[Decimal]()
    maker_rate = _Setting[Decimal]()
    clock_offset_ms = _Setting[int]()
    check_requests = _Setting[bool]()
    fee_delay = _Setting[bool]()
    page_limit = _Setting[int | None]()
    index_delay_ms = _IndexDelay()
    forget_after_ms = _Setting[int | None]()
    recent_orders = _Setting[int]()

    # --- the market and the account ---

    @property
    def ledger(self) -> Ledger:
        return self.engine.ledger

    def instrument(self, symbol: str) -> Instrument:
        found = self.ledger.find_instrument(symbol)
        if found is None:
            raise KeyError(f"{self.kind} lists no {symbol!r}")
        return found

    def price(self, symbol: str) -> Decimal:
        return self.engine.prices[self.instrument(symbol)]

    def set_price(self, symbol: str, price: Decimal | str) -> None:
        """Move the market: stops, trailing stops, take-profits and resting limits that are reached act at
        once.

        On Bybit `MNT/USDT` is the spot pair; `MNTUSDT` and `MNT/USDT:USDT` are the perpetual.
        """
        with self.engine.books():
            self.engine.set_price(self.instrument(symbol), Decimal(price))

    def set_balance(self, coin: str, amount: Decimal | str) -> None:
        with self.engine.books():
            self.ledger.balances[coin] = Decimal(amount)

    def complete(self, order_id: str, symbol: str | None = None, quantity: Decimal | str | None = None) -> None:
        """Fill the rest of a working order, or `quantity` of it. Takes either side's order id."""
        with self.engine.books():
            order = self.ledger.find_order(order_id, symbol)
            self.engine.complete(order, None if quantity is None else Decimal(quantity))

    def expire(self, order_id: str, symbol: str | None = None) -> None:
        """End a working order from the exchange's side, as an IOC remainder ends."""
        with self.engine.books():
            order = self.ledger.find_order(order_id, symbol)
            # A conditional order has a word of its own for it.
            armed = {"algo": "EXPIRED", "conditional": "Deactivated", "attached": "Deactivated"}
            word = armed.get(order.kind, "") if order.is_armed else ""
            self.engine.finish(order, self.engine.remainder_status, word)

    def partial_fill(self, fraction: Decimal | str, remainder: Literal["rest", "expire"] = "rest") -> None:
        """The next taker order fills only this share. Its remainder stays open, or expires."""
        self.engine.partial_fills.append(PartialFill(Decimal(fraction), remainder))

    def reported_average(self, order: Order) -> Decimal | None:
        """An order's average price with the digits the exchange shows; None before the first fill."""
        with self.engine.books():
            return self.engine.reported_average(order)

    # --- the clock and what is shown by when ---

    def now(self) -> int:
        """The exchange's clock: milliseconds since the epoch."""
        with self.engine.books():
            return self.engine.now()

    def advance(self, milliseconds: int) -> None:
        """Move the exchange's clock forward. Clients keep their own: their requests stay in time."""
        with self.engine.books():
            self.engine.clock.advance(milliseconds)

    def stop_clock(self) -> None:
        """All that follows happens in one millisecond, until `advance` or `start_clock`."""
        with self.engine.books():
            self.engine.clock.stop()

    def start_clock(self) -> None:
        with self.engine.books():
            self.engine.clock.go_on()

    def index_now(self) -> None:
        """With `index_delay_ms = -1`: show all that has happened so far."""
        with self.engine.books():
            self.engine.visibility.index_now()

    def messages(self, since: int = 0) -> list[dict[str, Any]]:
        """The user-data stream: [{"number": 1, "message": {...}}], those after number `since`."""
        with self.engine.books():
            return self.engine.messages.since(since)

    # --- what the bot did not do ---

    def trade_by_hand(
        self,
        symbol: str,
        side: str,
        quantity: Decimal | str | int,
        type: Literal["market", "limit"] = "market",
        price: Decimal | str | None = None,
        trigger_price: Decimal | str | None = None,
        client_order_id: str = "",
        reduce_only: bool = False,
    ) -> Order:
        """Place an order as a person in the exchange's app; with a trigger price a conditional one."""
        if (type == "limit") != (price is not None):
            raise ValueError("a limit order has a price, a market order has none")
        wanted = Order(
            instrument=self.instrument(symbol),
            side=side,
            type=type,
            quantity=Decimal(quantity),
            limit_price=None if price is None else Decimal(price),
            trigger_price=None if trigger_price is None else Decimal(trigger_price),
            client_order_id=client_order_id,
            reduce_only=reduce_only,
        )
        with self.engine.books():
            return place_by_hand(self.engine, wanted)

    def stop_by_hand(
        self, symbol: str, stop_loss: Decimal | str | None = None, take_profit: Decimal | str | None = None
    ) -> list[Order]:
        """Guard a whole position in the exchange's app: attached stops on Bybit, closePosition orders on Binance."""
        prices = {"stopLoss": stop_loss, "takeProfit": take_profit}
        wanted = {name: Decimal(price) for name, price in prices.items() if price is not None}
        with self.engine.books():
            return stop_by_hand(self.engine, self.instrument(symbol), wanted)

    def cancel_by_hand(self, order_id: str, symbol: str | None = None) -> None:
        with self.engine.books():
            self.engine.cancel_by_hand(self.ledger.find_order(order_id, symbol))

    def liquidate(self, symbol: str, fraction: Decimal | str | int = 1) -> Order:
        """The exchange closes a position, or a share of it (rounded down to the quantity step)."""
        item = self.instrument(symbol)
        with self.engine.books():
            wanted = abs(self.ledger.position(item).quantity) * Decimal(fraction)
            return close_by_force(self.engine, item, wanted // item.step * item.step, "liquidation")

    def deleverage(self, symbol: str, quantity: Decimal | str | int) -> Order:
        """The exchange takes `quantity` of a position to close another's."""
        with self.engine.books():
            return close_by_force(self.engine, self.instrument(symbol), Decimal(quantity), "auto_deleveraging")

    def settle(self, symbol: str) -> Order:
        """The exchange closes a position because its contract is taken off the list."""
        item = self.instrument(symbol)
        with self.engine.books():
            return close_by_force(self.engine, item, abs(self.ledger.position(item).quantity), "settlement")

    def fund(self, symbol: str, rate: Decimal | str) -> Funding:
        """A funding payment on the open position; rate 0.0001 is 0.01%, which a long pays."""
        with self.engine.books():
            return fund(self.engine, self.instrument(symbol), Decimal(rate))

    def settle_fees(self) -> None:
        """Show the fees that `fee_delay` held back."""
        with self.engine.books():
            self.engine.unsettled.clear()

    def correct_fee(self, trade_id: str, symbol: str, amount: Decimal | str, currency: str | None = None) -> Fill:
        with self.engine.books():
            return correct_fee(self.engine, self.instrument(symbol), trade_id, Decimal(amount), currency)
