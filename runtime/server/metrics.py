"""Figures of the server for Prometheus: requests, tokens, times, queues, memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from subbyte.runtime.generation.events import Reply
from subbyte.runtime.server.models import ModelPool

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """Counters of one server. Gauges are read from the models when they are asked for."""

    def __init__(self, pool: ModelPool) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside each counter, which nobody asked for
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "subbyte_requests", "Requests by path and HTTP status", ["path", "status"], registry=self._registry
        )
        self._tokens = Counter(
            "subbyte_tokens", "Tokens: of prompts (computed or cached) and generated", ["model", "kind"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Counter(
            "subbyte_seconds", "Seconds of steps, by what they were for", ["model", "kind"], registry=self._registry
        )
        self._durations = Histogram(
            "subbyte_request_seconds", "Time from a request to the end of its answer", ["path"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Gauges(pool))

    def request(self, path: str, status: int, began: float) -> None:
        """Counts a request that has ended; began: by `time.monotonic`."""
        self._requests.labels(path, str(status)).inc()
        self._durations.labels(path).observe(time.monotonic() - began)

    def answers(self, model: str, replies: Sequence[Reply]) -> None:
        """Counts what answers took."""
        for reply in replies:
            used, times = reply.usage, reply.timings
            for kind, n in (
                ("prompt", used.prompt - used.reused), ("cached", used.reused), ("generated", used.completion),
                ("drafted", used.drafted), ("accepted", used.accepted),
            ):  # fmt: skip
                self._tokens.labels(model, kind).inc(n)
            self._seconds.labels(model, "prompt").inc(times.prefill)
            self._seconds.labels(model, "generation").inc(times.generation)

    def text(self) -> bytes:
        """All of it in the text format that Prometheus reads."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        """The state of each model that is open."""
        uses = [(name, served.serving.scheduler.use) for name, served in self._pool.open.items()]
        yield self._gauge("subbyte_running", "Answers that are being made", ((n, u.n_running) for n, u in uses))
        yield self._gauge("subbyte_waiting", "Answers that wait to be begun", ((n, u.n_waiting) for n, u in uses))
        yield self._gauge("subbyte_kept", "Ended conversations that are kept", ((n, u.n_idle) for n, u in uses))
        yield self._gauge("subbyte_kv_bytes", "Memory of all conversations", ((n, u.n_bytes) for n, u in uses))
        yield self._gauge("subbyte_kv_bytes_limit", "What that may be", ((n, u.max_bytes) for n, u in uses))
        yield self._gauge("subbyte_steps", "Steps since the model was loaded", ((n, u.n_steps) for n, u in uses))

    @staticmethod
    def _gauge(name: str, help: str, values: Iterator[tuple[str, int]]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, help, labels=["model"])
        for model, value in values:
            family.add_metric([model], value)
        return family
