"""A `Job` to the vendor's answers: done, still going on, failed; and the same for its webhook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffuserve.core import samplers
from diffuserve.core.delivery import Delivery
from diffuserve.core.errors import ArtifactNotFound
from diffuserve.core.job import Job, JobStatus
from diffuserve.core.request import ResolvedRequest
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.callbacks import signing_secret
from diffuserve.dialects.modelslab import memo as memos
from diffuserve.dialects.modelslab.errors import reply
from diffuserve.dialects.modelslab.memo import Memo
from diffuserve.webhooks import sign
from diffuserve.webhooks.rendered import Rendered

DAY = 86_400
FETCH_LATER = "Try to fetch request after seconds estimated"
AGAIN = "try again later."


@dataclass(frozen=True, slots=True)
class Output:
    """What a job made, as it is shown."""

    output: list[str]
    """Links, or base64 where that was asked for."""
    links: list[str]


async def output_of(rooms: Rooms, job: Job, request_base: str) -> Output:
    """Raises ArtifactNotFound, StorageFailed."""
    memo = memos.of(job)
    url = await rooms.links.of(job.artifacts, request_base, seconds=_seconds(memo))
    links = [url(artifact) for artifact in job.artifacts]
    if not memo.base64:
        return Output(links, links)
    pictures = [await rooms.jobs.read(artifact) for artifact in job.artifacts]
    return Output([base64.b64encode(data).decode("ascii") for data in pictures], links)


def success(job: Job, made: Output) -> dict[str, Any]:
    return {
        "status": "success",
        "generationTime": round(generation_time(job), 2),
        "id": job.id,
        "output": made.output,
        "proxy_links": made.links,
        "meta": meta(job),
    }


def processing(rooms: Rooms, job: Job, eta: int, fetch_path: str, request_base: str) -> dict[str, Any]:
    """The answer to a call whose pictures are not done. `fetch_path` is where to ask for them."""
    seconds, extension = _seconds(memos.of(job)), job.request.format.value
    coming = [
        rooms.links.coming(job.id, index, extension, request_base, seconds=seconds)
        for index in range(job.request.num_images)
    ]
    return {
        "status": "processing",
        "tip": "",
        "tip_1": "",
        "eta": eta,
        "message": FETCH_LATER,
        "messege": FETCH_LATER,
        "webhook_status": "",
        "fetch_result": f"{rooms.links.base(request_base)}{fetch_path}/{job.id}",
        "id": job.id,
        "output": [],
        "meta": meta(job),
        "future_links": coming,
        "proxy_links": [],
    }


def waiting(job: Job, eta: int) -> dict[str, Any]:
    """The answer to a fetch that came too early."""
    said = {"message": AGAIN, "messege": AGAIN, "output": [], "eta": eta, "tip": "", "meta": meta(job)}
    return {"status": "processing", "id": job.id, **said}


def failed(job: Job) -> dict[str, Any]:
    """Over HTTP 200: the question how the job is was answered."""
    cause = cause_of(job)
    return {
        "status": "failed",
        "id": job.id,
        "message": cause,
        "messege": cause,
        "output": [],
        "meta": meta(job),
    }


async def delivery(rooms: Rooms, job: Job, due: Delivery) -> Rendered:
    """The notification that `job` has ended, signed as all of ours are, which the vendor's are not."""
    body = await notification(rooms, job, due.callback.base_url)
    content = reply(body).body
    secret = signing_secret(rooms, job, due)
    data = bytes(content)
    return Rendered(data, headers=sign.headers(secret, due.id, int(rooms.clock.now()), data))


async def notification(rooms: Rooms, job: Job, request_base: str) -> dict[str, Any]:
    track_id = {"track_id": memos.of(job).track_id}
    if job.status is not JobStatus.SUCCEEDED:
        return {**failed(job), **track_id}
    try:
        return {**success(job, await output_of(rooms, job, request_base)), **track_id}
    except ArtifactNotFound:
        # Swept before it could be told: there is nothing more to show.
        return {**success(job, Output([], [])), **track_id}


def cause_of(job: Job) -> str:
    if job.error is not None:
        return job.error.message
    return "the job was canceled" if job.status is JobStatus.CANCELED else "Failed, Try Again"


def generation_time(job: Job) -> float:
    """Seconds from the first step's claim to the end."""
    if job.started_at is None or job.finished_at is None:
        return 0.0
    return max(0.0, job.finished_at - job.started_at)


def meta(job: Job) -> dict[str, Any]:
    """What is drawn, in the keys of the vendor's older pages: numbers are numbers, yes and no are text."""
    asked, memo = job.request, memos.of(job)
    scheduler = samplers.SAMPLERS[asked.sampler].class_name
    told: dict[str, Any] = {
        "prompt": asked.prompt,
        "model_id": asked.model,
        "negative_prompt": asked.negative_prompt,
        "scheduler": memo.sampler or scheduler,
        "scheduler_used": scheduler,
        "safetychecker": "no",
        "W": asked.width,
        "H": asked.height,
        "guidance_scale": asked.guidance_scale,
        "seed": asked.seeds[0],
        "seeds": list(asked.seeds),
        "steps": asked.num_inference_steps,
        "n_samples": asked.num_images,
        "full_url": "no",
        "upscale": memo.upscale,
        "panorama": "no",
        "self_attention": "no",
        "embeddings": None,
        "lora": ",".join(lora.name for lora in asked.loras) or None,
        "outdir": "out",
        "file_prefix": str(job.id),
        "vae": None,
        "use_karras_sigmas": _yes(asked.schedule == "karras"),
        "clip_skip": asked.clip_skip + 1,
        "base64": _yes(memo.base64),
        "temp": _yes(memo.temp),
        "webhook": memo.webhook,
        "track_id": memo.track_id,
    }
    return {**told, **_steered(asked), "notes": [*memo.notes, *job.notes], "ignored": list(memo.ignored)}


def _steered(asked: ResolvedRequest) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if asked.init_image is not None:
        told["strength"] = asked.strength
    if asked.loras:
        told["lora_strength"] = _listed([lora.weight for lora in asked.loras])
    if asked.controls:
        told["controlnet_model"] = ",".join(control.model for control in asked.controls)
        told["controlnet_conditioning_scale"] = _listed([control.scale for control in asked.controls])
    if asked.reference is not None:
        told |= {"ip_adapter_id": asked.reference.adapter, "ip_adapter_scale": asked.reference.scale}
    return told


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _seconds(memo: Memo) -> int | None:
    return DAY if memo.temp else None
