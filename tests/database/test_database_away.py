"""The database away, in every way it can be: what was recorded arrives all the same, in order, once."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cluster import Cluster
from rig import Rig
from tcp_proxy import TcpProxy, Where

from audit_wrapper.store import connection as connection_module
from audit_wrapper.store import postgres as postgres_module


@pytest.fixture
def proxy(audit_dsn: str) -> Iterator[TcpProxy]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0003)  # the proxy, the delivery and the test take turns with every message
    with TcpProxy(audit_dsn) as running:
        yield running
    sys.setswitchinterval(before)


def some_orders(journal: Any, number: int) -> list[Any]:
    """A fill, an order canceled by a cancel-all, and one of the round before told of again."""
    before = len(journal.entries)
    journal.order(f"f{number}")
    journal.resting(f"r{number}")
    journal.cancel_all()
    journal.seen(f"r{number - 1}", status="canceled", filled="1", remaining="2")
    return journal.entries[before:]


async def same_as_undisturbed(rig: Rig, connection: asyncpg.Connection, other_dsn: str) -> None:
    from conftest import contents_of

    await rig.all_there_once(connection)
    await rig.delivered_undisturbed(other_dsn)
    other = await asyncpg.connect(other_dsn)
    try:
        assert await contents_of(connection, ids=False) == await contents_of(other, ids=False)
    finally:
        await other.close()


# -- a connection cut anywhere


@pytest.mark.parametrize("connected", [True, False], ids=["in-a-batch", "from-the-login-on"])
async def test_a_connection_cut_at_any_message(
    proxy: TcpProxy,
    journal: Any,
    connection: asyncpg.Connection,
    new_database: Any,
    audit_template: str,
    tmp_path: Path,
    connected: bool,
) -> None:
    # a link that fails is made up later, so cutting there is left to test_many_writers
    async with Rig(proxy.dsn, tmp_path, positions_table=None) as rig:
        rounds = iter(range(1, 10_000))
        first_cut = () if connected else (0,)  # after which delivery begins with a login

        async def one_round() -> None:
            rig.record(some_orders(journal, next(rounds)))
            await rig.arrived()

        for _ in range(3):
            await one_round()  # from now on every statement is prepared
        proxy.cut_at(*first_cut)
        await one_round()
        messages = list(proxy.messages)
        assert messages[0].text == ("BEGIN;" if connected else "startup")
        assert [m.text for m in messages].count("COMMIT;") == 1
        # a Sync is sent with the Execute before it, and without it nothing is different from before that
        places = [(number, Where.BEFORE) for number, m in enumerate(messages) if m.type != "S"]
        places += [(number, Where.BEFORE_THE_ANSWER) for number, m in enumerate(messages) if m.is_answered]
        if not connected:  # what a login adds, up to the batch itself
            begin = next(number for number, m in enumerate(messages) if m.text == "BEGIN;")
            places = [(n, w) for n, w in places if n < begin and (n == 0 or messages[n - 1].is_answered)]
        cuts = 0
        for number, where in places:
            proxy.cut_at(*first_cut, number, where=where, reset=number % 2 == 0)
            await one_round()
            cuts += proxy.was_cut.is_set()
        assert cuts > 0.9 * len(places), "a round may take a statement less than another, but not many"
        await same_as_undisturbed(rig, connection, new_database(audit_template))


# -- the server away


@contextlib.asynccontextmanager
async def with_schema(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a cluster that has our schema."""
    async with postgres_module.PostgresStore(cluster.dsn):
        pass
    opened = await asyncpg.connect(cluster.dsn)
    try:
        yield opened
    finally:
        opened.terminate()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster.new()
    yield made
    made.destroy()


async def test_down_at_startup(proxy: TcpProxy, journal: Any, connection: asyncpg.Connection, tmp_path: Path) -> None:
    proxy.refuse()
    began = time.monotonic()
    async with Rig(proxy.dsn, tmp_path) as rig:
        assert time.monotonic() - began < 2, "opening does not wait for the database"
        rig.record(some_orders(journal, 1))
        await rig.until(lambda: "database away" in rig.trail.status().failures)
        status = rig.trail.status()
        assert (status.lag, status.durable_seq, status.delivered_seq) == (6, 6, 0)
        assert "trying again" in status.store
        flushed = await rig.trail.flush(timeout_s=0.05)
        assert (flushed.complete, flushed.undelivered) == (False, 6)
        proxy.accept()
        await rig.arrived()
        await rig.all_there_once(connection)
        assert rig.trail.status().store == "connected"


