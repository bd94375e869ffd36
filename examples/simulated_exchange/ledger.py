"""The books of one exchange account, exact and neutral: orders, fills, positions, balances.

This is what "the exchange's own word" means in tests: whatever an audit trail says is compared with these
records. Every number is a `Decimal`. Nothing here knows a wire format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Literal

from .instruments import Instrument

Kind = Literal["order", "algo", "attached", "conditional"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]
# Why the exchange itself made an order.
Cause = Literal["liquidation", "auto_deleveraging", "settlement"]

FINAL_STATUSES = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED"})
ZERO = Decimal(0)
# Wide enough that every product of a price, a quantity and a rate is exact; only divisions are ever rounded.
EXACT = Context(prec=60)
_PAID = Decimal("1e-8")


@dataclass
class Order:
    """One order as the exchange holds it.

    kind: "order" (works in the book), "algo" (Binance conditional order: its fills belong to the child named
    by `actual_order_id`), "attached" (Bybit stop of a position), "conditional" (Bybit order with a trigger
    price).
    status: FIX words. An algo order follows its child's status but keeps filled_quantity 0, as on the
    exchange.
    exchange_status: the exchange's own word where it says more than `status` (Untriggered, FINISHED,
    Deactivated).
    exchange_order_id: None when the exchange refused the order: such an order exists in this ledger only.
    created_time, updated_time: milliseconds since the epoch, UTC.
    """

    instrument: Instrument
    side: str
    type: str
    quantity: Decimal
    kind: Kind = "order"
    exchange_order_id: str | None = None
    client_order_id: str = ""
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    # 1: fires when the market rises to the trigger price, 2: when it falls to it (Bybit's numbers).
    trigger_direction: int = 0
    reduce_only: bool = False
    close_position: bool = False
    time_in_force: str = "GTC"
    status: Status = "NEW"
    exchange_status: str = ""
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    # How far the market must turn from its extreme: percent on Binance, a price distance on Bybit.
    callback: Decimal | None = None
    activation_price: Decimal | None = None
    activated: bool = False
    extreme_price: Decimal | None = None
    actual_order_id: str | None = None
    created_time: int = 0
    updated_time: int = 0
    triggered_time: int = 0
    reject_code: int | None = None
    reject_words: str | None = None
    # What only one exchange knows of its orders (stopOrderType, createType, a child's parent), and for orders that
    # the bot did not place "by" ("hand") or "cause" (see `Cause`).
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def symbol(self) -> str:
        """The exchange's spelling: `MNTUSDT`."""
        return self.instrument.symbol

    @property
    def unified_symbol(self) -> str:
        """ccxt's spelling: `MNT/USDT:USDT`."""
        return self.instrument.unified_symbol

    @property
    def remaining_quantity(self) -> Decimal:
        return self.quantity - self.filled_quantity

    @property
    def average_price(self) -> Decimal | None:
        """Value over quantity to sixty digits (wire formats show fewer); None before the first fill."""
        if not self.filled_quantity:
            return None
        return EXACT.divide(self.filled_value, self.filled_quantity)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def is_armed(self) -> bool:
        """True for an order with a trigger that has not fired."""
        return self.kind != "order" and not self.triggered_time and not self.is_final


@dataclass(frozen=True)
class Fill:
    """One execution. fee_amount: positive was charged, negative is a rebate."""

    exchange_trade_id: str
    exchange_order_id: str
    instrument: Instrument
    side: str
    price: Decimal
    quantity: Decimal
    fee_amount: Decimal
    fee_currency: str
    fee_rate: Decimal
    liquidity: Literal["maker", "taker"]
    realized_pnl: Decimal
    time: int

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def unified_symbol(self) -> str:
        return self.instrument.unified_symbol

    @property
    def value(self) -> Decimal:
        return EXACT.multiply(self.price, self.quantity)


@dataclass(frozen=True)
class Funding:
    """One funding payment. amount: negative was paid by the account; quantity: of the position, signed."""

    exchange_funding_id: str
    instrument: Instrument
    amount: Decimal
    currency: str
    rate: Decimal
    quantity: Decimal
    mark_price: Decimal
    time: int

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def unified_symbol(self) -> str:
        return self.instrument.unified_symbol


