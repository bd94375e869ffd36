"""How commands end: each error a sentence and a code, none a traceback."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from called import ROOT, called, started

import audit_wrapper.command.progress as progress_module
from audit_wrapper.command.app import app
from audit_wrapper.command.ending import Unreachable, spoken
from audit_wrapper.command.progress import Progress, duration
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import JournalInUse, JournalUnavailable, SchemaError, SettingsError, StoreUnavailable
from audit_wrapper.settings import Settings


def raising(problem: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise problem

    return work


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (SettingsError("dsn cannot be used"), 2, "audit-wrapper: dsn cannot be used"),
        (StoreUnavailable("no connection"), 3, "audit-wrapper: no connection"),
        (SchemaError("rights are missing"), 3, "audit-wrapper: rights are missing"),
        (JournalInUse("somebody writes"), 3, "audit-wrapper: somebody writes"),
        (JournalUnavailable("no such folder"), 3, "audit-wrapper: no such folder"),
        (Unreachable("bybit cannot be reached"), 3, "audit-wrapper: bybit cannot be reached"),
        (KeyboardInterrupt(), 130, "the next run goes on"),
        (asyncio.CancelledError(), 130, "the next run goes on"),
        (typer.BadParameter("it is no time"), 2, "it is no time (see --help)"),
        (ModuleNotFoundError("No module named 'plotly'", name="plotly.graph_objects"), 2, "'audit-wrapper[report]'"),
        (ModuleNotFoundError("No module named 'pandas'", name="pandas"), 2, "pip install 'audit-wrapper[frames]'"),
        (ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), 1, "please report it: ModuleNotFoundError"),
        (BrokenPipeError("of a connection"), 1, "please report it: BrokenPipeError"),
        (ZeroDivisionError("division by zero"), 1, "please report it: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_raised_becomes_a_sentence_and_a_code(
    problem: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUDIT_WRAPPER_DEBUG", raising=False)
    assert spoken(raising(problem), Voice()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_a_secret_is_in_no_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert spoken(raising(RuntimeError("the key sesame is refused")), Voice(["sesame"])) == 1
    assert "the key *** is refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["postgresql://bot:sesame@localhost/bot"],
        ["verify", "postgresql://bot:sesame@localhost/bot"],
        ["verify", "--password", "sesame"],
        ["verify", "--password=sesame"],
        ["--password=sesame", "verify"],
        ["quarantine", "sesame:sesame"],
        ["quarantine", "list", "sesame"],
    ],
)
def test_words_in_the_wrong_place_are_not_said_again(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = called(capsys, *words)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert "sesame" not in found.err
    assert "(see --help)" in found.err


def test_a_command_that_is_nearly_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command 'verfy'" in called(capsys, "verfy").err


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_SAY_EVERY_S", 0.0)
    with Progress(Voice(), "checking") as progress:
        progress.reach(3)
        progress.reach(5, 20)
        progress.reach(20, 20, "writing")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "checking: 3"
    assert re.fullmatch(r"checking: 25%, about \d+ s left", second)
    assert third == "writing: 100%, about 0 s left"
    monkeypatch.setattr(progress_module, "_SAY_EVERY_S", 60.0)
    with Progress(Voice(), "checking", 20) as progress:
        progress.reach(5)
    assert capsys.readouterr().err == ""  # what is soon over needs no word


def test_on_a_terminal_there_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(Voice(), "checking", 20) as progress:
        progress.reach(5)
        progress.reach(10, doing="writing")
    out, err = capsys.readouterr()
    assert out == ""
    assert "writing" in err
    assert "50%" in err


@pytest.mark.parametrize(("seconds", "words"), [(3, "3 s"), (119, "119 s"), (600, "10 min"), (36_000, "10 h")])
def test_how_long_it_takes(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_debug_shows_where_it_was(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_WRAPPER_DEBUG", "1")
    assert spoken(raising(ZeroDivisionError("division by zero")), Voice()) == 1
    assert "in work" in capsys.readouterr().err
    assert spoken(raising(SettingsError("no")), Voice()) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert Settings.load({}).account == "default"  # it is no setting, and no unknown one


def test_every_command_has_an_example_and_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def paths(command: object, path: list[str]) -> list[list[str]]:
        below = getattr(command, "commands", None)
        if below is None:
            return [path]
        assert list(below)
        return [found for name, one in below.items() for found in paths(one, [*path, name])]

    for path in paths(typer.main.get_command(app), []):
        assert app([*path, "--help"], standalone_mode=False) == 0
        text = capsys.readouterr().out
        assert f"audit-wrapper {' '.join(path)}" in text.partition("xample")[2], path
        assert "130  broken off" in text, path


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """`audit-wrapper --help | head -c 1`, in a process of its own."""
    process = started(tmp_path, "--help")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 0


@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", ["--help", "upgrade --sql", "verify --help"])
def test_a_stdout_that_takes_nothing_is_a_sentence(tmp_path: Path, words: str, stdout: str) -> None:
    script = f"{shlex.quote(sys.executable)} -m audit_wrapper {words} {stdout}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_WRAPPER_")}
    found = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    why = {">/dev/full": "No space left on device", ">&-": "it is closed"}[stdout]
    assert (found.returncode, found.stderr) == (2, f"audit-wrapper: stdout cannot be written: {why}\n")


def test_what_somebody_else_wrote_breaks_neither_the_terminal_nor_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "a\x1b[2Jb\x9b31mc\ud800d\u202ee\u4e2d\U0001f600"
    voice = Voice()
    voice.say(f"{hostile}\nsecond line")
    voice.show_json({"words": hostile})
    voice.show("lone \ud800")
    out, err = capsys.readouterr()
    assert err == "a\\x1b[2Jb\\x9b31mc\\ud800d\\u202ee\u4e2d\U0001f600\nsecond line\n"
    data, _, last = out.rpartition("lone ")
    assert json.loads(data) == {"words": hostile}
    assert not {*"\x1b\x9b\u202e\ud800"} & {*out}
    assert last == "\\ud800\n"
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    voice.show_json({"words": hostile})
    assert json.loads(ascii_only.buffer.getvalue()) == {"words": hostile}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "never"),
    [
        ("--help", {"asyncpg", "audit_wrapper.trail", "audit_wrapper.tables"}),
        ("orders --help", {"asyncpg", "audit_wrapper.trail", "audit_wrapper.tables"}),
        ("orders", {"rich.console", "audit_wrapper.trail", "audit_wrapper.exchanges", "audit_wrapper.journal"}),
        ("explain 1", {"rich.console", "audit_wrapper.trail", "audit_wrapper.recorder", "audit_wrapper.journal"}),
        ("status", {"pandas", "audit_wrapper.trail", "audit_wrapper.delivery", "audit_wrapper.exchanges"}),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(tmp_path: Path, words: str, never: set[str]) -> None:
    """Half a second of imports is what a person waits for: the database answers in less."""
    program = (
        "import sys; from audit_wrapper.command import main; main(); print(' '.join(sys.modules), file=sys.stderr)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "AUDIT_WRAPPER_DSN": "postgresql://u@127.0.0.1:9/bot"}
    found = subprocess.run(
        [sys.executable, "-c", program, *words.split()], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    loaded = {*found.stderr.splitlines()[-1].split()}
    assert "audit_wrapper.command.app" in loaded
    assert not loaded & never


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = called(capsys, "--help").out
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"^  {name} +[A-Z].+[.?]$", shown, re.MULTILINE), name
