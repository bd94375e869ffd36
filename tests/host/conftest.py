"""Makes the stand-in bot and the simulated exchange importable; one exchange of each kind per test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulated_exchange import SimulatedExchange

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
