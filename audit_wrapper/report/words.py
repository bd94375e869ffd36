"""Numbers, times and durations as they stand on the page. Decimals keep every digit that says something."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from audit_wrapper.tables.values import amounts

_WIDE = Context(prec=60, rounding=ROUND_HALF_UP)
NOTHING = "\N{EN DASH}"  # not known, or there is none; never 0
_SHORT = Decimal("0.01")  # a shorter time is told in milliseconds
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, what turns the direction of text, halves of characters


def harmless(text: str) -> str:
    """Characters that nobody sees and that change how others are seen, by their numbers: `A[U+202E]B`. Lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"[U+{ord(one):04X}]" if unicodedata.category(one) in _UNSEEN and one not in "\t\r\n" else one for one in text
    )


def exact(value: Decimal | int | None) -> str:
    """Every digit, without an exponent and without zeros at the end: `1.50` is 1.5, `1E+3` is 1000. None: a dash."""
    if value is None:
        return NOTHING
    text = format(Decimal(value), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def signed(value: Decimal | None) -> str:
    """The same with its sign, so that no colour is needed to tell gain from loss."""
    text = exact(value)
    return f"+{text}" if value is not None and value > 0 else text


def plain(value: Decimal | int | None) -> str:
    """What a cell is sorted by: the same digits, and nothing where nothing is known."""
    return "" if value is None else exact(value)


def alike(values: list[Decimal]) -> list[str]:
    """Money beside money, with its signs and as many places each as the largest needs, for where all digits have no room."""
    places = _places(max(values, key=abs))
    texts = [f"{value.quantize(Decimal(1).scaleb(-places), context=_WIDE):f}" for value in values]
    return [f"+{text}" if value > 0 else text for text, value in zip(texts, values, strict=True)]


def gained(value: Decimal | None) -> str:
    """The same with its sign."""
    if value is None:
        return NOTHING
    return f"+{money(value)}" if value > 0 else money(value)


def money(value: Decimal | None) -> str:
    """To two places, or to four digits that say something where it is small. None: a dash."""
    if value is None:
        return NOTHING
    return f"{value.quantize(Decimal(1).scaleb(-_places(value)), context=_WIDE):f}"


def _places(value: Decimal) -> int:
    return 2 if value == 0 or abs(value) >= 1 else 3 - value.adjusted()


def ratio(value: Decimal | None, places: int) -> str:
    """To so many places, all of them shown. None: a dash."""
    return NOTHING if value is None else f"{value.quantize(Decimal(1).scaleb(-places), context=_WIDE):f}"


def rounded(value: Decimal | float | None, places: int) -> str:
    """To so many places, for ratios and averages, which have no end of their own. None: a dash."""
    if value is None:
        return NOTHING
    number = Decimal(str(value)) if isinstance(value, float) else value
    return exact(number.quantize(Decimal(1).scaleb(-places), context=_WIDE)) if number.is_finite() else "infinite"


def aligned(values: list[Decimal | None]) -> list[str]:
    """The same numbers with as many decimals as the longest needs, so that points stand under points."""
    texts = [exact(value) for value in values]
    places = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [NOTHING if value is None else f"{value:.{places}f}" for value in values]


def percent(share: Decimal | float | None) -> str:
    """0.625 is 62.5 %."""
    return NOTHING if share is None else f"{rounded(Decimal(str(share)) * 100, 1)} %"


def duration(seconds: Decimal | float | None) -> str:
    """As one says it: 4.2 ms, 0.35 s, 12.4 s, 3 min 20 s, 5 h 10 min, 3 d 4 h."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < _SHORT:
        return f"{milliseconds(Decimal(str(seconds)) * 1000)} ms"
    whole = int(seconds)
    if whole < 60:
        return f"{rounded(Decimal(str(seconds)), 2 if seconds < 10 else 1)} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {left} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def milliseconds(value: Decimal | float | None) -> str:
    """With three digits at the most that say something: 0.42, 4.2, 42, 4200."""
    if value is None:
        return NOTHING
    number = Decimal(str(value))
    return rounded(number, 2 if number < 1 else 1 if number < 100 else 0)


def moment(at: datetime | None, *, to: str = "seconds") -> str:
    """UTC, without saying so: the page says it once. What has no zone is UTC already."""
    if at is None:
        return NOTHING
    there = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return there.replace(tzinfo=None).isoformat(" ", timespec=to)


def currencies(fees: Any) -> str:
    """Fees in other currencies, which are never added: `0.00049142 BNB, 1.2 MNT`. None or none: a dash."""
    return ", ".join(f"{exact(amount)} {coin}" for coin, amount in amounts(fees).items()) or NOTHING
