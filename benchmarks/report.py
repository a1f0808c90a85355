"""`results/README.md` from the JSON files: one table a benchmark, some with a chart, with the machine and the commit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import common
from charts import CHARTS
from tables import table

TITLES = {
    "first_picture": "From the start of the process to the first picture (embedded model)",
    "one_picture": "One picture at batch 1, 20 steps, against `StableDiffusionPipeline`",
    "http_path": "The HTTP path, fake engine, no delay",
    "dialects_path": "The HTTP path through each dialect, fake engine, no delay",
    "jobs_path": "The path of a job without HTTP, on both databases",
    "unet_step": "One step of the UNet on the processor, against diffusers eager and OpenVINO",
    "vae_decode": "Latents to pixels on the processor, against diffusers",
    "loop_overhead": "What a turn of the step loop costs beyond its UNet call (embedded model)",
    "mixed_load": "Eight clients, jobs of 10, 10, 10 and 50 steps (embedded model)",
    "fairness": "A guest in a flood: jobs of 10 steps beside 64 open jobs of 50 (embedded model)",
    "cold_model": "A job for a model that is not loaded yet, while others draw",
    "gpu": "Whole pictures on a CUDA device, against diffusers' pipeline",
    "eta": "How many seconds `eta` was off in the ModelsLab dialect (fake engine)",
    "eta_embedded": "The same with the embedded model",
    "lora_switch": "LoRAs: changing the mix, and different mixes in one batch (SD1.5's shape, random weights)",
    "signatures_bce": "Who asks, in the Qianfan dialect: one verification, and requests over HTTP (fake engine)",
    "signatures_volcengine": "Who asks, in the Volcengine dialect: one verification, and requests over HTTP (fake engine)",
    "dialect_ipollo": "Wallets and task queries in the iPollo dialect (fake engine)",
}


def main() -> None:
    if os.environ.get("BENCH_DRY"):
        return
    write(common.RESULTS)
    print(common.RESULTS / "README.md")


def write(folder: Path) -> None:
    """The page of the JSON files in `folder`, and its charts beside it."""
    page = [
        "# Results",
        "",
        "Written by `make bench`. Ratios are within one run; absolute times drift by some 10%.",
        "",
    ]
    for name, title in TITLES.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        report = json.loads(path.read_text())
        page += [f"## {title}", ""]
        if name in CHARTS:
            (folder / f"{name}.svg").write_text(CHARTS[name](report["figures"]))
            page += [f"![{title}]({name}.svg)", ""]
        page += [*table(name, report["figures"]), "", _footer(report["machine"]), ""]
    (folder / "README.md").write_text("\n".join(page))


def _footer(machine: dict[str, str]) -> str:
    # Older results do not say how busy the machine was.
    busy = f", {machine['others_at_work']} processes at work at the start" if "others_at_work" in machine else ""
    return (
        f"{machine['processor']}, {machine['memory']}, {machine['system']}, Python {machine['python']}, "
        f"allocator {machine['allocator']}, commit {machine['commit']}, {machine['date']}{busy}"
    )


if __name__ == "__main__":
    main()
