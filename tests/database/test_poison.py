"""A record that the store refuses: its neighbours arrive, it is kept with the reason, and can be brought in later."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from conftest import contents_of
from rig import Payload, Rig

from audit_wrapper import delivery
from audit_wrapper.errors import InvalidRow, SchemaError, StoreUnavailable
from audit_wrapper.records import PositionLink
from audit_wrapper.store import connection as connection_module
from audit_wrapper.store.postgres import PostgresStore

TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF new.order_id = 'bad' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}'; END IF; RETURN new; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON monitoring.orders FOR EACH ROW EXECUTE FUNCTION refuse();
"""
NO_TRIGGER = "DROP TRIGGER refuse ON monitoring.orders"


def bad_order(journal: Any) -> Any:
    return journal.order("bad")[1]


def alias_too_long(journal: Any) -> Any:
    return journal.order("".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(3_000)))[1]


def raw(payload: bytes) -> Callable[[Any], Any]:
    return lambda journal: Payload(payload)


def newer(journal: Any) -> Any:
    journal.order("bad")
    entry = journal.entries.pop()
    return Payload(entry.payload.replace(b'"version":1', b'"version":2', 1))


@pytest.fixture(autouse=True)
def counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_COUNT_EVERY_S", 0.02)


# the poison, what the database's owner did, a word of the reason, what mends it (None: only an upgrade would)
CASES: dict[str, tuple[Callable[[Any], Any], str | None, str, str | None]] = {
    "a number out of range": (
        lambda j: j.order("bad", position=PositionLink(position_id="7", signal_id=2**40))[1],
        None,
        "NumericValueOutOfRange",
        None,
    ),
    "a name too long for an index": (alias_too_long, None, "ProgramLimitExceeded", None),
    "NUL in a column of ours": (lambda j: j.order("a\0b")[1], None, "CharacterNotInRepertoire", None),
    "a rule": (
        bad_order,
        "ALTER TABLE monitoring.orders ADD CONSTRAINT rule CHECK (order_id <> 'bad')",
        "CheckViolation",
        "ALTER TABLE monitoring.orders DROP CONSTRAINT rule",
    ),
    "a unique index": (
        bad_order,
        "INSERT INTO monitoring.orders (order_id) VALUES ('bad'); CREATE UNIQUE INDEX one ON monitoring.orders (order_id)",
        "UniqueViolation",
        "DROP INDEX monitoring.one",
    ),
    "a column that may not be empty": (
        lambda j: j.order("bad", clientOrderId=None)[1],
        "ALTER TABLE monitoring.trades ADD CONSTRAINT rule CHECK (client_order_id IS NOT NULL)",
        "CheckViolation",
        "ALTER TABLE monitoring.trades DROP CONSTRAINT rule",
    ),
    "a deferred rule, found out at the COMMIT": (
        bad_order,
        "CREATE TABLE known (id text PRIMARY KEY); INSERT INTO known VALUES ('g0'), ('g1'), ('g2'), ('g3'), ('g4'), ('g5');"
        "ALTER TABLE monitoring.orders ADD CONSTRAINT rule FOREIGN KEY (order_id) REFERENCES known"
        " DEFERRABLE INITIALLY DEFERRED",
        "ForeignKeyViolation",
        "INSERT INTO known VALUES ('bad')",
    ),
    "a trigger that raises": (bad_order, TRIGGER.format(code="P0001"), "not this one", NO_TRIGGER),
    "a trigger with a code of its own": (bad_order, TRIGGER.format(code="AB123"), "not this one", NO_TRIGGER),
    "bytes that are no record": (raw(b"\xff no record"), None, "not a record", None),
    "a record cut short": (raw(b'{"version":1,"record_id":"'), None, "not a record", None),
    "lone surrogates": (raw(b'{"version":1,"kind":"\\ud800"}'), None, "not a record", None),
    "nested too deep": (raw(b'{"result":' + b"[" * 100_000), None, "not a record", None),
    "a record of a newer version": (newer, None, "upgrade audit_wrapper", None),
}


