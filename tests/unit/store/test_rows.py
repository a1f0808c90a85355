"""Requests as they rest in the store."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.job import JobError, JobStatus, Usage
from diffuserve.core.request import MAX_SEED, InputImage
from diffuserve.store.rows import job_to_row, row_to_job
from support.models import job, resolved

pytestmark = pytest.mark.unit

finite = st.floats(0, 100)


class Row(dict[str, object]):
    """A row as far as `row_to_job` looks."""

    def __getattr__(self, name: str) -> object:
        return self[name]


@given(
    prompt=st.text(),
    seeds=st.lists(st.integers(0, MAX_SEED), min_size=1, max_size=4).map(tuple),
    guidance=finite,
    notes=st.lists(st.text(), max_size=3).map(tuple),
    seconds=finite,
)
def test_a_job_survives_its_row(
    prompt: str, seeds: tuple[int, ...], guidance: float, notes: tuple[str, ...], seconds: float
) -> None:
    request = resolved(prompt=prompt, seeds=seeds, guidance_scale=guidance)
    kept = job(
        1,
        request=request,
        notes=notes,
        usage=Usage(1, 2, 3, seconds),
        status=JobStatus.FAILED,
        error=JobError("internal_error", prompt or "?"),
    )
    assert row_to_job(Row(job_to_row(kept))) == kept  # type: ignore[arg-type]


def test_the_bytes_of_an_input_picture_are_not_in_the_row() -> None:
    row = job_to_row(job(1, request=resolved(init_image=InputImage("a" * 64, 8, 8, b"secret"))))
    stored = json.loads(row["request"])["init_image"]
    assert stored == {"digest": "a" * 64, "width": 8, "height": 8, "data": ""}


def test_what_a_newer_version_added_to_a_request_is_ignored() -> None:
    row = job_to_row(job(1))
    row["request"] = json.dumps({**json.loads(row["request"]), "aura": "violet"})
    assert row_to_job(Row(row)) == job(1)  # type: ignore[arg-type]
