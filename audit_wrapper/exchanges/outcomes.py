"""What became of a request that ended in an exception: refused, never sent, or nobody knows.

The stage decides first, the class of the exception second. A request that never left was not sent. One that
left and got no answer has an unknown outcome, whatever the exception is called. Only an answer of the
exchange itself refuses an order. Exceptions are known by the names of their classes, so ccxt is not imported,
and a release that renames or adds one is read by its nearest known base.
"""

import re
from typing import NamedTuple

import msgspec

from audit_wrapper.exchanges.answers import NO_ANSWER, Answer, answer_in, answer_in_message, is_html
from audit_wrapper.exchanges.numbers import text_of
from audit_wrapper.records import Failure, RecordKind, Response


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome. `code` and `words` are the exchange's own; `note` is ours."""

    kind: RecordKind
    code: str | None = None
    words: str | None = None
    note: str | None = None


class _Codes(NamedTuple):
    unknown: frozenset[str] = frozenset()
    unchanged: frozenset[str] = frozenset()
    unchanged_words: str | None = None
    refused: frozenset[str] = frozenset()  # refused for certain, although the HTTP status says 5xx


_CODES = {
    # -1000 unknown error, -1006/-1007 "execution status unknown", -2021 one half of cancelReplace done.
    # -1008: throttled before it reached the matching engine; Binance documents it as a definite failure,
    # though it comes as a 503. What -4046, -4059 and -5027 mean differs by market, so their words decide.
    "binance": _Codes(
        unknown=frozenset({"-1000", "-1006", "-1007"}),
        unchanged_words=r"^no need to (change|modify)",
        refused=frozenset({"-1008", "-2022"}),
    ),
    # 10000, 10016, 170001, 170007, 170032: server timeout, server error, network error, on Bybit's own side.
    "bybit": _Codes(
        unknown=frozenset({"10000", "10016", "170001", "170007", "170032"}),
        unchanged=frozenset({"34040", "110025", "110026", "110043"}),
    ),
    "okx": _Codes(unknown=frozenset({"50004"})),
}
_HALF_DONE = frozenset({"-2021"})

_REFUSED, _UNKNOWN, _LOCAL, _BUSY, _PLAIN = "refused", "unknown", "local", "busy", "plain"
_SAME, _PENDING = "same", "pending"
_CLASSES = {
    # raised from an answer of the exchange and from nothing else
    "InsufficientFunds": _REFUSED,
    "InvalidOrder": _REFUSED,
    "OrderNotFound": _REFUSED,
    "OrderImmediatelyFillable": _REFUSED,
    "OrderNotFillable": _REFUSED,
    "DuplicateOrderId": _REFUSED,
    "ContractUnavailable": _REFUSED,
    "BadRequest": _REFUSED,
    "AuthenticationError": _REFUSED,
    "PermissionDenied": _REFUSED,
    "AccountNotEnabled": _REFUSED,
    "AccountSuspended": _REFUSED,
    "MarketClosed": _REFUSED,
    "RestrictedLocation": _REFUSED,
    "ManualInteractionNeeded": _REFUSED,
    "OperationRejected": _REFUSED,
    "NoChange": _SAME,
    "MarginModeAlreadySet": _SAME,
    "CancelPending": _PENDING,
    # raised by the client before it sends, unless an answer comes with it
    "ArgumentsRequired": _LOCAL,
    "BadSymbol": _LOCAL,
    "NotSupported": _LOCAL,
    "InvalidAddress": _LOCAL,
    "InvalidProxySettings": _LOCAL,
    "ExchangeClosedByUser": _LOCAL,
    "OrderNotCached": _LOCAL,
    # the exchange refuses to listen; a CDN in front of it may say the same without having passed anything on
    "RateLimitExceeded": _BUSY,
    "DDoSProtection": _BUSY,
    "InvalidNonce": _BUSY,
    "OnMaintenance": _BUSY,
    # no answer, or none that can be trusted
    "RequestTimeout": _UNKNOWN,
    "ExchangeNotAvailable": _UNKNOWN,
    "BadResponse": _UNKNOWN,
    "NullResponse": _UNKNOWN,
    "NetworkError": _UNKNOWN,
    "OperationFailed": _UNKNOWN,
    # the exchange's error where an answer names one, but transport faults are called this too
    "ExchangeError": _PLAIN,
}
_INTERRUPTED = frozenset({"CancelledError", "KeyboardInterrupt", "GeneratorExit", "SystemExit", "TimeoutError"})
_NEVER_CONNECTED = re.compile(
    r"\b(gaierror|ClientConnector\w*Error|ConnectionRefusedError|NewConnectionError|NameResolutionError)\b"
)
_SECRET = re.compile(
    r"(?i)([?&\"' ](?:signature|sign|api_?key|token|passphrase|secret|listenKey)\"?[=:]\s*\"?)[^&\s\"']+"
)
_NOTES = {
    "DuplicateOrderId": "an earlier request with this client order id was accepted",
    "OrderNotFound": "the order is not open: it was filled, canceled, or never existed",
    "CancelPending": "the cancel was accepted and is pending",
}


