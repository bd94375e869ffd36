"""Whatever a bot hands around becomes some JSON, as it was at that moment, and secrets never do."""

from __future__ import annotations

import enum
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import AsyncMock, MagicMock
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from named import named as plainly

from audit_wrapper.snapshot import named, snapshot, without_secrets


def read(raw: msgspec.Raw) -> Any:
    return json.loads(bytes(raw))


@dataclass
class Order:
    """As HOST.md's OrderResult."""

    id: str | None
    amount: Any
    status: str | None = None
    timestamp: datetime = datetime(2026, 1, 2, 3, 4, 5)
    info: dict[str, Any] = field(default_factory=dict)


class Slots:
    __slots__ = ("amount", "id", "unset")

    def __init__(self) -> None:
        self.id, self.amount = "7", Decimal("1.50")


class Side(enum.Enum):
    BUY = "buy"


class Pair(NamedTuple):
    a: int
    b: int


class Plain:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Unreadable:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (0.1, 0.1),
        ("text", "text"),
        (Decimal("1.50"), "1.50"),
        (Decimal("0.0001"), "0.0001"),
        (float("nan"), None),
        (float("inf"), None),
        (2**63, 2**63),
        ([1, (2, 3)], [1, [2, 3]]),
        (Pair(1, 2), [1, 2]),
        ({"a": {"b": None}}, {"a": {"b": None}}),
        (Side.BUY, "buy"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (Slots(), {"id": "7", "amount": "1.50"}),
        (SimpleNamespace(id="1", status="open", other=object()), {"id": "1", "status": "open"}),
        (Plain(), "<Plain>"),
        (Plain(api_key="k", secret="s"), "<Plain>"),
        (MagicMock(), "<MagicMock>"),
        (AsyncMock(), "<AsyncMock>"),
        (print, "<builtin_function_or_method>"),
    ],
    ids=plainly,
)
def test_what_it_becomes(value: Any, expected: Any) -> None:
    assert read(snapshot(value)) == expected


def test_a_dataclass_is_told_in_full() -> None:
    told = read(snapshot(Order("1", Decimal("3.0"), "closed", info={"orderId": 1})))
    assert told["id"] == "1"
    assert told["amount"] == "3.0"
    assert told["info"] == {"orderId": 1}
    assert told["timestamp"].startswith("2026-01-02T03:04:05")


def test_an_exception_is_told_by_its_type() -> None:
    assert b"ValueError" in bytes(snapshot(ValueError("words")))


def test_later_changes_do_not_show() -> None:
    value: dict[str, Any] = {"a": [1]}
    raw = snapshot(value)
    value["a"].append(2)
    assert read(raw) == {"a": [1]}


def test_digits_of_a_decimal_are_kept() -> None:
    for number in (
        Decimal("0.000000000000000000123456789"),
        Decimal("1.10"),
        Decimal("123456789012345678901234567890.5"),
    ):
        told = read(snapshot({"p": number}))["p"]
        assert Decimal(told).as_tuple() == number.as_tuple()


