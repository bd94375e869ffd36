"""What became of a request that failed: the stage first, the class second."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import ccxt
import pytest

from audit_wrapper.exchanges.outcomes import Judgement, failure_of, judge, judge_answer
from audit_wrapper.records import Failure, RecordKind, Response

ACK, REJECTED = RecordKind.ACKNOWLEDGED, RecordKind.REJECTED
UNKNOWN, NOT_SENT, UNCHANGED = RecordKind.OUTCOME_UNKNOWN, RecordKind.NOT_SENT, RecordKind.UNCHANGED


def raised(exc: BaseException, cause: BaseException | None = None) -> Failure:
    try:
        raise exc from cause
    except BaseException as seen:
        return failure_of(seen)


def body(text: str, status: int = 200) -> Response:
    return Response(http_status=status, text=text)


MARGIN = '{"code":-2019,"msg":"Margin is insufficient."}'
BYBIT_MARGIN = '{"retCode":110007,"retMsg":"ab not enough for new order","result":{},"retExtInfo":{},"time":1}'

BY_STAGE: list[tuple[str, str, BaseException, Response | None, bool | None, RecordKind]] = [
    ("refused", "binance", ccxt.InsufficientFunds("binance " + MARGIN), body(MARGIN, 400), True, REJECTED),
    ("refused, 200", "bybit", ccxt.InsufficientFunds("bybit " + BYBIT_MARGIN), body(BYBIT_MARGIN), True, REJECTED),
    ("body only in the message", "binance", ccxt.ExchangeError("binance " + MARGIN), None, True, REJECTED),
    ("never entered fetch", "binance", ccxt.InvalidOrder("amount too small"), None, False, NOT_SENT),
    ("cancelled before it left", "binance", asyncio.CancelledError(), None, False, NOT_SENT),
    ("cancelled after it left", "binance", asyncio.CancelledError(), None, True, UNKNOWN),
    ("killed after it left", "bybit", KeyboardInterrupt(), None, True, UNKNOWN),
    ("no answer in time", "bybit", ccxt.RequestTimeout("bybit POST https://api"), None, True, UNKNOWN),
    ("connection lost", "bybit", ccxt.NetworkError("reset"), None, True, UNKNOWN),
    ("local class, but it had left", "gate", ccxt.BadSymbol("x"), None, True, UNKNOWN),
    ("no answer, whatever the class", "gate", ccxt.RateLimitExceeded("x"), None, True, UNKNOWN),
    ("plain error, no answer", "gate", ccxt.ExchangeError("x"), None, True, UNKNOWN),
    ("500", "okx", ccxt.ExchangeNotAvailable("okx"), body("", 500), True, UNKNOWN),
    ("503 with a refusing class", "okx", ccxt.InvalidOrder("okx"), body('{"code":"1","msg":"?"}', 503), True, UNKNOWN),
    ("408", "binance", ccxt.RequestTimeout("x"), body('{"code":-1007,"msg":"?"}', 408), True, UNKNOWN),
    ("page of a CDN", "kraken", ccxt.ExchangeNotAvailable("x"), body("<!DOCTYPE html><html>", 403), True, UNKNOWN),
    (
        "429 of the exchange",
        "binance",
        ccxt.RateLimitExceeded("x"),
        body('{"code":-1003,"msg":"!"}', 429),
        True,
        REJECTED,
    ),
    ("429 page of a CDN", "binance", ccxt.RateLimitExceeded("x"), body("<html>slow down", 429), True, UNKNOWN),
    ("4xx", "gate", ccxt.ExchangeNotAvailable("x"), body('{"label":"NOPE","message":"no"}', 404), True, REJECTED),
    (
        "throttled for certain",
        "binance",
        ccxt.OperationFailed("x"),
        body('{"code":-1008,"msg":"!"}', 503),
        True,
        REJECTED,
    ),
    ("status unknown", "binance", ccxt.ExchangeError("x"), body('{"code":-1006,"msg":"!"}', 400), True, UNKNOWN),
    ("status unknown, okx", "okx", ccxt.RequestTimeout("x"), body('{"code":"50004","msg":"!"}', 400), True, UNKNOWN),
    ("server error, bybit", "bybit", ccxt.ExchangeError("x"), body('{"retCode":10016,"retMsg":"!"}'), True, UNKNOWN),
    ("timeout, bybit", "bybit", ccxt.RequestTimeout("x"), body('{"retCode":170007,"retMsg":"!"}'), True, UNKNOWN),
    (
        "not modified",
        "bybit",
        ccxt.ExchangeError("x"),
        body('{"retCode":34040,"retMsg":"not modified"}'),
        True,
        UNCHANGED,
    ),
    (
        "no need",
        "binance",
        ccxt.OperationRejected("x"),
        body('{"code":-4046,"msg":"No need to change margin type."}', 400),
        True,
        UNCHANGED,
    ),
    (
        "same code, other words",
        "binance",
        ccxt.AuthenticationError("x"),
        body('{"code":-4046,"msg":"Agreement not confirmed."}', 400),
        True,
        REJECTED,
    ),
    ("no change, by class", "okx", ccxt.NoChange("x"), body('{"code":"1","msg":"same"}'), True, UNCHANGED),
    (
        "half done",
        "binance",
        ccxt.BadResponse("x"),
        body('{"code":-2021,"msg":"partially failed"}', 409),
        True,
        UNKNOWN,
    ),
    (
        "both halves failed",
        "binance",
        ccxt.BadResponse("x"),
        body('{"code":-2022,"msg":"failed"}', 400),
        True,
        REJECTED,
    ),
    (
        "one order refused in a success",
        "okx",
        ccxt.InsufficientFunds("x"),
        body('{"code":"0","data":[{"sCode":"51008","sMsg":"no"}]}'),
        True,
        REJECTED,
    ),
    ("taken, then the client broke", "binance", KeyError("x"), body('{"orderId":5,"status":"NEW"}'), True, ACK),
    (
        "taken, then cancelled",
        "bybit",
        asyncio.CancelledError(),
        body('{"retCode":0,"result":{"orderId":"5"}}'),
        True,
        ACK,
    ),
    ("an answer nobody understands", "gate", KeyError("x"), body('{"hm":1}'), True, UNKNOWN),
    ("cancel pending", "gate", ccxt.CancelPending("x"), body('{"label":"PENDING","message":"wait"}'), True, ACK),
    # a mocked client: nothing but the class is known
    ("mock refuses", "binance", ccxt.InsufficientFunds("no money"), None, None, REJECTED),
    ("mock refuses plainly", "binance", ccxt.ExchangeError("no"), None, None, REJECTED),
    ("mock times out", "binance", ccxt.RequestTimeout("slow"), None, None, UNKNOWN),
    ("mock loses the network", "binance", ccxt.NetworkError("gone"), None, None, UNKNOWN),
    ("mock is not available", "binance", ccxt.ExchangeNotAvailable("gone"), None, None, UNKNOWN),
    ("mock lacks a symbol", "binance", ccxt.BadSymbol("no such market"), None, None, NOT_SENT),
    ("mock lacks an argument", "binance", ccxt.ArgumentsRequired("price"), None, None, NOT_SENT),
    (
        "mock refuses a symbol",
        "binance",
        ccxt.BadSymbol('binance {"code":-1121,"msg":"Invalid symbol."}'),
        None,
        None,
        REJECTED,
    ),
    ("mock is asked too often", "binance", ccxt.RateLimitExceeded("slow down"), None, None, REJECTED),
    ("host breaks", "binance", ValueError("?"), None, None, UNKNOWN),
    ("host breaks differently", "binance", KeyError("?"), None, None, UNKNOWN),
    ("host times out", "binance", TimeoutError(), None, None, UNKNOWN),
    ("mock is cancelled", "binance", asyncio.CancelledError(), None, None, UNKNOWN),
]


@pytest.mark.parametrize(
    ("exchange", "exc", "response", "sent", "kind"), [pytest.param(*row[1:], id=row[0]) for row in BY_STAGE]
)
def test_outcome(
    exchange: str, exc: BaseException, response: Response | None, sent: bool | None, kind: RecordKind
) -> None:
    assert judge(raised(exc), response, sent, exchange).kind is kind


class ClientConnectorDNSError(Exception):
    """Named as aiohttp's."""


