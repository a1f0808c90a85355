"""One step's UNet call by everybody who is compared, on the same inputs: ours, diffusers eager, OpenVINO."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from diffuserve.checkpoints import inspect
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion import device, models
from diffuserve.engine.diffusion.forward import Buckets, forward
from diffuserve.engine.diffusion.sample import Run, Sample, Ticket, Tools
from racing import Runner

GUIDANCE = 5.0
SMALL = 200_000_000
"""Parameters of a UNet that everything is quick with."""


class Contest:
    """The checkpoint in `folder`, drawing squares of `size` pixels (its own size where that is None)."""

    def __init__(self, folder: Path, size: int | None = None) -> None:
        self.model = models.load(inspect.describe(folder, "it"), self.device())
        self.size = size or self.model.info.size
        self._unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=self.device().dtype).eval()
        self._last = copy.deepcopy(self._unet).to(memory_format=torch.channels_last)

    @staticmethod
    def device() -> device.Device:
        return device.choose("cpu")

    @property
    def small(self) -> bool:
        return int(self._unet.num_parameters()) < SMALL

    def ours(self, rows: int) -> Runner:
        samples = self._samples(rows)
        return lambda: forward(self.model, samples, Buckets())

    def eager(self, rows: int, *, channels_last: bool = False) -> Runner:
        unet = self._last if channels_last else self._unet
        latents, timestep, context = self._inputs(rows)
        if channels_last:
            latents = latents.contiguous(memory_format=torch.channels_last)
        return lambda: unet(latents, timestep, context, return_dict=False)[0]

    def openvino(self, rows: int) -> Runner:
        """Raises whatever keeps it from being converted."""
        # Unless that package is missing, converting a model reports to its makers.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        inputs = tuple(tensor.to(torch.float32) for tensor in self._inputs(rows))
        converted = openvino.convert_model(
            _Wide(self._unet), example_input=inputs, input=[tuple(tensor.shape) for tensor in inputs]
        )
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {torch.bfloat16: "bf16"}.get(self.device().dtype, "f32"),
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        request = openvino.Core().compile_model(converted, "CPU", options).create_infer_request()
        arrays = [tensor.numpy() for tensor in inputs]
        return lambda: torch.from_numpy(request.infer(arrays, share_inputs=True, share_outputs=True)[0])

    def difference(self, rows: int, runner: Runner) -> float:
        """Of a runner's answer from eager's, guidance applied: the mean as a share of eager's mean size."""
        theirs, others = self._guided(self.eager(rows)()), self._guided(runner())
        return round(float((others - theirs).abs().mean() / theirs.abs().mean()), 4)

    def _guided(self, answer: Any) -> torch.Tensor:
        if isinstance(answer, list):  # ours: one a sample, guidance applied
            return torch.cat(answer)
        negative, positive = answer.to(torch.float32)[0::2], answer.to(torch.float32)[1::2]
        return negative + GUIDANCE * (positive - negative)

    def operations(self, rows: int) -> int:
        """Multiplications and additions of matrix products, convolutions and attention, counted without computing."""
        inputs = [torch.empty(tensor.shape, device="meta") for tensor in self._inputs(rows)]
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(self._unet.config)
        with FlopCounterMode(display=False) as counter:
            unet(*inputs)
        return int(counter.get_total_flops())

    def _samples(self, rows: int) -> list[Sample]:
        size, info = self.size, self.model.info
        request = ResolvedRequest(
            "a rocket",
            "",
            info.name,
            size,
            size,
            Canvas(size, size, size, size),
            (1,),
            20,
            GUIDANCE,
            "euler",
            "automatic",
        )
        return [Sample(Ticket(Run(job, request, 1), 0), Tools(self.model)) for job in range(rows // 2)]

    def _inputs(self, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        samples, dtype = self._samples(rows), self.device().dtype
        latents = torch.cat([sample.next.latents for sample in samples for _ in range(sample.lanes)])
        context = torch.cat([sample.context for sample in samples])
        return latents.to(dtype), samples[0].next.timestep, context.to(dtype)


class _Wide(torch.nn.Module):
    """The UNet with inputs and outputs in float32, which numpy knows."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        dtype = self.unet.dtype
        return self.unet(latents.to(dtype), timestep, context.to(dtype), return_dict=False)[0].to(torch.float32)
