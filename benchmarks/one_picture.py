"""Seconds for one picture (20 steps, guidance on) of the embedded model at batch 1: our step loop against
`StableDiffusionPipeline.__call__` with the same weights, in one process, turn about; and how far their pixels differ."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

import common
from diffuserve.checkpoints import inspect
from diffuserve.core.events import ArtifactReady
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig

FOLDER = Path(common.ROOT, "src/diffuserve/embedded/emoji-mini")
STEPS, GUIDANCE, SEED, PROMPT = 20, 3.0, 7, "红苹果"


class Ours:
    def __init__(self, dtype: str) -> None:
        info = inspect.describe(FOLDER, "emoji-mini")
        self.size, self.sampler = info.size, info.sampler
        self.loop = StepLoop(EngineConfig((info,), info.name, dtype=dtype), self._hear)
        self.dtype = self.loop.load_default()[1]
        self.drawn: list[np.ndarray] = []

    def _hear(self, _: int, event: object) -> None:
        if isinstance(event, ArtifactReady):
            self.drawn.append(np.frombuffer(event.pixels, np.uint8).reshape(event.height, event.width, 3))

    def draw(self, pictures: int = 1) -> np.ndarray:
        size = self.size
        for job_id in range(pictures):
            self.loop.submit(
                job_id,
                ResolvedRequest(
                    PROMPT, "", "emoji-mini", size, size, Canvas(size, size, size, size), (SEED + job_id,),
                    STEPS, GUIDANCE, self.sampler, "automatic",
                ),
            )  # fmt: skip
        while self.loop.step():
            pass
        return self.drawn[-1]


class Pipeline:
    """The stock pipeline as it is loaded, or with its weights laid out channels-last as ours are."""

    def __init__(self, dtype: str, *, channels_last: bool = False) -> None:
        self.pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, dtype=getattr(torch, dtype))
        if channels_last:
            self.pipeline.unet.to(memory_format=torch.channels_last)
            self.pipeline.vae.to(memory_format=torch.channels_last)
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.inference_mode()
    def draw(self) -> np.ndarray:
        drawn = self.pipeline(
            PROMPT,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(SEED),
        )
        return np.asarray(drawn.images[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    common.preload_allocator()
    ours = Ours("auto")
    figures = _race(ours, Pipeline(ours.dtype), Pipeline(ours.dtype, channels_last=True), rounds)
    exact, theirs = Ours("float32").draw(), Pipeline("float32").draw()
    figures["largest_difference_of_255_in_float32"] = int(np.abs(exact.astype(int) - theirs.astype(int)).max())
    common.save("one_picture", figures)


def _race(ours: Ours, stock: Pipeline, tuned: Pipeline, rounds: int) -> dict[str, Any]:
    def timed(draw: Any, *arguments: int) -> float:
        began = time.perf_counter()
        draw(*arguments)
        return time.perf_counter() - began

    for _ in range(3):
        for draw in (ours.draw, stock.draw, tuned.draw):
            timed(draw)
    runs = [(timed(ours.draw), timed(stock.draw), timed(tuned.draw), timed(ours.draw, 8) / 8) for _ in range(rounds)]
    mine, plain, last, eight = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "dtype": ours.dtype,
        "threads": torch.get_num_threads(),
        "ours_seconds": round(mine, 3),
        "pipeline_seconds": round(plain, 3),
        "ratio": round(statistics.median(run[0] / run[1] for run in runs), 3),
        "pipeline_channels_last_seconds": round(last, 3),
        "ratio_to_channels_last": round(statistics.median(run[0] / run[2] for run in runs), 3),
        "ours_seconds_each_of_eight_at_once": round(eight, 3),
    }


if __name__ == "__main__":
    main()
