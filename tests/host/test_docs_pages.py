"""What the pages of docs/ show is true: their code runs, their commands exist, their messages are raised, their links lead
somewhere. tests/unit/test_docs.py does the same for the README and the pages for developers."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import itertools
import os
import re
import shlex
import shutil
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints
from xml.etree import ElementTree

import asyncpg
import pytest
import typer
from freqtrade_like import Bot, TemporaryError, module
from simulated_exchange import LoseAnswer, SimulatedExchange, async_client

import audit_wrapper
from audit_wrapper import AuditTrail
from audit_wrapper.command.app import app
from audit_wrapper.errors import CannotWrap, JournalInUse, JournalUnavailable, SettingsError
from audit_wrapper.settings import PREFIX, Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
PACKAGE = Path(audit_wrapper.__file__).parent
DSN = "postgresql://bot:secret@localhost/bot"
ETH = "ETH/USDT:USDT"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, mark: str, language: str) -> list[str]:
    """The code blocks of a page under `<!-- mark -->`."""
    found = re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```", page(name), re.DOTALL)
    assert found, f"{name} has no block {mark}"
    return found


def compiled(block: str, name: str, dsn: str) -> types.CodeType:
    return compile(block.replace(DSN, dsn), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def run(block: str, name: str, dsn: str, known: dict[str, Any]) -> None:
    done = eval(compiled(block, name, dsn), known)
    if inspect.isawaitable(done):
        await done


async def rows(dsn: str, query: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *values)
    finally:
        await connection.close()


# -- getting-started.md


async def test_exchange_managers(bot_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SimulatedExchange("binance") as sim:
        from core.exchange_manager import ExchangeManager

        manager = ExchangeManager("binance", {"client": async_client(sim)})
        await manager.initialize()
        known: dict[str, Any] = {"__name__": "bot", "exchanges": {"binance": manager}}
        *begin, end = blocks("getting-started.md", "run: managers", "python")
        try:
            for block in begin:
                await run(block, "getting-started.md", bot_dsn, known)
            await known["exchanges"]["binance"].create_market_order("BTCUSDT", "buy", "0.05")
            assert await known["trail"].flush()
            await run(end, "getting-started.md", bot_dsn, known)
        finally:
            await manager.close()
        (row,) = await rows(bot_dsn, "SELECT * FROM monitoring.orders")
        assert (row["symbol"], row["status"], row["order_id"]) == (
            "BTCUSDT",
            "FILLED",
            sim.ledger.orders[0].exchange_order_id,
        )


async def test_a_plain_client(audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SimulatedExchange("binance") as sim:
        client = async_client(sim)
        try:
            await client.load_markets()
            (block,) = blocks("getting-started.md", "run: ccxt", "python")
            await run(block, "getting-started.md", audit_dsn, {"__name__": "bot", "client": client})
        finally:
            await client.close()
        found = await rows(audit_dsn, "SELECT * FROM monitoring.orders ORDER BY id")
        assert [(r["position_id"], r["purpose"], r["status"]) for r in found] == [
            ("eth-1", "entry", "FILLED"),
            ("eth-1", "stop_loss", "NEW"),
        ]
        assert found[0]["fee"] == sum(fill.fee_amount for fill in sim.ledger.fills)
    (query,) = blocks("getting-started.md", "sql", "sql")
    assert len(await rows(audit_dsn, query)) == 2


@pytest.fixture
def strategies(audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The two files of the page, in a folder, in a world in which freqtrade can be imported."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "strategies"
    folder.mkdir()
    for mark, file in (("audit_of_orders", "audit_of_orders.py"), ("strategy", "my_strategy.py")):
        (block,) = blocks("getting-started.md", f"run: freqtrade {mark}", "python")
        (folder / file).write_text(block.replace(DSN, audit_dsn))
    monkeypatch.setitem(sys.modules, "freqtrade", types.ModuleType("freqtrade"))
    monkeypatch.setitem(sys.modules, "freqtrade.strategy", module())
    yield folder
    helper = sys.modules.pop("audit_of_orders", None)
    if helper is not None and helper._trail is not None:
        helper._trail.close()


def test_freqtrade(strategies: Path, audit_dsn: str) -> None:
    """A trade with a stop on the exchange, a lost answer that is tried again, a reload, the exit."""
    with SimulatedExchange("binance") as sim:
        bot = Bot(strategies, sim)
        bot.exchange.refresh(ETH)
        bot.exchange.create_order(pair=ETH, ordertype="limit", side="buy", amount=0.5, rate=3100.0)
        stop = bot.exchange.create_stoploss(ETH, 0.5, 2900.0)
        connected(sys.modules["audit_of_orders"]._trail)
        bot.process()
        bot.cleanup()

        bot = Bot(strategies, sim)
        bot.exchange.cancel_stoploss_order(stop["id"], ETH)
        bot.exchange.create_order(pair=ETH, ordertype="market", side="sell", amount=0.5, reduceOnly=True)
        bot.process()
        bot.cleanup()
        trail = sys.modules["audit_of_orders"]._trail
        assert asyncio.run(trail.flush())
        assert trail.status().failures == {}

        found = asyncio.run(rows(audit_dsn, "SELECT * FROM monitoring.orders ORDER BY created_at"))
        assert [(r["type"], r["side"], r["status"]) for r in found] == [
            ("LIMIT", "buy", "FILLED"),
            ("STOP_MARKET", "sell", "CANCELED"),
            ("MARKET", "sell", "FILLED"),
        ]
        assert found[0]["fee"] == sim.ledger.fills[0].fee_amount  # asked for once a minute, so not yet the other one
        assert [r["position_id"] for r in found] == [None] * 3


def test_freqtrade_and_a_lost_answer(strategies: Path, audit_dsn: str) -> None:
    """The bot was told of an error; the exchange has the order, and the row says so once it was asked."""
    with SimulatedExchange("binance") as sim:
        bot = Bot(strategies, sim)
        sim.next("create", LoseAnswer())
        with pytest.raises(TemporaryError):
            bot.exchange.create_order(pair=ETH, ordertype="market", side="buy", amount=0.5)
        connected(sys.modules["audit_of_orders"]._trail)
        bot.process()
        bot.cleanup()
        assert asyncio.run(sys.modules["audit_of_orders"]._trail.flush())
        (row,) = asyncio.run(rows(audit_dsn, "SELECT * FROM monitoring.orders"))
        (order,) = sim.ledger.orders
        assert (row["order_id"], row["status"], row["found_by"]) == (
            order.exchange_order_id,
            "FILLED",
            "client_order_id",
        )


def test_freqtrade_does_not_wait_for_a_database_that_is_away(
    strategies: Path, audit_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    helper = strategies / "audit_of_orders.py"
    helper.write_text(helper.read_text().replace(audit_dsn, "postgresql://bot@127.0.0.1:1/bot"))
    with SimulatedExchange("binance") as sim:
        bot = Bot(strategies, sim)
        bot.exchange.create_order(pair=ETH, ordertype="market", side="buy", amount=0.5)
        began = time.monotonic()
        bot.process()
        assert time.monotonic() - began < 1
        bot.cleanup()
        trail = sys.modules["audit_of_orders"]._trail
        trail.close()
        assert trail.status().recorded >= 2
    assert "they are safe in" in caplog.text


def connected(trail: AuditTrail) -> None:
    deadline = time.monotonic() + 20
    while trail.status().store != "connected":
        assert time.monotonic() < deadline, trail.status()
        time.sleep(0.005)


@pytest.mark.parametrize("runmode", ["dry_run", "backtest"])
def test_freqtrade_without_orders_has_no_trail(strategies: Path, runmode: str, tmp_path: Path) -> None:
    with SimulatedExchange("binance") as sim:
        bot = Bot(strategies, sim, runmode)
        bot.process()
        bot.cleanup()
    assert sys.modules["audit_of_orders"]._trail is None
    assert list(tmp_path.iterdir()) == [strategies]


# -- settings.md


def tables(text: str) -> list[list[str]]:
    """The rows of all tables, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number for number, row in enumerate(cells) if set("".join(row)) <= {"-"}}
    return [row for number, row in enumerate(cells) if number not in heads and number + 1 not in heads]


