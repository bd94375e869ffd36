"""`audit-wrapper quarantine`: what was refused is shown, and goes in once the cause is mended."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from called import Ended, called_beside, ran
from rig import Payload, Rig

Call = Callable[..., Awaitable[Ended]]
RULE = "ALTER TABLE monitoring.orders ADD CONSTRAINT small CHECK (order_id <> '2')"
MENDED = "ALTER TABLE monitoring.orders DROP CONSTRAINT small"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, audit_dsn: str) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIT_WRAPPER_DSN", audit_dsn)
    monkeypatch.delenv("AUDIT_WRAPPER_JOURNAL", raising=False)
    return partial(called_beside, capsys, "quarantine")


@pytest.fixture
async def refused(audit_dsn: str, journal: Any, connection: asyncpg.Connection, tmp_path: Path) -> str:
    """Entry 4 breaks a rule of the table, entry 7 is no record. Returns the stream."""
    await connection.execute(RULE)
    async with Rig(audit_dsn, tmp_path / "audit-journal") as rig:
        rig.record([*journal.order("1"), *journal.order("2"), *journal.order("3"), Payload(b"none")])
        await rig.arrived()
    return str(await connection.fetchval("SELECT DISTINCT stream FROM audit.quarantine"))


async def test_what_is_there_and_why(call: Call, refused: str) -> None:
    listed = await call("list")
    assert (listed.code, listed.err) == (1, "")
    stream, head, first, second, _, last = listed.out.splitlines()
    assert stream == f"stream {refused}"
    assert head.split() == ["ENTRY", "SINCE", "(UTC)", "TRIES", "WHAT", "WHY"]
    assert "acknowledged place kraken MNT/USDT:USDT" in first
    assert 'violates check constraint "small"' in first
    assert "cannot be read" in second
    assert last.startswith("2 in quarantine. Mend the cause")
    told = json.loads((await call("list", "--json", "--limit", "1")).out)
    assert (told["total"], [(one["seq"], one["tries"]) for one in told["entries"]]) == (2, [(4, 1)])
    assert "1 of them are shown" in (await call("list", "--limit", "1")).out


async def test_one_that_is_mended_goes_in(call: Call, refused: str, connection: asyncpg.Connection) -> None:
    still = await call("retry")
    assert still.code == 1
    assert "0 brought in, 2 refused again" in still.out
    assert f"stream {refused}, entry 4: " in still.out
    await connection.execute(MENDED)
    one = await call("retry", "--stream", refused[:10], "--seq", "4", "--json")
    assert (one.code, json.loads(one.out)) == (0, {"brought_in": 1, "refused": []})
    found = await connection.fetch("SELECT order_id FROM monitoring.orders WHERE status = 'FILLED' ORDER BY created_at")
    assert [row["order_id"] for row in found] == ["1", "2", "3"]
    left = await call("retry", "--json")
    assert (left.code, json.loads(left.out)["brought_in"]) == (1, 0)
    assert [one["seq"] for one in json.loads(left.out)["refused"]] == [7]
    (entry,) = json.loads((await call("list", "--json")).out)["entries"]
    assert (entry["seq"], entry["tries"], entry["what"]) == (7, 3, "cannot be read")


async def test_nothing_is_there(call: Call) -> None:
    assert await call("list") == Ended(0, "nothing is in quarantine\n", "")
    assert (await call("retry"))[:2] == (0, "nothing is in quarantine\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["retry", "--seq", "4711"], 2, "nothing of that is in quarantine"),
        (["retry", "--stream", "ff"], 2, "nothing of that is in quarantine"),
        (["retry", "--stream", "%"], 2, "--stream %: say the id of a journal"),
        (["retry", "--seq", "0"], 2, "--seq"),
        (["list", "--dsn", "postgresql://u:sekret@127.0.0.1:9/bot"], 3, "cannot read the quarantine"),
    ],
)
async def test_what_cannot_be(call: Call, refused: str, words: list[str], code: int, said: str) -> None:
    found = await call(*words)
    assert (found.code, found.out, found.err.count("\n")) == (code, "", 1), found
    assert said in found.err
    assert "sekret" not in found.err


async def test_a_database_without_a_trail_gets_none(call: Call, fresh_dsn: str) -> None:
    for name in ("list", "retry"):
        found = await call(name, "--dsn", fresh_dsn)
        assert (found.code, found.out) == (3, "")
        assert "`audit-wrapper init` makes them" in found.err
    other = await asyncpg.connect(fresh_dsn)
    assert await other.fetchval("SELECT to_regnamespace('audit')") is None
    await other.close()


async def test_a_schema_of_another_name_is_not_made(call: Call, refused: str, connection: asyncpg.Connection) -> None:
    found = await call("retry", "--bot-schema", "other")
    assert (found.code, found.out) == (3, "")
    assert await connection.fetchval("SELECT to_regnamespace('other')") is None


async def test_a_process_of_its_own(refused: str, audit_dsn: str, tmp_path: Path) -> None:
    listed = ran(tmp_path, "quarantine", "list", AUDIT_WRAPPER_DSN=audit_dsn)
    assert (listed.code, "2 in quarantine" in listed.out, listed.err) == (1, True, "")
