"""What is in an IP-Adapter's file: its kind, its projection, its attention layers. Each of its tensors is accounted for.

The files are those that IP-Adapter's authors publish: `image_proj.*` makes tokens of a picture's embedding, `ip_adapter.N.*`
are the keys and values of the Nth attention (counting self-attentions, so N is odd). The modules are diffusers' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import ConfigurationError
from diffuserve.engine.diffusion import weights
from diffuserve.engine.diffusion.device import Device

Tensors = dict[str, torch.Tensor]

_BASE_TOKENS = 4
"""Into so many tokens the base kind turns a picture. No file says it; every one was trained so."""
_HEAD = 64
"""Channels of an attention head in the resampler of the plus kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to make tokens of a picture's embedding. Names of tensors are diffusers', but for `mark`."""

    mark: str
    """The tensor by which a file is known to be of this kind."""
    hidden: bool
    """It reads the encoder's last but one hidden states, not the projected embedding."""
    names: tuple[tuple[str, str], ...]
    """Patterns of the file's names, and what diffusers calls the same."""
    make: Callable[[Tensors], Any]
    """The projection, in the sizes that these tensors have."""
    reads: str
    """The tensor whose second side is the width of the embeddings it reads,"""
    gives: str
    """and the one whose first side is the width of the tokens it makes."""


@dataclass(frozen=True, slots=True)
class Contents:
    kind: Kind
    projection: Any
    layers: list[Any]
    """Attention processors, in the order of the UNet's cross-attentions."""
    width: int
    """Channels of the embeddings that the projection reads."""


def read(path: Path, unet: Any, device: Device) -> Contents:
    """The adapter at `path`, on `device`. Raises ConfigurationError, its subject "it", where it does not fit `unet`."""
    image, attention = _tensors(path, device)
    kind = _kind(image)
    tensors = _renamed(image, kind)
    with torch.device("meta"):
        projection = kind.make(tensors)
    width = tensors[kind.gives].shape[0]
    if width != unet.config.cross_attention_dim:
        raise ConfigurationError(
            f"it is for models whose text context has {width} channels, and this one's has "
            f"{unet.config.cross_attention_dim}"
        )
    return Contents(
        kind, _filled(projection, tensors), _layers(attention, cross_attentions(unet)), tensors[kind.reads].shape[1]
    )


def cross_attentions(unet: Any) -> list[Any]:
    """The attentions of a bare UNet that see the prompt, in the order in which files count them."""
    places = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [unet.get_submodule(place) for place in places if not place.endswith("attn1")]


def _tensors(path: Path, device: Device) -> tuple[Tensors, Tensors]:
    """The tensors under `image_proj.` and those under `ip_adapter.`, without that beginning."""
    from safetensors import SafetensorError, safe_open

    parts: dict[str, Tensors] = {"image_proj": {}, "ip_adapter": {}}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part, _, rest = name.partition(".")
                if part not in parts:
                    raise ConfigurationError(f"it holds {name}, which no IP-Adapter has")
                parts[part][rest] = file.get_tensor(name).to(device.device, device.dtype)
    except SafetensorError as error:
        raise ConfigurationError(f"it is damaged: {error}") from None
    return parts["image_proj"], parts["ip_adapter"]


def _kind(image: Tensors) -> Kind:
    for kind in KINDS:
        if kind.mark in image:
            return kind
    if "norm.weight" in image or any(name.startswith("perceiver_resampler.") for name in image):
        raise ConfigurationError(
            "it is a FaceID adapter, which wants InsightFace instead of a CLIP encoder; take a base, plus or full one"
        )
    raise ConfigurationError("it is no IP-Adapter of a known kind (base, plus or full)")


def _renamed(image: Tensors, kind: Kind) -> Tensors:
    tensors: Tensors = {}
    for name, tensor in image.items():
        for pattern, new in kind.names:
            name, changed = re.subn(pattern, new, name)
            if changed:
                break
        if name.endswith(".to_kv.weight"):  # one matrix in the file, two in diffusers
            for half, part in zip("kv", tensor.chunk(2), strict=True):
                tensors[name.replace(".to_kv.", f".to_{half}.")] = part
        else:
            tensors[name] = tensor
    return tensors


