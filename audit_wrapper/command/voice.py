"""How a command speaks: results on stdout, everything else on stderr, and never a secret of the client's."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable


class Voice:
    """`secrets`: words that are never said. `said_at`: when something was said last, by `time.monotonic`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = list(secrets)
        self.said_at = time.monotonic()

    def say(self, text: str) -> None:
        """To the person."""
        self.said_at = time.monotonic()
        print(self._without_secrets(text), file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """To whoever reads the result."""
        try:
            print(self._without_secrets(text), flush=True)
        except BrokenPipeError:  # `| head` has seen enough; what was recorded is still delivered
            hush()

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def is_unread() -> bool:
    """Whether stdout is a pipe of which nobody has the other end any more."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    if not hasattr(select, "poll"):  # Windows: not to be told
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def hush() -> None:
    """Nobody reads stdout any more: let what is still written to it go nowhere, also what Python flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