@pytest.mark.parametrize(
    ("case", "place"),
    [(case, "in the middle") for case in CASES]
    + [(case, place) for case in ("a rule", "bytes that are no record") for place in ("first", "last", "alone")],
)
async def test_poison(
    audit_dsn: str,
    journal: Any,
    connection: asyncpg.Connection,
    new_database: Callable[..., str],
    audit_template: str,
    tmp_path: Path,
    case: str,
    place: str,
) -> None:
    poison, ban, reason, mend = CASES[case]
    if ban:
        await connection.execute(ban)
    good = [
        journal.order(f"g{number}", symbol=f"S{number}/USDT:USDT") for number in range(6 if place != "alone" else 0)
    ]
    bad = poison(journal)
    intent = [entry for entry in journal.entries[2 * len(good) :] if entry is not bad]
    before = {"first": 0, "in the middle": 3, "last": 6, "alone": 0}[place]
    entries = [*itertools.chain(*good[:before]), *intent, bad, *itertools.chain(*good[before:])]
    seq = entries.index(bad) + 1
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record(entries)
        await rig.arrived()
        stored = await connection.fetch("SELECT seq FROM audit.events ORDER BY stored_no")
        assert [row["seq"] for row in stored] == [n for n in range(1, len(entries) + 1) if n != seq]
        filled = await connection.fetch(
            "SELECT order_id FROM monitoring.orders WHERE status = 'FILLED' ORDER BY created_at"
        )
        assert [row["order_id"] for row in filled] == [f"g{n}" for n in range(len(good))]
        assert rig.trail.status().quarantined == 1
        assert set(rig.trail.status().failures) == {"record in quarantine"}
        async with PostgresStore(audit_dsn) as store:
            (kept,) = await store.quarantined()
            assert (kept.seq, kept.payload, kept.retries) == (seq, bad.payload, 0)
            assert reason in kept.reason
            assert await store.retry_quarantined() == 0, "nothing was mended yet"
            (kept,) = await store.quarantined()
            assert kept.retries == 1
            assert reason in kept.reason
            if mend is None:
                return
            await connection.execute(mend)
            assert await store.retry_quarantined() == 1
            assert await store.retry_quarantined() == 0
            assert await store.quarantined() == []
        await rig.until(lambda: rig.trail.status().quarantined == 0)
        clean = new_database(audit_template)
        await rig.delivered_undisturbed(clean)
    other = await asyncpg.connect(clean)
    await connection.execute("DELETE FROM monitoring.orders WHERE order_key IS NULL")
    assert await contents_of(connection, ids=False) == await contents_of(other, ids=False)
    await other.close()


async def test_what_an_earlier_run_left_in_quarantine_is_shown(audit_dsn: str, journal: Any, tmp_path: Path) -> None:
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record([*journal.order("1"), Payload(b"none"), Payload(b"none either")])
        await rig.arrived()
    async with Rig(audit_dsn, tmp_path) as rig:
        await rig.until(lambda: rig.trail.status().quarantined == 2)
        assert rig.trail.status().failures == {}


async def test_another_journals_quarantine_is_not_ours(audit_dsn: str, journal: Any, tmp_path: Path) -> None:
    async with Rig(audit_dsn, tmp_path / "one") as one, Rig(audit_dsn, tmp_path / "two") as two:
        one.record([Payload(b"none")])
        two.record(journal.order("1"))
        await one.arrived()
        await two.arrived()
        assert (one.trail.status().quarantined, two.trail.status().quarantined) == (1, 0)


