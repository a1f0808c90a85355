"""A `Job` to the plain dialect's answer."""

from __future__ import annotations

import base64
from collections.abc import Callable

from pydantic import BaseModel
from starlette.responses import Response

from diffuserve.core.job import Artifact, Job
from diffuserve.core.model import ModelInfo
from diffuserve.dialects.plain.wire import CustomModel, Image, Success
from diffuserve.jobs.catalog import Catalog


def success(job: Job, url: Callable[[Artifact], str], pictures: tuple[bytes, ...] = ()) -> Response:
    """One entry for each picture, in order; `pictures` holds their bytes where `base64` was asked for."""
    images = [
        Image(image_url=url(artifact), mime_type=artifact.media_type, seed=artifact.seed) for artifact in job.artifacts
    ]
    for image, data in zip(images, pictures, strict=False):
        image.base64 = base64.b64encode(data).decode("ascii")
        image.nsfw = False
    headers = {"diffuserve-job": str(job.id)}
    if job.notes:
        # The answer has no field for remarks, and its readers do not expect one.
        headers["diffuserve-notes"] = _header_text("; ".join(job.notes))
    return reply(Success(images=images), headers=headers)


def custom_models(catalog: Catalog) -> list[CustomModel]:
    """Every model but the default one. Where its files lie is nobody's business: `model_path` is its name."""
    return [_custom(model) for model in catalog.models if model.name != catalog.default.name]


def _custom(model: ModelInfo) -> CustomModel:
    return CustomModel(model_path=model.name, ui_label=model.description or model.name, url_path=model.name)


def _header_text(text: str) -> str:
    """`text` as far as a header can carry it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:2000])


def reply(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        body.model_dump_json(exclude_none=True), status_code=status, headers=headers, media_type="application/json"
    )