def judge(failure: Failure, response: Response | None, sent: bool | None, exchange_id: str | None = None) -> Judgement:
    """The outcome of a call that raised `failure`.

    `response` is the answer to its last request, if one was seen. `sent`: False when the request never
    entered the client's `fetch`, True when it did, None when the transport could not be seen (a mocked
    client).
    """
    http, text, answer = _answer(failure, response)
    code, words = answer.code or failure.code, answer.words
    names = (failure.type, *failure.bases)
    meaning, named = _meaning(names)

    def say(kind: RecordKind, note: str | None = None) -> Judgement:
        return Judgement(kind=kind, code=code, words=words, note=note or _NOTES.get(named))

    if sent is False:
        return say(RecordKind.NOT_SENT)
    if failure.cause is not None and _NEVER_CONNECTED.search(failure.cause):
        return say(RecordKind.NOT_SENT, "no connection to the exchange was made")
    special = _by_code(exchange_id, code, words)
    if special is not None:
        return say(special)
    if code in _HALF_DONE and exchange_id is not None and exchange_id.startswith("binance"):
        return say(RecordKind.OUTCOME_UNKNOWN, "cancelReplace: one half was done, the other was not")
    if answer.took_it and meaning != _REFUSED and (http is None or http < 400):
        if meaning == _PENDING:
            return say(RecordKind.ACKNOWLEDGED)
        return say(RecordKind.ACKNOWLEDGED, f"the exchange took it; then the client failed with {failure.type}")
    if http is not None and (http >= 500 or http == 408):
        return say(RecordKind.OUTCOME_UNKNOWN, f"HTTP {http}")
    if any(name in _INTERRUPTED for name in names) and not answer.refused:
        return say(RecordKind.OUTCOME_UNKNOWN, f"interrupted by {failure.type} before an answer was read")
    if is_html(text):
        return say(RecordKind.OUTCOME_UNKNOWN, "the answer is a web page, not the exchange's")
    if http is not None and http >= 400 and text and meaning not in (_SAME, _PENDING):
        return say(RecordKind.REJECTED)
    return say(_by_class(meaning, answer, sent, failure))


def judge_answer(result: object, exchange_id: str | None = None) -> Judgement:
    """The outcome of a call that returned: an implicit call hands out the exchange's own refusal as a result."""
    answer = answer_in(result)
    special = _by_code(exchange_id, answer.code, answer.words)
    kind = special or (RecordKind.REJECTED if answer.refused else RecordKind.ACKNOWLEDGED)
    refused = kind is not RecordKind.ACKNOWLEDGED
    return Judgement(kind=kind, code=answer.code if refused else None, words=answer.words if refused else None)


def failure_of(exc: BaseException) -> Failure:
    """`exc` as a value. Never raises, even if the exception cannot be turned into text.

    ccxt puts the signed URL into the message of a network error; what signs it is taken out.
    """
    kind = type(exc)
    try:
        message = _SECRET.sub(r"\1***", str(exc)).encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # the text of a foreign exception may fail in any way
        message = ""
    bases = tuple(base.__name__ for base in kind.__mro__[1:] if base is not object)
    return Failure(
        type=kind.__name__,
        message=message[:4000],
        bases=bases,
        cause=_causes(exc),
        code=answer_in_message(message).code,
    )


def _causes(exc: BaseException) -> str | None:
    """The classes of what led to it, nearest first: "ClientConnectorDNSError <- gaierror"."""
    names: list[str] = []
    seen = exc
    for _ in range(5):
        cause = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if cause is None:
            break
        names.append(type(cause).__name__)
        seen = cause
    return " <- ".join(names) or None


def _answer(failure: Failure, response: Response | None) -> tuple[int | None, str | None, Answer]:
    """HTTP status, text and answer. ccxt repeats the answer in its message: the evidence where no response was seen."""
    if response is not None and (response.text is not None or response.http_status is not None):
        answer = answer_in(response.text)
        return response.http_status, response.text, answer
    answer = answer_in_message(failure.message)
    return None, None, answer if answer.refused else NO_ANSWER


def _meaning(names: tuple[str, ...]) -> tuple[str | None, str]:
    return next(((_CLASSES[name], name) for name in names if name in _CLASSES), (None, ""))


def _by_code(exchange_id: str | None, code: str | None, words: str | None) -> RecordKind | None:
    family = text_of(exchange_id) or ""
    codes = next((codes for name, codes in _CODES.items() if family.startswith(name)), None)
    if codes is None or code is None:
        return None
    if code in codes.unknown:
        return RecordKind.OUTCOME_UNKNOWN
    if code in codes.refused:
        return RecordKind.REJECTED
    if code in codes.unchanged:
        return RecordKind.UNCHANGED
    if codes.unchanged_words is not None and re.search(codes.unchanged_words, words or "", re.IGNORECASE):
        return RecordKind.UNCHANGED
    return None


def _by_class(meaning: str | None, answer: Answer, sent: bool | None, failure: Failure) -> RecordKind:
    """The second step: what the class says, given whether the exchange named an error."""
    if meaning == _SAME:
        return RecordKind.UNCHANGED
    if meaning == _PENDING:
        return RecordKind.ACKNOWLEDGED
    if meaning == _REFUSED:
        return RecordKind.REJECTED
    if meaning == _LOCAL:
        return RecordKind.REJECTED if answer.refused else _unless_sent(sent, RecordKind.NOT_SENT)
    if meaning == _BUSY:
        return RecordKind.REJECTED if answer.refused else _unless_sent(sent, RecordKind.REJECTED)
    if meaning == _PLAIN:
        if answer.refused:
            return RecordKind.REJECTED
        # ccxt chains its transport faults to their cause; an ExchangeError without one is the exchange's word
        return _unless_sent(sent, RecordKind.REJECTED if failure.cause is None else RecordKind.OUTCOME_UNKNOWN)
    if meaning is None and answer.refused and sent is not None:
        return RecordKind.REJECTED  # the answer was a refusal; the bot then failed in its own way
    return RecordKind.OUTCOME_UNKNOWN


def _unless_sent(sent: bool | None, kind: RecordKind) -> RecordKind:
    return RecordKind.OUTCOME_UNKNOWN if sent else kind
