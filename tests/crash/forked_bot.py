"""A bot that forks and spawns after its trail was opened. Run as a process: `forked_bot.py WAY DSN JOURNAL`.

On stdout is the id of every order that any of its processes was told of. It exits with 0 when all went as it should.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ending_bot import Bot

from audit_wrapper import AuditTrail
from audit_wrapper.errors import JournalInUse


def forked(work: Callable[[], Any], leave: Callable[[int], Any] = sys.exit) -> int:
    pid = os.fork()
    if pid == 0:
        work()
        leave(0)
    return pid


def ended(*pids: int) -> list[int]:
    """Their exit codes."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def nothing() -> None:
    return


def children_that_end_at_once(bot: Bot) -> None:
    bot.open()
    for leave in (sys.exit, os._exit, sys.exit):
        bot.trade()
        assert ended(forked(nothing, leave)) == [0]
    bot.trade()
    assert bot.trail.close(), "delivery went on, whatever the children did with what they inherited"
    assert not list(Path(bot.journal).glob("fork-*")), "who records nothing leaves nothing"


def children_that_trade(bot: Bot) -> None:
    """While threads of the parent trade, so that every lock is held at some fork or other."""
    bot.open()
    stop = threading.Event()

    def trade_on() -> None:
        while not stop.is_set():
            bot.trade(1)

    threads = [threading.Thread(target=trade_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = ended(*(forked(bot.trade) for _ in range(5)))
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 5
    assert bot.trail.close()


def child_of_a_locked_parent(bot: Bot) -> None:
    """The worst moment for a fork: every lock of ours is held by another thread."""
    bot.open()
    bot.trade()
    trail: Any = bot.trail
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        locks = (
            trail._failures._lock,
            trail._recorder._outbox._lock,
            trail._pipeline.delivery._waiters._lock,
            trail._closing,
        )
        for lock in locks:
            lock.acquire()
        held.set()
        done.wait()
        for lock in locks:
            lock.release()

    threading.Thread(target=hold, daemon=True).start()
    held.wait()

    def work() -> None:
        trail._recorder.note_failure("a failure", RuntimeError("in the child"))
        bot.trade()
        assert trail.close()

    child = forked(work)
    done.set()
    assert ended(child) == [0]


def child_of_a_child(bot: Bot) -> None:
    def child() -> None:
        bot.trade()
        assert ended(forked(bot.trade)) == [0]
        bot.trade()

    bot.open()
    assert ended(forked(child)) == [0]
    bot.trade()


def child_that_flushes(bot: Bot) -> None:
    def child() -> None:
        import asyncio

        assert asyncio.run(bot.trail.flush()), "nothing is recorded yet: at once"
        bot.trade()
        assert asyncio.run(bot.trail.flush())
        status = bot.trail.status()
        assert (status.recorded, status.durable_seq, status.lag, status.failures) == (10, 10, 0, {})

    bot.open()
    bot.trade()
    assert ended(forked(child)) == [0]


def child_that_outlives_the_bot(bot: Bot) -> None:
    bot.open()
    bot.trade()
    reading, writing = os.pipe()

    def child() -> None:
        os.close(writing)
        bot.trade()
        os.read(reading, 1)  # returns when the parent is gone
        bot.trade()

    forked(child)
    os.kill(os.getpid(), signal.SIGKILL)


def idle_child_that_outlives_the_bot(bot: Bot) -> None:
    bot.open()
    bot.trade()
    while bot.trail.status().lag:
        time.sleep(0.01)
    forked(sys.stdin.read)
    os.kill(os.getpid(), signal.SIGKILL)


def child_that_is_killed(bot: Bot) -> None:
    bot.open()
    bot.trade()
    (code,) = ended(forked(bot.trade, lambda _: os.kill(os.getpid(), signal.SIGKILL)))
    assert code == -signal.SIGKILL
    (code,) = ended(forked(bot.trade, lambda _: os._exit(3)))
    assert code == 3


def prefork(bot: Bot) -> None:
    """As gunicorn does: opened in the master, traded with in the workers; one is killed, and another takes its place."""
    bot.open()
    reading, writing = os.pipe()

    def work() -> None:
        os.close(writing)
        bot.trade(20)
        os.read(reading, 1)

    workers = [forked(work) for _ in range(3)]
    os.kill(workers[0], signal.SIGKILL)
    workers.append(forked(work))
    os.close(writing)
    assert ended(*workers) == [-signal.SIGKILL, 0, 0, 0]


def multiprocessing_fork(bot: Bot) -> None:
    bot.open()
    bot.trade()
    process = multiprocessing.get_context("fork").Process(target=bot.trade)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert bot.trail.close()


def process_pool(bot: Bot) -> None:
    pool_without_a_database(bot)
    assert bot.trail.close()


def pool_without_a_database(bot: Bot) -> None:
    bot.open()
    global trade
    trade = bot.trade
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(pool_trades, range(10)))


trade: Callable[[], None] = nothing


def pool_trades(_: int) -> None:
    trade()


def spawned_trades(bot: Bot, parent: int) -> None:
    with pytest.raises(JournalInUse, match=rf"process {parent}: .*a folder of its own \(setting `journal`\)"):
        bot.open()
    own = Bot(bot.way, bot.dsn, f"{bot.journal}/of-the-child")
    own.open()
    own.trade()
    assert own.trail.close()


def spawned(bot: Bot) -> None:
    bot.open()
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        process = context.Process(target=spawned_trades, args=(Bot(bot.way, bot.dsn, bot.journal), os.getpid()))
        process.start()
        bot.trade()
        process.join()
        assert process.exitcode == 0


def with_a_lasting_program(bot: Bot) -> None:
    """A program that the bot starts, and that inherits whatever can be inherited, does not hold the journal."""
    bot.open()
    bot.trade()
    with subprocess.Popen([sys.executable, "-c", "input()"], close_fds=False, stdin=subprocess.PIPE) as program:
        bot.trail.close()
        with AuditTrail.open(bot.dsn, journal=bot.journal, account=bot.way):
            assert program.poll() is None
        program.communicate(b"\n")


if __name__ == "__main__":
    globals()[sys.argv[1]](Bot(*sys.argv[1:]))
