"""`scheduler`, `use_karras_sigmas` and `algorithm_type`: the documented seventeen classes, and what the two switches do to
them. diffusers' names and A1111's labels both mean a row of `core.samplers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffuserve.core import samplers
from diffuserve.core.model import ModelInfo
from diffuserve.dialects.modelslab.loose import Fields

SEVENTEEN = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "IPNDMScheduler",
    "DDIMInverseScheduler",
    "KarrasVeScheduler",
    "ScoreSdeVeScheduler",
)
LISTED = (*SEVENTEEN, "LCMScheduler")
"""As `schedulers_list` answers: the last one joined later."""

KARRAS = frozenset(
    {
        "LMSDiscreteScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "DPMSolverSinglestepScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "UniPCMultistepScheduler",
        "DEISMultistepScheduler",
    }
)
"""Classes with a switch for Karras sigmas; for others the flag means nothing, to the vendor too."""

_BY_DEFAULT = frozenset(name.lower() for name in KARRAS)

_SDE = {"dpmpp_2m": "dpmpp_2m_sde", "dpmpp_2s": "dpmpp_sde"}
_ALGORITHMS = frozenset({"dpmsolver+++", "sde-dpmsolver++", "sde-dpmsolver"})
"""The first is the vendor's spelling of the second."""


@dataclass(frozen=True, slots=True)
class Solver:
    sampler: str | None
    schedule: str | None
    asked: str | None
    """The name that the caller gave."""


def choose(fields: Fields, model: ModelInfo, ignore: Callable[[str], None]) -> Solver:
    """None where the model's own is meant. `ignore` is told of fields without effect. Raises InvalidParameter."""
    name = fields.text("scheduler").strip() or None
    # The default is the classes': A1111's labels say Karras where they mean it.
    karras = fields.flag("use_karras_sigmas", (name or "").lower() in _BY_DEFAULT)
    algorithm = fields.text("algorithm_type").strip().lower()
    asked = samplers.resolve(name or model.sampler)
    sampler, spelled = (name, asked.schedule.id != samplers.AUTOMATIC)
    if algorithm:
        if algorithm in _ALGORITHMS and asked.sampler.id in _SDE:
            sampler = _SDE[asked.sampler.id]
        elif algorithm not in ("dpmsolver++", "none"):
            ignore("algorithm_type")
    if spelled or not karras or asked.notes or asked.sampler.class_name not in KARRAS:
        # What the name itself says of the schedule counts more than a switch.
        return Solver(sampler, asked.schedule.id if spelled else None, name)
    return Solver(sampler or asked.sampler.id, "karras", name)
