"""Real ccxt clients: each row of the table sends the same bytes and gives the same result, observed or not.

The client's `fetch` is replaced by one that records and answers from memory; the clock and the ids that ccxt draws are
fixed, so that requests are compared to the last byte, signatures included.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import ccxt
import ccxt.async_support
import pytest
from simulated_exchange import SimulatedExchange, async_client, sync_client

from audit_wrapper import calls
from audit_wrapper.calls import CallRow
from audit_wrapper.records import RecordKind, Seam
from audit_wrapper.testing import memory_trail

UNIFIED = "MNT/USDT:USDT"
ANSWERS = {
    "binance": {
        "orderId": 12, "algoId": 13, "symbol": "MNTUSDT", "status": "NEW", "side": "BUY", "type": "LIMIT",
        "origQty": "10", "price": "1.1", "executedQty": "0", "avgPrice": "0.00", "clientOrderId": "x", "leverage": 3,
    },
    "bybit": {"retCode": 0, "retMsg": "OK", "result": {"orderId": "o-1", "orderLinkId": "", "list": []}, "time": 1},
}  # fmt: skip
VALUES: dict[str, Callable[[], Any]] = {
    "symbol": lambda: UNIFIED,
    "type": lambda: "limit",
    "side": lambda: "buy",
    "orders": lambda: [
        {"symbol": UNIFIED, "type": "limit", "side": "buy", "amount": 10, "price": 1.1, "id": "5", "params": {}},
        {"symbol": UNIFIED, "type": "limit", "side": "buy", "amount": 11, "price": 1.2, "id": "6", "params": {}},
    ],
    "order": lambda: {"id": "5", "symbol": UNIFIED},
    "ids": lambda: ["5", "6"],
    "clientOrderIds": lambda: ["a", "b"],
    "id": lambda: "5",
    "clientOrderId": lambda: "a",
    "params": dict,
    "marginMode": lambda: "cross",
    "hedged": lambda: False,
    "leverage": lambda: 3,
    "timeout": lambda: 60_000,
    "price": lambda: 1.1,
    "takeProfit": lambda: 1.5,
    "stopLoss": lambda: 1.0,
    "takeProfitPrice": lambda: 1.5,
    "stopLossPrice": lambda: 1.0,
    "triggerPrice": lambda: 1.3,
    "trailingAmount": lambda: 0.1,
    "trailingPercent": lambda: 1,
    "trailingTriggerPrice": lambda: 1.3,
}
METHODS = [
    (row, name) for row in calls.CLIENT.values() for name in dict.fromkeys((row.method, calls.camel(row.method)))
]


@pytest.fixture(scope="module", params=["binance", "bybit"])
def listed(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """An exchange's name and its markets, as a client loads them."""
    with SimulatedExchange(request.param) as sim:
        client = sync_client(sim)
        markets = list(client.load_markets().values())
        yield request.param, (sim, markets)


