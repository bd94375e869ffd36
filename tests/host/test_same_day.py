"""The same day of trading with and without the trail: the exchange and the bot cannot tell the two apart."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

import ccxt.async_support as ccxt
import pytest
from core.atomic_position_manager import AtomicPositionManager
from core.exchange_manager import ExchangeManager
from core.order_result import OrderResult
from core.position_manager import PositionManager
from core.stop_loss_manager import StopLossManager
from database.repository import MemoryRepository
from desk import SYMBOL, UNIFIED
from simulated_exchange import (
    CLIENT_IDS,
    DropRequest,
    HttpPage,
    LoseAnswer,
    Reject,
    SimulatedExchange,
    async_client,
    sync_client,
)

from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

NO_MARGIN = {
    "binance": Reject(-2019, "Margin is insufficient."),
    "bybit": Reject(110007, "ab not enough for new order"),
}
NO_STOP = {
    "binance": Reject(-4045, "Reach max stop order limit."),
    "bybit": Reject(10016, "Internal server error."),
}

# what differs between two runs of a bot without any wrapper: clocks, and ids that ccxt or the exchange draws at random
_CLOCKS = {
    "timestamp", "datetime", "lastTradeTimestamp", "lastUpdateTimestamp", "execution_time_ms", "unprotected_window_ms",
    "time", "updateTime", "createTime", "createdTime", "updatedTime", "transactTime", "opened_at", "updated_at",
    "closed_at", "triggerTime", "goodTillDate", "bookTime",
}  # fmt: skip
_MADE_UP = {"clientOrderId", "clientAlgoId", "orderLinkId", "newClientOrderId"}


@dataclass
class Desk:
    """One bot on one exchange, and what it saw."""

    sim: SimulatedExchange
    managers: dict[str, Any]
    repository: Any
    bot: PositionManager
    plain_repository: MemoryRepository
    trail: MemoryTrail | None = None
    seen: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def manager(self) -> Any:
        return self.managers[self.sim.kind]

    async def does(self, what: str, call: Awaitable[Any]) -> Any:
        """Await the call and keep its result or its exception."""
        await next_millisecond()
        try:
            result = await call
        except Exception as problem:
            self.seen.append((what, _told(problem)))
            return None
        self.seen.append((what, _comparable(result)))
        return result


async def next_millisecond() -> None:
    """ccxt sorts orders by their milliseconds: two of the same one would be cancelled in an order of chance."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        await asyncio.sleep(0)


def _told(problem: BaseException | None) -> Any:
    """An exception, less what ccxt draws at random: type, words, and the same of its cause and its context."""
    if problem is None:
        return None
    return {
        "raised": type(problem),
        "words": _steady(str(problem)),
        "args": len(problem.args),
        "cause": _told(problem.__cause__),
        "context": _told(problem.__context__),
        "suppressed": problem.__suppress_context__,
    }


def _steady(words: str) -> str:
    words = re.sub(r"127\.0\.0\.1:\d+", "HOST", words)
    words = re.sub(r"(timestamp|signature|newClientOrderId|clientAlgoId|orderLinkId)=[^&\s]+", r"\1=...", words)
    return re.sub(r'"(time|clientOrderId|orderLinkId|clientAlgoId|updateTime)":\s*("[^"]*"|\d+)', r'"\1":...', words)


def _comparable(value: Any) -> Any:
    if isinstance(value, OrderResult):
        return type(value), _comparable(vars(value))
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items() if k not in _CLOCKS | _MADE_UP}
    if isinstance(value, list | tuple):
        return type(value)(_comparable(item) for item in value)
    if isinstance(value, datetime):
        return "a time"
    if isinstance(value, str):
        return _steady(value)
    return value if type(value).__module__ in ("builtins", "decimal") else _comparable(vars(value))


