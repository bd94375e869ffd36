"""What the exchange pushes, handed in: raw messages and ccxt.pro's results, any number of times, in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import ccxt.async_support as ccxt
import ccxt.pro
import pytest
from named import named
from simulated_exchange import LoseAnswer, SimulatedExchange
from truth import MNT, SYMBOL, Account, account_on

from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

# what differs by nature: ours, or by when and how we heard of it
OURS = {"order_key", "correlation_id", "replaced_by", "created_at", "updated_at", "executed_at", "source", "found_by"}


async def a_day(account: Account) -> None:
    """Something of everything, by the bot and by others."""
    sim = account.sim
    sim.split_fills = 2
    if account.is_binance:
        sim.fee_currency = "mixed"
    await account.enter(30)
    resting = await account.limit(10, 1.1)
    sim.complete(resting, MNT, "4")
    canceled = await account.limit(10, 1.0)
    await account.client.cancel_order(canceled, MNT)
    await account.stop(1.1)
    sim.set_price(MNT, "1.09")
    sim.partial_fill("0.5", "expire")
    await account.enter(20)
    sim.trade_by_hand(MNT, "buy", 10)
    await account.take_profit(1.3)
    sim.deleverage(MNT, 5)
    sim.fund(MNT, "0.0001")
    sim.liquidate(MNT)


def raw(sim: SimulatedExchange) -> list[dict[str, Any]]:
    return [row["message"] for row in sim.messages()]


def table(trail: MemoryTrail) -> dict[str, list[Any]]:
    """All rows, without what is ours alone."""

    def plain(rows: Iterable[Any]) -> list[Any]:
        return sorted(({k: v for k, v in dict(row).items() if k not in OURS} for row in rows), key=repr)

    return {"orders": plain(trail.orders), "trades": plain(trail.trades), "fills": plain(trail.fills)}


def heard_by_another(account: Account, messages: Iterable[Any]) -> MemoryTrail:
    """A trail that saw none of the bot's calls and hears these messages."""
    trail = memory_trail()
    for message in messages:
        assert trail.observe(account.sim.kind, message), message
    assert trail.status().failures == {}
    return trail


async def test_what_is_pushed_completes_the_bots_orders(account: Account) -> None:
    await a_day(account)
    for message in raw(account.sim):
        assert account.trail.observe(account.sim.kind, message)
    account.same_as_the_ledger()
    assert {row.origin for row in account.trail.orders} == {"bot", "external", "liquidation", "auto_deleveraging"}
    assert {fill.source for fill in account.trail.fills} <= {"observed", "answer"}


@pytest.mark.parametrize("how", ["in order", "backwards", "as lists", "as text"])
async def test_any_number_of_times(account: Account, how: str) -> None:
    await a_day(account)
    messages: list[Any] = raw(account.sim)
    if how == "backwards":
        messages = messages[::-1]
    if how == "as lists":
        messages = [messages[:5], messages[5:]]
    if how == "as text":
        messages = [account.client.json(message) for message in messages]
    for _ in range(2):
        for message in messages:
            assert account.trail.observe(account.sim.kind, message)
    account.same_as_the_ledger()
    written = len(account.trail.records)
    for message in messages:
        account.trail.observe(account.sim.kind, message)
    assert len(account.trail.records) == written, "what was heard is not written again"


