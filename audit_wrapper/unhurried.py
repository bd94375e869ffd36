"""Long work in small pieces, so that the bot's own threads come to their turn in between.

Python runs one thread at a time. A thread that wants to go on waits up to five milliseconds for another one that
computes, each time, and longer for one that is inside a function of C. Delivery computes a lot when there is a backlog, and the
bot's event loop would be late by that much after everything it awaits.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_EVERY_S = 0.001
_PAUSE_S = 0.000_05  # nothing shorter is sure to let another thread in: it has to wake up first
_T = TypeVar("_T")

_paused_at = 0.0


def unhurried(items: Iterable[_T]) -> Iterator[_T]:
    """The same, with a pause of this thread between two of them about every millisecond."""
    global _paused_at
    for item in items:
        yield item
        if time.monotonic() - _paused_at > _EVERY_S:
            time.sleep(_PAUSE_S)
            _paused_at = time.monotonic()
