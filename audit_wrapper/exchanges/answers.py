"""What an exchange's answer says in its own words: its code, its message, and whether it is one at all."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from audit_wrapper.exchanges.numbers import Raw, id_of, items, plain, text_of

WORDS_AT_MOST = 500

_CODES = ("sCode", "retCode", "code", "err_code", "err-code", "errCode", "errorCode", "label", "s_code")
_WORDS = (
    "sMsg",
    "retMsg",
    "msg",
    "message",
    "err_msg",
    "err-msg",
    "errMsg",
    "errorMessage",
    "error_description",
    "failure_reason",
    "reason",
    "detail",
)
_SUCCESS = frozenset({"0", "00000", "200", "200000", "ok", "success"})
_SUCCESS_BY_NAME = {"retCode": frozenset({"0"}), "sCode": frozenset({"0"})}
_IDS = ("orderId", "algoId", "ordId", "order_id", "clientOrderId", "orderLinkId", "txid", "oid", "uuid", "id")


class Answer(NamedTuple):
    """One answer. `refused`: it names an error. `took_it`: it shows an order or says success outright."""

    is_body: bool = False
    code: str | None = None
    words: str | None = None
    refused: bool = False
    took_it: bool = False


NO_ANSWER = Answer()


def answer_in(text: object) -> Answer:
    """The exchange's answer in a body; NO_ANSWER for HTML, plain text and nothing."""
    if isinstance(text, str):
        start = text.lstrip()[:1]
        if start not in ("{", "["):
            return NO_ANSWER
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return NO_ANSWER
    body = plain(text)
    if not body:
        listed = items(text)
        body = plain(listed[0]) if len(listed) == 1 else {}
        if not body:
            return Answer(is_body=bool(listed))
    code, words, refused, took_it = _read(body)
    return Answer(is_body=True, code=code, words=words, refused=refused, took_it=took_it)


def answer_in_message(message: str) -> Answer:
    """The answer that ccxt put into its exception: 'binance {"code":-2019,"msg":"Margin is insufficient."}'."""
    for found in re.finditer(r"[{\[]", message):
        answer = answer_in(message[found.start() :].strip())
        if answer.is_body:
            return answer
        break
    return NO_ANSWER


def is_html(text: str | None) -> bool:
    """A page of a CDN or a proxy, not a word of the exchange."""
    return text is not None and bool(re.match(r"\s*(<!doctype|<html|<head|<\?xml|<)", text, re.IGNORECASE))


def cut(words: str | None) -> str | None:
    """At most WORDS_AT_MOST characters."""
    return words[:WORDS_AT_MOST] if words else None


def _read(body: Raw) -> tuple[str | None, str | None, bool, bool]:
    levels = list(_levels(body))
    worst = next((level for level in levels if _code(level)[0] is not None and not _code(level)[1]), None)
    source = worst if worst is not None else body
    code, fine = _code(source)
    words = next((text for text in (text_of(source.get(name)) for name in _WORDS) if text is not None), None)
    error = _error(body)
    if worst is None and error is not None:
        return code if not fine else None, cut(words or error), True, False
    took_it = worst is None and (fine or any(id_of(level.get(name)) is not None for level in levels for name in _IDS))
    return code, cut(words), worst is not None, took_it


def _levels(body: Raw) -> Iterator[Raw]:
    """The answer itself and the orders inside it: a success may hold one order that was refused (OKX `sCode`)."""
    inner = [plain(entry) for name in ("data", "result") for entry in (*items(body.get(name)), body.get(name))]
    yield from (level for level in inner if level)
    yield body


def _code(level: Raw) -> tuple[str | None, bool]:
    """(the code, whether it means success)."""
    for name in _CODES:
        code = text_of(level.get(name))
        if code is not None:
            return code, code.lower() in _SUCCESS_BY_NAME.get(name, _SUCCESS)
    return None, False


def _error(body: Raw) -> str | None:
    """An error said without a code: Kraken `error: [..]`, Coinbase `success: false`, HTX `status: "error"`."""
    said: Any = body.get("error") or body.get("errors") or body.get("err")
    if isinstance(said, str):
        return said
    if items(said):
        return "; ".join(text for text in (text_of(entry) for entry in items(said)) if text) or "error"
    if plain(said):
        inner = plain(said)
        return text_of(inner.get("message")) or text_of(inner.get("msg")) or text_of(inner.get("code")) or "error"
    if body.get("success") is False or body.get("status") == "error":
        return "error"
    return None
