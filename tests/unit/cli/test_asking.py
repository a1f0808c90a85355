"""The flags of `diffuserve generate` as a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffuserve.cli.asking import Wish, to_request, with_flags
from diffuserve.core.errors import ConfigurationError, InvalidParameter, InvalidRequest
from diffuserve.core.request import GenerationRequest, HiresFix, Lora, PictureFormat, Preprocessor
from support.models import catalog, controlnet
from support.pictures import picture

pytestmark = pytest.mark.unit

MODELS = catalog(controlnets=[controlnet("edges", kind="canny"), controlnet("depth", kind="depth")])


def asked(**flags: Any) -> GenerationRequest:
    nothing = dict.fromkeys(
        ["width", "height", "num_inference_steps", "guidance_scale", "sampler", "schedule", "seed", "init_image"]
    )
    said = {"prompt": "x", "negative_prompt": "", "num_images": 1, "strength": None, **nothing, **flags}
    return to_request(Wish(**said), MODELS, PictureFormat.WEBP, 10**6)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    path = tmp_path / "my:house.png"
    path.write_bytes(picture(16, 8))
    return path


def test_what_was_not_said_is_left_to_the_model() -> None:
    assert asked() == GenerationRequest("x", format=PictureFormat.WEBP, quality=92)


def test_loras_have_a_weight_behind_a_colon() -> None:
    names = ("ink", "pen:0.5", "a:b", "c:-1.5", "d:")
    assert asked(loras=names).loras == (Lora("ink"), Lora("pen", 0.5), Lora("a:b"), Lora("c", -1.5), Lora("d:"))


def test_a_controls_map_is_made_where_it_can_be(house: Path) -> None:
    made = asked(
        controls=(f"canny={house}:0.5", f"edges={house}", f"depth={house}"), control_maps=(f"canny={house}:1",)
    ).controls
    assert [(one.model, one.preprocessor, one.scale) for one in made] == [
        ("canny", Preprocessor.CANNY, 0.5),
        ("edges", Preprocessor.CANNY, 1.0),
        ("depth", Preprocessor.NONE, 1.0),
        ("canny", Preprocessor.NONE, 1.0),
    ]
    assert made[0].image is not None and made[0].image.width == 16


def test_pictures_are_read(house: Path) -> None:
    request = asked(init_image=house, mask=house, reference=house, reference_scale=0.9, reference_face=True)
    assert request.init_image is not None and request.inpaint is not None and request.reference is not None
    assert (request.reference.scale, request.reference.face, request.inpaint.mask.width) == (0.9, True, 16)


def test_a_variation_has_a_seed_for_each_picture() -> None:
    request = asked(variation_seed=7, variation_strength=0.1, num_images=3)
    assert (request.variation_seeds, request.variation_strength) == ((7, 8, 9), 0.1)
    assert asked(variation_strength=0.1).variation_seeds == ()


def test_two_passes_are_asked_for_with_a_flag() -> None:
    assert asked(hires=True).hires == HiresFix()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"mask": Path("m.png")}, "--mask needs --init-image"),
        ({"reference_scale": 0.5}, "need --reference"),
        ({"reference_face": True}, "need --reference"),
        ({"variation_seed": 5}, "--variation-seed needs --variation-strength"),
        ({"controls": ("edges",)}, "--control must be name=picture"),
        ({"control_maps": ("edges=",)}, "--control-map must be name=picture"),
        ({"controls": ("edges=absent.png",)}, "absent.png cannot be read"),
        ({"reference": Path("absent.png")}, "absent.png cannot be read"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        asked(**flags)


def test_a_controlnet_that_is_not_there_is_refused_under_its_flag(house: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(controls=(f"tile={house}",))
    assert with_flags(caught.value) == "--control must be one of edges, depth, got tile"


@pytest.mark.parametrize(
    ("param", "flag"),
    [
        ("num_inference_steps", "--steps"),
        ("reference.scale", "--reference-scale"),
        ("variation_strength", "--variation-strength"),
        ("hires.strength", "--hires-strength"),
        ("loras.weight", "the weight of --lora"),
    ],
)
def test_a_refusal_names_the_flag(param: str, flag: str) -> None:
    assert with_flags(InvalidParameter(param, "good")) == f"{flag} must be good"
