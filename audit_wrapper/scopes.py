"""Where a call stands: which operation it belongs to, which position, and whether we are to look away.

All of it is held in context variables, so that it follows `await`, and `gather` gives each task its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from audit_wrapper.reading import compact
from audit_wrapper.records import Operation, PositionLink, Purpose, uuid7
from audit_wrapper.stamping import Stamps


class _Inside(NamedTuple):
    """One scope inside another; held by the context, so that one scope object may be entered by several tasks."""

    link: PositionLink
    outer: _Inside | None


_suppressed: ContextVar[bool] = ContextVar("audit_wrapper_suppressed", default=False)
_asking: ContextVar[bool] = ContextVar("audit_wrapper_asking", default=False)
_position: ContextVar[_Inside | None] = ContextVar("audit_wrapper_position", default=None)
_created: ContextVar[PositionLink | None] = ContextVar("audit_wrapper_created", default=None)


class Story:
    """One operation of the bot, from its outermost call: what all its records share."""

    _operation: Operation | None = None
    _stamps: Stamps | None = None

    def __init__(self, method: str | None, purpose: Purpose | None, position: PositionLink | None) -> None:
        self.method = method
        self.purpose = purpose
        self.position = position
        self.canceled: list[str] = []  # what was canceled so far (`routing.name_of`), for a stop that takes its place

    def operation(self) -> Operation:
        """What its records say of it. Made with the first of them: most stories are reads, and have none."""
        if self._operation is None:
            made = Operation(correlation_id=uuid7(), method=self.method, purpose=self.purpose)
            vars(self).setdefault("_operation", made)  # of two threads at once, one
        return self._operation  # type: ignore[return-value]

    @property
    def stamps(self) -> Stamps:
        """The client order ids that its requests were given."""
        if self._stamps is None:
            vars(self).setdefault("_stamps", Stamps())  # as above
        return self._stamps  # type: ignore[return-value]


class PositionScope:
    """`with trail.position(id=55, signal_id=7):` links every order inside to that position. Also `async with`."""

    def __init__(self, link: PositionLink) -> None:
        self._link = link

    def __enter__(self) -> Self:
        _position.set(_Inside(self._link, _position.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside = _position.get()
        _position.set(inside.outer if inside is not None else None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, problem, trace)


# Whether the present context is one of `suppressed()`. The very method, since each call of the bot's asks several times.
is_suppressed: Callable[[], bool] = _suppressed.get


@contextmanager
def suppressed() -> Iterator[None]:
    """Inside, wrapped objects behave as if they were not wrapped (for our own reads, and a user's)."""
    token = _suppressed.set(True)
    try:
        yield
    finally:
        _suppressed.reset(token)


@contextmanager
def asking() -> Iterator[None]:
    """Inside we ask the exchange ourselves: looked away from, and at our own pace instead of the client's."""
    token = _asking.set(True)
    try:
        with suppressed():
            yield
    finally:
        _asking.reset(token)


def is_asking() -> bool:
    """Whether the present context is one of `asking()`."""
    return _asking.get()


def position_created(link: PositionLink) -> None:
    """The bot made a row for a position: orders of its symbol that follow in this task belong to it."""
    _created.set(link)


def position_closed(position_id: str) -> None:
    """The bot's row is done with; what follows in this task is no longer its own."""
    link = _created.get()
    if link is not None and link.position_id == position_id:
        _created.set(None)


def position_for(story: Story | None, exchange: str | None, symbol: str | None) -> PositionLink | None:
    """The position that an order of this exchange and symbol belongs to, as far as the context tells.

    An explicit scope counts first, then the operation's own position, then a row that was seen to be made in this task.
    The latter two only where exchange and symbol agree: a link is never a guess.
    """
    scope = _position.get()
    if scope is not None and _agree(scope.link, exchange, symbol):
        return scope.link
    for link in (story.position if story is not None else None, _created.get()):
        if link is not None and link.symbol is not None and _agree(link, exchange, symbol):
            return link
    return None


def learn(story: Story, link: PositionLink) -> None:
    """The operation's position got its id."""
    known = story.position
    if known is None:
        story.position = link
        return
    story.position = msgspec.structs.replace(
        known,
        position_id=link.position_id,
        signal_id=known.signal_id if known.signal_id is not None else link.signal_id,
    )


def _agree(link: PositionLink, exchange: str | None, symbol: str | None) -> bool:
    if link.exchange is not None and exchange is not None and link.exchange.lower() != exchange.lower():
        return False
    if link.symbol is None or symbol is None:
        return link.symbol is None or symbol is not None
    return compact(link.symbol) == compact(symbol)
