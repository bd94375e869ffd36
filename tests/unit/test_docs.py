"""What the documents say is true: code in them runs, tables in them are complete, links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest

import audit_wrapper
from audit_wrapper.rows import FillRow, OrderRow, TradeRow
from audit_wrapper.settings import Settings
from audit_wrapper.status import Status
from audit_wrapper.store.postgres import PostgresStore

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DSN_IN_README = "postgresql://bot:secret@localhost/bot"

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(text: str, mark: str, language: str) -> list[str]:
    """The code blocks of a language under `<!-- mark -->`."""
    return re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```", text, re.DOTALL)


def cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None, f"there is no section {heading!r}"
    rows = [line for line in section[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def names(rows: list[list[str]]) -> list[str]:
    return [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]


async def test_the_code_in_the_readme_runs(bot_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manager = AsyncMock()
    manager.name = "binance"
    filled = {
        "symbol": "BTC/USDT:USDT",
        "type": "market",
        "status": "closed",
        "amount": 0.5,
        "filled": 0.5,
        "average": 60000,
    }
    manager.create_market_order.side_effect = [{**filled, "id": "1"}, {**filled, "id": "2"}]
    known: dict[str, Any] = {"__name__": "bot", "exchanges": {"binance": manager}}
    found = blocks(README, "run", "python")
    assert len(found) == README.count("```python"), "every Python block of the README is run"
    for block in found:
        code = compile(block.replace(DSN_IN_README, bot_dsn), "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, known)
        if inspect.isawaitable(done):
            await done

    assert known["flushed"], known["flushed"].problem
    connection = await asyncpg.connect(bot_dsn)
    try:
        rows = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY id")
    finally:
        await connection.close()
    assert [(row["position_id"], row["purpose"]) for row in rows] == [("btc-1", "entry"), (None, "exit")]


def test_the_settings_of_the_readme_are_the_settings() -> None:
    defaults = {field: getattr(Settings(), field) for field in Settings.__struct_fields__}
    told = {
        name: default
        for (name, default, _) in (
            (*(cell.strip("`") for cell in row[:2]), row[2]) for row in cells(README, "Settings")
        )
    }
    assert told == {name: str(default) for name, default in defaults.items()}


def test_the_status_of_the_readme_is_the_status() -> None:
    assert names(cells(README, "Is it working?")) == list(Status.__struct_fields__)


@pytest.mark.parametrize(
    ("table", "row"), [("monitoring.orders", OrderRow), ("monitoring.trades", TradeRow), ("audit.fills", FillRow)]
)
def test_every_column_of_our_rows_is_told(table: str, row: Any) -> None:
    assert [name for name in names(cells(TABLES, table)) if name != "id"] == list(row.__struct_fields__)


async def test_every_table_and_column_is_told_in_its_order(fresh_dsn: str) -> None:
    async with PostgresStore(fresh_dsn):
        connection = await asyncpg.connect(fresh_dsn)
    try:
        there = await connection.fetch(
            """SELECT table_schema || '.' || table_name AS name, array_agg(column_name::text ORDER BY ordinal_position) AS columns
            FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
            WHERE table_type = 'BASE TABLE'
              AND (table_schema = 'audit' OR (table_schema = 'monitoring' AND table_name IN ('orders', 'trades')))
            GROUP BY 1"""
        )
    finally:
        await connection.close()
    told = re.findall(r"^## ((?:audit|monitoring)\.\w+)$", TABLES, re.MULTILINE)
    assert sorted(told) == sorted(row["name"] for row in there)
    for row in there:
        assert names(cells(TABLES, row["name"])) == row["columns"], row["name"]


async def test_the_queries_can_be_asked(audit_dsn: str) -> None:
    (block,) = blocks(TABLES, "sql", "sql")
    connection = await asyncpg.connect(audit_dsn)
    try:
        for statement in block.split(";\n"):
            await connection.fetch(statement)
    finally:
        await connection.close()


def test_every_module_is_told() -> None:
    package = Path(audit_wrapper.__file__).parent
    there = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    there |= {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    assert {row[0].strip("`") for row in cells(ARCHITECTURE, "Modules")} == there


def test_named_methods_exist() -> None:
    for method in re.findall(r"`trail\.(\w+)\(", README):
        assert callable(getattr(audit_wrapper.AuditTrail, method))
    for method in re.findall(r"PostgresStore\.(\w+)", ARCHITECTURE):
        assert callable(getattr(PostgresStore, method))
    assert not asyncio.iscoroutinefunction(audit_wrapper.AuditTrail.close)


@documents
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@documents
def test_no_path_of_one_machine_and_plain_characters(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.])/(?:home|root|Users|tmp|work|var|opt)/\S*", text)
    assert "\t" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@documents
def test_python_in_documents_is_python(document: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        compile(block, document.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
