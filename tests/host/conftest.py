"""Makes the stand-in bot and the simulated exchange importable; one exchange of each kind per test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulated_exchange import SimulatedExchange
    from truth import Account

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"

for folder in (HERE, EXAMPLES, EXAMPLES / "bot"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(params=["binance", "bybit"])
def sim(request: pytest.FixtureRequest) -> Iterator[SimulatedExchange]:
    """A running simulated exchange."""
    from simulated_exchange import SimulatedExchange

    with SimulatedExchange(request.param) as exchange:
        yield exchange


@pytest.fixture
async def account(sim: SimulatedExchange) -> AsyncIterator[Account]:
    """A wrapped client on it, with a trail in memory."""
    from truth import account_on

    async with account_on(sim) as opened:
        yield opened


@pytest.fixture
async def bybit() -> AsyncIterator[Account]:
    """The same on Bybit alone, for what is only there, or the same on both."""
    from simulated_exchange import SimulatedExchange
    from truth import account_on

    with SimulatedExchange("bybit") as sim:
        async with account_on(sim) as opened:
            yield opened
