"""How AUTOMATIC1111's web UI describes a picture: `info` (JSON as text), the infotext in it, and the parser back.

Pure, and shared by the dialects that answer with it. The layout is that of versions 1.6.0 and 1.10: which keys, in which
order, and written as Python's own JSON encoder does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType

from diffuserve.core import samplers
from diffuserve.core.job import Job

NEGATIVE = "Negative prompt:"
_MIN_PAIRS = 3
"""A last line with fewer is a part of the prompt."""
# The lengths are bounded so that a long line without colons is read once, and not once from each of its words.
_PAIR = re.compile(r'\s*(\w[\w \-/]{1,80}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")

Value = str | int | float


class Era(Enum):
    """A generation of the web UI, and the version that it signs with."""

    V1_6 = "v1.6.0"
    """The schedule stands behind the sampler's name; text-to-image has a denoising strength, too: 0."""
    V1_10 = "v1.10.1"
    """The schedule has an entry of its own, and `info` says its version."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One job's pictures, in the web UI's words."""

    prompt: str
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]
    """As many as seeds; without effect where `subseed_strength` is 0."""
    width: int
    height: int
    sampler: str
    """The label."""
    cfg_scale: float
    steps: int
    model_name: str
    model_hash: str = ""
    """10 hexadecimal digits; empty where it is not known."""
    schedule: str = "Automatic"
    """The label."""
    negative_prompt: str = ""
    subseed_strength: float = 0.0
    batch_size: int = 1
    denoising_strength: float | None = None
    """None for text-to-image."""
    extra: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    """`extra_generation_params`; the infotext has them before the version."""
    index_of_first_image: int = 0
    job_timestamp: str = ""
    clip_skip: int = 1
    """As the web UI counts: 1 leaves out no layer."""
    inpainting: bool = False
    """The model has channels for the mask."""
    styles: tuple[str, ...] = ()
    rng: str = "CPU"
    """Where noise is drawn; ours always is on the processor."""


@dataclass(frozen=True, slots=True)
class Infotext:
    """An infotext taken apart. All values are texts."""

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]
    """In their order, as they are written ("Size" is "512x768")."""

    def parameters(self) -> dict[str, str]:
        """`settings` as the web UI lists them: what looks like a size is two entries, "Size-1" and "Size-2"."""
        found: dict[str, str] = {}
        for name, value in self.settings.items():
            size = _SIZE.fullmatch(value)
            found |= {f"{name}-1": size[1], f"{name}-2": size[2]} if size else {name: value}
        return found


def of_job(job: Job, *, model_hash: str, subseeds: tuple[int, ...], inpainting: bool = False) -> Drawn:
    """What an ended job drew. `subseeds` stand in where no variation was asked for.

    The prompt is what the caller wrote. Where something else was drawn (translated, enhanced, styled, without LoRA tags), and
    where it was drawn in two passes, `extra` says so.
    """
    request = job.request
    extra: dict[str, Value] = {}
    if request.asked_prompt is not None:
        extra["Drawn prompt"] = request.prompt
    if request.hires is not None:
        extra["First pass size"] = f"{request.hires.width}x{request.hires.height}"
        extra["Second pass strength"] = request.hires.strength
    return Drawn(
        prompt=request.prompt if request.asked_prompt is None else request.asked_prompt,
        negative_prompt=request.negative_prompt,
        seeds=request.seeds,
        subseeds=request.variation_seeds or subseeds,
        subseed_strength=request.variation_strength,
        width=request.width,
        height=request.height,
        sampler=samplers.SAMPLERS[request.sampler].label,
        schedule=samplers.SCHEDULES[request.schedule].label,
        cfg_scale=request.guidance_scale,
        steps=request.num_inference_steps,
        batch_size=request.num_images,
        model_name=request.model,
        model_hash=model_hash,
        denoising_strength=None if request.init_image is None else request.strength,
        extra=extra,
        job_timestamp=timestamp(job.started_at or job.created_at),
        clip_skip=request.clip_skip + 1,
        inpainting=inpainting,
    )


