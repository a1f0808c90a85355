"""Whole pictures by our step loop and by diffusers' pipeline, several at once: from the prompt to 8-bit pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline
from diffusers.utils.logging import disable_progress_bar

from diffuserve.checkpoints import inspect
from diffuserve.core.events import ArtifactReady, Failed
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion import device
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig

PROMPT, GUIDANCE = "a rocket", 5.0


class Drawer(Protocol):
    def draw(self, pictures: int) -> None:
        """So many at once, each with a seed of its own. Returns when their pixels are in memory."""
        ...


class Ours:
    def __init__(self, folder: Path, info: ModelInfo | None, steps: int, most: int, *, compiled: bool = False) -> None:
        """`info`: the catalog's entry where the folder does not tell all; `most`: pictures in one batch."""
        self.info, self.steps = info or inspect.describe(folder, "it"), steps
        config = EngineConfig((self.info,), self.info.name, max_batch=2 * most, compile=compiled)
        self.loop = StepLoop(config, self._hear)
        self.loop.load_default()
        self.drawn = 0

    def draw(self, pictures: int) -> None:
        size, before = self.info.size, self.drawn
        for job in range(pictures):
            request = ResolvedRequest(
                PROMPT, "", self.info.name, size, size, Canvas(size, size, size, size), (job,), self.steps, GUIDANCE,
                "euler", "automatic",
            )  # fmt: skip
            self.loop.submit(job, request)
        while self.loop.step():
            pass
        assert self.drawn == before + pictures

    def _hear(self, _: int, event: object) -> None:
        if isinstance(event, Failed):
            raise SystemExit(f"not drawn: {event.error.message}")
        self.drawn += isinstance(event, ArtifactReady)


class Pipeline:
    """In the dtype that our engine chooses; channels-last, which its own guide to speed recommends."""

    def __init__(self, folder: Path, info: ModelInfo | None, steps: int, most: int, *, compiled: bool = False) -> None:
        disable_progress_bar()
        chosen = device.choose()
        self.info, self.steps = info, steps
        self.pipeline: Any = DiffusionPipeline.from_pretrained(folder, dtype=chosen.dtype).to(chosen.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.unet.to(memory_format=torch.channels_last)
        self.pipeline.vae.to(memory_format=torch.channels_last)
        if compiled:
            self.pipeline.unet = torch.compile(self.pipeline.unet, fullgraph=True, dynamic=False)

    @torch.inference_mode()
    def draw(self, pictures: int) -> None:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in range(pictures)]
        drawn = self.pipeline(
            PROMPT,
            num_inference_steps=self.steps,
            guidance_scale=GUIDANCE,
            num_images_per_prompt=pictures,
            generator=generators,
        )
        assert len(drawn.images) == pictures
