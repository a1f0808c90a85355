"""One step of the UNet on the processor: our `forward` (packed weights, channels-last) against diffusers eager in the same
dtype, as it is loaded and channels-last, and against OpenVINO with static shapes.

The embedded model's UNet, and one of SD1.5's shape with random weights. Two rows are one picture with guidance. Ours does all
that a turn of the step loop does around the UNet (gathering rows, guidance); the others are the bare call. The share of the
peak is that of the best matrix product measured in the same process.

OpenVINO does not live with tcmalloc, so it has a process of its own, in which glibc is told to keep its memory (which makes
up for tcmalloc) and eager and ours run again: ratios are always within one process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import common
import racing
import shapes
from peers.steps import Contest

EMBEDDED = common.ROOT / "src/diffuserve/embedded/emoji-mini"
KEEPING = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps what it has mapped instead of mapping it again at each step."""
AS_THE_ENGINE = {"GOMP_SPINCOUNT": "10000", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
"""What `engine.spawn` sets for its process."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20, help="for each number of rows, about")
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 8, 16])
    parser.add_argument("--size", type=int, default=512, help="of the SD1.5 shape's pictures; 0 leaves it out")
    parser.add_argument("--without-openvino", action="store_true")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(_part(*options.part, options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        models = {str(EMBEDDED): _title("embedded model", 0)}
        if options.size:
            dtype = Contest.device().dtype
            models[str(shapes.save(shapes.SD15, Path(folder), dtype))] = _title("SD1.5's shape", options.size)
        figures: dict[str, Any] = {}
        for path, title in models.items():
            print(f"measuring {title} ...", file=sys.stderr)
            figures[title] = _process("torch", path, **({"LD_PRELOAD": common.allocator() or ""}))
            if not options.without_openvino:
                figures[title]["openvino"] = _process("openvino", path, LD_PRELOAD="", **KEEPING)
    common.save("unet_step", figures)


def _title(name: str, size: int) -> str:
    return f"{name}, {size}x{size}" if size else name


def _process(part: str, folder: str, **environment: str) -> dict[str, Any]:
    """What a part measures in a process of its own."""
    command = [sys.executable, "-W", "ignore", *sys.argv, "--part", part, folder]
    done = subprocess.run(
        command, env={**os.environ, **AS_THE_ENGINE, **environment}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _part(part: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    size = None if Path(folder) == EMBEDDED else options.size
    contest = Contest(Path(folder), size)
    with torch.inference_mode():
        return _against_eager(contest, options) if part == "torch" else _against_openvino(contest, options)


def _against_eager(contest: Contest, options: argparse.Namespace) -> dict[str, Any]:
    peaks = [racing.matrix_peak(contest.device().dtype)]
    figures: dict[str, Any] = {}
    for rows in options.rows:
        runners = {"ours": contest.ours(rows)} | {
            name: contest.eager(rows, channels_last=name != "eager") for name in ("eager", "channels_last")
        }
        times = racing.race(runners, options.rounds, options.seconds)
        peaks.append(racing.matrix_peak(contest.device().dtype))
        figures[f"{rows}_rows"] = {
            **{f"{name}_seconds": racing.median(times, name) for name in runners},
            "ours_to_eager": racing.ratio(times, "ours", "eager"),
            "ours_to_channels_last": racing.ratio(times, "ours", "channels_last"),
            "turns": len(times["ours"]),
            "giga_operations": round(contest.operations(rows) / 1e9, 2),
        }
    peak = max(peaks)
    for row in figures.values():
        for name in ("ours", "eager"):
            row[f"{name}_percent_of_peak"] = round(100e9 * row["giga_operations"] / row[f"{name}_seconds"] / peak, 1)
    return {
        "dtype": contest.device().dtype_label,
        "threads": torch.get_num_threads(),
        "matrix_peak_tera_operations_per_second": round(peak / 1e12, 2),
        "ours_differs_by": contest.difference(2, contest.ours(2)),
        **figures,
    }


def _against_openvino(contest: Contest, options: argparse.Namespace) -> dict[str, Any]:
    # Large shapes take it a minute of compiling each, and batches only make it the throughput of one picture.
    wanted = options.rows if contest.small else options.rows[:1]
    figures: dict[str, Any] = {}
    for rows in wanted:
        try:
            openvino = contest.openvino(rows)
        except Exception as error:
            reason = str(error).strip().splitlines()
            return {"not_converted": f"{type(error).__name__}: {reason[-1] if reason else ''}"[:300]}
        runners = {"ours": contest.ours(rows), "eager": contest.eager(rows), "openvino": openvino}
        times = racing.race(runners, options.rounds, options.seconds)
        figures[f"{rows}_rows"] = {
            **{f"{name}_seconds": racing.median(times, name) for name in runners},
            **{f"{name}_to_eager": racing.ratio(times, name, "eager") for name in ("ours", "openvino")},
            "ours_to_openvino": racing.ratio(times, "ours", "openvino"),
            "openvino_differs_by": contest.difference(rows, openvino),
        }
    return figures


if __name__ == "__main__":
    main()
