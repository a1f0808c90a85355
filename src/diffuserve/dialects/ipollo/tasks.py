"""Task ids: what they look like, and finding a task by one.

An id looks like the vendor's, `20230423_11_23_05_10279`: a time in UTC+8 and digits. Ours end in the job's number and 24 random
digits that only the submitter was told. So an id opens its own task and no other, which is all that this API's callers
show when they ask: their documents know no key there.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from datetime import datetime, timedelta, timezone

from diffuserve.core.errors import JobNotFound
from diffuserve.core.job import Job
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.ipollo.operations import NAME

ZONE = timezone(timedelta(hours=8))
"""Of every time in this API."""

_TAIL = 24
_ID = re.compile(rf"[0-9]{{8}}(?:_[0-9]{{2}}){{3}}_([0-9]{{1,16}})[0-9]{{{_TAIL}}}")


def new_memo() -> str:
    """What a job must be submitted with, to be a task."""
    return json.dumps({"tail": f"{secrets.randbelow(10**_TAIL):0{_TAIL}d}"})


def task_id(job: Job) -> str:
    """The id of a job that was submitted with `new_memo`."""
    return f"{datetime.fromtimestamp(job.created_at, ZONE):%Y%m%d_%H_%M_%S_}{job.id}{json.loads(job.memo)['tail']}"


async def find(rooms: Rooms, asked: str) -> Job:
    """The job of a task id. Raises JobNotFound, with the same words whatever is wrong with the id."""
    shape = _ID.fullmatch(asked)
    if shape is None:
        raise unknown(asked)
    try:
        job = await rooms.jobs.shown(int(shape[1]))
    except JobNotFound:
        raise unknown(asked) from None
    if job.dialect != NAME or not job.memo or not hmac.compare_digest(task_id(job), asked):
        raise unknown(asked)
    return job


def unknown(asked: str) -> JobNotFound:
    """In the words of this API's own servers."""
    error = JobNotFound(asked)
    error.message = f"cannot find task_id={asked[:100]}"
    return error
