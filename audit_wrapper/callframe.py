"""Where a call stands among those around it: frames nest as the bot's calls do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from audit_wrapper import calls
from audit_wrapper.exchanges.numbers import decimal_of
from audit_wrapper.records import Call, Market, PositionLink, Purpose, Record, Response, Seam
from audit_wrapper.scopes import Story
from audit_wrapper.stamping import Use

# Names of their own: each lookup in an enum takes 0.15 microseconds in Python 3.11, and a call makes thirty.
_MANAGER, _CLIENT, _CANCEL = Seam.MANAGER, Seam.CLIENT, Purpose.CANCEL
_OPENING_SIDE = {"long": "buy", "buy": "buy", "short": "sell", "sell": "sell"}


class Subject(Protocol):
    """What the recorder needs to know of the object a call was made on."""

    @property
    def target(self) -> str:
        """Its class's name."""
        ...

    @property
    def exchange(self) -> str | None:
        """The exchange's name as the bot spells it."""
        ...

    @property
    def transport(self) -> bool:
        """Whether everything it sends can be seen (for a manager: whether its client can)."""
        ...

    def market(self, symbol: object, params: object) -> Market | None:
        """What is known of the instrument that a call names."""
        ...


class Attempt:
    """One HTTP request. `answered_at`, `duration_us`: when it ended, and how long that took; None while it is under way."""

    __slots__ = ("_left_ns", "answered_at", "direct", "duration_us", "intent", "response")

    def __init__(self, intent: Record, direct: Frame | None = None) -> None:
        self.intent = intent
        self.direct = direct  # its own frame, where the client's `fetch` was called past its `request`
        self.response: Response | None = None
        self.answered_at: datetime | None = None
        self.duration_us: int | None = None
        self._left_ns: int | None = None

    def left(self) -> None:
        """It leaves now."""
        self._left_ns = time.perf_counter_ns()

    def ended(self) -> None:
        """It was answered, or failed."""
        if self._left_ns is not None and self.duration_us is None:
            self.duration_us = (time.perf_counter_ns() - self._left_ns) // 1_000
            self.answered_at = now()


class Frame:
    """One observed call, from its beginning to its end."""

    # What most calls never set is the class's: made for every call of the bot's, a frame should cost little.
    stamp: Use | None = None  # the client order ids that its request was given
    ended = False
    counts = True  # whether it is an order call that is under way
    arguments: Mapping[str, object] = MappingProxyType({})
    call: Call | None = None
    meant: Call | None = None  # the nearest call of the bot's own around one that is none
    symbol: str | None = None
    intent: Record | None = None
    attempts = 0
    evidence = 0  # records that this call and those within it left
    token: Any = None

    def __init__(self, seam: Seam, row: calls.CallRow, subject: Subject, around: Frame | None) -> None:
        # what a call started in the background outlives it: it belongs to its story, and is a call of its own
        parent = around if around is not None and not around.ended else None
        self.seam = seam
        self.row = row
        self.subject = subject
        self.parent = parent
        self.story: Story = around.story if around is not None else Story(row.method, row.purpose, None)
        self.called_at = now()
        self.pending: list[Attempt] = []
        # what it is for, as the nearest call says it; that it cancels says less than what it cancels for
        self._purpose = row.purpose if row.purpose is not _CANCEL else None
        self.muted = False
        self._symbol_above: str | None = None
        if parent is not None:
            if self._purpose is None:
                self._purpose = parent._purpose
            if seam is not _MANAGER:
                self.meant = parent.call if parent.seam is _MANAGER else parent.meant
            self.muted = parent.muted or parent.intent is not None
            self._symbol_above = parent._symbol_above or parent.symbol

    @property
    def client_above(self) -> Frame | None:
        """The client's method around this, if that is the nearest."""
        parent = self.parent
        return parent if parent is not None and parent.seam is _CLIENT else None

    @property
    def meant_symbol(self) -> str | None:
        """The symbol as the outermost call that names one spells it."""
        return self._symbol_above or self.symbol

    @property
    def purpose(self) -> Purpose | None:
        """What the nearest call says that it is for."""
        return self._purpose or self.row.purpose

    @property
    def opened_position(self) -> PositionLink | None:
        """What the keywords of `open_position_atomic` say of the position it opens."""
        if self.row.method != "open_position_atomic":
            return None
        given = self.arguments
        signal, exchange, symbol = given.get("signal_id"), given.get("exchange"), given.get("symbol")
        return PositionLink(
            signal_id=signal if isinstance(signal, int) else None,
            exchange=exchange if isinstance(exchange, str) else None,
            symbol=symbol if isinstance(symbol, str) else None,
            side=opening_side(given.get("side")),
            how="atomic",
            intended_price=decimal_of(given.get("entry_price")),
            intended_stop=decimal_of(given.get("stop_loss_price")),
        )


def opening_side(word: object) -> str | None:
    """The side, buy or sell, that opens a position; bots write long, LONG, buy, BUY."""
    return _OPENING_SIDE.get(word.lower()) if isinstance(word, str) else None


def now() -> datetime:
    """The time, in UTC, to the microsecond."""
    return datetime.now(UTC)
