"""What a job is asked for with: the JSON of `POST jobs`. Unknown fields are refused, in every part of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from diffuserve.core.request import MAX_SEED, Corner, Fill, PictureFormat, Preprocessor, Upscaler

_EXAMPLE: JsonDict = {"prompt": "a red apple", "num_images": 2, "seed": 7}
_PICTURE = "base64, a data URL, or an http(s) link"


class Part(BaseModel):
    """A field that is absent or null takes its default."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ControlPart(Part):
    """Structure that the drawing keeps to: a ControlNet and the map that it reads."""

    model_config = ConfigDict(title="Control")

    model: Annotated[str, Field(description="A name, alias or kind (`canny`) from `GET models`.")]
    image: Annotated[str | None, Field(description=f"{_PICTURE}. Absent: `init_image`.")] = None
    preprocessor: Annotated[
        Preprocessor | None, Field(description="`canny` makes a map of the picture; `none`: it is the map already.")
    ] = None
    scale: Annotated[float | None, Field(description="How much it counts, 0..2; 1 by default.")] = None
    start: Annotated[float | None, Field(description="It acts from this share of the steps, 0..1, ...")] = None
    end: Annotated[float | None, Field(description="... to this one.")] = None
    low_threshold: Annotated[int | None, Field(description="`canny`: 0..255; 100 by default.")] = None
    high_threshold: Annotated[int | None, Field(description="`canny`: 0..255; 200 by default.")] = None


class ReferencePart(Part):
    """A picture whose content or face the drawing takes on: an IP-Adapter."""

    model_config = ConfigDict(title="Reference")

    image: Annotated[str, Field(description=_PICTURE)]
    scale: Annotated[float | None, Field(description="How much it counts, 0..1; 0.5 by default.")] = None
    adapter: Annotated[str | None, Field(description="A name from `GET models`. Absent: the first that fits.")] = None
    face: Annotated[bool | None, Field(description="Only the face counts.")] = None


class InpaintPart(Part):
    model_config = ConfigDict(title="Inpaint")

    blur: Annotated[
        int | None, Field(description="Pixels by which the mask's edge is softened, 0..64; 4 by default.")
    ] = None
    fill: Annotated[Fill | None, Field(description="What stands under the mask at the beginning.")] = None
    padding: Annotated[
        int | None, Field(description="Draw only the mask and so many pixels around it, enlarged. Absent: everything.")
    ] = None


class OutpaintPart(Part):
    """Pixels that are added to `init_image` at each side, and painted."""

    model_config = ConfigDict(title="Outpaint")

    left: int | None = None
    top: int | None = None
    right: int | None = None
    bottom: int | None = None


class HiresPart(Part):
    """Two passes: small, then enlarged and refined to the size that was asked for."""

    model_config = ConfigDict(title="Hires")

    width: Annotated[int | None, Field(description="Of the first pass. Absent: the model's own size.")] = None
    height: int | None = None
    strength: Annotated[
        float | None, Field(description="Share of the second schedule that is run; 0.5 by default.")
    ] = None
    num_inference_steps: Annotated[int | None, Field(description="Of the second pass. Absent: as the first.")] = None
    upscaler: Upscaler | None = None


class VariationPart(Part):
    """Noise part of the way from that of the seed to that of a second seed."""

    model_config = ConfigDict(title="Variation")

    seeds: Annotated[list[int] | None, Field(description="One for each picture; where they are fewer, random.")] = None
    strength: Annotated[float, Field(description="How far, 0..1.")]


class WatermarkPart(Part):
    """A line of text over the finished picture."""

    model_config = ConfigDict(title="Watermark")

    text: Annotated[str, Field(description="1 to 100 characters, Latin or Chinese.")]
    position: Corner | None = None
    opacity: Annotated[float | None, Field(description="0..1; 0.3 by default.")] = None
    size: Annotated[
        float | None, Field(description="Height of the letters, 0.01..0.2 of the shorter side; 0.04 by default.")
    ] = None


