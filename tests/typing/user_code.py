"""What a user writes, as a type checker sees it: wrapping does not change a type."""

from __future__ import annotations

from typing import assert_type

from audit_wrapper import AuditTrail, FlushReport, Purpose, ReconcileReport, Status
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.records import Fill, OrderState
from audit_wrapper.rows import OrderRow, TradeRow
from audit_wrapper.testing import MemoryTrail, memory_trail


class Manager:
    async def create_market_order(self, symbol: str, side: str, amount: float) -> dict[str, object]:
        return {"id": symbol + side, "amount": amount}


async def startup(exchanges: dict[str, Manager]) -> None:
    async with AuditTrail.open("postgresql://localhost/bot", journal="audit", account="main") as trail:
        assert_type(trail, AuditTrail)
        exchanges = trail.wrap(exchanges)
        assert_type(trail.wrap(exchanges["binance"]), Manager)
        assert_type(trail.unwrap(exchanges), dict[str, Manager])
        trail.instrument("core.stop_loss_manager:StopLossManager")
        with trail.position(id=55, signal_id=7):
            await exchanges["binance"].create_market_order("MNTUSDT", "buy", 3)
        async with trail.position(id="55"):
            pass
        assert_type(await trail.flush(timeout_s=5), FlushReport)
        assert_type(await trail.reconcile(), ReconcileReport)
        assert_type(trail.status(), Status)

        @trail.audited(purpose=Purpose.EXIT)
        async def leave(symbol: str) -> int:
            return len(symbol)

        assert_type(await leave("MNTUSDT"), int)


def reads() -> None:
    adapter = adapter_for("bybit")
    assert_type(adapter.order_state({"id": "1"}), OrderState)
    assert_type(adapter.fill({"id": "1"}), Fill)


def tests() -> None:
    with memory_trail() as t:
        assert_type(t, MemoryTrail)
        assert_type(t.orders, list[OrderRow])
        assert_type(t.trades, list[TradeRow])
