"""How far the `eta` of the ModelsLab dialect was off, under mixed load: jobs of 10, 10, 10 and 50 steps by eight clients who do
not wait for each other's, asked about at once and then again and again until they are done.

Old clients sleep as long as they are told and fetch once or twice: what counts is how seldom too little is told, and by how
much too much. `--engine local` draws with the embedded model.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

import common

MIX = (10, 10, 10, 50)
TEXT2IMG = "/api/v6/images/text2img"
PAUSE = 0.5
"""Seconds between two questions about a job."""


@dataclass(frozen=True)
class Told:
    """One answer: what it said, and when."""

    at: float
    eta: int
    submitted: bool
    """It is the answer to the submission."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("fake", "local"), default="fake")
    parser.add_argument("--step-seconds", type=float, default=0.05, help="of the fake engine")
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    port = common.free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        common.server(
            common.diffuserve(port, Path(folder), "--engine", options.engine),
            f"http://127.0.0.1:{port}/readyz",
            DIFFUSERVE_FAKE_STEP_SECONDS=str(options.step_seconds),
        ),
    ):
        common.save("eta" if options.engine == "fake" else "eta_embedded", asyncio.run(_measure(port, options)))


async def _measure(port: int, options: argparse.Namespace) -> dict[str, Any]:
    random.seed(1)
    mix = [MIX[number % len(MIX)] for number in range(options.jobs)]
    random.shuffle(mix)
    off: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
        # The speed is not known before anything was drawn.
        await _draw(client, 0, 10)

        async def one(job: tuple[int, int]) -> None:
            told, ended = await _draw(client, *job)
            for answer in told:
                off[answer.submitted].append((answer.eta, ended - answer.at))

        await common.closed_loop(list(enumerate(mix, start=1)), options.clients, one)
    return {
        "engine": options.engine,
        "jobs": options.jobs,
        "clients": options.clients,
        "told_on_submission": _distribution(off[True]),
        "told_on_fetching": _distribution(off[False]),
    }


async def _draw(client: httpx2.AsyncClient, number: int, steps: int) -> tuple[list[Told], float]:
    """What was told of one job, and when it was seen to be done."""
    body = {
        "prompt": f"number {number}",
        "width": 128,
        "height": 128,
        "num_inference_steps": steps,
        "seed": number,
        "instant_response": True,
    }
    answer = (await client.post(TEXT2IMG, json=body)).json()
    told = [Told(time.perf_counter(), answer["eta"], submitted=True)]
    path = f"/api/v6/images/fetch/{answer['id']}"
    job = f"/diffuserve/v1/jobs/{answer['id']}"
    while True:
        await asyncio.sleep(PAUSE)
        answer = (await client.post(path, json={})).json()
        seen = time.perf_counter()
        if answer["status"] != "processing":
            break
        told.append(Told(seen, answer["eta"], submitted=False))
    assert answer["status"] == "success", answer
    # The end was a moment before it was seen: the server says when.
    view = (await client.get(job)).json()
    since = time.time() - _seconds(view["finished_at"])
    return told, time.perf_counter() - since


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _distribution(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Seconds told less seconds taken; negative is too few. Answers are whole seconds, so up to one is rounding."""
    errors = [eta - taken for eta, taken in pairs]
    ratios = [eta / max(taken, 0.1) for eta, taken in pairs]
    return {
        "answers": len(pairs),
        "told_too_few_percent": round(100 * sum(error < 0 for error in errors) / len(errors), 1),
        "error_seconds": {
            f"p{percent}": round(common.percentile(errors, percent), 2) for percent in (1, 5, 50, 95, 99)
        },
        "times_the_truth": {f"p{percent}": round(common.percentile(ratios, percent), 2) for percent in (5, 50, 95)},
        "taken_p50_seconds": round(common.percentile([taken for _, taken in pairs], 50), 2),
    }


if __name__ == "__main__":
    main()
