"""Entries of the catalog, requests and jobs for tests: everything has a default."""

from __future__ import annotations

from typing import Any

from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.model import AdapterInfo, ControlNetInfo, Family, LoraInfo, ModelInfo, NativeRange
from diffuserve.core.request import Canvas, GenerationRequest, ResolvedRequest
from diffuserve.jobs.catalog import Catalog


def model_info(**changes: Any) -> ModelInfo:
    values: dict[str, Any] = {
        "name": "tiny",
        "family": Family.SD15,
        "path": "/nowhere/tiny",
        "size": 64,
        "native": NativeRange(64, 128),
        "multiple": 8,
        "sampler": "euler",
        "num_inference_steps": 4,
        "guidance_scale": 7.5,
    }
    return ModelInfo(**{**values, **changes})


def catalog(*models: ModelInfo, **steering: Any) -> Catalog:
    """A catalog of `models` (or the plain `model_info()`), the first the default; `loras=` and so on as the class's."""
    entries = models or (model_info(),)
    return Catalog(entries, entries[0].name, **steering)


def lora(name: str, family: Family = Family.SD15, **changes: Any) -> LoraInfo:
    return LoraInfo(name, family, f"/nowhere/{name}.safetensors", **changes)


def controlnet(name: str, family: Family = Family.SD15, **changes: Any) -> ControlNetInfo:
    return ControlNetInfo(name, family, f"/nowhere/{name}", **changes)


def adapter(name: str, family: Family = Family.SD15, **changes: Any) -> AdapterInfo:
    return AdapterInfo(name, family, f"/nowhere/{name}.safetensors", "/nowhere/encoder", **changes)


def wish(prompt: str = "a red apple", **changes: Any) -> GenerationRequest:
    return GenerationRequest(prompt, **changes)


def resolved(**changes: Any) -> ResolvedRequest:
    values: dict[str, Any] = {
        "prompt": "a red apple",
        "negative_prompt": "",
        "model": "tiny",
        "width": 64,
        "height": 64,
        "canvas": Canvas(64, 64, 64, 64),
        "seeds": (7,),
        "num_inference_steps": 4,
        "guidance_scale": 7.5,
        "sampler": "euler",
        "schedule": "automatic",
    }
    return ResolvedRequest(**{**values, **changes})


def job(job_id: int = 1, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "account": "local",
        "dialect": "native",
        "request": resolved(),
        "status": JobStatus.QUEUED,
        "created_at": 1_800_000_000.0,
    }
    return Job(job_id, **{**values, **changes})


def artifact(index: int = 0, **changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "id": f"{index:032x}",
        "index": index,
        "blob_key": f"artifacts/2027/01/15/1/{index:032x}.png",
        "media_type": "image/png",
        "size": 123,
        "width": 64,
        "height": 64,
        "seed": 2**64 - 1 - index,
        "digest": "0" * 64,
    }
    return Artifact(**{**values, **changes})
