"""Native JSON to a `GenerationRequest`. Types are checked here, ranges by the core when it is submitted."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from diffuserve.core.delivery import Callback
from diffuserve.core.errors import (
    DiffuserveError,
    InvalidParameter,
    MalformedBody,
    MissingParameter,
    UnsupportedMediaType,
)
from diffuserve.core.ports import Idempotency
from diffuserve.core.request import (
    MAX_SEED,
    Control,
    GenerationRequest,
    HiresFix,
    Inpaint,
    Lora,
    Reference,
    Watermark,
)
from diffuserve.dialects.base import Rooms, unknown_value
from diffuserve.dialects.callbacks import Wish, callback
from diffuserve.dialects.native.body import PARTS, JobBody, Part
from diffuserve.dialects.native.pictures import read_pictures

OUTPAINT_STRENGTH = 0.95
"""Default where there is nothing yet under what is painted but the colours of the edge."""

_AS_THEY_ARE = (
    "model",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "sampler",
    "schedule",
    "clip_skip",
    "eta",
    "keep_texture",
    "preview_every",
    "style",
    "enhance_prompt",
    "format",
    "quality",
)
"""Fields whose names and values are the core's own."""

_ACCEPTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


async def read_body(request: Request) -> JobBody:
    """Raises UnsupportedMediaType, MalformedBody, MissingParameter, InvalidParameter, PayloadTooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", kind):
        shown = f"content type {kind[:80]}" if kind else "a body without a content type"
        raise UnsupportedMediaType(f"{shown} is not understood; use application/json")
    try:
        return JobBody.model_validate_json(await request.body())
    except ValidationError as error:
        raise refusal(error.errors(include_url=False)[0]) from None


def to_callback(body: JobBody, rooms: Rooms, request: Request) -> Callback | None:
    """Raises MissingParameter, InvalidParameter."""
    if body.callback_url is not None:
        wish = Wish(body.callback_url, "callback_url", body.callback_secret, "callback_secret")
        return callback(rooms, request, "native", wish)
    if body.callback_secret is not None:
        raise MissingParameter("callback_url")
    return None


def to_idempotency(key: str | None, body: bytes) -> Idempotency | None:
    """What the header `Idempotency-Key` promises of the body, if there is one. Raises InvalidParameter."""
    if key is None:
        return None
    if not re.fullmatch(r"[ -~]{1,255}", key):
        raise InvalidParameter("Idempotency-Key", "1 to 255 printable ASCII characters")
    return Idempotency(key, hashlib.sha256(body).hexdigest())


def refusal(detail: ErrorDetails) -> DiffuserveError:
    """The first thing that is wrong with a body, in our words."""
    name = _dotted(detail["loc"])
    match detail["type"]:
        case "json_invalid":
            return MalformedBody(f"the body is not valid JSON: {detail['ctx']['error']}")
        case "missing":
            return MissingParameter(name)
        case "extra_forbidden":
            known = PARTS[str(detail["loc"][0])] if len(detail["loc"]) > 1 else JobBody
            return InvalidParameter(name, f"one of the known parameters: {', '.join(known.model_fields)}")
        case "enum":
            return unknown_value(name, re.findall("'([^']*)'", detail["ctx"]["expected"]), detail["input"])
        case kind if not name:
            return MalformedBody("the body must be a JSON object")
        case kind:
            shown = None if name == "callback_secret" else detail["input"]
            return InvalidParameter(name, _ACCEPTED.get(kind, "of another type"), shown)


def _dotted(place: tuple[int | str, ...]) -> str:
    """`controls[0].scale`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


async def to_request(body: JobBody, rooms: Rooms) -> GenerationRequest:
    """Raises MissingParameter, InvalidParameter, UnreadablePicture."""
    if not body.prompt.strip():
        raise MissingParameter("prompt")
    count = 1 if body.num_images is None else body.num_images
    chosen = _seeds(body, count)
    found = await read_pictures(body, rooms)
    request = GenerationRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt or "",
        num_images=count,
        seeds=chosen,
        init_image=found.init_image,
        strength=body.strength,
        loras=tuple(Lora(name, weight) for name, weight in (body.loras or {}).items()),
        controls=tuple(
            Control(image=image, **given(control, "image"))
            for control, image in zip(body.controls or (), found.controls, strict=True)
        ),
        reference=Reference(image=found.reference, **given(body.reference, "image"))
        if body.reference is not None and found.reference is not None
        else None,
        inpaint=None if found.mask is None else Inpaint(found.mask, **given(body.inpaint)),
        hires=None if body.hires is None else HiresFix(**given(body.hires)),
        variation_seeds=() if body.variation is None else tuple(body.variation.seeds or ()),
        variation_strength=0.0 if body.variation is None else body.variation.strength,
        watermark=None if body.watermark is None else Watermark(**given(body.watermark)),
        **{name: value for name in _AS_THEY_ARE if (value := getattr(body, name)) is not None},
    )
    if body.outpaint is not None and body.strength is None:
        request = replace(request, strength=OUTPAINT_STRENGTH)
    return request


def given(part: Part | None, *without: str) -> dict[str, Any]:
    """What was said in a part of the body, for a dataclass of the core to fill in the rest."""
    if part is None:
        return {}
    return {name: value for name, value in part if value is not None and name not in without}


def _seeds(body: JobBody, count: int) -> tuple[int, ...]:
    if body.seed is None:
        return tuple(body.seeds or ())
    if body.seeds is not None:
        raise InvalidParameter("seed", "absent where seeds is given", body.seed)
    if not 0 <= body.seed <= MAX_SEED:
        raise InvalidParameter("seed", f"between 0 and {MAX_SEED}", body.seed)
    # Bounded, so that a count out of range is refused by the core and not counted up to here.
    return tuple((body.seed + index) % (MAX_SEED + 1) for index in range(min(count, 1000)))
