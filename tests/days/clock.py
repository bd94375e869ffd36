"""The trail's clock tied to the exchange's, which a day moves forward by hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from simulated_exchange import SimulatedExchange

from audit_wrapper import callframe, scribe
from audit_wrapper.trail import AuditTrail


@contextmanager
def one_clock(sim: SimulatedExchange, trail: AuditTrail, skew_ms: int, page_limit: int | None) -> Iterator[None]:
    """All that the trail dates and asks for goes by the exchange's clock, give or take `skew_ms`.

    page_limit: how many rows the trail asks for at once; the exchange gives no more than that either.
    """
    skew = timedelta(milliseconds=skew_ms)

    def now() -> datetime:
        return datetime.fromtimestamp(sim.engine.now() / 1000, UTC) + skew

    inquiry: Any = trail._inquiry
    inquiry._reconciler._now = now
    asker = inquiry.inquirer.asker

    def asker_of(*args: Any, **kwargs: Any) -> Any:
        made = asker(*args, **kwargs)
        made._now, made._page_limit = now, page_limit
        return made

    inquiry.inquirer.asker = asker_of
    before = scribe.now
    scribe.now = callframe.now = now
    try:
        yield
    finally:
        scribe.now = callframe.now = before
