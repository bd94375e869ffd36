"""What a real OpenTelemetry SDK collects from a trail, and under which names Prometheus knows it."""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Metric, Sum

from audit_wrapper import metrics

# How OpenTelemetry's "Prometheus and OpenMetrics Compatibility" specification and the exporters that follow it (the SDKs',
# the collector's) spell the units used here; what is in curly brackets is dropped.
_UNITS = {"s": "seconds", "By": "bytes", "h": "hours"}


class Collected:
    """One collection: the metrics by name."""

    def __init__(self, found: list[Metric]) -> None:
        self.metrics = {metric.name: metric for metric in found}
        assert len(self.metrics) == len(found), "a name is there twice"

    def points(self, name: str, **attributes: str) -> list[Any]:
        """Data points with these attributes."""
        if name not in self.metrics:
            return []
        return [
            point
            for point in self.metrics[name].data.data_points
            if attributes.items() <= dict(point.attributes or {}).items()
        ]

    def value(self, name: str, **attributes: str) -> Any:
        """The value of the only such point; None where there is none."""
        found = self.points(name, **attributes)
        assert len(found) <= 1, found
        return found[0].value if found else None

    def labels(self) -> dict[str, set[str]]:
        """By Prometheus name, the attributes that points have."""
        return {
            name: {key for point in metric.data.data_points for key in (point.attributes or {})}
            | ({"le"} if name.endswith("_bucket") else set())
            for metric in self.metrics.values()
            for name in prometheus_names(metric)
        }


class Meters:
    """A provider of its own with everything that `audit_wrapper.metrics` has."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader])
        self.instruments = metrics.Instruments(self.provider.get_meter(metrics.METER))

    def collect(self) -> Collected:
        data = self.reader.get_metrics_data()
        found = [] if data is None else data.resource_metrics
        return Collected([m for resource in found for scope in resource.scope_metrics for m in scope.metrics])


def prometheus_names(metric: Metric) -> set[str]:
    """What the metric is called in Prometheus: unit as a suffix, then that of the type."""
    name = re.sub(r"[^a-zA-Z0-9_:]+", "_", metric.name)
    unit = re.sub(r"\{[^}]*\}", "", metric.unit or "")
    if unit:
        assert _UNITS[unit] not in name.split("_"), "the exporters differ in what they do then"
        name = f"{name}_{_UNITS[unit]}"
    if isinstance(metric.data, Histogram):
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    if isinstance(metric.data, Sum) and metric.data.is_monotonic:
        return {f"{name}_total"}
    assert isinstance(metric.data, Sum | Gauge)
    return {name}
