"""What the server counts, for Prometheus. `Metrics.job_ended` is called by the worker for each job that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffuserve.core.job import Job
from diffuserve.core.ports import EngineStatus
from diffuserve.dialects.base import Dialect

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters on a registry of their own, so that two servers in one process do not share them."""

    def __init__(self, status: Callable[[], EngineStatus], registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "diffuserve_http_requests", "HTTP answers", ["dialect", "status"], registry=self.registry
        )
        self.jobs = Counter("diffuserve_jobs", "Jobs that ended", ["dialect", "status"], registry=self.registry)
        self.wait = Histogram(
            "diffuserve_job_wait_seconds", "From submission to start", buckets=_BUCKETS, registry=self.registry
        )
        self.run = Histogram(
            "diffuserve_job_run_seconds", "From start to end", buckets=_BUCKETS, registry=self.registry
        )
        self.queued = Gauge("diffuserve_queued_jobs", "Jobs that wait for a worker", registry=self.registry)
        self.registry.register(_EngineCollector(status))

    def job_ended(self, job: Job) -> None:
        self.jobs.labels(job.dialect, job.status.value).inc()
        if job.started_at is not None:
            self.wait.observe(max(0.0, job.started_at - job.created_at))
            if job.finished_at is not None:
                self.run.observe(max(0.0, job.finished_at - job.started_at))

    def text(self, queued: int) -> bytes:
        """All of it in Prometheus' text format; `queued` is how many jobs wait now."""
        self.queued.set(queued)
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
        return next((dialect.name for dialect in self._dialects if dialect.owns(path)), "none")


class _EngineCollector(Collector):
    """The engine's own counters, read when they are asked for."""

    def __init__(self, status: Callable[[], EngineStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield GaugeMetricFamily("diffuserve_engine_ready", "1 when the engine can draw", value=float(status.ready))
        yield GaugeMetricFamily("diffuserve_engine_running", "Pictures in the step loop", value=status.running)
        yield GaugeMetricFamily(
            "diffuserve_engine_waiting", "Pictures that wait for the step loop", value=status.waiting
        )
        yield CounterMetricFamily("diffuserve_engine_restarts", "Engine processes that died", value=status.restarts)
        yield CounterMetricFamily("diffuserve_engine_forwards", "Shared forward passes", value=status.forwards)
        yield CounterMetricFamily("diffuserve_engine_rows", "Pictures advanced by one step", value=status.rows)
        yield CounterMetricFamily(
            "diffuserve_engine_step_seconds", "Seconds spent in forward passes", value=status.step_seconds
        )
