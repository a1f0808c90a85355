"""Seconds and peak memory from the start of the process to the first picture, on the embedded model."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import common


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = [_run() for _ in range(parser.parse_args().runs)]
    middle = sorted(runs, key=lambda run: run["first_picture_seconds"])[len(runs) // 2]
    common.save("first_picture", {**middle, "runs": len(runs)})


def _run() -> dict[str, float]:
    port = common.free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with common.server(common.diffuserve(port, Path(folder)), f"{base}/readyz") as process:
            ready = time.perf_counter() - began
            body = urllib.parse.urlencode({"prompt": "红苹果", "seed": 7, "num_inference_steps": 20}).encode()
            with urllib.request.urlopen(f"{base}/txt2img", body) as answer:
                url = json.load(answer)["images"][0]["image_url"]
            with urllib.request.urlopen(url) as picture:
                picture.read()
            first = time.perf_counter() - began
            memory = common.peak_memory_mib(common.family_of(process.pid))
    return {
        "ready_seconds": round(ready, 2),
        "first_picture_seconds": round(first, 2),
        "peak_memory_mib": round(memory),
    }


if __name__ == "__main__":
    main()
