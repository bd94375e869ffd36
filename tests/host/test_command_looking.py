"""orders, trades, tail, explain and export: as a person at a terminal and a script see them, over a real day of trading."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pyarrow.parquet
import pytest
from looked import EXCHANGES, day
from test_command import ROOT, Ended

from audit_wrapper import command
from audit_wrapper.store.connection import shown

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def looked_dsn(postgres_server: Any, bot_template: str) -> Iterator[str]:
    """The day, traded once; nobody writes to it any more."""
    name = postgres_server.create(bot_template)
    dsn = postgres_server.address_of(name)
    for kind in EXCHANGES:
        postgres_server.run(day(kind, dsn))
    yield dsn
    postgres_server.drop(name)


@pytest.fixture
def here(looked_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the database in the environment."""
    for name in [name for name in os.environ if name.startswith("AUDIT_WRAPPER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AUDIT_WRAPPER_DSN", looked_dsn)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rows(postgres_server: Any, looked_dsn: str) -> Callable[..., Rows]:
    """What the database itself says to a question."""

    async def read(question: str, *arguments: Any) -> Rows:
        connection = await asyncpg.connect(looked_dsn)
        try:
            return [dict(row) for row in await connection.fetch(question, *arguments)]
        finally:
            await connection.close()

    return lambda question, *arguments: postgres_server.run(read(question, *arguments))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def run(*words: str) -> Ended:
        capsys.readouterr()
        code = command.main(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err).checked()

    return run


def process(*words: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ended(started: subprocess.Popen[str]) -> Ended:
    out, err = started.communicate(timeout=60)
    return Ended(started.returncode, out, err).checked()


def on_a_terminal(width: int, *words: str, **environ: str) -> str:
    """All that a terminal of this width is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")}
    started = subprocess.Popen(
        [sys.executable, "-m", "audit_wrapper", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**environment, "TERM": "xterm-256color", **environ},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert started.wait(60) == 0
    return said.decode("utf-8").replace("\r\n", "\n")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# -- orders and trades


@pytest.mark.parametrize(("table", "time"), [("orders", "created_at"), ("trades", "executed_at")])
def test_every_row_newest_first_with_its_digits(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows], table: str, time: str
) -> None:
    there = rows(f"SELECT * FROM monitoring.{table} WHERE order_key IS NOT NULL ORDER BY {time} DESC, id DESC")
    shown = call(table)
    assert (shown.code, shown.err) == (0, "")
    _, *lines = shown.out.splitlines()
    assert len(lines) == len(there) > 10
    for line, row in zip(lines, there, strict=True):
        cells = re.split(r"  +", line.strip())
        assert f"{row[time]:%Y-%m-%d %H:%M:%S}" in line
        assert row["status"] in cells
        price = row["price"] if table == "orders" else row["average_price"]
        assert format(price, "f") in cells, "the number as it is stored"
        if row["fee"] is not None:
            assert f"{row['fee']:f} {row['fee_currency']}" in cells
    data = json.loads(call(table, "--json").out)
    assert [list(one) for one in data] == [list(row) for row in there]
    for one, row in zip(data, there, strict=True):
        assert one["fee"] == (None if row["fee"] is None else format(row["fee"], "f"))
        assert one[time] == f"{row[time].isoformat()}+00:00"
        assert one["order_key"] == str(row["order_key"])


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("--position 1", "position_id = '1'"),
        ("--exchange bybit", "exchange = 'bybit'"),
        ("--account binance", "account = 'binance'"),
        ("--symbol MNTUSDT", "true"),
        ("--symbol mntusdt", "true"),
        ("--symbol MNT/USDT:USDT", "true"),
        ("--purpose exit", "purpose = 'exit'"),
        ("--purpose stop-loss", "purpose = 'stop_loss'"),
        ("--status filled", "status = 'FILLED'"),
        ("--since 1h", "true"),
        ("--until 1w --position 1", "false"),
        ("--exchange bybit --purpose entry --status FILLED", "exchange = 'bybit' AND purpose = 'entry'"),
    ],
)
@pytest.mark.parametrize("table", ["orders", "trades"])
def test_filters(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows], table: str, words: str, where: str
) -> None:
    expected = rows(f"SELECT id FROM monitoring.{table} WHERE {where}")
    found = call(table, "--json", "--limit", "1000", *words.split())
    assert {one["id"] for one in json.loads(found.out)} == {row["id"] for row in expected}
    assert found.code == (0 if expected else 2)
    if not expected:
        assert (found.out, found.err) == ("[]\n", f"there are no {table} like that\n"), (
            "done, and none there: no wrong usage"
        )


def test_several_statuses(here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]) -> None:
    found = json.loads(call("orders", "--json", "--status", "REJECTED", "--status", "new").out)
    assert {one["status"] for one in found} == {"REJECTED", "NEW"}
    assert len(found) == rows("SELECT count(*) FROM monitoring.orders WHERE status IN ('REJECTED', 'NEW')")[0]["count"]


@pytest.mark.parametrize("table", ["orders", "trades"])
def test_page_by_page_every_row_comes_once(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows], table: str
) -> None:
    seen: list[int] = []
    further: list[str] = []
    while True:
        page = call(table, "--json", "--limit", "4", *further)
        seen += [one["id"] for one in json.loads(page.out)]
        hint = re.fullmatch(
            r"there are more: (--before (\d+)) shows the next 4 \(\2 is the id of the last row here\)\n", page.err
        )
        if hint is None:
            break
        assert int(hint[2]) == seen[-1]
        further = hint[1].split()
    time = {"orders": "created_at", "trades": "executed_at"}[table]
    assert seen == [row["id"] for row in rows(f"SELECT id FROM monitoring.{table} ORDER BY {time} DESC, id DESC")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("orders --symbol XYZUSDT", "there is no order of symbol 'XYZUSDT'; there are: MNTUSDT"),
        ("trades --exchange krakken", "there is no order of exchange 'krakken'; there are: binance, bybit"),
        ("orders --status DONE", "there is no status 'DONE' here: say NEW, PARTIALLY_FILLED, FILLED"),
        ("trades --status REJECTED", "there is no status 'REJECTED' here: say FILLED, PARTIALLY_FILLED"),
        ("orders --purpose fun", "there is no purpose 'fun'"),
        ("orders --since 2026-02-01 --until 2026-01-01", "--until is not after --since"),
        ("orders --since yesterday", "'yesterday' is no time"),
        ("orders --before 999999", "there is no row 999999 in orders"),
        ("orders --limit 0", "--limit"),
        ("orders --position 12345", "there are no orders like that"),
        ("export fills --status NEW", "fills have no status"),
        ("export orders --position 12345", "there are no orders like that: nothing is written"),
        ("export orders -o nowhere/x.csv", "nowhere/x.csv cannot be written: No such file or directory"),
        ("export everything", "everything"),
        ("explain 12345", "there is no position and no order of the name '12345'"),
        ("explain abc123", "at least 8 characters are needed"),
        (
            "explain 1 --exchange bybit",
            "there is nothing of the name '1' there; it is known of: binance MNTUSDT, account binance",
        ),
        ("tail --exchange krakken", "there is no record like that yet"),
        ("orders --bot-schema a-b", "bot_schema"),
        ("orders --dsn mysql://u:sekret@localhost/bot", "mysql"),
    ],
)
def test_what_is_not_there_is_a_sentence(here: Path, call: Callable[..., Ended], words: str, says: str) -> None:
    found = call(*words.split())
    assert (found.code, found.out) == (2, "")
    assert says in found.err
    assert len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", ["orders", "trades", "tail", "explain 1", "export fills", "orders --json"])
def test_a_database_that_is_away_is_a_sentence(here: Path, call: Callable[..., Ended], words: str) -> None:
    found = call(*words.split(), "--dsn", "postgresql://u:sekret@127.0.0.1:9/bot")
    assert (found.code, found.out) == (3, "")
    assert len(found.err.strip().splitlines()) == 1
    assert "(database u@127.0.0.1:9/bot)" in found.err
    assert "sekret" not in found.err


def test_what_a_person_has_to_do_about_the_database_is_said(
    looked_dsn: str, postgres_server: Any, call: Callable[..., Ended]
) -> None:
    other = looked_dsn.replace(looked_dsn.partition("?")[0].rpartition("/")[2], "nowhere")
    found = call("orders", "--dsn", other)
    assert found.code == 3
    assert f"(database {shown(other)}); there is no database of this name on that server" in found.err
    role = f"onlooker_{uuid4().hex[:8]}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        found = call(
            "orders", "--dsn", postgres_server.address_of(looked_dsn.partition("?")[0].rpartition("/")[2], role)
        )
    finally:
        postgres_server.execute(f"DROP ROLE {role}")
    assert found.code == 3
    assert "; the role of this address lacks a right: " in found.err
    assert f"(database {role}@" in found.err


@pytest.mark.parametrize(
    "words", ["orders", "trades --exchange x", "tail -f", "explain 1", "export fills -o fills.csv"]
)
def test_a_database_without_a_trail_is_a_sentence(
    here: Path, call: Callable[..., Ended], fresh_dsn: str, words: str
) -> None:
    found = call(*words.split(), "--dsn", fresh_dsn)
    assert (found.code, found.out) == (3, "")
    assert found.err.count("the trail's tables are not in this database") == 1
    assert "`audit-wrapper init` makes them" in found.err
    assert f"(database {shown(fresh_dsn)})" in found.err
    assert not list(here.iterdir())


@pytest.mark.parametrize("name", ["orders", "trades", "tail", "explain", "export"])
def test_help_has_an_example(call: Callable[..., Ended], name: str) -> None:
    found = call(name, "--help")
    assert found.code == 0
    assert re.search(rf"Examples:\n\s+audit-wrapper {name} ", found.out)


# -- the terminal


@pytest.mark.parametrize("table", ["orders", "trades"])
def test_there_is_room_on_a_narrow_terminal(here: Path, table: str) -> None:
    wide, narrow = (without_colours(on_a_terminal(width, table, "--limit", "5")) for width in (400, 80))
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert "key" in wide.splitlines()[0]
    assert "key" not in narrow.splitlines()[0]
    assert len(wide.splitlines()) == len(narrow.splitlines()) == 6


def test_a_story_is_folded_on_a_narrow_terminal(here: Path) -> None:
    told = without_colours(on_a_terminal(90, "explain", "1"))
    assert all(len(line) <= 90 for line in told.splitlines()[6:])
    assert len(told.splitlines()) > len(without_colours(on_a_terminal(400, "explain", "1")).splitlines())


def test_colours_only_where_they_are_wanted(here: Path, call: Callable[..., Ended]) -> None:
    coloured = on_a_terminal(200, "orders")
    assert "\x1b[32mFILLED" in coloured
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|9)\d", on_a_terminal(200, "orders", NO_COLOR="1"))
    for words in ("orders", "trades", "tail", "explain 1"):
        assert "\x1b" not in call(*words.split()).out


def test_what_somebody_else_wrote_cannot_steer_the_terminal(
    new_database: Callable[..., str], audit_template: str, postgres_server: Any, call: Callable[..., Ended]
) -> None:
    dsn = new_database(audit_template)

    async def write() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "INSERT INTO monitoring.orders (exchange, symbol, status, reason, order_key, created_at) VALUES "
            "('x', 'A', 'REJECTED', E'no\\x1b[2Jway\\nx', gen_random_uuid(), now())"
        )
        await connection.close()

    postgres_server.run(write())
    shown = call("orders", "--dsn", dsn)
    assert "\x1b" not in shown.out
    assert r"no\x1b[2Jway\nx" in shown.out


# -- tail


def test_tail_shows_the_newest(here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]) -> None:
    shown = call("tail", "-n", "7")
    assert (shown.code, len(shown.out.splitlines())) == (0, 7)
    data = [json.loads(line) for line in call("tail", "-n", "1000", "--json").out.splitlines()]
    there = rows("SELECT stored_no, kind, action, exchange FROM audit.events ORDER BY stored_no")
    assert [(one["stored_no"], one["outcome"], one["action"], one["exchange"]) for one in data] == [
        (row["stored_no"], row["kind"], row["action"], row["exchange"]) for row in there
    ]
    refused = next(one for one in data if one["outcome"] == "rejected" and one["exchange"] == "binance")
    assert refused["words"] == "-4045: Reach max stop order limit."
    sent = next(one for one in data if one["outcome"] == "intent" and one["action"] == "place")
    assert re.match(r"POST /fapi/v1/order side=BUY .*type=MARKET quantity=10$", sent["words"])
    assert call("tail", "-n", "1000", "--symbol", "mnt/usdt:usdt", "--json").out
    assert call("tail", "--symbol", "MNT/USDT").err == "there is no record like that yet among the newest 50,000\n"
    only = call("tail", "-n", "1000", "--exchange", "bybit", "--json").out.splitlines()
    assert {json.loads(line)["exchange"] for line in only} == {"bybit"}


def test_tail_follows_until_ctrl_c(here: Path, audit_dsn: str, postgres_server: Any) -> None:
    postgres_server.run(day("bybit", audit_dsn))
    following = process("tail", "-f", "-n", "2", "--json", env={**os.environ, "AUDIT_WRAPPER_DSN": audit_dsn})
    assert following.stdout is not None
    first = [json.loads(following.stdout.readline()) for _ in range(2)]
    postgres_server.run(day("binance", audit_dsn))

    async def count() -> int:
        connection = await asyncpg.connect(audit_dsn)
        try:
            return await connection.fetchval(
                "SELECT count(*) FROM audit.events WHERE stored_no > $1", first[-1]["stored_no"]
            )
        finally:
            await connection.close()

    new = [json.loads(following.stdout.readline()) for _ in range(postgres_server.run(count()))]
    following.send_signal(signal.SIGINT)
    left = following.stdout.read()
    assert following.wait(30) == 0, "that is how one leaves it"
    assert left == ""
    numbers = [one["stored_no"] for one in [*first, *new]]
    assert numbers == sorted(set(numbers))
    assert {one["exchange"] for one in new} - {None} == {"binance"}


# -- explain


def story_of(call: Callable[..., Ended], *words: str) -> dict[str, Any]:
    found = call("explain", *words, "--json")
    assert (found.code, found.err) == (0, "")
    return json.loads(found.out)  # type: ignore[no-any-return]


def told(story: dict[str, Any]) -> list[str]:
    """The steps' names, in order; of fills and what was found later, only once in a row."""
    names = [f"{step['role'] or ''} {step['what']}".strip() for step in story["steps"]]
    names = [name for name in names if name not in ("no stop", "closed")]  # the views know of these
    return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


@pytest.mark.parametrize("position", ["1", "5"])
def test_a_stop_that_was_moved_and_fired(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows], position: str
) -> None:
    story = story_of(call, position)
    by_order = ["stop cancel sent", "stop canceled"] if position == "1" else []
    assert told(story)[: 14 + len(by_order)] == [
        "signal",
        "meant",
        "entry sent",
        "entry filled",
        "entry answered",
        "position",
        "meant",
        "stop sent",
        "stop placed",
        "call",
        *by_order,
        "stop sent",
        "stop moved",
        "stop fired",
        "stop filled",
    ]
    fills = rows(
        "SELECT f.* FROM audit.fills f JOIN monitoring.orders o USING (order_key) WHERE position_id = $1", position
    )
    steps = [step for step in story["steps"] if step["what"] == "filled"]
    assert sorted((step["price"], step["quantity"], step["fee"], step["liquidity"]) for step in steps) == sorted(
        (str(f["price"]), str(f["quantity"]), format(f["fee"], "f"), f["liquidity"]) for f in fills
    )
    assert len(steps) == 4
    moved = next(step for step in story["steps"] if step["what"] == "moved")
    assert re.match(r"from 1\.10* to 1\.150*, ", moved["words"])
    assert moved["took_us"] > 0
    times = [step["since_us"] for step in story["steps"]]
    assert times[0] is None
    assert all(since >= 0 for since in times[1:])
    shown = call("explain", position).out
    assert shown.startswith(
        f"position {position}: MNTUSDT long on {'binance' if position == '1' else 'bybit'}, account "
    )
    assert "; signal 7\n" in shown
    for step in story["steps"]:
        assert step["words"] in shown


def test_an_answer_that_was_lost_and_what_it_came_to(here: Path, call: Callable[..., Ended]) -> None:
    story = story_of(call, "2")
    names = told(story)
    sent, lost, again = (
        names.index("exit sent"),
        names.index("exit no answer"),
        len(names) - 1 - names[::-1].index("exit sent"),
    )
    assert sent < lost < again < names.index("exit answered") < names.index("exit found")
    found = next(step["words"] for step in story["steps"] if (step["role"], step["what"]) == ("exit", "found"))
    assert re.fullmatch(r"it is order \d+ \(client_order_id\)", found)
    assert "canceled" in names, "the cancel-all names no order, and is part of it all the same"


@pytest.mark.parametrize("position", ["3", "7"])
def test_a_rollback(here: Path, call: Callable[..., Ended], position: str) -> None:
    story = story_of(call, position)
    whats = [step["what"] for step in story["steps"]]
    assert whats.count("refused") == 3
    assert whats.count("raised") == 4, "each try, and the bot's call itself"
    assert told(story).index("exit sent") > max(i for i, name in enumerate(told(story)) if name == "stop refused")
    assert not [order for order in story["orders"] if order["position_id"] != position]


def test_one_order_by_every_name_it_has(here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]) -> None:
    (row,) = rows(
        "SELECT * FROM monitoring.orders WHERE position_id = '1' AND status = 'FILLED' AND purpose = 'stop_loss'"
    )
    (child,) = rows("SELECT DISTINCT exchange_order_id FROM audit.fills WHERE order_key = $1", row["order_key"])
    names = [row["order_id"], row["client_order_id"], str(row["order_key"]), str(row["order_key"])[:13]]
    names += [
        str(row["order_key"]).replace("-", "")[:14].upper(),
        child["exchange_order_id"],
        f"order:{row['order_id']}",
    ]
    stories = [story_of(call, name) for name in names]
    assert all(story == stories[0] for story in stories)
    (order,) = stories[0]["orders"]
    assert order["order_key"] == str(row["order_key"])
    assert told(stories[0]) == ["call", "stop sent", "stop moved", "stop fired", "stop filled"]
    shown = call("explain", row["order_id"]).out
    assert (
        f"order {row['order_id']}: MNTUSDT sell STOP_MARKET on binance, account binance\nFILLED: 10 of 10 filled"
        in shown
    )
    assert "of position 1 (explain position:1)" in shown