@asynccontextmanager
async def desk_on(sim: SimulatedExchange, how: str, trail: MemoryTrail | None) -> AsyncIterator[Desk]:
    """`how`: "bare", "wrapped" (managers and repository), "manager" (the manager alone), or "classes" (the bot is built
    by its own code, and only its classes are instrumented)."""
    client = async_client(sim)
    plain = MemoryRepository()
    try:
        manager = ExchangeManager(
            sim.kind, {"client": client, "retry_delay_seconds": 0.001, "max_stop_amount": 4, "fetch_after_create": True}
        )
        managers: dict[str, Any] = {sim.kind: manager}
        repository: Any = plain
        if how == "wrapped":
            assert trail is not None
            managers, repository = trail.wrap(managers), trail.wrap(plain)
        elif how == "manager":
            assert trail is not None
            managers = trail.wrap(managers)
        elif how == "classes":
            assert trail is not None
            for cls in (ExchangeManager, AtomicPositionManager, StopLossManager):
                trail.instrument(cls)
            trail.instrument("database.repository:MemoryRepository")
        await managers[sim.kind].initialize()
        yield Desk(sim, managers, repository, PositionManager(managers, repository), plain, trail)
    finally:
        await client.close()


def signal(desk: Desk, **changes: Any) -> dict[str, Any]:
    """What a strategy sends."""
    made = {
        "id": 7,
        "symbol": SYMBOL,
        "exchange": desk.sim.kind,
        "side": "BUY",
        "quantity": "10.75",
        "entry_price": "1.2",
        "stop_loss_price": 1.1,
    }
    return {**made, **changes}


async def a_day(desk: Desk) -> None:
    """Everything that happens to such a bot in a day, in one order."""
    sim, bot, manager, kind = desk.sim, desk.bot, desk.manager, desk.sim.kind
    does = desk.does

    await does("open", bot.open_position(signal(desk)))
    await does("the stop is there already", stop_again(desk))
    await does("move the stop", bot.move_stop(SYMBOL, 1.12))
    sim.set_price(UNIFIED, "1.25")
    await does("trail the stop", bot.on_price(SYMBOL, 1.25, distance_percent=4))
    limit = await does("limit exit", bot.exit_with_limit(SYMBOL, 1.5))
    await does("cancel it", manager.cancel_order(limit["id"], SYMBOL))
    await does("cancel it again", manager.cancel_order(limit["id"], SYMBOL))
    await does("close", bot.close_position(SYMBOL, "age"))
    await does("close nothing", bot.close_position(SYMBOL))
    await does("close nothing on the exchange", manager.close_position(SYMBOL))

    sim.partial_fill("0.5", "rest")
    await does("partial fill", bot.open_position(signal(desk, id=8)))
    (working,) = [o for o in sim.ledger.orders if o.status == "PARTIALLY_FILLED"]
    sim.complete(working.exchange_order_id, UNIFIED)
    await does("its position", manager.fetch_positions([SYMBOL]))
    await does("close it", bot.close_position(SYMBOL, "manual"))

    sim.next("create", NO_MARGIN[kind])
    await does("rejected", bot.open_position(signal(desk, id=9)))
    sim.next("create", NO_MARGIN[kind])
    await does("rejected, raw", manager.create_order(SYMBOL, "limit", "buy", 10, 1.1))

    sim.next("stop", NO_STOP[kind], times=3)
    await does("rollback", desk.bot.atomic.open_position_atomic(**atomic(desk)))

    sim.next("create", LoseAnswer())
    await does("answer lost, retried", manager.create_market_order(SYMBOL, "buy", "10"))
    sim.next("create", LoseAnswer(headers_sent=True))
    await does("answer cut, retried", manager.create_market_order(SYMBOL, "sell", "20"))
    sim.next("create", DropRequest())
    await does("request dropped, retried", manager.create_limit_order(SYMBOL, "buy", 10, 1.0))
    sim.next("create", HttpPage(502, taken=True))
    await does("gateway page", manager.create_market_order(SYMBOL, "buy", amount=10))
    sim.next("create", LoseAnswer(), times=6)
    await does("answer lost for good", manager.create_market_order(SYMBOL, "buy", 10))

    await does("unknown symbol", manager.create_market_order("NOSUCHUSDT", "buy", 1))
    await does("unknown side", manager.create_market_order(SYMBOL, "sideways", 1))
    await does("too small", manager.create_market_order(SYMBOL, "buy", "0.000001"))
    await does("wrong call", wrong_call(manager))

    await does("stop", manager.create_stop_loss_order(SYMBOL, "sell", 10, 1.1))
    await does("split stop", manager.create_stop_loss_order_split(SYMBOL, "sell", 10, stop_price=1.05))
    await does("trailing stop", manager.create_trailing_stop_order(SYMBOL, "sell", 10, 1.4, callback_rate=1))
    await does("take profit", manager.create_take_profit_order(SYMBOL, "sell", 10, 1.6))
    await does("order with params", manager.create_order(SYMBOL, "limit", "buy", 10, 1.14, {"postOnly": True}))
    await does("implicit endpoint", leverage(desk))
    await does("open orders", manager.fetch_open_orders(SYMBOL))
    await does("leftovers", bot.cancel_leftovers(SYMBOL, kind))
    await does("cancel all", manager.cancel_all_orders(SYMBOL))
    await does("last close", manager.close_position(symbol=SYMBOL))
    await does("move a stop of nothing", manager.update_stop_loss_atomic(SYMBOL, 1.0, position_side="long"))


