"""`audit-wrapper report`: what stands on the page equals the views, and figures worked out by hand."""

from __future__ import annotations

import asyncio
import html
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from several_days import HOSTILE, market, second_account, several_days

from audit_wrapper import command
from audit_wrapper.report import words
from audit_wrapper.settings import Settings
from audit_wrapper.store.queries import by_name
from audit_wrapper.tables import Reader
from audit_wrapper.tables.figures import Figures, Range, read_figures

BEGAN = datetime(2025, 5, 4, 8, 0, tzinfo=UTC)
FIGURES = Path(command.__file__).parents[1] / "tables" / "figures.sql"


@dataclass
class Page(HTMLParser):
    """A page, read back: its tables by id (or class), rows as texts; and `data-v` of each cell."""

    text: str
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    plain: dict[str, list[list[str | None]]] = field(default_factory=dict)
    scripts: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self._name, self._cell, self._in_p, self._skipped = "", False, False, ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag == "script" and "type" not in given
        if tag in ("script", "style"):
            self._skipped = tag
        if tag == "table":
            self._name = given.get("id") or f"{given['class']}-{len(self.tables)}"
            self.tables[self._name], self.plain[self._name] = [], []
        if tag == "tr":
            self.tables[self._name].append([])
            self.plain[self._name].append([])
        if tag in ("td", "th"):
            self._cell = True
            self.tables[self._name][-1].append("")
            self.plain[self._name][-1].append(given.get("data-v"))
        self._in_p = self._in_p or tag == "p"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
        if tag == "p":
            self._in_p = False
        if tag == self._skipped:
            self._skipped = ""

    def handle_data(self, data: str) -> None:
        if self._cell and not self._in_p and not self._skipped:
            self.tables[self._name][-1][-1] += data

    def column(self, table: str, name: str, *, plain: bool = False) -> list[Any]:
        """Of the rows of the body."""
        head, *rows = self.tables[table]
        place = head.index(name)
        source = self.plain[table][1:] if plain else rows
        return [row[place] for row in source if len(row) == len(head)]

    def ledger(self, number: int = 0) -> dict[str, str]:
        """Of one account, as it stands."""
        name = [name for name in self.tables if name.startswith("ledger")][number]
        return {row[0]: row[1] for row in self.tables[name]}


def _database(server: Any, template: str, work: Any) -> Iterator[str]:
    name = server.create(template)
    dsn = server.address_of(name)
    asyncio.run(work(dsn))
    yield dsn
    server.drop(name)


