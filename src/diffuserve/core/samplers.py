"""The one table of samplers and schedules: every name that any dialect speaks, and the diffusers class that runs it.

A *sampler* is the solver, a *schedule* the spacing of its sigmas. This file is data and name matching only; the engine's
`samplers.py` makes the objects. Classes and options follow diffusers 0.42; the labels are AUTOMATIC1111's, which most
clients write, and diffusers' class names are accepted everywhere too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from diffuserve.core.errors import InvalidParameter

MAX_STEPS = 500
"""With nearly as many steps as a checkpoint was trained on (1000), several solvers divide by a zero distance."""

AUTOMATIC = "automatic"
"""The schedule of the checkpoint itself: its own timestep spacing, no re-spaced sigmas."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One spacing of sigmas; `options` are laid over the scheduler's config."""

    id: str
    label: str
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampler:
    """One solver. `class_name` is looked up in `diffusers`; `options` are laid over the checkpoint's scheduler config."""

    id: str
    label: str
    class_name: str
    schedules: frozenset[str]
    """Schedule ids that it can run with."""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    aliases: tuple[str, ...] = ()
    sigmas_from: str | None = None
    """A diffusers class whose sigmas and timesteps it borrows for schedules that its own class has no switch for."""
    max_steps: int = MAX_STEPS


@dataclass(frozen=True, slots=True)
class Substitute:
    """A name that is accepted although nothing here runs it: what runs instead, and why (told to the caller)."""

    label: str
    sampler: str
    schedule: str | None
    reason: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """What a pair of names came to."""

    sampler: Sampler
    schedule: Schedule
    notes: tuple[str, ...] = ()


_SCHEDULES = (
    Schedule(AUTOMATIC, "Automatic"),
    Schedule("karras", "Karras", {"use_karras_sigmas": True}),
    Schedule("exponential", "Exponential", {"use_exponential_sigmas": True}, ("polyexponential",)),
    Schedule("beta", "Beta", {"use_beta_sigmas": True}),
    Schedule("normal", "Normal", {"timestep_spacing": "linspace"}, ("uniform",)),
    Schedule("sgm_uniform", "SGM Uniform", {"timestep_spacing": "trailing"}, ("sgmuniform", "simple")),
    Schedule("ddim", "DDIM", {"timestep_spacing": "leading", "steps_offset": 1}, ("ddim_uniform",)),
)
SCHEDULES: Mapping[str, Schedule] = MappingProxyType({s.id: s for s in _SCHEDULES})

_SPACINGS = frozenset({AUTOMATIC, "normal", "sgm_uniform", "ddim"})
_ALL = frozenset(SCHEDULES)

_SDE = {"algorithm_type": "sde-dpmsolver++"}

_SAMPLERS = (
    Sampler("euler", "Euler", "EulerDiscreteScheduler", _ALL, aliases=("k_euler",)),
    Sampler(
        "euler_a",
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        _ALL,
        aliases=("k_euler_a", "k_euler_ancestral", "euler_ancestral"),
        sigmas_from="EulerDiscreteScheduler",
    ),
    Sampler("dpmpp_2m", "DPM++ 2M", "DPMSolverMultistepScheduler", _ALL, aliases=("k_dpmpp_2m",)),
    Sampler("dpmpp_2m_sde", "DPM++ 2M SDE", "DPMSolverMultistepScheduler", _ALL, _SDE, ("k_dpmpp_2m_sde",)),
    Sampler(
        "dpmpp_2m_sde_heun",
        "DPM++ 2M SDE Heun",
        "DPMSolverMultistepScheduler",
        _ALL,
        {**_SDE, "solver_type": "heun"},
        ("k_dpmpp_2m_sde_heun",),
    ),
    Sampler(
        "dpmpp_3m_sde",
        "DPM++ 3M SDE",
        "DPMSolverMultistepScheduler",
        _ALL,
        {**_SDE, "solver_order": 3},
        ("k_dpmpp_3m_sde",),
    ),
    Sampler("dpmpp_sde", "DPM++ SDE", "DPMSolverSinglestepScheduler", _ALL, _SDE, ("k_dpmpp_sde",)),
    Sampler("dpmpp_2s", "DPM++ 2S", "DPMSolverSinglestepScheduler", _ALL, aliases=("dpmsolversinglestep",)),
    Sampler("dpm_fast", "DPM fast", "DPMSolverSinglestepScheduler", _ALL, {"solver_order": 3}, ("k_dpm_fast",)),
    Sampler("dpm2", "DPM2", "KDPM2DiscreteScheduler", _ALL, aliases=("k_dpm_2",)),
    Sampler("dpm2_a", "DPM2 a", "KDPM2AncestralDiscreteScheduler", _ALL, aliases=("k_dpm_2_a", "k_dpm_2_ancestral")),
    Sampler("heun", "Heun", "HeunDiscreteScheduler", _ALL, aliases=("k_heun",)),
    Sampler("lms", "LMS", "LMSDiscreteScheduler", _ALL, aliases=("k_lms",)),
    Sampler("unipc", "UniPC", "UniPCMultistepScheduler", _ALL),
    Sampler("deis", "DEIS", "DEISMultistepScheduler", _ALL),
    Sampler("ddim", "DDIM", "DDIMScheduler", _SPACINGS),
    Sampler("ddpm", "DDPM", "DDPMScheduler", _SPACINGS),
    Sampler("plms", "PLMS", "PNDMScheduler", _SPACINGS, {"skip_prk_steps": True}, ("pndm",)),
    # LCM picks its steps among the 50 that it was distilled on.
    Sampler("lcm", "LCM", "LCMScheduler", frozenset({AUTOMATIC}), aliases=("k_lcm",), max_steps=50),
)
SAMPLERS: Mapping[str, Sampler] = MappingProxyType({s.id: s for s in _SAMPLERS})