async def stop_again(desk: Desk) -> Any:
    stops = StopLossManager(desk.manager.exchange, desk.sim.kind)
    return await stops.set_stop_loss(SYMBOL, "sell", 10, 1.1)


async def wrong_call(manager: Any) -> Any:
    return await manager.create_market_order(SYMBOL, "buy", 1, price=2)


async def leverage(desk: Desk) -> Any:
    """A private write by an endpoint that no unified method stands for."""
    client = desk.manager.exchange
    if desk.sim.kind == "bybit":
        params = {"category": "linear", "symbol": SYMBOL, "buyLeverage": "3", "sellLeverage": "3"}
        return await client.private_post_v5_position_set_leverage(params)
    return await client.fapiPrivatePostLeverage({"symbol": SYMBOL, "leverage": 3})


def atomic(desk: Desk) -> dict[str, Any]:
    """A signal in the words of the atomic flow."""
    given = signal(desk, id=10)
    given["signal_id"] = given.pop("id")
    return given


async def run_day(kind: str, how: str) -> tuple[Desk, list[Any]]:
    """The day on a fresh exchange; the desk afterwards and the requests the exchange got."""
    with SimulatedExchange(kind) as sim, memory_trail() as trail:
        async with desk_on(sim, how, None if how == "bare" else trail) as desk:
            await a_day(desk)
            desk.trail = trail
            assert sim.faults.waiting() == 0, "a fault of the script met no request"
            return desk, sim.requests.comparable(CLIENT_IDS)


def _differences(one: list[Any], other: list[Any]) -> list[Any]:
    return [(a, b) for a, b in zip(one, other, strict=False) if a != b] + [("lengths", len(one), len(other))] * (
        len(one) != len(other)
    )


@pytest.mark.parametrize("how", ["wrapped", "manager", "classes"])
@pytest.mark.parametrize("kind", ["binance", "bybit"])
async def test_a_day_with_the_trail_is_the_day_without_it(kind: str, how: str) -> None:
    bare, bare_requests = await run_day(kind, "bare")
    desk, requests = await run_day(kind, how)

    assert _differences(bare_requests, requests) == []
    assert _differences(bare.seen, desk.seen) == []
    assert _comparable(bare.plain_repository.positions) == _comparable(desk.plain_repository.positions)
    assert len(requests) > 60, "the day is shorter than it was meant to be"
    assert {what for what, seen in desk.seen if isinstance(seen, dict) and "raised" in seen} >= {
        "rejected, raw", "rollback", "answer lost for good", "unknown symbol", "unknown side", "wrong call",
    }  # fmt: skip
    assert _ledger(bare.sim) == _ledger(desk.sim)

    trail = desk.trail
    assert trail is not None
    assert trail.status().failures == {}
    assert [r for r in trail.records if r.kind is RecordKind.UNATTRIBUTED] == []


def _ledger(sim: SimulatedExchange) -> Any:
    orders = [
        (o.exchange_order_id, o.side, o.type, o.status, o.quantity, o.limit_price, o.trigger_price, o.average_price)
        for o in sim.ledger.orders
    ]
    return orders, [(p.symbol, p.quantity) for p in sim.ledger.positions]


