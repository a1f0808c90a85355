"""Baidu Qianfan's own words: the body and the answers of `text2image`, of the token endpoint and of the model list.

The models describe them for the documentation and write the answers; `parse.py` reads bodies, because types are strict
there and every refusal names the field. The tables are the API's closed lists.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SIZES = (
    *("768x768", "1024x1024", "1536x1536", "2048x2048", "1024x768", "2048x1536"),
    *("768x1024", "1536x2048", "1024x576", "2048x1152", "576x1024", "1152x2048"),
)

SAMPLERS = (
    *("Euler", "Euler a", "DPM++ 2M", "DPM++ 2M Karras", "LMS Karras", "DPM++ SDE", "DPM++ SDE Karras"),
    *("DPM2 a Karras", "Heun", "DPM++ 2M SDE", "DPM++ 2M SDE Karras", "DPM2", "DPM2 Karras", "DPM2 a", "LMS"),
)
"""`core.samplers` knows each by this label."""

STYLES = (
    *("Base", "3D Model", "Analog Film", "Anime", "Cinematic", "Comic Book", "Craft Clay", "Digital Art", "Enhance"),
    *("Fantasy Art", "Isometric", "Line Art", "Lowpoly", "Neonpunk", "Origami", "Photographic", "Pixel Art", "Texture"),
)
"""`prompts.styles` knows each by this name."""

MAX_PROMPT = 1024
"""Characters (code points)."""


class ImageBody(BaseModel):
    """What to draw. Absent, null and empty fields take their default; unknown ones are ignored."""

    model_config = ConfigDict(
        title="QianfanText2Image", json_schema_extra={"examples": [{"prompt": "a red apple", "n": 1, "seed": 7}]}
    )

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT, description="What to draw.")]
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT, description="What to avoid.")] = ""
    size: Annotated[str, Field(description="Width x height, exactly.", json_schema_extra={"enum": list(SIZES)})] = (
        "1024x1024"
    )
    n: Annotated[int, Field(ge=1, le=4, description="How many pictures.")] = 1
    steps: Annotated[int, Field(ge=10, le=50, description="Steps of the sampler.")] = 20
    sampler_index: Annotated[str, Field(json_schema_extra={"enum": list(SAMPLERS)})] = "Euler a"
    seed: Annotated[
        int | None,
        Field(ge=0, le=2**32 - 1, description="Picture i has seed + i - 1, modulo 2^32. Absent: random."),
    ] = None
    cfg_scale: Annotated[float, Field(ge=0, le=30, description="How closely to follow the prompt.")] = 5.0
    style: Annotated[str, Field(json_schema_extra={"enum": list(STYLES)})] = "Base"
    user_id: Annotated[str, Field(description="Whose wish this is; logged, without effect on the picture.")] = ""


class ImageData(BaseModel):
    object: Literal["image"] = "image"
    b64_image: Annotated[str, Field(description="The PNG, base64.")]
    index: Annotated[int, Field(description="From 1.")]


class TokenUsage(BaseModel):
    prompt_tokens: Annotated[int, Field(description="Chinese characters and 1.3 times the words, of both prompts.")]
    total_tokens: int


class ImageAnswer(BaseModel):
    model_config = ConfigDict(title="QianfanImages")

    id: Annotated[str, Field(examples=["as-n1ykfe10iz"])]
    object: Literal["image"] = "image"
    created: Annotated[int, Field(description="Unix seconds.")]
    data: list[ImageData]
    usage: TokenUsage


class ImageFailure(BaseModel):
    """Comes with HTTP 200, as clients of this API expect."""

    model_config = ConfigDict(title="QianfanFailure")

    error_code: Annotated[int, Field(examples=[336003])]
    error_msg: Annotated[str, Field(examples=["n must be a whole number between 1 and 4, got 9"])]
    id: Annotated[str, Field(examples=["as-3vj8dnkd4q"])]


class Token(BaseModel):
    """Only `access_token` and `expires_in` are of use; the others belong to the shape of the answer."""

    model_config = ConfigDict(title="QianfanToken")

    refresh_token: str
    expires_in: Annotated[int, Field(description="Seconds.")]
    session_key: str
    access_token: str
    scope: str = "public ai_custom_yiyan_com"
    session_secret: str


class TokenFailure(BaseModel):
    model_config = ConfigDict(title="QianfanTokenFailure")

    error: Annotated[str, Field(examples=["invalid_client"])]
    error_description: Annotated[str, Field(examples=["unknown client id"])]


class Service(BaseModel):
    model_config = ConfigDict(title="QianfanService")

    name: str
    url: Annotated[str, Field(description="Clients use its last two segments.")]
    apiType: Literal["text2image"] = "text2image"  # noqa: N815 - the vendor's spelling
    chargeStatus: Literal["FREE"] = "FREE"  # noqa: N815
    versionList: list[Any] = []  # noqa: N815


class ServiceLists(BaseModel):
    model_config = ConfigDict(title="QianfanServiceLists")

    common: list[Service]
    custom: list[Service] = []


class ServiceList(BaseModel):
    model_config = ConfigDict(title="QianfanServiceList")

    log_id: str
    result: ServiceLists


class ConsoleFailure(BaseModel):
    model_config = ConfigDict(title="QianfanConsoleFailure")

    code: Annotated[str, Field(examples=["SignatureDoesNotMatch"])]
    message: str
    requestId: str  # noqa: N815


def body_schema(body: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI request body of `body`."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body.model_json_schema()}}}}
