"""One picture being drawn (`Sample`), the job it belongs to (`Run`), what must match to share a forward (`BatchKey`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from diffuserve.core.errors import DiffuserveError
from diffuserve.core.model import Family
from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.diffusion import controlnet
from diffuserve.engine.diffusion.controlnet import ControlNet
from diffuserve.engine.diffusion.denoise import ModelInput
from diffuserve.engine.diffusion.ip_adapter import IPAdapter
from diffuserve.engine.diffusion.models import Model
from diffuserve.engine.diffusion.passes import way

PRIORITY_STEP = 25.0
"""So many points of priority double a job's share of the steps."""


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Rows with equal keys can stand in one tensor. Prompt, seed, sampler, step, guidance, strength, masks and the weights of
    LoRAs, controls and references are free."""

    model: str
    latent_height: int
    latent_width: int
    tokens: int
    """Length of the text context. Padding it would change the picture, so it must match."""
    controls: tuple[str, ...] = ()
    """ControlNets that act at this step."""
    adapter: str | None = None
    lora: bool = False
    """Of a compiled model: whether any LoRA is mixed in, since those are drawn by the UNet that is not compiled. Else any
    mixes share a forward, with each other and with none."""


@dataclass(slots=True)
class Run:
    """One job inside the engine: its samples' common account."""

    job_id: int
    request: ResolvedRequest
    pictures_left: int
    account: str = ""
    priority: int = 0
    steps_done: int = 0
    steps_total: int = 0
    started: bool = False
    device_seconds: float = 0.0
    reported_at: float = field(default=float("-inf"))
    """When progress was last told, by a monotonic clock."""
    error: DiffuserveError | None = None
    """Why its tools could not be loaded."""
    reference: tuple[torch.Tensor, torch.Tensor] | None = None
    """What the adapter sees in the reference picture: (positive, negative), for all of the job's pictures."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A picture that waits to be admitted: nothing is computed for it yet."""

    run: Run
    index: int

    @property
    def job_id(self) -> int:
        return self.run.job_id

    @property
    def account(self) -> str:
        return self.run.account

    @property
    def weight(self) -> float:
        return float(2 ** (self.run.priority / PRIORITY_STEP))


@dataclass(frozen=True, slots=True, eq=False)
class Tools:
    """All that is loaded for one request: its model, the ControlNets of its controls in order, its adapter."""

    model: Model
    controlnets: tuple[ControlNet, ...] = ()
    adapter: IPAdapter | None = None


class Sample:
    """One picture mid-denoise. Owns its sampler, its place on the schedule, its guidance and its source of noise."""

    __slots__ = ("_steps", "context", "done", "guidance", "image", "next", "pooled", "run", "ticket", "tools", "total")

    def __init__(self, ticket: Ticket, tools: Tools) -> None:
        """Encode the prompts and the pictures, and take the sampler to its first question.

        Raises ValueError where the sampler refuses the number of steps.
        """
        request = ticket.run.request
        self.ticket, self.run, self.tools = ticket, ticket.run, tools
        self.guidance = request.guidance_scale
        self._condition(tools.model, request)
        self._refer(request)
        chosen = way(tools.model, request, ticket.index, tools.controlnets)
        self._steps, self.total, self.done = chosen.steps, chosen.count, 0
        self.next: ModelInput = next(self._steps)

    @property
    def key(self) -> BatchKey:
        """As of the next step: a second pass has another size, and a control may act for a while only."""
        latents = self.next.latents
        return BatchKey(
            self.tools.model.info.name,
            latents.shape[2],
            latents.shape[3],
            self.context.shape[1],
            tuple(self.tools.controlnets[i].info.name for i in self.acting),
            self.tools.adapter.info.name if self.tools.adapter else None,
            self.tools.model.compiled is not None and bool(self.run.request.loras),
        )

    @property
    def acting(self) -> tuple[int, ...]:
        """The request's controls that act at the next step, by their place, in the order of their ControlNets' names."""
        controls, coming = self.run.request.controls, self.next
        if not controls:
            return ()
        acting = (i for i, one in enumerate(controls) if controlnet.active(one, coming.step, coming.steps))
        return tuple(sorted(acting, key=lambda i: self.tools.controlnets[i].info.name))

    @property
    def lanes(self) -> int:
        """Rows that it takes in a forward pass: with guidance one for the negative prompt, too."""
        return int(self.context.shape[0])

    @property
    def pixels(self) -> int:
        """Cells of its latents: what a lane costs, for a start."""
        return int(self.next.latents.shape[2] * self.next.latents.shape[3])

    @property
    def job_id(self) -> int:
        return self.run.job_id

    @property
    def account(self) -> str:
        return self.run.account

    @property
    def weight(self) -> float:
        return self.ticket.weight

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

    def _condition(self, model: Model, request: ResolvedRequest) -> None:
        # Models distilled with a guidance embedding take the scale as an input, not as a second row.
        guided = request.guidance_scale > 1 and model.unet.config.time_cond_proj_dim is None
        # What nobody reads must not lengthen the prompt's context either.
        negative_prompt = request.negative_prompt if guided else ""
        positive, negative = model.conditioner.encode(request.prompt, negative_prompt, request.clip_skip, request.loras)
        lanes = [negative, positive] if guided else [positive]
        self.context = torch.cat([lane.hidden for lane in lanes])
        self.pooled: torch.Tensor | None = None
        if model.info.family is Family.SDXL:
            self.pooled = torch.cat([lane.pooled for lane in lanes if lane.pooled is not None])

    def _refer(self, request: ResolvedRequest) -> None:
        """What the adapter reads, one row a lane: nothing at all for the negative prompt."""
        self.image: torch.Tensor | None = None
        if self.tools.adapter is None or request.reference is None:
            return
        if self.run.reference is None:
            self.run.reference = self.tools.adapter.embed(request.reference.image.data)
        positive, negative = self.run.reference
        self.image = torch.cat([negative, positive] if self.lanes == 2 else [positive])
