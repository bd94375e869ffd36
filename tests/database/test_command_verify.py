"""`audit-wrapper verify`: whatever was changed, dropped or moved, in the journal or in the database, is found."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from called import Ended, called_beside, ran, started
from rig import Payload, Rig

from audit_wrapper.journal import FileJournal, layout

Call = Callable[..., Awaitable[Ended]]
ORDERS = 6  # of two records each


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_WRAPPER_DSN", raising=False)
    monkeypatch.delenv("AUDIT_WRAPPER_JOURNAL", raising=False)
    return partial(called_beside, capsys, "verify")


@pytest.fixture
async def day(audit_dsn: str, journal: Any, tmp_path: Path) -> Path:
    """A journal of twelve entries, all of them delivered."""
    folder = tmp_path / "audit-journal"
    async with Rig(audit_dsn, folder) as rig:
        rig.record(entry for number in range(ORDERS) for entry in journal.order(f"a{number}"))
        await rig.arrived()
    return folder


def wrong(ended: Ended) -> list[str]:
    """The findings of `--json`."""
    told = json.loads(ended.out)
    assert ended.code == (0 if told["clean"] else 1), ended
    return [sentence for one in (*told["journals"], *told["streams"]) for sentence in one["findings"]]


async def test_all_is_well(call: Call, day: Path, audit_dsn: str) -> None:
    found = await call("--dsn", audit_dsn)
    assert (found.code, found.err) == (0, "")
    assert "journal audit-journal: entries 1 to 12" in found.out
    assert "12 of them are delivered; the database was asked for each" in found.out
    assert "records 1 to 12, intact" in found.out
    assert "nothing is wrong" in found.out
    told = json.loads((await call("--dsn", audit_dsn, "--json")).out)
    assert told["clean"] is True
    assert [(one["entries"], one["compared"], one["delivered_seq"]) for one in told["journals"]] == [(12, 12, 12)]
    assert [(one["entries"], one["set_aside"]) for one in told["streams"]] == [(12, 0)]


async def test_beside_a_running_bot_and_with_what_is_not_delivered(
    call: Call, day: Path, audit_dsn: str, journal: Any
) -> None:
    async with Rig("postgresql://127.0.0.1:1/nowhere", day, close_timeout_s=0.1) as rig:
        rig.record(journal.order("b"))
        found = await call("--dsn", audit_dsn)
        assert found.code == 0, found
        assert "entries 13 to 14 are not delivered yet" in found.out


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "UPDATE audit.events SET body = replace(body::text, 'buy', 'sel')::json WHERE seq = 5",
            "record 5 of stream .* is not what was written",
        ),
        ("UPDATE audit.events SET hash = sha256(hash) WHERE seq = 7", "record 7 of stream .* is not what was written"),
        ("DELETE FROM audit.events WHERE seq BETWEEN 4 AND 6", "records 4 to 6 of stream .* are not in the database$"),
        ("DELETE FROM audit.events WHERE seq <= 2", "records 1 to 2 of stream .* are not in the database$"),
        ("DELETE FROM audit.events WHERE seq > 10", "records 11 to 12 of stream .*, though the mark says"),
        (
            "DELETE FROM audit.events WHERE seq > 10; UPDATE audit.streams SET delivered_seq = 10",
            "record 10 of stream .* is not the one that was delivered last",
        ),
        ("DELETE FROM audit.streams", "has records here, and no mark"),
        ("UPDATE audit.streams SET delivered_seq = 9", "was delivered up to 9, and there are records up to 12"),
    ],
)
async def test_what_was_done_to_the_database(
    call: Call, day: Path, audit_dsn: str, connection: asyncpg.Connection, statement: str, sentence: str
) -> None:
    shutil.rmtree(day)  # the database alone has to tell
    await connection.execute(statement)
    ended = await call("--dsn", audit_dsn, "--json")
    assert "only the database is checked" in ended.err
    (said,) = wrong(ended)
    assert re.search(sentence, said), said


async def test_what_the_journal_shows_of_the_database(
    call: Call, day: Path, audit_dsn: str, connection: asyncpg.Connection
) -> None:
    """A chain that was made anew from some record on fits in itself; the journal knows better."""
    await connection.execute(
        "DELETE FROM audit.events WHERE seq > 9;"
        "UPDATE audit.streams s SET delivered_seq = 9, delivered_hash = (SELECT hash FROM audit.events WHERE seq = 9)"
    )
    shown = await call("--dsn", audit_dsn)
    assert shown.code == 1
    assert "entries 10 to 12 were delivered, by the journal's own word" in shown.out
    assert "WRONG (1)" in shown.out
    await connection.execute("UPDATE audit.events SET hash = sha256(hash) WHERE seq = 9")
    told = wrong(await call("--dsn", audit_dsn, "--json"))
    assert any("entry 9 of the journal is not what the database has as record 9" in one for one in told), told


async def test_what_was_done_to_the_journal(call: Call, day: Path, audit_dsn: str) -> None:
    (path,) = layout.segment_paths(day)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole.replace(b'"buy"', b'"sel"', 1))
    (said,) = wrong(await call("--json"))  # without a database
    assert "entry 1 is not what was written" in said
    path.write_bytes(b"".join([*lines[:5], *lines[6:]]))
    (said,) = wrong(await call("--json"))
    assert "there is no entry 5 to 5" in said
    path.write_bytes(whole[:-10])
    assert any("were delivered, the journal ends at 11" in one for one in wrong(await call("--json")))
    path.write_bytes(whole + b"13 ab")  # a kill in the middle of a write
    torn = await call("--dsn", audit_dsn)
    assert (torn.code, "harmless: " in torn.out) == (0, True), torn


async def test_what_a_forked_child_left(call: Call, day: Path, journal: Any) -> None:
    with closing(FileJournal.open(day / "fork-4711")) as left:
        for entry in journal.order("f"):
            left.append(entry.payload)
    told = json.loads((await call("--json")).out)
    assert [(one["folder"], one["entries"]) for one in told["journals"]] == [
        ("audit-journal", 12),
        ("audit-journal/fork-4711", 2),
    ]
    (path,) = layout.segment_paths(day / "fork-4711")
    path.write_bytes(path.read_bytes().replace(b'"buy"', b'"sel"', 1))
    assert len(wrong(await call("--json"))) == 1


async def test_what_is_in_quarantine_is_a_part_of_the_chain(
    call: Call, audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    async with Rig(audit_dsn, tmp_path / "audit-journal") as rig:
        rig.record([*journal.order("a"), Payload(b"no record"), *journal.order("b")])
        await rig.arrived()
    told = json.loads((await call("--dsn", audit_dsn, "--json")).out)
    assert (told["clean"], told["streams"][0]["set_aside"], told["journals"][0]["compared"]) == (True, 1, 5)
    await connection.execute("UPDATE audit.quarantine SET payload = 'something else'")
    (said,) = wrong(await call("--dsn", audit_dsn, "--json"))
    assert "record 3 of stream" in said
    assert "(set aside in quarantine)" in said
    await connection.execute("DELETE FROM audit.quarantine")
    assert len(wrong(await call("--dsn", audit_dsn, "--json"))) == 2  # the journal misses it, and so does the chain


async def test_what_was_set_aside_once_and_delivered_since(
    call: Call, day: Path, audit_dsn: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO audit.quarantine SELECT stream, seq, convert_to(body::text, 'UTF8'), hash, 'refused' FROM audit.events "
        "WHERE seq IN (1, 7, 12)"
    )
    told = json.loads((await call("--dsn", audit_dsn, "--json")).out)
    assert (told["clean"], told["streams"][0]["entries"], told["streams"][0]["set_aside"]) == (True, 12, 0)


async def test_a_journal_that_got_another_name(
    call: Call, day: Path, audit_dsn: str, journal: Any, tmp_path: Path, connection: asyncpg.Connection
) -> None:
    """An older copy was put back and traded on: its chain goes on from a record of the older stream."""
    backup = tmp_path / "backup"
    shutil.copytree(day, backup)
    async with Rig(audit_dsn, day) as rig:
        rig.record(journal.order("b"))
        await rig.arrived()
    async with Rig(audit_dsn, backup) as rig:
        rig.record(journal.order("c"))
        await rig.arrived()
    for folder in (day, backup):
        ended = await call("--journal", str(folder), "--dsn", audit_dsn, "--json")
        assert wrong(ended) == []
        assert len(json.loads(ended.out)["streams"]) == 2
        assert json.loads(ended.out)["journals"][0]["compared"] == 14
    await connection.execute("DELETE FROM audit.events WHERE seq = 12")  # which both go on from
    told = wrong(await call("--dsn", audit_dsn, "--json"))
    assert len(told) == 3, told


async def test_what_cannot_be(call: Call, audit_dsn: str, fresh_dsn: str, day: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in (["--journal", "nowhere"], ["--journal", "empty"]):
        found = await call(*words)
        assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
        assert "there is no journal in" in found.err
    bare = await call("--journal", "nowhere", "--dsn", fresh_dsn)
    assert (bare.code, bare.out) == (3, "")
    assert "`audit-wrapper init` makes them" in bare.err
    away = await call("--dsn", "postgresql://u:sekret@127.0.0.1:9/bot")
    assert away.code == 3
    assert "journal audit-journal: entries 1 to 12" in away.out  # what could be checked was
    assert "the database was not checked" in away.err
    assert "sekret" not in away.out + away.err


async def test_a_process_of_its_own(day: Path, audit_dsn: str) -> None:
    found = ran(day.parent, "verify", AUDIT_WRAPPER_DSN=audit_dsn)
    assert (found.code, found.err) == (0, "")
    assert "nothing is wrong" in found.out


async def test_broken_off(day: Path, audit_dsn: str, connection: asyncpg.Connection) -> None:
    """By Ctrl-C, while it waits for the database."""
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit.events'::regclass)"
    async with connection.transaction():
        await connection.execute("LOCK TABLE audit.events IN ACCESS EXCLUSIVE MODE")
        process = started(day.parent, "verify", AUDIT_WRAPPER_DSN=audit_dsn)
        try:
            async with asyncio.timeout(30):
                while not await connection.fetchval(waiting):
                    assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err == "broken off; nothing was changed, and the next run begins anew\n"
