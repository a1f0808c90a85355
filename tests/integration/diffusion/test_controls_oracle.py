"""ControlNets, LoRA mixes and IP-Adapters through the whole step loop, against diffusers' own pipelines: alone and in
company of strangers who want something else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from diffuserve.core.model import Family
from diffuserve.core.request import Canvas, Control, Lora, Reference, ResolvedRequest
from diffuserve.engine.diffusion.loras import Loras
from support.oracles import Stock, grain
from support.studio import Studio, difference, forwards, in_company, input_image, request

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
TOLERANCE = 1
WIDTH, HEIGHT = 48, 32
"""Not square, so that no side can be taken for the other."""


def asked(prompt: str = "a small red house", *, seed: int = 31, **fields: Any) -> ResolvedRequest:
    canvas = Canvas(WIDTH, HEIGHT, WIDTH, HEIGHT)
    return request(prompt, **{"seed": seed, "canvas": canvas, "num_inference_steps": 4, **fields})


def control(model: str = "edges", seed: int = 41, **fields: Any) -> Control:
    return Control(model, input_image(grain(WIDTH, HEIGHT, seed)), **fields)


def reference(adapter: str = "base", seed: int = 51, scale: float = 0.6) -> Reference:
    return Reference(input_image(grain(40, 56, seed)), scale, adapter)


def begun(seed: int = 61, strength: float = 0.6) -> dict[str, Any]:
    return {"init_image": input_image(grain(WIDTH, HEIGHT, seed)), "strength": strength}


PLAIN = [
    asked("a dog", seed=32, sampler="dpmpp_2m", schedule="karras", guidance_scale=3.0),
    asked("a boat", seed=33, sampler="euler_a", guidance_scale=1.0, num_inference_steps=6),
]
CONTROLLED = [
    *PLAIN,
    asked("a dog", seed=34, controls=(control(seed=42, scale=1.3),), sampler="heun", num_inference_steps=3),
    asked("a cup", negative_prompt="tea", seed=35, controls=(control(seed=43, end=0.5),), guidance_scale=1.0),
    asked("a hat", seed=36, controls=(control(seed=44), control("depths", 45, scale=0.4)), **begun(62)),
]
MIXED = [
    *PLAIN,
    asked("a dog", seed=34, loras=(Lora("b", 0.7), Lora("c", -0.4)), sampler="euler_a"),
    asked("a cup", seed=35, loras=(Lora("a", 1.0),), guidance_scale=1.0, num_inference_steps=3),
    asked("a hat", seed=36, loras=(Lora("a", 0.5), Lora("b", 0.2)), **begun(62)),
]
REFERRED = [
    *PLAIN,
    asked("a dog", seed=34, reference=reference(seed=52, scale=1.0), sampler="euler_a"),
    asked("a cup", seed=35, reference=reference(seed=53, scale=0.0), guidance_scale=1.0),
    asked("a hat", seed=36, reference=reference(seed=54, scale=0.3), **begun(62)),
]

CONTROLS = {
    "one": asked(controls=(control(),)),
    "weak, without guidance": asked(controls=(control(scale=0.35),), guidance_scale=1.0, sampler="dpmpp_2m"),
    "late": asked(controls=(control(start=0.5),), sampler="euler_a"),
    "early": asked(controls=(control(end=0.5, scale=1.5),), num_inference_steps=5, sampler="heun"),
    "from a picture": asked(controls=(control(),), **begun()),
    "from a picture, in the middle": asked(
        controls=(control(start=0.25, end=0.8),), num_inference_steps=7, sampler="unipc", **begun(strength=0.8)
    ),
    "two": asked(controls=(control(scale=0.8), control("depths", 46, scale=0.5)), sampler="ddim", eta=0.5),
    "two, the later one first": asked(
        controls=(control("depths", 46, start=0.5), control(end=0.5)), negative_prompt="blur"
    ),
    "one net for two maps": asked(controls=(control(scale=0.7), control(seed=47, scale=0.4, end=0.75)), **begun()),
}
MIXES = {
    "two": asked(loras=(Lora("a", 0.5), Lora("b", 0.7)), negative_prompt="blur"),
    "without guidance": asked(loras=(Lora("a", 0.5), Lora("b", 0.7)), guidance_scale=1.0, sampler="euler_a"),
    "the opposite": asked(loras=(Lora("c", -0.8),), sampler="dpmpp_2m"),
    "from a picture": asked(loras=(Lora("d", 0.9), Lora("e", 0.4)), **begun()),
}
REFERENCES = {
    "base": asked(reference=reference()),
    "base, from a picture": asked(reference=reference(scale=0.9), sampler="euler_a", **begun()),
    "plus": asked(reference=reference("plus", scale=0.4), negative_prompt="blur"),
    "plus, without guidance": asked(reference=reference("plus"), guidance_scale=1.0, sampler="dpmpp_2m"),
}
EVERYTHING = asked(
    loras=(Lora("a", 0.5), Lora("b", 0.7)), controls=(control(end=0.75),), reference=reference(), **begun(strength=0.8)
)


def alike(kit: dict[Family, Any], family: Family, mine: ResolvedRequest, strangers: list[ResolvedRequest]) -> None:
    """`mine` is diffusers' picture, alone and in company, and not the picture that it would be without what steers it."""
    studio: Studio = kit["ours"][family]
    stock: Stock = kit["theirs"][family]
    theirs = stock.draw(mine)
    bare = dataclasses.replace(mine, controls=(), loras=(), reference=None)
    alone, without = (studio.draw(one)[0] for one in (mine, bare))
    assert difference(theirs, without) > 5 * TOLERANCE, "nothing steers it, so equality would prove nothing"
    assert difference(alone, theirs) <= TOLERANCE
    assert difference(in_company(studio, mine, strangers), theirs) <= TOLERANCE


