"""That the benchmarks run, show and write what they measured. No time is asserted.

All in this process, where nothing has to be started and imported again: the parts have processes of their own only so that none
disturbs the figures of another.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import loop_lag, page, parts

PARTS = ("order_path", "loop_lag", "delivery", "adapters")


def test_the_benchmarks_run_and_write_their_figures(
    fresh_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (parts, loop_lag):
        monkeypatch.setattr(module, "apart", lambda function, *args: function(*args))
    monkeypatch.setattr(gc, "collect", lambda: 0)  # before each turn, and this process has much to look through
    written = tmp_path / "figures.json"
    options = ["--tiny", "--json", str(written), "--dsn", fresh_dsn, "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *PARTS, *options])
    assert command.main() == 0
    assert list(tmp_path.iterdir()) == [written], "nothing is left behind"
    found: dict[str, Any] = json.loads(written.read_text())
    assert set(found) == {"machine", "effort", *PARTS}
    assert all({"seconds", "load_before", "load_after"} < set(found[part]) for part in PARTS)
    assert found["machine"]["packages"]["audit-wrapper"]

    calls = found["order_path"]["through a manager"]["back to back"]
    assert all(len(one["p50_us_of_each_turn"]) == 2 and one["us"]["p50"] > 0 for one in calls.values())
    assert {"bare bot", "ours, order path alone", "inline logging", "synchronous commit, SQLAlchemy"} < set(calls)
    shown = capsys.readouterr().out
    assert all(f"\n{part}: " in shown for part in PARTS)
    assert all(name in shown for name in calls)

    lines = list(page.page([found]))
    assert sum(line.endswith(("| reached |", "| **not reached** |")) for line in lines) >= 13
    assert {"| ours, order path alone |", "| binanceusdm |", "| without us |"} <= {
        f"{line[: line.find('|', 1)]}|" for line in lines if line.startswith("|")
    }
    text = page.PAGE.read_text(encoding="utf-8")
    assert 0 < text.find(page.BEGIN) < text.find(page.END), "where the figures of a run are put"
