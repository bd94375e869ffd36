"""The pages of docs/, and the blocks of code in them: for the tests of these pages."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import asyncpg

DOCS = Path(__file__).resolve().parents[2] / "docs"
DSN = "postgresql://bot:secret@localhost/bot"


def page(name: str) -> str:
    """Its text."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, mark: str, language: str) -> list[str]:
    """The code blocks of a page under `<!-- mark -->`."""
    found = re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```", page(name), re.DOTALL)
    assert found, f"{name} has no block {mark}"
    return found


def messages() -> list[str]:
    """The messages that the FAQ quotes; `...` stands for anything."""
    return [line for block in blocks("faq.md", "message", "text") for line in block.splitlines()]


async def run(block: str, name: str, dsn: str, known: dict[str, Any]) -> None:
    """Run a block of a page; `known`: what it finds defined."""
    code = compile(block.replace(DSN, dsn), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, known)
    if inspect.isawaitable(done):
        await done


async def rows(dsn: str, query: str, *values: Any) -> list[asyncpg.Record]:
    """What a query finds."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *values)
    finally:
        await connection.close()