@pytest.mark.parametrize("how", ["wrapped", "manager", "classes"])
@pytest.mark.parametrize("kind", ["binance", "bybit"])
async def test_every_write_of_the_day_has_its_intent_and_its_outcome(kind: str, how: str) -> None:
    desk, _ = await run_day(kind, how)
    trail, writes = desk.trail, desk.sim.requests.writes()
    assert trail is not None

    intents = [r for r in trail.records if r.kind is RecordKind.INTENT]
    sent = [(r.request.method, r.request.path) for r in intents if r.request is not None]
    assert _differences([(w.method, w.path) for w in writes], [s for s in sent if "leverage" not in s[1]]) == []
    outcomes = [r.intent_id for r in trail.records if r.intent_id is not None]
    assert sorted(outcomes) == sorted(r.record_id for r in intents)
    assert len({r.record_id for r in trail.records}) == len(trail.records)


@pytest.mark.parametrize("kind", ["binance", "bybit"])
async def test_a_private_write_that_nothing_explains_is_seen(kind: str) -> None:
    with SimulatedExchange(kind) as sim, memory_trail() as trail:
        async with desk_on(sim, "wrapped", trail) as desk:
            before = len(trail.records)
            group = {"bybit": "private", "binance": "fapiPrivate"}[kind]
            with pytest.raises(ccxt.BaseError):
                await desk.manager.exchange.request("no/such/thing", [group], "POST", {"symbol": SYMBOL})
        new = trail.records[before:]
    assert new
    assert {r.kind for r in new} == {RecordKind.UNATTRIBUTED}
    assert all(r.request is not None and r.request.path.endswith("no/such/thing") for r in new)


async def test_ten_positions_at_once_are_ten_stories() -> None:
    """Five symbols on each of two exchanges, opened at once by one bot that knows nothing of the trail."""
    with SimulatedExchange("binance") as one, SimulatedExchange("bybit") as other, memory_trail() as trail:
        async with desk_on(one, "classes", trail) as desk, desk_on(other, "bare", None) as second:
            desk.managers.update(second.managers)
            opened = await asyncio.gather(
                *(
                    desk.bot.open_position(signal(desk, id=100 + n, symbol=symbol, exchange=exchange, **plan))
                    for n, (exchange, (symbol, plan)) in enumerate(product(desk.managers, PLANS.items()))
                )
            )
            rows = desk.plain_repository.positions
            after = trail._recorder._frame.get()
        orders = trail.orders

    assert None not in opened
    assert after is None, "a call of a task is still open in the test's own context"
    assert trail._recorder.under_way == 0
    entries = {o.position_id: o for o in orders if o.type == "MARKET"}
    stops = {o.position_id: o for o in orders if o.type != "MARKET"}
    assert len(orders) == 20
    assert set(entries) == set(stops) == {str(key) for key in rows}
    for key, row in rows.items():
        entry, stop = entries[str(key)], stops[str(key)]
        assert (entry.order_id, entry.signal_id) == (row["exchange_order_id"], row["signal_id"])
        assert (entry.exchange, entry.symbol) == (stop.exchange, stop.symbol) == (row["exchange"], row["symbol"])
        assert entry.correlation_id == stop.correlation_id
    assert len({o.correlation_id for o in entries.values()}) == 10


PLANS: dict[str, dict[str, Any]] = {
    "BTCUSDT": {"quantity": "0.01", "entry_price": 60000, "stop_loss_price": 59000},
    "ETHUSDT": {"quantity": "0.1", "entry_price": 3000, "stop_loss_price": 2900},
    "MNTUSDT": {"quantity": "10", "entry_price": "1.2", "stop_loss_price": 1.1},
    "1000000BABYDOGEUSDT": {"quantity": "10000", "entry_price": "0.001", "stop_loss_price": "0.0009"},
    "PEPEXUSDT": {"quantity": "9000000000", "entry_price": "0.000000004321", "stop_loss_price": "0.000000004"},
}


async def test_positions_of_one_symbol_opened_at_once_are_told_apart(sim: SimulatedExchange) -> None:
    with memory_trail() as trail:
        async with desk_on(sim, "wrapped", trail) as desk:

            async def enter(number: int) -> Any:
                async with trail.position(id=number, signal_id=number):
                    return await desk.manager.create_market_order(SYMBOL, "buy", 10 + number)

            results = await asyncio.gather(*(enter(n) for n in range(10)))
        orders = {o.order_id: o for o in trail.orders}
    assert {r.id for r in results} == set(orders)
    for number, result in enumerate(results):
        assert orders[result.id].position_id == str(number)
        assert orders[result.id].size == 10 + number
    assert len({o.correlation_id for o in orders.values()}) == 10


