"""The short form of `make torture`: a kill at each named point, and some dozen random faults with fresh seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the bots are forked")
def test_nothing_is_lost(postgres_server: Any) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--every-point", "--faults", "24"],
        cwd=ROOT,
        env={**os.environ, "POSTGRES_TEST_DSN": postgres_server.dsn},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
    assert "nothing was lost" in ended.stdout