class JobBody(Part):
    """What to draw. A field that is absent or null takes the model's own default."""

    model_config = ConfigDict(title="JobRequest", json_schema_extra={"examples": [_EXAMPLE]})

    prompt: Annotated[
        str,
        Field(
            description="What to draw. `(word:1.2)`, `((word))`, `[word]` weigh words; `BREAK` starts a new chunk; "
            "`<lora:name:0.8>` mixes in a LoRA."
        ),
    ]
    negative_prompt: Annotated[str | None, Field(description="What to avoid.")] = None
    style: Annotated[str | None, Field(description="Words put around the prompt: a name from `GET styles`.")] = None
    enhance_prompt: Annotated[bool | None, Field(description="Let the server make more of the prompt.")] = None
    model: Annotated[str | None, Field(description="A name or alias from `GET models`.")] = None
    width: Annotated[int | None, Field(description="Pixels, exactly; any size is drawn at a fitting native size.")] = (
        None
    )
    height: int | None = None
    num_images: Annotated[int | None, Field(description="How many pictures; 1 by default.")] = None
    seed: Annotated[
        int | None,
        Field(description=f"0..{MAX_SEED}. Picture i has seed + i. Absent: random. Not together with `seeds`."),
    ] = None
    seeds: Annotated[
        list[int] | None, Field(description="One seed for each picture; where they are fewer, the rest is random.")
    ] = None
    variation: VariationPart | None = None
    num_inference_steps: int | None = None
    guidance_scale: Annotated[float | None, Field(description="1 or less draws without guidance, twice as fast.")] = (
        None
    )
    sampler: Annotated[str | None, Field(description="A name from `GET samplers`, in any spelling.")] = None
    schedule: Annotated[str | None, Field(description="The spacing of the sigmas, from `GET samplers`.")] = None
    clip_skip: Annotated[int | None, Field(description="Text encoder layers to leave out, 0..11.")] = None
    eta: Annotated[float | None, Field(description="DDIM's share of noise, 0..1.")] = None
    loras: Annotated[
        dict[str, float] | None,
        Field(description="Names from `GET models` and weights, -10..10.", examples=[{"watercolor": 0.8}]),
    ] = None
    controls: Annotated[list[ControlPart] | None, Field(description="Up to 4.")] = None
    reference: ReferencePart | None = None
    init_image: Annotated[str | None, Field(description=f"Image-to-image: {_PICTURE}.")] = None
    strength: Annotated[
        float | None, Field(description="Image-to-image: the share of the steps that is run, over 0 and up to 1.")
    ] = None
    keep_texture: Annotated[
        bool | None, Field(description="False smooths `init_image`, so that its grain does not come through.")
    ] = None
    mask: Annotated[
        str | None, Field(description=f"Repaint only its white part of `init_image`, whose shape it has: {_PICTURE}.")
    ] = None
    inpaint: InpaintPart | None = None
    outpaint: OutpaintPart | None = None
    hires: HiresPart | None = None
    preview_every: Annotated[
        int | None, Field(description="Send a preview with the events after every so many steps; 0 is never.")
    ] = None
    watermark: WatermarkPart | None = None
    format: Annotated[PictureFormat | None, Field(description="`png` by default.")] = None
    quality: Annotated[int | None, Field(description="Of JPEG and WebP, 1..100; 90 by default.")] = None
    callback_url: Annotated[
        str | None,
        Field(description="Where to POST a signed `Notification` when the job has ended, until it is taken."),
    ] = None
    callback_secret: Annotated[
        str | None,
        Field(repr=False, description="Signs it: `whsec_` and base64. Absent: the secret that the operator gave you."),
    ] = None


PARTS: dict[str, type[Part]] = {
    "controls": ControlPart,
    "reference": ReferencePart,
    "inpaint": InpaintPart,
    "outpaint": OutpaintPart,
    "hires": HiresPart,
    "variation": VariationPart,
    "watermark": WatermarkPart,
}
"""The fields of the body that have fields of their own."""


def body_schema() -> dict[str, Any]:
    """The OpenAPI request body of `POST jobs`."""
    schema = JobBody.model_json_schema()
    # References count from the document's root, where these definitions are not.
    whole = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole}}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        return {**_inlined(named, definitions), **{key: value for key, value in schema.items() if key != "$ref"}}
    return {key: _inlined(value, definitions) for key, value in schema.items()}
