"""Weights from a folder into a module, quietly: others draw while they are read.

The libraries' own `from_pretrained` sets the dtype that the whole process makes tensors in while it builds a module, and
whoever draws on another thread at that moment draws something else. Here a module is built without storage, which changes
nothing outside its thread, and filled with the tensors of the mapped files, each brought to its dtype and device alone, so
that a checkpoint needs no second copy of itself. Only safetensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import ConfigurationError

# Names that older files have, by what newer modules call the same place.
_RENAMED = (
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
)
_WRAPPERS = ("text_model.", "vision_model.")
"""Older transformers wrap an encoder's layers into one of these, newer ones do not."""


def diffusers_module(cls: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of diffusers (`config.json` beside its weights), ready to use. Raises ConfigurationError."""
    config = json.loads((folder / "config.json").read_text())
    return read_module(lambda: cls.from_config(config), folder, device, dtype)


def transformers_module(cls: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of transformers (`config.json` beside its weights), ready to use. Raises ConfigurationError."""
    config = cls.config_class.from_pretrained(folder, local_files_only=True)
    # Some classes make their inner model in the config's dtype, and set that for the whole process meanwhile.
    config.dtype = None
    return read_module(lambda: cls(config), folder, device, dtype)


def read_module(make: Callable[[], Any], folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """`make()` with the weights that lie in `folder`. Raises ConfigurationError naming the first one that is missing."""
    with torch.device("meta"):
        module = make()
    wanted = module.state_dict()
    weights = {}
    for name, tensor in _tensors(folder):
        place = _place(name, wanted)
        if place is not None:
            weights[place] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
    return filled(module, weights, str(folder))


def filled(module: Any, weights: Mapping[str, torch.Tensor], where: str) -> Any:
    """`module`, built on the meta device, with `weights` as its own; for reading only. Raises ConfigurationError."""
    for name, empty in module.state_dict().items():
        if name not in weights:
            raise ConfigurationError(f"{where} is incomplete: {name} is missing")
        if weights[name].shape != empty.shape:
            shapes = (tuple(weights[name].shape), tuple(empty.shape))
            raise ConfigurationError(f"{where} contradicts its config: {name} is {shapes[0]}, not {shapes[1]}")
    module.load_state_dict(dict(weights), assign=True)
    device = next(iter(weights.values())).device
    for parent in module.modules():
        for name, buffer in list(parent.named_buffers(recurse=False)):
            if buffer.is_meta:  # the positions of an encoder's tokens: kept in no file
                setattr(parent, name, torch.arange(buffer.shape[-1], device=device).expand(buffer.shape))
    return module.eval().requires_grad_(False)


def nbytes(*modules: Any) -> int:
    """Bytes of all parameters and buffers; what modules share counts once."""
    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
        if not tensor.is_meta
    }
    return sum(tensors.values())


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    for path in _files(folder):
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ConfigurationError(f"{path} is damaged: {error}") from None


def _files(folder: Path) -> list[Path]:
    """The weights in `folder`: whole or in shards, in full precision where there is a choice."""
    for index in (*folder.glob("*.safetensors.index.json"), *folder.glob("*.safetensors.index.fp16.json")):
        return sorted({folder / Path(name).name for name in json.loads(index.read_text())["weight_map"].values()})
    found = sorted(folder.glob("*.safetensors"), key=lambda path: (".fp16." in path.name, path.name))
    named = [path for path in found if path.name.startswith(("model.", "diffusion_pytorch_model."))]
    if not found:
        raise ConfigurationError(f"{folder} holds no .safetensors file")
    return (named or found)[:1]


def _place(name: str, wanted: Mapping[str, Any]) -> str | None:
    """Where a file's tensor belongs in the module; None where it has no use for it."""
    if name in wanted:
        return name
    for old, new in _RENAMED:
        if (renamed := name.replace(old, new)) in wanted:
            return renamed
    for wrapper in _WRAPPERS:
        for other in (name.removeprefix(wrapper), wrapper + name):
            if other in wanted:
                return other
    return None
