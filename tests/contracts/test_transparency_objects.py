"""A wrapped object is what it was to anyone who looks, and `unwrap` leaves no trace."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import weakref
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import AsyncIterable, Awaitable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest
from named import named

from audit_wrapper import calls
from audit_wrapper.errors import CannotWrap
from audit_wrapper.records import RecordKind
from audit_wrapper.testing import MemoryTrail, memory_trail

ORDER = {"id": "1", "symbol": "MNT/USDT:USDT", "status": "open", "info": {}}


class Client:
    """A stub of a ccxt client."""

    id = "binance"

    def __init__(self, label: str = "first") -> None:
        self.label = label
        self.calls: list[str] = []
        self.replaced = self.cancel_order

    async def create_order(self, symbol: str, type: str, side: str, amount: float, price: Any = None) -> Any:
        """Places."""
        self.calls.append(symbol)
        return ORDER

    createOrder = create_order

    async def cancel_order(self, id: str, symbol: str | None = None, params: Any = None) -> Any:
        self.calls.append(id)
        return ORDER

    async def close(self) -> None:
        self.calls.append("close")


class Manager:
    """A manager, with a client inside."""

    class_attribute = (1,)

    def __init__(self, name: str = "binance", client: Any = None) -> None:
        self.name = name
        self.exchange = client
        self.calls: list[Any] = []
        self.volatile: Any = None

    async def create_market_order(
        self, symbol: str, side: str, amount: float, params: dict[str, Any] | None = None
    ) -> Any:
        """Buys or sells."""
        self.calls.append((symbol, side, amount))
        return ORDER

    def sync_read(self) -> str:
        return self.name

    async def fetch_order(self, order_id: str) -> str:
        return order_id

    @property
    def balance(self) -> int:
        return 5

    @balance.setter
    def balance(self, value: int) -> None:
        self.volatile = value

    @balance.deleter
    def balance(self) -> None:
        self.volatile = "deleted"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manager) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __bool__(self) -> bool:
        return self.name != "nothing"

    def __repr__(self) -> str:
        return f"Manager({self.name!r})"

    def __str__(self) -> str:
        return f"manager of {self.name}"


class StopLossManager:
    def __init__(self, exchange: Any, exchange_name: str) -> None:
        self.exchange, self.exchange_name = exchange, exchange_name

    async def set_stop_loss(self, symbol: str, side: str, amount: float, stop_price: float) -> Any:
        return {"status": "created", "stopPrice": stop_price, "orderId": "9", "info": {}}


class Repository:
    async def create_position(self, position_data: dict[str, Any]) -> int:
        return 1

    async def update_position(self, position_id: int, updates: dict[str, Any] | None = None, **fields: Any) -> bool:
        return True


class SlottedClient:
    __slots__ = ("label",)
    id = "binance"

    async def create_order(self, *args: Any) -> Any:
        return ORDER

    async def cancel_order(self, *args: Any) -> Any:
        return ORDER


@pytest.fixture
def trail() -> Iterator[MemoryTrail]:
    with memory_trail() as opened:
        yield opened


# -- what a proxy looks like


def test_isinstance_and_class(trail: MemoryTrail) -> None:
    proxy = trail.wrap(Manager())
    assert isinstance(proxy, Manager)
    assert proxy.__class__ is Manager
    assert not isinstance(proxy, Client)
    for abstract in (Iterable, Awaitable, AsyncIterable, Hashable):
        assert isinstance(proxy, abstract) == isinstance(Manager(), abstract), abstract
    assert callable(proxy) == callable(Manager())
    assert callable(trail.wrap(MagicMock(spec=["create_market_order", "__call__"])))


def test_hasattr_getattr_and_dir(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    for name in (*dir(manager), "create_limit_order", "no_such_thing", "update_stop_loss_atomic", "__len__"[2:-2]):
        assert hasattr(proxy, name) == hasattr(manager, name), name
    assert dir(proxy) == dir(manager)
    assert vars(proxy) == vars(manager)
    assert proxy.__dict__ is manager.__dict__
    assert proxy.__doc__ == manager.__doc__
    assert proxy.__module__ == manager.__module__
    assert proxy.class_attribute is Manager.class_attribute
    assert getattr(proxy, "create_limit_order", "none") == "none"
    with pytest.raises(AttributeError) as before:
        manager.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError) as after:
        proxy.no_such_thing  # noqa: B018
    assert str(before.value) == str(after.value)


def test_writes_and_deletes_reach_the_object(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    proxy.volatile = "set"
    assert manager.volatile == "set"
    del proxy.volatile
    assert not hasattr(manager, "volatile")
    proxy.balance = 9
    assert manager.volatile == 9
    del proxy.balance
    assert manager.volatile == "deleted"
    manager.name = "bybit"
    assert proxy.name == "bybit"
    proxy.brand_new = object()
    assert proxy.brand_new is manager.brand_new
    setattr(proxy, "via_setattr", 1)  # noqa: B010
    assert vars(manager)["via_setattr"] == 1
    with pytest.raises(AttributeError):
        del proxy.nothing_there


def test_methods_look_as_before(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    for name in ("create_market_order", "fetch_order", "sync_read"):
        bare, observed = getattr(manager, name), getattr(proxy, name)
        assert inspect.signature(observed) == inspect.signature(bare)
        assert inspect.iscoroutinefunction(observed) == inspect.iscoroutinefunction(bare)
        assert asyncio.iscoroutinefunction(observed) == asyncio.iscoroutinefunction(bare)
        assert inspect.ismethod(observed) == inspect.ismethod(bare)
        assert observed.__name__ == bare.__name__
        assert observed.__qualname__ == bare.__qualname__
        assert observed.__doc__ == bare.__doc__
        assert observed.__self__ is manager
        assert observed.__func__ is bare.__func__
        assert observed == bare
        assert bare == observed
        assert hash(observed) == hash(bare)
        assert len({observed, bare, getattr(proxy, name)}) == 1
        assert isinstance(observed, type(bare))
        assert inspect.getsource(observed) == inspect.getsource(bare)
        assert "method" in repr(observed)
        assert str(observed)
    assert callable(proxy.create_market_order)


def test_a_clients_methods_look_as_before(trail: MemoryTrail) -> None:
    bare, client = Client(), trail.wrap(Client())
    for name in ("create_order", "createOrder", "cancel_order"):
        assert inspect.signature(getattr(client, name)) == inspect.signature(getattr(bare, name))
        assert inspect.iscoroutinefunction(getattr(client, name))
        assert asyncio.iscoroutinefunction(getattr(client, name))
        assert getattr(client, name).__self__ is client
        assert getattr(client, name).__name__ == getattr(bare, name).__name__
    assert type(client) is Client


def test_equality_hash_truth_and_text(trail: MemoryTrail) -> None:
    manager, other = Manager(), Manager("bybit")
    proxy = trail.wrap(manager)
    assert proxy == manager
    assert manager == proxy
    assert proxy == Manager()
    assert proxy != other
    assert proxy == trail.wrap(Manager())
    assert hash(proxy) == hash(manager)
    assert {proxy: 1}[manager] == 1
    assert manager in [proxy]
    assert bool(proxy) is True
    assert bool(trail.wrap(Manager("nothing"))) is False
    assert str(proxy) == str(manager)
    assert "Manager" in repr(proxy)
    assert f"{proxy}" == f"{manager}"


def test_an_object_that_is_not_hashable_stays_so(trail: MemoryTrail) -> None:
    class Unhashable(Manager):
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="unhashable"):
        hash(trail.wrap(Unhashable()))


def test_weak_references(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    reference = weakref.ref(proxy)
    assert reference() is proxy
    known = weakref.WeakKeyDictionary({proxy: 1})
    assert known[proxy] == 1
    assert weakref.ref(manager)() is manager


def test_copies_of_a_proxy_are_plain(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    for made in (copy.copy(proxy), copy.deepcopy(proxy)):
        assert type(made) is Manager
        assert made is not manager
        assert made.name == manager.name
    assert copy.copy(proxy).calls is manager.calls
    assert copy.deepcopy(proxy).calls is not manager.calls
    assert type(copy.deepcopy({"binance": proxy})["binance"]) is Manager


def test_pickling_gives_a_plain_copy_or_the_error_it_gave(trail: MemoryTrail) -> None:
    proxy = trail.wrap(Manager())
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        made = pickle.loads(pickle.dumps(proxy, protocol))
        assert type(made) is Manager
        assert made.name == "binance"
    manager = Manager()
    manager.volatile = lambda: None
    with pytest.raises((pickle.PicklingError, AttributeError)) as before:
        pickle.dumps(manager)
    with pytest.raises(type(before.value)) as after:
        pickle.dumps(trail.wrap(manager))
    assert str(after.value) == str(before.value)


# -- copies and pickles of what is observed in place


async def test_a_deep_copy_of_a_client_speaks_for_itself(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())
    made = copy.deepcopy(client)
    made.label = "second"
    await made.create_order("MNT/USDT:USDT", "limit", "buy", 1)
    await made.createOrder("MNT/USDT:USDT", "limit", "buy", 1)
    assert client.calls == []
    assert len(made.calls) == 2


async def test_a_shallow_copy_of_a_client_speaks_for_itself(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())
    made = copy.copy(client)
    made.calls = []
    await made.create_order("MNT/USDT:USDT", "limit", "buy", 1)
    assert client.calls == []
    assert made.calls == ["MNT/USDT:USDT"]


async def test_a_pickled_client_speaks_for_itself(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())
    made = pickle.loads(pickle.dumps(client))
    await made.create_order("MNT/USDT:USDT", "limit", "buy", 1)
    assert client.calls == []
    assert made.calls == ["MNT/USDT:USDT"]
    assert trail.records == []


class Holder(Manager):
    """Keeps a bound method of its own, as callbacks are kept."""

    def __init__(self, name: str = "binance") -> None:
        super().__init__(name)
        self.callback = self.create_market_order


async def test_instances_of_an_instrumented_class_can_be_copied_and_pickled(trail: MemoryTrail) -> None:
    trail.instrument(Holder)
    holder = Holder()
    for made in (copy.deepcopy(holder), pickle.loads(pickle.dumps(holder))):
        await made.callback("MNTUSDT", "buy", 1)
        assert made.calls == [("MNTUSDT", "buy", 1)]
    assert holder.calls == []


# -- wrapping twice, unwrapping, setting attributes meanwhile


def test_wrapping_twice_is_harmless(trail: MemoryTrail) -> None:
    client = Client()
    proxy = trail.wrap(Manager(client=client))
    assert trail.wrap(proxy) is proxy
    own = dict(vars(client))
    assert trail.wrap(client) is client
    assert vars(client) == own
    assert all(vars(client)[name] is own[name] for name in own)


async def test_wrapping_twice_records_once(trail: MemoryTrail) -> None:
    manager = Manager()
    await trail.wrap(trail.wrap(manager)).create_market_order("MNTUSDT", "buy", 1)
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]
    assert len(manager.calls) == 1


def snapshot_of(thing: Any) -> dict[str, Any]:
    return dict(vars(thing))


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return list(before) == list(after) and all(before[name] is after[name] for name in before)


def test_unwrap_leaves_no_trace_on_a_client(trail: MemoryTrail) -> None:
    client = Client()
    client.createOrder = client.create_order
    before = snapshot_of(client)
    assert trail.unwrap(trail.wrap(client)) is client
    assert same(before, snapshot_of(client))
    assert trail.unwrap(client) is client


def test_unwrap_of_a_manager_takes_its_client_back_too(trail: MemoryTrail) -> None:
    client = Client()
    manager = Manager(client=client)
    before, client_before = snapshot_of(manager), snapshot_of(client)
    proxy = trail.wrap(manager)
    assert not same(client_before, snapshot_of(client))
    assert trail.unwrap(proxy) is manager
    assert same(client_before, snapshot_of(client))
    assert same(before, snapshot_of(manager))
    assert trail.unwrap(manager) is manager


async def test_a_clients_attribute_set_meanwhile_stays(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())

    async def mine(*args: Any, **kwargs: Any) -> str:
        return "mine"

    client.create_order = mine
    assert await client.create_order() == "mine"
    trail.unwrap(client)
    assert client.create_order is mine
    assert "cancel_order" not in vars(client)


async def test_a_users_own_wrapper_around_ours_goes_on_without_us(trail: MemoryTrail) -> None:
    client = trail.wrap(Client())
    inner = client.create_order

    async def retrying(*args: Any, **kwargs: Any) -> Any:
        return await inner(*args, **kwargs)

    client.create_order = retrying
    await client.create_order("MNT/USDT:USDT", "limit", "buy", 1)
    assert len(trail.records) == 2
    trail.unwrap(client)
    assert await client.create_order("MNT/USDT:USDT", "limit", "buy", 1) is ORDER
    assert len(trail.records) == 2, "unwrapped, and still recording"


async def test_a_managers_method_set_meanwhile_is_used(trail: MemoryTrail) -> None:
    manager = Manager()
    proxy = trail.wrap(manager)
    proxy.create_market_order = AsyncMock(return_value=ORDER)
    assert await proxy.create_market_order("MNTUSDT", "buy", 1) is ORDER
    manager.create_market_order.assert_awaited_once_with("MNTUSDT", "buy", 1)  # type: ignore[attr-defined]
    assert manager.calls == []
    assert [r.kind for r in trail.records] == [RecordKind.INTENT, RecordKind.ACKNOWLEDGED]


def test_unwrap_gives_a_mock_its_children_back(trail: MemoryTrail) -> None:
    mock = MagicMock(spec=["create_order", "cancel_order", "id"])
    mock.id = "binance"
    mock.create_order.return_value = ORDER
    child = mock.create_order
    assert trail.wrap(mock) is mock
    assert mock.create_order(1) is ORDER
    trail.unwrap(mock)
    assert mock.create_order is child
    assert mock.create_order(2) is ORDER
    assert mock.create_order.call_count == 2
    assert [c[0] for c in mock.mock_calls] == ["create_order", "create_order"]
    assert not hasattr(mock, "createOrder")


def test_an_autospecced_mock_of_a_manager(trail: MemoryTrail) -> None:
    mock = create_autospec(Manager, instance=True)
    mock.name = "binance"
    proxy = trail.wrap(mock)
    assert isinstance(proxy, Manager)
    with pytest.raises(TypeError):
        proxy.create_market_order("only one")


# -- two trails


async def test_two_trails_on_one_manager_each_record(trail: MemoryTrail) -> None:
    with memory_trail() as other:
        client = Client()
        manager = Manager(client=client)
        proxy = other.wrap(trail.wrap(manager))
        await proxy.create_market_order("MNTUSDT", "buy", 1)
        await client.create_order("MNT/USDT:USDT", "limit", "buy", 1)
        assert len(manager.calls) == len(client.calls) == 1
        kinds = [r.kind for r in trail.records]
        assert kinds == [r.kind for r in other.records]
        assert kinds.count(RecordKind.INTENT) == kinds.count(RecordKind.ACKNOWLEDGED) == 2


@pytest.mark.parametrize("first_to_go", ["inner", "outer"])
async def test_two_trails_are_taken_off_in_any_order(first_to_go: str) -> None:
    inner, outer = memory_trail(), memory_trail()
    client = Client()
    before = snapshot_of(client)
    inner.wrap(client)
    outer.wrap(client)
    gone, left = (inner, outer) if first_to_go == "inner" else (outer, inner)
    gone.unwrap(client)
    await client.create_order("MNT/USDT:USDT", "limit", "buy", 1)
    assert len(gone.records) == 0
    assert len(left.records) == 2, "the trail that stays records no more"
    left.unwrap(client)
    assert same(before, snapshot_of(client))
    inner.close()
    outer.close()


@pytest.mark.parametrize("first_to_go", ["inner", "outer"])
async def test_two_trails_on_a_class_are_taken_off_in_any_order(first_to_go: str) -> None:
    class Own(Manager):
        pass

    own_before, base_before = dict(vars(Own)), dict(vars(Manager))
    inner, outer = memory_trail(), memory_trail()
    inner.instrument(Own)
    outer.instrument(Own)
    gone, left = (inner, outer) if first_to_go == "inner" else (outer, inner)
    gone.close()
    await Own().create_market_order("MNTUSDT", "buy", 1)
    assert len(gone._memory_journal.read(0, 10)) == 0
    assert len(left.records) == 2, "the trail that stays records no more"
    left.close()
    assert dict(vars(Own)) == own_before
    assert dict(vars(Manager)) == base_before


async def test_a_class_attribute_set_meanwhile_stays(trail: MemoryTrail) -> None:
    class Own(Manager):
        pass

    async def mine(self: Any) -> str:
        return "mine"

    trail.instrument(Own)
    Own.create_market_order = mine  # type: ignore[assignment,method-assign]
    trail.uninstrument(Own)
    assert await Own().create_market_order() == "mine"  # type: ignore[call-arg]


# -- collections


class Bots(dict[str, Any]):
    """A dict of a bot's own."""

    label = "none"


