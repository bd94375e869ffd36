"""Instructions of one order call, counted by valgrind where it is installed: they do not change with the machine's speed or load.

Only by name (`instructions`): under valgrind Python takes fifty times as long. Every process makes some orders of each kind, one of
them nothing else, the others so many more of one kind: the difference is theirs. Counted is what the process computes, not what the
system does in its name (the write itself); and valgrind's processor has no instructions for SHA-256, so that hashing, which is in the
floor as well as in ours, counts for more than it takes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import contenders
from benchmarks.place import Place
from benchmarks.result import Result, Table, spread
from tests.torture.backlog import NOWHERE

_SOME = 20
_COUNTED = re.compile(r"I +refs: +([\d,]+)")
_BOTS = {"through a manager": contenders.WITH_MANAGER, "intent and outcome only": contenders.WITHOUT_MANAGER}
_NAMES = ("bare bot", "ours", "floor: bare append to our journal")


def run(place: Place) -> Result:
    """In turns, since two runs of the same differ by a per cent: what is compiled when, and what the threads do meanwhile."""
    table = Table("Instructions added to one order call, thousands", ("", *_BOTS, "times the floor"))
    if shutil.which("valgrind") is None:
        table.notes = ("not counted: valgrind is not installed",)
        return Result([table], {})
    orders = place.effort.counted
    counted: dict[str, dict[str, list[float]]] = {name: {bot: [] for bot in _BOTS} for name in _NAMES}
    for _ in range(place.effort.count_runs):
        for bot in _BOTS:
            before = _instructions(bot, _NAMES[0], 0)
            for name in _NAMES:
                counted[name][bot].append((_instructions(bot, name, orders) - before) / orders)
    added = {
        name: {
            bot: [(count - statistics.median(counted["bare bot"][bot])) / 1_000 for count in counts]
            for bot, counts in of_bots.items()
        }
        for name, of_bots in counted.items()
        if name != "bare bot"
    }
    floor = added[_NAMES[-1]]
    for name, of_bots in added.items():
        ratios = [statistics.median(of_bots[bot]) / statistics.median(floor[bot]) for bot in _BOTS]
        table.rows.append(
            (name, *(spread(of_bots[bot]) for bot in _BOTS), " and ".join(f"{one:.1f}" for one in ratios))
        )
    table.notes = (
        f"median (least-most) of {place.effort.count_runs} runs of {orders:,} orders; the collector of garbage is off; without what the "
        "system does in the bot's name",
    )
    return Result([table], {"orders": orders, "instructions_per_order": counted})


def _instructions(bot: str, name: str, orders: int) -> int:
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command = [*valgrind, sys.executable, "-m", __name__, bot, name, str(orders)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # else dicts and sets differ from process to process
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = _COUNTED.search(done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


async def _trade(bot: contenders.Bot, name: str, orders: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = contenders.ours(bot, "ours", "", Path(folder) / "journal", dsn=NOWHERE, delivery="sidecar")
        floor = contenders.journal_floor(bot, Path(folder), force=False)
        async with ours as wrapped, floor as appended:
            kinds = dict(zip(_NAMES, (bot.bare(), wrapped, appended), strict=True))
            gc.collect()
            gc.disable()  # when it runs depends on what was there before
            for one in (*kinds.values(),) * _SOME:
                await one.call()
            for _ in range(orders):
                await kinds[name].call()


if __name__ == "__main__":
    asyncio.run(_trade(_BOTS[sys.argv[1]], sys.argv[2], int(sys.argv[3])))
