"""Driving a `StepLoop` in a test: small requests, and the pictures they came to."""

from __future__ import annotations

import dataclasses
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from diffuserve.core.events import ArtifactReady, EngineEvent, Failed
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import Canvas, InputImage, ResolvedRequest
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig


def request(prompt: str = "a cat", *, seed: int = 1, size: int = 64, **fields: Any) -> ResolvedRequest:
    defaults: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": "",
        "model": "tiny",
        "width": size,
        "height": size,
        "canvas": Canvas(size, size, size, size),
        "seeds": (seed,),
        "num_inference_steps": 5,
        "guidance_scale": 5.0,
        "sampler": "euler",
        "schedule": "automatic",
    }
    return ResolvedRequest(**{**defaults, **fields})


def picture(size: int = 64) -> Image.Image:
    """A colourful square to begin image-to-image from."""
    x, y = np.meshgrid(np.linspace(0, 255, size), np.linspace(0, 255, size))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def input_image(image: Image.Image) -> InputImage:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return InputImage("0" * 64, image.width, image.height, buffer.getvalue())


class Studio:
    """A loop and everything that it said."""

    def __init__(self, *models: ModelInfo, **config: Any) -> None:
        self.events: dict[int, list[EngineEvent]] = defaultdict(list)
        self.loop = StepLoop(
            EngineConfig(
                **{"models": models, "default_model": models[0].name, "dtype": "float32", "threads": 1, **config}
            ),
            lambda job_id, event: self.events[job_id].append(event),
        )
        self.loop.load_default()

    def draw(self, *requests: ResolvedRequest) -> list[np.ndarray]:
        """The first picture of each request, all submitted at once."""
        for job_id, asked in enumerate(requests, start=1):
            self.events.pop(job_id, None)
            self.loop.submit(job_id, asked)
        self.run()
        return [self.picture(job_id) for job_id in range(1, len(requests) + 1)]

    def run(self, *, each_turn: Callable[[int], None] | None = None) -> int:
        """Turn until there is nothing to do; returns the number of turns."""
        turns = 0
        while True:
            if each_turn is not None:
                each_turn(turns)
            if not self.loop.step():
                return turns
            turns += 1

    def picture(self, job_id: int, index: int = 0) -> np.ndarray:
        """One finished picture, (height, width, 3) of 8 bits; fails the test if the job failed."""
        for event in self.events[job_id]:
            assert not isinstance(event, Failed), event
            if isinstance(event, ArtifactReady) and event.index == index:
                return np.frombuffer(event.pixels, np.uint8).reshape(event.height, event.width, 3)
        raise AssertionError(f"job {job_id} made no picture {index}: {self.events[job_id]}")


def difference(ours: np.ndarray, theirs: np.ndarray) -> int:
    """The largest difference of any channel of any pixel, of 255."""
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def replace(asked: ResolvedRequest, **changes: Any) -> ResolvedRequest:
    return dataclasses.replace(asked, **changes)


def in_company(studio: Studio, mine: ResolvedRequest, strangers: Sequence[ResolvedRequest]) -> np.ndarray:
    """`mine` as it is drawn among the others. Fails where it stood in every forward alone."""
    place = len(strangers) // 2
    with forwards(studio) as groups:
        drawn = studio.draw(*strangers[:place], mine, *strangers[place:])[place]
    assert any(len(group) > 1 and place + 1 in group for group in groups), "it had no company"
    return drawn


@contextmanager
def forwards(studio: Studio) -> Iterator[list[list[int]]]:
    """The jobs that each forward pass inside carries, a job with two samples twice."""
    groups: list[list[int]] = []
    predict = studio.loop._forward

    def watched(group: list[Any]) -> Any:
        groups.append([sample.job_id for sample in group])
        return predict(group)

    studio.loop._forward = watched  # type: ignore[method-assign]
    try:
        yield groups
    finally:
        del studio.loop._forward
