"""`audit-wrapper doctor`: each check found to be wrong where something is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from looking import AWAY, ROOT, Here, ended, process, record
from simulated_exchange import SimulatedExchange

from audit_wrapper import AuditTrail
from audit_wrapper.command import check_here
from audit_wrapper.journal import FileJournal, layout

sys.path.insert(0, str(ROOT / "tests" / "database"))
from bouncer import PgBouncer, program

needs_bouncer = pytest.mark.skipif(program() is None, reason="pgbouncer is not installed")
KEY = "a-key-that-nobody-may-see"


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    for name in list(os.environ):
        if name.startswith("AUDIT_WRAPPER_"):
            monkeypatch.delenv(name)
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    monkeypatch.setattr(check_here, "_MOUNTS", mounts)
    monkeypatch.setattr(check_here, "_LEAST_BYTES", 0)
    return Here(capsys)


@pytest.fixture
def journal(audit_dsn: str, tmp_path: Path) -> Path:
    """One that a bot left, all delivered."""
    folder = tmp_path / "journal"
    with AuditTrail.open(audit_dsn, journal=folder, ask_exchange="off") as trail:
        record(trail, 3)
    return folder


def checks(said: Any) -> dict[str, Any]:
    return {one["name"]: one for one in said.json["checks"]}


def test_nothing_is_wrong(here: Here, journal: Path, audit_dsn: str) -> None:
    said = here("doctor", "--journal", journal, "--dsn", audit_dsn, "--json")
    found = checks(said)
    assert [one for one in found.values() if one["state"] == "wrong"] == []
    assert (said.code, said.err) == (0, "")
    expected = {"python", "ccxt", "journal", "journal head", "journal rights", "journal disk", "journal file system"}
    expected |= {"database", "database TLS", "server version", "server encoding", "server role", "pooler", "rights"}
    expected |= {"clock against the database", "schema", "views", "bot's tables", "positions"}
    assert {name for name in expected if found[name]["state"] != "ok"} == set()
    assert here("doctor", "--journal", journal, "--dsn", audit_dsn).first.startswith("NOTHING IS WRONG: ")


def test_it_says_who_holds_the_journal(here: Here, audit_dsn: str, tmp_path: Path) -> None:
    with AuditTrail.open(audit_dsn, journal=tmp_path / "j", ask_exchange="off"):
        found = checks(here("doctor", "--journal", tmp_path / "j", "--dsn", audit_dsn, "--json"))
    assert found["journal lock"]["state"] == "ok"
    assert f"held by process {os.getpid()}" in found["journal lock"]["said"]


def test_nothing_to_look_at(here: Here, tmp_path: Path) -> None:
    said = here("doctor", "--journal", tmp_path / "no", "--dsn", AWAY)
    assert said.code == 3
    assert said.first == "NEITHER A JOURNAL NOR A DATABASE CAN BE LOOKED AT"
    assert "WRONG  database: nobody@127.0.0.1:1/nothing: cannot reach" in said.out
    assert not (tmp_path / "no").exists()


def test_settings_that_cannot_be(here: Here, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_WRAPPER_DURABILTY", "power")
    found = checks(here("doctor", "--journal", journal, "--json"))
    assert "did you mean 'durability'" in found["settings"]["said"]
    monkeypatch.delenv("AUDIT_WRAPPER_DURABILTY")
    said = here("doctor", "--journal", journal, "--dsn", "mysql://x:sekret99@y/z", "--json")
    assert "dsn cannot be used" in checks(said)["database"]["said"]
    assert "sekret99" not in said.out


def test_a_database_that_is_not_utf8_and_has_no_schema(here: Here, postgres_server: Any, tmp_path: Path) -> None:
    name = f"latin_{os.getpid()}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        said = here("doctor", "--journal", tmp_path / "no", "--dsn", postgres_server.address_of(name), "--json")
    finally:
        postgres_server.drop(name)
    found = checks(said)
    assert said.code == 1
    assert found["server encoding"]["state"] == "wrong"
    assert found["schema"]["state"] == "note"
    assert found["bot's tables"]["state"] == "note"


def test_a_role_without_rights(here: Here, audit_dsn: str, postgres_server: Any, tmp_path: Path) -> None:
    role = f"reader_{os.getpid()}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    database = audit_dsn.partition("?")[0].rpartition("/")[2]
    try:
        dsn = postgres_server.address_of(database, role)
        found = checks(here("doctor", "--journal", tmp_path / "no", "--dsn", dsn, "--json"))
    finally:
        postgres_server.execute(f"DROP ROLE {role}")
    assert found["rights"]["state"] == "wrong"
    assert f"GRANT USAGE ON SCHEMA audit TO {role};" in found["rights"]["todo"]
    assert found["positions"]["state"] == "wrong"


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        ("INSERT INTO audit.migrations VALUES (99, 'later', 'x')", "wrong", "upgrade audit-wrapper"),
        ("UPDATE audit.migrations SET checksum = 'x'", "wrong", "release that made it"),
        ("DELETE FROM audit.migrations", "note", "audit-wrapper upgrade"),
    ],
)
def test_a_schema_of_another_release(
    change: str, state: str, words: str, here: Here, audit_dsn: str, postgres_server: Any, tmp_path: Path
) -> None:
    _execute(postgres_server, audit_dsn, change)
    found = checks(here("doctor", "--journal", tmp_path / "no", "--dsn", audit_dsn, "--json"))
    assert found["schema"]["state"] == state
    assert words in found["schema"]["todo"]


EARLIER, LATER, OTHER = (
    f'audit_wrapper views {release} 0123 on schema "{schema}"'
    for release, schema in ((0, "monitoring"), (99, "monitoring"), (1, "other"))
)


@pytest.mark.parametrize(
    ("change", "state", "words", "todo"),
    [
        ("DROP VIEW audit.v_latency", "wrong", "or some are missing", "audit-wrapper upgrade"),
        ("DROP VIEW audit.v_latency; DROP INDEX audit.events_called_at", "wrong", "missing", "audit-wrapper upgrade"),
        ("DROP FUNCTION audit.bot_orders() CASCADE", "wrong", "some are missing", "audit-wrapper upgrade"),
        (
            "DROP INDEX audit.events_called_at",
            "note",
            "so some answer slowly: events_called_at",
            "audit-wrapper upgrade",
        ),
        (f"COMMENT ON VIEW audit.v_latency IS '{EARLIER}'", "wrong", "another release of", "audit-wrapper upgrade"),
        (f"COMMENT ON FUNCTION audit.bot_orders() IS '{LATER}'", "note", "a newer release of", None),
        (f"COMMENT ON FUNCTION audit.bot_orders() IS '{OTHER}'", "note", 'the orders of schema "other"', None),
    ],
)
def test_views_that_are_not_as_they_should_be(
    change: str,
    state: str,
    words: str,
    todo: str | None,
    here: Here,
    audit_dsn: str,
    postgres_server: Any,
    tmp_path: Path,
) -> None:
    _execute(postgres_server, audit_dsn, change)
    said = here("doctor", "--journal", tmp_path / "no", "--dsn", audit_dsn, "--json")
    found = checks(said)["views"]
    assert found["state"] == state
    assert words in found["said"]
    assert (todo or "") in (found["todo"] or "")
    assert said.code == (1 if state == "wrong" else 0)


def test_the_bots_own_tables(here: Here, bot_dsn: str, postgres_server: Any, tmp_path: Path) -> None:
    where = ("--journal", tmp_path / "no", "--dsn", bot_dsn, "--json")
    found = checks(here("doctor", *where))
    assert found["bot's tables"]["state"] == "note"
    assert "no row is rewritten" in found["bot's tables"]["todo"]
    _execute(postgres_server, bot_dsn, "ALTER TABLE monitoring.orders ALTER COLUMN price TYPE text")
    found = checks(here("doctor", *where))
    assert found["bot's tables"]["state"] == "wrong"
    assert "ALTER TABLE monitoring.orders ALTER COLUMN price TYPE numeric" in found["bot's tables"]["todo"]


def test_secrets_are_found_and_never_shown(
    here: Here, journal: Path, audit_dsn: str, monkeypatch: pytest.MonkeyPatch, postgres_server: Any
) -> None:
    monkeypatch.setenv("BYBIT_API_KEY", KEY)
    where = ("--journal", journal, "--dsn", audit_dsn)
    found = checks(here("doctor", *where, "--json"))
    assert found["secrets in the journal"]["state"] == found["secrets in the database"]["state"] == "ok"
    with AuditTrail.open(audit_dsn, journal=journal, ask_exchange="off") as trail:
        trail._recorder.missing(f"somebody wrote {KEY}")
    said = here("doctor", *where, "--json")
    found = checks(said)
    assert said.code == 1
    assert found["secrets in the journal"]["said"].startswith("the value of BYBIT_API_KEY stands in segment-")
    assert found["secrets in the database"]["said"] == "the value of BYBIT_API_KEY stands in audit.events"
    assert KEY not in said.out + here("doctor", *where).out


def test_a_password_on_the_command_line(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = "postgresql://bot:sekret99@127.0.0.1:1/x"
    said = here("doctor", "--journal", tmp_path / "no", "--dsn", dsn, "--json")
    assert checks(said)["secrets on the command line"]["state"] == "wrong"
    assert "sekret99" not in said.out
    monkeypatch.setenv("AUDIT_WRAPPER_DSN", dsn)
    assert "secrets on the command line" not in checks(here("doctor", "--journal", tmp_path / "no", "--json"))


@pytest.mark.parametrize(
    ("mount", "state"),
    [
        ("server:/export {} nfs4 rw 0 0", "wrong"),
        ("tmpfs {} tmpfs rw 0 0", "wrong"),
        ("overlay {} overlay rw 0 0", "note"),
        ("/dev/sdb {} xfs rw 0 0", "ok"),
    ],
)
def test_what_the_journal_lies_on(mount: str, state: str, here: Here, journal: Path) -> None:
    check_here._MOUNTS.write_text(f"/dev/sda1 / ext4 rw 0 0\n{mount.format(journal)}\n")
    assert checks(here("doctor", "--journal", journal, "--json"))["journal file system"]["state"] == state


def test_a_full_disk(here: Here, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_here, "_LEAST_BYTES", 10**18)
    assert checks(here("doctor", "--journal", journal, "--json"))["journal disk"]["state"] == "wrong"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_of_somebody_else(here: Here, journal: Path) -> None:
    journal.chmod(0o500)
    try:
        assert checks(here("doctor", "--journal", journal, "--json"))["journal rights"]["state"] == "wrong"
    finally:
        journal.chmod(0o700)


def test_who_else_may_read_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o700)
    assert not check_here._others_can_read(folder)
    for path in (folder, tmp_path):
        path.chmod(0o755)
    parents = [path for path in folder.parents if not path.stat().st_mode & 0o001]
    assert check_here._others_can_read(folder) == (not parents)


def test_a_damaged_head_and_files_set_aside(here: Here, tmp_path: Path) -> None:
    opened = FileJournal.open(tmp_path / "j")
    opened.append(b"no record")
    opened.close()
    (tmp_path / "j" / f"segment-{1:020d}.journal{layout.DAMAGED}").write_text("x")
    said = here("doctor", "--journal", tmp_path / "j", "--json")
    found = checks(said)
    assert said.code == 1
    assert (found["journal head"]["state"], found["journal damage"]["state"]) == ("wrong", "wrong")


def test_versions_of_ccxt(here: Here, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_here, "version", lambda name: "4.9.9")
    assert checks(here("doctor", "--journal", journal, "--json"))["ccxt"]["state"] == "note"


@pytest.mark.parametrize(("off_ms", "state"), [(0, "ok"), (-5_000, "wrong"), (5_000, "wrong")])
def test_the_clock_of_an_exchange(
    off_ms: int, state: str, here: Here, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looking_client.py").write_text(
        "import os\nfrom simulated_exchange import async_client_for\n"
        "def client():\n    return async_client_for('bybit', os.environ['SIM_URL'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with SimulatedExchange("bybit", start_time_ms=time.time_ns() // 1_000_000 + off_ms) as world:
        monkeypatch.setenv("SIM_URL", world.url)
        words = ("doctor", "--journal", journal, "--exchange", "bybit", "--client", "looking_client:client", "--json")
        found = checks(here(*words))
    sys.modules.pop("looking_client", None)
    assert found["clock against bybit"]["state"] == state, found["clock against bybit"]


def test_an_exchange_that_there_is_not(here: Here, journal: Path) -> None:
    said = here("doctor", "--journal", journal, "--exchange", "bibit")
    assert said.code == 2
    assert "ccxt knows no exchange 'bibit'" in said.err
    assert here("doctor", "--journal", journal, "--client", "a:b").code == 2


@needs_bouncer
@pytest.mark.parametrize(
    ("mode", "state", "words"),
    [
        ("session", "ok", "in session mode"),
        ("transaction", "wrong", "do not outlive a transaction"),
        ("statement", "wrong", "does not allow transactions"),
    ],
)
def test_a_pooler_in_between(mode: str, state: str, words: str, here: Here, audit_dsn: str, tmp_path: Path) -> None:
    with PgBouncer(audit_dsn, pool_mode=mode, **_forgetting()) as bouncer:
        found = checks(here("doctor", "--journal", tmp_path / "no", "--dsn", bouncer.dsn, "--json"))
        assert found["pooler"]["state"] == state, found["pooler"]
        assert words in found["pooler"]["said"]
        if mode == "transaction":
            dsn = f"{bouncer.dsn}?statement_cache_size=0"
            found = checks(here("doctor", "--journal", tmp_path / "no", "--dsn", dsn, "--json"))
            assert found["pooler"]["state"] == "ok", found["pooler"]


def _forgetting() -> dict[str, int]:
    """From 1.21 on it may keep prepared statements; here it is not to."""
    said = subprocess.run([str(program()), "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    return {"max_prepared_statements": 0} if version >= (1, 21) else {}


def test_tls() -> None:
    from audit_wrapper.command.check_database import _tls

    class Transport:
        def __init__(self, is_on: bool) -> None:
            self._is_on = is_on

        def get_extra_info(self, name: str) -> object:
            assert name == "ssl_object"
            return object() if self._is_on else None

    class Connection:
        def __init__(self, is_on: bool) -> None:
            self._transport = Transport(is_on)

    def state(dsn: str, is_on: bool) -> str:
        return _tls(Connection(is_on), dsn).state  # type: ignore[arg-type]

    assert state("postgresql://u@db.example.com/x", False) == "wrong"
    assert state("postgresql://u@db.example.com/x", True) == "note"
    assert state("postgresql://u@db.example.com/x?sslmode=verify-full", True) == "ok"
    for local in ("127.0.0.1", "localhost", "[::1]", ""):
        assert state(f"postgresql://u@{local}/x", False) == "ok"


def test_in_a_process_of_its_own(journal: Path, audit_dsn: str) -> None:
    said = ended(process("doctor", "--json", AUDIT_WRAPPER_DSN=audit_dsn, AUDIT_WRAPPER_JOURNAL=str(journal)))
    assert said.err == ""
    assert checks(said)["server role"]["state"] == "ok"


def _execute(server: Any, dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    server.run(run())


def test_a_standby(here: Here, tmp_path: Path) -> None:
    from cluster import Cluster

    primary = Cluster.new()
    try:
        standby = primary.standby()
        try:
            said = here("doctor", "--journal", tmp_path / "no", "--dsn", standby.dsn, "--json")
        finally:
            standby.destroy()
    finally:
        primary.destroy()
    assert said.code == 1
    assert checks(said)["server role"]["state"] == "wrong"
