"""`results/README.md` from the JSON files: one table a benchmark, with the machine and the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import common

TITLES = {
    "first_picture": "From the start of the process to the first picture (embedded model)",
    "one_picture": "One picture at batch 1, 20 steps, against `StableDiffusionPipeline`",
    "http_path": "The HTTP path, fake engine, no delay",
    "jobs_path": "The path of a job without HTTP, on both databases",
    "mixed_load": "Eight clients, jobs of 10, 10, 10 and 50 steps (embedded model)",
    "lora_switch": "LoRAs: changing the mix, and different mixes in one batch (SD1.5's shape, random weights)",
    "signatures_bce": "Who asks, in the Qianfan dialect: one verification, and requests over HTTP (fake engine)",
    "signatures_volcengine": "Who asks, in the Volcengine dialect: one verification, and requests over HTTP (fake engine)",
}


def main() -> None:
    pages = [
        "# Results",
        "",
        "Written by `make bench`. Ratios are within one run; absolute times drift by some 10%.",
        "",
    ]
    for name, title in TITLES.items():
        path = common.RESULTS / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text())
            pages += [f"## {title}", "", *_table(report["figures"]), "", _footer(report["machine"]), ""]
    (common.RESULTS / "README.md").write_text("\n".join(pages))
    print(common.RESULTS / "README.md")


def _table(figures: dict) -> list[str]:
    if "servers" not in figures:
        rows = [f"| {key.replace('_', ' ')} | {value} |" for key, value in _flat(figures)]
        return ["| figure | value |", "| --- | --- |", *rows]
    head = (
        "| server | pictures/s | times the lock | 10 steps p50 / p99 | 50 steps p50 / p99 | pixels off, mean of 255 |"
    )
    rows = [
        f"| {name} | {row['pictures_per_second']} | {row['times_the_lock']} | {_pair(row['10_steps'])} "
        f"| {_pair(row['50_steps'])} | {row['mean_difference_of_255']} |"
        for name, row in figures["servers"].items()
    ]
    return [head, "| --- | --- | --- | --- | --- | --- |", *rows]


def _flat(figures: dict, before: str = "") -> Iterator[tuple[str, object]]:
    """Nested figures as lines: ("sqlite: jobs per second", 477)."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}: ")
        else:
            yield before + key, value


def _pair(row: dict) -> str:
    return f"{row['p50_seconds']} / {row['p99_seconds']} s"


def _footer(machine: dict) -> str:
    return (
        f"{machine['processor']}, {machine['memory']}, {machine['system']}, Python {machine['python']}, "
        f"allocator {machine['allocator']}, commit {machine['commit']}, {machine['date']}"
    )


if __name__ == "__main__":
    main()
