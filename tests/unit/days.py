"""The records of a real day: the stand-in bot on a simulated exchange, once per session."""

from __future__ import annotations

import asyncio
import functools

from simulated_exchange import SimulatedExchange
from stories import STREAMS, Line
from test_same_day import a_day, desk_on

from audit_wrapper.records import Record, RecordKind
from audit_wrapper.testing import memory_trail


@functools.cache
def recorded(kind: str) -> tuple[Line, ...]:
    """Everything that the day leaves. What the exchange said when it was asked is in a journal of its own, as if
    another process had asked."""
    seqs = [0, 0]
    lines = []
    for record in asyncio.run(_day(kind)):
        journal = int(record.kind is RecordKind.RECONCILED)
        seqs[journal] += 1
        lines.append(Line(STREAMS[journal], seqs[journal], record))
    return tuple(lines)


async def _day(kind: str) -> list[Record]:
    with SimulatedExchange(kind) as sim, memory_trail() as trail:
        async with desk_on(sim, "wrapped", trail) as desk:
            await a_day(desk)
            await trail.reconcile()
            assert trail.status().failures == {}
        return trail.records
