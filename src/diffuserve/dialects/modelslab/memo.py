"""What of a call is needed again when its job is fetched or told about, perhaps by another server: kept with the job."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from diffuserve.core.job import Job

NAME = "modelslab"


@dataclass(frozen=True, slots=True)
class Memo:
    track_id: str | int | float | None = None
    """With the type that it came in."""
    webhook: str | None = None
    base64: bool = False
    """Pictures as text in place of links."""
    temp: bool = False
    """Links open for a day."""
    sampler: str | None = None
    """As the caller named it."""
    upscale: str = "no"
    notes: tuple[str, ...] = ()
    """What was done otherwise than asked, beside the job's own notes."""
    ignored: tuple[str, ...] = ()
    """Fields without effect."""

    def text(self) -> str:
        return json.dumps(asdict(self))


def of(job: Job) -> Memo:
    """That of a job; nothing is remembered of those that came by another dialect."""
    if job.dialect != NAME or not job.memo:
        return Memo()
    kept = json.loads(job.memo)
    known = {name: value for name, value in kept.items() if name in Memo.__dataclass_fields__}
    return Memo(**{**known, "notes": tuple(kept.get("notes", ())), "ignored": tuple(kept.get("ignored", ()))})
