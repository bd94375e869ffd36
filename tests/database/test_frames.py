"""`audit_wrapper.frames`: the tables as a notebook and a script have them."""

from __future__ import annotations

import asyncio
import csv
import functools
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pandas
import pyarrow.parquet
import pytest
from conftest import UNIFIED, FakeJournal
from positions import Fill, Positions, at

from audit_wrapper import frames
from audit_wrapper.command import main
from audit_wrapper.errors import NothingFound, SettingsError, StoreUnavailable
from audit_wrapper.records import PositionLink
from audit_wrapper.settings import Settings
from audit_wrapper.store.postgres import PostgresStore
from audit_wrapper.tables import Reader
from audit_wrapper.tables.figures import Range, read_figures

ROOT = Path(__file__).resolve().parents[2]
LINK = PositionLink(position_id="7", signal_id=42, how="scope")
# what somebody has in a notebook, or in a script
CELLS = """
from audit_wrapper import frames

orders = frames.orders(position=7)
fills = frames.fills(symbol="MNT/USDT:USDT")
floats = frames.trades(floats=True)
assert len(orders) == 1 and orders["fee"].sum() == __import__("decimal").Decimal("0.00117")
assert floats["fee"].dtype == "float64"
print(len(orders), len(fills), len(floats))
"""


@pytest.fixture
async def filled(store: PostgresStore, journal: FakeJournal) -> FakeJournal:
    journal.acknowledge(journal.intent(position=LINK), "1", position=LINK)
    journal.seen(
        "1",
        trades=(
            {
                "id": "t1",
                "order": "1",
                "symbol": UNIFIED,
                "side": "buy",
                "price": "0.6543",
                "amount": "3",
                "timestamp": 1_767_225_600_000,
                "fee": {"cost": "0.00117", "currency": "USDT"},
            },
        ),
    )
    journal.resting("2", "BTC/USDT:USDT")
    await journal.deliver(store)
    return journal


async def test_decimals_are_kept_and_what_is_not_known_is_none(
    filled: FakeJournal, audit_dsn: str, connection: asyncpg.Connection
) -> None:
    there = await connection.fetch("SELECT * FROM monitoring.orders ORDER BY created_at, id")
    frame = frames.orders(audit_dsn)
    assert list(frame.columns) == list(there[0].keys())
    assert len(frame) == len(there) == 2
    for name in frame.columns:
        for value, stored in zip(frame[name], (row[name] for row in there), strict=True):
            if stored is None:
                assert value is None or value is pandas.NA or value is pandas.NaT
            elif isinstance(stored, Decimal):
                assert isinstance(value, Decimal)
                assert str(value) == str(stored)
            elif isinstance(stored, datetime):
                assert value == pandas.Timestamp(stored, tz="UTC")
            else:
                assert value == (str(stored) if type(stored).__name__ == "UUID" else stored)
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"
    assert str(frame["reduce_only"].dtype) == "boolean"


async def test_floats_where_they_are_asked_for(filled: FakeJournal, audit_dsn: str) -> None:
    frame = frames.orders(audit_dsn, floats=True)
    assert {str(frame[name].dtype) for name in ("size", "price", "filled", "fee", "limit_price")} == {"float64"}
    assert frame["fee"][0] == 0.00117
    assert frame["fee"].isna().tolist() == [False, True]


