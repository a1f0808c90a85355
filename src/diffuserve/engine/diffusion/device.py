"""Where to compute and in what precision: the device, the dtype, the number of threads."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from diffuserve.core.errors import ConfigurationError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Device:
    """One device of this process and the dtype of everything that a model holds on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def label(self) -> str:
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        return str(self.device)

    @property
    def dtype_label(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose(device: str = "auto", dtype: str = "auto", threads: int | None = None) -> Device:
    """The device that was asked for, or the best there is.

    'auto' takes CUDA, then Apple's MPS, then the processor; float16 on GPUs; on a processor bfloat16 where it multiplies
    matrices in it (AMX or AVX-512 BF16), else float32. Raises ConfigurationError for a device that is not there.
    """
    chosen = torch.device(_best() if device == "auto" else _checked(device))
    if chosen.type == "cpu":
        torch.set_num_threads(threads or physical_cores())
    return Device(chosen, _DTYPES.get(dtype) or _best_dtype(chosen))


def physical_cores() -> int:
    """Cores that this process may use; hyper-threads of one core do not add to dense arithmetic."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_core_of(cpu) for cpu in allowed}
    return max(1, len(cores))


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    capabilities = torch.backends.cpu.get_cpu_capability() if torch.backends.cpu else ""
    flags = _cpu_flags()
    return "amx_bf16" in flags or "avx512_bf16" in flags or ("bf16" in flags and capabilities == "SVE256")


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _checked(device: str) -> str:
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ConfigurationError(f"device {device!r} is not known; use auto, cpu, cuda, cuda:N or mps") from None
    if wanted.type == "cuda" and not (torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count()):
        raise ConfigurationError(
            f"device {device} is not available: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices; "
            "install a CUDA build of torch or use --device cpu"
        )
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError("device mps is not available on this machine; use --device cpu")
    return device


def _best_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.bfloat16 if has_bfloat16_units() else torch.float32
    return torch.float16


def _core_of(cpu: int) -> tuple[str, str]:
    base = f"/sys/devices/system/cpu/cpu{cpu}/topology"
    return _read(f"{base}/physical_package_id") or "0", _read(f"{base}/core_id") or str(cpu)


def _cpu_flags() -> frozenset[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 - a kernel file
            return file.read().strip()
    except OSError:
        return ""
