"""Native JSON to a `GenerationRequest`. Types are checked here, ranges by the core when it is submitted."""

from __future__ import annotations

import hashlib
import re

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
from diffuserve.core.request import MAX_SEED, GenerationRequest
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.callbacks import Wish, callback
from diffuserve.dialects.native.wire import JobBody
from diffuserve.dialects.pictures import input_picture

_ACCEPTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
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
    name = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in detail["loc"])
    match detail["type"]:
        case "json_invalid":
            return MalformedBody(f"the body is not valid JSON: {detail['ctx']['error']}")
        case "missing":
            return MissingParameter(name)
        case "extra_forbidden":
            return InvalidParameter(name, f"one of the known parameters: {', '.join(JobBody.model_fields)}")
        case kind if not name:
            return MalformedBody("the body must be a JSON object")
        case kind:
            shown = None if name == "callback_secret" else detail["input"]
            return InvalidParameter(name, _ACCEPTED.get(kind, "of another type"), shown)


async def to_request(body: JobBody, rooms: Rooms) -> GenerationRequest:
    """Raises MissingParameter, InvalidParameter, UnreadablePicture."""
    if not body.prompt.strip():
        raise MissingParameter("prompt")
    count = 1 if body.num_images is None else body.num_images
    picture = None
    if body.strength is not None and body.init_image is None:
        raise MissingParameter("init_image")
    chosen = _seeds(body, count)
    if body.init_image is not None:
        picture = await input_picture(rooms, body.init_image, "init_image")
    return GenerationRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt or "",
        model=body.model,
        width=body.width,
        height=body.height,
        num_images=count,
        seeds=chosen,
        num_inference_steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
        sampler=body.sampler,
        schedule=body.schedule,
        clip_skip=body.clip_skip or 0,
        eta=body.eta or 0.0,
        init_image=picture,
        strength=body.strength,
        preview_every=body.preview_every or 0,
    )


def _seeds(body: JobBody, count: int) -> tuple[int, ...]:
    if body.seed is None:
        return tuple(body.seeds or ())
    if body.seeds is not None:
        raise InvalidParameter("seed", "absent where seeds is given", body.seed)
    if not 0 <= body.seed <= MAX_SEED:
        raise InvalidParameter("seed", f"between 0 and {MAX_SEED}", body.seed)
    # Bounded, so that a count out of range is refused by the core and not counted up to here.
    return tuple((body.seed + index) % (MAX_SEED + 1) for index in range(min(count, 1000)))
