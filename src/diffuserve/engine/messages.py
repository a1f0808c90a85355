"""All that the server and an engine process say to each other: small frozen dataclasses, and the engine's settings."""

from __future__ import annotations

from dataclasses import dataclass

from diffuserve.core.events import EngineEvent
from diffuserve.core.model import AdapterInfo, ControlNetInfo, LoraInfo, ModelInfo
from diffuserve.core.request import ResolvedRequest


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine process must know before it loads anything."""

    models: tuple[ModelInfo, ...]
    default_model: str
    """The name of the model that is loaded before the engine is ready; the others are loaded on first use."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""
    dtype: str = "auto"
    """`auto`, `float32`, `bfloat16`, `float16`."""
    threads: int | None = None
    max_batch: int = 16
    """Most rows in one forward pass."""
    reproducible: bool = False
    compile: bool = False
    loras: tuple[LoraInfo, ...] = ()
    controlnets: tuple[ControlNetInfo, ...] = ()
    adapters: tuple[AdapterInfo, ...] = ()
    model_memory: float | None = None
    """GiB that loaded models may take together; what was used longest ago is let go. None: what the device has room for."""


# From the server to the engine process.


@dataclass(frozen=True, slots=True)
class Configure:
    """The first message, once."""

    config: EngineConfig


@dataclass(frozen=True, slots=True)
class Generate:
    """Draw. The request's pictures hold their data, already fitted to the canvas; a control's is the map itself."""

    job_id: int
    request: ResolvedRequest
    account: str = ""
    """Who asks: accounts share the engine evenly."""
    priority: int = 0
    """Higher gets a larger share of the steps, -100..100."""


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop now. Running jobs get no further event."""


Command = Configure | Generate | Cancel | Shutdown


# From the engine process to the server.


@dataclass(frozen=True, slots=True)
class Ready:
    """The default model is loaded."""

    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The engine will never be ready; the process ends. `message` is one sentence that says how to mend it."""

    message: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    job_id: int
    event: EngineEvent


@dataclass(frozen=True, slots=True)
class Counters:
    """Sent about once a second while there is work, and once when it ends. Totals since the process started."""

    running: int
    waiting: int
    forwards: int
    rows: int
    step_seconds: float
    encodings: int = 0
    """Prompts that were needed as embeddings."""
    encoding_hits: int = 0
    """Those of them that were found in the cache."""
    memory_bytes: int = 0
    """Of the process, now."""
    models: tuple[str, ...] = ()
    """Loaded, the least recently used first."""
    loading: tuple[str, ...] = ()
    """Being read from disk: models, ControlNets, adapters."""


Report = Ready | LoadFailed | JobEvent | Counters
