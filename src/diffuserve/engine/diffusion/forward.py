"""The shared UNet call: gather rows, one forward, scatter rows. Guidance is a column: each sample has its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from diffuserve.engine.diffusion.models import Model
from diffuserve.engine.diffusion.sample import Sample

GUIDANCE_EMBEDDING_SCALE = 1000.0
"""Factor on the guidance weight before it is embedded, for models distilled with it (LCM, arXiv:2310.04378)."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The row counts that a forward may have: fewer rows are padded up to the next one.

    One single bucket makes every row's arithmetic the same in any company, bit for bit; a few of them keep the number of
    shapes small for a compiled UNet; none pads nothing.
    """

    sizes: tuple[int, ...] = ()

    def fit(self, rows: int) -> int:
        return next((size for size in self.sizes if size >= rows), rows)


def forward(model: Model, samples: Sequence[Sample], buckets: Buckets) -> list[torch.Tensor]:
    """One step's prediction for each sample, (1, C, h, w) float32, guidance applied. The samples share a `BatchKey`."""
    rows = sum(sample.lanes for sample in samples)
    padding = buckets.fit(rows) - rows
    output = model.unet(
        _padded([sample.next.latents for sample in samples for _ in range(sample.lanes)], padding)
        .to(model.device.dtype)
        .contiguous(memory_format=torch.channels_last),
        _padded([sample.next.timestep.float().reshape(1) for sample in samples for _ in range(sample.lanes)], padding),
        encoder_hidden_states=_padded([sample.context for sample in samples], padding),
        return_dict=False,
        **_extras(model, samples, padding),
    )[0].float()
    return list(_scatter(output, samples))


def _scatter(output: torch.Tensor, samples: Sequence[Sample]) -> list[torch.Tensor]:
    predictions, row = [], 0
    for sample in samples:
        if sample.lanes == 2:
            negative, positive = output[row : row + 1], output[row + 1 : row + 2]
            predictions.append(negative + sample.guidance * (positive - negative))
        else:
            predictions.append(output[row : row + 1])
        row += sample.lanes
    return predictions


def _extras(model: Model, samples: Sequence[Sample], padding: int) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    pooled = [sample.pooled for sample in samples if sample.pooled is not None]
    time_ids = [sample.time_ids for sample in samples if sample.time_ids is not None]
    if pooled:
        extras["added_cond_kwargs"] = {"text_embeds": _padded(pooled, padding), "time_ids": _padded(time_ids, padding)}
    size = model.unet.config.time_cond_proj_dim
    if size is not None:
        weights = _padded([torch.tensor([sample.guidance - 1]) for sample in samples], padding)
        extras["timestep_cond"] = _guidance_embedding(weights, size).to(model.device.device, model.device.dtype)
    return extras


def _padded(rows: Sequence[torch.Tensor], padding: int) -> torch.Tensor:
    """All rows in one tensor, the last one repeated `padding` times; what the padding computes is thrown away."""
    tensor = torch.cat(list(rows))
    return torch.cat([tensor, tensor[-1:].expand(padding, *tensor.shape[1:])]) if padding else tensor


def _guidance_embedding(weights: torch.Tensor, size: int) -> torch.Tensor:
    """Sinusoids of the guidance weights, (rows, size): the diffusion models' usual embedding of a number."""
    half = size // 2
    frequencies = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = weights[:, None] * GUIDANCE_EMBEDDING_SCALE * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, size % 2))
