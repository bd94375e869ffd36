"""No order, trade, request or failure makes an adapter fail, whatever it is made of."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.asked import Asked
from audit_wrapper.exchanges.outcomes import Judgement, judge, judge_answer
from audit_wrapper.records import Failure, Fill, Market, OrderState, Request, Response

IDS = (
    "binance",
    "binanceusdm",
    "bybit",
    "okx",
    "gate",
    "kraken",
    "bitget",
    "hyperliquid",
    "htx",
    "bingx",
    "deribit",
    "nope",
)

NAMES = st.sampled_from(
    [
        "info",
        "id",
        "symbol",
        "side",
        "type",
        "status",
        "amount",
        "filled",
        "remaining",
        "price",
        "average",
        "fee",
        "fees",
        "trades",
        "cost",
        "currency",
        "retCode",
        "result",
        "list",
        "orderId",
        "algoId",
        "ordId",
        "origQty",
        "executedQty",
        "cumExecQty",
        "qty",
        "orderStatus",
        "orderType",
        "stopOrderType",
        "cumFeeDetail",
        "fills",
        "commission",
        "feeDetail",
        "category",
        "filled_amount",
        "text",
        "currency_pair",
        "descr",
        "userref",
        "builderFee",
        "trade_fee",
        "code",
        "msg",
        "data",
        "sCode",
        "batchOrders",
        "request",
        "stopLoss",
        "tpslMode",
        "timestamp",
        "updateTime",
    ]
)
STREAM_NAMES = st.sampled_from(
    [
        "e",
        "o",
        "s",
        "S",
        "i",
        "x",
        "X",
        "q",
        "p",
        "l",
        "L",
        "z",
        "n",
        "N",
        "t",
        "T",
        "m",
        "c",
        "C",
        "aid",
        "ai",
        "ap",
        "oid",
        "fi",
        "or",
        "er",
        "stream",
        "data",
        "event",
        "topic",
        "op",
        "id",
        "result",
        "status",
        "retCode",
        "list",
        "retExtInfo",
        "execId",
        "execType",
        "execQty",
        "execPrice",
        "execFee",
        "createType",
        "stopOrderType",
        "orderId",
        "orderLinkId",
        "orderQty",
        "symbol",
        "side",
        "price",
        "qty",
        "incomeType",
        "takerOrMaker",
        "order",
        "info",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=8)
    | st.sampled_from(
        ["0", "1", "closed", "Filled", "market", "buy", "1e999", "[]", '{"a":1}', "Buy", "NaN", "spot", "Market"]
    )
    | st.builds(MagicMock)
    | st.builds(object)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=6),
    max_leaves=8,
)
ORDERS = st.dictionaries(NAMES, VALUES, max_size=10) | VALUES | st.builds(lambda: MagicMock(spec=dict))
EVENTS = ["ORDER_TRADE_UPDATE", "ALGO_UPDATE", "TRADE_LITE", "executionReport", "CONDITIONAL_ORDER_TRIGGER_REJECT"]
WORDS = LEAVES | st.sampled_from(
    [*EVENTS, "listStatus", "order", "execution.fast", "TRADE", "NEW", "Funding", "BustTrade"]
)
SHOWN = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STREAM_NAMES | NAMES, inner, max_size=12),
    max_leaves=30,
)
PATHS = [
    "order",
    "/fapi/v1/batchOrders",
    "/api/v3/order/cancelReplace",
    "/v5/order/create",
    "/v5/order/create-batch",
    "/v5/position/trading-stop",
]
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@fuzz
@given(
    st.sampled_from(IDS),
    ORDERS,
    st.sampled_from([None, Market(symbol="A/B", type="spot"), Market(settle="B", type="swap")]),
)
def test_no_order_or_trade_makes_an_adapter_fail(exchange: str, order: Any, market: Market | None) -> None:
    adapter = adapter_for(exchange)
    state = adapter.order_state(order, market)
    assert isinstance(state, OrderState)
    for number in (state.quantity, state.filled_quantity, state.remaining_quantity, state.average_price):
        assert number is None or (type(number) is Decimal and number.is_finite() and number >= 0)
    assert isinstance(adapter.fill(order, market), Fill)
    assert adapter.order_id_kind(order) in ("order", "algo")
    assert isinstance(adapter.child_order_id(order), str | None)
    assert adapter.exact_info(order, "{}") is order


@fuzz
@given(
    st.sampled_from(IDS),
    SHOWN | ORDERS | SHOWN.map(lambda value: json.dumps(value, default=str)) | st.binary(max_size=20),
    st.sampled_from([None, Market(symbol="A/B", type="spot"), Market(settle="B", type="swap", exchange_symbol="A")]),
)
def test_nothing_shown_makes_an_adapter_fail(exchange: str, shown: Any, market: Market | None) -> None:
    adapter = adapter_for(exchange)
    seen = adapter.sightings(shown, market)
    assert isinstance(adapter.understands(shown), bool)
    for payment in [adapter.funding(shown, market), *adapter.payments(shown, market)]:
        assert payment is None or (type(payment.amount) is Decimal and payment.amount.is_finite())
    for sighting in seen:
        state = sighting.state
        assert state.exchange_order_id or state.client_order_id or sighting.fills
        assert state.fills == ()
        assert all(fill.price is not None and fill.quantity is not None for fill in sighting.fills)
        assert len(set(sighting.fills)) == len(sighting.fills)
    if isinstance(shown, dict):
        assert adapter.order_id_kind(shown) in ("order", "algo")
        assert isinstance(adapter.child_order_id(shown), str | None)


@fuzz
@given(st.sampled_from(IDS), st.sampled_from(PATHS), st.sampled_from(["POST", "PUT", "DELETE", "GET", ""]), VALUES)
def test_no_request_makes_an_adapter_fail(exchange: str, path: str, method: str, params: Any) -> None:
    asked = adapter_for(exchange).read_request(Request(method=method, path=path, params=params))
    assert isinstance(asked, Asked | None)


@fuzz
@given(st.sampled_from(IDS), VALUES, VALUES, VALUES)
def test_no_endpoint_makes_an_adapter_fail(exchange: str, api: Any, method: Any, path: Any) -> None:
    adapter = adapter_for(exchange)
    assert isinstance(adapter.is_write(api, method, path), bool)
    assert adapter.read_request(path) is None


@fuzz
@given(
    st.sampled_from(IDS),
    st.sampled_from(["InsufficientFunds", "KeyError", "CancelledError", "ExchangeError", ""]),
    st.text(max_size=30) | VALUES.map(lambda value: "x " + json.dumps(value, default=str)),
    st.none() | st.integers(0, 999),
    st.sampled_from([True, False, None]),
)
def test_no_failure_makes_the_judge_fail(
    exchange: str, kind: str, text: str, status: int | None, sent: bool | None
) -> None:
    for response in (None, Response(http_status=status, text=text), Response(http_status=status, text=text[2:])):
        assert isinstance(judge(Failure(type=kind, message=text), response, sent, exchange), Judgement)
    assert isinstance(judge_answer(text, exchange), Judgement)
