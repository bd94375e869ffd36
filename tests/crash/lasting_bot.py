"""Event loops made and closed with one trail, and trails opened and closed: `lasting_bot.py DSN JOURNAL`.

Prints as JSON by how much threads, file handles and memory grew, once all that is made once had been made.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable

from ending_bot import SYMBOL, AsyncClient

from audit_wrapper import AuditTrail


def footprint() -> Counter[str]:
    gc.collect()
    handles = len(os.listdir("/proc/self/fd"))
    return Counter(threads=threading.active_count(), handles=handles, bytes=tracemalloc.get_traced_memory()[0])


def grown(work: Callable[[], None], settle: Callable[[], object], before: int, times: int) -> dict[str, int]:
    for _ in range(before):
        work()
    settle()
    first = footprint()
    for _ in range(times):
        work()
    settle()
    last = footprint()
    return {"times": times, **{what: last[what] - first[what] for what in first}}


def main(dsn: str, journal: str) -> None:
    trail = AuditTrail.open(dsn, journal=journal)

    async def test() -> None:
        client = trail.wrap(AsyncClient())
        await client.create_order(SYMBOL, "market", "buy", 10)
        trail.unwrap(client)

    def loop() -> None:
        own = asyncio.new_event_loop()
        own.run_until_complete(test())
        own.close()

    def one_trail() -> None:
        with AuditTrail.open(dsn, journal=f"{journal}/another") as another:
            client = another.wrap(AsyncClient())
            asyncio.run(client.create_order(SYMBOL, "market", "buy", 10))
            asyncio.run(another.aclose())

    tracemalloc.start()
    by_loops = grown(loop, lambda: asyncio.run(trail.flush()), 100, 200)
    assert trail.close()
    by_trails = grown(one_trail, gc.collect, 5, 50)
    print(json.dumps({"by loops": by_loops, "by trails": by_trails}))


if __name__ == "__main__":
    main(*sys.argv[1:])
