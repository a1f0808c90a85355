"""ModelsLab's own words: the fields that are known, and the calls and answers for the interactive documentation.

`loose.py` reads the fields; these models only describe them.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

YesNo = Literal["yes", "no"]

ENVELOPE = frozenset({"key", "webhook", "track_id", "loadbalancer", "instant_response", "base64", "temp"})
"""Of every call that draws."""

IMAGE = ENVELOPE | {
    "prompt", "negative_prompt", "model_id", "width", "height", "samples", "num_inference_steps", "steps", "guidance_scale",
    "seed", "scheduler", "use_karras_sigmas", "algorithm_type", "clip_skip", "enhance_prompt", "enhance_style", "multi_lingual",
    "init_image", "strength", "mask_image", "lora_model", "lora_strength", "controlnet_model", "controlnet_type",
    "controlnet_conditioning_scale", "auto_hint", "guess_mode", "control_image", "ip_adapter_id", "ip_adapter_scale",
    "ip_adapter_image", "upscale", "highres_fix", "safety_checker",
}  # fmt: skip
"""Read, or without effect by their nature."""

SWITCHES = ("panorama", "self_attention", "tomesd", "safety_checker_type", "embeddings_model", "vae")
"""Of pictures: without effect here. They are named in `meta.ignored` where they ask for something."""


class ImageCall(BaseModel):
    """What draws pictures. Numbers may be text, yes and no may be booleans; null and "" count as absent."""

    model_config = ConfigDict(title="ModelsLabImageCall")

    prompt: Annotated[str, Field(description="What to draw.", examples=["a red apple"])]
    key: Annotated[str | None, Field(description="Your key, if the server asks for one.")] = None
    model_id: Annotated[str | None, Field(description="A model's name; default: the server's own.")] = None
    negative_prompt: str | None = None
    width: Annotated[int, Field(ge=64, le=1024, multiple_of=8)] = 512
    height: Annotated[int, Field(ge=64, le=1024, multiple_of=8)] = 512
    samples: Annotated[int, Field(ge=1, le=4, description="How many pictures; picture i has seed + i.")] = 1
    num_inference_steps: Annotated[int, Field(ge=1, description="More than 50 are 50.")] = 20
    guidance_scale: Annotated[float | None, Field(ge=1, le=20, description="Default: the model's own.")] = None
    seed: Annotated[int | None, Field(description="null or -1: random.")] = None
    scheduler: Annotated[str | None, Field(description="One of `schedulers_list`, or an A1111 label.")] = None
    use_karras_sigmas: YesNo = "yes"
    clip_skip: Annotated[int | None, Field(ge=1, le=8, description="1 uses every layer.")] = None
    enhance_prompt: YesNo = "yes"
    enhance_style: str | None = None
    init_image: Annotated[str | None, Field(description="A link, a data URL or base64.")] = None
    strength: Annotated[float, Field(ge=0, le=1)] = 0.7
    mask_image: Annotated[str | None, Field(description="White is repainted.")] = None
    lora_model: Annotated[str | None, Field(description="Names, with commas between them.")] = None
    lora_strength: Annotated[str | None, Field(description="As many numbers, or one for all.")] = None
    controlnet_model: str | None = None
    controlnet_type: str | None = None
    controlnet_conditioning_scale: Annotated[str | None, Field(description="As many numbers, or one for all.")] = None
    auto_hint: Annotated[YesNo, Field(description="no: the picture is the map already.")] = "yes"
    control_image: str | None = None
    ip_adapter_id: str | None = None
    ip_adapter_scale: Annotated[float, Field(ge=0, le=1)] = 0.5
    ip_adapter_image: str | None = None
    upscale: Annotated[str, Field(description="no, yes (2), 1, 2, 3")] = "no"
    highres_fix: YesNo = "no"
    base64: YesNo = "no"
    temp: Annotated[YesNo, Field(description="Links open for a day.")] = "no"
    instant_response: YesNo = "no"
    webhook: Annotated[str | None, Field(description="Where to POST the answer when the job has ended.")] = None
    track_id: str | int | None = None


class VideoCall(BaseModel):
    """What will draw videos. It is checked and then answered 501: there is no video engine yet."""

    model_config = ConfigDict(title="ModelsLabVideoCall")

    prompt: Annotated[str, Field(examples=["a red apple falls"])]
    key: str | None = None
    model_id: str | None = None
    negative_prompt: str | None = None
    width: Annotated[int, Field(ge=64, le=1024)] = 512
    height: Annotated[int, Field(ge=64, le=1024)] = 512
    num_frames: int | None = None
    fps: Annotated[int, Field(ge=1, le=60)] = 8
    num_inference_steps: int = 20
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 7.5
    scheduler: str | None = None
    output_type: Literal["mp4", "gif"] = "mp4"
    seed: int | None = None
    init_image: str | None = None
    webhook: str | None = None
    track_id: str | int | None = None


class FetchCall(BaseModel):
    model_config = ConfigDict(title="ModelsLabFetchCall")

    key: str | None = None
    request_id: Annotated[int | str | None, Field(description="Where the path does not name it.")] = None


class Answer(BaseModel):
    """`success` has `output`; `processing` has `eta`, `fetch_result` and `future_links`; `failed` has a `message`."""

    model_config = ConfigDict(title="ModelsLabAnswer")

    status: Literal["success", "processing", "failed"]
    id: Annotated[int, Field(description="Below 2^53.")]
    output: Annotated[list[str], Field(description="Links, or base64 where that was asked for.")]
    generationTime: Annotated[float | None, Field(description="Seconds.")] = None  # noqa: N815 - the vendor's name
    meta: dict[str, Any] | None = None
    proxy_links: list[str] | None = None
    future_links: list[str] | None = None
    eta: Annotated[int | None, Field(description="Seconds; rather too many than too few.")] = None
    fetch_result: str | None = None
    message: str | None = None


class Failure(BaseModel):
    model_config = ConfigDict(title="ModelsLabFailure")

    status: Literal["error"] = "error"
    message: Annotated[str, Field(examples=["samples must be between 1 and 4"])]
    tip: str = ""
    retry_after: int | None = None


@functools.cache
def body_schema(call: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI request body of `call`."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": call.model_json_schema()}}}}
