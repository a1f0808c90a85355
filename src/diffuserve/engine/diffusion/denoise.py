"""The sampler as a generator: it yields what the model should see and receives the prediction. No model, no batch here.

One convention lets any solver share a forward pass with any other: the generator knows its own timestep, its own noise
and its own state; whoever drives it only carries rows to the UNet and back.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch

from diffuserve.engine.diffusion.samplers import takes


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What one step asks of the model: `latents` (1, C, h, w) float32, scaled for this `timestep` (0-d tensor).

    `denoised` is the last step's estimate of the finished latents where the solver makes one, for previews.
    """

    latents: torch.Tensor
    timestep: torch.Tensor
    denoised: torch.Tensor | None = None


def denoise(
    solver: Any, latents: torch.Tensor, timesteps: torch.Tensor, noise: torch.Generator, eta: float = 0.0
) -> Generator[ModelInput, torch.Tensor, torch.Tensor]:
    """Run `solver` (a diffusers scheduler object with its timesteps set) over `timesteps`; returns the finished latents.

    `latents` are (1, C, h, w) float32, already at the noise level of the first timestep; `noise` is this picture's own
    source of randomness, so the result does not depend on its company. Receives predictions shaped like `latents`.
    """
    extra: dict[str, Any] = {}
    if takes(solver.step, "generator"):
        extra["generator"] = noise
    if takes(solver.step, "eta"):
        extra["eta"] = eta
    denoised = None
    for timestep in timesteps:
        prediction = yield ModelInput(solver.scale_model_input(latents, timestep), timestep, denoised)
        output = solver.step(prediction, timestep, latents, **extra)
        latents = output.prev_sample
        denoised = getattr(output, "pred_original_sample", None)
    return latents
