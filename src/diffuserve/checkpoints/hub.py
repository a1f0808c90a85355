"""A name becomes a path: an embedded model, a folder, a file, or a model of the Hugging Face hub.

`huggingface_hub` is imported only when a hub id is asked for; with `HF_HUB_OFFLINE=1` only its cache is looked at.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from diffuserve.core.errors import ConfigurationError

EMBEDDED_PREFIX = "embedded:"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_FILES = ("json", "txt", "safetensors")


def resolve(name: str) -> Path:
    """The absolute path that `name` means: `embedded:NAME`, an embedded model's bare name, a path, or a hub id, in
    this order.

    A hub model that is not in the cache is downloaded, which may take minutes. Raises ConfigurationError if there is
    no such thing, or the hub cannot be reached.
    """
    if name.startswith(EMBEDDED_PREFIX):
        return _embedded(name.removeprefix(EMBEDDED_PREFIX))
    if name in embedded_names():
        return _embedded(name)
    path = Path(name).expanduser()
    if path.exists():
        return path.absolute()
    if _HUB_ID.fullmatch(name) and path.suffix != ".safetensors":
        return _from_hub(name)
    if "/" in name or path.suffix:
        raise ConfigurationError(f"there is no model at {path.absolute()}")
    raise ConfigurationError(
        f"there is no model {name}: give an embedded name ({', '.join(embedded_names())}), a folder, "
        "a .safetensors file, or a hub id (owner/name)"
    )


def embedded_names() -> tuple[str, ...]:
    """The models inside the package."""
    return tuple(sorted(path.name for path in _embedded_root().iterdir() if (path / "model_index.json").is_file()))


def _embedded(name: str) -> Path:
    if name not in embedded_names():
        raise ConfigurationError(f"there is no embedded model {name}; embedded: {', '.join(embedded_names())}")
    return _embedded_root() / name


def _embedded_root() -> Path:
    return Path(__file__).parent.parent / "embedded"


def _from_hub(name: str) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigurationError(f"{name} is a hub model, which needs: pip install 'diffuserve[diffusion]'") from None
    try:
        folder = _snapshot(huggingface_hub, name, "fp16")
        if not any((folder / "unet").glob("*.safetensors")):
            # Some models are published in half precision only.
            folder = _snapshot(huggingface_hub, name, None)
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ConfigurationError(_sentence(huggingface_hub.errors, name, error)) from None
    return folder


def _snapshot(hub: Any, name: str, without_variant: str | None) -> Path:
    """Download what is not there yet: configs and safetensors of the parts that are drawn with, and nothing else."""
    wanted = [f"{part}/*.{suffix}" for part in _PARTS for suffix in _FILES]
    unwanted = ["*non_ema*", *([f"*.{without_variant}*"] if without_variant else [])]
    return Path(
        hub.snapshot_download(
            name, allow_patterns=["model_index.json", "diffuserve.json", *wanted], ignore_patterns=unwanted
        )
    )


def _sentence(errors: Any, name: str, error: Exception) -> str:
    if isinstance(error, errors.GatedRepoError):
        return f"{name} asks for its licence to be accepted on the hub: do so there, then log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the hub has no model {name}, or it is private: check the name, or log in with `hf auth login`"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return (
            f"there is no folder {name} here, and the hub model of that name is not in the cache and cannot be fetched "
            "now: go online once, or give a folder"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{name} is not a hub id: it must look like owner/name"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"{name} could not be downloaded: {reason}"
