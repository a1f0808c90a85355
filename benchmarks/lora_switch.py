"""What LoRAs cost: changing the mix before every step, against diffusers with PEFT; rows with LoRAs against the bare UNet; and
whether requests with different mixes should share a forward.

The UNet has the shape of SD1.5 and random weights; the LoRAs change its transformers' linear layers, as most do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

import common

sys.path.insert(0, str(common.ROOT / "tests"))

from diffuserve.core.model import Family, LoraInfo
from diffuserve.core.request import Lora
from diffuserve.engine.diffusion import device
from diffuserve.engine.diffusion.loras import Loras, Mix
from support import lora_files

NAMES = ("first", "second", "third", "fourth")
FOUR_MIXES: list[Mix] = [(Lora(name, 0.8),) for name in NAMES]
TWO_MIXES: list[Mix] = [(Lora("first", 0.5), Lora("second", 0.7)), (Lora("third", 0.9), Lora("fourth", 0.3))]


class Contest:
    """One UNet, four LoRA files, the inputs of four rows."""

    def __init__(self, rank: int, side: int, folder: Path) -> None:
        self.device = device.choose()
        self.unet = random_unet(self.device)
        dtype, noise = self.device.dtype, torch.Generator().manual_seed(1)
        latents = torch.randn(4, 4, side, side, generator=noise)
        self.latents = latents.to(self.device.device, dtype).contiguous(memory_format=torch.channels_last)
        self.timesteps = torch.tensor([900.0, 600.0, 300.0, 50.0], device=self.device.device)
        self.context = torch.randn(4, 77, 768, generator=noise).to(self.device.device, dtype)
        self.paths = {name: folder / f"{name}.safetensors" for name in NAMES}
        for seed, path in enumerate(self.paths.values()):
            changes = lora_files.random_lora({"unet": self.unet}, seed, rank=rank, alpha=lambda _: rank / 16)
            lora_files.write(path, lora_files.peft(changes), dtype)
        self.modules = len(changes)

    def forward(self, rows: slice = slice(None)) -> None:
        with torch.inference_mode():
            self.unet(self.latents[rows], self.timesteps[rows], self.context[rows], return_dict=False)[0].float().cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--side", type=int, default=32, help="of the latents; 64 is a picture of 512 pixels")
    options = parser.parse_args()
    common.preload_allocator()
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(options.rank, options.side, Path(folder))
        figures = {
            "device": contest.device.label,
            "dtype": contest.device.dtype_label,
            "threads": torch.get_num_threads(),
            "rank": options.rank,
            "changed_modules": contest.modules,
            "latents": f"{options.side}x{options.side}",
            "others_at_work_before": round(os.getloadavg()[0], 1),
        }
        ours = _ours(contest, options.rounds)
        theirs = _theirs(contest, options.rounds)
    figures["milliseconds_to_change_the_mix"] = {"ours": ours.pop("switch"), **theirs.pop("switch")}
    common.save("lora_switch", {**figures, **ours, **theirs})


def _ours(contest: Contest, rounds: int) -> dict[str, Any]:
    loras = Loras(contest.unet, (), Family.SD15, contest.device)
    began = time.perf_counter()
    for name, path in contest.paths.items():
        loras.read(LoraInfo(name, Family.SD15, str(path)))
    reading = (time.perf_counter() - began) / len(NAMES)

    def switch() -> None:
        for mix in TWO_MIXES:
            with loras.unet_rows([mix]):
                pass

    def shared(mixes: Sequence[Mix]) -> Callable[[], None]:
        def draw() -> None:
            with loras.unet_rows(mixes):
                contest.forward()

        return draw

    def in_turn() -> None:
        for row, mix in enumerate(FOUR_MIXES):
            with loras.unet_rows([mix]):
                contest.forward(slice(row, row + 1))

    switching = _race([switch], 20)[0] / len(TWO_MIXES)
    contest.forward()
    bare, one, four, turns = _race([contest.forward, shared(FOUR_MIXES[:1] * 4), shared(FOUR_MIXES), in_turn], rounds)
    return {
        "switch": round(switching * 1000, 2),
        "milliseconds_to_read_a_file": round(reading * 1000, 1),
        "seconds_of_a_forward_of_four_rows": {
            "no_lora": round(bare, 3),
            "one_lora_on_all": round(one, 3),
            "another_lora_on_each": round(four, 3),
            "over_no_lora": round(four / bare, 3),
        },
        "different_mixes": {
            "four_forwards_of_one_row_seconds": round(turns, 3),
            "times_faster_in_one_batch": round(turns / four, 2),
        },
    }


def _theirs(contest: Contest, rounds: int) -> dict[str, Any]:
    """diffusers with PEFT: all rows of a forward have one mix."""
    unet = contest.unet

    def load(mix: Mix) -> None:
        for lora in mix:
            path = contest.paths[lora.name]
            unet.load_lora_adapter(path.parent, prefix="unet", weight_name=path.name, adapter_name=lora.name)

    def adapt(mix: Mix) -> None:
        unet.set_adapters([lora.name for lora in mix], [lora.weight for lora in mix])

    def switch() -> None:
        for mix in TWO_MIXES:
            adapt(mix)

    def reload() -> None:
        load(TWO_MIXES[0])
        adapt(TWO_MIXES[0])
        unet.unload_lora()

    for mix in TWO_MIXES:
        load(mix)
    switching = _race([switch], 10)[0] / len(TWO_MIXES)
    adapt(FOUR_MIXES[0])
    [forward] = _race([contest.forward], rounds)
    unet.unload_lora()
    reloading = _race([reload], 2)[0]
    return {
        "switch": {
            "set_adapters": round(switching * 1000, 2),
            "load_and_unload": round(reloading * 1000, 1),
        },
        "peft_one_lora_on_all_seconds": round(forward, 3),
    }


def random_unet(chosen: device.Device) -> Any:
    """SD1.5's UNet, its weights drawn such that numbers keep their size from layer to layer."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet = unet.to_empty(device=chosen.device).to(chosen.dtype).to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    for name, weight in unet.requires_grad_(False).named_parameters():
        if weight.ndim > 1:
            bound = (3 / weight[0].numel()) ** 0.5
            weight.uniform_(-bound, bound)
        else:
            weight.fill_(float("norm" in name and name.endswith("weight")))
    return unet.eval()


def _race(runners: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """The median seconds of each, turn about, after one turn that does not count."""
    turns = [[_seconds(run) for run in runners] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
