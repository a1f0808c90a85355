"""OpenTelemetry traces: a span for each request, and below it one for its job with the parts in which its time went.

Nothing here imports OpenTelemetry before `open_traces` is called, which happens only where `otlp_endpoint` is set. The
spans of a job are `queued`, `drawn` and, for each picture, `stored`. Whoever wants them passes `Traces` around as
`core.ports.Tracer`; a job that another server takes over begins a trace of its own there.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from diffuserve import __version__
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.job import Job, JobStatus

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

_PATIENCE = 3.0
"""Seconds for one delivery of spans, tries included; a server that stops waits for its last one."""
_MOST_OPEN = 10_000
"""Jobs whose span waits for their end; one that ended on another server never does here."""


class Traces:
    """`ports.Tracer` over an OpenTelemetry provider, and the ASGI middleware that begins each trace."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import propagate, trace

        self._api = trace
        self._extract = propagate.extract
        self._provider = provider
        self._tracer = provider.get_tracer("diffuserve", __version__)
        self._open: OrderedDict[int, Span] = OrderedDict()

    def accepted(self, job: Job) -> None:
        """Begin the job's span, below the request that is being answered."""
        self._job(job)

    @contextlib.contextmanager
    def drawing(self, job: Job) -> Iterator[None]:
        """Around the drawing of a job: what came before it was waiting."""
        context = self._api.set_span_in_context(self._job(job))
        queued = self._tracer.start_span("queued", context, start_time=_nanoseconds(job.created_at))
        queued.end(_nanoseconds(job.started_at or job.created_at))
        with self._tracer.start_as_current_span("drawn", context, attributes={"diffuserve.attempt": job.attempts}):
            yield

    @contextlib.contextmanager
    def storing(self, job: Job, index: int) -> Iterator[None]:
        """Around the encoding and storing of one picture."""
        context = self._api.set_span_in_context(self._job(job))
        with self._tracer.start_as_current_span("stored", context, attributes={"diffuserve.picture": index}):
            yield

    def ended(self, job: Job) -> None:
        """End the job's span."""
        span = self._job(job)
        del self._open[job.id]
        span.set_attribute("diffuserve.status", job.status.value)
        if job.status is JobStatus.FAILED and job.error is not None:
            span.set_status(self._api.Status(self._api.StatusCode.ERROR, job.error.code))
        span.end(_nanoseconds(job.finished_at) if job.finished_at else None)

    def requests(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """`app` with a span around every HTTP request; a caller's own `traceparent` is gone on with."""

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            # The route is known only afterwards, and a path may hold an id: too many names for one.
            with self._tracer.start_as_current_span(
                f"{scope['method']} request",
                self._extract(headers),
                kind=self._api.SpanKind.SERVER,
                attributes={"http.request.method": scope["method"], **_ids()},
            ) as span:
                await app(scope, receive, _noting(send, span, self._api))
                if scope.get("route") is not None:
                    route = _route(scope["path"], scope.get("path_params", {}))
                    span.set_attribute("http.route", route)
                    span.update_name(f"{scope['method']} {route}")

        return traced

    def close(self) -> None:
        """Send what is left; blocks for some seconds where the collector does not answer."""
        self._provider.shutdown()

    def _job(self, job: Job) -> Span:
        span = self._open.get(job.id)
        if span is None:
            span = self._open[job.id] = self._tracer.start_span(
                "job",
                start_time=_nanoseconds(job.created_at),
                attributes={
                    "diffuserve.job_id": str(job.id),
                    "diffuserve.dialect": job.dialect,
                    "diffuserve.model": job.request.model,
                    "diffuserve.pictures": job.request.num_images,
                },
            )
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)[1].end()
        return span


def open_traces(endpoint: str, processor: SpanProcessor | None = None) -> Traces:
    """Traces that go to `endpoint` by OTLP over HTTP, or to `processor`. Raises ConfigurationError without the library."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError("otlp_endpoint needs OpenTelemetry: pip install 'diffuserve[otel]'") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "diffuserve", "service.version": __version__}))
    exporter = OTLPSpanExporter(endpoint=traces_url(endpoint), timeout=_PATIENCE)
    provider.add_span_processor(processor or BatchSpanProcessor(exporter))
    return Traces(provider)


def traces_url(endpoint: str) -> str:
    """Where a collector takes traces, as its documentation gives its address or in full."""
    endpoint = endpoint.rstrip("/")
    return endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"


def _noting(send: Any, span: Span, api: Any) -> Any:
    async def noted(message: Any) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= 500:
                span.set_status(api.Status(api.StatusCode.ERROR))
        await send(message)

    return noted


def _route(path: str, params: Mapping[str, Any]) -> str:
    """`path` with what was read from it replaced by names: the route's own path lacks the prefix that it stands under."""
    names = {str(value): f"{{{name}}}" for name, value in params.items()}
    return "/".join(names.get(part, part) for part in path.split("/"))


def _ids() -> dict[str, str]:
    """The request's id, as log lines have it."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return {} if request_id is None else {"diffuserve.request_id": str(request_id)}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
