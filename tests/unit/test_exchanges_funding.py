"""Funding payments: which way they went, in which currency, and what is no funding."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.funding import FundingPayment
from audit_wrapper.records import Market

BINANCE, BYBIT = adapter_for("binanceusdm"), adapter_for("bybit")
MARKET = Market(symbol="ETH/USDT:USDT", exchange_symbol="ETHUSDT", base="ETH", quote="USDT", settle="USDT", type="swap")

# /docs/derivatives/usds-margined-futures/account/rest-api/Get-Income-History, with the numbers ccxt quotes
INCOME = {
    "symbol": "ETHUSDT",
    "incomeType": "FUNDING_FEE",
    "income": "-0.00134317",
    "asset": "USDT",
    "time": 1621584000000,
    "info": "FUNDING_FEE",
    "tranId": 4480321991774044580,
    "tradeId": "",
}
# /docs/derivatives/usds-margined-futures/user-data-streams/Event-Balance-and-Position-Update
PUSHED: dict[str, Any] = {
    "e": "ACCOUNT_UPDATE",
    "E": 1621584000039,
    "T": 1621584000038,
    "a": {
        "m": "FUNDING_FEE",
        "B": [{"a": "USDT", "wb": "122624.12345678", "cw": "100.12345678", "bc": "-0.00134317"}],
        "P": [],
    },
}
# bybit-exchange.github.io/docs/v5/order/execution, the entry ccxt quotes in parse_income
EXECUTION = {
    "symbol": "ETHUSDT",
    "orderType": "UNKNOWN",
    "orderLinkId": "",
    "orderId": "a11e5fe2-1dbf-4bab-a9b2-af80a14efc5d",
    "stopOrderType": "UNKNOWN",
    "execTime": "1710950400000",
    "feeCurrency": "",
    "createType": "",
    "feeRate": "-0.000761",
    "execPrice": "137.11",
    "orderQty": "0",
    "orderPrice": "0",
    "execValue": "134.3678",
    "closedSize": "0",
    "execType": "Funding",
    "seq": "28097658790",
    "side": "Sell",
    "leavesQty": "0",
    "isMaker": False,
    "execFee": "-0.10232512",
    "execId": "8d1ef156-4ec6-4445-9a6c-1c0c24dbd046",
    "marketUnit": "",
    "execQty": "0.98",
}


def client(name: str) -> Any:
    exchange = getattr(ccxt, name)()
    market = exchange.safe_market_structure(
        {
            "id": "ETHUSDT", "symbol": "ETH/USDT:USDT", "base": "ETH", "quote": "USDT", "settle": "USDT",
            "type": "swap", "spot": False, "swap": True, "contract": True, "linear": True, "inverse": False, "info": {},
        }
    )  # fmt: skip
    exchange.markets, exchange.markets_by_id = {market["symbol"]: market}, {market["id"]: [market]}
    return exchange


def paid(**fields: Any) -> FundingPayment:
    return FundingPayment(
        **{
            "payment_id": "4480321991774044580",
            "symbol": "ETH/USDT:USDT",
            "amount": Decimal("-0.00134317"),
            "currency": "USDT",
            "exchange_at": datetime(2021, 5, 21, 8, tzinfo=UTC),
            **fields,
        }
    )


def received(**fields: Any) -> FundingPayment:
    return FundingPayment(
        **{
            "payment_id": "8d1ef156-4ec6-4445-9a6c-1c0c24dbd046",
            "symbol": "ETH/USDT:USDT",
            "amount": Decimal("0.10232512"),
            "currency": "USDT",
            "rate": Decimal("-0.000761"),
            "exchange_at": datetime(2024, 3, 20, 16, tzinfo=UTC),
            **fields,
        }
    )


def test_binance_as_listed_and_as_ccxt_lists_it() -> None:
    assert BINANCE.funding(INCOME, MARKET) == paid()
    assert BINANCE.funding(INCOME) == paid(symbol="ETHUSDT")
    parsed = client("binanceusdm").parse_income(copy.deepcopy(INCOME))
    assert BINANCE.funding(parsed) == paid()
    assert BINANCE.funding(parsed | {"info": {}}) == paid()


@pytest.mark.parametrize("kind", ["COMMISSION", "REALIZED_PNL", "TRANSFER", "INSURANCE_CLEAR", None])
def test_other_income_is_no_funding(kind: str | None) -> None:
    assert BINANCE.funding(INCOME | {"incomeType": kind}) is None


def test_binance_pushed_says_the_position_only_where_it_is_isolated() -> None:
    moment = datetime(2021, 5, 21, 8, 0, 0, 38000, tzinfo=UTC)
    cross = paid(payment_id=None, symbol=None, exchange_at=moment)
    assert BINANCE.funding(PUSHED) == cross
    assert BINANCE.funding(PUSHED, MARKET) == cross
    assert BINANCE.funding({"stream": "x", "data": PUSHED}) == cross
    assert BINANCE.funding(json.dumps(PUSHED)) == cross
    isolated = {**PUSHED, "a": {**PUSHED["a"], "P": [{"s": "ETHUSDT", "pa": "20", "iw": "1"}]}}
    assert BINANCE.funding(isolated) == paid(payment_id=None, symbol="ETHUSDT", exchange_at=moment)


@pytest.mark.parametrize("changed", [{"m": "ORDER"}, {"B": []}, {"B": [{"a": "USDT", "wb": "1"}]}])
def test_another_update_of_the_account_is_no_funding(changed: dict[str, Any]) -> None:
    assert BINANCE.funding({**PUSHED, "a": {**PUSHED["a"], **changed}}) is None


def test_bybits_negative_fee_was_received() -> None:
    assert BYBIT.funding(EXECUTION, MARKET) == received()
    assert BYBIT.funding(EXECUTION) == received(symbol="ETHUSDT", currency=None)  # nothing names the currency
    assert BYBIT.funding({"topic": "execution", "data": [EXECUTION]}, MARKET) == received()
    exact = EXECUTION | {"execFee": "0.1234567890123456789012345678901"}
    assert BYBIT.funding(exact, MARKET) == received(amount=Decimal("-0.1234567890123456789012345678901"))
    zero = BYBIT.funding(EXECUTION | {"execFee": "0"})
    assert zero is not None
    assert (zero.amount, zero.amount.is_signed()) == (0, False)


def test_bybit_as_ccxt_lists_it_whose_amount_has_bybits_sign() -> None:
    parsed = client("bybit").parse_income(copy.deepcopy(EXECUTION))
    assert parsed["amount"] < 0  # received all the same
    assert BYBIT.funding(parsed) == received(symbol=parsed["symbol"], currency=parsed["symbol"].split(":")[-1])
    assert BYBIT.funding(parsed | {"info": {}}) == received(symbol=parsed["symbol"])


@pytest.mark.parametrize("kind", ["Trade", "SessionSettlePnL", "Settle", ""])
def test_another_entry_of_the_list_is_no_funding(kind: str) -> None:
    assert BYBIT.funding(EXECUTION | {"execType": kind}, MARKET) is None


def test_payments_in_whatever_is_shown_and_each_once() -> None:
    listed = {"retCode": 0, "result": {"list": [EXECUTION, EXECUTION | {"execId": "b"}, EXECUTION]}}
    assert [
        payment.payment_id for payment in BYBIT.payments([listed, {"topic": "execution", "data": [EXECUTION]}])
    ] == [
        EXECUTION["execId"],
        "b",
    ]
    assert BYBIT.sightings(listed) == ()
    assert BYBIT.understands(listed)
    assert [payment.amount for payment in BINANCE.payments([INCOME, PUSHED, INCOME])] == [paid().amount] * 2
    assert BINANCE.understands([INCOME, PUSHED])
    assert BINANCE.payments([INCOME | {"incomeType": "COMMISSION"}]) == ()


@pytest.mark.parametrize("entry", [None, 5, "x", {}, [], {"info": None}, {"info": {"execType": []}}, {"amount": "x"}])
@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
def test_nonsense_is_no_funding(exchange: str, entry: Any) -> None:
    assert adapter_for(exchange).funding(entry) is None
    assert adapter_for(exchange).payments(entry) == ()


def test_another_exchanges_sign_is_not_guessed() -> None:
    entry = {"info": {"x": "1"}, "id": "1", "symbol": "ETH/USDT:USDT", "code": "USDT", "amount": 1.0}
    assert adapter_for("okx").funding(entry) is None
