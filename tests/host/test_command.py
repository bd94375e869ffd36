"""`audit-wrapper`: a process of its own against the simulated exchange and a real database."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from simulated_exchange import Delay, Hold, SimulatedExchange, async_client
from simulated_exchange.credentials import API_KEY, SECRET

from audit_wrapper import AuditTrail, command
from audit_wrapper.command import asking
from audit_wrapper.command.client import client_of
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.errors import StoreUnavailable

ROOT = Path(__file__).resolve().parents[2]
MNT = "MNT/USDT:USDT"
HOUR = 3_600_000
DAY = 24 * HOUR
# The user's own function, which --client names: keys and addresses are in its hands.
SANDBOX = """
import os
from simulated_exchange import async_client_for

def client():
    return async_client_for(os.environ["SIM_KIND"], os.environ["SIM_URL"])

async def later():
    return client()

def nothing():
    return {}

def leaky():
    raise RuntimeError("cannot use the key " + os.environ["BYBIT_SECRET"])
"""
KEYS = {"BYBIT_API_KEY": "a-key-that-nobody-may-see", "BYBIT_SECRET": "a-secret-that-nobody-may-see"}


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    def checked(self) -> Ended:
        """No traceback and no secret in it."""
        for text in (self.out, self.err):
            assert "Traceback" not in text, text
            for secret in (API_KEY, SECRET, *KEYS.values(), "sekret"):
                assert secret not in text
        return self


class Shell:
    """A folder to work in, and how to run the command there."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "audit_wrapper", *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> Ended:
        return ended(self.start(*words))


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err).checked()


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[SimulatedExchange]:
    """An exchange whose clock begins some time ago: (kind, how long)."""
    kind, ago = request.param
    with SimulatedExchange(kind, start_time_ms=_now() - ago) as exchange:
        yield exchange


@pytest.fixture
def shell(world: SimulatedExchange, tmp_path: Path, bot_dsn: str) -> Shell:
    (tmp_path / "sandbox.py").write_text(SANDBOX, encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_WRAPPER_")}
    environ |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")]),
        "SIM_KIND": world.kind,
        "SIM_URL": world.url,
        "AUDIT_WRAPPER_DSN": bot_dsn,
        # the bot's own settings are about: its folder is not for the command
        "AUDIT_WRAPPER_JOURNAL": str(tmp_path / "audit-journal"),
        "AUDIT_WRAPPER_ASK_PER_MINUTE": "6000",
    }
    return Shell(tmp_path, environ)


def _now() -> int:
    return time.time_ns() // 1_000_000


def until_now(world: SimulatedExchange) -> None:
    world.advance(max(0, _now() - world.now()))


def options(world: SimulatedExchange, since: str) -> list[str]:
    return ["--exchange", world.kind, "--client", "sandbox:client", "--since", since]


