"""`benchmarks/gpu.py` cannot be tried where there is no GPU, so its way is gone with a tiny model on the processor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_the_gpu_benchmark_measures_a_tiny_model_on_the_processor():
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--smoke", "--models", "sd15", "--ways", "ours"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    ours = json.loads(done.stdout)["sd15"]["ours"]
    assert ours["one_seconds"] > 0
    assert set(ours["batches"]) == {"1", "2"}
    assert ours["best_per_second"] == max(ours["batches"].values())
