"""What our own code costs: the HTTP path with the fake engine and no delay. Requests a second, latency, processor time.

Each request is a whole job: parsed, stored, claimed, drawn (a pattern), encoded as PNG, put on disk, ended in the store,
answered with a signed link.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

import httpx2

import common


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    port = common.free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        common.server(
            common.diffuserve(port, Path(folder), "--engine", "fake"), f"http://127.0.0.1:{port}/readyz"
        ) as process,
    ):
        common.save("http_path", asyncio.run(_measure(port, process.pid, options.requests, options.clients)))


async def _measure(port: int, pid: int, requests: int, clients: int) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        async def txt2img(number: int) -> None:
            fields = {"prompt": f"number {number}", "width": "64", "height": "64", "num_inference_steps": "10"}
            answer = await client.post("/txt2img", data=fields)
            answer.raise_for_status()

        await common.closed_loop(range(100), clients, txt2img)
        before = common.cpu_seconds(common.family_of(pid))
        wall, latencies = await common.closed_loop(range(requests), clients, txt2img)
        used = common.cpu_seconds(common.family_of(pid)) - before
    seconds = [latency for _, latency in latencies]
    return {
        "requests": requests,
        "clients": clients,
        "requests_per_second": round(requests / wall, 1),
        "p50_ms": round(1000 * common.percentile(seconds, 50), 2),
        "p99_ms": round(1000 * common.percentile(seconds, 99), 2),
        "cpu_ms_per_request": round(1000 * used / requests, 2),
    }


if __name__ == "__main__":
    main()