async def test_a_whole_batch_of_poison_passes_in_bounded_time(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await connection.execute("ALTER TABLE monitoring.orders ADD CONSTRAINT rule CHECK (false)")
    for number in range(25):
        journal.order(f"b{number}")
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record(journal.entries)
        began = time.monotonic()
        await rig.arrived()
        took = time.monotonic() - began
        assert rig.trail.status().quarantined == 50
        assert took < 15, took
        await connection.execute("ALTER TABLE monitoring.orders DROP CONSTRAINT rule")
        async with PostgresStore(audit_dsn) as store:
            assert await store.retry_quarantined() == 50
        assert await connection.fetchval("SELECT count(*) FROM monitoring.orders WHERE status = 'FILLED'") == 25


async def test_a_reason_that_cannot_be_written_as_it_is(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection
) -> None:
    entry = journal.intent()
    async with PostgresStore(audit_dsn) as store:
        await store.quarantine(
            journal.stream, entry, "NUL \0, half a character \ud800, and much more: " + "x" * 1_000_000
        )
        (kept,) = await store.quarantined()
    assert kept.reason.startswith("NUL \u2400, half a character \\ud800, and much more: xxx")
    assert len(kept.reason) == 10_000


async def test_a_quarantine_that_refuses_keeps_the_record_in_the_journal(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """There is nowhere left to put it: delivery waits, and says why, rather than drop it."""
    await connection.execute("ALTER TABLE audit.quarantine ADD CONSTRAINT rule CHECK (false)")
    async with Rig(audit_dsn, tmp_path) as rig:
        rig.record([*journal.order("1"), Payload(b"none"), *journal.order("2")])
        await rig.until(lambda: "CheckViolation" in (rig.trail.status().last_error or ""))
        assert rig.trail.status().delivered_seq == 2
        await connection.execute("ALTER TABLE audit.quarantine DROP CONSTRAINT rule")
        await rig.arrived()
        assert await connection.fetchval("SELECT count(*) FROM audit.events") == 4


# -- late records


def a_day(journal: Any) -> None:
    """Orders that hang together: fills, a stop moved, two cancel-alls, orders told of later."""
    journal.order("1")
    journal.resting("2")
    journal.resting("6")  # of which nothing is heard but cancel-alls
    journal.cancel_all()
    journal.resting("3")
    journal.cancel_all()
    journal.seen("3", status="canceled", filled="1", remaining="2")
    journal.seen("2", status="canceled", filled="0", remaining="3")
    journal.rejected()
    journal.order("4", side="sell", fee=None)
    trade = {"id": "t1", "order": "4", "symbol": "MNT/USDT:USDT", "side": "sell", "price": "0.65", "amount": "3"}
    journal.seen("4", side="sell", trades=({**trade, "fee": {"cost": "0.01", "currency": "USDT"}},))
    journal.seen("77")
    journal.resting("5")
    journal.cancel_all()


async def test_whatever_comes_late_from_quarantine_takes_its_place(
    audit_dsn: str, journal: Any, new_database: Callable[..., str], audit_template: str
) -> None:
    """Each record in turn, and then each pair of neighbours, is set aside and brought in when all others are there."""
    a_day(journal)
    entries = journal.entries
    async with PostgresStore(audit_dsn) as store:
        await journal.deliver(store)
    expected = await asyncpg.connect(audit_dsn)
    undisturbed = await contents_of(expected, ids=False)
    await expected.close()
    scratch = new_database(audit_template)
    connection = await asyncpg.connect(scratch)
    async with PostgresStore(scratch) as store:
        for late in [{n} for n in range(len(entries))] + [{n, n + 1} for n in range(len(entries) - 1)]:
            await connection.execute(
                "TRUNCATE audit.events, audit.streams, audit.quarantine, audit.orders, audit.order_events,"
                "audit.order_aliases, audit.fills, monitoring.orders, monitoring.trades"
            )
            store._marks.clear()
            for number, entry in enumerate(entries):
                if number in late:
                    await store.quarantine(journal.stream, entry, "not yet")
            await journal.deliver(store, [entry for number, entry in enumerate(entries) if number not in late])
            assert await store.retry_quarantined() == len(late)
            assert await contents_of(connection, ids=False) == undisturbed, [entries[n].record.kind for n in late]
    await connection.close()


# -- which errors speak of the record

RETRIED = "08006 08P01 0A000 25006 25P02 25P03 26000 28000 28P01 3D000 40001 40P01 53000 53100 53200 53300 53400 55000 "
RETRIED += "55006 55P03 57014 57P01 57P02 57P03 57P05 58000 58030 58P01 72000 F0000 HV000 XX000 XX001 XX002"
OF_THE_RECORD = "21000 22000 22001 22003 22021 22P02 22P05 23502 23503 23505 23514 23P01 27000 38000 39000 44000 54000 "
OF_THE_RECORD += "54001 P0001 P0002 P0004 AB123"
OF_THE_SCHEMA = "3F000 42501 42601 42703 42804 42883 42P01 42P10"


@pytest.mark.parametrize(
    ("kind", "codes"), [(StoreUnavailable, RETRIED), (InvalidRow, OF_THE_RECORD), (SchemaError, OF_THE_SCHEMA)]
)
async def test_what_an_error_of_the_database_means(
    connection: asyncpg.Connection, kind: type[Exception], codes: str
) -> None:
    for code in codes.split():
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$")
        assert caught.value.sqlstate == code
        assert type(connection_module.of_postgres(caught.value, "words")) is kind, code


def test_every_class_that_asyncpg_knows_was_thought_of() -> None:
    known = {
        error.sqlstate[:2]
        for error in vars(asyncpg.exceptions).values()
        if isinstance(error, type) and issubclass(error, asyncpg.PostgresError) and error.sqlstate
    }
    assert known <= connection_module._CLASSES_OF_POSTGRES


async def test_a_login_refused_by_a_trigger_is_no_poison(
    audit_dsn: str, journal: Any, connection: asyncpg.Connection
) -> None:
    """The same SQLSTATE as a trigger that refuses a record has; but nothing was delivered yet."""
    if await connection.fetchval("SELECT current_setting('server_version_num')::int < 170000"):
        pytest.skip("triggers at login came with PostgreSQL 17")
    async with PostgresStore(audit_dsn) as store:
        await connection.execute(
            "CREATE FUNCTION closed() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$;"
            "CREATE EVENT TRIGGER closed ON login EXECUTE FUNCTION closed()"
        )
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'audit_wrapper'"
        )
        pool = store._connections._pool
        assert pool is not None
        while pool.get_size():  # until the pool has seen that its connection is gone
            await asyncio.sleep(0.001)
        with pytest.raises(StoreUnavailable, match="closed"):
            await journal.deliver(store, [journal.intent()])
        await connection.execute("DROP EVENT TRIGGER closed")
        await journal.deliver(store)