def rows(server: Any, dsn: str) -> list[tuple[Any, ...]]:
    async def read() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn)
        try:
            found = await connection.fetch("SELECT order_id, status, filled, fee FROM monitoring.orders ORDER BY id")
            return [tuple(row) for row in found]
        finally:
            await connection.close()

    return server.run(read())  # type: ignore[no-any-return]


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """This process, as if it had been started in that folder: one of its own takes seconds to import ccxt."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.syspath_prepend(str(shell.folder))
    monkeypatch.delitem(sys.modules, "sandbox", raising=False)
    for name, value in shell.environ.items():
        monkeypatch.setenv(name, value)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return shell


def call(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    code = command.main(words)
    out, err = capsys.readouterr()
    return Ended(code, out, err).checked()


# -- what it is for


@pytest.mark.parametrize("world", [("bybit", 10 * HOUR)], indirect=True)
def test_a_day_without_a_trail(world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    world.split_fills = 2
    world.trade_by_hand(MNT, "buy", 100)
    world.advance(HOUR)
    world.trade_by_hand(MNT, "sell", 40)
    world.stop_by_hand(MNT, stop_loss="0.9")  # rests, and so is in no history yet
    world.fund(MNT, "0.0001")
    until_now(world)
    ids = [str(order.exchange_order_id) for order in world.ledger.orders]

    before = here.run("completeness", *options(world, "12h"))
    assert before.code == 1
    assert "NOT COMPLETE: 7 missing." in before.out
    assert all(re.search(rf"^  {MNT} order {name}$", before.out, re.MULTILINE) for name in ids)
    filled = call(capsys, "backfill", *options(world, "12h"))
    assert "something new was written down of 3 orders" in filled.out
    after = here.run("completeness", *options(world, "12h"), "--json")
    assert (after.code, after.err.count("\n")) == (0, 1)
    statement = json.loads(after.out)
    assert statement["complete"] is True
    assert (statement["counts"]["orders_same"], statement["counts"]["fills_same"]) == (3, 4)
    assert len(statement["payments"]) == 1
    assert not world.requests.writes()
    assert not (here.folder / "audit-journal").exists()
    assert (here.folder / "audit-journal-offline").is_dir()


@pytest.mark.parametrize("world", [("bybit", 40 * DAY)], indirect=True)
def test_a_backfill_broken_off_goes_on(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], postgres_server: Any, bot_dsn: str
) -> None:
    for number in range(8):
        world.trade_by_hand(MNT, "sell" if number % 2 else "buy", 100)
        world.advance(5 * DAY - HOUR)
    until_now(world)
    history = "GET /v5/order/history"
    world.next(history, Delay(0.05), times=1000)  # slow enough to stop it in the middle
    process = here.start("backfill", *options(world, "41d"))
    assert process.stderr is not None
    said = next(line for line in process.stderr if line.startswith("part 2 of"))
    match = re.match(r"part 2 of ([78]), up to \d{4}-\d\d-\d\d: [12] orders so far, about .* left$", said)
    assert match, said
    parts = int(match[1])  # by where the days fall
    world.faults.clear()
    held: Hold = world.hold(history)
    assert held.reached.wait(30)
    process.send_signal(signal.SIGINT)
    left = process.stderr.read()  # and not `communicate`, which does not know of lines that were read ahead
    broken = Ended(process.wait(30), process.stdout.read() if process.stdout else "", left).checked()
    held.release()
    done = max([2, *map(int, re.findall(r"^part (\d) of", broken.err, re.MULTILINE))])
    assert (broken.code, broken.out) == (130, "")
    assert done < parts
    assert "the next run goes on" in broken.err
    first = rows(postgres_server, bot_dsn)
    assert 1 <= len(first) < 8

    going_on = here.run("backfill", *options(world, "41d"))
    assert f"{parts} parts, {done} of them read by an earlier run" in going_on.out
    assert going_on.code == 1  # Bybit forgets after a day what ended without a fill, and it is said
    assert "NOT READ" in going_on.out
    whole = rows(postgres_server, bot_dsn)
    assert whole[: len(first)] == first
    assert [row[0] for row in whole] == [order.exchange_order_id for order in world.ledger.orders]
    assert {row[1] for row in whole} == {"FILLED"}

    again = json.loads(call(capsys, "backfill", *options(world, "41d"), "--json").out)
    assert (again["recorded"], again["skipped"]) == (0, parts - 1)  # the last part is not over
    assert rows(postgres_server, bot_dsn) == whole


@pytest.mark.parametrize("world", [("binance", 5 * HOUR)], indirect=True)
def test_reconcile_hears_of_a_range_and_says_that_it_is_alive(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_ALIVE_S", 0.2)
    world.trade_by_hand(MNT, "buy", 100)
    until_now(world)
    nothing = call(capsys, "reconcile", "--exchange", "binance", "--client", "sandbox:later")
    assert (nothing.code, nothing.out) == (
        0,
        "asked about 0 orders one by one, 0 answered; something new was written down of 0 orders\n",
    )
    world.next("read", Delay(0.5))
    heard = call(capsys, "reconcile", *options(world, "6h"))
    assert "something new was written down of 1 orders" in heard.out
    assert heard.code == 0
    assert re.search(r"^still asking.* \(6000 a minute at the most\)$", heard.err, re.MULTILINE)
    again = json.loads(call(capsys, "reconcile", *options(world, "6h"), "--json").out)
    assert (again["complete"], again["recorded"], again["unanswered"]) == (True, 0, [])
    assert not world.requests.writes()


@pytest.mark.parametrize("world", [("bybit", HOUR)], indirect=True)
def test_beside_a_bot_that_is_running(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], postgres_server: Any, bot_dsn: str
) -> None:
    """What the bot's trail knows by an id alone is completed by the command, in the same row."""

    async def trade(trail: AuditTrail) -> None:
        client = async_client(world)
        try:
            await trail.wrap(client).create_order(MNT, "market", "buy", 100)
            assert await trail.flush()
        finally:
            await client.close()

    async def look(trail: AuditTrail) -> int:
        client = trail.wrap({"bybit": async_client(world)})["bybit"]
        try:
            return (await trail.reconcile(datetime.now(UTC) - timedelta(hours=1))).recorded
        finally:
            await client.close()

    until_now(world)
    with AuditTrail.open(journal=here.folder / "audit-journal", ask_exchange="off") as trail:
        asyncio.run(trade(trail))
        (known,) = rows(postgres_server, bot_dsn)
        (order,) = world.ledger.orders
        assert known[0] == order.exchange_order_id
        assert known[3] is None
        heard = call(capsys, "reconcile", *options(world, "1h"))
        assert (heard.code, "of 1 orders" in heard.out) == (0, True)
        (whole,) = rows(postgres_server, bot_dsn)
        assert whole[:3] == (order.exchange_order_id, "FILLED", 100)
        assert whole[3] == sum(fill.fee_amount for fill in world.ledger.fills)
        assert asyncio.run(look(trail)) == 0
        assert call(capsys, "completeness", *options(world, "1h")).code == 0


