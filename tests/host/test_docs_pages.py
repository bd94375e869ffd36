"""What the pages of docs/ say is true: settings, messages, links, commands. tests/unit/test_docs.py does the same for the
README and the pages for developers; test_docs_code.py runs the code."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from docs_pages import DOCS, messages, page

import audit_wrapper
from audit_wrapper.command.app import app
from audit_wrapper.settings import PREFIX, Settings

PACKAGE = Path(audit_wrapper.__file__).parent


# -- settings.md


def tables(text: str) -> list[list[str]]:
    """The rows of all tables, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number for number, row in enumerate(cells) if set("".join(row)) <= {"-"}}
    return [row for number, row in enumerate(cells) if number not in heads and number + 1 not in heads]


def told_settings() -> dict[str, tuple[str, str, str]]:
    rows = [row for row in tables(page("settings.md")) if len(row) == 5]
    assert len({row[0] for row in rows}) == len(rows), "a setting is told twice"
    return {row[0].strip("`"): (row[1].strip("`"), row[2].strip("`"), row[3]) for row in rows}


def test_every_setting_is_told() -> None:
    told, fields = told_settings(), set(Settings.__struct_fields__)
    assert sorted(fields - told.keys()) == [], "docs/settings.md does not tell these settings"
    assert sorted(told.keys() - fields) == [], "docs/settings.md tells settings that are none"


@pytest.mark.parametrize("name", sorted(set(told_settings()) & set(Settings.__struct_fields__)))
def test_what_is_told_of_a_setting(name: str) -> None:
    variable, default, unit = told_settings()[name]
    assert variable == PREFIX + name.upper()
    assert default == str(getattr(Settings(), name))
    for suffix, expected in (("_s", "seconds"), ("_days", "days"), ("_mb", "megabytes"), ("_per_minute", "requests")):
        assert (unit == expected) == name.endswith(suffix), unit
    choices = get_args(get_type_hints(Settings)[name])
    if all(isinstance(choice, str) for choice in choices) and choices:
        assert unit == ", ".join(f"`{choice}`" for choice in choices)


# -- faq.md: what it quotes is what is said


@functools.cache
def spoken() -> list[str]:
    """Every sentence of the package, with `...` for what is filled in. What is noted as a failure begins with its kind."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("failures.note") and len(node.args) == 2:
                kind, sentence = node.args[0], template(node.args[1])
                if isinstance(kind, ast.Constant):
                    found.append(f"{kind.value}: {sentence}")
            elif isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                found.append(template(node))
    return [sentence for sentence in found if " " in sentence]


def template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", "...", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.IfExp):
        return template(node.body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "..."


@pytest.mark.parametrize("message", messages(), ids=lambda message: message[:40])
def test_a_message_of_the_faq_is_said(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    assert sum(map(len, parts)) > 15, "too little of it is quoted"
    said = re.compile(".*".join(parts), re.DOTALL)
    assert any(said.search(sentence) for sentence in spoken())


def test_what_nobody_says_is_found_out() -> None:
    assert not any("cannot be wroten" in sentence for sentence in spoken())
    assert any(sentence.startswith("record in quarantine: seq ...") for sentence in spoken())


# -- every page


PAGES = sorted(DOCS.glob("*.md"))
pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_and_their_anchors_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}: {sorted(anchors(there))}"


@pages
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`((?:tests|examples)/[\w/.]+)`", path.read_text(encoding="utf-8")):
        assert (DOCS.parent / name).exists(), name


def test_every_page_is_in_the_index() -> None:
    index = page("index.md")
    assert [path.name for path in PAGES if path.name != "index.md" and f"({path.name})" not in index] == []


@pages
def test_every_block_of_python_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("```python") == len(re.findall(r"<!-- run(?:: [\w ]+)? -->\n```python", text))


@pages
def test_every_block_of_sql_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("```sql") == len(re.findall(r"<!-- sql(?:: \w+)? -->\n```sql", text))


# -- commands


def commands_of(path: Path) -> list[str]:
    """Every command line of ours on a page or in a unit: in blocks of shell as a whole, in the text between backquotes."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".service":
        return re.findall(r"^ExecStart=\S*/(audit-wrapper .*)$", text, re.MULTILINE)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    told = [line for line in lines if line.startswith("audit-wrapper")]
    return told + re.findall(r"`(audit-wrapper [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


COMMANDS = sorted({line for path in [*PAGES, *DOCS.glob("systemd/*")] for line in commands_of(path)})


def parsed(line: str) -> None:
    """As the command line would read it, and no further. Raises what typer raises."""
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("audit-wrapper", list(words))
    while hasattr(command, "resolve_command"):  # a group
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_can_be_given(line: str) -> None:
    if line.split()[1] == "--help":
        with pytest.raises(typer.Exit):
            parsed(line)
        return
    parsed(line)


def test_a_command_that_cannot_be_given() -> None:
    with pytest.raises(Exception, match=r"(?i)no such command"):
        parsed("audit-wrapper nonsense")


def test_units_set_what_there_is() -> None:
    for unit in DOCS.glob("systemd/*.service"):
        for variable in re.findall(r"AUDIT_WRAPPER_(\w+)=", unit.read_text(encoding="utf-8")):
            assert variable.lower() in Settings.__struct_fields__
