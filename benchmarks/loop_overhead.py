"""What a turn of the step loop costs beyond its UNet call, on the embedded model: the batcher, gathering the rows, guidance,
the samplers, progress.

Turns of `StepLoop.step` with one picture, then with eight, in the middle of their steps (nobody is admitted and nothing is
decoded); after each turn the bare UNet is called once more with the very tensors that it saw in that batch size.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

import common
from diffuserve.checkpoints import inspect
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig

EMBEDDED = common.ROOT / "src/diffuserve/embedded/emoji-mini"
WARM_UP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    common.preload_allocator()
    figures = {f"{pictures}_pictures": _measure(pictures, options.turns) for pictures in options.pictures}
    common.save("loop_overhead", {"threads": torch.get_num_threads(), **figures})


def _measure(pictures: int, turns: int) -> dict[str, Any]:
    info = inspect.describe(EMBEDDED, "emoji-mini")
    loop = StepLoop(EngineConfig((info,), info.name), lambda job_id, event: None)
    loop.load_default()
    canvas = Canvas(info.size, info.size, info.size, info.size)
    for job in range(pictures):
        request = ResolvedRequest(
            "a rocket", "", info.name, info.size, info.size, canvas, (job,), WARM_UP + turns + 2,
            info.guidance_scale, info.sampler, "automatic",
        )  # fmt: skip
        loop.submit(job, request)
    unet = loop._toolbox.models[0].unet
    for _ in range(WARM_UP):
        loop.step()
    seen: list[tuple[Any, Any]] = []
    watch = unet.register_forward_pre_hook(lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True)
    loop.step()
    watch.remove()
    [(given, named)] = seen
    assert given[0].shape[0] == 2 * pictures, "all pictures share the forward"
    pairs = []
    with torch.inference_mode():
        for _ in range(turns):
            began = time.perf_counter()
            loop.step()
            stepped = time.perf_counter()
            unet(*given, **named)
            pairs.append((stepped - began, time.perf_counter() - stepped))
    turn, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    beyond = [whole - alone for whole, alone in pairs]
    return {
        "turn_ms": round(1000 * turn, 2),
        "bare_unet_ms": round(1000 * bare, 2),
        "beyond_the_unet_ms": round(1000 * statistics.median(beyond), 2),
        "beyond_the_unet_percent": round(100 * statistics.median(beyond) / turn, 1),
        "turns": turns,
    }


if __name__ == "__main__":
    main()
