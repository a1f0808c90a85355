"""The models that requests may name, and the LoRAs, ControlNets and adapters that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from diffuserve.core.errors import ConfigurationError, InvalidParameter, UnknownModel
from diffuserve.core.model import AdapterInfo, ControlNetInfo, LoraInfo, ModelInfo, Steering


class Named(Protocol):
    """An entry of any kind."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...


N = TypeVar("N", bound=Named)
S = TypeVar("S", LoraInfo, ControlNetInfo, AdapterInfo)


class Catalog:
    """Finds entries by name or alias, in any case."""

    def __init__(
        self,
        models: Sequence[ModelInfo],
        default: str,
        *,
        loras: Sequence[LoraInfo] = (),
        controlnets: Sequence[ControlNetInfo] = (),
        adapters: Sequence[AdapterInfo] = (),
    ) -> None:
        """Raises ConfigurationError where two entries of a kind answer to one name, where `default` names no model, and
        where something is said to fit a model that is not there."""
        self.models = tuple(models)
        self.loras = tuple(loras)
        self.controlnets = tuple(controlnets)
        self.adapters = tuple(adapters)
        self._models = _by_name("models", self.models)
        self._loras = _by_name("LoRAs", self.loras)
        self._controlnets = _by_name("ControlNets", self.controlnets)
        self._adapters = _by_name("adapters", self.adapters)
        try:
            self.default = self.find(default)
        except UnknownModel as error:
            raise ConfigurationError(f"the default model is not in the catalog: {error.message}") from None
        self._check_models()

    def find(self, name: str | None) -> ModelInfo:
        """The model of that name or alias; the default one for None. Raises UnknownModel."""
        if name is None:
            return self.default
        found = self._models.get(_key(name))
        if found is None:
            raise UnknownModel(name, [model.name for model in self.models])
        return found

    def find_lora(self, name: str, model: ModelInfo) -> LoraInfo:
        """The LoRA of that name or alias. Raises InvalidParameter for one that is not there or does not fit `model`."""
        found = self._loras.get(_key(name))
        if found is None or not found.fits(model):
            raise _none_such("loras", "LoRA", name, model, fitting(self.loras, model))
        return found

    def find_controlnet(self, name: str, model: ModelInfo) -> ControlNetInfo:
        """The ControlNet of that name or alias, or the first one of that kind that fits `model`.

        Raises InvalidParameter for one that is not there or does not fit.
        """
        fits = fitting(self.controlnets, model)
        named = self._controlnets.get(_key(name))
        if named is not None and named.fits(model):
            return named
        for one in fits:
            if one.kind == _key(name):
                return one
        raise _none_such("controls", "ControlNet", name, model, fits)

    def find_adapter(self, name: str | None, model: ModelInfo) -> AdapterInfo:
        """The adapter of that name or alias; the first one that fits `model` for None.

        Raises InvalidParameter where there is none.
        """
        fits = fitting(self.adapters, model)
        found = self._adapters.get(_key(name)) if name is not None else next(iter(fits), None)
        if found is None or not found.fits(model):
            raise _none_such("reference", "IP-Adapter", name, model, fits)
        return found

    def _check_models(self) -> None:
        names = {model.name for model in self.models}
        steering: tuple[Steering, ...] = (*self.loras, *self.controlnets, *self.adapters)
        for entry in steering:
            for name in entry.models:
                if name not in names:
                    known = ", ".join(sorted(names))
                    raise ConfigurationError(
                        f"{entry.name} is said to fit the model {name}, which is not there; there are {known}"
                    )


def fitting(entries: Iterable[S], model: ModelInfo) -> tuple[S, ...]:
    """Those that fit, in their order."""
    return tuple(entry for entry in entries if entry.fits(model))


def _by_name(kind: str, entries: Iterable[N]) -> dict[str, N]:
    found: dict[str, N] = {}
    for entry in entries:
        for name in {_key(entry.name), *map(_key, entry.aliases)}:
            if name in found:
                raise ConfigurationError(
                    f"{kind} {found[name].name} and {entry.name} are both called {name}: rename one of them"
                )
            found[name] = entry
    return found


def _key(name: str) -> str:
    return name.strip().casefold()


def _none_such(param: str, what: str, name: str | None, model: ModelInfo, fits: Sequence[Named]) -> InvalidParameter:
    if not fits:
        return InvalidParameter(param, f"absent: this server has no {what} for the model {model.name}", name)
    return InvalidParameter(param, f"one of {', '.join(one.name for one in fits)}", name)
