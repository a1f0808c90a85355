"""Every sampler with every schedule ends in finite latents, for few steps and many, from noise and from a picture."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch

import diffuserve
from diffuserve.core.samplers import SAMPLERS
from diffuserve.engine.diffusion.denoise import Scene, denoise
from diffuserve.engine.diffusion.samplers import Solvers, mended

pytestmark = pytest.mark.integration

CPU = torch.device("cpu")
EMBEDDED = Path(diffuserve.__file__).parent / "embedded/emoji-mini/scheduler/scheduler_config.json"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}

CONFIGS = {
    "a model with zero terminal SNR and v-prediction": diffusers.DDIMScheduler.from_config(
        json.loads(EMBEDDED.read_text())
    ),
    "Stable Diffusion 1.5": diffusers.PNDMScheduler(skip_prk_steps=True, **BETAS),
    "SDXL": diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=lambda sampler: sampler.id)
def test_latents_stay_finite(config, sampler):
    solvers = Solvers(mended(CONFIGS[config].config))
    for schedule in sorted(sampler.schedules):
        for steps in (1, 2, 21):
            for first in {0, steps - 1}:
                latents = run(solvers, sampler.id, schedule, steps, first)
                assert torch.isfinite(latents).all(), (schedule, steps, first)
                assert latents.abs().max() < 1000, (schedule, steps, first)


def test_a_borrowed_schedule_is_the_donors():
    solvers = Solvers(dict(CONFIGS["SDXL"].config))
    ours = solvers.make("euler_a", "karras", 10, CPU)
    donor = diffusers.EulerDiscreteScheduler.from_config(CONFIGS["SDXL"].config, use_karras_sigmas=True)
    donor.set_timesteps(10)
    assert torch.equal(ours.sigmas, donor.sigmas)
    assert torch.equal(ours.timesteps, donor.timesteps)


@torch.inference_mode()
def run(solvers: Solvers, sampler: str, schedule: str, steps: int, first: int) -> torch.Tensor:
    """Drive one solver with a stand-in for the model that is smooth and bounded."""
    solver = solvers.make(sampler, schedule, steps, CPU)
    timesteps = solver.timesteps[first * solver.order :]
    if hasattr(solver, "set_begin_index"):
        solver.set_begin_index(first * solver.order)
    noise = torch.Generator().manual_seed(0)
    drawn = torch.randn(1, 4, 8, 8, generator=noise)
    latents = (
        solver.add_noise(torch.zeros_like(drawn), drawn, timesteps[:1]) if first else drawn * solver.init_noise_sigma
    )
    steps_of = denoise(solver, latents, timesteps, noise, scene=Scene())
    asked = next(steps_of)
    while True:
        try:
            asked = steps_of.send(torch.tanh(asked.latents) / 2)
        except StopIteration as finished:
            return finished.value
