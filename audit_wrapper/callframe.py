"""Where a call stands among those around it: frames nest as the bot's calls do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from audit_wrapper import calls
from audit_wrapper.exchanges.numbers import decimal_of
from audit_wrapper.records import Call, Market, PositionLink, Purpose, Record, Response, Seam
from audit_wrapper.scopes import Story
from audit_wrapper.stamping import Stamps, Use

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

    __slots__ = (
        "arguments", "attempts", "call", "called_at", "counts", "ended", "evidence", "intent", "meant", "muted", "parent", "pending",
        "row", "seam", "stamp", "stamps", "story", "subject", "symbol", "token",
    )  # fmt: skip

    def __init__(self, seam: Seam, row: calls.CallRow, subject: Subject, around: Frame | None) -> None:
        # what a call started in the background outlives it: it belongs to its story, and is a call of its own
        parent = around if around is not None and not around.ended else None
        self.seam = seam
        self.row = row
        self.subject = subject
        self.parent = parent
        self.story: Story = around.story if around is not None else Story(row.method, row.purpose, None)
        self.stamps: Stamps = around.stamps if around is not None else Stamps()
        self.stamp: Use | None = None  # the client order ids that its request was given
        self.ended: bool = False
        self.counts = True  # whether it is an order call that is under way
        self.arguments: Mapping[str, object] = {}
        self.call: Call | None = None
        self.meant: Call | None = None
        self.symbol: str | None = None
        self.called_at = now()
        self.intent: Record | None = None
        self.pending: list[Attempt] = []
        self.attempts = 0
        self.evidence = 0  # records that this call and those within it left
        self.muted: bool = parent is not None and (parent.muted or parent.intent is not None)
        self.token: Any = None

    @property
    def client_above(self) -> Frame | None:
        """The client's method around this, if that is the nearest."""
        parent = self.parent
        return parent if parent is not None and parent.seam is Seam.CLIENT else None

    @property
    def manager_above(self) -> Call | None:
        """The nearest call of the bot's own around this."""
        at = self.parent
        while at is not None:
            if at.seam is Seam.MANAGER:
                return at.call
            at = at.parent
        return None

    @property
    def meant_symbol(self) -> str | None:
        """The symbol as the outermost call that names one spells it."""
        found, at = self.symbol, self.parent
        while at is not None:
            found = at.symbol or found
            at = at.parent
        return found

    @property
    def purpose(self) -> Purpose | None:
        """What the nearest call says that it is for; that it cancels says less than what it cancels for."""
        at: Frame | None = self
        while at is not None:
            if at.row.purpose is not None and at.row.purpose is not Purpose.CANCEL:
                return at.row.purpose
            at = at.parent
        return self.row.purpose

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
    return datetime.fromtimestamp(time.time_ns() / 1e9, UTC)
