"""The client that is asked through: one of ccxt's with keys from the environment, or what a function of the user's returns.

ccxt is the user's own installation, and is imported only here and by name.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
from collections.abc import AsyncIterator
from typing import Any

from audit_wrapper.clients import is_client
from audit_wrapper.errors import SettingsError
from audit_wrapper.exchanges import adapter_for


@contextlib.asynccontextmanager
async def client_of(exchange: str, function: str | None, market_type: str | None) -> AsyncIterator[Any]:
    """The client, closed at the end. Raises SettingsError.

    function: "module:function" of the user's; None: one of ccxt's, set to `market_type` (None: swap).
    """
    if function is None:
        client = _from_ccxt(exchange, market_type or "swap")
    else:
        client = await _from_function(function)
        named = getattr(client, "id", None)
        if isinstance(named, str) and type(adapter_for(named)) is not type(adapter_for(exchange)):
            raise SettingsError(f"--exchange is {exchange}, and the client of {function} is one of {named}")
    try:
        yield client
    finally:
        close = getattr(client, "close", None)
        if callable(close):
            with contextlib.suppress(Exception):
                closing = close()
                if inspect.isawaitable(closing):
                    await closing


_UPPER = re.compile("(?=[A-Z])")
_SECRET = re.compile("KEY|SECRET|PASS|TOKEN|TWOFA")
_SECRET_LENGTH = 6  # what is shorter is no key


def secrets_of(exchange: str) -> list[str]:
    """The keys that the environment holds for this exchange."""
    named = [value for name, value in os.environ.items() if name.startswith(_prefix(exchange)) and _SECRET.search(name)]
    return [value for value in named if len(value) >= _SECRET_LENGTH]


def _prefix(exchange: str) -> str:
    return f"{exchange.upper()}_"


def _from_ccxt(exchange: str, market_type: str) -> Any:
    try:
        ccxt = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise SettingsError(
            "ccxt is not installed, and with it the exchanges: pip install ccxt, or name a function of yours that returns "
            "a client: --client module:function"
        ) from None
    if exchange not in ccxt.exchanges:
        close = difflib.get_close_matches(exchange, ccxt.exchanges, n=1)
        hint = (
            f"did you mean {close[0]}?" if close else "name one of ccxt's, or give a client: --client module:function"
        )
        raise SettingsError(f"ccxt knows no exchange {exchange!r}; {hint}")
    client = getattr(ccxt, exchange)({"enableRateLimit": True, "options": {"defaultType": market_type}})
    missing = []
    for name, is_needed in client.requiredCredentials.items():
        variable = _prefix(exchange) + _UPPER.sub("_", name).upper()  # apiKey: BYBIT_API_KEY
        value = os.environ.get(variable)
        if value:
            setattr(client, name, value)
        elif is_needed:
            missing.append(variable)
    if missing:
        raise SettingsError(f"the keys are missing: set {' and '.join(missing)} in the environment")
    return client


async def _from_function(name: str) -> Any:
    module, _, function = name.partition(":")
    if not module or not function:
        raise SettingsError(f"--client {name}: say module:function")
    try:
        client = getattr(importlib.import_module(module), function)()
        if inspect.isawaitable(client):
            client = await client
    except Exception as problem:  # theirs, whatever it is
        raise SettingsError(f"--client {name} gives no client: {type(problem).__name__}: {problem}") from None
    if not is_client(client):
        raise SettingsError(f"--client {name} returns a {type(client).__name__}, and not a ccxt client")
    return client
