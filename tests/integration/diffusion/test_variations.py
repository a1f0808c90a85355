"""What else decides a picture: the noise between two seeds, very few steps, guidance that is none, decoding in tiles."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from hypothesis import given, settings
from hypothesis import strategies as st

from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, HiresFix, Inpaint, ResolvedRequest
from diffuserve.engine.diffusion import codec
from diffuserve.engine.diffusion.passes import slerp
from support import tiny_models
from support.oracles import Kit, Stock, blot, grain
from support.studio import Studio, difference, in_company, input_image, request

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
TOLERANCE = 1
WIDTH, HEIGHT = 48, 32
SHAPE = (1, 4, HEIGHT // tiny_models.FACTOR, WIDTH // tiny_models.FACTOR)


def asked(prompt: str = "a cloud", *, seed: int = 121, **fields: Any) -> ResolvedRequest:
    canvas = Canvas(WIDTH, HEIGHT, WIDTH, HEIGHT)
    return request(prompt, **{"seed": seed, "canvas": canvas, "num_inference_steps": 4, **fields})


def varied(share: float, **fields: Any) -> ResolvedRequest:
    return asked(variation_seeds=(122,), variation_strength=share, **fields)


def noise(seed: int) -> tuple[torch.Tensor, torch.Generator]:
    """A seed's first noise, and the generator that made it, ready for more."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), generator


# Variations.

BEGINNINGS = {
    "text": {},
    "a picture": {"init_image": input_image(grain(WIDTH, HEIGHT, 131)), "strength": 0.6},
    "a mask": {
        "init_image": input_image(grain(WIDTH, HEIGHT, 131)),
        "inpaint": Inpaint(input_image(blot(WIDTH, HEIGHT))),
    },
    "two passes": {"hires": HiresFix(32, 24, 0.6, 4)},
}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sampler", ["euler", "euler_a"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_variation_is_the_pipelines_picture_of_the_noise_between_the_seeds(equipped, stocks, family, sampler, share):
    """What an ancestral sampler adds on the way comes from the first seed whatever the share."""
    (first, generator), (second, _) = noise(121), noise(122)
    angle = torch.acos((first * second).sum() / first.norm() / second.norm())
    between = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / torch.sin(angle)
    mine = varied(share, sampler=sampler)
    theirs = stocks[family].draw(mine, latents=between, generator=generator)
    assert difference(equipped[family].draw(mine)[0], theirs) <= TOLERANCE
    strangers = [asked("a dog", seed=123, guidance_scale=1.0), varied(0.5, sampler="heun")]
    assert difference(in_company(equipped[family], mine, strangers), theirs) <= TOLERANCE


@pytest.mark.parametrize("begun", BEGINNINGS)
def test_none_of_the_other_seed_is_the_plain_picture_and_all_of_it_is_another(equipped, begun):
    studio, fields = equipped[Family.SD15], BEGINNINGS[begun]
    plain, none, half, whole = studio.draw(asked(**fields), *(varied(share, **fields) for share in (0.0, 0.5, 1.0)))
    assert difference(none, plain) <= TOLERANCE
    assert difference(half, plain) > TOLERANCE
    assert difference(whole, plain) > TOLERANCE
    assert difference(whole, half) > TOLERANCE


def test_all_of_the_other_seed_is_the_other_seeds_picture_where_no_noise_is_added_on_the_way(equipped):
    studio = equipped[Family.SD15]
    whole, other = studio.draw(varied(1.0), asked(seed=122))
    assert difference(whole, other) <= TOLERANCE


def test_a_variation_is_the_same_each_time_and_grows_with_its_share(equipped):
    studio = equipped[Family.SD15]
    shares = (0.0, 0.1, 0.3, 0.6)
    once = studio.draw(*(varied(share) for share in shares))
    again = studio.draw(*(varied(share) for share in shares))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    far = [np.abs(one.astype(int) - once[0].astype(int)).mean() for one in once]
    assert far == sorted(far)
    assert far[1] > 0