class Pair(NamedTuple):
    one: Any
    other: Any


def test_a_dict_stays_the_kind_it_was(trail: MemoryTrail) -> None:
    manager, client = Manager(), Client()
    plain = trail.wrap({"a": manager, "b": client})
    assert type(plain) is dict
    assert plain["b"] is client
    ordered = trail.wrap(OrderedDict([("z", manager), ("a", client)]))
    assert type(ordered) is OrderedDict
    assert list(ordered) == ["z", "a"]
    default = defaultdict(list, {"a": manager})
    wrapped = trail.wrap(default)
    assert type(wrapped) is defaultdict
    assert wrapped.default_factory is list
    assert wrapped["new"] == []
    assert "new" not in default
    assert default["a"] is manager


def test_a_dict_of_the_bots_own_stays_that(trail: MemoryTrail) -> None:
    own = Bots(a=Manager())
    own.label = "mine"
    wrapped = trail.wrap(own)
    assert type(wrapped) is Bots
    assert wrapped.label == "mine"
    assert wrapped["a"] == own["a"]
    assert wrapped["a"] is not own["a"]
    assert type(trail.unwrap(wrapped)) is Bots
    assert trail.unwrap(wrapped)["a"] is own["a"]


def test_lists_and_tuples_stay_what_they_were(trail: MemoryTrail) -> None:
    manager = Manager()
    point = namedtuple("point", "x y")
    for thing in ([manager], (manager,), Pair(manager, manager), point(manager, manager)):
        wrapped = trail.wrap(thing)
        assert type(wrapped) is type(thing)
        assert len(wrapped) == len(thing)
        assert wrapped[0] is not manager
        assert trail.unwrap(wrapped) == thing
        assert trail.unwrap(wrapped)[0] is manager