def client_of(listed: tuple[str, Any], *, blocking: bool = False) -> tuple[Any, list[tuple[Any, ...]]]:
    """A client whose requests go nowhere, and the list of what it would have sent."""
    kind, (sim, markets) = listed
    client = (sync_client if blocking else async_client)(sim)
    client.options |= {"enableUnifiedAccount": True, "enableUnifiedMargin": False}  # else bybit asks first
    client.set_markets(copy.deepcopy(markets))
    client.milliseconds = lambda: 1_700_000_000_000
    client.uuid = client.uuid16 = client.uuid22 = lambda *a: "drawn"
    sent: list[tuple[Any, ...]] = []
    text = json.dumps(ANSWERS[kind])

    def answer(url: str, method: str, headers: Any, body: Any) -> Any:
        sent.append((url, method, dict(headers or {}), body))
        client.on_rest_response(200, "OK", url, method, {}, text, headers, body)
        return json.loads(text)

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        await asyncio.sleep(0)
        return answer(url, method, headers, body)

    def fetch_now(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        return answer(url, method, headers, body)

    client.fetch = fetch_now if blocking else fetch
    return client, sent


def arguments(row: CallRow) -> dict[str, Any]:
    return {name: VALUES.get(name, lambda: 10)() for name in row.parameters}


def fitting(function: Any, row: CallRow) -> dict[str, Any]:
    """The row's arguments that this client's method takes."""
    taken = inspect.signature(function).parameters
    return {name: value for name, value in arguments(row).items() if name in taken}


async def outcome_of(function: Any, row: CallRow) -> Any:
    try:
        result = function(**fitting(function, row))
        return ("returned", await result if inspect.isawaitable(result) else result)
    except Exception as problem:
        return ("raised", type(problem), str(problem), type(problem.__cause__), type(problem.__context__))


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "sync"])
async def test_each_row_sends_the_same_bytes(listed: tuple[str, Any], blocking: bool) -> None:
    taken = 0
    bare, bare_sent = client_of(listed, blocking=blocking)
    client, sent = client_of(listed, blocking=blocking)
    with memory_trail() as trail:
        trail.wrap(client)
        for row, name in METHODS:
            if not hasattr(bare, name) or row.websocket:
                assert not hasattr(client, name) or row.websocket
                continue
            looked_at = len(trail.records)
            sent.clear()
            bare_sent.clear()
            assert inspect.signature(getattr(client, name)) == inspect.signature(getattr(bare, name)), name
            expected = await outcome_of(getattr(bare, name), row)
            assert await outcome_of(getattr(client, name), row) == expected, name
            assert sent == bare_sent, name
            assert trail.status().failures == {}, name
            records = trail.records[looked_at:]
            assert all(r.kind is not RecordKind.UNATTRIBUTED for r in records), name
            writes = [(url, method) for url, method, _, _ in sent if method != "GET"]
            intents = [r for r in records if r.kind is RecordKind.INTENT]
            told = [r.request for r in intents if r.request is not None]
            assert [r.method for r in told] == [method for _, method in writes], name
            assert all(url.split("?")[0].endswith(r.path) for r, (url, _) in zip(told, writes, strict=True)), name
            assert len([r for r in records if r.intent_id is not None]) == len(intents), name
            if expected[0] == "returned" and writes:
                assert {r.kind for r in records} == {RecordKind.INTENT, RecordKind.ACKNOWLEDGED}, name
                taken += 1
        kept = b"".join(e.payload for e in trail._memory_journal.read(0, 10_000))
        assert client.apiKey.encode() not in kept
        assert client.secret.encode() not in kept
        assert trail._recorder.under_way == 0
    assert taken > 30, "hardly any row was really sent"


async def test_both_spellings_and_references_taken_earlier_or_later_are_seen(listed: tuple[str, Any]) -> None:
    client, _ = client_of(listed)
    with memory_trail() as trail:
        trail.wrap(client)
        references = [client.create_order, client.createOrder]
        for number, create in enumerate(references, 1):
            await create(UNIFIED, "limit", "buy", 10, 1.1)
            assert len(trail.records) == 2 * number
            call = trail.records[-1].call
            assert call is not None
            assert (call.seam, call.method) == (Seam.CLIENT, "create_order")
            assert trail.orders[-1].type == "LIMIT"


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_the_other_spellings_are_ccxts_own(name: str) -> None:
    client = getattr(ccxt, name)()
    for method in calls.CLIENT:
        assert hasattr(client, calls.camel(method)) == hasattr(client, method), method


async def test_an_implicit_endpoint_is_seen_in_each_spelling(listed: tuple[str, Any]) -> None:
    kind, _ = listed
    client, sent = client_of(listed)
    names = {
        "binance": ("fapiPrivatePostOrder", "fapiprivate_post_order"),
        "bybit": ("private_post_v5_order_create", "privatePostV5OrderCreate"),
    }[kind]
    params = {"symbol": "MNTUSDT", "side": "BUY", "type": "MARKET", "quantity": "10", "category": "linear", "qty": "10"}
    with memory_trail() as trail:
        trail.wrap(client)
        for name in names:
            assert await getattr(client, name)(params) == ANSWERS[kind]
        assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED] * 2
        assert all(r.request is not None for r in trail.records)
    assert len(sent) == 2


