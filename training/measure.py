r"""Stage 4: whether it works, drawn by the engine itself as a server would, and contact sheets to look at.

    python -m training.measure --model src/diffuserve/embedded/emoji-mini
    python -m training.measure --candidates build/training

`--candidates` measures what was just trained instead of what is shipped. Prints the figures of the model card.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diffuserve.checkpoints.inspect import describe
from diffuserve.checkpoints.steering import collect_steering
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed
from diffuserve.core.model import ControlNetInfo, LoraInfo
from diffuserve.core.request import Control, InputImage, Lora, ResolvedRequest
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig
from diffuserve.jobs.canvas import plan
from training import agreement, settings
from training.data import Pictures, held_out
from training.placing import centred, placed
from training.settings import Settings

SCALES = (0.0, 0.5, 1.0)
SEED = 7
COLUMNS = 8
"""Of a sheet."""


class Desk:
    """The engine with what is to be measured."""

    def __init__(self, options: Settings, candidates: Path | None) -> None:
        info = describe(options.model.resolve(), "emoji-mini")
        steering = collect_steering([info])
        nets, loras = steering.controlnets, steering.loras
        if candidates:
            net = candidates / "controlnets" / "canny"
            nets = (ControlNetInfo("canny", info.family, str(net), kind="canny"),) if net.exists() else ()
            loras = tuple(LoraInfo(f.stem, info.family, str(f)) for f in sorted((candidates / "loras").glob("*")))
        self.info, self.nets, self.loras = info, nets, loras
        self._pictures: dict[int, Image.Image] = {}
        config = EngineConfig((info,), info.name, dtype="float32", threads=1, loras=loras, controlnets=nets)
        self._loop = StepLoop(config, self._hear)
        self._loop.load_default()
        self._asked = ResolvedRequest(
            prompt="",
            negative_prompt="",
            model=info.name,
            width=info.size,
            height=info.size,
            canvas=plan(info.size, info.size, info),
            seeds=(SEED,),
            num_inference_steps=info.num_inference_steps,
            guidance_scale=info.guidance_scale,
            sampler=info.sampler,
            schedule="automatic",
        )

    def draw(
        self, prompts: Sequence[str], maps: Sequence[np.ndarray] = (), scale: float = 0.0, lora: Lora | None = None
    ) -> list[np.ndarray]:
        """One picture for each prompt, (128, 128, 3) bytes."""
        self._pictures.clear()
        for number, prompt in enumerate(prompts):
            controls = (Control("canny", _input(maps[number]), scale=scale),) if scale else ()
            wish = dataclasses.replace(self._asked, prompt=prompt, controls=controls, loras=(lora,) if lora else ())
            self._loop.submit(number, wish)
        while self._loop.step():
            pass
        return [np.asarray(self._pictures[number]) for number in range(len(prompts))]

    def _hear(self, job_id: int, event: EngineEvent) -> None:
        if isinstance(event, Failed):
            raise SystemExit(event.error.message)
        if isinstance(event, ArtifactReady):
            self._pictures[job_id] = Image.frombytes("RGB", (event.width, event.height), event.pixels)


def main() -> None:
    parser = settings.parser(__doc__ or "")
    parser.add_argument("--candidates", type=Path)
    parser.add_argument("--maps", type=int, default=24, help="of each kind")
    arguments = parser.parse_args()
    options = settings.read(arguments)
    torch.set_num_threads(1)
    desk = Desk(options, arguments.candidates)
    things = {p.number: p.english for p in Pictures(options.work).about}
    drawings = {number: _drawing(options, number) for number in things}
    if desk.nets:
        _controls(desk, options, things, drawings, arguments.maps)
    for lora in desk.loras:
        _lora(desk, lora.name, options, list(things.values())[::8])


def _controls(
    desk: Desk, options: Settings, things: dict[int, str], drawings: dict[int, Image.Image], count: int
) -> None:
    rng = random.Random(options.seed + 1)
    unseen = sorted(held_out(options, len(things)))
    seen = rng.sample(sorted(set(things) - set(unseen)), count)
    known = [np.asarray(centred(drawing)) for drawing in drawings.values()]
    known = np.stack([_thumb(one) for one in (*known, *(one[:, ::-1] for one in known))])
    ranges = {name: options.data[name] for name in ("scale", "stretch", "rotation")}
    for kind, numbers in (("new placements", seen), ("unseen things", unseen)):
        targets = [np.asarray(placed(drawings[number], rng, **ranges)) for number in numbers]
        maps = [agreement.edges(target) for target in targets]
        rows = [targets, [np.repeat(one[..., None], 3, 2) for one in maps]]
        for scale in (None, *SCALES):
            # First the placed drawings themselves: what a perfect picture would score.
            drawn = targets if scale is None else desk.draw([things[number] for number in numbers], maps, scale)
            scores = [agreement.f1(agreement.edges(one), given) for one, given in zip(drawn, maps, strict=True)]
            hits = [_nearest(one, known) % len(things) == number for one, number in zip(drawn, numbers, strict=True)]
            label = "the drawings themselves" if scale is None else f"scale {scale}"
            sys.stdout.write(
                f"{kind} ({len(numbers)}), {label}: F1 {np.mean(scores):.3f}, worst {min(scores):.2f}; "
                f"nearest drawing is the asked thing {np.mean(hits):.2f}\n"
            )
            if scale is not None:
                rows.append(drawn)
        _sheet(rows, options.work / f"sheet-{kind.split()[0]}.png")


def _lora(desk: Desk, name: str, options: Settings, prompts: list[str]) -> None:
    rows = [desk.draw(prompts, lora=Lora(name, weight)) for weight in (0.0, 0.5, 1.0)]
    for weight, drawn in zip((0.0, 0.5, 1.0), rows, strict=True):
        figures = {
            measure.__name__: np.mean([measure(one) for one in drawn])
            for measure in (agreement.luminance, agreement.saturation, agreement.blockiness, agreement.colours)
        }
        sys.stdout.write(f"{name} {weight}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()) + "\n")
    _sheet(rows, options.work / f"sheet-{name}.png")


def _nearest(drawn: np.ndarray, known: np.ndarray) -> int:
    """Which thing's drawing it is most like, once both are cropped to what is drawn."""
    return int(((known - _thumb(drawn)) ** 2).sum(axis=1).argmin())


def _thumb(picture: np.ndarray) -> np.ndarray:
    """24 by 24 of what is not white, as one row."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    box = Image.fromarray(((255 - picture.min(axis=2)) > 24).astype(np.uint8) * 255).getbbox()
    return np.asarray(image.crop(box).resize((24, 24), Image.Resampling.BOX), np.float32).ravel()


def _drawing(options: Settings, number: int) -> Image.Image:
    with Image.open(options.work / "drawings" / f"{number:03}.png") as drawing:
        drawing.load()
        return drawing


def _input(edges: np.ndarray) -> InputImage:
    buffer = io.BytesIO()
    Image.fromarray(edges).convert("RGB").save(buffer, "PNG")
    data = buffer.getvalue()
    return InputImage(hashlib.sha256(data).hexdigest(), edges.shape[1], edges.shape[0], data)


def _sheet(rows: Sequence[Sequence[np.ndarray]], file: Path) -> None:
    """The columns belong together; after `COLUMNS` of them the next ones begin below."""
    parts = [[list(row)[first : first + COLUMNS] for row in rows] for first in range(0, len(rows[0]), COLUMNS)]
    blank = np.full_like(rows[0][0], 255)
    full = [row + [blank] * (COLUMNS - len(row)) for part in parts for row in part]
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in full])).save(file)


if __name__ == "__main__":
    main()
