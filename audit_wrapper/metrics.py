"""Metrics, where the user has OpenTelemetry: what a trail knows of itself, handed to the global MeterProvider.

Nothing of OpenTelemetry is called inside the bot's calls. What is counted there anyway is read when somebody collects; how
long an append took is left in a deque, and taken from it on the delivery's thread. docs/metrics.md has every instrument.

The instruments are made once per process and show every trail that is open: a provider takes a second one of the same name
for the first, and would never call it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from audit_wrapper.failures import Failures
from audit_wrapper.journal import Journal
from audit_wrapper.records import Record, RecordKind
from audit_wrapper.settings import Settings
from audit_wrapper.status import Status

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

METER = "audit_wrapper"

_APPENDS = 8_192  # appends remembered until the delivery's thread takes them; of more, the latest
_SIZE_EVERY_S = 10.0  # the journal's folder is looked through for it

_APPEND_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0)
_DELIVERY_S = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

_Attributes = dict[str, str]
Counts = tuple[tuple[str, str | None, bool, int], ...]  # kind, exchange, whether it has an intent: how many records


class Seen(NamedTuple):
    """One trail at one moment.

    connected: the database takes what is delivered. heartbeat_age_s: how long ago the delivery's thread last went round; None:
    it does not run. requests: what was asked of each exchange so far. unknown: by exchange, when the orders were made that were
    UNKNOWN at the last look; None: nobody has looked yet.
    """

    status: Status
    connected: bool
    heartbeat_age_s: float | None
    requests: Mapping[str, int]
    unknown: Mapping[str, Sequence[datetime]] | None


class TrailMetrics:
    """The metrics of one trail. Nothing here raises, whatever the user's provider does."""

    def __init__(self, settings: Settings, failures: Failures, instruments: Instruments) -> None:
        self.append_times: deque[int] = deque(maxlen=_APPENDS)  # nanoseconds; filled on the order path
        self.attributes: _Attributes = {"account": settings.account, "journal": settings.journal.name}
        self._folder = settings.journal
        self._failures = failures
        self._instruments = instruments
        self._look: Callable[[], Seen] | None = None
        self._is_child = False
        self._only_looks = False  # nothing is reported from our thread; see `in_child`
        self._size_at = 0.0
        self.journal_bytes: int | None = None

    def start(self, look: Callable[[], Seen]) -> None:
        """Show the trail from now on. look: how it is doing; cheap, and asked whenever somebody collects."""
        if any(other.attributes == self.attributes for other in self._instruments.open):
            self.attributes["journal"] = str(Path(self._folder).absolute())
        self._look = look
        self._instruments.open.append(self)

    def in_child(self) -> None:
        """In a forked child: what was counted is the parent's, and nothing is shown before the child records.

        A provider that the parent had set up already is a copy whose locks another thread may have held at the fork, for
        ever: the delivery must not wait for one.
        """
        self.append_times.clear()
        self._only_looks = self._only_looks or _has_provider()
        if not self._is_child:
            self.attributes = {**self.attributes, "journal": f"{self.attributes['journal']}/fork"}
        self._is_child = True

    def stop(self) -> None:
        """Show nothing any more."""
        self._take_appends()
        self._look = None
        if self in self._instruments.open:
            self._instruments.open.remove(self)

    # -- on the delivery's thread

    def tend(self, journal: Journal) -> None:
        """About twice a second."""
        self._take_appends()
        now = time.monotonic()
        if now >= self._size_at:
            self._size_at = now + _SIZE_EVERY_S
            try:
                self.journal_bytes = journal.bytes_on_disk
            except Exception as problem:  # the folder cannot be read now; other things say so as well
                self.journal_bytes = None
                self._failures.note("metrics", problem)

    def delivered(self, records: Sequence[Record], seconds: float) -> None:
        """A batch is in the store; it took this long."""
        self.counted(counts_of(records), seconds)

    def counted(self, counts: Counts, seconds: float) -> None:
        """As `delivered`, of records that another process has delivered."""
        if self._only_looks:
            return
        try:
            made, own = self._instruments, self.attributes
            made.delivery.record(seconds, own)
            made.batch.record(sum(n for *_, n in counts), own)
            unknown, unattributed = Counter[str | None](), Counter[str | None]()
            for kind, exchange, has_intent, n in counts:
                made.delivered.add(n, {**own, **_named(exchange), "kind": kind})
                # also where there is none: a series that begins with 1 does not look like a rise
                unknown[exchange] += n if kind == RecordKind.OUTCOME_UNKNOWN else 0
                unattributed[exchange] += n if kind == RecordKind.UNATTRIBUTED and not has_intent else 0
            for exchange in unknown:
                made.unknown.add(unknown[exchange], {**own, **_named(exchange)})
                made.unattributed.add(unattributed[exchange], {**own, **_named(exchange)})
        except Exception as problem:  # the user's provider; delivery goes on
            self._failures.note("metrics", problem)

    def _take_appends(self) -> None:
        if self._only_looks:
            return
        try:
            while self.append_times:
                took = self.append_times.popleft()
                self._instruments.append.record(took / 1e9, self.attributes)
        except IndexError:  # somebody else took the last
            return
        except Exception as problem:  # as in delivered
            self._failures.note("metrics", problem)

    # -- whenever somebody collects

    def seen(self, read: _Read) -> list[tuple[float, _Attributes]]:
        """What one instrument shows of this trail."""
        try:
            look = self._look
            if look is None:
                return []
            seen = look()
            if self._is_child and not seen.status.recorded:
                return []
            return [(value, {**self.attributes, **more}) for value, more in read(self, seen)]
        except Exception as problem:  # somebody else's thread: it collects more than ours
            self._failures.note("metrics", problem)
            return []


