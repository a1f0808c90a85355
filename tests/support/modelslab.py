"""The bodies of ModelsLab's pages, in their form (fields, order, types, blanks at the ends of lines), with words and pictures
of ours, and one way to send them."""

from __future__ import annotations

import json
from typing import Any

from diffuserve.core.job import Job
from support.app import Server
from support.pictures import as_base64, picture

PICTURE, MASK = as_base64(picture(64, 64)), as_base64(picture(64, 64, colour="white"))

_COMMON = {"width": "512", "height": "512", "samples": "1"}
_END = {"webhook": None, "track_id": None}

DOCUMENTED: dict[str, dict[str, Any]] = {
    "text2img": {
        "key": "enterprise_api_key",
        "model_id": "your_model_id",
        "prompt": "close up portrait of a ((friendly robot)), blue eyes",
        "negative_prompt": "painting, blurry",
        **_COMMON,
        "num_inference_steps": "20",
        "safety_checker": "no",
        "enhance_prompt": "yes",
        "seed": None,
        "guidance_scale": 7.5,
        "multi_lingual": "no",
        "panorama": "no",
        "self_attention": "no",
        "upscale": "no",
        "embeddings_model": None,
        "lora_model": None,
        "clip_skip": "2",
        "tomesd": "yes",
        "use_karras_sigmas": "yes",
        "vae": None,
        "lora_strength": None,
        "scheduler": "UniPCMultistepScheduler",
        **_END,
    },
    "img2img": {
        "key": "enterprise_api_key",
        "model_id": "your_model_id",
        "prompt": "a cat on a bench",
        "negative_prompt": None,
        "init_image": PICTURE,
        **_COMMON,
        "num_inference_steps": "30",
        "safety_checker": "no",
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.7,
        "scheduler": "UniPCMultistepScheduler",
        "seed": None,
        "lora_model": None,
        "tomesd": "yes",
        "use_karras_sigmas": "yes",
        "vae": None,
        "lora_strength": None,
        "embeddings_model": None,
        **_END,
    },
    "inpaint": {
        "key": "enterprise_api_key",
        "model_id": "your_model_id",
        "prompt": "a cat on a bench",
        "negative_prompt": None,
        "init_image": PICTURE,
        "mask_image": MASK,
        **_COMMON,
        "num_inference_steps": "30",
        "safety_checker": "no",
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.7,
        "scheduler": "PNDMScheduler",
        "seed": None,
        "lora_model": None,
        "tomesd": "yes",
        "use_karras_sigmas": "yes",
        "vae": None,
        "lora_strength": None,
        "embeddings_model": None,
        **_END,
    },
    "controlnet": {
        "key": "enterprise_api_key",
        "controlnet_model": "canny",
        "controlnet_type": "canny",
        "model_id": "your_model_id",
        "auto_hint": "yes",
        "guess_mode": "no",
        "prompt": "mountains and a river",
        "negative_prompt": None,
        "init_image": PICTURE,
        "mask_image": None,
        **_COMMON,
        "scheduler": "UniPCMultistepScheduler",
        "num_inference_steps": "30",
        "safety_checker": "no",
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.55,
        "lora_model": None,
        "tomesd": "yes",
        "use_karras_sigmas": "yes",
        "vae": None,
        "lora_strength": None,
        "embeddings_model": None,
        "seed": None,
        **_END,
    },
    "text2video": {
        "key": "enterprise_api_key",
        "model_id": "your_model_id",
        "prompt": "a red apple falls from a tree",
        "negative_prompt": None,
        "height": "320",
        "width": "512",
        "scheduler": "UniPCMultistepScheduler",
        "num_inference_steps": "30",
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.7,
        "seed": None,
        **_END,
    },
}


def raw(body: dict[str, Any]) -> bytes:
    """As it stands on a page: a field a line, two blanks behind each."""
    return json.dumps(body, indent=2, ensure_ascii=False).replace("\n", "  \n").encode()


async def post(server: Server, path: str, body: dict[str, Any] | bytes, **headers: str) -> Any:
    """The answer's JSON, which must be a success of HTTP."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await server.client.post(path, content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def drawn(server: Server, path: str = "/api/v6/images/text2img", **body: Any) -> tuple[Any, Job]:
    """The answer to a call with a prompt, small and unenhanced unless `body` says otherwise; and the job that it made."""
    small = {"prompt": "a cat", "width": 64, "height": 64, "enhance_prompt": "no"}
    jobs = server.submissions()
    told = await post(server, path, {**small, **body})
    return told, jobs.get_nowait()
