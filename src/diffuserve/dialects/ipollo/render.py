"""Answers: a picture with its account record and its `info`, a task that was accepted, the state of a task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel
from starlette.responses import Response

from diffuserve.core.account import Plan, PlanUnit
from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.request import PictureFormat
from diffuserve.dialects import infotext
from diffuserve.dialects.infotext import Era
from diffuserve.dialects.ipollo import tasks, wire
from diffuserve.dialects.ipollo.parse import Wish

ACCEPTED, DONE, WAITING, RUNNING, FAILED, FAILED_OF_SAD_TALKER = 100, 100, 101, 102, 103, 104
QUEUED = "SUCCESS! The video is currently in the queue waiting to be processed."

_STATES = {
    JobStatus.QUEUED: (WAITING, "task({}) is waiting."),
    JobStatus.RUNNING: (RUNNING, "task({}) is running."),
    JobStatus.SUCCEEDED: (DONE, "taskID:{} has been completed, and the output video url is: "),
    JobStatus.FAILED: (FAILED, "task({}) has failed."),
    JobStatus.CANCELED: (FAILED, "task({}) has failed."),
}
_HASH_DIGITS = 10


def picture(job: Job, wish: Wish, account: wire.Account, links: Sequence[str], model_hash: str) -> Response:
    drawn = infotext.of_job(job, model_hash=model_hash[:_HASH_DIGITS], subseeds=wish.subseeds)
    base = wire.ImageBase(
        parameters=wire.Parameters(
            Prompt=wish.prompt, Seed=wish.seed, Batch_size=wish.batch_size, Width=wish.width, Height=wish.height
        ),
        info=infotext.info(drawn, Era.V1_6),
        imageUrl=links[0],
        imageUrls=list(links) if len(links) > 1 else None,
    )
    return reply(wire.Picture(prompt=wish.prompt, key=account, image_base=base), headers=remarks(job))


def result_link(job: Job, artifact: Artifact, url: str) -> str:
    """`url`; that of a picture ends as the vendor's do: in the time of finishing and `.jpg`.

    That end is a fragment, which is never sent: our links and a bucket's are signed as they are. A link of ours also has the
    short extension in its path, which is not signed.
    """
    if artifact.media_type != PictureFormat.JPEG.media_type:
        return url
    finished = datetime.fromtimestamp(job.finished_at or job.created_at, tasks.ZONE)
    name = f"{finished:%Y-%m-%d_%H:%M:%S}.{finished.microsecond // 1000:03d}.jpg"
    return url.replace(f"/files/{artifact.id}.jpeg?", f"/files/{artifact.id}.jpg?", 1) + f"#{name}"


def submitted(job: Job) -> Response:
    accepted = wire.Submitted(task_id=tasks.task_id(job), result_code=ACCEPTED, msg=QUEUED)
    return reply(accepted, headers=remarks(job))


def state(job: Job, links: Sequence[str], plan: Plan | None, device: str, failed_code: int) -> Response:
    """The answer to a query; `links` are those of the results, in order."""
    code, words = _STATES[job.status]
    message = words.format(tasks.task_id(job))
    url = links[0] if links else ""
    if code == DONE:
        message += url
    elif code == FAILED:
        reason = "it was canceled" if job.status is JobStatus.CANCELED else job.error.message if job.error else ""
        code, message = failed_code, f"{message} {reason}".strip()
    size = job.artifacts[0] if job.artifacts else None
    timed = job.charge is not None and job.charge.unit in (PlanUnit.SECONDS, PlanUnit.DEVICE_SECONDS)
    answer = wire.State(
        result_url=url,
        result_code=code,
        msg=message,
        api_time_left=0 if plan is None else int(plan.left),
        video_w=size.width if size else 0,
        video_h=size.height if size else 0,
        gpu_type=device,
        gpu_time_estimate=job.charge.amount if timed and job.charge else 0,
        gpu_time_use=round(job.usage.device_seconds, 3),
    )
    return reply(answer)


def remarks(job: Job) -> dict[str, str]:
    """Headers: the answers have no field for remarks, and their readers do not expect one."""
    headers = {"diffuserve-job": str(job.id), "diffuserve-task": tasks.task_id(job)}
    if job.notes:
        said = "; ".join(job.notes)[:2000]
        headers["diffuserve-notes"] = "".join(char if " " <= char <= "~" else "?" for char in said)
    return headers


def reply(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    values = body.model_dump()
    base = values.get("image_base")
    if base is not None and base["imageUrls"] is None:
        del base["imageUrls"]
    # Chinese stands raw here, and escaped in `info`. Half of a surrogate pair, in what a caller sent, cannot be said back.
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status_code=status, headers=headers, media_type="application/json")
