"""`make bench`: every benchmark in its own process, then the page of results."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRIPTS = (
    "first_picture.py",
    "one_picture.py",
    "http_path.py",
    "dialects_path.py",
    "jobs_path.py",
    "unet_step.py",
    "vae_decode.py",
    "loop_overhead.py",
    "mixed_load.py",
    "fairness.py",
    "cold_model.py",
    "eta.py",
    "lora_switch.py",
    "signatures_bce.py",
    "signatures_volcengine.py",
    "dialect_ipollo.py",
    "gpu.py",
    "report.py",
)


def main() -> None:
    for script in SCRIPTS:
        began = time.monotonic()
        subprocess.run([sys.executable, "-W", "ignore", str(FOLDER / script)], check=True)
        print(f"== {script}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
