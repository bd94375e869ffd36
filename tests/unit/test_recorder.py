"""From calls to records: what is written when, once, in which order, and as whose story."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from ccxt import AuthenticationError, NetworkError
from offline_ccxt import API_KEY, ISSUED_KEY, LINEAR, offline
from pytest_mock import MockerFixture

from audit_wrapper.records import Action, RecordKind, Seam
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}


class Client:
    """A stub whose unified methods call each other, as ccxt's do."""

    id = "binance"
    placed = 0

    async def create_order(
        self, symbol: str, type: str, side: str, amount: float, price: Any = None, params: Any = None
    ):
        await asyncio.sleep(0)
        self.placed += 1
        return {**ORDER, "id": str(100 + self.placed), "symbol": symbol}

    async def create_market_order(self, symbol: str, side: str, amount: float, price: Any = None, params: Any = None):
        return await self.create_order(symbol, "market", side, amount, price, params)

    async def create_market_buy_order(self, symbol: str, amount: float, params: Any = None):
        return await self.create_market_order(symbol, "buy", amount, None, params)

    async def cancel_order(self, id: str, symbol: str | None = None, params: Any = None):
        return {**ORDER, "status": "canceled"}

    async def create_orders(self, orders: list[Any], params: Any = None):
        return [await self.create_order(o["symbol"], o["type"], o["side"], o["amount"]) for o in orders]


class Manager:
    """A manager over a stub client."""

    name = "binance"

    def __init__(self, client: Any = None) -> None:
        self.exchange = client

    async def create_market_order(self, symbol: str, side: str, amount: float, params: Any = None):
        if symbol == "NOSUCH":
            raise ValueError("unknown symbol")
        return await self.exchange.create_market_order(symbol, side, amount)

    async def close_position(self, symbol: str) -> bool:
        await self.exchange.cancel_order("5", symbol)
        order = await self.create_market_order(symbol, "sell", 1)
        return bool(order)

    async def update_stop_loss_atomic(self, symbol: str, new_sl_price: float, position_side: str = "long"):
        await self.exchange.cancel_order("5", symbol)
        await self.exchange.create_order(symbol, "STOP_MARKET", "sell", 1, None, {"stopPrice": new_sl_price})
        return {"success": True, "new_sl_price": new_sl_price}

    async def cancel_order(self, order_id: str, symbol: str) -> bool:
        return False


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


def told(trail: MemoryTrail) -> list[tuple[str, str]]:
    return [(r.kind.value, r.call.method) for r in trail.records if r.call is not None]


async def test_methods_of_a_client_that_call_each_other_are_one_order(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())
    await client.create_market_buy_order("MNT/USDT:USDT", 1)
    assert told(trail) == [("intent", "create_market_buy_order"), ("acknowledged", "create_market_buy_order")]
    assert len(trail.orders) == 1
    assert trail.orders[0].side == "buy"


async def test_the_intent_is_there_before_the_call_and_the_outcome_before_its_answer(trail: MemoryTrail) -> None:
    seen: list[int] = []

    class Watching(Client):
        async def create_order(self, *args: Any, **kwargs: Any):
            seen.append(len(trail._memory_journal.read(0, 10)))
            return ORDER

    await trail.wrap(Watching()).create_order("MNT/USDT:USDT", "limit", "buy", 1)
    seen.append(len(trail._memory_journal.read(0, 10)))
    assert seen == [1, 2]


async def test_a_managers_call_and_its_clients_are_one_story(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager(Client()))
    await manager.create_market_order("MNTUSDT", "buy", 1)
    assert told(trail) == [
        ("intent", "create_market_order"),
        ("acknowledged", "create_market_order"),
        ("reported", "create_market_order"),
    ]
    assert [r.call.seam for r in trail.records if r.call] == [Seam.CLIENT, Seam.CLIENT, Seam.MANAGER]
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 1
    assert trail.records[0].meant is not None
    assert trail.records[0].meant.arguments["symbol"] == "MNTUSDT"
    assert len(trail.orders) == 1
    assert trail.orders[0].symbol == "MNTUSDT"


async def test_a_composite_is_one_story_of_several_orders(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager(Client()))
    await manager.close_position("MNTUSDT")
    await manager.update_stop_loss_atomic("MNTUSDT", 1.1)
    stories = [r.operation.correlation_id for r in trail.records if r.operation]
    assert len(set(stories)) == 2
    assert [(r.kind, r.action) for r in trail.records if r.kind is RecordKind.INTENT] == [
        (RecordKind.INTENT, Action.CANCEL),
        (RecordKind.INTENT, Action.PLACE),
        (RecordKind.INTENT, Action.CANCEL),
        (RecordKind.INTENT, Action.PLACE),
    ]
    moved = trail.records[-3:]
    assert moved[0].replaces == ("order:5:MNTUSDT",)
    assert {o.purpose for o in trail.orders} >= {"exit", "stop_loss"}