def timestamp(time: float) -> str:
    """Unix seconds as `YYYYMMDDhhmmss`, UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y%m%d%H%M%S")


def info(drawn: Drawn, era: Era) -> str:
    """The field `info` of an answer: JSON as text, keys in the web UI's order, a blank behind `:` and `,`, ASCII only."""
    count = len(drawn.seeds)
    values = {
        "prompt": drawn.prompt,
        "all_prompts": [drawn.prompt] * count,
        "negative_prompt": drawn.negative_prompt,
        "all_negative_prompts": [drawn.negative_prompt] * count,
        "seed": drawn.seeds[0],
        "all_seeds": list(drawn.seeds),
        "subseed": drawn.subseeds[0],
        "all_subseeds": list(drawn.subseeds),
        "subseed_strength": _number(drawn.subseed_strength),
        "width": drawn.width,
        "height": drawn.height,
        "sampler_name": sampler_name(drawn, era),
        "cfg_scale": drawn.cfg_scale,
        "steps": drawn.steps,
        "batch_size": drawn.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": drawn.model_name,
        "sd_model_hash": drawn.model_hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": _denoising(drawn, era),
        "extra_generation_params": dict(drawn.extra),
        "index_of_first_image": drawn.index_of_first_image,
        "infotexts": [infotext(drawn, index, era) for index in range(count)],
        "styles": list(drawn.styles),
        "job_timestamp": drawn.job_timestamp,
        "clip_skip": drawn.clip_skip,
        "is_using_inpainting_conditioning": drawn.inpainting,
    }
    if era is not Era.V1_6:
        values["version"] = era.value
    return json.dumps(values)


def sampler_name(drawn: Drawn, era: Era) -> str:
    """The sampler's label, with the schedule behind it where the era wrote it so."""
    return f"{drawn.sampler} {drawn.schedule}" if era is Era.V1_6 and _respaced(drawn) else drawn.sampler


def infotext(drawn: Drawn, index: int, era: Era) -> str:
    """The text that describes picture `index`: prompt, negative prompt, and one line of settings."""
    settings = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in _settings(drawn, index, era))
    negative = f"\n{NEGATIVE} {drawn.negative_prompt}" if drawn.negative_prompt else ""
    return f"{drawn.prompt}{negative}\n{settings}".strip()


def parse(text: str) -> Infotext:
    """The reverse of `infotext`, also for what other tools wrote.

    A prompt with a line of its own that begins with "Negative prompt:" cannot be told from one with a negative prompt, and
    blanks before the prompt are lost, in the web UI as here.
    """
    *lines, last = text.strip().split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < _MIN_PAIRS:
        lines, pairs = [*lines, last], []
    start = next((place for place, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE).removeprefix(" ")
    return Infotext("\n".join(lines[:start]), negative, {name: _unquoted(value.strip()) for name, value in pairs})


def _settings(drawn: Drawn, index: int, era: Era) -> Iterator[tuple[str, Value]]:
    """The settings of one picture that apply, in their order."""
    varied = drawn.subseed_strength > 0
    entries: tuple[tuple[str, Value | None, bool], ...] = (
        ("Steps", drawn.steps, True),
        ("Sampler", sampler_name(drawn, era), True),
        ("Schedule type", drawn.schedule, era is not Era.V1_6),
        ("CFG scale", drawn.cfg_scale, True),
        ("Seed", drawn.seeds[index], True),
        ("Size", f"{drawn.width}x{drawn.height}", True),
        ("Model hash", drawn.model_hash, bool(drawn.model_hash)),
        ("Model", drawn.model_name, True),
        ("Variation seed", drawn.subseeds[index] if varied else None, varied),
        ("Variation seed strength", drawn.subseed_strength, varied),
        ("Denoising strength", _denoising(drawn, era), _denoising(drawn, era) is not None),
        ("Clip skip", drawn.clip_skip, drawn.clip_skip > 1),
        ("RNG", drawn.rng, drawn.rng != "GPU"),
        *((name, value, True) for name, value in drawn.extra.items()),
        ("Version", era.value, True),
    )
    for name, value, applies in entries:
        if applies and value is not None:
            yield name, value


def _respaced(drawn: Drawn) -> bool:
    return drawn.schedule != samplers.SCHEDULES[samplers.AUTOMATIC].label


def _denoising(drawn: Drawn, era: Era) -> Value | None:
    if drawn.denoising_strength is None:
        return 0 if era is Era.V1_6 else None
    return _number(drawn.denoising_strength)


def _number(value: float) -> float:
    """The web UI's defaults of 0 are whole numbers."""
    return value or 0


def _quoted(value: str) -> str:
    """As a JSON string where the plain value could not be read back."""
    plain = value == value.strip() and not value.startswith('"') and not any(char in value for char in ",:\n")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