def test_nested_collections(trail: MemoryTrail) -> None:
    manager = Manager()
    wrapped = trail.wrap({"a": [manager, {"deep": (manager,)}]})
    assert trail.wrap(wrapped)["a"][0] is wrapped["a"][0]
    assert trail.unwrap(wrapped)["a"][1]["deep"][0] is manager


# -- what cannot be wrapped


class Plain:
    pass


@pytest.mark.parametrize(
    "thing",
    [
        5,
        5.0,
        "binance",
        b"x",
        None,
        object(),
        Plain(),
        Manager,
        Client,
        {1, 2},
        {"a": 5},
        [Manager(), "x"],
        print,
        Ellipsis,
    ],
    ids=named,
)
def test_what_cannot_be_wrapped_is_refused_in_words(trail: MemoryTrail, thing: Any) -> None:
    with pytest.raises(CannotWrap) as caught:
        trail.wrap(thing)
    words = str(caught.value)
    assert words.startswith("cannot wrap ")
    assert "create_market_order" in words
    assert "create_position" in words
    assert isinstance(caught.value, TypeError)


def test_the_refusal_names_the_type(trail: MemoryTrail) -> None:
    with pytest.raises(CannotWrap, match=r"builtins\.int"):
        trail.wrap(5)
    with pytest.raises(CannotWrap, match="Plain"):
        trail.wrap(Plain())


