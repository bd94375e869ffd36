"""Whatever a bot has traded, the views add up, and say what comes of reckoning it another way."""

from __future__ import annotations

import os
from decimal import Decimal as D
from fractions import Fraction
from uuid import uuid4

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from positions import Fill, Positions

from audit_wrapper.records import Purpose

AMOUNTS = st.integers(1, 9)
PRICES = st.decimals("0.0000001", "99999", places=7)
FEES = st.one_of(st.none(), st.decimals("-1", "1", places=9))
CURRENCIES = st.sampled_from(("USDT", "USDT", "BNB"))
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(("buy", "sell")),
        st.lists(st.tuples(PRICES, AMOUNTS, FEES, CURRENCIES), min_size=1, max_size=3),
        st.one_of(st.none(), PRICES),
        st.sampled_from(("whole", "whole", "whole", "whole", "missing", "unknown")),
    ),
    min_size=1,
    max_size=6,
)


def trade(bot: Positions, position: str, orders: list, closes: bool, begin: int) -> dict:
    """Has the bot trade this position. Returns what comes of it, reckoned here."""
    first, left = orders[0][0], 0
    known, gross, fees, fees_known = True, Fraction(0), Fraction(0), True
    orders = list(orders)
    if closes:
        left = sum(amount * (1 if side == "buy" else -1) for side, fills, _, _ in orders for _, amount, _, _ in fills)
        if left:
            orders.append(("sell" if left > 0 else "buy", [(D(7), abs(left), D(0), "USDT")], None, "whole"))
    net = 0
    for number, (side, fills, intended, how) in enumerate(orders):
        second = begin + number * 100
        shown = [
            Fill(second + 1 + i, str(p), str(q), None if f is None else str(f), c)
            for i, (p, q, f, c) in enumerate(fills)
        ]
        whole = sum(q for _, q, _, _ in fills)
        given = {} if intended is None else {"type": "limit", "limit": str(intended)}
        sign = 1 if side == "buy" else -1
        net += sign * whole
        if how == "unknown":
            bot.order(second, side, str(whole), position=position, answered=False, opens=first, **given)
        elif how == "missing":
            bot.order(second, side, str(whole), *shown[:-1], position=position, filled=str(whole), opens=first, **given)
        else:
            purpose = Purpose.ENTRY if side == first else Purpose.EXIT
            bot.order(second, side, str(whole), *shown, position=position, opens=first, purpose=purpose, **given)
        known &= how == "whole"
        for price, quantity, fee, currency in fills:
            gross -= sign * Fraction(price) * quantity
            fees_known &= fee is not None
            if fee is not None and currency == "USDT":
                fees += Fraction(fee)
    return {"closed": net == 0, "known": known, "gross": gross, "fees": fees if fees_known else None}


@settings(
    max_examples=600 if os.environ.get("HYPOTHESIS_PROFILE") == "torture" else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.tuples(ORDERS, st.booleans()), min_size=1, max_size=4),
    st.sampled_from(("binanceusdm", "bybit")),
    st.sampled_from((D(1), D("0.001"), D(100))),
)
@example(
    positions=[
        (
            [
                ("sell", [(D("1E-7"), 3, None, "USDT")], D("1E-7"), "whole"),
                ("buy", [(D("1E-7"), 1, None, "USDT"), (D("2E-7"), 2, None, "USDT")], D("1E-7"), "whole"),
            ],
            False,
        )
    ],
    exchange="binanceusdm",
    size=D(1),
)
async def test_the_views_add_up(store, connection, positions, exchange, size):
    account = str(uuid4())
    bot = Positions(exchange, account)
    bot.market = msgspec.structs.replace(bot.market, contract_size=size)
    expected = {
        str(number): trade(bot, str(number), orders, closes, number * 1000)
        for number, (orders, closes) in enumerate(positions, start=1)
    }
    await bot.deliver(store)
    rows = await connection.fetch("SELECT * FROM audit.v_positions WHERE account = $1", account)
    assert sorted(row["position_id"] for row in rows) == sorted(expected)
    for row in rows:
        wanted = expected[row["position_id"]]
        result_known = wanted["closed"] and wanted["known"]
        assert (row["gross_result"] is not None) == result_known
        if result_known:
            assert Fraction(row["gross_result"]) == wanted["gross"] * Fraction(size)
        if row["intended_result"] is not None:
            assert row["intended_result"] - row["slippage"] == row["gross_result"]
        if wanted["known"] and wanted["fees"] is not None:
            assert Fraction(row["fees"]) == wanted["fees"]
        if row["net_result"] is not None:
            assert row["gross_result"] - row["fees"] == row["net_result"]
        else:
            assert row["why_not"]
        if wanted["fees"] is None:
            assert row["net_result"] is None
        assert row["intended_result"] is not None or row["why_not"]
    equity = await connection.fetch("SELECT * FROM audit.v_equity WHERE account = $1 ORDER BY closed_at", account)
    results = [row["net_result"] for row in rows if row["net_result"] is not None]
    assert sum(row["net_result"] for row in equity) == sum(results)
    assert all(row["drawdown"] >= 0 and row["peak"] - row["drawdown"] == row["equity"] for row in equity)
    if equity:
        assert equity[-1]["equity"] == sum(results)
        (whole,) = await connection.fetch(
            "SELECT * FROM audit.v_performance WHERE account = $1 AND currency = 'USDT'", account
        )
        assert (whole["positions"], whole["net_result"]) == (len(results), sum(results))
        assert whole["max_drawdown"] == max(row["drawdown"] for row in equity)
    daily = await connection.fetch("SELECT net_result, fills FROM audit.v_daily WHERE account = $1", account)
    assert sum(row["net_result"] or 0 for row in daily) == sum(results)
    assert sum(row["fills"] for row in daily) == sum(row["fills"] for row in rows)
    slipped = await connection.fetch("SELECT position_id, slippage FROM audit.v_slippage WHERE account = $1", account)
    for row in rows:
        if row["slippage"] is not None and row["gross_result"] is not None:
            of_orders = sum(one["slippage"] for one in slipped if one["position_id"] == row["position_id"])
            assert of_orders == row["slippage"]
