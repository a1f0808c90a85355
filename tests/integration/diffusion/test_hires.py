"""Two passes in one job: the first one's latents are diffusers' text-to-image, the second one its image-to-image."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from diffuserve.core.events import ArtifactReady, Failed, Finished, Preview, Progress, Started
from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, Control, HiresFix, Lora, ResolvedRequest, Upscaler
from diffuserve.engine.diffusion import codec
from support.oracles import grain
from support.studio import Studio, difference, forwards, in_company, input_image, request

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
TOLERANCE = 1
FIRST, SECOND = (32, 24), (56, 40)
"""Width and height of the passes; one is no multiple of the other."""


def asked(upscaler: Upscaler = Upscaler.LATENT, *, seed: int = 101, **fields: Any) -> ResolvedRequest:
    two = {name: fields.pop(name) for name in ("strength", "steps") if name in fields}
    hires = HiresFix(*FIRST, two.get("strength", 0.6), two.get("steps", 5), upscaler)
    defaults = {"seed": seed, "canvas": Canvas(*SECOND, *SECOND), "num_inference_steps": 4, "hires": hires}
    return request("a valley", **{**defaults, **fields})


STRANGERS = [
    request("first size", seed=102, canvas=Canvas(*FIRST, *FIRST), num_inference_steps=4, sampler="euler_a"),
    request("second size", seed=103, canvas=Canvas(*SECOND, *SECOND), num_inference_steps=7, guidance_scale=1.0),
    asked(Upscaler.LATENT_NEAREST, seed=104, sampler="heun", guidance_scale=2.0, num_inference_steps=3, steps=4),
]
CASES = {
    **{upscaler.value: asked(upscaler) for upscaler in Upscaler},
    "ancestral": asked(sampler="euler_a", negative_prompt="fog"),
    "ancestral, in pixels": asked(Upscaler.LANCZOS, sampler="euler_a"),
    "second order": asked(Upscaler.LATENT_BICUBIC, sampler="heun", num_inference_steps=3, steps=6),
    "multistep": asked(sampler="dpmpp_2m", schedule="karras", strength=1.0, guidance_scale=1.0),
    "few steps, then many": asked(num_inference_steps=2, steps=9, strength=0.3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_two_passes_draw_what_two_pipelines_draw_alone_and_in_company(equipped, stocks, family, case):
    mine = CASES[case]
    theirs = stocks[family].draw(mine)
    assert theirs.shape == (SECOND[1], SECOND[0], 3)
    assert difference(equipped[family].draw(mine)[0], theirs) <= TOLERANCE
    assert difference(in_company(equipped[family], mine, STRANGERS), theirs) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_controls_and_mixes_steer_both_passes_and_fractions_count_in_each(equipped, stocks, family):
    """The ControlNet's map has the second pass's size and is reduced for the first; start and end are shares of a pass."""
    control = Control("edges", input_image(grain(*SECOND, 111)), scale=0.8, start=0.3, end=0.8)
    mine = asked(controls=(control,), loras=(Lora("a", 0.5), Lora("b", 0.4)), strength=0.8)
    theirs = stocks[family].draw(mine)
    assert difference(equipped[family].draw(mine)[0], theirs) <= TOLERANCE
    twin = dataclasses.replace(
        mine, seeds=(9,), guidance_scale=1.0, controls=(dataclasses.replace(control, scale=0.3),)
    )
    assert difference(in_company(equipped[family], mine, [twin, *STRANGERS]), theirs) <= TOLERANCE


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        ("euler", 4 + 3),
        ("heun", 2 * 4 - 1 + 2 * 3 - 1),  # all but the last step ask twice
    ],
)
def test_progress_counts_the_steps_of_both_passes(equipped, sampler, steps, monkeypatch):
    studio = equipped[Family.SD15]
    monkeypatch.setattr(studio.loop, "_monotonic", iter(range(10**6)).__next__)  # so that every step is told
    studio.draw(asked(sampler=sampler))
    events = studio.events[1]
    assert isinstance(events[0], Started)
    told = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert told == [(done, steps) for done in range(1, steps + 1)]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.steps == steps
    assert events[-1].usage.pixels == SECOND[0] * SECOND[1]


def test_previews_come_from_both_passes_in_their_sizes(equipped):
    studio = equipped[Family.SD15]
    studio.draw(asked(preview_every=1))
    previews = [event for event in studio.events[1] if isinstance(event, Preview)]
    assert [preview.step for preview in previews] == [1, 2, 3, 4, 5, 6]  # the seventh is the picture
    assert [(preview.width, preview.height) for preview in previews[:3]] == [FIRST] * 3
    assert [(preview.width, preview.height) for preview in previews[4:]] == [SECOND] * 2
    assert all(len(preview.pixels) == preview.width * preview.height * 3 for preview in previews)


@pytest.mark.parametrize("turns", range(1, 7))
def test_cancelling_at_any_step_leaves_nothing(equipped, turns):
    studio = equipped[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, asked())
    for _ in range(turns):
        assert studio.loop.step()
    studio.loop.cancel(1)
    assert not studio.loop.step()
    assert isinstance(studio.events[1][-1], Failed)
    assert not any(isinstance(event, ArtifactReady) for event in studio.events[1])
    counters = studio.loop.counters()
    assert (counters.running, counters.waiting) == (0, 0)


def test_an_enlargement_that_fails_between_the_passes_fails_its_job_only(equipped, monkeypatch):
    studio = equipped[Family.SD15]
    bystander = STRANGERS[1]
    [expected] = studio.draw(bystander)

    def broken(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room for the larger picture")

    monkeypatch.setattr(codec, "enlarged", broken)
    studio.events.clear()
    studio.loop.submit(1, asked(Upscaler.LANCZOS))
    studio.loop.submit(2, bystander)
    studio.run()
    assert studio.events[1][-1].error.code == "out_of_memory"
    assert difference(studio.picture(2), expected) <= TOLERANCE


def test_the_passes_ride_with_jobs_of_their_own_size(equipped):
    studio: Studio = equipped[Family.SD15]
    with forwards(studio) as groups:
        studio.draw(asked(), STRANGERS[0], STRANGERS[1])
    assert sum(sorted(group) == [1, 2] for group in groups) >= 3
    assert sum(sorted(group) == [1, 3] for group in groups) >= 2


def test_each_picture_of_a_job_with_two_passes_is_that_of_its_seed(equipped):
    studio = equipped[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, asked(seeds=(5, 6), sampler="euler_a"))
    studio.run()
    drawn = [studio.picture(1, index) for index in (0, 1)]
    for seed, picture in zip((5, 6), drawn, strict=True):
        assert difference(picture, studio.draw(asked(seed=seed, sampler="euler_a"))[0]) <= TOLERANCE
