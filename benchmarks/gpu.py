"""Whole pictures on a CUDA device: SD1.5 at 512x512 and SDXL at 1024x1024, 20 steps with guidance, random weights.

Seconds for one picture alone, and pictures a second when several are drawn at once: our step loop and diffusers' pipeline, each
as it is and with a compiled UNet, each in a process of its own, all in one run. Without a device there is nothing to measure;
`--smoke` goes the same way with tiny models on the processor, which shows that it runs and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import common
import shapes
from diffuserve.core.model import Family
from peers.whole import Drawer, Ours, Pipeline
from support import tiny_models

SHAPES = {"sd15": (shapes.SD15, (1, 4, 16)), "sdxl": (shapes.SDXL, (1, 4, 8))}
"""How many pictures at once: a compiled UNet knows these sizes of batch only (`loop._buckets`)."""
TINY = {"sd15": (tiny_models.save_sd15, Family.SD15), "sdxl": (tiny_models.save_sdxl, Family.SDXL)}
WAYS = ("ours", "pipeline", "ours compiled", "pipeline compiled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny models on the processor, one round of two steps")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(_part(*options.part, options)))
    elif options.smoke:
        print(json.dumps(_measure(options), indent=2))
    elif torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        common.save("gpu", {"device": name, "steps": options.steps, **_measure(options)})
    else:
        print("There is no CUDA device here: nothing to measure.")


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            _save(model, Path(folder), smoke=options.smoke)
            rows = {way: _process(model, way, folder) for way in options.ways}
        for way, row in rows.items():
            pipeline = rows.get(way.replace("ours", "pipeline"), {})
            if way.startswith("ours") and "batches" in row and "batches" in pipeline:
                row["one_picture_of_pipelines_seconds"] = round(row["one_seconds"] / pipeline["one_seconds"], 3)
                row["times_pipelines_best"] = round(row["best_per_second"] / pipeline["best_per_second"], 2)
        figures[model] = rows
    return figures


def _save(model: str, folder: Path, *, smoke: bool) -> None:
    if smoke:
        TINY[model][0](folder)
        return
    shapes.save(SHAPES[model][0], folder, torch.float16, "cuda")
    torch.cuda.empty_cache()


def _process(model: str, way: str, folder: str) -> dict[str, Any]:
    """What one way measures in a process of its own, in the environment that the engine's process would have."""
    print(f"measuring {model}, {way} ...", file=sys.stderr)
    command = [sys.executable, "-W", "ignore", *sys.argv, "--part", model, way, folder]
    # Frozen weights are ours alone: diffusers does not ask for them.
    env = common.engine_environment(compiled=way == "ours compiled")
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _part(model: str, way: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    batches: Sequence[int] = (1, 2) if options.smoke else SHAPES[model][1]
    rounds, steps = (1, 2) if options.smoke else (options.rounds, options.steps)
    tiny = tiny_models.info(Path(folder), TINY[model][1]) if options.smoke else None
    # Compiling takes a minute a shape, and the processor cannot always do it: the smoke test leaves it out.
    compiled = way.endswith("compiled") and not options.smoke
    maker = Ours if way.startswith("ours") else Pipeline
    drawer: Drawer = maker(Path(folder), tiny, steps, max(batches), compiled=compiled)
    seconds = {str(pictures): _seconds(drawer, pictures, rounds) for pictures in batches}
    rates = {pictures: round(int(pictures) / taken, 3) for pictures, taken in seconds.items() if taken}
    best = max(rates, key=lambda pictures: rates[pictures])
    return {
        "one_seconds": round(seconds["1"] or 0.0, 3),
        "best_at": int(best),
        "best_per_second": rates[best],
        "batches": rates,
        "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if torch.cuda.is_available() else None,
    }


def _seconds(drawer: Drawer, pictures: int, rounds: int) -> float | None:
    """The median for so many pictures at once, after one time that does not count; None where they do not fit."""
    try:
        drawer.draw(pictures)
        return statistics.median(_timed(drawer, pictures) for _ in range(rounds))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def _timed(drawer: Drawer, pictures: int) -> float:
    began = time.perf_counter()
    drawer.draw(pictures)
    return time.perf_counter() - began


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
