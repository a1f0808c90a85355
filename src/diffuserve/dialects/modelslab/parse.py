"""A call's fields to a `GenerationRequest`. `controls.py` reads what steers besides words, `solver.py` who solves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from diffuserve.core.delivery import Callback
from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import GenerationRequest, HiresFix, Inpaint, InputImage, Upscaler
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.bodies import Numeral
from diffuserve.dialects.callbacks import Wish as Told
from diffuserve.dialects.callbacks import callback
from diffuserve.dialects.modelslab import controls, solver, wire
from diffuserve.dialects.modelslab.loose import FLAGS, Fields
from diffuserve.dialects.modelslab.manners import Manners
from diffuserve.dialects.modelslab.memo import NAME, Memo
from diffuserve.dialects.modelslab.paths import Operation, Path
from diffuserve.dialects.pictures import input_picture
from diffuserve.prompts import styles

MAX_SEED = 2**63 - 1
SIDES = (64, 1024)
MAX_STEPS = 50
_MULTIPLE = 8
_UPSCALES = {"no": 1, "0": 1, "false": 1, "1": 1, "yes": 2, "true": 2, "2": 2, "3": 3}
_UPSCALE_STRENGTH = 0.35
"""How much of the noise schedule refines an enlarged picture: enough for detail, too little for another composition."""
_GUESSED = "best quality"
"""What is drawn for `guess_mode` without a prompt: ControlNet's authors do the same."""
_ENHANCE = styles.find("Enhance")


@dataclass(frozen=True)
class Wish:
    """A parsed call: what to draw, and how to answer."""

    request: GenerationRequest
    memo: Memo
    callback: Callback | None
    at_once: bool
    """Answer `processing` without waiting."""


async def to_wish(values: Mapping[str, Any], path: Path, rooms: Rooms, request: Request, manners: Manners) -> Wish:
    """Raises MissingParameter, InvalidParameter, UnknownModel, UnreadablePicture."""
    fields = Fields(values)
    told = to_callback(fields, rooms, request)
    memo, notes = _memo(fields, told), _Notes(fields)
    needed = _needed(fields, path.operation)
    model = rooms.jobs.catalog.find(fields.text("model_id").strip() or None)
    prompt = _prompt(fields, path, notes)
    count = fields.whole("samples", 1, 4, 1) or 1
    width, height = _side(fields, "width"), _side(fields, "height")
    upscale = _upscale(fields)
    chosen = solver.choose(fields, model, notes.ignore)
    strength = fields.number("strength", 0, 1)
    guidance = fields.number("guidance_scale", 0 if path.realtime else 1, 20)
    # Half of the vendor's own examples say `steps`.
    named = "num_inference_steps" if fields.given("num_inference_steps") else "steps"
    steps = fields.whole(named, 1, MAX_STEPS, 20, clamp=True)
    clip_skip = fields.whole("clip_skip", 0, 8, 0) or 0
    loras = controls.loras(fields)
    planned = controls.plan(fields, path.operation, rooms.jobs.catalog, model, notes.say)
    style, enhance = _help(fields, prompt, manners, notes)
    hires = _second_pass(fields, model, (width, height), upscale)
    # Last of all: pictures are the only fields that cost anything to look at.
    pictures = {name: await _picture(rooms, fields, name) for name in needed.wanted}
    init = pictures.get("init_image")
    if path.operation is Operation.CONTROLNET and strength is None and pictures.get("mask_image") is None:
        # Without a strength the picture is what the map is made of, and nothing else.
        pictures["control_image"] = pictures.get("control_image") or init
        init = None
    if hires is not None and init is not None:
        hires = None
        notes.ignore("highres_fix")
    drawn = GenerationRequest(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt"),
        model=model.name,
        width=width * upscale,
        height=height * upscale,
        num_images=count,
        seeds=seeds(fields, count),
        num_inference_steps=steps,
        guidance_scale=guidance,
        sampler=chosen.sampler,
        schedule=chosen.schedule,
        clip_skip=max(0, clip_skip - 1),
        init_image=init,
        # Nothing is no strength of the core's: one step is the least that is drawn.
        strength=None if init is None else max(0.001, 0.7 if strength is None else strength),
        loras=loras,
        controls=planned.controls(pictures.get("control_image")),
        reference=planned.reference(pictures.get("ip_adapter_image")),
        inpaint=_inpaint(init, pictures.get("mask_image")),
        hires=hires,
        style=style,
        enhance_prompt=enhance,
    )
    return Wish(drawn, notes.into(memo, chosen.asked, upscale), told, _at_once(fields))


def to_callback(fields: Fields, rooms: Rooms, request: Request) -> Callback | None:
    """Raises InvalidParameter."""
    url = fields.text("webhook").strip()
    return callback(rooms, request, NAME, Told(url, "webhook")) if url else None


def seeds(fields: Fields, count: int) -> tuple[int, ...]:
    """Seed + i for each picture; none for a random one. Old clients write -1 for that."""
    seed = fields.whole("seed", -1, MAX_SEED)
    return () if seed is None or seed < 0 else tuple((seed + index) % (MAX_SEED + 1) for index in range(count))