def test_what_may_mean_several_things_lists_them(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]
) -> None:
    keys = [str(row["order_key"]) for row in rows("SELECT order_key FROM monitoring.orders")]
    alike = [key for key in keys if key[:8] == keys[0][:8]]
    assert len(alike) > 1
    found = call("explain", keys[0][:8])
    assert (found.code, found.out) == (2, "")
    first, *others = found.err.splitlines()
    assert first == f"{keys[0][:8]!r} may mean one of {len(alike)}; say which:"
    assert {line.split()[0] for line in others[:20] if line[:3] != "  a"} <= set(alike)
    for key in alike[:2]:
        assert call("explain", key).code == 0


def test_the_figures_are_those_of_the_view_or_why_they_are_not_known(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]
) -> None:
    shown, story = call("explain", "1").out, story_of(call, "1")
    if rows("SELECT to_regclass('audit.v_positions') AS there")[0]["there"] is None:
        assert "are not known: this database has no audit.v_* views yet: `audit-wrapper upgrade` makes them" in shown
        assert (story["result"], story["stops"]) == (None, None)
        return
    (row,) = rows("SELECT * FROM audit.v_positions WHERE position_id = '1'")
    assert (
        f"result {row['net_result']:f} USDT = {row['gross_result']:f} USDT by the prices, less fees {row['fees']:f} USDT"
        in shown
    )
    assert story["result"]["net_result"] == format(row["net_result"], "f")
    assert "without a stop for " in shown
    assert [step["what"] for step in story["steps"]].count("no stop") == 2
    (position,) = rows("SELECT * FROM audit.v_positions WHERE position_id = '4'")
    assert f"result not known: {position['why_not']}" in call("explain", "4").out