def test_pictures_of_one_job_vary_by_seeds_of_their_own(equipped):
    studio = equipped[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, dataclasses.replace(varied(0.4), seeds=(1, 2), variation_seeds=(3, 4)))
    studio.run()
    drawn = [studio.picture(1, index) for index in (0, 1)]
    for one, seed, other in zip(drawn, (1, 2), (3, 4), strict=True):
        alone = dataclasses.replace(varied(0.4), seeds=(seed,), variation_seeds=(other,))
        assert difference(one, studio.draw(alone)[0]) <= TOLERANCE


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1), first=st.integers(0, 2**63), second=st.integers(0, 2**63))
def test_noise_between_two_seeds_is_noise(share, first, second):
    start, end = (torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(s)) for s in (first, second))
    between = slerp(share, start, end)
    assert abs(float(between.std()) - 1) < 0.06  # six times the deviation that 16384 numbers have anyway
    assert abs(float(between.mean())) < 0.06


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_noise_between_a_seed_and_itself_or_its_opposite_is_finite(share):
    start, _ = noise(1)
    assert torch.allclose(slerp(share, start, start), start)
    assert slerp(share, start, -start).isfinite().all()


# Few steps, and no guidance.


@contextmanager
def rows(studio: Studio) -> Iterator[list[int]]:
    """How many rows the UNet sees in each forward inside."""
    seen: list[int] = []
    [model] = [model for model in studio.loop._toolbox.models if model.info.name == "tiny"]
    hook = model.unet.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[0]))
    try:
        yield seen
    finally:
        hook.remove()


FEW = {
    "LCM": {"sampler": "lcm", "guidance_scale": 1.0, "num_inference_steps": 4},
    "LCM from a picture": {
        "sampler": "lcm",
        "guidance_scale": 1.0,
        "num_inference_steps": 4,
        **BEGINNINGS["a picture"],
    },
    "Turbo": {"sampler": "euler_a", "schedule": "sgm_uniform", "guidance_scale": 0.0, "num_inference_steps": 1},
    "Turbo from a picture": {
        "sampler": "euler_a",
        "schedule": "sgm_uniform",
        "guidance_scale": 0.0,
        "num_inference_steps": 2,
        "init_image": input_image(grain(WIDTH, HEIGHT, 131)),
        "strength": 0.5,
    },
    "Lightning": {"sampler": "euler", "schedule": "sgm_uniform", "guidance_scale": 0.0, "num_inference_steps": 2},
}


@pytest.mark.parametrize("few", FEW)
@pytest.mark.parametrize("family", FAMILIES)
def test_few_steps_without_guidance_draw_the_pipelines_picture_in_one_row(equipped, stocks, family, few):
    studio, mine = equipped[family], asked(**FEW[few])
    theirs = stocks[family].draw(mine)
    with rows(studio) as seen:
        [alone] = studio.draw(mine)
    assert set(seen) == {1}
    assert difference(alone, theirs) <= TOLERANCE
    strangers = [asked("a dog", seed=123), asked("a cup", seed=124, guidance_scale=1.0, sampler="dpmpp_2m")]
    assert difference(in_company(studio, mine, strangers), theirs) <= TOLERANCE


@pytest.mark.parametrize("guidance", [-1.0, 0.0, 0.5, 1.0])
def test_guidance_of_one_and_less_is_none_whatever_the_negative_prompt_says(equipped, stocks, guidance):
    """A long one must not even lengthen the context of the prompt that is read."""
    theirs = stocks[Family.SD15].draw(asked(guidance_scale=1.0))
    mine = asked(guidance_scale=guidance, negative_prompt="ugly, " * 60)
    with rows(equipped[Family.SD15]) as seen:
        [drawn] = equipped[Family.SD15].draw(mine)
    assert set(seen) == {1}
    assert difference(drawn, theirs) <= TOLERANCE


def test_guidance_just_over_one_takes_two_rows(equipped, stocks):
    mine = asked(guidance_scale=1.001, negative_prompt="rain")
    with rows(equipped[Family.SD15]) as seen:
        [drawn] = equipped[Family.SD15].draw(mine)
    assert set(seen) == {2}
    assert difference(drawn, stocks[Family.SD15].draw(mine)) <= TOLERANCE


# Autoencoders.


@pytest.fixture(scope="module")
def centred(kits: dict[Family, Kit], tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, Stock]:
    """SDXL with an autoencoder that states the mean and the deviation of its latents."""
    kit = kits[Family.SDXL]
    folder = shutil.copytree(kit.models["tiny"], tmp_path_factory.mktemp("centred"), dirs_exist_ok=True)
    config = folder / "vae" / "config.json"
    statistics = {"latents_mean": [0.1, -0.2, 0.3, 0.05], "latents_std": [0.8, 1.2, 1.5, 0.9]}
    config.write_text(json.dumps({**json.loads(config.read_text()), **statistics}))
    kit = dataclasses.replace(kit, models={"tiny": folder})
    return Studio(*kit.infos), Stock(kit)


