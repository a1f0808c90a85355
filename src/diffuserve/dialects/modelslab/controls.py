"""What steers a drawing besides its words: LoRAs, ControlNets and a reference picture, from lists that pair by position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.model import ControlNetInfo, ModelInfo
from diffuserve.core.request import Control, InputImage, Lora, Preprocessor, Reference
from diffuserve.dialects.modelslab.loose import Fields
from diffuserve.dialects.modelslab.paths import Operation
from diffuserve.jobs.catalog import Catalog

_MAX_STRENGTH = 10.0
_MAX_SCALE = 2.0


@dataclass(frozen=True)
class Plan:
    """Everything but the pictures, which are looked at last."""

    nets: tuple[Control, ...]
    adapter: Reference | None = None
    adapter_name: str | None = None
    adapter_scale: float = 0.5

    def controls(self, image: InputImage | None) -> tuple[Control, ...]:
        """`image` is the map or what it is made of; None is the request's `init_image`."""
        return tuple(Control(net.model, image, net.preprocessor, net.scale) for net in self.nets)

    def reference(self, image: InputImage | None) -> Reference | None:
        return None if image is None else Reference(image, self.adapter_scale, self.adapter_name)


def loras(fields: Fields) -> tuple[Lora, ...]:
    """Raises InvalidParameter."""
    names, weights = fields.items("lora_model"), fields.numbers("lora_strength", -_MAX_STRENGTH, _MAX_STRENGTH)
    paired = _paired("lora_strength", names, weights)
    return tuple(Lora(name, weight) for name, weight in zip(names, paired, strict=True))


def plan(fields: Fields, operation: Operation, catalog: Catalog, model: ModelInfo, say: Callable[[str], None]) -> Plan:
    """`say` takes notes for the caller. Raises MissingParameter, InvalidParameter."""
    named, kinds = fields.items("controlnet_model"), fields.items("controlnet_type")
    if operation is Operation.CONTROLNET and not (named or kinds):
        raise MissingParameter("controlnet_model")
    hint = fields.flag("auto_hint", True)
    count = max(len(named), len(kinds))
    scales = _paired(
        "controlnet_conditioning_scale", [""] * count, fields.numbers("controlnet_conditioning_scale", 0, _MAX_SCALE)
    )
    nets = []
    for index in range(count):
        choices = [names[index] for names in (named, kinds) if index < len(names)]
        net = _find(catalog, choices, model)
        nets.append(Control(net.name, preprocessor=_preprocessor(net, hint, say), scale=scales[index]))
    scale = fields.number("ip_adapter_scale", 0, 1, 0.5)
    name = fields.text("ip_adapter_id").strip() or None
    if name is not None and not fields.given("ip_adapter_image"):
        raise MissingParameter("ip_adapter_image")
    if fields.given("ip_adapter_image"):
        catalog.find_adapter(name, model)
    return Plan(tuple(nets), adapter_name=name, adapter_scale=0.5 if scale is None else scale)


def _find(catalog: Catalog, choices: Sequence[str], model: ModelInfo) -> ControlNetInfo:
    """By the model's name, else by the type that stands beside it."""
    for name in choices[:-1]:
        try:
            return catalog.find_controlnet(name, model)
        except InvalidParameter:
            continue
    return catalog.find_controlnet(choices[-1], model)


def _preprocessor(net: ControlNetInfo, hint: bool, say: Callable[[str], None]) -> Preprocessor:
    if not hint:
        return Preprocessor.NONE
    if net.kind == Preprocessor.CANNY:
        return Preprocessor.CANNY
    say(f"this server makes no {net.kind} maps: the picture was taken for one")
    return Preprocessor.NONE


def _paired(param: str, names: Sequence[str], values: Sequence[float]) -> list[float]:
    """One value for each name: a single one is for all, and missing ones are 1."""
    if len(values) == 1:
        return list(values) * len(names)
    if len(values) > len(names):
        raise InvalidParameter(param, f"at most {len(names)} numbers, as many as there are names", len(values))
    return [*values, *[1.0] * (len(names) - len(values))]
