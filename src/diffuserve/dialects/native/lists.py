"""What requests may name, as native JSON: models and what fits them, styles, samplers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from diffuserve.core import samplers
from diffuserve.core.model import ModelInfo, Steering
from diffuserve.jobs.catalog import Catalog
from diffuserve.prompts import styles


class NativeSides(BaseModel):
    min_side: int
    max_side: int


class ModelDefaults(BaseModel):
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int


class ModelView(BaseModel):
    model_config = ConfigDict(title="Model")

    name: str
    default: bool
    family: str
    aliases: list[str]
    description: str
    languages: list[str]
    native: Annotated[NativeSides, Field(description="Sides in pixels that it draws by itself; others are scaled.")]
    hires: Annotated[bool, Field(description="Sizes beyond are drawn in two passes.")]
    inpainting: Annotated[bool, Field(description="It needs an `init_image` and a `mask`.")]
    defaults: ModelDefaults


class SteeringView(BaseModel):
    """What may be named beside a model."""

    name: str
    family: str
    aliases: list[str]
    description: str
    models: Annotated[list[str], Field(description="The models that it fits.")]


class LoraView(SteeringView):
    model_config = ConfigDict(title="Lora")


class ControlNetView(SteeringView):
    model_config = ConfigDict(title="ControlNet")

    kind: Annotated[
        str, Field(description="What its maps show. May be named in place of the name.", examples=["canny"])
    ]


class AdapterView(SteeringView):
    model_config = ConfigDict(title="Adapter")


class ModelList(BaseModel):
    models: list[ModelView]
    loras: list[LoraView]
    controlnets: list[ControlNetView]
    adapters: list[AdapterView]


class StyleView(BaseModel):
    model_config = ConfigDict(title="Style")

    id: Annotated[str, Field(examples=["line-art"])]
    name: Annotated[str, Field(examples=["Line Art"])]


class StyleList(BaseModel):
    styles: list[StyleView]


class SamplerView(BaseModel):
    model_config = ConfigDict(title="Sampler")

    id: str
    label: str
    aliases: list[str]
    schedules: list[str]


class ScheduleView(BaseModel):
    model_config = ConfigDict(title="Schedule")

    id: str
    label: str
    aliases: list[str]


class SubstituteView(BaseModel):
    """A name that is accepted although something else runs; the job's notes then say so."""

    model_config = ConfigDict(title="Substitute")

    label: str
    aliases: list[str]
    sampler: str
    schedule: str | None
    reason: str


class SamplerList(BaseModel):
    samplers: list[SamplerView]
    schedules: list[ScheduleView]
    substitutes: list[SubstituteView]


def model_list(catalog: Catalog) -> ModelList:
    return ModelList(
        models=[_model(model, model.name == catalog.default.name) for model in catalog.models],
        loras=[LoraView(**_steering(one, catalog)) for one in catalog.loras],
        controlnets=[ControlNetView(kind=one.kind, **_steering(one, catalog)) for one in catalog.controlnets],
        adapters=[AdapterView(**_steering(one, catalog)) for one in catalog.adapters],
    )


def style_list() -> StyleList:
    return StyleList(styles=[StyleView(id=style.slug, name=style.name) for style in styles.STYLES])


def sampler_list() -> SamplerList:
    return SamplerList(
        samplers=[
            SamplerView(id=s.id, label=s.label, aliases=list(s.aliases), schedules=sorted(s.schedules))
            for s in samplers.SAMPLERS.values()
        ],
        schedules=[ScheduleView(id=s.id, label=s.label, aliases=list(s.aliases)) for s in samplers.SCHEDULES.values()],
        substitutes=[
            SubstituteView(
                label=s.label, aliases=list(s.aliases), sampler=s.sampler, schedule=s.schedule, reason=s.reason
            )
            for s in samplers.substitutes()
        ],
    )


def _model(model: ModelInfo, default: bool) -> ModelView:
    return ModelView(
        name=model.name,
        default=default,
        family=model.family.value,
        aliases=list(model.aliases),
        description=model.description,
        languages=list(model.languages),
        hires=model.hires,
        inpainting=model.inpainting,
        native=NativeSides(min_side=model.native.min_side, max_side=model.native.max_side),
        defaults=ModelDefaults(
            sampler=model.sampler,
            num_inference_steps=model.num_inference_steps,
            guidance_scale=model.guidance_scale,
            width=model.size,
            height=model.size,
        ),
    )


def _steering(one: Steering, catalog: Catalog) -> dict[str, Any]:
    return {
        "name": one.name,
        "family": one.family.value,
        "aliases": list(one.aliases),
        "description": one.description,
        "models": [model.name for model in catalog.models if one.fits(model)],
    }
