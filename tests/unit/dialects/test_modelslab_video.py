"""Video calls: judged whole, then answered that there is no video engine."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from diffuserve.dialects.modelslab import video
from diffuserve.dialects.modelslab.paths import Operation, Path
from diffuserve.dialects.modelslab.solver import SEVENTEEN
from support.app import Server
from support.modelslab import DOCUMENTED, PICTURE, raw

pytestmark = pytest.mark.unit

PATHS = (
    "/api/v1/enterprise/text2video",
    "/api/v1/enterprise/video/text2video",
    "/api/v1/enterprise/ultra_video/text2video",
    "/api/v4/dreambooth/text2video",
    "/api/v5/text2video",
    "/api/v6/video/text2video",
    "/api/v6/video/text2video_ultra",
    "/api/v7/video-fusion/text-to-video",
)
FROM_PICTURES = (
    "/api/v1/enterprise/video/img2video",
    "/api/v1/enterprise/image_to_video_ultra/img2video",
    "/api/v6/video/img2video",
    "/api/v6/video/img2video_ultra",
    "/api/v7/video-fusion/image-to-video",
)
SDK = {"num_frames": 30, "num_inference_steps": 50, "guidance_scale": 7.5, "fps": 8, "width": 512, "height": 512}
"""What the Python client always sends."""


async def wish(server: Server, *, ultra: bool = False, **fields: str) -> video.VideoWish:
    path = Path("/x", Operation.TEXT2VIDEO, ultra=ultra)
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""})
    return await video.to_wish({"prompt": "x", **fields}, path, server.rooms, request)


@pytest.mark.parametrize("path", PATHS + FROM_PICTURES)
async def test_a_call_in_order_is_told_the_truth(server: Server, path: str) -> None:
    jobs = server.submissions()
    answer = await server.client.post(path, json={"prompt": "x", "init_image": PICTURE, **SDK})
    assert answer.status_code == 501
    assert (answer.json()["status"], answer.json()["message"]) == ("error", video.NO_ENGINE)
    assert jobs.empty()


async def test_the_documented_body_is_in_order_but_for_its_model(server: Server) -> None:
    body = DOCUMENTED["text2video"]
    answer = await server.client.post(PATHS[0], content=raw({**body, "model_id": "tiny"}))
    assert answer.status_code == 501
    answer = await server.client.post(PATHS[0], content=raw(body))
    assert (answer.status_code, answer.json()["message"]) == (400, "Model not found: your_model_id")


@pytest.mark.parametrize("name", SEVENTEEN)
async def test_each_of_the_seventeen_is_accepted(server: Server, name: str) -> None:
    assert (await wish(server, scheduler=name)).sampler == name


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({}, "fps", 8),
        ({}, "num_frames", None),
        ({"num_frames": "30"}, "num_frames", 30),
        ({"num_frames": "300"}, "num_frames", 81),
        ({"seconds": "5"}, "num_frames", 40),
        ({"seconds": "5", "fps": "16"}, "num_frames", 80),
        ({"width": "100"}, "width", 96),
        ({"num_inference_steps": "99"}, "num_inference_steps", 50),
        ({"output_type": "GIF"}, "output_type", "gif"),
        ({"seed": "7"}, "seed", 7),
        ({"guidance_scale": ""}, "guidance_scale", 7.5),
        ({"magic": "1"}, "ignored", ("magic",)),
    ],
)
async def test_values(server: Server, fields: dict[str, str], field: str, value: Any) -> None:
    assert getattr(await wish(server, **fields), field) == value


async def test_an_ultra_model_has_a_resolution(server: Server) -> None:
    found = await wish(server, ultra=True, resolution="480", num_frames="81")
    assert (found.width, found.height, found.num_frames, found.num_inference_steps) == (480, 480, 81, 25)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (PATHS[0], {"prompt": ""}, "prompt is required"),
        (PATHS[0], {"width": 2048}, "width must be between 64 and 1024"),
        (PATHS[0], {"guidance_scale": 21}, "guidance_scale must be between 0 and 20"),
        (PATHS[0], {"fps": 61}, "fps must be between 1 and 60"),
        (PATHS[0], {"num_frames": 0}, "num_frames must be between 1 and 81"),
        (PATHS[0], {"num_inference_steps": "few"}, "num_inference_steps must be an integer"),
        (PATHS[0], {"output_type": "webm"}, "output_type must be one of mp4, gif"),
        (PATHS[0], {"strength": 2}, "strength must be between 0 and 1"),
        (PATHS[0], {"seed": -5}, f"seed must be between -1 and {2**63 - 1}"),
        (PATHS[0], {"enhance_prompt": "maybe"}, 'enhance_prompt must be "yes" or "no"'),
        (PATHS[0], {"use_improved_sampling": "x"}, 'use_improved_sampling must be "yes" or "no"'),
        (PATHS[0], {"upscale_strength": 3}, "upscale_strength must be between 0 and 1"),
        (PATHS[0], {"webhook": "http://10.0.0.1/"}, "webhook must be an address on the public internet"),
        (FROM_PICTURES[0], {}, "init_image is required"),
        (FROM_PICTURES[0], {"init_image": "!!"}, "init_image is not valid base64"),
    ],
)
async def test_a_call_that_is_not_in_order_is_told_that(
    server: Server, path: str, body: dict[str, Any], message: str
) -> None:
    answer = await server.client.post(path, json={"prompt": "x", **body})
    assert (answer.status_code, answer.json()["message"]) == (400, message)
