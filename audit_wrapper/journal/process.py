"""The journals this process has open, and what becomes of them in a forked child.

A child that wrote to a file of its parent would make two entries of one number. So in the child the journal refuses
every use; a child that trades opens one of its own, in another folder.
"""

import os
import weakref
from typing import Protocol


class OpenJournal(Protocol):
    """What a fork needs of a journal."""

    def disown(self) -> None: ...


_open: "weakref.WeakSet[OpenJournal]" = weakref.WeakSet()


def opened(journal: OpenJournal) -> None:
    _open.add(journal)


def closed(journal: OpenJournal) -> None:
    _open.discard(journal)


def _after_fork_in_child() -> None:
    for journal in list(_open):
        journal.disown()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
