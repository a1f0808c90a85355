"""Every benchmark is run, told and explained; the page and the charts are made of any results. No torch here."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[3] / "benchmarks"
NO_BENCHMARKS = {"__main__", "charts", "common", "racing", "report", "shapes", "tables"}
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NO_BENCHMARKS)

WAITS = {"p50_seconds": 1.0, "p99_seconds": 2.0}
SERVER = {"pictures_per_second": 2.0, "10_steps": WAITS, "50_steps": WAITS}
STEP = {
    "ours_seconds": 1.0,
    "eager_seconds": 2.0,
    "channels_last_seconds": 1.5,
    "ours_to_eager": 0.5,
    "ours_to_channels_last": 0.67,
    "ours_percent_of_peak": 40.0,
}
RESULTS = {
    "mixed_load": {
        "clients": 8,
        "poisson_arrivals_per_second": 3.0,
        "servers": {
            name: {
                **SERVER,
                "times_the_lock": 1.0,
                "mean_difference_of_255": 0.0,
                "poisson": {**SERVER, "arrivals_of_its_throughput": 1.5},
            }
            for name in ("diffuserve", "LitServe")
        },
    },
    "unet_step": {
        "small & quick": {
            "matrix_peak_tera_operations_per_second": 4.0,
            "2_rows": STEP,
            "openvino": {"not_converted": "RuntimeError: no such operation"},
        }
    },
    "fairness": {
        "flood": 64,
        "each": {"guest_p99_seconds": 1.0, "guest_alone_seconds": 0.3},
        "in order": {"guest_p99_seconds": 26.0, "guest_alone_seconds": 0.3},
    },
    "http_path": {"requests": 10, "nested": {"p50_ms": 3.5}},
}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`benchmarks/report.py`, whose neighbours have plain names: they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    import report

    yield report
    for name in set(sys.modules) - before:
        if name in NO_BENCHMARKS:
            del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_benchmark_is_run_by_make_bench_told_on_the_page_and_explained(report, script):
    assert f"{script}.py" in runpy.run_path(str(FOLDER / "__main__.py"))["SCRIPTS"]
    assert script in report.TITLES
    assert f"| `{script}.py` | " in (FOLDER / "README.md").read_text()


def test_the_page_is_last_because_it_tells_what_the_others_measured():
    assert runpy.run_path(str(FOLDER / "__main__.py"))["SCRIPTS"][-1] == "report.py"


def test_the_page_tells_every_result_with_its_machine_and_draws_three_of_them(report, tmp_path):
    import common

    for name, figures in RESULTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"figures": figures, "machine": common.machine()}))
    report.write(tmp_path)
    page = (tmp_path / "README.md").read_text()
    for name in RESULTS:
        assert f"## {report.TITLES[name]}" in page
    assert "| nested: p50 ms | 3.5 |" in page
    assert "| LitServe | 2.0 | 1.5 | 1.0 / 2.0 s | 1.0 / 2.0 s |" in page
    assert "not_converted: RuntimeError: no such operation" in page
    for name in ("mixed_load", "unet_step", "fairness"):
        assert f"]({name}.svg)" in page
        drawn = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert len([part for part in drawn if part.tag.endswith("rect")]) > 2


def test_the_longest_bar_of_a_group_fills_the_room_and_the_others_keep_their_share(report):
    import charts

    drawn = ElementTree.fromstring(
        charts.svg("t", [charts.Group("g", [charts.Bar("a", 4.0, "4"), charts.Bar("b", 1.0, "1")])])
    )
    bars = [float(part.get("width", "0")) for part in drawn if part.tag.endswith("rect")][1:]
    assert bars[0] == pytest.approx(4 * bars[1], rel=0.01)
    assert bars[0] == pytest.approx(charts.WIDTH - charts.LEFT - charts.RIGHT)


def test_published_results_can_still_be_told(report, tmp_path):
    for path in (FOLDER / "results").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    report.write(tmp_path)
    assert "## " in (tmp_path / "README.md").read_text()