@pytest.mark.parametrize("world", [("bybit", HOUR)], indirect=True)
def test_what_cannot_be(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each a sentence of one line, and its code."""

    def refused(code: int, words: str, line: str) -> None:
        found = call(capsys, *line.split())
        said = found.err.strip().splitlines()
        assert (found.code, found.out, len(said)) == (code, "", 1), (line, found)
        assert words in said[0], (line, said)

    mine = "--exchange bybit --client sandbox:client"
    nothing = call(capsys)
    assert (nothing.code, nothing.out, "reconcile" in nothing.err) == (2, "", True)  # the help
    refused(2, "No such command 'mend'", "mend")
    refused(2, "--exchange", "completeness --since 1h")
    refused(2, "--since", "completeness --exchange bybit")
    refused(2, "'yesterday' is no time", f"reconcile --since yesterday {mine}")
    refused(2, "'999999w' is no time", f"reconcile --since 999999w {mine}")
    refused(2, "before it begins", f"completeness --since 2026-02-01 --until 2026-01-01 {mine}")
    refused(2, "before it begins", f"reconcile --since 9000-01-01 {mine}")
    refused(2, "--until without --since", f"reconcile --until 1h {mine}")
    refused(2, "no such option: --api-key", f"reconcile --since 1h --api-key={SECRET} {mine}")
    refused(2, "too many words", f"reconcile --since 1h {SECRET} {mine}")
    refused(2, "--market-type", f"reconcile --market-type spot {mine}")
    refused(2, "ask_per_minute", f"reconcile --ask-per-minute 0 {mine}")
    refused(2, "bot_schema", f"reconcile --bot-schema a-b {mine}")
    refused(2, "say module:function", "reconcile --exchange bybit --client sandbox")
    refused(2, "gives no client: ModuleNotFoundError", "reconcile --exchange bybit --client nowhere:client")
    refused(2, "gives no client: AttributeError", "reconcile --exchange bybit --client sandbox:nobody")
    refused(2, "returns a dict", "reconcile --exchange bybit --client sandbox:nothing")
    refused(2, "one of bybit", "reconcile --exchange binance --client sandbox:client")
    refused(2, "did you mean binance?", "reconcile --exchange binanse")
    refused(2, "set BYBIT_API_KEY and BYBIT_SECRET in the environment", "reconcile --exchange bybit")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    refused(2, "cannot use the key ***", "reconcile --exchange bybit --client sandbox:leaky")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ccxt.async_support", None)
        refused(2, "pip install ccxt", "reconcile --exchange bybit")
    refused(2, "mysql", f"reconcile --dsn mysql://u:sekret@localhost/bot {mine}")
    refused(3, "u@127.0.0.1:9/bot cannot be reached", f"reconcile --dsn postgresql://u:sekret@127.0.0.1:9/bot {mine}")
    assert not (here.folder / "audit-journal-offline").exists()
    assert not world.requests


@pytest.mark.parametrize("world", [("bybit", HOUR)], indirect=True)
def test_a_journal_in_use_and_an_exchange_that_is_away(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditTrail.open(journal=here.folder / "audit-journal"):
        used = call(capsys, "completeness", *options(world, "1h"), "--journal", "audit-journal")
        assert used.code == 3
        assert "audit-journal" in used.err.splitlines()[-1]
        beside = call(capsys, "completeness", *options(world, "1h"))
        assert beside.code == 0  # with a folder of its own, beside the bot
    world.stop()
    for name in ("reconcile", "completeness", "backfill"):
        away = call(capsys, name, *options(world, "1h"))
        assert (away.code, away.out) == (3, "")
        assert "bybit cannot be reached" in away.err.splitlines()[-1]


@pytest.mark.parametrize("world", [("bybit", HOUR)], indirect=True)
def test_without_a_dsn_it_says_where_the_tables_are(
    world: SimulatedExchange, here: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(server: EmbeddedPostgres) -> str:
        raise StoreUnavailable(f"the embedded PostgreSQL in {server.folder} does not start")

    monkeypatch.setattr(EmbeddedPostgres, "start", start)
    monkeypatch.delenv("AUDIT_WRAPPER_DSN")
    found = call(capsys, "completeness", *options(world, "1h"), "--journal", "mine")
    first, last = found.err.splitlines()
    assert "in an embedded PostgreSQL in mine/postgres, not in the bot's database" in first
    assert (found.code, "does not start" in last) == (3, True)
    assert not (here.folder / "mine").exists()


async def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"API_KEY": "the key", "SECRET": "the secret", "PASSWORD": "the word"}.items():
        monkeypatch.setenv(f"OKX_{name}", value)
    async with client_of("okx", None, "spot") as client:
        assert (client.apiKey, client.secret, client.password) == ("the key", "the secret", "the word")
        assert client.options["defaultType"] == "spot"
        assert client.enableRateLimit
    monkeypatch.delenv("OKX_PASSWORD")
    with pytest.raises(ValueError, match="set OKX_PASSWORD in the environment"):
        async with client_of("okx", None, None):
            pass


@pytest.mark.parametrize("name", ["reconcile", "completeness", "backfill"])
def test_help_says_how_it_ends(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{code}  ", text, re.MULTILINE) for code in (0, 1, 2, 3, 130))
    (example,) = re.findall(r"Example:\n +(.*)", text)
    assert f"audit-wrapper {name}" in example
