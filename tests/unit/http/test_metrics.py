"""What /metrics says, and that the page and the dashboard about it say the same."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import JobStatus
from diffuserve.core.ports import EngineStatus
from diffuserve.http.metrics import Levels, Metrics, read_levels
from support.app import HeldClock, Server
from support.models import job

pytestmark = pytest.mark.unit

# Elsewhere the process tells nothing of itself.
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).parents[3]
LEVELS = Levels({("tiny", "key_1"): 3, ("tiny", None): 2}, webhook_lag=1.5)


def metrics(**status: float) -> Metrics:
    return Metrics(lambda: EngineStatus(ready=True, **status))  # type: ignore[arg-type]


def samples(counted: Metrics, levels: Levels | None = LEVELS) -> dict[str, float]:
    """By name and labels, as they stand in the text."""
    families = text_string_to_metric_families(counted.text(levels).decode())
    found = (sample for family in families for sample in family.samples)
    return {f"{one.name}{json.dumps(one.labels, sort_keys=True) if one.labels else ''}": one.value for one in found}


def families(counted: Metrics) -> dict[str, str]:
    """Names as a query uses them, with their types."""
    text = counted.text(LEVELS).decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def everything() -> dict[str, str]:
    counted = metrics()
    counted.job_ended(job(status=JobStatus.SUCCEEDED, started_at=1_800_000_001.0, finished_at=1_800_000_002.0))
    counted.requests.labels("native", 200).inc()
    return {name: kind for name, kind in families(counted).items() if not name.endswith("_created")}


def test_the_queue_is_told_by_model_and_key() -> None:
    told = samples(metrics())
    assert told['diffuserve_queued_jobs{"key": "key_1", "model": "tiny"}'] == 3
    assert told['diffuserve_queued_jobs{"key": "none", "model": "tiny"}'] == 2


def test_a_model_for_which_nothing_waits_any_more_is_told_no_longer() -> None:
    counted = metrics()
    samples(counted)
    assert not [name for name in samples(counted, Levels({}, 0.0)) if "queued_jobs" in name]


def test_without_the_store_the_rest_is_told_all_the_same() -> None:
    told = samples(metrics(forwards=7), None)
    assert told["diffuserve_store_up"] == 0
    assert told["diffuserve_engine_forwards_total"] == 7
    assert not [name for name in told if "queued_jobs" in name]


def test_wait_and_run_time_are_told_by_dialect() -> None:
    counted = metrics()
    counted.job_ended(
        job(dialect="plain", status=JobStatus.SUCCEEDED, started_at=1_800_000_002.0, finished_at=1_800_000_005.0)
    )
    told = samples(counted)
    assert told['diffuserve_job_wait_seconds_sum{"dialect": "plain"}'] == 2
    assert told['diffuserve_job_run_seconds_sum{"dialect": "plain"}'] == 3


def test_the_engine_tells_steps_batches_cache_and_memory() -> None:
    told = samples(metrics(forwards=2, rows=6, step_seconds=0.5, encodings=8, encoding_hits=5, memory_bytes=4096))
    names = ("forwards_total", "rows_total", "step_seconds_total", "encodings_total", "encoding_hits_total")
    assert [told[f"diffuserve_engine_{name}"] for name in names] == [2, 6, 0.5, 8, 5]
    assert told["diffuserve_engine_memory_bytes"] == 4096


@on_linux
def test_the_memory_of_the_server_is_told() -> None:
    assert samples(metrics())["diffuserve_process_resident_memory_bytes"] > 2**20


async def test_the_levels_of_a_server_are_read_from_its_store(server: Server) -> None:
    assert (await server.client.get("/metrics")).text.count("diffuserve_store_up 1.0") == 1


class _Jobs:
    async def queue(self) -> dict[tuple[str, str | None], int]:
        return {}


class _Deliveries:
    def __init__(self, due: float | None) -> None:
        self._due = due

    async def oldest_due(self) -> float | None:
        if self._due == 0:
            raise StorageFailed("gone")
        return self._due


@pytest.mark.parametrize(("due", "lag"), [(None, 0.0), (1_700_000_000.0 - 30, 30.0), (1_700_000_000.0 + 30, 0.0)])
async def test_the_lag_of_webhooks_is_how_long_the_oldest_has_been_due(due: float | None, lag: float) -> None:
    levels = await read_levels(_Jobs(), _Deliveries(due), HeldClock())  # type: ignore[arg-type]
    assert levels == Levels({}, lag)


async def test_a_store_that_does_not_answer_has_no_levels() -> None:
    assert await read_levels(_Jobs(), _Deliveries(0), HeldClock()) is None  # type: ignore[arg-type]


@on_linux
def test_the_page_lists_exactly_what_is_told() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    listed = dict(re.findall(r"^\| `(diffuserve_\w+)` \| (\w+)", page, re.MULTILINE))
    assert listed == everything()


def _queries(text: str) -> set[str]:
    """Names of metrics in PromQL; the parts of a histogram stand for the whole."""
    found = set(re.findall(r"\bdiffuserve_\w+", text))
    return {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) for name in found}


@on_linux
def test_the_dashboard_asks_for_nothing_that_is_not_told() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/diffuserve.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in _queries(target["expr"])}
    assert asked <= everything().keys()
    assert len(asked) > 15


def test_the_panels_of_the_dashboard_do_not_lie_upon_each_other() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/diffuserve.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@on_linux
def test_the_queries_of_the_page_ask_for_nothing_that_is_not_told() -> None:
    page = (ROOT / "docs/metrics.md").read_text().partition("## Questions")[2]
    assert _queries(page) <= everything().keys()