async def test_what_was_delivered_before_is_no_lag_while_the_database_is_away(
    proxy: TcpProxy, journal: Any, tmp_path: Path
) -> None:
    async with Rig(proxy.dsn, tmp_path) as rig:
        rig.record(some_orders(journal, 1))
        await rig.arrived()
    proxy.refuse()
    async with Rig(proxy.dsn, tmp_path, close_timeout_s=0.1) as rig:
        assert rig.trail.status().lag == 0
        rig.record(some_orders(journal, 2))
        assert rig.trail.status().lag == 6
        report = rig.trail.close()
        assert report.undelivered == 6


async def test_the_server_is_killed_in_the_middle_of_a_batch(cluster: Cluster, journal: Any, tmp_path: Path) -> None:
    async with with_schema(cluster) as connection:
        await connection.close()
        with TcpProxy(cluster.dsn) as proxy:
            async with Rig(proxy.dsn, tmp_path) as rig:
                rig.record(some_orders(journal, 1))
                await rig.arrived()
                proxy.cut_when(lambda m: m.text == "COMMIT;", Where.UNHEARD)
                rig.record(some_orders(journal, 2))
                await asyncio.to_thread(proxy.was_cut.wait, 10)
                await asyncio.to_thread(cluster.kill)
                rig.record(some_orders(journal, 3))
                assert not await rig.trail.flush(timeout_s=0.2)
                await asyncio.to_thread(cluster.start)
                await rig.arrived()
                connection = await asyncpg.connect(cluster.dsn)
                await rig.all_there_once(connection)
                await connection.close()


async def test_a_server_that_restarts_again_and_again(cluster: Cluster, journal: Any, tmp_path: Path) -> None:
    async with with_schema(cluster), Rig(cluster.dsn, tmp_path) as rig:
        for number in range(3):
            rig.record(some_orders(journal, number))
            await asyncio.to_thread(cluster.kill)
            rig.record(some_orders(journal, 100 + number))
            await asyncio.to_thread(cluster.start)
        await rig.arrived()
        connection = await asyncpg.connect(cluster.dsn)
        await rig.all_there_once(connection)
        await connection.close()


REFUSALS = {
    "the role may not log in": ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN", "28000"),
    "no connection is left": ("ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1", "53300"),
    "the database takes none": (
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {name} ALLOW_CONNECTIONS true",
        "55000",
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
async def test_logins_are_refused(
    postgres_server: Any, audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path, why: str
) -> None:
    refuse, allow, code = REFUSALS[why]
    name = await connection.fetchval("SELECT current_database()")
    role = f"{name}_bot"
    words = {"role": role, "name": name}
    postgres_server.execute(f"CREATE ROLE {role} LOGIN; GRANT postgres TO {role}")
    try:
        async with Rig(postgres_server.address_of(name, role), tmp_path) as rig:
            rig.record(some_orders(journal, 1))
            await rig.arrived()
            postgres_server.execute(refuse.format(**words))
            postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
            rig.record(some_orders(journal, 2))
            await rig.until(lambda: rig.trail.status().lag == 6 and "trying again" in rig.trail.status().store)
            with pytest.raises(asyncpg.PostgresError) as refused:
                await asyncpg.connect(postgres_server.address_of(name, role))
            assert refused.value.sqlstate == code
            postgres_server.execute(allow.format(**words))
            await rig.arrived()
            await rig.all_there_once(connection)
    finally:
        postgres_server.execute(f"DROP ROLE {role}")


async def test_the_password_was_changed_and_is_changed_back(cluster: Cluster, journal: Any, tmp_path: Path) -> None:
    async with with_schema(cluster) as connection:
        await connection.execute("ALTER ROLE postgres PASSWORD 'one'")
        cluster.check_logins_by("scram-sha-256")
        async with Rig(cluster.dsn.replace("postgres:@", "postgres:one@"), tmp_path) as rig:
            rig.record(some_orders(journal, 1))
            await rig.arrived()
            await connection.execute("ALTER ROLE postgres PASSWORD 'two'")
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'audit_wrapper'"
            )
            rig.record(some_orders(journal, 2))
            await rig.until(lambda: "InvalidPasswordError" in (rig.trail.status().last_error or ""))
            assert "one" not in (rig.trail.status().last_error or "")
            await connection.execute("ALTER ROLE postgres PASSWORD 'one'")
            await rig.arrived()
            await rig.all_there_once(connection)


async def test_a_database_that_can_only_be_read(audit_dsn: str, journal: Any, connection: Any, tmp_path: Path) -> None:
    name = await connection.fetchval("SELECT current_database()")
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record(some_orders(journal, 1))
        await rig.arrived()
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'audit_wrapper'"
        )
        rig.record(some_orders(journal, 2))
        await rig.until(lambda: "ReadOnlySQLTransactionError" in (rig.trail.status().last_error or ""))
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await rig.arrived()
        await rig.all_there_once(connection)