class ServerDisconnectedError(Exception):
    """Named as aiohttp's."""


def test_a_name_that_does_not_resolve_was_never_connected_to() -> None:
    dns = ClientConnectorDNSError()
    dns.__cause__ = socket.gaierror()
    failure = raised(ccxt.ExchangeNotAvailable("binance POST https://fapi"), dns)
    assert failure.cause == "ClientConnectorDNSError <- gaierror"
    assert judge(failure, None, True, "binance").kind is NOT_SENT


@pytest.mark.parametrize("sent", [True, None])
def test_a_connection_that_broke_may_have_delivered(sent: bool | None) -> None:
    for exc in (ccxt.ExchangeNotAvailable("x"), ccxt.ExchangeError("x")):
        assert judge(raised(exc, ServerDisconnectedError()), None, sent, "binance").kind is UNKNOWN


@pytest.mark.parametrize(
    ("exchange", "text", "code", "words"),
    [
        ("binance", MARGIN, "-2019", "Margin is insufficient."),
        ("bybit", BYBIT_MARGIN, "110007", "ab not enough for new order"),
        ("okx", '{"code":"1","data":[{"sCode":"51008","sMsg":"Insufficient"}],"msg":""}', "51008", "Insufficient"),
        ("gate", '{"label":"BALANCE_NOT_ENOUGH","message":"Not enough"}', "BALANCE_NOT_ENOUGH", "Not enough"),
        ("kraken", '{"error":["EOrder:Insufficient funds"]}', None, "EOrder:Insufficient funds"),
        ("bitget", '{"code":"40762","msg":"The order size is greater"}', "40762", "The order size is greater"),
        ("htx", '{"status":"error","err_code":1047,"err_msg":"Insufficient margin"}', "1047", "Insufficient margin"),
        ("deribit", '{"error":{"message":"not_enough_funds","code":10009}}', None, "not_enough_funds"),
    ],
)
def test_the_exchanges_own_code_and_words(exchange: str, text: str, code: str | None, words: str) -> None:
    for response in (body(text, 400), None):
        seen = judge(raised(ccxt.InsufficientFunds(f"{exchange} {text}")), response, True, exchange)
        assert (seen.kind, seen.code, seen.words) == (REJECTED, code, words)