# -- export


@pytest.mark.parametrize("table", ["orders", "trades", "fills", "events"])
def test_an_export_holds_every_value(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows], table: str
) -> None:
    schema = "audit" if table in ("fills", "events") else "monitoring"
    order = {
        "orders": "created_at, id",
        "trades": "executed_at, id",
        "fills": "exchange_at, order_key, exchange_trade_id",
        "events": "stream, seq",
    }[table]
    there = rows(f"SELECT * FROM {schema}.{table} ORDER BY {order}")
    for ending in ("csv", "jsonl", "parquet"):
        done = call("export", table, "-o", f"x.{ending}")
        assert (done.code, done.out) == (0, "")
        assert f"{len(there)} {table} written to x.{ending}" in done.err
    with open("x.csv", newline="", encoding="utf-8") as file:
        from_csv = list(csv.DictReader(file))
    from_lines = [json.loads(line) for line in Path("x.jsonl").read_text(encoding="utf-8").splitlines()]
    from_parquet = pyarrow.parquet.read_table("x.parquet").to_pylist()
    assert len(from_csv) == len(from_lines) == len(from_parquet) == len(there) > 10
    for row, one, line, stored in zip(there, from_csv, from_lines, from_parquet, strict=True):
        for name, value in row.items():
            if value is None:
                assert (one[name], line[name], stored[name]) == ("", None, None)
            elif type(value).__name__ == "Decimal":
                assert one[name] == line[name] == format(value, "f")
                assert stored[name] == value
            elif type(value).__name__ == "datetime":
                moment = value if value.tzinfo else value.replace(tzinfo=UTC)
                assert one[name] == line[name] == moment.isoformat()
                assert stored[name] == moment
            elif name == "body":
                assert one[name] == stored[name] == value
                assert line[name] == json.loads(value)
            elif isinstance(value, bytes):
                assert one[name] == line[name] == value.hex()
                assert stored[name] == value
            elif isinstance(value, bool):
                assert (one[name], line[name], stored[name]) == (str(value).lower(), value, value)
            else:
                assert one[name] == str(value) == str(line[name]) == str(stored[name])