async def test_each_table_and_each_filter(filled: FakeJournal, audit_dsn: str) -> None:
    assert frames.orders(audit_dsn)["order_id"].tolist() == ["1", "2"], "the oldest first"
    assert frames.trades(audit_dsn)["order_id"].tolist() == ["1"]
    assert frames.fills(audit_dsn)["exchange_trade_id"].tolist() == ["t1"]
    assert frames.fills(audit_dsn, position=7)["fee"].sum() == Decimal("0.00117")
    assert frames.orders(audit_dsn, position="7")["order_id"].tolist() == ["1"]
    assert frames.orders(audit_dsn, symbol="BTCUSDT")["order_id"].tolist() == ["2"]
    assert frames.orders(audit_dsn, exchange="kraken", account="default").shape[0] == 2
    assert frames.orders(audit_dsn, account="nobody").shape[0] == 0
    fill_at = datetime(2026, 1, 1, tzinfo=UTC)
    for since in ("2026-01-01", date(2026, 1, 1), datetime(2026, 1, 1), fill_at, pandas.Timestamp(fill_at)):
        assert len(frames.fills(audit_dsn, since=since)) == 1
        assert len(frames.fills(audit_dsn, until=since)) == 0
    zone = timezone(timedelta(hours=2))
    assert len(frames.fills(audit_dsn, since=datetime(2026, 1, 1, 2, tzinfo=zone))) == 1
    assert len(frames.fills(audit_dsn, since=datetime(2026, 1, 1, 2, 1, tzinfo=zone))) == 0


async def test_an_empty_frame_has_its_columns(store: PostgresStore, audit_dsn: str) -> None:
    for frame in (frames.orders(audit_dsn), frames.fills(audit_dsn, floats=True)):
        assert len(frame) == 0
        assert {"symbol", "fee"} <= set(frame.columns)


async def test_positions_are_those_of_the_view(
    filled: FakeJournal, audit_dsn: str, connection: asyncpg.Connection
) -> None:
    if await connection.fetchval("SELECT to_regclass('audit.v_positions')") is None:
        with pytest.raises(NothingFound, match="audit-wrapper upgrade"):
            frames.positions(audit_dsn)
        return
    frame = frames.positions(audit_dsn)
    row = await connection.fetchrow("SELECT * FROM audit.v_positions")
    assert frame["position_id"].tolist() == ["7"]
    assert frame["fees"][0] == row["fees"]
    assert frame["why_not"][0] == row["why_not"]


async def test_positions_are_those_closed_in_the_range_or_open_at_its_end(store: PostgresStore, audit_dsn: str) -> None:
    bot = Positions("bybit")
    for position, first, last in (("before", 10, 20), ("ends", 10, 200), ("within", 110, 120), ("around", 30, 400)):
        bot.order(first, "buy", "1", Fill(first, "5", "1"), position=position)
        bot.order(last, "sell", "1", Fill(last, "6", "1"), position=position)
    bot.order(40, "buy", "1", Fill(40, "5", "1"), position="open")
    bot.order(310, "buy", "1", Fill(310, "5", "1"), position="later")
    bot.order(50, "buy", "1", position="unknown", answered=False)
    bot.order(60, "buy", "1", position="nothing was executed")
    await bot.deliver(store)

    def of(**within: Any) -> set[str]:
        return set(frames.positions(audit_dsn, **within)["position_id"])

    everything = {"before", "ends", "within", "around", "open", "later", "unknown", "nothing was executed"}
    assert of() == everything
    assert of(since=at(100), until=at(300)) == {"ends", "within", "around", "open", "unknown"}
    assert of(since=at(200), until=at(300)) == {"ends", "around", "open", "unknown"}, "the beginning is in it"
    assert of(since=at(100), until=at(310)) == {"ends", "within", "around", "open", "unknown"}, "the end is not"
    assert of(since=at(201)) == {"around", "open", "unknown", "later"}
    assert of(until=at(45)) == {"before", "ends", "around", "open"}, "also those that were closed later"
    assert of(since=at(100), position="open") == {"open"}
    assert of(since=at(100), until=at(300), exchange="bybit", account="nobody") == set()
    async with Reader(Settings(dsn=audit_dsn)) as reader:
        report = await read_figures(reader, Range(since=at(100), until=at(300)), rows=99, gaps=9)
    assert {row["position_id"] for row in report.positions} == of(since=at(100), until=at(300)), "one rule for all"


