"""What a request asks: requests that ccxt itself built, caught on their way out, and requests written by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt
import pytest

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.asked import Asked, Stop
from audit_wrapper.records import Action, OrderState, Request

BINANCE_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]


class Caught(Exception):
    """The request as it was about to leave."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


def client(exchange: str) -> Any:
    """A real ccxt client whose requests never leave."""
    made = getattr(ccxt, exchange)({"apiKey": "key", "secret": "secret", "enableRateLimit": False})
    market = made.safe_market_structure(
        {
            "id": "MNTUSDT",
            "symbol": "MNT/USDT:USDT",
            "base": "MNT",
            "quote": "USDT",
            "settle": "USDT",
            "type": "swap",
            "swap": True,
            "spot": False,
            "contract": True,
            "linear": True,
            "inverse": False,
            "contractSize": 1,
            "precision": {"amount": 0.1, "price": 0.0001},
            "info": {"orderTypes": BINANCE_TYPES},
        }
    )
    made.markets, made.markets_by_id = {market["symbol"]: market}, {market["id"]: [market]}
    made.symbols, made.currencies = [market["symbol"]], {}
    made.options |= {"enableUnifiedAccount": True, "enableUnifiedMargin": False}

    def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> None:
        parts = urlsplit(url)
        sent = body.decode() if isinstance(body, bytes) else body
        params: Any = dict(parse_qsl(parts.query))
        if sent:
            params |= json.loads(sent) if sent.startswith("{") else dict(parse_qsl(sent))
        raise Caught(Request(method=method, path=parts.path, params=params))

    made.fetch = fetch
    return made


def caught(exchange: str, method: str, *arguments: Any) -> Asked:
    with pytest.raises(Caught) as leaving:
        getattr(client(exchange), method)(*arguments)
    request = leaving.value.request
    adapter = adapter_for(exchange)
    asked = adapter.read_request(request)
    assert asked is not None
    assert adapter.action_of(request.method, request.path) is asked.action
    return asked


SYMBOL = "MNT/USDT:USDT"


def test_binance_market_entry_as_ccxt_sends_it() -> None:
    asked = caught("binanceusdm", "create_market_order", SYMBOL, "buy", 3.75, None, {"clientOrderId": "cid"})
    assert asked == Asked(
        action=Action.PLACE,
        state=OrderState(client_order_id="cid", symbol="MNTUSDT", side="buy", type="MARKET", quantity=Decimal("3.7")),
    )


def test_binance_stop_goes_to_the_algo_endpoint() -> None:
    params = {"stopPrice": 0.9876, "reduceOnly": True, "clientOrderId": "sl"}
    asked = caught("binanceusdm", "create_order", SYMBOL, "STOP_MARKET", "sell", 3, None, params)
    assert asked == Asked(
        action=Action.PLACE,
        id_kind="algo",
        state=OrderState(
            client_order_id="sl",
            symbol="MNTUSDT",
            side="sell",
            type="STOP_MARKET",
            quantity=Decimal(3),
            trigger_price=Decimal("0.9876"),
            reduce_only=True,
        ),
    )


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (
            "cancel_order",
            ("8886", SYMBOL),
            Asked(action=Action.CANCEL, state=OrderState(exchange_order_id="8886", symbol="MNTUSDT")),
        ),
        (
            "cancel_order",
            ("3358", SYMBOL, {"trigger": True}),
            Asked(action=Action.CANCEL, id_kind="algo", state=OrderState(exchange_order_id="3358", symbol="MNTUSDT")),
        ),
        (
            "cancel_all_orders",
            (SYMBOL,),
            Asked(action=Action.CANCEL_ALL, conditional=False, state=OrderState(symbol="MNTUSDT")),
        ),
        (
            "cancel_all_orders",
            (SYMBOL, {"trigger": True}),
            Asked(action=Action.CANCEL_ALL, id_kind="algo", conditional=True, state=OrderState(symbol="MNTUSDT")),
        ),
        (
            "cancel_orders",
            (["1", "2"], SYMBOL),
            Asked(
                action=Action.CANCEL,
                state=OrderState(symbol="MNTUSDT"),
                parts=tuple(
                    Asked(action=Action.CANCEL, state=OrderState(exchange_order_id=one, symbol="MNTUSDT"))
                    for one in ("1", "2")
                ),
            ),
        ),
        ("set_leverage", (5, SYMBOL), Asked(action=Action.ACCOUNT, state=OrderState(symbol="MNTUSDT"))),
    ],
)
def test_binance_requests_as_ccxt_sends_them(method: str, arguments: tuple[Any, ...], expected: Asked) -> None:
    assert caught("binanceusdm", method, *arguments) == expected