@pytest.fixture
def kit(equipped: dict[Family, Studio], stocks: dict[Family, Stock]) -> dict[str, Any]:
    return {"ours": equipped, "theirs": stocks}


@pytest.mark.parametrize("case", CONTROLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_controlnets_draw_the_pipelines_picture_alone_and_in_company(kit, family, case):
    alike(kit, family, CONTROLS[case], CONTROLLED)


@pytest.mark.parametrize("case", MIXES)
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_mixes_draw_the_pipelines_picture_alone_and_in_company(kit, family, case):
    alike(kit, family, MIXES[case], MIXED)


@pytest.mark.parametrize("case", REFERENCES)
@pytest.mark.parametrize("family", FAMILIES)
def test_references_draw_the_pipelines_picture_alone_and_in_company(kit, family, case):
    mine = REFERENCES[case]
    named = mine.reference.adapter
    strangers = [
        one
        if one.reference is None
        else dataclasses.replace(one, reference=dataclasses.replace(one.reference, adapter=named))
        for one in REFERRED
    ]
    alike(kit, family, mine, strangers)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_them_at_once_draw_the_pipelines_picture_alone_and_in_company(kit, family):
    twin = dataclasses.replace(EVERYTHING, prompt="a dog", seeds=(77,), loras=(Lora("c", 0.9),), guidance_scale=1.0)
    alike(kit, family, EVERYTHING, [*MIXED, *CONTROLLED, twin])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_control_with_a_beginning_and_an_end_rides_with_plain_jobs_while_it_does_not_act(equipped, family):
    studio = equipped[family]
    with forwards(studio) as groups:
        studio.draw(
            asked(controls=(control(start=0.25, end=0.75),), num_inference_steps=8),
            asked("plain", num_inference_steps=8),
            asked("controlled", controls=(control(seed=48),), num_inference_steps=8),
        )
    assert sum(group == [1, 2] or group == [2, 1] for group in groups) == 4, groups
    assert sum(sorted(group) == [1, 3] for group in groups) == 4, groups


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_encoded_once_for_each_mix(equipped, family):
    studio = equipped[family]

    def found() -> tuple[int, int]:
        counters = studio.loop.counters()
        return counters.encodings - counters.encoding_hits, counters.encoding_hits

    words = f"never said before to {family}"
    first = asked(words, loras=(Lora("a", 0.25),), num_inference_steps=1)
    before = found()
    studio.draw(first, dataclasses.replace(first, seeds=(2,)))
    once = found()
    studio.draw(dataclasses.replace(first, loras=(Lora("a", 0.75),)))
    twice = found()
    assert once[0] - before[0] == 2  # the prompt and the empty negative one
    assert once[1] - before[1] == 2
    assert twice[0] - once[0] == 2


def test_each_mix_has_its_own_encoding_of_the_same_prompt(equipped):
    studio = equipped[Family.SD15]
    words = "one prompt for three mixes"
    mixes = [(), (Lora("a", 0.5),), (Lora("a", 0.9),)]
    alone = [studio.draw(asked(words, loras=mix))[0] for mix in mixes]
    together = studio.draw(*(asked(words, loras=mix) for mix in mixes))
    for drawn, expected in zip(together, alone, strict=True):
        assert difference(drawn, expected) <= TOLERANCE
    assert difference(alone[0], alone[1]) > TOLERANCE < difference(alone[1], alone[2])


def test_no_hook_of_a_mix_stays_on_the_model_after_a_forward_that_failed(equipped, monkeypatch):
    studio = equipped[Family.SD15]
    plain = asked()
    [before] = studio.draw(plain)
    entered = Loras.unet_rows

    def short(self: Loras, mixes: Any) -> Any:
        return entered(self, [*mixes, mixes[-1]])  # announces a row too many: the first hook raises

    with monkeypatch.context() as patched:
        patched.setattr(Loras, "unet_rows", short)
        studio.events.pop(1, None)
        studio.loop.submit(1, asked(loras=(Lora("a", 1.0),)))
        studio.run()
    assert "was announced with" in studio.events[1][-1].error.message
    assert difference(studio.draw(plain)[0], before) == 0
