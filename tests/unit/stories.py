"""Stories of orders, made by hypothesis: what one or two journals of one account hold, and every way it can arrive.

A story is a list of steps, each of them a small tuple, so that a falsifying example can be read and shrinks well. It is
told on Binance or Bybit, in their own payloads. Nothing is checked against an exchange: answers may contradict each
other, come twice, or speak of an order that nobody placed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from trading import START, Trading

from audit_wrapper.journal import Entry
from audit_wrapper.records import (
    Action,
    Call,
    Failure,
    Market,
    Operation,
    PositionLink,
    Purpose,
    Record,
    RecordKind,
    Request,
    Response,
    Seam,
)
from audit_wrapper.store.memory import MemoryStore

STREAMS = (UUID("00000000-0000-7000-8000-0000000000a1"), UUID("00000000-0000-7000-8000-0000000000b2"))
MARKETS = tuple(
    Market(symbol=f"{base}/USDT:USDT", exchange_symbol=f"{base}USDT", type="swap") for base in ("MNT", "BTC")
)
IDS = ("1", "1", "1", "2")
AMOUNTS = (0, 2, 4, 6, 10)
TYPES = ("MARKET", "LIMIT", "STOP_MARKET")
WORDS = {
    "NEW": "New",
    "PARTIALLY_FILLED": "PartiallyFilled",
    "FILLED": "Filled",
    "CANCELED": "Cancelled",
    "EXPIRED": "Deactivated",
}


def profile(examples: int) -> settings:
    """So many examples, and twenty times as many with HYPOTHESIS_PROFILE=torture in the environment."""
    return settings(
        max_examples=examples * (20 if os.environ.get("HYPOTHESIS_PROFILE") == "torture" else 1),
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


class Step(NamedTuple):
    """One thing that happens. What the numbers mean depends on `what`; see `Desk`."""

    what: str
    desk: int = 0
    market: int = 0
    id: str = "1"
    variant: int = 0
    amount: int = 0
    back: int = 0  # which intent is answered, counted from the last; odd: what was executed is told in fills as well


class Line(NamedTuple):
    """One record at its place."""

    stream: UUID
    seq: int
    record: Record

    def __repr__(self) -> str:
        return f"{STREAMS.index(self.stream)}:{self.seq}"

    @property
    def entry(self) -> Entry:
        return Entry(self.seq, b"", b"")


class Desk(Trading):
    """One journal: tells steps as the records that a bot's calls would leave."""

    def __init__(self, exchange: str, journals: Sequence[Desk], *, coherent: bool) -> None:
        super().__init__()
        self.exchange = exchange
        self.coherent = coherent
        self.journals = journals  # of everyone: the clock and the ids go on over all of them
        self.intents: list[Record] = []
        self.ids: dict[UUID, str] = {}  # of a coherent story: the id that each intent was answered with

    @property
    def told(self) -> int:
        return sum(len(desk.records) for desk in self.journals)

    def add(self, kind: RecordKind, action: Action, **fields: Any) -> Record:
        number = self.told
        moment = START + timedelta(milliseconds=10 * number)
        fields = {"exchange": self.exchange, "market": MARKETS[0], "called_at": moment, **fields}
        fields.setdefault("record_id", UUID(int=(number + 1) << 80 | 7 << 76 | 2 << 62 | number))
        if kind is not RecordKind.INTENT:
            fields.setdefault("answered_at", moment + timedelta(milliseconds=5))
        return super().add(kind, action, **fields)

    # -- the steps

    def tell(self, step: Step) -> None:
        # an id without a symbol names the orders of all symbols: then two sizes would be of one order
        getattr(self, f"_{step.what}")(step._replace(market=0) if self.coherent else step)

    def _place(self, step: Step) -> None:
        """variant: the type, and on Bybit whether stops travel with it. amount: the quantity."""
        market, kind, quantity = (
            MARKETS[step.market],
            TYPES[step.variant % 3],
            "10" if self.coherent else str(step.amount or 10),
        )
        body: dict[str, str] = {"symbol": str(market.exchange_symbol)}
        if self.exchange == "binance":
            body |= {"side": "BUY", "type": kind, "quantity": quantity, "newClientOrderId": f"c{step.id}"}
            body |= {"LIMIT": {"price": "1"}, "STOP_MARKET": {"stopPrice": "0.9"}}.get(kind, {})
            path = "/fapi/v1/order"
        else:
            body |= {"side": "Buy", "orderType": "Limit" if kind == "LIMIT" else "Market", "qty": quantity}
            body |= {"LIMIT": {"price": "1"}, "STOP_MARKET": {"triggerPrice": "0.9"}}.get(kind, {})
            body |= {"stopLoss": "0.8", "takeProfit": "1.4"} if step.variant >= 3 else {}
            path = "/v5/order/create"
        links = {
            4: PositionLink(position_id="7", signal_id=42, how="scope"),
            5: PositionLink(position_id="8", how="atomic"),
        }
        moved = step.variant in (2, 5)
        self.intents.append(
            self.add(
                RecordKind.INTENT,
                Action.PLACE,
                attempt=1,
                market=market,
                purpose=Purpose.STOP_LOSS if kind == "STOP_MARKET" else Purpose.ENTRY,
                operation=Operation(correlation_id=UUID(int=self.told + 1)),
                call=self._call("create_order", symbol=market.symbol),
                request=Request(method="POST", path=path, params=_query(body)),
                replaces=(f"order:{step.id}:{market.symbol}",) if moved else (),
                position=links.get(step.variant),
            )
        )

    def _answer(self, step: Step) -> None:
        """To an intent. variant: what was answered."""
        if not self.intents:
            self._place(step._replace(amount=10))
        intent = self.intents[-1 - step.back % len(self.intents)]
        if self.coherent:
            step = step._replace(id=self.ids.setdefault(intent.record_id, step.id))
        market = intent.market or MARKETS[0]
        match step.variant:
            case 0 | 1 | 2:
                word = ("NEW", "PARTIALLY_FILLED", "FILLED")[step.variant]
                self._outcome(intent, result=self._shown(step, market, word, str(intent.request and _size(intent))))
            case 3:
                self._outcome(intent, result={"id": step.id, "info": {"orderId": step.id}})
            case 4:
                failure = Failure(type="InsufficientFunds", message="Margin is insufficient.", code="-2019")
                self._outcome(intent, RecordKind.REJECTED, failure=failure)
            case _:
                kinds = (RecordKind.OUTCOME_UNKNOWN, RecordKind.NOT_SENT, RecordKind.UNCHANGED)
                self._outcome(
                    intent, kinds[step.amount // 2 % 3], failure=Failure(type="RequestTimeout", message="lost")
                )

    def _cancel(self, step: Step) -> None:
        """variant: refused, confirmed with the id alone, or with what had been filled."""
        market = MARKETS[step.market]
        name = "orderId"
        body = {"symbol": str(market.exchange_symbol), name: step.id}
        verb, path = ("DELETE", "/fapi/v1/order") if self.exchange == "binance" else ("POST", "/v5/order/cancel")
        intent = self.add(
            RecordKind.INTENT,
            Action.CANCEL,
            attempt=1,
            market=market,
            call=self._call("cancel_order", id=step.id, symbol=market.symbol),
            request=Request(method=verb, path=path, params=_query(body)),
        )
        if step.variant == 0:
            self._outcome(intent, RecordKind.REJECTED, failure=Failure(type="OrderNotFound", message="Unknown order"))
        elif step.variant < 3:
            self._outcome(intent, result={"id": step.id, "info": {"orderId": step.id}})
        elif step.variant < 5:
            self._outcome(intent, result=self._shown(step, market, "CANCELED"))

    def _amend(self, step: Step) -> None:
        market = MARKETS[step.market]
        body = {"symbol": str(market.exchange_symbol), "orderId": step.id}
        body |= {"quantity": str(step.amount or 5)} if self.exchange == "binance" else {"qty": str(step.amount or 5)}
        verb, path = ("PUT", "/fapi/v1/order") if self.exchange == "binance" else ("POST", "/v5/order/amend")
        intent = self.add(
            RecordKind.INTENT,
            Action.AMEND,
            attempt=1,
            market=market,
            call=self._call("edit_order", id=step.id, symbol=market.symbol),
            request=Request(method=verb, path=path, params=_query(body)),
        )
        if step.variant < 3:
            self._outcome(intent, result={"id": step.id, "info": {"orderId": step.id}})
        elif step.variant < 5:
            self._outcome(
                intent, result=self._shown(step._replace(amount=step.variant), market, "NEW", str(step.amount or 5))
            )

    def _cancel_all(self, step: Step) -> None:
        """variant: how much it covers, and whether the answer names what it took."""
        market = MARKETS[step.market]
        path = "/fapi/v1/allOpenOrders" if step.variant % 2 else "/fapi/v1/algoOpenOrders"
        verb = "DELETE"
        if self.exchange == "bybit":
            verb, path = "POST", "/v5/order/cancel-all"
        listed = f'{{"orderId":"{step.id}"}}' if step.variant >= 3 else ""
        text = f'{{"retCode":0,"result":{{"list":[{listed}]}}}}'
        kind = RecordKind.ACKNOWLEDGED if step.back < 3 else RecordKind.OUTCOME_UNKNOWN
        self.add(
            kind,
            Action.CANCEL_ALL,
            market=market,
            call=self._call("cancel_all_orders", symbol=market.symbol),
            request=Request(method=verb, path=path, params=_query({"symbol": str(market.exchange_symbol)})),
            response=Response(http_status=200, text=text) if self.exchange == "bybit" else None,
            # it may have begun long before it was answered
            called_at=START + timedelta(milliseconds=10 * (self.told - step.amount)),
        )

    def _set_stops(self, step: Step) -> None:
        """A stop set on the position (Bybit). variant: which, and whether it is taken away."""
        market = MARKETS[step.market]
        price = "0" if step.variant >= 4 else str(1 + step.amount)
        named = ({"stopLoss": price}, {"takeProfit": price}, {"stopLoss": price, "takeProfit": "9"})[step.variant % 3]
        part = {"tpslMode": "Partial", "slSize": "2"} if step.variant == 3 else {}
        intent = self.add(
            RecordKind.INTENT,
            Action.SET_STOPS,
            exchange="bybit",
            attempt=1,
            market=market,
            call=self._call("private_post_v5_position_trading_stop"),
            request=Request(
                method="POST",
                path="/v5/position/trading-stop",
                params=_query({"symbol": str(market.exchange_symbol), "positionIdx": "0", **named, **part}),
            ),
        )
        kinds = (RecordKind.ACKNOWLEDGED,) * 4 + (RecordKind.UNCHANGED, RecordKind.REJECTED)
        kind = kinds[(step.amount // 2 + step.back) % len(kinds)]
        self.intents.append(intent)
        self._outcome(intent, kind, **({"result": {"retCode": 0, "result": {}}} if kind is kinds[0] else {}))

    def _seen(self, step: Step) -> None:
        """The exchange was asked. variant: its word; `amount`: how much was filled, and told in fills."""
        word = ("NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "NEW")[step.variant]
        self._told_of(step, MARKETS[step.market], word)

    def _glimpsed(self, step: Step) -> None:
        """As `seen`, by someone who spells the symbol as the exchange does, or not at all."""
        spelled = Market(symbol=MARKETS[step.market].exchange_symbol) if step.variant % 2 else None
        self._told_of(step, spelled, ("NEW", "FILLED", "CANCELED")[step.variant // 2])

    def _linked(self, step: Step) -> None:
        """The bot's repository was seen to write a position that names the order."""
        link = PositionLink(
            position_id=str(step.amount),
            signal_id=step.variant,
            symbol=MARKETS[step.market].exchange_symbol if step.variant else None,
            exchange=self.exchange,
            side="buy",
            exchange_order_id=step.id,
            how="repository",
        )
        self.add(RecordKind.LINKED, Action.POSITION, position=link, market=None)

    # -- what exchanges say

    def _call(self, method: str, **arguments: Any) -> Call:
        return Call(seam=Seam.CLIENT, target=self.exchange, method=method, arguments=arguments)

    def _outcome(self, intent: Record, kind: RecordKind = RecordKind.ACKNOWLEDGED, **fields: Any) -> None:
        self.add(
            kind,
            intent.action,
            exchange=intent.exchange,
            intent_id=intent.record_id,
            attempt=intent.attempt,
            operation=intent.operation,
            call=intent.call,
            request=intent.request,
            market=intent.market,
            purpose=intent.purpose,
            replaces=intent.replaces,
            position=intent.position,
            called_at=intent.called_at,
            **fields,
        )

    def _told_of(self, step: Step, market: Market | None, word: str) -> None:
        arguments = {"id": step.id, "symbol": market.symbol if market is not None else None, "id_kind": "order"}
        call = Call(seam=Seam.RECONCILE, target=self.exchange, method="fetch_order", arguments=arguments)
        shown = self._shown(step, MARKETS[step.market], word, "4" if step.variant == 4 and not self.coherent else "10")
        trades = [self._trade(step, number) for number in range(step.amount // 2)] if step.back % 2 else []
        self.add(
            RecordKind.RECONCILED, Action.ASK, call=call, market=market, result={"orders": [shown], "trades": trades}
        )

    def _shown(self, step: Step, market: Market, word: str, size: str = "10") -> dict[str, Any]:
        executed = 0 if word == "NEW" else step.amount
        if self.coherent:
            word = "CANCELED" if word == "EXPIRED" else word  # an order ends in one way
            most = {"FILLED": 10, "PARTIALLY_FILLED": min(executed, 6) or 2, "CANCELED": min(executed, 6)}
            executed = most.get(word, executed)
        average = str(1 + executed / 100) if executed else "0"
        at = str(int(START.timestamp() * 1000) + 1000 * executed)
        if self.exchange == "binance":
            info = {"orderId": step.id, "symbol": market.exchange_symbol, "status": word, "executedQty": str(executed)}
            info |= {"avgPrice": average, "clientOrderId": f"c{step.id}", "updateTime": at}
            info |= {"origQty": size} if step.variant != 1 else {}
        else:
            info = {"orderId": step.id, "symbol": market.exchange_symbol, "orderStatus": WORDS[word]}
            info |= {"cumExecQty": str(executed), "avgPrice": average, "updatedTime": at}
            info |= {"qty": size} if step.variant != 1 else {}
            info |= {"cumExecFee": str(executed / 1000)} if executed and step.variant != 2 else {}
        return {"id": step.id, "symbol": market.symbol, "info": info}

    def _trade(self, step: Step, number: int) -> dict[str, Any]:
        # one of them may be told in two ways
        price = "1.07" if number == 1 and step.variant == 3 and not self.coherent else f"1.0{number}"
        at = str(int(START.timestamp() * 1000) + 2000 * (number + 1))
        name = f"t{number}" if step.variant == 2 else f"{step.id}t{number}"  # and an id may be that of another's fill
        if self.exchange == "binance":
            info = {"id": name, "orderId": step.id, "price": price, "qty": "2", "time": at, "side": "BUY"}
            fee = {"commission": "0.01", "commissionAsset": "BNB" if number == 2 else "USDT"}
        else:
            info = {
                "execId": name,
                "orderId": step.id,
                "execPrice": price,
                "execQty": "2",
                "execTime": at,
                "side": "Buy",
            }
            fee = {"execFee": "0.01", "feeCurrency": "USDT"}
        return {"id": name, "order": step.id, "info": info | (fee if step.variant else {})}


def _query(body: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in body.items())


def _size(intent: Record) -> str:
    params = dict(pair.split("=") for pair in str(intent.request and intent.request.params).split("&"))
    return params.get("quantity") or params.get("qty") or "10"


class Story(NamedTuple):
    """What happened, step by step."""

    exchange: str
    steps: list[Step]
    # no answer contradicts itself, an intent is answered with one id, and nobody says that an order is larger or smaller
    coherent: bool = False

    def lines(self) -> list[Line]:
        """Every record at its place, in the order of the telling."""
        desks: list[Desk] = []
        desks += [Desk(self.exchange, desks, coherent=self.coherent) for _ in STREAMS]
        told: list[Line] = []
        for step in self.steps:
            desk = desks[step.desk]
            before = len(desk.records)
            desk.tell(step)
            told += [
                Line(STREAMS[step.desk], before + number, record)
                for number, record in enumerate(desk.records[before:], start=1)
            ]
        return told


STATES = ("place", "answer", "answer", "cancel", "cancel_all", "set_stops", "seen", "seen", "glimpsed", "linked")
WHAT = (*STATES, "amend")


def stories(what: Sequence[str] = WHAT, *, most: int = 14, coherent: bool = False) -> st.SearchStrategy[Story]:
    """Stories made of these kinds of steps."""
    step = st.builds(
        Step,
        what=st.sampled_from(what),
        desk=st.sampled_from((0, 0, 1)),
        market=st.sampled_from((0,) * 9 + (1,)),
        id=st.sampled_from(IDS),
        variant=st.integers(0, 5),
        amount=st.sampled_from(AMOUNTS),
        back=st.integers(0, 3),
    )
    return st.builds(
        Story,
        exchange=st.sampled_from(("binance", "bybit")),
        steps=st.lists(step, min_size=3, max_size=most),
        coherent=st.just(coherent),
    )


Batch = list[Line]  # of one journal


def arrival(lines: Sequence[Line], chance: random.Random) -> list[Batch]:
    """One way for all these lines to arrive: permuted, repeated, in batches of any size."""
    left = list(lines)
    chance.shuffle(left)
    if chance.random() < 0.5:  # each journal in its own order, as deliveries bring it
        queues = {stream: sorted((x for x in left if x.stream == stream), key=_place) for stream in STREAMS}
        left = [queues[line.stream].pop(0) for line in left]
    batches: list[Batch] = []
    small = 0.5 if len(lines) < 40 else 0.1
    for line in left:
        if batches and batches[-1][0].stream == line.stream and chance.random() > small:
            batches[-1].append(line)
        else:
            batches.append([line])
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(batches))
        batches.insert(chance.randint(at, len(batches)), batches[at])
    # what reads a journal reads it in order
    return [list({line.seq: line for line in sorted(batch, key=_place)}.values()) for batch in batches]


@st.composite
def arrivals(draw: st.DrawFn, lines: Sequence[Line]) -> list[Batch]:
    """Every way for them to arrive. Of many lines a seed decides, which does not shrink but is fast."""
    few = len(lines) < 40
    return arrival(lines, draw(st.randoms(use_true_random=False) if few else st.integers(0, 2**32).map(random.Random)))


def _place(line: Line) -> tuple[UUID, int]:
    return line.stream, line.seq


def at_once(lines: Sequence[Line]) -> list[Batch]:
    """The same in order: one batch for each journal."""
    batches = [[line for line in lines if line.stream == stream] for stream in sorted({line.stream for line in lines})]
    return [sorted(batch, key=lambda line: line.seq) for batch in batches]


def take(store: MemoryStore, batch: Batch) -> None:
    store.take(batch[0].stream, [line.entry for line in batch], [line.record for line in batch])


def stored(batches: Sequence[Batch]) -> MemoryStore:
    """A store that was given these batches."""
    store = MemoryStore()
    for batch in batches:
        take(store, batch)
    return store
