"""One `.safetensors` file in the original key layout (SD1.x or SDXL) to `Parts`, offline.

Such a file holds weights only. What diffusers' layout says in JSON lies in `configs`, and CLIP's vocabulary beside it
(`clip_vocabulary.py`); `original_layout.py` gives the tensors their places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuserve.checkpoints.single import read_single
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family
from diffuserve.engine.diffusion import clip_vocabulary, original_layout
from diffuserve.engine.diffusion.conditioning import TextTower
from diffuserve.engine.diffusion.models import Parts

_CONFIGS = Path(__file__).parent / "configs"
_EDM_MARKS = ("edm_mean", "edm_vpred.sigma_max")


def read(path: Path, family: Family, configs: Path | None = None) -> Parts:
    """The checkpoint at `path`, on the processor, in the precision that the file has.

    `configs` is a folder in diffusers layout (weights are not looked at) that stands in for the shipped one.
    Raises ConfigurationError in one sentence where the file is damaged, incomplete or of another kind.
    """
    if read_single(path).family is not family:
        raise ConfigurationError(f"{path} is not a checkpoint of the family {family}")
    configs = configs or _CONFIGS / family
    contents = _open(path)
    try:
        return Parts(
            original_layout.unet(contents.tensors, configs / "unet"),
            original_layout.vae(contents.tensors, configs / "vae"),
            _towers(contents, family, configs),
            _scheduler_config(configs / "scheduler", contents),
            zero_empty_negative=family is Family.SDXL,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} is not a plain {family} checkpoint: {error.message}") from None


@dataclass(frozen=True, slots=True)
class _Contents:
    """The file's tensors that are drawn with, the names of all, and what its maker wrote beside them."""

    tensors: original_layout.Tensors
    names: frozenset[str]
    metadata: Mapping[str, str]

    @property
    def predicts_velocity(self) -> bool:
        return "v_pred" in self.names or self.metadata.get("modelspec.prediction_type") == "v"

    @property
    def ends_in_pure_noise(self) -> bool:
        """Trained with zero signal at the last timestep (arXiv:2305.08891)."""
        return "ztsnr" in self.names


def _open(path: Path) -> _Contents:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = frozenset(file.keys())
            _refuse_edm(path, names)
            # Averages and optimizer states double many files: they are never touched.
            wanted = (name for name in names if name.startswith(original_layout.PREFIXES))
            return _Contents({name: file.get_tensor(name) for name in wanted}, names, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from None


def _refuse_edm(path: Path, names: Iterable[str]) -> None:
    if any(mark in names for mark in _EDM_MARKS):
        raise ConfigurationError(f"{path} is trained in the EDM way, which is not supported")


def _towers(contents: _Contents, family: Family, configs: Path) -> tuple[TextTower, ...]:
    tensors = contents.tensors
    if family is Family.SD15:
        encoder = original_layout.clip(tensors, original_layout.SD15_TEXT, configs / "text_encoder")
        return (TextTower(_tokenizer(configs / "tokenizer"), encoder),)
    first = original_layout.clip(tensors, original_layout.SDXL_TEXT, configs / "text_encoder")
    second = original_layout.open_clip(tensors, original_layout.SDXL_TEXT_2, configs / "text_encoder_2")
    return (
        TextTower(_tokenizer(configs / "tokenizer"), first),
        TextTower(_tokenizer(configs / "tokenizer_2"), second),
    )


def _tokenizer(folder: Path) -> Any:
    if (folder / "tokenizer.json").is_file():
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return clip_vocabulary.tokenizer(config["pad_token"], config["model_max_length"])


def _scheduler_config(folder: Path, contents: _Contents) -> dict[str, Any]:
    import diffusers

    config = json.loads((folder / "scheduler_config.json").read_text())
    if contents.predicts_velocity:
        config["prediction_type"] = "v_prediction"
    if contents.ends_in_pure_noise:
        # Only trailing steps begin at the last timestep, the one that this training is about.
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return dict(getattr(diffusers, config["_class_name"]).from_config(config).config)