async def test_unwrapping_puts_the_clients_own_attributes_back(listed: tuple[str, Any]) -> None:
    client, sent = client_of(listed)
    before = dict(vars(client))
    with memory_trail() as trail:
        assert trail.wrap(client) is client
        assert trail.wrap(client) is client
        assert trail.unwrap(client) is client
        after = dict(vars(client))
        assert list(after) == list(before)
        assert all(after[name] is before[name] for name in before)
        await client.create_order(UNIFIED, "limit", "buy", 10, 1.1)
        assert len(sent) == 1
        assert trail.records == []


async def test_a_reference_kept_over_unwrap_records_nothing_more(listed: tuple[str, Any]) -> None:
    client, sent = client_of(listed)
    with memory_trail() as trail:
        trail.wrap(client)
        create = client.create_order
        trail.unwrap(client)
        await create(UNIFIED, "limit", "buy", 10, 1.1)
        assert len(sent) == 1
        assert trail.records == []


async def test_a_fault_while_the_fetch_is_under_way_reaches_the_bot_as_it_is(listed: tuple[str, Any]) -> None:
    client, _ = client_of(listed)
    problem = ccxt.async_support.RequestTimeout("nobody answers")
    cause = TimeoutError("socket")

    async def fetch(*args: Any, **kwargs: Any) -> Any:
        raise problem from cause

    client.fetch = fetch
    with memory_trail() as trail:
        trail.wrap(client)
        with pytest.raises(ccxt.RequestTimeout) as caught:
            await client.create_order(UNIFIED, "market", "buy", 10)
        assert caught.value is problem
        assert problem.__cause__ is cause
        assert problem.__context__ is None
        assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN]


async def test_the_clients_own_retries_are_each_seen(listed: tuple[str, Any]) -> None:
    client, sent = client_of(listed)
    answering = client.fetch
    client.options["maxRetriesOnFailure"] = 2
    tries = itertools.count(1)

    async def fetch(*args: Any, **kwargs: Any) -> Any:
        if next(tries) < 3:
            sent.append((*args, None, None))
            raise ccxt.async_support.NetworkError("lost")
        return await answering(*args, **kwargs)

    client.fetch = fetch
    with memory_trail() as trail:
        trail.wrap(client)
        result = await client.create_order(UNIFIED, "market", "buy", 10)
        assert result["id"]
        kinds = [(r.kind, r.attempt) for r in trail.records]
    assert len(sent) == 3
    assert [kind for kind, _ in kinds].count(RecordKind.INTENT) == 3
    assert [attempt for kind, attempt in kinds if kind is RecordKind.INTENT] == [1, 2, 3]
    assert [kind for kind, _ in kinds if kind is not RecordKind.INTENT] == [
        RecordKind.OUTCOME_UNKNOWN,
        RecordKind.OUTCOME_UNKNOWN,
        RecordKind.ACKNOWLEDGED,
    ]


async def test_cancelled_while_the_fetch_is_under_way(listed: tuple[str, Any]) -> None:
    client, _ = client_of(listed)
    started = asyncio.Event()
    saw: list[BaseException] = []

    async def fetch(*args: Any, **kwargs: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            saw.append(cancelled)
            raise

    client.fetch = fetch
    with memory_trail() as trail:
        trail.wrap(client)
        task = asyncio.create_task(client.create_order(UNIFIED, "market", "buy", 10))
        await started.wait()
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [c.args for c in saw] == [("stop",)]
        assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN]
        assert trail.orders[0].status == "UNKNOWN"


async def test_a_websocket_row_is_recorded_when_the_call_begins(listed: tuple[str, Any]) -> None:
    client, _ = client_of(listed)
    begun: list[int] = []

    async def create_order_ws(symbol: str, type: str, side: str, amount: float, price: Any = None, params: Any = None):
        begun.append(len(trail.records))
        return {"id": "ws-1", "symbol": symbol, "status": "open", "info": {}}

    client.create_order_ws = create_order_ws
    with memory_trail() as trail:
        trail.wrap(client)
        await client.create_order_ws(UNIFIED, "limit", "buy", 10, 1.1)
        assert begun == [1]
        assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
        assert trail.orders[0].order_id == "ws-1"
