"""The digits that JSON parsing lost: the payload ccxt handed out, with the numbers of the answer's own text.

ccxt parses an answer with floats before anybody sees it. The text of the answer still has every digit. It is
parsed twice, once as ccxt does and once exactly, and both are walked side by side: where the first equals
what ccxt handed out, the second is what the exchange wrote.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from audit_wrapper import codec

_DEEP = 40
_WHOLE = frozenset({str, int, bool, type(None)})


def exact_info(info: Any, text: str | None) -> Any:
    """`info` with exact numbers, or `info` itself where it is not found in `text` for certain. Never raises."""
    if not isinstance(info, Mapping) or not info or not isinstance(text, str):
        return info
    if type(info) is dict and _WHOLE.issuperset(map(type, info.values())):
        return info  # nothing in it went through a float
    try:
        as_floats, exactly = msgspec.json.decode(text), codec.exact_json(text)
        found = [exact for lossy, exact in _objects(as_floats, exactly, 0) if _same(lossy, info, 0)]
    except Exception:  # a foreign mapping or damaged text: then the payload stays as it was handed out
        return info
    if not found or any(other != found[0] for other in found[1:]):
        return info
    return found[0]


def _objects(lossy: Any, exact: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    """Every JSON object of the two parallel trees, with its twin."""
    if depth > _DEEP:
        return
    if isinstance(lossy, dict):
        yield lossy, exact
        for name, inner in lossy.items():
            yield from _objects(inner, exact[name], depth + 1)
    elif isinstance(lossy, list):
        for inner, twin in zip(lossy, exact, strict=True):
            yield from _objects(inner, twin, depth + 1)


def _same(lossy: Any, seen: Any, depth: int) -> bool:
    if depth > _DEEP:
        return False
    if type(seen) is str:
        return type(lossy) is str and lossy == seen
    if isinstance(seen, Mapping):
        return (
            isinstance(lossy, dict)
            and lossy.keys() == seen.keys()
            and all(_same(lossy[name], seen[name], depth + 1) for name in lossy)
        )
    if type(seen) in (list, tuple):
        return (
            isinstance(lossy, list)
            and len(lossy) == len(seen)
            and all(_same(one, other, depth + 1) for one, other in zip(lossy, seen, strict=True))
        )
    if isinstance(seen, bool) or isinstance(lossy, bool):
        return lossy is seen
    if isinstance(lossy, int) and isinstance(seen, (float, Decimal)):
        lossy = lossy * 1.0  # orjson turns whole numbers beyond 64 bits into floats
    if isinstance(lossy, float) and isinstance(seen, Decimal):
        lossy = Decimal(repr(lossy))  # a float that went through the journal comes back with its own digits
    return type(lossy) is type(seen) and bool(lossy == seen)
