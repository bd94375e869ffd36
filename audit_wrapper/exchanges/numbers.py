"""Exact values out of whatever an exchange, ccxt or a bot put into a field.

Every function here is total: what cannot be read for certain is None. Text is read digit by digit; a float,
which has lost its digits already, is taken as its shortest decimal form (`Decimal(repr(x))`), exact for up to
15 significant digits. Booleans are never numbers, and `inf` or `nan` are never amounts.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from math import prod
from typing import Any
from urllib.parse import parse_qsl

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 200  # characters of a number; the longest real one (a token amount in its smallest unit) has under 80
_WIDEST = 100  # decimal places either side of the point; beyond that it is not an amount of anything

_EXACT = Context(prec=2 * _WIDEST + _LONGEST)
_ZERO = Decimal(0)

_REMEMBERED = 4096  # texts of numbers; sizes and zeros come again and again
_NO_MAPPINGS = frozenset({type(None), str, int, bool, float, Decimal, list, tuple})  # asking an ABC takes longer

Raw = dict[str, Any]
"""A payload as the exchange sent it, parsed."""


def decimal_of(value: object) -> Decimal | None:
    """The number in `value`, exactly, or None where there is none ('', '-', 'NULL_VAL', '12%', nan, True)."""
    if isinstance(value, str):
        text = value if len(value) <= _LONGEST else value.strip()
        return _number_in(text) if len(text) <= _LONGEST else None
    if value is None or isinstance(value, bool):
        return None
    try:
        if isinstance(value, Decimal):
            number = value
        elif isinstance(value, int):
            if value.bit_length() > 512:
                return None
            number = Decimal(int(value))
        elif isinstance(value, float):
            number = Decimal(float.__repr__(value))
        else:
            return None
    except (ArithmeticError, ValueError, TypeError):
        return None
    return _amount(number)


@lru_cache(_REMEMBERED)
def _number_in(text: str) -> Decimal | None:
    text = text.strip()
    try:
        return _amount(Decimal(text)) if _NUMBER.fullmatch(text) else None
    except (ArithmeticError, ValueError):
        return None


def _amount(number: Decimal) -> Decimal | None:
    if not number.is_finite() or (number and abs(number.adjusted()) > _WIDEST):
        return None
    return number if number else Decimal(0)  # one zero: '0E-18', '-0' and '0.00' say the same


def positive_of(value: object) -> Decimal | None:
    """Like `decimal_of`, for fields where zero means "not set": prices, triggers, sizes."""
    number = decimal_of(value)
    return number if number is not None and number > 0 else None


def unsigned_of(value: object) -> Decimal | None:
    """Like `decimal_of`, for what was executed or is left: zero is a real zero, less than nothing is nonsense."""
    number = decimal_of(value)
    return number if number is not None and number >= 0 else None


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    """`dividend / divisor` to 28 significant digits; None where that cannot be said."""
    try:
        with localcontext() as context:
            context.prec = 28
            return decimal_of(dividend / divisor)
    except (InvalidOperation, ArithmeticError):
        return None


def total(numbers: list[Decimal]) -> Decimal:
    """The exact sum: no digit is rounded away, however far apart the summands are."""
    whole = _ZERO
    for number in numbers:
        whole = _EXACT.add(whole, number)
    return whole


def product(numbers: list[Decimal]) -> Decimal | None:
    """The exact product; None where it is no amount of anything (see `decimal_of`)."""
    with localcontext() as context:
        context.prec = _LONGEST * len(numbers) + 1
        return decimal_of(prod(numbers, start=Decimal(1)))


def text_of(value: object) -> str | None:
    """The non-empty text in `value`. Whole numbers become their digits: ids arrive as numbers and as text."""
    if type(value) is str:
        return value.strip() or None
    if value is None:
        return None
    if isinstance(value, str):
        return str(value).strip() or None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(int(value)) if value.bit_length() <= 512 else None
    if isinstance(value, Decimal):
        number = decimal_of(value)
        return str(int(number)) if number is not None and number == number.to_integral_value() else None
    return None


def id_of(value: object) -> str | None:
    """An id. '' and '0' are what exchanges write when there is none (Binance `actualOrderId`, Kraken `userref`)."""
    text = text_of(value)
    return None if text in (None, "0", "-1") else text


def truth_of(value: object) -> bool | None:
    """true/false as exchanges spell it: booleans, 'true'/'false' (OKX), 'YES'/'NO' (Bitget), 1/0 (old Bybit)."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
            value.strip().lower()
        )
    if isinstance(value, (int, Decimal)):
        return {0: False, 1: True}.get(int(value)) if value in (0, 1) else None
    return None


def time_of(value: object) -> datetime | None:
    """A moment in UTC from seconds, milli-, micro- or nanoseconds, ISO text, or an aware datetime.

    The unit follows from the size, which is unambiguous from 2001 to 2286. A time without a zone is None: it
    may be the bot's local clock.
    """
    if isinstance(value, datetime):
        moment: datetime | None = value
    elif type(value) is int:
        return _moment_of(value)
    elif isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    else:
        number = decimal_of(value)
        if number is None or not Decimal(10**9) <= number < Decimal(10**19):
            return None
        steps = next(step for step in (0, 3, 6, 9) if number < Decimal(10) ** (10 + step))
        moment = _EPOCH + timedelta(microseconds=int(number.scaleb(6 - steps)))
    if moment is None or moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _moment_of(number: int) -> datetime | None:
    if not 10**9 <= number < 10**19:
        return None
    if number < 10**10:
        micros = number * 1_000_000
    elif number < 10**13:
        micros = number * 1_000
    else:
        micros = number if number < 10**16 else number // 1_000
    return _EPOCH + timedelta(microseconds=micros)


def plain(value: object) -> Raw:
    """`value` as a plain dict; {} for anything that is no mapping or fails when read (a mock, a lazy object)."""
    if type(value) is dict:
        return value
    if type(value) in _NO_MAPPINGS:
        return {}
    if isinstance(value, Mapping):
        try:
            return dict(value)
        except Exception:  # a foreign mapping may raise anything, and there is nothing to read then
            return {}
    return {}


def items(value: object) -> list[Any]:
    """`value` as a plain list; [] for anything that is neither list nor tuple."""
    return list(value) if type(value) in (list, tuple) else []  # type: ignore[call-overload]


def parsed(value: object) -> object:
    """JSON text as its value (Bitget `feeDetail`, Binance `batchOrders`), exactly; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None
    return value


def params_of(value: object) -> Raw:
    """What a request carried: a mapping, JSON text or a query string."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    value = parsed(value)
    if isinstance(value, str):
        value = value.lstrip("?")
        if "%" not in value and "+" not in value:  # nothing is quoted
            return {name: text for name, _, text in (pair.partition("=") for pair in value.split("&") if pair)}
        try:
            return dict(parse_qsl(value, keep_blank_values=True))
        except ValueError:
            return {}
    return plain(value)


def first(raw: Raw, names: tuple[str, ...]) -> object:
    """The first field of `names` that says anything ('' and None say nothing)."""
    for name in names:
        value = raw.get(name)
        if value is not None and value != "":
            return value
    return None
