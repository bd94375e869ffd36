"""Durability "power": what is recorded is on the disk itself before a request leaves, without holding up the bot's loop.

A synchronous call waits for the disk. A coroutine awaits it, so that other coroutines of the bot go on, and the requests
of several that come at the same time share one wait. The outcome of a coroutine's call is forced behind its back: to make
it wait once more, after the exchange has answered, would give a cancellation one more place to come in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from audit_wrapper.failures import Failures
from audit_wrapper.journal import Journal


class Forcing:
    """Of one trail. None of its methods raises because of the disk: what it refuses is counted."""

    def __init__(self, journal: Journal, failures: Failures) -> None:
        self._failures = failures
        self.use_journal(journal)

    def use_journal(self, journal: Journal) -> None:
        """From now on that one; with a thread of its own, since a forked child has not got the parent's."""
        self._journal = journal
        self._worker = ThreadPoolExecutor(1, "audit_wrapper-force")

    def now(self) -> None:
        """Wait until the disk has it."""
        try:
            self._journal.force()
        except Exception as problem:  # inside a trade; the record is written, and survives all but the loss of power
            self._failures.note("forcing the journal to disk", problem)

    async def soon(self) -> None:
        """The same for a coroutine."""
        if self._journal.is_forced:
            return
        try:
            forced = asyncio.get_running_loop().run_in_executor(self._worker, self.now)
        except RuntimeError:  # the interpreter is about to end, and takes no more work for threads
            self.now()
            return
        await forced

    def behind(self) -> None:
        """Let it be done; nobody waits."""
        if not self._journal.is_forced:
            with contextlib.suppress(RuntimeError):  # as above; closing the journal forces it too
                self._worker.submit(self.now)
