"""One picture's way over the sampler, as one generator: from noise or from a picture, around a mask or not, and for large
pictures a second pass over the enlarged first one.

The order in which random numbers are drawn is diffusers' own in each of its pipelines (text-to-image, image-to-image,
inpainting), so equal seeds mean equal pictures.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from diffuserve.core.model import Family
from diffuserve.core.request import Fill, HiresFix, InputImage, ResolvedRequest, Upscaler
from diffuserve.engine.diffusion import codec
from diffuserve.engine.diffusion.controlnet import ControlNet
from diffuserve.engine.diffusion.denoise import Blend, ModelInput, Scene, denoise
from diffuserve.engine.diffusion.models import Model

Steps = Generator[ModelInput, torch.Tensor, torch.Tensor]

_LATENT_MODES = {
    Upscaler.LATENT: "bilinear",
    Upscaler.LATENT_BICUBIC: "bicubic",
    Upscaler.LATENT_NEAREST: "nearest-exact",
}


@dataclass(frozen=True, slots=True)
class Way:
    """The steps of a picture, begun by nobody yet, and how many they are."""

    steps: Steps
    count: int


def way(model: Model, request: ResolvedRequest, index: int, controlnets: tuple[ControlNet, ...]) -> Way:
    """Picture `index` of `request`; `controlnets` are those of its controls, in order.

    Raises ValueError where the sampler refuses the number of steps.
    """
    walker = _Walker(model, request, index, controlnets)
    count = len(walker.first.timesteps) + (len(walker.second.timesteps) if walker.second else 0)
    return Way(walker.walk(), count)


class _Leg:
    """One run of a solver, whole or from somewhere on its way."""

    def __init__(self, model: Model, request: ResolvedRequest, steps: int, strength: float, *, partial: bool) -> None:
        self.solver = model.solvers.make(request.sampler, request.schedule, steps, model.device.device)
        start = (steps - _steps_run(steps, strength)) * self.solver.order if partial else 0
        if hasattr(self.solver, "set_begin_index"):
            self.solver.set_begin_index(start)
        self.timesteps: torch.Tensor = self.solver.timesteps[start:]


class _Walker:
    def __init__(self, model: Model, request: ResolvedRequest, index: int, controlnets: tuple[ControlNet, ...]) -> None:
        self.model, self.request, self.index, self.controlnets = model, request, index, controlnets
        steps, hires = request.num_inference_steps, request.hires
        self.first = _Leg(model, request, steps, request.strength, partial=request.init_image is not None)
        self.second = (
            _Leg(model, request, _second_steps(request, hires), hires.strength, partial=True) if hires else None
        )

    def walk(self) -> Steps:
        canvas, hires = self.request.canvas, self.request.hires
        if self.second is None or hires is None:
            return (yield from self._walk_first(canvas.height, canvas.width))
        latents = yield from self._walk_first(hires.height or canvas.height, hires.width or canvas.width)
        return (yield from self._walk_second(self.second, latents, hires.upscaler))

    def _walk_first(self, height: int, width: int) -> Steps:
        request, leg, noise = self.request, self.first, self._generator()
        if request.init_image is None:
            drawn = self._drawn(height, width, noise)
            latents = drawn * leg.solver.init_noise_sigma
            return (yield from self._denoise(leg, latents, noise, self._scene(height, width)))
        if request.inpaint is not None:
            return (yield from self._inpaint(request.init_image, height, width, noise))
        known = codec.encode(self.model, request.init_image.data, noise)
        drawn = self._drawn(height, width, noise)
        latents = leg.solver.add_noise(known, drawn, leg.timesteps[:1])
        return (yield from self._denoise(leg, latents, noise, self._scene(height, width)))

    def _walk_second(self, leg: _Leg, latents: torch.Tensor, upscaler: Upscaler) -> Steps:
        canvas, noise = self.request.canvas, self._generator()
        if upscaler in _LATENT_MODES:
            size = (canvas.height // self.model.info.multiple, canvas.width // self.model.info.multiple)
            known = torch.nn.functional.interpolate(latents, size=size, mode=_LATENT_MODES[upscaler])
        else:
            known = codec.enlarged(self.model, latents, canvas.width, canvas.height, upscaler, noise)
        drawn = self._drawn(canvas.height, canvas.width, noise)
        latents = leg.solver.add_noise(known, drawn, leg.timesteps[:1])
        return (yield from self._denoise(leg, latents, noise, self._scene(canvas.height, canvas.width)))

    def _inpaint(self, picture: InputImage, height: int, width: int, noise: torch.Generator) -> Steps:
        """As `StableDiffusionInpaintPipeline`: models of the usual channels blend the known part in after every step."""
        assert self.request.inpaint is not None
        leg, native = self.first, self.model.inpaints
        whole = self.request.strength == 1.0
        mask = codec.mask(self.model, self.request.inpaint.mask.data, height, width)
        known = None if native and whole else codec.encode(self.model, picture.data, noise)
        drawn = self._drawn(height, width, noise)
        masked = codec.encode_masked(self.model, picture.data, mask, noise)
        cells = codec.mask_cells(self.model, mask)
        if known is None or whole:
            latents = drawn * leg.solver.init_noise_sigma
        else:
            begun = _emptied(known, cells, drawn, self.request.inpaint.fill)
            latents = leg.solver.add_noise(begun, drawn, leg.timesteps[:1])
        blend: Blend | None = None
        shown = None
        if native:
            shown = torch.cat([cells, masked], dim=1)
        elif known is not None:
            blend = partial(_blended, leg.solver, known, drawn, cells)
        return (yield from self._denoise(leg, latents, noise, self._scene(height, width, shown), blend))

    def _denoise(
        self, leg: _Leg, latents: torch.Tensor, noise: torch.Generator, scene: Scene, blend: Blend | None = None
    ) -> Steps:
        return denoise(leg.solver, latents, leg.timesteps, noise, scene=scene, eta=self.request.eta, blend=blend)

    def _scene(self, height: int, width: int, masked: torch.Tensor | None = None) -> Scene:
        device, time_ids = self.model.device, None
        if self.model.info.family is Family.SDXL:
            size = [height, width, 0, 0, height, width]
            time_ids = torch.tensor([size], dtype=device.dtype, device=device.device)
        maps = tuple(
            net.prepare(control.image.data, height, width)
            for net, control in zip(self.controlnets, self.request.controls, strict=True)
            if control.image is not None
        )
        return Scene(time_ids, maps, masked)

    def _generator(self) -> torch.Generator:
        # On the processor whatever the device: a seed means the same picture everywhere, as in diffusers' examples.
        return torch.Generator("cpu").manual_seed(self.request.seeds[self.index])

    def _drawn(self, height: int, width: int, noise: torch.Generator) -> torch.Tensor:
        factor = self.model.info.multiple
        shape = (1, self.model.latent_channels, height // factor, width // factor)
        drawn = torch.randn(shape, generator=noise, dtype=torch.float32)
        if self.request.variation_strength > 0:
            other = torch.Generator("cpu").manual_seed(self.request.variation_seeds[self.index])
            towards = torch.randn(shape, generator=other, dtype=torch.float32)
            drawn = slerp(self.request.variation_strength, drawn, towards)
        return drawn.to(self.model.device.device)


def slerp(share: float, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """`share` (0..1) of the way from one noise to another, along the sphere (Shoemake 1985), so that it stays noise."""
    cosine = torch.dot(start.flatten(), end.flatten()) / (start.norm() * end.norm())
    angle = float(torch.acos(cosine.clamp(-1.0, 1.0)))
    if math.sin(angle) < 1e-6:
        return start + share * (end - start)
    return (math.sin((1 - share) * angle) * start + math.sin(share * angle) * end) / math.sin(angle)


def _steps_run(steps: int, strength: float) -> int:
    """How many of the sampler's steps are run; at least one (diffusers would fail on none)."""
    return max(1, min(int(steps * strength), steps))


def _second_steps(request: ResolvedRequest, hires: HiresFix | None) -> int:
    own = hires.num_inference_steps if hires else None
    return request.num_inference_steps if own is None else own


def _blended(
    solver: Any,
    known: torch.Tensor,
    drawn: torch.Tensor,
    cells: torch.Tensor,
    latents: torch.Tensor,
    following: torch.Tensor,
) -> torch.Tensor:
    """The known part at the noise level of the `following` timestep, or as it is after the last one."""
    proper = solver.add_noise(known, drawn, following) if len(following) else known
    return (1 - cells) * proper + cells * latents


def _emptied(known: torch.Tensor, cells: torch.Tensor, drawn: torch.Tensor, fill: Fill) -> torch.Tensor:
    """What stands under the mask at the start (a `Fill.FILL` was painted in before the picture came here)."""
    if fill is Fill.NOISE:
        return known * (1 - cells) + drawn * cells
    return known * (1 - cells) if fill is Fill.NOTHING else known
