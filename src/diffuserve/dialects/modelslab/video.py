"""Video calls: every field is read and judged as it will be; then they are answered that this server has no video engine yet.

`draw` is the one function that changes when it has: it gets a `VideoWish` that is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.errors import MissingParameter
from diffuserve.core.request import InputImage
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.modelslab import parse, solver, wire
from diffuserve.dialects.modelslab.errors import refusal
from diffuserve.dialects.modelslab.loose import Fields
from diffuserve.dialects.modelslab.manners import Manners
from diffuserve.dialects.modelslab.paths import Operation, Path
from diffuserve.dialects.pictures import input_picture

NO_ENGINE = "this server draws pictures only: it has no video engine yet"

FPS, MAX_FRAMES = 8, 81
FIELDS = wire.ENVELOPE | {
    "prompt", "negative_prompt", "model_id", "width", "height", "scheduler", "num_inference_steps", "enhance_prompt",
    "guidance_scale", "strength", "seed", "seconds", "num_frames", "fps", "output_type", "clip_skip", "init_image",
    "init_video", "use_improved_sampling", "improved_sampling_seed", "upscale_height", "upscale_width", "upscale_strength",
    "upscale_guidance_scale", "upscale_num_inference_steps", "motion_module", "motion_loras", "resolution", "portrait",
    "sample_shift",
}  # fmt: skip


@dataclass(frozen=True)
class VideoWish:
    """A video call with its defaults filled in."""

    prompt: str
    negative_prompt: str
    model: str
    width: int
    height: int
    num_frames: int | None
    """None: the model's native clip."""
    fps: int
    num_inference_steps: int
    guidance_scale: float
    sampler: str | None
    schedule: str | None
    seed: int | None
    output_type: str
    clip_skip: int
    strength: float
    init_image: InputImage | None
    init_video: str | None
    """A link."""
    ignored: tuple[str, ...]


async def to_wish(values: Mapping[str, Any], path: Path, rooms: Rooms, request: Request) -> VideoWish:
    """Raises MissingParameter, InvalidParameter, UnknownModel, UnreadablePicture."""
    fields = Fields(values)
    ignored = [name for name in fields.names() if name not in FIELDS]
    parse.to_callback(fields, rooms, request)
    parse.track_id(fields)
    prompt = fields.text("prompt")
    if not prompt.strip():
        raise MissingParameter("prompt")
    source = fields.picture("init_image")
    if path.operation is Operation.IMG2VIDEO and source is None:
        raise MissingParameter("init_image")
    model = rooms.jobs.catalog.find(fields.text("model_id").strip() or None)
    chosen = solver.choose(fields, model, ignored.append)
    _check_flags(fields)
    _check_second_pass(fields)
    fps = fields.whole("fps", 1, 60, FPS) or FPS
    seconds = fields.whole("seconds", 1, 60)
    frames = fields.whole("num_frames", 1, MAX_FRAMES, clamp=True)
    if frames is None and seconds is not None:
        frames = min(MAX_FRAMES, seconds * fps)
    width, height = fields.whole("width", 64, 1024, 512) or 512, fields.whole("height", 64, 1024, 512) or 512
    if path.ultra:
        width = height = fields.whole("resolution", 64, 1024, 480, clamp=True) or 480
    strength = fields.number("strength", 0, 1, 0.7)
    guidance = fields.number("guidance_scale", 0, 20, 7.5)
    seed = parse.seeds(fields, 1)
    return VideoWish(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt"),
        model=model.name,
        # Rounded down to what video models take; none of them takes less than 8.
        width=width // 8 * 8,
        height=height // 8 * 8,
        num_frames=frames,
        fps=fps,
        num_inference_steps=fields.whole("num_inference_steps", 1, 50, 25 if path.ultra else 20, clamp=True) or 20,
        guidance_scale=7.5 if guidance is None else guidance,
        sampler=chosen.sampler,
        schedule=chosen.schedule,
        seed=seed[0] if seed else None,
        output_type=fields.choice("output_type", ("mp4", "gif"), "mp4"),
        clip_skip=fields.whole("clip_skip", 0, 2, 0) or 0,
        strength=0.7 if strength is None else strength,
        init_image=None if source is None else await input_picture(rooms, source, "init_image"),
        init_video=fields.text("init_video").strip() or None,
        ignored=tuple(ignored),
    )


async def draw(rooms: Rooms, request: Request, wish: VideoWish, manners: Manners) -> Response:
    """The answer to a video call that is in order."""
    tip = "the call itself is in order; text2img and img2img are drawn"
    return refusal(501, NO_ENGINE, legacy=manners.legacy_errors, tip=tip)


def _check_flags(fields: Fields) -> None:
    for name in ("enhance_prompt", "loadbalancer", "instant_response", "base64", "temp", "portrait"):
        fields.flag(name, False)
    fields.flag("use_improved_sampling", False)
    fields.whole("improved_sampling_seed", 0, parse.MAX_SEED)
    fields.number("sample_shift", 0, 20)


def _check_second_pass(fields: Fields) -> None:
    for name in ("upscale_height", "upscale_width"):
        fields.whole(name, 64, 4096)
    fields.number("upscale_strength", 0, 1)
    fields.number("upscale_guidance_scale", 0, 20)
    fields.whole("upscale_num_inference_steps", 1, 50, clamp=True)
