"""Metrics: what is shown of a trail, when nothing is, and that nobody is hurt by somebody else's provider."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from meters import Meters
from uuid_utils.compat import uuid7

from audit_wrapper import codec, metrics
from audit_wrapper.failures import Failures
from audit_wrapper.journal import MemoryJournal
from audit_wrapper.metrics import Seen, TrailMetrics
from audit_wrapper.outbox import Outbox
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.settings import Settings
from audit_wrapper.status import Status

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
STATUS = Status(
    recorded=7,
    durable_seq=7,
    delivered_seq=4,
    lag=3,
    waiting=0,
    quarantined=2,
    failures={"database away": 5},
    last_error=None,
    damage=(),
    disk_free_bytes=None,
    outage_hours_left=None,
    store="connected",
    journal="audit-journal",
    database=None,
    embedded=None,
)


def changed(**values: Any) -> Status:
    fields = {name: getattr(STATUS, name) for name in STATUS.__struct_fields__}
    return Status(**{**fields, **values})


def seen(status: Status = STATUS, **values: Any) -> Seen:
    return Seen(status, True, 0.25, {"binance": 3}, None)._replace(**values)


def record(kind: RecordKind, exchange: str | None = "binance") -> Record:
    return Record(version=codec.VERSION, record_id=uuid7(), kind=kind, exchange=exchange, account="main")


@pytest.fixture
def meters() -> Meters:
    return Meters()


@pytest.fixture
def trail(meters: Meters) -> TrailMetrics:
    return of(meters)


def of(meters: Meters, journal: str = "audit-journal", **settings: Any) -> TrailMetrics:
    loaded = Settings.load({"journal": journal, "account": "main", **settings}, environ={})
    return TrailMetrics(loaded, Failures(), meters.instruments)


def test_a_trail_shows_what_its_status_says(meters: Meters, trail: TrailMetrics) -> None:
    trail.start(seen)
    found = meters.collect()
    values = {name: found.value(name) for name in found.metrics}
    assert values == {
        "audit_wrapper.records.recorded": 7,
        "audit_wrapper.failures": 5,
        "audit_wrapper.asking.requests": 3,
        "audit_wrapper.recording": 1,
        "audit_wrapper.connected": 1,
        "audit_wrapper.delivery.lag": 3,
        "audit_wrapper.waiting": 0,
        "audit_wrapper.quarantined": 2,
        "audit_wrapper.delivery.heartbeat.age": 0.25,
    }
    own = {"account": "main", "journal": "audit-journal"}
    attributes = {name: dict(found.points(name)[0].attributes) for name in found.metrics}
    assert attributes.pop("audit_wrapper.failures") == {**own, "kind": "database away"}
    assert attributes.pop("audit_wrapper.asking.requests") == {**own, "exchange": "binance"}
    assert set(map(str, attributes.values())) == {str(own)}


def test_what_is_not_known_is_not_shown_and_what_is_known_later_is(meters: Meters, trail: TrailMetrics) -> None:
    now = {"seen": seen(heartbeat_age_s=None)}
    trail.start(lambda: now["seen"])
    before = meters.collect()
    names = ("disk.free", "outage.left", "delivery.heartbeat.age", "journal.size", "unsettled.orders", "unsettled.age")
    assert [before.value(f"audit_wrapper.{name}") for name in names] == [None] * 6
    made = datetime.now(UTC) - timedelta(hours=2)
    now["seen"] = seen(
        changed(disk_free_bytes=10**9, outage_hours_left=31.5),
        unknown={"binance": [made, made + timedelta(hours=1)], "bybit": []},
    )
    trail.journal_bytes = 4_096
    after = meters.collect()
    assert after.value("audit_wrapper.disk.free") == 10**9
    assert after.value("audit_wrapper.outage.left") == 31.5
    assert after.value("audit_wrapper.journal.size") == 4_096
    assert after.value("audit_wrapper.unsettled.orders", exchange="binance") == 2
    assert after.value("audit_wrapper.unsettled.orders", exchange="bybit") == 0
    assert 7_200 <= after.value("audit_wrapper.unsettled.age", exchange="binance") < 7_260
    assert after.points("audit_wrapper.unsettled.age", exchange="bybit") == []


def test_what_does_not_reach_the_journal_or_the_database_is_shown_as_nought(
    meters: Meters, trail: TrailMetrics
) -> None:
    trail.start(lambda: seen(changed(waiting=2), connected=False))
    found = meters.collect()
    assert found.value("audit_wrapper.recording") == 0
    assert found.value("audit_wrapper.waiting") == 2
    assert found.value("audit_wrapper.connected") == 0


def test_a_batch_is_counted_by_kind_and_exchange(meters: Meters, trail: TrailMetrics) -> None:
    intent, unknown = RecordKind.INTENT, RecordKind.OUTCOME_UNKNOWN
    trail.delivered([record(intent), record(intent), record(unknown), record(RecordKind.GAP, None)], 0.25)
    request = record(RecordKind.UNATTRIBUTED, "bybit")
    answer = msgspec.structs.replace(request, record_id=uuid7(), intent_id=request.record_id)
    trail.delivered([record(intent, "bybit"), request, answer], 0.5)
    found = meters.collect()
    delivered = "audit_wrapper.records.delivered"
    assert found.value(delivered, exchange="binance", kind="intent") == 2
    assert found.value(delivered, exchange="binance", kind="outcome_unknown") == 1
    assert found.value(delivered, exchange="bybit", kind="intent") == 1
    (gap,) = found.points(delivered, kind="gap")
    assert "exchange" not in gap.attributes
    assert found.value("audit_wrapper.orders.unknown", exchange="binance") == 1
    assert found.value("audit_wrapper.orders.unknown", exchange="bybit") == 0, (
        "there from the start, so that a rise shows"
    )
    assert found.value("audit_wrapper.unattributed", exchange="bybit") == 1, (
        "a request, and no two of them for its answer"
    )
    (duration,) = found.points("audit_wrapper.delivery.duration")
    assert (duration.count, duration.sum) == (2, 0.75)
    (size,) = found.points("audit_wrapper.delivery.batch.size")
    assert (size.count, size.sum, size.max) == (2, 7, 4)


def test_appends_are_taken_on_the_deliverys_thread(meters: Meters, trail: TrailMetrics) -> None:
    outbox = Outbox(MemoryJournal(), Failures(), lambda _: record(RecordKind.GAP), trail.append_times)
    for _ in range(3):
        outbox.put(record(RecordKind.INTENT))
    assert len(trail.append_times) == 3
    assert meters.collect().points("audit_wrapper.append.duration") == []
    trail.tend(MemoryJournal())
    (found,) = meters.collect().points("audit_wrapper.append.duration")
    assert found.count == 3
    assert 0 < found.max < 1, "seconds"
    assert found.explicit_bounds[0] == 5e-6
    assert not trail.append_times


def test_an_append_that_failed_has_no_duration(trail: TrailMetrics) -> None:
    journal = MemoryJournal()
    outbox = Outbox(journal, Failures(), lambda _: record(RecordKind.GAP), trail.append_times)
    journal.fail("the disk is full")
    outbox.put(record(RecordKind.INTENT))
    assert not trail.append_times
    assert outbox.waiting == 1


def test_appends_nobody_takes_do_not_pile_up(trail: TrailMetrics) -> None:
    trail.append_times.extend(range(100_000))
    assert len(trail.append_times) == 8_192
    assert trail.append_times[-1] == 99_999


def test_a_trail_that_was_closed_shows_nothing(meters: Meters, trail: TrailMetrics) -> None:
    trail.start(seen)
    trail.append_times.append(1_000)
    trail.stop()
    trail.stop()
    found = meters.collect()
    assert list(found.metrics) == ["audit_wrapper.append.duration"], "what it had measured is still said, once"
    assert trail.append_times == deque()


def test_two_trails_are_told_apart(meters: Meters) -> None:
    for folder, account in (("a/audit-journal", "main"), ("b/audit-journal", "main"), ("c/audit-journal", "second")):
        of(meters, folder, account=account).start(seen)
    points = meters.collect().points("audit_wrapper.records.recorded")
    told = {(point.attributes["account"], point.attributes["journal"]) for point in points}
    assert told == {
        ("main", "audit-journal"),
        ("main", str(Path("b/audit-journal").absolute())),
        ("second", "audit-journal"),
    }


def test_a_forked_child_shows_nothing_before_it_records(meters: Meters, trail: TrailMetrics) -> None:
    now = {"seen": seen(changed(recorded=0))}
    trail.start(lambda: now["seen"])
    trail.append_times.append(1)
    trail.in_child()
    trail.in_child()  # a child of the child
    assert not meters.collect().metrics
    now["seen"] = seen()
    (point,) = meters.collect().points("audit_wrapper.records.recorded")
    assert point.attributes["journal"] == "audit-journal/fork"


@pytest.mark.parametrize("set_before", [False, True])
def test_a_forked_child_calls_nothing_of_a_provider_that_was_copied_with_it(
    set_before: bool, meters: Meters, trail: TrailMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks may be held by a thread of the parent's that is not there."""
    if set_before:
        monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: meters.provider)
    trail.start(seen)
    trail.in_child()
    trail.append_times.append(1_000)
    trail.tend(MemoryJournal())
    trail.delivered([record(RecordKind.INTENT)], 0.1)
    found = meters.collect()
    assert found.value("audit_wrapper.records.recorded") == 7
    told = [bool(found.points(f"audit_wrapper.{name}")) for name in ("append.duration", "records.delivered")]
    assert told == [not set_before] * 2