async def test_refused_by_the_bot_itself_before_anything_left(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager(Client()))
    with pytest.raises(ValueError, match="unknown symbol"):
        await manager.create_market_order("NOSUCH", "buy", 1)
    (record,) = trail.records
    assert record.kind is RecordKind.NOT_SENT
    assert record.failure is not None
    assert (record.failure.type, record.failure.message) == ("ValueError", "unknown symbol")


async def test_a_batch_is_one_record_of_several_orders(trail: MemoryTrail) -> None:
    orders = [{"symbol": f"S{n}/USDT:USDT", "type": "limit", "side": "buy", "amount": n} for n in (1, 2)]
    await trail.wrap(Client()).create_orders(orders)
    assert told(trail) == [("intent", "create_orders"), ("acknowledged", "create_orders")]
    assert len(trail.orders) == 2


async def test_records_have_ids_of_their_own_and_times_in_order(trail: MemoryTrail) -> None:
    manager = trail.wrap(Manager(Client()))
    for _ in range(3):
        await manager.create_market_order("MNTUSDT", "buy", 1)
    records = trail.records
    assert len({r.record_id for r in records}) == len(records)
    for record in records:
        assert record.called_at is not None
        assert record.called_at.tzinfo is not None
        if record.answered_at is not None:
            assert record.answered_at >= record.called_at
    by_id = {r.record_id: r for r in records}
    for record in records:
        if record.intent_id is not None:
            assert by_id[record.intent_id].kind is RecordKind.INTENT


async def test_gathered_calls_inside_one_call_are_its_own(trail: MemoryTrail) -> None:
    class Splitting(Manager):
        async def create_stop_loss_order_split(self, symbol: str, side: str, amount: float, stop_price: float):
            return await asyncio.gather(
                *(self.exchange.create_order(symbol, "STOP_MARKET", side, n) for n in range(1, 4))
            )

    await trail.wrap(Splitting(Client())).create_stop_loss_order_split("MNTUSDT", "sell", 6, 1.1)
    assert [r.kind for r in trail.records].count(RecordKind.INTENT) == 3
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 1
    assert {o.purpose for o in trail.orders} == {"stop_loss"}
    assert trail._recorder.under_way == 0


async def test_a_call_inside_a_call_that_was_cancelled_is_closed(trail: MemoryTrail) -> None:
    started = asyncio.Event()

    class Waiting(Client):
        async def create_order(self, *args: Any, **kwargs: Any):
            started.set()
            await asyncio.Event().wait()

    manager = trail.wrap(Manager(Waiting()))
    task = asyncio.create_task(manager.create_market_order("MNTUSDT", "buy", 1))
    await started.wait()
    assert trail._recorder.under_way == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN, RecordKind.REPORTED]
    assert trail._recorder.under_way == 0
    assert trail.orders[0].status == "UNKNOWN"


async def test_a_false_of_a_managers_cancel_is_no_cancellation(trail: MemoryTrail) -> None:
    class Alone(Manager):
        pass

    await trail.wrap(Alone()).cancel_order("5", "MNTUSDT")
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.REJECTED]


async def test_an_untouched_read_leaves_nothing(trail: MemoryTrail) -> None:
    class Reading(Client):
        async def fetch_order(self, id: str):
            return ORDER

    client = trail.wrap(Reading())
    assert "fetch_order" not in vars(client)
    await client.fetch_order("1")
    assert trail.records == []


