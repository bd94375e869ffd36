"""What docs/production.md says of roles, backups, standbys and what comes after one machine. The pages' SQL is run here."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cluster import _BIN, Cluster
from rig import Rig

from audit_wrapper.errors import SchemaError, StoreUnavailable
from audit_wrapper.settings import Settings
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.tables.reader import Reader

PAGE = Path(__file__).resolve().parents[2] / "docs" / "production.md"
BOTS_TABLES = Path(__file__).resolve().parents[2] / "examples" / "bot" / "database" / "schema.sql"


def sql(mark: str) -> str:
    """A block of SQL of the page."""
    (block,) = re.findall(rf"<!-- {mark} -->\n```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


async def run_as(dsn: str, script: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


# -- roles


class Roles:
    """The two roles of the page, under names that no other test run has."""

    def __init__(self, server: Any, dsn: str) -> None:
        self._server, self.dsn = server, dsn
        self.database = dsn.partition("?")[0].rpartition("/")[2]
        self.writer, self.reader = f"writer_{self.database}", f"reader_{self.database}"

    async def make(self) -> None:
        """As the page says. The password is the role's name, since that is what the fixture logs in with."""
        script = sql("sql: rights").replace("audit_writer", self.writer).replace("audit_reader", self.reader)
        await run_as(self.dsn, script.replace("secret-1", self.writer).replace("secret-2", self.reader))

    def as_role(self, role: str) -> str:
        """The DSN of the same database for this role."""
        return str(self._server.address_of(self.database, role))


@pytest.fixture
def roles(postgres_server: Any, audit_dsn: str) -> Iterator[Roles]:
    made = Roles(postgres_server, audit_dsn)
    yield made
    postgres_server.drop(made.database)
    for role in (made.writer, made.reader):
        postgres_server.execute(f"DROP ROLE IF EXISTS {role}")


async def test_the_writing_role_delivers_and_links_and_changes_no_table(roles, journal, connection):
    await roles.make()
    await connection.execute(
        "INSERT INTO monitoring.positions (symbol, exchange, side, quantity, entry_price, exchange_order_id, status)"
        " VALUES ('MNTUSDT', 'kraken', 'long', 3, 0.6543, 'o-1', 'active')"
    )
    async with PostgresStore(roles.as_role(roles.writer)) as store:
        await journal.deliver(store, journal.order("o-1"))
        assert await store.rebuild() == 1
    row = await connection.fetchrow("SELECT * FROM monitoring.orders")
    assert (row["status"], row["link_how"]) == ("FILLED", "positions_table:order_id")
    for refused in (
        "DROP TABLE audit.events",
        "ALTER TABLE monitoring.orders ADD COLUMN x int",
        "CREATE TABLE audit.x ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run_as(roles.as_role(roles.writer), refused)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run_as(roles.as_role(roles.writer), "UPDATE monitoring.positions SET status = 'closed'")


async def test_the_reading_role_reads_everything_and_writes_nothing(roles, journal, store, connection):
    await journal.deliver(store, journal.order("o-1"))
    await roles.make()
    tables = await connection.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = 'audit'"
        " UNION ALL SELECT schemaname || '.' || viewname FROM pg_views WHERE schemaname = 'audit'"
    )
    names = [row["name"] for row in tables] + ["monitoring.orders", "monitoring.trades"]
    assert len(names) > 8
    async with Reader(Settings(dsn=roles.as_role(roles.reader))) as reader, reader.snapshot() as con:
        for name in names:
            await con.fetch(f"SELECT * FROM {name}")
    for name in names:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)):
            await run_as(roles.as_role(roles.reader), f"DELETE FROM {name}")
    with pytest.raises(SchemaError, match="the role lacks rights"):
        await PostgresStore(roles.as_role(roles.reader)).open()
    # what an upgrade adds can be read at once
    await connection.execute("CREATE VIEW audit.v_new AS SELECT 1 AS one")
    await run_as(roles.as_role(roles.reader), "SELECT * FROM audit.v_new")


# -- backups


def pg_dump(dsn: str, file: Path) -> None:
    subprocess.run([_BIN / "pg_dump", "--format=custom", "--file", file, dsn], check=True, capture_output=True)


def pg_restore(dsn: str, file: Path) -> None:
    subprocess.run([_BIN / "pg_restore", "--exit-on-error", "--dbname", dsn, file], check=True, capture_output=True)


async def test_a_dump_put_back_is_the_same_and_can_be_made_anew(
    store, journal, audit_dsn, new_database, connection, contents, tmp_path
):
    for entries in (journal.order("o-1"), journal.resting("o-2"), journal.rejected()):
        await journal.deliver(store, entries)
    before = await contents()
    pg_dump(audit_dsn, tmp_path / "dump")
    copy = new_database()
    pg_restore(copy, tmp_path / "dump")
    async with PostgresStore(copy) as restored:
        again = await asyncpg.connect(copy)
        try:
            assert await contents.func(again) == before
            assert await restored.rebuild() == 3
            assert await contents.func(again) == before
            views = "SELECT viewname FROM pg_views WHERE schemaname = 'audit' ORDER BY 1"
            assert await again.fetch(views) == await connection.fetch(views)
        finally:
            await again.close()