@dataclass
class Position:
    """A one-way perpetual position. quantity: positive is long, negative short."""

    instrument: Instrument
    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    leverage: Decimal = Decimal(10)
    margin_type: str = "cross"
    updated_time: int = 0

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def unified_symbol(self) -> str:
        return self.instrument.unified_symbol

    @property
    def side(self) -> str | None:
        if not self.quantity:
            return None
        return "long" if self.quantity > 0 else "short"

    def apply(self, side: str, price: Decimal, quantity: Decimal) -> Decimal:
        """Book one fill; return the profit it realized."""
        change = quantity if side == "buy" else -quantity
        closed = ZERO
        if self.quantity * change < 0:
            closed = min(abs(change), abs(self.quantity))
        pnl = (price - self.entry_price) * closed * (1 if self.quantity > 0 else -1)
        # Eight digits, as exchanges pay it out: the entry price may be the sixty digits of a division.
        pnl = pnl.quantize(_PAID, ROUND_HALF_UP, EXACT)
        opened = abs(change) - closed
        after = self.quantity + change
        if not after:
            self.entry_price = ZERO
        elif opened and closed:
            self.entry_price = price
        elif opened:
            value = abs(self.quantity) * self.entry_price + opened * price
            self.entry_price = EXACT.divide(value, abs(after))
        self.quantity = after
        self.realized_pnl += pnl
        return pnl


class Ledger:
    """All records of one account, in the order they came to be."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self.instruments = instruments
        self.orders: list[Order] = []
        self.fills: list[Fill] = []
        self.fundings: list[Funding] = []
        self.balances: dict[str, Decimal] = {"USDT": Decimal(100000), "BNB": Decimal(10)}
        self._positions = {item: Position(item) for item in instruments if item.category == "linear"}

    @property
    def positions(self) -> list[Position]:
        """The positions that are open now."""
        return [position for position in self._positions.values() if position.quantity]

    def position(self, instrument: Instrument) -> Position:
        """The position of one perpetual, also when it is flat."""
        return self._positions[instrument]

    def all_positions(self) -> list[Position]:
        return list(self._positions.values())

    def find_instrument(self, symbol: str, category: str | None = None) -> Instrument | None:
        """By ccxt's or the exchange's spelling. `MNTUSDT` alone means the perpetual: it is listed first."""
        for item in self.instruments:
            if category in (None, item.category) and symbol in (item.unified_symbol, item.symbol):
                return item
        return None

    def find_order(self, order_id: str, symbol: str | None = None) -> Order:
        """By exchange or client order id; the newest match. Binance's ids are unique per symbol only."""
        for order in reversed(self.orders):
            if symbol is not None and symbol not in (order.symbol, order.unified_symbol):
                continue
            if str(order_id) in (order.exchange_order_id, order.client_order_id):
                return order
        raise KeyError(f"no order {order_id!r} in the ledger (symbol {symbol or 'any'})")

    def fills_of(self, order: Order) -> list[Fill]:
        """The fills of an order; for a triggered algo order, those of its child."""
        if order.exchange_order_id is None:
            return []
        wanted = order.actual_order_id if order.kind == "algo" else order.exchange_order_id
        return [fill for fill in self.fills if fill.exchange_order_id == wanted and fill.instrument == order.instrument]

    def order_of(self, fill: Fill) -> Order:
        """The order that a fill belongs to; its `details` tell a forced one ("cause") from one by hand ("by")."""
        return next(
            order
            for order in self.orders
            if order.exchange_order_id == fill.exchange_order_id
            and order.instrument == fill.instrument
            and order.kind != "algo"
        )

    def executed(self, order: Order) -> Order:
        """The order that holds the fills: the child of a triggered algo order, else the order itself."""
        if order.actual_order_id is None:
            return order
        return next(
            item
            for item in self.orders
            if item.kind == "order"
            and item.exchange_order_id == order.actual_order_id
            and item.instrument == order.instrument
        )

    def open_orders(self, instrument: Instrument | None = None) -> Iterator[Order]:
        for order in list(self.orders):
            if not order.is_final and instrument in (None, order.instrument):
                yield order

    def as_json(self) -> dict[str, Any]:
        """Everything, with numbers as text, for a test in another process."""
        return {
            "orders": [_as_json(item) for item in self.orders],
            "fills": [_as_json(item) for item in self.fills],
            "fundings": [_as_json(item) for item in self.fundings],
            "positions": [_as_json(item) for item in self.positions],
            "balances": {coin: str(amount) for coin, amount in self.balances.items()},
        }


def _as_json(record: Order | Fill | Funding | Position) -> dict[str, Any]:
    names = [item.name for item in dataclasses.fields(record) if item.name not in ("instrument", "details")]
    names += ["symbol", "unified_symbol"]
    if isinstance(record, Order):
        names += ["average_price", "remaining_quantity"]
    if isinstance(record, Position):
        names += ["side"]
    values = {name: getattr(record, name) for name in names}
    if isinstance(record, Order):
        values.update(by=record.details.get("by"), cause=record.details.get("cause"))
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def plain(value: Decimal) -> str:
    """A number as exchanges write it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def fixed(value: Decimal, decimals: int) -> str:
    """A number with at least `decimals` digits after the point; more when the value has them."""
    exponent = value.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int), "the ledger holds finite numbers only"
    return f"{value.quantize(Decimal(1).scaleb(-max(decimals, -exponent)), context=EXACT):f}"