# -- the disk full


@pytest.fixture
def tiny_disk(cluster: Cluster) -> Iterator[Path]:
    folder = cluster.home / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here; the case below stands for it, with the same SQLSTATE")
    cluster.give(folder)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_the_disk_is_full(cluster: Cluster, tiny_disk: Path, journal: Any, tmp_path: Path) -> None:
    async with with_schema(cluster) as connection:
        await connection.execute(f"CREATE TABLESPACE tiny LOCATION '{tiny_disk}'")
        await connection.execute("ALTER TABLE audit.events SET TABLESPACE tiny")
        async with Rig(cluster.dsn, tmp_path) as rig:
            ballast = tiny_disk / "ballast"
            with contextlib.suppress(OSError):
                ballast.write_bytes(bytes(8 << 20))
            for number in range(30):
                rig.record(some_orders(journal, number))
            await rig.until(lambda: "DiskFullError" in (rig.trail.status().last_error or ""))
            assert rig.trail.status().quarantined == 0
            ballast.unlink()
            await rig.arrived()
            await rig.all_there_once(connection)


RAISE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON audit.events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.mark.parametrize("code", ["53100", "53200", "40P01", "40001", "55P03", "57014", "58030", "XX000", "25006"])
async def test_what_says_nothing_of_the_records_is_no_reason_for_quarantine(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path, code: str
) -> None:
    await connection.execute(RAISE.format(code=code))
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record(some_orders(journal, 1))
        await rig.until(lambda: rig.trail.status().failures.get("database away", 0) >= 2)
        await connection.execute("DROP TRIGGER refuse ON audit.events")
        await rig.arrived()
        await rig.all_there_once(connection)


# -- slow


