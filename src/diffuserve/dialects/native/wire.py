"""The native dialect's JSON as it is answered. `body.py` is what is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from diffuserve.core.job import JobStatus
from diffuserve.core.request import Corner, Fill, PictureFormat, Preprocessor, Upscaler


class ProgressView(BaseModel):
    done: int
    total: Annotated[int, Field(description="Steps, summed over the job's pictures.")]


class ImageView(BaseModel):
    index: int
    url: Annotated[str, Field(description="A signed link that opens without credentials until it expires.")]
    media_type: str
    width: int
    height: int
    seed: int
    size: Annotated[int, Field(description="Bytes.")]
    sha256: str


class UsageView(BaseModel):
    images: int
    steps: int
    pixels: int
    device_seconds: float


class ErrorView(BaseModel):
    code: str
    message: str


class SettledControl(BaseModel):
    model: str
    preprocessor: Preprocessor
    scale: float
    start: float
    end: float


class SettledReference(BaseModel):
    adapter: str
    scale: float
    face: bool


class SettledInpaint(BaseModel):
    blur: int
    fill: Fill
    padding: int | None


class SettledHires(BaseModel):
    width: Annotated[int, Field(description="Of the first pass.")]
    height: int
    strength: float
    num_inference_steps: int
    upscaler: Upscaler


class SettledVariation(BaseModel):
    seeds: list[int]
    strength: float


class SettledWatermark(BaseModel):
    text: str
    position: Corner
    opacity: float
    size: float


class SettledRequest(BaseModel):
    """What is drawn, every default filled in."""

    prompt: str
    asked_prompt: Annotated[
        str | None, Field(description="What was sent, where `prompt` is not that: translated, styled, tags taken out.")
    ]
    negative_prompt: str
    model: str
    width: int
    height: int
    seeds: list[int]
    num_inference_steps: int
    guidance_scale: float
    sampler: str
    schedule: str
    clip_skip: int
    eta: float
    strength: Annotated[float | None, Field(description="Null where there was no `init_image`.")]
    loras: Annotated[dict[str, float], Field(description="Names and weights.")]
    controls: list[SettledControl]
    reference: SettledReference | None
    inpaint: SettledInpaint | None
    hires: Annotated[SettledHires | None, Field(description="Null where it is drawn in one pass.")]
    variation: SettledVariation | None
    keep_texture: bool
    watermark: SettledWatermark | None
    format: PictureFormat
    quality: int


class JobView(BaseModel):
    """One job."""

    model_config = ConfigDict(title="Job")

    id: Annotated[str, Field(description="Decimal digits.", examples=["7340582001"])]
    status: JobStatus
    created_at: Annotated[
        str, Field(description="RFC 3339, as the other times.", examples=["2026-01-31T12:00:00.000Z"])
    ]
    started_at: str | None
    finished_at: str | None
    request: SettledRequest
    progress: Annotated[ProgressView | None, Field(description="While it runs, once it is known.")]
    images: list[ImageView]
    notes: Annotated[list[str], Field(description="What was done otherwise than asked, and why.")]
    usage: UsageView
    error: ErrorView | None


class Notification(BaseModel):
    """What is posted to `callback_url`, signed per the Standard Webhooks specification."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: Annotated[str, Field(description="When the job ended.")]
    data: JobView


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable, for machines.", examples=["invalid_parameter"])]
    param: Annotated[str | None, Field(description="The parameter at fault.")] = None
