"""What can be traded on the simulated exchanges, and with which steps.

Prices and sizes are chosen to hurt: quantities that must be whole numbers, a base coin of fifteen characters,
a price with twelve decimals, and one exchange symbol (`MNTUSDT`) that names both a perpetual and a spot pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Instrument:
    """One market. `category` is Bybit's word: "linear" (perpetual, settled in the quote coin) or "spot"."""

    symbol: str
    base: str
    quote: str
    category: str
    tick: Decimal
    step: Decimal
    start_price: Decimal
    min_notional: Decimal = Decimal(5)
    max_quantity: Decimal = Decimal(1000000000000000)

    @property
    def unified_symbol(self) -> str:
        """The ccxt spelling: `MNT/USDT:USDT` for the perpetual, `MNT/USDT` for the spot pair."""
        pair = f"{self.base}/{self.quote}"
        return pair if self.category == "spot" else f"{pair}:{self.quote}"

    @property
    def price_decimals(self) -> int:
        return decimals_of(self.tick)

    @property
    def quantity_decimals(self) -> int:
        return decimals_of(self.step)


def decimals_of(step: Decimal) -> int:
    """How many digits after the point a step has: 3 for 0.001, 0 for 1 and for 1000."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a step is a finite number"
    return max(0, -exponent)


def _instrument(symbol: str, category: str, tick: str, step: str, price: str) -> Instrument:
    base = symbol.removesuffix("USDT")
    return Instrument(symbol, base, "USDT", category, Decimal(tick), Decimal(step), Decimal(price))


PERPETUALS = (
    _instrument("BTCUSDT", "linear", "0.1", "0.001", "60000"),
    _instrument("ETHUSDT", "linear", "0.01", "0.001", "3000"),
    _instrument("MNTUSDT", "linear", "0.0001", "1", "1.2000"),
    _instrument("1000000BABYDOGEUSDT", "linear", "0.0000001", "1", "0.0010000"),
    # Invented: no listed perpetual has twelve decimals, but prices below 1e-8 do exist on other venues.
    _instrument("PEPEXUSDT", "linear", "0.000000000001", "1000", "0.000000004321"),
)

# Invented as a spot pair: Bybit charges a spot buy in the base coin, and this one's name has fifteen
# characters.
SPOT_PAIRS = (
    _instrument("BTCUSDT", "spot", "0.01", "0.000001", "60000"),
    _instrument("ETHUSDT", "spot", "0.01", "0.00001", "3000"),
    _instrument("MNTUSDT", "spot", "0.0001", "0.01", "1.2000"),
    _instrument("1000000BABYDOGEUSDT", "spot", "0.0000001", "0.1", "0.0010000"),
)
