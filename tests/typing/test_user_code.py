"""The public types, tested as user code: mypy, strict, on a file that a user could have written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_user_code_type_checks() -> None:
    code = Path(__file__).with_name("user_code.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if "user_code.py" in line]
    assert errors == [], done.stdout
    assert "user_code" in done.stdout or "Success" in done.stdout, done.stdout + done.stderr