async def test_fees_in_other_currencies_are_exact(store: PostgresStore, audit_dsn: str, tmp_path: Path) -> None:
    bot = Positions("bybit")
    bot.order(1, "buy", "1", Fill(1, "5", "1", "0.000000000123456789012345", "BNB"), position="7")
    bot.order(2, "buy", "1", Fill(2, "5", "1", "0.1", "USDT"), position="8")
    await bot.deliver(store)
    fee = "0.000000000123456789012345"
    assert frames.positions(audit_dsn)["fees_other"].tolist() == [{"BNB": Decimal(fee)}, None]
    assert frames.positions(audit_dsn, floats=True)["fees_other"].tolist() == [{"BNB": float(fee)}, None]
    for kind in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"positions.{kind}"
        exported = await asyncio.to_thread(main, ["export", "positions", "--dsn", audit_dsn, "-o", str(file)])
        assert exported == 0
    with (tmp_path / "positions.csv").open(encoding="utf-8") as lines:
        found = [[row["fees_other"] or None for row in csv.DictReader(lines)]]
    found.append(pyarrow.parquet.read_table(tmp_path / "positions.parquet")["fees_other"].to_pylist())
    assert found == [[f'{{"BNB": "{fee}"}}', None]] * 2
    rows = [json.loads(line) for line in (tmp_path / "positions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["fees_other"] for row in rows] == [{"BNB": fee}, None], "an object, not a text"


async def test_a_script_and_a_notebook(filled: FakeJournal, audit_dsn: str, tmp_path: Path) -> None:
    """The same cells without a running loop, and inside one, where asyncio.run would refuse."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "AUDIT_WRAPPER_DSN": audit_dsn}
    notebook = f"import asyncio\nasync def kernel():\n    exec(compile({CELLS!r}, 'cell', 'exec'), {{}})\nasyncio.run(kernel())\n"
    for text in (CELLS, notebook):
        script = tmp_path / "script.py"
        script.write_text(text, encoding="utf-8")
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-W", "error", str(script)], env=environ, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr, done.returncode) == ("1 1 1\n", "", 0)


@pytest.mark.parametrize("running", [True, False])
def test_what_goes_wrong_is_raised_to_the_caller(audit_dsn: str, running: bool) -> None:
    def raises(kind: type[Exception], match: str, call: Any) -> None:
        async def within() -> None:
            call()

        with pytest.raises(kind, match=match):
            asyncio.run(within()) if running else call()

    raises(StoreUnavailable, "read the orders", lambda: frames.orders("postgresql://u:p@127.0.0.1:9/none"))
    raises(SettingsError, "there is no setting 'simbol'", lambda: frames.orders(audit_dsn, simbol="x"))
    raises(NothingFound, "there is no order yet", lambda: frames.orders(audit_dsn, symbol="MNTUSDT"))
    for strange in ("yesterday", "2026-13-01", 1_767_225_600, pandas.NaT, ""):
        raises(
            SettingsError,
            "until=.* is no time: give an ISO date",
            functools.partial(frames.orders, audit_dsn, until=strange),
        )
    raises(SettingsError, "before it begins", lambda: frames.fills(audit_dsn, since="2026-02-01", until="2026-01-01"))


async def test_the_curve_of_the_example_goes_by_the_time_of_closing(store: PostgresStore, audit_dsn: str) -> None:
    bot = Positions("bybit")
    for position, first, last, price in (("1", 10, 300, "7"), ("2", 20, 100, "4"), ("3", 30, None, "")):
        bot.order(first, "buy", "1", Fill(first, "5", "1"), position=position)
        if last is not None:
            bot.order(last, "sell", "1", Fill(last, price, "1"), position=position)
    await bot.deliver(store)
    (line,) = [line.strip() for line in str(frames.__doc__).splitlines() if "cumsum" in line]
    curve = eval(line.removesuffix(".plot()"), {"positions": frames.positions(audit_dsn, floats=True)})
    assert curve.tolist() == [-1.0, 1.0]
    assert curve.index.tolist() == [pandas.Timestamp(at(100)), pandas.Timestamp(at(300))]


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install audit-wrapper\[frames\]"):
        frames.orders("postgresql://localhost/bot")
