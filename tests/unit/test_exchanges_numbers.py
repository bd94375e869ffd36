"""Exact numbers and moments out of whatever is found in a field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from unittest.mock import MagicMock

import pytest

from audit_wrapper import codec
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.numbers import decimal_of, time_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.100", "0.1"),
        (" 1e-8 ", "1e-8"),
        (0.1, "0.1"),
        (12, "12"),
        ("0E-18", "0"),
        ("", None),
        ("-", None),
        ("NULL_VAL", None),
        ("+50.0%", None),
        ("1_000", None),
        ("nan", None),
        (float("inf"), None),
        (True, None),
        ("9" * 400, None),
        ("1e9999", None),
        (MagicMock(), None),
    ],
)
def test_decimal_of(value: object, expected: str | None) -> None:
    assert decimal_of(value) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    "value",
    [
        1705260547472,
        1705260547.472,
        "1705260547.472",
        1705260547472000,
        "1705260547472000000",
        "2024-01-14T19:29:07.472Z",
    ],
)
def test_time_of_any_unit(value: object) -> None:
    assert time_of(value) == datetime(2024, 1, 14, 19, 29, 7, 472000, tzinfo=UTC)


@pytest.mark.parametrize("value", [0, None, "", "2024-01-14T19:29:07", datetime(2024, 1, 1), True, "x", 10**30])
def test_no_time(value: object) -> None:
    assert time_of(value) is None


def test_exact_info_restores_the_digits_of_the_answer() -> None:
    text = '{"code":0,"data":[{"id":1,"px":0.1234567890123456789,"n":18446744073709551617000},{"id":2,"px":5.0,"n":1}]}'
    info = json.loads(text)["data"][0]
    assert isinstance(info["px"], float)
    info["n"] = float(info["n"])  # as orjson does it
    exact = {"id": 1, "px": Decimal("0.1234567890123456789"), "n": 18446744073709551617000}
    adapter = adapter_for("okx")
    assert adapter.exact_info(info, text) == exact
    assert adapter.exact_info(codec.exact_json(json.dumps(info)), text) == exact
    assert adapter.exact_info(info | {"id": 3}, text)["px"] == info["px"]


def test_exact_info_changes_nothing_where_two_objects_could_be_meant() -> None:
    text = '[{"px":0.12345678901234567891},{"px":0.12345678901234567892}]'
    info = {"px": 0.12345678901234568}
    assert adapter_for("okx").exact_info(info, text) is info


@pytest.mark.parametrize(
    ("info", "text"), [(None, "{}"), ({"a": 1}, None), ({"a": 1}, "<html>"), ([1], "[1]"), ({}, "{}")]
)
def test_exact_info_of_nonsense_is_the_nonsense(info: object, text: str | None) -> None:
    assert adapter_for("okx").exact_info(info, text) is info


def test_no_digit_is_rounded_away_in_sums_differences_and_signs() -> None:
    long = "0.1234567890123456789012345678901234567"
    state = adapter_for("bingx").order_state(
        {
            "id": "1",
            "status": "open",
            "amount": "1000000000",
            "filled": long,
            "info": {"fee": f"-{long}", "feeAsset": "A"},
        }
    )
    assert state.remaining_quantity == Decimal("999999999.8765432109876543210987654321098765433")
    assert [fee.amount for fee in state.fees] == [Decimal(long)]
