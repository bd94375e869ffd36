"""The wheel: everything in it that is needed, and it works outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USE = """
import asyncio, audit_wrapper
from pathlib import Path
from audit_wrapper.store import schema
from audit_wrapper.testing import memory_trail

assert "site-packages" not in audit_wrapper.__file__ and str(Path.cwd()) in audit_wrapper.__file__, audit_wrapper.__file__

class Manager:
    name = "kraken"
    async def create_market_order(self, symbol, side, amount):
        return {"id": "1", "symbol": symbol, "side": side, "type": "market", "amount": amount, "filled": amount,
                "average": 2.5, "status": "closed", "info": {}}

with memory_trail() as trail:
    manager = trail.wrap({"kraken": Manager()})["kraken"]
    asyncio.run(manager.create_market_order("MNT/USD", "buy", 3))
row, = trail.orders
assert (row.status, str(row.size), str(row.average_price)) == ("FILLED", "3", "2.5"), row
assert "CREATE TABLE" in schema.schema_sql()
print("works")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (made,) = folder.glob("*.whl")
    return made


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "audit_wrapper/py.typed" in names
    sources = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "audit_wrapper").rglob("*")
        if p.suffix in (".py", ".sql", ".j2", ".css", ".js")
    }
    assert sources <= names, sources - names
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"audit_wrapper"}, "no tests, no examples"


def test_it_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    # unpacked where the checkout is not in sight; its dependencies are those of this environment
    zipfile.ZipFile(wheel).extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "works", done.stderr
