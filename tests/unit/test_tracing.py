"""Spans of requests and jobs, with the library's own exporter in memory."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from diffuserve import tracing
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.job import Job, JobError, JobStatus
from diffuserve.logs import RequestIds
from diffuserve.tracing import Traces, open_traces, traces_url
from support.models import job as a_job

pytestmark = pytest.mark.unit

T0 = 1_800_000_000.0


class Collector:
    """Traces, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.traces: Traces = open_traces("http://unused", SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """By name, the last of each."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def collector() -> Collector:
    return Collector()


def job(**changes: Any) -> Job:
    return replace(a_job(), created_at=T0, **changes)


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def call(app: Callable[..., Awaitable[None]], **headers: str) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/jobs/1",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        pass

    await app(scope, receive, send)


async def answer(scope: Any, receive: Any, send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})


def live(collector: Collector, running: Job) -> None:
    """The whole life of a job, from its acceptance to its success."""
    traces = collector.traces
    traces.accepted(replace(running, started_at=None))
    with traces.drawing(running):
        pass
    with traces.storing(running, 0):
        pass
    traces.ended(replace(running, status=JobStatus.SUCCEEDED, finished_at=T0 + 5))


def test_a_job_has_spans_for_waiting_drawing_and_storing(collector: Collector) -> None:
    live(collector, job(started_at=T0 + 2))
    assert set(collector.spans) == {"job", "queued", "drawn", "stored"}
    whole = span_id(collector.spans["job"])
    assert {parent(collector.spans[name]) for name in ("queued", "drawn", "stored")} == {whole}


def test_the_times_of_a_job_are_those_of_its_row(collector: Collector) -> None:
    live(collector, job(started_at=T0 + 2))
    whole, queued = collector.spans["job"], collector.spans["queued"]
    assert (whole.start_time, whole.end_time) == (int(T0 * 1e9), int((T0 + 5) * 1e9))
    assert (queued.start_time, queued.end_time) == (int(T0 * 1e9), int((T0 + 2) * 1e9))


def test_the_span_of_a_job_names_the_job(collector: Collector) -> None:
    running = job(started_at=T0 + 2)
    live(collector, running)
    attributes = collector.spans["job"].attributes or {}
    assert attributes["diffuserve.job_id"] == str(running.id)
    assert attributes["diffuserve.status"] == "succeeded"
    assert running.request.prompt not in str(attributes)


def test_a_failed_job_is_an_error_with_its_code(collector: Collector) -> None:
    failed = job(status=JobStatus.FAILED, error=JobError("out_of_memory", "too large"), finished_at=T0 + 1)
    collector.traces.accepted(failed)
    collector.traces.ended(failed)
    status = collector.spans["job"].status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "out_of_memory")


def test_a_job_that_another_life_of_the_server_accepted_has_a_trace_of_its_own(collector: Collector) -> None:
    with collector.traces.drawing(job(started_at=T0 + 2)):
        pass
    collector.traces.ended(job(status=JobStatus.SUCCEEDED, finished_at=T0 + 3))
    assert parent(collector.spans["job"]) is None
    assert parent(collector.spans["drawn"]) == span_id(collector.spans["job"])


async def test_a_job_belongs_to_the_request_that_submitted_it(collector: Collector) -> None:
    async def submits(scope: Any, receive: Any, send: Any) -> None:
        collector.traces.accepted(job())
        await answer(scope, receive, send)

    await call(collector.traces.requests(submits))
    collector.traces.ended(job(status=JobStatus.CANCELED, finished_at=T0 + 1))
    assert parent(collector.spans["job"]) == span_id(collector.spans["POST request"])


async def test_a_caller_s_own_trace_is_gone_on_with(collector: Collector) -> None:
    await call(collector.traces.requests(answer), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    span = collector.spans["POST request"]
    assert span.context is not None
    assert (f"{span.context.trace_id:032x}", f"{parent(span) or 0:016x}") == ("a" * 32, "b" * 16)


async def test_the_span_of_a_request_has_the_id_that_its_log_lines_have(collector: Collector) -> None:
    await call(RequestIds(collector.traces.requests(answer)))
    attributes = collector.spans["POST request"].attributes or {}
    assert len(str(attributes["diffuserve.request_id"])) == 12
    assert attributes["http.response.status_code"] == 200


async def test_a_request_is_named_by_its_route_and_not_by_its_path(collector: Collector) -> None:
    async def routed(scope: Any, receive: Any, send: Any) -> None:
        scope["route"], scope["path_params"] = object(), {"job_id": "1"}
        await answer(scope, receive, send)

    await call(collector.traces.requests(routed))
    assert "POST /jobs/{job_id}" in collector.spans


async def test_an_answer_of_500_is_an_error(collector: Collector) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await answer(scope, receive, send, 503)

    await call(collector.traces.requests(breaks))
    assert collector.spans["POST request"].status.status_code is StatusCode.ERROR


def test_spans_of_jobs_that_never_end_here_do_not_pile_up(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_MOST_OPEN", 2)
    for number in (1, 2, 3):
        collector.traces.accepted(replace(job(), id=number))
    assert (collector.spans["job"].attributes or {})["diffuserve.job_id"] == "1"


@pytest.mark.parametrize(
    "endpoint", ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"]
)
def test_an_endpoint_may_be_given_with_or_without_its_path(endpoint: str) -> None:
    assert traces_url(endpoint) == "http://collector:4318/v1/traces"


def test_without_the_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'diffuserve\[otel\]'"):
        open_traces("http://collector:4318")
