"""How a simulated exchange behaves; every value may be changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal


@dataclass
class Settings:
    """The switches of one exchange.

    split_fills: into how many fills, at prices one tick apart, a taker order is cut (never below one quantity
    step).
    slippage_ticks: how far from the market price the first of them is.
    fee_currency: "USDT", or another coin ("BNB" on Binance, "MNT" on Bybit's perpetuals), or "mixed": USDT and
    that coin by turns.
    fee_delay: fees are unknown until `settle_fees()`; simulation only, the real exchanges always show them.
    maker_rate: negative for a rebate.
    clock_offset_ms: added to the exchange's clock, to provoke timestamp errors.
    check_requests: refuse a wrong key, signature or timestamp, as the real exchange does.
    page_limit: the most rows of one page; None is what the real exchange allows.
    index_delay_ms: how long after it happened an order or a fill is shown by reads. What a write answers, the
    position and the stream are never late. -1: nothing new is shown until `index_now()`.
    forget_after_ms: how long an order that ended without a fill can be asked for; None is what the real exchange
    does (Binance three days after it was made, Bybit a day after it ended).
    recent_orders: how many ended orders Bybit's order/realtime finds by id; 0 is Bybit after a restart of its own.
    """

    split_fills: int = 1
    slippage_ticks: int = 1
    fee_currency: str = "USDT"
    fee_delay: bool = False
    bnb_price: Decimal = Decimal(600)
    taker_rate: Decimal = Decimal("0.0005")
    maker_rate: Decimal = Decimal("0.0002")
    clock_offset_ms: int = 0
    check_requests: bool = True
    page_limit: int | None = None
    index_delay_ms: int = 0
    forget_after_ms: int | None = None
    recent_orders: int = 500


@dataclass(frozen=True)
class PartialFill:
    """The next taker fill takes only this share; the rest stays open ("rest") or ends ("expire")."""

    fraction: Decimal
    remainder: Literal["rest", "expire"] = "rest"
