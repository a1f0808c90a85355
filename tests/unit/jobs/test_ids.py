"""Job ids and the keys of blobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.blobs.keys import checked
from diffuserve.jobs.ids import JobIds, artifact_id, artifact_key, first_id, input_key, random_seed

pytestmark = pytest.mark.unit


@given(st.lists(st.floats(1_750_000_000, 3_800_000_000), min_size=2, max_size=20))
def test_ids_are_read_exactly_by_javascript_and_ascend_even_if_the_clock_steps_back(times: list[float]) -> None:
    ids = JobIds()
    given_out = [ids.next(now) for now in times]
    assert all(0 < one < 2**53 for one in given_out)
    assert given_out == sorted(set(given_out))


def test_a_later_process_gives_larger_ids() -> None:
    highest = JobIds(lambda bits: 2**bits - 1).next(1_800_000_000.0)
    assert JobIds(lambda bits: 0).next(1_800_000_000.002) > highest


def test_keys_are_keys_that_the_blob_store_takes() -> None:
    name = artifact_id()
    assert checked(artifact_key(1_800_000_000.0, 12, name, "webp")) == f"artifacts/2027/01/15/12/{name}.webp"
    assert checked(input_key("ab" + "0" * 62)) == f"inputs/ab/ab{'0' * 62}.png"


def test_random_seeds_are_read_exactly_by_javascript() -> None:
    assert all(0 <= random_seed() < 2**53 for _ in range(100))


def test_the_first_id_of_a_time_parts_the_ids_before_it_from_those_after() -> None:
    fresh = JobIds()
    before, after = fresh.next(1_800_000_000.0), fresh.next(1_800_000_000.1)
    assert before < first_id(1_800_000_000.05) < after
