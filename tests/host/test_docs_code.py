"""The code on the pages of docs/ is run, on the simulated exchange and a real database."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_pages import DSN, blocks, messages, rows, run
from freqtrade_like import Bot, TemporaryError, module
from simulated_exchange import LoseAnswer, SimulatedExchange, async_client

from audit_wrapper import AuditTrail
from audit_wrapper.errors import CannotWrap, JournalInUse, JournalUnavailable, SettingsError

ETH = "ETH/USDT:USDT"


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


# -- faq.md


def quoted(*words: str) -> str:
    """The message of the page that has these words, as a regular expression."""
    (message,) = [message for message in messages() if all(word in message for word in words)]
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
