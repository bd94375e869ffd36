"""What was heard of an exchange, order by order."""

from __future__ import annotations

import itertools
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from audit_wrapper.asking import Heard
from audit_wrapper.clients import ClientSubject
from audit_wrapper.gathering import Gathered, Told
from audit_wrapper.records import OrderStatus

MNT, BTC = "MNT/USDT:USDT", "BTC/USDT:USDT"


def gathered(exchange: str = "binance") -> Gathered:
    client: Any = SimpleNamespace(id=exchange, markets={})
    return Gathered(ClientSubject(client, exchange))


def order(order_id: str, symbol: str = MNT, status: str = "NEW", filled: str = "0") -> dict[str, Any]:
    info = {"orderId": order_id, "symbol": symbol.replace("/", "").partition(":")[0], "status": status, "side": "BUY"}
    info |= {"origQty": "10", "executedQty": filled, "type": "LIMIT", "price": "1.1", "avgPrice": "1.1"}
    return {"id": order_id, "symbol": symbol, "info": info}


def algo(algo_id: str, child: str = "", status: str = "NEW") -> dict[str, Any]:
    info = {"algoId": algo_id, "algoStatus": status, "orderType": "STOP_MARKET", "symbol": "MNTUSDT", "side": "SELL"}
    info |= {"quantity": "10", "triggerPrice": "1.1", "actualOrderId": child, "algoType": "CONDITIONAL"}
    return {"id": algo_id, "symbol": MNT, "info": info}


def trade(trade_id: str, order_id: str, symbol: str = MNT) -> dict[str, Any]:
    info = {"id": trade_id, "orderId": order_id, "symbol": "MNTUSDT", "side": "SELL", "price": "1.09", "qty": "5"}
    info |= {"commission": "0.002", "commissionAsset": "USDT", "time": 1_767_600_000_000, "maker": False}
    return {"id": trade_id, "order": order_id, "symbol": symbol, "info": info}


def ids(told: list[Told]) -> list[tuple[tuple[str, str], ...]]:
    return sorted(one.ids for one in told)


def test_an_order_and_its_executions_are_one() -> None:
    heard = gathered()
    heard.take(Heard(trades=(trade("1", "7"), trade("2", "7"))))
    heard.take(Heard(orders=(order("7", status="FILLED", filled="10"),)))
    (told,) = heard.orders()
    assert (told.ids, told.symbol) == ((("order", "7"),), MNT)
    assert (len(told.orders), len(told.trades)) == (1, 2)
    fills = [fill for sighting in told.sightings for fill in sighting.fills]
    assert [fill.exchange_trade_id for fill in fills] == ["1", "2"]


def test_what_was_heard_twice_is_there_once() -> None:
    heard = gathered()
    for _ in range(2):
        heard.take(Heard(orders=(order("7"),), trades=(trade("1", "7"),)))
    (told,) = heard.orders()
    assert (len(told.orders), len(told.trades)) == (1, 1)


def test_what_an_order_was_before_is_kept() -> None:
    heard = gathered()
    heard.take(Heard(orders=(order("7"),)))
    heard.take(Heard(orders=(order("7", status="FILLED", filled="10"),)))
    (told,) = heard.orders()
    assert len(told.orders) == 2
    seen = heard.find("7", "order", MNT)
    assert seen is not None
    assert (seen.state.order_status, seen.state.filled_quantity) == (OrderStatus.FILLED, Decimal(10))


@pytest.mark.parametrize("turn", range(6))
def test_a_conditional_order_goes_with_what_it_became(turn: int) -> None:
    parts = [
        Heard(orders=(algo("99", "7", "FINISHED"),)),
        Heard(orders=(order("7", status="FILLED", filled="10"),)),
        Heard(trades=(trade("1", "7"), trade("2", "7"))),
    ]
    heard = gathered()
    for part in list(itertools.permutations(parts))[turn]:
        heard.take(part)
    (told,) = heard.orders()
    assert told.ids == (("algo", "99"), ("order", "7"))
    assert (len(told.orders), len(told.trades)) == (2, 2)


def test_a_conditional_order_that_waits_stands_alone() -> None:
    heard = gathered()
    heard.take(Heard(orders=(algo("99"), algo("98", "7", "FINISHED"), order("7"), order("99"))))
    assert ids(list(heard.orders())) == [
        (("algo", "98"), ("order", "7")),
        (("algo", "99"),),
        (("order", "99"),),
    ], "a conditional order and a regular one may have the same number"


def test_a_child_that_was_not_heard_is_no_order_yet() -> None:
    heard = gathered()
    heard.take(Heard(orders=(algo("98", "7", "FINISHED"),)))
    assert ids(list(heard.orders())) == [(("algo", "98"),)]


def test_one_id_of_two_symbols_is_two_orders() -> None:
    heard = gathered()
    heard.take(Heard(orders=(order("7", MNT), order("7", BTC, "FILLED", "10")), trades=(trade("1", "7"),)))
    told = {one.symbol: one for one in heard.orders()}
    assert told.keys() == {MNT, BTC}
    assert (len(told[MNT].trades), len(told[BTC].trades)) == (1, 0)
    seen = [heard.find("7", "order", symbol) for symbol in (MNT, BTC, "MNTUSDT", "ETH/USDT:USDT")]
    status = [sighting.state.order_status if sighting else None for sighting in seen]
    assert status == [OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.NEW, None]


def test_what_is_asked_for_by_its_number_space() -> None:
    heard = gathered()
    heard.take(Heard(orders=(algo("99"),), trades=(trade("1", "7"),)))
    assert heard.find("99", "order", MNT) is None
    assert heard.find("99", "algo", BTC) is not None
    assert heard.find("7", "order", MNT) is None, "an execution alone does not say how its order stands"


def test_what_could_not_be_asked_is_said_once() -> None:
    heard = gathered()
    heard.take(Heard(unasked=("a", "b"), again=True))
    heard.take(Heard(unasked=("b", "c")))
    assert (heard.unasked, heard.again) == (["a", "b", "c"], True)


def test_what_cannot_be_read_is_passed_over() -> None:
    heard = gathered()
    heard.take(Heard(orders=({}, {"id": None}, {"info": 7}), trades=({"symbol": 3},)))
    assert list(heard.orders()) == []
    assert heard.sightings == []


def test_payments_are_kept_apart() -> None:
    heard = gathered("bybit")
    paid = {"id": "p", "symbol": MNT, "info": {"execType": "Funding", "execId": "p", "execFee": "0.01"}}
    heard.take(Heard(funding=(paid,)))
    assert heard.payments == [paid]
    assert list(heard.orders()) == []
