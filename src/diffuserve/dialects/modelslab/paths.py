"""Every path of the vendor below `/api`, as a table: which operation stands where. One handler serves all families."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Operation(Enum):
    """What a path is for; the value is the name under which the vendor's pages explain it."""

    TEXT2IMG = "text2img"
    IMG2IMG = "img2img"
    INPAINT = "inpaint"
    CONTROLNET = "controlnet"
    TEXT2VIDEO = "text2video"
    IMG2VIDEO = "img2video"


@dataclass(frozen=True, slots=True)
class Path:
    path: str
    operation: Operation
    realtime: bool = False
    """No guidance is allowed here."""
    ultra: bool = False
    """A larger video model with rules of its own."""
    described: bool = False
    """Shown in the interactive documentation, for all its equals."""


_IMAGES = (Operation.TEXT2IMG, Operation.IMG2IMG, Operation.INPAINT, Operation.CONTROLNET)
_VIDEOS = (Operation.TEXT2VIDEO, Operation.IMG2VIDEO)

_OTHERS = (
    Path("/v1/enterprise/ultra_video/text2video", Operation.TEXT2VIDEO, ultra=True),
    Path("/v1/enterprise/image_to_video_ultra/img2video", Operation.IMG2VIDEO, ultra=True),
    Path("/v6/video/text2video_ultra", Operation.TEXT2VIDEO, ultra=True),
    Path("/v6/video/img2video_ultra", Operation.IMG2VIDEO, ultra=True),
    Path("/v7/images/text-to-image", Operation.TEXT2IMG),
    Path("/v7/images/image-to-image", Operation.IMG2IMG),
    Path("/v7/images/inpaint", Operation.INPAINT),
    Path("/v7/video-fusion/text-to-video", Operation.TEXT2VIDEO),
    Path("/v7/video-fusion/image-to-video", Operation.IMG2VIDEO),
    Path("/v4/dreambooth", Operation.TEXT2IMG),
    Path("/v4/dreambooth/text2video", Operation.TEXT2VIDEO),
    Path("/v5/text2video", Operation.TEXT2VIDEO),
    Path("/v5/controlnet", Operation.CONTROLNET),
)


def drawing() -> Iterator[Path]:
    """Every path that draws. Those of a certain family come before those with any."""
    for operation in _VIDEOS + _IMAGES:
        yield Path(f"/v1/enterprise/{operation.value}", operation, described=True)
    yield from _OTHERS
    for version, operations in (
        ("v6/images", _IMAGES),
        ("v6/realtime", _IMAGES[:3]),
        ("v6/video", _VIDEOS),
        ("v3", _IMAGES[:3]),
        ("v4/dreambooth", _IMAGES[1:3]),
        ("v1/enterprise/realtime", _IMAGES),
        ("v1/enterprise/{family}", _IMAGES + _VIDEOS),
    ):
        for operation in operations:
            described = version == "v6/images"
            yield Path(f"/{version}/{operation.value}", operation, realtime="realtime" in version, described=described)


FETCH = (
    "/v1/enterprise/fetch",
    "/v1/enterprise/{family}/fetch",
    "/v3/fetch",
    "/v4/dreambooth/fetch",
    "/v5/fetch",
    "/v6/images/fetch",
    "/v6/realtime/fetch",
    "/v6/video/fetch",
    "/v7/images/fetch",
    "/v7/video-fusion/fetch",
)
"""Each with the id in the body, or behind it. Any of them finds any job."""

MANAGED = ("/v1/enterprise", "/v1/enterprise/{family}")
"""Where the management calls stand."""


def fetch_of(path: str) -> str:
    """The fetch path that belongs to a drawing path, both below the mount: `/v6/images/text2img` to `/v6/images/fetch`."""
    family = path.rpartition("/")[0]
    if path.endswith("/v4/dreambooth"):
        family = path
    return f"{family}/fetch"


def single_slashes(path: str) -> str:
    """Without doubled and trailing slashes, which come of base addresses joined by hand."""
    return re.sub(r"//+", "/", path).rstrip("/") or "/"
