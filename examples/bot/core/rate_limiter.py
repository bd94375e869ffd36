"""Paces the calls to one exchange and repeats those that the network lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.async_support as ccxt

logger = logging.getLogger(__name__)


class RateLimiter:
    """Runs client calls one after the other with a pause between them.

    A `NetworkError` is met with up to `max_retries` further tries, whatever the call was.
    """

    def __init__(
        self, max_retries: int = 5, retry_delay_seconds: float = 0.5, min_interval_seconds: float = 0.0
    ) -> None:
        self.max_retries = max_retries
        self.retry_delay_seconds = retry_delay_seconds
        self.min_interval_seconds = min_interval_seconds
        self.request_count = 0
        self.retry_count = 0
        self._lock = asyncio.Lock()
        self._last_request = 0.0

    async def execute_request(self, func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call `func(*args, **kwargs)` and return its answer; other errors than the network's pass."""
        name = getattr(func, "__name__", repr(func))
        attempt = 0
        while True:
            await self._wait_for_turn()
            self.request_count += 1
            try:
                return await func(*args, **kwargs)
            except ccxt.NetworkError as error:
                attempt += 1
                if attempt > self.max_retries:
                    logger.error("%s failed after %d retries: %s", name, self.max_retries, error)
                    raise
                self.retry_count += 1
                logger.warning("%s: network error, retry %d/%d: %s", name, attempt, self.max_retries, error)
                await asyncio.sleep(self.retry_delay_seconds * attempt)

    async def _wait_for_turn(self) -> None:
        if self.min_interval_seconds <= 0:
            return
        async with self._lock:
            wait = self._last_request + self.min_interval_seconds - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            self._last_request = time.monotonic()
