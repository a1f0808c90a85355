"""The native dialect's JSON: what a job is asked for with, and what is answered. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from diffuserve.core.job import JobStatus
from diffuserve.core.request import MAX_SEED

_EXAMPLE: JsonDict = {"prompt": "a red apple", "num_images": 2, "seed": 7}


class JobBody(BaseModel):
    """What to draw. A field that is absent or null takes the model's own default."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, title="JobRequest", json_schema_extra={"examples": [_EXAMPLE]}
    )

    prompt: Annotated[
        str,
        Field(description="What to draw. `(word:1.2)`, `((word))`, `[word]` weigh words; `BREAK` starts a new chunk."),
    ]
    negative_prompt: Annotated[str | None, Field(description="What to avoid.")] = None
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
    num_inference_steps: int | None = None
    guidance_scale: Annotated[float | None, Field(description="1 or less draws without guidance, twice as fast.")] = (
        None
    )
    sampler: Annotated[str | None, Field(description="A name from `GET samplers`, in any spelling.")] = None
    schedule: Annotated[str | None, Field(description="The spacing of the sigmas, from `GET samplers`.")] = None
    clip_skip: Annotated[int | None, Field(description="Text encoder layers to leave out, 0..11.")] = None
    eta: Annotated[float | None, Field(description="DDIM's share of noise, 0..1.")] = None
    init_image: Annotated[str | None, Field(description="Image-to-image: base64, a data URL, or an http(s) link.")] = (
        None
    )
    strength: Annotated[
        float | None, Field(description="Image-to-image: the share of the steps that is run, over 0 and up to 1.")
    ] = None
    preview_every: Annotated[
        int | None, Field(description="Send a preview with the events after every so many steps; 0 is never.")
    ] = None
    callback_url: Annotated[
        str | None,
        Field(description="Where to POST a signed `Notification` when the job has ended, until it is taken."),
    ] = None
    callback_secret: Annotated[
        str | None,
        Field(repr=False, description="Signs it: `whsec_` and base64. Absent: the secret that the operator gave you."),
    ] = None


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


class SettledRequest(BaseModel):
    """What is drawn, every default filled in."""

    prompt: str
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


class NativeSides(BaseModel):
    min_side: int
    max_side: int


class ModelDefaults(BaseModel):
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int


class ModelView(BaseModel):
    model_config = ConfigDict(title="Model")

    name: str
    default: bool
    family: str
    aliases: list[str]
    description: str
    languages: list[str]
    native: Annotated[NativeSides, Field(description="Sides in pixels that it draws by itself; others are scaled.")]
    defaults: ModelDefaults


class ModelList(BaseModel):
    models: list[ModelView]


class SamplerView(BaseModel):
    model_config = ConfigDict(title="Sampler")

    id: str
    label: str
    aliases: list[str]
    schedules: list[str]


class ScheduleView(BaseModel):
    model_config = ConfigDict(title="Schedule")

    id: str
    label: str
    aliases: list[str]


class SubstituteView(BaseModel):
    """A name that is accepted although something else runs; the job's notes then say so."""

    model_config = ConfigDict(title="Substitute")

    label: str
    aliases: list[str]
    sampler: str
    schedule: str | None
    reason: str


class SamplerList(BaseModel):
    samplers: list[SamplerView]
    schedules: list[ScheduleView]
    substitutes: list[SubstituteView]


def body_schema() -> dict[str, Any]:
    """The OpenAPI request body of `POST jobs`."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": JobBody.model_json_schema()}}}}
