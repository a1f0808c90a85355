"""What the server counts, for Prometheus; `docs/metrics.md` lists it all, and a test keeps the two together.

`Metrics.job_ended` is called by the hub for each job that ends here, `Levels` are read from the store at each scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import Job
from diffuserve.core.ports import Clock, DeliveryStore, EngineStatus, JobStore
from diffuserve.dialects.base import Dialect

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

NOBODY = "none"
"""Stands for the key of a job on an open server, and for the dialect of a path that no dialect owns."""


@dataclass(frozen=True, slots=True)
class Levels:
    """What the store holds at this moment, of all servers together."""

    queued: Mapping[tuple[str, str | None], int]
    """Jobs that wait, by model and key."""
    webhook_lag: float
    """Seconds for which the oldest notification has been due."""


async def read_levels(jobs: JobStore, deliveries: DeliveryStore, clock: Clock) -> Levels | None:
    """None where the store does not answer: the rest of the counters is wanted then more than ever."""
    try:
        queued, due = await jobs.queue(), await deliveries.oldest_due()
    except StorageFailed:
        return None
    return Levels(queued, 0.0 if due is None else max(0.0, clock.now() - due))


class Metrics:
    """Counters on a registry of their own, so that two servers in one process do not share them."""

    def __init__(self, status: Callable[[], EngineStatus], registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "diffuserve_http_requests", "HTTP answers", ["dialect", "status"], registry=self.registry
        )
        self.jobs = Counter("diffuserve_jobs", "Jobs that ended", ["dialect", "status"], registry=self.registry)
        self.wait = Histogram(
            "diffuserve_job_wait_seconds",
            "From submission to start",
            ["dialect"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.run = Histogram(
            "diffuserve_job_run_seconds", "From start to end", ["dialect"], buckets=_BUCKETS, registry=self.registry
        )
        self.queued = Gauge(
            "diffuserve_queued_jobs", "Jobs that wait for a worker", ["model", "key"], registry=self.registry
        )
        self.webhook_lag = Gauge(
            "diffuserve_webhook_lag_seconds", "How long the oldest notification has been due", registry=self.registry
        )
        self.store_up = Gauge("diffuserve_store_up", "1 when the job store answers", registry=self.registry)
        self.registry.register(_EngineCollector(status))
        ProcessCollector(namespace="diffuserve", registry=self.registry)

    def job_ended(self, job: Job) -> None:
        self.jobs.labels(job.dialect, job.status.value).inc()
        if job.started_at is not None:
            self.wait.labels(job.dialect).observe(max(0.0, job.started_at - job.created_at))
            if job.finished_at is not None:
                self.run.labels(job.dialect).observe(max(0.0, job.finished_at - job.started_at))

    def text(self, levels: Levels | None) -> bytes:
        """All of it in Prometheus' text format; `levels` is None where the store does not answer."""
        self.store_up.set(levels is not None)
        # A model or key that nothing waits for any more must not keep its last number.
        self.queued.clear()
        for (model, key), count in (levels.queued if levels else {}).items():
            self.queued.labels(model, key or NOBODY).set(count)
        self.webhook_lag.set(levels.webhook_lag if levels else float("nan"))
        return generate_latest(self.registry)


class RequestCounter:
    """Counts answers by dialect and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, dialects: Sequence[Dialect]) -> None:
        self._app = app
        self._requests = metrics.requests
        self._dialects = dialects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(self._name(scope["path"]), message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)

    def _name(self, path: str) -> str:
        return next((dialect.name for dialect in self._dialects if dialect.owns(path)), NOBODY)


class _EngineCollector(Collector):
    """The engine's own counters, read when they are asked for."""

    def __init__(self, status: Callable[[], EngineStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        gauges: list[tuple[str, str, float]] = [
            ("ready", "1 when the engine can draw", status.ready),
            ("running", "Pictures in the step loop", status.running),
            ("waiting", "Pictures that wait for the step loop", status.waiting),
            ("memory_bytes", "Resident memory of the engine's process", status.memory_bytes),
        ]
        counters: list[tuple[str, str, float]] = [
            ("restarts", "Engine processes that died", status.restarts),
            ("forwards", "Shared forward passes", status.forwards),
            ("rows", "Pictures advanced by one step", status.rows),
            ("step_seconds", "Seconds spent in forward passes", status.step_seconds),
            ("encodings", "Prompts that were needed as embeddings", status.encodings),
            ("encoding_hits", "Prompts whose embeddings were found in the cache", status.encoding_hits),
        ]
        for name, words, value in gauges:
            yield GaugeMetricFamily(f"diffuserve_engine_{name}", words, value=value)
        for name, words, value in counters:
            yield CounterMetricFamily(f"diffuserve_engine_{name}", words, value=value)
