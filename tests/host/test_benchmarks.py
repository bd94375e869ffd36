"""That the benchmarks run and write what they measured. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PARTS = {"order_path", "loop_lag", "delivery", "footprint", "adapters"}
ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmarks_run_and_write_their_figures(fresh_dsn: str, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--json", str(written), "--dsn", fresh_dsn]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=240, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    assert set(figures) == {"machine", "effort", *PARTS}
    assert all({"seconds", "load_before", "load_after"} < set(figures[part]) for part in PARTS)
    assert figures["machine"]["packages"]["audit-wrapper"]
    assert list(tmp_path.iterdir()) == [written], "nothing is left behind"