@pytest.mark.parametrize(
    "value",
    [
        Unreadable(),
        {"a": Unreadable()},
        [Unreadable()],
        {Unreadable: 1},
        {(1, 2): 3, None: 4, 1.5: 5, b"x": 6},
        {"\ud800": "\udfff"},
        "\ud800",
        10**5000,
        -(10**5000),
        {"deep": 10**5000},
        10**400,
        {1, "a", None},
        b"\xff",
        object(),
        type,
        (x for x in ()),
        Decimal("sNaN"),
        {"a": float("nan"), "b": object()},
        range(10**9),
        memoryview(b"abc"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_anything_becomes_some_json(value: Any) -> None:
    json.loads(bytes(snapshot(value)))
    json.loads(bytes(named({"value": value})))


def test_cycles_end() -> None:
    cyclic: dict[str, Any] = {"id": "1"}
    cyclic["self"] = cyclic
    listed: list[Any] = [cyclic]
    listed.append(listed)
    looped = Plain(id="1")
    looped.info = looped
    for value in (cyclic, listed, looped):
        assert len(bytes(snapshot(value))) < 300_000


def test_depth_ends() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    snapshot(value)
    while isinstance(value, list):  # taken apart by hand: freeing it at once would recurse
        value = value.pop()


def test_size_ends() -> None:
    for value in ("x" * 10_000_000, ["y" * 1000] * 10_000, {f"k{n}": "z" * 100 for n in range(100_000)}):
        raw = bytes(snapshot(value))
        assert len(raw) < 300_000
        assert read(msgspec.Raw(raw))["truncated_bytes"] > 1_000_000


def test_a_large_value_that_needs_the_slow_walk_ends() -> None:
    value = {f"k{n}": Unreadable() for n in range(50_000)}
    started = time.monotonic()
    assert len(bytes(snapshot(value))) < 300_000
    assert time.monotonic() - started < 5


def test_truncation_in_the_middle_of_a_character() -> None:
    read(snapshot("ä" * 1_000_000))
    read(snapshot(["€" * 700] * 1_000))


class Scalar:
    """As numpy's: its module is numpy's, and `item()` gives Python's own."""

    __module__ = "numpy"

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_numbers_of_numpy() -> None:
    assert read(snapshot({"a": Scalar(1.5), "b": Scalar(3)})) == {"a": 1.5, "b": 3}
    read(snapshot({"a": Scalar(RuntimeError("an array of several"))}))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_like)
def test_any_value_gives_json_and_is_not_changed(value: Any) -> None:
    before = repr(value)
    json.loads(bytes(snapshot(value)))
    assert repr(value) == before


@given(st.dictionaries(st.text(), json_like, max_size=5))
def test_any_arguments_give_json(arguments: dict[str, Any]) -> None:
    json.loads(bytes(named(arguments)))


# -- secrets

SECRETS = [
    "apiKey", "api_key", "apikey", "API_KEY", "api-key", "secret", "Secret", "apiSecret", "api_secret", "secretKey",
    "signature", "sign", "password", "passphrase", "privateKey", "private_key", "token", "accessKey", "listenKey",
    "X-BAPI-SIGN", "X-BAPI-API-KEY", "X-MBX-APIKEY", "Authorization",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_removed_by_its_name_wherever_it_is(name: str) -> None:
    for arguments in (
        {name: "hidden-value"},
        {"params": {name: "hidden-value", "symbol": "X"}},
        {"params": {"headers": {name: "hidden-value"}}},
        {"orders": [{"params": {name: "hidden-value"}}]},
        {"position": SimpleNamespace(id="1", info={name: "hidden-value"})},
    ):
        assert b"hidden-value" not in bytes(named(arguments)), arguments


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_removed_from_what_was_sent(name: str) -> None:
    for text in (
        f"symbol=X&{name}=hidden-value&timestamp=1",
        f"{name}=hidden-value",
        f"symbol=X&{name}=hidden-value",
        f'{{"symbol":"X","{name}":"hidden-value"}}',
        f'{{"symbol":"X","{name}" : "hidden-value", "a": 1}}',
        f'[{{"params":{{"{name}":"hidden-value"}}}}]',
    ):
        assert "hidden-value" not in without_secrets(text), text


def test_what_is_no_secret_stays() -> None:
    query = "symbol=MNTUSDT&side=BUY&design=1&newClientOrderId=sign-5&assign=2&tokens=3"
    assert without_secrets(query) == query
    body = '{"symbol":"MNTUSDT","signal":"5","qty":"10","designated":"x","orderLinkId":"secret-plan"}'
    assert without_secrets(body) == body
    given = {"symbol": "MNTUSDT", "signal_id": 5, "params": {"clientOrderId": "a", "reduceOnly": True}}
    assert read(named(given)) == given


def test_removing_secrets_changes_nothing_of_the_bots() -> None:
    params = {"apiKey": "k", "symbol": "X", "nested": {"secret": "s"}}
    before = json.dumps(params)
    named({"params": params})
    assert json.dumps(params) == before


def test_a_json_body_stays_json() -> None:
    body = r'{"a":"quote \" inside","secret":"with \" quote","b":{"sign":"x"},"n":1.10}'
    cleaned = json.loads(without_secrets(body))
    assert cleaned["a"] == 'quote " inside'
    assert cleaned["n"] == 1.1
    assert "with" not in json.dumps(cleaned)


@given(st.text())
def test_removing_secrets_never_raises(text: str) -> None:
    without_secrets(text)
