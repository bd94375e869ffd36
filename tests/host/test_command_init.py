"""`audit-wrapper init` and `upgrade`: what they do to a database, and what they say of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from called import Ended, called, ran

from audit_wrapper.store.schema import migrations

LAST = len(migrations())


Call = Callable[..., Ended]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    for name in os.environ:
        if name.startswith("AUDIT_WRAPPER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return partial(called, capsys)


def asked(dsn: str, query: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def executed(dsn: str, script: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    asyncio.run(execute())


def test_a_new_database_and_a_second_run(call: Call, fresh_dsn: str) -> None:
    made = call("init", "--dsn", fresh_dsn)
    assert (made.code, made.err) == (0, "")
    assert f"has version {LAST} of the schema now, there was none before" in made.out
    lines = made.out.splitlines()
    assert "  schema audit made" in lines
    assert "  table audit.events made" in lines
    assert "  table monitoring.orders made" in lines
    assert not any("column" in line for line in lines)  # a table that is new is one line
    again = call("init", "--dsn", fresh_dsn)
    assert (again.code, "nothing to do" in again.out, f"version {LAST}" in again.out) == (0, True, True)
    told = json.loads(call("upgrade", "--dsn", fresh_dsn, "--json").out)
    assert (told["version_before"], told["version"], told["changes"]) == (LAST, LAST, [])


def test_the_bots_own_tables_are_widened_and_it_is_said(call: Call, bot_dsn: str) -> None:
    told = json.loads(call("init", "--dsn", bot_dsn, "--json").out)
    assert (told["version_before"], told["version"]) == (None, LAST)
    assert "column monitoring.orders.order_key made (uuid)" in told["changes"]
    assert any(line.startswith("column monitoring.orders.price changed from numeric(") for line in told["changes"])
    assert "index monitoring.audit_orders_status made" in told["changes"]
    assert "table monitoring.orders made" not in told["changes"]
    assert "sslmode" not in told["database"]


def test_only_what_was_lost_is_made_again(call: Call, audit_dsn: str) -> None:
    executed(audit_dsn, "DROP INDEX monitoring.audit_orders_status; ALTER TABLE monitoring.trades DROP COLUMN origin")
    told = json.loads(call("upgrade", "--dsn", audit_dsn, "--json").out)
    assert told["changes"] == [
        "column monitoring.trades.origin made (text)",
        "index monitoring.audit_orders_status made",
    ]


def test_the_indexes_of_the_views_are_built(call: Call, audit_dsn: str) -> None:
    executed(audit_dsn, "DROP INDEX audit.events_called_at")
    assert call("upgrade", "--dsn", audit_dsn).code == 0
    assert asked(audit_dsn, "SELECT count(*) FROM pg_indexes WHERE indexname = 'events_called_at'") == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_where_they_cannot_be_built_it_is_said(call: Call, audit_dsn: str, as_json: bool) -> None:
    executed(audit_dsn, "DROP INDEX audit.events_called_at")
    pooled = f"{audit_dsn}{'&' if '?' in audit_dsn else '?'}statement_cache_size=0"
    ended = call("upgrade", "--dsn", pooled, *(["--json"] if as_json else []))
    assert ended.code == 1
    assert "so some answer slowly (everything else works): they cannot be built through a pooler" in ended.err
    assert "audit-wrapper upgrade --dsn postgresql://..." in ended.err
    if as_json:
        assert json.loads(ended.out)["indexes_lacking"] in ended.err
    else:
        assert "nothing to do" not in ended.out
        assert f"has version {LAST} of the schema" in ended.out


@pytest.fixture
def stranger(postgres_server: Any, fresh_dsn: str) -> Iterator[str]:
    """The DSN of a role that may do nothing in that database."""
    postgres_server.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    yield postgres_server.address_of(urlsplit(fresh_dsn).path[1:], "stranger")
    executed(fresh_dsn, "DROP OWNED BY stranger")
    postgres_server.execute("DROP ROLE stranger")


def test_without_rights_the_statements_are_printed(call: Call, stranger: str, fresh_dsn: str) -> None:
    refused = call("init", "--dsn", stranger)
    assert (refused.code, refused.out) == (3, "")
    assert "CREATE SCHEMA audit AUTHORIZATION stranger;" in refused.err
    assert "init --sql --role" in refused.err
    script = call("init", "--sql", "--role", "stranger")
    assert (script.code, script.err) == (0, "")
    executed(fresh_dsn, script.out)
    done = call("init", "--dsn", stranger)
    assert (done.code, "nothing to do" in done.out) == (0, True), done


def test_a_script_for_another_schema(call: Call) -> None:
    script = call("init", "--sql", "--bot-schema", "my_bot")
    assert '"my_bot"."orders"' in script.out
    assert "monitoring" not in script.out.replace('"monitoring" stands', "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--role", "bot"], 2, "--role is for --sql"),
        (["--bot-schema", "a-b"], 2, "bot_schema"),
        (["--dsn", "mysql://u:sekret@localhost/bot"], 2, "mysql"),
        (["--dsn", "postgresql://u:sekret@127.0.0.1:9/bot"], 3, "u@127.0.0.1:9/bot cannot be reached"),
    ],
)
def test_what_cannot_be(call: Call, words: list[str], code: int, said: str) -> None:
    found = call("init", *words)
    assert (found.code, found.out, found.err.count("\n")) == (code, "", 1)
    assert said in found.err
    assert "sekret" not in found.err


def test_a_schema_of_a_newer_release(call: Call, audit_dsn: str) -> None:
    executed(audit_dsn, "INSERT INTO audit.migrations VALUES (99, '0099_future', 'x')")
    found = call("upgrade", "--dsn", audit_dsn)
    assert (found.code, found.out) == (3, "")
    assert "has version 99" in found.err


def test_a_process_of_its_own(fresh_dsn: str, tmp_path: Path) -> None:
    made = ran(tmp_path, "init", AUDIT_WRAPPER_DSN=fresh_dsn)
    assert (made.code, made.err) == (0, "")
    assert asked(fresh_dsn, "SELECT max(version) FROM audit.migrations") == LAST
