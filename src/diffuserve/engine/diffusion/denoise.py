"""The sampler as a generator: it yields what the model should see and receives the prediction. No model, no batch here.

One convention lets any solver share a forward pass with any other: the generator knows its own timestep, its own noise
and its own state; whoever drives it only carries rows to the UNet and back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch

from diffuserve.engine.diffusion.samplers import takes


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the model is shown beside latents and prompt, and what stays the same through one pass of the sampler."""

    time_ids: torch.Tensor | None = None
    """SDXL's sizes, (1, 6)."""
    maps: tuple[torch.Tensor, ...] = ()
    """One for each of the request's controls, (1, 3, H, W) at the pass's size."""
    masked: torch.Tensor | None = None
    """For models that inpaint natively: mask and masked picture's latents, (1, 1 + C, h, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """What one step asks of the model: `latents` (1, C, h, w) float32, scaled for this `timestep` (0-d tensor).

    `denoised` is the last step's estimate of the finished latents where the solver makes one, for previews.
    """

    latents: torch.Tensor
    timestep: torch.Tensor
    scene: Scene
    step: int
    """Of this pass, from 0,"""
    steps: int
    """of so many."""
    denoised: torch.Tensor | None = None


Blend = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""What is done to the latents after a step: (latents, the next timestep as (1,), or (0,) after the last) to latents."""


def denoise(
    solver: Any,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Generator,
    *,
    scene: Scene,
    eta: float = 0.0,
    blend: Blend | None = None,
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
    for step, timestep in enumerate(timesteps):
        seen = solver.scale_model_input(latents, timestep)
        if scene.masked is not None:
            seen = torch.cat([seen, scene.masked], dim=1)
        prediction = yield ModelInput(seen, timestep, scene, step, len(timesteps), denoised)
        output = solver.step(prediction, timestep, latents, **extra)
        latents = output.prev_sample
        denoised = getattr(output, "pred_original_sample", None)
        if blend is not None:
            latents = blend(latents, timesteps[step + 1 : step + 2])
    return latents
