"""Weights laid out ahead for the processor's matrix units (oneDNN), each layer when it is first used.

Left alone, oneDNN brings a layer's weights into its own layout at every call. Packed, the same arithmetic starts at once: the
results are equal bit for bit in channels-last, and a step at batch 2 takes a tenth to a sixth less time
(`benchmarks/unet_step.py`). The packed weights
take the place of the plain ones, so nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from diffuserve.engine.diffusion.device import Device


def helps(device: Device) -> bool:
    """Packed layers are there for bfloat16 on a processor that multiplies matrices in it."""
    return (
        device.device.type == "cpu"
        and device.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def pack(model: Any) -> None:
    """Let every convolution and linear layer of `model` pack its weights at its first call. For reading only, from then on:
    a packed layer's `weight` is empty."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.forward = partial(_first, module, _linear)
        elif type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.forward = partial(_first, module, _convolution)


_Forward = Callable[[torch.Tensor], torch.Tensor]


def _first(module: Any, packed: Callable[[Any, torch.Tensor], _Forward], given: torch.Tensor) -> torch.Tensor:
    """The first call: the layout is chosen for the shape that comes now, and works for every other."""
    module.forward = packed(module, given)
    module.weight.data = module.weight.data.new_empty(0)
    return module.forward(given)


def _linear(module: Any, given: torch.Tensor) -> _Forward:
    rows = given.numel() // given.shape[-1]
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.data, rows)
    call = torch.ops.mkldnn._linear_pointwise
    return lambda x: call(x, weight, module.bias, "none", [], "")


def _convolution(module: Any, given: torch.Tensor) -> _Forward:
    shape = (list(module.padding), list(module.stride), list(module.dilation), module.groups)
    weight = torch.ops.mkldnn._reorder_convolution_weight(module.weight.data, *shape, list(given.shape))
    call = torch.ops.mkldnn._convolution_pointwise
    return lambda x: call(x, weight, module.bias, *shape, "none", [], "")
