r"""Stage 2: a ControlNet that keeps drawings to Canny edges. Goes on where it was interrupted.

    python -m training.controlnet

It has the UNet's blocks without their attention: it need not know words, only places. So it is a fifth of the UNet's size.
Its layers start as the UNet's own (arXiv:2302.05543), and what it says starts as zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel

from training import settings
from training.base import Base
from training.captions import caption
from training.data import Pictures, held_out
from training.loop import Dice, Training, batches, matrices
from training.muon import Muon
from training.settings import Settings

WEIGHTS = {"3d": 1.0, "flat": 0.7, "cartoon": 0.8, "icon": 0.5}
"""How often a picture of each style is seen, against one of 3d."""


def main() -> None:
    options = settings.read(settings.parser(__doc__ or "").parse_args())
    torch.set_num_threads(1)
    base, pictures = Base(options.model), Pictures(options.work)
    net = made(base.unet, options.controlnet["embedding"])
    training = Training(
        dict(net.named_parameters()),
        _optimizers(net, options.controlnet),
        options.work / "controlnet.pt",
        steps=options.controlnet["steps"],
        ema=options.controlnet["ema"],
        seed=options.seed,
    )
    lesson = _Lesson(base, net, pictures, options)
    training.run(lesson.loss, "controlnet")
    net.load_state_dict(training.mean)
    write(net, options.work / "controlnets" / "canny")


def made(unet: Any, embedding: list[int]) -> Any:
    """A new ControlNet for `unet`, with the layers that both have copied."""
    shared = ("in_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim",
              "attention_head_dim", "flip_sin_to_cos", "freq_shift")  # fmt: skip
    net = ControlNetModel(
        **{name: unet.config[name] for name in shared},
        down_block_types=("DownBlock2D",) * len(unet.config.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        conditioning_embedding_out_channels=tuple(embedding),
    )
    theirs = unet.state_dict()
    ours = {name: theirs[name].float() for name, weight in net.state_dict().items() if name in theirs}
    net.load_state_dict(ours, strict=False)
    return net.to(memory_format=torch.channels_last).train()


def edges(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """As the server's own preprocessor: white (1.0) on black (0.0), float32, (H, W)."""
    return cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), low, high).astype(np.float32) / 255


def write(net: Any, folder: Path) -> None:
    """In float16. (A copy: the trained one stays as it is.)"""
    half = ControlNetModel.from_config(net.config)
    half.load_state_dict(net.state_dict())
    half.half().save_pretrained(folder)


class _Lesson:
    def __init__(self, base: Base, net: Any, pictures: Pictures, options: Settings) -> None:
        self._base, self._net, self._pictures, self._options = base, net, pictures, options.controlnet
        unseen = held_out(options, 1 + max(picture.number for picture in pictures.about))
        self._choices = [row for row, picture in enumerate(pictures.about) if picture.number not in unseen]
        self._weights = [WEIGHTS[pictures.about[row].style] for row in self._choices]

    def loss(self, dice: Dice) -> torch.Tensor:
        rows = batches(dice.plain, self._choices, self._weights, self._options["batch"])
        times, noisy, wanted = self._base.noised(self._pictures.latents[rows], dice.torch)
        context = self._base.context([self._caption(row, dice) for row in rows])
        maps = torch.from_numpy(np.stack([self._map(row, dice) for row in rows]))
        with torch.autocast("cpu", torch.bfloat16):
            placed = noisy.contiguous(memory_format=torch.channels_last)
            shown = maps[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            down, mid = self._net(placed, times, context, shown, return_dict=False)
            drawn = self._base.unet(
                placed.to(torch.bfloat16),
                times,
                context,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
                return_dict=False,
            )[0]
        return torch.nn.functional.mse_loss(drawn.float(), wanted)

    def _caption(self, row: int, dice: Dice) -> str:
        about = self._pictures.about[row]
        if dice.plain.random() < self._options["no_prompt"]:
            return ""
        return caption(about.english, about.chinese, about.style, about.colour, dice.plain)

    def _map(self, row: int, dice: Dice) -> np.ndarray:
        low, high = sorted(dice.plain.uniform(*self._options["thresholds"]) for _ in range(2))
        return edges(self._pictures.pixels[row], low, high)


def _optimizers(net: Any, options: dict[str, Any]) -> list[torch.optim.Optimizer]:
    fast = dict(matrices(net))
    rest = [weight for name, weight in net.named_parameters() if name not in fast]
    return [
        Muon(fast.values(), options["matrix_rate"]),
        torch.optim.AdamW(rest, options["rate"], betas=(0.9, 0.98), weight_decay=0.0),
    ]


if __name__ == "__main__":
    main()
