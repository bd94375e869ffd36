"""What stands in the place of the delivery in a bot that delivers in a process of its own (setting `delivery`).

The process is started, heard, started again when it dies, and ended with the trail; what it does is `following`. Where a bot cannot
start one, the same is done on a thread.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import cast

import msgspec

from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.failures import Failures, sentence_of
from audit_wrapper.following import Delivered, Errand, Failed, Follower, Letter, Logged, Marked, Reached
from audit_wrapper.handed import GIVE_UP_S, LOOK_EVERY_S, Handed
from audit_wrapper.journal import Journal
from audit_wrapper.logs import Log, pass_on
from audit_wrapper.mark import STALE_S
from audit_wrapper.metrics import Counts
from audit_wrapper.settings import Settings
from audit_wrapper.spawning import unforked

logger = Log("audit_wrapper")

_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0  # before a process that died is started again; doubled each time
_STEADY_S = 30.0  # one that lived this long did not die of how it was started
_TRIES = 3  # that end without a word, until there will be none
_LAST_WORDS = 3  # lines of what it wrote to stderr
_PYTHON = re.compile(r"(python|pypy|graalpy)", re.IGNORECASE)
# -P, and sys.path handed over: what the bot imports is what the process imports. It reads byte by byte, so that nothing behind
# the line is taken.
_CODE = (
    "import io, json, sys; sys.path[:] = json.loads(io.FileIO(0, closefd=False).readline()); "
    "from audit_wrapper.following import main; main()"
)
_SILENT = f"the process that delivers has said nothing for {STALE_S:g} seconds; what is recorded is safe in the journal"
_LOOK_S = 0.01
_Counted = Callable[[Counts, float], None]
_News = Marked | Reached | Failed | None


class Attended(Handed):
    """As `Handed`, with a process that it starts itself. database: where that delivers to, without the password; None: not known yet."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        failures: Failures,
        tend: Callable[[], None],
        beat: Callable[[], None] | None,
        damaged: Callable[[str], None],
        opened_at: datetime | None,
        counted: _Counted | None,
    ) -> None:
        super().__init__(journal, failures, tend, beat, damaged, opened_at)
        self.state = "starting"
        self._letters: queue.SimpleQueue[_News] = queue.SimpleQueue()  # safe in signal handlers
        self._news: list[_News] = []
        self._reached = -1  # 0: there is nothing yet, and the database is there
        self._heard_at = time.monotonic()
        self._attendant = Attendant(settings, failures, self._letters.put, counted)

    def start(self) -> None:
        super().start()
        self._attendant.start()

    def disown(self) -> None:
        """In a forked child: let go of the pipes, or the process would not notice that the bot is gone."""
        self._attendant.disown()

    @property
    def is_this_thread(self) -> bool:
        return super().is_this_thread or self._attendant.is_this_thread

    def reached(self, seq: int) -> concurrent.futures.Future[None]:
        waiter = super().reached(seq)
        self._letters.put(None)
        return waiter

    def stop(self, timeout_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Have it deliver what is there, for `timeout_s` at the most, and end. True if all of it was."""
        try:
            until = time.monotonic() + timeout_s
            self._attendant.end()
            while self._attendant.runs and not self.is_this_thread and not unless():
                if time.monotonic() >= until + GIVE_UP_S:
                    self._attendant.kill()
                    break
                time.sleep(_LOOK_S)
        finally:
            self._stopping = True
            self._letters.put(None)
        self._await_end()
        return self._has_all()

    # -- on the thread

    def _run(self) -> None:
        _hold_back_sigpipe()
        super()._run()

    @property
    def _settled_seq(self) -> int:
        return min(self._reached, self.delivered_seq)

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._news.append(self._letters.get(timeout=seconds))

    def _has_news(self) -> bool:
        return bool(self._news or self._waiters) or not self._letters.empty()

    def _look(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._news.append(self._letters.get_nowait())
        news, self._news = self._news, []
        mark = next((one.mark for one in reversed(news) if isinstance(one, Marked)), None)
        try:
            if mark is not None:
                self._heard_at, self._is_away = time.monotonic(), False
                self.database = mark.database
                self._say(StoreUnavailable(mark.problem) if mark.problem else None, state=mark.store)
                if mark.stream == self._journal.stream:
                    self._take(mark)
        finally:
            self._reached = max(one.seq for one in (*news, Reached(self._reached)) if isinstance(one, Reached))
            for one in news:
                if isinstance(one, Failed):  # after the mark, which says how it is since
                    self._failures.note(one.kind, one.problem, one.place)
        if self._attendant.trouble is not None:
            self._heard_at = time.monotonic()
            self._say(StoreUnavailable(self._attendant.trouble))
        elif time.monotonic() - self._heard_at > STALE_S:
            self._say(StoreUnavailable(_SILENT), away=True)
            self._attendant.replace()
        if self._waiters:
            self._attendant.ask(self._waiters.furthest)

    def _note_away(self, problem: str) -> None:
        self._failures.note("delivery process", problem)


class Attendant:
    """Keeps one process going, on a thread. Hears it: what says how delivery is, is handed to `hear`; the rest is dealt with here."""

    def __init__(
        self,
        settings: Settings,
        failures: Failures,
        hear: Callable[[Marked | Reached | Failed], None],
        counted: _Counted | None,
    ) -> None:
        self.trouble: str | None = None  # why there is no process that delivers, in words
        self._errand = Errand(
            msgspec.structs.replace(settings, journal=settings.journal.absolute()),
            logger.level,
            counted is not None,
        )
        self._failures = failures
        self._hear = hear
        self._counted = counted
        self._running: _Process | Follower | None = None
        self._ending = self._is_killed = False
        self._heard_at: float | None = None  # when it was heard for the first time, of what is running
        self._here = _cannot()
        self._thread: threading.Thread | None = None
        self._has_ended = False

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="audit_wrapper-attendant", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread is not None and not self._has_ended

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller is its thread: what the process says is logged there, by handlers of the bot's."""
        return threading.current_thread() is self._thread

    def ask(self, seq: int) -> None:
        """Have it hurry, and say when everything up to `seq` is delivered. To be called again and again: the process that was
        asked may be gone."""
        running = self._running
        if running is not None and seq > running.asked and running.say(seq):
            running.asked = seq

    def end(self) -> None:
        """Have it deliver what is there, and end."""
        self._ending = True
        if self._running is not None:
            self._running.hang_up()

    def replace(self) -> None:
        """It says nothing any more: end it, so that another one begins. One that has said nothing yet may still be beginning."""
        if self._heard_at is not None and isinstance(self._running, _Process):
            self._running.kill()

    def kill(self) -> None:
        """End it, as it has not ended by itself. One that began just now is left to itself: it had no time to deliver."""
        enough_s = self._errand.settings.close_timeout_s + GIVE_UP_S
        heard_at = self._heard_at
        if isinstance(self._running, _Process) and heard_at is not None and time.monotonic() - heard_at > enough_s:
            self._is_killed = True
            self._running.kill()

    def disown(self) -> None:
        """In a forked child."""
        if self._running is not None:
            self._running.disown()

    # -- on the thread

    def _run(self) -> None:
        _hold_back_sigpipe()
        pause_s, wordless = _PAUSE_S, 0
        try:
            if self._here is not None:
                logger.warning(
                    "audit trail: delivers on a thread of the bot, since %s", self._here, event="delivers_on_thread"
                )
            while True:
                was_ending, began = self._ending, time.monotonic()
                problem = self._run_one()
                if problem is None or was_ending or self._is_killed:
                    return
                wordless = 0 if self._heard_at is not None else wordless + 1
                if wordless >= _TRIES and self._here is None:
                    self._here = problem
                    problem += "; the bot delivers on a thread of its own from now on"
                if time.monotonic() - began > _STEADY_S:
                    pause_s = _PAUSE_S
                self.trouble = f"{problem}. Nothing is lost; it begins again in {pause_s:g} s"
                self._failures.note("delivery process", self.trouble)
                self._sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
        finally:
            self._has_ended = True

    def _run_one(self) -> str | None:
        """Until it ends; returns why, unless it was asked to."""
        self._heard_at = None
        try:
            with unforked():
                running = self._running = (
                    _Process(self._errand, self._take) if self._here is None else Follower(self._errand, self._take)
                )
            if self._ending:
                running.hang_up()
            running.run()
        except Exception as problem:
            return str(problem) if isinstance(problem, _Ended) else sentence_of(problem)
        return None

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)

    def _take(self, letter: Letter) -> None:
        self._heard_at = self._heard_at or time.monotonic()
        match letter:
            case Marked():
                self.trouble = None
                self._hear(letter)
            case Reached() | Failed():
                self._hear(letter)
            case Delivered(counts, seconds):
                if self._counted is not None:
                    self._counted(counts, seconds)
            case Logged(name, level, words, fields):
                pass_on(name, level, words, fields)