def told_settings() -> dict[str, tuple[str, str, str]]:
    rows = [row for row in tables(page("settings.md")) if len(row) == 5]
    assert len({row[0] for row in rows}) == len(rows), "a setting is told twice"
    return {row[0].strip("`"): (row[1].strip("`"), row[2].strip("`"), row[3]) for row in rows}


def test_every_setting_is_told() -> None:
    told, fields = told_settings(), set(Settings.__struct_fields__)
    assert sorted(fields - told.keys()) == [], "docs/settings.md does not tell these settings"
    assert sorted(told.keys() - fields - SETTINGS_NOT_YET) == [], "docs/settings.md tells settings that are none"


@pytest.mark.parametrize("name", sorted(set(told_settings()) & set(Settings.__struct_fields__)))
def test_what_is_told_of_a_setting(name: str) -> None:
    variable, default, unit = told_settings()[name]
    assert variable == PREFIX + name.upper()
    assert default == str(getattr(Settings(), name))
    for suffix, expected in (("_s", "seconds"), ("_days", "days"), ("_mb", "megabytes"), ("_per_minute", "requests")):
        assert (unit == expected) == name.endswith(suffix), unit
    choices = get_args(get_type_hints(Settings)[name])
    if all(isinstance(choice, str) for choice in choices) and choices:
        assert unit == ", ".join(f"`{choice}`" for choice in choices)