async def test_a_blocking_client_in_threads(sim: SimulatedExchange) -> None:
    client = sync_client(sim)
    client.load_markets()
    with memory_trail() as trail:
        trail.wrap(client)

        def enter(number: int) -> Any:
            with trail.position(id=number):
                return client.create_order(UNIFIED, "market", "buy", 10 + number)

        loop = asyncio.get_running_loop()
        # both with the caller's context copied and without
        plain = [loop.run_in_executor(None, enter, n) for n in range(4)]
        results = await asyncio.gather(*plain, *(asyncio.to_thread(enter, n) for n in range(4, 8)))
        orders = {o.order_id: o for o in trail.orders}
        assert trail.status().failures == {}
        assert trail._recorder.under_way == 0
    assert {r["id"] for r in results} == set(orders)
    for number, result in enumerate(results):
        assert orders[result["id"]].position_id == str(number)
    assert len({o.correlation_id for o in orders.values()}) == 8
    assert [r for r in trail.records if r.kind is RecordKind.UNATTRIBUTED] == []


async def test_unwrapping_leaves_client_and_classes_as_they_were(sim: SimulatedExchange) -> None:
    classes = (ExchangeManager, AtomicPositionManager, StopLossManager, MemoryRepository)
    before_classes = [dict(vars(cls)) for cls in classes]
    client = async_client(sim)
    try:
        manager = ExchangeManager(sim.kind, {"client": client})
        before = dict(vars(client))
        with memory_trail() as trail:
            proxy = trail.wrap(manager)
            for cls in classes:
                trail.instrument(cls)
            assert vars(client) != before
            assert trail.unwrap(proxy) is manager
            after = dict(vars(client))
        assert after.keys() == before.keys()
        assert list(after) == list(before)
        assert all(after[name] is before[name] for name in before)
        assert [dict(vars(cls)) for cls in classes] == before_classes
    finally:
        await client.close()


@pytest.mark.parametrize("fault", [LoseAnswer(), DropRequest(), HttpPage(502), NO_MARGIN])
async def test_no_secret_is_kept(sim: SimulatedExchange, fault: Any) -> None:
    """Neither the key, nor the secret, nor any signature that was sent; also not in the words of an error."""
    fault = fault[sim.kind] if isinstance(fault, dict) else fault
    client = async_client(sim)
    sent: list[str] = []
    sign = client.sign

    def signing(*args: Any, **kwargs: Any) -> Any:
        request = sign(*args, **kwargs)
        sent.append(f"{request['url']} {request['body']} {request['headers']}")
        return request

    client.sign = signing
    try:
        with memory_trail() as trail:
            trail.wrap(client)
            await client.load_markets()
            order = await client.create_order(UNIFIED, "limit", "buy", 10, 1.1, {"apiKey": client.apiKey})
            for on, call in (
                ("create", client.create_order(UNIFIED, "market", "buy", 10)),
                ("cancel", client.cancel_order(order["id"], UNIFIED)),
            ):
                sim.next(on, fault, times=2)
                await asyncio.gather(call, return_exceptions=True)
                sim.faults.clear()
            await asyncio.gather(leverage_of(client, sim.kind), return_exceptions=True)
            kept = b"\n".join(e.payload for e in trail._memory_journal.read(0, 10_000, 2**30))
    finally:
        await client.close()
    signatures = signatures_in(sim, "\n".join(sent))
    assert signatures
    for secret in (client.apiKey, client.secret, *signatures):
        assert secret.encode() not in kept, kept[max(0, kept.index(secret.encode()) - 300) :][:400]


async def leverage_of(client: Any, kind: str) -> Any:
    return await client.set_leverage(3, UNIFIED, {"api_key": client.apiKey} if kind == "bybit" else {})


def signatures_in(sim: SimulatedExchange, sent: str) -> set[str]:
    """Every signature that left."""
    pattern = r"signature=([0-9a-f]{64})" if sim.kind == "binance" else r"'X-BAPI-SIGN': '([0-9a-f]{64})'"
    return set(re.findall(pattern, sent))