class _Ended(Exception):
    """The process has ended, and nobody had asked it to. The message is a sentence."""


class _Process:
    """One process, with the pipes to it and from it. Made under `unforked`, so that no forked child has them without knowing."""

    def __init__(self, errand: Errand, tell: Callable[[Letter], None]) -> None:
        self.asked = -1
        self._errand = errand
        self._tell = tell
        self._lock = (
            threading.Lock()
        )  # a pipe that is closed while another thread writes: the number may be another file's
        self._has_errand = self._is_hung_up = False
        self._process = subprocess.Popen(  # noqa: S603  # this Python
            # what it delivers is for people who look at a list of processes
            [sys.executable, *_flags(), "-P", "-c", _CODE, "audit_wrapper-delivery", str(errand.settings.journal)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
            creationflags=_WINDOWS,
        )
        self._to, self._from = cast("FileIO", self._process.stdin), cast("FileIO", self._process.stdout)

    def say(self, seq: int) -> bool:
        """False: it cannot be told now."""
        with self._lock, contextlib.suppress(OSError, ValueError):  # it is gone, or the pipe is closed
            return self._has_errand and self._to.write(b"%d\n" % seq) is not None
        return False

    def hang_up(self) -> None:
        with self._lock:
            self._is_hung_up = True
            if self._has_errand:
                self._to.close()

    def kill(self) -> None:
        self._process.kill()

    def disown(self) -> None:
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()  # without the lock, which may be held for ever by a thread that is not here

    def run(self) -> None:
        """Hear it until it ends. Raises _Ended if nobody had asked it to, or it did not end well."""
        words: deque[str] = deque(maxlen=_LAST_WORDS)
        try:
            with contextlib.suppress(OSError):  # it is gone already
                self._begin()
            for line in self._lines():
                try:
                    letter = msgspec.json.decode(line, type=Letter)
                except msgspec.MsgspecError:
                    words.append(line.decode("utf-8", "replace").strip())
                else:
                    self._tell(letter)
        finally:
            with self._lock:
                self._to.close()
            self._from.close()
            code = self._waited()
        if code or not self._is_hung_up:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise _Ended(f"process {self._process.pid} has ended: {'; '.join((how, *filter(None, words)))}")

    def _begin(self) -> None:
        path = [os.path.abspath(one) for one in sys.path if isinstance(one, str)]
        line = msgspec.json.encode(self._errand, enc_hook=str)
        whole = json.dumps(path).encode() + b"\n" + line + b"\n"
        while whole:
            whole = whole[self._to.write(whole) or 0 :]
        if sys.platform != "win32":
            os.set_blocking(self._to.fileno(), False)
        with self._lock:
            self._has_errand = True
            if self._is_hung_up:
                self._to.close()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while piece := self._from.read(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        if rest:
            yield rest

    def _waited(self) -> int:
        try:
            return self._process.wait(GIVE_UP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


_WINDOWS = 0
if sys.platform == "win32":
    _WINDOWS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW


def _cannot() -> str | None:
    """Why no Python can be started here, in words: what would be started then may be the bot itself once more."""
    if getattr(sys, "frozen", False):
        return "this program was frozen: there is no Python beside it to start"
    if not sys.executable or not _PYTHON.match(Path(sys.executable).name):
        return f"sys.executable is {sys.executable!r}, which is no Python that could be started"
    return None


def _flags() -> list[str]:
    """With which this Python was started: -I, -X utf8 and so on."""
    return list(getattr(subprocess, "_args_from_interpreter_flags", list)())  # as multiprocessing does


def _hold_back_sigpipe() -> None:
    """From this thread, which writes to a process that may be gone: a bot that has set SIGPIPE to its default would die of it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
