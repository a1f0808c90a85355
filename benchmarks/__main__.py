"""`make bench`: every benchmark in its own process, then the page of results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRIPTS = (
    "first_picture.py",
    "one_picture.py",
    "http_path.py",
    "jobs_path.py",
    "mixed_load.py",
    "lora_switch.py",
    "signatures_bce.py",
    "signatures_volcengine.py",
    "report.py",
)

for script in SCRIPTS:
    print(f"== {script}", file=sys.stderr)
    subprocess.run([sys.executable, "-W", "ignore", str(FOLDER / script)], check=True)