def test_a_look_that_fails_hides_that_trail_only(meters: Meters, trail: TrailMetrics) -> None:
    def broken() -> Seen:
        raise RuntimeError("a bug of ours")

    trail.start(broken)
    of(meters, "other").start(seen)
    (point,) = meters.collect().points("audit_wrapper.records.recorded")
    assert point.attributes["journal"] == "other"
    assert trail._failures.counts["metrics"] > 0


class Broken:
    """A provider's instrument that refuses everything."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"{name}: the user's provider is broken")


def test_a_provider_that_fails_fails_alone(trail: TrailMetrics) -> None:
    for name in ("append", "delivery", "batch", "delivered", "unknown", "unattributed"):
        setattr(trail._instruments, name, Broken())
    trail.append_times.append(1_000)
    trail.tend(MemoryJournal())
    trail.delivered([record(RecordKind.INTENT)], 0.1)
    trail.stop()
    assert trail._failures.counts == {"metrics": 2}


def test_a_journal_whose_size_cannot_be_read_has_none(trail: TrailMetrics) -> None:
    class Gone(MemoryJournal):
        @property
        def bytes_on_disk(self) -> int:
            raise PermissionError("not yours")

    trail.tend(Gone())
    assert trail.journal_bytes is None
    assert trail._failures.counts == {"metrics": 1}


def test_the_size_is_not_looked_up_at_every_turn(trail: TrailMetrics) -> None:
    looked = []

    class Counted(MemoryJournal):
        @property
        def bytes_on_disk(self) -> int:
            looked.append(1)
            return 17

    for _ in range(5):
        trail.tend(Counted())
    assert (trail.journal_bytes, len(looked)) == (17, 1)


def test_without_opentelemetry_or_turned_off_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Failures()
    monkeypatch.setattr(metrics, "_instruments", None)
    assert metrics.of_trail(Settings(metrics="off"), failures) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)  # as if it was not installed
    assert metrics.of_trail(Settings(), failures) is None
    assert failures.counts == {}


def test_an_opentelemetry_that_cannot_be_used_is_a_failure_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise TypeError("of another age")

    failures = Failures()
    monkeypatch.setattr(metrics, "_instruments", None)
    monkeypatch.setattr("opentelemetry.metrics.get_meter", broken)
    assert metrics.of_trail(Settings(), failures) is None
    assert failures.counts == {"metrics": 1}


def test_opentelemetry_is_imported_when_a_trail_is_opened_and_not_before() -> None:
    program = (
        "import sys, audit_wrapper.trail\n"
        "from audit_wrapper.failures import Failures\n"
        "from audit_wrapper.settings import Settings\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "assert audit_wrapper.metrics.of_trail(Settings(metrics='off'), Failures()) is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "assert audit_wrapper.metrics.of_trail(Settings(), Failures()) is not None\n"
        "assert 'opentelemetry.metrics' in sys.modules and 'opentelemetry.sdk' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_collecting_while_trails_come_and_go(meters: Meters) -> None:
    """A collector's thread runs beside everything else."""
    done = threading.Event()
    problems: list[BaseException] = []

    def collect() -> None:
        try:
            while not done.is_set():
                meters.collect()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=collect)
    thread.start()
    for number in range(200):
        trail = of(meters, f"journal-{number}")
        trail.start(seen)
        trail.delivered([record(RecordKind.INTENT)], 0.1)
        trail.stop()
    done.set()
    thread.join(10)
    assert not problems
    assert not meters.instruments.open


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_code_of_the_document_reports_to_a_provider_set_before_or_after(
    order: str, bot_dsn: str, tmp_path: Path
) -> None:
    (block,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    provider, name, opening = block.replace("postgresql://bot:secret@localhost/bot", bot_dsn).partition("trail = ")
    imports = "from audit_wrapper import AuditTrail\n"
    parts = [provider, name + opening] if order == "before" else [imports, name + opening, provider]
    program = "".join(parts) + (
        "from audit_wrapper.records import Record, RecordKind\n"
        "from audit_wrapper import codec\n"
        "from uuid_utils.compat import uuid7\n"
        "trail._recorder._outbox.put(Record(version=codec.VERSION, record_id=uuid7(), kind=RecordKind.GAP))\n"
        "import asyncio\n"
        "assert asyncio.run(trail.flush())\n"
        "metrics.get_meter_provider().force_flush()\n"
        "trail.close()\n"
        "assert trail.status().failures == {}, trail.status()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    printed, _ = json.JSONDecoder().raw_decode(done.stdout)
    (resource,) = printed["resource_metrics"]
    assert resource["resource"]["attributes"]["service.name"] == "my-bot"
    (scope,) = resource["scope_metrics"]
    assert scope["scope"]["name"] == "audit_wrapper"
    found = {metric["name"]: metric["data"]["data_points"][0] for metric in scope["metrics"]}
    assert found["audit_wrapper.recording"]["value"] == 1
    assert found["audit_wrapper.records.recorded"]["value"] == 1
    assert found["audit_wrapper.records.delivered"]["value"] == 1
    assert found["audit_wrapper.delivery.lag"]["attributes"] == {"account": "default", "journal": "audit-journal"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_reports_for_itself(tmp_path: Path) -> None:
    """The parent's numbers are not the child's, and one that never trades reports nothing."""
    program = (
        "import os, sys\n"
        "from meters import Meters\n"
        "from uuid_utils.compat import uuid7\n"
        "from audit_wrapper import AuditTrail, codec, metrics\n"
        "from audit_wrapper.records import Record, RecordKind\n"
        "meters = Meters()\n"
        "metrics._instruments = meters.instruments\n"
        "trail = AuditTrail.open('postgresql://bot@127.0.0.1:1/bot', journal='audit-journal', close_timeout_s=0.1)\n"
        "def record():\n"
        "    trail._recorder._outbox.put(Record(version=codec.VERSION, record_id=uuid7(), kind=RecordKind.GAP))\n"
        "def told():\n"
        "    points = meters.collect().points('audit_wrapper.records.recorded')\n"
        "    return [(point.attributes['journal'], point.value) for point in points]\n"
        "record(); record()\n"
        "assert told() == [('audit-journal', 2)], told()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try:\n"
        "        assert told() == [], told()\n"
        "        record()\n"
        "        assert told() == [('audit-journal/fork', 1)], told()\n"
        "        os._exit(0)\n"
        "    except BaseException as problem:\n"
        "        print(repr(problem), file=sys.stderr)\n"
        "        os._exit(1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert told() == [('audit-journal', 2)], told()\n"
        "trail.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "unit")])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
