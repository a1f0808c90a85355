"""Prompts to embeddings: plain ones equal diffusers' own encoding; emphasis, BREAK and length work for both families."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from diffuserve.core.model import Family
from diffuserve.engine.diffusion import device, models
from diffuserve.engine.diffusion.conditioning import Conditioner
from support import tiny_models
from support.studio import Studio, difference, request

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def loaded(folders) -> dict[Family, models.Model]:
    cpu = device.choose("cpu", "float32")
    return {family: models.load(tiny_models.info(folder, family), cpu) for family, folder in folders.items()}


def fresh(model: models.Model) -> Conditioner:
    """The model's conditioner, with nothing remembered yet."""
    family = model.info.family
    return Conditioner(model.conditioner.towers, family, model.loras, zero_empty_negative=family is Family.SDXL)


@pytest.fixture(params=list(Family))
def conditioner(request, loaded) -> Conditioner:
    with torch.inference_mode():
        yield fresh(loaded[request.param])


def encoded(conditioner: Conditioner, prompt: str, negative: str = "", clip_skip: int = 0) -> torch.Tensor:
    return conditioner.encode(prompt, negative, clip_skip)[0].hidden


@pytest.mark.parametrize("prompt", ["a cat in a hat", "红苹果", ""])
def test_a_plain_prompt_equals_diffusers_own_encoding(folders, conditioner, loaded, prompt):
    family = conditioner._family
    cls = StableDiffusionPipeline if family is Family.SD15 else StableDiffusionXLPipeline
    pipeline = cls.from_pretrained(folders[family])
    theirs = pipeline.encode_prompt(prompt, "cpu", 1, False) if family is Family.SD15 else None
    if theirs is None:
        theirs = pipeline.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
        pooled = conditioner.encode(prompt, "", 0)[0].pooled
        assert torch.allclose(pooled, theirs[2], atol=1e-6)
    assert torch.allclose(encoded(conditioner, prompt), theirs[0], atol=1e-6)


def test_a_weight_of_one_changes_nothing(conditioner):
    assert torch.equal(encoded(conditioner, "a cat"), encoded(conditioner, "(a cat:1.0)"))


def test_emphasis_scales_the_emphasised_tokens_most(conditioner):
    plain, strong = encoded(conditioner, "a cat on a mat"), encoded(conditioner, "a (cat:1.5) on a mat")
    moved = (strong - plain).abs().mean(dim=-1)[0]
    # "cat" is three single-byte tokens behind the begin token and "a"
    assert moved[2:5].mean() > 3 * moved[6:].mean()


def test_emphasis_keeps_the_mean_of_the_encoding_where_it_has_one(conditioner):
    plain, strong = encoded(conditioner, "a cat"), encoded(conditioner, "a (cat:1.02)")
    assert torch.allclose(plain.mean(), strong.mean(), atol=2e-3)


def test_a_long_prompt_is_its_chunks_laid_end_to_end(conditioner):
    head, tail = "abcde " * 15, "xyz"  # 75 single-byte tokens fill the first window
    long = encoded(conditioner, head + tail)
    assert long.shape[1] == 154
    assert torch.allclose(long[:, :77], encoded(conditioner, head), atol=1e-6)
    assert torch.allclose(long[:, 77:], encoded(conditioner, tail), atol=1e-6)


def test_break_ends_a_chunk_early(conditioner):
    both = encoded(conditioner, "a cat BREAK a dog")
    assert both.shape[1] == 154
    assert torch.allclose(both[:, :77], encoded(conditioner, "a cat "), atol=1e-6)


def test_the_shorter_of_the_two_prompts_is_padded_with_empty_chunks(conditioner):
    positive, negative = conditioner.encode("word " * 60, "blur", 0)
    assert positive.hidden.shape == negative.hidden.shape
    empty = conditioner._encode("", 0, 1, ()).hidden
    assert torch.allclose(negative.hidden[:, 77:154], empty, atol=1e-6)


def test_an_empty_negative_prompt_is_zeros_for_sdxl_as_in_diffusers(loaded):
    with torch.inference_mode():
        _, negative = fresh(loaded[Family.SDXL]).encode("a cat", "", 0)
    assert not negative.hidden.any()
    assert not negative.pooled.any()


def test_encodings_are_remembered(conditioner):
    first = conditioner.encode("a cat", "", 0)[0].hidden
    assert conditioner.encode("a cat", "", 0)[0].hidden is first


@pytest.mark.parametrize("family", list(Family))
def test_a_long_weighted_prompt_draws_what_the_pipeline_draws_from_the_same_embeddings(folders, studios, family):
    prompt = "a (red:1.3) house " * 8 + "BREAK in [[winter]]"
    studio: Studio = studios[family]
    [ours] = studio.draw(request(prompt, negative_prompt="blur", seed=8))
    conditioner = fresh(studio.loop._toolbox.models[0])
    with torch.inference_mode():
        positive, negative = conditioner.encode(prompt, "blur", 0)
    cls = StableDiffusionPipeline if family is Family.SD15 else StableDiffusionXLPipeline
    pipeline = cls.from_pretrained(folders[family])
    pipeline.set_progress_bar_config(disable=True)
    pooled = {}
    if family is Family.SDXL:
        pooled = {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
    theirs = pipeline(
        prompt_embeds=positive.hidden,
        negative_prompt_embeds=negative.hidden,
        **pooled,
        width=64,
        height=64,
        num_inference_steps=5,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(8),
    ).images[0]
    assert difference(ours, np.asarray(theirs)) <= 1


def test_prompts_that_were_encoded_before_are_counted_as_hits(conditioner):
    for _ in range(2):
        conditioner.encode("a cat", "", 0)
    assert (conditioner.encodings, conditioner.hits) == (4, 2)
