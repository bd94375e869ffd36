"""Records as a small bot on Binance would leave them, made by hand; for tests of routing and projection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from audit_wrapper import codec
from audit_wrapper.projection import Event
from audit_wrapper.records import Action, Call, Market, Operation, Record, RecordKind, Request, Seam
from audit_wrapper.store.memory import MemoryStore

STREAM = UUID("00000000-0000-7000-8000-000000000001")
MARKET = Market(symbol="MNT/USDT:USDT", exchange_symbol="MNTUSDT", type="swap")
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Trading:
    """Makes records, in the order they are written."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, kind: RecordKind, action: Action, **fields: Any) -> Record:
        moment = START + timedelta(milliseconds=len(self.records))
        usual: dict[str, Any] = {
            "record_id": uuid7(),
            "exchange": "binance",
            "market": MARKET,
            "called_at": moment,
            "answered_at": moment if kind is not RecordKind.INTENT else None,
        }
        record = Record(version=codec.VERSION, kind=kind, action=action, **{**usual, **fields})
        # as everyone else will read it
        record = codec.decode(codec.encode(record))
        self.records.append(record)
        return record

    def place(self, quantity: str = "10", type: str = "MARKET", **params: str) -> Record:
        body = {"symbol": "MNTUSDT", "side": "BUY", "type": type, "quantity": quantity, **params}
        return self.add(
            RecordKind.INTENT,
            Action.PLACE,
            attempt=1,
            operation=Operation(correlation_id=uuid7()),
            call=Call(seam=Seam.CLIENT, target="binance", method="create_order", arguments={"symbol": MARKET.symbol}),
            request=Request(method="POST", path="/fapi/v1/order", params="&".join(f"{k}={v}" for k, v in body.items())),
        )

    def answer(self, intent: Record, kind: RecordKind = RecordKind.ACKNOWLEDGED, **fields: Any) -> Record:
        return self.add(
            kind,
            intent.action,
            intent_id=intent.record_id,
            attempt=intent.attempt,
            operation=intent.operation,
            call=intent.call,
            request=intent.request,
            **fields,
        )

    def took(self, intent: Record, order_id: str = "1", status: str = "NEW", executed: str = "0") -> Record:
        info = {
            "orderId": order_id,
            "symbol": "MNTUSDT",
            "status": status,
            "origQty": "10",
            "executedQty": executed,
            "avgPrice": "1.2" if executed != "0" else "0.00",
            "side": "BUY",
            "type": "LIMIT",
        }
        return self.answer(intent, result={"id": order_id, "symbol": MARKET.symbol, "info": info})

    def cancel(self, order_id: str = "1") -> Record:
        return self.add(
            RecordKind.INTENT,
            Action.CANCEL,
            attempt=1,
            call=Call(
                seam=Seam.CLIENT,
                target="binance",
                method="cancel_order",
                arguments={"id": order_id, "symbol": MARKET.symbol},
            ),
            request=Request(method="DELETE", path="/fapi/v1/order", params=f"symbol=MNTUSDT&orderId={order_id}"),
        )

    def seen(self, order_id: str, executed: str, status: str, fills: tuple[tuple[str, str], ...] = ()) -> Record:
        order = {
            "id": order_id,
            "symbol": MARKET.symbol,
            "info": {
                "orderId": order_id,
                "status": status,
                "origQty": "10",
                "executedQty": executed,
                "avgPrice": "1.2",
            },
        }
        trades = [
            {
                "id": f"t{number}",
                "order": order_id,
                "info": {
                    "id": f"t{number}",
                    "orderId": order_id,
                    "price": price,
                    "qty": quantity,
                    "commission": "0.01",
                    "commissionAsset": "USDT",
                },
            }
            for number, (price, quantity) in enumerate(fills)
        ]
        arguments = {"id": order_id, "symbol": MARKET.symbol, "id_kind": "order"}
        call = Call(seam=Seam.RECONCILE, target="binance", method="fetch_order", arguments=arguments)
        return self.add(RecordKind.RECONCILED, Action.ASK, call=call, result={"orders": [order], "trades": trades})

    def store(self, order: list[int] | None = None) -> MemoryStore:
        """A store that was given the records: in order, or as `order` says (indexes; may repeat)."""
        from audit_wrapper.journal import Entry

        store = MemoryStore()
        for index in order if order is not None else range(len(self.records)):
            store.take(STREAM, [Entry(index + 1, b"", b"")], [self.records[index]])
        return store

    def events(self, *records: Record, part: str = "order") -> list[Event]:
        return [Event(STREAM, self.records.index(record) + 1, record, part) for record in records]
