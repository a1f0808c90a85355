"""Hundreds of jobs of every kind through one engine: all of them end, and it is no larger afterwards than half-way."""

from __future__ import annotations

import gc
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from diffuserve.core.events import ArtifactReady, Failed, Finished, Progress
from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, Control, HiresFix, Inpaint, Lora, Reference, ResolvedRequest, Upscaler
from diffuserve.engine.diffusion.sample import Run, Sample
from diffuserve.engine.diffusion.shelf import GIB, release
from diffuserve.engine.memory import resident_bytes
from support import tiny_models
from support.oracles import Kit, blot, grain
from support.studio import Studio, input_image, request

pytestmark = pytest.mark.integration

WAVES, JOBS = 8, 40
"""So many times, so many jobs come, are drawn beside each other, and end."""
GROWTH = 24 * 2**20
"""Bytes of resident memory that the second half may add: what an allocator keeps for itself. Weights that were let go and
stayed, or a picture kept for each job, are several times that."""
SIDES = (32, 40, 48)
SAMPLERS = ("euler", "euler_a", "dpmpp_2m", "heun", "unipc", "ddim", "lcm")
MIXES: tuple[tuple[Lora, ...], ...] = (
    (Lora("a", 0.5),),
    (Lora("a", 0.5), Lora("b", 0.7)),
    (Lora("c", -0.4), Lora("d", 0.3)),
    (Lora("b", 1.0), Lora("e", 0.2)),
    (Lora("a", 0.2), Lora("c", 0.2), Lora("e", 0.2)),
)


@pytest.fixture(scope="module")
def studio(kits: dict[Family, Kit], tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Three models of which two have room beside what steers them."""
    small, large = kits[Family.SD15], kits[Family.SDXL]
    models = (*small.infos, tiny_models.info(large.models["tiny"], Family.SDXL, "large"))
    size = sum(path.stat().st_size for path in Path(large.models["tiny"]).rglob("*.safetensors"))
    return Studio(*models, **small.tools, model_memory=3.6 * size / GIB)


def a_job(chance: random.Random) -> ResolvedRequest:
    side = chance.choice(SIDES)
    model = chance.choices(("tiny", "nine", "large"), (6, 1, 2))[0]
    fields: dict[str, Any] = {
        "model": model,
        "size": side,
        "seeds": tuple(chance.randrange(2**32) for _ in range(chance.choice((1, 1, 1, 2)))),
        "num_inference_steps": chance.randint(1, 4),
        "guidance_scale": chance.choice((1.0, 4.0)),
        "sampler": chance.choice(SAMPLERS),
        "preview_every": chance.choice((0, 0, 2)),
    }
    start = input_image(grain(side, side, chance.randrange(9)))
    kind = "inpaint" if model == "nine" else chance.choice(("text", "image", "inpaint", "hires"))
    if kind in ("image", "inpaint"):
        fields |= {"init_image": start, "strength": chance.uniform(0.4, 1.0)}
    if kind == "inpaint":
        fields["inpaint"] = Inpaint(input_image(blot(side, side)))
    if kind == "hires":
        fields |= {"canvas": Canvas(48, 48, 48, 48), "hires": HiresFix(32, 32, 0.6, 2, chance.choice(list(Upscaler)))}
    if model == "tiny":
        fields |= chance.choice(
            [
                {},
                {},
                {"loras": chance.choice(MIXES)},
                {"loras": chance.choice(MIXES)},
                {"controls": (Control(chance.choice(("edges", "depths")), start, scale=0.6, end=0.8),)},
                {"reference": Reference(start, 0.5, "base"), "loras": chance.choice(MIXES)},
            ]
        )
    return request(chance.choice(("a cat", "a dog on a hill", "")), **fields)


def a_wave(studio: Studio, chance: random.Random, first_id: int) -> None:
    """Jobs come over a dozen turns and some are cancelled at any time; the wave is over when all have ended."""
    arrivals = Counter[int]()
    for _ in range(JOBS):
        arrivals[chance.randrange(12)] += 1
    coming = iter(range(first_id, first_id + JOBS))
    for turn in range(12):
        for job_id in [next(coming) for _ in range(arrivals[turn])]:
            studio.loop.submit(
                job_id, a_job(chance), account=f"account {job_id % 3}", priority=chance.choice((0, 0, 25))
            )
        if chance.random() < 0.5:
            studio.loop.cancel(chance.randrange(first_id, first_id + JOBS))
        studio.loop.step()
    shelf = studio.loop._toolbox._shelf

    def watch(turn: int) -> None:
        assert turn < 4000, studio.loop.counters()
        assert shelf.nbytes <= shelf.budget

    studio.run(each_turn=watch)


def alive(*classes: type) -> list[Any]:
    """By their types, since asking the things themselves wakes lazy ones up."""
    return [thing for thing in gc.get_objects() if issubclass(type(thing), classes)]


def test_an_engine_that_drew_hundreds_of_jobs_is_as_small_as_before(studio):
    chance = random.Random(20)
    sizes: list[int] = []
    counts: list[int] = []
    others = len(alive(Sample, Run))  # what the error of a test before this one may still hold
    for wave in range(WAVES):
        a_wave(studio, chance, 1 + wave * JOBS)
        assert_all_ended(studio)
        studio.events.clear()
        release()
        sizes.append(resident_bytes())
        counts.append(len(alive(torch.Tensor)))
        assert len(alive(Sample, Run)) <= others
    middle = WAVES // 2
    assert max(sizes[-2:]) - max(sizes[:middle]) < GROWTH, sizes
    assert max(counts[-2:]) <= 1.05 * max(counts[:middle]), counts
    counters = studio.loop.counters()
    assert (counters.running, counters.waiting, counters.loading) == (0, 0, ())
    assert counters.rows > 2 * counters.forwards  # they did share


def assert_all_ended(studio: Studio) -> None:
    succeeded = 0
    for events in studio.events.values():
        last = events[-1]
        assert isinstance(last, Finished | Failed)
        assert sum(isinstance(event, Finished | Failed) for event in events) == 1
        if isinstance(last, Failed):
            assert last.error.code == "canceled", last
            continue
        succeeded += 1
        assert sum(isinstance(event, ArtifactReady) for event in events) == last.usage.images
        told = [event for event in events if isinstance(event, Progress)][-1]
        assert told.done == told.total == last.usage.steps
    assert succeeded > 0.7 * JOBS
