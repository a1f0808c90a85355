"""`diffuserve generate`: the flags of drawing without a server. `drawing.py` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffuserve.cli import options
from diffuserve.core.request import PictureFormat


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where to write it: a .png, .jpg or .webp file.", show_default=False),
    ],
    model: options.Model = None,
    negative_prompt: Annotated[str, typer.Option(help="What not to draw.", show_default=False)] = "",
    width: Annotated[int | None, typer.Option(help="Pixels. [default: the model's]", show_default=False)] = None,
    height: Annotated[int | None, typer.Option(help="Pixels. [default: the model's]", show_default=False)] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps. [default: the model's]", show_default=False)
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(
            help="How closely to follow the prompt; 1 is not at all. [default: the model's]", show_default=False
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="See `diffuserve samplers`. [default: the model's]", show_default=False)
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Spacing of the steps, such as karras.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed draws the same picture; more pictures count on from it.", show_default=False),
    ] = None,
    num_images: Annotated[int, typer.Option(help="How many; several become name-1.png, name-2.png ...")] = 1,
    init_image: Annotated[
        Path | None, typer.Option(help="A picture to begin with.", show_default=False, exists=True, dir_okay=False)
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How much of --init-image may change, up to 1. [default: 0.75]", show_default=False),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Repaint only its white part of --init-image.", show_default=False, exists=True, dir_okay=False
        ),
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="Words put around the prompt, such as line-art.", show_default=False)
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:WEIGHT]", help="Mix in a LoRA; may be repeated. See `diffuserve models`.", show_default=False
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH[:SCALE]",
            help="Keep to the structure of a picture, by a ControlNet or a kind of it (canny=house.jpg); may be repeated.",
            show_default=False,
        ),
    ] = None,
    control_map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH[:SCALE]", help="The same, but the picture is the map already.", show_default=False
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Take on the content of a picture, by an IP-Adapter.", show_default=False, exists=True, dir_okay=False
        ),
    ] = None,
    reference_scale: Annotated[
        float | None, typer.Option(help="How much it counts, 0 to 1. [default: 0.5]", show_default=False)
    ] = None,
    reference_face: Annotated[bool, typer.Option("--reference-face", help="Only its face counts.")] = False,
    hires: Annotated[
        bool, typer.Option("--hires", help="Draw small, then enlarge and refine, within the native sizes too.")
    ] = False,
    variation_seed: Annotated[
        int | None,
        typer.Option(help="Vary the picture of --seed towards that of this one. [default: random]", show_default=False),
    ] = None,
    variation_strength: Annotated[float | None, typer.Option(help="How far, 0 to 1.", show_default=False)] = None,
    form: Annotated[
        PictureFormat | None, typer.Option("--format", help="[default: as the file is called]", show_default=False)
    ] = None,
    quality: Annotated[
        int | None, typer.Option(help="Of JPEG and WebP, 1 to 100. [default: 92]", show_default=False)
    ] = None,
    dtype: options.DtypeOption = None,
    device: options.Device = None,
    threads: options.Threads = None,
    config: options.Config = None,
) -> None:
    """Draw a picture without a server."""
    from diffuserve import logs
    from diffuserve.cli.asking import Wish
    from diffuserve.cli.drawing import draw
    from diffuserve.config import load

    settings = load(config, model=model, dtype=dtype and dtype.value, device=device, threads=threads)
    logs.configure("warning" if settings.log_level == "info" else settings.log_level, json=settings.log_json)
    wish = Wish(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
        schedule=schedule,
        seed=seed,
        num_images=num_images,
        init_image=init_image,
        strength=strength,
        mask=mask,
        style=style,
        hires=hires,
        loras=tuple(lora or ()),
        controls=tuple(control or ()),
        control_maps=tuple(control_map or ()),
        reference=reference,
        reference_scale=reference_scale,
        reference_face=reference_face,
        variation_seed=variation_seed,
        variation_strength=variation_strength,
        quality=quality,
    )
    raise typer.Exit(draw(settings, wish, output, form))
