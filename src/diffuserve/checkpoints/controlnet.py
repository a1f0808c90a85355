"""What a ControlNet's folder is for, by its `config.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffuserve.checkpoints.entries import ControlNetEntry
from diffuserve.checkpoints.folder import context_width, read_config
from diffuserve.checkpoints.header import PICKLES, read_header
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import ControlNetInfo, Family, ModelInfo

WEIGHTS = "diffusion_pytorch_model"
_RGB = 3


def describe_controlnet(path: Path, entry: ControlNetEntry, named: Sequence[ModelInfo] = ()) -> ControlNetInfo:
    """The catalog entry of the ControlNet in the folder `path`. `named` are the models that its owner says it fits.

    Raises ConfigurationError: nothing is there, its weights are missing, pickled or cut off, or it is of another kind.
    """
    config = read_parts(path, WEIGHTS, "ControlNet")
    kind = str(config.get("_class_name", ""))
    if kind != "ControlNetModel":
        raise ConfigurationError(f"{path} is a {kind or 'nameless module'}, not a plain ControlNetModel")
    if config.get("conditioning_channels", _RGB) != _RGB:
        raise ConfigurationError(f"{path} reads maps of other than {_RGB} channels, which is not supported")
    family = Family.SDXL if config.get("addition_embed_type") == "text_time" else Family.SD15
    return ControlNetInfo(
        name=entry.name,
        family=named[0].family if named else family,
        path=str(path),
        kind=entry.kind,
        models=tuple(model.name for model in named),
        aliases=entry.aliases,
        description=entry.description,
        context_width=context_width(config),
    )


def read_parts(folder: Path, stem: str, what: str) -> dict[str, object]:
    """The config of a folder with one module in it, whose weights are there, whole. Raises ConfigurationError."""
    if not folder.exists():
        raise ConfigurationError(f"there is no {what} at {folder}")
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is a single file: a {what} must be a folder with config.json and {stem}.safetensors"
        )
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{folder} is not a {what}: it has no config.json")
    config = dict(read_config(folder / "config.json"))
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            read_header(folder / name)
            return config
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ConfigurationError(
            f"{folder} holds only pickled weights ({pickles[0]}), which could run any code when they are opened: "
            "convert them to safetensors"
        )
    raise ConfigurationError(f"{folder} is incomplete: it has no {stem}.safetensors")