def test_an_export_to_stdout_and_by_its_format(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]
) -> None:
    lines = ended(process("export", "fills", "--position", "1", "--format", "jsonl"))
    assert (lines.code, len(lines.out.splitlines()), lines.err) == (0, 4, "4 fills written to stdout\n")
    plain = ended(process("export", "trades", "--exchange", "bybit"))
    assert plain.out.splitlines()[0].startswith("id,signal_id,symbol")
    assert (
        len(plain.out.splitlines()) - 1
        == rows("SELECT count(*) FROM monitoring.trades WHERE exchange = 'bybit'")[0]["count"]
    )


def test_positions_can_be_exported_where_there_are_views(
    here: Path, call: Callable[..., Ended], rows: Callable[..., Rows]
) -> None:
    found = call("export", "positions", "-o", "positions.csv")
    if rows("SELECT to_regclass('audit.v_positions') AS there")[0]["there"] is None:
        assert (found.code, Path("positions.csv").exists()) == (2, False)
        assert "has no view audit.v_positions yet: `audit-wrapper upgrade` makes it" in found.err
        return
    with open("positions.csv", newline="", encoding="utf-8") as file:
        assert {row["position_id"] for row in csv.DictReader(file)} == {str(number) for number in range(1, 9)}


def test_without_pyarrow_it_says_what_to_install(
    here: Path, call: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = call("export", "orders", "-o", "x.parquet")
    assert found.code == 2
    assert "pip install 'audit-wrapper[frames]'" in found.err
    assert not list(here.iterdir())
    assert call("export", "orders", "-o", "x.csv").code == 0


def test_an_export_that_is_broken_off_leaves_what_was_there(
    here: Path, postgres_server: Any, new_database: Any, audit_template: str
) -> None:
    dsn = new_database(audit_template)

    async def fill() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "INSERT INTO monitoring.orders (exchange, symbol, status, order_key, created_at, reason) "
            "SELECT 'x', 'A', 'FILLED', gen_random_uuid(), now(), repeat('x', 1000) FROM generate_series(1, 60000)"
        )
        await connection.close()

    postgres_server.run(fill())
    Path("x.csv").write_text("before", encoding="utf-8")
    going = process("export", "orders", "-o", "x.csv", env={**os.environ, "AUDIT_WRAPPER_DSN": dsn})
    deadline = time.monotonic() + 30
    while not any(part.stat().st_size for part in here.glob(".x.csv.*.part") if part.exists()):
        assert going.poll() is None
        assert time.monotonic() < deadline
    going.send_signal(signal.SIGTERM)
    out, err = going.communicate(timeout=60)
    assert (going.returncode, out) == (130, "")
    assert "broken off" in err
    assert [path.name for path in here.iterdir()] == ["x.csv"]
    assert Path("x.csv").read_text(encoding="utf-8") == "before"


