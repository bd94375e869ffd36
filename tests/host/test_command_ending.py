"""How commands end: each error a sentence and a code, none a traceback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from audit_wrapper.command.app import app
from audit_wrapper.command.ending import Unreachable, spoken
from audit_wrapper.command.voice import Voice
from audit_wrapper.errors import JournalInUse, JournalUnavailable, SchemaError, SettingsError, StoreUnavailable
from audit_wrapper.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


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
        (ModuleNotFoundError("No module named 'plotly'", name="plotly.graph_objects"), 2, "audit-wrapper[report]"),
        (ModuleNotFoundError("No module named 'pandas'", name="pandas"), 2, "pip install audit-wrapper[frames]"),
        (ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), 1, "please report it: ModuleNotFoundError"),
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
        return [found for name, one in below.items() for found in paths(one, [*path, name])]

    for path in paths(typer.main.get_command(app), []):
        assert app([*path, "--help"], standalone_mode=False) == 0
        text = capsys.readouterr().out
        assert f"audit-wrapper {' '.join(path)}" in text.partition("xample")[2], path
        assert "130  broken off" in text, path


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """`audit-wrapper --help | head -c 1`, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0