async def test_an_older_dump_is_filled_up_from_the_journal(audit_dsn, new_database, journal, tmp_path):
    folder = tmp_path / "journal"
    async with Rig(audit_dsn, folder) as rig:
        rig.record(journal.order("o-1"))
        await rig.arrived()
        await asyncio.to_thread(pg_dump, audit_dsn, tmp_path / "dump")
        rig.record(journal.order("o-2") + journal.order("o-3"))
        await rig.arrived()
    copy = new_database()
    pg_restore(copy, tmp_path / "dump")
    async with Rig(copy, folder) as rig:
        rig.record(journal.order("o-4"))
        await rig.arrived()
        connection = await asyncpg.connect(copy)
        try:
            await rig.all_there_once(connection)
            found = await connection.fetch("SELECT order_id FROM monitoring.orders ORDER BY id")
            assert [row["order_id"] for row in found] == ["o-1", "o-2", "o-3", "o-4"]
        finally:
            await connection.close()


# -- more than one machine


async def test_a_standby_can_be_read_and_is_not_delivered_to(journal):
    primary = await asyncio.to_thread(Cluster.new)
    standby = None
    try:
        async with PostgresStore(primary.dsn) as store:
            await journal.deliver(store, journal.order("o-1"))
            standby = await asyncio.to_thread(primary.standby)
            async with Reader(Settings(dsn=standby.dsn)) as reader, reader.snapshot() as con:
                assert await con.fetchval("SELECT order_id FROM monitoring.orders") == "o-1"
            with pytest.raises(StoreUnavailable, match="is a standby at present"):
                await PostgresStore(standby.dsn).open()
    finally:
        if standby is not None:
            await asyncio.to_thread(standby.destroy)
        await asyncio.to_thread(primary.destroy)


async def test_the_archive_by_time(store, journal, connection):
    await journal.deliver(store, journal.order("o-1"))
    await connection.execute("UPDATE audit.events SET stored_at = stored_at - interval '2 hours'")
    await journal.deliver(store, journal.order("o-2"))
    script = sql("sql: archive")
    await connection.execute(script)
    found = await connection.fetch("SELECT seq FROM archive ORDER BY seq")
    assert [row["seq"] for row in found] == [1, 2]  # the rest is younger than an hour
    await connection.execute("UPDATE audit.events SET stored_at = stored_at - interval '2 hours'")
    again = script[script.index("INSERT INTO") :]
    for _ in range(2):
        await connection.execute(again)
    found = await connection.fetch("SELECT seq, hash, body::text FROM archive ORDER BY seq")
    assert found == await connection.fetch("SELECT seq, hash, body::text FROM audit.events ORDER BY seq")


@pytest.mark.parametrize("by", ["RANGE (stored_at)", "HASH (stream)"])
async def test_events_cannot_be_partitioned_as_they_are(audit_dsn, connection, by):
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="must include all partitioning columns"):
        await connection.execute(f"CREATE TABLE audit.parted (LIKE audit.events INCLUDING INDEXES) PARTITION BY {by}")


async def test_partitions_by_journal_without_the_key_on_the_record(audit_dsn, new_journal, contents, connection):
    """What Citus would need. Deliveries, repeated ones too, and a rebuild come to the same as before."""
    await connection.execute(
        """ALTER TABLE audit.events RENAME TO events_whole;
        CREATE TABLE audit.events (LIKE audit.events_whole INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (stream, seq))
        PARTITION BY HASH (stream);
        CREATE INDEX ON audit.events (record_id);
        CREATE TABLE audit.events_0 PARTITION OF audit.events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE audit.events_1 PARTITION OF audit.events FOR VALUES WITH (MODULUS 2, REMAINDER 1);"""
    )
    journals = [new_journal(f"ex{n}") for n in range(4)]
    async with PostgresStore(audit_dsn) as store:
        for journal in journals:
            entries = [*journal.order("o-1"), *journal.resting("o-2"), journal.cancel_all()]
            await journal.deliver(store, entries)
            await journal.deliver(store, entries)
        before = await contents()
        assert len(before["monitoring.orders"]) == 8
        assert await store.rebuild() == 8
        assert await contents() == before
    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 20


async def test_the_sizes_can_be_asked_for(audit_dsn, connection):
    assert "events" in {row["relname"] for row in await connection.fetch(sql("sql"))}


# -- systemd


@pytest.mark.parametrize("unit", sorted((PAGE.parent / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_a_unit_that_systemd_understands(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    # programs and users of another machine
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
    copy = tmp_path / unit.name
    copy.write_text(text.replace("User=bot", "User=root"))
    done = subprocess.run([program, "verify", copy], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, []), done.stderr
