"""A JSON body to a `GenerationRequest`: types are strict, every range is spelled out, and defaults are the API's own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from diffuserve.core.errors import InvalidParameter, MalformedBody, MissingParameter, UnknownModel
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects.base import unknown_value
from diffuserve.dialects.qianfan.errors import INVALID_ARGUMENT, with_code
from diffuserve.dialects.qianfan.wire import MAX_PROMPT, SAMPLERS, SIZES, STYLES
from diffuserve.jobs.catalog import Catalog

DEFAULT_ENDPOINT = "sd_xl"
"""The one that clients know without asking."""

_SEEDS = 2**32
_LARGE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """A parsed call."""

    request: GenerationRequest
    user_id: str


async def read_object(request: Request) -> Mapping[str, Any]:
    """The body, whatever its content type says: the vendor's own samples send JSON as a form.

    Raises MalformedBody, PayloadTooLarge.
    """
    body = await request.body()
    try:
        value = await asyncio.to_thread(_json, body) if len(body) > _LARGE else _json(body)
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except ValueError as error:  # not JSON, not text, or a number of thousands of digits
        raise MalformedBody(f"the body is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise with_code(request, INVALID_ARGUMENT, MalformedBody("the body must be a JSON object"))
    return value


def model_of(endpoint: str, catalog: Catalog) -> str | None:
    """The model that the last segment of the path names; None is the default one. Raises UnknownModel."""
    try:
        return catalog.find(endpoint).name
    except UnknownModel:
        if endpoint.casefold() == DEFAULT_ENDPOINT:
            return None
        raise


def to_wish(body: Mapping[str, Any], model: str | None) -> Wish:
    """Raises MissingParameter, InvalidParameter."""
    fields = _Fields(body)
    prompt = fields.text("prompt", MAX_PROMPT)
    if not prompt.strip():
        raise MissingParameter("prompt")
    width, height = fields.choice("size", SIZES, "1024x1024", exactly=True).split("x")
    count = fields.whole("n", 1, 4, 1)
    style = fields.choice("style", STYLES, "Base")
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt", MAX_PROMPT),
        model=model,
        width=int(width),
        height=int(height),
        num_images=count,
        seeds=_seeds(fields.maybe_whole("seed", 0, _SEEDS - 1), count),
        num_inference_steps=fields.whole("steps", 10, 50, 20),
        guidance_scale=fields.number("cfg_scale", 0, 30, 5.0),
        sampler=fields.choice("sampler_index", SAMPLERS, "Euler a"),
        # Base is no style at all.
        style=None if style == "Base" else style,
    )
    return Wish(request, fields.text("user_id"))


def _seeds(seed: int | None, count: int) -> tuple[int, ...]:
    return () if seed is None else tuple((seed + index) % _SEEDS for index in range(count))


class _Fields:
    """The fields of one body, read by name and checked one by one. Null and the empty text count as absent."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    def text(self, name: str, longest: int | None = None) -> str:
        value = self._body.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidParameter(name, "text", value)
        if longest is not None and len(value) > longest:
            raise InvalidParameter(name, f"at most {longest} characters long, got {len(value)}")
        return value

    def choice(self, name: str, accepted: Sequence[str], default: str, *, exactly: bool = False) -> str:
        """One of `accepted`; unless `exactly`, also in another case or with more blanks."""
        value = self.text(name)
        if not value or value in accepted:
            return value or default
        found = [] if exactly else [one for one in accepted if _loose(one) == _loose(value)]
        if not found:
            raise unknown_value(name, list(accepted), value)
        return found[0]

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        value = self.maybe_whole(name, low, high)
        return default if value is None else value

    def maybe_whole(self, name: str, low: int, high: int) -> int | None:
        value = self._body.get(name)
        if value is None or value == "":
            return None
        # bool is an int to Python and never a number to a caller.
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidParameter(name, f"a whole number between {low} and {high}", value)
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        value = self._body.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidParameter(name, f"a number between {low:g} and {high:g}", value)
        return float(value)


def _json(body: bytes) -> Any:
    return json.loads(body.decode("utf-8-sig"), parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _loose(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().casefold()