def counts_of(records: Iterable[Record]) -> Counts:
    """What is counted of records that were delivered."""
    found = Counter((str(one.kind), one.exchange, one.intent_id is not None) for one in records)
    return tuple((*what, n) for what, n in found.items())


_Read = Callable[[TrailMetrics, Seen], Iterable[tuple[float, _Attributes]]]


class Instruments:
    """All instruments of one meter. `open`: the trails that they show."""

    def __init__(self, meter: Meter) -> None:
        self.open: list[TrailMetrics] = []
        self.append = meter.create_histogram(
            "audit_wrapper.append.duration",
            "s",
            "How long it took to write a record into the journal, inside the bot's call",
            explicit_bucket_boundaries_advisory=_APPEND_S,
        )
        self.delivery = meter.create_histogram(
            "audit_wrapper.delivery.duration",
            "s",
            "How long it took to bring a batch into the database",
            explicit_bucket_boundaries_advisory=_DELIVERY_S,
        )
        self.batch = meter.create_histogram(
            "audit_wrapper.delivery.batch.size",
            "{record}",
            "Records in a batch",
            explicit_bucket_boundaries_advisory=_BATCH,
        )
        self.delivered = meter.create_counter(
            "audit_wrapper.records.delivered", "{record}", "Records brought into the database, by kind and exchange"
        )
        self.unknown = meter.create_counter(
            "audit_wrapper.orders.unknown", "{order}", "Requests that left and got no answer that can be trusted"
        )
        self.unattributed = meter.create_counter(
            "audit_wrapper.unattributed", "{request}", "Requests that change something and that no known call explains"
        )
        for name, unit, description, read in _COUNTERS:
            meter.create_observable_counter(name, [self._callback(read)], unit, description)
        for name, unit, description, read in _SUMS:
            meter.create_observable_up_down_counter(name, [self._callback(read)], unit, description)
        for name, unit, description, read in _GAUGES:
            meter.create_observable_gauge(name, [self._callback(read)], unit, description)

    def _callback(self, read: _Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        def observe(_: CallbackOptions) -> list[Observation]:
            return [Observation(value, found) for trail in tuple(self.open) for value, found in trail.seen(read)]

        return observe


def of_trail(settings: Settings, failures: Failures) -> TrailMetrics | None:
    """The metrics of a trail that is being opened. None: they are turned off, or there is no OpenTelemetry here."""
    global _instruments
    if settings.metrics == "off":
        return None
    try:
        from opentelemetry.metrics import get_meter

        if _instruments is None:
            _instruments = Instruments(get_meter(METER))
        return TrailMetrics(settings, failures, _instruments)
    except ImportError:
        return None
    except Exception as problem:  # a provider of the user's, or an OpenTelemetry of another age
        failures.note("metrics", problem)
        return None


_instruments: Instruments | None = None


def _has_provider() -> bool:
    """Whether the application has set one; until then there is a stand-in of OpenTelemetry's API."""
    try:
        from opentelemetry.metrics import get_meter_provider

        return not type(get_meter_provider()).__module__.startswith("opentelemetry.metrics.")
    except Exception:  # one that cannot even be looked at is not to be waited for
        return True


def _named(exchange: str | None) -> _Attributes:
    return {} if exchange is None else {"exchange": exchange}


# -- what is read when somebody collects


def _one(read: Callable[[Seen], float | None]) -> _Read:
    """The trail has one such value; None: it is not known, and nothing is shown."""

    def one(_: TrailMetrics, seen: Seen) -> Iterator[tuple[float, _Attributes]]:
        value = read(seen)
        if value is not None:
            yield value, {}

    return one


def _failures_seen(_: TrailMetrics, seen: Seen) -> Iterator[tuple[float, _Attributes]]:
    for kind, count in seen.status.failures.items():
        yield count, {"kind": kind}


def _requests_seen(_: TrailMetrics, seen: Seen) -> Iterator[tuple[float, _Attributes]]:
    for exchange, count in seen.requests.items():
        yield count, _named(exchange or None)


def _unsettled_seen(_: TrailMetrics, seen: Seen) -> Iterator[tuple[float, _Attributes]]:
    for exchange, made_at in (seen.unknown or {}).items():
        yield len(made_at), _named(exchange or None)


def _ages_seen(_: TrailMetrics, seen: Seen) -> Iterator[tuple[float, _Attributes]]:
    now = datetime.now(UTC)
    for exchange, made_at in (seen.unknown or {}).items():
        if made_at:
            yield max(0.0, (now - min(made_at)).total_seconds()), _named(exchange or None)


def _size_seen(trail: TrailMetrics, _: Seen) -> Iterator[tuple[float, _Attributes]]:
    if trail.journal_bytes is not None:
        yield trail.journal_bytes, {}


_COUNTERS: tuple[tuple[str, str, str, _Read], ...] = (
    (
        "audit_wrapper.records.recorded",
        "{record}",
        "Records made since the trail was opened",
        _one(lambda seen: seen.status.recorded),
    ),
    ("audit_wrapper.failures", "{failure}", "Failures of the trail's own, by kind", _failures_seen),
    (
        "audit_wrapper.asking.requests",
        "{request}",
        "Requests by which the trail asked an exchange",
        _requests_seen,
    ),
)
_SUMS: tuple[tuple[str, str, str, _Read], ...] = (
    (
        "audit_wrapper.recording",
        "{trail}",
        "1: what is recorded reaches the journal; 0: it does not",
        _one(lambda seen: 0 if seen.status.waiting else 1),
    ),
    (
        "audit_wrapper.connected",
        "{trail}",
        "1: the database takes what is delivered; 0: it does not",
        _one(lambda seen: 1 if seen.connected else 0),
    ),
    (
        "audit_wrapper.delivery.lag",
        "{record}",
        "Records that are in the journal and not in the database",
        _one(lambda seen: seen.status.lag),
    ),
    (
        "audit_wrapper.waiting",
        "{record}",
        "Records in memory because the journal cannot be written",
        _one(lambda seen: seen.status.waiting),
    ),
    (
        "audit_wrapper.quarantined",
        "{record}",
        "Records that the database refused",
        _one(lambda seen: seen.status.quarantined),
    ),
    ("audit_wrapper.journal.size", "By", "What the journal occupies", _size_seen),
    (
        "audit_wrapper.unsettled.orders",
        "{order}",
        "Orders that were UNKNOWN when the trail last looked, before asking the exchange",
        _unsettled_seen,
    ),
)
_GAUGES: tuple[tuple[str, str, str, _Read], ...] = (
    ("audit_wrapper.unsettled.age", "s", "How long the oldest of these orders has been UNKNOWN", _ages_seen),
    (
        "audit_wrapper.delivery.heartbeat.age",
        "s",
        "How long ago the delivery's thread last went round",
        _one(lambda seen: seen.heartbeat_age_s),
    ),
    (
        "audit_wrapper.disk.free",
        "By",
        "What the journal's disk has left",
        _one(lambda seen: seen.status.disk_free_bytes),
    ),
    (
        "audit_wrapper.outage.left",
        "h",
        "How long a database outage that disk holds, at the rate of the last hour",
        _one(lambda seen: seen.status.outage_hours_left),
    ),
)