_SUBSTITUTES = (
    Substitute("DPM++ 2S a", "dpmpp_2s", None, "diffusers has no ancestral form of it", ("k_dpmpp_2s_a", "dpmpp_2s_a")),
    Substitute("DPM adaptive", "dpm_fast", None, "the adaptive solver ignores the number of steps", ("k_dpm_ad",)),
    Substitute("Restart", "heun", "karras", "diffusers has no Restart solver", ()),
    Substitute("DDIM CFG++", "ddim", None, "diffusers has no CFG++ guidance", ("ddim_cfgpp",)),
    Substitute("DDIMInverseScheduler", "ddim", None, "it runs from picture to noise and cannot draw"),
    Substitute("IPNDMScheduler", "plms", None, "it diverges on this family of models"),
    Substitute("KarrasVeScheduler", "heun", "karras", "it is for variance-exploding models"),
    Substitute("ScoreSdeVeScheduler", "euler_a", None, "it is for variance-exploding models"),
)

# Schedules that A1111 has and diffusers has not: the nearest one runs, and the caller is told.
_SCHEDULE_SUBSTITUTES = {
    "kl_optimal": ("KL Optimal", "karras"),
    "kl optimal": ("KL Optimal", "karras"),
    "align_your_steps": ("Align Your Steps", "karras"),
    "align your steps": ("Align Your Steps", "karras"),
}


def resolve(sampler: str, schedule: str | None = None) -> Choice:
    """The solver and schedule that two names mean, in any spelling: id, label, alias or diffusers class name, in any case,
    with the schedule optionally behind the sampler's name ("DPM++ 2M Karras"), where it wins over `schedule`.

    Raises InvalidParameter for a name that is not in the table and for a schedule that the sampler cannot run with.
    """
    notes: list[str] = []
    name = _normal(sampler)
    entry = _NAMES.get(name)
    if entry is None:
        head, suffix = _split(name)
        entry = _NAMES.get(head)
        if entry is None or suffix is None:
            raise InvalidParameter("sampler", f"one of {', '.join(labels())}", sampler)
        schedule = suffix
    if isinstance(entry, Substitute):
        chosen = SAMPLERS[entry.sampler]
        schedule = schedule or entry.schedule
        notes.append(f"sampler {entry.label} was replaced by {chosen.label}: {entry.reason}")
    else:
        chosen = entry
    spacing = _schedule(schedule, notes)
    if spacing.id not in chosen.schedules:
        accepted = ", ".join(s.id for s in _SCHEDULES if s.id in chosen.schedules)
        raise InvalidParameter("schedule", f"one of {accepted} with sampler {chosen.label}", schedule)
    return Choice(chosen, spacing, tuple(notes))


def by_class_name(class_name: str) -> Sampler:
    """The sampler that a checkpoint's own scheduler config names; Euler for a class that is not in the table."""
    entry = _NAMES.get(_normal(class_name))
    if isinstance(entry, Substitute):
        return SAMPLERS[entry.sampler]
    return entry or SAMPLERS["euler"]


def labels() -> list[str]:
    """Every sampler's label, then the substituted names."""
    return [s.label for s in _SAMPLERS] + [s.label for s in _SUBSTITUTES]


def substitutes() -> tuple[Substitute, ...]:
    return _SUBSTITUTES


def _schedule(name: str | None, notes: list[str]) -> Schedule:
    if name is None or not name.strip():
        return SCHEDULES[AUTOMATIC]
    wanted = _normal(name)
    if wanted in _SCHEDULE_SUBSTITUTES:
        label, wanted = _SCHEDULE_SUBSTITUTES[wanted]
        notes.append(f"schedule {label} was replaced by {SCHEDULES[wanted].label}: diffusers does not have it")
    found = _SCHEDULE_NAMES.get(wanted)
    if found is None:
        raise InvalidParameter("schedule", f"one of {', '.join(SCHEDULES)}", name)
    return found


def _split(name: str) -> tuple[str, str | None]:
    """("dpm++ 2m", "karras") of "dpm++ 2m karras"; the longest schedule name wins."""
    for spacing in sorted([*_SCHEDULE_NAMES, *_SCHEDULE_SUBSTITUTES], key=len, reverse=True):
        if name.endswith(" " + spacing):
            return name[: -len(spacing) - 1].strip(), spacing
    return name, None


def _normal(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().lower()


def _names() -> dict[str, Sampler | Substitute]:
    names: dict[str, Sampler | Substitute] = {}
    for sampler in _SAMPLERS:
        # Several samplers share a diffusers class: the first, plainest one owns the class's name.
        names.setdefault(_normal(sampler.class_name), sampler)
        for name in (sampler.id, sampler.label, *sampler.aliases):
            names[_normal(name)] = sampler
    names[_normal("DPMSolverSinglestepScheduler")] = SAMPLERS["dpmpp_2s"]
    for substitute in _SUBSTITUTES:
        for name in (substitute.label, *substitute.aliases):
            names[_normal(name)] = substitute
    return names


_NAMES = _names()
_SCHEDULE_NAMES = {_normal(n): s for s in _SCHEDULES for n in (s.id, s.label, *s.aliases)}
