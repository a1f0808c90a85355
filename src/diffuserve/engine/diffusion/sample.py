"""One picture being drawn (`Sample`), the job it belongs to (`Run`), what must match to share a forward (`BatchKey`)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import torch

from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.diffusion import codec
from diffuserve.engine.diffusion.conditioning import Conditioner
from diffuserve.engine.diffusion.denoise import ModelInput, denoise
from diffuserve.engine.diffusion.models import Model


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Rows with equal keys can stand in one tensor. Prompt, seed, sampler, step, guidance and strength are free."""

    model: str
    latent_height: int
    latent_width: int
    tokens: int
    """Length of the text context. Padding it would change the picture, so it must match."""


@dataclass(slots=True)
class Run:
    """One job inside the engine: its samples' common account."""

    job_id: int
    request: ResolvedRequest
    pictures_left: int
    steps_done: int = 0
    steps_total: int = 0
    started: bool = False
    device_seconds: float = 0.0
    reported_at: float = field(default=float("-inf"))
    """When progress was last told, by a monotonic clock."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A picture that waits to be admitted: nothing is computed for it yet."""

    run: Run
    index: int

    @property
    def job_id(self) -> int:
        return self.run.job_id


class Sample:
    """One picture mid-denoise. Owns its sampler, its place on the schedule, its guidance and its source of noise."""

    __slots__ = ("_steps", "context", "done", "guidance", "key", "next", "pooled", "run", "ticket", "time_ids", "total")

    def __init__(self, ticket: Ticket, model: Model, conditioner: Conditioner) -> None:
        """Encode the prompts and the init picture, and take the sampler to its first question.

        Raises ValueError where the sampler refuses the number of steps.
        """
        request = ticket.run.request
        self.ticket, self.run = ticket, ticket.run
        self.guidance = request.guidance_scale
        self._condition(model, conditioner, request)
        height, width = (side // model.info.multiple for side in (request.canvas.height, request.canvas.width))
        self.key = BatchKey(model.info.name, height, width, self.context.shape[1])
        self.done, self.total = 0, self._begin(model, request, (1, model.latent_channels, height, width))
        self.next: ModelInput = next(self._steps)

    @property
    def lanes(self) -> int:
        """Rows that it takes in a forward pass: with guidance one for the negative prompt, too."""
        return int(self.context.shape[0])

    @property
    def job_id(self) -> int:
        return self.run.job_id

    def advance(self, prediction: torch.Tensor) -> torch.Tensor | None:
        """One step with the model's answer (1, C, h, w) float32; the finished latents after the last one."""
        try:
            self.next = self._steps.send(prediction)
        except StopIteration as finished:
            latents: torch.Tensor = finished.value
            return latents
        finally:
            self.done += 1
        return None

    def close(self) -> None:
        self._steps.close()

    def _condition(self, model: Model, conditioner: Conditioner, request: ResolvedRequest) -> None:
        positive, negative = conditioner.encode(request.prompt, request.negative_prompt, request.clip_skip)
        # Models distilled with a guidance embedding take the scale as an input, not as a second row.
        guided = request.guidance_scale > 1 and model.unet.config.time_cond_proj_dim is None
        lanes = [negative, positive] if guided else [positive]
        self.context = torch.cat([lane.hidden for lane in lanes])
        self.pooled: torch.Tensor | None = None
        self.time_ids: torch.Tensor | None = None
        if positive.pooled is not None:
            canvas = request.canvas
            self.pooled = torch.cat([lane.pooled for lane in lanes if lane.pooled is not None])
            size = [canvas.height, canvas.width, 0, 0, canvas.height, canvas.width]
            self.time_ids = torch.tensor([size] * len(lanes), dtype=model.device.dtype, device=model.device.device)

    def _begin(self, model: Model, request: ResolvedRequest, shape: tuple[int, int, int, int]) -> int:
        """Open the sampler over the latents to start from, drawn in the order in which diffusers draws; returns the steps."""
        device = model.device.device
        # On the processor whatever the device: a seed means the same picture everywhere, as in diffusers' examples.
        noise = torch.Generator("cpu").manual_seed(request.seeds[self.ticket.index])
        solver = model.solvers.make(request.sampler, request.schedule, request.num_inference_steps, device)
        start = 0
        if request.init_image is not None:
            known = codec.encode(model, request.init_image.data, noise)
            start = _first_step(request) * solver.order
        timesteps = solver.timesteps[start:]
        if hasattr(solver, "set_begin_index"):
            solver.set_begin_index(start)
        drawn = torch.randn(shape, generator=noise).to(device)
        if request.init_image is None:
            latents = drawn * solver.init_noise_sigma
        else:
            latents = solver.add_noise(known, drawn, timesteps[:1])
        self._steps: Generator[ModelInput, torch.Tensor, torch.Tensor] = denoise(
            solver, latents, timesteps, noise, request.eta
        )
        return len(timesteps)


def _first_step(request: ResolvedRequest) -> int:
    """Image-to-image skips the first steps; at least one is always run (diffusers would fail on none)."""
    run = min(int(request.num_inference_steps * request.strength), request.num_inference_steps)
    return request.num_inference_steps - max(run, 1)