def test_a_batch_has_one_part_for_each_order() -> None:
    order = {"symbol": SYMBOL, "side": "sell", "amount": 2, "price": 1.5, "type": "limit"}
    orders = [order | {"params": {"clientOrderId": "a"}}, order | {"amount": 4, "params": {"clientOrderId": "b"}}]
    for exchange in ("binanceusdm", "bybit"):
        parts = caught(exchange, "create_orders", orders).parts
        assert [(part.state.client_order_id, part.state.quantity) for part in parts] == [("a", 2), ("b", 4)]
        assert {(part.action, part.state.type, part.state.limit_price) for part in parts} == {
            (Action.PLACE, "LIMIT", Decimal("1.5"))
        }


def test_bybit_entry_with_attached_stops_as_ccxt_sends_it() -> None:
    params = {"stopLoss": {"triggerPrice": 0.9}, "takeProfit": {"triggerPrice": 1.4}, "clientOrderId": "cid"}
    asked = caught("bybit", "create_order", SYMBOL, "market", "buy", 3.75, None, params)
    assert asked == Asked(
        action=Action.PLACE,
        state=OrderState(client_order_id="cid", symbol="MNTUSDT", side="buy", type="MARKET", quantity=Decimal("3.7")),
        stops=(
            Stop(kind="stop_loss", trigger_price=Decimal("0.9")),
            Stop(kind="take_profit", trigger_price=Decimal("1.4")),
        ),
    )


def test_bybit_conditional_order_as_ccxt_sends_it() -> None:
    params = {"triggerPrice": 0.9, "triggerDirection": "descending", "reduceOnly": True}
    state = caught("bybit", "create_order", SYMBOL, "market", "sell", 3, None, params).state
    assert (state.type, state.trigger_price, state.reduce_only) == ("STOP_MARKET", Decimal("0.9"), True)


def test_bybit_trading_stop_by_implicit_call() -> None:
    params = {"category": "linear", "symbol": "MNTUSDT", "stopLoss": "0.8500", "positionIdx": 1, "tpslMode": "Full"}
    assert caught("bybit", "private_post_v5_position_trading_stop", params) == Asked(
        action=Action.SET_STOPS,
        state=OrderState(symbol="MNTUSDT"),
        stops=(Stop(kind="stop_loss", trigger_price=Decimal("0.85")),),
        position_index=1,
    )


def test_bybit_trading_stop_partial_removed_and_trailing() -> None:
    params = {
        "symbol": "MNTUSDT",
        "tpslMode": "Partial",
        "stopLoss": "0",
        "takeProfit": "1.5",
        "tpSize": "2",
        "trailingStop": "0.05",
        "activePrice": "1.2",
    }
    asked = adapter_for("bybit").read_request(Request(method="POST", path="/v5/position/trading-stop", params=params))
    assert asked is not None
    assert asked.stops == (
        Stop(kind="stop_loss", removed=True),
        Stop(kind="take_profit", trigger_price=Decimal("1.5"), size=Decimal(2)),
        Stop(kind="trailing", trigger_price=Decimal("1.2"), distance=Decimal("0.05")),
    )


@pytest.mark.parametrize(
    ("params", "covers"),
    [
        ({"category": "linear"}, None),
        ({"category": "linear", "orderFilter": "StopOrder"}, True),
        ({"category": "linear", "orderFilter": "Order"}, False),
        ({"category": "spot"}, False),
    ],
)
def test_which_orders_a_bybit_cancel_all_covers(params: dict[str, str], covers: bool | None) -> None:
    asked = adapter_for("bybit").read_request(Request(method="POST", path="/v5/order/cancel-all", params=params))
    assert asked is not None
    assert (asked.action, asked.conditional) == (Action.CANCEL_ALL, covers)


def test_bybit_cancel_and_amend_name_their_target() -> None:
    cancel = caught("bybit", "cancel_order", "f5f2", SYMBOL)
    assert (cancel.action, cancel.state.exchange_order_id) == (Action.CANCEL, "f5f2")
    amend = caught("bybit", "edit_order", "f5f2", SYMBOL, "limit", "buy", 2, 1.1)
    assert amend.action is Action.AMEND
    assert (amend.state.exchange_order_id, amend.state.quantity, amend.state.limit_price) == (
        "f5f2",
        Decimal(2),
        Decimal("1.1"),
    )


def test_bybit_spot_market_buy_in_quote_has_no_quantity() -> None:
    params = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "20"}
    read = adapter_for("bybit").read_request
    asked, in_base = (
        read(Request(method="POST", path="v5/order/create", params=params | more))
        for more in ({}, {"marketUnit": "baseCoin"})
    )
    assert asked is not None
    assert asked.state.quantity is None
    assert in_base is not None
    assert in_base.state.quantity == Decimal(20)


def test_binance_cancel_replace_is_two_orders() -> None:
    params = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=2&cancelOrderId=4&newClientOrderId=n"
    request = Request(method="POST", path="/api/v3/order/cancelReplace", params=params)
    asked = adapter_for("binance").read_request(request)
    assert asked is not None
    cancel, place = asked.parts
    assert (cancel.action, cancel.state.exchange_order_id) == (Action.CANCEL, "4")
    assert (place.action, place.state.client_order_id, place.state.quantity) == (Action.PLACE, "n", Decimal(1))


