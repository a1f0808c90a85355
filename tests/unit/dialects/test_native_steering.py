"""What steers a drawing besides its prompt, in the native dialect's words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import Fill, Lora, Preprocessor, ResolvedRequest
from diffuserve.jobs.catalog import Catalog
from support.app import Server, model, serving
from support.models import adapter, controlnet, lora
from support.pictures import HTML, as_base64, encoded, opened, picture

pytestmark = pytest.mark.unit

API = "/diffuserve/v1"
PICTURE = as_base64(picture(64, 32))
MASK = as_base64(encoded(Image.new("L", (8, 4), 255)))
CATALOG = Catalog(
    (model("tiny"), model("filler", inpainting=True)),
    "tiny",
    loras=[lora("ink", aliases=("pen",), models=("tiny",), description="Ink drawings.")],
    controlnets=[controlnet("edges", kind="canny")],
    adapters=[adapter("plus")],
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, catalog=CATALOG) as running:
        yield running


async def ask(server: Server, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await server.client.post(f"{API}/jobs?wait=60", json={"prompt": "a red apple", **body})
    return answer.status_code, answer.json()


async def drawn(server: Server, **body: Any) -> tuple[dict[str, Any], ResolvedRequest]:
    """The job as it is shown, and its request as it is stored."""
    status, job = await ask(server, **body)
    assert (status, job.get("status")) == (200, "succeeded"), job
    return job, (await server.jobs.get(ANONYMOUS, int(job["id"]))).request


async def test_loras_of_the_field_and_of_the_prompt_are_mixed(server: Server) -> None:
    job, request = await drawn(server, prompt="a cat <lora:pen:0.5>", loras={"ink": 0.25})
    assert request.loras == (Lora("ink", 0.75),)
    assert job["request"]["loras"] == {"ink": 0.75}
    assert (job["request"]["prompt"], job["request"]["asked_prompt"]) == ("a cat", "a cat <lora:pen:0.5>")


async def test_a_control_is_shown_as_it_was_settled(server: Server) -> None:
    control = {
        "model": "canny",
        "image": PICTURE,
        "preprocessor": "canny",
        "scale": 0.5,
        "end": 0.8,
        "low_threshold": 9,
    }
    job, request = await drawn(server, controls=[control])
    settled = {"model": "edges", "preprocessor": "canny", "scale": 0.5, "start": 0.0, "end": 0.8}
    assert job["request"]["controls"] == [settled]
    [made] = request.controls
    assert (made.preprocessor, made.low_threshold, made.image and made.image.width) == (Preprocessor.CANNY, 9, 64)


async def test_a_control_without_a_picture_reads_the_init_image(server: Server) -> None:
    _, request = await drawn(server, controls=[{"model": "edges"}], init_image=PICTURE)
    assert request.controls[0].image == request.init_image


async def test_a_reference_is_shown_as_it_was_settled(server: Server) -> None:
    job, _ = await drawn(server, reference={"image": PICTURE, "scale": 0.7})
    assert job["request"]["reference"] == {"adapter": "plus", "scale": 0.7, "face": False}


async def test_a_mask_is_repainted(server: Server) -> None:
    asked = {"blur": 2, "fill": "noise", "padding": 8}
    job, request = await drawn(server, init_image=PICTURE, mask=MASK, inpaint=asked, strength=1, model="filler")
    assert job["request"]["inpaint"] == asked
    assert request.inpaint is not None
    assert (request.inpaint.fill, request.inpaint.mask.width) == (Fill.NOISE, 8)


async def test_outpainting_keeps_the_picture_and_paints_around_it(server: Server) -> None:
    source = as_base64(picture(64, 32, (10, 200, 30)))
    job, request = await drawn(server, init_image=source, outpaint={"left": 16, "bottom": 24})
    assert (request.width, request.height, request.strength) == (80, 56, 0.95)
    shown = opened((await server.client.get(job["images"][0]["url"])).content)
    assert shown.size == (80, 56)
    assert shown.getpixel((60, 8)) == (10, 200, 30)
    assert shown.getpixel((2, 50)) != (10, 200, 30)


async def test_two_passes_are_shown_as_they_were_settled(server: Server) -> None:
    job, request = await drawn(
        server, width=128, height=64, hires={"width": 64, "strength": 0.4, "upscaler": "lanczos"}
    )
    settled = {"width": 64, "height": 32, "strength": 0.4, "num_inference_steps": 5, "upscaler": "lanczos"}
    assert job["request"]["hires"] == settled
    assert job["notes"] == ["drawn at 64x32, then enlarged and refined at 128x64"]
    assert (request.canvas.width, request.canvas.height) == (128, 64)


async def test_a_variation_is_shown_as_it_was_settled(server: Server) -> None:
    job, _ = await drawn(server, num_images=2, seed=1, variation={"seeds": [5, 6], "strength": 0.2})
    assert job["request"]["variation"] == {"seeds": [5, 6], "strength": 0.2}


async def test_a_style_is_put_around_the_prompt_and_listed(server: Server) -> None:
    styles = (await server.client.get(f"{API}/styles")).json()["styles"]
    assert {"id": "line-art", "name": "Line Art"} in styles
    job, _ = await drawn(server, style="line-art")
    assert "a red apple" in job["request"]["prompt"] != "a red apple"
    assert job["request"]["asked_prompt"] == "a red apple"


async def test_how_the_picture_is_finished_can_be_said(server: Server) -> None:
    mark = {"text": "mine", "position": "top_left", "opacity": 0.5, "size": 0.1}
    job, request = await drawn(
        server, watermark=mark, format="webp", quality=70, keep_texture=False, init_image=PICTURE, enhance_prompt=True
    )
    assert job["request"]["watermark"] == mark
    assert (request.format.value, request.quality, request.keep_texture) == ("webp", 70, False)
    assert job["images"][0]["media_type"] == "image/webp"
    assert any("no prompt writer" in note for note in job["notes"])


@pytest.mark.parametrize(
    ("change", "code", "param", "detail"),
    [
        ({"loras": {"oil": 1}}, "invalid_parameter", "loras", "loras must be one of ink, got oil"),
        ({"loras": {"ink": "much"}}, "invalid_parameter", "loras.ink", "loras.ink must be a number, got much"),
        ({"loras": ["ink"]}, "invalid_parameter", "loras", "loras must be an object"),
        ({"loras": {"ink": 11}}, "invalid_parameter", "loras.weight", "loras.weight must be a number between -10"),
        (
            {"loras": {"ink": 1}, "model": "filler"},
            "invalid_parameter",
            "loras",
            "loras must be absent: this server has",
        ),
        (
            {"controls": [{"model": "depth", "image": PICTURE}]},
            "invalid_parameter",
            "controls",
            "controls must be one of",
        ),
        ({"controls": [{"model": "edges"}]}, "missing_parameter", "controls.image", "controls.image is required"),
        ({"controls": [{}]}, "missing_parameter", "controls[0].model", "controls[0].model is required"),
        ({"controls": [{"model": "edges"}] * 5}, "invalid_parameter", "controls", "controls must be at most 4, got 5"),
        (
            {"controls": [{"model": "edges", "image": as_base64(HTML)}]},
            "unreadable_picture",
            "controls[0].image",
            "controls[0].image is not a picture",
        ),
        (
            {"controls": [{"model": "edges", "preprocessor": "depth"}]},
            "invalid_parameter",
            "controls[0].preprocessor",
            "controls[0].preprocessor must be one of none, canny, got depth",
        ),
        (
            {"controls": [{"model": "edges", "weight": 1}]},
            "invalid_parameter",
            "controls[0].weight",
            "controls[0].weight must be one of the known parameters: model, image, preprocessor, scale",
        ),
        (
            {"reference": {"image": PICTURE, "scale": 2}},
            "invalid_parameter",
            "reference.scale",
            "reference.scale must be",
        ),
        ({"reference": {}}, "missing_parameter", "reference.image", "reference.image is required"),
        ({"mask": MASK}, "missing_parameter", "init_image", "init_image is required"),
        ({"init_image": PICTURE, "inpaint": {}}, "missing_parameter", "mask", "mask is required"),
        (
            {"init_image": PICTURE, "model": "filler"},
            "invalid_parameter",
            "mask",
            "mask must be given with the model filler",
        ),
        ({"outpaint": {"left": 8}}, "missing_parameter", "init_image", "init_image is required"),
        (
            {"init_image": PICTURE, "outpaint": {}},
            "invalid_parameter",
            "outpaint",
            "outpaint must be over 0 at one side",
        ),
        (
            {"init_image": PICTURE, "outpaint": {"top": -1}},
            "invalid_parameter",
            "outpaint.top",
            "outpaint.top must be a",
        ),
        (
            {"init_image": PICTURE, "mask": MASK, "outpaint": {"top": 1}},
            "invalid_parameter",
            "outpaint",
            "outpaint must be absent where mask is given",
        ),
        (
            {"init_image": PICTURE, "outpaint": {"top": 4096, "left": 4096}},
            "unreadable_picture",
            "outpaint",
            "outpaint would be too large",
        ),
        (
            {"hires": {"upscaler": "magic"}},
            "invalid_parameter",
            "hires.upscaler",
            "hires.upscaler must be one of latent,",
        ),
        ({"hires": {"strength": 0}}, "invalid_parameter", "hires.strength", "hires.strength must be a number over 0"),
        ({"hires": {}, "init_image": PICTURE}, "invalid_parameter", "hires", "hires must be absent with init_image"),
        ({"hires": 2}, "invalid_parameter", "hires", "hires must be an object"),
        ({"variation": {}}, "missing_parameter", "variation.strength", "variation.strength is required"),
        (
            {"variation": {"strength": 1.5}},
            "invalid_parameter",
            "variation.strength",
            "variation.strength must be a number between 0 and 1, got 1.5",
        ),
        (
            {"variation": {"strength": 0.5, "seeds": [1, 2]}},
            "invalid_parameter",
            "variation.seeds",
            "variation.seeds must be at most one for each",
        ),
        ({"style": "cubism"}, "invalid_parameter", "style", "style must be one of Base, 3D Model"),
        ({"keep_texture": False}, "missing_parameter", "init_image", "init_image is required"),
        ({"enhance_prompt": 1}, "invalid_parameter", "enhance_prompt", "enhance_prompt must be true or false"),
        ({"watermark": {"text": ""}}, "missing_parameter", "watermark.text", "watermark.text is required"),
        ({"watermark": {"text": "x", "size": 1}}, "invalid_parameter", "watermark.size", "watermark.size must be"),
        ({"format": "gif"}, "invalid_parameter", "format", "format must be one of png, jpeg, webp, got gif"),
        ({"quality": 0}, "invalid_parameter", "quality", "quality must be a whole number between 1 and 100, got 0"),
    ],
)
async def test_a_refusal_names_the_part_and_what_it_may_be(
    server: Server, change: dict[str, Any], code: str, param: str, detail: str
) -> None:
    status, fields = await ask(server, **change)
    assert (status, fields.get("code"), fields.get("param")) == (400, code, param), fields
    assert fields["detail"].startswith(detail)


async def test_what_fits_which_model_is_listed(server: Server) -> None:
    answer = await server.client.get(f"{API}/models")
    body = answer.json()
    assert body["loras"] == [
        {"name": "ink", "family": "sd15", "aliases": ["pen"], "description": "Ink drawings.", "models": ["tiny"]}
    ]
    [net], [one] = body["controlnets"], body["adapters"]
    assert (net["name"], net["kind"], net["models"]) == ("edges", "canny", ["tiny", "filler"])
    assert (one["name"], one["models"]) == ("plus", ["tiny", "filler"])
    assert [entry["inpainting"] for entry in body["models"]] == [False, True]
    assert "nowhere" not in answer.text


async def test_the_documentation_describes_every_part_in_place(server: Server) -> None:
    paths = (await server.client.get("/openapi.json")).json()["paths"]
    schema = paths[f"{API}/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "$ref" not in str(schema) and "$defs" not in schema
    [control, _] = schema["properties"]["controls"]["anyOf"]
    assert control["items"]["properties"]["scale"]["description"].startswith("How much it counts")
    assert f"{API}/styles" in paths
