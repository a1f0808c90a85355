"""What a server's owner lists (`[[models]]`, `[[loras]]`, `[[controlnets]]`, `[[adapters]]`), as the catalog that requests
name things from."""

from __future__ import annotations

from diffuserve.checkpoints.card import Overrides
from diffuserve.checkpoints.collect import Entry, collect
from diffuserve.checkpoints.entries import AdapterEntry, ControlNetEntry, LoraEntry
from diffuserve.checkpoints.steering import collect_steering
from diffuserve.config import Settings
from diffuserve.jobs.catalog import Catalog


def catalog(settings: Settings) -> Catalog:
    """Everything that requests may name. Raises ConfigurationError for what is missing, incomplete, a pickle, or of a
    kind that is not supported."""
    models, default = collect(models_of(settings), settings.model)
    found = collect_steering(models, loras_of(settings), controlnets_of(settings), adapters_of(settings))
    return Catalog(models, default, loras=found.loras, controlnets=found.controlnets, adapters=found.adapters)


def models_of(settings: Settings) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            entry.name,
            entry.path,
            Overrides(
                aliases=tuple(entry.aliases),
                description=entry.description,
                sampler=entry.sampler,
                num_inference_steps=entry.num_inference_steps,
                guidance_scale=entry.guidance_scale,
                native_min=entry.native_min,
                native_max=entry.native_max,
                hires=entry.hires,
            ),
        )
        for entry in settings.models
    )


def loras_of(settings: Settings) -> tuple[LoraEntry, ...]:
    return tuple(
        LoraEntry(one.name, one.path, tuple(one.models), tuple(one.aliases), one.description) for one in settings.loras
    )


def controlnets_of(settings: Settings) -> tuple[ControlNetEntry, ...]:
    return tuple(
        ControlNetEntry(one.name, one.path, one.kind, tuple(one.models), tuple(one.aliases), one.description)
        for one in settings.controlnets
    )


def adapters_of(settings: Settings) -> tuple[AdapterEntry, ...]:
    return tuple(
        AdapterEntry(one.name, one.path, one.image_encoder, tuple(one.models), tuple(one.aliases), one.description)
        for one in settings.adapters
    )