async def test_in_any_order_it_comes_to_what_asking_comes_to(account: Account) -> None:
    await a_day(account)
    messages = raw(account.sim)
    async with account_on(account.sim) as other:
        await other.reconciled(account.now() - timedelta(hours=1))
        if not account.is_binance:
            await other.reconciled()
        other.same_as_the_ledger()
        for seed in range(6):
            chance = random.Random(seed)
            shuffled = messages + chance.sample(messages, len(messages) // 3)
            chance.shuffle(shuffled)
            for message in shuffled:
                assert other.trail.observe(account.sim.kind, message), message
            other.same_as_the_ledger()
        heard = [table(heard_by_another(account, shuffled)) for shuffled in _shuffles(messages, 8)]
        assert all(one == heard[0] for one in heard)
        names = ("order_id", "status", "side", "size", "filled", "average_price", "fee", "fee_currency", "origin")
        asked = [[row[name] for name in names] for row in table(other.trail)["orders"]]
        pushed = [[row[name] for name in names] for row in heard[0]["orders"]]
        assert sorted(pushed, key=repr) == sorted(asked, key=repr)


def _shuffles(messages: list[Any], number: int) -> Iterable[list[Any]]:
    for seed in range(number):
        shuffled = list(messages)
        random.Random(seed).shuffle(shuffled)
        yield shuffled


async def test_an_amended_order_whose_messages_come_out_of_order(account: Account) -> None:
    resting = await account.limit(10, 1.1)
    await account.client.edit_order(resting, MNT, "limit", "buy", 12, 1.15)
    for shuffled in (raw(account.sim), raw(account.sim)[::-1]):
        (row,) = heard_by_another(account, shuffled).orders
        assert (row.size, row.limit_price) == (Decimal(12), Decimal("1.15"))


async def test_results_of_ccxt_pro(account: Account) -> None:
    await a_day(account)
    pro = getattr(ccxt.pro, account.sim.kind)({"options": {"defaultType": "swap"}, "enableRateLimit": False})
    pro.set_markets(account.client.markets)
    results = list(_parsed(account, pro))
    random.Random(1).shuffle(results)
    for result in (*results, results, results[:2]):
        assert account.trail.observe(account.sim.kind, result), result
    account.same_as_the_ledger()
    assert account.trail.status().failures == {}


def _parsed(account: Account, pro: Any) -> Iterable[Any]:
    """What `watch_orders` and `watch_my_trades` hand out, one by one."""
    for item in raw(account.sim):
        if account.is_binance:
            if item["e"] in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE"):
                yield pro.parse_ws_order(item["o"])
            if item["e"] == "ORDER_TRADE_UPDATE" and item["o"]["x"] in ("TRADE", "CALCULATED"):
                yield pro.parse_ws_trade(item["o"])
        else:
            parse: Callable[[Any], Any] = pro.parse_order if item["topic"] == "order" else pro.parse_trade
            yield from (parse(row) for row in item["data"] if row.get("execType") != "Funding")


async def test_funding_that_is_pushed_is_there_once() -> None:
    with SimulatedExchange("bybit") as sim:  # Binance's message of it names no symbol and has no id
        async with account_on(sim) as account:
            await account.enter(100)
            paid = sim.fund(MNT, "0.0001")
            for message in raw(sim) * 2:
                assert account.trail.observe("bybit", message)
            await account.reconciled(account.now() - timedelta(hours=1))
            (row,) = account.trail.funding
            assert (row.payment_id, row.amount) == (paid.exchange_funding_id, paid.amount)


async def test_a_lost_order_that_is_pushed(account: Account) -> None:
    """Its answer is lost, its messages come: the next look finds that they are one."""
    account.sim.next("create", LoseAnswer())
    with pytest.raises(ccxt.NetworkError):
        await account.enter()
    for message in raw(account.sim):
        assert account.trail.observe(account.sim.kind, message)
    assert sorted(row.origin or "" for row in account.trail.orders) == ["bot", "external"]
    account.later()
    report = await account.reconciled()
    assert len(report.found) == 1
    assert account.row().found_by == ("client_order_id" if account.is_binance else "unique_match")
    account.same_as_the_ledger()


@pytest.mark.parametrize(
    "message",
    [
        {"e": "SOMETHING_NEW", "s": SYMBOL, "i": 7},
        {"topic": "something.new", "data": [{"orderId": 5}]},
        "not json",
        "",
        b"\xff\xfe",
        17,
        3.5,
        object(),
        {"e": "ORDER_TRADE_UPDATE", "o": {"s": SYMBOL}},
        {"topic": "order", "data": [{"orderStatus": "Filled"}]},
        {1: 2},
        {"id": object()},
    ],
    ids=named,
)
@pytest.mark.parametrize("kind", ["binance", "bybit"])
def test_what_is_not_known_is_kept_counted_and_logged(
    message: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with memory_trail() as trail:
        for _ in range(3):
            assert trail.observe(kind, message) is False
        assert sum(trail.status().failures.values()) == 3
        assert len(caplog.records) == 1, "logged once"
        assert trail.orders == []
        assert [record.kind for record in trail.records] == [RecordKind.OBSERVED], "kept, once"


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


class Raises(dict):  # type: ignore[type-arg]
    def __getitem__(self, key: object) -> Any:
        raise RuntimeError("no")

    def items(self) -> Any:
        raise RuntimeError("no")

    get = __getitem__


@pytest.mark.parametrize("junk", [None, [], {}, [None, [None]], _loop(), Raises(a=1), float("nan"), {"o": _loop()}])
@pytest.mark.parametrize("kind", ["binance", "bybit", "no such exchange"])
def test_junk_never_raises(junk: Any, kind: str) -> None:
    with memory_trail() as trail:
        assert isinstance(trail.observe(kind, junk), bool)
        assert trail.orders == []


async def test_a_known_message_that_speaks_of_no_order_is_taken_and_not_kept(account: Account) -> None:
    message = (
        {"e": "ACCOUNT_UPDATE", "E": 1, "a": {"m": "DEPOSIT", "B": [], "P": []}}
        if account.is_binance
        else {"topic": "wallet", "data": [{"coin": []}]}
    )
    assert account.trail.observe(account.sim.kind, message)
    assert account.trail.records == []
