r"""Stage 1: draw, place and encode. Writes to the work folder `pictures.npy` (N, 128, 128, 3), `latents.pt`, `pictures.json`.

    python -m training.data

`drawings/` beside them has each thing's 3d drawing as it is, for the looks of the LoRAs.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from training import placing, settings, sources
from training.base import Base
from training.settings import Settings


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of one picture."""

    number: int
    english: str
    chinese: str
    style: str
    colour: str | None


class Pictures:
    """What this stage wrote."""

    def __init__(self, work: Path) -> None:
        self.pixels = np.load(work / "pictures.npy")
        self.latents = torch.load(work / "latents.pt", weights_only=True).float()
        self.about = [Picture(**row) for row in json.loads((work / "pictures.json").read_text(encoding="utf-8"))]


def held_out(options: Settings, things: int) -> set[int]:
    """Numbers of the things that are kept for measuring."""
    return set(random.Random(options.seed).sample(range(things), options.data["held_out"]))


def main() -> None:
    options = settings.read(settings.parser(__doc__ or "").parse_args())
    torch.set_num_threads(1)
    drawings = list(track(sources.drawings(options.packages, options.model / "concepts.json"), "drawing", total=488))
    _keep(options.work / "drawings", drawings)
    rows = list(track(_placed(drawings, options), "placing", total=_total(drawings, options.data)))
    pixels = np.stack([np.asarray(image) for image, _ in rows])
    np.save(options.work / "pictures.npy", pixels)
    about = json.dumps([asdict(picture) for _, picture in rows], ensure_ascii=False)
    (options.work / "pictures.json").write_text(about, encoding="utf-8")
    torch.save(Base(options.model).latents(torch.from_numpy(pixels)).half(), options.work / "latents.pt")
    sys.stdout.write(f"{len(rows)} pictures of {len(drawings) // 4} things\n")


def _placed(drawings: list[sources.Drawing], options: Settings) -> Iterator[tuple[Image.Image, Picture]]:
    rng, data = random.Random(options.seed), options.data
    ranges = {name: data[name] for name in ("scale", "stretch", "rotation")}
    for drawing in drawings:
        for turn in range(data["placements"][drawing.style] + _repaints(drawing, data)):
            colour = rng.choice(list(placing.HUES)) if turn >= data["placements"][drawing.style] else None
            image = placing.recoloured(drawing.image, colour) if colour else drawing.image
            about = Picture(drawing.number, drawing.english, drawing.chinese, drawing.style, colour)
            yield placing.placed(image, rng, **ranges), about


def _repaints(drawing: sources.Drawing, data: dict[str, Any]) -> int:
    """None of what has a colour in its name: a "green red apple" says nothing."""
    named = drawing.english.split()[0] in placing.HUES
    return 0 if named or drawing.style != "3d" else data["recoloured"]


def _total(drawings: list[sources.Drawing], data: dict[str, Any]) -> int:
    return sum(data["placements"][drawing.style] + _repaints(drawing, data) for drawing in drawings)


def _keep(folder: Path, drawings: list[sources.Drawing]) -> None:
    folder.mkdir(exist_ok=True)
    for drawing in drawings:
        if drawing.style == "3d":
            drawing.image.save(folder / f"{drawing.number:03}.png")


if __name__ == "__main__":
    main()
