"""Eight clients in a closed loop, then callers who come by themselves (Poisson arrivals); jobs of 10, 10, 10 and 50 steps in a
shuffled order, on the embedded model.

The callers come at a share of what diffuserve drew in its own closed loop just before: the same times and the same jobs for
each server. Where that is more than a server can draw, its queue grows for as long as they come, and its seconds say how long
that was.

diffuserve answers through its whole path (HTTP, durable job, stored PNG, signed link, download), the peers straight from
memory: the pipeline under a lock, and LitServe.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image

import common

PROMPTS = ("红苹果", "a rocket", "a panda", "生日蛋糕")
MIX = (10, 10, 10, 50)
OURS, LOCK = "diffuserve", "pipeline under a lock"
PEERS = Path(__file__).resolve().parent / "peers"

Job = tuple[int, int]
"""(number, steps)"""
Call = Callable[[httpx2.AsyncClient, Job], Awaitable[bytes]]


async def call_peer(client: httpx2.AsyncClient, job: Job) -> bytes:
    number, steps = job
    answer = await client.post(
        "/generate", json={"prompt": PROMPTS[number % len(PROMPTS)], "steps": steps, "seed": number + 1}
    )
    answer.raise_for_status()
    if answer.headers["content-type"] == "application/json":
        return base64.b64decode(answer.json()["image"])
    return answer.content


async def call_diffuserve(client: httpx2.AsyncClient, job: Job) -> bytes:
    number, steps = job
    fields = {
        "prompt": PROMPTS[number % len(PROMPTS)],
        "num_inference_steps": str(steps),
        "seed": str(number + 1),
        "guidance_scale": "3",
        "width": "128",
        "height": "128",
    }
    answer = await client.post("/txt2img", data=fields)
    answer.raise_for_status()
    picture = await client.get(answer.json()["images"][0]["image_url"])
    picture.raise_for_status()
    return picture.content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=96)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--compile", action="store_true", help="measure diffuserve with --compile too (minutes to start)"
    )
    parser.add_argument("--share", type=float, default=0.6, help="callers that come by themselves, of our throughput")
    options = parser.parse_args()
    figures: dict[str, Any] = {"jobs": options.jobs, "clients": options.clients, "servers": {}}
    pictures: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, command, ready, call, environment in _servers(Path(folder), options.compile):
            with common.server(command, ready, 900, **environment):
                print(f"measuring {name} ...", file=sys.stderr)
                base = ready.rsplit("/", 1)[0]
                figures["servers"][name], pictures[name] = asyncio.run(_measure(base, call, options))
                # Ours goes first: how many come to the others follows from what it can do.
                rate = options.share * figures["servers"][OURS]["pictures_per_second"]
                figures["servers"][name]["poisson"] = asyncio.run(_poisson(base, call, options.jobs, rate))
    figures["poisson_arrivals_per_second"] = round(rate, 2)
    _compare(figures, pictures)
    common.save("mixed_load", figures)


def _servers(folder: Path, compiled: bool) -> list[tuple[str, list[str], str, Call, dict[str, str]]]:
    def peer(name: str, script: str, ready: str) -> tuple[str, list[str], str, Call, dict[str, str]]:
        port = common.free_port()
        command = [sys.executable, str(PEERS / script), str(port)]
        # They get what our engine gives its own process, so that only the serving differs.
        return name, command, f"http://127.0.0.1:{port}/{ready}", call_peer, common.engine_environment()

    def ours(name: str, **environment: str) -> tuple[str, list[str], str, Call, dict[str, str]]:
        port = common.free_port()
        command = common.diffuserve(port, folder / name)
        return name, command, f"http://127.0.0.1:{port}/readyz", call_diffuserve, environment

    servers = [ours(OURS), peer("LitServe", "lit.py", "health"), peer(LOCK, "naive.py", "ready")]
    if compiled:
        servers.append(ours("diffuserve compiled", DIFFUSERVE_COMPILE="true"))
    return servers


def _jobs(count: int) -> list[Job]:
    jobs = [(number, MIX[number % len(MIX)]) for number in range(count)]
    random.Random(1).shuffle(jobs)
    return jobs


async def _measure(base: str, call: Call, options: argparse.Namespace) -> tuple[dict[str, Any], bytes]:
    async with httpx2.AsyncClient(base_url=base, timeout=900) as client:
        await common.closed_loop([(n, 10) for n in range(options.clients)], options.clients, lambda j: call(client, j))
        wall, latencies = await common.closed_loop(_jobs(options.jobs), options.clients, lambda job: call(client, job))
        picture = await call(client, (0, 10))
    return _figures(wall, latencies), picture


async def _poisson(base: str, call: Call, jobs: int, rate: float) -> dict[str, Any]:
    unlimited = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=base, timeout=1800, limits=unlimited) as client:
        wall, latencies = await common.open_loop(_jobs(jobs), rate, lambda job: call(client, job))
    return _figures(wall, latencies)


def _figures(wall: float, latencies: list[tuple[Job, float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"pictures_per_second": round(len(latencies) / wall, 3)}
    for steps in sorted(set(MIX)):
        seconds = [latency for (_, asked), latency in latencies if asked == steps]
        figures[f"{steps}_steps"] = {
            "p50_seconds": round(common.percentile(seconds, 50), 2),
            "p99_seconds": round(common.percentile(seconds, 99), 2),
        }
    return figures


def _compare(figures: dict[str, Any], pictures: dict[str, bytes]) -> None:
    naive = figures["servers"][LOCK]
    for name, row in figures["servers"].items():
        row["times_the_lock"] = round(row["pictures_per_second"] / naive["pictures_per_second"], 2)
        for mine, locks in ((row, naive), (row["poisson"], naive["poisson"])):
            mine["short_p99_better"] = round(locks["10_steps"]["p99_seconds"] / mine["10_steps"]["p99_seconds"], 2)
        row["poisson"]["arrivals_of_its_throughput"] = round(
            figures["poisson_arrivals_per_second"] / row["pictures_per_second"], 2
        )
        ours, theirs = (_pixels(pictures[n]) for n in (name, LOCK))
        row["mean_difference_of_255"] = round(float(np.abs(ours - theirs).mean()), 2)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)


if __name__ == "__main__":
    main()
