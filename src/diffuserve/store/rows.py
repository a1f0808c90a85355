"""Jobs and artifacts to rows and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row

from diffuserve.core.account import Charge, PlanUnit
from diffuserve.core.delivery import Callback
from diffuserve.core.job import Artifact, Job, JobError, JobStatus, Usage
from diffuserve.core.request import InputImage, ResolvedRequest, map_pictures

_REQUEST = TypeAdapter(ResolvedRequest)
_NOTES = TypeAdapter(tuple[str, ...])
_USAGE = TypeAdapter(Usage)
_CALLBACK = TypeAdapter(Callback)


def _bare(picture: InputImage) -> InputImage:
    """The bytes of an input picture lie in the blob store; the row keeps its digest and size."""
    return replace(picture, data=b"")


def job_to_row(job: Job) -> dict[str, Any]:
    """The values of a `jobs` row for a job that nobody owns."""
    return {
        "id": job.id,
        "account": job.account,
        "dialect": job.dialect,
        "model": job.request.model,
        "request": _REQUEST.dump_json(map_pictures(job.request, _bare)).decode(),
        "pixels": job.request.drawn_pixels,
        "steps": job.request.drawn_steps,
        "status": job.status.value,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "attempts": job.attempts,
        "crashes": job.crashes,
        "notes": notes_to_text(job.notes),
        "usage": usage_to_text(job.usage),
        "error_code": job.error.code if job.error else None,
        "error_message": job.error.message if job.error else None,
        "key_id": job.key_id,
        "priority": job.priority,
        "callback": callback_to_text(job.callback) if job.callback else None,
        "charge_plan_id": job.charge.plan_id if job.charge else None,
        "charge_unit": job.charge.unit.value if job.charge else None,
        "charge_amount": job.charge.amount if job.charge else None,
        "memo": plain(job.memo),
    }


def row_to_job(row: Row[Any], artifacts: Iterable[Artifact] = ()) -> Job:
    return Job(
        id=row.id,
        account=row.account,
        dialect=row.dialect,
        request=text_to_request(row.request),
        status=JobStatus(row.status),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        crashes=row.crashes,
        artifacts=tuple(artifacts),
        notes=text_to_notes(row.notes),
        usage=_USAGE.validate_json(row.usage) if row.usage else Usage(),
        error=JobError(row.error_code, row.error_message) if row.error_code else None,
        key_id=row.key_id,
        priority=row.priority,
        callback=text_to_callback(row.callback) if row.callback else None,
        charge=row_to_charge(row),
        memo=row.memo,
    )


def text_to_request(text: str) -> ResolvedRequest:
    return _REQUEST.validate_json(text)


def row_to_charge(row: Row[Any]) -> Charge | None:
    if row.charge_plan_id is None:
        return None
    return Charge(row.charge_plan_id, PlanUnit(row.charge_unit), row.charge_amount)


def artifact_to_row(job_id: int, artifact: Artifact) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "job_id": job_id,
        "index": artifact.index,
        "blob_key": artifact.blob_key,
        "media_type": artifact.media_type,
        "size": artifact.size,
        "width": artifact.width,
        "height": artifact.height,
        "seed": str(artifact.seed),
        "digest": artifact.digest,
    }


def row_to_artifact(row: Row[Any]) -> Artifact:
    # By name in the mapping: `row.index` is a method of every sequence.
    values = row._mapping
    return Artifact(
        id=values["id"],
        index=values["index"],
        blob_key=values["blob_key"],
        media_type=values["media_type"],
        size=values["size"],
        width=values["width"],
        height=values["height"],
        seed=int(values["seed"]),
        digest=values["digest"],
    )


def notes_to_text(notes: tuple[str, ...]) -> str:
    return _NOTES.dump_json(notes).decode()


def text_to_notes(text: str) -> tuple[str, ...]:
    return _NOTES.validate_json(text)


def usage_to_text(usage: Usage) -> str:
    return _USAGE.dump_json(usage).decode()


def callback_to_text(callback: Callback) -> str:
    return _CALLBACK.dump_json(callback).decode()


def text_to_callback(text: str) -> Callback:
    return _CALLBACK.validate_json(text)


def plain(text: str) -> str:
    """`text` without what PostgreSQL keeps in no text: NUL, and halves of characters. JSON has them escaped."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
