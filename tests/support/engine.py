"""Requests, settings and a clock for tests of the engine's transport."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffuserve.core.model import Family, ModelInfo, NativeRange
from diffuserve.core.request import Canvas, InputImage, ResolvedRequest
from diffuserve.engine.messages import EngineConfig

STAND_IN = (sys.executable, str(Path(__file__).with_name("standin_loop.py")))
"""The command of an engine process without torch."""

MODEL = ModelInfo("tiny", Family.SD15, "/nowhere/tiny", 64, NativeRange(32, 96), 8, "euler", 4, 7.5, aliases=("t",))


class HastyClock:
    """Real time, but nobody is kept waiting; remembers for how long it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._slept_again = asyncio.Event()

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._slept_again.set()
        await asyncio.sleep(0)

    async def until_slept(self, times: int) -> None:
        while len(self.slept) < times:
            self._slept_again.clear()
            await self._slept_again.wait()


def config(device: str = "auto") -> EngineConfig:
    return EngineConfig(models=(MODEL,), default_model="tiny", device=device)


def request(prompt: str = "a cat", **changes: Any) -> ResolvedRequest:
    plain = ResolvedRequest(
        prompt=prompt,
        negative_prompt="",
        model="tiny",
        width=8,
        height=8,
        canvas=Canvas(8, 8, 8, 8),
        seeds=(7,),
        num_inference_steps=3,
        guidance_scale=7.5,
        sampler="euler",
        schedule="automatic",
    )
    return replace(plain, **changes)


def picture(data: bytes) -> InputImage:
    return InputImage(hashlib.sha256(data).hexdigest(), 8, 8, data)
