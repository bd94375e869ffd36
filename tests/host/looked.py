"""A day of trading in a database, for the commands that only look at it: on each exchange four positions of one symbol.

1 and 5: opened in two fills, the stop moved, the stop fires. 2 and 6: the exchange's answer to the exit is lost on Binance, so
the bot sends it again; closed by the bot on Bybit. 3 and 7: the stop is refused three times, so the bot closes. 4 and 8: open.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from audited import SYMBOL, UNIFIED, audited
from core.atomic_position_manager import AtomicPositionError
from simulated_exchange import LoseAnswer, Reject, SimulatedExchange

NO_STOP = {"binance": Reject(-4045, "Reach max stop order limit."), "bybit": Reject(110061, "Limit of stops reached")}
EXCHANGES = ("binance", "bybit")


async def day(kind: str, dsn: str) -> None:
    """All of it on one exchange; the account is named like the exchange."""
    with SimulatedExchange(kind) as sim, tempfile.TemporaryDirectory() as folder:
        async with audited(sim, dsn, Path(folder), instrumented=True, settings={"account": kind}) as desk:
            sim.split_fills = 2
            await desk.open()
            await desk.manager.update_stop_loss_atomic(SYMBOL, 1.15, position_side="long")
            sim.set_price(UNIFIED, "1.14")
            await desk.settled()

            sim.set_price(UNIFIED, "1.2")
            await desk.open(signal_id=8)
            if kind == "binance":
                sim.next("create", LoseAnswer())
            await desk.manager.close_position(SYMBOL)
            await desk.settled()

            sim.next("stop", NO_STOP[kind], times=3)
            with contextlib.suppress(AtomicPositionError):
                await desk.open(signal_id=9)
            await desk.open(signal_id=10)
            await desk.settled()