# -- each in a process of its own


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        ("orders -n 3", "id  created (UTC)"),
        ("trades -n 3", "id  executed (UTC)"),
        ("tail -n 1", "20"),
        ("explain 1", "position 1: MNTUSDT long on binance"),
        ("export fills", "order_key,exchange,account"),
    ],
)
def test_in_a_process_of_its_own(here: Path, words: str, starts: str) -> None:
    found = ended(process(*words.split()))
    assert found.code == 0
    assert found.out.startswith(starts)


@pytest.mark.parametrize("words", ["orders", "tail -n 1000", "explain 1", "export events"])
def test_a_reader_that_has_seen_enough(here: Path, words: str) -> None:
    going = process(*words.split())
    assert going.stdout is not None
    assert going.stdout.readline()
    going.stdout.close()
    assert going.stderr is not None
    said = going.stderr.read()
    assert (going.wait(60), "Traceback" in said, "BrokenPipe" in said) == (0, False, False)


@pytest.mark.parametrize("words", ["orders", "orders --json", "tail -n 3", "explain 1", "export events"])
def test_a_stdout_whose_disk_is_full(here: Path, words: str) -> None:
    with open("/dev/full", "wb") as full:
        going = subprocess.run(
            [sys.executable, "-m", "audit_wrapper", *words.split()], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    said = b"audit-wrapper: stdout cannot be written: No space left on device\n"
    assert (going.returncode, going.stderr) == (2, said)
