"""Metrics of a real trail: a bot that trades on a simulated exchange, a real PostgreSQL, a real OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import ccxt.async_support as ccxt
import pytest
from audited import UNIFIED, Audited, audited
from meters import Meters
from simulated_exchange import LoseAnswer, SimulatedExchange

from audit_wrapper import AuditTrail, metrics
from audit_wrapper.delivery import Delivery
from audit_wrapper.settings import Settings
from audit_wrapper.sidecar import Sidecar


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    made = Meters()
    monkeypatch.setattr(metrics, "_instruments", made.instruments)
    return made


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def write_by_hand(desk: Audited) -> None:
    """A request that changes something, past every method that the trail knows."""
    client = desk.manager.exchange
    with contextlib.suppress(ccxt.BaseError):  # the simulated exchange need not know it: the request has left
        if desk.is_binance:
            await client.fapiPrivatePostConvertAcceptQuote({"quoteId": "1"})
        else:
            await client.privatePostV5AssetTransferInterTransfer({"coin": "USDT", "amount": "1"})


async def test_a_day_of_a_bot(sim: SimulatedExchange, audit_dsn: str, tmp_path: Path, meters: Meters) -> None:
    async with audited(sim, audit_dsn, tmp_path / "audit-journal") as desk:
        await desk.open()
        sim.next("create", LoseAnswer())
        with pytest.raises(ccxt.BaseError):
            await desk.manager.exchange.create_order(UNIFIED, "market", "buy", 10)
        assert await desk.trail.flush()
        assert meters.collect().points("audit_wrapper.unsettled.orders") == [], "nobody has looked yet"
        await desk.trail.reconcile()
        await write_by_hand(desk)
        assert await desk.trail.flush()
        status = desk.trail.status()
        await until(lambda: desk.trail._metrics.journal_bytes and not desk.trail._metrics.append_times)
        found = meters.collect()

        kinds = await desk.connection.fetch("SELECT kind, exchange, count(*) AS n FROM audit.events GROUP BY 1, 2")
        assert {(row["kind"], row["exchange"]): row["n"] for row in kinds} == {
            (point.attributes["kind"], point.attributes.get("exchange")): point.value
            for point in found.points("audit_wrapper.records.delivered")
        }
        counts = Counter({row["kind"]: row["n"] for row in kinds})
        assert found.value("audit_wrapper.orders.unknown", exchange=sim.kind) == counts["outcome_unknown"] == 1
        assert found.value("audit_wrapper.unattributed", exchange=sim.kind) == 1
        assert counts["unattributed"] == 2, "the request, and its answer"
        assert found.value("audit_wrapper.unsettled.orders", exchange=sim.kind) == 1, "when it looked, before it asked"
        assert found.value("audit_wrapper.asking.requests", exchange=sim.kind) > 0

        assert found.value("audit_wrapper.records.recorded") == status.recorded == sum(row["n"] for row in kinds)
        (append,) = found.points("audit_wrapper.append.duration")
        assert append.count == status.recorded
        (batch,) = found.points("audit_wrapper.delivery.batch.size")
        (delivery,) = found.points("audit_wrapper.delivery.duration")
        assert batch.sum == status.recorded
        assert batch.count == delivery.count
        assert found.value("audit_wrapper.delivery.lag") == 0
        assert found.value("audit_wrapper.recording") == 1
        assert found.value("audit_wrapper.connected") == 1
        assert found.value("audit_wrapper.delivery.heartbeat.age") < 60
        assert 0 < found.value("audit_wrapper.journal.size") <= desk.trail._pipeline.journal.bytes_on_disk
        labels = {key for keys in found.labels().values() for key in keys}
        assert labels == {"account", "journal", "exchange", "kind", "le"}, "nothing of which there may be many"
    assert "audit_wrapper.recording" not in meters.collect().metrics, "closed"


async def test_nothing_of_opentelemetry_runs_inside_the_bots_calls(
    audit_dsn: str, tmp_path: Path, meters: Meters
) -> None:
    ran: list[str] = []

    def profiled(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and f"{os.sep}opentelemetry{os.sep}" in frame.f_code.co_filename:
            ran.append(frame.f_code.co_filename)

    with SimulatedExchange("binance") as sim:
        async with audited(sim, audit_dsn, tmp_path / "audit-journal") as desk:
            sys.setprofile(profiled)  # of this thread: the bot's
            try:
                await desk.open()
                await desk.manager.exchange.fetch_balance()
            finally:
                sys.setprofile(None)
            assert ran == []
            assert len(desk.trail._metrics.append_times) > 0
            sys.setprofile(profiled)
            try:
                meters.collect()
            finally:
                sys.setprofile(None)
            assert ran, "it would have been seen"


async def test_a_database_that_is_away_shows(
    audit_dsn: str, tmp_path: Path, meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimulatedExchange("binance") as sim:
        nobody = "postgresql://bot:secret@127.0.0.1:1/bot"
        async with audited_without_database(sim, nobody, tmp_path / "audit-journal") as (trail, manager):
            await manager.create_order(UNIFIED, "market", "buy", 10)
            await until(lambda: trail.status().failures.get("database away"))
            found = meters.collect()
            assert found.value("audit_wrapper.connected") == 0
            assert found.value("audit_wrapper.recording") == 1, "it is in the journal"
            assert found.value("audit_wrapper.delivery.lag") == trail.status().recorded > 0
            assert found.value("audit_wrapper.failures", kind="database away") > 0
            assert found.value("audit_wrapper.delivery.heartbeat.age") < 60
            assert found.points("audit_wrapper.records.delivered") == []
            await until(lambda: not trail._metrics.append_times)  # taken all the same
            (append,) = meters.collect().points("audit_wrapper.append.duration")
            assert append.count == trail.status().recorded


def audited_without_database(sim: SimulatedExchange, dsn: str, journal: Path) -> Any:
    from contextlib import asynccontextmanager

    from simulated_exchange import async_client

    @asynccontextmanager
    async def opened() -> Any:
        client = async_client(sim)
        trail = AuditTrail.open(dsn, journal=journal, ask_exchange="off", close_timeout_s=0.1)
        try:
            yield trail, trail.wrap(client)
        finally:
            await trail.aclose()
            await client.close()

    return opened()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery whose thread never comes round again."""

    async def never(self: Delivery) -> None:
        self._tend()
        await asyncio.sleep(3_600)

    monkeypatch.setattr(Delivery, "_run", never)