async def test_settings_from_both_sides(audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (block,) = blocks("settings.md", "run: settings", "python")
    known: dict[str, Any] = {"__name__": "bot"}
    await run(block, "settings.md", audit_dsn, known)
    settings = known["trail"]._settings
    known["trail"].close()
    assert (settings.account, settings.close_timeout_s, settings.ask_every_s) == ("sub-1", 10.0, 30.0)


# -- production.md


async def test_two_accounts_in_one_database(audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two exchanges that give the same ids: the first order of each is another one."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("production.md", "run: accounts", "python")
    with SimulatedExchange("binance") as one, SimulatedExchange("binance") as other:
        clients = [async_client(one), async_client(other)]
        known: dict[str, Any] = {"__name__": "bot", "main_client": clients[0], "hedge_client": clients[1]}
        try:
            for client in clients:
                await client.load_markets()
            await run(block, "production.md", audit_dsn, known)
            for client in clients:
                await client.create_order(ETH, "market", "buy", 0.5)
            for name in ("main", "hedge"):
                assert await known[name].flush()
        finally:
            for name in ("main", "hedge"):
                known[name].close()
            for client in clients:
                await client.close()
        assert one.ledger.orders[0].exchange_order_id == other.ledger.orders[0].exchange_order_id
    found = await rows(audit_dsn, "SELECT account, order_id FROM monitoring.orders ORDER BY account")
    assert [row["account"] for row in found] == ["hedge", "main"]
    assert found[0]["order_id"] == found[1]["order_id"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal-hedge", "journal-main"]


# -- faq.md: what it quotes is what is said


@functools.cache
def spoken() -> list[str]:
    """Every sentence of the package, with `...` for what is filled in. What is noted as a failure begins with its kind."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("failures.note") and len(node.args) == 2:
                kind, sentence = node.args[0], template(node.args[1])
                if isinstance(kind, ast.Constant):
                    found.append(f"{kind.value}: {sentence}")
            elif isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                found.append(template(node))
    return [sentence for sentence in found if " " in sentence]


def template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", "...", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.IfExp):
        return template(node.body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "..."


MESSAGES = [line for block in blocks("faq.md", "message", "text") for line in block.splitlines()]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message[:40])
def test_a_message_of_the_faq_is_said(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    assert sum(map(len, parts)) > 15, "too little of it is quoted"
    said = re.compile(".*".join(parts), re.DOTALL)
    assert any(said.search(sentence) for sentence in spoken())


def test_what_nobody_says_is_found_out() -> None:
    assert not any("cannot be wroten" in sentence for sentence in spoken())
    assert any(sentence.startswith("record in quarantine: seq ...") for sentence in spoken())


def quoted(*words: str) -> str:
    """The message of the page that has these words, as a regular expression."""
    (message,) = [message for message in MESSAGES if all(word in message for word in words)]
    return ".*".join(re.escape(part) for part in message.split("..."))


async def test_messages_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A few of them, brought about."""
    nowhere = "postgresql://bot@127.0.0.1:1/bot"
    trail = AuditTrail.open(nowhere, journal=tmp_path / "journal", close_timeout_s=0.1)
    with pytest.raises(JournalInUse, match=quoted("is being written by process")):
        AuditTrail.open(nowhere, journal=tmp_path / "journal")
    with pytest.raises(CannotWrap, match=quoted("looked for an exchange manager")):
        trail.wrap(object())
    with pytest.raises(CannotWrap, match=quoted("no such class")):
        trail.instrument("pathlib:Road")
    with SimulatedExchange("binance") as sim:
        client = async_client(sim)
        try:
            await trail.wrap(client).create_order(ETH, "market", "buy", 0.5)
        finally:
            await client.close()
    trail.close()
    assert re.search(quoted("they are safe in"), caplog.text)
    with pytest.raises(SettingsError, match=quoted("there is no setting")):
        AuditTrail.open(nowhere, jurnal="x")
    with pytest.raises(SettingsError, match=quoted("dsn cannot be used")):
        AuditTrail.open("mysql://bot@localhost/bot")
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match=quoted("the journal folder")):
        AuditTrail.open(nowhere, journal=tmp_path / "file")


async def test_the_query_of_the_faq(audit_dsn: str) -> None:
    (query,) = blocks("faq.md", "sql", "sql")
    assert await rows(audit_dsn, query) == []


# -- how-it-works.svg


SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_stands_alone_and_says_what_it_shows() -> None:
    text = page("how-it-works.svg")
    picture = ElementTree.fromstring(text)
    assert [len(picture.findtext(f"{SVG}{name}") or "") > 10 for name in ("title", "desc")] == [True, True]
    assert not re.findall(r"<script|<image|href=|url\((?!#)|@import|https?://(?!www\.w3\.org)", text)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_picture_can_be_read_by_day_and_by_night() -> None:
    """Contrast as WCAG AA wants it: 4.5 for text, 3 for lines."""
    schemes = re.findall(r"svg \{ (--[^}]+) \}", page("how-it-works.svg"))
    assert len(schemes) == 2
    for scheme in schemes:
        color = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        words = [(front, back, 4.5) for front in ("ink", "soft") for back in ("ground", "box", "ours")]
        lines = [("edge", "ground", 3.0), ("line", "ground", 3.0)]
        for front, back, least in words + lines:
            dark, light = sorted((luminance(color[front]), luminance(color[back])))
            assert (light + 0.05) / (dark + 0.05) >= least, (front, back, scheme)


def test_the_words_of_the_picture_stay_in_it() -> None:
    """In a real browser, as an image: no word leaves the picture, and none lies over another."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport={"width": 960, "height": 600})
        opened.set_content(f"<body style='margin:0'>{page('how-it-works.svg')}</body>")
        words = opened.evaluate(
            "[...document.querySelectorAll('svg > text, svg > g > text')].map(t => {"
            " const b = t.getBBox(); return [t.textContent, b.x, b.y, b.x + b.width, b.y + b.height] })"
        )
        browser.close()
    assert len(words) > 20
    for word, left, top, right, bottom in words:
        assert 0 <= left < right <= 960, word
        assert 0 <= top < bottom <= 600, word
    for one, other in itertools.combinations(words, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] + 3 or other[4] <= one[2] + 3
        assert apart, (one, other)


# -- every page


PAGES = sorted(DOCS.glob("*.md"))
pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_and_their_anchors_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}: {sorted(anchors(there))}"


@pages
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`((?:tests|examples)/[\w/.]+)`", path.read_text(encoding="utf-8")):
        assert (DOCS.parent / name).exists(), name


def test_every_page_is_in_the_index() -> None:
    index = page("index.md")
    assert [path.name for path in PAGES if path.name != "index.md" and f"({path.name})" not in index] == []


@pages
def test_every_block_of_python_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("```python") == len(re.findall(r"<!-- run: [\w ]+ -->\n```python", text))


@pages
def test_every_block_of_sql_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("```sql") == len(re.findall(r"<!-- sql(?:: \w+)? -->\n```sql", text))


# -- commands

# Told by the pages ahead of the code. Whoever adds one takes it off here; the last test below says so.
NOT_YET = {
    "backfill", "completeness", "deliver", "doctor", "explain", "init", "orders", "quarantine", "reconcile", "status",
    "upgrade", "verify",
}  # fmt: skip
SETTINGS_NOT_YET = {"delivery", "metrics"}


def commands_of(path: Path) -> list[str]:
    """Every command line of ours on a page or in a unit: in blocks of shell as a whole, in the text between backquotes."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".service":
        return re.findall(r"^ExecStart=\S*/(audit-wrapper .*)$", text, re.MULTILINE)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    told = [line for line in lines if line.startswith("audit-wrapper")]
    return told + re.findall(r"`(audit-wrapper [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


COMMANDS = sorted({line for path in [*PAGES, *DOCS.glob("systemd/*")] for line in commands_of(path)})


def parsed(line: str) -> None:
    """As the command line would read it, and no further. Raises what typer raises."""
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("audit-wrapper", list(words))
    while hasattr(command, "resolve_command"):  # a group
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_can_be_given(line: str) -> None:
    there = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    name = line.split()[1]
    if name == "--help":
        with pytest.raises(typer.Exit):
            parsed(line)
        return
    if name not in there:
        assert name in NOT_YET, f"there is no command {name}; there are {sorted(there)}"
        pytest.skip(f"the command {name} is not there yet")
    parsed(line)


def test_a_command_that_cannot_be_given() -> None:
    with pytest.raises(Exception, match=r"(?i)no such command"):
        parsed("audit-wrapper nonsense")


def test_what_is_not_there_yet() -> None:
    """Fails when a command or setting has come that the lists above still name: take it off them."""
    there = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert sorted(NOT_YET & there) == [], "take these off NOT_YET"
    assert sorted(SETTINGS_NOT_YET & set(Settings.__struct_fields__)) == [], "take these off SETTINGS_NOT_YET"


def test_units_set_what_there_is() -> None:
    for unit in DOCS.glob("systemd/*.service"):
        for variable in re.findall(r"AUDIT_WRAPPER_(\w+)=", unit.read_text(encoding="utf-8")):
            assert variable.lower() in {*Settings.__struct_fields__, *SETTINGS_NOT_YET}
