"""A `Job`, its events and notification, the catalog and the sampler table as native JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import BaseModel
from starlette.responses import Response

from diffuserve.core import samplers
from diffuserve.core.delivery import Delivery
from diffuserve.core.events import Preview, Progress
from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import ResolvedRequest
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.callbacks import signing_secret
from diffuserve.dialects.native import wire
from diffuserve.jobs.catalog import Catalog
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


def model_list(catalog: Catalog) -> wire.ModelList:
    return wire.ModelList(models=[_model(model, model.name == catalog.default.name) for model in catalog.models])


def sampler_list() -> wire.SamplerList:
    return wire.SamplerList(
        samplers=[
            wire.SamplerView(id=s.id, label=s.label, aliases=list(s.aliases), schedules=sorted(s.schedules))
            for s in samplers.SAMPLERS.values()
        ],
        schedules=[
            wire.ScheduleView(id=s.id, label=s.label, aliases=list(s.aliases)) for s in samplers.SCHEDULES.values()
        ],
        substitutes=[
            wire.SubstituteView(
                label=s.label, aliases=list(s.aliases), sampler=s.sampler, schedule=s.schedule, reason=s.reason
            )
            for s in samplers.substitutes()
        ],
    )


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
    )


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


def _model(model: ModelInfo, default: bool) -> wire.ModelView:
    return wire.ModelView(
        name=model.name,
        default=default,
        family=model.family.value,
        aliases=list(model.aliases),
        description=model.description,
        languages=list(model.languages),
        native=wire.NativeSides(min_side=model.native.min_side, max_side=model.native.max_side),
        defaults=wire.ModelDefaults(
            sampler=model.sampler,
            num_inference_steps=model.num_inference_steps,
            guidance_scale=model.guidance_scale,
            width=model.size,
            height=model.size,
        ),
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