def _layers(attention: Tensors, places: list[Any]) -> list[Any]:
    """A processor for each of `places`, with its two tensors of `attention`."""
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

    layers = []
    rest = dict(attention)
    for number, place in enumerate(places):
        # Self-attentions are counted, too: the file's numbers are 1, 3, 5, ...
        pair = {part: rest.pop(f"{2 * number + 1}.{part}.weight", None) for part in ("to_k_ip", "to_v_ip")}
        shape = (place.inner_dim, place.cross_attention_dim)
        for tensor in pair.values():
            if tensor is None or tensor.shape != shape:
                has = "is missing" if tensor is None else f"is {tuple(tensor.shape)}"
                raise ConfigurationError(f"it is for another model: its layer {2 * number + 1} {has} and not {shape}")
        with torch.device("meta"):
            layer = IPAdapterAttnProcessor2_0(*shape, num_tokens=(_BASE_TOKENS,), scale=1.0)
        layers.append(weights.filled(layer, {f"{part}.0.weight": tensor for part, tensor in pair.items()}, "it"))
    if any("_lora." in name for name in rest):
        raise ConfigurationError("it brings a LoRA, as FaceID adapters do; take a base, plus or full one")
    if rest:
        raise ConfigurationError(f"it is for another model: that has no place for ip_adapter.{min(rest)}")
    return layers


def _filled(module: Any, tensors: Tensors) -> Any:
    for name in tensors.keys() - module.state_dict().keys():
        raise ConfigurationError(f"it holds {name}, which no IP-Adapter of its kind has")
    return weights.filled(module, tensors, "it")


def _base(tensors: Tensors) -> Any:
    from diffusers.models.embeddings import ImageProjection

    wide, embed = tensors["image_embeds.weight"].shape
    return ImageProjection(embed, wide // _BASE_TOKENS, _BASE_TOKENS)


def _full(tensors: Tensors) -> Any:
    from diffusers.models.embeddings import IPAdapterFullImageProjection

    return IPAdapterFullImageProjection(tensors["ff.net.0.proj.weight"].shape[1], tensors["norm.weight"].shape[0])


def _plus(tensors: Tensors) -> Any:
    from diffusers.models.embeddings import IPAdapterPlusImageProjection

    _, queries, hidden = tensors["latents"].shape
    return IPAdapterPlusImageProjection(
        embed_dims=tensors["proj_in.weight"].shape[1],
        output_dims=tensors["proj_out.weight"].shape[0],
        hidden_dims=hidden,
        depth=1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers.")),
        heads=tensors["layers.0.attn.to_q.weight"].shape[0] // _HEAD,
        num_queries=queries,
    )


KINDS = (
    Kind(
        mark="proj.weight",
        hidden=False,
        names=((r"^proj\.", "image_embeds."),),
        make=_base,
        reads="image_embeds.weight",
        gives="norm.weight",
    ),
    Kind(
        mark="proj.3.weight",
        hidden=True,
        names=((r"^proj\.0\.", "ff.net.0.proj."), (r"^proj\.2\.", "ff.net.2."), (r"^proj\.3\.", "norm.")),
        make=_full,
        reads="ff.net.0.proj.weight",
        gives="norm.weight",
    ),
    Kind(
        mark="latents",
        hidden=True,
        names=(
            (r"^(layers\.\d+)\.0\.norm1\.", r"\1.ln0."),
            (r"^(layers\.\d+)\.0\.norm2\.", r"\1.ln1."),
            (r"^(layers\.\d+)\.0\.to_out\.", r"\1.attn.to_out.0."),
            (r"^(layers\.\d+)\.0\.to_", r"\1.attn.to_"),
            (r"^(layers\.\d+)\.1\.0\.", r"\1.ff.0."),
            (r"^(layers\.\d+)\.1\.1\.", r"\1.ff.1.net.0.proj."),
            (r"^(layers\.\d+)\.1\.3\.", r"\1.ff.1.net.2."),
        ),
        make=_plus,
        reads="proj_in.weight",
        gives="norm_out.weight",
    ),
)
"""As diffusers tells them apart (`_convert_ip_adapter_image_proj_to_diffusers`); the first whose mark is there."""
