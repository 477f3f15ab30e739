"""`GET /metrics`: what the parts of an engine say, in the text format of Prometheus."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from api.engine import Engine
from api.observing.collecting import Sample, collectors
from api.observing.metric_table import METRICS, PREFIX, Metric
from api.observing.requests import RequestCounts
from rating.histogram import Histogram

_log = logging.getLogger(__name__)
CONTENT_TYPE = CONTENT_TYPE_LATEST
_FAMILIES: dict[str, type[Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Metrics:
    """Of one application. `scraped` may be called from any thread."""

    def __init__(self, engine: Engine, requests: RequestCounts) -> None:
        self._collectors = collectors(engine, requests)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def scraped(self) -> bytes:
        """All metrics as of now."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Family]:
        """Nothing is read when it is registered."""
        return []

    def collect(self) -> Iterator[Family]:
        """One family for each metric of the table that has a value."""
        families: dict[str, Any] = {}
        for name, labels, value in self._samples():
            metric = METRICS[PREFIX + name]
            family = families.setdefault(name, _FAMILIES[metric.kind](_base(metric), metric.help, labels=metric.labels))
            if isinstance(value, Histogram):
                family.add_metric(labels, value.cumulative(), value.sum)
            else:
                family.add_metric(labels, float(value))
        yield from families.values()

    def _samples(self) -> Iterator[Sample]:
        for name, collect in self._collectors.items():
            try:
                samples = list(collect())
            except Exception as error:
                _log.warning("the metrics of %s cannot be read: %s", name, error)
                yield "collector_up", (name,), 0
            else:
                yield from samples
                yield "collector_up", (name,), 1


def _base(metric: Metric) -> str:
    """The library puts `_total` behind the name of a counter by itself."""
    return metric.whole_name.removesuffix("_total") if metric.kind == "counter" else metric.whole_name
