"""Inpainting through the whole step loop: by blending where the model has the usual channels, natively where it has nine;
against diffusers' own pipelines, alone and in company."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, Control, Fill, Inpaint, Lora, Reference, ResolvedRequest
from diffuserve.engine.diffusion import codec
from support import tiny_models
from support.oracles import blot, grain, opened
from support.studio import Studio, difference, in_company, input_image, request

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
TOLERANCE = 1
WIDTH, HEIGHT = 48, 32


def asked(prompt: str = "a pond", *, seed: int = 71, fill: Fill = Fill.ORIGINAL, **fields: Any) -> ResolvedRequest:
    """Repaints a blot of a picture."""
    defaults = {
        "seed": seed,
        "canvas": Canvas(WIDTH, HEIGHT, WIDTH, HEIGHT),
        "num_inference_steps": 5,
        "init_image": input_image(grain(WIDTH, HEIGHT, 81)),
        "inpaint": Inpaint(input_image(blot(WIDTH, HEIGHT)), fill=fill),
        "strength": 1.0,
    }
    return request(prompt, **{**defaults, **fields})


def plain_mask(shade: int) -> Inpaint:
    return Inpaint(input_image(Image.new("RGB", (WIDTH, HEIGHT), (shade,) * 3)))


def control(seed: int = 91, **fields: Any) -> Control:
    return Control("edges", input_image(grain(WIDTH, HEIGHT, seed)), **fields)


def strangers(model: str) -> list[ResolvedRequest]:
    """Other masks and pictures, and where the model can do without, no mask at all."""
    other = Inpaint(input_image(blot(WIDTH, HEIGHT).rotate(180)))
    everybody = [
        asked("a dog", model=model, seed=72, strength=0.5, sampler="dpmpp_2m", inpaint=other),
        asked("a cup", model=model, seed=73, guidance_scale=1.0, sampler="euler_a"),
        asked("a hat", model=model, seed=74, controls=(control(92, end=0.5),), strength=0.9, sampler="heun"),
    ]
    if model == "tiny":
        plain = {"init_image": None, "inpaint": None}
        everybody += [asked("a boat", seed=75, **plain), asked("a car", seed=76, inpaint=None, strength=0.4)]
    return everybody


# A first-order one, an ancestral one, two of the second order, two multistep ones, one that counts its steps in its own way.
SAMPLERS = {
    Family.SD15: ("euler", "euler_a", "heun", "dpm2_a", "dpmpp_2m", "unipc", "plms"),
    Family.SDXL: ("euler_a", "heun", "dpmpp_2m"),
}
STRENGTHS = (1.0, 0.6)
STEERED = {
    "a control": {"controls": (control(scale=0.8),)},
    "a control in the middle": {"controls": (control(start=0.2, end=0.8),), "strength": 0.6, "sampler": "euler_a"},
    "a mix": {"loras": (Lora("a", 0.5), Lora("b", 0.7))},
    "a reference": {"reference": Reference(input_image(grain(40, 56, 93)), 0.6, "base"), "strength": 0.6},
}


def alike(equipped: Any, stocks: Any, family: Family, mine: ResolvedRequest) -> None:
    studio = equipped[family]
    theirs = stocks[family].draw(mine)
    [alone] = studio.draw(mine)
    assert difference(alone, theirs) <= TOLERANCE
    company = strangers(mine.model)
    if mine.reference is not None or mine.loras:  # else nobody shares its forwards
        company.append(dataclasses.replace(mine, seeds=(9,), prompt="a dog", sampler="lms"))
    assert difference(in_company(studio, mine, company), theirs) <= TOLERANCE


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(("family", "sampler"), [(family, one) for family in FAMILIES for one in SAMPLERS[family]])
def test_blending_draws_the_pipelines_picture_alone_and_in_company(equipped, stocks, family, sampler, strength):
    alike(equipped, stocks, family, asked(sampler=sampler, strength=strength, negative_prompt="blur"))


@pytest.mark.parametrize(("sampler", "strength"), [("euler_a", 1.0), ("heun", 0.6), ("dpmpp_2m", 1.0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_nine_channels_draw_the_pipelines_picture_alone_and_in_company(equipped, stocks, family, sampler, strength):
    alike(equipped, stocks, family, asked(model="nine", sampler=sampler, strength=strength))


@pytest.mark.parametrize("model", ["tiny", "nine"])
def test_no_guidance_draws_the_pipelines_picture(equipped, stocks, model):
    mine = asked(model=model, guidance_scale=1.0, sampler="ddim", eta=0.6)
    alike(equipped, stocks, Family.SD15, mine)


@pytest.mark.parametrize("what", STEERED)
@pytest.mark.parametrize("family", FAMILIES)
def test_steered_inpainting_draws_the_pipelines_picture_alone_and_in_company(equipped, stocks, family, what):
    alike(equipped, stocks, family, asked(**STEERED[what]))


@pytest.mark.parametrize("family", FAMILIES)
def test_nine_channels_with_a_control_draw_the_pipelines_picture(equipped, stocks, family):
    """The ControlNet sees the latents alone, without mask and masked picture."""
    mine = asked(model="nine", controls=(control(scale=0.8),), strength=0.6)
    drawn, without = equipped[family].draw(mine, dataclasses.replace(mine, controls=()))
    assert difference(drawn, without) > 5 * TOLERANCE
    alike(equipped, stocks, family, mine)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sampler", ["euler_a", "heun", "dpmpp_2m"])
def test_what_is_not_masked_comes_back_whatever_fills_the_mask(equipped, sampler, strength, monkeypatch):
    """In latent space exactly; how the parts are joined in pixels is not the engine's business."""
    latents: list[torch.Tensor] = []
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda model, given: latents.append(given) or decode(model, given))
    everybody = [asked(sampler=sampler, strength=strength, fill=fill) for fill in Fill]
    equipped[Family.SD15].draw(asked(inpaint=plain_mask(0), num_inference_steps=1), *everybody)
    known, *drawn = latents  # the one that keeps everything has one step and ends first
    kept = torch.from_numpy(np.asarray(opened(everybody[0].inpaint.mask).convert("L")) < 128)[::2, ::2]
    assert 100 < kept.sum() < kept.numel() - 20
    for one in drawn:
        assert torch.equal(one[..., kept], known[..., kept])
        assert (one != known)[..., ~kept].float().mean() > 0.99


