"""What delivers for a bot that starts a process of its own for it (setting `delivery`), and what it says to the bot.

It is a `Sidecar` of one run of one bot. On its standard input the process hears what to do: a line with `sys.path`, one with the
errand, then numbers of records that somebody waits for. When that ends, the bot has closed its trail, or is gone, however it died:
what is in the journal is delivered, for `close_timeout_s` at the most, and the process ends. On its standard output it says
letters, one a line.

Nothing else ends it but SIGKILL. A terminal's Ctrl-C, and the SIGTERM that systemd sends to every process of a unit, are for the
bot, which may go on trading for a while.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any

import msgspec

from audit_wrapper.errors import JournalError, JournalInUse
from audit_wrapper.failures import Failures, place_of, sentence_of
from audit_wrapper.logs import FIELDS
from audit_wrapper.mark import STALE_S, Mark
from audit_wrapper.metrics import Counts, counts_of
from audit_wrapper.records import Record
from audit_wrapper.settings import Settings, from_text

_STEP_S = 0.1
_BEGIN_S = 0.01  # how often it is looked whether there is something to deliver, before there is
_NICE = 10  # where cores are few, the bot comes first; what is not delivered now is delivered later
_LOOK = -1  # no number of a record
_AGAIN_S = 2.0  # what is in the way is looked at anew


class Errand(msgspec.Struct, frozen=True):
    """What the process is to do. settings: with the whole path of the journal. log_level: what the bot's log takes. counts:
    whether the bot wants to know what was delivered, for its metrics."""

    settings: Settings
    log_level: int
    counts: bool


class Marked(msgspec.Struct, frozen=True, tag=True):
    """How far delivery is."""

    mark: Mark


class Reached(msgspec.Struct, frozen=True, tag=True):
    """Everything up to `seq` is in the store and linked as far as it can be. Comes after a mark that says so."""

    seq: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """For the bot's `Failures`. place: where it happened, for one that nobody foresaw."""

    kind: str
    problem: str
    place: str | None


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """A batch is in the store."""

    counts: Counts
    seconds: float


class Logged(msgspec.Struct, frozen=True, tag=True):
    """For the bot's log."""

    name: str
    level: int
    words: str
    fields: dict[str, Any]


Letter = Marked | Reached | Failed | Delivered | Logged
Tell = Callable[[Letter], None]


