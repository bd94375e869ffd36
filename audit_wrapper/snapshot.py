"""What a call was given and what it returned, as JSON at that very moment: later changes by the bot do not show.

Total: whatever a bot passes around (mocks, clients, cycles, broken strings) gives some JSON, and secrets never do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_LIMIT_BYTES = 262_144
_DEPTH = 8

# what an order-like object of a bot (HOST.md's OrderResult, or one with slots or properties) is read by
_ORDER_FIELDS = (
    "id", "clientOrderId", "client_order_id", "symbol", "side", "type", "amount", "price", "average", "filled",
    "remaining", "cost", "status", "timestamp", "reduceOnly", "triggerPrice", "stopPrice", "fee", "fees", "trades", "info",
)  # fmt: skip
# names of secrets, as keys of a dict, of a JSON body, of a query, or as headers (X-BAPI-SIGN)
_SECRET = (
    r"(?:x-(?:[a-z]+-)?)?(?:signature|sign|api[-_]?(?:key|secret)|access[-_]?key|secret(?:[-_]?key)?|passphrase|password"  # noqa: S105
    r"|token|private[-_]?key|listen[-_]?(?:key|token)|wallet[-_]?address|authorization)"
)
_SECRET_IN_QUERY = re.compile(
    rf"&(?i:{_SECRET})=[^&]*"
)  # only the names without case: so that "&" is what is looked for
_SECRET_IN_JSON = re.compile(rf'(?i)"({_SECRET})"\s*:\s*"(?:[^"\\]|\\.)*"')
_SECRET_IN_BYTES = re.compile(_SECRET_IN_JSON.pattern.encode())
# each of these names has one of these in it: most texts have none, and looking for that is ten times as fast
_IN_SECRETS = (b"sign", b"key", b"secret", b"pass", b"token", b"wallet", b"auth")
_SECRET_IN_WORDS = re.compile(
    rf"""(?i)((?<![a-z0-9]){_SECRET}["']?\s*[=:]\s*)(?:bearer\s+)?(?:"[^"]*"|'[^']*'|[^\s&"',;)\]}}]+)"""
)
_PASSWORD_IN_ADDRESS = re.compile(r"(://[^\s/:@]*:)[^\s@/]+@")


def snapshot(value: Any) -> msgspec.Raw:
    """The value as JSON, ready to be put into a record."""
    return msgspec.Raw(_encoded(value))


def _encoded(value: Any) -> bytes:
    try:
        encoded = _encoder.encode(value)
    except Exception:  # cycles, odd keys, broken strings: the slow walk below leaves out what cannot be told
        encoded = msgspec.json.encode(_walk(value, _DEPTH))
    if len(encoded) > _LIMIT_BYTES:
        head = encoded[:2_000].decode("utf-8", "replace")
        encoded = msgspec.json.encode({"truncated_bytes": len(encoded), "head": head})
    return encoded


def named(arguments: Any) -> msgspec.Raw:
    """A call's arguments, or an answer, as JSON; what goes by the name of a secret is removed, however deep it is."""
    return msgspec.Raw(_named(arguments))


def _named(arguments: Any) -> bytes:
    text = _encoded(arguments)
    lower = text.lower()
    for part in _IN_SECRETS:
        # not `in`: of bytes that makes an exception first, since they are no number, and is ten times as slow
        if lower.find(part) >= 0:
            return _SECRET_IN_BYTES.sub(rb'"\1":"removed"', text)
    return text


def answer_shown(result: Any, secrets: Iterable[str], *, by_name: bool) -> msgspec.Raw:
    """A result as JSON without these very words and, where it may hand out new ones, what goes by the name of a secret."""
    text = _named(result) if by_name else _encoded(result)
    for secret in secrets:
        if text.find(secret.encode()) >= 0:
            return msgspec.Raw(hidden(text.decode("utf-8"), secrets).encode())
    return msgspec.Raw(text)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without these very words: an exchange may repeat a key in its answer, where no name tells it."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "removed")
    return text


def without_secrets(body: str) -> str:
    """The text of a request or answer (a query string or JSON) without signatures and keys, told by their names."""
    if body[:1] in ("{", "["):
        return _SECRET_IN_JSON.sub(r'"\1":"removed"', body)
    return _SECRET_IN_QUERY.sub("", "&" + body)[1:].rstrip("&")


def said(text: str) -> str:
    """Words for a log, without what goes by the name of a secret in them and without an address's password."""
    return _PASSWORD_IN_ADDRESS.sub(r"\1***@", _SECRET_IN_WORDS.sub(r"\1***", text))


def _foreign(value: Any) -> Any:
    """JSON for an object msgspec does not know: the order it looks like, or its type's name."""
    name = f"<{type(value).__name__}>"
    try:
        if type(value).__module__.startswith("numpy") and hasattr(type(value), "item"):
            return value.item()
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, BaseException):
            return {"exception": type(value).__name__}
        seen = _fields(value)
    except Exception:  # an object that does not want to be looked at
        return name
    return seen if "id" in seen or "status" in seen else name


def _fields(value: Any) -> dict[str, Any]:
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        return {n: own[n] for n in _ORDER_FIELDS if n in own and not is_mock(own[n])}
    slots = getattr(type(value), "__slots__", ())
    return {n: getattr(value, n) for n in _ORDER_FIELDS if n in slots and hasattr(value, n)}


def is_mock(value: Any) -> bool:
    """Whether it makes up whatever it is asked for (the standard library's mock, or its backport)."""
    return any(cls.__module__ in ("unittest.mock", "mock.mock") for cls in type(value).__mro__)


def _walk(value: Any, depth: int) -> Any:
    """The slow way, leaving out what cannot be told: for what the encoder refuses as a whole."""
    try:
        return _walked(value, depth)
    except Exception:  # as in _foreign
        return f"<{type(value).__name__}>"


def _walked(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        small = -(2**63) <= value < 2**64
        return (
            int(value) if small else str(value) if value.bit_length() <= 512 else f"<int of {value.bit_length()} bits>"
        )
    if isinstance(value, str):
        return mended(value)
    if depth == 0:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {
            mended(key) if isinstance(key, str) else str(_walk(key, 1)): _walk(item, depth - 1)
            for key, item in list(value.items())[:200]
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_walk(item, depth - 1) for item in list(value)[:200]]
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except Exception:  # not a type of msgspec's either: tell what it looks like
        seen = _foreign(value)
        return seen if isinstance(seen, str) else _walk(seen, depth - 1)


def mended(text: str) -> str:
    """The text, with what cannot be written as UTF-8 spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_encoder = msgspec.json.Encoder(enc_hook=_foreign, decimal_format="string")
