"""What a request draws with, by name: its model, LoRAs, ControlNets and adapter, taken from the shelf or read for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from diffuserve.core.errors import ConfigurationError, DiffuserveError
from diffuserve.engine.diffusion import controlnet, ip_adapter, models, shelf
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.ip_adapter import IPAdapter
from diffuserve.engine.diffusion.models import Model
from diffuserve.engine.diffusion.sample import Run, Tools
from diffuserve.engine.diffusion.shelf import Shelf, Volume
from diffuserve.engine.messages import EngineConfig

_HALF_ON_DISK = 2.0


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


class Toolbox:
    def __init__(self, config: EngineConfig, device: Device) -> None:
        self._config = config
        self._device = device
        # What is float16 on disk, as most files are, takes twice as much where it is used in full.
        expansion = _HALF_ON_DISK if device.dtype == torch.float32 else 1.0
        self._shelf = Shelf(shelf.budget(device, config.model_memory), expansion)

    @property
    def models(self) -> list[Model]:
        """Those that are loaded, the least recently used first."""
        return [thing for thing in self._shelf.loaded.values() if isinstance(thing, Model)]

    @property
    def loading(self) -> tuple[str, ...]:
        return self._shelf.loading

    def load_default(self) -> Model:
        """Raises ConfigurationError."""
        model: Model = self._shelf.load_now(self._model(self._config.default_model))
        return model

    def wait(self, seconds: float) -> None:
        """Until a loading ends, at most so long; returns at once where there is none."""
        self._shelf.wait(seconds)

    def ready(self, run: Run) -> bool:
        """Whether `take` has all that it needs. What went wrong with it counts as ready, and is raised by `take`."""
        if run.error is not None:
            return True
        try:
            return self._shelf.ready(run.job_id, self._volumes(run))
        except DiffuserveError as error:
            run.error = error
            return True

    def take(self, run: Run) -> Tools:
        """The loaded tools of a run that is `ready`; they stay until it gives them back.

        Raises what loading them raised, and GenerationFailed for a LoRA that does not fit.
        """
        if run.error is not None:
            raise run.error
        model, *rest = self._shelf.take(self._volumes(run))
        controls = len(run.request.controls)
        nets, adapters = rest[:controls], rest[controls:]
        for net in nets:
            net.require_fit(model.info, model.unet)
        for lora in run.request.loras:
            model.loras.read(_named(self._config.loras, lora.name, "LoRA"))
        return Tools(model, tuple(nets), adapters[0] if adapters else None)

    def give_back(self, run: Run) -> None:
        self._shelf.give_back(run.job_id)

    def _volumes(self, run: Run) -> list[Volume]:
        """The model, the ControlNets in the order of the request's controls, and the adapter if there is one."""
        controls = [self._controlnet(control.model) for control in run.request.controls]
        return [self._model(run.request.model), *controls, *self._adapter(run)]

    def _model(self, name: str) -> Volume:
        info = _named(self._config.models, name, "model")
        options = {"compiled": self._config.compile, "exact": self._config.reproducible}
        load = partial(models.load, info, self._device, **options)
        return Volume(f"model {name}", (Path(info.path),), load)

    def _controlnet(self, name: str) -> Volume:
        info = _named(self._config.controlnets, name, "ControlNet")
        return Volume(f"ControlNet {name}", (Path(info.path),), partial(controlnet.load, info, self._device))

    def _adapter(self, run: Run) -> list[Volume]:
        """Made for the model, whose attention it extends."""
        reference = run.request.reference
        if reference is None or reference.adapter is None:
            return []
        info = _named(self._config.adapters, reference.adapter, "adapter")
        model = _named(self._config.models, run.request.model, "model").name

        def load(model: Model) -> IPAdapter:
            return ip_adapter.load(info, model.unet, self._device)

        paths = (Path(info.path), Path(info.image_encoder))
        return [Volume(f"adapter {info.name} of {model}", paths, load, of=f"model {model}")]


def _named(entries: Iterable[N], name: str, kind: str) -> N:
    for entry in entries:
        if entry.name == name:
            return entry
    raise ConfigurationError(f"the engine was not told of a {kind} {name}")
