"""Through pgbouncer, in both of its ways to share connections, and with TLS. docs/production.md says what comes of it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bouncer import PgBouncer, program
from rig import Rig

from audit_wrapper.errors import SchemaError, SettingsError, StoreUnavailable
from audit_wrapper.settings import Settings
from audit_wrapper.store import views
from audit_wrapper.store.connection import Connections
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.store.queries import load
from audit_wrapper.tables.reader import Reader

pytestmark = pytest.mark.skipif(program() is None, reason="pgbouncer is not installed")
BOTS, ORDERS = 6, 10


async def deliver_and_read(dsn: str, journal: Any) -> None:
    """What a bot does all day: orders into the tables, and reads in between that are no transaction of their own."""
    async with PostgresStore(dsn) as store:
        for number in range(ORDERS):
            await journal.deliver(store, journal.order(f"{journal.exchange}-{number}"))
            assert await store.delivered_seq(journal.stream) == len(journal.entries)
            assert await store.count_quarantined(journal.stream) == 0
            assert len(await store.order_history(f"{journal.exchange}-{number}")) == 2


async def orders_in(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM monitoring.orders WHERE status = 'FILLED'"))


async def test_session_pooling_works_as_it_is(audit_dsn, new_journal, connection):
    with PgBouncer(audit_dsn, pool_mode="session", default_pool_size=BOTS) as bouncer:
        await asyncio.gather(*(deliver_and_read(bouncer.dsn, new_journal(f"ex{n}")) for n in range(BOTS)))
    assert await orders_in(connection) == BOTS * ORDERS


async def test_transaction_pooling_works_with_a_word_in_the_dsn(audit_dsn, new_journal, connection):
    """More bots than connections of the server's, so that these go from hand to hand."""
    with PgBouncer(audit_dsn, pool_mode="transaction", default_pool_size=2) as bouncer:
        dsn = bouncer.dsn + "?statement_cache_size=0"
        await asyncio.gather(*(deliver_and_read(dsn, new_journal(f"ex{n}")) for n in range(BOTS)))
        async with PostgresStore(dsn) as store:
            assert await store.rebuild() == BOTS * ORDERS
        async with Reader(Settings(dsn=dsn)) as reader, reader.snapshot() as con:
            assert await con.fetchval("SELECT count(*) FROM audit.events") == 2 * BOTS * ORDERS
    assert await orders_in(connection) == BOTS * ORDERS


async def test_a_schema_is_not_made_through_transaction_pooling(fresh_dsn):
    with PgBouncer(fresh_dsn, pool_mode="transaction") as bouncer:
        dsn = bouncer.dsn + "?statement_cache_size=0"
        with pytest.raises(SchemaError, match="direct connection"):
            await PostgresStore(dsn).open()
        async with PostgresStore(fresh_dsn), PostgresStore(dsn) as store:
            assert await store.rebuild() == 0


async def test_what_an_update_brings_through_transaction_pooling(
    audit_dsn, connection, journal, tmp_path, caplog, monkeypatch
):
    """Views are made anew there as anywhere; their indexes are not begun, and nothing stays behind on the server's connection."""
    monkeypatch.setattr(views, "_said", set())
    await connection.execute("DROP VIEW audit.v_latency; DROP INDEX audit.events_called_at")
    with PgBouncer(audit_dsn, pool_mode="transaction", default_pool_size=1) as bouncer:
        async with Rig(bouncer.dsn + "?statement_cache_size=0", tmp_path) as rig:
            rig.record(journal.order("o-1"))
            await rig.arrived()
            await rig.until(lambda: "audit-wrapper upgrade --dsn" in caplog.text)
            assert rig.trail.status().failures == {}
        other = await asyncpg.connect(bouncer.dsn, statement_cache_size=0)
        assert await other.fetchval("SHOW lock_timeout") == "0"
        assert await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        await other.close()
    assert "they cannot be built through a pooler by transaction" in caplog.text
    sql = load("monitoring", "positions")
    assert await views.problem(connection, sql, "monitoring") == (
        "their indexes on audit.events are missing, so some answer slowly: events_called_at"
    )


async def test_transaction_pooling_without_the_word_is_an_error(audit_dsn, new_journal):
    with PgBouncer(audit_dsn, pool_mode="transaction", default_pool_size=2) as bouncer:
        done = await asyncio.gather(
            *(deliver_and_read(bouncer.dsn, new_journal(f"ex{n}")) for n in range(BOTS)), return_exceptions=True
        )
    problems = [problem for problem in done if problem is not None]
    assert problems
    assert any(isinstance(problem, StoreUnavailable) and "prepared statement" in str(problem) for problem in problems)
    # the words of asyncpg lead to the remedy
    assert any("pgbouncer" in str(problem) and "statement_cache_size" in str(problem) for problem in problems)