@pytest.mark.parametrize("begun", ["text", "a picture", "two passes"])
def test_latents_with_a_mean_of_their_own_draw_the_pipelines_picture(centred, equipped, begun):
    """Not with a mask: there diffusers encodes without the mean that it decodes with."""
    studio, stock = centred
    mine = asked(**BEGINNINGS[begun])
    [drawn] = studio.draw(mine)
    assert difference(drawn, stock.draw(mine)) <= TOLERANCE
    assert difference(drawn, equipped[Family.SDXL].draw(mine)[0]) > 5 * TOLERANCE


# Tiles.

SIZES = [(96, 80), (104, 72), (136, 72)]
"""Beyond the tiny autoencoder's tiles of 64 pixels, by amounts that leave whole, half and narrow tiles."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("begun", ["text", "a picture"])
@pytest.mark.parametrize("family", FAMILIES)
def test_large_latents_pass_the_autoencoder_in_the_pipelines_tiles(equipped, stocks, family, begun, size, monkeypatch):
    canvas = {"canvas": Canvas(*size, *size), "num_inference_steps": 2}
    if begun == "a picture":
        canvas |= {"init_image": input_image(grain(*size, 141)), "strength": 0.5}
    mine = asked(**canvas)
    [whole] = equipped[family].draw(mine)
    monkeypatch.setattr(codec, "TILED_ABOVE", 32)
    [drawn] = equipped[family].draw(mine)
    assert drawn.shape == (size[1], size[0], 3)
    assert difference(drawn, stocks[family].draw(mine, tiled=True)) <= TOLERANCE
    assert difference(drawn, whole) > 0, "it was not tiled"


def test_what_follows_a_tiled_picture_is_not_tiled(equipped, monkeypatch):
    studio = equipped[Family.SD15]
    small = asked(canvas=Canvas(64, 64, 64, 64))
    [before] = studio.draw(small)
    monkeypatch.setattr(codec, "TILED_ABOVE", 40)
    _, after = studio.draw(asked(canvas=Canvas(96, 96, 96, 96), num_inference_steps=1), small)
    assert difference(before, after) <= TOLERANCE


@pytest.mark.parametrize("size", [(94, 70), (130, 66)])
def test_sizes_that_no_pipeline_takes_come_out_exactly_too(equipped, monkeypatch, size):
    monkeypatch.setattr(codec, "TILED_ABOVE", 32)
    [drawn] = equipped[Family.SD15].draw(asked(canvas=Canvas(*size, *size), num_inference_steps=2))
    assert drawn.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("channels", [4, 8])
@pytest.mark.parametrize("stages", [2, 4])
def test_a_tiny_autoencoder_takes_large_pictures_whatever_its_shape(stages, channels, monkeypatch):
    """diffusers' own tiles of it are made for four stages and four channels."""
    torch.manual_seed(5)
    blocks = {"encoder_block_out_channels": (16,) * stages, "decoder_block_out_channels": (16,) * stages}
    counts = {"num_encoder_blocks": (1,) * stages, "num_decoder_blocks": (1,) * stages}
    vae = AutoencoderTiny(**blocks, **counts, latent_channels=channels).eval()
    vae.tile_sample_min_size, vae.tile_latent_min_size = 128, 16
    factor = 2 ** (stages - 1)
    model = SimpleNamespace(
        vae=vae,
        latent_channels=channels,
        info=SimpleNamespace(multiple=factor),
        device=SimpleNamespace(device=torch.device("cpu")),
    )
    picture = input_image(grain(192, 160, 142)).data

    def there_and_back() -> np.ndarray:
        with torch.inference_mode():
            latents = codec.encode(model, picture, torch.Generator())
            assert latents.shape == (1, channels, 160 // factor, 192 // factor)
            pixels = codec.decode(model, latents)
        return np.frombuffer(pixels.data, np.uint8).reshape(160, 192, 3)

    whole = there_and_back()
    monkeypatch.setattr(codec, "TILED_ABOVE", 8)
    tiled = there_and_back()
    assert whole.std() > 1
    assert np.abs(tiled.astype(int) - whole.astype(int)).mean() < whole.std() / 2, "the tiles are not where they belong"