@pytest.fixture(scope="module")
def two_dsn(postgres_server: Any, bot_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two positions whose figures can be worked out by hand, a refusal, and an account in dollars."""

    async def work(dsn: str) -> None:
        folder = tmp_path_factory.mktemp("two")
        async with market(dsn, folder / "journal", BEGAN) as on:
            sim = on.sims["binance"]
            won = await on.open("binance", "BTCUSDT", "BUY", "60000", "58800", "0.05", 1)
            on.later(1)
            sim.set_price("BTCUSDT", "61000")
            await on.close(won, limit="60900")
            on.later(1)
            await on.open("binance", "ETHUSDT", "SELL", "3000", "3060", "1", 2)
            on.later(1)
            sim.set_price("ETHUSDT", "3061")
            await on.bot.sync()
            await on.settled()
        await second_account(dsn, folder / "second", BEGAN)

    yield from _database(postgres_server, bot_template, work)


@pytest.fixture(scope="module")
def days_dsn(postgres_server: Any, bot_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three days of everything."""

    async def work(dsn: str) -> None:
        await several_days(dsn, tmp_path_factory.mktemp("days"), days=3)

    yield from _database(postgres_server, bot_template, work)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DSN", "JOURNAL", "ACCOUNT"):
        monkeypatch.delenv(f"AUDIT_WRAPPER_{name}", raising=False)


def made(dsn: str, folder: Path, *options: str) -> Page:
    """The page, through the command."""
    file = folder / "report.html"
    assert command.main(["report", "--dsn", dsn, "-o", str(file), *options]) == 0
    assert [path.name for path in folder.iterdir()] == ["report.html"], "nothing else is left behind"
    return Page(file.read_text(encoding="utf-8"))


async def figures(dsn: str, **within: Any) -> Figures:
    async with Reader(Settings(dsn=dsn)) as reader:
        return await read_figures(reader, Range(**within), rows=10_000, gaps=20)


async def view(dsn: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def test_the_result_of_two_positions_worked_out_by_hand(two_dsn: str, tmp_path: Path) -> None:
    """BTC: bought 0.05 at 60000.1 for 60000, sold at 60999.9 for a limit of 60900. ETH: sold 1 at 2999.99 for 3000, and the stop
    at 3060 bought it back at 3061.01. Fees: 0.05 % of each."""
    page = made(two_dsn, tmp_path, "--account", "default")
    columns = ("intended", "slippage", "fees", "net result")
    assert [page.column("t-positions", name)[:2] for name in columns] == [
        ["-60", "+45"],
        ["1.02", "-4.99"],  # 0.01 + 1.01, and 0.005 - 4.995
        ["3.0305", "3.025"],
        ["-64.0505", "+46.965"],
    ]
    for intended, slippage, fees, net in zip(
        *(page.column("t-positions", name, plain=True) for name in columns), strict=True
    ):
        assert Decimal(intended) - Decimal(slippage) - Decimal(fees) == Decimal(net)
    assert page.ledger() == {
        "Intended result": "-15.0000",
        "Slippage and spread": "+3.9700",
        "Gross result": "-11.0300",
        "Fees": "-6.0555",
        "Net result": "-17.0855",
    }
    for label, text in {
        "Win rate": "50 % <small>1 won, 1 lost</small>",
        "Profit factor": "0.73",  # 46.965 / 64.0505
        "Sharpe": "-0.109 <small>per position</small>",  # -8.54275 / 78.49981
        "Average win": "+46.97",
        "Average loss": "-64.05",
        "Largest drawdown": "64.05",
    }.items():
        assert f">{text}</dd>" in page.text.partition(f"<summary>{label}</summary>")[2].partition("</div>")[0], label


def test_accounts_and_currencies_stand_apart(two_dsn: str, tmp_path: Path) -> None:
    page = made(two_dsn, tmp_path)
    assert page.ledger(0)["Net result"] == "-17.0855"
    assert page.ledger(1) == {
        "Intended result": "+4.00",
        "Slippage and spread": "0.00",
        "Gross result": "+4.00",
        "Fees": "-0.12",
        "Net result": "+3.88",
    }
    sums = [row for row in page.tables["t-positions"] if row[0].startswith("sum")]
    assert [(row[0], row[1:6]) for row in sums] == [
        (
            "sum of the 2 closed positions whose result is known, USDT, account default",
            ["-15", "-3.97", "6.0555", "-17.0855", "USDT"],
        ),
        (
            "sum of the 3 closed positions whose result is known, USD, account second",
            ["+4", "0", "0.12", "+3.88", "USD"],
        ),
    ]


async def test_every_row_of_the_page_is_a_row_of_a_view(days_dsn: str, tmp_path: Path) -> None:
    page = await asyncio.to_thread(made, days_dsn, tmp_path)
    positions = await view(days_dsn, "SELECT * FROM audit.v_positions WHERE fills > 0")
    of_page = dict(
        zip(page.column("t-positions", "position"), page.column("t-positions", "net result", plain=True), strict=True)
    )
    assert of_page == {row["position_id"]: words.plain(row["net_result"]) for row in positions}
    assert len(positions) > 10
    orders = await view(days_dsn, "SELECT * FROM audit.v_orders LEFT JOIN audit.v_slippage USING (order_key)")
    assert sorted(page.column("t-orders", "status")) == sorted(row["status"] for row in orders)
    slippage = await view(days_dsn, "SELECT * FROM audit.v_slippage")
    found = [text for text in page.column("t-orders", "slippage", plain=True) if text]
    assert sorted(found) == sorted(words.plain(row["slippage"]) for row in slippage)
    fills = await view(days_dsn, "SELECT * FROM audit.fills")
    assert sorted(page.column("t-fills", "trade id")) == sorted(row["exchange_trade_id"] for row in fills)
    rejections = await view(days_dsn, "SELECT * FROM audit.v_rejections")
    assert {
        tuple(row)
        for row in zip(*(page.column("t-rejections", name) for name in ("code", "times", "reason")), strict=True)
    } == {(row["code"], str(row["n"]), row["reason"]) for row in rejections}
    questions = await view(days_dsn, "SELECT * FROM audit.v_open_questions")
    assert len(questions) == len(page.column("t-questions", "what")) > 0
    assert f"{len(questions)} open questions:" in page.text


async def test_a_range_of_all_is_what_the_views_say(days_dsn: str) -> None:
    whole = await figures(days_dsn)
    performance = await view(days_dsn, "SELECT * FROM audit.v_performance ORDER BY account, currency NULLS LAST")
    assert [{name: row[name] for name in performance[0]} for row in whole.performance] == performance
    equity = await view(
        days_dsn, "SELECT * FROM audit.v_equity ORDER BY account, currency, closed_at, exchange, position_id"
    )
    assert [{name: row[name] for name in equity[0]} for row in whole.equity] == equity
    rejections = await view(days_dsn, "SELECT * FROM audit.v_rejections")
    assert sorted(map(str, map(dict, whole.rejections))) == sorted(map(str, rejections))
    costs = whole.performance[0]
    assert costs["intended_known"] - costs["slippage_known"] == costs["gross_result"]
    assert costs["gross_result"] - costs["fees"] == costs["net_result"]
    assert costs["exits_not_meant"] > 0
    of_all = [row for row in whole.latency if row["action"] is None]
    bins = {row["exchange"]: 0 for row in of_all}
    for row in whole.latency_bins:
        bins[row["exchange"]] += row["n"]
    assert bins == {row["exchange"]: row["n"] for row in of_all}
    (median,) = await view(
        days_dsn,
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY milliseconds) AS p50 FROM audit.v_latency "
        "WHERE exchange = 'bybit' AND kind IN ('acknowledged', 'unchanged', 'rejected')",
    )
    assert median["p50"] == next(row["p50"] for row in of_all if row["exchange"] == "bybit")


async def test_what_was_open_at_the_end_of_a_range_in_the_past_is_open_in_it(days_dsn: str, tmp_path: Path) -> None:
    (around,) = await view(
        days_dsn,
        "SELECT *, opened_at + (closed_at - opened_at) / 2 AS between FROM audit.v_positions "
        "WHERE net_result IS NOT NULL AND account = 'default' ORDER BY closed_at - opened_at DESC LIMIT 1",
    )
    until = around["between"]
    then = await figures(days_dsn, account="default", until=until)
    (row,) = [row for row in then.positions if row["position_id"] == around["position_id"]]
    assert row["is_open"] is True
    assert [row[name] for name in ("closed_at", "net_result", "fees", "exit_price", "slippage_known")] == [None] * 5
    assert (
        row["why_not"] == f"it was open at the end of this range, and closed at {around['closed_at']:%Y-%m-%d %H:%M:%S}"
    )
    assert row["entry_price"] == around["entry_price"]
    assert abs(row["seconds_open"] - Decimal((until - around["opened_at"]).total_seconds())) < Decimal("0.001")
    equity = await view(days_dsn, "SELECT * FROM audit.v_equity WHERE account = 'default'")
    closed = [one["net_result"] for one in equity if one["closed_at"] < until]
    assert (then.performance[0]["positions"], then.performance[0]["net_result"]) == (len(closed), sum(closed))
    page = await asyncio.to_thread(made, days_dsn, tmp_path, "--account", "default", "--until", until.isoformat())
    stand = dict(zip(page.column("t-positions", "position"), page.column("t-positions", "closed"), strict=True))
    assert stand[around["position_id"]] == "still open"


async def test_a_long_curve_is_thinned_out_and_keeps_its_extremes(
    days_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await figures(days_dsn, account="default")).equity
    monkeypatch.setattr("audit_wrapper.tables.figures._POINTS", 6)
    thin = (await figures(days_dsn, account="default")).equity
    assert 4 <= len(thin) <= 6 < len(whole)
    assert {row["position_id"] for row in thin} < {row["position_id"] for row in whole}
    for name in (max, min):
        assert name(row["equity"] for row in thin) == name(row["equity"] for row in whole)
    assert thin[-1]["position_id"] == whole[-1]["position_id"]
    assert {row["of_so_many"] for row in thin} == {len(whole)}


async def test_ranges_side_by_side_add_up(days_dsn: str) -> None:
    whole = await figures(days_dsn, account="default")
    middle = whole.equity[len(whole.equity) // 2]["closed_at"]
    before, after = (
        await figures(days_dsn, account="default", until=middle),
        await figures(days_dsn, account="default", since=middle),
    )
    closed = [[row["position_id"] for row in part.positions if row["closed_at"]] for part in (after, before, whole)]
    assert closed[0] + closed[1] == closed[2]
    assert closed[0][-1] == whole.equity[len(whole.equity) // 2]["position_id"], "a moment is in what begins with it"
    assert (
        before.performance[0]["net_result"] + after.performance[0]["net_result"] == whole.performance[0]["net_result"]
    )
    assert after.equity[0]["equity"] == after.equity[0]["net_result"], "a range begins at 0"
    for name in ("orders", "fills"):
        assert len(getattr(before, name)) + len(getattr(after, name)) == len(getattr(whole, name))
    still_open = {row["position_id"] for row in whole.positions if row["closed_at"] is None}
    assert still_open <= {row["position_id"] for row in after.positions}, (
        "what is open is shown though it was opened earlier"
    )


@pytest.mark.parametrize(
    "within", [{"exchange": "bybit"}, {"symbol": "MNT/USDT:USDT"}, {"position": "1"}, {"account": "second"}]
)
async def test_what_it_is_restricted_to_holds_for_all_of_it(days_dsn: str, within: dict[str, str]) -> None:
    whole, part = await figures(days_dsn), await figures(days_dsn, **within)
    ((name, value),) = within.items()
    column = {"position": "position_id"}.get(name, name)
    value = {"MNT/USDT:USDT": "MNTUSDT"}.get(value, value)
    for rows in ("positions", "orders", "fills"):
        wanted = [dict(row) for row in getattr(whole, rows) if row[column] == value]
        found = [dict(row) for row in getattr(part, rows)]
        for row in (*wanted, *found):
            del row["of_so_many"]
            row.pop("seconds_open", None)  # of what is open it grows
            row.pop("seconds_without_stop", None)
        assert found == wanted
        assert found
    assert sum(row["n"] for row in part.latency) < sum(row["n"] for row in whole.latency)
    if name in ("exchange", "account"):
        assert {row[name] for row in part.questions} <= {value}


def test_hostile_texts_are_only_texts(days_dsn: str, tmp_path: Path) -> None:
    page = made(days_dsn, tmp_path)
    assert page.scripts == 3, "plotly and two of ours"
    assert "<script>alert" not in page.text
    assert "<script>document" not in page.text
    assert "<img" not in page.text.partition("</header>")[2].partition("<noscript>")[0]
    assert HOSTILE in page.column("t-positions", "position")
    assert any("<script>alert('hostile')" in reason for reason in page.column("t-orders", "reason"))


def test_it_asks_no_network(two_dsn: str, tmp_path: Path) -> None:
    text = made(two_dsn, tmp_path).text
    ours = text.partition('<script type="application/json" id="shades">')[0]
    assert "default-src 'none'; script-src 'sha256-" in html.unescape(ours)
    assert "http" not in ours.replace("http-equiv", "").replace(two_dsn, "")
    assert "secret" not in text.partition("<main>")[0]


def test_every_figure_says_how_it_is_computed(two_dsn: str, tmp_path: Path) -> None:
    page = made(two_dsn, tmp_path)
    explained = page.tables[next(name for name in page.tables if name.startswith("data-"))]
    labels = {row[0] for row in explained[1:]}
    assert set(page.ledger()) <= labels
    assert all("audit." in row[2] for row in explained[1:]), "each names what to query"
    assert page.text.count("<summary>") == 2 * (5 + 6) + ("How that is known" in page.text)


def test_it_says_what_it_was_made_from(two_dsn: str, tmp_path: Path) -> None:
    head = made(two_dsn, tmp_path, "--since", "2025-05-04", "--until", "2025-05-05", "--exchange", "binance").text
    head = head.partition("<main>")[0]
    for words_ in (
        "From 2025-05-04 00:00:00 to 2025-05-05 00:00:00, UTC",
        "only exchange: binance",
        "account default: binance",
        "bot&#39;s schema monitoring",
        "(PostgreSQL ",
    ):
        assert words_ in head, words_
    assert "postgres:" not in head.replace("database: postgresql:", ""), "no password"


def test_of_long_tables_the_newest_rows_are_shown(
    days_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = made(days_dsn, tmp_path)
    monkeypatch.setattr("audit_wrapper.command.report.ROWS", 7)
    page = made(days_dsn, tmp_path, "--account", "default")
    for table in ("t-positions", "t-orders", "t-fills", "t-questions"):
        assert len(page.tables[table]) - (table == "t-positions") == 1 + 7
    count = len(everything.column("t-orders", "status")) - 6  # without the second account's
    assert f"The oldest {count - 7} of {count} orders are left out." in page.text
    assert "audit-wrapper export orders --account default --until" in page.text
    assert page.column("t-orders", "order id") == everything.column("t-orders", "order id")[6:13]
    assert page.ledger() == everything.ledger(), "figures are of all of them"


async def test_no_open_questions_are_said_too(two_dsn: str, tmp_path: Path) -> None:
    assert await view(two_dsn, "SELECT * FROM audit.v_open_questions") == []
    page = await asyncio.to_thread(made, two_dsn, tmp_path)
    assert "No open questions: nothing unknown, unattributed or unlinked." in page.text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--since", "2031-01-01", "--until", "2031-02-01"], "nothing happened from 2031-01-01 00:00:00 to 2031-02-01"),
        (["--until", "2020-01-01"], "the trail has orders from 2025-05-04 08:00 to 20"),
        (["--position", "99"], "there is nothing of position 99 in the trail"),
        (["--exchange", "okx", "--account", "main"], "there is nothing of exchange okx of account main in the trail"),
        (
            ["--position", "1", "--until", "2020-01-01"],
            "nothing of position 1 happened from the beginning to 2020-01-01",
        ),
        (
            ["--since", "2025-06-01", "--until", "2025-05-01"],
            "the range ends (2025-05-01T00:00:00+00:00) before it begins",
        ),
        (["--since", "2999-01-01"], "the range ends (now) before it begins"),
        (["--since", "yesterday"], "is no time"),
    ],
)
def test_an_empty_range(
    two_dsn: str, tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["report", "--dsn", two_dsn, "-o", str(tmp_path / "r.html"), *options]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_trail(audit_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["report", "--dsn", audit_dsn, "-o", str(tmp_path / "r.html")]) == 2
    assert "the trail is empty: no order has been recorded yet" in capsys.readouterr().err


def test_a_database_without_views(fresh_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["report", "--dsn", fresh_dsn, "-o", str(tmp_path / "r.html")]) == 3
    assert "has no views of the trail" in capsys.readouterr().err


def test_a_closed_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dsn = "postgresql://somebody:sekret@127.0.0.1:1/nothing"
    assert command.main(["report", "--dsn", dsn, "-o", str(tmp_path / "r.html")]) == 3
    said = capsys.readouterr().err
    assert said.strip()
    assert "sekret" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("-", "not for a terminal"),
        (".", "is a folder"),
        ("missing/report.html", "there is no folder"),
        ("r" * 300, "cannot be written"),
    ],
)
def test_where_no_file_can_be(
    two_dsn: str,
    tmp_path: Path,
    output: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["report", "--dsn", two_dsn, "-o", output]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)  # as if it were not installed
    assert command.main(["report", "-o", str(tmp_path / "r.html")]) == 2
    assert 'plotly not installed: pip install "audit-wrapper[report]"' in capsys.readouterr().err


def test_in_a_process_of_its_own(two_dsn: str, tmp_path: Path) -> None:
    words_ = ["report", "--dsn", two_dsn, "--since", "2025-01-01", "-o", "r.html"]
    done = subprocess.run(
        [sys.executable, "-m", "audit_wrapper", *words_], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert re.fullmatch(r"r\.html: \d\.\d MB; open it in a browser\n", done.stderr), "how large it is, and where"
    assert (tmp_path / "r.html").stat().st_size < 8_000_000
    assert (tmp_path / "r.html").stat().st_mode & 0o777 != 0o600, "others may read what was meant to be sent"


def test_nothing_else_imports_what_it_needs() -> None:
    program = "import sys, audit_wrapper, audit_wrapper.command.app; print({'jinja2', 'plotly', 'markupsafe'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_range_before_now_ends_in_the_past(two_dsn: str, tmp_path: Path) -> None:
    """Made again later with the command at the foot of the page, the page is the same."""
    text = made(two_dsn, tmp_path, "--account", "default").text
    again = text.partition("Made again with: <code>audit-wrapper ")[2].partition("</code>")[0].split()
    until = datetime.fromisoformat(again[again.index("--until") + 1]).replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - until < timedelta(minutes=5)
    (tmp_path / "report.html").unlink()
    options = again[1 : again.index("-o")]
    assert made(two_dsn, tmp_path, *options).tables["t-orders"] == Page(text).tables["t-orders"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.00049142000", "0.00049142"),
        ("1E+3", "1000"),
        ("-0.000", "0"),
        ("123456789012345678.123456789012345678", "123456789012345678.123456789012345678"),
        (None, "\N{EN DASH}"),
    ],
)
def test_decimals_keep_every_digit(value: str | None, shown: str) -> None:
    assert words.exact(None if value is None else Decimal(value)) == shown


def test_small_averages_keep_digits_that_say_something() -> None:
    assert [words.money(Decimal(text)) for text in ("0.000123456", "-0.5", "12.345", "0", "1234567.891")] == [
        "0.0001235",
        "-0.5000",
        "12.35",
        "0.00",
        "1234567.89",
    ]
    assert words.alike([Decimal("12.5"), Decimal("-0.126"), Decimal(0)]) == ["+12.50", "-0.13", "0.00"]
    assert words.aligned([Decimal("1.50"), Decimal("-0.125"), None]) == ["1.500", "-0.125", "\N{EN DASH}"]
    assert [words.duration(s) for s in (0, Decimal("0.000042"), Decimal("0.0042"), 0.01, Decimal("0.35"), 59.9, 60, 3_700, 200_000)] == [
        "0 s", "0.04 ms", "4.2 ms", "0.01 s", "0.35 s", "59.9 s", "1 min 0 s", "1 h 1 min", "2 d 7 h",
    ]  # fmt: skip


def test_queries_of_positions_are_made_of_two_parts() -> None:
    queries = by_name(FIGURES.read_text(encoding="utf-8"))
    assert {"in_range", "answers"} < queries.keys()
    for name in ("positions", "performance", "equity"):
        assert "in_range" in queries[name]