class Follower:
    """Delivers from `run` until `hang_up`, and tells the bot what there is to tell."""

    def __init__(self, errand: Errand, tell: Tell) -> None:
        from audit_wrapper.sidecar import Sidecar

        def told(records: Sequence[Record], seconds: float) -> None:
            tell(Delivered(counts_of(records), seconds))

        self.asked = -1
        self._tell = tell
        self._close_timeout_s = errand.settings.close_timeout_s
        self._commands: queue.SimpleQueue[int | Failed | None] = queue.SimpleQueue()  # None: hang up
        self._failures = _Told(self._commands.put)
        self._sidecar = Sidecar(
            msgspec.structs.replace(errand.settings, metrics="off"),
            failures=self._failures,
            told=told if errand.counts else None,
            marked=lambda mark: tell(Marked(mark)),
        )
        self._wanted: dict[int, concurrent.futures.Future[None] | None] = {}
        self._hindered_since: float | None = None
        self._step_at = 0.0

    def say(self, seq: int) -> bool:
        """Somebody waits for this one: it is to be hurried, and `Reached` to be told."""
        self._commands.put(seq)
        return True

    def hang_up(self) -> None:
        """Deliver what is there, and end."""
        self._commands.put(None)

    def disown(self) -> None:
        """In a forked child: see `Delivery.disown`."""
        self._sidecar.disown()

    def run(self) -> None:
        """Raises what ended it, if nobody hung up."""
        try:
            while (command := self._command()) is not None:
                if isinstance(command, Failed):
                    if command.kind != "writing delivered.json":  # which is what fails then
                        self._sidecar.mark_now()  # the bot shall know how it is before it hears of it
                    self._tell(command)
                elif command != _LOOK:
                    self._wanted.setdefault(command, None)
                self._step()
                self._answer()
                if self._sidecar.has_broken_down:
                    raise RuntimeError(self._sidecar.state)
            until = time.monotonic() + self._close_timeout_s
            while self._sidecar.delivery is None and time.monotonic() < until:
                self._step()
                time.sleep(_BEGIN_S)
            self._sidecar.stop(max(0.0, until - time.monotonic()))
        finally:
            while not self._commands.empty():
                if isinstance(command := self._commands.get(), Failed):
                    self._tell(command)

    def _command(self) -> int | Failed | None:
        with contextlib.suppress(queue.Empty):
            return self._commands.get(timeout=_STEP_S if self._sidecar.delivery is not None else _BEGIN_S)
        return _LOOK

    def _step(self) -> None:
        now = time.monotonic()
        if now < self._step_at:
            return
        try:
            self._sidecar.step()
            self._hindered_since = None
        except JournalError as problem:
            self._hindered_since = self._hindered_since or now
            # the process of a run that was killed may deliver until then
            if not isinstance(problem, JournalInUse) or now - self._hindered_since > self._close_timeout_s + STALE_S:
                self._step_at = now + _AGAIN_S
                self._failures.note("delivery process", problem)

    def _answer(self) -> None:
        for seq, waiter in list(self._wanted.items()):
            if waiter is None:
                waiter = self._wanted[seq] = self._sidecar.reached(seq)
                if waiter is not None and not waiter.done():
                    waiter.add_done_callback(lambda _: self._commands.put(_LOOK))
            if waiter is not None and waiter.done():
                self._wanted[seq] = None  # one that ended without it is asked for again
                if self._sidecar.delivered_seq >= seq:
                    del self._wanted[seq]
                    self._sidecar.mark_now()
                    self._tell(Reached(seq))


class _Told(Failures):
    """They are the bot's: it counts them, and logs the first of a kind."""

    def __init__(self, tell: Callable[[Failed], None]) -> None:
        super().__init__()
        self._tell = tell

    def note(self, kind: str, problem: BaseException | str, place: str | None = None) -> None:
        if kind == "journal and database differ":
            return  # the bot says so when it makes the new stream
        raised = place_of(problem)
        if raised is not None:
            place = "".join(traceback.format_exception(raised))
        self._tell(Failed(kind, sentence_of(problem), place))


# -- the process


def main() -> None:
    """The program; see the top."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):  # not SIG_IGN, which PostgreSQL's programs would inherit
            signal.signal(getattr(signal, name), lambda *_: None)
    if hasattr(os, "nice"):
        os.nice(_NICE)
    # nobody who is started from here may hold the pipes open
    letters, words = os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (1, 2):
        os.dup2(nothing, standard)
    sys.stderr = open(words, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    source = FileIO(0, closefd=False)
    errand = msgspec.json.decode(source.readline(), type=Errand, dec_hook=from_text)
    tell = _Post(letters)
    logging.basicConfig(format="%(message)s", handlers=[_Forwarding(tell)], level=errand.log_level)
    follower = Follower(errand, tell)
    threading.Thread(target=_hear, args=(source, follower), daemon=True).start()
    follower.run()


def _hear(source: FileIO, follower: Follower) -> None:
    try:
        for line in source:
            follower.say(int(line))
    finally:
        follower.hang_up()


class _Post:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, letter: Letter) -> None:
        line = msgspec.json.encode(letter, enc_hook=str) + b"\n"
        with self._lock, contextlib.suppress(OSError):  # the bot is gone
            while line:
                line = line[os.write(self._descriptor, line) :]


class _Forwarding(logging.Handler):
    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Logged(record.name, record.levelno, self.format(record), getattr(record, FIELDS, {})))
