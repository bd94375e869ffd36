"""Funding of perpetual contracts: what an account paid or received for holding a position over a funding time."""

from datetime import datetime
from decimal import Decimal

import msgspec

from audit_wrapper.exchanges.numbers import Raw, text_of


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment. `amount` is negative when the account paid, positive when it received.

    `payment_id` is the exchange's own (Binance `tranId`, Bybit `execId`); None where the message has none. `symbol` is
    None where the exchange does not say which position it was for (Binance's stream, cross margin). `rate` is as the
    exchange writes it with the payment: Bybit's is positive when the account paid, whichever side it holds.
    """

    payment_id: str | None = None
    symbol: str | None = None
    amount: Decimal
    currency: str | None = None
    rate: Decimal | None = None
    exchange_at: datetime | None = None


def settled_by_symbol(ccxt: Raw) -> str | None:
    """The settlement currency, which ccxt's symbol of a contract names behind the colon: MNT/USDT:USDT."""
    _, colon, settle = (text_of(ccxt.get("symbol")) or "").partition(":")
    return settle.split("-")[0] or None if colon else None
