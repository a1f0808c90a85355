"""IP-Adapters (arXiv:2308.06721): pictures as prompts. Each row of a batch has its own picture and its own scale.

An IP-Adapter gives every cross-attention of a UNet a second pair of keys and values, which see a reference picture as a
CLIP vision encoder embeds it. Its weights stand beside the UNet, not in it: `attached` puts them in for one forward.
diffusers has no scale for each row; here it is a factor on the second values, since attention is linear in them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import AdapterInfo
from diffuserve.engine.diffusion import weights
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.ip_adapter_file import Contents, cross_attentions, read


class ImageEncoder:
    """A CLIP vision model and the preparation of its pictures. Adapters that were trained with the same may share it."""

    def __init__(self, module: Any, device: Device) -> None:
        from transformers import CLIPImageProcessorPil

        side = module.config.image_size
        self.module, self._device = module, device
        # As diffusers makes it: the shorter side to `side` (bicubic), the middle cut out, CLIP's mean and deviation.
        self._processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def pixels(self, png: bytes) -> torch.Tensor:
        """(1, 3, side, side) as the encoder wants it."""
        with Image.open(io.BytesIO(png)) as image:
            values = self._processor(image.convert("RGB"), return_tensors="pt").pixel_values
        return values.to(self._device.device, self._device.dtype)

    def encode(self, pixels: torch.Tensor, hidden: bool) -> torch.Tensor:
        """(1, channels), or the last but one hidden states, (1, patches + 1, channels)."""
        output = self.module(pixels, output_hidden_states=hidden)
        return output.hidden_states[-2] if hidden else output.image_embeds

    def blank(self) -> torch.Tensor:
        """Of the shape of `pixels`, but all zeros."""
        config = self.module.config
        shape = (1, config.num_channels, config.image_size, config.image_size)
        return torch.zeros(shape, device=self._device.device, dtype=self._device.dtype)


class IPAdapter:
    """One IP-Adapter on a device. Any number of UNets of its shape may use it, one forward at a time."""

    def __init__(self, info: AdapterInfo, contents: Contents, encoder: ImageEncoder) -> None:
        from diffusers.models.embeddings import MultiIPAdapterImageProjection

        self.info, self.encoder, self._hidden = info, encoder, contents.kind.hidden
        self._projection = MultiIPAdapterImageProjection([contents.projection])
        self._layers, self._gates = contents.layers, _Gates()
        for layer in self._layers:
            layer.to_v_ip[0].register_forward_hook(self._gates)
        self._places: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
        self.nbytes = weights.nbytes(encoder.module, self._projection, *self._layers)

    def embed(self, png: bytes) -> tuple[torch.Tensor, torch.Tensor]:
        """A picture's embedding for the positive row and for the negative one.

        (1, 1, channels) each; of kinds that read hidden states (1, 1, patches + 1, channels).
        """
        return self.encoder.encode(self.encoder.pixels(png), self._hidden)[None], self.nothing

    @cached_property
    def nothing(self) -> torch.Tensor:
        """The embedding of no picture, as diffusers has it. Rows without a reference take it, too, with gate 0."""
        if self._hidden:
            return self.encoder.encode(self.encoder.blank(), hidden=True)[None]
        return self.encoder.blank().new_zeros(1, 1, self.encoder.module.config.projection_dim)

    @contextmanager
    def attached(self, unet: Any, gates: torch.Tensor, embeds: torch.Tensor) -> Iterator[dict[str, Any]]:
        """For the forward inside, `unet` sees `embeds` (B, 1, ...), rows of `embed`, each as much as `gates` (B,) says.

        `unet` is the module itself, not compiled. Yields what its `added_cond_kwargs` must hold besides. Gate 1 is as the
        adapter was trained, 0 is nothing. B must be the forward's number of rows: diffusers lays other numbers over the
        rows without a word. Afterwards the UNet is what it was. Raises ConfigurationError where it is of another shape.
        """
        if len(gates) != len(embeds):
            raise ValueError(f"{len(gates)} gates for {len(embeds)} rows")
        places = self._cross_attentions(unet)
        before = [place.processor for place in places]
        self._gates.rows = gates.to(embeds.device, torch.float32)
        try:
            for place, layer in zip(places, self._layers, strict=True):
                place.set_processor(layer)
            unet.encoder_hid_proj, unet.config.encoder_hid_dim_type = self._projection, "ip_image_proj"
            yield {"image_embeds": [embeds]}
        finally:
            for place, processor in zip(places, before, strict=True):
                place.set_processor(processor)
            del unet.encoder_hid_proj  # or its name would stay among the modules
            unet.encoder_hid_proj = unet.config.encoder_hid_dim_type = None
            self._gates.rows = None

    def _cross_attentions(self, unet: Any) -> list[Any]:
        """Looked for once in each UNet: the walk takes milliseconds, which every step would pay again."""
        if unet not in self._places:
            places = cross_attentions(unet)
            wanted = [(layer.hidden_size, layer.cross_attention_dim) for layer in self._layers]
            if wanted != [(place.inner_dim, place.cross_attention_dim) for place in places]:
                raise ConfigurationError(f"IP-Adapter {self.info.name} at {self.info.path} is for another model")
            self._places[unet] = places
        return self._places[unet]


class _Gates:
    """A forward hook: weighs the values that attention takes from the pictures, row by row."""

    rows: torch.Tensor | None = None

    def __call__(self, module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if self.rows is None:
            return output
        # In float32 and rounded once, as by a plain number, whatever the dtype of the values.
        return (output * self.rows.view(-1, *[1] * (output.dim() - 1))).to(output.dtype)


def load(info: AdapterInfo, unet: Any, device: Device, encoder: ImageEncoder | None = None) -> IPAdapter:
    """Read the file at `info.path`, and its encoder unless one is given, onto `device`, beside whoever draws.

    `unet` is only looked at. Raises ConfigurationError in one sentence where a file is unfit or is for another model.
    """
    try:
        if unet.encoder_hid_proj is not None:
            raise ConfigurationError("this model has a projection of its own in the place that it would take")
        contents = read(Path(info.path), unet, device)
        encoder = encoder or load_encoder(Path(info.image_encoder), device)
        given = encoder.module.config.hidden_size if contents.kind.hidden else encoder.module.config.projection_dim
        if given != contents.width:
            raise ConfigurationError(
                f"it reads embeddings of {contents.width} channels, and the image encoder at {info.image_encoder} "
                f"makes {given}; give it the one that it was trained with"
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"IP-Adapter {info.name} at {info.path} could not be loaded: {reason}") from error
    return IPAdapter(info, contents, encoder)


def load_encoder(folder: Path, device: Device) -> ImageEncoder:
    """The CLIP vision model in `folder`, on `device`. Raises ConfigurationError and OSError."""
    from transformers import CLIPVisionModelWithProjection

    module = weights.transformers_module(CLIPVisionModelWithProjection, folder, device.device, device.dtype)
    return ImageEncoder(module, device)
