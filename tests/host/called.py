"""The command line called in this process, and in one of its own; for tests of commands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from audit_wrapper.command import main

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    def checked(self) -> Ended:
        """No traceback in it."""
        assert "Traceback" not in self.out + self.err, self
        return self


def called(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    code = main(words)
    return Ended(code, *capsys.readouterr()).checked()


async def called_beside(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    """The same where a loop runs."""
    return await asyncio.to_thread(called, capsys, *words)


def started(folder: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    """A process of its own, which sees none of this machine's settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_WRAPPER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", *words],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(folder: Path, *words: str, **environ: str) -> Ended:
    process = started(folder, *words, **environ)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err).checked()
