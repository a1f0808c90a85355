"""A name becomes a path: an embedded model, a folder, a file, or something on the Hugging Face hub.

`resolve` is for models, `resolve_file` and `resolve_folder` are for what steers them.

`huggingface_hub` is imported only when a hub id is asked for; with `HF_HUB_OFFLINE=1` only its cache is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffuserve.core.errors import ConfigurationError

EMBEDDED_PREFIX = "embedded:"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)
_PART = re.compile(r"(?!\.)[\w.+-]+( [\w.+-]+)*", re.ASCII)
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


def resolve_file(name: str, what: str) -> Path:
    """The absolute path of the `what` ("LoRA") that `name` means: a file, or `owner/name/.../file.safetensors` of the hub.

    Raises ConfigurationError.
    """
    found, parts = _here(name, what)
    if found is not None:
        return found
    with _hub(name) as hub:
        return Path(hub.hf_hub_download("/".join(parts[:2]), "/".join(parts[2:])))


def resolve_folder(name: str, what: str, stem: str) -> Path:
    """The same for a folder with `config.json` and the weights `stem`.safetensors; `owner/name` or `owner/name/folder` of
    the hub."""
    found, parts = _here(name, what, least=2)
    if found is not None:
        return found
    inside = "".join(f"{part}/" for part in parts[2:])
    with _hub(name) as hub:
        wanted = [f"{inside}config.json", f"{inside}{stem}.safetensors"]
        folder = Path(hub.snapshot_download("/".join(parts[:2]), allow_patterns=wanted)) / inside
        if not (folder / f"{stem}.safetensors").is_file():
            # Some are published in half precision only.
            wanted[1] = f"{inside}{stem}.fp16.safetensors"
            hub.snapshot_download("/".join(parts[:2]), allow_patterns=wanted)
    return folder


def _here(name: str, what: str, least: int = 3) -> tuple[Path | None, list[str]]:
    """What lies here under that name; or its parts, where it may be of the hub. Raises ConfigurationError."""
    path = Path(name).expanduser()
    if path.exists():
        return path.absolute(), []
    parts = name.split("/")
    on_hub = len(parts) >= least and _HUB_ID.fullmatch("/".join(parts[:2])) and all(map(_PART.fullmatch, parts[1:]))
    if not on_hub:
        raise ConfigurationError(f"there is no {what} at {path.absolute()}")
    return None, parts


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
    with _hub(name) as hub:
        folder = _snapshot(hub, name, "fp16")
        if not any((folder / "unet").glob("*.safetensors")):
            # Some models are published in half precision only.
            folder = _snapshot(hub, name, None)
    return folder


@contextmanager
def _hub(name: str) -> Iterator[Any]:
    """The hub's library, its errors told in our words."""
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigurationError(f"{name} is on the hub, which needs: pip install 'diffuserve[diffusion]'") from None
    try:
        yield huggingface_hub
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ConfigurationError(_sentence(huggingface_hub.errors, name, error)) from None


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
            f"there is no folder or file {name} here, and what the hub has of that name is not in the cache and cannot be "
            "fetched now: go online once, or give a path"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"the hub has no file {name}: check the name"
    if isinstance(error, errors.HFValidationError):
        return f"{name} is not a hub id: it must look like owner/name"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"{name} could not be downloaded: {reason}"