def track_id(fields: Fields) -> str | int | float | None:
    """With the type that it came in: receivers compare it with what they sent."""
    value = fields.raw("track_id")
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidParameter("track_id", "a string or a number")
    if not isinstance(value, Numeral):
        return value
    digits = value.removeprefix("-")
    return int(value) if digits.isdecimal() and len(digits) <= 40 else float(value)


@dataclass(frozen=True)
class _Needed:
    wanted: tuple[str, ...]
    """Picture fields, those that are given."""


_PICTURES = ("init_image", "mask_image", "control_image", "ip_adapter_image")
_REQUIRED = {
    Operation.IMG2IMG: ("init_image",),
    Operation.INPAINT: ("init_image", "mask_image"),
}


def _needed(fields: Fields, operation: Operation) -> _Needed:
    for name in _REQUIRED.get(operation, ()):
        if not fields.given(name):
            raise MissingParameter(name)
    if operation is Operation.CONTROLNET and not (fields.given("init_image") or fields.given("control_image")):
        raise MissingParameter("init_image")
    if fields.given("mask_image") and not fields.given("init_image"):
        raise MissingParameter("init_image")
    return _Needed(tuple(name for name in _PICTURES if fields.given(name)))


def _prompt(fields: Fields, path: Path, notes: _Notes) -> str:
    prompt = fields.text("prompt")
    guess = fields.flag("guess_mode", False)
    if prompt.strip():
        if guess:
            notes.ignore("guess_mode")
        return prompt
    if guess and path.operation is Operation.CONTROLNET:
        return _GUESSED
    raise MissingParameter("prompt")


def _side(fields: Fields, name: str) -> int:
    side = fields.whole(name, *SIDES, 512) or 512
    if side % _MULTIPLE:
        raise InvalidParameter(name, f"divisible by {_MULTIPLE}", side)
    return side


def _help(fields: Fields, prompt: str, manners: Manners, notes: _Notes) -> tuple[str | None, bool]:
    """The style that is put around the prompt, and whether a prompt writer is asked."""
    wanted = fields.flag("enhance_prompt", True)
    fields.flag("multi_lingual", False)
    name = fields.text("enhance_style").strip()
    if name:
        try:
            return styles.find(name).name, wanted and manners.writer
        except InvalidParameter:
            notes.ignore("enhance_style")
    if not wanted or manners.writer:
        return None, wanted
    words = _ENHANCE.prompt.replace("{prompt}", "").strip(", ")
    # A prompt that was taken from an earlier answer has them already.
    return (None if words in prompt else _ENHANCE.name), False


def _second_pass(fields: Fields, model: ModelInfo, size: tuple[int, int], upscale: int) -> HiresFix | None:
    if upscale > 1 and not fields.given("init_image"):
        # Composed at the size that was asked for, where the model draws that, then refined: not composed anew.
        width, height = size if max(size) <= model.native.max_side else (None, None)
        return HiresFix(width, height, _UPSCALE_STRENGTH, upscaler=Upscaler.LANCZOS)
    return HiresFix() if fields.flag("highres_fix", False) else None


def _inpaint(init: InputImage | None, mask: InputImage | None) -> Inpaint | None:
    return None if mask is None or init is None else Inpaint(mask)


async def _picture(rooms: Rooms, fields: Fields, name: str) -> InputImage | None:
    source = fields.picture(name)
    return None if source is None else await input_picture(rooms, source, name)


def _upscale(fields: Fields) -> int:
    value = fields.raw("upscale")
    return 1 + value if isinstance(value, bool) else _UPSCALES[fields.choice("upscale", list(_UPSCALES), "no")]


def _at_once(fields: Fields) -> bool:
    return fields.given("webhook") or fields.flag("instant_response", False)


def _memo(fields: Fields, told: Callback | None) -> Memo:
    fields.flag("loadbalancer", False)
    return Memo(
        track_id=track_id(fields),
        webhook=None if told is None else told.url,
        base64=fields.flag("base64", False),
        temp=fields.flag("temp", False),
    )


class _Notes:
    """What the caller is told in `meta`: fields without effect, and sentences."""

    def __init__(self, fields: Fields) -> None:
        self._said: list[str] = []
        self._ignored = [name for name in fields.names() if name not in wire.IMAGE and name not in wire.SWITCHES]
        self._ignored += [name for name in wire.SWITCHES if fields.given(name) and not _says_no(fields.raw(name))]

    def ignore(self, name: str) -> None:
        self._ignored.append(name)

    def say(self, sentence: str) -> None:
        self._said.append(sentence)

    def into(self, memo: Memo, sampler: str | None, upscale: int) -> Memo:
        ignored = tuple(dict.fromkeys(name[:100] for name in self._ignored[:100]))
        factor = "no" if upscale == 1 else str(upscale)
        return replace(memo, sampler=sampler, upscale=factor, notes=tuple(self._said), ignored=ignored)


def _says_no(value: object) -> bool:
    return value is False or (isinstance(value, str) and FLAGS.get(value.strip().lower()) is False)