@pytest.mark.parametrize("family", FAMILIES)
def test_what_fills_the_mask_counts_where_the_noise_does_not_hide_it(equipped, family):
    studio = equipped[family]
    weak = {fill: studio.draw(asked(fill=fill, strength=0.6))[0] for fill in Fill}
    assert difference(weak[Fill.ORIGINAL], weak[Fill.NOISE]) > TOLERANCE
    assert difference(weak[Fill.ORIGINAL], weak[Fill.NOTHING]) > TOLERANCE
    assert difference(weak[Fill.NOISE], weak[Fill.NOTHING]) > TOLERANCE
    # What is painted in before the picture comes here is the original to us.
    assert difference(weak[Fill.ORIGINAL], weak[Fill.FILL]) == 0
    strong = [studio.draw(asked(fill=fill))[0] for fill in (Fill.ORIGINAL, Fill.NOISE)]
    assert difference(*strong) == 0


def test_a_mask_of_all_white_repaints_everything_and_one_of_all_black_nothing(equipped):
    studio = equipped[Family.SD15]
    white, black = plain_mask(255), plain_mask(0)
    [kept] = studio.draw(asked(inpaint=black))
    [kept_too] = studio.draw(asked("something else", inpaint=black))
    assert difference(kept, kept_too) == 0
    [new] = studio.draw(asked(inpaint=white))
    [text] = studio.draw(asked("something else", inpaint=white))
    assert difference(new, text) > TOLERANCE
    assert difference(new, kept) > TOLERANCE


def test_a_tiny_autoencoder_inpaints_too(tmp_path):
    studio = Studio(tiny_models.info(tiny_models.save_tiny_vae(tmp_path), Family.SD15))
    [drawn] = studio.draw(asked(strength=0.6))
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    assert drawn.std() > 1
