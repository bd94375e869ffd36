"""What the raw payload bears witness to.

ccxt's `safe_order` fills gaps: a closed order without a filled amount is given `filled = amount`, one without
an amount `amount = filled`. Such a number looks like the exchange's but is not. Here the raw payload is
searched for a field that says the same, and for the exact digits that ccxt has turned into a float.
"""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from audit_wrapper.exchanges.numbers import decimal_of, parsed
from audit_wrapper.exchanges.words import FILLED_WORDS

_DEEP, _MANY = 5, 400  # an order's payload is a few levels and some dozens of fields; more is not one
_EXECUTED = re.compile(r"exec|fill|deal|done|cum|match|trade|volume|actual", re.IGNORECASE)
_REST = re.compile(r"left|remain|leaves|unfilled|pending|resting", re.IGNORECASE)
_RATE = re.compile(r"rate|fee|commission|tkfr|mkfr", re.IGNORECASE)
_STATUS = re.compile(r"stat(e|us)$|finish_as$", re.IGNORECASE)


class _Leaf(NamedTuple):
    path: str
    text: object
    number: Decimal | None


class Evidence:
    """The leaves of one raw payload."""

    def __init__(self, raw: object) -> None:
        self.leaves: list[_Leaf] = []
        self._gather("", raw, 0)

    def _gather(self, path: str, value: Any, depth: int) -> None:
        if depth > _DEEP or len(self.leaves) >= _MANY:
            return
        value = parsed(value)
        if type(value) is dict:
            for name, inner in value.items():
                self._gather(f"{path}.{name}" if isinstance(name, str) else path, inner, depth + 1)
        elif type(value) in (list, tuple):
            for inner in value:
                self._gather(path, inner, depth + 1)
        elif value is not None:
            self.leaves.append(_Leaf(path, value, decimal_of(value)))

    def digits(self, value: object) -> Decimal | None:
        """`value` exactly: where it was a float once, with the digits of the one raw field it was read from."""
        number = decimal_of(value)
        if number is None or isinstance(value, (str, int)):
            return number
        found = {
            leaf.number.copy_abs()
            for leaf in self.leaves
            if leaf.number is not None and not isinstance(leaf.text, float)
        }
        if number.copy_abs() in found:
            return number
        exact = [candidate for candidate in found if _rounds_to(candidate, number.copy_abs())]
        return exact[0].copy_sign(number) if len(exact) == 1 else number

    def of_filled(self, filled: Decimal, quantity: Decimal | None) -> bool:
        """Does the payload say that `filled` was executed: as such, by what is left, by its trades, or in a word?"""
        for leaf in self.leaves:
            if leaf.number is None:
                said = _is_status(leaf) and bool(FILLED_WORDS.match(str(leaf.text)))
            elif _REST.search(leaf.path):
                said = quantity is not None and quantity - leaf.number.copy_abs() == filled
            else:
                said = leaf.number.copy_abs() == filled and bool(_EXECUTED.search(leaf.path))
            if said:
                return True
        return False

    def of_quantity(self, quantity: Decimal) -> bool:
        """Does the payload name `quantity` anywhere but where it says what was executed?"""
        return any(
            (leaf.number is not None and leaf.number.copy_abs() == quantity and not _EXECUTED.search(leaf.path))
            or (leaf.number is not None and leaf.number == 0 and bool(_REST.search(leaf.path)))
            for leaf in self.leaves
        )

    def of_rate(self, rate: Decimal) -> bool:
        """Does the payload name this rate, with this sign? ccxt puts the market's list rate where it does not."""
        return any(leaf.number == rate and bool(_RATE.search(leaf.path)) for leaf in self.leaves)

    def filled_word(self) -> bool:
        """Does the exchange itself say "filled" (Gate `finish_as`, Bitget `status`, OKX `state`)?"""
        return any(_is_status(leaf) and bool(FILLED_WORDS.match(str(leaf.text))) for leaf in self.leaves)


def _is_status(leaf: _Leaf) -> bool:
    """A word about the order's state; in a payload that is a bare list (Bitfinex) nothing has a name."""
    return isinstance(leaf.text, str) and (not leaf.path or bool(_STATUS.search(leaf.path)))


def _rounds_to(exact: Decimal, number: Decimal) -> bool:
    """Is `number` (the shortest form of a float) what is left of `exact`, which has more digits than a float holds?"""
    if len(exact.as_tuple().digits) <= 15 or exact.adjusted() != number.adjusted():
        return False
    return abs(exact - number).adjusted() <= number.adjusted() - 15
