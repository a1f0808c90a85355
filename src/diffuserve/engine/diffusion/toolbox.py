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
from diffuserve.engine.diffusion.loras import HeldLora
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
        self._wanted: dict[int, list[Volume]] = {}
        """By job."""
        self._refused: set[tuple[str, ...]] = set()
        """What was not ready when somebody asked in this turn: with thousands waiting for it, one answer is enough."""

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

    def turn(self) -> None:
        """A new turn begins: what was not ready may be now."""
        self._refused.clear()

    def ready(self, run: Run) -> bool:
        """Whether `take` has all that it needs. What went wrong with it counts as ready, and is raised by `take`."""
        if run.error is not None:
            return True
        try:
            wanted = self._volumes(run)
            names = tuple(volume.name for volume in wanted)
            if names in self._refused:
                return False
            ready = self._shelf.ready(run.job_id, wanted)
            if not ready:
                self._refused.add(names)
            return ready
        except DiffuserveError as error:
            run.error = error
            return True

    def take(self, run: Run) -> Tools:
        """The loaded tools of a run that is `ready`; they stay until it gives them back.

        Raises what loading them raised, and GenerationFailed for a ControlNet that does not fit.
        """
        if run.error is not None:
            raise run.error
        model, *rest = self._shelf.take(self._volumes(run))
        controls = len(run.request.controls)
        nets, adapters = rest[:controls], [thing for thing in rest[controls:] if isinstance(thing, IPAdapter)]
        for net in nets:
            net.require_fit(model.info, model.unet)
        return Tools(model, tuple(nets), adapters[0] if adapters else None)

    def give_back(self, run: Run) -> None:
        self._shelf.give_back(run.job_id)
        self._wanted.pop(run.job_id, None)

    def _volumes(self, run: Run) -> list[Volume]:
        """The model, the ControlNets in the order of the request's controls, the adapter if there is one, the LoRAs."""
        if run.job_id not in self._wanted:
            request = run.request
            controls = [self._controlnet(control.model) for control in request.controls]
            loras = [self._lora(lora.name, request.model) for lora in request.loras]
            self._wanted[run.job_id] = [self._model(request.model), *controls, *self._adapter(run), *loras]
        return self._wanted[run.job_id]

    def _model(self, name: str) -> Volume:
        info = _named(self._config.models, name, "model")
        options = {"compiled": self._config.compile, "exact": self._config.reproducible}
        load = partial(models.load, info, self._device, **options)
        return Volume(f"model {name}", (Path(info.path),), load)

    def _controlnet(self, name: str) -> Volume:
        info = _named(self._config.controlnets, name, "ControlNet")
        return Volume(f"ControlNet {name}", (Path(info.path),), partial(controlnet.load, info, self._device))

    def _lora(self, name: str, model: str) -> Volume:
        """In the shapes and on the device of the model, for which it is read."""
        info = _named(self._config.loras, name, "LoRA")

        def load(model: Model) -> HeldLora:
            return model.loras.take(info)

        return Volume(f"LoRA {name} of {model}", (Path(info.path),), load, of=f"model {model}")

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
