"""diffusers' own pipelines as one painter: it draws any `ResolvedRequest`, so a test says only what is asked.

`Kit` is one family's model with everything that may steer it, once as files for our engine and once as diffusers reads them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from diffuserve.core.model import AdapterInfo, ControlNetInfo, Family, LoraInfo, ModelInfo
from diffuserve.core.request import InputImage, ResolvedRequest, Upscaler
from diffuserve.core.samplers import SAMPLERS, SCHEDULES
from support import lora_files, tiny_controls, tiny_models

TEXT, IMAGE, INPAINT = "text", "image", "inpaint"
PIPELINES: Mapping[Family, Mapping[tuple[str, bool], Any]] = {
    Family.SD15: {
        (TEXT, False): diffusers.StableDiffusionPipeline,
        (IMAGE, False): diffusers.StableDiffusionImg2ImgPipeline,
        (INPAINT, False): diffusers.StableDiffusionInpaintPipeline,
        (TEXT, True): diffusers.StableDiffusionControlNetPipeline,
        (IMAGE, True): diffusers.StableDiffusionControlNetImg2ImgPipeline,
        (INPAINT, True): diffusers.StableDiffusionControlNetInpaintPipeline,
    },
    Family.SDXL: {
        (TEXT, False): diffusers.StableDiffusionXLPipeline,
        (IMAGE, False): diffusers.StableDiffusionXLImg2ImgPipeline,
        (INPAINT, False): diffusers.StableDiffusionXLInpaintPipeline,
        (TEXT, True): diffusers.StableDiffusionXLControlNetPipeline,
        (IMAGE, True): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
        (INPAINT, True): diffusers.StableDiffusionXLControlNetInpaintPipeline,
    },
}
"""By what they begin with, and whether ControlNets steer them."""
LATENT_MODES = {
    Upscaler.LATENT: "bilinear",
    Upscaler.LATENT_BICUBIC: "bicubic",
    Upscaler.LATENT_NEAREST: "nearest-exact",
}
FILTERS = {Upscaler.LANCZOS: Image.Resampling.LANCZOS, Upscaler.NEAREST: Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Kit:
    """What one family has: the model "tiny", its inpainting twin "nine", ControlNets "edges" and "depths", the LoRAs a to e
    (e has no text encoder layers), the adapters "base" and "plus"."""

    family: Family
    models: Mapping[str, Path]
    controlnets: Mapping[str, Path]
    loras: Mapping[str, Path]
    adapters: Mapping[str, Path]
    image_encoder: Path

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        return tuple(tiny_models.info(path, self.family, name) for name, path in self.models.items())

    @property
    def tools(self) -> dict[str, Any]:
        """What an engine must be told beside its models."""
        return {
            "loras": tuple(LoraInfo(name, self.family, str(path)) for name, path in self.loras.items()),
            "controlnets": tuple(
                ControlNetInfo(name, self.family, str(path)) for name, path in self.controlnets.items()
            ),
            "adapters": tuple(
                AdapterInfo(name, self.family, str(path), str(self.image_encoder))
                for name, path in self.adapters.items()
            ),
        }


def equip(root: Path, family: Family, model: Path) -> Kit:
    """Save a kit for `model` under `root`."""
    root.mkdir(parents=True, exist_ok=True)
    pipeline = PIPELINES[family][TEXT, False].from_pretrained(model)
    parts = {name: part for name in _PARTS[family] if (part := getattr(pipeline, name)) is not None}
    loras = {}
    for seed, name in enumerate("abcde", start=1):
        changed = parts if name != "e" else {"unet": parts["unet"]}
        changes = lora_files.random_lora(changed, seed, rank=2 + seed)
        loras[name] = lora_files.write(root / f"{name}.safetensors", lora_files.kohya(changes))
    return Kit(
        family,
        {"tiny": model, "nine": _inpainting(pipeline, root / "nine")},
        {
            name: tiny_controls.save_controlnet(root / name, model, seed=seed)
            for name, seed in (("edges", 21), ("depths", 22))
        },
        loras,
        {kind: tiny_controls.save_adapter(root / f"{kind}.safetensors", model, kind) for kind in ("base", "plus")},
        tiny_controls.save_image_encoder(root / "image_encoder"),
    )


_PARTS = {Family.SD15: ("unet", "text_encoder"), Family.SDXL: ("unet", "text_encoder", "text_encoder_2")}


def _inpainting(pipeline: Any, folder: Path) -> Path:
    """The same model with a UNet of nine channels."""
    torch.manual_seed(9)
    config = {**pipeline.unet.config, "in_channels": 9}
    pipeline.unet = diffusers.UNet2DConditionModel.from_config(config)
    pipeline.save_pretrained(folder)
    return folder


class Stock:
    """The stock pipelines over a kit, in float32."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._bases: dict[str, Any] = {}
        self._controlnets: dict[str, Any] = {}

    def draw(self, asked: ResolvedRequest, *, tiled: bool = False, **changes: Any) -> np.ndarray:
        """The request's first picture; `changes` are given to a pipeline that is called once instead of what it would get."""
        base = self._base(asked)
        if tiled:
            base.vae.enable_tiling()
        try:
            return np.asarray(self._draw(base, asked, changes))
        finally:
            base.vae.disable_tiling()

    def _draw(self, base: Any, asked: ResolvedRequest, changes: Mapping[str, Any]) -> Image.Image:
        canvas, hires = asked.canvas, asked.hires
        if hires is None:
            size = (canvas.width, canvas.height)
            return _only(self._call(base, asked, *size, asked.init_image, asked.strength, **changes))
        pixels = hires.upscaler in FILTERS
        first = self._call(base, asked, hires.width, hires.height, None, 1.0, output_type="pil" if pixels else "latent")
        if pixels:
            begun = _only(first).resize((canvas.width, canvas.height), FILTERS[hires.upscaler])
        else:
            factor = tiny_models.FACTOR
            begun = torch.nn.functional.interpolate(
                first.images, (canvas.height // factor, canvas.width // factor), mode=LATENT_MODES[hires.upscaler]
            )
        steps = hires.num_inference_steps
        return _only(
            self._call(base, asked, canvas.width, canvas.height, begun, hires.strength, num_inference_steps=steps)
        )

    def _call(
        self, base: Any, asked: ResolvedRequest, width: Any, height: Any, begun: Any, strength: float, **changes: Any
    ) -> Any:
        kind = TEXT if begun is None else INPAINT if asked.inpaint else IMAGE
        settings: dict[str, Any] = {
            "prompt": asked.prompt,
            "negative_prompt": asked.negative_prompt or None,
            "num_inference_steps": asked.num_inference_steps,
            "guidance_scale": asked.guidance_scale,
            "eta": asked.eta,
            "generator": torch.Generator("cpu").manual_seed(asked.seeds[0]),
        }
        if kind != TEXT:
            settings |= {"image": opened(begun) if isinstance(begun, InputImage) else begun, "strength": strength}
        if kind != IMAGE:
            settings |= {"width": width, "height": height}
        if asked.inpaint is not None:
            settings["mask_image"] = opened(asked.inpaint.mask).convert("L")
        if asked.controls:
            settings |= {"width": width, "height": height, **_controls(asked, kind, (width, height))}
        if asked.reference is not None:
            settings["ip_adapter_image"] = opened(asked.reference.image)
        return self._pipeline(base, asked, kind)(**{**settings, **changes})

    def _pipeline(self, base: Any, asked: ResolvedRequest, kind: str) -> Any:
        parts = dict(base.components)
        if asked.controls:
            nets = [self._controlnet(control.model) for control in asked.controls]
            parts["controlnet"] = nets[0] if len(nets) == 1 else nets
        if self._kit.family is Family.SD15:
            parts["requires_safety_checker"] = False
        pipeline = PIPELINES[self._kit.family][kind, bool(asked.controls)](**parts)
        pipeline.set_progress_bar_config(disable=True)
        sampler = SAMPLERS[asked.sampler]
        options = {**sampler.options, **SCHEDULES[asked.schedule].options}
        pipeline.scheduler = getattr(diffusers, sampler.class_name).from_config(base.scheduler.config, **options)
        return pipeline

    def _base(self, asked: ResolvedRequest) -> Any:
        """The text-to-image pipeline, anew where something is attached to its modules."""
        if not asked.loras and asked.reference is None:
            if asked.model not in self._bases:
                self._bases[asked.model] = self._load(asked.model)
            return self._bases[asked.model]
        base = self._load(asked.model)
        for lora in asked.loras:
            path = self._kit.loras[lora.name]
            base.load_lora_weights(path.parent, weight_name=path.name, adapter_name=lora.name)
        if asked.loras:
            base.set_adapters([lora.name for lora in asked.loras], [lora.weight for lora in asked.loras])
        if asked.reference is not None:
            path = self._kit.adapters[asked.reference.adapter or ""]
            encoder = self._kit.image_encoder.name
            base.load_ip_adapter(str(path.parent), subfolder="", weight_name=path.name, image_encoder_folder=encoder)
            base.set_ip_adapter_scale(asked.reference.scale)
        return base

    def _load(self, model: str) -> Any:
        text = PIPELINES[self._kit.family][TEXT, False]
        return text.from_pretrained(self._kit.models[model], dtype=torch.float32)

    def _controlnet(self, name: str) -> Any:
        if name not in self._controlnets:
            self._controlnets[name] = diffusers.ControlNetModel.from_pretrained(self._kit.controlnets[name])
        return self._controlnets[name]


def _controls(asked: ResolvedRequest, kind: str, size: tuple[int, int]) -> dict[str, Any]:
    columns = {
        "image" if kind == TEXT else "control_image": [_fitted(control.image, size) for control in asked.controls],
        "controlnet_conditioning_scale": [control.scale for control in asked.controls],
        "control_guidance_start": [control.start for control in asked.controls],
        "control_guidance_end": [control.end for control in asked.controls],
    }
    return {name: column[0] if len(column) == 1 else column for name, column in columns.items()}


def _fitted(image: InputImage | None, size: tuple[int, int]) -> Image.Image:
    """At the size of the pass: the first of two is smaller than the map."""
    assert image is not None
    return opened(image).resize(size, Image.Resampling.LANCZOS)


def _only(drawn: Any) -> Image.Image:
    [image] = drawn.images
    assert np.asarray(image).std() > 1, "the oracle drew nothing, so equality would prove nothing"
    return image


def opened(image: InputImage) -> Image.Image:
    with Image.open(io.BytesIO(image.data)) as file:
        return file.convert("RGB")


def grain(width: int, height: int, seed: int) -> Image.Image:
    """A picture of soft random colours: no two seeds alike, no symmetry."""
    random = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(random).resize((width, height), Image.Resampling.BICUBIC)


def blot(width: int, height: int) -> Image.Image:
    """A mask whose edge keeps to no grid and is grey for some pixels, so that the threshold matters."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    far = np.hypot((x - 0.6 * width) / width, (y - 0.4 * height) / height)
    return Image.fromarray((np.clip(2.5 - 6 * far, 0, 1) * 255).astype(np.uint8)).convert("RGB")
