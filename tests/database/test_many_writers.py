"""Many bots deliver into one database at once, all of them speaking of the same orders."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from conftest import contents_of
from rig import Rig
from tcp_proxy import TcpProxy

from audit_wrapper import codec
from audit_wrapper.records import Action, Call, RecordKind, Seam
from audit_wrapper.store.postgres import PostgresStore

ORDERS = [str(number) for number in range(12)]
SYMBOLS = ["MNT/USDT:USDT", "BTC/USDT:USDT"]


def symbol_of(order_id: str) -> str:
    return SYMBOLS[int(order_id) % 2]


def bot_day(journal: Any, chance: random.Random, own: list[str]) -> None:
    """A bot that places the orders `own`, and looks at, cancels and moves everybody's."""
    left = list(own)
    for _ in range(40):
        order_id = chance.choice(ORDERS)
        symbol = symbol_of(order_id)
        journal.account = "one" if int(order_id) % 3 else "two"
        match chance.randrange(6):
            case 0 | 1 if left:
                order_id = left.pop()
                journal.account = "one" if int(order_id) % 3 else "two"
                journal.resting(order_id, symbol_of(order_id))
            case 0 | 2:
                filled = chance.randrange(4)
                status = "closed" if filled == 3 else chance.choice(["open", "canceled"])
                journal.seen(order_id, symbol, filled=str(filled), remaining=str(3 - filled), status=status)
            case 3:
                journal.cancel_all(symbol)
            case 4:  # cancels an order that another bot may have placed
                call = Call(
                    seam=Seam.CLIENT,
                    target="kraken",
                    method="cancel_order",
                    arguments={"id": order_id, "symbol": symbol},
                )
                market = journal.market(symbol)
                intent = journal.append(RecordKind.INTENT, Action.CANCEL, call=call, market=market)
                journal.append(
                    RecordKind.ACKNOWLEDGED,
                    Action.CANCEL,
                    intent_id=intent.record.record_id,
                    call=call,
                    market=market,
                    result={"id": order_id, "status": "canceled"},
                    answered_at=journal.now,
                )
            case _:  # moves somebody's stop: cancel, and a new one in its place
                intent = journal.intent(symbol, "sell", type="stop", replaces=(f"order:{order_id}:{symbol}",))
                journal.acknowledge(
                    intent,
                    f"s{chance.randrange(10**9)}",
                    status="open",
                    filled="0",
                    remaining="3",
                    average=None,
                    fee=None,
                )
    for order_id in left:
        journal.account = "one" if int(order_id) % 3 else "two"
        journal.resting(order_id, symbol_of(order_id))


def journals_of(new_journal: Any, chance: random.Random, bots: int) -> list[Any]:
    made = [new_journal() for _ in range(bots)]
    for number, journal in enumerate(made):
        bot_day(journal, chance, ORDERS[number::bots])
    return made


async def delivered_one_after_the_other(dsn: str, journals: list[Any]) -> Any:
    """By a single writer: journal by journal, in the order of their names, which is the projection's."""
    async with PostgresStore(dsn) as store:
        for journal in sorted(journals, key=lambda j: j.stream):
            await journal.deliver(store)
    connection = await asyncpg.connect(dsn)
    try:
        return await contents_of(connection, ids=False)
    finally:
        await connection.close()


async def test_whichever_way_the_batches_are_woven_the_rows_are_the_same(
    new_database: Callable[..., str], audit_template: str, new_journal: Any
) -> None:
    for _ in range(2):
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        journals = journals_of(new_journal, chance, 3)
        expected = await delivered_one_after_the_other(new_database(audit_template), journals)
        woven = new_database(audit_template)
        left = {journal.stream: list(journal.entries) for journal in journals}
        async with PostgresStore(woven) as store:
            while left:
                stream = chance.choice(list(left))
                batch, left[stream] = left[stream][: (cut := chance.randint(1, 6))], left[stream][cut:]
                await store.deliver(stream, batch, [entry.record for entry in batch])
                if not left[stream]:
                    del left[stream]
        connection = await asyncpg.connect(woven)
        assert await contents_of(connection, ids=False) == expected, f"seed {seed}"
        await connection.close()


def deliver_in_a_process(dsn: str, stream: str, payloads: list[tuple[int, bytes, bytes]], seed: int) -> None:
    """In small batches."""
    from conftest import Entry

    async def work() -> None:
        chance = random.Random(seed)
        entries = [Entry(seq, payload, hash_, codec.decode(payload)) for seq, payload, hash_ in payloads]
        async with PostgresStore(dsn, statement_timeout_s=20) as store:
            while entries:
                batch, entries = entries[: (cut := chance.randint(1, 4))], entries[cut:]
                await store.deliver(UUID(stream), batch, [entry.record for entry in batch])

    asyncio.run(work())


async def test_real_processes_deliver_the_same_orders_at_once(
    new_database: Callable[..., str], audit_template: str, new_journal: Any
) -> None:
    """Any error, a deadlock above all, ends the process that gets it, and this test."""
    chance = random.Random(seed := random.randrange(2**32))
    journals = journals_of(new_journal, chance, 4)
    expected = await delivered_one_after_the_other(new_database(audit_template), journals)
    dsn = new_database(audit_template)
    work = [
        (dsn, str(j.stream), [(e.seq, e.payload, e.hash) for e in j.entries], number)
        for number, j in enumerate(journals)
    ]
    with multiprocessing.get_context("spawn").Pool(len(work)) as pool:
        await asyncio.wait_for(asyncio.to_thread(pool.starmap, deliver_in_a_process, work), 60)
    connection = await asyncpg.connect(dsn)
    assert await contents_of(connection, ids=False) == expected, f"seed {seed}"
    assert await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    await connection.close()


async def test_trails_whose_connections_are_cut_again_and_again(
    new_database: Callable[..., str], audit_template: str, new_journal: Any, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    journals = journals_of(new_journal, chance, 4)
    dsn = new_database(audit_template)
    rigs, proxies = [], []
    try:
        for number, journal in enumerate(journals):
            proxies.append(TcpProxy(dsn))
            rigs.append(Rig(proxies[-1].dsn, tmp_path / str(number), delivery_batch=chance.randint(1, 8)))
            rigs[-1].record(journal.entries)
        for _ in range(12):
            chance.choice(proxies).cut_at(chance.randrange(60))
            await asyncio.sleep(0.02)  # any moment is as good as another
        await asyncio.gather(*(rig.arrived() for rig in rigs))
        connection = await asyncpg.connect(dsn)
        for rig in rigs:
            await rig.all_there_once(connection)
            assert set(rig.trail.status().failures) <= {"database away"}
            assert "eadlock" not in str(rig.trail.status())
        for journal, rig in zip(journals, rigs, strict=True):
            journal.stream = rig.trail._pipeline.journal.stream
        expected = await delivered_one_after_the_other(new_database(audit_template), journals)
        assert await contents_of(connection, ids=False) == expected, f"seed {seed}"
        await connection.close()
    finally:
        for rig in rigs:
            await rig.trail.aclose()
        for proxy in proxies:
            proxy.close()
