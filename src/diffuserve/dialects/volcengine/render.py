"""A `Job` to the vendor's answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.job import Job, JobStatus
from diffuserve.dialects.volcengine import envelope
from diffuserve.dialects.volcengine.actions import Action

SUCCESS = 10000
TASK_SECONDS = 12 * 3600.0
"""How long a task's result can be asked for."""

NOT_FOUND, EXPIRED, DONE = "not_found", "expired", "done"

WAITING = {JobStatus.QUEUED: "in_queue", JobStatus.RUNNING: "generating", JobStatus.CANCELED: EXPIRED}


def picture(pictures: Sequence[bytes], links: Sequence[str] | None) -> dict[str, Any]:
    """The data of an answer to a caller who waited; with `links` there are no pictures in it."""
    data: dict[str, Any] = {
        "algorithm_base_resp": {"status_code": 0, "status_message": "Success"},
        "binary_data_base64": _base64(pictures),
    }
    return data if links is None else {**data, "image_urls": list(links)}


def task(job: Job) -> dict[str, Any]:
    return {"task_id": str(job.id)}


def result(status: str, pictures: Sequence[bytes] = (), links: Sequence[str] | None = None) -> dict[str, Any]:
    """The data of an answer to a query."""
    return {
        "binary_data_base64": _base64(pictures) or None,
        "image_urls": list(links) if links is not None else None,
        "status": status,
    }


def success(request: Request, action: Action, data: Mapping[str, Any] | None, headers: dict[str, str]) -> Response:
    body = envelope.business(request, SUCCESS, "Success", data)
    if action.stylise:
        # This call's SDK wants to see who answered; older clients would take that for an error.
        body = {"ResponseMetadata": envelope.metadata(request), "Result": body}
    return envelope.reply(body, headers=headers)


def remarks(job: Job, notes: Sequence[str] = ()) -> dict[str, str]:
    """Headers: the answers have no field for remarks, and their readers do not expect one."""
    headers = {"diffuserve-job": str(job.id)}
    if said := "; ".join((*notes, *job.notes)):
        headers["diffuserve-notes"] = "".join(char if " " <= char <= "~" else "?" for char in said[:2000])
    return headers


def _base64(pictures: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(data).decode("ascii") for data in pictures]
