"""The shared UNet call: gather rows, one forward, scatter rows.

Whatever differs between the samples is a column of the batch: timestep, guidance, the weights of LoRAs, controls and
references. A sample with guidance has two rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from diffuserve.engine.diffusion import controlnet
from diffuserve.engine.diffusion.controlnet import ControlNet, Residuals
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


class _Rows:
    """The samples of one forward as columns of a batch; what the padding computes is thrown away."""

    def __init__(self, samples: Sequence[Sample], buckets: Buckets) -> None:
        self.samples = samples
        rows = sum(sample.lanes for sample in samples)
        self._padding = buckets.fit(rows) - rows

    def lanes(self, tensor: Callable[[Sample], torch.Tensor]) -> torch.Tensor:
        """A tensor that has a row for each lane of its sample already."""
        return self._padded(torch.cat([tensor(sample) for sample in self.samples]))

    def repeated(self, tensor: Callable[[Sample], torch.Tensor]) -> torch.Tensor:
        """A tensor of one row for each sample, shown to all of its lanes."""
        return self._padded(torch.cat([tensor(sample) for sample in self.samples for _ in range(sample.lanes)]))

    def values(self, value: Callable[[Sample], Any], padding: Any = 0.0) -> list[Any]:
        return self.by_lane(lambda sample, lane: value(sample), padding)

    def by_lane(self, value: Callable[[Sample, int], Any], padding: Any = 0.0) -> list[Any]:
        """The last lane of a sample is its positive prompt's."""
        listed = [value(sample, lane) for sample in self.samples for lane in range(sample.lanes)]
        return listed + [padding] * self._padding

    def _padded(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self._padding:
            return tensor
        return torch.cat([tensor, tensor[-1:].expand(self._padding, *tensor.shape[1:])])


def forward(model: Model, samples: Sequence[Sample], buckets: Buckets) -> list[torch.Tensor]:
    """One step's prediction for each sample, (1, C, h, w) float32, guidance applied. The samples share a `BatchKey`."""
    rows, dtype = _Rows(samples, buckets), model.device.dtype
    latents = rows.repeated(lambda s: s.next.latents).to(dtype).contiguous(memory_format=torch.channels_last)
    timesteps = rows.repeated(lambda s: s.next.timestep.to(torch.float32).reshape(1))
    context = rows.lanes(lambda s: s.context)
    added = _added(model, rows)
    with contextlib.ExitStack() as steered:
        extras = _residuals(rows, latents, timesteps, context, added)
        unet = model.compiled if model.compiled is not None and not extras else model.unet
        first = samples[0]
        if any(sample.run.request.loras for sample in samples):
            unet = model.unet
            steered.enter_context(model.loras.unet_rows(rows.values(lambda s: s.run.request.loras, padding=())))
        if first.tools.adapter is not None:
            unet = model.unet
            gates, seen = _column(rows, rows.values(_reference_scale)), rows.lanes(lambda s: _there(s.image))
            more = steered.enter_context(first.tools.adapter.attached(model.unet, gates, seen))
            added = {**(added or {}), **more}
        output = unet(
            latents,
            timesteps,
            encoder_hidden_states=context,
            added_cond_kwargs=added,
            timestep_cond=_guidance(model, rows),
            return_dict=False,
            **extras,
        )[0].to(torch.float32)
    return list(_scatter(output, samples))


def _added(model: Model, rows: _Rows) -> dict[str, Any] | None:
    if any(sample.pooled is None for sample in rows.samples):
        return None
    return {
        "text_embeds": rows.lanes(lambda s: _there(s.pooled)),
        "time_ids": rows.repeated(lambda s: _there(s.next.scene.time_ids)),
    }


def _residuals(
    rows: _Rows,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    added: dict[str, Any] | None,
) -> dict[str, Any]:
    """What the ControlNets that act at this step add to the UNet; nothing where none does."""
    first = rows.samples[0]
    if not first.acting:
        return {}
    parts = [_of_control(rows, place, latents, timesteps, context, added) for place in range(len(first.acting))]
    return controlnet.total(parts).arguments


def _of_control(
    rows: _Rows,
    place: int,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    added: dict[str, Any] | None,
) -> Residuals:
    """What the ControlNet at this place among the acting ones says; each sample has its own map for it."""
    first = rows.samples[0]
    net = first.tools.controlnets[first.acting[place]]
    maps = rows.repeated(lambda s: s.next.scene.maps[s.acting[place]])
    scales = _column(rows, rows.by_lane(lambda s, lane: _scale(s, lane, net, place)))
    return net.residuals(latents, timesteps, context, maps, scales, added)


def _scale(sample: Sample, lane: int, net: ControlNet, place: int) -> float:
    if net.positive_only and lane < sample.lanes - 1:
        return 0.0
    return sample.run.request.controls[sample.acting[place]].scale


def _column(rows: _Rows, values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=rows.samples[0].tools.model.device.device)


def _reference_scale(sample: Sample) -> float:
    reference = sample.run.request.reference
    return 0.0 if reference is None else reference.scale


def _there(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None  # all samples of a batch share a key, so all of them have it
    return tensor


def _guidance(model: Model, rows: _Rows) -> torch.Tensor | None:
    size = model.unet.config.time_cond_proj_dim
    if size is None:
        return None
    weights = torch.tensor(rows.values(lambda s: s.guidance - 1), dtype=torch.float32)
    return _guidance_embedding(weights, size).to(model.device.device, model.device.dtype)


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


def _guidance_embedding(weights: torch.Tensor, size: int) -> torch.Tensor:
    """Sinusoids of the guidance weights, (rows, size): the diffusion models' usual embedding of a number."""
    half = size // 2
    steps = torch.arange(half, dtype=torch.float32)
    frequencies = torch.exp(steps * -(torch.log(torch.tensor(10000.0, dtype=torch.float32)) / (half - 1)))
    angles = weights[:, None] * GUIDANCE_EMBEDDING_SCALE * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, size % 2))