def test_words_are_cut_and_notes_are_ours() -> None:
    text = '{"code":-4116,"msg":"' + "x" * 900 + '"}'
    seen = judge(raised(ccxt.DuplicateOrderId("binance " + text)), body(text, 400), True, "binance")
    assert seen == Judgement(
        kind=REJECTED,
        code="-4116",
        words="x" * 500,
        note="an earlier request with this client order id was accepted",
    )


def test_a_class_of_a_later_ccxt_is_read_by_its_base() -> None:
    class OrderTooFunny(ccxt.InvalidOrder):  # type: ignore[misc]
        pass

    assert judge(raised(OrderTooFunny("x")), None, None, "binance").kind is REJECTED


@pytest.mark.parametrize(
    ("exchange", "result", "kind", "code"),
    [
        ("bybit", {"retCode": 0, "retMsg": "OK", "result": {}}, ACK, None),
        ("bybit", {"retCode": "0", "retMsg": "OK", "result": {}}, ACK, None),
        ("bybit", {"retCode": 34040, "retMsg": "not modified"}, UNCHANGED, "34040"),
        ("bybit", {"retCode": "10001", "retMsg": "zero position"}, REJECTED, "10001"),
        ("binance", {"orderId": 5, "status": "NEW"}, ACK, None),
        ("binance", {"algoId": 5, "code": "200", "msg": "success"}, ACK, None),
        ("binance", {"code": -2011, "msg": "Unknown order sent."}, REJECTED, "-2011"),
        ("gate", None, ACK, None),
        ("gate", True, ACK, None),
    ],
)
def test_a_refusal_that_was_returned(exchange: str, result: Any, kind: RecordKind, code: str | None) -> None:
    seen = judge_answer(result, exchange)
    assert (seen.kind, seen.code) == (kind, code)


def test_failure_of_keeps_classes_message_and_cause() -> None:
    failure = raised(ccxt.InsufficientFunds("binance " + MARGIN), ValueError())
    assert failure.type == "InsufficientFunds"
    assert failure.bases[:3] == ("ExchangeError", "BaseError", "Exception")
    assert (failure.message, failure.cause, failure.code) == ("binance " + MARGIN, "ValueError", "-2019")


def test_failure_of_an_exception_that_cannot_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert failure_of(Mute()) == Failure(type="Mute", bases=("Exception", "BaseException"))


def test_what_signs_a_request_is_not_kept() -> None:
    url = "https://fapi.binance.com/fapi/v1/order?symbol=A&timestamp=1&signature=c0ffee&apiKey=k3y"
    message = failure_of(ccxt.RequestTimeout(f"binance POST {url}")).message
    assert "c0ffee" not in message
    assert "k3y" not in message
    assert "symbol=A&timestamp=1&signature=***" in message
