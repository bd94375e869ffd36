"""Builds the ccxt client of an exchange from the bot's configuration."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import ccxt.async_support as ccxt

DEFAULT_OPTIONS: dict[str, dict[str, Any]] = {
    "binance": {
        "defaultType": "future",
        "fetchMarkets": {"types": ["linear"]},
        "fetchCurrencies": False,
        "warnOnFetchOpenOrdersWithoutSymbol": False,
    },
    "bybit": {
        "defaultType": "swap",
        "fetchMarkets": {"types": ["linear"]},
        "enableUnifiedAccount": True,
        "enableUnifiedMargin": False,
    },
}


def build_client(exchange_name: str, config: dict[str, Any]) -> Any:
    """Return `config["client"]`, or a new client from keys, options and, for another host, a `url`."""
    client = config.get("client")
    if client is not None:
        return client
    client = getattr(ccxt, exchange_name)(
        {
            "apiKey": config.get("api_key", ""),
            "secret": config.get("api_secret", ""),
            "enableRateLimit": config.get("enable_rate_limit", True),
            "options": {**DEFAULT_OPTIONS.get(exchange_name, {}), **config.get("options", {})},
        }
    )
    if exchange_name == "bybit":
        client.has["fetchCurrencies"] = False  # asks for wallet permissions that a trading key lacks
    if config.get("testnet"):
        client.set_sandbox_mode(True)
    if config.get("url"):
        client.urls["api"] = _redirect(client.urls["api"], config["url"])
    return client


def _redirect(urls: Any, target: str) -> Any:
    """The same paths on another host."""
    if isinstance(urls, dict):
        return {key: _redirect(value, target) for key, value in urls.items()}
    if isinstance(urls, str):
        scheme, host = urlsplit(target)[:2]
        return urlunsplit((scheme, host, urlsplit(urls).path, "", ""))
    return urls