def test_threads_keep_their_stories_apart(trail: MemoryTrail) -> None:
    class Sync:
        name = "binance"

        def __init__(self) -> None:
            self.meet = threading.Barrier(8)

        def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            self.meet.wait(timeout=10)  # all are open at once
            return {**ORDER, "id": symbol}

    proxy = trail.wrap(Sync())
    threads = [threading.Thread(target=proxy.create_market_order, args=(f"S{n}USDT", "buy", 1)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trail.records) == 16
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 8
    assert {o.order_id for o in trail.orders} == {f"S{n}USDT" for n in range(8)}
    assert trail._recorder.under_way == 0


def test_a_full_memory_is_counted(trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_wrapper.outbox._WAITING_LIMIT", 3)

    class Sync:
        name = "binance"

        def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return ORDER

    trail._memory_journal.fail("disk full")
    proxy = trail.wrap(Sync())
    for _ in range(4):
        assert proxy.create_market_order("MNTUSDT", "buy", 1) is ORDER
    status = trail.status()
    assert status.waiting == 3
    assert status.recorded == 8
    assert any("lost" in kind for kind in status.failures)
    trail._memory_journal.fail(None)
    proxy.create_market_order("MNTUSDT", "buy", 1)
    assert trail.status().waiting == 0
    kinds = [record.kind for record in trail.records]
    assert (len(kinds), kinds[3]) == (6, RecordKind.GAP), "where five were lost, a record says so"


@pytest.mark.parametrize("seam", ["method", "request", "attempt"])
async def test_ctrl_c_while_a_call_is_recorded_leaves_nothing_behind(
    trail: MemoryTrail, mocker: MockerFixture, seam: str
) -> None:
    recorder = trail._recorder
    if seam == "method":

        class Sync:
            name = "binance"

            def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
                return ORDER

        call = trail.wrap(Sync()).create_market_order
    else:

        def call(*order: object) -> Any:
            subject = mocker.Mock(exchange="binance", transport=True, target="binance")
            subject.market.return_value = None
            if seam == "attempt":  # signed by hand, past the client's `request`
                return recorder.attempt(subject, "https://exchange/fapi/v1/order", "POST", "side=BUY")
            return recorder.begin_request(subject, "private", "POST", "order", {})

    interrupted = mocker.patch.object(recorder, "_enter", side_effect=_then_ctrl_c(recorder._enter))
    with pytest.raises(KeyboardInterrupt):
        call("MNTUSDT", "buy", 1)
    mocker.stop(interrupted)
    assert recorder._frame.get() is None
    assert recorder.under_way == 0


def _then_ctrl_c(enter: Any) -> Any:
    def entered(frame: Any) -> None:
        enter(frame)
        raise KeyboardInterrupt

    return entered


def test_a_bug_of_ours_in_a_request_signed_by_hand_leaves_nothing_behind(
    trail: MemoryTrail, mocker: MockerFixture
) -> None:
    recorder = trail._recorder
    subject = mocker.Mock(exchange="binance", transport=True, target="binance")
    subject.market.side_effect = ZeroDivisionError
    assert recorder.attempt(subject, "https://exchange/fapi/v1/order", "POST", "side=BUY") is None
    assert recorder._frame.get() is None
    assert recorder.under_way == 0
    assert trail.status().failures == {"recording a request": 1}


class Clock:
    """perf_counter_ns for frames; it goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 1_000_000
        monkeypatch.setattr("audit_wrapper.callframe.time.perf_counter_ns", lambda: self.at)

    def pass_us(self, microseconds: int) -> None:
        self.at += microseconds * 1_000


def lossy(client: Any, clock: Clock, *, losses: int) -> None:
    """The first requests of the client take 70 us and are lost, those after it take 300 us."""
    answering, left = client.fetch, [losses]

    async def fetch(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if left[0]:
            left[0] -= 1
            clock.pass_us(70)
            raise NetworkError("the answer was lost")
        clock.pass_us(300)
        return await answering(*args, **kwargs)

    client.fetch = fetch


async def test_the_clients_own_retries_are_attempts_with_durations_of_their_own(
    trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = offline("binance")
    client.options["maxRetriesOnFailure"] = 2
    lossy(client, Clock(monkeypatch), losses=2)
    await trail.wrap(client).create_order(LINEAR, "limit", "buy", 10, 1.1)
    assert [(r.kind, r.attempt, r.duration_us) for r in trail.records] == [
        (RecordKind.INTENT, 1, None),
        (RecordKind.OUTCOME_UNKNOWN, 1, 70),
        (RecordKind.INTENT, 2, None),
        (RecordKind.OUTCOME_UNKNOWN, 2, 70),
        (RecordKind.INTENT, 3, None),
        (RecordKind.ACKNOWLEDGED, 3, 300),
    ]
    for intent, outcome in zip(trail.records[::2], trail.records[1::2], strict=True):
        assert outcome.intent_id == intent.record_id
        assert outcome.called_at == intent.called_at
        assert intent.request == outcome.request
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 1


async def test_a_rate_limiter_that_calls_again_is_seen_twice_in_one_story(
    trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(Manager):
        async def create_market_order(self, symbol: str, side: str, amount: float, params: Any = None):
            for _ in range(3):
                try:
                    return await self.exchange.create_order(LINEAR, "market", side, amount)
                except NetworkError:
                    continue

    client, sent = offline("binance")
    lossy(client, Clock(monkeypatch), losses=1)
    await trail.wrap(Limited(client)).create_market_order("BTCUSDT", "buy", 10)
    assert len(sent) == 1
    assert [(r.kind, r.attempt, r.duration_us) for r in trail.records] == [
        (RecordKind.INTENT, 1, None),
        (RecordKind.OUTCOME_UNKNOWN, 1, 70),
        (RecordKind.INTENT, 1, None),
        (RecordKind.ACKNOWLEDGED, 1, 300),
        (RecordKind.REPORTED, 0, None),
    ]
    assert len({r.operation.correlation_id for r in trail.records if r.operation}) == 1
    assert [o.status for o in trail.orders] == ["UNKNOWN", "NEW"]


@pytest.mark.parametrize("blocking", [False, True], ids=["pro", "blocking"])
async def test_a_duration_begins_when_the_request_leaves(
    trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch, blocking: bool
) -> None:
    clock = Clock(monkeypatch)

    class Disk:
        """Takes a second before a request may leave, and one behind it."""

        def now(self) -> None:
            clock.pass_us(1_000_000)

        async def soon(self) -> None:
            clock.pass_us(1_000_000)

        def behind(self) -> None:
            clock.pass_us(1_000_000)

    client, _ = offline("binance", blocking=blocking)
    answering = client.fetch

    def fetch_now(*args: Any, **kwargs: Any) -> Any:
        clock.pass_us(300)
        return answering(*args, **kwargs)

    async def fetch(*args: Any, **kwargs: Any) -> Any:
        clock.pass_us(300)
        return await answering(*args, **kwargs)

    client.fetch = fetch_now if blocking else fetch
    trail._recorder.durable = Disk()  # type: ignore[assignment]
    result = trail.wrap(client).create_order(LINEAR, "limit", "buy", 10, 1.1)
    assert (result if blocking else await result)["id"]
    assert [r.duration_us for r in trail.records] == [None, 300]


async def test_what_never_left_took_no_time(trail: MemoryTrail) -> None:
    class Disk:
        """Never done."""

        async def soon(self) -> None:
            raise asyncio.CancelledError

        def behind(self) -> None: ...

    client, sent = offline("binance")
    trail._recorder.durable = Disk()  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await trail.wrap(client).request("order", "fapiPrivate", "POST", {"symbol": "BTCUSDT"})
    assert sent == []
    assert {(r.kind, r.duration_us) for r in trail.records} <= {(RecordKind.INTENT, None), (RecordKind.NOT_SENT, None)}


async def test_each_of_two_requests_of_one_call_ends_when_it_was_answered(
    trail: MemoryTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1_000))
    monkeypatch.setattr("audit_wrapper.callframe.now", lambda: datetime.fromtimestamp(next(ticks), UTC))
    client, _ = offline("binance")

    async def edit_order(self: Any, id: str, symbol: str, *order: Any) -> Any:
        await self.cancel_order(id, symbol)
        return await self.create_order(symbol, *order)

    monkeypatch.setattr(type(client), "edit_order", edit_order)
    await trail.wrap(client).edit_order("5", LINEAR, "limit", "buy", 10, 1.1)
    first, second = (r for r in trail.records if r.kind is RecordKind.ACKNOWLEDGED)
    assert (first.action, second.action) == (Action.CANCEL, Action.PLACE)
    assert first.answered_at is not None
    assert second.called_at is not None
    assert first.answered_at < second.called_at


async def test_a_private_write_that_nothing_explains_has_an_intent_and_an_outcome(trail: MemoryTrail) -> None:
    client, _ = offline("bybit")
    await trail.wrap(client).private_post_v5_user_create_sub_api({"note": "n", "secret": "s3cret-of-it"})
    intent, outcome = trail.records
    assert (intent.kind, outcome.kind) == (RecordKind.UNATTRIBUTED, RecordKind.UNATTRIBUTED)
    assert (intent.intent_id, outcome.intent_id) == (None, intent.record_id)
    assert outcome.request is not None
    assert (outcome.request.method, outcome.request.path) == ("POST", "/v5/user/create-sub-api")
    assert outcome.response is not None
    assert outcome.response.http_status == 200
    assert outcome.duration_us is not None
    kept = b"".join(entry.payload for entry in trail._memory_journal.read(0, 10))
    assert ISSUED_KEY.encode() not in kept
    assert b"s3cret" not in kept
    assert trail.orders == []


async def test_a_key_that_an_answer_repeats_is_removed(trail: MemoryTrail) -> None:
    client, _ = offline("bybit")
    text = f'{{"retCode":10004,"retMsg":"error sign! origin_string[1700000000000{API_KEY}5000]"}}'

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        client.on_rest_response(200, "OK", url, method, {}, text, headers, body)
        raise AuthenticationError(f"bybit {text}")

    client.fetch = fetch
    with pytest.raises(AuthenticationError, match=API_KEY):
        await trail.wrap(client).create_order(LINEAR, "limit", "buy", 10, 1.1)
    assert trail.records[-1].kind is RecordKind.REJECTED
    kept = b"".join(entry.payload for entry in trail._memory_journal.read(0, 10))
    assert b"origin_string[1700000000000removed5000]" in kept
    assert API_KEY.encode() not in kept
