"""The plain dialect's own words: the forms it takes (for the documentation; `parse.py` reads them) and its answers."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class CommonForm(BaseModel):
    """What every operation takes. All values are text on the wire; an empty one counts as absent."""

    prompt: Annotated[str, Field(description="What to draw. Must not be empty.", examples=["a red apple"])]
    seed: Annotated[
        int,
        Field(
            ge=-1,
            le=2**63 - 1,
            description="0, -1 or absent: random. The seed of each picture is in the answer; sending one back with "
            "`num_outputs=1` draws that picture again.",
        ),
    ] = 0
    num_outputs: Annotated[int, Field(ge=1, le=4, description="How many pictures.")] = 1
    num_inference_steps: Annotated[int, Field(ge=1, le=150, description="Steps of the sampler.")] = 30
    guidance_scale: Annotated[
        float,
        Field(gt=0, le=20, description="How closely to follow the prompt. Absent: the model's own, 7.5 for most."),
    ] = 7.5
    negative_prompt: Annotated[str, Field(description="Extension: what to avoid.")] = ""
    scheduler: Annotated[
        str, Field(description="Extension: a sampler's name, as `GET /diffuserve/v1/samplers` lists them.")
    ] = ""
    model: Annotated[
        str, Field(description="Extension: a model's name, as `GET /diffuserve/v1/models` lists them.")
    ] = ""
    eta: Annotated[float, Field(ge=0, le=1, description="Share of noise of the DDIM sampler; others ignore it.")] = 0.0
    clip_skip: Annotated[int, Field(ge=0, le=11, description="Extension: text encoder layers to leave out.")] = 0
    response: Annotated[
        Literal["url", "base64"], Field(description="Extension: `base64` adds the picture itself to the answer.")
    ] = "url"


class Txt2ImgForm(CommonForm):
    model_config = ConfigDict(title="Txt2Img")

    width: Annotated[int, Field(ge=1, le=1024, description="Pixels, exactly.")] = 512
    height: Annotated[int, Field(ge=1, le=1024, description="Pixels, exactly.")] = 512


class Img2ImgForm(CommonForm):
    model_config = ConfigDict(title="Img2Img")

    init_image: Annotated[
        str,
        Field(
            description="The source picture: base64, a data URL, an http(s) link, or a file part of a multipart body."
        ),
    ]
    strength: Annotated[
        float, Field(gt=0, lt=1, description="How much to change: the share of the steps that is run.")
    ] = 0.7


class MaskingForm(Img2ImgForm):
    model_config = ConfigDict(title="Masking")

    mask_image: Annotated[
        str, Field(description="White is repainted, black is kept; given as `init_image`, and brought to its size.")
    ]


class Image(BaseModel):
    """One picture."""

    image_url: Annotated[
        str,
        Field(
            examples=["http://127.0.0.1:8000/files/a61b5473ac46fa684b6a5f2369e8dfc0?expires=1767225600&signature=5f"]
        ),
    ]
    mime_type: Annotated[str, Field(examples=["image/png"])]
    seed: Annotated[int, Field(examples=[3090352432285578])]
    base64: Annotated[str | None, Field(description="Only where it was asked for.")] = None
    nsfw: Annotated[bool | None, Field(description="Beside `base64`; always false: pictures are not judged.")] = None


class Success(BaseModel):
    images: list[Image]
    status: Literal["success"] = "success"


class Failure(BaseModel):
    status: Literal["failure"] = "failure"
    message: Annotated[str, Field(examples=["num_outputs must be between 1 and 4, got 9"])]


class Pong(BaseModel):
    status: Literal["success"] = "success"


class CustomModel(BaseModel):
    """A model besides the default one, for `POST /custom/<url_path>`."""

    model_path: str
    ui_label: str
    url_path: str
    requires_safety_checker: bool = False


def form_schema(form: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI request body of `form`, in the three encodings that are understood."""
    schema = form.model_json_schema()
    multipart = deepcopy(schema)
    for name in ("init_image", "mask_image"):
        if name in multipart["properties"]:
            multipart["properties"][name]["format"] = "binary"
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {"schema": schema},
                "multipart/form-data": {"schema": multipart},
                "application/json": {"schema": schema},
            },
        }
    }
