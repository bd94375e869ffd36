"""Client order ids of ours: where they go, in which form, when the same one is used again, and that nothing else changes."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import ccxt
import pytest
from offline_ccxt import INVERSE, LINEAR, OPTION, SPOT, Sent, offline
from pytest_mock import MockerFixture
from simulated_exchange import LoseAnswer, SimulatedExchange, async_client, sync_client

from audit_wrapper.observe import observed
from audit_wrapper.reading import asked
from audit_wrapper.records import RecordKind
from audit_wrapper.scopes import suppressed
from audit_wrapper.settings import Settings
from audit_wrapper.stamping import Stamps, made, stamp, stamped, texts
from audit_wrapper.testing import MemoryTrail, memory_trail

OPERATION = UUID("0198a000-0000-7000-8000-000000000001")
BINANCE_FORM = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")  # its own words for each of its ids
FORMS = {
    "binance": BINANCE_FORM,
    "bybit": re.compile(r"^[A-Za-z0-9_-]{1,36}$"),
    "okx": re.compile(r"^[A-Za-z0-9]{1,32}$"),
}
DRAWN = {
    "binance": "x-cvBPrNm90123456789abcdef012345",
    "bybit": "0123456789abcdef",
    "okx": "6b9ad766b55dBCDE0123456789abcdef",
}

TAKEN = '{"orderId":1,"status":"NEW","retCode":0,"result":{"orderId":"1"}}'

# exchange, api group, path, where the ids go
SINGLE = [
    ("binance", "private", "order", ("newClientOrderId",)),
    ("binance", "private", "sor/order", ("newClientOrderId",)),
    ("binance", "private", "order/cancelReplace", ("newClientOrderId",)),
    ("binance", "fapiPrivate", "order", ("newClientOrderId",)),
    ("binanceusdm", "fapiPrivate", "order", ("newClientOrderId",)),
    ("binance", "fapiPrivate", "/fapi/v1/order", ("newClientOrderId",)),
    ("binance", "dapiPrivate", "order", ("newClientOrderId",)),
    ("binance", "fapiPrivate", "algoOrder", ("clientAlgoId",)),
    ("binance", "dapiPrivate", "algoOrder", ("clientAlgoId",)),
    ("binance", "eapiPrivate", "order", ("clientOrderId",)),
    ("binance", "papi", "um/order", ("newClientOrderId",)),
    ("binance", "papi", "cm/order", ("newClientOrderId",)),
    ("binance", "papi", "margin/order", ("newClientOrderId",)),
    ("binance", "papi", "um/algo/order", ("clientAlgoId",)),
    ("binance", "papi", "cm/conditional/order", ("newClientStrategyId",)),
    ("binance", "sapi", "margin/order", ("newClientOrderId",)),
    ("binance", "private", "order/oco", ("listClientOrderId", "limitClientOrderId", "stopClientOrderId")),
    ("binance", "private", "orderList/oco", ("listClientOrderId", "aboveClientOrderId", "belowClientOrderId")),
    ("binance", "private", "orderList/oto", ("listClientOrderId", "workingClientOrderId", "pendingClientOrderId")),
    (
        "binance", "private", "orderList/otoco",
        ("listClientOrderId", "workingClientOrderId", "pendingAboveClientOrderId", "pendingBelowClientOrderId"),
    ),
    ("bybit", "private", "v5/order/create", ("orderLinkId",)),
    ("okx", "private", "trade/order", ("clOrdId",)),
]  # fmt: skip
BATCHES = [
    ("binance", "fapiPrivate", "batchOrders", "batchOrders", "newClientOrderId"),
    ("binance", "dapiPrivate", "batchOrders", "batchOrders", "newClientOrderId"),
    ("binance", "eapiPrivate", "batchOrders", "batchOrders", "clientOrderId"),
    ("bybit", "private", "v5/order/create-batch", "request", "orderLinkId"),
    ("okx", "private", "trade/batch-orders", None, "clOrdId"),
]
NOTHING = [
    ("binance", "fapiPrivate", "DELETE", "order"),
    ("binance", "fapiPrivate", "PUT", "order"),
    ("binance", "fapiPrivate", "GET", "order"),
    ("binance", "private", "POST", "order/test"),
    ("binance", "fapiPrivate", "POST", "leverage"),
    ("bybit", "private", "POST", "v5/order/amend"),
    ("bybit", "private", "POST", "v5/position/trading-stop"),
    ("okx", "private", "POST", "trade/cancel-order"),
    ("kraken", "private", "POST", "AddOrder"),
    ("", "private", "POST", "order"),
]


def make(order: int) -> str:
    return made(OPERATION, 1, order)


# -- the pure part


def test_an_id_is_the_same_every_time_and_no_other_orders() -> None:
    assert made(OPERATION, 1, 0) == made(OPERATION, 1, 0)
    several = {made(UUID(int=n), request, order) for n in range(20) for request in range(20) for order in range(20)}
    assert len(several) == 20 * 20 * 20
    assert all(re.fullmatch(r"aw[a-z2-7]{20}", one) for one in several)


@pytest.mark.parametrize(("exchange", "api", "path", "names"), SINGLE)
def test_where_an_id_goes(exchange: str, api: str, path: str, names: tuple[str, ...]) -> None:
    form = FORMS["binance" if exchange.startswith("binance") else exchange]
    order = {"symbol": "BTCUSDT", "side": "BUY", "nested": {"a": [1]}}
    before = copy.deepcopy(order)
    found = stamped(exchange, api, "POST", path, order, make)
    assert order == before
    assert {name: value for name, value in found.items() if name not in names} == before
    assert list(found)[: len(order)] == list(order)
    assert [found[name] for name in names] == [make(n) for n in range(len(names))]
    assert all(form.match(found[name]) for name in names)
    for empty in (None, ""):
        assert stamped(exchange, api, "POST", path, {**order, **dict.fromkeys(names, empty)}, make) == found
    given = {**order, **dict.fromkeys(names, "mine")}
    assert stamped(exchange, api, "POST", path, given, make) is None
    assert stamped(exchange, api, "POST", path, given, make, frozenset()) is None, "it does not look drawn"
    partly = {**order, names[0]: "mine"}
    changed = stamped(exchange, api, "POST", path, partly, make)
    assert changed is None if len(names) == 1 else changed[names[0]] == "mine"


@pytest.mark.parametrize(("exchange", "api", "path", "names"), SINGLE)
def test_what_the_client_drew_is_replaced_and_what_the_bot_gave_is_not(
    exchange: str, api: str, path: str, names: tuple[str, ...]
) -> None:
    family = "binance" if exchange.startswith("binance") else exchange
    drawn = DRAWN[family]
    order = {"symbol": "BTCUSDT", **dict.fromkeys(names, drawn)}
    found = stamped(exchange, api, "POST", path, order, make, frozenset({"BTCUSDT"}))
    prefix = {"binance": "x-cvBPrNm9", "bybit": "", "okx": "6b9ad766b55dBCDE"}[family]
    length = 32 if family == "okx" else 36
    assert [found[name] for name in names] == [(prefix + make(n))[:length] for n in range(len(names))]
    assert all(FORMS[family].match(found[name]) for name in names)
    assert stamped(exchange, api, "POST", path, order, make, frozenset({drawn})) is None, "the bot gave it"
    assert stamped(exchange, api, "POST", path, order, make, None) is None, "the bot made the request itself"


@pytest.mark.parametrize(("exchange", "api", "path", "inside", "name"), BATCHES)
def test_a_batch_has_an_id_for_each_order(exchange: str, api: str, path: str, inside: str | None, name: str) -> None:
    orders: list[Any] = [{"symbol": "A"}, {"symbol": "B", name: "mine"}, {"symbol": "C"}, "no order"]
    params = orders if inside is None else {"category": "linear", inside: orders}
    before = copy.deepcopy(params)
    found = stamped(exchange, api, "POST", path, params, make)
    assert params == before
    several = found if inside is None else found[inside]
    assert several is not orders
    assert several == [{"symbol": "A", name: make(0)}, orders[1], {"symbol": "C", name: make(1)}, "no order"]
    whole = [orders[1]]
    assert stamped(exchange, api, "POST", path, whole if inside is None else {inside: whole}, make) is None
    for strange in (None, "[]", {}, 5, {inside: "[{}]"} if inside else "[]"):
        assert stamped(exchange, api, "POST", path, strange, make) is None


@pytest.mark.parametrize(("exchange", "api", "method", "path"), NOTHING)
def test_all_else_is_left_alone(exchange: str, api: str, method: str, path: str) -> None:
    assert stamped(exchange, api, method, path, {"symbol": "BTCUSDT"}, make) is None


def test_a_name_that_the_client_understands_too_is_given() -> None:
    assert stamped("binance", "fapiPrivate", "POST", "order", {"clientOrderId": "mine"}, make) is None
    assert stamped("binance", "eapiPrivate", "POST", "order", {"newClientOrderId": "mine"}, make) is None


@pytest.mark.parametrize("prefix", ["", "x-A", "x-cvBPrNm9", "x-ABCDEFGHIJKL"])
def test_a_brokers_prefix_stays_whatever_it_is(prefix: str) -> None:
    order = {"newClientOrderId": prefix + "0123456789abcdef012345"}
    found = stamped("binance", "private", "POST", "order", order, make, frozenset())
    assert found == {"newClientOrderId": prefix + make(0)}
    assert BINANCE_FORM.match(found["newClientOrderId"])


def test_texts_of_a_call() -> None:
    assert texts({"a": "x", "b": [{"c": ("y", 1, None)}]}) == {"x", "y"}
    deep: list[Any] = []
    deep.append(deep)
    assert texts(deep) == frozenset()


def use(stamps: Stamps, params: dict[str, Any], target: object = 1) -> tuple[str, Any]:
    found = stamp(stamps, OPERATION, (target, "bybit"), ("private", "POST", "v5/order/create"), params, None)
    assert found is not None
    return found[0]["orderLinkId"], found[1]


def test_the_same_id_again_only_after_a_lost_answer() -> None:
    stamps = Stamps()
    first, lost = use(stamps, {"qty": "1"})
    beside, taken = use(stamps, {"qty": "1"})
    assert beside != first, "both are under way"
    stamps.ended(taken, answered=True)
    lost.unsure = True
    stamps.ended(lost, answered=False)
    assert use(stamps, {"qty": "2"})[0] != first
    assert use(stamps, {"qty": "1"}, target=2)[0] != first, "another client"
    again, same = use(stamps, {"qty": "1"})
    assert again == first
    assert use(stamps, {"qty": "1"})[0] != first, "that one is under way again"
    stamps.ended(same, answered=False)  # refused: perhaps because the first one had been taken
    again, same = use(stamps, {"qty": "1"})
    assert again == first
    stamps.ended(same, answered=True)
    assert use(stamps, {"qty": "1"})[0] != first


def test_a_refusal_ends_an_id() -> None:
    stamps = Stamps()
    first, refused = use(stamps, {"qty": "1"})
    stamps.ended(refused, answered=False)
    assert use(stamps, {"qty": "1"})[0] != first


# -- through a client


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail(stamp_client_order_id=True) as opened:
        yield opened


def ids_in(sent: Sent) -> list[str]:
    """Every client order id of a request, as it left."""
    body = sent.body or ""
    if body[:1] in ("{", "["):
        return re.findall(r'"orderLinkId":\s*"([^"]+)"', body)
    fields = parse_qs(body)
    inside = [order for text in fields.get("batchOrders", []) for order in json.loads(text)]
    names = ("newClientOrderId", "clientOrderId", "clientAlgoId", "newClientStrategyId")
    return [v for name in names for v in fields.get(name, [])] + [
        o[name] for o in inside for name in names if name in o
    ]


async def awaited(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


@pytest.mark.parametrize("blocking", [False, True], ids=["pro", "blocking"])
@pytest.mark.parametrize("kind", ["binance", "bybit"])
async def test_a_unified_call_is_stamped_and_its_arguments_stay(trail: MemoryTrail, kind: str, blocking: bool) -> None:
    client, sent = offline(kind, blocking=blocking)
    trail.wrap(client)
    ids: list[str] = []
    for symbol in (SPOT, LINEAR, INVERSE, OPTION):
        params: dict[str, Any] = {}
        await awaited(client.create_order(symbol, "limit", "buy", 10, 1.1, params))
        assert params == {}
        (stamp,) = ids_in(sent[-1])
        assert re.fullmatch(r"(x-[A-Za-z0-9]{8})?aw[a-z2-7]{20}", stamp)
        assert FORMS[kind].match(stamp)
        intent = trail.records[-2]
        assert stamp in str(intent.request)
        assert intent.call is not None
        assert intent.call.arguments == {
            "symbol": symbol, "type": "limit", "side": "buy", "amount": 10, "price": Decimal("1.1"), "params": {},
        }  # fmt: skip
        assert [one.state.client_order_id for one in asked(intent)] == [stamp]
        ids.append(stamp)
    orders = [{"symbol": LINEAR, "type": "limit", "side": "buy", "amount": 10, "price": 1.1} for _ in range(2)]
    await awaited(client.create_orders(orders))
    ids += ids_in(sent[-1])
    assert len(set(ids)) == 6
    for given in ({"clientOrderId": "mine"}, {"clientOrderId": DRAWN[kind]}):
        await awaited(client.create_order(LINEAR, "limit", "buy", 10, 1.1, given))
        assert ids_in(sent[-1]) == [given["clientOrderId"]]
        assert set(given) == {"clientOrderId"}
    await awaited(client.cancel_order("5", LINEAR))
    assert trail.status().failures == {}
    assert trail._recorder.under_way == 0


@pytest.mark.parametrize("kind", ["binance", "bybit"])
async def test_an_implicit_call_is_stamped_however_it_is_made(trail: MemoryTrail, kind: str) -> None:
    client, sent = offline(kind)
    trail.wrap(client)
    path, group = ("order", ["fapiPrivate"]) if kind == "binance" else ("v5/order/create", ["private"])
    names = {
        "binance": ("fapiPrivatePostOrder", "fapiprivate_post_order"),
        "bybit": ("privatePostV5OrderCreate", "private_post_v5_order_create"),
    }[kind]
    order = {"symbol": "BTCUSDT", "side": "Buy", "qty": "10"}
    before = dict(order)
    ways: list[Callable[[], Any]] = [
        lambda: getattr(client, names[0])(order),
        lambda: getattr(client, names[1])(order),
        lambda: getattr(client, names[1])(params=order),
        lambda: client.request(path, group, "POST", order, {}),
        lambda: client.request(path, group[0] if kind == "none" else group, "POST", params=order),
        lambda: client.request(path=path, api=group, method="POST", params=order, config={}),
    ]
    for call in ways:
        await call()
        assert order == before
        assert trail.records[-2].call is not None
        assert trail.records[-2].call.arguments == before
    ids = [one for request in sent for one in ids_in(request)]
    assert len(set(ids)) == len(ways)
    assert all(re.fullmatch(r"aw[a-z2-7]{20}", one) for one in ids)
    await client.request(path, group, "POST", {**order, "newClientOrderId": "mine", "orderLinkId": "mine"})
    assert set(ids_in(sent[-1])) == {"mine"}


async def test_two_equal_orders_at_once_have_two_ids(trail: MemoryTrail) -> None:
    class Splitting:
        name = "bybit"

        def __init__(self, client: Any) -> None:
            self.exchange = client

        async def create_stop_loss_order_split(self, symbol: str, side: str, amount: float, stop_price: float) -> Any:
            calls = [self.exchange.create_order(symbol, "limit", side, amount, stop_price) for _ in range(5)]
            return await asyncio.gather(*calls)

    client, sent = offline("bybit")
    await trail.wrap(Splitting(client)).create_stop_loss_order_split(LINEAR, "sell", 10, 1.1)
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 1
    assert len({one for request in sent for one in ids_in(request)}) == 5


class Limited:
    """A manager whose rate limiter calls again after each of these."""

    def __init__(self, client: Any, kind: str, again: type[Exception] = ccxt.NetworkError) -> None:
        self.exchange, self.name, self._again = client, kind, again

    async def create_limit_order(self, symbol: str, side: str, amount: float, price: float) -> Any:
        for _ in range(3):
            try:
                return await self.exchange.create_order(symbol, "limit", side, amount, price)
            except self._again:
                continue
        return None


@pytest.mark.parametrize("kind", ["binance", "bybit"])
@pytest.mark.parametrize(
    ("problem", "text", "distinct"),
    [
        (ccxt.RequestTimeout("lost"), None, 1),
        (ccxt.BadResponse("taken, but not understood"), TAKEN, 1),
        (asyncio.CancelledError(), None, 1),
        (ccxt.InsufficientFunds("refused"), '{"code":-2019,"retCode":110007,"msg":"no","retMsg":"no"}', 2),
    ],
    ids=["lost", "not understood", "canceled", "refused"],
)
async def test_a_rate_limiters_second_call_uses_the_id_of_a_lost_one(
    trail: MemoryTrail, kind: str, problem: BaseException, text: str | None, distinct: int
) -> None:
    client, sent = offline(kind)
    answering, first = client.fetch, [True]

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        if first[0]:
            first[0] = False
            sent.append(Sent(method, "", url, headers, body, ""))
            if text is not None:
                client.on_rest_response(200, "OK", url, method, {}, text, headers, body)
            raise problem
        return await answering(url, method, headers, body)

    client.fetch = fetch
    manager = trail.wrap(Limited(client, kind, type(problem)))  # type: ignore[arg-type]
    await manager.create_limit_order(LINEAR, "buy", 10, 1.1)
    ids = [one for request in sent for one in ids_in(request)]
    assert len(ids) == 2
    assert len(set(ids)) == distinct
    await manager.create_limit_order(LINEAR, "buy", 10, 1.1)
    assert ids_in(sent[-1])[0] not in ids, "another operation"


async def test_okx_is_stamped_too_and_under_any_name_of_the_bots(trail: MemoryTrail) -> None:
    client = ccxt.okx({"apiKey": "key-of-okx", "secret": "secret-of-okx", "password": "word-of-okx"})
    bodies: list[Any] = []

    def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        bodies.append(json.loads(body))
        return {"code": "0", "data": []}

    client.fetch = fetch

    class Manager:
        name = "my main exchange"

        def __init__(self) -> None:
            self.exchange = client

        def create_limit_order(self, symbol: str, side: str, amount: float, price: float) -> Any:
            client.private_post_trade_batch_orders(orders)
            return client.private_post_trade_order(orders[0])

    orders: list[dict[str, Any]] = [{"instId": "BTC-USDT", "sz": "1"}, {"instId": "BTC-USDT", "clOrdId": "mine"}]
    before = copy.deepcopy(orders)
    trail.wrap(Manager()).create_limit_order("BTC/USDT", "buy", 1, 1)
    assert orders == before
    several, single = bodies
    assert [order["clOrdId"] for order in several][1] == "mine"
    ids = [several[0]["clOrdId"], single["clOrdId"]]
    assert all(re.fullmatch(r"aw[a-z2-7]{20}", one) for one in ids)
    assert len(set(ids)) == 2


async def test_a_bug_of_ours_sends_the_order_as_it_was(trail: MemoryTrail, mocker: MockerFixture) -> None:
    mocker.patch("audit_wrapper.recorder.stamp", side_effect=ZeroDivisionError)
    client, sent = offline("bybit")
    await trail.wrap(client).create_order(LINEAR, "limit", "buy", 10, 1.1)
    assert ids_in(sent[0]) == []
    assert trail.status().failures == {"stamping an order": 1}
    assert trail.records[-1].kind is RecordKind.ACKNOWLEDGED


@pytest.mark.parametrize("blocking", [False, True], ids=["pro", "blocking"])
async def test_nothing_is_stamped_without_the_setting_and_arguments_are_the_very_objects(blocking: bool) -> None:
    client, sent = offline("bybit", blocking=blocking)
    taken: list[Any] = []
    requesting = client.request

    def request(*args: Any, **kwargs: Any) -> Any:
        taken.append((args, kwargs))
        return requesting(*args, **kwargs)

    async def request_soon(*args: Any, **kwargs: Any) -> Any:
        taken.append((args, kwargs))
        return await requesting(*args, **kwargs)

    client.request = request if blocking else request_soon
    order, group = {"symbol": "BTCUSDT", "qty": "10"}, ["private"]
    with memory_trail() as trail:
        trail.wrap(client)
        assert not hasattr(client.request._self_wrapper, "rewritten")
        await awaited(client.request("v5/order/create", group, "POST", order))
        await awaited(client.request("v5/order/create", group, "POST", params=order))
        assert ids_in(sent[0]) == ids_in(sent[1]) == []
        assert taken[0][0][1] is group
        assert taken[0][0][3] is order
        assert taken[1][1]["params"] is order
        taken.clear()
    with memory_trail(stamp_client_order_id=True) as trail:
        trail.wrap(client)
        await awaited(client.request("v5/order/create", group, "POST", order))
        await awaited(client.request("v5/order/cancel", group, "POST", order))
        await awaited(client.request("v5/order/realtime", group, "GET", order))
        assert taken[0][0][3] is not order
        assert taken[1][0][3] is order
        assert taken[2][0][3] is order
        with suppressed():
            await awaited(client.request("v5/order/create", group, "POST", order))
        assert taken[3][0][3] is order


def test_the_setting_is_off_unless_asked_for() -> None:
    assert Settings.load({}, environ={}).stamp_client_order_id is False
    assert Settings.load({}, environ={"AUDIT_WRAPPER_STAMP_CLIENT_ORDER_ID": "true"}).stamp_client_order_id is True


# -- rewriting arguments, as observe does it


class Rewriting:
    def __init__(self, problem: Exception | None = None) -> None:
        self.told: list[str] = []
        self._problem = problem

    def begin(self, instance: Any, args: Any, kwargs: Any) -> str:
        return "frame"

    def rewritten(self, frame: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert frame == "frame"
        if self._problem is not None:
            raise self._problem
        return (args[0] + 1,), kwargs

    def leave(self, frame: str) -> None: ...

    def resume(self, frame: str) -> None: ...

    def returned(self, frame: str, result: Any) -> None:
        self.told.append("returned")

    def raised(self, frame: str, problem: BaseException) -> None:
        self.told.append(type(problem).__name__)


@pytest.mark.parametrize("problem", [None, ValueError("ours")])
async def test_rewritten_arguments_reach_the_function_once(problem: Exception | None) -> None:
    ran: list[int] = []

    async def soon(number: int) -> int:
        ran.append(number)
        return number

    def now(number: int) -> int:
        ran.append(number)
        return number

    expected = 5 if problem is None else 4
    for function in (soon, now):
        hooks = Rewriting(problem)
        assert await awaited(observed(function, hooks)(4)) == expected
        assert hooks.told == ["returned"]
    assert ran == [expected, expected]
    with pytest.raises(TypeError):
        observed(soon, Rewriting())()


# -- against the simulated exchange


@pytest.mark.parametrize("kind", ["binance", "bybit"])
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "sync"])
async def test_a_lost_answer_and_the_clients_own_retry_make_one_order(
    trail: MemoryTrail, kind: str, blocking: bool
) -> None:
    with SimulatedExchange(kind) as sim:
        client = (sync_client if blocking else async_client)(sim, options={"maxRetriesOnFailure": 2})
        try:
            await awaited(client.load_markets())
            symbol = "MNT/USDT:USDT"
            price = float(Decimal(str((await awaited(client.fetch_ticker(symbol)))["last"])) / 2)
            trail.wrap(client)
            sim.next("create", LoseAnswer())
            with pytest.raises(ccxt.ExchangeError, match="uplicate"):
                await awaited(client.create_order(symbol, "limit", "buy", 10, client.price_to_precision(symbol, price)))
            taken = [order for order in sim.ledger.orders if order.status != "REJECTED"]
            assert len(taken) == 1
            assert [(r.kind, r.attempt) for r in trail.records] == [
                (RecordKind.INTENT, 1),
                (RecordKind.OUTCOME_UNKNOWN, 1),
                (RecordKind.INTENT, 2),
                (RecordKind.REJECTED, 2),
            ]
            assert all(taken[0].client_order_id in str(r.request) for r in trail.records)
        finally:
            trail.unwrap(client)
            if not blocking:
                await client.close()


@pytest.mark.parametrize("kind", ["binance", "bybit"])
@pytest.mark.parametrize("stamping", [True, False])
async def test_a_lost_answer_and_a_rate_limiters_second_call(kind: str, stamping: bool) -> None:
    with SimulatedExchange(kind) as sim, memory_trail(stamp_client_order_id=stamping) as trail:
        client = async_client(sim)
        try:
            await client.load_markets()
            symbol = "MNT/USDT:USDT"
            price = float(Decimal(str((await client.fetch_ticker(symbol))["last"])) / 2)
            manager = trail.wrap(Limited(client, kind))
            sim.next("create", LoseAnswer())
            call = manager.create_limit_order(symbol, "buy", 10, float(client.price_to_precision(symbol, price)))
            if stamping:
                with pytest.raises(ccxt.ExchangeError, match="uplicate"):
                    await call
            else:
                await call
            taken = [order for order in sim.ledger.orders if order.status != "REJECTED"]
            assert len(taken) == (1 if stamping else 2)
        finally:
            await client.close()
