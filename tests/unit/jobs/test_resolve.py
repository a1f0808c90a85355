"""From a wish to a request with nothing left open."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.errors import DiffuserveError, InvalidParameter, MissingParameter, UnknownModel
from diffuserve.core.model import NativeRange
from diffuserve.core.request import MAX_SEED, GenerationRequest, InputImage, ResolvedRequest
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.resolve import Limits, resolve
from support.models import catalog, model_info, wish

pytestmark = pytest.mark.unit

LIMITS = Limits(max_pixels=1024 * 1024)
IMAGE = InputImage("a" * 64, 96, 80, b"png")


def _resolve(request: GenerationRequest, models: Catalog | None = None) -> tuple[ResolvedRequest, tuple[str, ...]]:
    return resolve(request, models or catalog(), LIMITS, lambda: 42)


def test_what_was_not_said_is_what_the_model_prefers() -> None:
    resolved, notes = _resolve(wish())
    assert (resolved.model, resolved.width, resolved.height) == ("tiny", 64, 64)
    assert (resolved.num_inference_steps, resolved.guidance_scale) == (4, 7.5)
    assert (resolved.sampler, resolved.schedule, resolved.strength) == ("euler", "automatic", 1.0)
    assert resolved.seeds == (42,)
    assert notes == ()


def test_an_alias_resolves_to_the_models_name() -> None:
    models = catalog(model_info(), model_info(name="Other", aliases=("Nick",)))
    assert _resolve(wish(model="nick"), models)[0].model == "Other"


def test_an_unknown_model_names_those_that_exist() -> None:
    with pytest.raises(UnknownModel, match="tiny"):
        _resolve(wish(model="huge"))


def test_seeds_that_were_given_come_first() -> None:
    assert _resolve(wish(num_images=3, seeds=(0, MAX_SEED)))[0].seeds == (0, MAX_SEED, 42)


def test_a_substituted_sampler_is_told() -> None:
    resolved, notes = _resolve(wish(sampler="DPM++ 2S a Karras"))
    assert (resolved.sampler, resolved.schedule) == ("dpmpp_2s", "karras")
    assert "replaced" in notes[0]


def test_an_enlargement_is_told() -> None:
    models = catalog(model_info(native=NativeRange(64, 64)))
    assert _resolve(wish(width=128, height=128), models)[1] == (
        "drawn at 64x64, the model's native size, and enlarged to 128x128",
    )


def test_an_input_picture_gives_the_size_that_was_not_asked() -> None:
    resolved, _ = _resolve(wish(init_image=IMAGE, width=120))
    assert (resolved.width, resolved.height, resolved.strength) == (120, 80, 0.75)


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
def test_an_empty_prompt_is_missing(prompt: str) -> None:
    with pytest.raises(MissingParameter) as error:
        _resolve(wish(prompt))
    assert error.value.param == "prompt"


@pytest.mark.parametrize(
    ("param", "changes"),
    [
        ("prompt", {"prompt": "x" * 20_001}),
        ("prompt", {"prompt": "half a pair \ud83c"}),
        ("negative_prompt", {"negative_prompt": "x" * 20_001}),
        ("width", {"width": 0}),
        ("width", {"width": 1025, "height": 1024}),
        ("height", {"height": -1}),
        ("num_images", {"num_images": 0}),
        ("num_images", {"num_images": 17}),
        ("num_images", {"num_images": True}),
        ("seeds", {"seeds": (-1,)}),
        ("seeds", {"seeds": (MAX_SEED + 1,)}),
        ("seeds", {"seeds": (1, 2)}),
        ("num_inference_steps", {"num_inference_steps": 0}),
        ("num_inference_steps", {"num_inference_steps": 1001}),
        ("guidance_scale", {"guidance_scale": math.nan}),
        ("guidance_scale", {"guidance_scale": math.inf}),
        ("guidance_scale", {"guidance_scale": -0.1}),
        ("guidance_scale", {"guidance_scale": 100.1}),
        ("sampler", {"sampler": "teleport"}),
        ("sampler", {"sampler": " "}),
        ("schedule", {"schedule": "bus"}),
        ("clip_skip", {"clip_skip": 12}),
        ("eta", {"eta": math.nan}),
        ("eta", {"eta": 1.1}),
        ("strength", {"strength": 0.5}),
        ("strength", {"strength": 0.0, "init_image": IMAGE}),
        ("strength", {"strength": 1.01, "init_image": IMAGE}),
        ("strength", {"strength": math.nan, "init_image": IMAGE}),
        ("preview_every", {"preview_every": -1}),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(param: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as error:
        _resolve(wish(**changes))
    assert error.value.param == param
    assert error.value.accepted


wishes = st.builds(
    GenerationRequest,
    prompt=st.text(max_size=30),
    negative_prompt=st.text(max_size=30),
    model=st.none() | st.sampled_from(["tiny", " TINY "]) | st.text(max_size=10),
    width=st.none() | st.integers(),
    height=st.none() | st.integers(1, 2000),
    num_images=st.integers(-1, 20),
    seeds=st.lists(st.integers(-1, MAX_SEED + 1), max_size=3).map(tuple),
    num_inference_steps=st.none() | st.integers(-1, 1200),
    guidance_scale=st.none() | st.floats(),
    sampler=st.none() | st.sampled_from(["Euler a", "DPM++ 2M Karras", "ddim"]) | st.text(max_size=10),
    schedule=st.none() | st.sampled_from(["karras", "automatic"]) | st.text(max_size=10),
    clip_skip=st.integers(-1, 13),
    eta=st.floats() | st.just(0.0),
    init_image=st.none() | st.just(IMAGE),
    strength=st.none() | st.floats(),
    preview_every=st.integers(-1, 5),
)
likely = st.builds(
    GenerationRequest,
    prompt=st.text(min_size=1, max_size=30),
    width=st.none() | st.integers(1, 1024),
    height=st.none() | st.integers(1, 1024),
    num_images=st.integers(1, 16),
    guidance_scale=st.none() | st.floats(0, 100),
    eta=st.floats(0, 1),
    init_image=st.just(IMAGE),
    strength=st.none() | st.floats(0, 1),
)


@given(wishes | likely)
def test_any_wish_is_resolved_whole_or_refused_in_our_words(request: GenerationRequest) -> None:
    try:
        resolved, _ = _resolve(request)
    except DiffuserveError as error:
        assert error.param
        return
    for number in (resolved.guidance_scale, resolved.eta, resolved.strength):
        assert math.isfinite(number)
    assert len(resolved.seeds) == request.num_images
    assert resolved.width * resolved.height <= LIMITS.max_pixels
    assert resolved.prompt.encode()


def test_a_sampler_with_fewer_steps_than_were_asked_says_how_many_it_has() -> None:
    with pytest.raises(InvalidParameter, match="at most 50 with sampler LCM, got 51"):
        _resolve(wish(sampler="lcm", num_inference_steps=51))
