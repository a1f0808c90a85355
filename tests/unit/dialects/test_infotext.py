"""How the web UI describes a picture: `info` key by key, the infotext's lines, and the parser back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core import samplers
from diffuserve.dialects.infotext import Drawn, Era, info, infotext, parse, timestamp

pytestmark = pytest.mark.unit

SEED_PAGE = Drawn(
    prompt="a girl，in a garden",
    seeds=(2785213412,),
    subseeds=(1234567890,),
    width=512,
    height=512,
    sampler="Euler",
    cfg_scale=7.0,
    steps=50,
    model_name="sd_xl_base_1.0_0.9vae",
    model_hash="e6bb9ea85b",
    job_timestamp="20231205085216",
    rng="GPU",
)
"""The settings of the vendor page's sample: the web UI's own defaults."""

SEED_INFO = (
    '{"prompt": "a girl\\uff0cin a garden", "all_prompts": ["a girl\\uff0cin a garden"], "negative_prompt": "", '
    '"all_negative_prompts": [""], "seed": 2785213412, "all_seeds": [2785213412], "subseed": 1234567890, '
    '"all_subseeds": [1234567890], "subseed_strength": 0, "width": 512, "height": 512, "sampler_name": "Euler", '
    '"cfg_scale": 7.0, "steps": 50, "batch_size": 1, "restore_faces": false, "face_restoration_model": null, '
    '"sd_model_name": "sd_xl_base_1.0_0.9vae", "sd_model_hash": "e6bb9ea85b", "sd_vae_name": null, '
    '"sd_vae_hash": null, "seed_resize_from_w": -1, "seed_resize_from_h": -1, "denoising_strength": 0, '
    '"extra_generation_params": {}, "index_of_first_image": 0, "infotexts": ["a girl\\uff0cin a garden\\nSteps: 50, '
    "Sampler: Euler, CFG scale: 7.0, Seed: 2785213412, Size: 512x512, Model hash: e6bb9ea85b, "
    'Model: sd_xl_base_1.0_0.9vae, Denoising strength: 0, Version: v1.6.0"], "styles": [], '
    '"job_timestamp": "20231205085216", "clip_skip": 1, "is_using_inpainting_conditioning": false}'
)

FULL = replace(
    SEED_PAGE,
    prompt="a red apple, <lora:x:0.7>\nshiny",
    negative_prompt="blurry,\nugly: very",
    seeds=(7, 8),
    subseeds=(70, 80),
    subseed_strength=0.25,
    sampler="DPM++ 2M",
    schedule="Karras",
    width=640,
    height=768,
    batch_size=2,
    denoising_strength=0.75,
    clip_skip=2,
    rng="CPU",
    extra={"Mask blur": 4, "Lora hashes": "x: 0123456789ab, y: ba9876543210"},
)


def test_info_is_the_web_uis_to_the_byte() -> None:
    assert info(SEED_PAGE, Era.V1_6) == SEED_INFO


def test_the_newer_info_has_the_same_keys_and_its_version_at_the_end() -> None:
    old, new = (list(json.loads(info(SEED_PAGE, era))) for era in Era)
    assert new == [*old, "version"]
    assert json.loads(info(SEED_PAGE, Era.V1_10))["denoising_strength"] is None


def test_info_describes_every_picture() -> None:
    said = json.loads(info(FULL, Era.V1_6))
    assert (said["seed"], said["all_seeds"], said["subseed"], said["all_subseeds"]) == (7, [7, 8], 70, [70, 80])
    assert said["all_prompts"] == [FULL.prompt] * 2
    assert said["all_negative_prompts"] == [FULL.negative_prompt] * 2
    assert [", Seed: 7, " in said["infotexts"][0], ", Seed: 8, " in said["infotexts"][1]] == [True, True]
    assert said["extra_generation_params"] == dict(FULL.extra)


@pytest.mark.parametrize(
    ("era", "line"),
    [
        (
            Era.V1_6,
            "Steps: 50, Sampler: DPM++ 2M Karras, CFG scale: 7.0, Seed: 8, Size: 640x768, Model hash: e6bb9ea85b, "
            "Model: sd_xl_base_1.0_0.9vae, Variation seed: 80, Variation seed strength: 0.25, Denoising strength: 0.75, "
            'Clip skip: 2, RNG: CPU, Mask blur: 4, Lora hashes: "x: 0123456789ab, y: ba9876543210", Version: v1.6.0',
        ),
        (
            Era.V1_10,
            "Steps: 50, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 8, Size: 640x768, "
            "Model hash: e6bb9ea85b, Model: sd_xl_base_1.0_0.9vae, Variation seed: 80, Variation seed strength: 0.25, "
            "Denoising strength: 0.75, Clip skip: 2, RNG: CPU, Mask blur: 4, "
            'Lora hashes: "x: 0123456789ab, y: ba9876543210", Version: v1.10.1',
        ),
    ],
)
def test_an_infotext_has_everything_that_applies_in_its_order(era: Era, line: str) -> None:
    assert infotext(FULL, 1, era) == f"{FULL.prompt}\nNegative prompt: {FULL.negative_prompt}\n{line}"


def test_the_newer_line_says_the_schedule_even_where_it_is_the_models_own() -> None:
    text = infotext(SEED_PAGE, 0, Era.V1_10)
    assert "Sampler: Euler, Schedule type: Automatic, CFG scale" in text
    assert "Denoising" not in text


def test_an_unknown_hash_is_left_out() -> None:
    assert "Model hash" not in infotext(replace(SEED_PAGE, model_hash=""), 0, Era.V1_6)


def test_a_time_is_written_in_utc() -> None:
    assert timestamp(1701766336.9) == "20231205085216"


# The parser


def test_a_size_is_listed_as_two_numbers() -> None:
    listed = parse(infotext(SEED_PAGE, 0, Era.V1_6)).parameters()
    assert (listed["Size-1"], listed["Size-2"], "Size" in listed) == ("512", "512", False)


@pytest.mark.parametrize("text", ["", "a cat", "a cat\nwith a hat", "a cat\nSteps: 20, Sampler: Euler", "a: b, c: d"])
def test_a_text_without_three_settings_is_all_prompt(text: str) -> None:
    read = parse(text)
    assert (read.prompt, read.negative_prompt, read.settings) == (text, "", {})


def test_settings_alone_are_read() -> None:
    read = parse("Steps: 20, Sampler: Euler a, CFG scale: 7")
    assert (read.prompt, read.settings) == ("", {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7"})


def test_what_other_tools_wrote_is_read() -> None:
    text = (
        "girl with a beret, ((eyeshadow)), detailed\r\n"
        "Negative prompt: ugly, (((deformed))), [blurry]\r\n"
        'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x768, TI hashes: "a: 1, b: \\"2\\""\r\n'
    )
    read = parse(text)
    assert read.prompt.rstrip() == "girl with a beret, ((eyeshadow)), detailed"
    assert read.negative_prompt.rstrip() == "ugly, (((deformed))), [blurry]"
    assert read.settings["TI hashes"] == 'a: 1, b: "2"'
    assert read.settings["Size"] == "512x768"


def test_a_value_that_only_looks_like_json_stays_as_it_is() -> None:
    assert parse('Steps: 1, Sampler: x, Bad: "\\q"').settings["Bad"] == '"\\q"'


@pytest.mark.parametrize("line", ["a" * 400_000, "a: " * 100_000, 'a: "' * 100_000, "ab: \\" * 80_000, " " * 400_000])
def test_a_long_hostile_line_is_read_in_a_moment(line: str) -> None:
    parse(f"x\n{line}")


# There and back

TEXT = st.text(st.one_of(st.sampled_from(list(' ,:\n"\\<>()红苹果，。a1-/\t\r')), st.characters()), max_size=60)
PROMPTS = TEXT.filter(lambda text: not any(line.startswith("Negative prompt:") for line in text.split("\n")))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9 /-]{1,20}[A-Za-z0-9]", fullmatch=True)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    count = draw(st.integers(1, 3))
    many = st.lists(SEEDS, min_size=count, max_size=count).map(tuple)
    sampler = draw(st.sampled_from(list(samplers.SAMPLERS.values())))
    schedule = draw(st.sampled_from(sorted(sampler.schedules)))
    return Drawn(
        prompt=draw(PROMPTS),
        negative_prompt=draw(PROMPTS),
        seeds=draw(many),
        subseeds=draw(many),
        subseed_strength=draw(st.floats(0, 1)),
        width=draw(st.integers(1, 4096)),
        height=draw(st.integers(1, 4096)),
        sampler=sampler.label,
        schedule=samplers.SCHEDULES[schedule].label,
        cfg_scale=draw(st.floats(0, 100)),
        steps=draw(st.integers(1, 500)),
        model_name=draw(TEXT.filter(bool)),
        model_hash=draw(st.from_regex(r"([0-9a-f]{10})?", fullmatch=True)),
        batch_size=count,
        denoising_strength=draw(st.none() | st.floats(0, 1)),
        clip_skip=draw(st.integers(1, 12)),
        extra=draw(st.dictionaries(NAMES.map("Extra {}".format), TEXT | st.integers(), max_size=3)),
    )


def expected(drawn: Drawn, index: int, era: Era) -> dict[str, str]:
    """What the line must say, by the page and not by the code."""
    old = era is Era.V1_6
    said: dict[str, Any] = {
        "Steps": drawn.steps,
        "Sampler": drawn.sampler,
        "CFG scale": drawn.cfg_scale,
        "Seed": drawn.seeds[index],
        "Size": f"{drawn.width}x{drawn.height}",
        "Model": drawn.model_name,
        "RNG": "CPU",
        "Version": "v1.6.0" if old else "v1.10.1",
        **drawn.extra,
    }
    if old and drawn.schedule != "Automatic":
        said["Sampler"] += f" {drawn.schedule}"
    if not old:
        said["Schedule type"] = drawn.schedule
    if drawn.model_hash:
        said["Model hash"] = drawn.model_hash
    if drawn.subseed_strength:
        said |= {"Variation seed": drawn.subseeds[index], "Variation seed strength": drawn.subseed_strength}
    if drawn.denoising_strength is not None:
        said["Denoising strength"] = drawn.denoising_strength or 0
    elif old:
        said["Denoising strength"] = 0
    if drawn.clip_skip > 1:
        said["Clip skip"] = drawn.clip_skip
    return {name: str(value) for name, value in said.items()}


@given(drawings(), st.sampled_from(Era))
def test_every_infotext_parses_back_to_what_was_drawn(drawn: Drawn, era: Era) -> None:
    for index in range(len(drawn.seeds)):
        read = parse(infotext(drawn, index, era))
        # Blanks before the prompt are lost: the web UI strips the whole text.
        assert read.prompt == (drawn.prompt if not drawn.prompt[:1].isspace() else drawn.prompt.lstrip())
        assert read.negative_prompt == drawn.negative_prompt
        assert read.settings == expected(drawn, index, era)


@given(drawings(), st.sampled_from(Era))
def test_every_info_is_ascii_and_reads_back(drawn: Drawn, era: Era) -> None:
    text = info(drawn, era)
    said = json.loads(text)
    assert text.isascii()
    assert said["prompt"] == drawn.prompt
    assert said["infotexts"] == [infotext(drawn, index, era) for index in range(len(drawn.seeds))]
    assert json.dumps(said) == text