def test_a_mapping_that_is_no_dict_is_refused(trail: MemoryTrail) -> None:
    with pytest.raises(CannotWrap, match="UserDict"):
        trail.wrap(UserDict(a=Manager()))


def test_a_refusal_in_a_collection_leaves_the_others_alone(trail: MemoryTrail) -> None:
    client = Client()
    before = snapshot_of(client)
    with pytest.raises(CannotWrap):
        trail.wrap({"good": client, "bad": 5})
    assert same(before, snapshot_of(client))


def test_a_client_with_slots_is_refused_and_says_what_to_do(trail: MemoryTrail) -> None:
    with pytest.raises(CannotWrap, match="instrument"):
        trail.wrap(SlottedClient())


def test_a_client_that_refuses_attributes_is_refused_whole(trail: MemoryTrail) -> None:
    class Frozen(Client):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "cancel_order":
                raise AttributeError("frozen")
            super().__setattr__(name, value)

    client = Frozen()
    before = snapshot_of(client)
    with pytest.raises(CannotWrap, match="frozen"):
        trail.wrap(client)
    assert same(before, snapshot_of(client))


def test_every_kind_of_host_can_be_wrapped(trail: MemoryTrail) -> None:
    for thing in (Manager(), StopLossManager(Client(), "binance"), Repository()):
        proxy = trail.wrap(thing)
        assert proxy is not thing
        assert proxy == thing
    assert calls.REPOSITORY.keys() <= set(dir(trail.wrap(Repository())))