@pytest.mark.parametrize(
    "path", ["order", "/fapi/v1/order", "/dapi/v1/order", "/papi/v1/um/order", "/sapi/v1/margin/order"]
)
def test_binance_paths_are_known_with_and_without_prefix(path: str) -> None:
    assert adapter_for("binance").action_of("POST", path) is Action.PLACE
    assert adapter_for("binance").action_of("delete", path) is Action.CANCEL
    assert adapter_for("binance").action_of("GET", path) is None


ACTIONS = [
    ("binance", "DELETE", "/fapi/v1/algoOpenOrders", Action.CANCEL_ALL),
    ("binance", "POST", "/fapi/v1/positionSide/dual", Action.ACCOUNT),
    ("binance", "POST", "/fapi/v1/countdownCancelAll", Action.ACCOUNT),
    ("binance", "PUT", "/fapi/v1/listenKey", None),
    ("binance", "POST", "order/test", None),
    ("binance", "POST", "asset/transfer", Action.OTHER),
    ("bybit", "POST", "/v5/position/trading-stop", Action.SET_STOPS),
    ("bybit", "POST", "v5/position/set-leverage", Action.ACCOUNT),
    ("bybit", "POST", "v5/order/pre-check", None),
    ("bybit", "GET", "v5/order/realtime", None),
    ("okx", "POST", "trade/order", Action.PLACE),
    ("okx", "POST", "trade/cancel-batch-orders", Action.CANCEL),
    ("okx", "POST", "trade/close-position", Action.CLOSE),
    ("okx", "POST", "tradingBot/recurring/order-algo", Action.PLACE),
    ("okx", "POST", "account/set-leverage", Action.ACCOUNT),
    ("okx", "POST", "asset/withdrawal", Action.OTHER),
    ("gate", "DELETE", "{settle}/orders", Action.CANCEL_ALL),
    ("gate", "DELETE", "{settle}/orders/{order_id}", Action.CANCEL),
    ("gate", "PATCH", "orders/{order_id}", Action.AMEND),
    ("kraken", "POST", "AddOrder", Action.PLACE),
    ("kraken", "POST", "0/private/CancelOrder", Action.CANCEL),
    ("kraken", "POST", "Balance", None),
    ("kraken", "POST", "OpenOrders", None),
    ("bitfinex", "POST", "auth/r/orders/hist", None),
    ("bitfinex", "POST", "auth/w/order/submit", Action.PLACE),
    ("deribit", "GET", "buy", Action.PLACE),
    ("deribit", "GET", "api/v2/private/cancel_all", Action.CANCEL_ALL),
    ("deribit", "GET", "get_positions", None),
    ("hyperliquid", "POST", "exchange", Action.PLACE),
]


@pytest.mark.parametrize(("exchange", "method", "path", "action"), ACTIONS)
def test_what_an_endpoint_does(exchange: str, method: str, path: str, action: Action | None) -> None:
    adapter = adapter_for(exchange)
    assert adapter.action_of(method, path) is action
    assert adapter.is_write("private", method, path) is (action is not None)
    assert adapter.is_write(["v1", "public"], method, path) is False


ORDER_PATH = re.compile(
    r"(create|place|cancel|amend|edit|add|submit)[-_/]?(batch[-_]?)?orders?$|orders?/(create|cancel|amend|place|submit)$",
    re.IGNORECASE,
)


def endpoints(node: Any, groups: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(api groups, HTTP method, path) of everything in a ccxt `api` tree."""
    for name, inner in node.items():
        if name in ("post", "put", "patch", "delete"):
            yield from ((groups, name.upper(), path) for path in inner)
        elif isinstance(inner, dict):
            yield from endpoints(inner, (*groups, name))


def test_no_order_endpoint_of_ccxt_is_taken_for_a_read() -> None:
    """The trail may be noisy, but what plainly places, cancels or amends is always seen as a write."""
    checked = 0
    for exchange in (
        "bingx",
        "bitfinex",
        "bitget",
        "cryptocom",
        "gate",
        "htx",
        "kraken",
        "krakenfutures",
        "kucoin",
        "mexc",
        "okx",
    ):
        adapter = adapter_for(exchange)
        for groups, method, path in endpoints(getattr(ccxt, exchange)().api):
            if ORDER_PATH.search(path) and not any("public" in group.lower() for group in groups):
                assert adapter.is_write(list(groups), method, path), (exchange, method, path)
                assert adapter.action_of(method, path) in (Action.PLACE, Action.CANCEL, Action.AMEND)
                checked += 1
    assert checked > 50


def test_a_read_or_a_foreign_endpoint_asks_nothing() -> None:
    for exchange, path in (
        ("binance", "/fapi/v1/order"),
        ("bybit", "/v5/order/realtime"),
        ("okx", "/api/v5/trade/order"),
    ):
        assert adapter_for(exchange).read_request(Request(method="GET", path=path)) is None
