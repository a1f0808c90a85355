"""Figures of one benchmark as the lines of a Markdown table: two of them in their own way, the others a line a figure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def table(name: str, figures: dict[str, Any]) -> list[str]:
    own = _OWN.get(name)
    if own is not None:
        return own(figures)
    return _lines(["figure", "value"], [[key.replace("_", " "), value] for key, value in flat(figures)])


def flat(figures: dict[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Nested figures as lines: ("sqlite: jobs per second", 477)."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}: ")
        else:
            yield before + key, value


def _mixed_load(figures: dict[str, Any]) -> list[str]:
    head = ["server", "pictures/s", "times the lock", "10 steps p50 / p99", "50 steps p50 / p99"]
    servers = figures["servers"].items()
    closed = [
        [name, row["pictures_per_second"], row["times_the_lock"], *_waits(row), row["mean_difference_of_255"]]
        for name, row in servers
    ]
    lines = _lines([*head, "pixels off, mean of 255"], closed)
    if all("poisson" in row for _, row in servers):
        rate = figures["poisson_arrivals_per_second"]
        came = [
            [
                name,
                row["poisson"]["pictures_per_second"],
                row["poisson"]["arrivals_of_its_throughput"],
                *_waits(row["poisson"]),
            ]
            for name, row in servers
        ]
        head[2] = "arrivals, of what it drew above"
        lines += ["", f"The same jobs from callers who come by themselves, {rate} a second (Poisson):", ""]
        lines += _lines(head, came)
    return lines


def _waits(row: dict[str, Any]) -> list[str]:
    waits = (row["10_steps"], row["50_steps"])
    return [f"{wait['p50_seconds']} / {wait['p99_seconds']} s" for wait in waits]


def _unet_step(figures: dict[str, Any]) -> list[str]:
    head = [
        "UNet",
        "rows",
        "eager",
        "channels-last",
        "ours",
        "ours : eager",
        "ours : channels-last",
        "ours, of the peak",
    ]
    body, other = [], []
    for title, model in figures.items():
        for rows, row in _by_rows(model):
            seconds = [f"{row[f'{name}_seconds']} s" for name in ("eager", "channels_last", "ours")]
            ratios = [row["ours_to_eager"], row["ours_to_channels_last"], f"{row['ours_percent_of_peak']}%"]
            body.append([title, rows, *seconds, *ratios])
        for rows, row in _by_rows(model.get("openvino", {})):
            ratios = [row["openvino_to_eager"], row["ours_to_eager"], row["ours_to_openvino"]]
            other.append([title, rows, f"{row['openvino_seconds']} s", *ratios])
    peaks = [str(model.get("matrix_peak_tera_operations_per_second", "?")) for model in figures.values()]
    lines = [f"Measured peak: {' and '.join(peaks)} tera-operations a second.", "", *_lines(head, body)]
    if other:
        lines += ["", "OpenVINO, in a process without tcmalloc:", ""]
        lines += _lines(["UNet", "rows", "OpenVINO", "OpenVINO : eager", "ours : eager", "ours : OpenVINO"], other)
    failures = [f"{key}: {why}" for key, why in flat(figures) if key.endswith(("failed", "not_converted"))]
    return lines + (["", *failures] if failures else [])


def _by_rows(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, row in model.items():
        if key.endswith("_rows"):
            yield key.removesuffix("_rows"), row


def _lines(head: list[str], body: list[list[object]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, body)]


def _line(cells: list[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


_OWN = {"mixed_load": _mixed_load, "unet_step": _unet_step}
