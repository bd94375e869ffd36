"""Real ccxt clients, unmodified, configured to talk to a simulated exchange.

Only configuration differs from a client of the real exchange: fake keys, other URLs, fewer start-up requests,
no rate limit. Any of it may be overridden by keyword; `options` is merged, not replaced.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .credentials import API_KEY, SECRET

if TYPE_CHECKING:
    from .server import SimulatedExchange

_MARKETS = {"binance": ["linear"], "bybit": ["linear", "spot"]}


def async_client(sim: SimulatedExchange, **config: Any) -> Any:
    """A `ccxt.async_support` client of a running exchange. Close it with `await client.close()`."""
    return async_client_for(sim.kind, sim.url, **config)


def sync_client(sim: SimulatedExchange, **config: Any) -> Any:
    """The same with the blocking `ccxt` client."""
    return sync_client_for(sim.kind, sim.url, **config)


def async_client_for(kind: str, url: str, **config: Any) -> Any:
    """A client of a simulated exchange in another process."""
    return _build("ccxt.async_support", kind, url, config)


def sync_client_for(kind: str, url: str, **config: Any) -> Any:
    return _build("ccxt", kind, url, config)


def _build(module: str, kind: str, url: str, overrides: dict[str, Any]) -> Any:
    # Imported on use: ccxt takes seconds to import, and the exchange's own process never needs it.
    client_class = getattr(importlib.import_module(module), kind)
    described = client_class()
    # Every address, also of endpoints that are not simulated: no request may leave for the real exchange.
    addresses = {name: url + urlsplit(real).path for name, real in described.urls["api"].items()}
    options = {"defaultType": "swap", "fetchMarkets": {"types": _MARKETS[kind]}, "fetchCurrencies": False}
    config = {
        "apiKey": API_KEY,
        "secret": SECRET,
        "enableRateLimit": False,
        "urls": {"api": addresses},
        "has": {"fetchCurrencies": False},
        # ccxt picks the futures error table by the address https://fapi.binance.com, which loopback does not
        # have: without this a -2019 raised a plain ExchangeError here and InsufficientFunds on the real
        # exchange. Bybit, and ccxt before 4.5, have one table only.
        "exceptions": {"exact": described.exceptions.get("linear", {}).get("exact", {})},
        "options": {**options, **overrides.pop("options", {})},
        # There is no TLS: no certificates to load, and nothing for close() to wait a quarter of a second for.
        "verify": False,
        "timeout_on_exit": 0,
    }
    return client_class({**config, **overrides})
