"""What both trainings share: steps with a progress bar, a running mean of the weights, and going on where it stopped.

A step's random numbers come from the seed and its number alone, so a run that was interrupted ends with the same weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.base import cosine

SAVE_EVERY = 100
"""Steps."""


@dataclass(frozen=True, slots=True)
class Dice:
    """The random numbers of one step."""

    torch: torch.Generator
    plain: random.Random

    @classmethod
    def of(cls, seed: int, step: int) -> Dice:
        mixed = seed * 1_000_003 + step
        return cls(torch.Generator().manual_seed(mixed), random.Random(mixed))


class Training:
    """`weights` are trained by `optimizers`; `file` keeps the state between runs."""

    def __init__(
        self,
        weights: Mapping[str, torch.nn.Parameter],
        optimizers: Sequence[torch.optim.Optimizer],
        file: Path,
        *,
        steps: int,
        ema: float,
        seed: int,
    ) -> None:
        self._weights, self._optimizers, self._file = dict(weights), optimizers, file
        self._steps, self._decay, self._seed = steps, ema, seed
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.mean = {name: weight.detach().clone() for name, weight in self._weights.items()}
        """The running mean of the weights: what is shipped."""
        self._done, self._loss = 0, 0.0
        if file.exists():
            self._load()

    def run(self, loss_of: Callable[[Dice], torch.Tensor], title: str) -> None:
        with _bar(title) as bar:
            task = bar.add_task(title, total=self._steps, completed=self._done, loss=0.0)
            for step in range(self._done, self._steps):
                loss = loss_of(Dice.of(self._seed, step))
                self._learn(loss, step)
                self._loss = loss.item() if step == 0 else 0.98 * self._loss + 0.02 * loss.item()
                bar.update(task, advance=1, loss=self._loss)
                self._done = step + 1
                if self._done % SAVE_EVERY == 0 or self._done == self._steps:
                    self._save()
                    bar.console.print(f"{title}: step {self._done}, loss {self._loss:.4f}")

    def _learn(self, loss: torch.Tensor, step: int) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._weights.values()), 1.0)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * cosine(step, self._steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # Early weights are worth nothing, so the mean is short at first.
        share = 1 - min(self._decay, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.values()), list(self._weights.values()), share)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "done": self._done,
            "loss": self._loss,
            "weights": {name: weight.detach() for name, weight in self._weights.items()},
            "mean": self.mean,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        torch.save(state, self._file.with_suffix(".new"))
        self._file.with_suffix(".new").replace(self._file)

    def _load(self) -> None:
        state = torch.load(self._file, weights_only=True)
        self._done, self._loss, self.mean = state["done"], state["loss"], state["mean"]
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)


def _bar(title: str) -> Progress:
    loss = TextColumn("loss {task.fields[loss]:.4f}")
    return Progress(TextColumn(title), BarColumn(), TextColumn("{task.completed}/{task.total}"), loss,
                    TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip


def batches(rng: random.Random, choices: Sequence[int], weights: Sequence[float], size: int) -> list[int]:
    return rng.choices(choices, weights, k=size)


def matrices(module: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """What Muon is for: the hidden layers' matrices, neither what comes in nor the embedding of time."""
    for name, weight in module.named_parameters():
        if weight.ndim >= 2 and "time_embedding" not in name and "conv_in" not in name:
            yield name, weight
