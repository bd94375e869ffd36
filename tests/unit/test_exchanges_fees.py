"""A fee that was not named follows exactly from a rate that was, or is not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import pytest

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.fees import added
from audit_wrapper.records import Fee, FeeStatus, Market

SWAP = Market(symbol="A/USDT:USDT", base="A", quote="USDT", settle="USDT", type="swap", contract_size=Decimal("0.1"))
INVERSE = Market(symbol="A/USD:A", base="A", quote="USD", settle="A", type="swap", contract_size=Decimal(10))
SPOT = Market(symbol="A/USDT", base="A", quote="USDT", type="spot")
MISSING = Fee(status=FeeStatus.MISSING)


def derived(amount: str, currency: str, rate: str) -> Fee:
    return Fee(amount=Decimal(amount), currency=currency, rate=Decimal(rate), status=FeeStatus.DERIVED)


def trade(rate: object, currency: str | None = "USDT", **info: Any) -> dict[str, Any]:
    return {
        "id": "1", "order": "2", "symbol": None, "side": "buy", "price": "123456789.123456789", "amount": "3",
        "takerOrMaker": "taker", "fee": {"cost": None, "currency": currency, "rate": rate}, "info": info,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "currency", "market", "fee"),
    [
        ("0.0005", "USDT", SWAP, derived("18518.51836851851835", "USDT", "0.0005")),
        ("-0.0001", "USDT", SWAP, derived("-3703.70367370370367", "USDT", "-0.0001")),
        ("0.0005", None, SWAP, derived("18518.51836851851835", "USDT", "0.0005")),
        ("0.001", "USDT", SPOT, derived("370370.367370370367", "USDT", "0.001")),
        ("0.001", "A", SPOT, derived("0.003", "A", "0.001")),
        ("0", "USDT", SWAP, derived("0", "USDT", "0")),
        ("0.001", None, SPOT, MISSING),
        ("0.001", "BNB", SPOT, MISSING),
        ("0.001", "BNB", SWAP, MISSING),
        ("0.001", "A", INVERSE, MISSING),
        ("0.001", "USDT", Market(quote="USDT", settle="USDT", type="swap"), MISSING),
        ("0.001", "USDT", Market(quote="USDT", settle="USDT", type="option", contract_size=Decimal(1)), MISSING),
        ("0.001", "USDT", None, MISSING),
        (None, "USDT", SWAP, MISSING),
        ("x", "USDT", SWAP, MISSING),
    ],
)
def test_what_follows_from_a_rate(rate: str | None, currency: str | None, market: Market | None, fee: Fee) -> None:
    assert adapter_for("woo").fill(trade(rate, currency, feeRate=rate), market).fee == fee


@pytest.mark.parametrize("info", [{}, {"feeRate": "0.0004"}, {"feeRate": "-0.0005"}, {"price": "0.0005"}])
def test_a_rate_the_payload_does_not_name_is_the_markets_list_rate(info: dict[str, Any]) -> None:
    assert adapter_for("woo").fill(trade("0.0005", "USDT", **info), SWAP).fee == MISSING


def test_an_amount_that_is_named_wins() -> None:
    named = trade("0.0005", "USDT", feeRate="0.0005", fee="7")
    named["fee"]["cost"] = "7"
    assert adapter_for("woo").fill(named, SWAP).fee == Fee(
        amount=Decimal(7), currency="USDT", rate=Decimal("0.0005"), status=FeeStatus.REPORTED
    )


def test_krakens_made_up_rate_is_not_derived_from_either() -> None:
    made_up = trade("0.0005", "USDT", fillType="taker", price="1")
    assert adapter_for("krakenfutures").fill(made_up, SWAP).fee == MISSING
    by_chance = trade("0.0005", "USDT", fillType="taker", price="1", leverageRate="0.0005")
    assert adapter_for("krakenfutures").fill(by_chance, SWAP).fee == MISSING


def test_an_amount_that_cannot_be_read_is_not_replaced() -> None:
    unreadable = trade("0.0005", "USDT", feeRate="0.0005")
    unreadable["fee"]["cost"] = "NaN"
    assert adapter_for("woo").fill(unreadable, SWAP).fee == MISSING


def test_no_digit_is_rounded_away() -> None:
    long = trade("0.00012345", "USDT", feeRate="0.00012345") | {
        "price": "1234567.123456789012345",
        "amount": "0.123456789",
    }
    assert adapter_for("woo").fill(long, SPOT).fee.amount == Decimal("18.81571728442395924916676018230725")


def bybit(**fields: Any) -> dict[str, Any]:
    return {"symbol": "AUSDT", "execId": "1", "orderId": "2", "side": "Sell", "execPrice": "100.5", "execQty": "3",
            "feeRate": "0.00055", **fields}  # fmt: skip


def test_bybit_without_an_amount() -> None:
    adapter = adapter_for("bybit")
    size = Market(base="A", quote="USDT", settle="USDT", type="swap", contract_size=Decimal(1))
    assert adapter.fill(bybit(execFee=""), size).fee == derived("0.165825", "USDT", "0.00055")
    assert adapter.fill(bybit(execFee="0"), size).fee == Fee(
        amount=Decimal(0), currency="USDT", rate=Decimal("0.00055"), status=FeeStatus.REPORTED
    )
    assert adapter.fill(bybit(execFee="", feeRate=""), size).fee == MISSING
    assert adapter.fill(bybit(execFee=""), None).fee == MISSING
    spot = adapter.fill(bybit(execFee="", feeRate="-0.001", side="Sell"), SPOT).fee
    assert spot == derived("-0.003", "A", "-0.001")  # a rebate is paid in the other currency


def test_through_ccxt_a_row_without_its_fee() -> None:
    exchange = ccxt.bybit()
    market = exchange.safe_market_structure(
        {"id": "AUSDT", "symbol": "A/USDT:USDT", "base": "A", "quote": "USDT", "settle": "USDT", "type": "swap",
         "spot": False, "swap": True, "contract": True, "linear": True, "inverse": False, "contractSize": 1,
         "taker": 0.0006, "info": {}}
    )  # fmt: skip
    parsed = exchange.parse_trade(bybit(execFee="", category="linear"), market)
    size = Market(symbol="A/USDT:USDT", quote="USDT", settle="USDT", type="swap", contract_size=Decimal(1))
    assert adapter_for("bybit").fill(parsed, size).fee == derived("0.165825", "USDT", "0.00055")


def test_a_sum_with_a_derived_part_is_derived() -> None:
    named = Fee(amount=Decimal(1), currency="USDT", status=FeeStatus.REPORTED)
    (total,) = added([named, derived("2", "USDT", "0.1")])
    assert (total.amount, total.status, total.rate) == (Decimal(3), FeeStatus.DERIVED, None)
    assert added([named, named])[0].status is FeeStatus.REPORTED
