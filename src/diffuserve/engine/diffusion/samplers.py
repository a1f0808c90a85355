"""From the table's names to diffusers objects: one `Solver` for one picture.

A scheduler object of diffusers carries the state of one picture, so every sample owns its own: a copy of a prototype that
is kept for each number of steps, since computing the timesteps costs up to 100 ms (KDPM2) and copying them a fraction of one.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from diffuserve.core.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

# Switches that decide the spacing: a named schedule replaces the checkpoint's, it does not add to it.
_SPACING_SWITCHES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
_RESPACED = ("karras", "exponential", "beta")


class Solvers:
    """Makes solvers for one checkpoint, from its own scheduler config."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._prototype = functools.lru_cache(maxsize=128)(self._timed)

    def make(self, sampler: str, schedule: str, num_inference_steps: int, device: torch.device) -> Any:
        """A fresh diffusers scheduler object with its timesteps set. Raises ValueError where the solver refuses them."""
        return copy.deepcopy(self._prototype(sampler, schedule, num_inference_steps, device))

    def _timed(self, sampler: str, schedule: str, num_inference_steps: int, device: torch.device) -> Any:
        entry = SAMPLERS[sampler]
        solver = self._build(sampler, schedule)
        solver.set_timesteps(num_inference_steps, device=device)
        if entry.sigmas_from and schedule in _RESPACED:
            # This class has no switch for re-spaced sigmas, but shares its sigma convention with one that has.
            donor = self._build(sampler, schedule, donor=True)
            donor.set_timesteps(num_inference_steps, device=device)
            solver.sigmas, solver.timesteps = donor.sigmas, donor.timesteps
        return solver

    def _build(self, sampler: str, schedule: str, donor: bool = False) -> Any:
        import diffusers

        entry, spacing = SAMPLERS[sampler], SCHEDULES[schedule]
        cls = getattr(diffusers, entry.sigmas_from if donor and entry.sigmas_from else entry.class_name)
        options = {**entry.options, **spacing.options}
        if schedule != AUTOMATIC:
            options = {**dict.fromkeys(_SPACING_SWITCHES, False), **options}
        accepted = inspect.signature(cls.__init__).parameters
        return cls.from_config(self._config, **{k: v for k, v in options.items() if k in accepted})


def takes(step: Any, name: str) -> bool:
    """Whether a scheduler's `step` has a parameter of this name (only some take a generator or eta)."""
    return name in _parameters(getattr(step, "__func__", step))


@functools.lru_cache(maxsize=64)
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def mended(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler config with the two corrections that `StableDiffusionPipeline` makes to old checkpoints."""
    corrected = dict(config)
    if "steps_offset" in corrected:
        corrected["steps_offset"] = 1
    if "clip_sample" in corrected:
        corrected["clip_sample"] = False
    return corrected
