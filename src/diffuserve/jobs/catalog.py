"""The models that requests may name, and the LoRAs, ControlNets and adapters that fit them."""

from __future__ import annotations

from collections.abc import Sequence

from diffuserve.core.errors import ConfigurationError, UnknownModel
from diffuserve.core.model import AdapterInfo, ControlNetInfo, LoraInfo, ModelInfo


class Catalog:
    """Finds a model by its name or an alias, in any case."""

    def __init__(
        self,
        models: Sequence[ModelInfo],
        default: str,
        *,
        loras: Sequence[LoraInfo] = (),
        controlnets: Sequence[ControlNetInfo] = (),
        adapters: Sequence[AdapterInfo] = (),
    ) -> None:
        """Raises ConfigurationError where two models answer to one name, and where `default` names none."""
        self.models = tuple(models)
        self.loras = tuple(loras)
        self.controlnets = tuple(controlnets)
        self.adapters = tuple(adapters)
        self._by_name: dict[str, ModelInfo] = {}
        for model in self.models:
            for name in {model.name.casefold(), *(alias.casefold() for alias in model.aliases)}:
                if name in self._by_name:
                    raise ConfigurationError(
                        f"models {self._by_name[name].name} and {model.name} are both called {name}: rename one of them"
                    )
                self._by_name[name] = model
        try:
            self.default = self.find(default)
        except UnknownModel as error:
            raise ConfigurationError(f"the default model is not in the catalog: {error.message}") from None

    def find(self, name: str | None) -> ModelInfo:
        """The model of that name or alias; the default one for None. Raises UnknownModel."""
        if name is None:
            return self.default
        found = self._by_name.get(name.strip().casefold())
        if found is None:
            raise UnknownModel(name, [model.name for model in self.models])
        return found
