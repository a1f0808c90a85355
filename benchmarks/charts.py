"""Bar charts as SVG, written by hand: a title, groups of bars, each group on a scale of its own, the value beside each bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP_GAP = 760, 210, 90, 20, 6, 20
OURS_FILL, OTHER_FILL, INK, FAINT = "#2563eb", "#b6bcc8", "#1f2430", "#667085"


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    label: str
    ours: bool = False


@dataclass(frozen=True)
class Group:
    title: str
    bars: Sequence[Bar]


def svg(title: str, groups: Sequence[Group]) -> str:
    """The chart on a white ground, so that it reads in dark pages too."""
    parts, y = [_text(20, 32, title, 16, INK, bold=True)], 58
    for group in groups:
        parts.append(_text(20, y + 4, group.title, 12, FAINT))
        y += 16
        longest = max(bar.value for bar in group.bars)
        for bar in group.bars:
            length = max(1.0, (WIDTH - LEFT - RIGHT) * bar.value / longest)
            fill = OURS_FILL if bar.ours else OTHER_FILL
            middle = y + BAR / 2 + 4
            parts += [
                _text(LEFT - 10, middle, bar.name, 13, INK, anchor="end"),
                f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" fill="{fill}"/>',
                _text(LEFT + length + 8, middle, bar.label, 13, INK, bold=bar.ours),
            ]
            y += BAR + GAP
        y += GROUP_GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
    ground = f'<rect width="{WIDTH}" height="{y}" rx="8" fill="#ffffff"/>'
    return "\n".join([f'{head} font-family="system-ui, sans-serif">', ground, *parts, "</svg>", ""])


def _text(x: float, y: float, words: str, size: int, fill: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{weight}'
    return f"<text {place}>{escape(words)}</text>"


def mixed_load(figures: dict[str, Any]) -> str:
    servers = figures["servers"]

    def group(title: str, rows: Mapping[str, dict[str, Any]]) -> Group:
        waits = {name: row["10_steps"]["p99_seconds"] for name, row in rows.items()}
        return Group(title, [Bar(name, wait, f"{wait} s", "diffuserve" in name) for name, wait in waits.items()])

    groups = [group(f"{figures['clients']} clients in a closed loop", servers)]
    if all("poisson" in row for row in servers.values()):
        title = f"{figures['poisson_arrivals_per_second']} callers a second, who come by themselves"
        groups.append(group(title, {name: row["poisson"] for name, row in servers.items()}))
    return svg("A job of 10 steps among jobs of 50: seconds, p99 (less is better)", groups)


def unet_step(figures: dict[str, Any]) -> str:
    groups = []
    for title, model in figures.items():
        for key, row in model.items():
            if not key.endswith("_rows"):
                continue
            ratios = {
                "diffusers eager": 1.0,
                "eager, channels-last": row["channels_last_seconds"] / row["eager_seconds"],
                "diffuserve": row["ours_to_eager"],
            }
            other = model.get("openvino", {}).get(key)
            if other is not None:
                ratios["OpenVINO, static shapes"] = other["openvino_to_eager"]
            bars = [Bar(name, ratio, f"{ratio:.2f}", name == "diffuserve") for name, ratio in ratios.items()]
            groups.append(Group(f"{title}, {key.removesuffix('_rows')} rows", bars))
    return svg("A step of the UNet on the processor: time, eager is 1 (less is better)", groups)


def fairness(figures: dict[str, Any]) -> str:
    variants = {name: row for name, row in figures.items() if isinstance(row, dict)}
    bars = [
        Bar(name, row["guest_p99_seconds"], f"{row['guest_p99_seconds']} s", name == "an account for each")
        for name, row in variants.items()
    ]
    alone = next(iter(variants.values()))["guest_alone_seconds"]
    title = f"p99 of 10 steps beside {figures['flood']} open jobs of 50; alone it takes {alone} s"
    return svg("A guest in a flood: seconds (less is better)", [Group(title, bars)])


CHARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "mixed_load": mixed_load,
    "unet_step": unet_step,
    "fairness": fairness,
}
