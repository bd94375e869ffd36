"""What the pages of docs/ show is true: their code runs, their commands exist, their messages are raised, their links lead
somewhere. tests/unit/test_docs.py does the same for the README and the pages for developers."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import sys
import types
from pathlib import Path
from typing import Any, get_args, get_type_hints

import asyncpg
import pytest
from freqtrade_like import Bot, TemporaryError, module
from simulated_exchange import LoseAnswer, SimulatedExchange, async_client

from audit_wrapper.settings import PREFIX, Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
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
def freqtrade(audit_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The strategy of the page, in a world in which its imports work."""
    monkeypatch.chdir(tmp_path)
    name = "getting-started.md"
    helper = types.ModuleType("audit_of_orders")
    (block,) = blocks(name, "run: freqtrade audit_of_orders", "python")
    exec(compiled(block, name, audit_dsn), helper.__dict__)
    monkeypatch.setitem(sys.modules, "audit_of_orders", helper)
    monkeypatch.setitem(sys.modules, "freqtrade", types.ModuleType("freqtrade"))
    monkeypatch.setitem(sys.modules, "freqtrade.strategy", module())
    known: dict[str, Any] = {"__name__": "my_strategy"}
    (block,) = blocks(name, "run: freqtrade strategy", "python")
    exec(compiled(block, name, audit_dsn), known)
    yield types.SimpleNamespace(strategy=known["MyStrategy"], helper=helper)
    if helper._trail is not None:
        helper._trail.close()


def test_freqtrade(freqtrade: Any, audit_dsn: str) -> None:
    """A trade with a stop on the exchange, a lost answer that is tried again, a reload, the exit."""
    with SimulatedExchange("binance") as sim:
        bot = Bot(freqtrade.strategy, sim)
        bot.exchange.refresh(ETH)
        bot.exchange.create_order(pair=ETH, ordertype="limit", side="buy", amount=0.5, rate=3100.0)
        stop = bot.exchange.create_stoploss(ETH, 0.5, 2900.0)
        bot.process()
        bot.cleanup()

        bot = Bot(freqtrade.strategy, sim)
        bot.exchange.cancel_stoploss_order(stop["id"], ETH)
        bot.exchange.create_order(pair=ETH, ordertype="market", side="sell", amount=0.5, reduceOnly=True)
        bot.process()
        bot.cleanup()
        trail = freqtrade.helper._trail
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


def test_freqtrade_and_a_lost_answer(freqtrade: Any, audit_dsn: str) -> None:
    """The bot was told of an error; the exchange has the order, and the row says so once it was asked."""
    with SimulatedExchange("binance") as sim:
        bot = Bot(freqtrade.strategy, sim)
        sim.next("create", LoseAnswer())
        with pytest.raises(TemporaryError):
            bot.exchange.create_order(pair=ETH, ordertype="market", side="buy", amount=0.5)
        freqtrade.helper._asked_at = float("-inf")
        bot.process()
        bot.cleanup()
        assert asyncio.run(freqtrade.helper._trail.flush())
        (row,) = asyncio.run(rows(audit_dsn, "SELECT * FROM monitoring.orders"))
        (order,) = sim.ledger.orders
        assert (row["order_id"], row["status"], row["found_by"]) == (
            order.exchange_order_id,
            "FILLED",
            "client_order_id",
        )


@pytest.mark.parametrize("runmode", ["dry_run", "backtest"])
def test_freqtrade_without_orders_has_no_trail(freqtrade: Any, runmode: str, tmp_path: Path) -> None:
    with SimulatedExchange("binance") as sim:
        bot = Bot(freqtrade.strategy, sim, runmode)
        bot.process()
        bot.cleanup()
    assert freqtrade.helper._trail is None
    assert list(tmp_path.iterdir()) == []


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
    assert sorted(told.keys() - fields) == [], "docs/settings.md tells settings that are none"


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
