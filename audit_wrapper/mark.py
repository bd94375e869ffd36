"""What a sidecar tells the bot beside it: `delivered.json` in the journal's folder, replaced as a whole.

Losing it loses nothing: the database knows better, and the sidecar writes it again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from audit_wrapper.journal import layout

STALE_S = 15.0  # without a new mark for so long, there is no sidecar


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sidecar is.

    stream, delivered_seq: everything up to there is in the store; as in `Journal`. quarantined: as in `Status`. store: what
    its delivery is doing, in words. problem: why it does not deliver; None: it does. branch_after: the store has other entries
    after this one under the stream's numbers, so the journal is to `branch` there; None: it has not. opened_at: the run of the bot
    that it speaks to, by its sign of life; None: it has seen none. damage: what it found damaged in the journal and no run is known
    to have written down, in words. is_due: whether this run is to do it; not before it is known what an earlier one wrote.
    database: its address, without the password; None: not known yet. pid, written_at: of the sidecar.
    """

    stream: UUID
    delivered_seq: int
    quarantined: int
    store: str
    problem: str | None
    branch_after: int | None
    opened_at: datetime | None
    damage: tuple[str, ...]
    is_due: bool
    pid: int
    written_at: datetime
    database: str | None = None

    @property
    def age_s(self) -> float:
        """Seconds since it was written."""
        return (datetime.now(UTC) - self.written_at).total_seconds()

    @property
    def is_fresh(self) -> bool:
        """Whether there is a sidecar that writes it."""
        return abs(self.age_s) < STALE_S  # one of the time to come: the clock was set back since


def read_mark(folder: Path) -> Mark | None:
    """The mark in `folder`; None: there is none that can be read."""
    try:
        return msgspec.json.decode((folder / layout.MARK).read_bytes(), type=Mark)
    except (OSError, msgspec.MsgspecError):
        return None


def write_mark(folder: Path, mark: Mark) -> None:
    """Raises OSError where the folder cannot be written."""
    layout.put(folder / layout.MARK, msgspec.json.encode(mark), lasting=False)
