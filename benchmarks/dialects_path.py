"""What each dialect costs on the HTTP path, one after the other on one server with the fake engine and no delay: the same
small picture of ten steps, in the vendor's own words. A dialect's row is one function in `CALLS`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

import common
from dialect_ipollo import ipollo

Call = Callable[[httpx2.AsyncClient, int], Awaitable[httpx2.Response]]


async def native(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
    body = {"prompt": f"number {number}", "width": 64, "height": 64, "num_inference_steps": 10}
    return await client.post("/diffuserve/v1/jobs?wait=60", json=body)


async def plain(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
    fields = {"prompt": f"number {number}", "width": "64", "height": "64", "num_inference_steps": "10"}
    return await client.post("/txt2img", data=fields)


async def modelslab(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
    body = {"key": "none", "prompt": f"number {number}", "width": "64", "height": "64", "num_inference_steps": "10"}
    return await client.post("/api/v6/images/text2img", json=body)


CALLS: dict[str, Call] = {"native": native, "plain": plain, "modelslab": modelslab, "ipollo": ipollo}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=600, help="of each dialect")
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    port = common.free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        common.server(
            common.diffuserve(port, Path(folder), "--engine", "fake"), f"http://127.0.0.1:{port}/readyz"
        ) as process,
    ):
        common.save("dialects_path", asyncio.run(_measure(port, process.pid, options)))


async def _measure(port: int, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {"requests": options.requests, "clients": options.clients}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for name, call in CALLS.items():

            async def one(number: int, call: Call = call) -> None:
                (await call(client, number)).raise_for_status()

            await common.closed_loop(range(50), options.clients, one)
            before = common.cpu_seconds(common.family_of(pid))
            wall, latencies = await common.closed_loop(range(options.requests), options.clients, one)
            used = common.cpu_seconds(common.family_of(pid)) - before
            seconds = [latency for _, latency in latencies]
            figures[name] = {
                "requests_per_second": round(options.requests / wall, 1),
                "p50_ms": round(1000 * common.percentile(seconds, 50), 2),
                "p99_ms": round(1000 * common.percentile(seconds, 99), 2),
                "cpu_ms_per_request": round(1000 * used / options.requests, 2),
            }
    return figures


if __name__ == "__main__":
    main()
