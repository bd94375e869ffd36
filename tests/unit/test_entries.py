"""Which orders count as entries, for those who want entries refused while the journal cannot be written."""

from __future__ import annotations

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from audit_wrapper import codec
from audit_wrapper.entries import is_entry
from audit_wrapper.records import (
    Action,
    Call,
    Market,
    Operation,
    PositionLink,
    Purpose,
    Record,
    RecordKind,
    Request,
    Seam,
)


def intent(action: Action = Action.PLACE, *, exchange: str = "kraken", **fields: Any) -> Record:
    made = Record(
        version=codec.VERSION, record_id=uuid7(), kind=RecordKind.INTENT, action=action, exchange=exchange, **fields
    )
    return codec.decode(codec.encode(made))


def order(side: str = "buy", type: str = "market", seam: Seam = Seam.CLIENT, **params: Any) -> Call:
    arguments = {"symbol": "MNT/USDT:USDT", "type": type, "side": side, "amount": 10, "params": params}
    return Call(seam=seam, target="kraken", method="create_order", arguments=arguments)


def sent(text: str, path: str = "/fapi/v1/order") -> dict[str, Any]:
    return {"exchange": "binance", "request": Request(method="POST", path=path, params=text)}


ENTRIES: dict[str, Record] = {
    "a market order": intent(call=order()),
    "a limit order, with a stop attached": intent(call=order(type="limit", stopLoss={"triggerPrice": 1})),
    "a short": intent(call=order("sell")),
    "said to be an entry": intent(call=order(), purpose=Purpose.ENTRY),
    "of the position's own side": intent(call=order("sell"), position=PositionLink(side="sell")),
    "not reduce-only, in so many words": intent(call=order(reduceOnly=False)),
    "a hedged long": intent(call=order("buy", positionSide="LONG")),
    "as Binance is asked": intent(**sent("symbol=MNTUSDT&side=BUY&type=MARKET&quantity=10&reduceOnly=false")),
    "bought on the spot": intent(call=order(), market=Market(type="spot")),
}

OTHERS: dict[str, Record] = {
    "reduce-only": intent(call=order("sell", reduceOnly=True)),
    "reduce-only as the bot's manager writes it": intent(
        call=order("sell"),
        meant=Call(seam=Seam.MANAGER, target="M", method="create_order", arguments={"reduce_only": True}),
    ),
    "reduce-only as Binance is asked": intent(
        call=order("sell"), **sent("symbol=MNTUSDT&side=SELL&type=MARKET&quantity=10&reduceOnly=true")
    ),
    "closes the position": intent(**sent("symbol=MNTUSDT&side=SELL&type=STOP_MARKET&closePosition=true&stopPrice=1")),
    "a stop": intent(call=order("sell", "stop_market", stopPrice=1)),
    "a stop by its parameter alone": intent(call=order("sell", "market", triggerPrice="1.1")),
    "a stop by its type alone": intent(call=order("sell", "STOP")),
    "a trailing stop": intent(call=order("sell", "market", trailingPercent=1)),
    "said to be an exit": intent(call=order("sell"), purpose=Purpose.EXIT),
    "within a call that is an exit": intent(
        call=order("sell"), operation=Operation(correlation_id=uuid7(), purpose=Purpose.EXIT)
    ),
    "said to be a stop": intent(call=order("sell"), purpose=Purpose.STOP_LOSS),
    "of the other side than its position": intent(call=order("sell"), position=PositionLink(side="buy")),
    "sold on the spot": intent(call=order("sell"), market=Market(type="spot")),
    "leaves a hedged long": intent(call=order("sell", positionSide="LONG")),
    "leaves a hedged short": intent(call=order("buy", positionSide="SHORT")),
    "leaves a hedged short of Bybit": intent(call=order("buy", positionIdx=2)),
    "leaves a hedged long, as Binance is asked": intent(
        **sent("symbol=MNTUSDT&side=SELL&type=MARKET&quantity=10&positionSide=LONG")
    ),
    "a batch with one order that reduces": intent(
        call=Call(
            seam=Seam.CLIENT,
            target="binance",
            method="create_orders",
            arguments={"orders": [order().arguments, order("sell", reduceOnly=True).arguments]},
        )
    ),
    "an amendment": intent(Action.AMEND, call=order()),
    "a cancel": intent(Action.CANCEL, call=order()),
    "a cancel of all": intent(Action.CANCEL_ALL, call=order()),
    "a close": intent(Action.CLOSE, call=order()),
    "stops of a position": intent(Action.SET_STOPS, call=order()),
    "leverage": intent(Action.ACCOUNT),
    "nobody knows what": intent(Action.OTHER),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_it_is_an_entry(name: str) -> None:
    assert is_entry(ENTRIES[name])


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_let_through(name: str) -> None:
    assert not is_entry(OTHERS[name])
