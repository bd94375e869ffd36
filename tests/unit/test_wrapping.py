"""What `wrap` and `instrument` find in an object or a class, and how they undo it."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import ccxt
import pytest

from audit_wrapper.clients import ClientSubject, is_ccxt, is_client
from audit_wrapper.errors import CannotWrap, TrailClosed
from audit_wrapper.proxies import client_of, exchange_of
from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}

SOURCE = '''
class StopLossManager:
    def __init__(self, exchange, exchange_name):
        self.exchange, self.exchange_name = exchange, exchange_name

    async def set_stop_loss(self, symbol, side, amount, stop_price):
        """Sets."""
        return {"status": "created", "stopPrice": stop_price, "orderId": "9", "info": {}}

    class Inner:
        async def create_market_order(self, symbol, side, amount):
            return None


class Repository:
    async def create_position(self, position_data):
        return 1


class Nothing:
    pass


not_a_class = 5
'''


class Client:
    id = "bybit"

    async def create_order(self, symbol: str, type: str, side: str, amount: float, price: Any = None) -> Any:
        return ORDER

    async def cancel_order(self, id: str, symbol: str) -> Any:
        return ORDER


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module that can be imported and was not."""
    name = f"bots_module_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


async def set_stop(module: Any) -> Any:
    return await module.StopLossManager(Client(), "bybit").set_stop_loss("MNTUSDT", "sell", 1, 1.1)


def kinds(trail: MemoryTrail) -> list[RecordKind]:
    return [r.kind for r in trail.records]


# -- instrumenting by name


async def test_a_class_of_a_module_that_is_imported_already(trail: MemoryTrail, module: str) -> None:
    imported = importlib.import_module(module)
    before = dict(vars(imported.StopLossManager))
    trail.instrument(f"{module}:StopLossManager")
    await set_stop(imported)
    assert len(trail.records) == 2
    trail.uninstrument(f"{module}:StopLossManager")
    assert dict(vars(imported.StopLossManager)) == before
    await set_stop(imported)
    assert len(trail.records) == 2


async def test_a_class_of_a_module_that_is_imported_later(trail: MemoryTrail, module: str) -> None:
    trail.instrument(f"{module}:StopLossManager")
    assert module not in sys.modules, "instrumenting imported the bot's module"
    imported = importlib.import_module(module)
    await set_stop(imported)
    assert len(trail.records) == 2
    trail.uninstrument(f"{module}:StopLossManager")
    await set_stop(imported)
    assert len(trail.records) == 2


async def test_uninstrumented_before_it_is_imported(trail: MemoryTrail, module: str) -> None:
    trail.instrument(f"{module}:StopLossManager")
    trail.uninstrument(f"{module}:StopLossManager")
    imported = importlib.import_module(module)
    assert type(vars(imported.StopLossManager)["set_stop_loss"]).__module__ == "builtins"
    await set_stop(imported)
    assert trail.records == []
    assert trail.status().failures == {}


async def test_instrumented_again_before_it_is_imported(trail: MemoryTrail, module: str) -> None:
    for _ in range(2):
        trail.instrument(f"{module}:StopLossManager")
        trail.uninstrument(f"{module}:StopLossManager")
    trail.instrument(f"{module}:StopLossManager")
    trail.instrument(f"{module}:StopLossManager")
    imported = importlib.import_module(module)
    await set_stop(imported)
    assert len(trail.records) == 2


def test_never_imported(module: str) -> None:
    with memory_trail() as trail:
        trail.instrument(f"{module}:StopLossManager")
    assert module not in sys.modules
    imported = importlib.import_module(module)
    assert type(vars(imported.StopLossManager)["set_stop_loss"]).__module__ == "builtins"


def test_a_wrong_class_of_a_module_that_is_imported(trail: MemoryTrail, module: str) -> None:
    importlib.import_module(module)
    with pytest.raises(CannotWrap, match="StopLossManager"):
        trail.instrument(f"{module}:StopLosManager")
    with pytest.raises(CannotWrap, match="not_a_class"):
        trail.instrument(f"{module}:not_a_class")
    with pytest.raises(CannotWrap, match="it has none of"):
        trail.instrument(f"{module}:Nothing")
    trail.uninstrument(f"{module}:StopLosManager")


def test_a_wrong_class_of_a_module_that_is_imported_later_does_not_break_the_import(
    trail: MemoryTrail, module: str, caplog: pytest.LogCaptureFixture
) -> None:
    trail.instrument(f"{module}:StopLosManager")
    trail.instrument(f"{module}:Nothing")
    assert importlib.import_module(module).not_a_class == 5
    assert sum(trail.status().failures.values()) == 2
    assert "StopLosManager" in caplog.text
    trail.uninstrument(f"{module}:StopLosManager")


@pytest.mark.parametrize(
    "what", ["", "module", "module:", ":Class", "no.such.module:Class", "no_such_module:Class", "a b:c"]
)
def test_names_that_cannot_be_right(trail: MemoryTrail, what: str) -> None:
    with pytest.raises(CannotWrap, match="cannot instrument"):
        trail.instrument(what)
    trail.uninstrument(what)


def test_a_nested_class(trail: MemoryTrail, module: str) -> None:
    imported = importlib.import_module(module)
    trail.instrument(f"{module}:StopLossManager.Inner")
    assert type(vars(imported.StopLossManager.Inner)["create_market_order"]).__module__.startswith("audit_wrapper")


async def test_name_and_class_mean_the_same(trail: MemoryTrail, module: str) -> None:
    imported = importlib.import_module(module)
    trail.instrument(f"{module}:StopLossManager")
    trail.instrument(imported.StopLossManager)
    await set_stop(imported)
    assert len(trail.records) == 2
    trail.uninstrument(imported.StopLossManager)
    await set_stop(imported)
    assert len(trail.records) == 2