async def test_every_statement_is_slow(
    proxy: TcpProxy, journal: Any, connection: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds for each, with the timeouts as they are by default; all of it three hundred times as fast."""
    monkeypatch.setattr(connection_module, "_CONNECT_TIMEOUT_S", 10 / 300)
    proxy.delay_s = 10 / 300
    async with Rig(proxy.dsn, tmp_path, statement_timeout_s=60 / 300) as rig:
        rig.record(some_orders(journal, 1))
        await rig.arrived()
        await rig.all_there_once(connection)


async def test_a_batch_that_takes_too_long_goes_in_smaller_ones(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await connection.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN new; END $$;"
        "CREATE TRIGGER linger BEFORE INSERT ON audit.events FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    async with Rig(audit_dsn, tmp_path, statement_timeout_s=0.3, delivery_batch=60) as rig:
        for number in range(10):
            rig.record(some_orders(journal, number))  # 60 records: 0.6 s in one batch
        await rig.arrived()
        await rig.all_there_once(connection)
        assert rig.trail.status().failures["database away"] >= 1


async def test_a_client_that_the_server_does_not_know_to_be_gone_does_not_keep_the_locks(
    proxy: TcpProxy, journal: Any, connection: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_LEAST_IDLE_S", 1.0)
    async with Rig(proxy.dsn, tmp_path, statement_timeout_s=1.0) as rig:
        proxy.cut_when(lambda m: m.text == "COMMIT;", Where.UNHEARD)
        rig.record(some_orders(journal, 1))
        await asyncio.to_thread(proxy.was_cut.wait, 10)
        left = await connection.fetch("SELECT state FROM pg_stat_activity WHERE application_name = 'audit_wrapper'")
        assert "idle in transaction" in [row["state"] for row in left]
        await rig.arrived(10)
        await rig.all_there_once(connection)


async def test_a_connection_cut_while_nothing_happens(
    proxy: TcpProxy, journal: Any, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    async with Rig(proxy.dsn, tmp_path) as rig:
        for number in range(3):
            rig.record(some_orders(journal, number))
            await rig.arrived()
            proxy.reset()
        await rig.all_there_once(connection)


async def test_closing_while_the_database_is_silent_ends_in_time_and_leaves_no_thread(
    proxy: TcpProxy, journal: Any, tmp_path: Path
) -> None:
    async with Rig(proxy.dsn, tmp_path, close_timeout_s=0.2) as rig:
        rig.record(some_orders(journal, 1))
        await rig.arrived()
        proxy.stall()
        proxy.watch()
        rig.record(some_orders(journal, 2))
        await rig.until(lambda: rig.trail.status().lag > 0)
        began = time.monotonic()
        report = await rig.trail.aclose()
        assert time.monotonic() - began < 5
        assert report.undelivered == 6
        assert not rig.trail._pipeline.delivery._thread.is_alive()
    proxy.flow()
    async with Rig(proxy.dsn, tmp_path) as rig:
        await rig.arrived()
        assert rig.trail.status().durable_seq == 12


# -- failover


async def test_failover_to_the_standby(cluster: Cluster, journal: Any, tmp_path: Path) -> None:
    """The standby lacks the last records that the primary had taken: they come from the journal once more."""
    async with with_schema(cluster) as connection:
        standby = await asyncio.to_thread(cluster.standby)
        try:
            with TcpProxy(cluster.dsn) as one, TcpProxy(standby.dsn) as two:
                both = f"postgresql://postgres:@127.0.0.1:{two.port},127.0.0.1:{one.port}/postgres?sslmode=disable"
                async with Rig(both, tmp_path) as rig:
                    rig.record(some_orders(journal, 1))
                    await rig.arrived()  # in the primary, though the standby is named first
                    follower = await asyncpg.connect(standby.dsn)
                    await _until(lambda: follower.fetchval("SELECT count(*) = 6 FROM audit.events"))
                    await asyncio.to_thread(standby.kill)
                    rig.record(some_orders(journal, 2))
                    await rig.arrived()
                    assert await connection.fetchval("SELECT count(*) FROM audit.events") == 12
                    await asyncio.to_thread(cluster.kill)
                    (standby.data / "standby.signal").unlink()
                    await asyncio.to_thread(standby.start)
                    rig.record(some_orders(journal, 3))
                    await rig.arrived()
                    follower = await asyncpg.connect(standby.dsn)
                    await rig.all_there_once(follower)
                    await follower.close()
        finally:
            await asyncio.to_thread(standby.destroy)


async def _until(condition: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + 10
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("dsn", "each"),
    [
        ("postgresql://u:p%2C@one:1,two/x?a=b", ["postgresql://u:p%2C@one:1/x?a=b", "postgresql://u:p%2C@two/x?a=b"]),
        ("postgresql://[::1]:1,[::2]:2/x", ["postgresql://[::1]:1/x", "postgresql://[::2]:2/x"]),
        ("postgresql:///x?host=/run,/tmp", ["postgresql:///x?host=/run,/tmp"]),
        ("postgresql://", ["postgresql://"]),
    ],
)
def test_the_hosts_of_a_dsn(dsn: str, each: list[str]) -> None:
    assert list(connection_module.hosts(dsn)) == each


async def test_the_first_of_two_hosts_is_silent(
    proxy: TcpProxy, audit_dsn: str, journal: Any, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_CONNECT_TIMEOUT_S", 0.3)
    name = await connection.fetchval("SELECT current_database()")
    with TcpProxy(audit_dsn) as other:
        dsn = f"postgresql://postgres:@127.0.0.1:{proxy.port},127.0.0.1:{other.port}/{name}?sslmode=disable"
        async with Rig(dsn, tmp_path) as rig:
            rig.record(some_orders(journal, 1))
            await rig.arrived()
            assert other.connections == 0
            proxy.stall()
            proxy.reset()
            rig.record(some_orders(journal, 2))
            await rig.arrived(5)
            await rig.all_there_once(connection)


# -- the bot meanwhile


class Manager:
    """A bot's exchange manager, without an exchange."""

    name = "binance"

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    async def create_market_order(self, symbol: str, side: str, amount: float) -> dict[str, Any]:
        self.results.append({"id": str(len(self.results)), "symbol": symbol, "status": "closed", "filled": amount})
        return self.results[-1]


async def test_the_bots_calls_keep_their_results_and_their_speed(
    proxy: TcpProxy, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    async with Rig(proxy.dsn, tmp_path) as rig:
        manager = Manager()
        wrapped = rig.trail.wrap({"binance": manager})["binance"]

        async def p99(calls: int = 300) -> float:
            took = []
            for _ in range(calls):
                began = time.perf_counter()
                result = await wrapped.create_market_order("BTCUSDT", "buy", 1.5)
                took.append(time.perf_counter() - began)
                assert result is manager.results[-1]
            return sorted(took)[calls * 99 // 100]

        healthy = await p99()
        await rig.arrived()
        proxy.stall()  # for as long as it takes
        silent = await p99(1_000)
        proxy.refuse()
        refusing = await p99()
        assert rig.trail.status().lag >= 2 * 1_300
        # measured here: 0.3 ms in every case. Waiting for the database would be seconds
        assert max(silent, refusing) < 5 * healthy + 0.02, (healthy, silent, refusing)
        proxy.accept()
        proxy.flow()
        await rig.arrived(30)
        await rig.all_there_once(connection)
        assert await connection.fetchval("SELECT count(*) FROM monitoring.orders WHERE status = 'FILLED'") == 1_600
