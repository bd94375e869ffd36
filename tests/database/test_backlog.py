"""The backlog that tests/torture/backlog.py makes and drains, small enough for every day."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BACKLOG = Path(__file__).resolve().parents[1] / "torture" / "backlog.py"


def test_a_backlog_drains_with_bounded_memory_and_the_lag_in_sight(fresh_dsn: str) -> None:
    command = [sys.executable, str(BACKLOG), "6000", "--dsn", fresh_dsn, "--most-mb", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all there, in order, once\n")