async def test_statement_pooling_is_refused(audit_dsn, journal, connection):
    refused = pytest.raises(StoreUnavailable, match="not allowed in statement pooling mode")
    with PgBouncer(audit_dsn, pool_mode="statement") as bouncer, refused:
        await deliver_and_read(bouncer.dsn + "?statement_cache_size=0", journal)
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 0


async def test_a_trail_holds_one_connection(audit_dsn, journal, connection, tmp_path):
    """So many connections of the server's does session pooling need for it."""
    with PgBouncer(audit_dsn, pool_mode="session", default_pool_size=1) as bouncer:
        async with Rig(bouncer.dsn, tmp_path) as rig:
            for number in range(5):
                rig.record(journal.order(f"o-{number}"))
                await rig.arrived()
            held = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'audit_wrapper' AND datname = current_database()"
            )
    assert held == 1
    assert await orders_in(connection) == 5


async def test_what_is_not_in_a_transaction_stays_whole(audit_dsn):
    """A statement and its values are two messages: between the two, no other client may get the server's connection."""
    with PgBouncer(audit_dsn, pool_mode="transaction", default_pool_size=1) as bouncer:
        connections = Connections(bouncer.dsn + "?statement_cache_size=0", 60.0)
        await connections.open()

        async def ask(number: int) -> None:
            for _ in range(50):
                async with connections.use("ask") as con:
                    assert await con.fetchval(f"SELECT $1::int + {number}", number) == 2 * number
                    assert (await con.fetchrow("SELECT $1::text AS it", str(number)))["it"] == str(number)
                    assert [row[0] for row in await con.fetch("SELECT $1::int", number)] == [number]
                    assert await con.execute(f"SELECT $1::int, {number}", number) == "SELECT 1"

        try:
            await asyncio.gather(*map(ask, range(4)))
        finally:
            await connections.close()


async def test_other_settings_of_the_dsn_stay(audit_dsn):
    with PgBouncer(audit_dsn, pool_mode="transaction") as bouncer:
        connections = Connections(bouncer.dsn + "?application_name=mine&statement_cache_size=0&sslmode=disable", 60.0)
        await connections.open()
        async with connections.use("ask") as con:
            assert await con.fetchval("SHOW timezone") == "UTC"
        await connections.close()


def test_another_size_of_the_cache_is_refused():
    with pytest.raises(SettingsError, match="statement_cache_size can only be 0"):
        PostgresStore.check_dsn("postgresql://bot@localhost/bot?statement_cache_size=100")


# -- TLS: the server that the package brings can do none, so pgbouncer speaks it


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of one's own, and a certificate of it for the name `localhost`, not for the address 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    new = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    authority = ["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=an authority"]
    server = [
        "-keyout",
        "server.key",
        "-out",
        "server.crt",
        "-subj",
        "/CN=localhost",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
    ]
    name = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    for how in (authority, server + name):
        subprocess.run([*new, *how], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def with_tls(audit_dsn: str, certificates: Path) -> Iterator[PgBouncer]:
    bouncer = PgBouncer(audit_dsn, pool_mode="session", client_tls_sslmode="require")
    files = {"client_tls_key_file": "server.key", "client_tls_cert_file": "server.crt"}
    with open(bouncer.home / "pgbouncer.ini", "a", encoding="utf-8") as ini:
        for setting, file in files.items():
            copy = Path(shutil.copy(certificates / file, bouncer.home))
            if bouncer.as_user:
                shutil.chown(copy, bouncer.as_user["user"])
            ini.write(f"{setting} = {copy}\n")
    with bouncer:
        yield bouncer


async def test_verify_full(with_tls, certificates, journal, connection):
    address = with_tls.dsn.replace("127.0.0.1", "localhost")
    await deliver_and_read(f"{address}?sslmode=verify-full&sslrootcert={certificates / 'ca.crt'}", journal)
    assert await orders_in(connection) == ORDERS


@pytest.mark.parametrize(
    ("host", "authority", "problem"),
    [("127.0.0.1", "ca.crt", "IP address mismatch"), ("localhost", "other.crt", "certificate verify failed")],
    ids=["another name", "another authority"],
)
async def test_verify_full_refuses(with_tls, certificates, host, authority, problem, new_journal):
    if authority == "other.crt":
        shutil.copy(certificates / "server.crt", certificates / "other.crt")
    dsn = with_tls.dsn.replace("127.0.0.1", host)
    with pytest.raises(StoreUnavailable, match=problem) as caught:
        await deliver_and_read(f"{dsn}?sslmode=verify-full&sslrootcert={certificates / authority}", new_journal())
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_require_takes_any_certificate_and_disable_is_refused(with_tls, journal):
    await deliver_and_read(f"{with_tls.dsn}?sslmode=require", journal)
    with pytest.raises(StoreUnavailable, match="SSL required"):
        await deliver_and_read(f"{with_tls.dsn}?sslmode=disable", journal)
