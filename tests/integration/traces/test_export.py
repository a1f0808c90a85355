"""Traces of a whole server, as a collector receives them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from diffuserve.config import Settings
from diffuserve.wiring import build

pytestmark = pytest.mark.integration


class Collector:
    """Takes spans at `/v1/traces`."""

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        """By name, the last of each."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.update({span.name: span for span in scope.spans})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


async def test_a_request_and_its_job_arrive_as_one_trace(tmp_path: Path, collector: Collector) -> None:
    app = await build(Settings(engine="fake", data_dir=tmp_path, otlp_endpoint=collector.url))
    await app.start()
    await app.ready()
    transport = httpx2.ASGITransport(app.asgi)  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        answer = await client.post("/diffuserve/v1/jobs?wait=60", json={"prompt": "a red apple"})
    await app.stop()
    assert set(collector.spans) == {"POST /diffuserve/v1/jobs", "job", "queued", "drawn", "stored"}
    assert len({span.trace_id for span in collector.spans.values()}) == 1
    job = collector.spans["job"]
    assert job.parent_span_id == collector.spans["POST /diffuserve/v1/jobs"].span_id
    attributes = {one.key: one.value.string_value for one in job.attributes}
    assert attributes["diffuserve.job_id"] == answer.json()["id"]


def test_a_server_without_an_endpoint_never_imports_the_sdk(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from diffuserve.config import Settings
from diffuserve.wiring import build
async def main():
    app = await build(Settings(engine="fake", data_dir=Path({str(tmp_path)!r})))
    await app.start()
    await app.stop()
asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or "otlp" in name])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
