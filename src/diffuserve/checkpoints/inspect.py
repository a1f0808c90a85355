"""What lies at a path: `describe` turns a checkpoint into the `ModelInfo` of the catalog, or says in one sentence why
not.

Only JSON files and safetensors headers are read, so a wrong or incomplete model is told at once at start, long before
torch would stumble over it. `folder.py` reads the diffusers layout, `single.py` one file. Read `steering.py` next.
"""

from __future__ import annotations

from pathlib import Path

from diffuserve.checkpoints.card import Overrides, sampler_id
from diffuserve.checkpoints.folder import read_folder
from diffuserve.checkpoints.single import read_single
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import ModelInfo, NativeRange

DEFAULT_STEPS = 30
DEFAULT_GUIDANCE = 7.5
_OF_SAMPLER = {"lcm": (4, 8.5)}
"""Steps and guidance of models that come with a certain sampler: diffusers' own for latent consistency models."""


def describe(path: Path, name: str, overrides: Overrides | None = None) -> ModelInfo:
    """The catalog entry of the checkpoint at `path`: a folder in diffusers layout or one `.safetensors` file.

    `overrides` win over the folder's own card, and that over what the checkpoint says. Raises ConfigurationError:
    nothing is there, a part is missing or cut off, the weights are pickles, or it is a kind of model that is not
    drawn here.
    """
    found = read_folder(path) if path.is_dir() else read_single(path)
    said = (overrides or Overrides()).over(found.card)
    steps, guidance = _OF_SAMPLER.get(found.sampler, (DEFAULT_STEPS, DEFAULT_GUIDANCE))
    native = _native(said, found.size, found.multiple, f"model {name}")
    return ModelInfo(
        name=name,
        family=found.family,
        path=str(path),
        size=found.size,
        native=native,
        multiple=found.multiple,
        sampler=sampler_id(said.sampler, f"model {name}") if said.sampler else found.sampler,
        num_inference_steps=said.num_inference_steps or steps,
        guidance_scale=guidance if said.guidance_scale is None else said.guidance_scale,
        aliases=said.aliases,
        description=said.description,
        languages=said.languages or ("en",),
        hires=native.min_side != native.max_side if said.hires is None else said.hires,
        inpainting=found.inpainting,
        context_width=found.context_width,
    )


def _native(said: Overrides, size: int, multiple: int, where: str) -> NativeRange:
    """Half to one and a half of the trained side, unless somebody knows better: beyond it pictures fall apart or
    repeat."""
    low = said.native_min or max(multiple, round(size / 2 / multiple) * multiple)
    high = said.native_max or round(size * 1.5 / multiple) * multiple
    if said.native_max and not said.native_min:
        low = min(low, high)
    if said.native_min and not said.native_max:
        high = max(low, high)
    if low > high:
        raise ConfigurationError(f"{where}: native_min must be at most native_max, got {low} and {high}")
    return NativeRange(low, high)
