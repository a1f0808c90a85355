"""A job for a model that is not loaded yet, while others draw: how long it waits, and what the others lose meanwhile.

The engine process with the embedded model, drawing eight pictures all the time; the other model has SD1.5's shape and random
weights (2 GB, in the page cache, so that this measures us and not a disk). It waits until its first sample is admitted. The
same once more with nobody else there.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import shapes
from diffuserve.checkpoints import inspect
from diffuserve.core.events import Failed, Finished, Progress, Started
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion import device
from diffuserve.engine.local import LocalEngine
from diffuserve.engine.messages import EngineConfig
from diffuserve.wiring import SystemClock

EMBEDDED = common.ROOT / "src/diffuserve/embedded/emoji-mini"
DRAWING = 8


class Bench:
    """One life of the engine, and the steps that others have taken in it."""

    def __init__(self, here: ModelInfo, cold: ModelInfo) -> None:
        self.here, self.cold = here, cold
        self.engine = LocalEngine(EngineConfig((here, cold), here.name), SystemClock())
        self.steps: list[tuple[float, int]] = []
        """(when, how many more)"""
        self._ids = itertools.count(1)

    def _request(self, model: ModelInfo, steps: int) -> ResolvedRequest:
        size = model.size
        canvas = Canvas(size, size, size, size)
        return ResolvedRequest(
            "a rocket", "", model.name, size, size, canvas, (1,), steps, 3.0, "euler", "automatic"
        )  # fmt: skip

    async def keep_drawing(self) -> None:
        while True:
            done = 0
            async for event in self.engine.generate(next(self._ids), self._request(self.here, 50), account="others"):
                if isinstance(event, Progress):
                    self.steps.append((time.perf_counter(), event.done - done))
                    done = event.done

    async def wait_for_cold(self) -> tuple[float, float]:
        """When the job was sent, and when it was begun; it is then given up."""
        sent = time.perf_counter()
        events = self.engine.generate(next(self._ids), self._request(self.cold, 20), account="newcomer")
        try:
            async for event in events:
                if isinstance(event, Started):
                    return sent, time.perf_counter()
                if isinstance(event, Failed | Finished):
                    raise SystemExit(f"the cold model's job ended early: {event}")
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        raise SystemExit("the engine fell silent")

    def rate(self, since: float, until: float) -> float:
        """Steps a second of the others."""
        return sum(steps for when, steps in self.steps if since <= when < until) / (until - since)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of drawing before the cold model is asked for")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        saved = shapes.save(shapes.SD15, Path(folder), device.choose("cpu").dtype)
        here, cold = inspect.describe(EMBEDDED, "emoji-mini"), inspect.describe(saved, "cold")
        size = sum(file.stat().st_size for file in saved.rglob("*.safetensors"))
        figures = {
            "gigabytes": round(size / 1e9, 2),
            "waits_while_others_draw": asyncio.run(_beside(here, cold, seconds)),
            "waits_alone_seconds": round(asyncio.run(_alone(here, cold)), 2),
        }
    common.save("cold_model", figures)


async def _beside(here: ModelInfo, cold: ModelInfo, seconds: float) -> dict[str, Any]:
    bench = Bench(here, cold)
    await bench.engine.start()
    others = [asyncio.create_task(bench.keep_drawing()) for _ in range(DRAWING)]
    await asyncio.sleep(2)
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    sent, begun = await bench.wait_for_cold()
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await bench.engine.close()
    before, meanwhile = bench.rate(began, sent), bench.rate(sent, begun)
    return {
        "seconds": round(begun - sent, 2),
        "others_steps_per_second_before": round(before, 1),
        "others_steps_per_second_meanwhile": round(meanwhile, 1),
        "others_keep_percent": round(100 * meanwhile / before, 1),
        "others_longest_pause_seconds": round(_longest_pause(bench.steps, sent, begun), 2),
    }


def _longest_pause(steps: list[tuple[float, int]], since: float, until: float) -> float:
    """The longest time in which nobody took a step."""
    times = [since, *(when for when, _ in steps if since <= when < until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


async def _alone(here: ModelInfo, cold: ModelInfo) -> float:
    bench = Bench(here, cold)
    await bench.engine.start()
    sent, begun = await bench.wait_for_cold()
    await bench.engine.close()
    return begun - sent


if __name__ == "__main__":
    main()
