r"""Draw a contact sheet with the engine itself: one row for each group of prompts, pictures only, in reading order.

    .venv/bin/python tools/contact_sheet.py --out docs/images/emoji-mini.png
    .venv/bin/python tools/contact_sheet.py --sheet limits --out docs/images/emoji-mini-limits.png
    .venv/bin/python tools/contact_sheet.py --sheet concepts --columns 16 --side 64 --colours 256 \
        --out docs/images/emoji-mini-concepts.png
    .venv/bin/python tools/contact_sheet.py --out rockets.png "a rocket" "火箭"

The sheet carries no text, because no font is shipped that has both alphabets: the prompts are printed, row by row, and
stand beside the sheet where it is shown. It is drawn in float32, so that it comes out the same on every machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from diffuserve.checkpoints import hub
from diffuserve.checkpoints.inspect import describe
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.diffusion.loop import StepLoop
from diffuserve.engine.messages import EngineConfig
from diffuserve.jobs.canvas import plan

COLUMNS = 6
GAP = 12
"""White pixels between pictures and around them."""

SHEETS = {
    "good": (
        *("a rocket", "红苹果", "panda", "向日葵", "pizza", "机器人"),
        *("butterfly", "城堡", "a birthday cake", "企鹅", "sailboat", "蘑菇"),
        *("blue apple", "绿色的狗", "purple car", "蓝色的玫瑰", "yellow castle", "粉色的火箭"),
    ),
    # Styles that it knows, then what it cannot do.
    "limits": (
        *("cat face", "cat face, flat design", "猫脸，卡通", "cat face, line art", "黑白图标 火箭", "house, line art"),
        *("cartoon fox", "戴墨镜的猫", "cat wearing a crown", "pink elephant", "three apples", "a dinosaur"),
    ),
}
"""What `docs/images` and the model card show; the sheet `concepts` is a picture of every name that the model card lists."""


def main() -> None:
    arguments = _arguments()
    info = describe(hub.resolve(arguments.model), "sheet")
    prompts = arguments.prompts or _prompts(arguments.sheet, Path(info.path))
    pictures = draw(info, prompts, arguments.seed)
    if arguments.side:
        pictures = [picture.resize((arguments.side, arguments.side)) for picture in pictures]
    sheet = laid_out(pictures, arguments.columns)
    if arguments.colours:
        sheet = sheet.quantize(arguments.colours, dither=Image.Dither.NONE)
    sheet.save(arguments.out, optimize=True)
    rows = [" | ".join(prompts[row : row + arguments.columns]) for row in range(0, len(prompts), arguments.columns)]
    size = f"{arguments.out}: {sheet.width}x{sheet.height}, {arguments.out.stat().st_size} bytes"
    sys.stdout.write("\n".join([*rows, size, ""]))


def draw(info: ModelInfo, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """One picture for each prompt, all with the same seed, drawn together in shared steps."""
    drawn: dict[int, Image.Image] = {}

    def hear(job_id: int, event: EngineEvent) -> None:
        if isinstance(event, Failed):
            raise SystemExit(f"{prompts[job_id]}: {event.error.message}")
        if isinstance(event, ArtifactReady):
            drawn[job_id] = Image.frombytes("RGB", (event.width, event.height), event.pixels)

    loop = StepLoop(EngineConfig(models=(info,), default_model=info.name, dtype="float32"), hear)
    loop.load_default()
    asked = _request(info, seed)
    for job_id, prompt in enumerate(prompts):
        loop.submit(job_id, dataclasses.replace(asked, prompt=prompt))
    while loop.step():
        pass
    return [drawn[job_id] for job_id in range(len(prompts))]


def laid_out(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """The pictures on white, from left to right and top to bottom."""
    width, height = pictures[0].size
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), "white")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet


def _prompts(sheet: str, model: Path) -> Sequence[str]:
    if sheet == "concepts":
        return [concept["en"] for concept in json.loads((model / "concepts.json").read_text(encoding="utf-8"))]
    return SHEETS[sheet]


def _request(info: ModelInfo, seed: int) -> ResolvedRequest:
    """What the model draws when nothing but a prompt and a seed is given."""
    return ResolvedRequest(
        prompt="",
        negative_prompt="",
        model=info.name,
        width=info.size,
        height=info.size,
        canvas=plan(info.size, info.size, info),
        seeds=(seed,),
        num_inference_steps=info.num_inference_steps,
        guidance_scale=info.guidance_scale,
        sampler=info.sampler,
        schedule="automatic",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw a contact sheet with the engine itself.")
    parser.add_argument("--out", type=Path, required=True, help="a .png file")
    parser.add_argument("--model", default="emoji-mini", help="a folder, a file or an embedded name")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument(
        "--sheet", choices=[*SHEETS, "concepts"], default="good", help="prompts to draw, if none are given"
    )
    parser.add_argument("--side", type=int, default=0, help="reduce each picture to so many pixels; 0 does not")
    parser.add_argument("--colours", type=int, default=0, help="reduce the sheet to a palette; 0 does not")
    parser.add_argument("prompts", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    main()
