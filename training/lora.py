r"""Stage 3: a LoRA for one look, or for all of them. Goes on where it was interrupted.

    python -m training.lora
    python -m training.lora night

No caption names the look: the LoRA itself is what asks for it.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from training import settings
from training.base import Base
from training.captions import caption
from training.data import Picture, Pictures
from training.looks import LOOKS
from training.loop import Dice, Training
from training.placing import HUES, recoloured
from training.settings import Settings

PLACES = r".*(attn[12]\.(to_q|to_k|to_v|to_out\.0)|resnets\.\d+\.conv[12]|conv_in|conv_out)"
"""Attention chooses what is drawn where; the convolutions are the only layers at full resolution."""


def main() -> None:
    parser = settings.parser(__doc__ or "")
    parser.add_argument("looks", nargs="*", help=f"of {', '.join(LOOKS)}; default: all")
    arguments = parser.parse_args()
    options = settings.read(arguments)
    torch.set_num_threads(1)
    about = {picture.number: picture for picture in Pictures(options.work).about if picture.style == "3d"}
    for look in arguments.looks or LOOKS:
        train(look, about, options)


def train(look: str, about: dict[int, Picture], options: Settings) -> None:
    torch.manual_seed(options.seed)
    base, table = Base(options.model), options.lora
    rank = table["rank"]
    base.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=PLACES, init_lora_weights="gaussian"))
    weights = {name: weight for name, weight in base.unet.named_parameters() if weight.requires_grad}
    for weight in weights.values():
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(weights.values(), table["rate"], betas=(0.9, 0.98), weight_decay=0.0)
    training = Training(
        weights,
        [optimizer],
        options.work / f"{look}.pt",
        steps=table["steps"][look],
        ema=table["ema"],
        seed=options.seed,
    )
    lesson = _Lesson(base, _pictures(look, about, options), table)
    training.run(lesson.loss, look)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(training.mean[name])
    write(base.unet, options.work / "loras" / f"{look}.safetensors")


def write(unet: Any, file: Path) -> None:
    """In float16, in the layout that diffusers loads."""
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    half = {name: weight.half().contiguous() for name, weight in layers.items()}
    StableDiffusionPipeline.save_lora_weights(file.parent, unet_lora_layers=half, weight_name=file.name)


class _Lesson:
    def __init__(self, base: Base, pictures: list[tuple[Image.Image, Picture]], options: dict[str, Any]) -> None:
        self._base, self._options = base, options
        self._about = [about for _, about in pictures]
        self._latents = base.latents(torch.from_numpy(np.stack([np.asarray(image) for image, _ in pictures])))

    def loss(self, dice: Dice) -> torch.Tensor:
        rows = dice.plain.choices(range(len(self._about)), k=self._options["batch"])
        times, noisy, wanted = self._base.noised(self._latents[rows], dice.torch)
        context = self._base.context([self._caption(self._about[row], dice) for row in rows])
        with torch.autocast("cpu", torch.bfloat16):
            drawn = self._base.unet(
                noisy.to(torch.bfloat16).contiguous(memory_format=torch.channels_last),
                times,
                context,
                return_dict=False,
            )[0]
        return torch.nn.functional.mse_loss(drawn.float(), wanted)

    def _caption(self, about: Picture, dice: Dice) -> str:
        if dice.plain.random() < self._options["no_prompt"]:
            return ""
        return caption(about.english, about.chinese, "3d", about.colour, dice.plain)


def _pictures(look: str, about: dict[int, Picture], options: Settings) -> list[tuple[Image.Image, Picture]]:
    """Each thing once as it is and once in another colour, so that colours in prompts are still heard."""
    rng, found = random.Random(options.seed), []
    for number, picture in sorted(about.items()):
        with Image.open(options.work / "drawings" / f"{number:03}.png") as drawing:
            drawing.load()
        for colour in (None, rng.choice(list(HUES))):
            if colour and picture.english.split()[0] in HUES:
                continue
            seen = recoloured(drawing, colour) if colour else drawing
            found.append((LOOKS[look](seen), Picture(number, picture.english, picture.chinese, "3d", colour)))
    return found


if __name__ == "__main__":
    main()
