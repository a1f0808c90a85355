"""A `Job`, its events and notification as native JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from diffuserve.core.delivery import Delivery
from diffuserve.core.events import Preview, Progress
from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.request import Control, HiresFix, Inpaint, Reference, ResolvedRequest, Watermark
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.callbacks import signing_secret
from diffuserve.dialects.native import wire
from diffuserve.media.finish import preview as jpeg
from diffuserve.webhooks import sign
from diffuserve.webhooks.rendered import Rendered


def job_view(job: Job, url: Callable[[Artifact], str], progress: Progress | None = None) -> wire.JobView:
    """`progress` is shown while the job runs."""
    running = progress if job.status is JobStatus.RUNNING else None
    return wire.JobView(
        id=str(job.id),
        status=job.status,
        created_at=_time(job.created_at) or "",
        started_at=_time(job.started_at),
        finished_at=_time(job.finished_at),
        request=_settled(job.request),
        progress=wire.ProgressView(done=running.done, total=running.total) if running else None,
        images=[_image(artifact, url) for artifact in job.artifacts],
        notes=list(job.notes),
        usage=wire.UsageView(
            images=job.usage.images,
            steps=job.usage.steps,
            pixels=job.usage.pixels,
            device_seconds=job.usage.device_seconds,
        ),
        error=wire.ErrorView(code=job.error.code, message=job.error.message) if job.error else None,
    )


async def delivery(rooms: Rooms, job: Job, due: Delivery) -> Rendered:
    """The signed notification that `job` has ended."""
    view = job_view(job, await rooms.links.of(job.artifacts, due.callback.base_url))
    notification = wire.Notification.model_validate(
        {"type": f"job.{job.status.value}", "timestamp": view.finished_at, "data": view}
    )
    body = notification.model_dump_json().encode()
    secret = signing_secret(rooms, job, due)
    return Rendered(body, headers=sign.headers(secret, due.id, int(rooms.clock.now()), body))


def preview_data(event: Preview) -> dict[str, object]:
    """An unfinished picture as a JPEG data URL; encodes, so call it in a thread."""
    picture = base64.b64encode(jpeg(event.pixels, event.width, event.height)).decode("ascii")
    return {"index": event.index, "step": event.step, "image": f"data:image/jpeg;base64,{picture}"}


def reply(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status_code=status, headers=headers, media_type="application/json")


def _settled(request: ResolvedRequest) -> wire.SettledRequest:
    return wire.SettledRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        model=request.model,
        width=request.width,
        height=request.height,
        seeds=list(request.seeds),
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        sampler=request.sampler,
        schedule=request.schedule,
        clip_skip=request.clip_skip,
        eta=request.eta,
        strength=request.strength if request.init_image else None,
        asked_prompt=request.asked_prompt,
        loras={lora.name: lora.weight for lora in request.loras},
        controls=[wire.SettledControl(**_facts(control, "image")) for control in request.controls],
        reference=wire.SettledReference(**_facts(request.reference, "image")) if request.reference else None,
        inpaint=wire.SettledInpaint(**_facts(request.inpaint, "mask")) if request.inpaint else None,
        hires=wire.SettledHires(**_facts(request.hires)) if request.hires else None,
        variation=wire.SettledVariation(seeds=list(request.variation_seeds), strength=request.variation_strength)
        if request.variation_seeds
        else None,
        keep_texture=request.keep_texture,
        watermark=wire.SettledWatermark(**_facts(request.watermark)) if request.watermark else None,
        format=request.format,
        quality=request.quality,
    )


def _facts(part: Control | Reference | Inpaint | HiresFix | Watermark, *without: str) -> dict[str, Any]:
    """The fields of a part of a request, without its pictures."""
    return {field.name: getattr(part, field.name) for field in fields(part) if field.name not in without}


def _image(artifact: Artifact, url: Callable[[Artifact], str]) -> wire.ImageView:
    return wire.ImageView(
        index=artifact.index,
        url=url(artifact),
        media_type=artifact.media_type,
        width=artifact.width,
        height=artifact.height,
        seed=artifact.seed,
        size=artifact.size,
        sha256=artifact.digest,
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
