"""ModelsLab, until 2024 stablediffusionapi.com: JSON below `/api`, with the key in the body and every type written loosely.

Text to image, image to image, inpainting and ControlNet under every path that the vendor ever had (enterprise families,
v3 to v7), their fetch and webhook, and the management calls of a rented server. Declared gaps: video is checked and then
answered 501 (`video.py`), and so are enlarging and judging pictures, and whatever changes a running server's models
(`management.py`). `docs/dialects/modelslab.md` says what each parameter does.

Read on in `paths.py`, `wire.py`, `loose.py`, `parse.py`, `solver.py`, `controls.py`, `memo.py`, `keys.py`, `render.py`,
`eta.py`, `errors.py`, `management.py`, `video.py`, `routes.py`.
"""

from __future__ import annotations

from functools import partial

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.modelslab.errors import STATUSES, render_error
from diffuserve.dialects.modelslab.manners import Manners
from diffuserve.dialects.modelslab.render import delivery
from diffuserve.dialects.modelslab.routes import build

__all__ = ["Manners", "dialect"]


def dialect(manners: Manners | None = None) -> Dialect:
    """The dialect with a server's manners."""
    manners = manners or Manners()
    return Dialect(
        name="modelslab",
        title="ModelsLab",
        description="ModelsLab and stablediffusionapi.com: pictures by JSON, at once, by fetching or by webhook.",
        mounts=("/api",),
        territory=("/api",),
        build=partial(build, manners=manners),
        errors=STATUSES,
        render_error=partial(render_error, legacy=manners.legacy_errors),
        render_delivery=delivery,
    )
