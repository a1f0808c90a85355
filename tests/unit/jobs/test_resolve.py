"""From a wish to a request with nothing left open."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.errors import DiffuserveError, InvalidParameter, MissingParameter, UnknownModel
from diffuserve.core.model import Family, NativeRange
from diffuserve.core.request import (
    MAX_SEED,
    Canvas,
    Control,
    Corner,
    GenerationRequest,
    HiresFix,
    Inpaint,
    InputImage,
    Lora,
    PictureFormat,
    Preprocessor,
    Reference,
    ResolvedRequest,
    Upscaler,
    Watermark,
)
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.resolve import Limits, resolve
from support.models import adapter, catalog, controlnet, lora, model_info, wish

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
    models = catalog(model_info(native=NativeRange(64, 64), hires=False))
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


# Two passes

WIDE = catalog(model_info(native=NativeRange(64, 128)))


def test_a_picture_beyond_the_native_range_is_drawn_in_two_passes() -> None:
    resolved, notes = _resolve(wish(width=256, height=192), WIDE)
    assert (resolved.canvas, resolved.width, resolved.height) == (Canvas(256, 192, 256, 192), 256, 192)
    assert resolved.hires == HiresFix(128, 96, num_inference_steps=4)
    assert notes == ("drawn at 128x96, then enlarged and refined at 256x192",)


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({"width": 256, "height": 256}, {"hires": False}),
        ({"width": 256, "height": 256, "init_image": IMAGE}, {}),
        ({"width": 128, "height": 128}, {}),
    ],
)
def test_one_pass_is_kept_where_nothing_asks_for_two(changes: dict[str, Any], model: dict[str, Any]) -> None:
    assert _resolve(wish(**changes), catalog(model_info(native=NativeRange(64, 128), **model)))[0].hires is None


def test_a_second_pass_that_was_asked_for_is_drawn_within_the_native_range_too() -> None:
    asked = HiresFix(64, 64, strength=0.4, num_inference_steps=7, upscaler=Upscaler.LANCZOS)
    resolved, _ = _resolve(wish(width=128, height=128, hires=asked), WIDE)
    assert (resolved.hires, resolved.canvas) == (asked, Canvas(128, 128, 128, 128))


def test_a_first_pass_is_rounded_to_the_vaes_factor_and_its_open_side_follows_the_shape() -> None:
    resolved, _ = _resolve(wish(width=128, height=96, hires=HiresFix(width=67)), WIDE)
    assert resolved.hires is not None
    assert (resolved.hires.width, resolved.hires.height) == (64, 48)
    resolved, _ = _resolve(wish(width=128, height=96, hires=HiresFix()), WIDE)
    assert resolved.hires is not None
    assert (resolved.hires.width, resolved.hires.height) == (88, 64), "the native size whose shorter side is 64"


def test_a_second_pass_without_anything_to_enlarge_is_left_out_and_told() -> None:
    resolved, notes = _resolve(wish(width=64, height=64, hires=HiresFix(64, 64)))
    assert resolved.hires is None
    assert notes == ("drawn in one pass: 64x64 is not larger than the first of two would be",)


# LoRAs and words

INKED = catalog(loras=[lora("ink", aliases=("pen",)), lora("glow"), lora("xl", Family.SDXL)])


def test_loras_of_the_field_and_of_both_prompts_are_added_up_under_their_names() -> None:
    asked = wish(
        "a cat <lora:PEN:0.5>, <lora:glow:0.25>", negative_prompt="dog <lora:glow:0.5>", loras=(Lora("ink", 0.25),)
    )
    resolved, notes = _resolve(asked, INKED)
    assert resolved.loras == (Lora("ink", 0.75), Lora("glow", 0.75))
    assert (resolved.prompt, resolved.negative_prompt, notes) == ("a cat", "dog", ())
    assert resolved.asked_prompt == asked.prompt


def test_a_lora_of_weight_0_is_dropped() -> None:
    assert _resolve(wish("x <lora:ink:0.3> <lora:glow:0>", loras=(Lora("ink", -0.3),)), INKED)[0].loras == ()


def test_an_unknown_lora_of_a_tag_is_left_out_and_told() -> None:
    resolved, notes = _resolve(wish("x <lora:xl:1> <lora:nothing> <lora:ink> <lora:nothing>"), INKED)
    assert (resolved.loras, resolved.prompt) == ((Lora("ink"),), "x")
    assert notes == ("there is no LoRA xl, nothing for the model tiny: drawn without",)


def test_an_unknown_lora_of_the_field_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="loras must be one of ink, glow, got nothing"):
        _resolve(wish(loras=(Lora("nothing"),)), INKED)


def test_a_style_is_put_around_the_prompt_and_what_was_written_is_kept() -> None:
    resolved, _ = _resolve(wish("a cat", style="line-art", negative_prompt="dog"))
    assert "a cat" in resolved.prompt != "a cat"
    assert resolved.negative_prompt.startswith("dog, ")
    assert resolved.asked_prompt == "a cat"


def test_a_prompt_that_was_not_changed_is_not_kept_twice() -> None:
    assert _resolve(wish("a cat"))[0].asked_prompt is None


def test_what_was_asked_before_a_translation_is_kept() -> None:
    assert _resolve(wish("a cat", asked_prompt="一只猫"))[0].asked_prompt == "一只猫"


# Controls, reference, mask

MAP = InputImage("b" * 64, 32, 32, b"png")
STEERED = catalog(
    controlnets=[controlnet("edges", kind="canny"), controlnet("depth-xl", Family.SDXL, kind="depth")],
    adapters=[adapter("plus")],
)


def test_a_control_is_named_and_has_a_picture() -> None:
    asked = (Control("canny", MAP, Preprocessor.CANNY, 0.5), Control("EDGES"), Control("nothing", scale=0.0))
    resolved, _ = _resolve(wish(controls=asked, init_image=IMAGE), STEERED)
    assert resolved.controls == (Control("edges", MAP, Preprocessor.CANNY, 0.5), Control("edges", IMAGE))


def test_a_control_without_any_picture_misses_one() -> None:
    with pytest.raises(MissingParameter) as error:
        _resolve(wish(controls=(Control("canny"),)), STEERED)
    assert error.value.param == "controls.image"


def test_a_control_lets_a_model_of_one_size_draw_other_shapes() -> None:
    single = catalog(model_info(native=NativeRange(128, 128), hires=False), controlnets=STEERED.controlnets)
    resolved, _ = _resolve(wish(width=192, height=96, controls=(Control("canny", MAP),)), single)
    assert (resolved.canvas.crop_width, resolved.canvas.crop_height) == (192, 96)


def test_a_reference_gets_the_adapter_that_fits() -> None:
    assert _resolve(wish(reference=Reference(MAP)), STEERED)[0].reference == Reference(MAP, adapter="plus")
    assert _resolve(wish(reference=Reference(MAP, scale=0)), STEERED)[0].reference is None


def test_a_mask_needs_a_picture() -> None:
    with pytest.raises(MissingParameter, match="init_image is required"):
        _resolve(wish(inpaint=Inpaint(MAP)))


def test_only_the_masks_surroundings_are_drawn_at_the_models_own_size() -> None:
    models = catalog(model_info(size=96))
    resolved, notes = _resolve(wish(inpaint=Inpaint(MAP, padding=8), init_image=MAP), models)
    assert (resolved.canvas, resolved.width, notes) == (Canvas(96, 96, 96, 96), 32, ())


def test_an_inpainting_model_draws_nothing_without_a_mask() -> None:
    models = catalog(model_info(inpainting=True))
    with pytest.raises(InvalidParameter, match="inpaint must be given with the model tiny, which repaints"):
        _resolve(wish(init_image=IMAGE), models)
    assert _resolve(wish(init_image=IMAGE, inpaint=Inpaint(MAP)), models)[0].inpaint == Inpaint(MAP)


# Variations and the finished picture


def test_a_variation_has_a_second_seed_for_each_picture() -> None:
    resolved, _ = _resolve(wish(num_images=2, variation_seeds=(5,), variation_strength=0.3))
    assert (resolved.variation_seeds, resolved.variation_strength) == ((5, 42), 0.3)
    assert _resolve(wish(variation_seeds=(5,)))[0].variation_seeds == ()


def test_how_the_picture_is_finished_is_kept() -> None:
    marked = Watermark(" by me ", Corner.TOP_LEFT, 0.5, 0.1)
    resolved, _ = _resolve(wish(watermark=marked, format=PictureFormat.WEBP, quality=70, keep_texture=False))
    assert resolved.watermark == Watermark("by me", Corner.TOP_LEFT, 0.5, 0.1)
    assert (resolved.format, resolved.quality, resolved.keep_texture) == (PictureFormat.WEBP, 70, False)


@pytest.mark.parametrize(
    ("param", "changes"),
    [
        ("loras.weight", {"loras": (Lora("ink", 10.1),)}),
        ("loras.weight", {"loras": (Lora("ink", 6.0), Lora("pen", 6.0))}),
        ("loras.weight", {"loras": (Lora("ink", math.nan),)}),
        ("loras.weight", {"prompt": "x <lora:ink:99>"}),
        ("loras", {"loras": (Lora("xl"),)}),
        ("style", {"style": "magic"}),
        ("controls", {"controls": (Control("edges", MAP),) * 5}),
        ("controls", {"controls": (Control("depth", MAP),)}),
        ("controls.scale", {"controls": (Control("edges", MAP, scale=2.1),)}),
        ("controls.scale", {"controls": (Control("edges", MAP, scale=math.nan),)}),
        ("controls.start", {"controls": (Control("edges", MAP, start=0.5, end=0.5),)}),
        ("controls.end", {"controls": (Control("edges", MAP, end=1.5),)}),
        ("controls.high_threshold", {"controls": (Control("edges", MAP, high_threshold=256),)}),
        ("controls.low_threshold", {"controls": (Control("edges", MAP, low_threshold=201),)}),
        ("reference", {"reference": Reference(MAP, adapter="nothing")}),
        ("reference.scale", {"reference": Reference(MAP, scale=1.1)}),
        ("inpaint.blur", {"inpaint": Inpaint(MAP, blur=65), "init_image": IMAGE}),
        ("inpaint.padding", {"inpaint": Inpaint(MAP, padding=-1), "init_image": IMAGE}),
        ("hires", {"hires": HiresFix(), "init_image": IMAGE}),
        ("hires.width", {"hires": HiresFix(width=0)}),
        ("hires.width", {"hires": HiresFix(width=96, height=96), "width": 64, "height": 64}),
        ("hires.height", {"hires": HiresFix(height=100_000)}),
        ("hires.strength", {"hires": HiresFix(strength=0.0)}),
        ("hires.num_inference_steps", {"hires": HiresFix(num_inference_steps=0)}),
        ("hires.num_inference_steps", {"hires": HiresFix(num_inference_steps=51), "sampler": "lcm"}),
        ("variation_seeds", {"variation_seeds": (-1,), "variation_strength": 0.5}),
        ("variation_seeds", {"variation_seeds": (1, 2), "variation_strength": 0.5}),
        ("variation_strength", {"variation_strength": 1.1}),
        ("watermark.text", {"watermark": Watermark("x" * 101)}),
        ("watermark.text", {"watermark": Watermark("two\nlines")}),
        ("watermark.opacity", {"watermark": Watermark("x", opacity=1.1)}),
        ("watermark.size", {"watermark": Watermark("x", size=0.001)}),
        ("quality", {"quality": 0}),
        ("quality", {"quality": 101}),
    ],
)
def test_a_part_out_of_range_is_refused_by_its_dotted_name(param: str, changes: dict[str, Any]) -> None:
    models = catalog(loras=INKED.loras, controlnets=STEERED.controlnets, adapters=STEERED.adapters)
    with pytest.raises(InvalidParameter) as error:
        _resolve(wish(**changes), models)
    assert error.value.param == param
    assert "\n" not in error.value.message


def test_a_watermark_without_letters_is_missing_its_text() -> None:
    with pytest.raises(MissingParameter) as error:
        _resolve(wish(watermark=Watermark("  ")))
    assert error.value.param == "watermark.text"


parts: dict[str, Any] = {
    "loras": st.lists(st.builds(Lora, st.sampled_from(["ink", "pen", "xl"]), st.floats()), max_size=3).map(tuple),
    "controls": st.lists(
        st.builds(
            Control,
            st.sampled_from(["edges", "canny", "depth"]),
            st.none() | st.just(MAP),
            st.sampled_from(Preprocessor),
            st.floats(),
            st.floats(),
            st.floats(),
            st.integers(),
            st.integers(),
        ),
        max_size=3,
    ).map(tuple),
    "reference": st.none() | st.builds(Reference, st.just(MAP), st.floats(), st.none() | st.text(max_size=3)),
    "inpaint": st.none()
    | st.builds(Inpaint, st.just(MAP), st.integers(-1, 65), padding=st.none() | st.integers(-1, 9)),
    "hires": st.none()
    | st.builds(HiresFix, st.none() | st.integers(), st.none() | st.integers(-1, 300), st.floats(), st.none()),
    "variation_seeds": st.lists(st.integers(-1, MAX_SEED + 1), max_size=2).map(tuple),
    "variation_strength": st.floats() | st.just(0.5),
    "style": st.none() | st.just("Anime") | st.text(max_size=5),
    "watermark": st.none() | st.builds(Watermark, st.text(max_size=5), opacity=st.floats(), size=st.floats()),
    "quality": st.integers(-1, 102),
}
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
    **parts,
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
passing = st.builds(
    GenerationRequest,
    prompt=st.sampled_from(["a cat", "a <lora:ink:0.5> cat", "<lora:x>"]),
    width=st.integers(1, 1024),
    height=st.integers(1, 1024),
    hires=st.none()
    | st.builds(HiresFix, st.none() | st.integers(8, 256), st.none() | st.integers(8, 256), st.floats(0.1, 1)),
    controls=st.just(()) | st.just((Control("canny", MAP),)),
    reference=st.none() | st.just(Reference(MAP)),
    variation_strength=st.floats(0, 1),
)


@given(wishes | likely | passing)
def test_any_wish_is_resolved_whole_or_refused_in_our_words(request: GenerationRequest) -> None:
    models = catalog(loras=INKED.loras, controlnets=STEERED.controlnets, adapters=STEERED.adapters)
    try:
        resolved, _ = _resolve(request, models)
    except DiffuserveError as error:
        assert error.param
        return
    for number in (resolved.guidance_scale, resolved.eta, resolved.strength):
        assert math.isfinite(number)
    assert len(resolved.seeds) == request.num_images
    assert resolved.width * resolved.height <= LIMITS.max_pixels
    assert resolved.prompt.encode() or request.prompt
    assert len(resolved.variation_seeds) == (request.num_images if resolved.variation_strength else 0)
    assert all(control.image for control in resolved.controls)
    canvas, hires = resolved.canvas, resolved.hires
    assert canvas.width % 8 == canvas.height % 8 == 0
    if hires is not None:
        assert hires.width and hires.height and hires.num_inference_steps
        assert hires.width % 8 == hires.height % 8 == 0
        assert hires.width <= canvas.width and hires.height <= canvas.height


def test_a_sampler_with_fewer_steps_than_were_asked_says_how_many_it_has() -> None:
    with pytest.raises(InvalidParameter, match="at most 50 with sampler LCM, got 51"):
        _resolve(wish(sampler="lcm", num_inference_steps=51))
