"""iPollo's own words: what its calls take (for the documentation; `parse.py` reads it) and what they answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from diffuserve.dialects.ipollo.operations import Task


class Payment(BaseModel):
    btc_address: Annotated[
        str,
        Field(description="Who pays: the wallet address that a plan was bought with.", examples=["0x6fd5a1b2c3"]),
    ]
    key: Annotated[str, Field(description="Older form: a key; it counts before the address.")] = ""


class Txt2ImgBody(Payment):
    model_config = ConfigDict(title="iPolloTxt2Img")

    prompt: Annotated[str, Field(description="What to draw.", examples=["a girl in a garden"])]
    negative_prompt: Annotated[str, Field(description="Extension: what to avoid.")] = ""
    width: Annotated[int, Field(ge=64, le=2048, description="Extension: pixels, exactly.")] = 512
    height: Annotated[int, Field(ge=64, le=2048, description="Extension: pixels, exactly.")] = 512
    seed: Annotated[int, Field(ge=-1, le=2**32 - 1, description="Extension: -1 is random.")] = -1
    steps: Annotated[int, Field(ge=1, le=150, description="Extension: steps of the sampler.")] = 50
    cfg_scale: Annotated[float, Field(ge=1, le=30, description="Extension: how closely to follow the prompt.")] = 7.0
    batch_size: Annotated[
        int, Field(ge=1, le=8, description="Extension: how many pictures; `imageUrls` has all of them.")
    ] = 1


class ChatTxt2ImgBody(Payment):
    model_config = ConfigDict(title="iPolloChatTxt2Img")

    prompt: Annotated[str, Field(description="What to draw.")]
    size: Annotated[str, Field(description="`256x256`, `512x512` or `1024x1024`.")] = "1024x1024"


class SpeechBody(Payment):
    model_config = ConfigDict(title="iPolloTxt2Voice")

    txt: str
    voice: str = ""


class AccountRecord(BaseModel):
    """The plan that paid, after it has paid; on a server without plans the same keys with zeros and empty texts."""

    id: int = 0
    workspace_id: Annotated[str, Field(description="The account, where a key was shown.")] = ""
    key: Annotated[str, Field(description="Always masked.")] = ""
    video_duration: Annotated[int, Field(description="What this plan grants, in its unit.")] = 0
    total_duration: Annotated[int, Field(description="What all plans of this kind grant together.")] = 0
    use_duration: Annotated[int, Field(description="What is used of it.")] = 0
    start_time: Annotated[str, Field(examples=["2023-12-05 16:51:26"])] = ""
    end_time: str = ""
    bench_mark: str = ""
    note: str = ""
    address: str = ""
    email: str = ""
    discord_uid: str = ""
    tg_uid: str = ""


class Account(BaseModel):
    ok: bool = True
    result: list[AccountRecord]


class Parameters(BaseModel):
    """As they were asked for."""

    enable_hr: bool = False
    Prompt: str
    Seed: Annotated[int, Field(description="-1 where it was random; the one that was drawn is in `info`.")]
    Batch_size: int
    Width: int
    Height: int


class ImageBase(BaseModel):
    parameters: Parameters
    info: Annotated[str, Field(description="JSON as text, in the layout of AUTOMATIC1111 1.6.0.")]
    imageUrl: Annotated[str, Field(description="A JPEG.")]  # noqa: N815 - the vendor's
    imageUrls: Annotated[list[str] | None, Field(description="Extension: all of several pictures.")] = None  # noqa: N815


class Picture(BaseModel):
    """The answer of `stableDiffsionXL/txt2img`; both objects are null in a refusal."""

    result_code: int = 200
    msg: str = "success"
    prompt: str = ""
    key: Account | None = None
    image_base: ImageBase | None = None


class Said(BaseModel):
    """The answer of `chatGPT`, where `msg` is the result's address, and of whatever has no shape of its own."""

    result_code: int = 200
    msg: str


class Submitted(BaseModel):
    task_id: str = ""
    result_code: int = 100
    msg: str


class State(BaseModel):
    """A task. Every key is there in every state."""

    result_url: str = ""
    result_code: Annotated[
        int, Field(description="100 succeeded, 101 waiting, 102 running, 103 or 104 failed, 200 unknown.")
    ]
    msg: str
    api_time_consume: Annotated[float, Field(description="Seconds of the resulting video.")] = 0
    api_time_left: Annotated[int, Field(description="What is left of the plan.")] = 0
    video_w: int = 0
    video_h: int = 0
    gpu_type: str = ""
    gpu_time_estimate: float = 0
    gpu_time_use: float = 0


def body_schema(body: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI request body of `body`, in the three encodings that are understood."""
    return _encodings(body.model_json_schema())


def task_schema(task: Task) -> dict[str, Any]:
    """The OpenAPI request body of a task."""
    schema = Payment.model_json_schema()
    schema["title"] = "iPollo" + "".join(word.title() for word in task.path.split("/") if word != "iPollo")
    schema["properties"] |= {name: {"type": "string"} for name in (*task.needs, *task.takes)}
    schema["required"] = [*schema["required"], *task.needs]
    return _encodings(schema)


def _encodings(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}}
