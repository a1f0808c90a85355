"""diffusers' own pipelines are the oracle: same weights, same seed, same picture (within 1 of 255, float32)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.core.samplers import AUTOMATIC, SAMPLERS, SCHEDULES
from support.studio import Studio, difference, input_image, picture, replace, request

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
PIPELINES = {
    Family.SD15: (diffusers.StableDiffusionPipeline, diffusers.StableDiffusionImg2ImgPipeline),
    Family.SDXL: (diffusers.StableDiffusionXLPipeline, diffusers.StableDiffusionXLImg2ImgPipeline),
}
TOLERANCE = 1


class Oracle:
    """The stock pipelines over one folder."""

    def __init__(self, folder: Path, family: Family) -> None:
        text, image = PIPELINES[family]
        self.text = text.from_pretrained(folder, dtype=torch.float32)
        self.image = image(**self.text.components, **self._settings(family))
        self.text.set_progress_bar_config(disable=True)
        self.image.set_progress_bar_config(disable=True)
        self.config = self.text.scheduler.config

    @staticmethod
    def _settings(family: Family) -> dict[str, Any]:
        return {"requires_safety_checker": False} if family is Family.SD15 else {}

    def draw(self, asked: ResolvedRequest, **extra: Any) -> np.ndarray:
        pipeline = self.text if asked.init_image is None else self.image
        sampler = SAMPLERS[asked.sampler]
        options = {**sampler.options, **SCHEDULES[asked.schedule].options}
        pipeline.scheduler = getattr(diffusers, sampler.class_name).from_config(self.config, **options)
        if asked.init_image is None:
            extra |= {"width": asked.canvas.width, "height": asked.canvas.height}
        else:
            extra |= {"image": picture(asked.canvas.width), "strength": asked.strength}
        if "prompt_embeds" not in extra:
            extra |= {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt or None}
        drawn = pipeline(
            num_inference_steps=asked.num_inference_steps,
            guidance_scale=asked.guidance_scale,
            eta=asked.eta,
            generator=torch.Generator("cpu").manual_seed(asked.seeds[0]),
            **extra,
        )
        drawing = np.asarray(drawn.images[0])
        assert drawing.std() > 1, "the oracle drew nothing, so equality would prove nothing"
        return drawing


@pytest.fixture(scope="session")
def oracles(folders: dict[Family, Path]) -> dict[Family, Oracle]:
    return {family: Oracle(folder, family) for family, folder in folders.items()}


def both(studios: dict[Family, Studio], oracles: dict[Family, Oracle], family: Family, asked: ResolvedRequest) -> int:
    return difference(studios[family].draw(asked)[0], oracles[family].draw(asked))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_text_to_image_equals_the_pipeline_for_every_sampler(studios, oracles, family, sampler):
    asked = request("a small red house", negative_prompt="blur", sampler=sampler, seed=11)
    assert both(studios, oracles, family, asked) <= TOLERANCE


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_image_to_image_equals_the_pipeline_for_every_sampler(studios, oracles, family, sampler):
    asked = request(
        "a blue boat", sampler=sampler, seed=12, num_inference_steps=8, init_image=input_image(picture()), strength=0.6
    )
    assert both(studios, oracles, family, asked) <= TOLERANCE


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [
        (sampler.id, schedule)
        for sampler in SAMPLERS.values()
        for schedule in SCHEDULES
        if schedule in sampler.schedules
        and schedule != AUTOMATIC
        # these borrow sigmas that the class itself has no switch for, so the stock pipeline has nothing to compare with
        and not (sampler.sigmas_from and schedule in ("karras", "exponential", "beta"))
    ],
)
def test_every_schedule_equals_the_pipeline(studios, oracles, sampler, schedule):
    asked = request("a tree", sampler=sampler, schedule=schedule, seed=13, num_inference_steps=6)
    assert both(studios, oracles, Family.SD15, asked) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_no_guidance_equals_the_pipeline(studios, oracles, family):
    assert both(studios, oracles, family, request("a kite", guidance_scale=1.0, seed=3)) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_that_is_not_square_equals_the_pipeline(studios, oracles, family):
    asked = request("a fence", canvas=Canvas(80, 48, 80, 48), seed=4)
    assert both(studios, oracles, family, asked) <= TOLERANCE


def test_eta_equals_the_pipeline(studios, oracles):
    asked = request("a lake", sampler="ddim", eta=0.8, seed=5)
    assert both(studios, oracles, Family.SD15, asked) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_the_ends_of_strength_draw_too(studios, family, strength):
    asked = request(init_image=input_image(picture()), strength=strength, num_inference_steps=4)
    assert studios[family].draw(asked)[0].shape == (64, 64, 3)


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_equals_the_sdxl_pipelines_encoding_of_both_prompts(studios, oracles, clip_skip):
    """diffusers leaves the negative prompt unskipped; we skip both, as the checkpoints that want it were trained."""
    asked = request("a cat", negative_prompt="a dog", clip_skip=clip_skip, seed=6)
    pipeline = oracles[Family.SDXL].text
    prompt, _, pooled, _ = pipeline.encode_prompt("a cat", clip_skip=clip_skip, do_classifier_free_guidance=False)
    negative, _, negative_pooled, _ = pipeline.encode_prompt(
        "a dog", clip_skip=clip_skip, do_classifier_free_guidance=False
    )
    theirs = oracles[Family.SDXL].draw(
        asked,
        prompt_embeds=prompt,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=negative,
        negative_pooled_prompt_embeds=negative_pooled,
    )
    assert difference(studios[Family.SDXL].draw(asked)[0], theirs) <= TOLERANCE


def test_clip_skip_changes_an_sd15_picture(studios):
    plain, skipped = (studios[Family.SD15].draw(request(clip_skip=n, seed=6))[0] for n in (0, 1))
    assert difference(plain, skipped) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_each_picture_of_a_job_is_the_one_that_its_seed_gives_alone(studios, oracles, family):
    studio = studios[family]
    studio.events.pop(1, None)
    studio.loop.submit(1, request("a hat", seeds=(21, 22, 23)))
    studio.run()
    for index, seed in enumerate((21, 22, 23)):
        alone = oracles[family].draw(replace(request("a hat"), seeds=(seed,)))
        assert difference(studio.picture(1, index), alone) <= TOLERANCE
