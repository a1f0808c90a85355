"""One module's share of a LoRA: two factors in the module's own shapes, and how they add to what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.lora_files import Factors, Unusable

_Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """In the model's dtype, on its device. The scale stays apart: small alphas would cost half precision its digits."""

    down: torch.Tensor
    """(rank, in), of convolutions (rank, in, height, width)."""
    up: torch.Tensor
    """(out, rank), of convolutions (out, rank, 1, 1)."""
    scale: float

    @property
    def nbytes(self) -> int:
        return int(self.down.nbytes + self.up.nbytes)

    def add(self, output: torch.Tensor, given: torch.Tensor, module: Any, weight: float) -> None:
        """`output` += weight * scale * up(down(given)), in place, `module` having made the one of the other."""
        weight *= self.scale
        if isinstance(module, nn.Conv2d):
            low = functional.conv2d(given, self.down, None, module.stride, module.padding, module.dilation)
            output.add_(functional.conv2d(low, self.up), alpha=weight)
        else:
            low = functional.linear(given, self.down)
            # `view`, not `reshape`: a copy would take the sum away with it.
            output.view(-1, output.shape[-1]).addmm_(low.flatten(0, -2), self.up.t(), alpha=weight)


def targets(model: Any) -> dict[str, Any]:
    """The layers of a model that a `Pair` can change, by their names."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }


def fitted(name: str, factors: Factors, module: Any, device: Device) -> Pair:
    """The factors for `module`, which the file calls `name`. Raises Unusable where they are of another shape."""
    wanted = _shapes(module, int(factors.down.shape[0]))
    given: tuple[_Shape, _Shape] = tuple(factors.down.shape), tuple(factors.up.shape)
    # A linear layer and a 1x1 convolution are the same arithmetic, and files have the one's shapes for the other.
    if [_with_kernel(shape) for shape in given] != [_with_kernel(shape) for shape in wanted]:
        raise Unusable(
            f"its tensors of {name} are {_text(given[0])} and {_text(given[1])}, "
            f"where this model needs {_text(wanted[0])} and {_text(wanted[1])}"
        )
    down = _kept(name, factors.down.reshape(wanted[0]), device)
    return Pair(down, _kept(name, factors.up.reshape(wanted[1]), device), factors.scale)


def _shapes(module: Any, rank: int) -> tuple[_Shape, _Shape]:
    if isinstance(module, nn.Conv2d):
        return (rank, module.in_channels, *module.kernel_size), (module.out_channels, rank, 1, 1)
    return (rank, module.in_features), (module.out_features, rank)


def _kept(name: str, tensor: torch.Tensor, device: Device) -> torch.Tensor:
    # A copy in any case: the file may be replaced while the LoRA is in use.
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    tensor = tensor.to(dtype=device.dtype, copy=True, memory_format=layout)
    if not torch.isfinite(tensor).all():
        raise Unusable(f"its tensors of {name} hold numbers that {device.dtype_label} cannot")
    return tensor.to(device=device.device)


def _with_kernel(shape: _Shape) -> _Shape:
    return (*shape, *(1,) * (4 - len(shape)))


def _text(shape: _Shape) -> str:
    return "x".join(map(str, shape))
