"""A stand-in with the structure of freqtrade, as far as orders go: where its ccxt clients are, which of them places orders,
what it makes of errors, when a strategy's own code runs. Nothing of freqtrade's code is in it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import ccxt
from simulated_exchange import SimulatedExchange, async_client, sync_client


class IStrategy:
    """What a strategy inherits from. `dp` and `config` are there before `bot_start`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.dp: Any = None

    def bot_start(self, **kwargs: Any) -> None: ...

    def bot_loop_start(self, current_time: Any = None, **kwargs: Any) -> None: ...


def load(folder: Path, name: str) -> type[IStrategy]:
    """The class of this name, out of a folder of files. Each file is run until it is found, and stays no module; what such
    a file imports from beside it is one, as always."""
    sys.path.insert(0, str(folder))
    try:
        for file in sorted(folder.glob("*.py")):
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            found = getattr(loaded, name, None)
            if isinstance(found, type) and issubclass(found, IStrategy):
                return found
    finally:
        sys.path.remove(str(folder))
    raise LookupError(f"no strategy {name} in {folder}")


def module() -> types.ModuleType:
    """To stand for `freqtrade.strategy`."""
    made = types.ModuleType("freqtrade.strategy")
    made.IStrategy = IStrategy  # type: ignore[attr-defined]
    return made


class TemporaryError(Exception):
    """freqtrade has a tree of its own."""


class Exchange:
    """Orders go through `_api`, which blocks; `_api_async` reads candles, on a loop of its own that rests in between."""

    def __init__(self, sim: SimulatedExchange) -> None:
        self.loop = asyncio.new_event_loop()
        self._api = sync_client(sim)
        self._api_async = async_client(sim)
        self._api.load_markets()

    def refresh(self, pair: str) -> Any:
        return self.loop.run_until_complete(self._api_async.fetch_ticker(pair))

    def create_order(
        self, *, pair: str, ordertype: str, side: str, amount: float, rate: float | None = None, **params: Any
    ) -> Any:
        """Sent once; what ccxt raises comes out as an exception of its own."""
        try:
            return self._api.create_order(pair, ordertype, side, amount, rate, params)
        except ccxt.NetworkError as problem:
            raise TemporaryError(f"could not place {side} order") from problem

    def create_stoploss(self, pair: str, amount: float, stop_price: float) -> Any:
        params = {"stopLossPrice": stop_price, "reduceOnly": True}
        return self._api.create_order(pair, "market", "sell", amount, None, params)

    def cancel_stoploss_order(self, order_id: str, pair: str, times: int = 4) -> Any:
        """Tried again, unlike the others."""
        for left in reversed(range(times)):
            try:
                return self._api.cancel_order(order_id, pair, {"stop": True})
            except ccxt.NetworkError as problem:
                if not left:
                    raise TemporaryError("could not cancel") from problem
        return None

    def close(self) -> None:
        self.loop.run_until_complete(self._api_async.close())
        self.loop.close()


class Bot:
    """Made at the start, and anew by `/reload_config`: another exchange, the strategy loaded anew."""

    def __init__(self, strategies: Path, sim: SimulatedExchange, runmode: str = "live") -> None:
        self.exchange = Exchange(sim)
        self.strategy = load(strategies, "MyStrategy")({"runmode": types.SimpleNamespace(value=runmode)})
        self.strategy.dp = types.SimpleNamespace(_exchange=self.exchange)
        self.strategy.bot_start()

    def process(self) -> None:
        self.strategy.bot_loop_start(current_time=None)

    def cleanup(self) -> None:
        self.exchange.close()
