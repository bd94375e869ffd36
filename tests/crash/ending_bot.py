"""A bot that trades and then ends, each time in another way. Run as a process: `ending_bot.py WAY DSN JOURNAL`.

It says on stdout the id of every order that it was told of, `leaving` when it begins to end, and nothing else.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell begins what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

late: list[Callable[[], None]] = []
atexit.register(lambda: [work() for work in late])  # before the import of the library, so it runs after its own

from audit_wrapper import AuditTrail  # noqa: E402

SYMBOL = "MNT/USDT:USDT"
_numbers = itertools.count(1)


def say(word: object) -> None:
    os.write(1, f"{word}\n".encode())  # whole, whatever else is going on


def _order(symbol: str, side: str, amount: float) -> dict[str, Any]:
    order = {"id": f"{os.getpid()}-{next(_numbers)}", "symbol": symbol, "side": side, "type": "market", "info": {}}
    return {**order, "status": "closed", "amount": amount, "filled": amount, "remaining": 0, "average": 1.2}


class Client:
    """A client without a wire, which blocks."""

    id = "binance"

    def create_order(self, symbol: str, type: str, side: str, amount: float, price: Any = None) -> dict[str, Any]:
        time.sleep(0.002)
        return _order(symbol, side, amount)


class AsyncClient:
    """A client without a wire, which awaits."""

    id = "binance"

    def __init__(self) -> None:
        self.on_the_way = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def create_order(self, symbol: str, type: str, side: str, amount: float, price: Any = None) -> dict[str, Any]:
        self.on_the_way.set()
        await asyncio.sleep(0.002)
        await self.answers.wait()
        return _order(symbol, side, amount)


class Bot:
    def __init__(self, way: str, dsn: str | None, journal: str) -> None:
        self.way, self.dsn, self.journal = way, dsn or None, journal

    def open(self) -> AuditTrail:
        self.trail = AuditTrail.open(self.dsn, journal=self.journal, account=self.way)
        self.client = self.trail.wrap(Client())
        self.async_client = self.trail.wrap(AsyncClient())
        return self.trail

    def trade(self, times: int = 5) -> None:
        for _ in range(times):
            say(self.client.create_order(SYMBOL, "market", "buy", 10)["id"])

    def trade_on(self) -> None:
        while True:
            self.trade()

    async def trade_async(self, times: int = 5) -> None:
        for _ in range(times):
            say((await self.async_client.create_order(SYMBOL, "market", "buy", 10))["id"])

    async def trade_on_async(self) -> None:
        while True:
            await self.trade_async()

    async def trade_until_told_to_leave(self) -> None:
        try:
            await self.trade_on_async()
        finally:
            say("leaving")


# -- a signal ends it


def never_closed(bot: Bot) -> None:
    bot.open()
    asyncio.run(bot.trade_on_async())


def delivered_and_never_closed(bot: Bot) -> None:
    bot.open()
    before = bot.trail.status().delivered_seq  # by the runs before this one
    ids = []
    while bot.trail.status().delivered_seq == before:
        ids.append(bot.client.create_order(SYMBOL, "market", "buy", 10)["id"])
        time.sleep(0.05)
    say("\n".join(ids))  # at once: it may be ended after any word
    bot.trade_on()


def in_with(bot: Bot) -> None:
    async def main() -> None:
        with bot.open():
            await bot.trade_until_told_to_leave()

    asyncio.run(main())


def in_async_with(bot: Bot) -> None:
    async def main() -> None:
        async with bot.open():
            await bot.trade_until_told_to_leave()

    asyncio.run(main())


def around_run(bot: Bot) -> None:
    with bot.open():
        asyncio.run(bot.trade_until_told_to_leave())


def closed_in_a_coroutine(bot: Bot) -> None:
    async def main() -> None:
        bot.open()
        try:
            await bot.trade_until_told_to_leave()
        finally:
            bot.trail.close()

    asyncio.run(main())


def on_uvloop(bot: Bot) -> None:
    import uvloop

    async def main() -> None:
        async with bot.open():
            await bot.trade_until_told_to_leave()

    uvloop.run(main())


def synchronous(bot: Bot) -> None:
    bot.open()
    bot.trade_on()


def with_other_tasks(bot: Bot) -> None:
    """Only `main` gets the Ctrl-C; the tasks beside it trade on while the trail closes."""

    async def beside() -> None:
        while bot.trail._closed is None:
            order = await bot.async_client.create_order(SYMBOL, "market", "buy", 10)
            if bot.trail._recorder.active:  # else it may have begun when the trail looked away already
                say(order["id"])

    async def main() -> None:
        async with bot.open():
            tasks = [asyncio.create_task(beside()) for _ in range(5)]
            await asyncio.gather(*map(asyncio.shield, tasks))

    asyncio.run(main())


def handler_that_exits(bot: Bot) -> None:
    def leave(number: int, frame: Any) -> None:
        say("leaving")
        sys.exit(3)

    signal.signal(signal.SIGTERM, leave)
    bot.open()
    bot.trade_on()


def handler_of_the_loop(bot: Bot) -> None:
    async def main() -> None:
        task = asyncio.create_task(bot.trade_on_async())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with bot.open():
            await asyncio.wait([task])

    asyncio.run(main())


def handler_that_closes(bot: Bot) -> None:
    def leave(number: int, frame: Any) -> None:
        bot.trail.close()
        say("leaving")  # orders from here on are not observed
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    bot.open()
    bot.trade_on()


# -- it ends by itself


def an_exception(bot: Bot) -> None:
    async def main() -> None:
        bot.open()
        await bot.trade_async()
        raise RuntimeError("the bot's own")

    asyncio.run(main())


def exit_in_a_task(bot: Bot) -> None:
    async def leave() -> None:
        await bot.trade_async()
        sys.exit(7)

    async def main() -> None:
        async with bot.open():
            task = asyncio.create_task(leave())
            task.add_done_callback(lambda done: done.exception())
            await bot.trade_on_async()

    asyncio.run(main())


def exit_at_once(bot: Bot) -> None:
    bot.open()
    bot.trade()
    os._exit(9)


def the_end_of_main(bot: Bot) -> None:
    bot.open()
    bot.trade()


def daemon_threads(bot: Bot) -> None:
    bot.open()
    for _ in range(3):
        threading.Thread(target=bot.trade_on, daemon=True).start()
    bot.trade(50)
    say("leaving")


def other_threads(bot: Bot) -> None:
    bot.open()
    threading.Thread(target=bot.trade, args=(100,)).start()
    bot.trade()


def opened_in_a_thread(bot: Bot) -> None:
    def work() -> None:
        bot.open()
        bot.trade()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    bot.trade()


def orders_at_exit(bot: Bot) -> None:
    bot.open()
    bot.trade()
    late.append(bot.trade)


def loop_stopped(bot: Bot) -> None:
    async def main() -> None:
        bot.open()
        await bot.trade_async()
        asyncio.get_running_loop().call_later(0.01, asyncio.get_running_loop().stop)
        bot.async_client.answers.clear()
        await bot.trade_async()

    asyncio.run(main())


def loop_closed_first(bot: Bot) -> None:
    loop = asyncio.new_event_loop()
    bot.open()
    loop.run_until_complete(bot.trade_async())
    loop.close()
    assert bot.trail.close()


def loop_closed_during_flush(bot: Bot) -> None:
    loop = asyncio.new_event_loop()
    bot.open()
    loop.run_until_complete(bot.trade_async())
    for waiting in (bot.trail.flush(), bot.trail.aclose()):
        task = loop.create_task(waiting)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # ours to answer for, in this test
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()


def two_loops(bot: Bot) -> None:
    bot.open()
    for _ in range(2):
        asyncio.run(bot.trade_async())
        assert asyncio.run(bot.trail.flush())
    assert asyncio.run(bot.trail.aclose())


def closed_by_a_logging_handler(bot: Bot) -> None:
    """The handler runs on whichever thread logs: here that is the delivery, which cannot wait for its own end."""

    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if threading.current_thread().name == "audit_wrapper-delivery":
                bot.trail.close()
                closed.set()

    closed = threading.Event()
    bot.open()
    logging.getLogger("audit_wrapper").addHandler(Closing())
    bot.trade()
    bot.trail._pipeline.delivery._call(
        lambda: logging.getLogger("audit_wrapper").error("said on the delivery's thread")
    )
    assert closed.wait(10)
    assert bot.trail.close() is not None


def closed_by_the_collector(bot: Bot) -> None:
    class Holder:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            bot.trail.close()

    bot.open()
    bot.trade()
    Holder()  # a cycle: collected in the middle of anything
    while bot.trail._closed is None:
        bot.client.create_order(SYMBOL, "market", "buy", 10)
        [[] for _ in range(1000)]  # garbage, so that the collector runs


def closed_by_many(bot: Bot) -> None:
    bot.open()
    bot.trade()
    reports: list[object] = []
    threads = [threading.Thread(target=lambda: reports.append(bot.trail.close())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(report) for report in reports}) == 1
    assert bot.trail.close() is reports[0]


def answer_after_close(bot: Bot) -> None:
    async def main() -> None:
        async with bot.open():
            bot.async_client.answers.clear()
            order = asyncio.create_task(bot.trade_async(1))
            await bot.async_client.on_the_way.wait()
        bot.async_client.answers.set()
        await order

    asyncio.run(main())


def dropped(bot: Bot) -> None:
    """The trail itself is held by nobody; what was wrapped is."""
    bot.open()
    del bot.trail
    bot.trade()


# -- on a simulated exchange, with a real ccxt client


def ccxt_client(bot: Bot) -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
    from simulated_exchange import async_client_for

    client = async_client_for("bybit", os.environ["EXCHANGE_URL"])
    bot.trail = AuditTrail.open(bot.dsn, journal=bot.journal, account=bot.way, ask_after_s=0.05)
    bot.async_client = bot.trail.wrap(client)
    return client


def killed_in_the_middle_of_an_order(bot: Bot) -> None:
    async def main() -> None:
        client = ccxt_client(bot)
        from simulated_exchange import RemoteExchange

        remote = RemoteExchange("bybit", os.environ["EXCHANGE_URL"])
        await bot.trade_async()
        hold = remote.hold("create")
        try:
            order = asyncio.create_task(bot.trade_async(1))
            await asyncio.to_thread(remote.reached, hold)
            os.kill(os.getpid(), signal.SIGINT)
            await order
        finally:
            remote.release(hold)
            await client.close()

    asyncio.run(main())


def loop_closed_while_asking(bot: Bot) -> None:
    """What was asked of the exchange is asked on the bot's loop, and the bot closes it without looking what is on it."""

    async def main() -> None:
        client = ccxt_client(bot)
        await bot.trade_async()
        while not any(task.get_name() == "audit_wrapper-ask" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
        await client.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](Bot(*sys.argv[1:]))
