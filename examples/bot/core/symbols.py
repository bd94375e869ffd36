"""The spellings of symbols and sides that meet in the bot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain_symbol(symbol: str) -> str:
    """`MNT/USDT:USDT` as signals and tables spell it: `MNTUSDT`."""
    return symbol.split(":")[0].replace("/", "")


def find_symbol(markets: Mapping[str, Any] | None, symbol: str, prefer_swap: bool = True) -> str | None:
    """The unified symbol for any spelling, or None when the exchange does not list it.

    Exchanges list `MNTUSDT` twice, as a spot pair and as a perpetual; without `prefer_swap` the first wins.
    """
    if not markets:
        return None
    if symbol in markets and (":" in symbol or not prefer_swap):
        return symbol
    wanted = plain_symbol(symbol)
    first = None
    for unified, market in markets.items():
        if plain_symbol(unified) != wanted and market.get("id") != symbol:
            continue
        if not prefer_swap or market.get("swap"):
            return unified
        first = first or unified
    return first


def order_side_of(side: str) -> str:
    """`buy` or `sell` for what signals say: buy, BUY, long, sell, SHORT."""
    word = side.strip().lower()
    if word in ("buy", "long"):
        return "buy"
    if word in ("sell", "short"):
        return "sell"
    raise ValueError(f"Unknown side: {side!r}")


def position_side_of(side: str) -> str:
    """`long` or `short` for the same words."""
    return "long" if order_side_of(side) == "buy" else "short"


def closing_side_of(side: str) -> str:
    """The order side that closes a position of this side."""
    return "sell" if order_side_of(side) == "buy" else "buy"
