"""How a command speaks: results on stdout, everything else on stderr, and never a secret of the client's."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import select
import sys
import time
from collections.abc import Iterable
from typing import Any

# what a terminal may take for a command, or shows in another order than it stands (in JSON the rest is escaped already)
_STEERING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]")


class Unwritable(Exception):
    """stdout takes nothing more: the disk behind it is full, it is closed, or nobody has the other end of the pipe any more. No
    OSError, which others would take for one of the database's."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(f"stdout cannot be written: {problem.strerror or problem}")
        self.problem = problem


class Voice:
    """`secrets`: words that are never said. `said_at`: when something was said last, by `time.monotonic`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = list(secrets)
        self.said_at = time.monotonic()

    def say(self, text: str) -> None:
        """To the person. No control character of somebody else's reaches the terminal."""
        self.said_at = time.monotonic()
        if sys.stderr is not None:
            with contextlib.suppress(OSError):  # there is nobody left to tell
                print(_writable(harmless(self._without_secrets(text)), sys.stderr), file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """To whoever reads the result. Raises Unwritable."""
        try:
            print(_writable(self._without_secrets(text), sys.stdout), flush=True)
        except BrokenPipeError:  # `| head` has seen enough; what was recorded is still delivered
            hush()
        except OSError as problem:
            raise Unwritable(problem) from problem

    def show_json(self, data: Any, *, indent: int | None = 2) -> None:
        """The same, as JSON: also where somebody reads it on a terminal. Raises Unwritable."""
        text = json.dumps(data, indent=indent, ensure_ascii=not _is_unicode(sys.stdout))
        self.show(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class StdoutBytes(io.RawIOBase):
    """stdout for a file's bytes. What cannot be written raises Unwritable."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """All of it."""
        try:
            return int(sys.stdout.buffer.write(data))
        except OSError as problem:
            raise Unwritable(problem) from problem

    def flush(self) -> None:
        """To its end."""
        try:
            sys.stdout.flush()
        except OSError as problem:
            raise Unwritable(problem) from problem


class _Closed(io.TextIOWrapper):
    """In the place of a stdout that was closed before we began (`>&-`)."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    @property
    def buffer(self) -> Any:
        """There is none."""
        raise OSError(errno.EBADF, "it is closed")

    def write(self, text: str) -> int:
        """Nobody would read it."""
        raise OSError(errno.EBADF, "it is closed")


def stand_in() -> None:
    """Where Python found stdout closed, have what is written to it fail, rather than go nowhere and be called fine."""
    if sys.stdout is None:
        sys.stdout = _Closed()


def harmless(text: str) -> str:
    """With every character that a terminal does not print written as an escape; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


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
    with contextlib.suppress(OSError, ValueError):  # a stdout of a test's, or none at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _writable(text: str, stream: Any) -> str:
    """As the stream can hold it: a character that its encoding has not is written as an escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _is_unicode(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