async def test_a_repository_class(trail: MemoryTrail, module: str) -> None:
    imported = importlib.import_module(module)
    trail.instrument(imported.Repository)
    assert await imported.Repository().create_position({"symbol": "MNTUSDT", "exchange": "bybit", "side": "long"}) == 1
    assert kinds(trail) == [RecordKind.LINKED]


async def test_a_subclass_and_its_base_both_instrumented_record_one_order(trail: MemoryTrail) -> None:
    class Base:
        name = "binance"

        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return ORDER

    class Child(Base):
        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return await super().create_market_order(symbol, side, amount)

    trail.instrument(Base)
    trail.instrument(Child)
    assert await Child().create_market_order("MNTUSDT", "buy", 1) is ORDER
    assert kinds(trail) == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    assert await trail.wrap(Child()).create_market_order("MNTUSDT", "buy", 1) is ORDER
    assert kinds(trail) == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED] * 2


async def test_an_inherited_method_is_put_on_the_class_alone(trail: MemoryTrail) -> None:
    class Base:
        name = "binance"

        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return ORDER

    class Child(Base):
        pass

    trail.instrument(Child)
    await Base().create_market_order("MNTUSDT", "buy", 1)
    assert trail.records == []
    await Child().create_market_order("MNTUSDT", "buy", 1)
    assert len(trail.records) == 2
    trail.uninstrument(Child)
    assert "create_market_order" not in vars(Child)


async def test_a_class_that_makes_its_own_client_has_it_observed(trail: MemoryTrail, module: str) -> None:
    imported = importlib.import_module(module)
    trail.instrument(imported.StopLossManager)
    client = Client()
    before = dict(vars(client))
    host = imported.StopLossManager(client, "bybit")
    await host.set_stop_loss("MNTUSDT", "sell", 1, 1.1)
    looked_at = len(trail.records)
    await client.create_order("MNT/USDT:USDT", "limit", "buy", 1, 1)
    assert kinds(trail)[looked_at:] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    trail.close()
    assert dict(vars(client)) == before


def test_after_close_nothing_can_be_wrapped() -> None:
    trail = memory_trail()
    trail.close()
    for act in (lambda: trail.wrap(Client()), lambda: trail.instrument(Client)):
        with pytest.raises(TrailClosed, match="open a new one"):
            act()
    client = Client()
    assert trail.unwrap(client) is client
    trail.uninstrument(Client)


async def test_after_close_a_proxy_still_trades_and_records_nothing() -> None:
    class Manager:
        name = "binance"

        async def create_market_order(self, symbol: str, side: str, amount: float) -> Any:
            return ORDER

    trail = memory_trail()
    proxy = trail.wrap(Manager())
    trail.close()
    assert await proxy.create_market_order("MNTUSDT", "buy", 1) is ORDER
    assert trail.status().waiting == 0
    assert trail.status().failures == {}
    assert trail._memory_journal.read(0, 10) == []


def test_a_client_that_the_bot_drops_is_not_kept_alive_for_ever(trail: MemoryTrail) -> None:
    """A bot that reconnects makes a new client each time."""
    client = Client()
    trail.wrap(client)
    reference = weakref.ref(client)
    trail.unwrap(client)
    del client
    gc.collect()
    assert reference() is None


def test_a_new_client_at_the_address_of_an_old_one_is_observed(trail: MemoryTrail) -> None:
    """Objects are told apart by identity, and an identity is used again when its object is gone."""
    for _ in range(50):
        client = Client()
        trail.wrap(client)
        assert "create_order" in vars(client)
        del client


# -- what is what


def test_what_is_a_client() -> None:
    assert is_ccxt(ccxt.binance())
    assert is_client(ccxt.binance())
    assert not is_ccxt(Client())
    assert is_client(Client())
    for thing in (None, 5, "x", {}, [], Client, object(), SimpleNamespace(create_order=5, cancel_order=6)):
        assert not is_client(thing)


def test_where_a_manager_keeps_its_client() -> None:
    client = Client()
    for name in ("exchange", "client", "exchange_client"):
        assert client_of(SimpleNamespace(**{name: client})) is client
    assert client_of(SimpleNamespace(exchange="binance")) is None
    assert client_of(MagicMock()) is None
    assert exchange_of(SimpleNamespace(name="binance")) == "binance"
    assert exchange_of(SimpleNamespace(name="", exchange_name="bybit")) == "bybit"
    assert exchange_of(MagicMock()) is None


async def test_the_clients_own_id_counts_over_a_name_that_would_misread_it(trail: MemoryTrail) -> None:
    manager = SimpleNamespace(name="binance", exchange=Client(), create_market_order=None)

    async def create_market_order(symbol: str, side: str, amount: float) -> Any:
        return await manager.exchange.create_order(symbol, "market", side, amount)

    manager.create_market_order = create_market_order
    await trail.wrap(manager).create_market_order("MNT/USDT:USDT", "buy", 1)
    assert {r.exchange for r in trail.records} == {"bybit"}


def test_the_words_that_sign_are_those_of_now() -> None:
    client = ccxt.binance({"apiKey": "first-key", "secret": "first-secret"})
    subject = ClientSubject(client, "binance")
    assert subject.secrets == ["first-key", "first-secret"]
    client.apiKey, client.password = "second-key", "word-of-mine"
    assert subject.secrets == ["second-key", "first-secret", "word-of-mine"]
    client.apiKey = None
    assert subject.secrets == ["first-secret", "word-of-mine"]
    client.secret = "short"  # would be found in any text
    assert subject.secrets == ["word-of-mine"]
