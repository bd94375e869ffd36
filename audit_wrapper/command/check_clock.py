"""How far this machine's clock is off, against the database's and an exchange's."""

from __future__ import annotations

import importlib
import inspect
import time
from decimal import Decimal
from typing import Any

import asyncpg

from audit_wrapper.command.check import Check, note, ok, wrong
from audit_wrapper.command.client import client_of
from audit_wrapper.errors import SettingsError

_TRIES = 3
_NOTED_MS, _WRONG_MS = 250, 1_000
_TODO = "let the machine's clock be set by NTP (chrony, systemd-timesyncd)"


async def clock(con: asyncpg.Connection) -> Check:
    """Against the database's."""
    best: tuple[int, int] | None = None
    for _ in range(_TRIES):
        before = time.time_ns()
        theirs = await con.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")
        after = time.time_ns()
        if best is None or after - before < best[1]:
            best = ((before + after) // 2 - int(theirs), after - before)
    assert best is not None
    return _judged("clock against the database", best[0], best[1])


async def exchange_clock(exchange: str, function: str | None) -> Check:
    """Against the exchange's. function: "module:function" that makes a client; None: ccxt's own, without keys. Raises SettingsError."""
    name = f"clock against {exchange}"
    if function is not None:
        async with client_of(exchange, function, None) as client:
            return await _asked(name, client)
    client = _public(exchange)
    try:
        return await _asked(name, client)
    finally:
        await client.close()


async def _asked(name: str, client: Any) -> Check:
    if not client.has.get("fetchTime"):
        return note(name, "it does not tell its time")
    best: tuple[int, int] | None = None
    try:
        for _ in range(_TRIES):
            before = time.time_ns()
            theirs = client.fetch_time()
            if inspect.isawaitable(theirs):
                theirs = await theirs
            after = time.time_ns()
            if best is None or after - before < best[1]:
                best = ((before + after) // 2 - int(theirs) * 1_000_000, after - before)
    except Exception as problem:  # ccxt's, or whatever is between here and there
        return wrong(
            name, f"it cannot be asked: {type(problem).__name__}: {problem}", "see that this machine can reach it"
        )
    assert best is not None
    return _judged(name, best[0], best[1])


def _judged(name: str, offset_ns: int, trip_ns: int) -> Check:
    """offset_ns: ours less theirs, right to half the time the question took."""
    milliseconds = Decimal(offset_ns) / 1_000_000
    doubt = Decimal(trip_ns) / 2_000_000
    said = f"this machine is {abs(milliseconds):.0f} ms {'ahead' if milliseconds > 0 else 'behind'} (within {doubt:.0f} ms)"
    least = abs(milliseconds) - doubt
    if least > _WRONG_MS:
        return wrong(name, said, _TODO)
    if least > _NOTED_MS:
        return note(name, said, _TODO)
    return ok(name, said)


def _public(exchange: str) -> Any:
    try:
        ccxt = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise SettingsError("ccxt is not installed, and with it the exchanges: pip install ccxt") from None
    if exchange not in ccxt.exchanges:
        raise SettingsError(
            f"ccxt knows no exchange {exchange!r}; name one of ccxt's, or give a client: --client module:function"
        )
    return getattr(ccxt, exchange)({"options": {"defaultType": "swap"}})