@pytest.mark.usefixtures("stuck")
async def test_a_delivery_that_is_stuck_grows_old(audit_dsn: str, tmp_path: Path, meters: Meters) -> None:
    trail = AuditTrail.open(audit_dsn, journal=tmp_path / "audit-journal", close_timeout_s=0.01)
    try:
        await until(lambda: trail._pipeline.delivery.looked_at)
        trail._pipeline.delivery.looked_at -= 600
        assert 600 <= meters.collect().value("audit_wrapper.delivery.heartbeat.age") < 660
    finally:
        trail._pipeline.delivery._give_up = True
        await trail.aclose()


async def test_metrics_off(audit_dsn: str, tmp_path: Path, meters: Meters) -> None:
    with SimulatedExchange("binance") as sim:
        async with audited(sim, audit_dsn, tmp_path / "j", settings={"metrics": "off"}) as desk:
            await desk.open()
            assert desk.trail._metrics is None
            assert desk.trail._recorder._outbox._append_times is None
            assert not meters.collect().metrics


async def test_with_a_sidecar_the_bot_and_the_sidecar_report_what_each_of_them_does(
    audit_dsn: str, tmp_path: Path, meters: Meters
) -> None:
    journal = tmp_path / "audit-journal"
    settings = Settings.load({"dsn": audit_dsn, "journal": str(journal)}, environ={})
    with SimulatedExchange("binance") as sim:
        async with audited(sim, audit_dsn, journal, settings={"delivery": "sidecar"}) as desk:
            await desk.open()
            alone = meters.collect()
            assert alone.value("audit_wrapper.records.recorded") > 0
            assert alone.value("audit_wrapper.delivery.lag") > 0
            assert alone.value("audit_wrapper.connected") == 0
            assert alone.points("audit_wrapper.records.delivered") == []
            beside = Sidecar(settings)
            try:
                await until(lambda: beside.step() or desk.trail.status().lag == 0)
                both = meters.collect()
                assert both.value("audit_wrapper.connected") == 1
                assert both.value("audit_wrapper.delivery.lag") == 0
                delivered = both.points("audit_wrapper.records.delivered", account="default", journal="audit-journal")
                assert sum(point.value for point in delivered) == desk.trail.status().recorded
                assert both.value("audit_wrapper.delivery.heartbeat.age") < 60
                assert len(both.points("audit_wrapper.recording")) == 1, "the sidecar is no trail"
            finally:
                beside.stop(5)
