"""A sign of life in the journal's folder, for whoever looks in from outside: `status.json`, replaced as a whole.

Written by the thread that delivers, about every two seconds and at the close; never on the order path.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from audit_wrapper.failures import Failures
from audit_wrapper.journal import layout
from audit_wrapper.status import Status


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What one sign of life says.

    status: as of then. pid, host: of the process that has the journal. written_at, opened_at: UTC. account, delivery: as in the
    settings. version, python: of the library and of Python; None: not known. closed: whether the trail was closed since.
    """

    status: Status
    pid: int
    host: str
    written_at: datetime
    opened_at: datetime
    account: str
    delivery: str
    version: str | None
    python: str
    closed: bool


class Heartbeat:
    """Writes it. One that cannot be written is noted once and harms nobody."""

    def __init__(
        self, folder: Path, status: Callable[[], Status], failures: Failures, *, account: str, delivery: str
    ) -> None:
        self._folder = folder
        self._status = status
        self._failures = failures
        self._account, self._delivery = account, delivery
        self.opened_at = datetime.now(UTC)
        self._version = installed_version()
        self._failed = False

    def beat(self, *, closed: bool = False) -> None:
        """Write it now. Never raises."""
        try:
            beat = Beat(
                status=self._status(),
                pid=os.getpid(),
                host=socket.gethostname(),
                written_at=datetime.now(UTC),
                opened_at=self.opened_at,
                account=self._account,
                delivery=self._delivery,
                version=self._version,
                python=platform.python_version(),
                closed=closed,
            )
            layout.put(self._folder / layout.HEARTBEAT, msgspec.json.encode(beat), lasting=False)
        except Exception as problem:
            if (
                not self._failed
            ):  # it comes every two seconds, and its trouble is the disk's, of which the journal tells
                self._failed = True
                self._failures.note("writing status.json", problem)


def last_beat(folder: Path) -> Beat | None:
    """The last sign of life in `folder`; None: there is none that can be read."""
    try:
        return msgspec.json.decode((folder / layout.HEARTBEAT).read_bytes(), type=Beat)
    except (OSError, msgspec.MsgspecError):
        return None


def installed_version() -> str | None:
    """Of this library; None where it was not installed as a package."""
    try:
        return version("audit-wrapper")
    except PackageNotFoundError:
        return None
